"""What is measured: counts, times, and what there is of something; as plain values."""

from __future__ import annotations

import json

import pytest
from zope.interface.verify import verifyObject

from pushpin_tw.figures import IStatsSink
from pushpin_tw.stats.measures import BOUNDS, MAX_ROUTES, OTHER_ROUTES, Measures
from pushpin_tw.testing.services import RecordedStats
from pushpin_tw.wire.tnetstring import decode, encode


def test_it_is_a_sink_in_front_of_another() -> None:
    behind = RecordedStats()
    measures = Measures(behind)
    assert verifyObject(IStatsSink, measures)
    measures.count("items-invalid", 2, "r")
    measures.took("origin", 0.5, 3, "r")
    measures.note("warn", "words")
    measures.published("c", 1)
    assert behind.counts == {("items-invalid", "r"): 2}
    assert behind.times == [("origin", 0.5, 3, "r")]
    assert behind.notes == [("warn", "words")]
    assert behind.events == [("published", "c", 1)]
    assert measures.wants_requests is measures.wants_holds is True


def test_counts_add_up_by_name_and_route() -> None:
    measures = Measures(RecordedStats())
    measures.count("a")
    measures.count("a", 4)
    measures.count("a", 1, "r")
    assert sorted(measures.take()["counts"]) == [["a", "", 5], ["a", "r", 1]]


@pytest.mark.parametrize(
    ("seconds", "place"),
    [
        (0.0, 0),
        (0.0005, 0),
        (0.00051, 1),
        (1.0, BOUNDS.index(1.0)),
        (60.0, len(BOUNDS) - 1),
        (60.1, len(BOUNDS)),
    ],
)
def test_a_time_belongs_to_the_first_bound_that_is_not_below_it(seconds: float, place: int) -> None:
    measures = Measures(RecordedStats())
    measures.took("delivery", seconds, 7)
    [[name, route, total, counts]] = measures.take()["times"]
    assert (name, route, total) == ("delivery", "", seconds * 7)
    assert counts == [7 if position == place else 0 for position in range(len(BOUNDS) + 1)]


def test_routes_that_are_too_many_are_one() -> None:
    measures = Measures(RecordedStats())
    for number in range(MAX_ROUTES + 3):
        measures.count("origin-errors", route=f"r{number}")
        measures.took("origin", 1.0, route=f"r{number}")
    measures.count("origin-errors", route="r0")
    measures.took("origin", 1.0, route="r0")
    taken = measures.take()
    counts = {route: n for _, route, n in taken["counts"]}
    times = {route: sum(counts) for _, route, _, counts in taken["times"]}
    assert counts == times
    assert len(counts) == MAX_ROUTES + 1
    assert (counts["r0"], counts[OTHER_ROUTES]) == (2, 3)


def test_what_is_taken_is_plain_and_not_touched_later() -> None:
    measures = Measures(RecordedStats())
    measures.gauge("holds", lambda: {"stream": 2, "ws": 0})
    measures.count("a")
    measures.took("delivery", 0.25)
    taken = measures.take()
    assert taken["gauges"] == {"holds": {"stream": 2, "ws": 0}}
    before = json.dumps(taken)
    measures.count("a")
    measures.took("delivery", 0.25)
    assert json.dumps(taken) == before
    assert decode(encode(taken)).keys() == taken.keys()


def test_what_is_measured_often_has_a_shorter_way() -> None:
    measures = Measures(RecordedStats())
    ended = measures.since("delivery", lambda: 100.0)
    assert measures.take()["times"] == [["delivery", "", 0.0, [0] * (len(BOUNDS) + 1)]]
    ended(99.75, 2)
    measures.took("delivery", 0.25)
    [[_, _, total, counts]] = measures.take()["times"]
    assert (total, sum(counts)) == (0.75, 3)
