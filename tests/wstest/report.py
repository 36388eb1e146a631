"""From the suite's results to a table: how many cases of each section had which outcome.

Used by ``tests/wstest/__main__.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

TITLES = {
    1: "framing",
    2: "pings and pongs",
    3: "reserved bits",
    4: "opcodes",
    5: "fragmentation",
    6: "UTF-8",
    7: "closing",
    9: "limits and performance",
    10: "auto-fragmentation",
    12: "compression",
    13: "compression with parameters",
}
INFORMATIONAL, UNIMPLEMENTED, NON_STRICT, OK = "INFORMATIONAL", "UNIMPLEMENTED", "NON-STRICT", "OK"
ALLOWED = {OK, NON_STRICT, INFORMATIONAL, UNIMPLEMENTED}
HEADS = ("no", "section", "cases", "passed", "non-strict", "informational", "unimplemented", "failed")


class Counts(NamedTuple):
    """Outcomes of one section."""

    section: int
    passed: int = 0
    non_strict: int = 0
    informational: int = 0
    unimplemented: int = 0
    """Something optional was not agreed to, so there was nothing to judge."""
    failed: int = 0

    @property
    def row(self) -> tuple[str, ...]:
        title = TITLES.get(self.section, "")
        return (str(self.section), title, *map(str, (sum(self[1:]), *self[1:])))


class Results:
    """The cases of one run."""

    def __init__(self, cases: Mapping[str, Mapping[str, Any]]) -> None:
        self.cases = cases

    @classmethod
    def read(cls, reports: Path, agent: str) -> Results:
        """From the directory that the suite has written."""
        return cls(json.loads((reports / "index.json").read_text())[agent])

    def outcome(self, case: str) -> str:
        """The worse of what the suite says of the conversation and of the end."""
        said = [self.cases[case]["behavior"], self.cases[case]["behaviorClose"]]
        for word in said:
            if word not in ALLOWED:
                return str(word)
        return next((word for word in (UNIMPLEMENTED, NON_STRICT, INFORMATIONAL) if word in said), OK)

    def with_outcome(self, *outcomes: str) -> list[str]:
        """Cases in order."""
        found = [case for case in self.cases if self.outcome(case) in outcomes]
        return sorted(found, key=lambda case: [int(part) for part in case.split(".")])

    def failed(self) -> list[str]:
        """Cases in order."""
        words = {self.outcome(case) for case in self.cases} - ALLOWED
        return self.with_outcome(*words)

    def sections(self) -> list[Counts]:
        """In order."""
        counts: dict[int, Counts] = {}
        places = {
            OK: "passed",
            NON_STRICT: "non_strict",
            INFORMATIONAL: "informational",
            UNIMPLEMENTED: "unimplemented",
        }
        for case in self.cases:
            section = int(case.partition(".")[0])
            old = counts.setdefault(section, Counts(section))
            place = places.get(self.outcome(case), "failed")
            counts[section] = old._replace(**{place: getattr(old, place) + 1})
        return [counts[section] for section in sorted(counts)]


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Columns under ``HEADS``, in the form that reStructuredText calls a simple table."""
    lines = [HEADS, *rows]
    widths = [max(2, *(len(line[at]) for line in lines)) for at in range(len(HEADS))]
    rule = "  ".join("=" * width for width in widths)
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    texts = [text.rstrip() for text in texts]
    return "\n".join([rule, texts[0], rule, *texts[1:], rule])


def describe(results: Results) -> str:
    """The table of a run and, below it, the cases that did not simply pass."""
    parts = [table(counts.row for counts in results.sections())]
    for name in (NON_STRICT, UNIMPLEMENTED):
        if cases := results.with_outcome(name):
            parts.append(f"{name.lower()}: {', '.join(cases)}")
    if cases := results.failed():
        parts.append(f"failed: {', '.join(cases)}")
    return "\n".join(parts)
