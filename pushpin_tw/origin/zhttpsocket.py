"""WebSockets of streaming workers (zeromq 2.10): the handshake; then the session carries a ``Talk``.

``connect`` is called by ``origin.zhttp`` for each client who wants one.  What is said over the WebSocket is
the business of ``zhttptalk``.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import HttpError, OriginBlocked, OriginError, OriginSilent
from pushpin_tw.origin.zhttproom import StreamHub
from pushpin_tw.origin.zhttpsession import Session
from pushpin_tw.sockets import MAX_REFUSAL, IOriginSocket
from pushpin_tw.wire import zhttp
from pushpin_tw.wire.headers import without
from pushpin_tw.wire.message import OriginRequest, Response
from pushpin_tw.wire.zhttp import Packet
from pushpin_tw.zhttptalk import Talk


def connect(hub: StreamHub, handshake: Any, rules: bytes, sink: Any) -> SocketSession:
    """Ask a worker whether it wants a WebSocket; see ``IOrigin``.

    ``rules`` is what ``wire.zhttp.policy`` has made of the target.
    """
    session = SocketSession(hub, sink)
    try:
        request = handshake.prepare()
    except OriginError as error:
        session.broken(error)
    else:
        session.ask(request, rules)
    return session


@implementer(IOriginSocket)
class WorkerTalk(Talk):
    """The worker's end."""

    __slots__ = ()

    def part(self) -> None:
        """As ``IOriginSocket``."""
        self.close()

    def refresh(self) -> None:
        """As ``IOriginSocket``; a worker speaks whenever it likes."""


class SocketSession(Session):
    """A handshake that waits for its answer, an object with ``cancel()``; then the line of its talk."""

    __slots__ = ("_open", "_sink", "talk")

    kind = "socket"

    def __init__(self, hub: StreamHub, sink: Any) -> None:
        super().__init__(hub)
        self._sink: Any = sink
        """An ``ISocketSink``; None once it has its answer."""
        self._open = False
        """The worker has agreed."""
        self.talk = WorkerTalk(self, hub.room.services)

    def ask(self, request: OriginRequest, rules: bytes) -> None:
        """Send the first packet."""
        if not self.begin(zhttp.socket_request(self.hub.own, self.id, request, rules)):
            self.broken(OriginError("there is no worker"))

    def cancel(self) -> None:
        """As for ``IOrigin``: nobody waits for the answer any more.  A worker that has not said a word cannot
        be told; it is when it does."""
        if self._sink is not None:
            self._sink = None
            if self.worker:
                self.leave(tell=True)

    # ---- for Session ---------------------------------------------------------------------------------------

    def met(self, packet: Packet) -> bool:
        """As ``Session``."""
        return True

    def packet(self, packet: Packet, seq: int | None) -> None:
        """As ``Session``.  Whoever has sent the last packet is told the next one, so that each before the
        agreement has to say who that is."""
        if packet.sender:
            self.worker = packet.sender
        elif not self._open and packet.type not in ("error", "cancel"):
            self.leave()
            self.broken(OriginError("a packet without sender"))
            return
        super().packet(packet, seq)

    def heard(self, packet: Packet) -> None:
        """As ``Session``."""
        if self._open:
            self.talk.heard(packet)
        elif self._sink is None:
            self.leave(tell=True)
        elif packet.type == "credit":
            self.talk.allowance.grant(packet.credits)
        elif packet.type == "":
            self._agreed(packet)
        elif packet.type != "keep-alive":
            self.leave()
            self.broken(OriginError(f"{packet.type} before the agreement"))

    def broken(self, error: OriginError, packet: Packet | None = None) -> None:
        """As ``Session``."""
        sink, self._sink = self._sink, None
        if sink is None:
            self.talk.lose()
        elif packet is not None and packet.condition == "rejected":
            _refuse(sink, packet)
        elif isinstance(error, OriginBlocked | OriginSilent):
            # Clients who want a WebSocket are not told, in debug mode neither (zeromq 2.11).
            sink.failed(OriginError(str(error)))
        else:
            sink.failed(error)

    def _agreed(self, packet: Packet) -> None:
        """Whatever its code is."""
        try:
            response = _response(101, packet)
        except HttpError as error:
            self.leave(tell=True)
            self.broken(OriginError(error.text))
            return
        self._open = True
        self.talk.allowance.grant(packet.credits)
        sink, self._sink = self._sink, None
        try:
            sink.opened(response, self.talk)
        except Exception:
            self.hub.room.services.stats.failure("origin")
            self.talk.abort()

    # ---- for the talk (Line) -------------------------------------------------------------------------------

    @property
    def lives(self) -> bool:
        """As ``Line``."""
        return self.hub.sessions.get(self.id) is self

    def overrun(self) -> None:
        """As ``Line``."""
        self.hub.complaints.warn("window", "a worker sends on and on without credits")


def _response(status: int, packet: Packet) -> Response:
    """:raises HttpError: something in ``packet`` cannot stand in a response."""
    return Response(status, zhttp.checked_reason(packet.reason), zhttp.checked_headers(packet.headers))


def _refuse(sink: Any, packet: Packet) -> None:
    """Tell ``sink`` what the worker says instead, if that is a response."""
    try:
        response = _response(packet.code, packet)
    except HttpError as error:
        sink.failed(OriginError(error.text))
        return
    if not 200 <= packet.code <= 999 or len(packet.body) > MAX_REFUSAL:
        sink.failed(OriginError("refused in a way that cannot be passed on"))
        return
    response.headers = without(response.headers, (b"content-length",))
    response.length = len(packet.body)
    sink.refused(response, packet.body)
