"""The parent's side of publishing: which worker gets what, in which order, and when publishers wait."""

from __future__ import annotations

import marshal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from pushpin_tw.grip.formats import ResponseFormat, SocketFormat, StreamFormat
from pushpin_tw.grip.item import Item, parse_item
from pushpin_tw.interfaces import IItems
from pushpin_tw.wheel import Wheel
from pushpin_tw.workers.hub import Hub
from pushpin_tw.workers.packing import pack, unpack
from tests.pure.broker.test_fanout import Stats
from tests.pure.clock import Clock


class Wire:
    """A link that remembers."""

    def __init__(self, world: World, number: int) -> None:
        self.congested = False
        self.sent: list[tuple[Any, ...]] = []
        self.unread: list[tuple[str, str]] = []
        """What the worker has told, and the hub has not looked at."""
        self._world = world
        self._number = number

    def send_encoded(self, data: bytes) -> None:
        self.sent.append(marshal.loads(data[4:]))

    def poll(self) -> None:
        unread, self.unread = self.unread, []
        for name, channel in unread:
            getattr(self._world.hub, name)(self._number, channel)

    @property
    def items(self) -> list[str]:
        """Content of the items that were sent, a line for each message."""
        return [
            " ".join(item.http_stream.content.decode() for item in unpack(message[1]))
            for message in self.sent
            if message[0] == "items"
        ]


class Watcher:
    def __init__(self) -> None:
        self.told: list[str] = []

    def channel_opened(self, channel: str) -> None:
        self.told.append(f"+{channel}")

    def channel_closed(self, channel: str) -> None:
        self.told.append(f"-{channel}")

    def channel_forgotten(self, channel: str) -> None:
        raise AssertionError("of no use to publishers")


class World:
    """A hub and three workers."""

    def __init__(self, wait: float = 5, ttl: float = 60) -> None:
        self.clock = Clock()
        self.stats = Stats()
        self.hub = Hub(Wheel(self.clock, lambda: self.stats.failure("timer")), self.stats, wait, ttl)
        self.wires = [Wire(self, number) for number in range(3)]
        for number, wire in enumerate(self.wires):
            self.hub.joined(number, wire)

    def hold(self, channel: str, *workers: int) -> None:
        for worker in workers:
            self.hub.opened(worker, channel)

    def publish(self, *items: Item) -> None:
        self.hub.accept(items)


def item(content: str, channel: str = "c", id: str | None = None, prev_id: str | None = None) -> Item:
    members: dict[str, object] = {"channel": channel, "formats": {"http-stream": {"content": content}}}
    members |= {} if id is None else {"id": id}
    members |= {} if prev_id is None else {"prev-id": prev_id}
    return parse_item(members)


def test_the_hub_stands_in_for_a_broker() -> None:
    assert verifyObject(IItems, World().hub)


def test_items_reach_the_workers_that_hold_their_channel() -> None:
    world = World()
    world.hold("a", 0)
    world.hold("b", 0, 2)
    world.publish(item("1", "a"), item("2", "b"), item("3", "b"), item("4", "nobody"), item("5", "a"))
    assert [wire.items for wire in world.wires] == [["1", "2 3", "5"], [], ["2 3"]]
    assert ("published", "nobody", 0) in world.stats.told


def test_who_published_because_of_an_answer_reaches_whoever_got_it() -> None:
    world = World()
    world.wires[1].unread.append(("opened", "c"))
    world.publish(item("1"))
    assert world.wires[1].items == ["1"]


def test_repeated_items_are_dropped_though_nobody_listened() -> None:
    world = World()
    world.publish(item("1", id="i"))
    world.hold("c", 0)
    world.publish(item("1", id="i"), item("2", id="j"))
    assert world.wires[0].items == ["2"]


def test_early_items_wait_here_for_all_workers() -> None:
    world = World()
    world.hold("c", 0)
    world.publish(item("1", id="1"), item("3", id="3", prev_id="2"))
    world.hold("c", 1)
    assert world.wires[1].sent == [("known", "c", "1")]
    world.publish(item("2", id="2", prev_id="1"))
    assert world.wires[0].items == ["1", "2 3"]
    assert world.wires[1].items == ["2 3"]


def test_what_was_waited_for_in_vain_is_sent_in_time() -> None:
    world = World(wait=5)
    world.hold("c", 0)
    world.publish(item("1", id="1"), item("3", id="3", prev_id="2"), item("x", "c"))
    assert world.wires[0].items == ["1 x"]
    world.clock.advance(5.2)
    assert world.wires[0].items == ["1 x", "3"]


def test_a_last_id_that_says_nothing_is_not_told() -> None:
    world = World()
    world.hold("c", 0)
    world.hub.forgotten("c")
    world.publish(item("1", id="1"))
    world.hub.forgotten("c")
    world.hub.forgotten("unknown")
    world.hold("c", 1)
    assert world.wires[1].sent == [("known", "c", None)]


