"""A WebSocket in ZHTTP packets, as its owner has it (zeromq 2.10)."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.sockets import BINARY, PING, PONG, TEXT
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.tnetstring import decode
from pushpin_tw.wire.zhttp import Packet
from pushpin_tw.wire.zhttpcredits import HIGH
from pushpin_tw.zhttptalk import Talk
from tests.pure.clock import Clock


class Line:
    """A session that keeps what is said."""

    def __init__(self) -> None:
        self.lives = True
        self.told = False
        self.overran = False
        self.said: list[dict[str, Any]] = []

    def say(self, write: Callable[..., bytes], *values: Any, **named: Any) -> None:
        assert self.lives
        fields = decode(write(b"us", b"1", len(self.said), *values, **named)[1:])
        self.said.append({key: value for key, value in fields.items() if key not in ("from", "id", "seq")})

    def give_back(self, amount: int) -> None:
        assert self.lives and amount
        self.said.append({"credits": amount})

    def leave(self, tell: bool = False) -> None:
        self.told = self.told or (tell and self.lives)
        self.lives = False

    def overrun(self) -> None:
        self.overran = True


class Owner:
    """Who has the socket; ``on`` are calls to be made when something is heard, by what it is."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.on: dict[str, Callable[[], object]] = {}

    def _heard(self, what: str, *values: Any) -> None:
        self.heard.append((what, *values) if values else what)
        self.on.get(what, lambda: None)()

    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        self._heard("piece", kind, data)

    def socket_closed(self, code: int | None, reason: bytes) -> None:
        self._heard("close", code, reason)

    def socket_drained(self) -> None:
        self._heard("drained")

    def socket_lost(self) -> None:
        self._heard("lost")


