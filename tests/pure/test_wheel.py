"""The timer wheel: never early, at most one tick late, one pending call."""

from __future__ import annotations

from pushpin_tw.wheel import TICK, Wheel
from tests.pure.clock import Clock


class Entry:
    __slots__ = ("clock", "due", "fired", "slot")

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


def test_a_jump_of_the_clock_fires_all_that_is_due() -> None:
    clock, wheel, _ = setup()
    entries = [Entry(clock) for _ in range(3)]
    for index, entry in enumerate(entries):
        wheel.schedule(entry, index + 1)
    clock.advance(60, step=60)
    assert all(len(entry.fired) == 1 for entry in entries)
