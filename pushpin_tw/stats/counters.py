"""How much has happened, per route: what rooms add up, and what is read from it (zeromq 5.2, 6.2).

Two sides.  ``Counters`` is where the rooms of a process count, through ``stats.tally``; ``take()`` gives what
was added since the last time, in plain values.  ``Totals`` adds up what was taken, by one process or more,
for those who write it: ``stats.report`` (packets) and Prometheus, which reads ``requests``, ``minutes``,
``received``, ``sent`` (since the start) and ``connected`` (at the moment).

A route is called by its id if that is an explicit one; all others are ''.  Pure: no clock, no output.
"""

from __future__ import annotations

from typing import Any

from pushpin_tw.wire.headsize import request_words, response_words
from pushpin_tw.wire.message import OriginRequest, Response

MINUTE = 60
"""Seconds; ``Counters.tick`` is called once in each."""

FIELDS: tuple[str, ...] = (
    "connections",
    "live",
    "requests",
    "activity",
    "minutes",
    "received",
    "sent",
    "http-response-sent",
    "blocks-received",
    "blocks-sent",
    "client-header-bytes-received",
    "client-header-bytes-sent",
    "client-content-bytes-received",
    "client-content-bytes-sent",
    "client-messages-received",
    "client-messages-sent",
    "server-header-bytes-received",
    "server-header-bytes-sent",
    "server-content-bytes-received",
    "server-content-bytes-sent",
    "server-messages-received",
    "server-messages-sent",
)
"""What the numbers of a ``Delta`` are: the most connections at a time, those of the moment, then sums."""
SUMS = 2
"""Where the sums begin."""
_AT = {name: position for position, name in enumerate(FIELDS)}
_REPORTED = tuple(name for name in FIELDS if name not in ("live", "requests", "activity"))
_RARE = frozenset({"blocks-received", "blocks-sent"})
"""What is reported only when it is not zero."""

SOCKET = "ws-message"

Delta = dict[str, list[int]]
"""Route to numbers in the order of ``FIELDS``."""


class Cohort:
    """The connections of one route that began in the same second of a minute."""

    __slots__ = ("counts", "live", "tally")

    def __init__(self, counts: Counts, tally: Any) -> None:
        self.counts = counts
        self.live = 0
        self.tally = tally
        """Who is told when one of them ends."""


class Counts:
    """What is counted for one route since the last ``take``; rooms add to it.

    A minute of each connection begins in the second in which the connection began, so that counting minutes
    takes no timer: once in a second, those who began in it are one minute older.
    """

    __slots__ = (
        "activity",
        "blocks_received",
        "blocks_sent",
        "client_content_received",
        "client_content_sent",
        "client_header_received",
        "client_header_sent",
        "client_messages_received",
        "client_messages_sent",
        "cohort",
        "cohorts",
        "connections",
        "live",
        "minutes",
        "received",
        "requests",
        "response_sent",
        "route",
        "sent",
        "server_content_received",
        "server_content_sent",
        "server_header_received",
        "server_header_sent",
        "server_messages_received",
        "server_messages_sent",
    )

    def __init__(self, route: str, second: int, tally: Any) -> None:
        """``second``: the one of a minute that it is."""
        self.route = route
        self.cohorts = [Cohort(self, tally) for _ in range(MINUTE)]
        self.cohort = self.cohorts[second]
        """The one to join now."""
        self.live = 0
        """Connections of the moment."""
        self._clear()

    def _clear(self) -> None:
        self.connections = self.live
        """The most of them at a time."""
        self.requests = 0
        """Requests and WebSockets of clients; each is activity and the beginning of a minute as well."""
        self.activity = 0
        """The rest of what counts as such."""
        self.minutes = 0
        """Full minutes."""
        self.received = self.sent = self.response_sent = self.blocks_received = self.blocks_sent = 0
        self.client_header_received = self.client_header_sent = 0
        self.client_content_received = self.client_content_sent = 0
        self.client_messages_received = self.client_messages_sent = 0
        self.server_header_received = self.server_header_sent = 0
        self.server_content_received = self.server_content_sent = 0
        self.server_messages_received = self.server_messages_sent = 0

    def asked(self, request: OriginRequest) -> None:
        """A server has been asked."""
        self.server_header_sent += request_words(request)

    def answered(self, response: Response) -> None:
        """It has begun to answer."""
        self.server_header_received += response_words(response)

    def uploaded(self, size: int, passed: bool) -> None:
        """A piece of a request's body has come; ``passed``: a server is given it at once."""
        self.client_content_received += size
        if passed:
            self.server_content_sent += size

    def from_client(self, size: int, last: bool) -> None:
        """A piece of a message, which a server is given; ``last``: the message is complete."""
        self.client_content_received += size
        self.server_content_sent += size
        if last:
            self.client_messages_received += 1
            self.server_messages_sent += 1

    def from_server(self, size: int, last: bool) -> None:
        """The same in the other direction."""
        self.server_content_received += size
        self.client_content_sent += size
        if last:
            self.server_messages_received += 1
            self.client_messages_sent += 1

    def delivered(self, kind: str, receivers: int, size: int, messages: int) -> None:
        """Items have been written to holds of a kind: so many, with so many bytes together for each."""
        self.client_content_sent += receivers * size
        if kind == SOCKET:
            self.client_messages_sent += receivers * messages

    def take(self) -> list[int]:
        """The numbers in the order of ``FIELDS``; the sums begin again."""
        taken = [
            self.connections,
            self.live,
            self.requests,
            self.requests + self.activity,
            self.requests + self.minutes,
            self.received,
            self.sent,
            self.response_sent,
            self.blocks_received,
            self.blocks_sent,
            self.client_header_received,
            self.client_header_sent,
            self.client_content_received,
            self.client_content_sent,
            self.client_messages_received,
            self.client_messages_sent,
            self.server_header_received,
            self.server_header_sent,
            self.server_content_received,
            self.server_content_sent,
            self.server_messages_received,
            self.server_messages_sent,
        ]
        self._clear()
        return taken

    def tick(self, second: int) -> None:
        """A second of the minute begins."""
        self.cohort = self.cohorts[second]
        self.minutes += self.cohort.live


