"""The timer wheel: never early, at most one tick late, one pending call."""

from __future__ import annotations

import random
import weakref

from pushpin_tw.wheel import SLACK, TICK, Wheel
from tests.pure.clock import Clock


class Entry:
    __slots__ = ("__weakref__", "clock", "due", "fired", "slot")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.due = self.slot = 0
        self.fired: list[float] = []

    def expired(self) -> None:
        self.fired.append(self.clock.now)


def setup(start: float = 1000.0) -> tuple[Clock, Wheel, list[str]]:
    clock = Clock(start)
    errors: list[str] = []
    return clock, Wheel(clock, lambda: errors.append("error")), errors


def test_fires_once_not_early_and_within_a_tick() -> None:
    for delay in (0.0, 0.05, 0.1, 1.0, 1.23, 7.77, 55.0):
        clock, wheel, _ = setup(1000.037)
        entry = Entry(clock)
        begin = clock.now
        wheel.schedule(entry, delay)
        clock.advance(delay + 1)
        assert len(entry.fired) == 1
        assert delay <= entry.fired[0] - begin <= delay + TICK + 0.02


def test_moving_later_needs_no_new_slot() -> None:
    clock, wheel, _ = setup()
    entry = Entry(clock)
    wheel.schedule(entry, 1)
    clock.advance(0.9)
    wheel.schedule(entry, 5)
    clock.advance(4.9)
    assert entry.fired == []
    clock.advance(0.3)
    assert len(entry.fired) == 1


def test_moving_earlier_fires_early_and_only_once() -> None:
    clock, wheel, _ = setup()
    entry = Entry(clock)
    wheel.schedule(entry, 10)
    wheel.schedule(entry, 1)
    clock.advance(2)
    assert len(entry.fired) == 1
    clock.advance(20)
    assert len(entry.fired) == 1


def test_earlier_then_back_to_the_same_tick_fires_once() -> None:
    clock, wheel, _ = setup()
    entry = Entry(clock)
    wheel.schedule(entry, 10)
    wheel.schedule(entry, 1)
    wheel.schedule(entry, 10)
    clock.advance(30)
    assert len(entry.fired) == 1


def test_cancelled_entries_stay_silent() -> None:
    clock, wheel, _ = setup()
    entry = Entry(clock)
    wheel.schedule(entry, 1)
    wheel.cancel(entry)
    clock.advance(5)
    assert entry.fired == []


def test_cancelled_and_scheduled_again() -> None:
    clock, wheel, _ = setup()
    entry = Entry(clock)
    wheel.schedule(entry, 1)
    wheel.cancel(entry)
    wheel.schedule(entry, 3)
    clock.advance(2.9)
    assert entry.fired == []
    clock.advance(0.3)
    assert len(entry.fired) == 1


def test_an_entry_may_schedule_itself_again() -> None:
    clock, wheel, _ = setup()

    class Ticker(Entry):
        __slots__ = ()

        def expired(self) -> None:
            super().expired()
            wheel.schedule(self, 1)

    entry = Ticker(clock)
    wheel.schedule(entry, 1)
    clock.advance(5.9)
    assert len(entry.fired) == 5


def test_what_is_scheduled_within_a_tick_waits_for_the_next() -> None:
    """At this time, many steps end a hair before the tick that they were to reach."""
    clock, wheel, _ = setup(1_700_000_000.0)

    class Ticker(Entry):
        __slots__ = ()

        def expired(self) -> None:
            super().expired()
            wheel.schedule(self, 0)

    entry = Ticker(clock)
    wheel.schedule(entry, 0)
    for _ in range(100):
        clock.advance(TICK, TICK)
    assert len(entry.fired) == len(set(entry.fired))
    assert len(entry.fired) > 90


def test_an_error_costs_one_entry() -> None:
    clock, wheel, errors = setup()

    class Broken(Entry):
        __slots__ = ()

        def expired(self) -> None:
            raise RuntimeError

    good = Entry(clock)
    wheel.schedule(Broken(clock), 1)
    wheel.schedule(good, 1)
    clock.advance(2)
    assert errors == ["error"]
    assert len(good.fired) == 1


def test_one_pending_call_for_many_entries_and_none_when_idle() -> None:
    clock, wheel, _ = setup()
    entries = [Entry(clock) for _ in range(1000)]
    for index, entry in enumerate(entries):
        wheel.schedule(entry, index / 100)
    assert len(clock.calls) == 1
    clock.advance(11)
    assert all(len(entry.fired) == 1 for entry in entries)
    assert clock.calls == []


def test_stop_forgets_everything() -> None:
    clock, wheel, _ = setup()
    entry = Entry(clock)
    wheel.schedule(entry, 1)
    wheel.stop()
    assert clock.calls == []
    clock.advance(3)
    assert entry.fired == []


def test_stopping_what_has_nothing_to_do() -> None:
    clock, wheel, _ = setup()
    wheel.stop()
    assert clock.calls == []


def test_a_jump_of_the_clock_fires_all_that_is_due() -> None:
    clock, wheel, _ = setup()
    entries = [Entry(clock) for _ in range(3)]
    for index, entry in enumerate(entries):
        wheel.schedule(entry, index + 1)
    clock.advance(60, step=60)
    assert all(len(entry.fired) == 1 for entry in entries)


def test_cancelled_entries_are_let_go_long_before_their_time() -> None:
    clock, wheel, _ = setup()
    steady = [Entry(clock) for _ in range(10)]
    for entry in steady:
        wheel.schedule(entry, 55)
    alive: weakref.WeakSet[Entry] = weakref.WeakSet()
    for _ in range(50 * SLACK):
        entry = Entry(clock)
        alive.add(entry)
        wheel.schedule(entry, 55)
        wheel.cancel(entry)
        clock.advance(0.001)
        del entry
        assert len(alive) <= SLACK + len(steady) + 1
    assert wheel.waiting == len(steady)
    clock.advance(60)
    assert all(len(entry.fired) == 1 for entry in steady)


def test_appointments_at_random_are_kept_as_in_a_plain_list() -> None:
    dice = random.Random(4)
    clock, wheel, _ = setup()
    entries = [Entry(clock) for _ in range(30 * SLACK)]
    expected: dict[int, float] = {}
    for _ in range(300 * SLACK):
        number = dice.randrange(len(entries))
        if dice.random() < 0.6:
            delay = dice.choice((0.5, 2, 5, 30, 60))
            wheel.schedule(entries[number], delay)
            expected[number] = clock.now + delay
        else:
            wheel.cancel(entries[number])
            expected.pop(number, None)
        if dice.random() < 0.01:
            clock.advance(0.3)
            for fired in [key for key in expected if entries[key].fired]:
                assert -1e-6 < entries[fired].fired.pop() - expected[fired] <= TICK + 0.02
                assert not entries[fired].fired
                del expected[fired]
            assert not any(at + TICK + 0.02 < clock.now for at in expected.values())
            assert wheel.waiting == len(expected)
    clock.advance(100)
    assert {number for number, entry in enumerate(entries) if entry.fired} == set(expected)
    assert wheel.waiting == 0
    assert clock.calls == []
