"""Something that is to be done every so often, as long as there is reason to.

Used within ``stats``.  An entry of the timer wheel that does not go slow: the wheel may be late by a tick and
the process by more, but rounds are counted from the first one.
"""

from __future__ import annotations

from collections.abc import Callable

from pushpin_tw.wheel import Wheel


class Rounds:
    """Rests until ``start`` is called."""

    __slots__ = ("_began", "_call", "_period", "_wheel", "due", "slot")

    def __init__(self, wheel: Wheel, period: float, call: Callable[[int], bool]) -> None:
        """``call(passed)`` is told how many periods have passed since the last time; it returns whether there
        is reason to go on."""
        self._wheel = wheel
        self._period = period
        self._call = call
        self._began = 0.0
        self.due = self.slot = 0

    def start(self) -> None:
        """Go round, unless that is so already."""
        if not self.due:
            self._began = self._wheel.seconds()
            self._wheel.schedule(self, self._period)

    def stop(self) -> None:
        """Rest again."""
        self._wheel.cancel(self)

    def expired(self) -> None:
        """The wheel's call."""
        passed = int((self._wheel.seconds() - self._began) / self._period + 1e-6)
        self._began += passed * self._period
        if self._call(passed):
            self._wheel.schedule(self, max(0.0, self._began + self._period - self._wheel.seconds()))
