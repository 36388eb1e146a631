"""A backend that is asked a limited number of times at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest_twisted

from pushpin_tw.errors import OriginError
from pushpin_tw.origin.capped import MAX_KEPT, CappedOrigin, Row
from pushpin_tw.testing.origins import RecordingSink
from pushpin_tw.testing.services import RecordedStats
from pushpin_tw.wire.message import OriginRequest, Response
from tests.support.origin import Asked, ScriptedOrigin, reply
from tests.support.service import ServiceProxy
from tests.support.stage import Stage

REQUEST = OriginRequest(b"GET", b"/", [])


class Call:
    congested = False

    def __init__(self, sink: Any) -> None:
        self.sink = sink
        self.said: list[Any] = []

    def write(self, data: bytes) -> None:
        self.said.append(data)

    def finish(self) -> None:
        self.said.append("finish")

    def pause(self) -> None:
        self.said.append("pause")

    def resume(self) -> None:
        self.said.append("resume")

    def cancel(self) -> None:
        self.said.append("cancel")

    def answer(self) -> None:
        self.sink.responded(Response(200, b"OK"))
        self.sink.received(b"x")
        self.sink.settled()
        self.sink.finished()


class Backend:
    """Answers when a test says so, or at once."""

    def __init__(self, instant: bool = False, broken: bool = False) -> None:
        self.calls: list[Call] = []
        self.instant = instant
        self.broken = broken
        self.begun: Callable[[], None] = lambda: None

    def fetch(self, request: OriginRequest, sink: Any) -> Call:
        if self.broken:
            raise RuntimeError("cannot")
        call = Call(sink)
        self.calls.append(call)
        self.begun()
        if self.instant:
            call.answer()
        return call


class Scene:
    def __init__(self, cap: int = 1, **backend: bool) -> None:
        self.stats = RecordedStats()
        self.backend = Backend(**backend)
        self.origin = CappedOrigin(self.backend, Row(cap), self.stats)

    def ask(self) -> tuple[Any, RecordingSink]:
        sink = RecordingSink()
        return self.origin.fetch(REQUEST, sink), sink


def test_the_next_begins_when_one_has_ended() -> None:
    scene = Scene(cap=2)
    sinks = [scene.ask()[1] for _ in range(4)]
    assert len(scene.backend.calls) == 2
    scene.backend.calls[1].answer()
    assert sinks[1].body == b"x" and sinks[1].ended
    assert len(scene.backend.calls) == 3
    scene.backend.calls[0].sink.failed(OriginError("down"))
    assert sinks[0].error and len(scene.backend.calls) == 4


def test_a_body_that_streams_for_long_keeps_its_place() -> None:
    scene = Scene()
    _, first = scene.ask()
    scene.ask()
    origin = scene.backend.calls[0].sink
    origin.responded(Response(200, b"OK"))
    origin.received(b"a")
    origin.settled()
    assert first.body == b"a" and len(scene.backend.calls) == 1
    origin.finished()
    assert first.ended and len(scene.backend.calls) == 2


def test_what_was_said_while_it_waited_is_said_at_its_turn() -> None:
    scene = Scene()
    scene.ask()
    waiting, _ = scene.ask()
    waiting.write(b"a")
    waiting.write(b"b")
    waiting.pause()
    waiting.finish()
    scene.backend.calls[0].answer()
    assert scene.backend.calls[1].said == ["pause", b"ab", "finish"]
    waiting.resume()
    assert scene.backend.calls[1].said[-1] == "resume"


def test_a_long_body_waits_at_its_client() -> None:
    scene = Scene()
    scene.ask()
    waiting, sink = scene.ask()
    waiting.write(b"x" * MAX_KEPT)
    assert waiting.congested
    scene.backend.calls[0].answer()
    assert not waiting.congested
    assert sink.drains == 1
    waiting.write(b"y")
    assert scene.backend.calls[1].said[-1] == b"y"
    scene.backend.calls[1].sink.origin_drained()
    assert sink.drains == 2


def test_who_does_not_want_its_turn_any_more_loses_its_place() -> None:
    scene = Scene()
    scene.ask()
    second, _ = scene.ask()
    _, last = scene.ask()
    second.cancel()
    second.cancel()
    second.write(b"nobody listens")
    scene.backend.calls[0].answer()
    scene.backend.calls[1].answer()
    assert last.ended and len(scene.backend.calls) == 2


def test_who_does_not_want_the_answer_any_more_makes_room() -> None:
    scene = Scene()
    first, sink = scene.ask()
    scene.ask()
    scene.backend.begun = lambda: said.append(list(scene.backend.calls[0].said))
    said: list[Any] = []
    first.cancel()
    assert said == [["cancel"]]  # the next one begins behind it, not beside it
    assert len(scene.backend.calls) == 2
    scene.backend.calls[0].answer()
    assert not sink.response


def test_a_sink_with_a_bug_makes_room() -> None:
    scene = Scene()
    scene.origin.fetch(REQUEST, None)
    scene.ask()
    scene.backend.calls[0].sink.responded(Response(200, b"OK"))
    assert scene.backend.calls[0].said == ["cancel"]
    assert scene.stats.failures and len(scene.backend.calls) == 2


def test_a_long_row_is_served_by_an_origin_that_answers_at_once() -> None:
    scene = Scene()
    sinks = [scene.ask()[1] for _ in range(3000)]
    scene.backend.instant = True
    scene.backend.calls[0].answer()
    assert all(sink.ended and not sink.disorder for sink in sinks)


def test_an_origin_with_a_bug_costs_one_request() -> None:
    scene = Scene(broken=True)
    _, sink = scene.ask()
    assert sink.error and scene.stats.failures
    scene.backend.broken = False
    scene.ask()
    assert len(scene.backend.calls) == 1


@pytest_twisted.ensureDeferred
async def test_a_slow_backend_never_sees_more_than_it_was_promised() -> None:
    at_once: list[int] = []
    open_now: list[Asked] = []

    def slow(asked: Asked) -> bytes:
        open_now.append(asked)
        at_once.append(len(open_now))
        return b""

    origin = await ScriptedOrigin.listen()
    stage = Stage(origin, ServiceProxy.start)
    try:
        await stage.start(slow, tw={"max_open_requests": 2})
        clients = [await stage.ask(f"/{number}") for number in range(10)]
        for number in range(1, 10):
            await origin.request(number)
            if number == 4:
                clients.pop(7).drop()
                await stage.proxy.settle()
            asked = open_now.pop(0)
            asked.write(reply(body=asked.target.encode()))
        for client in clients:
            assert (await client.read_response()).status == 200
        assert max(at_once) == 2
        assert {asked.target for asked in origin.requests} == {f"/{n}" for n in range(10)} - {"/7"}
    finally:
        await stage.clear()


def test_a_row_may_be_shared() -> None:
    row, stats = Row(1), RecordedStats()
    backends = [Backend(), Backend()]
    sinks = [RecordingSink(), RecordingSink()]
    for backend, sink in zip(backends, sinks, strict=True):
        CappedOrigin(backend, row, stats).fetch(REQUEST, sink)
    assert [len(backend.calls) for backend in backends] == [1, 0]
    backends[0].calls[0].answer()
    assert sinks[0].ended and len(backends[1].calls) == 1


@pytest_twisted.ensureDeferred
async def test_all_targets_together_are_asked_no_more_than_that() -> None:
    waiting: list[Asked] = []

    def slow(asked: Asked) -> bytes:
        waiting.append(asked)
        return b""

    origin = await ScriptedOrigin.listen()
    stage = Stage(origin, ServiceProxy.start)
    try:
        other = await stage.another_origin(slow)
        routes = [f"*,path_beg=/other {other.address}", f"* {origin.address}"]
        await stage.start(slow, routes=routes, proxy={"max_open_requests": 1}, tw={"max_open_requests": 1})
        clients = [await stage.ask(target) for target in ("/", "/other")]
        await stage.proxy.settle()
        assert [asked.target for asked in waiting] == ["/"]
        waiting[0].write(reply(body=b"first"))
        await other.request(1)
        waiting[1].write(reply(body=b"second"))
        bodies = [(await client.read_response()).body for client in clients]
        assert bodies == [b"first", b"second"]
    finally:
        await stage.clear()
