"""Programs of ``tests/peers/node`` as processes: what they print is what happened."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOM = Path(__file__).parent / "node"
NODE = shutil.which("node")


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skip tests where node or one of these packages is missing; ``npm install`` in ``ROOM`` gets them."""
    missing = [name for name in packages if not (ROOM / "node_modules" / name).is_dir()]
    reason = "node is not installed" if NODE is None else f"npm packages are not installed: {missing}"
    return pytest.mark.skipif(NODE is None or bool(missing), reason=reason)


class Program:
    """A running program that prints a JSON value on each line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(b"")

    def stop(self) -> None:
        """End it now."""
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def next(self, seconds: float = 20) -> Any:
        """The next value; fails when the program ends or says nothing for so long."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"nothing was printed for {seconds:g} s") from None
        assert line, f"the program has ended with {self.process.wait(seconds)}"
        return json.loads(line)

    def ended(self, seconds: float = 20) -> None:
        """It ends by itself, successfully and without another word."""
        assert self.process.wait(seconds) == 0
        assert self._lines.get(timeout=seconds) == b""


@contextmanager
def program(script: str, *arguments: str) -> Iterator[Program]:
    """Start ``script`` of ``ROOM``; it is ended if it has not by then."""
    assert NODE is not None
    running = Program(subprocess.Popen([NODE, script, *arguments], cwd=ROOM, stdout=subprocess.PIPE))
    try:
        yield running
    finally:
        running.stop()
