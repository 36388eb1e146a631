"""From instructions to a hold, and what is left of a request while its client waits."""

from __future__ import annotations

import gc
import gzip
import sys
import weakref
from typing import Any

import pytest

from pushpin_tw.hold.base import Hold
from pushpin_tw.proxy.exchange import Exchange
from pushpin_tw.wire.message import OriginRequest, Request, Response
from tests.pure.proxy.scene import LIMIT, Broken, Call, Scene, hold

FAILED = "client: 502 Bad Gateway | Error while proxying to origin.\n"
ACCEPTED = ["GET http://h/ -> a:1 accept"]


def accept(scene: Scene, *headers: str, body: bytes = b"", status: int = 200, **request: Any) -> list[str]:
    """A request that is answered with instructions; what the client is told."""
    scene.asks(**request)
    scene.said()
    scene.a.responds(status, *headers).sends(body).ends()
    return scene.said()


# ---- response holds (grip 8) -------------------------------------------------------------------------------


def test_a_poll_waits_with_nothing_said_and_is_answered_once() -> None:
    scene = Scene()
    assert accept(scene, *hold("response"), "X-Mine: 1", body=b"nothing") == []
    assert scene.logged() == ACCEPTED
    scene.publishes(response="item")
    assert scene.said() == ["client: HTTP/1.1 200 OK~X-Mine: 1~Content-Length: 4~~item"]
    scene.publishes(response="another")
    assert scene.said() == []
    assert scene.logged() == []


def test_a_poll_that_times_out_gets_the_instruction_itself() -> None:
    scene = Scene()
    accept(scene, *hold("response", "Grip-Timeout: 7"), body=b"nothing")
    scene.clock.advance(6.9)
    assert scene.said() == []
    scene.clock.advance(0.3)
    assert scene.said() == ["client: HTTP/1.1 200 OK~Content-Length: 7~~nothing"]


def test_a_poll_over_http_10() -> None:
    scene = Scene()
    accept(scene, *hold("response"), minor=0)
    scene.publishes(response="item")
    assert scene.said() == ["client: HTTP/1.0 200 OK~Content-Length: 4~~item"]


def test_a_poll_by_head_gets_no_body() -> None:
    scene = Scene()
    accept(scene, *hold("response"), method="HEAD")
    scene.publishes(response="item")
    assert scene.said() == ["client: HTTP/1.1 200 OK~Content-Length: 4~~"]


def test_a_poll_that_was_answered_early_is_never_run_again() -> None:
    """Half of its body could only be sent as if it were all: the client is to ask again itself."""
    scene = Scene()
    scene.posts(50_000, waiting=b"x" * 20_000)
    scene.a.responds(200, *hold("response")).sends(b"nothing").ends()
    scene.said()
    scene.publishes(response={"action": "hint"})
    assert scene.said() == ["client: HTTP/1.1 200 OK~Connection: close~Content-Length: 7~~nothing"]
    assert len(scene["a:1"].calls) == 1


def test_equal_polls_share_one_template() -> None:
    scene = Scene()
    for number in range(2):
        accept(scene, *hold("response"), "X: 1", body=b"nothing", target=f"/{number}")
    accept(scene, *hold("response"), "X: 2", body=b"nothing")
    groups = scene.broker._channels["c"].groups.values()
    assert [len(group.members) for group in groups] == [2, 1]
    clients_before = len(scene.said())
    scene.publishes(response="item")
    assert len(scene.said()) == clients_before + 3
    scene.clock.advance(60)
    gc.collect()
    assert list(scene.gateway.acceptor.templates._known) == []


# ---- stream holds (grip 9) ---------------------------------------------------------------------------------


def test_a_stream_begins_at_once_and_goes_on() -> None:
    scene = Scene()
    assert accept(scene, *hold(), "X-Mine: 1", body=b"hello") == ["client: 200 OK", "client: hello"]
    assert scene.client.headers == [(b"X-Mine", b"1")]
    assert scene.logged() == ACCEPTED
    scene.publishes(stream="one")
    assert scene.said() == ["client: 3\r\none\r\n"]
    scene.publishes(stream="")
    assert scene.said() == []
    scene.publishes(stream={"action": "close"})
    assert scene.said() == ["client: end"]
    scene.publishes(stream="late")
    assert scene.said() == []


