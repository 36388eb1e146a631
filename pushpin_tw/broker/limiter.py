"""How fast deliveries leave: the pace of ``message_rate`` (grip 15).

Used by the fan-out.  Pure arithmetic: no clock, no queue.
"""

from __future__ import annotations

TICK = 0.025
"""Seconds between batches at 40 deliveries a second and more."""


class Pace:
    """How much may leave at once, and how long to wait for the next turn."""

    __slots__ = ("budget", "delay", "doubled", "limited")

    def __init__(self, rate: int, free_slice: int) -> None:
        """``rate`` in deliveries a second, 0 or less for no limit; then up to ``free_slice`` deliveries leave
        in one turn of the reactor, so that requests are served in between."""
        self.limited = rate > 0
        self.doubled = False
        """Whether the first two turns of a burst follow each other at once, as below 40 a second."""
        if not self.limited:
            self.budget, self.delay = free_slice, 0.0
        elif rate >= 40:
            self.budget, self.delay = -(-rate * 25 // 1000), TICK
        else:
            self.budget, self.delay, self.doubled = 1, (1000 // rate) / 1000, True
