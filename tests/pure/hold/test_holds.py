"""Conversations with held clients: this arrives, that is written, the clock advances, this is written."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from pushpin_tw.grip.filters import Filters
from pushpin_tw.grip.instruct import Instruct, KeepAlive
from pushpin_tw.grip.template import Templates
from pushpin_tw.hold.base import HoldRoom
from pushpin_tw.hold.response import ResponseHold
from pushpin_tw.hold.stream import StreamHold
from pushpin_tw.wheel import Wheel
from tests.pure.clock import Clock


class Client:
    """A responder that writes down what it is told to send."""

    def __init__(self, chunked: bool = False) -> None:
        self.chunked = chunked
        self.persistent = True
        self.congested = False
        self.script: list[Any] = []
        self.owner: Any = None
        self.broken = False

    def own(self, owner: Any) -> None:
        self.owner = owner

    def say(self, *words: Any) -> None:
        if self.broken:
            raise RuntimeError("cannot write")
        self.script += words

    def deliver(self, data: bytes) -> None:
        self.say(data)

    def complete(self, data: bytes) -> None:
        self.say(data, "end")

    def finish(self) -> None:
        self.say("end")

    def abort(self) -> None:
        self.script.append("abort")

    def read_again(self) -> None:
        self.congested = False
        self.owner.drained()


class Register:
    """A broker's register."""

    def __init__(self) -> None:
        self.channels: dict[str, list[Any]] = {}

    def subscribe(self, hold: Any, channel: str) -> None:
        self.channels.setdefault(channel, []).append(hold)

    def unsubscribe(self, hold: Any, channel: str) -> None:
        if hold in self.channels.get(channel, ()):
            self.channels[channel].remove(hold)


class Stats:
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.failures: list[str] = []

    def count(self, name: str, n: int = 1, route: str = "") -> None:
        self.counts[name] = self.counts.get(name, 0) + n

    def failure(self, where: str) -> None:
        self.failures.append(where)


class Jitter(Random):
    """Thousandths of a second by which the next periods are shorter; none when there are no more."""

    def __init__(self) -> None:
        super().__init__()
        self.next: list[int] = []

    def randrange(self, *args: Any) -> int:
        return self.next.pop(0) if self.next else 0


class Again:
    def __init__(self) -> None:
        self.runs: list[Any] = []

    def rerun(self, retry: Any, responder: Any) -> None:
        self.runs.append((retry, responder))


class Scene:
    def __init__(self, queue_limit: int = 100) -> None:
        self.clock = Clock()
        self.stats = Stats()
        self.again = Again()
        self.register = Register()
        self.jitter = Jitter()
        self.wheel = Wheel(self.clock, lambda: self.stats.failure("timer"))
        self.room = HoldRoom(
            self.register,
            self.wheel,
            self.stats,
            self.jitter,
            self.again,
            queue_limit,
            subscription_max=20,
            links=None,
            filters=Filters([]),
        )

    def stream(
        self, client: Client, keep_alive: KeepAlive | None = None, channels: tuple[str, ...] = ("c",)
    ) -> StreamHold:
        hold = StreamHold(self.room, client, channels, "", keep_alive)
        hold.begin()
        return hold

    def poll(self, client: Client, timeout: float = 55, channels: tuple[str, ...] = ("c",)) -> ResponseHold:
        instruct = Instruct(
            mode="response",
            channels=(),
            timeout=55,
            keep_alive=None,
            meta={},
            next_link=None,
            gone_link=None,
            status=200,
            reason=b"OK",
            headers=(),
            body=b"nothing",
        )
        template = Templates().find(instruct, 1, True, False)
        hold = ResponseHold(self.room, client, channels, "", template, "retry")
        hold.begin(timeout)
        return hold


TIMEOUT = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nnothing"


def test_a_stream_writes_what_it_is_given() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client)
    hold.deliver(b"ab", [b"a", b"b"])
    hold.deliver(b"c", [b"c"])
    assert client.script == [b"ab", b"c"]


def test_a_stream_subscribes_when_the_initial_body_is_taken() -> None:
    scene, client = Scene(), Client()
    client.congested = True
    hold = scene.stream(client)
    assert scene.register.channels == {}
    client.read_again()
    assert scene.register.channels == {"c": [hold]}


def test_a_slow_client_queues_and_then_reads_in_order() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client)
    client.congested = True
    hold.deliver(b"ab", [b"a", b"b"])
    hold.deliver(b"c", [b"c"])
    assert client.script == []
    client.read_again()
    assert client.script == [b"a", b"b", b"c"]
    hold.deliver(b"d", [b"d"])
    assert client.script[-1] == b"d"


