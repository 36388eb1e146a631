"""The figures of one headline: how many have it, and how long that took.

Used by `command`; pure.  Times of arrival go in as they come, in seconds since the headline was set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report import Table

COLUMNS = (
    *("headline", "received", "lost", "missing", "min ms", "avg ms", "50 %", "95 %", "99 %", "max ms"),
    *("in 1 s %", "quiet s", "backend requests", "proxies s", "clients s", "backend s", "others %"),
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Times of delivery in milliseconds: what the log of a run shows."""

    count: int
    least: float
    average: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Delivery:
        """The figures of at least one delivery."""
        count = len(seconds)
        return cls(count, min(seconds) * 1000, sum(seconds) / count * 1000, max(seconds) * 1000)

    def line(self, at: float) -> str:
        """A line of the log, `at` seconds after the headline was set."""
        return (
            f"{at:7.2f} s  {self.count:>9,} received   "
            f"min {self.least:6.0f} ms   avg {self.average:6.0f} ms   max {self.most:6.0f} ms"
        )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that at least `share` (0 to 1) of all values do not exceed (nearest rank)."""
    rank = -(-len(ordered) * share // 1)
    return ordered[max(int(rank), 1) - 1]


@dataclass(frozen=True, slots=True)
class Round:
    """All of one headline; `seconds` are the times of delivery, the rest is what happened meanwhile."""

    number: int
    seconds: Sequence[float]
    lost: int
    missing: int
    quiet: float  # seconds until nobody had anything to do any more: all clients wait again
    asked: int  # requests that the backend answered
    proxies: float  # seconds of processor time
    clients: float
    backend: float
    others: float  # share of all cores that other programs had

    def row(self) -> list[object]:
        """The cells under `COLUMNS`."""
        end = [self.quiet, self.asked, self.proxies, self.clients, self.backend, self.others * 100]
        if not self.seconds:
            return [self.number, 0, self.lost, self.missing, *[None] * 7, *end]
        ordered = sorted(self.seconds)
        all_of_them = Delivery.of(ordered)
        shares = [percentile(ordered, share) * 1000 for share in (0.5, 0.95, 0.99)]
        soon = sum(second <= 1 for second in ordered) / len(ordered) * 100
        return [
            *(
                self.number,
                all_of_them.count,
                self.lost,
                self.missing,
                all_of_them.least,
                all_of_them.average,
            ),
            *(*shares, all_of_them.most, soon, *end),
        ]


def table_of(rounds: Sequence[Round], title: str) -> Table:
    """The table at the end of a run, with a last row of medians."""
    table = Table(title, COLUMNS, [one.row() for one in rounds])
    if len(rounds) > 1:
        table.rows.append(
            ["median", *(_middle([row[at] for row in table.rows]) for at in range(1, len(COLUMNS)))]
        )
    return table


def _middle(values: Sequence[object]) -> object:
    known = sorted(value for value in values if isinstance(value, int | float))
    if not known:
        return None
    half, odd = divmod(len(known), 2)
    return known[half] if odd else (known[half - 1] + known[half]) / 2
