"""WebSockets of streaming workers: the session that is one, an ``IOriginSocket`` (zeromq 2.10).

``connect`` is called by ``origin.zhttp`` for each client who wants one.  What the client says goes as far as
the worker's credits let it (``origin.allowance``); what the worker says gives it credits back once it was
passed on.  Never answers a ping, and never says CLOSE of its own accord.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import HttpError, OriginBlocked, OriginError, OriginSilent
from pushpin_tw.origin.allowance import Allowance
from pushpin_tw.origin.workerwords import NO_CODE, Words
from pushpin_tw.origin.zhttproom import StreamHub
from pushpin_tw.origin.zhttpsession import Session
from pushpin_tw.sockets import BINARY, CLOSE, MAX_REFUSAL, NORMAL, PONG, TEXT, IOriginSocket
from pushpin_tw.wire import zhttp
from pushpin_tw.wire.headers import without
from pushpin_tw.wire.message import OriginRequest, Response
from pushpin_tw.wire.zhttp import Packet

_GRANTING = ("", "credit", "ping", "pong")
_NAMES = {TEXT: b"text", BINARY: b"binary"}


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
class SocketSession(Session):
    """A handshake that waits for its answer, an object with ``cancel()``; then the worker's end.

    Worker and client are equals: each may say CLOSE first, and when both have, the session is over.
    """

    __slots__ = (
        "_allowance",
        "_closed",
        "_closing",
        "_owed",
        "_owner",
        "_passing",
        "_paused",
        "_sink",
        "_words",
    )

    kind = "socket"

    def __init__(self, hub: StreamHub, sink: Any) -> None:
        super().__init__(hub)
        self._sink: Any = sink
        """An ``ISocketSink``; None once it has its answer."""
        self._owner: Any = None
        """None before somebody owns the socket, and after the end."""
        self._allowance = Allowance()
        self._words = Words()
        """What the worker has said and the owner has not heard."""
        self._owed = 0
        """Credits that are to be given back."""
        self._paused = False
        self._passing = False
        """The owner is being told something, further up the stack."""
        self._closing: Closing | None = None
        """What we say for CLOSE, from the moment we want to."""
        self._closed = False
        """It was sent."""

    # ---- the handshake -------------------------------------------------------------------------------------

    def ask(self, request: OriginRequest, rules: bytes) -> None:
        """Send the first packet."""
        if not self.begin(zhttp.socket_request(self.hub.own, self.id, request, rules)):
            self.broken(OriginError("there is no worker"))

    def cancel(self) -> None:
        """As for ``IOrigin``: nobody waits for the answer any more."""
        if self._sink is not None:
            self._sink = None
            self.leave(tell=True)

    def met(self, packet: Packet) -> bool:
        """As ``Session``."""
        return True

    def packet(self, packet: Packet, seq: int | None) -> None:
        """As ``Session``.  Whoever has sent the last packet is told the next one, so that each before the
        agreement has to say who that is."""
        if packet.sender:
            self.worker = packet.sender
        elif self._sink is not None and packet.type not in ("error", "cancel"):
            self.leave()
            self.broken(OriginError("a packet without sender"))
            return
        super().packet(packet, seq)

    def _answered(self, packet: Packet) -> None:
        """The worker says something before it has agreed."""
        if packet.type == "credit":
            self._allowance.grant(packet.credits)
        elif packet.type == "":
            self._agreed(packet)
        elif packet.type != "keep-alive":
            self.leave()
            self.broken(OriginError(f"{packet.type} before the agreement"))

    def _agreed(self, packet: Packet) -> None:
        """Whatever its code is."""
        try:
            response = _response(101, packet)
        except HttpError as error:
            self.leave(tell=True)
            self.broken(OriginError(error.text))
            return
        self._allowance.grant(packet.credits)
        sink, self._sink = self._sink, None
        try:
            sink.opened(response, self)
        except Exception:
            self._services.stats.failure("origin")
            self.abort()

    def broken(self, error: OriginError, packet: Packet | None = None) -> None:
        """As ``Session``."""
        sink, self._sink = self._sink, None
        if sink is None:
            self._lose()
        elif packet is not None and packet.condition == "rejected":
            _refuse(sink, packet)
        elif isinstance(error, OriginBlocked | OriginSilent):
            # Clients who want a WebSocket are not told, in debug mode neither (zeromq 2.11).
            sink.failed(OriginError(str(error)))
        else:
            sink.failed(error)

    # ---- for the proxy (IOriginSocket) ---------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """As ``ISocket``."""
        return self._owner is not None and self._allowance.congested

    def own(self, owner: Any) -> None:
        """As ``ISocket``."""
        self._owner = owner
        self.resume()

    def send(self, kind: int, data: bytes, first: bool = True, last: bool = True) -> None:
        """As ``ISocket``."""
        if self._closing is None and self._lives:
            self._allowance.add(kind, data, last)
            self._flush()

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        """As ``ISocket``."""
        if self._closing is not None or not self._lives:
            return
        if self._words.closed:
            self._allowance = Allowance()  # the worker wants no more messages, and may not pay for them
        self._closing = Closing(self, code, reason)
        self._services.wheel.schedule(self._closing, self._services.config.tw.close_timeout)
        self._allowance.add(CLOSE, b"")
        self._flush()

    def part(self) -> None:
        """As ``IOriginSocket``."""
        self.close(NORMAL)

    def abort(self) -> None:
        """As ``ISocket``."""
        self._end(tell=True)

    def pause(self) -> None:
        """As ``ISocket``."""
        self._paused = True

    def resume(self) -> None:
        """As ``ISocket``."""
        self._paused = False
        if not self._passing:
            self._pass_on()
            self._repay()

    def refresh(self) -> None:
        """As ``IOriginSocket``; a worker speaks whenever it likes."""

    # ---- to the worker -------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what the credits are for."""
        while (piece := self._allowance.take()) is not None:
            kind, data, last = piece
            if kind == CLOSE:
                assert self._closing is not None
                self.say(zhttp.close, self._closing.code, self._closing.reason)
                self._closed = True
                self._over()
            elif kind > BINARY:
                self.say(zhttp.ping, data, pong=kind == PONG)
            else:
                owed, self._owed = self._owed, 0
                self.say(zhttp.data, data, not last, owed, _NAMES[kind])

    def _repay(self) -> None:
        """Give credits back that no message has carried."""
        owed, self._owed = self._owed, 0
        if self._lives:
            self.give_back(owed)

    # ---- from the worker -----------------------------------------------------------------------------------

    def heard(self, packet: Packet) -> None:
        """As ``Session``."""
        if self._sink is not None:
            self._answered(packet)
            return
        if not self._words.add(packet):
            self._lose(tell=True)
            return
        self._pass_on()
        if self._words.too_many:
            self.hub.complaints.drop("window", "a worker sends on and on without credits")
            self._lose(tell=True)
        if packet.type in _GRANTING and self._lives:
            self._grant(packet.credits)
        self._repay()

    def _pass_on(self) -> None:
        """Tell the owner what waits, as long as it listens."""
        if self._passing:
            return
        self._passing = True
        try:
            while self._words and self._owner is not None and not self._paused:
                self._tell(*self._words.next())
        except Exception:
            self._crash()
        self._passing = False

    def _tell(self, kind: int, data: bytes, first: bool, end: int) -> None:
        if kind != CLOSE:
            self._owed += len(data)
            self._owner.socket_received(kind, data, first, end)
            return
        self._owner.socket_closed(None if end == NO_CODE else end, data)
        self._over()

    def _grant(self, credits: int) -> None:
        crowded = self._allowance.congested
        self._allowance.grant(credits)
        self._flush()
        if crowded and not self._allowance.congested and self._owner is not None:
            try:
                self._owner.socket_drained()
            except Exception:
                self._crash()

    # ---- the end -------------------------------------------------------------------------------------------

    @property
    def _lives(self) -> bool:
        return self.hub.sessions.get(self.id) is self

    def _over(self) -> None:
        """One side has said CLOSE: perhaps both have now, and the owner knows."""
        if self._closed and self._words.closed and not self._words:
            self._lose()

    def overdue(self) -> None:
        """The worker lives, but does not answer CLOSE."""
        self._lose(tell=True)

    def _end(self, tell: bool) -> Any:
        """No more calls either way; returns who was the owner."""
        self.leave(tell)
        if self._closing is not None:
            self._services.wheel.cancel(self._closing)
        self._words.clear()
        owner, self._owner = self._owner, None
        return owner

    def _lose(self, tell: bool = False) -> None:
        owner = self._end(tell)
        if owner is not None:
            try:
                owner.socket_lost()
            except Exception:
                self._services.stats.failure("origin")

    def _crash(self) -> None:
        """Within an ``except`` block: the owner has a bug; this session ends, no other one notices."""
        self._services.stats.failure("origin")
        self._lose(tell=True)

    @property
    def _services(self) -> Any:
        return self.hub.room.services


class Closing:
    """Our CLOSE, and the time that the worker has for its own; an entry of the wheel."""

    __slots__ = ("_session", "code", "due", "reason", "slot")

    def __init__(self, session: SocketSession, code: int | None, reason: bytes) -> None:
        self._session = session
        self.code = code
        self.reason = reason
        self.due = self.slot = 0

    def expired(self) -> None:
        """The time is over."""
        self._session.overdue()


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
