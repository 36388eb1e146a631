"""The words of the metrics: names, what they mean, and the text that Prometheus reads (zeromq 6.2).

Called by the endpoint.  Five metrics are the original's, to the byte; the others are ours, written by
prometheus_client from the snapshots of one or more processes.  Never counts anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from pushpin_tw.stats.measures import BOUNDS, Snapshot

ORIGINAL = (
    ("request_received", "counter", "Number of requests received"),
    ("connection_connected", "gauge", "Number of concurrent connections"),
    ("connection_minute", "counter", "Number of minutes clients have been connected"),
    ("message_received", "counter", "Number of messages received by the publish API"),
    ("message_sent", "counter", "Number of messages sent to clients"),
)
"""Name, kind and help text of what the original measures, in its order."""

GAUGES = {
    "clients": ("pushpin_clients", "", "Connections of clients"),
    "holds": ("pushpin_holds", "kind", "Clients that are held"),
    "subscriptions": ("pushpin_subscriptions", "kind", "Channels that holds listen to, one for each hold"),
    "channels": ("pushpin_channels", "", "Channels that somebody listens to, or did lately"),
    "deliveries": ("pushpin_deliveries_waiting", "", "Deliveries that wait for their turn"),
    "workers": ("pushpin_workers", "state", "Worker processes, of the parent"),
    "backlog": ("pushpin_worker_backlog_bytes", "to", "What waits in the parent until a worker takes it"),
}
"""By the name that rooms use: the metric, the label of its parts, and its help text."""

TIMES = {
    "delivery": ("pushpin_delivery_seconds", "From the publish input to the client's socket, each delivery"),
    "origin": ("pushpin_origin_seconds", "From asking a backend to the head of its answer"),
}
"""The same for what takes time; those of backends have a route."""

ERRORS = "origin-errors"
DROPPED = "pushpin_dropped_total"
ORIGIN_ERRORS = "pushpin_origin_errors_total"
COUNTERS = {
    DROPPED: "What could not be used or was given up, by reason",
    ORIGIN_ERRORS: "Backends that were asked and gave no usable answer",
}

REASONS = (
    "items-invalid",
    "items-repeated",
    "items-dropped-out-of-order",
    "items-dropped-slow-client",
    "items-dropped-within-message",
    "deliveries-dropped-hwm",
    "packets-invalid",
    "commands-invalid",
    "sockjs-sessions-refused",
    "sockjs-sessions-overflowed",
    "disconnects-dropped",
)
"""What rooms count as dropped; ``docs/reference/metrics.rst`` says what each of them means."""


def original(prefix: str, totals: Mapping[str, int]) -> str:
    """The fifteen lines of the original; ``totals`` by its names."""
    return "".join(
        f"# HELP {prefix}{name} {text}\n# TYPE {prefix}{name} {kind}\n{prefix}{name} {totals[name]}\n"
        for name, kind, text in ORIGINAL
    )


def ours(prefix: str, snapshots: Mapping[int, Snapshot]) -> str:
    """Our own metrics; ``snapshots`` by the number of the worker that they are from."""
    registry = CollectorRegistry()
    registry.register(_Snapshots(prefix, snapshots))
    return generate_latest(registry).decode()


class _Snapshots(Collector):
    """Gives prometheus_client what is in snapshots."""

    def __init__(self, prefix: str, snapshots: Mapping[int, Snapshot]) -> None:
        self._prefix = prefix
        self._snapshots = {str(worker): snapshot for worker, snapshot in snapshots.items()}

    def collect(self) -> Iterable[Metric]:
        """See ``Collector``."""
        yield from self._gauges()
        yield from self._times()
        yield from self._counters()

    def _gauges(self) -> Iterator[Metric]:
        for key, (name, label, text) in GAUGES.items():
            labels = ["worker", label] if label else ["worker"]
            family = GaugeMetricFamily(self._prefix + name, text, labels=labels)
            for worker, snapshot in self._snapshots.items():
                for part, value in snapshot["gauges"].get(key, {}).items():
                    family.add_metric([worker, part] if label else [worker], value)
            yield family

    def _times(self) -> Iterator[Metric]:
        for key, (name, text) in TIMES.items():
            by_route = key == "origin"
            labels = ["worker", "route"] if by_route else ["worker"]
            family = HistogramMetricFamily(self._prefix + name, text, labels=labels)
            for worker, snapshot in self._snapshots.items():
                for timed, route, total, counts in snapshot["times"]:
                    if timed == key:
                        bounds = [*map(str, BOUNDS), "+Inf"]
                        buckets = list(zip(bounds, accumulate(counts), strict=True))
                        family.add_metric([worker, route] if by_route else [worker], buckets, total)
            yield family

    def _counters(self) -> Iterator[Metric]:
        dropped = CounterMetricFamily(self._prefix + DROPPED, COUNTERS[DROPPED], labels=["worker", "reason"])
        errors = CounterMetricFamily(
            self._prefix + ORIGIN_ERRORS, COUNTERS[ORIGIN_ERRORS], labels=["worker", "route"]
        )
        for worker, snapshot in self._snapshots.items():
            # What never happened is there as well, so that its first time is a rise.
            reasons = dict.fromkeys(REASONS, 0)
            for name, route, n in snapshot["counts"]:
                if name == ERRORS:
                    errors.add_metric([worker, route], n)
                else:
                    reasons[name] = reasons.get(name, 0) + n
            for reason, n in reasons.items():
                dropped.add_metric([worker, reason], n)
        yield dropped
        yield errors
