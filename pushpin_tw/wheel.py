"""One timer for everything that waits: keep-alives, timeouts, idle connections.

A pending reactor call takes 420 bytes and moving one searches the reactor's queue, so the many things that
wait here share a single call.  Whoever waits is itself the entry: no object is made to schedule it, and
moving its time later is one assignment.  Never fires early; fires at most one tick (100 ms) late.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Protocol

TICK = 0.1
"""Seconds."""
GRAIN = 0.001
"""Seconds.  The times of entries and of the clock are binary fractions: what differs by less is equal."""
SLACK = 100
"""Appointments that are void and may be kept nevertheless."""


class WheelClock(Protocol):
    """The part of IReactorTime that is used."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any) -> Any: ...


class Waiting(Protocol):
    """What an entry offers; classes with slots name both attributes and start them with 0."""

    due: int
    """The tick to fire at; 0 when not waiting.  Owned by the wheel."""
    slot: int
    """The tick under which the wheel keeps it; 0 when it does not.  Owned by the wheel."""

    def expired(self) -> None:
        """The time has come.  May schedule itself again."""


class Wheel:
    """Entries by tick; one pending call for the earliest."""

    def __init__(self, clock: WheelClock, on_error: Callable[[], None]) -> None:
        """``on_error`` is called within the ``except`` block when an entry raises."""
        self._clock = clock
        self._on_error = on_error
        self._slots: dict[int, list[Waiting]] = {}
        self._ticks: list[int] = []
        self._listed = 0  # in all slots: one for each that waits, and void ones
        self.waiting = 0
        """How many entries have an appointment."""
        self._call: Any = None
        self._call_tick = 0

    def seconds(self) -> float:
        """The clock's time."""
        return self._clock.seconds()

    def schedule(self, entry: Waiting, delay: float) -> None:
        """Let ``entry.expired()`` be called in ``delay`` seconds; replaces an earlier appointment."""
        tick = self._tick(self._clock.seconds() + delay) + 1
        if not entry.due:
            self.waiting += 1
        entry.due = tick
        if entry.slot and entry.slot <= tick:
            return  # found in its old slot, it is moved then
        self._keep(entry, tick)
        self._arm()

    def cancel(self, entry: Waiting) -> None:
        """No appointment any more; harmless when there was none.

        The wheel goes on referring to the entry for a while, but never to more of these than to such as wait,
        apart from a few: requests are answered long before their timeouts, and thousands of them in a second
        would be kept for a minute.
        """
        if entry.due:
            entry.due = 0
            self.waiting -= 1
            if self._listed > 2 * self.waiting + SLACK:
                self._sweep()

    def stop(self) -> None:
        """Forget everything."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        for entries in self._slots.values():
            for entry in entries:
                entry.due = entry.slot = 0
        self._slots.clear()
        self._ticks.clear()
        self._listed = self.waiting = 0

    def _arm(self) -> None:
        tick = self._ticks[0]
        if self._call is not None:
            if self._call_tick <= tick:
                return
            self._call.cancel()
        self._call_tick = tick
        self._call = self._clock.callLater(max(0.0, tick * TICK - self._clock.seconds()), self._turn)

    @staticmethod
    def _tick(seconds: float) -> int:
        """The tick that a time is in: the same one for a turn and for what is scheduled within it, though the
        clock may wake us a hair too early."""
        return int(seconds / TICK + 1e-6)

    def _turn(self) -> None:
        self._call = None
        now = self._tick(self._clock.seconds())
        while self._ticks and self._ticks[0] <= now:
            tick = heapq.heappop(self._ticks)
            entries = self._slots.pop(tick)
            self._listed -= len(entries)
            for entry in entries:
                if entry.slot == tick:
                    self._visit(entry, now)
        if self._ticks:
            self._arm()

    def _visit(self, entry: Waiting, now: int) -> None:
        entry.slot = 0
        if not entry.due:
            return
        if entry.due > now:
            self._keep(entry, entry.due)
            return
        entry.due = 0
        self.waiting -= 1
        try:
            entry.expired()
        except Exception:
            self._on_error()

    def _keep(self, entry: Waiting, tick: int) -> None:
        entry.slot = tick
        self._listed += 1
        slot = self._slots.get(tick)
        if slot is None:
            self._slots[tick] = [entry]
            heapq.heappush(self._ticks, tick)
        else:
            slot.append(entry)

    def _sweep(self) -> None:
        """Let go of void entries: half of all or more, so that each cancel pays for a few steps of this."""
        kept: dict[int, list[Waiting]] = {}
        self._listed = 0
        for tick, entries in self._slots.items():
            mine = dict.fromkeys(entry for entry in entries if entry.slot == tick)
            for entry in mine:
                if entry.due:
                    kept.setdefault(tick, []).append(entry)
                    self._listed += 1
                else:
                    entry.slot = 0
        self._slots = kept
        self._ticks = sorted(kept)
