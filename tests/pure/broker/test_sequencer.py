"""Items by id and prev-id: in order, each once, and none for ever behind one that never comes."""

from __future__ import annotations

from typing import Any

import pytest

from pushpin_tw.broker.sequencer import MAX_CACHED, MAX_PENDING, Sequencer
from pushpin_tw.grip.item import Item
from pushpin_tw.wheel import Wheel
from tests.pure.clock import Clock


class Stats:
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def count(self, name: str, n: int = 1, route: str = "") -> None:
        self.counts[name] = self.counts.get(name, 0) + n


class Scene:
    def __init__(self, wait: float = 5, ttl: float = 60) -> None:
        self.clock = Clock()
        self.stats = Stats()
        self.wheel = Wheel(self.clock, self._bug)
        self.sequencer = Sequencer(self.wheel, self.stats, wait, ttl)
        self.delivered: list[Any] = []
        self.sequence = self.sequencer.sequence(lambda item: self.delivered.append(item.id))

    @staticmethod
    def _bug() -> None:
        raise

    def publish(self, *items: tuple[str | None, str | None]) -> list[Any]:
        """Pairs of id and prev-id; what is delivered because of them."""
        for item_id, prev_id in items:
            self.sequencer.take(self.sequence, Item("c", item_id, prev_id))
        return self.said()

    def pass_time(self, seconds: float) -> list[Any]:
        self.clock.advance(seconds)
        return self.said()

    def said(self) -> list[Any]:
        delivered, self.delivered = self.delivered, []
        return delivered


def test_what_comes_in_order_is_delivered_at_once() -> None:
    scene = Scene()
    assert scene.publish(("1", None), ("2", "1"), ("3", "2")) == ["1", "2", "3"]
    assert scene.sequence.last_id == "3"
    assert not scene.wheel.waiting


def test_the_first_id_of_a_channel_is_in_order_whatever_it_follows() -> None:
    assert Scene().publish(("7", "6")) == ["7"]


def test_grip_113_an_early_item_waits_for_the_one_before() -> None:
    scene = Scene()
    assert scene.publish(("1", None), ("3", "2")) == ["1"]
    assert scene.sequence.waiting == 1
    assert scene.publish(("2", "1")) == ["2", "3"]


def test_grip_114_but_not_for_ever() -> None:
    scene = Scene()
    scene.publish(("1", None), ("3", "2"), ("4", "3"))
    assert scene.pass_time(4.9) == []
    assert scene.pass_time(0.3) == ["3", "4"]
    assert scene.publish(("5", "4")) == ["5"]


def test_grip_116_of_two_that_follow_the_same_item_the_first_counts() -> None:
    scene = Scene()
    scene.publish(("1", None), ("3", "2"), ("3b", "2"))
    assert scene.publish(("2", "1")) == ["2", "3"]
    assert scene.stats.counts == {"items-dropped-out-of-order": 1}


def test_grip_117_an_item_without_prev_id_is_in_order_and_one_without_id_ends_the_order() -> None:
    scene = Scene()
    assert scene.publish(("1", None), ("5", None)) == ["1", "5"]
    assert scene.publish((None, None), ("9", "8")) == [None, "9"]


def test_an_empty_id_is_an_id() -> None:
    scene = Scene()
    assert scene.publish(("", None), ("2", "1")) == [""]
    assert scene.publish(("1", "")) == ["1", "2"]


def test_without_a_time_to_wait_nothing_waits() -> None:
    scene = Scene(wait=0.0)
    assert scene.publish(("1", None), ("3", "2"), ("2", "1")) == ["1", "3", "2"]
    assert scene.sequence.waiting == 0


def test_what_was_forced_through_lets_the_late_one_wait_and_come_out_of_order() -> None:
    scene = Scene()
    scene.publish(("1", None), ("3", "2"))
    assert scene.pass_time(5.2) == ["3"]
    assert scene.publish(("2", "1")) == []
    assert scene.pass_time(5.2) == ["2"]


