"""Requests that the proxy makes for a hold: which way they go, and from one target to the next (grip 10.2).

``Ways`` finds the targets, ``SubRequest`` asks them in turn; ``fetching`` and ``calls`` are built on it.
Such a request carries nothing of the client, and its response is never interpreted by the exchange.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import HttpError, OriginError, OriginUnreachable
from pushpin_tw.grip.content import decode_body
from pushpin_tw.grip.terms import LinkRequest
from pushpin_tw.interfaces import IOriginSink
from pushpin_tw.proxy.within import NOT_YET
from pushpin_tw.routing.rewrite import Rewriter, sign
from pushpin_tw.routing.route import Route, Target
from pushpin_tw.routing.uri import Authority, Uri, request_uri
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.gripsig import Signer
from pushpin_tw.wire.headers import Header, get_all, split_list
from pushpin_tw.wire.message import OriginRequest, Request, Response

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_OVER_HTTP = {"ws": "http", "wss": "https"}

Way = Callable[[], tuple[Any, OriginRequest]]
"""An IOrigin and what to ask it; raises OriginError when it cannot be expressed for this target."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hold's client has come in: what decides which way the hold's own requests go."""

    route_id: str
    signer: Signer | None
    scheme: str
    """'http' or 'https'."""
    host: str
    port: int
    untrusted: bool
    """Whether the target must not lead to private addresses; then links must not either."""
    debug: bool
    """Whether the client may be told what went wrong."""
    named: str = ""
    """What statistics call the route: its id if that is an explicit one, else ''."""

    @classmethod
    def of(cls, route: Route, target: Target, uri: Uri) -> Place:
        """For a client's request for ``uri`` that ``target`` of ``route`` has answered."""
        scheme = _OVER_HTTP.get(uri.scheme, uri.scheme)
        port = uri.port or _PORTS[scheme]
        untrusted, debug = target.untrusted, route.debug
        return _place(route.id, route.signer, scheme, uri.host, port, untrusted, debug, route.named)

    def covers(self, uri: Uri) -> bool:
        """Whether ``uri`` has scheme, host and port of the client's request."""
        return (uri.scheme, uri.host, uri.port or _PORTS[uri.scheme]) == (self.scheme, self.host, self.port)


@lru_cache(maxsize=1024)
def _place(*values: Any) -> Place:
    """Thousands of holds have the same place; it is kept once."""
    return Place(*values)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be asked."""

    link: LinkRequest
    method: bytes = b"GET"
    headers: Sequence[Header] = ()
    """What a filter adds."""
    body: bytes = b""


class Ways:
    """Finds the targets of a request."""

    def __init__(self, gateway: Any, rewriter: Rewriter, wheel: Wheel) -> None:
        """``gateway`` has the routing table of the moment and the origins; the wheel knows the time."""
        self._gateway = gateway
        self._rewriter = rewriter
        self._wheel = wheel

    def of(self, order: Order) -> list[Way]:
        """The ways of ``order``, in the order in which they are tried; at least one.

        :raises HttpError: the link cannot be asked for, not now and not later.
        """
        request, uri = _read(order)
        route = self._route(order.link.place, uri)
        if route is None:
            return [partial(self._direct, order, uri)]
        if route.orig_headers:
            route = replace(route, orig_headers=False)  # none of these headers is the client's
        return [partial(self._routed, order, request, uri, route, target) for target in route.targets]

    def _route(self, place: Any, uri: Uri) -> Route | None:
        """The route of the place, if ``uri`` still leads through it."""
        if not place.covers(uri):
            return None
        table = self._gateway.table
        known, route = table.by_id(place.route_id)
        if route is None and known:
            route = table.route(uri.host, uri.path, False, uri.secure)
        if route is None or not uri.path.startswith(route.condition.path_beg):
            return None
        return route  # type: ignore[no-any-return]

    def _routed(
        self, order: Order, request: Request, uri: Uri, route: Route, target: Target
    ) -> tuple[Any, OriginRequest]:
        now, length = int(self._wheel.seconds()), len(order.body)
        prepared = self._rewriter.rewrite(request, uri, route, target, now, length, order.link.last_ids)
        return self._gateway.origins.origin(target), prepared

    def _direct(self, order: Order, uri: Uri) -> tuple[Any, OriginRequest]:
        """To the link's own host, whatever routes say about it."""
        place: Any = order.link.place
        host = f"[{uri.host}]" if ":" in uri.host else uri.host
        target = Target(
            "", f"{host}:{uri.port or _PORTS[uri.scheme]}", ssl=uri.secure, untrusted=place.untrusted
        )
        headers = [(b"Host", Authority(uri.host, uri.port).text(uri.secure)), *order.headers]
        sign(headers, place.signer, int(self._wheel.seconds()), order.link.last_ids)
        wanted = uri.path if uri.query is None else b"%b?%b" % (uri.path, uri.query)
        prepared = OriginRequest(
            order.method, wanted, headers, len(order.body), uri.host, uri.secure, uri.path, uri.query
        )
        return self._gateway.origins.direct(target), prepared


def _read(order: Order) -> tuple[Request, Uri]:
    """The order as if a client had sent it."""
    scheme, _, rest = order.link.uri.partition("://")
    end = min(at for at in (rest.find("/"), rest.find("?"), len(rest)) if at >= 0)
    host, target = rest[:end].encode(), rest[end:].encode()
    if not target.startswith(b"/"):
        target = b"/" + target
    request = Request(order.method, target, 1, list(order.headers), host=host, secure=scheme == "https")
    return request, request_uri(request, accept_forwarded=False)