class Scene:
    """A talk with somebody at either end."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.failures: list[str] = []
        self.line = Line()
        self.owner = Owner()
        services = SimpleNamespace(
            wheel=Wheel(self.clock, lambda: self.failures.append("timer")),
            stats=SimpleNamespace(failure=self.failures.append),
            config=SimpleNamespace(tw=SimpleNamespace(close_timeout=120)),
        )
        self.talk = Talk(self.line, services)
        self.talk.own(self.owner)

    def hear(self, type: str = "", body: bytes = b"", **more: Any) -> None:
        """A packet comes."""
        if self.line.lives:
            self.talk.heard(Packet(((b"1", 0),), type, body=body, **more))

    @property
    def said(self) -> list[dict[str, Any]]:
        """What was said since it was asked the last time."""
        said, self.line.said = self.line.said, []
        return said


@pytest.fixture
def scene() -> Scene:
    return Scene()


def boom() -> None:
    raise ZeroDivisionError("a bug in the owner")


def test_an_answer_takes_the_credits_along(scene: Scene) -> None:
    scene.talk.allowance.grant(100)
    scene.owner.on["piece"] = lambda: scene.talk.send(TEXT, b"answer")
    scene.hear(body=b"question")
    assert scene.said == [{"credits": 8, "content-type": b"text", "body": b"answer"}]


def test_who_pauses_owes_nothing(scene: Scene) -> None:
    scene.owner.on["piece"] = scene.talk.pause
    scene.hear(body=b"ab")
    scene.hear(body=b"cde")
    scene.hear("ping", b"f")
    assert scene.said == [{"credits": 2}]
    scene.talk.resume()
    assert scene.said == [{"credits": 3}]
    scene.owner.on["piece"] = lambda: (scene.talk.pause(), scene.talk.resume())
    scene.talk.resume()
    assert scene.said == [{"credits": 1}]
    scene.hear(body=b"g")
    assert scene.owner.heard == [
        ("piece", TEXT, b"ab"),
        ("piece", TEXT, b"cde"),
        ("piece", PING, b"f"),
        ("piece", TEXT, b"g"),
    ]
    assert scene.said == [{"credits": 1}]


def test_room_is_told_of_once(scene: Scene) -> None:
    scene.talk.send(BINARY, b"x" * HIGH)
    assert scene.talk.congested
    scene.hear("credit", credits=10)
    assert scene.owner.heard == [] and scene.talk.congested
    scene.hear("credit", credits=1000)
    assert scene.owner.heard == ["drained"] and not scene.talk.congested
    scene.hear("credit", credits=1_000_000)
    assert scene.owner.heard == ["drained"]


def test_our_close_waits_for_what_is_before_it(scene: Scene) -> None:
    talk = scene.talk
    talk.send(TEXT, b"ab")
    talk.close(4000, b"why")
    talk.close(4001)
    talk.send(TEXT, b"too late")
    assert scene.said == []
    scene.hear(body=b"more of theirs")
    assert scene.said == [{"credits": 14}]
    scene.hear("credit", credits=2)
    assert scene.said == [
        {"content-type": b"text", "body": b"ab"},
        {"type": b"close", "code": 4000, "body": b"why"},
    ]
    scene.hear("close")
    assert scene.owner.heard[-2:] == [("close", None, b""), "lost"]
    assert not scene.line.lives and not scene.line.told and not talk.congested


def test_their_close_makes_ours_the_next_word(scene: Scene) -> None:
    scene.talk.send(TEXT, b"never paid for")
    scene.hear("close", b"bye", code=4000)
    assert scene.line.lives
    scene.talk.close(4000)
    assert scene.said == [{"type": b"close", "code": 4000}]
    assert scene.owner.heard == [("close", 4000, b"bye"), "lost"]


def test_who_hears_of_close_late(scene: Scene) -> None:
    scene.talk.pause()
    scene.hear(body=b"a")
    scene.hear("close")
    scene.talk.close()
    assert scene.line.lives and scene.owner.heard == []
    scene.talk.resume()
    assert scene.owner.heard == [("piece", TEXT, b"a"), ("close", None, b""), "lost"]


def test_nobody_waits_for_ever(scene: Scene) -> None:
    scene.talk.close(1000)
    scene.clock.advance(119)
    assert scene.owner.heard == []
    scene.clock.advance(2)
    assert scene.owner.heard == ["lost"] and scene.line.told


def test_aborting(scene: Scene) -> None:
    scene.owner.on["piece"] = scene.talk.abort
    scene.hear(body=b"a", credits=5)
    scene.talk.abort()
    assert scene.owner.heard == [("piece", TEXT, b"a")]
    assert scene.line.told and scene.said == []


def test_pings_that_no_frame_can_carry(scene: Scene) -> None:
    scene.hear("pong", b"x" * 126)
    assert scene.owner.heard == ["lost"] and scene.line.told


def test_who_pays_no_heed(scene: Scene) -> None:
    scene.talk.pause()
    scene.hear(body=b"x" * 5_000_000)
    assert scene.owner.heard == ["lost"] and scene.line.told and scene.line.overran


@pytest.mark.parametrize("what", ["piece", "close", "drained"])
def test_bugs_of_the_owner(scene: Scene, what: str) -> None:
    scene.owner.on[what] = boom
    scene.talk.send(BINARY, b"x" * HIGH)
    scene.hear("close" if what == "close" else "", b"", credits=1_000_000)
    assert len(scene.failures) == 1
    assert not scene.line.lives and scene.line.told and scene.owner.heard[-1] == "lost"


def test_bugs_to_the_very_end(scene: Scene) -> None:
    scene.owner.on["lost"] = boom
    scene.talk.lose()
    scene.talk.lose()
    assert len(scene.failures) == 1


STEPS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from([TEXT, BINARY, PING, PONG]), st.binary(max_size=5)),
    st.tuples(st.just("hear"), st.sampled_from(["", "ping", "credit"]), st.binary(max_size=5)),
    st.tuples(st.just("grant"), st.integers(-3, 9), st.just(b"")),
    st.tuples(st.sampled_from(["pause", "resume"]), st.just(0), st.just(b"")),
)


@given(st.lists(STEPS, max_size=30))
def test_credits_are_kept_on_both_sides(steps: list[tuple[str, Any, bytes]]) -> None:
    """We never send more than we may, give back what was passed on, no more and no less, and lose nothing."""
    scene = Scene()
    granted = came = 0
    sent: list[tuple[int, bytes]] = []
    for step, value, data in steps:
        if step == "send":
            scene.talk.send(value, data)
            sent.append((value, data))
        elif step == "hear":
            scene.hear(value, data)
            came += 0 if value == "credit" else len(data)
        elif step == "grant":
            scene.hear("credit", credits=value)
            granted += max(0, value)
        else:
            getattr(scene.talk, step)()
        used = sum(len(fields.get("body", b"")) for fields in scene.line.said)
        passed = sum(len(heard[2]) for heard in scene.owner.heard)
        assert used <= granted
        assert sum(fields.get("credits", 0) for fields in scene.line.said) == passed <= came
    scene.talk.resume()
    scene.hear("credit", credits=10_000)
    assert sum(len(heard[2]) for heard in scene.owner.heard) == came
    assert b"".join(fields.get("body", b"") for fields in scene.line.said) == b"".join(d for _, d in sent)
    assert scene.failures == []