def test_a_slow_client_loses_what_exceeds_the_queue_and_it_is_counted() -> None:
    scene, client = Scene(queue_limit=2), Client()
    hold = scene.stream(client)
    client.congested = True
    hold.deliver(b"abc", [b"a", b"b", b"c"])
    hold.deliver(b"d", [b"d"])
    client.read_again()
    assert client.script == [b"a", b"b"]
    assert scene.stats.counts == {"items-dropped-slow-client": 2}


def test_a_queue_that_drains_in_parts_stays_in_order() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client)
    client.congested = True
    hold.deliver(b"ab", [b"a", b"b"])

    def once(data: bytes) -> None:
        client.script.append(data)
        client.congested = True

    client.deliver = once  # type: ignore[method-assign]
    client.read_again()
    hold.deliver(b"c", [b"c"])
    assert client.script == [b"a"]
    client.read_again()
    client.read_again()
    assert client.script == [b"a", b"b", b"c"]


def test_close_ends_a_stream_behind_what_waits() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client)
    client.congested = True
    hold.deliver(b"a", [b"a"])
    hold.act("close")
    assert client.script == [b"a", "end"]
    assert scene.register.channels == {"c": []}
    hold.deliver(b"b", [b"b"])
    hold.act("close")
    assert client.script == [b"a", "end"]


def test_hint_and_refresh_mean_nothing_to_a_stream_without_link() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client)
    hold.act("hint")
    hold.act("refresh")
    assert client.script == []
    assert scene.register.channels == {"c": [hold]}


def test_a_client_that_goes_leaves_nothing_behind() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client, KeepAlive(b"x", 1, False))
    hold.lost()
    scene.clock.advance(10)
    assert client.script == []
    assert scene.register.channels == {"c": []}
    assert scene.clock.calls == []


def test_idle_keep_alive_restarts_with_each_item() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client, KeepAlive(b"K", 3, False))
    scene.clock.advance(2)
    hold.deliver(b"item", [b"item"])
    scene.clock.advance(2.8)
    assert client.script == [b"item"]
    scene.clock.advance(0.4)
    assert client.script == [b"item", b"K"]
    scene.clock.advance(3.2)
    assert client.script == [b"item", b"K", b"K"]


def test_interval_keep_alive_runs_regardless() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client, KeepAlive(b"K", 3, True))
    scene.clock.advance(2)
    hold.deliver(b"item", [b"item"])
    scene.clock.advance(1.2)
    assert client.script == [b"item", b"K"]


def test_keep_alive_is_framed_and_an_empty_one_writes_nothing() -> None:
    scene, client, silent = Scene(), Client(chunked=True), Client()
    scene.stream(client, KeepAlive(b"\n", 1, False))
    scene.stream(silent, KeepAlive(b"", 1, False))
    scene.clock.advance(1.2)
    assert client.script == [b"1\r\n\n\r\n"]
    assert silent.script == []


def test_keep_alive_stops_while_the_client_is_slow() -> None:
    scene, client = Scene(), Client()
    scene.stream(client, KeepAlive(b"K", 1, False))
    client.congested = True
    scene.clock.advance(5)
    assert client.script == []
    client.read_again()
    scene.clock.advance(1.2)
    assert client.script == [b"K"]


def test_a_poll_answers_once() -> None:
    scene, client = Scene(), Client()
    hold = scene.poll(client)
    assert scene.register.channels == {"c": [hold]}
    hold.deliver(b"answer", [b"answer"])
    hold.deliver(b"other", [b"other"])
    scene.clock.advance(60)
    assert client.script == [b"answer", "end"]
    assert scene.register.channels == {"c": []}


def test_a_poll_times_out() -> None:
    scene, client = Scene(), Client()
    scene.poll(client, timeout=5)
    scene.clock.advance(4.9)
    assert client.script == []
    scene.clock.advance(0.3)
    assert client.script == [TIMEOUT, "end"]


def test_a_hint_runs_a_poll_again() -> None:
    scene, client = Scene(), Client()
    hold = scene.poll(client)
    hold.act("close")
    hold.act("refresh")
    assert client.script == []
    hold.act("hint")
    hold.act("hint")
    assert scene.again.runs == [("retry", client)]
    assert scene.register.channels == {"c": []}


def test_a_timer_that_fails_costs_its_hold() -> None:
    scene, client = Scene(), Client()
    hold = scene.poll(client, timeout=5)

    class Broken(ResponseHold):
        __slots__ = ()

        def on_time(self) -> None:
            raise RuntimeError

    Broken(scene.room, client, ("c",), "", hold.form, None).begin(5)
    hold.lost()
    scene.clock.advance(6)
    assert scene.stats.failures == ["timer of a hold"]
    assert client.script == ["abort"]
    assert scene.register.channels == {"c": []}


