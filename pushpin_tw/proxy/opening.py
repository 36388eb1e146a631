"""A client that wants a WebSocket: its targets in turn, the origin's yes or no (websocket 1.10, 2.1, 4.4).

Made by the gateway.  Answers the handshake with the origin's own words, or makes a tunnel; then nothing
refers to it any more.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from zope.interface import implementer

from pushpin_tw.errors import OriginError, OriginUnreachable
from pushpin_tw.figures import ICounted
from pushpin_tw.grip.wsextension import read_extension
from pushpin_tw.hold.inbox import Origin
from pushpin_tw.hold.socket import SocketHold
from pushpin_tw.interfaces import IResponderOwner
from pushpin_tw.proxy import answers
from pushpin_tw.proxy.subrequest import Place
from pushpin_tw.proxy.tunnel import Tunnel
from pushpin_tw.proxy.within import NOT_YET, guarded
from pushpin_tw.routing.route import Route, Target
from pushpin_tw.routing.uri import Uri
from pushpin_tw.sockets import IHandshake, ISocketSink
from pushpin_tw.wire.headers import Header, get_all
from pushpin_tw.wire.headsize import request_words, response_words
from pushpin_tw.wire.message import OriginRequest, Request, Response

_HANDSHAKE = frozenset(
    {b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-extensions", b"transfer-encoding"}
)
_OVER_HTTP = _HANDSHAKE | {b"content-length", b"content-type", b"keep-alive-interval"}
_REFUSAL = _HANDSHAKE | {b"content-length", b"keep-alive"}


@implementer(IHandshake)
class Handshake:
    """What a client has asked for, made out for one target as often as it is needed."""

    __slots__ = ("_opening", "_target", "connection_id")

    def __init__(self, opening: Opening, target: Target) -> None:
        self.connection_id: bytes = opening.connection_id
        self._opening = opening
        self._target = target

    def prepare(self) -> OriginRequest:
        """As ``IHandshake``."""
        opening = self._opening
        request: OriginRequest = opening.gateway.rewrite_handshake(opening, self._target)
        if opening.counts is not None:
            opening.counts.asked(request)
        return request


@implementer(ICounted, ISocketSink, IResponderOwner)
class Opening:
    """A handshake on its way."""

    __slots__ = (
        "_asked",
        "_call",
        "_logged",
        "address",
        "cohort",
        "connection_id",
        "gateway",
        "number",
        "request",
        "responder",
        "route",
        "since",
        "target",
        "trusted",
        "uri",
    )

    crowd = None
    rerun = None
    kind = "ws"

    def __init__(
        self, gateway: Any, request: Request, uri: Uri, route: Route, responder: Any, name: UUID
    ) -> None:
        self.gateway = gateway
        self.request = request
        self.uri = uri
        self.route = route
        self.responder = responder
        self.connection_id = str(name).encode()
        self.number = name.int
        self.target: Target | None = None
        self.since = 0.0
        """When the target was asked."""
        self.trusted = False
        """Whether the client is a GRIP proxy itself."""
        self._asked = 0
        self._call: Any = None
        self._logged = False
        self.address = ""
        self.cohort: Any = None

    @property
    def counts(self) -> Any:
        """Those of the route while this counts, else None."""
        return None if self.cohort is None else self.cohort.counts

    @property
    def secure(self) -> bool:
        """As ``ICounted``."""
        return self.request.secure

    def refresh(self) -> None:
        """As ``ICounted``; the origin is being asked already."""

    @property
    def debug(self) -> bool:
        """Whether the client may be told what went wrong."""
        return bool(self.route.debug or self.gateway.debug)

    @guarded
    def start(self) -> None:
        """Ask the first target."""
        self.responder.own(self)
        tally = self.gateway.tally
        if tally is not None:
            self.address = self.gateway.believed(self.request, self.trusted)
            tally.opened(self, request_words(self.request), self.route.named)
        self._ask()

    def _ask(self) -> None:
        target = self.target = self.route.targets[self._asked]
        self._asked += 1
        self._call = NOT_YET
        call = self.gateway.origins.origin(target).connect(Handshake(self, target), self)
        if self._call is NOT_YET:
            self._call = call
        # Else it has answered already, and another target may have been asked meanwhile.

    # ---- the origin's answer (ISocketSink) -----------------------------------------------------------------

    def opened(self, response: Response, socket: Any) -> None:
        """The client has its WebSocket."""
        self.gateway.answered(self, response)
        responder = self.responder
        if responder is None:
            socket.abort()
            return
        try:
            self._join(response, socket)
        except Exception:
            socket.abort()
            self.crash()

    def _join(self, response: Response, socket: Any) -> None:
        target, route, responder = self.target, self.route, self.responder
        assert target is not None
        self._call = None
        extension = None
        if not route.no_grip:
            extension = read_extension(get_all(response.headers, b"sec-websocket-extensions"))
        passed = b"" if extension is None or not self.trusted else extension.element
        reason = b"Switching Protocols" if target.over_http else response.reason
        client = responder.switch(reason, _accepted(response, target.over_http), passed)
        if client is None:
            self.lost()
            socket.abort()
            return
        tunnel = Tunnel(client, socket, target.over_http, self.gateway.stats)
        if self.cohort is not None:
            self._count_answer(response)
            tunnel.counted(self)
        self._release()
        prefix = None if extension is None or self.trusted else extension.prefix
        try:
            self._log(101)
            tunnel.begin(prefix, partial(self.make_hold, target), bool(target.subs))
        except Exception:
            tunnel.fail("tunnel")

    def make_hold(self, target: Target, tunnel: Tunnel) -> SocketHold:
        """What listens for the client."""
        route = self.route
        origin = Origin(Place.of(route, target, self.uri), str(self.uri), route.prefix, target.subs, None)
        bucket = route.id if route.explicit_id else ""
        hold = SocketHold(self.gateway.acceptor.room, tunnel.client, tunnel, bucket, origin)
        hold.debug = self.debug
        return hold

    @guarded
    def refused(self, response: Response, body: bytes) -> None:
        """The origin says something else: so does the proxy, whatever it is (websocket 1.10)."""
        self._call = None
        self.gateway.answered(self, response)
        responder = self.responder
        responder.persistent = False
        headers = [pair for pair in response.headers if pair[0].lower() not in _REFUSAL]
        self._log(response.status, answers.body_size(responder, response.status, b"", (), body))
        if self.cohort is not None:
            self._count_answer(response, len(body))
        self._release()
        responder.respond(response.status, response.reason, headers, body)

    @guarded
    def failed(self, error: OriginError) -> None:
        """No answer: the next target, or an error."""
        self._call = None
        self.gateway.unanswered(self)
        if isinstance(error, OriginUnreachable) and self._asked < len(self.route.targets):
            self._ask()
            return
        tried = [target.label for target in self.route.targets[: self._asked]]
        self._fail(answers.origin_error_text(error, tried, self.debug))

    # ---- the end -------------------------------------------------------------------------------------------

    @guarded
    def drained(self) -> None:
        """Nothing was written that the client could be slow to take."""

    @guarded
    def lost(self) -> None:
        """The client has gone."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        if not self._logged:
            self._logged = True
            self.gateway.log(self, "error", 0, 0)
        self._release()

    def _fail(self, text: str) -> None:
        responder = self.responder
        self._log(502, len(text) + 1)
        self._release()
        answers.answer(responder, 502, text, websocket=True)

    def crash(self) -> None:
        """Within an ``except`` block: log the bug, end this as well as may be."""
        self.gateway.stats.failure("handshake")
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        responder = self.responder
        self._release()
        if responder is not None:
            answers.answer(responder, 502, answers.ORIGIN_FAILED, websocket=True)

    def _release(self) -> None:
        self.responder = None
        if self.cohort is not None:
            self.cohort.tally.closed(self)

    def _count_answer(self, response: Response, size: int = 0) -> None:
        """Count what the origin has said, which is about what the client is told."""
        counts = self.cohort.counts
        counts.server_content_received += size
        counts.client_header_sent += response_words(response)
        counts.client_content_sent += size

    def _log(self, status: int, size: int = 0) -> None:
        if not self._logged:
            self._logged = True
            self.gateway.log(self, "code", status, size)


def _accepted(response: Response, over_http: bool) -> list[Header]:
    """The origin's headers in a 101 (websocket 1.2)."""
    if not over_http:
        return [pair for pair in response.headers if pair[0].lower() not in _HANDSHAKE]
    return [
        pair
        for pair in response.headers
        if pair[0].lower() not in _OVER_HTTP and pair[0][:9].lower() != b"set-meta-"
    ]
