"""A tally that keeps what it is told, for tests of the rooms that count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from pushpin_tw.figures import ITally
from pushpin_tw.stats.counters import Counters, Counts


@implementer(ITally)
class RecordedTally:
    """Counts are real ones; everything else is written down."""

    tells_connections = True

    def __init__(self) -> None:
        self.routes = Counters(self)
        self.second = 0
        self.told: list[tuple[Any, ...]] = []

    def take(self) -> list[tuple[Any, ...]]:
        """What was told since the last time."""
        told, self.told = self.told, []
        return told

    def opened(self, connection: Any, size: int, route: str) -> Counts:
        counts = self.routes[route]
        connection.cohort = counts.cohort
        self.told.append(("opened", connection.kind, size, route, connection.address))
        return counts

    def passed(self, connection: Any) -> None:
        self.told.append(("passed", connection.kind))

    def retried(self, connection: Any) -> None:
        self.told.append(("retried", connection.kind))

    def closed(self, connection: Any) -> None:
        connection.cohort = None
        self.told.append(("closed", connection.kind))

    def active(self, route: str) -> None:
        self.told.append(("active", route))

    def received(self, item: Any) -> None:
        self.told.append(("received", item.channel))

    def sent(self, parcel: Any, route: str, kind: str, receivers: int) -> None:
        self.told.append(("sent", parcel.item.channel, route, kind, receivers))

    def message(self, parcel: Any, holds: Mapping[str, int]) -> None:
        self.told.append(("message", parcel.item.channel, dict(holds)))

    def joined(self, mode: str, channel: str) -> None:
        self.told.append(("joined", mode, channel))

    def left(self, mode: str, channel: str, lingers: bool) -> None:
        self.told.append(("left", mode, channel, lingers))

    def lingered(self, mode: str, channel: str) -> None:
        self.told.append(("lingered", mode, channel))
