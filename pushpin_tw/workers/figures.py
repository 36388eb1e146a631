"""Statistics of several processes: what workers count, told to the parent, who adds it up.

``LinkOutlet`` is the outlet of a worker, ``Figures`` what the parent makes of it.  Nothing travels but plain
values, and what happens often is told in batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from pushpin_tw.stats.counters import Delta
from pushpin_tw.stats.outlet import PacketOutlet
from pushpin_tw.wheel import Wheel
from pushpin_tw.workers.link import Link

Change = tuple[str, str, str, bool]
"""'joined', 'left' or 'lingered'; mode, channel, and for 'left' whether the channel is kept for a while."""


class LinkOutlet:
    """Implements ``stats.tally.Outlet``."""

    def __init__(self, link: Link, later: Callable[[float, Callable[[], None]], object]) -> None:
        """``later(seconds, call)`` calls back."""
        self.wanted: frozenset[str] = frozenset()
        self._link = link
        self._later = later
        self._changes: list[Change] = []

    def add(self, delta: Delta) -> None:
        """See ``Outlet``."""
        self._link.send("delta", delta)

    def emit(self, kind: str, members: Mapping[str, Any]) -> None:
        """See ``Outlet``."""
        self._link.send("packet", kind, dict(members))

    def joined(self, mode: str, channel: str) -> None:
        """See ``Outlet``."""
        self._change(("joined", mode, channel, False))

    def left(self, mode: str, channel: str, lingers: bool) -> None:
        """See ``Outlet``."""
        self._change(("left", mode, channel, lingers))

    def lingered(self, mode: str, channel: str) -> None:
        """See ``Outlet``."""
        self._change(("lingered", mode, channel, False))

    def _change(self, change: Change) -> None:
        if not self._changes:
            self._later(0.0, self._flush)
        self._changes.append(change)

    def _flush(self) -> None:
        changes, self._changes = self._changes, []
        self._link.send("changes", changes)


class Figures:
    """What all workers have told."""

    def __init__(self, outlet: PacketOutlet, wheel: Wheel) -> None:
        self._outlet = outlet
        self._wheel = wheel
        self.due = 0
        self.slot = 0
        self._subscribers: dict[int, Counter[tuple[str, str]]] = {}
        """By worker: how many listen, by mode and channel."""
        self._lingering: dict[int, Counter[tuple[str, str]]] = {}

    def delta(self, worker: int, delta: Delta) -> None:
        """A worker has counted; what the others say within a moment is told together with it."""
        self._outlet.totals.merge(delta, worker)
        if not self.due:
            self._wheel.schedule(self, 0.0)

    def expired(self) -> None:
        """The moment is over."""
        self._outlet.add({})

    def packet(self, worker: int, kind: str, members: dict[str, Any]) -> None:
        """A packet of a worker's."""
        if kind in self._outlet.wanted:
            self._outlet.emit(kind, members)

    def changes(self, worker: int, changes: list[Change]) -> None:
        """Somebody listens, or does so no more."""
        outlet = self._outlet
        subscribers = self._subscribers.setdefault(worker, Counter())
        lingering = self._lingering.setdefault(worker, Counter())
        for name, mode, channel, lingers in changes:
            key = (mode, channel)
            if name == "joined":
                subscribers[key] += 1
                outlet.joined(mode, channel)
            elif name == "left":
                _less(subscribers, key)
                lingering[key] += lingers
                outlet.left(mode, channel, lingers)
            else:
                _less(lingering, key)
                outlet.lingered(mode, channel)

    def left(self, worker: int) -> None:
        """A worker is gone, and nobody listens there any more; what it has counted stays."""
        self._outlet.totals.forget(worker)
        for (mode, channel), number in self._subscribers.pop(worker, Counter()).items():
            for _ in range(number):
                self._outlet.left(mode, channel, False)
        for (mode, channel), number in self._lingering.pop(worker, Counter()).items():
            for _ in range(number):
                self._outlet.lingered(mode, channel)


def _less(counter: Counter[tuple[str, str]], key: tuple[str, str]) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
