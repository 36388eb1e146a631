"""What a peer says over a WebSocket, as its owner shall hear it (zeromq 2.10).

Used by ``zhttptalk``, one for each WebSocket.  Makes pieces of messages out of packets and keeps
them while nobody listens.  Never counts credits.
"""

from __future__ import annotations

from collections import deque

from pushpin_tw.sockets import BINARY, CLOSE, FRAME, MESSAGE, PING, PONG, TEXT
from pushpin_tw.wire.events import MAX_CONTROL
from pushpin_tw.wire.websocket import is_close_code
from pushpin_tw.wire.zhttp import Packet

MAX_WAITING = 4_000_000
"""Bytes that wait while nobody listens: many times what the peer has credits for."""
OVERHEAD = 16
"""Bytes that each piece counts for besides its own."""
NO_CODE = -1

Heard = tuple[int, bytes, bool, int]
"""Kind, data, whether it is the message's first piece, and its end; of CLOSE the reason and the code, which
may be ``NO_CODE``."""

_CONTROL = {"ping": PING, "pong": PONG}


class Words:
    """Pieces that wait, in order."""

    __slots__ = ("_kind", "_size", "_waiting", "closed")

    def __init__(self) -> None:
        self._waiting: deque[Heard] = deque()
        self._size = 0
        self._kind = 0
        """That of the message of which a part has come; 0 between messages."""
        self.closed = False
        """The peer has said CLOSE: what follows is not listened to."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def too_many(self) -> bool:
        """Whether more waits than a peer may say."""
        return self._size > MAX_WAITING

    def add(self, packet: Packet) -> bool:
        """The next packet, of whatever type; False when no frame can carry it."""
        if self.closed:
            return True
        if packet.type == "":
            self._add_piece(packet)
        elif packet.type == "close":
            self.closed = True
            self._keep((CLOSE, *_reason(packet)))
        elif packet.type in _CONTROL:
            if len(packet.body) > MAX_CONTROL:
                return False
            self._keep((_CONTROL[packet.type], packet.body, True, MESSAGE))
        return True

    def _add_piece(self, packet: Packet) -> None:
        """The kind that counts is that of a message's first packet."""
        within = self._kind
        kind = within or (BINARY if packet.content_type == b"binary" else TEXT)
        self._kind = kind if packet.more else 0
        self._keep((kind, packet.body, not within, FRAME if packet.more else MESSAGE))

    def _keep(self, heard: Heard) -> None:
        self._waiting.append(heard)
        self._size += len(heard[1]) + OVERHEAD

    def next(self) -> Heard:
        """Take out the first piece, of which there is one."""
        heard = self._waiting.popleft()
        self._size -= len(heard[1]) + OVERHEAD
        return heard

    def clear(self) -> None:
        """Nobody will listen."""
        self._waiting.clear()
        self._size = 0


def _reason(packet: Packet) -> tuple[bytes, bool, int]:
    """The end of a ``Heard`` for CLOSE.  A code that nobody may send is none, and has no reason."""
    if not is_close_code(packet.code):
        return b"", True, NO_CODE
    return packet.body.decode("utf-8", "replace").encode(), True, packet.code
