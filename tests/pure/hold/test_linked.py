"""Conversations with streams that can ask their origin: positions, links, updates, filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from zope.interface import implementer

from pushpin_tw.broker.broker import Broker
from pushpin_tw.broker.fanout import Fanout
from pushpin_tw.broker.limiter import Pace
from pushpin_tw.broker.parcel import Parcel
from pushpin_tw.errors import FilterError, GripError
from pushpin_tw.extensions import IMessageFilter
from pushpin_tw.grip.filters import Filters
from pushpin_tw.grip.instruct import Channel, Instruct, KeepAlive, NextLink
from pushpin_tw.grip.item import parse_item
from pushpin_tw.grip.template import Templates
from pushpin_tw.grip.terms import LinkRequest
from pushpin_tw.hold.base import HoldRoom
from pushpin_tw.hold.inbox import Origin
from pushpin_tw.hold.linked import LinkedStreamHold
from pushpin_tw.hold.response import TailoredResponseHold
from pushpin_tw.interfaces import NEVER
from pushpin_tw.proxy.held import Retry
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.message import Request
from tests.pure.broker.test_broker import item
from tests.pure.clock import Clock
from tests.pure.hold.test_holds import Client, Jitter
from tests.pure.hold.test_holds import Stats as HoldStats


class Stats(HoldStats):
    wants_holds = True

    def __init__(self) -> None:
        super().__init__()
        self.joined: list[str] = []

    def held(self, uri: str, channel: str, retry: bool) -> None:
        self.joined.append(channel)

    def published(self, channel: str, receivers: int) -> None:
        pass


class Talker(Client):
    """A client of a stream: what waits for a flush is said at once."""

    def write(self, data: bytes) -> None:
        self.say(data)

    def flush(self) -> None:
        pass


class LinkCall:
    def __init__(self, links: Links, request: LinkRequest, sink: Any) -> None:
        self.links, self.request, self.sink = links, request, sink
        self.state = "open"

    def pause(self) -> None:
        self.state = "paused"

    def resume(self) -> None:
        self.state = "open"

    def cancel(self) -> None:
        self.state = "cancelled"


class Links:
    """Fetches that a test answers."""

    def __init__(self) -> None:
        self.started = 0
        self.calls: list[LinkCall] = []
        self.after: list[int] = []
        self.gone_to: list[str] = []

    def follow(self, request: LinkRequest, sink: Any, after: int) -> LinkCall:
        self.started += 1
        self.after.append(after)
        call = LinkCall(self, request, sink)
        self.calls.append(call)
        return call

    def gone(self, request: LinkRequest) -> None:
        self.gone_to.append(request.uri)

    def take(self) -> LinkCall:
        """The only fetch since the last time."""
        (call,) = self.calls
        self.calls = []
        return call


@implementer(IMessageFilter)
class Late:
    """A filter that answers when the test says so."""

    name = "late"
    targets = frozenset({"message"})

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, Callable[[Any], None]]] = []
        self.cancelled = 0

    def start(self, context: Any, content: bytes, done: Callable[[Any], None]) -> Late:
        self.waiting.append((content, done))
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def answer(self, outcome: Any) -> None:
        _, done = self.waiting.pop(0)
        done(outcome)


class Scene:
    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.stats = Stats()
        self.wheel = Wheel(self.clock, lambda: self.stats.failure("timer"))
        self.soon: list[Callable[[], None]] = []
        fanout = Fanout(Pace(0, 500), lambda delay, call: self.soon.append(call), self.stats)
        self.broker = Broker(fanout, self.wheel, self.stats, 60.0, **settings)
        self.links = Links()
        self.late = Late()
        self.jitter = Jitter()
        self.again: list[tuple[Any, Any]] = []
        self.room = HoldRoom(
            self.broker,
            self.wheel,
            self.stats,
            self.jitter,
            self,
            queue_limit=4,
            subscription_max=3,
            links=self.links,
            filters=Filters([self.late]),
        )

    def rerun(self, retry: Any, responder: Any) -> None:
        self.again.append((retry.last_ids, responder))

    def stream(
        self,
        *channels: Channel,
        link: str | None = "/n",
        timeout: int = 120,
        mode: str = "stream",
        client: Talker | None = None,
        debug: bool = True,
        gone: str | None = None,
        prefix: str = "",
        implicit: tuple[str, ...] = (),
        **instruct: Any,
    ) -> Talker:
        client = client or Talker()
        origin = Origin("place", "http://h/", prefix, implicit, gone)
        hold = LinkedStreamHold(self.room, client, "", origin)
        hold.debug = debug
        hold.begin(self.instruct(*channels, link=link, timeout=timeout, mode=mode, **instruct))
        self.hold = hold
        return client

    @staticmethod
    def instruct(
        *channels: Channel, link: str | None = "/n", timeout: int = 120, mode: str = "stream", **more: Any
    ) -> Instruct:
        next_link = None if link is None else NextLink(link, timeout)
        return Instruct(mode, 200, b"OK", channels=channels, next_link=next_link, **more)

    def poll(
        self,
        *channels: Channel,
        gone: str | None = None,
        body: bytes = b"nothing",
        asked: float = NEVER,
    ) -> Client:
        client = Client()
        instruct = Instruct("response", 200, b"OK", body=body, channels=channels)
        template = Templates().find(instruct, 1, True, False)
        retry = Retry(Request(b"GET", b"/", 1, []), b"", "id", (("older", "1"),), asked=asked)
        names = tuple(channel.name for channel in channels)
        origin = Origin("place", "http://h/", "", (), gone)
        hold = TailoredResponseHold(self.room, client, names, "", template, retry, origin)
        if hold.follow(instruct):
            self.again.append(("at once", hold.position().last_ids))
        else:
            hold.begin(55)
        self.hold = hold  # type: ignore[assignment]
        return client

    def publish(
        self,
        content: str = "",
        item_id: str | None = None,
        prev_id: str | None = None,
        channel: str = "c",
        action: str = "send",
        **more: Any,
    ) -> None:
        body = {"action": action, "content": content, "body": content}
        if "filters" in more:
            body["content-filters"] = more.pop("filters")
        value = {"channel": channel, "http-stream": body, "http-response": body, **more}
        if item_id is not None:
            value["id"] = item_id
        if prev_id is not None:
            value["prev-id"] = prev_id
        self.broker.accept([parse_item(value)])
        self.turn()

    def turn(self) -> None:
        while self.soon:
            self.soon.pop(0)()

    def fetched(self) -> LinkCall:
        """A tick later: the fetch that has begun."""
        self.clock.advance(0.11)
        return self.links.take()

    def answers(self, call: LinkCall, instruct: Instruct, *pieces: bytes) -> None:
        call.sink.link_opened(instruct)
        for piece in pieces:
            call.sink.link_received(piece)
        call.sink.link_finished()


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    assert not scene.stats.failures


C = Channel("c")
AT_1 = Channel("c", "1")

# ---- positions (grip 11.3) ---------------------------------------------------------------------------------


def test_items_in_sequence_are_written_and_move_the_position(scene: Scene) -> None:
    client = scene.stream(AT_1)
    scene.publish("two", "2", "1")
    scene.publish("three", "3", "2")
    assert client.script == [b"two", b"three"]
    assert scene.links.calls == []


def test_grip_124_a_gap_is_filled_from_the_link(scene: Scene) -> None:
    client = scene.stream(AT_1)
    scene.publish("two", "2", "1")
    scene.publish("four", "4", "3", **{"no-seq": True})
    call = scene.fetched()
    assert call.request == LinkRequest("place", "/n", (("c", "2"),))
    scene.answers(call, scene.instruct(Channel("c", "4")), b"three four")
    scene.publish("five", "5", "4")
    assert client.script == [b"two", b"three four", b"five"]


def test_what_was_missed_is_in_no_fetch_that_was_sent_before(scene: Scene) -> None:
    scene.links.started = 7
    scene.stream(AT_1)
    scene.publish("four", "4", "3")
    scene.fetched()
    assert scene.links.after == [7]


def test_what_a_hint_speaks_of_is_in_no_fetch_that_was_sent_before(scene: Scene) -> None:
    scene.links.started = 7
    scene.stream(AT_1)
    scene.publish(item_id="2", prev_id="1", action="hint")
    assert scene.links.after == [7]


def test_grip_125_items_that_the_link_contains_are_not_written_again(scene: Scene) -> None:
    client = scene.stream(AT_1)
    scene.hold.update()
    call = scene.fetched()
    for number in "234":
        scene.publish(number, number, str(int(number) - 1))
    scene.answers(call, scene.instruct(Channel("c", "3")), b"[2 3] ")
    assert client.script == [b"[2 3] ", b"4"]


def test_a_gap_behind_what_the_link_contains_is_filled_as_well(scene: Scene) -> None:
    client = scene.stream(AT_1)
    scene.hold.update()
    call = scene.fetched()
    scene.publish("2", "2", "1")
    scene.publish("4", "4", "3", **{"no-seq": True})
    scene.answers(call, scene.instruct(Channel("c", "2")), b"[2] ")
    call = scene.fetched()
    assert call.request.last_ids == (("c", "2"),)
    scene.answers(call, scene.instruct(Channel("c", "4")), b"[3 4]")
    assert client.script == [b"[2] ", b"[3 4]"]


def test_grip_126_without_positions_items_follow_the_link(scene: Scene) -> None:
    client = scene.stream(C)
    scene.hold.update()
    call = scene.fetched()
    scene.publish("item")
    scene.answers(call, scene.instruct(C), b"link ")
    assert client.script == [b"link ", b"item"]


def test_an_item_without_id_ends_the_tracking(scene: Scene) -> None:
    client = scene.stream(AT_1)
    scene.publish("a", None, "1")
    scene.publish("b", "9", "8")
    assert client.script == [b"a", b"b"]


def test_an_empty_position_and_none_are_equal(scene: Scene) -> None:
    client = scene.stream(Channel("c", ""))
    scene.publish("a", "1")
    assert client.script == [b"a"]


def test_a_gap_makes_the_channel_forget_its_last_id(scene: Scene) -> None:
    scene.stream(AT_1)
    scene.publish("four", "4", "3")
    assert not scene.broker.conflicts("c", "1", scene.clock.now)


def test_the_queue_is_bounded_while_a_link_is_fetched(scene: Scene) -> None:
    client = scene.stream(C)
    scene.hold.update()
    call = scene.fetched()
    for number in range(6):
        scene.publish(str(number))
    scene.answers(call, scene.instruct(C))
    assert client.script == [b"0", b"1", b"2", b"3"]
    assert scene.stats.counts["items-dropped-slow-client"] == 2


def test_a_first_hold_behind_the_last_id_asks_and_later_ones_do_not(scene: Scene) -> None:
    scene.stream(Channel("c", "5"))
    scene.publish("x", "6", "5")
    scene.stream(Channel("c", "5"))
    call = scene.fetched()
    assert call.request.last_ids == (("c", "5"),)
    scene.answers(call, scene.instruct(Channel("c", "4")))
    scene.clock.advance(1)
    assert scene.links.calls == []


# ---- chains (grip 10) --------------------------------------------------------------------------------------


def test_grip_121_a_chain_is_one_response(scene: Scene) -> None:
    client = scene.stream(C, mode="none")
    call = scene.links.take()
    assert call.request == LinkRequest("place", "/n")
    assert scene.broker.channels() == []
    scene.answers(call, scene.instruct(link="/n2", mode="none"), b"second ")
    call = scene.links.take()
    assert call.request.uri == "/n2"
    scene.answers(call, scene.instruct(link=None, mode="none"), b"third")
    assert client.script == [b"second ", b"third", "end"]


def test_grip_120_a_chain_can_end_in_a_hold(scene: Scene) -> None:
    client = scene.stream(mode="none")
    scene.answers(scene.links.take(), scene.instruct(C, link=None), b"second ")
    scene.publish("pub")
    assert client.script == [b"second ", b"pub"]
    assert scene.stats.joined == ["c"]


def test_grip_135_a_link_can_change_channels(scene: Scene) -> None:
    client = scene.stream(C, implicit=("i",), prefix="p-")
    assert sorted(scene.broker.channels()) == ["i", "p-c"]
    scene.hold.update()
    scene.answers(scene.fetched(), scene.instruct(Channel("d")))
    assert sorted(scene.broker.channels()) == ["i", "p-d"]
    scene.publish("old", channel="p-c")
    scene.publish("new", channel="p-d")
    scene.publish("ever", channel="i")
    assert client.script == [b"new", b"ever"]


def test_more_channels_than_allowed_are_cut(scene: Scene) -> None:
    scene.stream(*(Channel(name) for name in "abcdef"))
    assert sorted(scene.broker.channels()) == ["a", "b", "c"]
    scene.hold.update()
    scene.answers(scene.fetched(), scene.instruct(*(Channel(name) for name in "fedcba")))
    assert sorted(scene.broker.channels()) == ["d", "e", "f"]


def test_grip_85_a_position_needs_a_link(scene: Scene) -> None:
    text = b"\n\nchannel 'c' specifies prev-id, but no next link found\n"
    assert scene.stream(AT_1, link=None).script == [text, "end"]
    assert scene.stream(AT_1, link=None, debug=False).script == ["end"]
    client = scene.stream(C)
    scene.hold.update()
    scene.answers(scene.fetched(), scene.instruct(AT_1, link=None), b"body")
    assert client.script == [b"body", text, "end"]


def test_grip_133_a_link_that_fails_is_tried_again_six_times_in_all(scene: Scene) -> None:
    client = scene.stream(mode="none")
    scene.jitter.next = [500, 0, 0, 0, 0]
    for delay in (1.5, 2, 4, 8, 16):
        scene.links.take().sink.link_failed(None)
        scene.clock.advance(delay - 0.1)
        assert scene.links.calls == []
        scene.clock.advance(0.21)
    scene.links.take().sink.link_failed(None)
    assert client.script == [b"\n\nFailed to retrieve next link.\n", "end"]


def test_a_success_starts_the_count_anew(scene: Scene) -> None:
    scene.stream(mode="none")
    for _ in range(2):
        for _ in range(5):
            scene.links.take().sink.link_failed(None)
            scene.clock.advance(17)
        scene.answers(scene.links.take(), scene.instruct(mode="none"))
    assert len(scene.links.calls) == 1


def test_a_link_that_fails_after_one_that_brought_something_is_tried_again(scene: Scene) -> None:
    client = scene.stream(AT_1)
    scene.hold.update()
    scene.answers(scene.fetched(), scene.instruct(AT_1), b"something")
    scene.hold.update()
    scene.fetched().sink.link_failed(None)
    assert client.script == [b"something"]
    scene.clock.advance(2)
    assert scene.links.take()


def test_a_link_that_fails_in_the_middle_ends_the_response(scene: Scene) -> None:
    client = scene.stream(mode="none")
    sink = scene.links.take().sink
    sink.link_opened(scene.instruct())
    sink.link_received(b"some")
    sink.link_failed(None)
    assert client.script == [b"some", b"\n\nFailed to retrieve next link.\n", "end"]


def test_grip_131_bad_instructions_end_the_response(scene: Scene) -> None:
    client = scene.stream(mode="none")
    scene.links.take().sink.link_failed(GripError("bad"))
    assert client.script == [b"\n\nbad\n", "end"]


def test_a_slow_client_slows_its_link(scene: Scene) -> None:
    client = scene.stream(mode="none")
    call = scene.links.take()
    client.congested = True
    call.sink.link_opened(scene.instruct(C))
    assert call.state == "paused"
    client.read_again()
    assert call.state == "open"
    client.congested = True
    call.sink.link_received(b"much")
    assert call.state == "paused"
    call.sink.link_finished()
    scene.publish("item")
    assert client.script == [b"much"]
    client.read_again()
    assert client.script == [b"much", b"item"]


def test_a_client_that_has_not_taken_the_initial_body_is_not_subscribed(scene: Scene) -> None:
    client = Talker()
    client.congested = True
    scene.stream(C, implicit=("i",), client=client)
    assert scene.broker.channels() == ["i"]
    client.read_again()
    assert sorted(scene.broker.channels()) == ["c", "i"]


# ---- updates (grip 11.3, 11.6) -----------------------------------------------------------------------------


def test_grip_128_a_hint_fetches_at_once_and_one_that_comes_meanwhile_once_more(scene: Scene) -> None:
    scene.stream(C)
    for _ in range(3):
        scene.publish(action="hint")
    scene.answers(scene.links.take(), scene.instruct(C))
    scene.answers(scene.links.take(), scene.instruct(C))
    assert scene.links.calls == []


def test_grip_38_without_a_link_hint_and_refresh_mean_nothing(scene: Scene) -> None:
    client = scene.stream(C, link=None)
    scene.publish(action="hint")
    scene.publish(action="refresh")
    scene.hold.update()
    scene.publish("after")
    assert client.script == [b"after"]
    assert scene.links.calls == []


def test_close_ends_the_response(scene: Scene) -> None:
    client = scene.stream(C)
    scene.publish(action="close")
    assert client.script == ["end"]
    assert scene.broker.channels() == []


def test_when_the_process_ends_the_link_that_is_fetched_comes_first(scene: Scene) -> None:
    client = scene.stream(C)
    scene.publish(action="hint")
    scene.hold.retire()
    assert client.script == []
    scene.answers(scene.links.take(), scene.instruct(C), b"second")
    scene.hold.retire()
    scene.hold.retire()
    assert (client.script, client.persistent) == ([b"second", "end"], False)
    assert scene.broker.channels() == []


def test_an_update_waits_for_the_one_that_is_under_way(scene: Scene) -> None:
    scene.stream(C)
    scene.hold.update()
    scene.hold.update()
    call = scene.fetched()
    scene.hold.update()
    scene.answers(call, scene.instruct(C))
    scene.answers(scene.fetched(), scene.instruct(C))
    scene.clock.advance(1)
    assert scene.links.calls == []


def test_items_wait_for_an_update_that_waits_for_its_turn(scene: Scene) -> None:
    client = scene.stream(AT_1)
    scene.hold.update()
    scene.publish("two", "2", "1")
    assert client.script == []
    scene.answers(scene.fetched(), scene.instruct(Channel("c", "2")), b"[2] ")
    assert client.script == [b"[2] "]


def test_items_wait_for_a_link_that_is_tried_again(scene: Scene) -> None:
    client = scene.stream(AT_1)
    scene.hold.update()
    scene.fetched().sink.link_failed(None)
    scene.publish("two", "2", "1")
    assert client.script == []
    scene.clock.advance(2)
    scene.answers(scene.links.take(), scene.instruct(Channel("c", "2")), b"[2] ")
    assert client.script == [b"[2] "]


def test_one_fetch_at_a_time(scene: Scene) -> None:
    scene.stream(AT_1)
    scene.hold.update()
    call = scene.fetched()
    scene.hold.update()
    scene.clock.advance(0.3)
    assert scene.links.calls == []
    call.sink.link_failed(None)
    scene.hold.update()
    scene.clock.advance(0.9)
    assert scene.links.calls == []
    scene.clock.advance(1)
    scene.answers(scene.links.take(), scene.instruct(AT_1))
    scene.answers(scene.fetched(), scene.instruct(AT_1))
    scene.clock.advance(1)
    assert scene.links.calls == []


def test_grip_127_a_timeout_of_zero_fetches_at_once(scene: Scene) -> None:
    scene.stream(C, timeout=0)
    scene.clock.advance(0.25)
    assert scene.links.take()


def test_grip_143_items_put_the_timeout_off(scene: Scene) -> None:
    scene.stream(C, timeout=3)
    for _ in range(8):
        scene.clock.advance(1)
        scene.publish("item")
    assert scene.links.calls == []
    scene.clock.advance(6.3)
    assert scene.links.take()


def test_grip_144_but_not_for_a_stream_of_two_channels(scene: Scene) -> None:
    scene.stream(C, Channel("d"), timeout=3)
    for _ in range(2):
        scene.clock.advance(1)
        scene.publish("item")
        scene.publish("item", channel="d")
    scene.clock.advance(1.3)
    assert scene.links.take()


def test_two_channels_that_bring_something_at_once_put_it_off(scene: Scene) -> None:
    client = scene.stream(C, Channel("d"), timeout=3)
    client.congested = True
    scene.publish("1")
    scene.publish("2", channel="d")
    client.read_again()
    assert client.script == [b"1", b"2"]
    scene.clock.advance(3.2)
    assert scene.links.calls == []


def test_grip_145_streams_with_the_same_link_look_together(scene: Scene) -> None:
    scene.stream(C, timeout=3)
    scene.clock.advance(1)
    scene.stream(C, timeout=3)
    scene.clock.advance(2.3)
    assert len(scene.links.calls) == 2
    assert len({call.request for call in scene.links.calls}) == 1


def test_no_timeout_runs_while_the_client_does_not_read(scene: Scene) -> None:
    client = scene.stream(C, timeout=3)
    client.congested = True
    scene.publish("queued")
    client.read_again()
    client.congested = False
    scene.clock.advance(2)
    client.deliver = lambda data: setattr(client, "congested", True)  # type: ignore[method-assign]
    scene.publish("fills the buffer")
    scene.clock.advance(10)
    assert scene.links.calls == []
    client.read_again()
    scene.clock.advance(3.3)
    assert scene.links.take()


def test_the_update_of_a_new_channel_fetches_the_link() -> None:
    scene = Scene(first_update=True)
    scene.stream(C)
    scene.clock.advance(1.05)
    assert scene.links.calls == []
    scene.clock.advance(0.2)
    assert scene.links.take()


def test_recover_asks_for_everybody(scene: Scene) -> None:
    scene.stream(AT_1, Channel("d", "2"))
    scene.poll(Channel("c", "1"))
    scene.publish("x", "2", "1", channel="elsewhere")
    scene.broker.recover()
    scene.clock.advance(0.11)
    assert scene.links.take().request.last_ids == (("c", "1"), ("d", "2"))
    assert [ids for ids, _ in scene.again] == [(("older", "1"), ("c", "1"))]


# ---- keep-alive (grip 9.3) ---------------------------------------------------------------------------------


def test_grip_137_the_keep_alive_is_that_of_the_latest_instructions(scene: Scene) -> None:
    client = scene.stream(C, keep_alive=KeepAlive(b"k", 2))
    scene.clock.advance(2.2)
    scene.hold.update()
    scene.answers(scene.fetched(), scene.instruct(C))
    scene.clock.advance(10)
    assert client.script == [b"k"]


def test_the_keep_alive_runs_until_the_link_brings_something(scene: Scene) -> None:
    client = scene.stream(C, keep_alive=KeepAlive(b"k", 2))
    scene.hold.update()
    call = scene.fetched()
    call.sink.link_opened(scene.instruct(C, keep_alive=KeepAlive(b"l", 2)))
    scene.clock.advance(2.2)
    call.sink.link_received(b"body")
    scene.clock.advance(5)
    call.sink.link_finished()
    scene.clock.advance(2.2)
    assert client.script == [b"k", b"body", b"l"]


# ---- the end (grip 10.6) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lost", "abort"])
def test_grip_139_the_origin_is_told_once_that_the_client_is_gone(scene: Scene, how: str) -> None:
    scene.stream(C, gone="/g")
    scene.hold.update()
    call = scene.fetched()
    getattr(scene.hold, how)()
    getattr(scene.hold, how)()
    assert scene.links.gone_to == ["/g"]
    assert call.state == "cancelled"
    assert scene.broker.channels() == []


def test_who_leaves_waits_for_nothing_any_more(scene: Scene) -> None:
    scene.stream(C, timeout=3)
    scene.hold.lost()
    scene.stream(C)
    scene.hold.update()
    scene.hold.lost()
    scene.stream(mode="none")
    scene.links.take().sink.link_failed(None)
    scene.hold.lost()
    scene.clock.advance(60)
    assert scene.links.calls == []
    assert not scene.wheel.waiting


# ---- filters -----------------------------------------------------------------------------------------------

LATE = Channel("c", "1", ("late",))


def test_later_items_wait_for_a_filter(scene: Scene) -> None:
    client = scene.stream(LATE)
    scene.publish("two", "2", "1")
    scene.publish("three", "3", "2")
    assert client.script == []
    scene.late.answer(b"TWO")
    scene.late.answer(b"THREE")
    assert client.script == [b"TWO", b"THREE"]


def test_grip_163_an_item_that_is_dropped_moves_the_position(scene: Scene) -> None:
    client = scene.stream(LATE)
    scene.publish("two", "2", "1")
    scene.late.answer(None)
    scene.publish("three", "3", "2")
    scene.late.answer(b"three")
    assert client.script == [b"three"]
    assert scene.links.calls == []


def test_grip_166_a_filter_that_fails_leaves_the_position_and_ends_a_debugged_stream(scene: Scene) -> None:
    client = scene.stream(LATE)
    scene.publish("two", "2", "1")
    scene.late.answer(FilterError("filter error: no"))
    assert client.script == [b"\n\nfilter error: no\n", "end"]
    client = scene.stream(LATE, debug=False)
    scene.publish("two", "2", "1")
    scene.late.answer(FilterError("filter error: no"))
    scene.publish("three", "3", "2")
    assert client.script == []
    assert scene.fetched()


def test_an_update_waits_for_a_filter(scene: Scene) -> None:
    client = scene.stream(LATE)
    scene.publish("two", "2", "1")
    scene.hold.update()
    scene.clock.advance(1)
    assert scene.links.calls == []
    scene.late.answer(b"two")
    assert client.script == [b"two"]
    assert scene.fetched().request.last_ids == (("c", "2"),)


def test_who_leaves_cancels_its_filter(scene: Scene) -> None:
    scene.stream(LATE)
    scene.publish("two", "2", "1")
    scene.hold.lost()
    assert scene.late.cancelled == 1
    scene.late.answer(b"two")


def test_grip_159_an_item_for_other_filters_is_dropped(scene: Scene) -> None:
    client = scene.stream(AT_1, debug=False)
    scene.publish("a", "2", "1", filters=["late"])
    scene.publish("b", "3", "1", filters=[], **{"no-seq": True})
    assert client.script == [b"b"]
    client = scene.stream(Channel("d", "1"))
    scene.publish("a", "4", "1", channel="d", filters=["late", "x"])
    assert client.script == [b"\n\ncontent filter mismatch: subscription= message=late,x\n", "end"]


# ---- long-polls --------------------------------------------------------------------------------------------


def test_grip_105_a_poll_is_answered_by_what_follows(scene: Scene) -> None:
    client = scene.poll(AT_1, gone="/g")
    scene.publish("two", "2", "1")
    assert client.script == [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo", "end"]
    assert scene.links.gone_to == ["/g"]
    assert scene.again == []


def test_grip_106_and_run_again_when_something_is_missing(scene: Scene) -> None:
    client = scene.poll(AT_1)
    scene.publish("three", "3", "2")
    assert client.script == [] and scene.again == []
    scene.clock.advance(0.11)
    assert scene.again == [((("older", "1"), ("c", "1")), client)]


def test_a_poll_that_waits_to_be_run_again_can_still_be_answered(scene: Scene) -> None:
    client = scene.poll(AT_1)
    scene.publish("three", "3", "2")
    scene.publish("two", "2", "1")
    assert client.script == [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo", "end"]
    scene.clock.advance(1)
    assert scene.again == []


def test_grip_109_a_poll_behind_the_last_id_is_run_again_at_once(scene: Scene) -> None:
    scene.stream(C)
    scene.publish("x", "5", "4")
    scene.poll(AT_1, gone="/g")
    assert scene.again == [("at once", (("older", "1"), ("c", "1")))]
    assert scene.links.gone_to == []


def test_polls_that_begin_together_behind_the_last_id_are_all_run_again_and_only_once(scene: Scene) -> None:
    scene.stream(C)
    scene.publish("x", "5", "4")
    for _ in range(2):
        scene.poll(AT_1)
    assert len(scene.again) == 2
    scene.clock.advance(1)
    scene.poll(AT_1, asked=scene.clock.now - 0.5)
    assert len(scene.again) == 2
    scene.poll(AT_1, asked=scene.clock.now - 1.5)
    assert len(scene.again) == 3


def test_streams_that_begin_together_behind_the_last_id_all_ask(scene: Scene) -> None:
    scene.stream(C)
    scene.publish("x", "5", "4")
    scene.stream(AT_1)
    scene.stream(AT_1)
    scene.clock.advance(0.11)
    assert [call.request.last_ids for call in scene.links.calls] == [(("c", "1"),)] * 2


def test_a_hint_runs_a_poll_again_at_once(scene: Scene) -> None:
    client = scene.poll(AT_1, gone="/g")
    scene.publish(item_id="2", prev_id="1", action="hint")
    assert scene.again == [((("older", "1"), ("c", "2")), client)]
    assert scene.links.gone_to == ["/g"]


def test_a_poll_with_filters(scene: Scene) -> None:
    client = scene.poll(LATE)
    scene.publish("two", "2", "1")
    scene.late.answer(b"TWO")
    assert client.script == [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nTWO", "end"]


def test_a_filter_sees_a_patched_body(scene: Scene) -> None:
    scene.poll(LATE, body=b'{"a":1}')
    value = {
        "channel": "c",
        "prev-id": "1",
        "http-response": {"body-patch": [{"op": "remove", "path": "/a"}]},
    }
    scene.broker.accept([parse_item(value)])
    scene.turn()
    assert scene.late.waiting[0][0] == b"{}"


def test_a_poll_whose_filter_fails_goes_on_waiting_or_says_so_in_debug_mode(scene: Scene) -> None:
    client = scene.poll(LATE)
    scene.publish("two", "2", "1")
    scene.late.answer(FilterError("filter error: no"))
    assert client.script == []
    client = scene.poll(Channel("d", "1", ("late",)))
    scene.hold.debug = True
    scene.publish("two", "2", "1", channel="d")
    scene.late.answer(FilterError("filter error: no"))
    head = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n\r\n"
    assert client.script == [head + b"filter error: no\n", "end"]


# ---- what must not happen, and does ------------------------------------------------------------------------


def test_an_item_on_a_channel_that_was_left_is_nobodys(scene: Scene) -> None:
    client = scene.stream(C)
    scene.hold.receive(Parcel(item("x", channel="other")), "other")
    assert client.script == []


def test_a_filter_that_answers_twice_is_heard_once(scene: Scene) -> None:
    client = scene.stream(LATE)
    scene.publish("two", "2", "1")
    done = scene.late.waiting[0][1]
    done(b"two")
    done(b"again")
    assert client.script == [b"two"]


@pytest.mark.parametrize("kind", ["stream", "poll"])
def test_who_has_left_hears_nothing_more(scene: Scene, kind: str) -> None:
    client = getattr(scene, kind)(AT_1)
    hold = scene.hold
    hold.lost()
    hold.receive(Parcel(item("2")), "c")
    hold.update()
    hold.updated()
    hold.fail("text")
    hold.rest()
    if kind == "stream":
        hold.link_failed(None)
        hold.link_finished()
        hold.try_again()
    else:
        hold.act("hint")  # type: ignore[attr-defined]
    scene.clock.advance(1)
    assert client.script == [] and scene.again == [] and scene.links.calls == []


def test_a_poll_that_cannot_be_run_again_times_out_instead(scene: Scene) -> None:
    client = scene.poll(AT_1)
    scene.hold.retry = None  # type: ignore[attr-defined]
    scene.hold.update()
    scene.publish("three", "3", "2")
    assert client.script == [b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nnothing", "end"]


def test_a_poll_keeps_waiting_behind_close_and_refresh(scene: Scene) -> None:
    client = scene.poll(AT_1)
    scene.publish("", "2", "1", action="close")
    scene.publish("", "3", "2", action="refresh")
    scene.publish("four", "4", "3")
    assert client.script == [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour", "end"]


def test_empty_content_is_not_written_and_counts_as_a_sign_of_life(scene: Scene) -> None:
    client = scene.stream(C, timeout=3)
    scene.clock.advance(1)
    scene.publish("")
    scene.clock.advance(2.3)
    assert client.script == [] and scene.links.calls == []


def test_a_slow_client_waits_with_its_update(scene: Scene) -> None:
    client = scene.stream(C, timeout=3)
    scene.hold.update()
    client.congested = True
    client.read_again()
    assert scene.fetched()


def test_an_update_that_fails_costs_one_hold() -> None:
    scene = Scene()
    client, neighbour = scene.poll(AT_1), scene.poll(Channel("c", "1"))

    def cannot(retry: Any, responder: Any) -> None:
        if responder is client:
            raise RuntimeError("cannot")
        scene.again.append((retry.last_ids, responder))

    scene.rerun = cannot  # type: ignore[method-assign]
    scene.publish("three", "3", "2")
    scene.clock.advance(0.11)
    assert client.script == ["abort"]
    assert [responder for _, responder in scene.again] == [neighbour]
    assert scene.stats.failures == ["update of a hold"]


def test_a_link_that_cannot_be_asked_for_costs_one_hold() -> None:
    scene = Scene()
    clients = [scene.stream(C, timeout=3) for _ in range(2)]
    broken, add = scene.hold, scene.room.updates.add

    def cannot(hold: Any, request: Any) -> None:
        if hold is broken:
            raise RuntimeError("cannot")
        add(hold, request)

    scene.room.updates.add = cannot  # type: ignore[method-assign]
    scene.clock.advance(3.3)
    assert [client.script for client in clients] == [[], ["abort"]]
    assert scene.stats.failures == ["timer of a next link"]
    assert scene.links.take()


def test_a_group_that_has_ended_leaves_its_successor_alone(scene: Scene) -> None:
    scene.stream(C, timeout=3)
    first = scene.hold
    scene.clock.advance(3.3)
    call = scene.links.take()
    scene.stream(C, timeout=3)
    scene.answers(call, scene.instruct(C, timeout=3))
    first.lost()
    scene.clock.advance(3.3)
    assert scene.links.take()
