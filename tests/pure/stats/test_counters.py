"""Sums per route: counted, taken, added up."""

from __future__ import annotations

from typing import Any

from pushpin_tw.stats.counters import FIELDS, MINUTE, Counters, Totals
from pushpin_tw.wire.message import OriginRequest, Request, Response


def at(numbers: list[int], name: str) -> int:
    return numbers[FIELDS.index(name)]


def opened(counters: Counters, route: str = "") -> Any:
    """As ``stats.tally`` does it."""
    counts = counters[route]
    counts.requests += 1
    counts.live += 1
    counts.connections = max(counts.connections, counts.live)
    counts.cohort.live += 1
    return counts.cohort


def closed(cohort: Any) -> None:
    cohort.live -= 1
    cohort.counts.live -= 1


def test_a_request_is_activity_and_a_minute_as_well() -> None:
    counters = Counters()
    closed(opened(counters))
    counters[""].activity += 2
    numbers = counters.take()[""]
    assert [at(numbers, name) for name in ("connections", "live", "requests", "activity", "minutes")] == [
        1,
        0,
        1,
        3,
        1,
    ]
    assert counters.take() == {}


def test_what_was_taken_begins_again_and_connections_stay() -> None:
    counters = Counters()
    first, second = opened(counters), opened(counters)
    closed(first)
    assert counters.take()[""][:3] == [2, 1, 2]
    assert counters.take()[""][:3] == [1, 1, 0]
    assert counters.live == 1
    closed(second)
    assert counters.take()[""][:3] == [1, 0, 0]
    assert counters.take() == {}


def test_minutes_of_each_connection() -> None:
    counters = Counters()
    for _ in range(5):
        counters.tick()
    cohort = opened(counters)
    late = opened(counters, "r")
    assert late is counters["r"].cohort
    for _ in range(2 * MINUTE):
        counters.tick()
    taken = counters.take()
    assert at(taken[""], "minutes") == at(taken["r"], "minutes") == 3
    closed(cohort)
    for _ in range(MINUTE):
        counters.tick()
    taken = counters.take()
    assert (at(taken[""], "minutes"), at(taken["r"], "minutes")) == (0, 1)


def test_bytes_and_messages() -> None:
    counts = Counters()[""]
    counts.from_client(5, False)
    counts.from_client(2, True)
    counts.from_server(3, False)
    counts.from_server(4, True)
    counts.uploaded(10, True)
    counts.uploaded(20, False)
    counts.delivered("http-stream", 3, 100, 2)
    counts.delivered("ws-message", 2, 50, 2)
    numbers = counts.take()
    assert [
        at(numbers, f"{side}-{what}-{way}")
        for side in ("client", "server")
        for what in ("content-bytes", "messages")
        for way in ("received", "sent")
    ] == [37, 407, 1, 5, 7, 17, 1, 1]


def test_heads() -> None:
    counts = Counters()[""]
    head = b"GET /g/lp?ch=lx HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    headers = [(b"Host", b"localhost"), (b"Connection", b"close")]
    counts.asked(OriginRequest(b"GET", b"/g/lp?ch=lx", headers, size=len(head)))
    counts.asked(OriginRequest(b"GET", b"/g/lp?ch=lx", headers))
    answer = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
    counts.answered(Response(200, b"OK", [(b"A", b"b")], size=len(answer)))
    counts.answered(Response(200, b"OK", [(b"A", b"b")]))
    numbers = counts.take()
    assert at(numbers, "server-header-bytes-sent") == 2 * 42
    assert at(numbers, "server-header-bytes-received") == 2 * len("200OKAb")
    assert Request(b"GET", b"/", 1, []).size == 0


# ---- added up ----------------------------------------------------------------------------------------------


def delta(route: str = "", **numbers: int) -> dict[str, list[int]]:
    return {route: [numbers.get(name.replace("-", "_"), 0) for name in FIELDS]}


def test_totals_since_the_start() -> None:
    totals = Totals()
    totals.merge(delta(requests=2, minutes=3, received=4, sent=5), "a")
    totals.merge(delta("r", requests=1, minutes=1, sent=1), "b")
    assert (totals.requests, totals.minutes, totals.received, totals.sent) == (3, 4, 4, 6)
    totals.take_report()
    assert (totals.requests, totals.minutes, totals.received, totals.sent) == (3, 4, 4, 6)


def test_the_most_connections_since_the_last_report() -> None:
    totals = Totals()
    totals.merge(delta(connections=3, live=1), "a")
    totals.merge(delta(connections=2, live=2), "a")
    totals.merge(delta(connections=4, live=4), "b")
    assert totals.connected == 7
    assert totals.take_report()[""]["connections"] == 7
    assert totals.connected == 6
    totals.forget("b")
    assert totals.take_report()[""]["connections"] == 6
    assert totals.take_report()[""]["connections"] == 2


def test_connections_of_the_moment_where_nothing_is_reported() -> None:
    totals = Totals(reports=False)
    totals.merge(delta(connections=3, live=1))
    assert totals.connected == 1
    totals.forget("nobody")


def test_what_was_told_is_not_told_again() -> None:
    totals = Totals()
    totals.merge({**delta(requests=2, activity=3), **delta("r", activity=1), **delta("idle", received=1)})
    assert (totals.take_requests(), totals.take_requests()) == (2, 0)
    assert totals.take_activity() == {"": 3, "r": 1}
    assert totals.take_activity() == {}


def test_reports_end_with_one_that_is_all_zero() -> None:
    totals = Totals()
    totals.merge(delta("r", connections=1, live=1, requests=1, minutes=1, client_messages_sent=2))
    report = totals.take_report()["r"]
    assert report["connections"] == report["minutes"] == 1
    assert report["client-messages-sent"] == 2
    assert not {"live", "requests", "activity", "blocks-sent"} & set(report)
    totals.merge(delta("r", connections=1))
    assert totals.take_report()["r"]["connections"] == 1
    zero = totals.take_report()["r"]
    assert not any(zero.values())
    assert totals.take_report() == {}
    assert totals.take_report() == {}
    totals.merge(delta("r", blocks_sent=1, blocks_received=2))
    assert totals.take_report()["r"]["blocks-received"] == 2


def test_activity_that_was_not_taken_outlives_a_route() -> None:
    totals = Totals()
    totals.merge(delta("r", activity=1))
    for _ in range(3):
        totals.take_report()
    assert totals.take_activity() == {"r": 1}
