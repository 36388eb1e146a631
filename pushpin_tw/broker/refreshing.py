"""All WebSockets of a channel that ask their origins for news (zeromq 4.6).

Used by the broker.  Origins are not asked by everybody at once: so many sockets at a time, the others in the
ticks to come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from pushpin_tw.wheel import Wheel

BATCH = 500
"""Sockets in one tick."""


class Refreshing:
    """The row of those whose turn comes; an entry of the timer wheel while there are any."""

    def __init__(self, wheel: Wheel, stats: Any) -> None:
        self.due = 0
        self.slot = 0
        self._wheel = wheel
        self._stats = stats
        self._row: deque[Any] = deque()
        self._waiting: set[Any] = set()
        """Those in the row: nobody stands there twice."""

    def add(self, holds: Iterable[Any]) -> None:
        """Let these ``ISocketHold`` objects refresh; the first ones do within this call if nobody waits."""
        fresh = [hold for hold in holds if hold not in self._waiting]
        self._row += fresh
        self._waiting.update(fresh)
        if not self.due:
            self.expired()

    def expired(self) -> None:
        """The wheel's call."""
        for _ in range(min(BATCH, len(self._row))):
            hold = self._row.popleft()
            self._waiting.discard(hold)
            try:
                hold.refresh()
            except Exception:
                self._stats.failure("refresh of a hold")
                hold.abort()
        if self._row:
            self._wheel.schedule(self, 0.0)
