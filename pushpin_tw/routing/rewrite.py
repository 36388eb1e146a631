"""A client's request as one target shall see it (proxy 4.2 to 4.5).

Called by ``proxy`` for each target that is asked.  This is on the path of every request: whatever depends on
the configuration alone is prepared once, and the headers are walked through once.  Never sends anything; the
framing headers are the origin's to write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from pushpin_tw.errors import OriginError
from pushpin_tw.routing.forwarded import ForwardedRule, cdn_loop
from pushpin_tw.routing.route import Route, Target
from pushpin_tw.routing.uri import Authority, Uri, normal_path
from pushpin_tw.wire.gripsig import Signer
from pushpin_tw.wire.headers import HeaderList, is_value, without
from pushpin_tw.wire.message import OriginRequest, Request

FEATURES = (
    b"status, session, link:next, link:gone, filter:skip-self, filter:skip-users, filter:require-sub, "
    b"filter:build-id, filter:var-subst, filter:http-check, filter:http-modify"
)
"""The value of Grip-Feature; the last two since 2.0."""

MARK = b"eb9bf0f5-"
"""What stands before the names of original headers, in lower case."""
_MARK_LENGTH = len(MARK)

_FEATURES = (b"Grip-Feature", FEATURES)
_OFFER = (b"Sec-WebSocket-Extensions", b"grip")

# What is said of a WebSocket's handshake for one hop.
_SOCKET_HOP = frozenset(
    {b"upgrade", b"accept-encoding", b"content-encoding", b"content-type", b"sec-websocket-extensions"}
)
_DROPPED_WEBSOCKET = _SOCKET_HOP | {b"sec-websocket-version", b"sec-websocket-key"}
_DROPPED_ZHTTP = _SOCKET_HOP - {b"upgrade"}
_DROPPED_OVER_HTTP = _SOCKET_HOP | {b"accept", b"connection-id", b"content-bytes-replayed"}

# Headers of one hop, framing, and Host, which is made from the URI.
_HOP = frozenset({b"host", b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"expect"})
_FORWARDED_PROTOCOL = frozenset({b"x-forwarded-proto", b"x-forwarded-protocol"})


class ProxySection(Protocol):
    """The keys of ``[proxy]`` that matter here."""

    @property
    def accept_x_forwarded_protocol(self) -> bool: ...
    @property
    def set_x_forwarded_protocol(self) -> str: ...
    @property
    def x_forwarded_for(self) -> Sequence[str]: ...
    @property
    def x_forwarded_for_trusted(self) -> Sequence[str]: ...
    @property
    def orig_headers_need_mark(self) -> Sequence[str]: ...
    @property
    def accept_pushpin_route(self) -> bool: ...
    @property
    def cdn_loop(self) -> str: ...


class Rewriter:
    """Rewrites requests as one configuration says."""

    def __init__(self, section: ProxySection) -> None:
        self.configure(section)

    def configure(self, section: ProxySection) -> None:
        """Rewrite as ``section`` says, from now on."""
        self._rule = ForwardedRule.parse(section.x_forwarded_for)
        self._trusted_rule = ForwardedRule.parse(section.x_forwarded_for_trusted)
        self._need_mark = frozenset(name.lower().encode() for name in section.orig_headers_need_mark)
        self._cdn_loop = section.cdn_loop.encode()
        self._protocol_names = _protocol_names(section.set_x_forwarded_protocol)
        dropped = set(_HOP)
        if section.accept_pushpin_route:
            dropped.add(b"pushpin-route")
        if section.accept_x_forwarded_protocol or self._protocol_names:
            dropped |= _FORWARDED_PROTOCOL
        self._dropped_plain = frozenset(dropped)
        # Instructions and streams must arrive uncompressed.
        self._dropped = self._dropped_plain | {b"accept-encoding"}

    def logical_address(self, request: Request, trusted: bool) -> str:
        """Who the client is for statistics; see ``ForwardedRule``."""
        rule = self._trusted_rule if trusted else self._rule
        return rule.logical_address(request.headers, request.peer)

    def rewrite(
        self,
        request: Request,
        uri: Uri,
        route: Route,
        target: Target,
        now: int,
        length: int | None,
        last_ids: Iterable[tuple[str, str]] = (),
        trusted: bool = False,
    ) -> OriginRequest:
        """The request for ``target``.

        ``now`` is in seconds since the epoch, for the signature; ``length`` is that of the body, None when it
        is not known; ``last_ids`` are pairs of channel and id, for requests that are run again; ``trusted``
        says that the client's Grip-Sig was verified.

        :raises OriginError: the route leaves no path that begins with "/".
        """
        headers = self._headers(request.headers, request.peer, uri, route, now, last_ids, trusted)
        return self._aimed(request.method, headers, uri, route, target, length)

    def handshake(
        self, request: Request, uri: Uri, route: Route, target: Target, now: int, trusted: bool = False
    ) -> OriginRequest:
        """The request for ``target`` of a client who wants a WebSocket (websocket 2.1, 4.3), see
        ``sockets.IHandshake``; arguments as for ``rewrite``.

        :raises OriginError: as ``rewrite``.
        """
        over_http = target.over_http
        dropped = _DROPPED_OVER_HTTP if over_http else _DROPPED_WEBSOCKET
        if target.kind == "zhttp" and not over_http:
            dropped = _DROPPED_ZHTTP
        kept: HeaderList = []
        for header in request.headers:
            name = header[0].lower()
            if name not in dropped and not (over_http and name[:5] == b"meta-"):
                kept.append(header)
        headers = self._headers(kept, request.peer, uri, route, now, (), trusted)
        if over_http and (trusted or route.no_grip) and route.signer is not None:
            # Requests of one client go on for hours, so that each needs a signature of its own time.
            headers = without(headers, (b"grip-sig",))
            headers.append((b"Grip-Sig", route.signer.token(now)))
        if not route.no_grip:
            headers.append(_OFFER)
        return self._aimed(b"POST" if over_http else b"GET", headers, uri, route, target, 0)

    def _aimed(
        self,
        method: bytes,
        headers: HeaderList,
        uri: Uri,
        route: Route,
        target: Target,
        length: int | None,
    ) -> OriginRequest:
        """A request for the place and path that route and target make of ``uri``; fills in the Host."""
        place = target.host or route.as_host
        if place is None:
            place = Authority(uri.host, uri.port)
        path = uri.path
        if route.path_rem or route.replace_beg:
            path = _replaced(path, route)
        if target.kind == "test":
            path = _below(path, route.condition.path_beg)
        headers[0] = (b"Host", place.text(target.ssl))
        query = uri.query
        return OriginRequest(
            method,
            path if query is None else b"%b?%b" % (path, query),
            headers,
            length,
            place.host,
            target.ssl,
            path,
            query,
        )

    def _headers(
        self,
        source: HeaderList,
        peer: str,
        uri: Uri,
        route: Route,
        now: int,
        last_ids: Iterable[tuple[str, str]],
        trusted: bool,
    ) -> HeaderList:
        """All headers; the first place is left to Host."""
        if route.drop_headers:
            source = _edited(source, route)
        if route.orig_headers and not trusted:
            source = _marked(source, self._need_mark)
        dropped = self._dropped_plain if route.no_grip else self._dropped
        grip, unmarked = not trusted, not route.orig_headers
        kept: HeaderList = [(b"", b"")]
        forwarded: list[bytes] = []
        loops: list[bytes] = []
        for header in source:
            name = header[0].lower()
            if name in dropped:
                continue
            if name[:5] == b"grip-" and grip:
                continue
            if name == b"x-forwarded-for":
                forwarded.append(header[1])
            elif name == b"cdn-loop" and self._cdn_loop:
                loops.append(header[1])
            elif name[:_MARK_LENGTH] != MARK or not unmarked:
                kept.append(header)
        if self._cdn_loop:
            kept.append((b"CDN-Loop", cdn_loop(loops, self._cdn_loop)))
        if grip and not route.no_grip:
            sign(kept, route.signer, now, last_ids)
        if self._protocol_names and uri.secure:
            kept += [(name, uri.scheme.encode()) for name in self._protocol_names]
        rule = self._trusted_rule if trusted else self._rule
        if forwarded or rule.append:
            value = rule.apply(forwarded, peer)
            if value:
                kept.append((b"X-Forwarded-For", value))
        return kept


def _protocol_names(setting: str) -> tuple[bytes, ...]:
    if setting == "true":
        return (b"X-Forwarded-Proto", b"X-Forwarded-Protocol")
    return (b"X-Forwarded-Proto",) if setting == "proto-only" else ()


def sign(
    headers: HeaderList, signer: Signer | None, now: int, last_ids: Iterable[tuple[str, str]] = ()
) -> None:
    """Add the headers by which an origin knows a GRIP proxy, and what a client has seen last (grip 16.1)."""
    if signer is not None:
        headers.append((b"Grip-Sig", signer.token(now)))
    headers.append(_FEATURES)
    for channel, last_id in last_ids:
        value = f"{channel}; last-id={last_id}".encode("utf-8", "replace")
        # Names and ids come from origins and publishers; one that cannot stand in a header is not told.
        if is_value(value):
            headers.append((b"Grip-Last", value))


def _edited(headers: HeaderList, route: Route) -> HeaderList:
    """With the route's ``header`` properties applied."""
    kept = [header for header in headers if header[0].lower() not in route.drop_headers]
    return kept + list(route.set_headers)


def _marked(headers: HeaderList, need_mark: frozenset[bytes]) -> HeaderList:
    """With marked copies of the original headers at the end; what came marked moves there."""
    plain: HeaderList = []
    marked: HeaderList = []
    for header in headers:
        name = header[0].lower()
        if name.startswith(MARK):
            marked.append(header)
            continue
        plain.append(header)
        if name not in need_mark:
            marked.append((MARK + header[0], header[1]))
    return plain + marked


def _replaced(path: bytes, route: Route) -> bytes:
    """The path after ``path_rem`` and ``replace_beg``."""
    path = route.replace_beg + path[route.path_rem :]
    if not path:
        return b"/"
    if not path.startswith(b"/"):
        raise OriginError("the route leaves no path")
    # Joined, "/files/" and "../x" would climb out of what the route opens: "/static../x" is no such path.
    if b"/." in path and normal_path(path) != path:
        raise OriginError("the route's new path begins in the middle of a dot segment")
    return path


def _below(path: bytes, prefix: bytes) -> bytes:
    """The path without ``prefix``, but with a slash that ends the prefix."""
    if not prefix or not path.startswith(prefix):
        return path
    return path[len(prefix) - prefix.endswith(b"/") :]
