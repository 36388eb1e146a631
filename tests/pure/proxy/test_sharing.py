"""Equal requests at the same time, with ``share_all``: one request to the backend (proxy 7.4)."""

from __future__ import annotations

from typing import Any

import pytest

from pushpin_tw.errors import OriginError, OriginUnreachable
from pushpin_tw.proxy.convoy import LAG
from pushpin_tw.proxy.sharing import MAX_KEPT, Sharing
from pushpin_tw.wire.gripsig import Signer, secret_key
from pushpin_tw.wire.http1 import parse_request
from tests.pure.proxy.scene import Client, Scene, Script, Upload, hold

ASKED = ["a: GET / (0)", "a: end"]


class Voice:
    """What one client hears, under its own name."""

    def __init__(self, script: Script, name: str) -> None:
        self._script = script
        self._name = name

    def say(self, who: str, what: str | bytes) -> None:
        self._script.say(self._name, what)


class SharingScene(Scene):
    """Several clients by name."""

    def __init__(self, routes: str = "* a:1", **settings: Any) -> None:
        super().__init__(routes, **settings)
        self.gateway.sharing = Sharing(self.wheel, self.stats)

    def comes(
        self,
        name: str,
        target: str = "/",
        *headers: str,
        method: str = "GET",
        minor: int = 1,
        body: bytes | None = None,
        broken: tuple[str, ...] = (),
    ) -> Client:
        """A client's request, complete unless ``body`` is to be sent by ``upload``."""
        framing = [] if body is None else [f"Content-Length: {len(body)}"]
        lines = [f"{method} {target} HTTP/1.{minor}", "Host: h", *framing, *headers, "", ""]
        request = parse_request("\r\n".join(lines).encode())
        request.peer = name
        voice: Any = Voice(self.script, name)
        client = Client(voice, method == "HEAD", minor, set(broken))
        client.persistent = request.keep_alive
        self.upload = Upload(voice, body or b"") if request.has_body else None
        self.gateway.handle_request(request, self.upload, client)
        return client

    def lines(self) -> list[str]:
        """The log: peer, outcome, and whether the line tells of sharing."""
        shared = {line.shared for line in self.stats.requests}
        assert len(shared) <= 1
        lines = [
            f"{line.peer} {line.outcome} {line.status} {line.size} -> {line.target}"
            + " retry" * line.retry
            + " shared" * (line.shared is not None)
            for line in self.stats.requests
        ]
        self.stats.requests.clear()
        return lines


def test_one_answer_for_all() -> None:
    scene = SharingScene()
    scene.comes("x", "/", "Cookie: of-x")
    scene.comes("y", "/", "Cookie: of-y")
    assert scene.said() == ASKED
    assert (b"Cookie", b"of-x") in scene.a.request.headers
    scene.a.responds(200, length=4)
    scene.comes("z")
    scene.a.sends(b"bo")
    scene.comes("w")
    assert scene.said() == [
        "z: 200 OK, 4 bytes",
        *("x: 200 OK, 4 bytes", "x: bo", "y: 200 OK, 4 bytes", "y: bo", "z: bo"),
        *("w: 200 OK, 4 bytes", "w: bo"),
    ]
    scene.a.sends(b"dy").ends()
    assert scene.said() == [
        *("x: dy", "y: dy", "z: dy", "w: dy"),
        *("x: end", "y: end", "z: end", "w: end"),
    ]
    assert scene.lines() == [f"{name} code 200 4 -> a:1 shared" for name in "xyzw"]
    scene.comes("v")
    assert scene.said() == ASKED


def test_without_share_all_everybody_asks() -> None:
    scene = SharingScene()
    scene.gateway.sharing = None
    scene.comes("x")
    scene.comes("y")
    assert scene.said() == ASKED * 2
    scene.a.responds().ends()
    assert scene.lines() == ["y code 200 0 -> a:1"]


@pytest.mark.parametrize(
    ("target", "headers", "method", "body"),
    [
        ("/?u=1", [], "GET", None),
        ("/other", [], "GET", None),
        ("/", [], "HEAD", None),
        ("/", [], "POST", b"two"),
        ("/", ["Pushpin-Route: second"], "GET", None),
    ],
    ids=["query", "path", "method", "body", "route"],
)
def test_what_could_differ_is_not_shared(
    target: str, headers: list[str], method: str, body: bytes | None
) -> None:
    """With the original, a POST with another body gets somebody else's answer."""
    scene = SharingScene("* a:1\n,id=second a:1", accept_pushpin_route=True)
    if body is None:
        scene.comes("x")
    else:
        scene.comes("x", method="POST", body=b"one")
        assert scene.upload is not None
        scene.upload.ends()
    scene.comes("y", target, *headers, method=method, body=body)
    if scene.upload is not None:
        scene.upload.ends()
    assert len(scene["a:1"].calls) == 2


