"""What holds ask besides next links: gone links and the requests of filters (grip 10.6, 13.6)."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from pushpin_tw.errors import (
    FilterError,
    OriginBlocked,
    OriginDisconnected,
    OriginError,
    OriginInsecure,
    OriginTimeout,
    OriginUnanswered,
    OriginUnreachable,
)
from pushpin_tw.grip.terms import LinkRequest
from pushpin_tw.proxy import calls
from pushpin_tw.proxy.calls import BURST, PATIENCE, PERIOD
from pushpin_tw.proxy.refetch import GONE_PATIENCE
from tests.pure.proxy.linkscene import LinkScene, fields
from tests.pure.proxy.scene import Broken


class Asking:
    """A filter's requests, and what came of them."""

    def __init__(self, routes: str = "* a:1") -> None:
        self.scene = LinkScene(routes)
        self.outcomes: list[Any] = []

    def ask(self, request: LinkRequest | None = None, body: bytes = b"", limit: int = 10) -> Any:
        headers = [(b"Sub-Meta", b"{}"), (b"Pub-Meta", b'{"a":"b"}')]
        before = len(self.outcomes), list(self.scene.script.lines)
        made = self.scene.links.ask(
            request or self.scene.request("http://h/f"), headers, body, limit, self.done
        )
        assert before == (len(self.outcomes), self.scene.script.lines), "nothing happens within ask()"
        return made

    def done(self, outcome: Any) -> None:
        self.outcomes.append(outcome.detail if isinstance(outcome, FilterError) else outcome)

    @property
    def started(self) -> int:
        """Requests that were sent."""
        return len(self.scene["a:1"].calls)


# ---- gone links --------------------------------------------------------------------------------------------


def test_a_gone_link_is_told_once() -> None:
    scene = LinkScene()
    for _ in range(2):
        scene.links.gone(scene.request("http://h/g?x=1", ("c", "1")))
    assert scene.said() == []
    scene.turn()
    assert scene.said() == ["a: POST /g?x=1 (0)", "a: end"] * 2, "never shared"
    assert fields(scene.a.request) == ["Host: h", "Grip-Sig"]
    for call in scene["a:1"].calls:
        call.responds(500).sends(b"ignored").ends()
    assert scene.linked() == ["POST http://h/g?x=1 code=500 7"] * 2
    assert scene.wheel.waiting == 0
    assert scene.links.started == 0


def test_a_gone_link_is_not_retried() -> None:
    scene = LinkScene("* a:1 b:2")
    scene.links.gone(scene.request("http://h/g"))
    scene.turn()
    scene.a.fails(OriginUnreachable("refused"))
    scene["b:2"].call.fails(OriginDisconnected("closed"))
    assert scene.said() == ["a: POST /g (0)", "a: end", "b: POST /g (0)", "b: end"]
    assert scene.stats.notes == [("debug", "gone link http://h/g: network request failed: disconnected")]
    assert scene.linked() == []


def test_a_gone_link_does_not_last_for_ever() -> None:
    scene = LinkScene()
    scene.links.gone(scene.request("http://h/g"))
    scene.turn()
    scene.said()
    scene.clock.advance(GONE_PATIENCE + 0.2, step=0.1)
    assert scene.said() == ["a: cancel"]
    scene.links.gone(scene.request("http://h/g"))
    scene.turn()
    scene.a.responds().sends(bytes(100_001))
    assert scene.said()[-1] == "a: cancel"


def test_a_gone_link_of_another_host() -> None:
    scene = LinkScene()
    scene.links.gone(scene.request("https://other/g"))
    scene.turn()
    assert scene.said() == ["other: POST /g (0)", "other: end"]
    assert fields(scene["other:443"].call.request) == ["Host: other", "Grip-Sig"]


# ---- the requests of filters -------------------------------------------------------------------------------


def test_a_filter_asks() -> None:
    """Grip 17.7/164 and 165, as far as the request goes."""
    asking = Asking("*,orig_headers a:1")
    asking.ask(asking.scene.request("http://h/f", ("c", "1")), b"content")
    asking.scene.turn()
    assert asking.scene.said() == ["a: POST /f (7)", "a: content", "a: end"]
    assert fields(asking.scene.a.request) == [
        "Host: h",
        "Sub-Meta: {}",
        'Pub-Meta: {"a":"b"}',
        "Grip-Sig",
        "Grip-Last: c; last-id=1",
    ]
    asking.scene.a.responds(200, "Action: drop").sends(b"new ", b"text").ends()
    assert asking.outcomes == [(200, [(b"Action", b"drop")], b"new text")]
    assert asking.scene.wheel.waiting == 0


def test_a_filter_asks_another_host() -> None:
    asking = Asking()
    asking.ask(asking.scene.request("http://other/f", ("c", "1")))
    asking.scene.turn()
    assert asking.scene.said() == ["other: POST /f (0)", "other: end"]
    assert fields(asking.scene["other:80"].call.request) == [
        "Host: other",
        "Sub-Meta: {}",
        'Pub-Meta: {"a":"b"}',
        "Grip-Sig",
        "Grip-Last: c; last-id=1",
    ]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OriginUnreachable("refused"), "connection refused"),
        (OriginUnanswered("nobody"), "connection timed out"),
        (OriginInsecure("TLS failed"), "tls error"),
        (OriginDisconnected("closed"), "disconnected"),
        (OriginTimeout("silent"), "request timed out"),
        (OriginBlocked("private"), "general error"),
        (OriginError("garbage"), "general error"),
    ],
)
def test_what_filters_are_told_of_failures(error: OriginError, kind: str) -> None:
    asking = Asking()
    asking.ask()
    asking.scene.turn()
    asking.scene.a.fails(error)
    assert asking.outcomes == [f"filter error: network request failed: {kind}"]
    assert asking.scene.wheel.waiting == 0


