"""The pid file that twistd writes, while one process takes over from another.

Used by ``process``.  twistd refuses to start while a pid file names a running process, and when it ends it
removes the file without a look at what is in it.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any


class DaemonPidFile:
    """``--pidfile`` of twistd."""

    def __init__(self, twistd: MutableMapping[str, Any] | None) -> None:
        """``twistd`` are its options, in which it looks up the name at its end; None: there is no twistd."""
        self._twistd = twistd
        self._path = ""

    def leave(self) -> None:
        """Make room for the next process's."""
        if self._twistd is not None and self._twistd.get("pidfile"):
            self._path = str(self._twistd["pidfile"])
            self._twistd["pidfile"] = ""
            with suppress(OSError):
                os.unlink(self._path)

    def take(self) -> None:
        """There is no next process."""
        if self._twistd is not None and self._path:
            self._twistd["pidfile"] = self._path
            with suppress(OSError), open(self._path, "w") as file:
                file.write(str(os.getpid()))
