"""Where requests arrive: find the route, answer what needs none, start the exchange (proxy 0).

Called by the edge for every request and by holds that ask their origin again.  Knows the routing table of the
moment; an exchange that has started keeps the route it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from zope.interface import implementer

from pushpin_tw.config.loglevel import INFO
from pushpin_tw.errors import HttpError
from pushpin_tw.interfaces import IGateway, IRefetch
from pushpin_tw.proxy import answers
from pushpin_tw.proxy.dressed import dress
from pushpin_tw.proxy.exchange import Exchange
from pushpin_tw.proxy.givenbody import GivenBody
from pushpin_tw.proxy.held import Acceptor, Retry
from pushpin_tw.proxy.opening import Opening
from pushpin_tw.proxy.sharing import Sharing
from pushpin_tw.routing.crossorigin import Dress, read_cors
from pushpin_tw.routing.jsonp import unwrap
from pushpin_tw.routing.rewrite import Rewriter
from pushpin_tw.routing.route import Condition, Route, Target
from pushpin_tw.routing.table import RouteTable
from pushpin_tw.routing.uri import Uri, request_uri
from pushpin_tw.wheel import WheelClock
from pushpin_tw.wire.gripsig import Key, verify
from pushpin_tw.wire.headers import get
from pushpin_tw.wire.headsize import request_words
from pushpin_tw.wire.http1 import RARE
from pushpin_tw.wire.message import OriginRequest, Request, RequestLine, Response
from pushpin_tw.wire.websocket import check_extensions, check_handshake

_EVENTS = b"application/websocket-events"
_NO_ROUTE = Route(Condition(), ())
_LENGTHS = frozenset(map(len, (b"user-agent", b"referer", b"grip-last")))


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The keys of ``[proxy]`` that the gateway itself obeys."""

    debug: bool = False
    accept_x_forwarded_protocol: bool = False
    accept_pushpin_route: bool = False
    auto_cross_origin: bool = False
    upstream_key: Key | None = None
    """The key of GRIP proxies in front of this one; None: nobody is trusted."""