def test_items_that_waited_equally_long_come_in_the_order_of_their_arrival() -> None:
    scene = Scene()
    scene.publish(("1", None), ("9", "8"), ("5", "4"), ("7", "6"), ("6", "5"))
    assert scene.pass_time(5.2) == ["9", "5", "6", "7"]


def test_each_waits_for_its_own_time() -> None:
    scene = Scene()
    scene.publish(("1", None), ("3", "2"))
    scene.pass_time(2)
    scene.publish(("6", "5"))
    assert scene.pass_time(3.2) == ["3"]
    assert scene.pass_time(1.7) == []
    assert scene.pass_time(0.4) == ["6"]


def test_a_hundred_may_wait() -> None:
    scene = Scene()
    scene.publish(("0", None), *((str(n + 2), str(n + 1)) for n in range(MAX_PENDING + 5)))
    assert scene.sequence.waiting == MAX_PENDING
    assert scene.stats.counts == {"items-dropped-out-of-order": 5}
    assert len(scene.pass_time(5.2)) == MAX_PENDING


def test_what_waits_goes_with_its_channel() -> None:
    scene = Scene()
    scene.publish(("1", None), ("3", "2"))
    scene.sequencer.drop(scene.sequence)
    assert scene.pass_time(10) == []


# ---- ids that were seen (grip 11.1) ------------------------------------------------------------------------


def test_grip_118_an_id_counts_once_for_a_channel_until_it_is_forgotten() -> None:
    scene = Scene(ttl=2)
    item, other = Item("c", "1"), Item("d", "1")
    assert scene.sequencer.fresh(item) and not scene.sequencer.fresh(item)
    assert scene.sequencer.fresh(other)
    assert scene.stats.counts == {"items-repeated": 1}
    scene.clock.advance(2.3)
    assert not scene.wheel.waiting
    assert scene.sequencer.fresh(item) and not scene.sequencer.fresh(item)


def test_an_id_is_forgotten_when_its_own_time_is_over() -> None:
    scene = Scene(ttl=2)
    assert scene.sequencer.fresh(Item("c", "1"))
    scene.clock.advance(1.5)
    assert scene.sequencer.fresh(Item("c", "2"))
    scene.clock.advance(0.7)
    assert scene.sequencer.fresh(Item("c", "1"))
    assert not scene.sequencer.fresh(Item("c", "2"))


def test_an_id_is_not_known_longer_because_it_comes_again() -> None:
    scene = Scene(ttl=2)
    scene.sequencer.fresh(Item("c", "1"))
    scene.clock.advance(1.9)
    assert not scene.sequencer.fresh(Item("c", "1"))
    scene.clock.advance(0.15)
    assert scene.sequencer.fresh(Item("c", "1"))  # the wheel has not been there yet


def test_items_without_id_are_never_the_same() -> None:
    scene = Scene()
    assert scene.sequencer.fresh(Item("c")) and scene.sequencer.fresh(Item("c"))


def test_ids_are_forgotten_while_new_ones_come() -> None:
    scene = Scene(ttl=2)
    for number in range(20):
        assert scene.sequencer.fresh(Item("c", str(number), None))
        scene.pass_time(0.5)
    assert len(scene.sequencer._seen) <= 5


def test_without_ttl_nothing_is_remembered() -> None:
    scene = Scene(ttl=0)
    assert scene.sequencer.fresh(Item("c", "1")) and scene.sequencer.fresh(Item("c", "1"))
    assert not scene.wheel.waiting


def test_the_oldest_id_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_CACHED >= 1_000_000
    monkeypatch.setattr("pushpin_tw.broker.sequencer.MAX_CACHED", 2)
    scene = Scene()
    for name in "abc":
        scene.sequencer.fresh(Item("c", name))
    assert scene.sequencer.fresh(Item("c", "a"))
    assert not scene.sequencer.fresh(Item("c", "c"))
