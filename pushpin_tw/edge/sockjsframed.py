"""SockJS within a WebSocket: frames of strings, a heartbeat (websocket 6.6).

Wrapped by ``edge.sockjs`` around the responder of a handshake, and around the client's socket afterwards.
What a WebSocket is stays the business of the socket inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from pushpin_tw.edge.parting import retire
from pushpin_tw.edge.sockjspieces import Pieces
from pushpin_tw.edge.sockjssession import HEARTBEAT
from pushpin_tw.errors import WireError
from pushpin_tw.interfaces import IParting
from pushpin_tw.sockets import BINARY, MESSAGE, SOCKJS_FRAMES, TEXT, IClientSocket, ISocketOwner
from pushpin_tw.wire import sockjs
from pushpin_tw.wire.headers import Header


class FramedResponder:
    """A responder whose socket speaks SockJS."""

    __slots__ = ("_inner", "_services")

    def __init__(self, inner: Any, services: Any) -> None:
        self._inner = inner
        self._services = services

    @property
    def minor(self) -> int:
        """As ``IResponder``; so are all others."""
        return int(self._inner.minor)

    @property
    def persistent(self) -> bool:
        return bool(self._inner.persistent)

    @persistent.setter
    def persistent(self, value: bool) -> None:
        self._inner.persistent = value

    @property
    def head_only(self) -> bool:
        return bool(self._inner.head_only)

    @property
    def congested(self) -> bool:
        return bool(self._inner.congested)

    @property
    def started(self) -> bool:
        return bool(self._inner.started)

    @property
    def sent(self) -> int:
        return int(self._inner.sent)

    def own(self, owner: Any) -> None:
        self._inner.own(owner)

    def respond(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        self._inner.respond(status, reason, headers, body)

    def abort(self) -> None:
        self._inner.abort()

    def switch(self, reason: bytes, headers: Sequence[Header], extensions: bytes) -> FramedSocket | None:
        """The client has its WebSocket, and a session within."""
        inner = self._inner.switch(reason, headers, extensions)
        return None if inner is None else FramedSocket(inner, self._services)


@implementer(IClientSocket, IParting, ISocketOwner)
class FramedSocket:
    """The client's socket, and owner of the one inside; an entry of the timer wheel."""

    __slots__ = ("_from_client", "_inner", "_owner", "_services", "_to_client", "due", "form", "slot")

    def __init__(self, inner: Any, services: Any) -> None:
        self._inner = inner
        self.form = SOCKJS_FRAMES[bool(inner.form)]
        self._services = services
        self._owner: Any = None
        self._from_client = Pieces()
        self._to_client = Pieces()
        self.due = 0
        self.slot = 0
        inner.send(TEXT, sockjs.OPEN)
        services.wheel.schedule(self, HEARTBEAT)

    def expired(self) -> None:
        """The wheel's call: a heartbeat, whatever else was sent."""
        self._services.wheel.schedule(self, HEARTBEAT)
        if not self._inner.congested:
            self._inner.send(TEXT, sockjs.HEARTBEAT)

    # ---- for the proxy (IClientSocket) ---------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """As ``ISocket``."""
        return bool(self._inner.congested)

    def own(self, owner: Any) -> None:
        """As ``ISocket``."""
        self._owner = owner
        self._inner.own(self)

    def send(self, kind: int, data: bytes, first: bool = True, last: bool = True) -> None:
        """A piece of a message; it waits for the last one.  Pings do not reach clients of SockJS."""
        if kind > BINARY:
            return
        if not self._to_client.add(data, first):
            self._services.stats.count("sockjs-sessions-overflowed")
            owner, self._owner = self._owner, None
            self.abort()
            if owner is not None:
                self._services.reactor.callLater(0, owner.socket_lost)
        elif last:
            self._inner.send(TEXT, sockjs.array([sockjs.quote(self._to_client.take())]))

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        """As ``IClientSocket``."""
        self._inner.deliver(data, parts)

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        """As ``ISocket``; there is no frame of SockJS for that here."""
        self._services.wheel.cancel(self)
        self._inner.close(code, reason)

    def abort(self) -> None:
        """As ``ISocket``."""
        self._owner = None
        self._services.wheel.cancel(self)
        self._inner.abort()

    def pause(self) -> None:
        """As ``ISocket``."""
        self._inner.pause()

    def resume(self) -> None:
        """As ``ISocket``."""
        self._inner.resume()

    # ---- the client's WebSocket (ISocketOwner) -------------------------------------------------------------

    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        """A piece of an array of strings."""
        if kind > BINARY or self._owner is None:
            return
        if not self._from_client.add(data, first):
            self._refuse()
        elif end == MESSAGE:
            try:
                messages = sockjs.read_messages(self._from_client.take())
            except WireError:
                self._refuse()
                return
            for message in messages:
                if self._owner is not None:
                    self._owner.socket_received(TEXT, message, True, MESSAGE)

    def _refuse(self) -> None:
        """The client does not speak SockJS: it is dropped."""
        owner = self._owner
        self.abort()
        owner.socket_lost()

    def socket_closed(self, code: int | None, reason: bytes) -> None:
        """As ``ISocketOwner``."""
        if self._owner is not None:
            self._owner.socket_closed(code, reason)

    def socket_drained(self) -> None:
        """As ``ISocketOwner``."""
        if self._owner is not None:
            self._owner.socket_drained()

    def socket_lost(self) -> None:
        """As ``ISocketOwner``."""
        self._services.wheel.cancel(self)
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.socket_lost()

    def retire(self) -> None:
        """As ``IParting``."""
        retire(self._owner)
