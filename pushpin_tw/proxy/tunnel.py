"""One proxied WebSocket: the client's end and the origin's, joined (websocket 1.6 to 1.8, 2.3 to 2.5).

Made by ``proxy.opening`` when the origin has agreed.  Passes pieces of messages from one end to the other at
the pace of the slower one, takes out what the origin says to the proxy itself, and lets a hold do what that
asks for.  Never learns what is behind either end: frames, events over HTTP, or SockJS.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from zope.interface import implementer

from pushpin_tw.errors import ControlError
from pushpin_tw.figures import ICounted
from pushpin_tw.grip.wscontrol import (
    Detach,
    FlushDelayed,
    KeepAlive,
    NoKeepAlive,
    SendDelayed,
    SetMeta,
    Subscribe,
    Unsubscribe,
    parse_control,
)
from pushpin_tw.grip.wssorting import Sorter
from pushpin_tw.hold.socket import SocketHold
from pushpin_tw.interfaces import IParting
from pushpin_tw.proxy.counting import CountedSocket
from pushpin_tw.sockets import BINARY, GOING_AWAY, MESSAGE, NORMAL, ISocketOwner

P = ParamSpec("P")


class Guarded(Protocol):
    """An end of a tunnel."""

    tunnel: Tunnel


G = TypeVar("G", bound=Guarded)


def guarded(method: Callable[Concatenate[G, P], None]) -> Callable[Concatenate[G, P], None]:
    """A bug in ``method`` costs this one client, nobody else."""

    def call(self: G, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:
            self.tunnel.fail("tunnel")

    return update_wrapper(call, method)


@implementer(IParting, ISocketOwner)
class ClientEnd:
    """What the client does."""

    __slots__ = ("tunnel",)

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel

    @guarded
    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        """To the origin, as it is; without one, to nobody."""
        tunnel = self.tunnel
        origin = tunnel.origin
        if origin is None:
            return
        last = end == MESSAGE
        if kind > BINARY:
            origin.send(kind, data)
        elif data or last:
            tunnel.from_client(len(data), last)
            origin.send(kind, data, tunnel.fresh, last)
            tunnel.fresh = last
        if origin.congested:
            tunnel.client.pause()

    @guarded
    def socket_closed(self, code: int | None, reason: bytes) -> None:
        """The client wants to end."""
        tunnel = self.tunnel
        if tunnel.origin is not None:
            tunnel.close_origin(code, reason)
        elif not tunnel.closing:
            tunnel.close_client(NORMAL, b"")

    @guarded
    def socket_drained(self) -> None:
        """The client reads again."""
        if self.tunnel.origin is not None:
            self.tunnel.origin.resume()

    @guarded
    def socket_lost(self) -> None:
        """The client has gone."""
        self.tunnel.client_lost()

    @guarded
    def retire(self) -> None:
        """As ``IParting``."""
        self.tunnel.end(GOING_AWAY, b"")


@implementer(ISocketOwner)
class OriginEnd:
    """What the origin does."""

    __slots__ = ("_sorter", "tunnel")

    def __init__(self, tunnel: Tunnel, prefix: bytes | None) -> None:
        """``prefix``: what stands before messages for the client; None when the origin speaks no GRIP."""
        self.tunnel = tunnel
        self._sorter = None if prefix is None else Sorter(prefix)

    @guarded
    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        """To the client, or into our own ears."""
        tunnel, sorter = self.tunnel, self._sorter
        if kind > BINARY:
            tunnel.to_client(kind, data, True, True)
            return
        if sorter is not None:
            wanted = sorter.sort(kind, data, first, end)
            if wanted is None:
                if sorter.control is not None:
                    self._hear(sorter.control)
                elif sorter.spoiled:
                    tunnel.ignore("grip control message is fragmented or too large")
                return
            data = wanted
        last = end == MESSAGE
        if data or last:
            tunnel.to_client(kind, data, not tunnel.within, last)

    def _hear(self, message: bytes) -> None:
        try:
            control = parse_control(message)
        except ControlError as error:
            self.tunnel.ignore(error.detail)
        else:
            self.tunnel.obey(control)

    @guarded
    def socket_closed(self, code: int | None, reason: bytes) -> None:
        """The origin wants to end."""
        self.tunnel.close_client(code, reason)

    @guarded
    def socket_drained(self) -> None:
        """The origin takes more."""
        self.tunnel.client.resume()

    @guarded
    def socket_lost(self) -> None:
        """The origin has gone."""
        self.tunnel.origin_lost()


@implementer(ISocketOwner)
class Nobody:
    """Owns an origin that was detached: whatever it says has no consequences."""

    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        """As ``ISocketOwner``."""

    def socket_closed(self, code: int | None, reason: bytes) -> None:
        """As ``ISocketOwner``."""

    def socket_drained(self) -> None:
        """As ``ISocketOwner``."""

    def socket_lost(self) -> None:
        """As ``ISocketOwner``."""


_NOBODY = Nobody()


@implementer(ICounted)
class Tunnel(CountedSocket):
    """A client and its origin; what each of the two does comes in through its end."""

    __slots__ = (
        "_hold",
        "_make_hold",
        "_over_http",
        "_stats",
        "client",
        "closing",
        "fresh",
        "origin",
        "origin_closing",
        "within",
    )

    def __init__(self, client: Any, origin: Any, over_http: bool, stats: Any) -> None:
        """``client`` is an ``IClientSocket``, ``origin`` an ``IOriginSocket``."""
        super().__init__()
        self.client = client
        self.origin: Any = origin
        """None when it is detached or gone."""
        self.closing = False
        """Whether CLOSE was said to the client."""
        self.origin_closing = False
        """Whether CLOSE was said to the origin."""
        self.fresh = True
        """Whether what comes next from the client begins a message, as the origin has seen them."""
        self.within = False
        """Whether the client has seen the beginning of a message and not its end."""
        self._over_http = over_http
        self._stats = stats
        self._hold: SocketHold | None = None
        self._make_hold: Callable[[Tunnel], SocketHold]

    def begin(self, prefix: bytes | None, make_hold: Callable[[Tunnel], SocketHold], listens: bool) -> None:
        """Own both ends.  ``make_hold`` is called when a hold is needed: at once if the client ``listens`` to
        channels of its route."""
        self._make_hold = make_hold
        if listens:
            self._hold = make_hold(self)
        self.client.own(ClientEnd(self))
        if self.origin is not None:
            self.origin.own(OriginEnd(self, prefix))

    # ---- towards the client --------------------------------------------------------------------------------

    def to_client(self, kind: int, data: bytes, first: bool, last: bool) -> None:
        """Something of the origin's; while the client does not read, the origin is not read either."""
        if self.closing:
            return
        client, hold = self.client, self._hold
        client.send(kind, data, first, last)
        if kind <= BINARY:
            self.from_origin(len(data), last)
            self.within = not last
        if hold is not None:
            hold.sent()
            hold.within = self.within
            if not self.within:
                hold.message_ended()
        if client.congested and self.origin is not None:
            self.origin.pause()

    def close_client(self, code: int | None, reason: bytes) -> None:
        """Say CLOSE; nothing is published to this client any more."""
        if not self.closing:
            self.closing = True
            self._leave()
            self.client.close(code, reason)

    def _leave(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.leave()

    # ---- towards the origin --------------------------------------------------------------------------------

    def close_origin(self, code: int | None, reason: bytes) -> None:
        """Say CLOSE."""
        if not self.origin_closing:
            self.origin_closing = True
            self.origin.close(code, reason)

    def _part(self) -> None:
        """Say CLOSE of our own accord."""
        if not self.origin_closing:
            self.origin_closing = True
            self.origin.part()

    # ---- the end -------------------------------------------------------------------------------------------

    def client_lost(self) -> None:
        """The client has gone.  An origin that has heard CLOSE is left to its own end, one that speaks over
        HTTP only if it has answered (websocket 1.8, 4.12)."""
        origin, self.origin = self.origin, None
        answered = self.closing
        self.closing = True
        self._leave()
        self.ended()
        if origin is None:
            return
        origin.own(_NOBODY)
        if not self.origin_closing or (self._over_http and not answered):
            origin.abort()
        else:
            origin.resume()  # its end is not the client's pace any more

    def origin_lost(self) -> None:
        """The origin has gone; unless it has said CLOSE before, the client is dropped (websocket 1.8)."""
        self.origin = None
        if not self.closing:
            self.closing = True
            self._leave()
            self.ended()
            self.client.abort()
        else:
            self.client.resume()  # it may have been waiting for an origin that takes no more

    def fail(self, where: str) -> None:
        """Within an ``except`` block: log the bug, let go of both sides."""
        self._stats.failure(where)
        self.closing = True
        origin, self.origin = self.origin, None
        ends: list[Callable[[], object]] = [self.ended, self._leave, self.client.abort]
        if origin is not None:
            ends.append(origin.abort)
        for end in ends:
            try:
                end()
            except Exception:
                self._stats.failure(where)

    # ---- for the hold (hold.socket.Peer) -------------------------------------------------------------------

    def end(self, code: int | None, reason: bytes) -> None:
        """Say CLOSE to both sides; the origin is not told why (websocket 5.3)."""
        self.close_client(NORMAL if code is None else code, reason)
        if self.origin is not None:
            self._part()

    def refresh(self) -> None:
        """Ask the origin for news."""
        if self.origin is not None and not self.origin_closing:
            self.origin.refresh()

    def crash(self) -> None:
        """A delivery has failed; whoever calls has logged it."""
        self.client.abort()
        self.client_lost()

    # ---- what the origin says to the proxy -----------------------------------------------------------------

    def ignore(self, why: str) -> None:
        """A control message that means nothing; its sender is not told (websocket 3.1)."""
        self._stats.note("debug", why, "handler")

    def obey(self, control: object) -> None:
        """Do what a control message says."""
        if self.closing:
            return
        if isinstance(control, Detach):
            self._detach()
            return
        hold = self._hold
        if hold is None:
            hold = self._hold = self._make_hold(self)
        match control:
            case Subscribe():
                hold.subscribe(control.channel, control.filters)
            case Unsubscribe():
                hold.unsubscribe(control.channel)
            case SetMeta():
                hold.set_meta(control.name, control.value)
            case KeepAlive():
                hold.keep_alive(control)
            case NoKeepAlive():
                hold.keep_alive(None)
            case SendDelayed():
                hold.send_delayed(control)
            case FlushDelayed():
                hold.flush_delayed()
            # A session would be the business of a service that keeps state, of which there is none.

    def _detach(self) -> None:
        """The origin goes for good; what is published still comes (websocket 3.4)."""
        origin = self.origin
        if origin is not None:
            self._part()
            origin.own(_NOBODY)
            origin.resume()
            self.origin = None
            self.client.resume()
