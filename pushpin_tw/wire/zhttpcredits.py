"""What is to be said over a WebSocket and the peer has granted no credits for yet (zeromq 2.10).

Used by ``zhttptalk``, one for each WebSocket.  Keeps the order, cuts messages where the credits end, and says
when enough waits.  Never makes a packet, and never looks into a message.
"""

from __future__ import annotations

from collections import deque

from pushpin_tw.sockets import BINARY, CLOSE

HIGH = 65536
"""Bytes that wait after which no more of them are wanted."""
OVERHEAD = 64
"""Bytes that each piece counts for besides its own."""

Piece = tuple[int, bytes, bool]
"""The kind of message, data, and whether the message ends with these."""


class Allowance:
    """Pieces that wait, and the credits that let them go."""

    __slots__ = ("_at", "_credits", "_pieces", "size")

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._at = 0
        """How much of the first piece has gone."""
        self.size = 0
        """Bytes that wait, ``OVERHEAD`` included."""
        self._credits = 0

    @property
    def congested(self) -> bool:
        """Whether enough waits."""
        return self.size >= HIGH

    def grant(self, credits: int) -> None:
        """The peer takes so many bytes more; fewer than one mean nothing."""
        self._credits += max(credits, 0)

    def add(self, kind: int, data: bytes, last: bool = True) -> None:
        """One more piece: of a message, or a whole PING, PONG or CLOSE (without data)."""
        self._pieces.append((kind, data, last))
        self.size += len(data) + OVERHEAD

    def take(self) -> Piece | None:
        """What may be sent now, or None.

        Bytes take as many credits.  What has none takes none, but is sent only when there are some; CLOSE
        needs none.  PING and PONG are never cut.
        """
        if not self._pieces:
            return None
        kind, data, last = self._pieces[0]
        at, left = self._at, len(data) - self._at
        if kind != CLOSE and (not self._credits or (kind > BINARY and left > self._credits)):
            return None
        count = min(left, self._credits)
        self._credits -= count
        if count < left:
            self._at += count
            self.size -= count
            return kind, data[at : self._at], False
        self._pieces.popleft()
        self._at = 0
        self.size -= left + OVERHEAD
        return kind, data[at:], last
