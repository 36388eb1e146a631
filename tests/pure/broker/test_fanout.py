"""From an item to the holds that wait for it: order, joining, slices, rate, failures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from pushpin_tw.broker.broker import Broker
from pushpin_tw.broker.fanout import MAX_JOINED, Fanout
from pushpin_tw.broker.limiter import Pace
from pushpin_tw.grip.formats import StreamFormat
from pushpin_tw.grip.instruct import Instruct
from pushpin_tw.grip.item import Item, parse_item
from pushpin_tw.grip.template import Templates
from pushpin_tw.wheel import Wheel
from tests.support.tally import RecordedTally


class Stats:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.failures: list[str] = []
        self.counts: dict[str, int] = {}

    def count(self, name: str, n: int = 1, route: str = "") -> None:
        self.counts[name] = self.counts.get(name, 0) + n

    def note(self, level: str, text: str, service: str = "proxy") -> None:
        self.told.append((level, service, text))

    def published(self, channel: str, receivers: int) -> None:
        self.told.append(("published", channel, receivers))

    def failure(self, where: str) -> None:
        self.failures.append(where)


class Listener:
    """A hold that writes down what it is given."""

    kind = "http-stream"
    single = False

    def __init__(self, form: Hashable = False, bucket: str = "") -> None:
        self.form = form
        self.bucket = bucket
        self.got: list[bytes] = []
        self.parts: list[bytes] = []
        self.acts: list[str] = []
        self.aborted = False

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        assert data == b"".join(parts)
        self.got.append(data)
        self.parts += parts

    def act(self, action: str, item: Item | None = None) -> None:
        self.acts.append(action)

    def abort(self) -> None:
        self.aborted = True


class Waiter(Listener):
    kind = "http-response"


class Broken(Listener):
    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        raise RuntimeError("cannot")

    def act(self, action: str, item: Item | None = None) -> None:
        raise RuntimeError("cannot")


class Hopeless(Broken):
    def abort(self) -> None:
        raise RuntimeError("cannot even end")


class World:
    """A broker whose turns are taken by hand, on a clock that the turns move."""

    def __init__(
        self, rate: int = -1, hwm: int = -1, block: int = -1, slice_: int = 500, backlog: int = 50_000
    ) -> None:
        self.now = 100.0
        self.queue: list[tuple[float, Callable[..., Any]]] = []
        self.stats = Stats()
        self.wheel = Wheel(self, lambda: self.stats.failure("timer"))
        self.delivered: list[tuple[float, int]] = []
        """When items were taken in, and how many holds were given them at once."""
        self.fanout = Fanout(
            Pace(rate, slice_),
            self.callLater,
            self.stats,
            hwm,
            block,
            backlog,
            lambda since, n: self.delivered.append((since, n)),
        )
        self.broker = Broker(self.fanout, self.wheel, self.stats, 60)
        self.turns = 0

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any) -> World:
        self.queue.append((self.now + delay, call))
        return self

    def cancel(self) -> None:
        self.queue.clear()

    def turn(self) -> float:
        """Take the earliest turn; when it was."""
        self.queue.sort(key=lambda entry: entry[0])
        self.now, call = self.queue.pop(0)
        self.turns += 1
        call()
        return self.now

    def settle(self) -> None:
        while self.queue:
            self.turn()

    def listen(self, *holds: Listener, channel: str = "c") -> None:
        for hold in holds:
            self.broker.subscribe(hold, channel)

    def publish(self, *contents: str, channel: str = "c") -> None:
        self.broker.accept([stream(content, channel) for content in contents])


def stream(content: str, channel: str = "c", **more: Any) -> Item:
    return parse_item({"channel": channel, "formats": {"http-stream": {"content": content}}, **more})


def action(name: str) -> Item:
    return parse_item({"channel": "c", "formats": {"http-stream": {"action": name}}})


def test_nothing_is_delivered_within_accept() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    world.publish("a")
    assert hold.got == []
    world.settle()
    assert hold.got == [b"a"]


def test_items_for_an_unchanged_group_are_joined_and_keep_their_order() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    world.publish("a", "b")
    world.publish("c")
    world.settle()
    assert hold.got == [b"abc"]
    assert hold.parts == [b"a", b"b", b"c"]


def test_joining_stops_where_the_group_changed() -> None:
    world, first, second = World(), Listener(), Listener()
    world.listen(first)
    world.publish("a")
    world.listen(second)
    world.publish("b")
    world.settle()
    assert first.got == [b"a", b"b"]
    assert second.got == [b"b"]


def test_joining_never_crosses_another_channel() -> None:
    world, both = World(), Listener()
    world.listen(both, channel="x")
    world.listen(both, channel="y")
    world.broker.accept([stream("1", "x"), stream("2", "y"), stream("3", "x")])
    world.settle()
    assert b"".join(both.got) == b"123"


class Devotee(Listener):
    single = True


def test_joining_crosses_another_channel_for_those_who_listen_to_one_only() -> None:
    world, x, y = World(), Devotee(), Devotee()
    world.listen(x, channel="x")
    world.listen(y, channel="y")
    world.broker.accept([stream("1", "x"), stream("2", "y"), stream("3", "x")])
    world.settle()
    assert (x.got, y.got) == ([b"13"], [b"2"])


def test_one_who_listens_elsewhere_keeps_a_group_from_joining_across_channels() -> None:
    world, x, both = World(), Devotee(), Listener()
    world.listen(x, both, channel="x")
    world.listen(both, channel="y")
    items = [stream("1", "x"), stream("2", "y"), stream("3", "x")]
    world.broker.accept(items)
    world.settle()
    assert b"".join(both.got) == b"123"
    world.broker.unsubscribe(both, "x")
    x.got.clear()
    world.broker.accept(items)
    world.settle()
    assert x.got == [b"13"]


def test_joining_never_crosses_an_action() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    world.broker.accept([stream("1"), action("close"), stream("2")])
    world.settle()
    assert hold.got == [b"1", b"2"]
    assert hold.acts == ["close"]


def test_joined_bytes_are_bounded() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    piece = "x" * (MAX_JOINED // 4)
    world.publish(*[piece] * 10)
    world.settle()
    assert len(b"".join(hold.got)) == 10 * len(piece)
    assert max(map(len, hold.got)) <= MAX_JOINED


def test_each_form_is_encoded_once_and_shared() -> None:
    world = World()
    raw, chunked, other = Listener(False), Listener(True), Listener(True)
    world.listen(raw, chunked, other)
    world.publish("hello")
    world.settle()
    assert raw.got == [b"hello"]
    assert chunked.got == [b"5\r\nhello\r\n"]
    assert chunked.got[0] is other.got[0]


def test_a_large_group_is_served_in_slices() -> None:
    world = World(slice_=100)
    holds = [Listener() for _ in range(250)]
    world.listen(*holds)
    world.publish("a")
    world.turn()
    assert sum(bool(hold.got) for hold in holds) == 100
    world.settle()
    assert all(hold.got == [b"a"] for hold in holds)
    assert world.turns == 3


def test_order_holds_across_slices() -> None:
    world = World(slice_=7)
    holds = [Listener() for _ in range(20)]
    world.listen(*holds)
    world.publish("a")
    world.turn()
    world.publish("b")
    world.settle()
    assert all(b"".join(hold.got) == b"ab" for hold in holds)


def test_a_failing_hold_costs_itself_only() -> None:
    world = World()
    before, broken, after = Listener(), Broken(), Listener()
    world.listen(before, broken, after)
    world.publish("a")
    world.settle()
    assert before.got == after.got == [b"a"]
    assert broken.aborted
    assert len(world.stats.failures) == 1


def test_a_hold_that_fails_even_to_end_costs_itself_only() -> None:
    world = World()
    hopeless, after = Hopeless(), Listener()
    world.listen(hopeless, after)
    world.broker.accept([stream("a"), action("close")])
    world.settle()
    assert after.got == [b"a"]
    assert after.acts == ["close"]


def test_an_item_that_cannot_be_encoded_costs_itself_only() -> None:
    world, hold = World(), Listener(True)
    world.listen(hold)
    odd: Any = "text where bytes belong"
    world.broker.accept([Item("c", http_stream=StreamFormat("send", odd))])
    world.settle()
    world.publish("good")
    world.settle()
    assert hold.got == [b"4\r\ngood\r\n"]
    assert world.stats.failures


def test_receivers_are_told() -> None:
    world = World()
    world.listen(Listener(), Listener(True), Waiter(template()))
    world.publish("a")
    world.publish("b", channel="nobody")
    assert [told for told in world.stats.told if told[0] == "published"] == [
        ("published", "c", 2),
        ("published", "nobody", 0),
    ]


def template() -> Any:
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
        headers=((b"X-A", b"1"),),
        body=b"",
    )
    return Templates().find(instruct, 1, True, False)


def test_response_holds_with_one_template_share_their_bytes() -> None:
    world, form = World(), template()
    first, second = Waiter(form), Waiter(form)
    world.listen(first, second)
    world.broker.accept([parse_item({"channel": "c", "formats": {"http-response": {"body": "x"}}})])
    world.settle()
    assert first.got == [b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 1\r\n\r\nx"]
    assert first.got[0] is second.got[0]


def test_answers_are_not_collected_while_others_are_still_to_be_written() -> None:
    """Polls may have a template each, and their answers may be large."""
    world = World(slice_=1)
    holds = [Waiter(template()) for _ in range(3)]
    world.listen(*holds)
    body = "x" * 1000
    world.broker.accept([parse_item({"channel": "c", "formats": {"http-response": {"body": body}}})])
    world.turn()
    world.turn()
    (answer,) = holds[0].got
    holds[0].got.clear()
    holds[0].parts.clear()
    assert len(answer) > 1000
    assert sys.getrefcount(answer) == 2
    world.settle()
    assert holds[2].got == [answer]


def test_a_channel_lingers_for_response_holds() -> None:
    world, hold = World(), Waiter(template())
    tally = world.broker.tally = RecordedTally()
    world.listen(hold)
    world.broker.unsubscribe(hold, "c")
    assert world.broker.channels() == ["c"]
    assert tally.take() == [("joined", "response", "c"), ("left", "response", "c", True)]
    world.listen(again := Waiter(template()))
    world.broker.unsubscribe(again, "c")
    assert tally.take() == [
        ("joined", "response", "c"),
        ("lingered", "response", "c"),
        ("left", "response", "c", True),
    ]
    world.settle()
    assert world.broker.channels() == []
    assert tally.take() == [("lingered", "response", "c")]


def test_a_stream_subscription_ends_at_once() -> None:
    world, hold = World(), Listener()
    tally = world.broker.tally = RecordedTally()
    world.listen(hold)
    world.listen(hold)
    world.broker.unsubscribe(hold, "c")
    world.broker.unsubscribe(hold, "c")
    assert world.broker.channels() == []
    assert tally.take() == [("joined", "stream", "c"), ("left", "stream", "c", False)]


def test_leaving_a_channel_one_never_joined_is_harmless() -> None:
    world, hold, stranger = World(), Listener(), Listener()
    world.broker.unsubscribe(stranger, "c")
    world.listen(hold)
    world.broker.unsubscribe(stranger, "c")
    world.broker.unsubscribe(Listener(form=True), "c")
    assert world.broker.holds("c") == {"http-stream": 1}
    assert world.broker.holds("d") == {}


def test_channels_are_forgotten_with_their_last_hold() -> None:
    world = World()
    holds = [Listener() for _ in range(3)] + [Waiter(template()) for _ in range(3)]
    for number in range(50):
        world.listen(*holds, channel=f"c{number}")
        world.publish("x", channel=f"c{number}")
        for hold in holds:
            world.broker.unsubscribe(hold, f"c{number}")
    world.settle()
    assert world.broker.channels() == []
    assert world.stats.failures == []
    assert world.wheel.waiting == 0


def test_nothing_is_kept_of_what_was_delivered() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    world.publish("a", "b")
    item = stream("c")
    world.broker.accept([item])
    assert sys.getrefcount(item) > 2
    world.settle()
    assert sys.getrefcount(item) == 2
    assert world.broker._channels["c"].groups[("http-stream", False, "")].pending is None


# ---- holds that come and go while items are under way ------------------------------------------------------


class Leaver(Listener):
    """Makes others leave, or come, when it is given something."""

    def __init__(self, world: World, *leaving: Listener, coming: Listener | None = None) -> None:
        super().__init__()
        self.world, self.leaving, self.coming = world, leaving, coming

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        super().deliver(data, parts)
        for hold in self.leaving:
            self.world.broker.unsubscribe(hold, "c")
        if self.coming is not None:
            self.world.broker.subscribe(self.coming, "c")


def test_a_hold_may_leave_within_its_own_delivery() -> None:
    world = World()
    leaver, after = Leaver(world), Listener()
    leaver.leaving = (leaver,)
    world.listen(leaver, after)
    world.publish("a")
    world.settle()
    world.publish("b")
    world.settle()
    assert (leaver.got, after.got) == ([b"a"], [b"a", b"b"])


def test_a_hold_that_comes_within_a_delivery_sees_what_is_published_from_then_on() -> None:
    world, late = World(), Listener()
    world.listen(Leaver(world, coming=late))
    world.publish("a")
    world.settle()
    assert late.got == []
    world.publish("b")
    world.settle()
    assert late.got == [b"b"]


def test_a_hold_that_left_before_its_slice_hears_nothing() -> None:
    world = World(slice_=1)
    gone, after = Listener(), Listener()
    world.listen(Leaver(world, gone), gone, after)
    world.publish("a")
    world.settle()
    assert gone.got == []
    assert after.got == [b"a"]


def test_a_group_whose_members_have_all_left_delivers_to_nobody() -> None:
    world, gone, late = World(), Listener(), Listener()
    world.listen(gone)
    world.publish("a")
    world.broker.unsubscribe(gone, "c")
    world.listen(late)
    world.publish("b")
    world.settle()
    assert (gone.got, late.got) == ([], [b"b"])


def test_who_has_gone_by_its_turn_costs_nothing() -> None:
    world = World(rate=5)
    crowd, last = [Listener() for _ in range(10)], Listener()
    world.listen(*crowd, last)
    world.publish("a")
    for hold in crowd:
        world.broker.unsubscribe(hold, "c")
    assert paced(world, last) == [0.0]


# ---- what goes wrong ---------------------------------------------------------------------------------------


def test_empty_content_reaches_nobody() -> None:
    world, raw, chunked = World(), Listener(), Listener(True)
    world.listen(raw, chunked)
    world.publish("")
    world.settle()
    assert raw.got == chunked.got == []
    world.publish("a", "", "b")
    world.settle()
    assert raw.parts == [b"a", b"b"]
    assert chunked.got == [b"1\r\na\r\n1\r\nb\r\n"]


def test_an_item_that_cannot_be_published_costs_itself_only() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    odd: Any = Item("c", http_stream=object())  # type: ignore[arg-type]
    world.broker.accept([odd, stream("good")])
    world.settle()
    assert hold.got == [b"good"]
    assert len(world.stats.failures) == 1


def test_a_turn_that_fails_is_not_the_last() -> None:
    world, broken, after = World(), Broken(), Listener()
    world.listen(broken, after)
    failure, calls = world.stats.failure, []

    def fail_once(where: str) -> None:
        calls.append(where)
        if len(calls) == 1:
            raise RuntimeError("the log cannot be written")
        failure(where)

    world.stats.failure = fail_once  # type: ignore[method-assign]
    world.publish("a")
    world.settle()
    world.publish("b")
    world.settle()
    assert calls[:2] == ["delivery to a hold", "fan-out"]
    assert after.got == [b"b"]


# ---- message_rate, message_hwm, message_block_size (grip 15) ----------------------------------------------


def paced(world: World, hold: Listener) -> list[float]:
    """When each delivery came, from the first."""
    times: list[float] = []
    while world.queue:
        before = len(hold.got)
        now = world.turn()
        times += [round(now - 100.0, 3)] * (len(hold.got) - before)
    return times


def test_grip_204_below_forty_a_second_one_by_one() -> None:
    world, hold = World(rate=5), Listener()
    world.listen(hold)
    world.publish(*"0123456789")
    assert paced(world, hold) == [0.0, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6]
    assert b"".join(hold.got) == b"0123456789"


def test_grip_205_what_exceeds_the_high_water_mark_is_dropped_and_told() -> None:
    world, hold = World(rate=5, hwm=12), Listener()
    world.listen(hold)
    world.publish(*[f"{n} " for n in range(20)])
    world.settle()
    assert b"".join(hold.got) == b"".join(b"%d " % n for n in range(12))
    assert world.stats.counts["deliveries-dropped-hwm"] == 8
    warning = ("warn", "handler", "exceeded publish hwm (12), dropping message")
    assert world.stats.told.count(warning) == 8


def test_grip_206_deliveries_are_counted_not_items() -> None:
    world = World(rate=5, hwm=12)
    holds = [Listener() for _ in range(3)]
    world.listen(*holds)
    world.publish(*"01234567")
    world.settle()
    assert [b"".join(hold.got) for hold in holds] == [b"0123"] * 3


def test_from_forty_a_second_on_in_batches_of_25_ms() -> None:
    world, hold = World(rate=400), Listener()
    world.listen(hold)
    world.publish(*"x" * 30)
    assert paced(world, hold) == [0.0] * 10 + [0.025] * 10 + [0.05] * 10


def test_a_heavy_delivery_is_paid_for_by_later_turns() -> None:
    world, hold = World(rate=40, block=10), Listener()
    world.listen(hold)
    world.broker.accept([stream("x" * 30), stream("y")])
    assert paced(world, hold) == [0.0, 0.075]


def test_a_debt_is_paid_off_while_nothing_waits() -> None:
    world, hold = World(rate=40, block=10), Listener()
    world.listen(hold)
    world.publish("x" * 100)
    world.settle()
    assert round(world.now, 3) == 100.0 + 9 * 0.025
    world.publish("y")
    assert world.queue[0][0] == world.now
    world.settle()
    assert b"".join(hold.got).endswith(b"xy")


def test_the_debt_of_one_bucket_is_not_paid_by_another() -> None:
    world = World(rate=40, block=10)
    heavy, light = Listener(bucket="heavy"), Listener(bucket="light")
    world.listen(heavy)
    world.listen(light, channel="d")
    world.publish("x" * 1000)
    world.publish(*"abc", channel="d")
    assert paced(world, light) == [0.025, 0.075, 0.125]


def test_who_publishes_on_a_delivery_is_heard() -> None:
    """An origin of this process may do so when a request is run again, say."""
    world, other = World(rate=40), Listener()

    class Echo(Listener):
        def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
            super().deliver(data, parts)
            if len(self.got) < 3:
                world.publish(f"{len(self.got)}")

    echo = Echo()
    world.listen(echo, other)
    world.publish("a", "b")
    world.settle()
    assert echo.got == other.got == [b"a", b"b", b"1", b"2"]


def test_an_item_may_state_its_size() -> None:
    world, hold = World(rate=40, block=10), Listener()
    world.listen(hold)
    world.broker.accept([stream("x" * 30, size=5), stream("y")])
    assert paced(world, hold) == [0.0, 0.025]


def test_buckets_are_served_in_turn() -> None:
    world = World(rate=5)
    one, other = Listener(bucket="one"), Listener(bucket="other")
    world.listen(one, other)
    world.publish("a", "b")
    order = []
    while world.queue:
        before = (len(one.got), len(other.got))
        world.turn()
        order.append((len(one.got) - before[0], len(other.got) - before[1]))
    assert order == [(1, 0), (0, 1), (1, 0), (0, 1)]


def test_a_long_queue_of_one_bucket_does_not_delay_another() -> None:
    world = World(slice_=10)
    crowd, other = [Listener(bucket="big") for _ in range(1000)], Listener(bucket="small")
    world.listen(*crowd)
    world.listen(other, channel="d")
    world.publish("a")
    world.publish("b", channel="d")
    world.turn()
    world.turn()
    assert other.got == [b"b"]
    world.settle()
    assert all(hold.got == [b"a"] for hold in crowd)


def test_the_high_water_mark_is_one_for_all_groups_of_a_bucket() -> None:
    world = World(rate=5, hwm=5)
    raw, chunked = [Listener() for _ in range(3)], [Listener(True) for _ in range(3)]
    elsewhere = Listener(bucket="elsewhere")
    world.listen(*raw, *chunked, elsewhere)
    world.publish("a")
    world.publish("b")
    world.settle()
    assert [len(hold.got) for hold in raw + chunked] == [1, 1, 1, 1, 1, 0]
    assert elsewhere.got == [b"a", b"b"]
    assert world.stats.counts["deliveries-dropped-hwm"] == 7
    world.publish("c")
    world.settle()
    assert [hold.got[-1] for hold in (raw[0], chunked[0], elsewhere)] == [b"c", b"1\r\nc\r\n", b"c"]


def test_the_weight_of_a_poll_is_that_of_its_body() -> None:
    form = template()
    world, first, second = World(rate=40, block=10), Waiter(form), Waiter(form)
    world.listen(first)
    world.listen(second, channel="d")
    for channel, body in (("c", "x" * 21), ("d", "y")):
        formats = {"http-response": {"body": body}}
        world.broker.accept([parse_item({"channel": channel, "formats": formats})])
    assert paced(world, first) == [0.0]
    assert round(world.now, 3) == 100.075
    assert len(second.got) == 1


def test_a_patch_weighs_one() -> None:
    world, hold = World(rate=40, block=1), Waiter(template())
    world.listen(hold)
    world.listen(plain := Listener())
    patch = [{"op": "add", "path": "/a", "value": "x" * 100}]
    formats = {"http-response": {"body-patch": patch}, "http-stream": {"content": "a"}}
    world.broker.accept([parse_item({"channel": "c", "formats": formats})])
    assert paced(world, plain) == [0.025]


def test_blocks_weigh_nothing_where_no_rate_is_set() -> None:
    world, hold = World(block=1), Listener()
    world.listen(hold)
    world.publish("x" * 100_000)
    world.publish("y")
    world.turn()
    assert world.queue == []
    assert len(b"".join(hold.got)) == 100_001