def test_trust_is_not_shared() -> None:
    """What a trusted proxy says for its client goes to the backend, and decides what comes back."""
    key = secret_key(b"k")
    scene = SharingScene(upstream_key=key)
    signed = f"Grip-Sig: {Signer(key, 'front').token(int(scene.clock.seconds())).decode()}"
    scene.comes("x")
    scene.comes("y", "/", signed, "Grip-Last: c; last-id=1")
    scene.comes("z", "/", signed, "Grip-Last: c; last-id=2")
    scene.comes("w", "/", "Grip-Last: c; last-id=2")
    scene.comes("v", "/", signed, "Grip-Last: c; last-id=2")
    assert len(scene["a:1"].calls) == 3


def test_complete_bodies_that_are_equal() -> None:
    scene = SharingScene()
    for name in "xy":
        scene.comes(name, method="POST", body=b"same")
        assert scene.upload is not None
        scene.upload.ends()
    assert scene.said() == [
        *("x: begin", "a: POST / (4)", "a: same", "a: end"),
        "y: begin",
    ]
    scene.a.responds().sends(b"ok").ends()
    assert scene.said() == ["x: 200 OK", "x: ok", "y: 200 OK", "y: ok", "x: end", "y: end"]


def test_long_bodies_are_not_waited_for() -> None:
    scene = SharingScene()
    for name in "xy":
        scene.comes(name, method="POST", body=bytes(10_000))
    assert len(scene["a:1"].calls) == 2
    assert scene.upload is not None
    scene.upload.ends()
    scene.a.responds().ends()
    assert scene.lines() == ["y code 200 0 -> a:1"]


def test_nobody_joins_after_much_of_the_body() -> None:
    scene = SharingScene()
    scene.comes("x")
    scene.a.responds().sends(bytes(MAX_KEPT))
    scene.comes("y")
    scene.a.sends(b"1")
    assert [line[:2] for line in scene.said()][-2:] == ["x:", "y:"]
    scene.comes("z")
    assert len(scene["a:1"].calls) == 2


def test_each_has_a_connection_of_its_own() -> None:
    """What depends on the client's version is up to its responder."""
    scene = SharingScene()
    x, y = scene.comes("x"), scene.comes("y", minor=0)
    scene.a.responds()
    assert (x.chunked, y.chunked) == (True, False)
    y.goes()
    scene.a.sends(b"body").ends()
    assert scene.said() == [*ASKED, "x: 200 OK", "x: body", "x: end"]
    assert scene.lines() == ["y error 200 0 -> a:1 shared", "x code 200 4 -> a:1 shared"]


def test_the_first_one_goes() -> None:
    scene = SharingScene()
    first = scene.comes("x")
    scene.comes("y")
    first.goes()
    scene.a.responds().ends()
    assert scene.said() == [*ASKED, "y: 200 OK", "y: end"]
    assert scene.lines() == ["x error 0 0 -> a:1 shared", "y code 200 0 -> a:1 shared"]


def test_with_the_last_one_the_request_goes() -> None:
    scene = SharingScene()
    clients = [scene.comes("x"), scene.comes("y")]
    clients[0].goes()
    assert scene.said() == ASKED
    clients[1].goes()
    assert scene.said() == ["a: cancel"]
    assert scene.lines() == ["x error 0 0 -> a:1 shared", "y error 0 0 -> a:1 shared"]
    scene.comes("z")
    assert scene.said() == ASKED


def test_errors_are_for_all() -> None:
    scene = SharingScene("* a:1 b:2")
    scene.comes("x")
    scene.comes("y")
    scene.a.fails(OriginUnreachable("refused"))
    scene.comes("z")
    scene.b.fails(OriginError("closed"))
    text = "502 Bad Gateway | Error while proxying to origin.\n"
    assert scene.said() == [*ASKED, "b: GET / (0)", "b: end", *(f"{name}: {text}" for name in "xyz")]
    assert scene.lines() == [f"{name} code 502 32 -> b:2 shared" for name in "xyz"]
    scene.comes("x")
    scene.comes("y")
    scene.a.responds().sends(b"half").fails(OriginError("closed"))
    assert scene.said()[-2:] == ["x: abort", "y: abort"]
    assert scene.lines() == ["x error 200 0 -> a:1 shared", "y error 200 0 -> a:1 shared"]


def test_an_error_within_fetch() -> None:
    scene = SharingScene()
    scene["a:1"].within = lambda call: call.fails(OriginError("closed"))
    scene.comes("x")
    assert scene.lines() == ["x code 502 32 -> a:1"]
    scene.comes("y")
    assert scene.lines() == ["y code 502 32 -> a:1"]


