"""Holds that want to ask their origin again, let out a few at a time (grip 11.3).

Used by holds that have missed something and by those that are told to look.  An origin that has just lost its
network must not be asked by everybody at once, so that a number of requests leave in each period; holds whose
request is the same one count as one, since they share the answer.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from typing import Any

from pushpin_tw.wheel import TICK, Wheel

BATCH = 100
"""Requests let out in one period."""
PERIOD = TICK
"""Seconds; the first batch leaves after one."""


class Updates:
    """The row of those who wait.  An entry of the timer wheel while there are any."""

    def __init__(self, wheel: Wheel, stats: Any, batch: int = BATCH) -> None:
        """``batch`` requests are let out in one period."""
        self.due = 0
        self.slot = 0
        self._batch = batch
        self._wheel = wheel
        self._stats = stats
        self._waiting: dict[Hashable, dict[Any, None]] = {}

    def add(self, hold: Any, request: Hashable) -> None:
        """Let ``hold.updated()`` be called when its turn has come; equal ``request`` values share a turn."""
        self._waiting.setdefault(request, {})[hold] = None
        if not self.due:
            self._wheel.schedule(self, 0.0)  # the next tick, which is a period from the one before

    def remove(self, hold: Any, request: Hashable) -> None:
        """``hold`` waits no longer; harmless when it does not."""
        holds = self._waiting.get(request)
        if holds is not None:
            holds.pop(hold, None)
            if not holds:
                del self._waiting[request]

    def expired(self) -> None:
        """The wheel's call."""
        for request in list(islice(self._waiting, self._batch)):
            for hold in self._waiting.pop(request, ()):
                try:
                    hold.updated()
                except Exception:
                    self._stats.failure("update of a hold")
                    hold.abort()
        if self._waiting:
            self._wheel.schedule(self, 0.0)
