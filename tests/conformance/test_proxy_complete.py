"""No numbered case of the proxy specification is forgotten: tested or named in ``pending``, never both."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.pending import PROXY_PENDING

COVERED = set(range(1, 233))
"""All cases of the proxy specification."""

_IN_A_NAME = re.compile(r"_c(\d{3})(?=_|$)")
_AN_ID = re.compile(r"C(\d{3})(?:-.*)?")


def numbers(module: ast.Module) -> Iterator[int]:
    """Case numbers in names of tests, and in texts that are nothing but the id of a parameter."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield from map(int, _IN_A_NAME.findall(node.name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = _AN_ID.fullmatch(node.value)
            if found:
                yield int(found[1])


def tested() -> set[int]:
    """The cases that some test shows by its name or id."""
    tests = Path(__file__).parents[1].rglob("test_*.py")
    return {number for path in tests for number in numbers(ast.parse(path.read_bytes()))}


def test_every_case_is_tested_or_pending() -> None:
    assert sorted(COVERED - tested()) == sorted(PROXY_PENDING)


def test_every_pending_case_has_a_reason() -> None:
    assert all(PROXY_PENDING.values())