@implementer(IGateway, IRefetch)
class Gateway:
    """The proxy's front door."""

    def __init__(
        self,
        settings: GatewaySettings,
        rewriter: Rewriter,
        origins: Any,
        clock: WheelClock,
        entropy: Callable[[int], bytes],
        stats: Any,
    ) -> None:
        """``origins.origin(target)`` gives the IOrigin of a target; ``clock`` tells the time for
        signatures; ``entropy(n)`` makes ``n`` bytes that nobody can guess."""
        self.table = RouteTable([])
        self.origins = origins
        self.stats = stats
        self.configure(settings)
        self._rewriter = rewriter
        self._clock = clock
        self._entropy = entropy
        self.acceptor: Acceptor
        self.sockjs: Any
        """Who takes requests of routes with ``sockjs``."""
        self.tally: Any = None
        """ITally; None when nobody wants figures."""
        self.sharing: Sharing | None = None
        """Who lets equal requests share an exchange; None when each is asked for itself."""

    def configure(self, settings: GatewaySettings) -> None:
        """Obey these, from now on."""
        self.debug = settings.debug
        self._settings = settings

    def handle_request(self, request: Request, body: Any, responder: Any) -> None:
        """Answer ``request``; see ``IGateway``."""
        try:
            uri = request_uri(request, self._settings.accept_x_forwarded_protocol)
        except HttpError as error:
            self._early(body, responder, error.status, error.text)
            return
        rare = request.rare
        if not (check_handshake(request) if request.websocket else _sound(request)):
            self._early(body, responder, 400, answers.NOT_WEBSOCKET)
            return
        route = self._route(request, uri)
        if route is not None and _for_sockjs(route, uri):
            self.sockjs.handle(request, uri, route, body, responder, self.open_socket)
            return
        if route is not None and request.websocket:
            self.open_socket(request, uri, route, responder)
            return
        counts = None if self.tally is None else self._opened(request, route, responder)
        if (self._settings.auto_cross_origin or (route is not None and route.aco)) and not request.websocket:
            dressed = self._dress(request, uri, route, body, responder)
            if dressed is None:
                return
            request, uri, body, responder = dressed
            rare = tuple(RARE)  # it may be quite another one
        if not request.websocket and rare and get(request.headers, b"pushpin-check") is not None:
            self._refuse(request, body, responder, 200, answers.CHECK, uri)
        elif route is None:
            self._refuse(request, body, responder, 502, answers.NO_ROUTE, uri)
        else:
            exchange = Exchange(self, request, uri, route, body, responder, counts)
            exchange.trusted = self._vouched(request)
            exchange.start()

    def open_socket(self, request: Request, uri: Uri, route: Route, responder: Any) -> None:
        """Ask for a WebSocket on behalf of ``responder``, which is answered or switched."""
        name = UUID(bytes=self._entropy(16), version=4)
        opening = Opening(self, request, uri, route, responder, name)
        opening.trusted = self._vouched(request)
        opening.start()

    def _opened(self, request: Request, route: Route | None, responder: Any) -> Any:
        """Count a request that was understood; returns the counts of its route."""
        if request.rare and self.tally.tells_connections:
            responder.believed = self.believed(request, self._vouched(request))
        return self.tally.opened(responder, request_words(request), "" if route is None else route.named)

    def _dress(
        self, request: Request, uri: Uri, route: Route | None, body: Any, responder: Any
    ) -> tuple[Request, Uri, Any, Any] | None:
        """What goes on instead for a client of another origin (proxy 6); None when it was refused."""
        clothes = Dress(read_cors(request.headers))
        try:
            plain = unwrap(request, uri, route or _NO_ROUTE)
        except HttpError as error:
            self._refuse(request, body, dress(responder, clothes), error.status, error.text, uri)
            return None
        if plain is not None:
            clothes = replace(clothes, padding=plain.padding)
            request, uri = plain.request, plain.uri
            if plain.body is not None:
                if body is not None:
                    body.abandon()
                body = GivenBody(plain.body)
        return request, uri, body, dress(responder, clothes)

    def _vouched(self, request: Request) -> bool:
        """Whether a GRIP proxy that shares the key has signed ``request`` (proxy 5)."""
        key = self._settings.upstream_key
        token = None if key is None else get(request.headers, b"grip-sig")
        return key is not None and token is not None and verify(key, token, self._clock.seconds())

    def _route(self, request: Request, uri: Uri) -> Route | None:
        if self._settings.accept_pushpin_route:
            wanted = get(request.headers, b"pushpin-route")
            if wanted:
                known, route = self.table.by_id(wanted.decode("utf-8", "replace"))
                if route is not None:
                    return route if uri.path.startswith(route.condition.path_beg) else None
                if not known:
                    return None
        return self.table.route(uri.host, uri.path, request.websocket, uri.secure)

    def _early(self, body: Any, responder: Any, status: int, text: str) -> None:
        """An early error (proxy 8.2): not a request that was understood, so it is not logged as one."""
        if body is not None:
            body.abandon()
        responder.persistent = False
        answers.answer(responder, status, text)

    def _refuse(
        self,
        request: Request,
        body: Any,
        responder: Any,
        status: int,
        text: str,
        uri: Uri,
        retry: bool = False,
    ) -> None:
        if body is not None:
            body.abandon()
        if self.stats.wants_requests:
            line = _line(request, uri, "code", status, answers.text_size(responder, status, text))
            line.retry = retry
            self.stats.request_finished(line)
        answers.answer(responder, status, text, websocket=request.websocket)

    # ---- for exchanges -------------------------------------------------------------------------------------

    def rewrite(self, exchange: Exchange, target: Target, length: int | None) -> OriginRequest:
        """The request as ``target`` shall see it.

        :raises OriginError: it cannot be expressed (no path is left).
        :raises HttpError: clients may not send this.
        """
        request = exchange.request
        if target.over_http and not exchange.trusted:
            content_type = get(request.headers, b"content-type") or b""
            if content_type.partition(b";")[0].strip() == _EVENTS:
                raise HttpError(answers.EVENTS_FORBIDDEN, 403)
        exchange.since = self._clock.seconds()
        now = int(exchange.since)
        return self._rewriter.rewrite(
            request, exchange.uri, exchange.route, target, now, length, exchange.last_ids, exchange.trusted
        )

    def believed(self, request: Request, trusted: bool) -> str:
        """The address of the client for statistics."""
        return self._rewriter.logical_address(request, trusted)

    def rewrite_handshake(self, opening: Opening, target: Target) -> OriginRequest:
        """The handshake as ``target`` shall see it.

        :raises OriginError: as ``rewrite``.
        """
        opening.since = self._clock.seconds()
        now = int(opening.since)
        return self._rewriter.handshake(
            opening.request, opening.uri, opening.route, target, now, opening.trusted
        )

    def answered(self, exchange: Exchange | Opening, response: Response) -> None:
        """The head of an answer has come from the target that was asked last."""
        if exchange.counts is not None:
            exchange.counts.answered(response)
        route = exchange.route
        took = self._clock.seconds() - exchange.since
        self.stats.took("origin", took, 1, route.id if route.explicit_id else "")

    def unanswered(self, exchange: Exchange | Opening) -> None:
        """There is no answer, or none that is of use."""
        route = exchange.route
        self.stats.count("origin-errors", 1, route.id if route.explicit_id else "")

    def log(self, exchange: Exchange | Opening, outcome: str, status: int, size: int) -> None:
        """One line for a finished or held request (proxy 8.11), if its route or else the service wants it."""
        level = exchange.route.log_level
        if not self.stats.wants_requests if level is None else level < INFO:
            return
        line = _line(exchange.request, exchange.uri, outcome, status, size)
        if exchange.target is not None:
            line.target = exchange.target.label
            line.over_http = isinstance(exchange, Opening) and exchange.target.over_http
        if exchange.route.explicit_id:
            line.route = exchange.route.id
        line.threshold = level
        line.retry = exchange.rerun is not None
        if exchange.crowd is not None and exchange.crowd.several:
            line.shared = id(exchange.crowd)
        self.stats.request_finished(line)

    # ---- for holds (IRefetch) ------------------------------------------------------------------------------

    def rerun(self, retry: Retry, responder: Any) -> None:
        """Run a held request again, by its route's id (grip 11.5)."""
        request = retry.request
        if self.tally is not None:
            self.tally.retried(responder)
        if retry.dress is not None:
            responder = dress(responder, retry.dress)
        uri = request_uri(request, self._settings.accept_x_forwarded_protocol)
        known, route = self.table.by_id(retry.route_id)
        if route is None and known:
            route = self._route(request, uri)
        if route is None:
            self._refuse(request, None, responder, 502, answers.NO_ROUTE, uri, retry=True)
            return
        counts = None if self.tally is None else self.tally.routes[route.named]
        Exchange(self, request, uri, route, None, responder, counts).run_again(retry)


