"""The door for SockJS clients: what each path below a route's base is for (websocket 6.1 to 6.4).

Called by the gateway for requests of routes with ``sockjs``.  Folds the requests of one client into sessions,
which the gateway is given back as if each were one WebSocket.  Never talks to an origin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from zope.interface import implementer

from pushpin_tw.edge.sockjsanswer import EVENT_SOURCE, XHR_STREAMING, Carrier, Client, Stream, html_file
from pushpin_tw.edge.sockjsframed import FramedResponder
from pushpin_tw.edge.sockjssession import Session
from pushpin_tw.errors import HttpError, WireError
from pushpin_tw.interfaces import IBodySink
from pushpin_tw.routing.route import Route
from pushpin_tw.routing.uri import Uri
from pushpin_tw.wire.headers import Header, get, get_all, is_token, split_list, without
from pushpin_tw.wire.message import Request
from pushpin_tw.wire.sockjs import iframe_page, read_callback, read_form, read_messages

MAX_BODY = 100_000
"""Bytes of a request's body."""

NOT_FOUND = b"Not Found\n"
PAGE_AGE: Header = (b"Cache-Control", b"public, max-age=31536000")
_PREFLIGHT_AGE: Header = (b"Access-Control-Max-Age", b"31536000")
_PREFLIGHT_METHODS: Header = (b"Access-Control-Allow-Methods", b"OPTIONS, GET, POST")
_SCHEMES = {"http": "ws", "https": "wss"}
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding", b"content-type", b"expect"})

# What carries frames to the client: method and last segment of the path, and how many fit into a response.
_CARRIERS: dict[tuple[bytes, bytes], Callable[[bytes], Stream | None]] = {
    (b"POST", b"xhr"): lambda _: None,
    (b"GET", b"jsonp"): lambda _: None,
    (b"POST", b"jsonp"): lambda _: None,
    (b"POST", b"xhr_streaming"): lambda _: XHR_STREAMING,
    (b"GET", b"eventsource"): lambda _: EVENT_SOURCE,
    (b"GET", b"htmlfile"): html_file,
}
_SCRIPTS = frozenset({b"jsonp", b"jsonp_send"})
"""What is answered with a script, if the client names a function for it to call."""
_CALLING = _SCRIPTS | {b"htmlfile"}
_SENDS: dict[bytes, Callable[[bytes], list[bytes]]] = {b"xhr_send": read_messages, b"jsonp_send": read_form}

Start = Callable[[Request, Uri, Route, Any], None]


class _Visit:
    """One request: where it came in, and how a WebSocket is asked for on its behalf."""

    __slots__ = ("client", "request", "responder", "route", "start", "uri")

    def __init__(self, request: Request, uri: Uri, route: Route, responder: Any, start: Start) -> None:
        self.request = request
        self.uri = uri
        self.route = route
        self.responder = responder
        self.start = start
        self.client = Client(request, responder)

    @property
    def segments(self) -> list[bytes] | None:
        """The path below the base; None when that ends within a segment."""
        rest = self.uri.path[len(self.route.sockjs.rstrip(b"/")) :]
        return rest[1:].split(b"/") if rest.startswith(b"/") else None

    def open(self, responder: Any, path: bytes) -> None:
        """Ask for a WebSocket at ``path``, or where the route says, to be given to ``responder``."""
        uri, request = self.uri, self.request
        uri = replace(
            uri, scheme=_SCHEMES.get(uri.scheme, uri.scheme), path=self.route.sockjs_as_path or path
        )
        headers = without(request.headers, _BODY_HEADERS)
        request = replace(request, method=b"GET", headers=headers, length=None, chunked=False, websocket=True)
        self.start(request, uri, self.route, responder)


