"""The numbered cases of the specifications: what each is about, and which tests show it.

A test shows a case by its name (``test_grip_069_...``, ``test_c045_...``, ``test_ws_007_...``) or by the id
of a parameter (``grip-069``, ``C045-why``).  Titles stand in ``cases.txt``, cases without a test in
``conformance/pending.py``.  Used by ``conformance/test_complete.py``; as a command it writes the page that
lists them all:

    python -m tests.cases > docs/reference/cases.rst

Never runs a test.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conformance.pending import PENDING, PROXY_PENDING, SOCKET_PENDING, ZEROMQ_PENDING

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reference" / "cases.rst"
COMMAND = "python -m tests.cases > docs/reference/cases.rst"

EVERY = "**/test_*.py"
WHOLE = "conformance/test_*.py"
"""Tests through the whole service: what parts do by themselves does not show these cases."""

_HEADING = re.compile(r"(\w+) [\d.]+: (.+)")
_CASE = re.compile(r"(\d+) (.+)")


@dataclass(frozen=True, eq=False)
class Document:
    """A specification, and how tests name its cases."""

    name: str
    """As in the headings of ``cases.txt``."""
    about: str
    mark: str
    """Regular expression of what stands before the three digits of a case in names and ids."""
    shown_as: str
    """How the table writes a number."""
    tests: str
    """Where tests count: which files below ``tests``."""
    count: int
    pending: Mapping[int, str]
    """Case to the reason why no test shows it."""

    def numbers(self, name: str) -> Iterator[int]:
        """The cases that the name of a test, or an id of its parameters, speaks of."""
        pattern = rf"(?:^|_){self.mark}(\d{{3}})(?![0-9A-Za-z])"
        return (int(number) for number in re.findall(pattern, name))

    @property
    def every(self) -> range:
        """All numbers."""
        return range(1, self.count + 1)


DOCUMENTS = (
    Document("GRIP", "GRIP over HTTP, and the control API", "grip[_-]", "grip {:03}", WHOLE, 207, PENDING),
    Document("Proxy", "The proxy: routes, requests, responses", "[cC]", "C{:03}", EVERY, 232, PROXY_PENDING),
    Document("WebSocket", "WebSockets", "ws[_-]", "ws {:03}", WHOLE, 145, SOCKET_PENDING),
    Document("ZeroMQ", "ZeroMQ", "zmq[_-]", "zmq {:03}", WHOLE, 191, ZEROMQ_PENDING),
)


@dataclass(frozen=True)
class Section:
    """The cases below one heading of ``cases.txt``."""

    document: str
    about: str
    titles: dict[int, str]


@cache
def sections() -> tuple[Section, ...]:
    """What ``cases.txt`` says.

    :raises ValueError: a line, or a number that occurs twice within a document.
    """
    found: list[Section] = []
    seen: set[tuple[str, int]] = set()
    _, _, text = (TESTS / "cases.txt").read_text().partition("\n\n")
    for line in filter(None, text.splitlines()):
        if heading := _HEADING.fullmatch(line):
            found.append(Section(heading[1], heading[2], {}))
        elif (case := _CASE.fullmatch(line)) and (found[-1].document, int(case[1])) not in seen:
            seen.add((found[-1].document, int(case[1])))
            found[-1].titles[int(case[1])] = case[2]
        else:
            raise ValueError(f"cases.txt: {line}")
    return tuple(found)


def titles(document: Document) -> dict[int, str]:
    """What the cases of a document are about."""
    return {
        number: title
        for section in sections()
        if section.document == document.name
        for number, title in section.titles.items()
    }


# ---- which test shows what ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Test:
    """A test, by the names that it goes by."""

    __test__ = False  # pytest is not to take it for one

    module: str
    function: str
    ids: tuple[str, ...]
    """Of its parameters."""

    def __str__(self) -> str:
        return f"{self.module}::{self.function}"


def _ids(mark: Any) -> Iterator[str]:
    """The ids that pytest gives to the rows of a ``parametrize``, so far as somebody has chosen them."""
    given = mark.kwargs.get("ids")
    single = isinstance(mark.args[0], str) and "," not in mark.args[0]
    for position, row in enumerate(mark.args[1]):
        own = getattr(row, "id", None)
        if isinstance(own, str):
            yield own
        elif callable(given):
            values = row if isinstance(row, tuple) and not single else (row,)
            yield "-".join(str(given(value)) for value in values)
        elif given is not None:
            yield str(list(given)[position])


def _functions(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Names and functions of a module's own tests, those in classes included."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if name.startswith("test_"):
            yield name, value
        elif name.startswith("Test") and isinstance(value, type):
            members = (member for member in dir(value) if member.startswith("test_"))
            yield from ((f"{name}::{member}", getattr(value, member)) for member in members)


@cache
def _tests(path: Path) -> tuple[Test, ...]:
    """The tests of a module, in its order."""
    try:
        module = importlib.import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))
    except pytest.skip.Exception as error:
        raise ImportError(f"{path}: tests may be skipped, not whole modules: {error}") from None
    found = []
    for name, function in _functions(module):
        marks = [mark for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"]
        found.append(Test(path.stem, name, tuple(one for mark in marks for one in _ids(mark))))
    return tuple(found)


@cache
def shown(document: Document) -> dict[int, list[Test]]:
    """The tests of each case of a document that has any."""
    found: dict[int, list[Test]] = {}
    for path in sorted(TESTS.glob(document.tests)):
        for test in _tests(path):
            names = (test.function, *test.ids)
            for number in {number for name in names for number in document.numbers(name)}:
                found.setdefault(number, []).append(test)
    return found


# ---- the page ----------------------------------------------------------------------------------------------

_HEAD = """\
.. Made by "{command}"; do not edit.

Conformance cases
=================

What Pushpin does was written down as numbered cases, and each case is shown by tests, by name. A row says
which; all of them pass, or ``make test`` fails. To see one: ``pytest -k grip_016``, ``pytest -k C045``.

.. list-table::
   :header-rows: 1
   :widths: 52 16 16 16

   * - Document
     - Cases
     - Shown
     - Pending
{summary}
"""

_TABLE = """
{about}
{line}

.. list-table::
   :header-rows: 1
   :widths: 12 48 40

   * - Case
     - What it is about
     - Shown by
"""


def page() -> str:
    """The text of ``docs/reference/cases.rst``."""
    summary = "".join(
        f"   * - {document.about}\n     - {document.count}\n     - {document.count - len(document.pending)}\n"
        f"     - {len(document.pending)}\n"
        for document in DOCUMENTS
    )
    parts = [_HEAD.format(command=COMMAND, summary=summary.rstrip())]
    for document in DOCUMENTS:
        parts.append(f"\n{document.about}\n{'-' * len(document.about)}\n")
        parts.extend(_table(document, section) for section in sections() if section.document == document.name)
    return "".join(parts)


def _table(document: Document, section: Section) -> str:
    rows = [_TABLE.format(about=section.about, line="~" * len(section.about))]
    for number, title in section.titles.items():
        tests = [f"``{test}``" for test in shown(document).get(number, ())]
        by = ", ".join(tests) or f"not yet: {document.pending.get(number, 'no test')}"
        rows.append(f"   * - {document.shown_as.format(number)}\n     - {title}\n     - {by}\n")
    return "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page())