class Counters(dict[str, Counts]):
    """The counts of all routes of a process, made when they are first asked for."""

    def __init__(self, tally: Any = None) -> None:
        """``tally``: who is told by ``Cohort.tally``."""
        super().__init__()
        self._tally = tally
        self._second = 0

    def __missing__(self, route: str) -> Counts:
        counts = self[route] = Counts(route, self._second, self._tally)
        return counts

    def tick(self) -> None:
        """Another second has begun."""
        self._second = (self._second + 1) % MINUTE
        for counts in self.values():
            counts.tick(self._second)

    @property
    def live(self) -> int:
        """Connections of the moment."""
        return sum(counts.live for counts in self.values())

    def take(self) -> Delta:
        """What was added since the last time; routes without anything are left out, once they have been
        taken without a connection."""
        taken: Delta = {}
        for route, counts in self.items():
            most, idle = counts.connections, not counts.live
            numbers = counts.take()
            if most or not idle or any(numbers):
                taken[route] = numbers
        return taken


class RouteTotals:
    """What ``Totals`` knows of one route."""

    __slots__ = ("activity", "live", "most", "reported", "sums")

    def __init__(self) -> None:
        self.sums = [0] * len(FIELDS)
        """Since the last report."""
        self.activity = 0
        """Since it was taken last."""
        self.live: dict[object, int] = {}
        """Connections by source."""
        self.most: dict[object, int] = {}
        """The same, the most since the last report."""
        self.reported = False
        """Whether the last report had anything."""


class Totals:
    """What was taken, added up."""

    def __init__(self, reports: bool = True) -> None:
        """``reports``: whether ``take_report`` is called now and then."""
        self._reports = reports
        self._routes: dict[str, RouteTotals] = {}
        self._sums = [0] * len(FIELDS)
        self._told = 0

    def merge(self, delta: Delta, source: object = None) -> None:
        """Add what ``source``, one of several processes, has counted."""
        for route, numbers in delta.items():
            known = self._routes.get(route)
            if known is None:
                known = self._routes[route] = RouteTotals()
            most, live = numbers[:SUMS]
            known.most[source] = max(most, known.most.get(source, 0))
            known.live[source] = live
            known.activity += numbers[_AT["activity"]]
            for position in range(SUMS, len(FIELDS)):
                known.sums[position] += numbers[position]
                self._sums[position] += numbers[position]

    def forget(self, source: object) -> None:
        """A process has ended, and with it its connections; what it has counted stays."""
        for known in self._routes.values():
            known.live.pop(source, None)

    # ---- since the start -----------------------------------------------------------------------------------

    @property
    def requests(self) -> int:
        """Requests and WebSockets of clients."""
        return self._sums[_AT["requests"]]

    @property
    def minutes(self) -> int:
        """Minutes for which clients were connected, each begun one in full."""
        return self._sums[_AT["minutes"]]

    @property
    def received(self) -> int:
        """Items of publishers."""
        return self._sums[_AT["received"]]

    @property
    def sent(self) -> int:
        """Deliveries to holds."""
        return self._sums[_AT["sent"]]

    @property
    def connected(self) -> int:
        """Connections: the most at a time since the last report, or those of the moment without reports."""
        return sum(
            sum((known.most if self._reports else known.live).values()) for known in self._routes.values()
        )

    # ---- since it was taken last ---------------------------------------------------------------------------

    def take_requests(self) -> int:
        """Requests and WebSockets."""
        told, self._told = self._told, self.requests
        return self._told - told

    def take_activity(self) -> dict[str, int]:
        """By route, where there was any."""
        taken = {}
        for route, known in self._routes.items():
            if known.activity:
                taken[route], known.activity = known.activity, 0
        return taken

    def take_report(self) -> dict[str, dict[str, int]]:
        """The members of a report for each route that has anything to report, or had the last time."""
        reports = {}
        for route, known in list(self._routes.items()):
            numbers, known.sums = known.sums, [0] * len(FIELDS)
            numbers[0] = sum(known.most.values())
            known.most = {source: live for source, live in known.live.items() if live}
            anything = any(numbers)
            if anything or known.reported:
                reports[route] = _members(numbers)
            elif not known.most and not known.activity:
                del self._routes[route]
            known.reported = anything
        return reports


def _members(numbers: list[int]) -> dict[str, int]:
    return {name: numbers[_AT[name]] for name in _REPORTED if name not in _RARE or numbers[_AT[name]]}
