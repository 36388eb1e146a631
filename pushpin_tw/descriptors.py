"""Listening sockets that somebody else has opened: the parent of this process, or the one before it.

Filled when a process starts, emptied by whoever would otherwise open a socket of its own.  Knows sockets by
name only.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable


def listener_name(kind: str, address: object) -> str:
    """What a listening socket is called: ``kind`` is 'http', 'https', 'local' or 'control'; ``address`` as
    configured, so that a port that the kernel has chosen is found again."""
    return f"{kind} {address}"


class Descriptors:
    """The sockets that wait to be used."""

    def __init__(self, listening: Iterable[tuple[str, int]] = (), owned: bool = False) -> None:
        """``listening``: names and descriptors, which belong to this object from now on.  ``owned``: whoever
        takes a Unix socket removes its file in the end."""
        self.owned = owned
        self._sockets: dict[str, list[socket.socket]] = {}
        for name, descriptor in listening:
            self._sockets.setdefault(name, []).append(socket.socket(fileno=descriptor))

    def take(self, name: str) -> socket.socket | None:
        """The socket called ``name``, which listens; it is the caller's then.  None when there is none."""
        waiting = self._sockets.get(name)
        if not waiting:
            return None
        taken = waiting.pop(0)
        taken.setblocking(False)
        return taken

    def stop(self) -> None:
        """Close what nobody has taken."""
        for waiting in self._sockets.values():
            for each in waiting:
                each.close()
        self._sockets.clear()