def test_a_short_period_after_an_early_item_is_over_already() -> None:
    scene, client = Scene(), Client()
    scene.jitter.next = [0, 999]
    hold = scene.stream(client, KeepAlive(b"K", 3, False))
    scene.clock.advance(0.5)
    hold.deliver(b"item", [b"item"])
    scene.clock.advance(2.4)
    assert client.script == [b"item"]
    scene.clock.advance(0.3)
    assert client.script == [b"item", b"K"]


# ---- ends --------------------------------------------------------------------------------------------------


def test_a_hold_ends_once() -> None:
    scene, client = Scene(), Client()
    for hold in (scene.stream(client), scene.poll(client)):
        hold.lost()
        hold.lost()
        hold.abort()
        hold.deliver(b"late", [b"late"])
        hold.act("close")
        hold.act("hint")
        assert hold.leave() is None
    assert client.script == []
    assert scene.again.runs == []
    assert scene.wheel.waiting == 0


def test_a_poll_has_nothing_to_do_when_its_client_reads_again() -> None:
    """It was slow to take the answer before."""
    scene, client = Scene(), Client()
    hold = scene.poll(client)
    client.read_again()
    assert client.script == []
    assert scene.register.channels == {"c": [hold]}


@pytest.mark.parametrize("action", ["deliver", "hint", "close", "timeout"])
def test_a_client_that_cannot_be_told_can_still_be_let_go(action: str) -> None:
    """Whoever catches the bug, the fan-out or the wheel, aborts the hold."""
    scene, client = Scene(), Client()
    stream, poll = scene.stream(client), scene.poll(client, timeout=1)
    client.broken = True
    hold = stream if action == "close" else poll
    if action == "timeout":
        scene.clock.advance(1.2)
        assert scene.stats.failures == ["timer of a hold"]
    else:
        if action == "hint":
            scene.room.refetch = None
        with pytest.raises((RuntimeError, AttributeError)):
            hold.act(action) if action != "deliver" else hold.deliver(b"x", [b"x"])
        hold.abort()
    assert client.script == ["abort"]
    assert hold not in scene.register.channels["c"]
    assert hold.responder is None


def test_a_client_that_goes_while_it_catches_up_leaves_no_timer() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client, KeepAlive(b"K", 5, False))
    client.congested = True
    hold.deliver(b"ab", [b"a", b"b"])

    def go(data: bytes) -> None:
        hold.lost()

    client.deliver = go  # type: ignore[method-assign]
    client.read_again()
    assert scene.wheel.waiting == 0
    assert scene.register.channels == {"c": []}


def test_a_client_that_goes_within_a_delivery() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client, KeepAlive(b"K", 5, False))
    client.deliver = lambda data: hold.lost()  # type: ignore[method-assign]
    hold.deliver(b"a", [b"a"])
    hold.deliver(b"b", [b"b"])
    scene.clock.advance(10)
    assert client.script == []
    assert scene.wheel.waiting == 0


def test_a_slow_client_that_catches_up_is_kept_alive_from_then_on() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client, KeepAlive(b"K", 3, False))
    client.congested = True
    hold.deliver(b"a", [b"a"])
    scene.clock.advance(2)
    client.read_again()
    scene.clock.advance(2.9)
    assert client.script == [b"a"]
    scene.clock.advance(0.3)
    assert client.script == [b"a", b"K"]


def test_a_full_queue_takes_nothing_more_at_all() -> None:
    scene, client = Scene(queue_limit=1), Client()
    hold = scene.stream(client)
    client.congested = True
    hold.deliver(b"ab", [b"a", b"b"])
    hold.deliver(b"cd", [b"c", b"d"])
    assert scene.stats.counts == {"items-dropped-slow-client": 3}
    client.read_again()
    assert client.script == [b"a"]


# ---- the process ends --------------------------------------------------------------------------------------


def test_a_stream_ends_with_its_connection_behind_what_waits() -> None:
    scene, client = Scene(), Client()
    hold = scene.stream(client)
    client.congested = True
    hold.deliver(b"a", [b"a"])
    hold.retire()
    assert (client.script, client.persistent) == ([b"a", "end"], False)
    assert scene.register.channels == {"c": []}
    hold.retire()
    assert client.script == [b"a", "end"]


def test_a_poll_is_answered_as_if_its_time_were_over_on_a_connection_that_ends() -> None:
    scene, client = Scene(), Client()
    hold = scene.poll(client)
    hold.retire()
    hold.retire()
    assert client.script == [TIMEOUT.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), "end"]
    assert client.persistent is False
    assert scene.register.channels == {"c": []}
