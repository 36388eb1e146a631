"""Both ends of a WebSocket to test with: a handshake, and an owner and a sink that keep what they hear.

Used by the tests of ``testing.sockets``, and by whoever writes further ones.  They object to whatever comes
in the wrong order, wait ``PATIENCE`` seconds at most, and never open a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from zope.interface import implementer

from pushpin_tw.errors import OriginError
from pushpin_tw.sockets import BINARY, MESSAGE, PING, PONG, TEXT, IHandshake, ISocketOwner, ISocketSink
from pushpin_tw.testing.origins import PATIENCE
from pushpin_tw.wire.message import OriginRequest, Response


@implementer(IHandshake)
class FixedHandshake:
    """An ``IHandshake`` that asks the same each time."""

    def __init__(self, request: OriginRequest, error: OriginError | None = None) -> None:
        """``error``: what ``prepare`` raises instead."""
        self.connection_id = b"2b1a0a9c-0b1e-4d3c-9a55-8f1d1c0f7e11"
        self.prepared = 0
        """How often ``prepare`` was called."""
        self._request = request
        self._error = error

    def prepare(self) -> OriginRequest:
        """As ``IHandshake``."""
        self.prepared += 1
        if self._error is not None:
            raise self._error
        return replace(self._request, headers=list(self._request.headers))


class _Listener:
    """Waits for what it hears."""

    def __init__(self) -> None:
        self.disorder: list[str] = []
        """What came when it must not."""
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def until(self, condition: Callable[[], bool], what: str) -> Deferred[None]:
        """Fires when ``condition()`` is true after something was heard; fails after ``PATIENCE`` seconds."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append((condition, waiting))
        waiting.addTimeout(PATIENCE, reactor, lambda _, seconds: self._give_up(what))
        self._look()
        return waiting

    def _give_up(self, what: str) -> None:
        raise AssertionError(f"waited in vain for {what}; heard {self}")

    def _look(self) -> None:
        met = [entry for entry in self._waiting if entry[0]()]
        self._waiting = [entry for entry in self._waiting if entry not in met]
        for _, waiting in met:
            waiting.callback(None)

    def _expect(self, right: bool, otherwise: str) -> None:
        if not right:
            self.disorder.append(otherwise)


@implementer(ISocketOwner)
class RecordingOwner(_Listener):
    """An ``ISocketOwner`` that keeps what it hears, and objects when the order is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[int, bytes]] = []
        """Kinds and data of whole messages; pings and pongs among them."""
        self.pieces: list[tuple[int, bytes, bool, int]] = []
        """What was heard, piece by piece."""
        self.begun: bytearray | None = None
        """The message that is not complete."""
        self.said_close = False
        self.code: int | None = None
        self.reason = b""
        self.lost = False
        self.drains = 0

    def __str__(self) -> str:
        return f"{self.messages[-5:]} {self.begun!r} {self.code} {self.reason!r} lost={self.lost}"

    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        """As ``ISocketOwner``."""
        self._expect(not self.lost, "something after the end")
        self._expect(not self.said_close, "a message behind CLOSE")
        self.pieces.append((kind, data, first, end))
        if kind in (PING, PONG):
            self._expect(first and end == MESSAGE and len(data) <= 125, "half a control frame")
            self.messages.append((kind, data))
        else:
            self._piece(kind, data, first, end)
        self._look()

    def _piece(self, kind: int, data: bytes, first: bool, end: int) -> None:
        self._expect(kind in (TEXT, BINARY), f"kind {kind}")
        self._expect(first == (self.begun is None), "a beginning within a message, or none")
        if self.begun is None:
            self.begun = bytearray()
        self.begun += data
        if end == MESSAGE:
            self.messages.append((kind, bytes(self.begun)))
            self.begun = None

    def socket_closed(self, code: int | None, reason: bytes) -> None:
        """As ``ISocketOwner``."""
        self._expect(not self.lost, "something after the end")
        self._expect(not self.said_close, "CLOSE twice")
        self.said_close = True
        self.code, self.reason = code, reason
        self._look()

    def socket_drained(self) -> None:
        """As ``ISocketOwner``."""
        self._expect(not self.lost, "something after the end")
        self.drains += 1
        self._look()

    def socket_lost(self) -> None:
        """As ``ISocketOwner``."""
        self._expect(not self.lost, "lost twice")
        self.lost = True
        self._look()

    def heard(self, count: int) -> Deferred[None]:
        """Fires when so many messages are complete."""
        return self.until(lambda: len(self.messages) >= count, f"{count} messages")

    def end(self) -> Deferred[None]:
        """Fires when the socket is lost."""
        return self.until(lambda: self.lost, "the end of a WebSocket")


@implementer(ISocketSink)
class RecordingSocketSink(_Listener):
    """An ``ISocketSink`` that keeps what it hears; ``owner`` owns the socket."""

    def __init__(self, owner: Any = None) -> None:
        """``owner``: another ``ISocketOwner`` than a ``RecordingOwner``."""
        super().__init__()
        self.owner: Any = owner or RecordingOwner()
        self.response: Response | None = None
        self.socket: Any = None
        self.body: bytes | None = None
        """Of a refusal."""
        self.error: Exception | None = None
        self.answered = False

    def __str__(self) -> str:
        return f"{self.response} {self.body!r} {self.error!r}"

    def opened(self, response: Response, socket: Any) -> None:
        """As ``ISocketSink``."""
        self.response, self.socket = response, socket
        socket.own(self.owner)
        self._answer()

    def refused(self, response: Response, body: bytes) -> None:
        """As ``ISocketSink``."""
        self.response, self.body = response, body
        self._answer()

    def failed(self, error: Exception) -> None:
        """As ``ISocketSink``."""
        self._expect(isinstance(error, OriginError), f"no OriginError but {error!r}")
        self.error = error
        self._answer()

    def _answer(self) -> None:
        self._expect(not self.answered, "a second answer")
        self.answered = True
        self._look()

    def answer(self) -> Deferred[None]:
        """Fires when one of the three was heard."""
        return self.until(lambda: self.answered, "an answer to a handshake")