def test_recovery_is_for_everybody() -> None:
    world = World()
    world.hold("c", 0)
    world.hold("d", 1)
    world.publish(item("1", id="1"))
    world.hub.recover()
    assert [wire.sent[-1] for wire in world.wires] == [("recover",)] * 3
    world.hold("c", 1)
    assert world.wires[1].sent[-1] == ("known", "c", None)


def test_publishers_that_filter_are_told_of_the_first_and_the_last_worker() -> None:
    world, watcher, late = World(), Watcher(), Watcher()
    world.hub.watch(watcher)
    world.hold("c", 0, 1)
    world.hub.watch(late)
    world.hub.closed(0, "c")
    world.hub.closed(0, "unknown")
    assert watcher.told == late.told == ["+c"]
    world.hub.closed(1, "c")
    assert watcher.told == ["+c", "-c"]
    world.hub.unwatch(watcher)
    world.hub.unwatch(watcher)
    world.hold("c", 2)
    assert (watcher.told, late.told) == (["+c", "-c"], ["+c", "-c", "+c"])


def test_a_worker_that_is_gone_holds_nothing() -> None:
    world, watcher = World(), Watcher()
    world.hub.watch(watcher)
    world.hold("a", 0)
    world.hold("b", 0, 1)
    world.publish(item("1", "a", id="1"), item("3", "a", id="3", prev_id="2"))
    world.hub.left(0)
    world.hub.left(0)
    world.publish(item("x", "a"), item("y", "b"))
    assert watcher.told == ["+a", "+b", "-a"]
    assert (world.wires[0].items, world.wires[1].items) == (["1"], ["y"])
    world.clock.advance(10)
    assert world.wires[0].items == ["1"]


def test_publishers_wait_for_the_slowest_worker() -> None:
    world = World()
    relieved: list[str] = []
    world.hub.relieve(lambda: relieved.append("at once"))
    world.wires[2].congested = True
    assert world.hub.congested

    def fail() -> None:
        raise RuntimeError("cannot")

    world.hub.relieve(fail)
    world.hub.relieve(lambda: relieved.append("later"))
    world.hub.drained()
    assert relieved == ["at once"]
    world.hub.left(2)
    assert relieved == ["at once", "later"]
    assert world.stats.failures == ["publish"]


def test_one_item_that_cannot_be_sent_leaves_the_others() -> None:
    world = World()
    world.hold("c", 0)
    broken: Any = object()
    world.hub.accept([item("1"), broken, item("2")])
    assert world.wires[0].items == ["1 2"]
    assert world.stats.failures == ["publish"]


TEXT = st.text(max_size=5)
FILTERS = st.none() | st.tuples(TEXT)
ITEMS = st.builds(
    Item,
    TEXT,
    st.none() | TEXT,
    st.none() | TEXT,
    st.none()
    | st.builds(
        ResponseFormat,
        st.just("send"),
        st.integers(200, 999),
        st.binary(max_size=5),
        st.tuples(st.tuples(st.binary(max_size=3), st.binary(max_size=3))),
        st.none() | st.binary(max_size=5),
        st.none() | st.tuples(st.dictionaries(TEXT, st.none() | st.integers() | st.lists(TEXT), max_size=2)),
        FILTERS,
        st.frozensets(st.binary(max_size=3), max_size=2),
    ),
    st.none() | st.builds(StreamFormat, st.sampled_from(["send", "close"]), st.binary(max_size=5), FILTERS),
    st.none() | st.builds(SocketFormat, st.just("send"), st.just("text"), st.binary(max_size=5), FILTERS),
    st.dictionaries(TEXT, TEXT, max_size=2),
    st.none() | st.integers(0, 2**70),
    st.booleans(),
)


@given(st.lists(ITEMS, max_size=3))
def test_items_come_out_as_they_went_in(items: list[Item]) -> None:
    assert unpack(marshal.loads(marshal.dumps([pack(each) for each in items]))) == items


@pytest.mark.parametrize("content", ["", "x" * 70_000])
def test_items_of_all_sizes(content: str) -> None:
    assert unpack([pack(item(content))])[0] == item(content)


def test_a_worker_that_says_twice_that_it_holds_a_channel() -> None:
    """It is told how far the channel has come when it joins others there, not for what it holds already."""
    world = World()
    world.hold("c", 0, 1)
    assert [message[0] for wire in world.wires for message in wire.sent] == ["known"]
    world.hold("c", 0, 1)
    assert [message[0] for wire in world.wires for message in wire.sent] == ["known"]
    world.publish(item("1"))
    assert [wire.items for wire in world.wires] == [["1"], ["1"], []]
