"""The front door: which requests reach a backend, what the others are told, and what is logged."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface.verify import verifyObject

from pushpin_tw.errors import OriginUnreachable
from pushpin_tw.interfaces import IGateway, IRefetch
from pushpin_tw.proxy.gateway import Gateway
from tests.pure.proxy.scene import Scene, hold
from tests.pure.routing.tables import Section

HANDSHAKE = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]
FAILED = "client: 502 Bad Gateway | Error while proxying to origin.\n"
CHECKED = "client: 200 OK | pushpin_tw, a Pushpin on Twisted."


def test_it_is_what_the_edge_and_the_holds_expect() -> None:
    gateway = Scene().gateway
    assert verifyObject(IGateway, gateway)
    assert verifyObject(IRefetch, gateway)


def test_a_host_without_route_is_told_so() -> None:
    scene = Scene("other a:1")
    scene.asks("/x", "Content-Length: 3", method="POST")
    assert scene.said() == ["upload: abandon", "client: 502 Bad Gateway | Route not found\n"]
    assert scene.client.headers == [(b"Content-Type", b"text/plain")]
    assert scene.logged() == ["POST http://h/x code=502 16"]


def test_an_answer_to_head_counts_no_bytes() -> None:
    scene = Scene("other a:1")
    scene.asks("/x", method="HEAD")
    assert scene.logged() == ["HEAD http://h/x code=502 0"]


def test_a_request_that_has_no_uri_is_an_early_error() -> None:
    scene = Scene()
    scene.asks("/", "Content-Length: 3", method="POST", host="not a host")
    assert scene.said()[0] == "upload: abandon"
    assert scene.client.headers == [(b"Content-Type", b"text/plain")]
    assert scene.client.persistent is False
    assert scene.logged() == []


def test_early_errors_need_no_body() -> None:
    scene = Scene()
    scene.asks("/", host="not a host")
    assert len(scene.said()) == 1


# ---- Pushpin-Check (proxy 8.9) -----------------------------------------------------------------------------


@pytest.mark.parametrize("routes", ["* a:1", "other a:1"])
def test_a_check_is_answered_with_or_without_route(routes: str) -> None:
    scene = Scene(routes)
    scene.asks("/", "Pushpin-Check: please")
    assert [line[: len(CHECKED)] for line in scene.said()] == [CHECKED]
    assert scene.logged()[0].startswith("GET http://h/ code=200 ")


class SockJs:
    """Remembers what it was handed."""

    def __init__(self) -> None:
        self.handed: list[str] = []

    def handle(self, request: Any, uri: Any, route: Any, body: Any, responder: Any, start: Any) -> None:
        self.handed.append(str(uri))


def test_a_check_is_no_matter_of_websockets_and_sockjs() -> None:
    """Both are handed over before (proxy 0)."""
    scene = Scene("*,sockjs=/sj a:1")
    scene.gateway.sockjs = SockJs()
    scene.asks("/", "Pushpin-Check: please", *HANDSHAKE)
    assert scene.said() == ["a: GET / socket"]
    scene.asks("/sj/info", "Pushpin-Check: please")
    scene.asks("/sj/websocket", *HANDSHAKE)
    assert scene.gateway.sockjs.handed == ["http://h/sj/info", "ws://h/sj/websocket"]
    assert scene.said() == []


# ---- Pushpin-Route (proxy 1.6) -----------------------------------------------------------------------------

ROUTES = """\
*,id=one a:1
*,path_beg=/two,id=two b:2
other,id=three b:2
*,path_beg=/b,id=both b:2
*,path_beg=/c,id=both b:2"""


@pytest.mark.parametrize(
    ("header", "allowed", "said"),
    [
        ("Pushpin-Route: three", True, "b: GET / (0)"),
        ("Pushpin-Route: three", False, "a: GET / (0)"),
        ("Pushpin-Route: two", True, "client: 502 Bad Gateway | Route not found\n"),  # the path does not fit
        ("Pushpin-Route:", True, "a: GET / (0)"),
        ("Pushpin-Route: both", True, "a: GET / (0)"),
        ("Pushpin-Route: four", True, "client: 502 Bad Gateway | Route not found\n"),
        ("X: y", True, "a: GET / (0)"),
    ],
)
def test_a_request_may_name_its_route_where_that_is_allowed(header: str, allowed: bool, said: str) -> None:
    section = Section(accept_pushpin_route=allowed)
    scene = Scene(ROUTES, section, accept_pushpin_route=allowed)
    scene.asks("/", header)
    assert scene.said()[0] == said


def test_an_explicit_id_is_logged() -> None:
    scene = Scene(ROUTES)
    scene.asks("/two")
    scene.b.responds(length=0).ends()
    assert scene.logged() == ["GET http://h/two -> b:2 route=two code=200 0"]


def test_the_scheme_a_balancer_tells_is_believed_where_that_is_allowed() -> None:
    scene = Scene(accept_x_forwarded_protocol=True)
    scene.asks("/", "X-Forwarded-Proto: https")
    scene.a.responds(length=0).ends()
    assert scene.logged() == ["GET https://h/ -> a:1 code=200 0"]


# ---- WebSocket and SockJS ----------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", HANDSHAKE[2:])
def test_an_incomplete_handshake_is_an_early_error(missing: str) -> None:
    scene = Scene()
    scene.asks("/", *[line for line in HANDSHAKE if line != missing])
    assert scene.said()[0].startswith("client: 400 Bad Request | Request contained an Upgrade header")
    assert scene.logged() == []


@pytest.mark.parametrize(("method", "more"), [("POST", []), ("GET", ["Content-Length: 2"])])
def test_a_handshake_is_a_get_without_body(method: str, more: list[str]) -> None:
    scene = Scene()
    scene.asks("/", *HANDSHAKE, *more, method=method)
    assert scene.said()[-1].startswith("client: 400 Bad Request")


def test_a_handshake_without_route_is_refused_without_content_type() -> None:
    scene = Scene("other a:1")
    scene.asks("/", *HANDSHAKE)
    assert scene.said() == ["client: 502 Bad Gateway | Route not found\n"]
    assert scene.client.headers == []
    assert scene.client.persistent is False
    assert scene.logged() == ["GET ws://h/ code=502 16"]


def test_the_prefix_of_sockjs_leaves_other_paths_alone() -> None:
    scene = Scene("*,sockjs=/sj a:1")
    scene.asks("/other")
    assert scene.said() == ["a: GET /other (0)", "a: end"]


@pytest.mark.parametrize(
    ("content_type", "line"),
    [
        (
            "application/websocket-events",
            "client: 403 Forbidden | Client not allowed to send WebSocket events ",
        ),
        ("application/websocket-events ; x=y", "client: 403 Forbidden | Client not allowed "),
        ("application/websocket-eventsx", "a: GET / (0)"),
        ("text/plain", "a: GET / (0)"),
    ],
)
def test_events_are_not_for_clients_to_send(content_type: str, line: str) -> None:
    scene = Scene("* a:1,over_http")
    scene.asks("/", f"Content-Type: {content_type}")
    assert scene.said()[0].startswith(line)
    if line.startswith("client"):
        assert scene.logged() == ["GET http://h/ -> a:1 code=403 54"]


def test_other_targets_take_events() -> None:
    scene = Scene()
    scene.asks("/", "Content-Type: application/websocket-events")
    assert scene.said() == ["a: GET / (0)", "a: end"]


def test_a_request_without_content_type_suits_any_target() -> None:
    scene = Scene("* a:1,over_http")
    scene.asks("/")
    assert scene.said() == ["a: GET / (0)", "a: end"]


# ---- what a line of the log knows (proxy 8.11) -------------------------------------------------------------


def test_a_line_knows_the_client() -> None:
    scene = Scene("other a:1")
    scene.asks(
        "/",
        *("User-Agent: one/1", "User-Agent: two", "Referer: http://r/?\xe4", "Referer: http://s/"),
        *("Grip-Last: c; last-id=4", "grip-last: d;last-id=", "Accepted-x: same length as User-Agent"),
    )
    (line,) = scene.stats.requests
    assert line.user_agent == "one/1"
    assert line.referer == "http://r/?\xe4"
    assert line.last_ids == [("c", "4"), ("d", "")]
    assert line.retry is False


def test_nothing_is_put_into_words_where_nobody_reads() -> None:
    scene = Scene("other a:1")
    scene.stats.wants_requests = False
    scene.asks("/")
    assert scene.logged() == []
    assert len(scene.said()) == 1


@pytest.mark.parametrize(
    ("wanted", "level", "lines"), [(True, 1, 0), (True, 2, 1), (False, 1, 0), (False, 2, 1)]
)
def test_a_route_may_know_better_what_is_read(wanted: bool, level: int, lines: int) -> None:
    scene = Scene(f"*,log_level={level} a:1")
    scene.stats.wants_requests = wanted
    scene.asks("/")
    scene.a.responds(length=0).ends()
    assert [line.threshold for line in scene.stats.requests] == [level] * lines


# ---- a held request is run again (grip 11.5) ---------------------------------------------------------------


def held(scene: Scene, target: str = "/", **request: str) -> None:
    """A long-poll on ``c``, up to where it waits."""
    scene.asks(target, **request)  # type: ignore[arg-type]
    scene["a:1"].call.responds(200, *hold("response")).ends()
    scene.said()
    scene.logged()


def hint(scene: Scene) -> list[str]:
    scene.publishes(response={"action": "hint"})
    return scene.said()


def test_a_hint_runs_the_request_again_from_the_first_target() -> None:
    scene = Scene("* a:1 b:2")
    held(scene, "/x?y")
    assert hint(scene) == ["a: GET /x?y (0)", "a: end"]
    scene.a.responds(length=0).ends()
    assert scene.said() == ["client: 200 OK, 0 bytes", "client: end"]
    assert scene.logged() == ["GET http://h/x?y -> a:1 code=200 0 retry"]


def test_the_body_is_repeated() -> None:
    scene = Scene()
    upload = scene.posts(None, waiting=b"abc")
    upload.ends()
    scene.a.responds(200, *hold("response")).ends()
    scene.said()
    assert hint(scene) == ["a: POST / (3)", "a: abc", "a: end"]


def test_a_second_hint_runs_it_once_more() -> None:
    scene = Scene()
    held(scene)
    assert hint(scene) == ["a: GET / (0)", "a: end"]
    assert hint(scene) == []  # it is on its way already
    scene.a.responds(200, *hold("response")).ends()
    assert scene.logged() == ["GET http://h/ -> a:1 accept retry"]
    assert hint(scene) == ["a: GET / (0)", "a: end"]
    scene.client.goes()
    assert scene.said() == ["a: cancel"]
    assert scene.logged() == ["GET http://h/ -> a:1 error retry"]


def test_a_hint_finds_the_route_where_it_is_now() -> None:
    scene = Scene("*,id=one a:1")
    held(scene)
    scene.route("*,path_beg=/x,id=two a:1\n*,path_beg=/y,id=one b:2")
    assert hint(scene) == ["b: GET / (0)", "b: end"]


def test_a_hint_without_route_is_refused() -> None:
    scene = Scene("*,id=one a:1")
    held(scene, method="HEAD")
    scene.route("*,id=two a:1")
    assert hint(scene) == ["client: 502 Bad Gateway | Route not found\n"]
    assert scene.logged() == ["HEAD http://h/ code=502 0 retry"]


def test_an_id_of_several_routes_is_decided_by_host_and_path() -> None:
    scene = Scene("*,id=one a:1")
    held(scene, "/x/y")
    scene.route("*,id=one a:1\n*,path_beg=/x,id=one b:2")
    assert hint(scene)[0] == "b: GET /x/y (0)"


def test_an_id_of_several_routes_of_which_none_fits_is_refused() -> None:
    scene = Scene("*,id=one a:1")
    held(scene)
    scene.route("*,path_beg=/z,id=one a:1\n*,path_beg=/x,id=one b:2")
    assert hint(scene) == ["client: 502 Bad Gateway | Route not found\n"]


def test_a_re_run_that_fails_costs_its_client_and_leaves_nothing_behind() -> None:
    scene = Scene()
    held(scene)

    def fail(retry: object, responder: object) -> None:
        raise RuntimeError("Broken")

    scene.room.refetch = type("Refetch", (), {"rerun": staticmethod(fail)})
    scene.publishes(response={"action": "hint"})
    assert scene.crashed() == ["client: abort"]
    assert scene.broker.holds("c") == {"http-response": 0}


def test_a_table_may_change_while_a_request_is_under_way() -> None:
    scene = Scene("* a:1 b:2")
    scene.asks("/")
    scene.route("* c:3")
    scene.a.fails(OriginUnreachable("refused"))
    assert scene.said()[-2:] == ["b: GET / (0)", "b: end"]


def test_settings_are_off_unless_given() -> None:
    assert isinstance(Scene().gateway, Gateway)
    assert Scene().gateway.debug is False
    scene = Scene(debug=True)
    scene.asks()
    scene.a.responds(200, "Grip-Hold: x").ends()
    assert "Failed to parse accept instructions" in scene.said()[-1]
