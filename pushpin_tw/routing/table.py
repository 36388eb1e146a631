"""The routing table: host, path, protocol and TLS to a route (proxy 1.6).

Built from the routes of a file and swapped in as a whole; asked by ``proxy`` once per request.  Never changes
after it was built.
"""

from __future__ import annotations

from collections.abc import Iterable

from zope.interface import implementer

from pushpin_tw.interfaces import IRouter
from pushpin_tw.routing.route import Route


class _Candidates:
    """The routes of one host that fit one combination of protocol and TLS, in file order.

    Looked up by the lengths of path prefixes that occur, not route by route: the cost of a look-up does not
    grow with the number of lines.
    """

    __slots__ = ("_by_prefix", "_lengths")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_prefix: dict[bytes, list[tuple[int, Route]]] = {}
        for number, route in enumerate(routes):
            self._by_prefix.setdefault(route.condition.path_beg, []).append((number, route))
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix})

    def best(self, path: bytes) -> Route | None:
        """The route for ``path``."""
        by_prefix = self._by_prefix
        matching: list[tuple[int, Route]] = []
        for length in self._lengths:
            if length > len(path):
                break
            matching += by_prefix.get(path[:length], ())
        if len(matching) > 1:
            matching.sort(key=_by_number)
            return _first_choice(matching)
        return matching[0][1] if matching else None


def _by_number(numbered: tuple[int, Route]) -> int:
    return numbered[0]


def _first_choice(matching: list[tuple[int, Route]]) -> Route:
    best = matching[0][1]
    for _, route in matching[1:]:
        if _replaces(route, best):
            best = route
    return best


def _replaces(later: Route, best: Route) -> bool:
    """Whether a later matching line is preferred to the best so far: the first rule that applies decides."""
    new, old = later.condition, best.condition
    if bool(new.proto) != bool(old.proto):
        return bool(new.proto)
    if len(new.path_beg) > len(old.path_beg):
        return True
    # No regard to the path here: so it is with the original, and files rely on it.
    return old.ssl is None and new.ssl is not None


def _fits(route: Route, websocket: bool, secure: bool) -> bool:
    condition = route.condition
    if condition.proto and (condition.proto == "ws") != websocket:
        return False
    return condition.ssl is None or condition.ssl == secure


_ByFlags = dict[tuple[bool, bool], _Candidates]


@implementer(IRouter)
class RouteTable:
    """All routes of the moment."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        by_host: dict[str, list[Route]] = {}
        self._ids: dict[str, Route | None] = {}
        for route in self.routes:
            if route.condition.host:
                by_host.setdefault(route.condition.host, []).append(route)
            self._ids[route.id] = None if route.id in self._ids else route
        self._hosts = {host: _by_flags(found) for host, found in by_host.items()}
        self._any = self._hosts.pop("*", None)

    def route(self, host: str, path: bytes, websocket: bool, secure: bool) -> Route | None:
        """The route for a request.  Lines for the exact host hide those for any host."""
        by_flags = self._hosts.get(host, self._any)
        return by_flags[websocket, secure].best(path) if by_flags is not None else None

    def by_id(self, route_id: str) -> tuple[bool, Route | None]:
        """Whether the id is known, and its route; ``(True, None)`` when several lines share the id."""
        return route_id in self._ids, self._ids.get(route_id)


def _by_flags(routes: list[Route]) -> _ByFlags:
    return {
        (websocket, secure): _Candidates(route for route in routes if _fits(route, websocket, secure))
        for websocket in (False, True)
        for secure in (False, True)
    }
