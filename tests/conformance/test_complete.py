"""No numbered case is forgotten: each is tested or named in ``pending``, never both."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests.conformance.pending import PENDING

COVERED = set(range(1, 208))
"""All cases of the GRIP specification."""


def names(module: ModuleType) -> Iterator[str]:
    """What pytest calls the tests of a module, so far as it shows a number."""
    for name, value in vars(module).items():
        if name.startswith("test_"):
            yield name
            for mark in getattr(value, "pytestmark", ()):
                if mark.name == "parametrize":
                    yield from (str(getattr(parameter, "id", "")) for parameter in mark.args[1])


def tested() -> set[int]:
    """The case numbers in names of tests and in the ids of their parameters."""
    found: set[int] = set()
    for path in Path(__file__).parent.glob("test_grip_*.py"):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        for name in names(module):
            number = re.match(r"(?:test_)?grip[_-](\d{3})", name)
            if number:
                found.add(int(number[1]))
    return found


def test_every_case_is_tested_or_pending() -> None:
    assert COVERED - tested() == set(PENDING) & COVERED


def test_every_pending_case_has_a_reason() -> None:
    assert all(PENDING.values())
