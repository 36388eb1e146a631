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
        self._call: Any = None
        self._call_tick = 0

    def seconds(self) -> float:
        """The clock's time."""
        return self._clock.seconds()

    def schedule(self, entry: Waiting, delay: float) -> None:
        """Let ``entry.expired()`` be called in ``delay`` seconds; replaces an earlier appointment."""
        tick = int((self._clock.seconds() + delay) / TICK) + 1
        entry.due = tick
        if entry.slot and entry.slot <= tick:
            return  # found in its old slot, it is moved then
        entry.slot = tick
        slot = self._slots.get(tick)
        if slot is None:
            self._slots[tick] = [entry]
            heapq.heappush(self._ticks, tick)
            self._arm()
        else:
            slot.append(entry)

    def cancel(self, entry: Waiting) -> None:
        """No appointment any more.  The wheel may hold a reference until the old time has come."""
        entry.due = 0

    def stop(self) -> None:
        """Forget everything."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._slots.clear()
        self._ticks.clear()

    def _arm(self) -> None:
        tick = self._ticks[0]
        if self._call is not None:
            if self._call_tick <= tick:
                return
            self._call.cancel()
        self._call_tick = tick
        self._call = self._clock.callLater(max(0.0, tick * TICK - self._clock.seconds()), self._turn)

    def _turn(self) -> None:
        self._call = None
        now = int(self._clock.seconds() / TICK + 1e-6)
        while self._ticks and self._ticks[0] <= now:
            tick = heapq.heappop(self._ticks)
            for entry in self._slots.pop(tick):
                if entry.slot == tick:
                    self._visit(entry, now)
        if self._ticks:
            self._arm()

    def _visit(self, entry: Waiting, now: int) -> None:
        entry.slot = 0
        if not entry.due:
            return
        if entry.due > now:
            self._keep(entry)
            return
        entry.due = 0
        try:
            entry.expired()
        except Exception:
            self._on_error()

    def _keep(self, entry: Waiting) -> None:
        entry.slot = entry.due
        slot = self._slots.get(entry.due)
        if slot is None:
            self._slots[entry.due] = [entry]
            heapq.heappush(self._ticks, entry.due)
        else:
            slot.append(entry)