def test_a_stream_over_http_10_is_raw() -> None:
    scene = Scene()
    assert accept(scene, *hold(), minor=0) == ["client: 200 OK"]
    scene.publishes(stream="one")
    assert scene.said() == ["client: one"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [({"method": "HEAD"}, 200), ({}, 204), ({}, 304), ({"method": "HEAD", "minor": 0}, 200)],
)
def test_a_stream_without_body_ends_with_its_head(request_: dict[str, Any], status: int) -> None:
    scene = Scene()
    assert accept(scene, *hold(), status=status, **request_) == [f"client: {status} OK", "client: end"]
    assert scene.broker.channels() == []
    assert len(scene.logged()) == 1


@pytest.mark.parametrize("debug", [False, True])
def test_c_grip_10_5_a_position_needs_a_link(debug: bool) -> None:
    scene = Scene("*,debug a:1" if debug else "* a:1")
    said = accept(scene, *hold(channel="d, c;prev-id=1"), body=b"hello")
    problem = "channel 'c' specifies prev-id, but no next link found"
    assert said == [
        "client: 200 OK",
        "client: hello",
        *([f"client: \n\n{problem}\n"] if debug else []),
        "client: end",
    ]
    assert scene.broker.channels() == []


def test_with_a_link_a_position_is_fine() -> None:
    scene = Scene()
    accept(scene, *hold("stream", "Grip-Link: </next>; rel=next", channel="c;prev-id=1"))
    assert scene.broker.holds("c") == {"http-stream": 1}


def test_a_congested_client_joins_its_channels_when_it_has_taken_the_beginning() -> None:
    scene = Scene()
    scene.asks()
    scene.client.congested = True
    scene.a.responds(200, *hold()).sends(b"hello").ends()
    scene.publishes(stream="too early")
    scene.client.reads_again()
    scene.publishes(stream="one")
    assert scene.said()[-3:] == ["client: 200 OK", "client: hello", "client: 3\r\none\r\n"]


# ---- channels ----------------------------------------------------------------------------------------------


def test_channels_are_prefixed_counted_and_joined_by_those_of_the_target() -> None:
    scene = Scene("*,prefix=p- a:1,sub=s,sub=p-c1")
    scene.room.subscription_max = 2
    accept(scene, *hold(channel="c1, c2, c3"))
    assert scene.broker.channels() == ["s", "p-c1", "p-c2"]


def test_the_bucket_is_an_explicit_route_id() -> None:
    scene = Scene("*,id=mine a:1\n*,path_beg=/x a:1")
    accept(scene, *hold())
    accept(scene, *hold(), target="/x")
    assert [group.bucket for group in scene.broker._channels["c"].groups.values()] == ["mine", ""]


def test_who_joins_is_told_to_those_who_listen() -> None:
    scene = Scene()
    accept(scene, *hold(channel="c, d"))
    accept(scene, *hold("response"))
    scene.publishes(response={"action": "hint"})
    scene.a.responds(200, *hold("response")).ends()
    held = [event for event in scene.stats.events if event[0] == "held"]
    assert held == [
        ("held", "http://h/", "c", False),
        ("held", "http://h/", "d", False),
        ("held", "http://h/", "c", False),
        ("held", "http://h/", "c", True),
    ]
    scene.stats.wants_holds = False
    scene.stats.events.clear()
    accept(scene, *hold())
    assert all(event[0] != "held" for event in scene.stats.events)


# ---- Content-Encoding (proxy 8.4) --------------------------------------------------------------------------


def test_a_coded_body_is_decoded() -> None:
    scene = Scene()
    said = accept(scene, *hold(), "Content-Encoding: gzip", body=gzip.compress(b"hello"))
    assert said == ["client: 200 OK", "client: hello"]
    assert scene.client.headers == []


def test_no_body_needs_no_decoding() -> None:
    scene = Scene()
    assert accept(scene, *hold(), "Content-Encoding: br") == ["client: 200 OK"]


@pytest.mark.parametrize(
    ("coding", "body", "detail"),
    [
        ("br", b"hello", "response has an unsupported Content-Encoding"),
        ("gzip", b"hello", "response body does not match its Content-Encoding"),
        ("gzip", gzip.compress(bytes(LIMIT + 1)), "decoded response body is too large"),
    ],
)
def test_what_cannot_be_decoded_is_refused(coding: str, body: bytes, detail: str) -> None:
    scene = Scene("*,debug a:1")
    said = accept(scene, *hold(), f"Content-Encoding: {coding}", body=body)
    assert said == [f"client: 502 Bad Gateway | Failed to parse accept instructions: {detail}\n"]


