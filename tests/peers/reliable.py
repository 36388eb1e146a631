"""The backend of ``examples/reliable`` as a process that can be killed and started again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from tests.peers.running import free_port
from tests.support.crowd import eventually

PROGRAM = Path(__file__).parents[2] / "examples" / "reliable" / "backend.py"
MEASURED = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
"""With these in its environment a Python process measures its coverage, which takes time."""


def _load() -> ModuleType:
    spec = spec_from_file_location("reliable_backend", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = _load()
"""The program as a module."""


class ReliableBackend:
    """The store outlives the process."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self.store = example.Store(directory / "items.db")
        self._log = directory / "backend.log"
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns when it listens."""
        words = [sys.executable, str(PROGRAM), "--port", str(self.port)]
        words += ["--store", str(self.store.path), *self.options]
        environment = {name: value for name, value in os.environ.items() if name not in MEASURED}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(words, stderr=log, env=environment)
        await eventually(self._listens, lambda: f"a backend: {self._log.read_text()}", 60)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """In the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def recoveries(self) -> int:
        """How many requests came with ``Grip-Last``."""
        return self._log.read_text().count("recovering what follows")
