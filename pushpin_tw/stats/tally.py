"""What happens, counted: the one object through which rooms reach statistics (zeromq 5.2).

Made by the service when anybody wants figures.  Keeps counts, connections and the time, and tells an outlet
what is worth a packet, in plain values, and only what that wants.  Every request passes here, so there are
numbers and dictionaries, no text, and nothing that takes a timer for each connection.  Never writes a packet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from zope.interface import implementer

from pushpin_tw.figures import ITally
from pushpin_tw.stats.connections import Connections
from pushpin_tw.stats.counters import Cohort, Counters, Counts, Delta
from pushpin_tw.stats.rounds import Rounds
from pushpin_tw.wheel import Wheel

SOON = 0.1
"""Seconds after which what was counted is handed over, so that what comes together is one packet."""
LONGEST = 120
"""Seconds that are made up for, at most, when the process has slept."""
_RESPONSE = "http-response"


class Outlet(Protocol):
    """Where figures go: the packets of this process, or the link to another one."""

    wanted: frozenset[str]
    """The types of packets that anybody has subscribed to."""

    def add(self, delta: Delta) -> None:
        """What was counted since the last time."""

    def emit(self, kind: str, members: Mapping[str, Any]) -> None:
        """A packet of a type that is wanted, but for who sends it."""

    def joined(self, mode: str, channel: str) -> None:
        """As ``ITally``."""

    def left(self, mode: str, channel: str, lingers: bool) -> None:
        """As ``ITally``."""

    def lingered(self, mode: str, channel: str) -> None:
        """As ``ITally``."""


class _Soon:
    """An entry of the wheel: time to hand over what was counted."""

    __slots__ = ("_tally", "due", "slot")

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.due = self.slot = 0

    def expired(self) -> None:
        self._tally.flush()


@implementer(ITally)
class Tally:
    """Counts for one process."""

    def __init__(
        self,
        wheel: Wheel,
        outlet: Outlet,
        ttl: int = 120,
        tells_connections: bool = True,
        block: int = -1,
        worker: str = "",
    ) -> None:
        """``ttl``: seconds that statistics of a connection live; ``tells_connections``: whether any are told;
        ``block``: bytes of a block, below 1 when these are not counted; ``worker``: see ``Connections``."""
        self.routes = Counters(self)
        self.connections = Connections(ttl * 3 // 4, worker)
        self._turns = self.connections.turns  # on the way of every request
        self._spread = len(self._turns)
        self.tells_connections = tells_connections
        self.second = 0
        self.joined = outlet.joined
        self.left = outlet.left
        self.lingered = outlet.lingered
        self._wheel = wheel
        self._outlet = outlet
        self._ttl = ttl
        self._block = block
        self._number = 0
        self._soon = _Soon(self)
        self._seconds = Rounds(wheel, 1.0, self._passed)
        """While anything is connected."""

    # ---- connections ---------------------------------------------------------------------------------------

    def opened(self, connection: Any, size: int, route: str) -> Counts:
        """See ``ITally``."""
        counts = self.routes[route]
        counts.requests += 1
        counts.client_header_received += size
        live = counts.live = counts.live + 1
        if live > counts.connections:
            counts.connections = live
        cohort = connection.cohort = counts.cohort
        cohort.live += 1
        number = connection.number
        if not number:
            number = connection.number = self._number = self._number + 1
        self._turns[number % self._spread][number] = connection
        if not self._soon.due:
            self._wake()
        if "conn" in self._outlet.wanted:
            self._tell(connection)
        return counts

    def passed(self, connection: Any) -> None:
        """See ``ITally``."""
        self._turns[connection.number % self._spread][connection.number] = connection

    def retried(self, connection: Any) -> None:
        """See ``ITally``."""
        cohort: Cohort | None = connection.cohort
        if cohort is not None:
            self.active(cohort.counts.route)
            if "conn" in self._outlet.wanted:
                self._tell(connection)

    def closed(self, connection: Any) -> None:
        """See ``ITally``."""
        cohort: Cohort = connection.cohort
        connection.cohort = None
        cohort.live -= 1
        cohort.counts.live -= 1
        number = connection.number
        del self._turns[number % self._spread][number]
        if "conn" in self._outlet.wanted and self.tells_connections:
            members = {"id": self.connections.name(connection.number), "unavailable": True}
            self._emit("conn", members, cohort.counts.route)

    def _tell(self, connection: Any) -> None:
        if not self.tells_connections:
            return
        members = {
            "id": self.connections.name(connection.number),
            "type": connection.kind,
            "peer-address": connection.address,
            "ttl": self._ttl,
        }
        if connection.secure:
            members["ssl"] = True
        self._emit("conn", members, connection.cohort.counts.route)

    def _emit(self, kind: str, members: dict[str, Any], route: str) -> None:
        if route:
            members["route"] = route
        self._outlet.emit(kind, members)

    # ---- activity and time ---------------------------------------------------------------------------------

    def active(self, route: str) -> None:
        """See ``ITally``."""
        self.routes[route].activity += 1
        if not self._soon.due:
            self._wake()

    def _wake(self) -> None:
        self._wheel.schedule(self._soon, SOON)
        self._seconds.start()

    def flush(self) -> None:
        """Hand over what was counted; for whoever reads it elsewhere, too."""
        self._outlet.add(self.routes.take())

    def _passed(self, seconds: int) -> bool:
        for _ in range(min(seconds, LONGEST)):
            self.second += 1
            self.routes.tick()
            if "conn" in self._outlet.wanted:
                for connection in tuple(self.connections.turn(self.second).values()):
                    self._tell(connection)
        return self.routes.live > 0

    # ---- items ---------------------------------------------------------------------------------------------

    def received(self, item: Any) -> None:
        """See ``ITally``."""
        counts = self.routes[""]
        counts.received += 1
        if self._block > 0:
            counts.blocks_received += self._blocks(_size(item))

    def sent(self, parcel: Any, route: str, kind: str, receivers: int) -> None:
        """See ``ITally``."""
        counts = self.routes[route]
        counts.sent += receivers
        if kind == _RESPONSE:
            counts.response_sent += receivers
        if self._block > 0:
            counts.blocks_sent += receivers * self._blocks(_size_for(parcel, kind))

    def message(self, parcel: Any, holds: Mapping[str, int]) -> None:
        """See ``ITally``."""
        if "message" not in self._outlet.wanted:
            return
        item = parcel.item
        for kind, number in holds.items():
            if number and parcel.action(kind) is not None:
                members = {"channel": item.channel, "transport": kind, "count": number}
                if item.id is not None:
                    members["item-id"] = item.id
                if self._block > 0:
                    members["blocks"] = number * self._blocks(_size_for(parcel, kind))
                self._outlet.emit("message", members)

    def _blocks(self, size: int) -> int:
        return -(-size // self._block)


def _size_for(parcel: Any, kind: str) -> int:
    """Bytes that an item counts for with holds of a kind."""
    size = parcel.item.size
    return int(parcel.size(kind) if size is None else size)


def _size(item: Any) -> int:
    """Bytes that an item counts for when it comes: as many as its largest format has."""
    if item.size is not None:
        return int(item.size)
    response, stream, message = item.http_response, item.http_stream, item.ws_message
    return max(
        len(response.body or b"") if response is not None else 0,
        len(stream.content) if stream is not None else 0,
        len(message.content) if message is not None else 0,
    )
