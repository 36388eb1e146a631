"""The reference of metrics names all that is exported, and nothing else; all that rooms count is known."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from pushpin_tw.stats.measures import BOUNDS, MAX_ROUTES, Measures
from pushpin_tw.stats.metrics import ERRORS, GAUGES, ORIGINAL, REASONS, original, ours
from pushpin_tw.stats.prometheus import ALIVE, ALL, READY
from pushpin_tw.testing.services import RecordedStats
from tests.rules.documents import DOCS, ROOT, chapter, rows

PAGE = "reference/metrics.rst"
PACKAGE = ROOT / "pushpin_tw"


def table(title: str) -> dict[str, tuple[str, ...]]:
    """The rows of a chapter by the name in their first cell."""
    return {row.names[0]: row.cells for row in rows(chapter(PAGE, title)) if row.names}


def exported() -> dict[str, tuple[str, set[str]]]:
    """Kind and labels of each metric of ours, as the parser finds them."""
    measures = Measures(RecordedStats())
    for name, (_, label, _) in GAUGES.items():
        measures.gauge(name, lambda label=label: {"stream": 1} if label else {"": 1})  # type: ignore[misc]
    for name in ("delivery", "origin"):
        measures.took(name, 1.0, route="r" if name == "origin" else "")
    measures.count(ERRORS, route="r")
    found = {}
    for family in text_string_to_metric_families(ours("", {0: measures.take()})):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = family.type, labels
    return found


def test_the_originals_metrics() -> None:
    documented = [(name, cells[1]) for name, cells in table("Pushpin's metrics").items()]
    assert documented == [(name, kind) for name, kind, _ in ORIGINAL]
    assert len(original("", dict.fromkeys((name for name, _, _ in ORIGINAL), 0)).splitlines()) == 15


def test_our_metrics() -> None:
    documented = {
        name: (cells[1], set(re.findall(r"``(\w+)``", cells[2])) | {"worker"})
        for name, cells in table("Metrics of this program").items()
    }
    assert documented == exported()


def test_figures_of_the_text() -> None:
    text = " ".join((DOCS / PAGE).read_text().split())
    *some, last = (f"{bound:g}" for bound in BOUNDS)
    assert f"{', '.join(some)} and {last} seconds" in text
    assert f"After {MAX_ROUTES} different ids" in text
    assert all(f"``{path}``" in text for path in (ALL, ALIVE, READY))


def constants(tree: ast.Module) -> dict[str, str]:
    """Text that has a name in a module."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def counted() -> Iterator[str]:
    """What ``IStatsSink.count`` is told anywhere."""
    trees = [ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")]
    named = {name: text for tree in trees for name, text in constants(tree).items() if "-" in text}
    for tree in trees:
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            words = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if isinstance(node.func, ast.Attribute) and node.func.attr == "count":
                words = words[:1]
                words += [named.get(each.id, "") for each in node.args[:1] if isinstance(each, ast.Name)]
            elif not (isinstance(node.func, ast.Name) and node.func.id == "Complaints"):
                continue
            yield from (
                word for word in words if isinstance(word, str) and re.fullmatch(r"[a-z]+-[a-z-]+", word)
            )


def test_everything_that_is_counted_has_a_meaning() -> None:
    found = set(counted())
    assert {"items-invalid", "items-dropped-slow-client", ERRORS} <= found
    assert found == {*REASONS, ERRORS}
    assert list(table("Reasons of drops")) == ["reason", *REASONS]
