"""Looking for garbage seldom: what is new is still looked at, what waits is left alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from pushpin_tw import garbage
from pushpin_tw.options import Options
from pushpin_tw.tap import makeService
from tests.rules.documents import ROOT

SAMPLE = ROOT / "etc" / "pushpin.conf"


@pytest.fixture(autouse=True)
def usual() -> Iterator[tuple[int, int, int]]:
    """Python's own settings, which the other tests keep."""
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.myself = self


def full_collections(clients: int, rounds: int) -> int:
    """How often everything is looked at while that many holds are replaced by others."""
    count = 0

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal count
        count += phase == "start" and info["generation"] == 2

    gc.callbacks.append(note)
    try:
        holds: list[list[object]] = []
        for _ in range(rounds):
            holds = [[[], [], {}] for _ in range(clients)]
        assert len(holds) == clients
    finally:
        gc.callbacks.remove(note)
    return count


def test_those_who_wait_are_left_alone() -> None:
    usually = full_collections(20_000, 5)
    garbage.look_seldom()
    assert full_collections(20_000, 5) == 0 < usually


def test_new_garbage_is_found() -> None:
    garbage.look_seldom()
    knot = weakref.ref(Knot())
    assert knot() is not None
    kept = [[] for _ in range(garbage.YOUNG + 1)]  # type: list[list[object]]
    assert knot() is None
    assert kept


def test_twistd_gets_it(usual: tuple[int, int, int]) -> None:
    options = Options()
    options.parseOptions(["--config", str(SAMPLE), "--merge-output"])
    makeService(options)
    assert gc.get_threshold() == (garbage.YOUNG, garbage.MIDDLE, garbage.FULL) != usual
