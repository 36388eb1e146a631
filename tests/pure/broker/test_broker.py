"""What the broker does besides handing items out: positions, new channels, recovery, holds that look for
themselves."""

from __future__ import annotations

from typing import Any

from pushpin_tw.broker.broker import Broker
from pushpin_tw.broker.fanout import Fanout
from pushpin_tw.broker.limiter import Pace
from pushpin_tw.broker.refreshing import BATCH
from pushpin_tw.grip.instruct import Instruct
from pushpin_tw.grip.item import Item, parse_item
from pushpin_tw.grip.template import Templates
from pushpin_tw.interfaces import NEVER, TAILORED
from pushpin_tw.wheel import Wheel
from tests.pure.broker.test_fanout import Listener, Stats
from tests.pure.clock import Clock
from tests.support.tally import RecordedTally


class Taker(Listener):
    """A hold that looks at each item for itself."""

    def __init__(self, kind: str = "http-stream", form: Any = TAILORED) -> None:
        super().__init__(form)
        self.kind = kind
        self.taken: list[tuple[str | None, str]] = []
        self.encoded: list[bytes] = []
        self.updates = 0
        self.rechecks = 0
        self.unfits: list[tuple[str, ...]] = []
        self.template: Any = False

    def receive(self, parcel: Any, channel: str) -> None:
        self.taken.append((parcel.item.id, channel))
        self.encoded.append(parcel.encoded(self.kind, self.template))

    def unfit(self, wanted: tuple[str, ...]) -> None:
        self.unfits.append(wanted)

    def update(self) -> None:
        self.updates += 1

    def recheck(self) -> None:
        self.rechecks += 1


class Broken(Taker):
    def receive(self, parcel: Any, channel: str) -> None:
        raise RuntimeError("cannot")

    def unfit(self, wanted: tuple[str, ...]) -> None:
        raise RuntimeError("cannot")

    def update(self) -> None:
        raise RuntimeError("cannot")


class World:
    def __init__(self, linger: float = 60, **settings: Any) -> None:
        self.clock = Clock()
        self.stats = Stats()
        self.wheel = Wheel(self.clock, lambda: self.stats.failure("timer"))
        self.fanout = Fanout(Pace(-1, 500), self.clock.callLater, self.stats)
        self.broker = Broker(self.fanout, self.wheel, self.stats, linger, **settings)

    def listen(self, *holds: Listener, channel: str = "c") -> None:
        for hold in holds:
            self.broker.subscribe(hold, channel)

    def publish(self, *items: Item) -> None:
        self.broker.accept(items)
        self.clock.advance(0.01)


def item(item_id: str | None = None, prev_id: str | None = None, channel: str = "c", **more: Any) -> Item:
    formats = {"http-stream": {"content": item_id or "-"}, "http-response": {"body": item_id or "-"}}
    ids = {"id": item_id, "prev-id": prev_id}
    found = {key: value for key, value in ids.items() if value is not None}
    return parse_item({"channel": channel, "formats": formats, **found, **more})


# ---- order (grip 11.2) -------------------------------------------------------------------------------------


def test_items_reach_holds_in_order() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    world.publish(item("1"), item("3", "2"), item("2", "1"))
    assert hold.got == [b"123"]


def test_grip_115_no_seq_is_delivered_at_once_and_moves_nothing() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    world.publish(item("1"), item("3", "2", **{"no-seq": True}), item("2", "1"))
    assert hold.got == [b"132"]
    assert [world.broker.conflicts("c", "1", world.clock.now) for _ in range(2)] == [True, False]


def test_grip_118_an_item_is_taken_once() -> None:
    world, hold = World(ttl=60), Listener()
    world.listen(hold)
    world.publish(item("1"), item("1"), item("1", **{"no-seq": True}))
    assert hold.got == [b"1"]


def test_grip_119_ids_are_remembered_while_nobody_listens_and_order_is_not() -> None:
    world, hold = World(ttl=60), Listener()
    world.publish(item("1"))
    world.listen(hold)
    world.publish(item("1"), item("2", "77"))
    assert hold.got == [b"2"]


