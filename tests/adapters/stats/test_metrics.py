"""The text that Prometheus reads."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from pushpin_tw.stats.measures import BOUNDS, Measures
from pushpin_tw.stats.metrics import GAUGES, ORIGINAL, REASONS, original, ours
from pushpin_tw.testing.services import RecordedStats

TOTALS = {name: number for number, (name, _, _) in enumerate(ORIGINAL)}
FIFTEEN = """\
# HELP pp_request_received Number of requests received
# TYPE pp_request_received counter
pp_request_received 0
# HELP pp_connection_connected Number of concurrent connections
# TYPE pp_connection_connected gauge
pp_connection_connected 1
# HELP pp_connection_minute Number of minutes clients have been connected
# TYPE pp_connection_minute counter
pp_connection_minute 2
# HELP pp_message_received Number of messages received by the publish API
# TYPE pp_message_received counter
pp_message_received 3
# HELP pp_message_sent Number of messages sent to clients
# TYPE pp_message_sent counter
pp_message_sent 4
"""


def test_the_originals_lines() -> None:
    assert original("pp_", TOTALS) == FIFTEEN


def figures(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples by name and labels, as Prometheus' own parser reads them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def measured() -> Measures:
    measures = Measures(RecordedStats())
    for name, (_, label, _) in GAUGES.items():
        measures.gauge(name, lambda label=label: {"stream": 5} if label else {"": 6})  # type: ignore[misc]
    measures.count("items-invalid", 2)
    measures.count("something-new", 1)
    measures.count("origin-errors", 3, "api")
    measures.took("delivery", 0.002, 10)
    measures.took("delivery", 70.0, 1)
    measures.took("origin", 0.2, route="api")
    measures.took("origin", 0.2)
    return measures


def test_workers_stand_side_by_side() -> None:
    snapshot = measured().take()
    found = figures(ours("pp_", {0: snapshot, 1: snapshot}))
    for worker in ("0", "1"):
        one = ("worker", worker)
        assert found["pp_pushpin_clients", (one,)] == 6
        assert found["pp_pushpin_holds", (("kind", "stream"), one)] == 5
        assert found["pp_pushpin_dropped_total", (("reason", "items-invalid"), one)] == 2
        assert found["pp_pushpin_dropped_total", (("reason", "something-new"), one)] == 1
        assert found["pp_pushpin_origin_errors_total", (("route", "api"), one)] == 3
        assert found["pp_pushpin_delivery_seconds_count", (one,)] == 11
        assert found["pp_pushpin_delivery_seconds_sum", (one,)] == 0.02 + 70
        assert found["pp_pushpin_origin_seconds_count", (("route", "api"), one)] == 1
        assert found["pp_pushpin_origin_seconds_count", (("route", ""), one)] == 1


def test_bounds_add_up() -> None:
    found = figures(ours("", {0: measured().take()}))
    buckets = [
        found["pushpin_delivery_seconds_bucket", (("le", le), ("worker", "0"))]
        for le in [*map(str, BOUNDS), "+Inf"]
    ]
    assert buckets == [0, 0, *[10] * (len(BOUNDS) - 2), 11]


def test_what_has_never_happened_is_there_all_the_same() -> None:
    found = figures(ours("", {0: Measures(RecordedStats()).take()}))
    reasons = {
        labels[0][1]: value for (name, labels), value in found.items() if name.endswith("dropped_total")
    }
    assert reasons == dict.fromkeys(REASONS, 0)


def test_words_of_others_cannot_break_a_line() -> None:
    measures = Measures(RecordedStats())
    measures.count("origin-errors", 1, 'a"\\\nb 7')
    found = figures(ours("", {0: measures.take()}))
    assert found["pushpin_origin_errors_total", (("route", 'a"\\\nb 7'), ("worker", "0"))] == 1