# ---- bugs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "method", "said"),
    [
        ("response", "own", [FAILED]),
        ("stream", "start", [FAILED]),
        ("stream", "write", ["client: 200 OK", "client: abort"]),
        ("stream", "flush", ["client: 200 OK", "client: hello", "client: abort"]),
        ("stream", "own", ["client: 200 OK", "client: hello", "client: abort"]),
    ],
)
def test_a_client_that_cannot_be_held_is_let_go(mode: str, method: str, said: list[str]) -> None:
    scene = Scene()
    scene.asks()
    scene.said()
    scene.client.broken.add(method)
    scene.a.responds(200, *hold(mode)).sends(b"hello").ends()
    assert scene.crashed() == said
    assert scene.logged() == ACCEPTED
    assert scene.broker.channels() == []


@pytest.mark.parametrize("mode", ["response", "stream"])
def test_a_channel_that_cannot_be_joined_leaves_no_half_of_a_hold(mode: str) -> None:
    scene = Scene()
    subscribe = scene.broker.subscribe

    def fail(hold: Any, channel: str) -> None:
        if channel == "d":
            raise Broken
        subscribe(hold, channel)

    scene.broker.subscribe = fail  # type: ignore[method-assign]
    scene.asks()
    scene.said()
    scene.a.responds(200, *hold(mode, "Grip-Keep-Alive: K; timeout=1", channel="c, d")).ends()
    assert scene.crashed() == ([FAILED] if mode == "response" else ["client: 200 OK", "client: abort"])
    assert not scene.broker.holds("c").get(f"http-{mode}")
    scene.clock.advance(100)
    assert scene.said() == []
    assert scene.broker.channels() == []
    assert scene.clock.calls == []


def test_an_answer_with_a_line_end_in_a_header_is_no_answer() -> None:
    """Nothing lets one through; if something did, the client would still be answered."""
    scene = Scene()
    scene.asks()
    scene.client.broken.add("respond")
    with pytest.raises(Broken):  # the crash cannot be told to the client either; the edge ends it then
        scene.a.responds(200, "Grip-Foo: x").ends()
    scene.stats.failures.clear()
    assert scene.logged() == ["GET http://h/ -> a:1 code=200 0"]


# ---- what a waiting client costs ---------------------------------------------------------------------------


def waiting(scene: Scene, mode: str) -> tuple[Hold, list[weakref.ref[Any]]]:
    """A held POST; its hold, and references to all that should be gone by then."""
    upload = scene.posts(3, waiting=b"abc")
    upload.ends()
    exchange: Exchange = scene.a.sink
    scene.a.responds(200, *hold(mode, channel="c;filter=skip-self"), "X-Big: 1")
    gone = [weakref.ref(thing, lambda _: None) for thing in (scene.a, upload)]
    scene.a.sends(b"hello").ends()
    found = scene.client.owner
    assert isinstance(found, Hold)
    # Objects with slots cannot be referred to weakly: they are looked for below.
    del exchange
    scene["a:1"].calls.clear()
    scene.upload = None
    return found, gone


def reachable(root: object) -> list[object]:
    """All that ``root`` keeps alive, apart from the process around it."""
    seen: dict[int, object] = {}
    todo = [root]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, type | type(sys)) or callable(thing):
            continue
        seen[id(thing)] = thing
        todo += gc.get_referents(thing)
    return list(seen.values())


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


@pytest.mark.parametrize("mode", ["stream", "response"])
def test_nothing_of_the_exchange_outlives_it(mode: str) -> None:
    scene = Scene()
    kinds = (Exchange, OriginRequest, Response, Call)
    before = [alive(kind) for kind in kinds]
    _, gone = waiting(scene, mode)
    assert [alive(kind) for kind in kinds] == before
    assert [ref() for ref in gone] == [None, None]


def test_a_held_stream_does_not_keep_its_request() -> None:
    scene = Scene()
    before = alive(Request)
    waiting(scene, "stream")
    assert alive(Request) == before


def test_a_held_poll_keeps_its_request_for_a_re_run_and_lets_it_go_with_its_answer() -> None:
    scene = Scene()
    before = alive(Request)
    found, _ = waiting(scene, "response")
    assert alive(Request) == before + 1
    kept = reachable(found.retry)  # type: ignore[attr-defined]
    assert b"abc" in kept
    assert not any(type(thing).__name__ in {"Route", "Instruct", "RouteTable"} for thing in kept)
    scene.publishes(response="item")
    del found, kept
    scene.client = None  # type: ignore[assignment]
    assert alive(Request) == before