def _sound(request: Request) -> bool:
    """Whether what is said of WebSockets by a request that asks for none can be read."""
    return b"sec-websocket-extensions" not in request.rare or check_extensions(request.headers)


def _for_sockjs(route: Route, uri: Uri) -> bool:
    return bool(route.sockjs) and uri.path.startswith(route.sockjs)


def _line(request: Request, uri: Uri, outcome: str, status: int, size: int) -> RequestLine:
    line = RequestLine(
        method=request.method, uri=str(uri), peer=request.peer, outcome=outcome, status=status, size=size
    )
    for name, value in request.headers:
        # Every request is logged: most headers are passed over by the length of their names.
        if len(name) in _LENGTHS:
            _note(line, name.lower(), value)
    return line


def _note(line: RequestLine, name: bytes, value: bytes) -> None:
    """Put a header into a line, if lines have a place for it; of several the first, but every Grip-Last."""
    if name == b"user-agent" and not line.user_agent:
        line.user_agent = value.decode("utf-8", "replace")
    elif name == b"referer" and not line.referer:
        line.referer = value.decode("utf-8", "replace")
    elif name == b"grip-last":
        channel, _, parameter = value.decode("utf-8", "replace").partition(";")
        line.last_ids.append((channel.strip(), parameter.partition("=")[2].strip()))
