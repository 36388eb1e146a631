"""Reading the documentation as data: tables and code blocks of the .rst pages, blocks of the README.

Used by the tests of this directory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_ROW = re.compile(r"^   \* - (.*(?:\n(?:     ).*)*)", re.M)
_CELL = re.compile(r"^     - ?", re.M)
_NAME = re.compile(r"``([^`]+)``")
_RST_BLOCK = re.compile(r"^\.\. code-block::(?: (\w+))?\n(?:   :caption: (.+)\n)?\n((?:   .*\n|\n)+)", re.M)
_MD_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Row:
    """A row of a list-table."""

    names: tuple[str, ...]
    """What stands in ``literals`` of the first cell."""
    cells: tuple[str, ...]

    @property
    def effect(self) -> bool:
        """Whether the row does not say that what it names is without effect."""
        return not any(mark in self.cells[-1] for mark in ("|later|", "|ignored|"))

    @property
    def deprecated(self) -> bool:
        """Whether the row says so."""
        return self.cells[-1].startswith("Deprecated")


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: str
    language: str
    caption: str
    text: str


def rows(text: str) -> list[Row]:
    """All rows of all list-tables in ``text``."""
    found = []
    for match in _ROW.finditer(text):
        cells = tuple(cell.strip() for cell in _CELL.split(match[1]))
        found.append(Row(tuple(_NAME.findall(cells[0])), cells))
    return found


def chapter(page: str, title: str) -> str:
    """The text of ``page`` (below docs) under the heading ``title``, down to the next one."""
    text = (DOCS / page).read_text()
    match = re.search(rf"^{re.escape(title)}\n-+\n(.*?)(?=^[^\n]+\n-{{3,}}\n|\Z)", text, re.M | re.S)
    assert match is not None, f"{page} has no chapter {title}"
    return match[1]


def blocks() -> list[Block]:
    """The blocks of code of all pages, and those of the README and CONTRIBUTING."""
    found = []
    for path in sorted(DOCS.rglob("*.rst")):
        page = str(path.relative_to(ROOT))
        for match in _RST_BLOCK.finditer(path.read_text() + "\n"):
            text = re.sub(r"^   ", "", match[3], flags=re.M).strip("\n") + "\n"
            found.append(Block(page, match[1] or "", match[2] or "", text))
    for name in ("README.md", "CONTRIBUTING.md"):
        for match in _MD_BLOCK.finditer((ROOT / name).read_text()):
            found.append(Block(name, match[1], "", match[2]))
    return found
