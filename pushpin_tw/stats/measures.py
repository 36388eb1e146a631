"""What is measured for those who run the program: counts by reason, and how long things took.

An ``IStatsSink`` in front of another one, which hears everything else.  What was measured leaves as plain
values (``take``), so that the figures of several processes can be added up elsewhere.  Never writes anything.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from zope.interface import implementer

from pushpin_tw.figures import IStatsSink

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: the upper bounds of what is told apart; the last class is everything beyond."""
MAX_ROUTES = 100
"""Routes that are told apart; the figures of more are one, under ``OTHER_ROUTES``."""
OTHER_ROUTES = "(other)"

Snapshot = dict[str, Any]
"""Plain values: maps with text for keys, lists, numbers and text."""


class Times:
    """How often something took how long."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        """Seconds, all together."""

    def add(self, seconds: float, n: int = 1) -> None:
        """``n`` times it took so long."""
        self.counts[bisect_left(BOUNDS, seconds)] += n
        self.total += seconds * n


@implementer(IStatsSink)
class Measures:
    """Keeps the figures of one process."""

    def __init__(self, behind: Any) -> None:
        """``behind`` is the ``IStatsSink`` that is told the same, and all that is not counted here."""
        self._counts: dict[tuple[str, str], int] = {}
        self._times: dict[tuple[str, str], Times] = {}
        self._routes: set[str] = set()
        self._gauges: dict[str, Callable[[], Mapping[str, int]]] = {}
        self._count_behind = behind.count
        self._took_behind = behind.took
        self._behind = behind
        self.wants_requests = behind.wants_requests
        self.wants_holds = behind.wants_holds
        # What is not counted here passes through without a stop.
        self.request_finished = behind.request_finished
        self.held = behind.held
        self.linked = behind.linked
        self.published = behind.published
        self.note = behind.note
        self.failure = behind.failure

    def configure(self, config: Any) -> None:
        """Let who is behind go on as ``config`` says."""
        self._behind.configure(config)
        self.wants_requests = self._behind.wants_requests
        self.wants_holds = self._behind.wants_holds

    def count(self, name: str, n: int = 1, route: str = "") -> None:
        """See ``IStatsSink``."""
        key = (name, route)
        if key not in self._counts:
            key = (name, self._label(route))
        self._counts[key] = self._counts.get(key, 0) + n
        self._count_behind(name, n, route)

    def took(self, name: str, seconds: float, n: int = 1, route: str = "") -> None:
        """See ``IStatsSink``."""
        times = self._times.get((name, route))
        if times is None:
            times = self._times.setdefault((name, self._label(route)), Times())
        times.add(seconds, n)
        self._took_behind(name, seconds, n, route)

    def since(self, name: str, seconds: Callable[[], float]) -> Callable[[float, int], None]:
        """A shorter way of ``took``, for what is measured often: ``ended(began, n)`` tells that ``name``
        began, ``n`` times, at a time of the clock ``seconds``, and ends now."""
        add = self._times.setdefault((name, ""), Times()).add

        def ended(began: float, n: int) -> None:
            add(seconds() - began, n)

        return ended

    def _label(self, route: str) -> str:
        """Routes come and go with their file; a label that was given once stays."""
        if not route or route in self._routes:
            return route
        if len(self._routes) >= MAX_ROUTES:
            return OTHER_ROUTES
        self._routes.add(route)
        return route

    def gauge(self, name: str, ask: Callable[[], Mapping[str, int]]) -> None:
        """From now on ``take`` asks for how much there is of something, by kind ('' when there are none)."""
        self._gauges[name] = ask

    def take(self) -> Snapshot:
        """All figures of this moment."""
        return {
            "counts": [[name, route, n] for (name, route), n in self._counts.items()],
            "times": [
                [name, route, times.total, list(times.counts)] for (name, route), times in self._times.items()
            ],
            "gauges": {name: dict(ask()) for name, ask in self._gauges.items()},
        }
