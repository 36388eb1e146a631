"""Which of an origin's messages are for the client, and which for the proxy (websocket 2.3).

Called by the tunnel for every piece of a message from an origin that speaks GRIP.  Pieces are passed on as
soon as it is clear what they belong to.  Never reads a control message.
"""

from __future__ import annotations

from enum import Enum

from pushpin_tw.grip.wscontrol import MARK, MAX_CONTROL
from pushpin_tw.sockets import MESSAGE, PARTIAL, TEXT


class Fate(Enum):
    """What becomes of the message that is coming in."""

    UNKNOWN = 0
    """Too little of it has come."""
    RELAYED = 1
    CONTROL = 2
    """It is for the proxy."""
    DROPPED = 3


class Sorter:
    """The messages of one origin, in order."""

    __slots__ = ("_fate", "_head", "_prefix", "control", "spoiled")

    def __init__(self, prefix: bytes) -> None:
        """``prefix``: what stands before messages for the client."""
        self.control: bytes | None = None
        """The control message that the latest piece has completed, without its mark."""
        self.spoiled = False
        """Whether the latest piece has shown that a control message is too long, or in several frames."""
        self._prefix = prefix
        self._fate = Fate.UNKNOWN
        self._head = b""

    def sort(self, kind: int, data: bytes, first: bool, end: int) -> bytes | None:
        """A piece, as of ``ISocketOwner.socket_received``; what of it, and of earlier pieces whose fate was
        not known, is for the client, or None when nothing is."""
        if first:
            self._fate, self._head = Fate.UNKNOWN, b""
        self.control, self.spoiled = None, False
        fate = self._fate
        if fate is Fate.RELAYED:
            return data
        if fate is Fate.DROPPED:
            return None
        head = self._head + data
        if fate is Fate.UNKNOWN:
            fate = self._fate = self._decide(kind, head, end)
        if fate is Fate.RELAYED:
            self._head = b""
            return head[len(self._prefix) :]
        if fate is Fate.CONTROL:
            self._hear(head, end)
        else:
            self._head = head if fate is Fate.UNKNOWN else b""
        return None

    def _decide(self, kind: int, head: bytes, end: int) -> Fate:
        """What the message is that begins with ``head``; enough must lie in its first frame."""
        whole = end != PARTIAL
        if kind == TEXT:
            if head.startswith(MARK):
                return Fate.CONTROL
            if not whole and MARK.startswith(head):
                return Fate.UNKNOWN
        if head.startswith(self._prefix):
            return Fate.RELAYED
        return Fate.UNKNOWN if not whole and self._prefix.startswith(head) else Fate.DROPPED

    def _hear(self, message: bytes, end: int) -> None:
        """A control message is one frame."""
        if end == PARTIAL and len(message) <= MAX_CONTROL:
            self._head = message
            return
        self._fate, self._head = Fate.DROPPED, b""
        if end == MESSAGE and len(message) <= MAX_CONTROL:
            self.control = message[len(MARK) :]
        else:
            self.spoiled = True
