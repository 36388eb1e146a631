"""What is measured of origins: how soon they answer, and whether they do."""

from __future__ import annotations

from pushpin_tw.errors import OriginError, OriginTimeout, OriginUnreachable
from tests.pure.proxy.scene import Scene

REFUSED = OriginUnreachable("refused")
NAMED = "*,id=api a:1 b:2"


def test_an_answer_has_taken_from_asking_to_its_head() -> None:
    scene = Scene(NAMED)
    scene.asks()
    scene.clock.advance(0.25)
    scene.a.responds(length=1)
    scene.clock.advance(3.0)
    scene.a.sends(b"x").ends()
    assert scene.stats.times == [("origin", 0.25, 1, "api")]
    assert not scene.stats.counts


def test_only_ids_that_were_given_name_a_route() -> None:
    scene = Scene("* a:1")
    scene.asks()
    scene.a.responds(length=0).ends()
    assert scene.stats.times == [("origin", 0.0, 1, "")]


def test_each_target_has_its_own_time_and_its_own_failure() -> None:
    scene = Scene(NAMED)
    scene.asks()
    scene.clock.advance(1.0)
    scene.a.fails(REFUSED)
    scene.clock.advance(0.5)
    scene.b.responds(length=0).ends()
    assert scene.stats.times == [("origin", 0.5, 1, "api")]
    assert scene.stats.counts == {("origin-errors", "api"): 1}


def test_failures_before_and_within_an_answer() -> None:
    scene = Scene("*,id=api a:1")
    for error in (OriginTimeout("late"), OriginError("closed"), REFUSED):
        scene.asks()
        scene.a.fails(error)
    scene.asks()
    scene.a.responds(length=10)
    scene.a.fails(OriginError("closed"))
    assert scene.stats.counts == {("origin-errors", "api"): 4}


def test_instructions_that_cannot_be_followed_are_a_failure() -> None:
    scene = Scene("*,id=api a:1")
    scene.asks()
    scene.a.responds(200, "Grip-Hold: nonsense", "Grip-Channel: c", length=0).ends()
    assert scene.stats.counts == {("origin-errors", "api"): 1}


def test_a_client_who_leaves_is_no_failure_of_the_origin() -> None:
    scene = Scene()
    scene.asks().goes()
    assert not scene.stats.counts
    assert scene.stats.times == []


def test_websockets_count_as_well() -> None:
    scene = Scene("*,id=api a:1")
    wish = scene.wish()
    scene.clock.advance(0.125)
    wish.agrees()
    wish = scene.wish()
    scene.clock.advance(2.0)
    wish.refuses(404)
    assert scene.stats.times == [("origin", 0.125, 1, "api"), ("origin", 2.0, 1, "api")]
    scene.wish().sink.failed(OriginError("closed"))
    assert scene.stats.counts == {("origin-errors", "api"): 1}
