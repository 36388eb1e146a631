"""The house rules of a module: short, introduced, and no longer than a reader's patience."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "pushpin_tw").rglob("*.py"))
LONGEST_MODULE = 400
LONGEST_FUNCTION = 60


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_a_module_has_one_responsibility_worth_of_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_a_module_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree), (
        "what is it responsible for, who calls it, what does it never do?"
    )


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_a_function_fits_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{path}:{node.lineno}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_annotations_are_not_evaluated(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if not any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree)):
        return
    names = [
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for alias in node.names
    ]
    assert "annotations" in names


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_nothing_is_left_for_later(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for mark in ("TODO", "FIXME", "XXX"):
            assert mark not in line, f"{path}:{number}: {mark}"


def test_twisted_plugins_is_no_package() -> None:
    """An ``__init__`` there would hide Twisted's own plugins, and theirs would hide ours."""
    assert not (ROOT / "twisted" / "__init__.py").exists()
    assert not (ROOT / "twisted" / "plugins" / "__init__.py").exists()


def test_the_root_stays_readable() -> None:
    """What is kept under version control, by name: caches and environments do not count."""
    kept = {
        *(".ci", ".git", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"),
        *(
            "benchmarks",
            "docs",
            "etc",
            "examples",
            "newsfragments",
            "pushpin_tw",
            "pyproject.toml",
            "setup.cfg",
        ),
        *("tests", "twisted"),
    }
    ignored = (ROOT / ".gitignore").read_text()
    strange = {
        path.name
        for path in ROOT.iterdir()
        if path.name not in kept and path.name not in ignored and not path.name.endswith(".egg-info")
    }
    assert {name for name in strange if not name.startswith(".coverage")} == set()
