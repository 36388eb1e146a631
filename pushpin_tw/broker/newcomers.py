"""Channels that have just got their first subscriber (grip 11.3).

Used by the broker.  What was published between an origin's answer and the subscription has reached nobody, so
that a second after a channel came to be, its holds ask their origin once more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from pushpin_tw.broker.channels import Channel
from pushpin_tw.wheel import GRAIN, Wheel

PATIENCE = 1.0
"""Seconds."""


class Newcomers:
    """A row of channels, in the order in which they came; one entry of the timer wheel for all of them."""

    def __init__(self, wheel: Wheel, ready: Callable[[Channel], None]) -> None:
        """``ready`` is called for each channel when its time has come, also when nobody is left there."""
        self.due = 0
        self.slot = 0
        self._wheel = wheel
        self._ready = ready
        self._row: deque[tuple[float, Channel]] = deque()
        self._known: set[Channel] = set()

    def add(self, channel: Channel) -> None:
        """A channel has come to be."""
        self._row.append((self._wheel.seconds() + PATIENCE, channel))
        if not self.due:
            self._wheel.schedule(self, PATIENCE)

    def known(self, channel: Channel) -> None:
        """One that was added is none after all: items have reached this process before."""
        if any(channel is each for _, each in self._row):
            self._known.add(channel)

    def expired(self) -> None:
        """The wheel's call."""
        now = self._wheel.seconds()
        while self._row and self._row[0][0] <= now + GRAIN:
            _, channel = self._row.popleft()
            if channel in self._known:
                self._known.remove(channel)
            else:
                self._ready(channel)
        if self._row:
            self._wheel.schedule(self, self._row[0][0] - now)
