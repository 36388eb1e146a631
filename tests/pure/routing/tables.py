"""What the routing tests share: target types, a file's routes, a client's request on its way to an origin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushpin_tw.extensions import ITargetType
from pushpin_tw.routing.rewrite import Rewriter
from pushpin_tw.routing.route import Route, parse_host_port, parse_no_address, parse_zmq_spec
from pushpin_tw.routing.routefile import KeySource, parse_routes
from pushpin_tw.routing.table import RouteTable
from pushpin_tw.routing.uri import request_uri
from pushpin_tw.wire.gripsig import secret_key
from pushpin_tw.wire.http1 import parse_request
from pushpin_tw.wire.message import OriginRequest

NOW = 1_700_000_000
KEYS = KeySource("pushpin", secret_key(b"changeme"))


@implementer(ITargetType)
class Kind:
    """A target type as far as a routes file sees it."""

    def __init__(self, prefix: str, parse: Callable[[str], str]) -> None:
        self.prefix = prefix
        self._parse = parse
        verifyObject(ITargetType, self)

    def parse(self, address: str) -> str:
        return self._parse(address)

    def origin(self, target: Any, services: Any) -> Any:
        raise AssertionError("routing asks no origin")


TYPES = {
    kind.prefix: kind
    for kind in (
        Kind("", parse_host_port),
        Kind("test", parse_no_address),
        Kind("zhttp", parse_zmq_spec),
        Kind("zhttpreq", parse_zmq_spec),
    )
}


def read(text: str, keys: KeySource = KEYS, file: str = "routes") -> tuple[list[Route], list[str]]:
    """Routes and warnings of a file; ``B`` stands for a backend."""
    return parse_routes(text.replace(" B", " 127.0.0.1:9211"), file, TYPES, keys)


def only(line: str, keys: KeySource = KEYS) -> Route:
    """The route on a line that is right."""
    routes, warnings = read(line, keys)
    assert warnings == []
    assert len(routes) == 1
    return routes[0]


def table(text: str) -> RouteTable:
    """The table of a file without mistakes."""
    routes, warnings = read(text)
    assert warnings == []
    return RouteTable(routes)


@dataclass(frozen=True)
class Section:
    """The keys of ``[proxy]``, as they are when absent."""

    accept_x_forwarded_protocol: bool = False
    set_x_forwarded_protocol: str = ""
    x_forwarded_for: list[str] = field(default_factory=list)
    x_forwarded_for_trusted: list[str] = field(default_factory=list)
    orig_headers_need_mark: list[str] = field(default_factory=list)
    accept_pushpin_route: bool = False
    cdn_loop: str = ""


def origin_request(
    routes: str,
    head: str,
    *,
    section: Section | None = None,
    target: int = 0,
    secure: bool = False,
    trusted: bool = False,
    peer: str = "127.0.0.1",
    last_ids: list[tuple[str, str]] | None = None,
    keys: KeySource = KEYS,
) -> OriginRequest:
    """What the origin is asked when a client sends ``head`` (lines without line ends), which may be a
    handshake."""
    section = section or Section()
    lines = head.split("\n")
    request = parse_request("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
    request.peer = peer
    request.secure = secure
    uri = request_uri(request, section.accept_x_forwarded_protocol)
    found, warnings = read(routes, keys)
    assert warnings == []
    route = RouteTable(found).route(uri.host, uri.path, request.websocket, uri.secure)
    assert route is not None
    rewriter = Rewriter(section)
    if request.websocket:
        return rewriter.handshake(request, uri, route, route.targets[target], NOW, trusted)
    return rewriter.rewrite(
        request, uri, route, route.targets[target], NOW, request.length or 0, last_ids or [], trusted
    )


def values(request: OriginRequest, name: str) -> list[str]:
    """All values of a header of the request, as text."""
    return [value.decode() for key, value in request.headers if key.decode().lower() == name.lower()]


def get(target: str = "/", host: str = "a.example", *headers: str) -> str:
    """The head of a GET."""
    return "\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *headers])