def codings(response: Response) -> list[bytes]:
    """The codings of a body; nobody has asked for any."""
    return [
        coding
        for coding in split_list(get_all(response.headers, b"content-encoding"))
        if coding.lower() != b"identity"
    ]


def decoded(response: Response, body: bytes, limit: int) -> bytes:
    """The content of a complete body.

    :raises GripError: it cannot be decoded, or only to more than ``limit`` bytes.
    """
    coding = codings(response)
    return decode_body(b", ".join(coding), body, limit) if coding and body else body


@dataclass(slots=True)
class LinkRoom:
    """What requests of holds need from the process."""

    ways: Ways
    filters: Any
    """``grip.filters.Filters``."""
    later: Callable[[float, Callable[[], None]], object]
    """Call back in so many seconds, never at once."""
    wheel: Wheel
    stats: Any
    """IStatsSink."""
    tally: Any = None
    """ITally; None when nobody wants figures."""
    active: set[SubRequest] = field(default_factory=set)
    """What is under way."""
    closed: bool = False
    """Whether nothing more is sent, because the process ends its work."""

    def close(self) -> None:
        """Drop what is under way, and send nothing more."""
        self.closed = True
        for request in tuple(self.active):
            request.stop()


@implementer(IOriginSink)
class SubRequest(ABC):
    """One request, tried at one target after the other while none can be reached.

    A bug in whoever waits for it costs this request alone.
    """

    __slots__ = ("_call", "_held_up", "_ways", "order", "over", "response", "room")

    def __init__(self, room: LinkRoom, order: Order) -> None:
        self.room = room
        self.order = order
        self.over = False
        """Whether it has come to its end, or nobody wants it any more."""
        self.response: Response | None = None
        self._ways: list[Way] = []
        self._call: Any = None
        self._held_up = False

    @abstractmethod
    def on_response(self, response: Response) -> None:
        """The head has come."""

    @abstractmethod
    def on_data(self, data: bytes) -> None:
        """Body bytes have come."""

    @abstractmethod
    def on_end(self) -> None:
        """The response is complete."""

    @abstractmethod
    def on_failure(self, error: Exception) -> None:
        """There is no (more) response, an ``OriginError``; or the request cannot be made, an ``HttpError``.
        It is over."""

    def send(self) -> None:
        """Ask the first target."""
        self.room.active.add(self)
        self._guarded(self._send)

    def stop(self) -> None:
        """Nobody wants the rest; nothing more is heard."""
        self.over = True
        self.room.active.discard(self)
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def hold_up(self, wait: bool) -> None:
        """Let the origin wait, or go on; also one that is not asked yet."""
        if wait == self._held_up:
            return
        self._held_up = wait
        if self._call is None:
            return
        if wait:
            self._call.pause()
        else:
            self._call.resume()

    def _send(self) -> None:
        try:
            self._ways = self.room.ways.of(self.order)
        except HttpError as error:
            self._fail(error)
            return
        self._ask()

    def _ask(self) -> None:
        try:
            origin, prepared = self._ways.pop(0)()
        except OriginError as error:
            self._fail(error)
            return
        self._call = NOT_YET
        call = origin.fetch(prepared, self)
        counts = self._counts
        if counts is not None:
            counts.asked(prepared)
            counts.server_content_sent += len(self.order.body)
        if self._call is not NOT_YET:
            call.cancel()  # it has answered or failed already; harmless then
            return
        self._call = call
        if self.order.body:
            call.write(self.order.body)
        if self._call is call:
            call.finish()
        if self._call is call and self._held_up:
            call.pause()

    @property
    def _counts(self) -> Any:
        """What statistics know of the route; None when there are none."""
        tally = self.room.tally
        place: Any = self.order.link.place
        return None if tally is None else tally.routes[place.named]

    def _fail(self, error: Exception) -> None:
        self.stop()
        self.on_failure(error)

    def _guarded(self, act: Callable[..., None], *args: Any) -> None:
        if self.over:
            return
        try:
            act(*args)
        except Exception:
            self.room.stats.failure("link")
            if not self.over:
                self._fail(OriginError("unexpected error"))

    # ---- the origin's answer (IOriginSink) -----------------------------------------------------------------

    def responded(self, response: Response) -> None:
        """As ``IOriginSink``."""
        self.response = response
        counts = self._counts
        if counts is not None:
            counts.answered(response)
        self._guarded(self.on_response, response)

    def received(self, data: bytes) -> None:
        """As ``IOriginSink``."""
        counts = self._counts
        if counts is not None:
            counts.server_content_received += len(data)
        self._guarded(self.on_data, data)

    def settled(self) -> None:  # noqa: B027  # nothing waits for it
        """As ``IOriginSink``."""

    def finished(self) -> None:
        """As ``IOriginSink``."""
        self._call = None
        self._guarded(self._finish)

    def _finish(self) -> None:
        self.on_end()
        self.stop()

    def failed(self, error: Exception) -> None:
        """As ``IOriginSink``."""
        self._call = None
        if isinstance(error, OriginUnreachable) and self._ways and self.response is None:
            self._guarded(self._ask)
        else:
            self._guarded(self._fail, error)

    def origin_drained(self) -> None:  # noqa: B027  # all was written at once
        """As ``IOriginSink``."""