class SockJs:
    """All sessions of the process, which may be one of several that clients' requests come to."""

    def __init__(self, services: Any) -> None:
        self._services = services
        self._page, self._tag = iframe_page(services.config.proxy.sockjs_url)
        self._limit = services.config.runner.client_maxconn
        self._sessions: dict[tuple[str, bytes], Session] = {}
        """By the route's id and the session's own: who may not use a route must not reach its sessions."""
        self.siblings: Any = None
        """``ISiblings``; None when there is no other process."""

    @property
    def sessions(self) -> int:
        """How many there are, without those of WebSockets."""
        return len(self._sessions)

    def stop(self) -> None:
        """End them."""
        for session in list(self._sessions.values()):
            session.stop()

    def handle(
        self, request: Request, uri: Uri, route: Route, body: Any, responder: Any, start: Start
    ) -> None:
        """Answer a request on ``route`` whose path begins with ``route.sockjs``; ``body`` is an ``IBody`` or
        None.  ``start(request, uri, route, responder)`` asks an origin for a WebSocket on behalf of
        ``responder``."""
        visit = _Visit(request, uri, route, responder, start)
        if request.websocket:
            self._upgrade(visit)
        elif body is None:
            self._answer(visit, b"")
        elif (request.length or 0) > MAX_BODY:
            _refuse_body(visit, body)
        else:
            body.begin(_Gathering(body, visit, self._answer))

    def receive(
        self, request: Request, uri: Uri, route: Route | None, body: bytes, responder: Any, start: Start
    ) -> None:
        """Answer a request that another process has passed on, as ``handle`` does; it was on ``route`` there,
        which may have changed meanwhile, and its session belongs here."""
        if route is not None and route.sockjs and uri.path.startswith(route.sockjs):
            visit = _Visit(request, uri, route, responder, start)
            match visit.segments:
                case [_, session, action]:
                    self._answer_session(visit, session, action, body)
                    return
        Client(request, responder).answer(404, NOT_FOUND)

    def _upgrade(self, visit: _Visit) -> None:
        match visit.segments:
            case [b"websocket"]:
                visit.open(visit.responder, visit.uri.path)
            case [server, session, _] if server and session:
                path = visit.route.sockjs.rstrip(b"/") + b"/websocket"
                visit.open(FramedResponder(visit.responder, self._services), path)
            case _:
                visit.responder.respond(404, b"Not Found", [(b"Content-Type", b"text/plain")], NOT_FOUND)

    def _answer(self, visit: _Visit, body: bytes) -> None:
        """The request is complete."""
        method = visit.request.method
        if method == b"OPTIONS":
            _answer_options(visit)
            return
        match visit.segments:
            case [b"info"] if method == b"GET":
                self._answer_info(visit)
            case [page] if method == b"GET" and page.startswith(b"iframe") and page.endswith(b".html"):
                self._answer_page(visit)
            case [server, session, action] if server and session:
                if not self._pass_on(visit, session, body):
                    self._answer_session(visit, session, action, body)
            case _:
                visit.client.answer(404, NOT_FOUND)

    def _pass_on(self, visit: _Visit, name: bytes, body: bytes) -> bool:
        """Whether the session of that name is another process's business."""
        if self.siblings is None:
            return False
        route, client = visit.route.id, visit.client
        key = b"%b %b" % (route.encode(), name)
        refuse = partial(client.answer, 503, b"Session is not available\n")
        return bool(
            self.siblings.pass_on(key, route, visit.uri, visit.request, body, client.responder, refuse)
        )

    # ---- without a session ---------------------------------------------------------------------------------

    def _answer_info(self, visit: _Visit) -> None:
        entropy = self._services.random.getrandbits(32)
        text = b'{"cookie_needed":false,"entropy":%d,"origins":["*:*"],"websocket":true}\n' % entropy
        visit.client.answer(200, text)

    def _answer_page(self, visit: _Visit) -> None:
        client, tag = visit.client, (b"ETag", self._tag)
        if get(visit.request.headers, b"if-none-match") == self._tag:
            client.responder.respond(304, b"Not Modified", client.headers(None, [tag]), b"")
        else:
            kind = (b"Content-Type", b"text/html; charset=UTF-8")
            client.responder.respond(200, b"OK", client.headers(None, [tag, kind, PAGE_AGE]), self._page)

    # ---- with one ------------------------------------------------------------------------------------------

    def _answer_session(self, visit: _Visit, name: bytes, action: bytes, body: bytes) -> None:
        try:
            self._serve(visit, name, action, body)
        except HttpError as error:
            visit.client.answer(error.status, error.text.encode() + b"\n")

    def _serve(self, visit: _Visit, name: bytes, action: bytes, body: bytes) -> None:
        """:raises HttpError: the client asks for what there is not."""
        client, key, method = visit.client, (visit.route.id, name), visit.request.method
        session = self._sessions.get(key)
        callback = None
        if action in _CALLING:
            callback = read_callback(visit.uri.query)
        if action in _SCRIPTS:
            client.callback = callback
        make = _CARRIERS.get((method, action))
        if make is not None:
            if callback is None and (action == b"htmlfile" or (action == b"jsonp" and session is None)):
                raise HttpError("Bad Request")
            self._carry(visit, key, session, Carrier(client, make(callback or b"")))
        elif session is not None and method == b"POST" and action in _SENDS:
            try:
                messages = _SENDS[action](body)
            except WireError:
                messages = None
            session.receive(messages, client)
        else:
            client.answer(404, NOT_FOUND)

    def _carry(
        self, visit: _Visit, key: tuple[str, bytes], session: Session | None, carrier: Carrier
    ) -> None:
        """A request that frames can be sent on: for ``session``, or for one that it opens."""
        if session is not None:
            session.poll(carrier)
        elif len(self._sessions) >= self._limit:
            self._services.stats.count("sockjs-sessions-refused")
            visit.client.answer(503, b"Too many sessions\n")
        else:
            self._sessions[key] = session = Session(self._services, carrier, partial(self._forget, key))
            visit.open(session, visit.route.sockjs)

    def _forget(self, key: tuple[str, bytes]) -> None:
        del self._sessions[key]


def _answer_options(visit: _Visit) -> None:
    """Anything may be asked; browsers that ask beforehand are told so (Fetch, 3.2.2)."""
    headers = visit.request.headers
    allowed: list[Header] = []
    if get(headers, b"access-control-request-method") is not None:
        allowed += [_PREFLIGHT_METHODS, _PREFLIGHT_AGE]
        asked = split_list(get_all(headers, b"access-control-request-headers"))
        wanted = list(filter(is_token, asked))
        if wanted:
            allowed.append((b"Access-Control-Allow-Headers", b", ".join(wanted)))
    head = visit.client.headers(b"text/plain", allowed)
    visit.responder.respond(204, b"No Content", head, b"")


def _refuse_body(visit: _Visit, body: Any) -> None:
    body.abandon()
    visit.client.answer(400, b"Request too large.\n")


@implementer(IBodySink)
class _Gathering:
    """A request whose body is on its way; of a client that leaves meanwhile nothing more is heard."""

    __slots__ = ("_body", "_done", "_pieces", "_size", "_visit")

    def __init__(self, body: Any, visit: _Visit, done: Callable[[_Visit, bytes], None]) -> None:
        self._body = body
        self._visit = visit
        self._done = done
        self._pieces: list[bytes] = []
        self._size = 0

    def body_received(self, data: bytes) -> None:
        """As ``IBodySink``."""
        self._size += len(data)
        if self._size > MAX_BODY:
            self._pieces = []
            _refuse_body(self._visit, self._body)
        else:
            self._pieces.append(data)

    def body_finished(self) -> None:
        """As ``IBodySink``."""
        self._done(self._visit, b"".join(self._pieces))