def test_a_response_without_hold() -> None:
    scene = SharingScene()
    scene.comes("x")
    scene.comes("y")
    scene.a.responds(200, "Grip-Status: 404 Nope").sends(b"body").ends()
    assert scene.said() == [*ASKED, "x: 404 Nope | body", "y: 404 Nope | body"]
    assert scene.lines() == ["x code 404 4 -> a:1 shared", "y code 404 4 -> a:1 shared"]


@pytest.mark.parametrize("mode", ["stream", "response"])
def test_all_are_held(mode: str) -> None:
    scene = SharingScene()
    scene.comes("x")
    scene.comes("y", minor=0)
    scene.a.responds(200, *hold(mode)).sends(b"body ")
    scene.comes("z")
    scene.a.ends()
    scene.said()
    assert scene.broker.holds("c") == {f"http-{mode}": 3}
    assert [line.partition(" ->")[0] for line in scene.lines()] == [
        "x accept 200 0",
        "y accept 200 0",
        "z accept 200 0",
    ]
    assert [event[3] for event in scene.stats.events if event[0] == "held"] == [False] * 3
    scene.publishes(**{mode: "news"})
    heard = scene.said()
    assert sorted(line[0] for line in heard) == ["x", "y", "z"]
    assert all("news" in line for line in heard)


def test_held_requests_are_run_again_together() -> None:
    scene = SharingScene()
    scene.comes("x", "/", "Cookie: of-x")
    scene.comes("y", "/", "Cookie: of-y")
    scene.a.responds(200, *hold("response")).ends()
    assert scene.said() == ASKED
    assert scene.lines() == ["x accept 200 0 -> a:1 shared", "y accept 200 0 -> a:1 shared"]
    scene.publishes(response={"action": "hint"})
    scene.clock.advance(1.0)
    assert scene.said() == ASKED
    scene.a.responds().sends(b"new").ends()
    assert scene.said() == ["x: 200 OK", "x: new", "y: 200 OK", "y: new", "x: end", "y: end"]
    assert scene.lines() == [
        "x code 200 3 -> a:1 retry shared",
        "y code 200 3 -> a:1 retry shared",
    ]


def test_a_long_initial_body_for_all() -> None:
    scene = SharingScene()
    scene.comes("x")
    scene.comes("y")
    scene.a.responds(200, *hold("stream")).sends(bytes(MAX_KEPT + 1))
    scene.comes("z")
    first, _ = scene["a:1"].calls
    first.ends()
    assert scene.broker.holds("c") == {"http-stream": 2}


def test_one_that_is_lost_while_all_are_held() -> None:
    scene = SharingScene()
    scene.comes("x", broken=("start",))
    scene.comes("y")
    scene.a.responds(200, *hold("stream")).ends()
    assert scene.crashed() == [*ASKED, "x: abort", "y: 200 OK"]
    assert scene.broker.holds("c") == {"http-stream": 1}


def test_a_bug_in_one_costs_the_others_nothing() -> None:
    scene = SharingScene()
    scene.comes("x", broken=("write",))
    scene.comes("y")
    scene.a.responds().sends(b"body").ends()
    assert scene.crashed() == [*ASKED, "x: 200 OK", "x: abort", "y: 200 OK", "y: body", "y: end"]
    assert scene.lines() == ["x error 200 0 -> a:1 shared", "y code 200 4 -> a:1 shared"]


# ---- the pace ----------------------------------------------------------------------------------------------


def test_the_slowest_sets_the_pace_for_a_while() -> None:
    scene = SharingScene()
    x, y = scene.comes("x"), scene.comes("y")
    scene.a.responds()
    scene.said()
    x.congested = y.congested = True
    scene.a.sends(b"1")
    assert scene.said()[-1] == "a: pause"
    y.reads_again()
    scene.clock.advance(LAG - 1, step=0.1)
    assert scene.said() == []
    x.reads_again()
    assert scene.said() == ["a: resume"]
    x.congested = True
    scene.a.sends(b"2")
    assert scene.said() == ["x: 2", "y: 2", "a: pause"]
    scene.clock.advance(LAG + 1, step=0.1)
    assert scene.said() == ["a: resume", "x: abort"]
    assert scene.lines() == ["x error 200 0 -> a:1 shared"]
    scene.a.ends()
    assert scene.said() == ["y: end"]
    assert scene.wheel.waiting == 0


def test_a_slow_client_alone_may_be_slow() -> None:
    scene = SharingScene()
    x = scene.comes("x")
    scene.a.responds()
    x.congested = True
    scene.a.sends(b"1")
    scene.clock.advance(10 * LAG, step=1.0)
    assert scene.said()[-1] == "a: pause"
    x.goes()
    assert scene.said() == ["a: cancel"]


def test_one_that_goes_lets_the_others_go_on() -> None:
    scene = SharingScene()
    x, _ = scene.comes("x"), scene.comes("y")
    scene.a.responds()
    x.congested = True
    scene.a.sends(b"1")
    scene.said()
    x.goes()
    assert scene.said() == ["a: resume"]
