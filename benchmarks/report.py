"""What is printed and kept: the machine, the versions, a table per measure.

Used by the command line. Prints no host name and no path: results are kept in the repository.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median


@dataclass(slots=True)
class Table:
    """One measure: what it means, a row per server, and what the reader must know."""

    title: str
    columns: Sequence[str]
    rows: list[list[object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The table, aligned."""
        cells = [list(self.columns), *([_cell(value) for value in row] for row in self.rows)]
        widths = [max(len(row[n]) for row in cells) for n in range(len(self.columns))]
        lines = [self.title, "-" * len(self.title)]
        for row in cells:
            first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())
        return "\n".join([*lines, *(f"  * {note}" for note in self.notes)])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 10 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def middle(values: Sequence[float]) -> float | None:
    """The median; None without values."""
    return median(values) if values else None


def machine() -> dict[str, str]:
    """The machine in words that do not name it."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{fields.get('model name', platform.machine())}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


@dataclass(slots=True)
class Report:
    """Everything of one run."""

    machine: dict[str, str]
    servers: dict[str, str]
    settings: dict[str, object]
    tables: list[Table] = field(default_factory=list)

    def head(self) -> str:
        """Machine, versions, settings."""
        lines = [f"{name + ':':<12}{value}" for name, value in {**self.machine, **self.servers}.items()]
        lines.append("settings:   " + ", ".join(f"{name} {value}" for name, value in self.settings.items()))
        return "\n".join(lines)

    def text(self) -> str:
        """The whole report."""
        return "\n\n".join([self.head(), *(table.text() for table in self.tables)]) + "\n"

    def json(self) -> str:
        """The whole report, for programs."""
        return json.dumps(asdict(self), indent=1) + "\n"
