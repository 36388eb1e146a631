"""Messages that come in pieces and have to be whole: SockJS knows strings, no fragments (websocket 6.8).

Used by the sockets of SockJS, in both directions.
"""

from __future__ import annotations

MAX_MESSAGE = 200_000
"""Bytes of a message; a longer one ends the session."""


class Pieces:
    """What has come of a message."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, data: bytes, first: bool) -> bool:
        """The next piece, or the ``first`` one of another message; returns whether it is not too long."""
        if first:
            self.take()
        self._size += len(data)
        if self._size > MAX_MESSAGE:
            return False
        self._pieces.append(data)
        return True

    def take(self) -> bytes:
        """The whole message, which is complete."""
        pieces, self._pieces = self._pieces, []
        self._size = 0
        return b"".join(pieces)
