"""The program as a child process, its output read line by line.

Used by tests of what only a whole process has: signals, exit codes, limits of the system.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds after which something that should happen is given up."""


class Command:
    """A child process whose output is read line by line."""

    def __init__(self, directory: Path, *argv: str, patience: float = PATIENCE) -> None:
        """It is killed after ``patience`` seconds."""
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, *argv],
            cwd=directory,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._limit = threading.Timer(patience, self._process.kill)
        self._limit.start()
        self.pid = self._process.pid
        self.lines: list[str] = []

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line from now on in which ``pattern`` is found."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
            found = re.search(pattern, self.lines[-1])
            if found:
                return found
        raise AssertionError(f"no line with {pattern!r} in:\n" + "\n".join(self.lines))

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        """Read on until it ends; returns its exit code."""
        assert self._process.stdout is not None
        self.lines += self._process.stdout.read().splitlines()
        return self._process.wait()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.end()
        self._limit.cancel()
        assert self._process.stdout is not None
        self._process.stdout.close()
