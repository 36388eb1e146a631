"""No numbered case is forgotten: each has a title, and is tested or named in ``pending``, never both."""

from __future__ import annotations

import pytest

from tests.cases import DOCUMENTS, Document, sections, shown, titles

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)


def listed(what: str, numbers: set[int]) -> str:
    """A complaint about some cases; empty when there are none."""
    return f"{what}: {', '.join(map(str, sorted(numbers)))}" if numbers else ""


@documents
def test_every_case_is_tested_or_pending(document: Document) -> None:
    tested, pending = set(shown(document)), set(document.pending)
    assert listed("neither tested nor in pending.py", set(document.every) - tested - pending) == ""


@documents
def test_no_case_is_tested_and_pending(document: Document) -> None:
    tested, pending = set(shown(document)), set(document.pending)
    assert listed("tested, but still in pending.py", tested & pending) == ""


@documents
def test_no_case_is_made_up(document: Document) -> None:
    found = set(shown(document)) | set(document.pending)
    assert listed("no such case", found - set(document.every)) == ""


@documents
def test_every_pending_case_has_a_reason(document: Document) -> None:
    assert all(document.pending.values())


@documents
def test_every_case_has_a_title(document: Document) -> None:
    assert list(titles(document)) == list(document.every)


def test_every_title_belongs_to_a_document() -> None:
    assert {section.document for section in sections()} == {document.name for document in DOCUMENTS}