def test_grip_112_the_last_id_goes_with_the_channel() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    world.publish(item("1"), item("4", "3"))
    assert world.broker.conflicts("c", "0", world.clock.now)
    world.broker.unsubscribe(hold, "c")
    assert not world.broker.conflicts("c", "0", NEVER)
    world.clock.advance(20)
    assert hold.got == [b"1"]
    assert not world.wheel.waiting


def test_grip_110_but_stays_while_the_channel_lingers() -> None:
    world, poll = World(linger=2), Taker("http-response")
    world.listen(poll)
    world.broker.unsubscribe(poll, "c")
    world.publish(item("5", "4"))
    assert not world.broker.conflicts("c", "5", world.clock.now)
    world.clock.advance(2.2)
    assert not world.broker.conflicts("c", "4", world.clock.now)


def test_a_conflict_that_one_has_found_is_one_for_others_who_begin_at_the_same_time() -> None:
    world = World()
    world.listen(Listener())
    world.publish(item("2", "1"))
    assert [world.broker.conflicts("c", "1", NEVER) for _ in range(3)] == [True, True, True]
    assert not world.broker.conflicts("c", "1", world.clock.now)
    assert not world.broker.conflicts("c", "2", NEVER)
    assert world.broker.conflicts("c", "1", world.clock.now - 0.1)
    world.clock.advance(9.9)
    assert world.broker.conflicts("c", "1", NEVER)
    world.clock.advance(0.2)
    assert not world.broker.conflicts("c", "1", NEVER)


def test_a_gap_that_one_has_found_is_one_for_others_who_begin_at_the_same_time() -> None:
    world = World()
    world.listen(Listener())
    world.publish(item("2", "1"))
    world.broker.forget("c")
    world.broker.forget("c")
    assert world.broker.conflicts("c", "1", NEVER)
    world.publish(item("3", "0"))
    assert not world.broker.conflicts("c", "3", NEVER)
    assert world.broker.conflicts("c", "2", world.clock.now)


def test_conflicts_of_a_channel_without_ids_or_without_anybody() -> None:
    world = World()
    assert not world.broker.conflicts("c", "1", world.clock.now)
    world.listen(Listener())
    world.publish(item())
    assert not world.broker.conflicts("c", "1", world.clock.now)
    world.broker.forget("c")
    world.broker.forget("nowhere")


def test_what_was_forgotten_makes_the_next_item_the_first() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    world.publish(item("1"))
    world.broker.forget("c")
    world.publish(item("9", "8"))
    assert hold.got == [b"1", b"9"]


# ---- holds that look for themselves ------------------------------------------------------------------------


def test_tailored_holds_are_given_items_one_by_one_beside_express_ones() -> None:
    world, taker, hold = World(), Taker(), Listener()
    world.listen(taker, hold)
    world.publish(item("1"), item("2", "1"))
    assert taker.taken == [("1", "c"), ("2", "c")]
    assert taker.encoded == [b"1", b"2"]
    assert hold.got == [b"12"]


def test_the_bytes_of_a_poll_are_made_once_for_neighbours_with_the_same_template() -> None:
    world = World()
    template = Templates().find(Instruct("response", 200, b"OK"), 1, True, False)
    polls = [Taker("http-response") for _ in range(2)]
    for poll in polls:
        poll.template = template
    world.listen(*polls)
    world.publish(item("1"))
    first, second = (poll.encoded[0] for poll in polls)
    assert first is second


def test_one_that_fails_is_given_up_and_its_neighbour_is_not() -> None:
    world, broken, taker = World(), Broken(), Taker()
    world.listen(broken, taker)
    world.publish(item("1"))
    assert broken.aborted and taker.taken
    assert world.stats.failures == ["delivery to a hold"]


def test_grip_159_an_item_for_content_filters_is_not_for_express_holds() -> None:
    world, hold, broken = World(), Taker(form=False), Broken(form=False)
    world.listen(broken, hold)
    filtered = {"content": "x", "content-filters": ["a"]}
    world.publish(parse_item({"channel": "c", "formats": {"http-stream": filtered}}))
    assert hold.unfits == [("a",)] and not hold.got
    assert broken.aborted
    world.publish(parse_item({"channel": "c", "http-stream": {"content": "y", "content-filters": []}}))
    assert hold.got == [b"y"]