def test_a_url_that_cannot_be_asked() -> None:
    asking = Asking()
    asking.ask(asking.scene.request("http://h/" + "x" * 5000))
    asking.scene.turn()
    assert asking.outcomes == ["filter error: network request failed: general error"]


def test_an_answer_in_time() -> None:
    asking = Asking()
    asking.ask()
    asking.scene.turn()
    asking.scene.clock.advance(PATIENCE - 0.2)
    assert asking.outcomes == []
    asking.scene.clock.advance(0.4)
    assert asking.outcomes == ["filter error: network request failed: request timed out"]
    assert asking.scene.said()[-1] == "a: cancel"


def test_an_answer_of_bounded_size() -> None:
    asking = Asking()
    asking.ask(limit=10)
    asking.scene.turn()
    asking.scene.a.responds().sends(b"12345", b"67890")
    assert asking.outcomes == []
    asking.scene.a.sends(b"1")
    assert asking.outcomes == ["filter error: network response exceeded 10 bytes"]
    assert asking.scene.said()[-1] == "a: cancel"


def test_an_answer_that_nobody_wanted_encoded() -> None:
    asking = Asking()
    for body in (gzip.compress(b"text"), b"no gzip"):
        asking.ask(limit=100)
        asking.scene.turn()
        asking.scene.a.responds(200, "Content-Encoding: gzip").sends(body).ends()
    (_, _, text), error = asking.outcomes
    assert text == b"text"
    assert error == "filter error: response body does not match its Content-Encoding"


def test_a_request_that_is_not_wanted_any_more() -> None:
    asking = Asking()
    first = asking.ask()
    first.cancel()
    asking.scene.turn()
    assert asking.scene.said() == []
    second = asking.ask()
    asking.scene.turn()
    second.cancel()
    second.cancel()
    assert asking.scene.said()[-1] == "a: cancel"
    asking.scene.clock.advance(2 * PATIENCE, step=0.1)
    assert asking.outcomes == []


def test_a_filter_with_a_bug() -> None:
    asking = Asking()
    asking.done = broken  # type: ignore[method-assign]
    asking.ask()
    asking.scene.turn()
    asking.scene.a.responds().ends()
    assert asking.scene.crashed() == ["a: POST /f (0)", "a: end"]


def broken(outcome: Any) -> None:
    raise Broken


def test_the_end_of_the_process() -> None:
    asking = Asking()
    scene = asking.scene
    scene.follows("x")
    for _ in range(BURST + 1):
        asking.ask()
    scene.links.gone(scene.request("http://h/g"))
    scene.turn()
    assert len(scene.said()) == 2 * (BURST + 2)
    scene.links.stop()
    assert scene.said() == ["a: cancel"] * (BURST + 2)
    scene.links.gone(scene.request("http://h/g"))
    scene.follows("y")
    asking.ask(scene.request("http://h/late"))
    scene.clock.advance(1.0)
    assert scene.said() == [] and asking.outcomes == []
    assert scene.wheel.waiting == 0


# ---- their pace --------------------------------------------------------------------------------------------


def test_a_few_at_a_time() -> None:
    asking = Asking()
    for _ in range(3 * BURST + 1):
        asking.ask()
    asking.ask(asking.scene.request("http://h/other"))
    asking.scene.turn()
    assert asking.started == BURST + 1
    for number in (2, 3):
        asking.scene.clock.advance(PERIOD, step=0.001)
        assert asking.started == number * BURST + 1
    asking.ask()
    asking.scene.clock.advance(PERIOD, step=0.001)
    assert asking.started == 3 * BURST + 3
    asking.scene.clock.advance(1.0)
    assert asking.scene.clock.calls == asking.scene.clock.calls[:1], "only the wheel's"


def test_the_next_ones_do_not_wait_for_nothing() -> None:
    asking = Asking()
    asking.ask()
    asking.scene.turn()
    asking.ask()
    asking.scene.turn()
    assert asking.started == 2
    for _ in range(2):
        asking.ask()
    asking.scene.turn()
    assert asking.started == 3


def test_those_that_wait_may_go() -> None:
    asking = Asking()
    waiting = [asking.ask() for _ in range(2 * BURST)]
    for request in waiting[BURST:-1]:
        request.cancel()
        request.cancel()
    asking.scene.clock.advance(1.0)
    assert asking.started == BURST + 1


def test_not_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_WAITING", 2)
    asking = Asking()
    for _ in range(BURST + 3):
        asking.ask()
    asking.scene.turn()
    assert asking.outcomes == ["filter error: too many waiting requests"]
    asking.scene.clock.advance(1.0)
    assert asking.started == BURST + 2
