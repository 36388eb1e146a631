"""Several clients that get the same bytes at one pace: that of the slowest, but not for ever.

Used by ``fetching`` and ``sharing``, whose parts of one response are the fellows here.  Never touches a byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pushpin_tw.wheel import Wheel

LAG = 10.0
"""Seconds for which one that takes no more may keep others from what they wait for."""


class Fellow:
    """One of several; knows whether it is slow at the moment."""

    __slots__ = ("convoy", "due", "since", "slot", "slow")

    def __init__(self, convoy: Convoy) -> None:
        self.convoy = convoy
        self.slow = False
        """Whether it takes no more for the moment."""
        self.since = 0.0
        """The time at which it became slow."""
        self.due = 0
        self.slot = 0

    def expired(self) -> None:
        """The wheel's call: it has been slow for long."""
        self.convoy.lagging(self)


class Convoy:
    """All of them."""

    def __init__(self, wheel: Wheel, wait: Callable[[bool], None], cut: Callable[[Any], None]) -> None:
        """``wait`` is told when some are slow, and when none is any more; ``cut`` is told who has kept the
        others waiting too long, and lets it leave."""
        self.fellows: dict[Any, None] = {}
        """In the order in which they came."""
        self._wheel = wheel
        self._wait = wait
        self._cut = cut
        self._slow = 0
        self._moving_since = 0.0

    @property
    def waiting(self) -> bool:
        """Whether somebody takes no more."""
        return self._slow > 0

    def join(self, fellow: Fellow) -> None:
        """One more, who is not slow."""
        if self._slow and self._slow == len(self.fellows):
            self._moving_since = self._wheel.seconds()
            for slow in self.fellows:
                self._wheel.schedule(slow, LAG)
        self.fellows[fellow] = None

    def leave(self, fellow: Fellow) -> None:
        """One less."""
        del self.fellows[fellow]
        if fellow.slow:
            self._catch_up(fellow)

    def slow(self, fellow: Fellow) -> None:
        """``fellow`` takes no more."""
        if fellow.slow:
            return
        fellow.slow = True
        fellow.since = self._wheel.seconds()
        self._slow += 1
        if len(self.fellows) > 1:
            self._wheel.schedule(fellow, LAG)
        if self._slow == 1:
            self._wait(True)

    def ready(self, fellow: Fellow) -> None:
        """``fellow`` takes more."""
        if not fellow.slow:
            return
        if self._slow == len(self.fellows):
            self._moving_since = self._wheel.seconds()
        self._catch_up(fellow)

    def _catch_up(self, fellow: Fellow) -> None:
        fellow.slow = False
        self._wheel.cancel(fellow)
        self._slow -= 1
        if not self._slow and self.fellows:
            self._wait(False)

    def lagging(self, fellow: Fellow) -> None:
        """``fellow`` has been slow for a while; it is let go once others have waited for it too long."""
        if self._slow == len(self.fellows):
            self._wheel.schedule(fellow, LAG)  # nobody else could go on
            return
        left = max(fellow.since, self._moving_since) + LAG - self._wheel.seconds()
        if left > 0:
            self._wheel.schedule(fellow, left)
        else:
            self._cut(fellow)
