"""Whatever becomes of a chain of items on its way here: doubled, lost, late, or all at once.

The rules of grip 11.1 and 11.2 as invariants, which no order of events may break.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pushpin_tw.broker.sequencer import MAX_PENDING, Sequencer
from pushpin_tw.grip.item import Item
from pushpin_tw.wheel import GRAIN, TICK, Wheel
from tests.pure.broker.test_sequencer import Stats
from tests.pure.clock import Clock

WAIT = 5.0
STEP = 0.05
"""How far the clock goes at once."""
DROPPED = "items-dropped-out-of-order"


def link(number: int) -> Item:
    """An item of the chain."""
    return Item("c", str(number), str(number - 1))


class Line:
    """A sequencer and one channel's order, used as the broker uses them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.stats = Stats()
        self.wheel = Wheel(self.clock, self.failed)
        self.sequencer = Sequencer(self.wheel, self.stats, WAIT, 1e6)
        self.order = self.sequencer.sequence(self.deliver)
        self.last: str | None = None
        """The last id, as the specification has it."""
        self.delivered: list[str | None] = []
        self.here: dict[str | None, tuple[Item, float]] = {}
        """Items by id that have come and were neither delivered nor dropped, and until when each may wait."""

    @staticmethod
    def failed() -> None:
        raise

    def publish(self, *items: Item) -> None:
        for item in items:
            if not self.sequencer.fresh(item):
                continue
            assert item.id not in self.delivered
            assert item.id not in self.here
            no_room = len(self.here) == MAX_PENDING or item.prev_id in self.awaited()
            self.here[item.id] = (item, self.clock.now + WAIT)
            dropped = self.stats.counts.get(DROPPED, 0)
            self.sequencer.take(self.order, item)
            if self.stats.counts.get(DROPPED, 0) > dropped:
                assert no_room
                del self.here[item.id]

    def awaited(self) -> set[str | None]:
        """What the items that wait want to follow; each has room for one."""
        return {item.prev_id for item, _ in self.here.values()}

    def deliver(self, item: Item) -> None:
        _, due = self.here.pop(item.id)  # came, and was neither delivered nor dropped
        in_order = self.last is None or item.prev_id is None or item.prev_id == self.last
        assert in_order or self.clock.now >= due - GRAIN
        self.last = item.id
        if item.id is not None:
            self.delivered.append(item.id)

    def check(self) -> None:
        assert self.order.waiting == len(self.here) <= MAX_PENDING
        assert self.order.last_id == self.last
        assert all(self.clock.now <= due + TICK + STEP + GRAIN for _, due in self.here.values())
        assert self.wheel.waiting <= 2  # one entry for all that wait, one for all ids


class Publishing(RuleBasedStateMachine):
    """A chain on its way through a bad network, and a broker that may forget where it was."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.head = 0

    @rule(ahead=st.integers(-6, 3), times=st.integers(1, 2))
    def publish(self, ahead: int, times: int) -> None:
        """The next one, an earlier one that was lost or seen, or one from beyond a gap."""
        number = max(1, self.head + 1 + ahead)
        self.line.publish(*[link(number)] * times)
        self.head = max(self.head, number)

    @rule(count=st.integers(1, 5))
    def publish_run(self, count: int) -> None:
        """An unbroken run at the head comes together; it is delivered at once, unless it has rivals."""
        numbers = range(self.head + 1, self.head + 1 + count)
        before = len(self.line.delivered)
        whole = self.line.last in (None, str(self.head)) and not self.line.here
        self.line.publish(*map(link, numbers))
        self.head += count
        if whole:
            assert self.line.delivered[before : before + count] == list(map(str, numbers))

    @rule(ahead=st.integers(-1, 3))
    def publish_rival(self, ahead: int) -> None:
        """Somebody else has another item to follow the same one."""
        number = max(1, self.head + 1 + ahead)
        self.line.publish(Item("c", f"{number}-{len(self.line.delivered)}", str(number - 1)))

    @rule()
    def publish_without_id(self) -> None:
        """It ends the order: the next one starts another."""
        self.line.publish(Item("c"))
        assert self.line.last is None

    @rule()
    def publish_without_position(self) -> None:
        """It follows whatever there is."""
        self.head += 1
        self.line.publish(Item("c", str(self.head)))
        assert str(self.head) in self.line.delivered

    @precondition(lambda self: self.line.last is not None)
    @rule(count=st.integers(MAX_PENDING, MAX_PENDING + 20))
    def flood(self, count: int) -> None:
        """More than may wait, all of it beyond a gap."""
        self.head += 2
        self.line.publish(*map(link, range(self.head, self.head + count)))
        self.head += count - 1

    @rule(seconds=st.floats(0, WAIT + 1))
    def pass_time(self, seconds: float) -> None:
        self.line.clock.advance(seconds, STEP)

    @rule()
    def pass_time_until_nothing_waits(self) -> None:
        self.line.clock.advance(WAIT + TICK + STEP, STEP)
        assert not self.line.here

    @rule()
    def forget(self) -> None:
        """A conflict, or a recovery."""
        self.line.order.last_id = self.line.last = None

    @rule()
    def leave(self) -> None:
        """The channel's last subscriber goes, and another one comes."""
        self.line.sequencer.drop(self.line.order)
        self.line.order = self.line.sequencer.sequence(self.line.deliver)
        self.line.last = None
        self.line.here.clear()

    @invariant()
    def rules_are_kept(self) -> None:
        self.line.check()


TestPublishing = Publishing.TestCase
TestPublishing.settings = settings(stateful_step_count=40)


@given(st.lists(st.floats(0, WAIT - 0.5), max_size=40), st.integers(1, 3))
def test_a_chain_of_which_all_come_in_time_is_delivered_in_order(delays: list[float], times: int) -> None:
    line = Line()
    line.publish(link(0))
    sent = [(line.clock.now + number * 0.2 + delay, number) for number, delay in enumerate(delays, 1)]
    missing = set(range(1, len(delays) + 2))
    for at, number in sorted(sent):
        line.clock.advance(at - line.clock.now, STEP)
        line.publish(*[link(number)] * times)
        line.check()
        missing.remove(number)
        assert line.delivered == [str(one) for one in range(min(missing))]  # at once, and not too early
    assert not line.here


@given(st.lists(st.booleans(), max_size=60), st.floats(0, 1))
def test_what_comes_in_order_stays_in_order_when_some_are_lost(lost: list[bool], pause: float) -> None:
    line = Line()
    line.publish(link(0))
    kept = [number for number, gone in enumerate(lost, 1) if not gone]
    for number in kept:
        line.publish(link(number))
        line.clock.advance(pause, STEP)
        line.check()
    line.clock.advance(WAIT + TICK + STEP, STEP)
    assert line.delivered == ["0", *map(str, kept)]


@given(st.lists(st.integers(0, 30), max_size=60), st.lists(st.floats(0, 2), min_size=60, max_size=60))
def test_whatever_comes_is_delivered_once_and_soon(numbers: list[int], pauses: list[float]) -> None:
    line = Line()
    for number, pause in zip(numbers, pauses, strict=False):
        line.publish(link(number))
        line.clock.advance(pause, STEP)
        line.check()
    line.clock.advance(WAIT + TICK + STEP, STEP)
    assert sorted(line.delivered, key=lambda one: int(one or 0)) == [str(one) for one in sorted(set(numbers))]