# ---- updates (grip 11.3) -----------------------------------------------------------------------------------


def test_grip_19_the_holds_of_a_new_channel_are_updated_after_a_second() -> None:
    world = World(first_update=True)
    poll, stream, express = Taker("http-response", "template"), Taker(), Taker(form=False)
    world.listen(poll)
    world.clock.advance(0.9)
    world.listen(stream, express)
    assert not poll.updates
    world.clock.advance(0.2)
    assert (poll.updates, stream.updates, express.updates) == (1, 1, 0)
    world.listen(Taker())
    world.clock.advance(5)
    assert poll.updates == 1


def test_each_new_channel_has_its_own_second() -> None:
    world, first, second = World(first_update=True), Taker(), Taker()
    world.listen(first, channel="a")
    world.clock.advance(0.5)
    world.listen(second, channel="b")
    world.clock.advance(0.6)
    assert (first.updates, second.updates) == (1, 0)
    world.clock.advance(0.5)
    assert second.updates == 1


def test_a_channel_that_lingers_is_not_new() -> None:
    world, poll = World(first_update=True), Taker("http-response")
    world.listen(poll)
    world.clock.advance(1.1)
    world.broker.unsubscribe(poll, "c")
    world.listen(poll)
    world.clock.advance(5)
    assert poll.updates == 1


def test_grip_20_no_update_where_it_is_switched_off() -> None:
    world, poll = World(), Taker("http-response")
    world.listen(poll)
    world.clock.advance(5)
    assert not poll.updates
    assert not world.wheel.waiting


def test_grip_142_recovery_forgets_and_updates() -> None:
    world, poll, broken = World(), Taker("http-response"), Broken()
    world.listen(broken, poll)
    world.listen(poll, channel="d")
    world.publish(item("1"))
    world.broker.recover()
    assert poll.updates == 2
    assert broken.aborted
    assert not world.broker.conflicts("c", "0", NEVER)


# ---- who wants to know which channels are listened to (zeromq 3.4) -----------------------------------------


class Watcher:
    def __init__(self) -> None:
        self.told: list[str] = []

    def channel_opened(self, channel: str) -> None:
        self.told.append(f"+{channel}")

    def channel_closed(self, channel: str) -> None:
        self.told.append(f"-{channel}")

    def channel_forgotten(self, channel: str) -> None:
        self.told.append(f"?{channel}")


def test_a_watcher_is_told_of_the_first_and_the_last() -> None:
    world, watcher, stream, poll = World(linger=2), Watcher(), Taker(), Taker("http-response")
    world.listen(stream, channel="early")
    world.broker.watch(watcher)
    world.listen(stream, poll)
    world.broker.unsubscribe(stream, "c")
    world.broker.unsubscribe(poll, "c")
    world.clock.advance(1.9)
    assert watcher.told == ["+early", "+c"]
    world.clock.advance(0.3)
    assert watcher.told == ["+early", "+c", "-c"]
    world.broker.unwatch(watcher)
    world.broker.unwatch(watcher)
    world.broker.unsubscribe(stream, "early")
    assert watcher.told == ["+early", "+c", "-c"]


def test_zmq_133_the_last_stream_ends_the_lingering_where_somebody_watches() -> None:
    world, watcher, stream, poll = World(), Watcher(), Taker(), Taker("http-response")
    world.broker.watch(watcher)
    world.listen(poll)
    world.broker.unsubscribe(poll, "c")
    world.listen(stream)
    world.publish(item("1"))
    world.broker.unsubscribe(stream, "c")
    assert watcher.told == ["+c", "-c"]
    assert world.broker.channels() == []
    assert not world.wheel.waiting
    world.listen(poll)
    assert watcher.told == ["+c", "-c", "+c"]
    assert not world.broker.conflicts("c", "0", NEVER)


