"""Which route a request takes (proxy 1.5, 1.6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from pushpin_tw.interfaces import IRouter
from pushpin_tw.routing.route import Condition, Route, Target
from pushpin_tw.routing.table import RouteTable
from tests.pure.routing.tables import table

# Lines, divided by "|", are known by their ids.
CASES = [
    # case, lines, host, path, websocket, secure, id of the route taken
    ("C007", "a.example,id=a B|*,id=star B", "a.example", "/", False, False, "a"),
    ("C009", "a.example,id=a B|*,id=star B", "zzz", "/", False, False, "star"),
    ("C010", "*.b.example,id=w B|*,id=star B", "x.b.example", "/", False, False, "star"),
    ("C011", "c.example,path_beg=/only,id=c B|*,id=star B", "c.example", "/", False, False, None),
    ("C012", "c.example,path_beg=/only,id=c B|*,id=star B", "c.example", "/only1", False, False, "c"),
    ("C013", "a,id=0 B|a,path_beg=/foo,id=1 B|a,path_beg=/foo/bar,id=2 B", "a", "/foo/bar/x", 0, 0, "2"),
    ("C013-middle", "a,path_beg=/foo/bar,id=2 B|a,path_beg=/foo,id=1 B|a,id=0 B", "a", "/foob", 0, 0, "1"),
    ("C013-least", "a,path_beg=/foo/bar,id=2 B|a,path_beg=/foo,id=1 B|a,id=0 B", "a", "/fo", 0, 0, "0"),
    ("C014", "a,id=0 B|a,path_beg=/foo/bar,id=2 B|a,proto=http,id=p B", "a", "/foo/bar/x", 0, 0, "p"),
    ("C014-first", "a,proto=http,id=p B|a,path_beg=/foo/bar,id=2 B", "a", "/foo/bar/x", 0, 0, "p"),
    ("C014-ws", "a,proto=http,id=p B|a,path_beg=/foo/bar,id=2 B", "a", "/foo/bar/x", 1, 0, "2"),
    ("C015", "d.example,proto=ws,id=d B", "d.example", "/", False, False, None),
    ("C016", "h.example,proto=http,id=h B", "h.example", "/", True, False, None),
    ("C017", "*,ssl=yes,id=s B|*,id=p B", "a", "/", False, True, "s"),
    ("C017-plain", "*,ssl=yes,id=s B|*,id=p B", "a", "/", False, False, "p"),
    ("C017-no", "*,ssl=no,id=s B|*,id=p B", "a", "/", False, True, "p"),
    ("C018", "UPPER.example,id=u B|*,id=star B", "upper.example", "/", False, False, "star"),
    ("C019", "::1,id=v6 B", "::1", "/", False, False, "v6"),
    ("C021", "c.example,path_beg=/%C3%A9,id=c B", "c.example", "/%C3%A9", False, False, "c"),
    ("C203", "s,path_beg=/foo/bar,id=long B|s,ssl=yes,id=ssl B", "s", "/foo/bar", False, True, "ssl"),
    (
        "C203-swapped",
        "s,ssl=yes,id=ssl B|s,path_beg=/foo/bar,id=long B",
        "s",
        "/foo/bar",
        False,
        True,
        "long",
    ),
    ("equal", "a,ssl=yes,id=1 B|a,ssl=no,id=2 B|a,id=3 B", "a", "/", False, True, "1"),
    ("no host", "id=rb B", "", "/", False, False, None),
    ("none", "", "a", "/", False, False, None),
]


@pytest.mark.parametrize(
    ("lines", "host", "path", "websocket", "secure", "route_id"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_route(lines: str, host: str, path: str, websocket: bool, secure: bool, route_id: str | None) -> None:
    router = table(lines.replace("|", "\n"))
    route = router.route(host, path.encode(), bool(websocket), bool(secure))
    assert (route.id if route else None) == route_id


def test_by_id() -> None:
    """C034 to C037."""
    router = table("id=rb B\nid=dup B\nid=dup,path_beg=/x B\n* B")
    verifyObject(IRouter, router)
    known, route = router.by_id("rb")
    assert known
    assert route is router.routes[0]
    assert router.by_id("nosuch") == (False, None)
    assert router.by_id("dup") == (True, None)
    assert router.by_id("*,*,*,*") == (True, router.routes[3])


def test_lines_that_share_an_id_are_found_by_host() -> None:
    router = table("id=dup B\na.example,id=dup B")
    assert router.route("a.example", b"/", False, False) is router.routes[1]


def walk(routes: list[Route], path: bytes, websocket: bool, secure: bool) -> Route | None:
    """Proxy 1.6 word by word, over all lines in file order."""
    best: Route | None = None
    for route in routes:
        line = route.condition
        if line.proto and (line.proto == "ws") != websocket:
            continue
        if (line.ssl is not None and line.ssl != secure) or not path.startswith(line.path_beg):
            continue
        if best is None:
            best = route
            continue
        held = best.condition
        if not held.proto and line.proto:
            best = route
        elif held.proto and not line.proto:
            pass
        elif len(line.path_beg) > len(held.path_beg) or (held.ssl is None and line.ssl is not None):
            best = route
    return best


CONDITIONS = st.builds(
    Condition,
    st.just("a"),
    st.sampled_from(["", "http", "ws"]),
    st.sampled_from([None, True, False]),
    st.text("/x", max_size=4).map(str.encode),
)


@given(
    st.lists(CONDITIONS, max_size=8, unique=True),
    st.text("/x", max_size=5).map(str.encode),
    st.booleans(),
    st.booleans(),
)
def test_the_look_up_agrees_with_the_walk(
    conditions: list[Condition], path: bytes, websocket: bool, secure: bool
) -> None:
    routes = [Route(condition, (Target("test"),), str(n)) for n, condition in enumerate(conditions)]
    found = RouteTable(routes).route("a", path, websocket, secure)
    assert found is walk(routes, path, websocket, secure)