def test_a_stream_that_is_not_the_last_ends_nothing() -> None:
    world, watcher, stream, poll = World(), Watcher(), Taker(), Taker("http-response")
    socket = Taker("ws-message")
    tally = world.broker.tally = RecordedTally()
    world.broker.watch(watcher)
    world.listen(poll, stream, socket)
    world.broker.unsubscribe(poll, "c")
    world.broker.unsubscribe(socket, "c")
    assert ("lingered", "response", "c") not in tally.take()
    world.broker.unsubscribe(stream, "c")
    assert tally.take() == [("left", "stream", "c", False), ("lingered", "response", "c")]
    assert watcher.told == ["+c", "-c"]


def test_the_last_stream_leaves_the_lingering_alone_where_nobody_watches() -> None:
    world, stream, poll = World(), Taker(), Taker("http-response")
    world.listen(poll, stream)
    world.broker.unsubscribe(poll, "c")
    world.broker.unsubscribe(stream, "c")
    assert world.broker.channels() == ["c"]


# ---- WebSockets that are to ask their origins (zeromq 4.6) -------------------------------------------------


class Socket(Taker):
    def __init__(self, form: Any = "frames") -> None:
        super().__init__("ws-message", form)
        self.refreshed = 0

    def refresh(self) -> None:
        self.refreshed += 1


class BrokenSocket(Socket):
    def refresh(self) -> None:
        raise RuntimeError("cannot")


def test_sockets_of_a_channel_refresh() -> None:
    world = World()
    plain, filtered, elsewhere, broken = Socket(), Socket(TAILORED), Socket(), BrokenSocket()
    world.listen(Taker(), broken, plain, filtered)
    world.listen(elsewhere, channel="d")
    world.broker.refresh("c")
    world.broker.refresh("nobody")
    assert (plain.refreshed, filtered.refreshed, elsewhere.refreshed) == (1, 1, 0)
    assert broken.aborted
    assert world.stats.failures == ["refresh of a hold"]
    assert not world.wheel.waiting


def test_many_sockets_refresh_in_their_turn() -> None:
    world = World()
    sockets = [Socket() for _ in range(2 * BATCH + 1)]
    world.listen(*sockets)
    for _ in range(3):
        world.broker.refresh("c")
        assert sum(socket.refreshed for socket in sockets) == BATCH
    for _ in range(4):
        world.clock.advance(0.2)
    assert [socket.refreshed for socket in sockets] == [2] * BATCH + [1] * (BATCH + 1)
    assert not world.wheel.waiting


def test_a_last_id_that_is_known_elsewhere_is_learned_once() -> None:
    world, hold, plain = World(), Taker(), Listener()
    world.broker.learn("c", "5")  # nobody is there who could have missed anything
    world.broker.subscribe(hold, "c")
    world.broker.subscribe(plain, "c")
    world.broker.learn("c", "5")
    assert hold.rechecks == 1
    world.broker.learn("c", "6")
    assert hold.rechecks == 1
    assert world.broker.conflicts("c", "4", NEVER)


def test_watchers_learn_that_a_last_id_says_nothing_any_more() -> None:
    world, watcher = World(), Watcher()
    world.broker.watch(watcher)
    world.broker.subscribe(Taker(), "c")
    world.broker.forget("c")
    world.broker.learn("c", "5")
    assert not world.broker.conflicts("c", "5", NEVER)
    assert world.broker.conflicts("c", "4", NEVER)
    world.broker.learn("c", "7")
    world.broker.forget("c")
    assert watcher.told == ["+c", "?c", "?c"]


def test_a_channel_that_is_listened_to_elsewhere_is_not_new() -> None:
    world, hold, other = World(first_update=True), Taker(), Taker()
    world.broker.subscribe(hold, "c")
    world.broker.subscribe(other, "d")
    world.broker.learn("c", None)
    world.clock.advance(1.2)
    assert (hold.updates, other.updates) == (0, 1)
    world.broker.learn("c", None)
    world.broker.subscribe(Taker(), "e")
    world.clock.advance(1.2)
    assert (hold.updates, hold.rechecks) == (0, 0)
