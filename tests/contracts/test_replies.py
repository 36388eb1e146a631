"""Requests to workers that answer with one packet: the suite of origins, and what is theirs alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from uuid import RFC_4122, UUID

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import Clock, LoopingCall

from pushpin_tw.errors import OriginBlocked, OriginError, OriginSilent, OriginUnsuitable
from pushpin_tw.origin.zhttproom import new_id, zhttp_room
from pushpin_tw.plugins import builtin
from pushpin_tw.routing.route import Target
from pushpin_tw.testing.origins import OriginContract, RecordingSink
from pushpin_tw.testing.services import LentServices
from pushpin_tw.wire.message import OriginRequest, Response
from tests.support.waiting import turn
from tests.support.zworker import Packet, Replier, Workshop, pack, unpack

case = pytest_twisted.ensureDeferred


class TestReplies(OriginContract):
    def make_origin(self, services: LentServices) -> Any:
        self.directory = TemporaryDirectory()
        target = Target(kind="zhttpreq", address=f"ipc://{self.directory.name}/a")
        origin = builtin.zhttpreq_target.origin(target, services)
        self.shop = Workshop()
        self.serving = LoopingCall(self._serve, self.shop.idle_rep(target.address))
        self.serving.start(0, now=False)
        return origin

    def _serve(self, worker: Replier) -> None:
        while worker.wire.unread:
            asked = unpack(worker.wire.plain.recv())
            worker.answer({**asked, "address": []}, b"an answer")

    async def release(self) -> None:
        self.serving.stop()
        self.shop.clear()
        self.directory.cleanup()


class Place:
    """An origin with a worker by REP, and the time."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.services = LentServices(reactor, self.clock)
        self.target = Target(kind="zhttpreq", address=f"ipc://{directory}/a")
        self.origin = builtin.zhttpreq_target.origin(self.target, self.services)
        self.shop = Workshop()

    def fetch(self, method: bytes = b"GET", length: int | None = 0) -> tuple[Any, RecordingSink]:
        sink = RecordingSink()
        request = OriginRequest(method, b"/", [(b"Host", b"a.example")], length, host="a.example")
        return self.origin.fetch(request, sink), sink

    async def asked(self, worker: Replier, method: bytes = b"GET") -> tuple[Any, RecordingSink, Packet]:
        call, sink = self.fetch(method)
        call.finish()
        return call, sink, await worker.asked()

    @property
    def sessions(self) -> int:
        hub = zhttp_room(self.services).hub(self.target.address)
        assert hub is not None
        return len(hub.sessions)

    def clear(self) -> None:
        self.shop.clear()
        self.services.stop()
        assert self.services.stats.failures == []


@pytest_twisted.async_yield_fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(tmp_path)
    yield place
    place.clear()


@pytest.mark.parametrize("length", [4, None])
@case
async def test_nothing_leaves_before_the_body_is_whole(place: Place, length: int | None) -> None:
    worker = await place.shop.rep(place.target.address)
    call, sink = place.fetch(b"POST", length)
    call.write(b"ab")
    call.write(b"cd")
    assert not call.congested
    _, other, asked = await place.asked(worker)
    assert "body" not in asked
    worker.answer(asked)
    await other.end()
    call.finish()
    call.finish()
    asked = await worker.asked()
    assert asked["body"] == b"abcd"
    assert asked["headers"] == [[b"Host", b"a.example"], [b"Content-Length", b"4"]]
    worker.answer(asked, b"ok")
    await sink.end()
    assert (sink.body, sink.disorder, place.sessions) == (b"ok", [], 0)


@pytest.mark.parametrize(
    ("length", "pieces", "why"),
    [
        (3, [b"ab"], "shorter"),
        (3, [b"ab", b"cd"], "longer"),
        (1_000_001, [], "too large"),
        (None, [b"x" * 1_000_000, b"x"], "too large"),
    ],
)
def test_bodies_that_are_not_sent(place: Place, length: int | None, pieces: list[bytes], why: str) -> None:
    call, sink = place.fetch(b"POST", length)
    for piece in pieces:
        call.write(piece)
    call.finish()
    call.write(b"more")
    assert type(sink.error) is OriginError and why in str(sink.error)
    assert (sink.disorder, place.sessions) == ([], 0)


@pytest.mark.parametrize(
    ("method", "code", "headers", "length"),
    [
        (b"HEAD", 200, [("Content-Length", "7")], 7),
        (b"GET", 304, [("Content-Length", "7")], 7),
        (b"GET", 200, [("Content-Length", "4")], 4),
    ],
)
@case
async def test_bodies_that_do_not_follow(
    place: Place, method: bytes, code: int, headers: list[tuple[str, str]], length: int
) -> None:
    """Of responses that have none (RFC 9110, 6.4.1)."""
    worker = await place.shop.rep(place.target.address)
    _, sink, asked = await place.asked(worker, method)
    worker.answer(asked, b"body", *headers, code=code)
    await sink.end()
    assert isinstance(sink.response, Response) and sink.response.length == length
    assert sink.body == (b"body" if (method, code) == (b"GET", 200) else b"")


@pytest.mark.parametrize("length", ["3", "5", "x", "-4"])
@case
async def test_a_body_of_another_length(place: Place, length: str) -> None:
    worker = await place.shop.rep(place.target.address)
    _, sink, asked = await place.asked(worker)
    worker.answer(asked, b"body", ("Content-Length", length))
    await sink.end()
    assert sink.response is None and "length" in str(sink.error)


@case
async def test_an_answer_to_several_requests_is_none(place: Place) -> None:
    worker = await place.shop.router(place.target.address)
    _, sink, asked = await place.asked(worker)
    ids = [{"id": asked["id"]}, {"id": "nobody"}]
    worker.wire.send(*asked["address"], pack({"id": ids, "code": 200, "reason": "OK"}))
    worker.answer(asked, b"ok")
    await sink.end()
    assert sink.body == b"ok"
    ((level, text),) = place.services.stats.notes
    assert level == "warn" and "an answer to 2 requests" in text
    assert place.services.stats.counts["packets-invalid", ""] == 1


def _mangled(good: bytes, chance: Random) -> bytes:
    """A packet that may be none: bytes are missing, others or more, or a field is something else."""
    if chance.random() < 0.5:
        at = chance.randrange(len(good) + 1)
        return good[:at] + chance.randbytes(chance.randrange(4)) + good[at + chance.randrange(4) :]
    fields: dict[str, Any] = unpack(good)
    values = [None, True, -1, 10**30, 1.5, b"", b"\xff", [], [[b"a"]], {}, fields["id"]]
    names = [*fields, "type", "more", "ext", "seq", "credits", "condition"]
    for name in chance.sample(names, chance.randrange(1, 4)):
        fields[name] = chance.choice(values)
        if chance.random() < 0.3:
            del fields[name]
    return pack(fields)


@case
async def test_whatever_a_worker_says_ends_a_request_or_does_not(place: Place) -> None:
    worker = await place.shop.router(place.target.address)
    chance = Random(1)
    ends: Counter[str] = Counter()
    for _ in range(500):
        _, sink, asked = await place.asked(worker)
        good = {"id": asked["id"], "code": 200, "reason": "OK", "headers": [["A", "b"]], "body": "ok"}
        worker.wire.send(*asked["address"], _mangled(pack(good), chance))
        worker.wire.send(*asked["address"], pack({**good, "body": "good"}))
        await sink.end()
        assert sink.disorder == []
        ends["failed" if sink.error else "good" if sink.body == b"good" else "other"] += 1
    assert place.sessions == 0
    assert len(ends) == 3 and min(ends.values()) >= 10, ends


@case
async def test_a_long_answer_is_noted(place: Place) -> None:
    worker = await place.shop.rep(place.target.address)
    for size in (1_000_000, 1_000_001):
        _, sink, asked = await place.asked(worker)
        worker.answer(asked, bytes(size))
        await sink.end()
        assert len(sink.body) == size
    ((level, text),) = place.services.stats.notes
    assert level == "warn" and "1000001 bytes" in text


@case
async def test_requests_wait_in_their_order(place: Place) -> None:
    """More than fit into the sockets; one that nobody waits for any more is not sent."""
    count = 500
    fetched = [place.fetch(b"POST", 3) for _ in range(count)]
    for number, (call, _) in enumerate(fetched):
        call.write(b"%03d" % number)
        call.finish()
    fetched[3][0].cancel()
    fetched[3][0].cancel()
    assert place.sessions == count - 1
    worker = await place.shop.rep(place.target.address)
    for number in range(count):
        if number != 3:
            asked = await worker.asked()
            assert asked["body"] == b"%03d" % number
            worker.answer(asked, asked["body"])
            await fetched[number][1].end()
            assert fetched[number][1].body == b"%03d" % number
    assert fetched[3][1].response is None and place.sessions == 0


@case
async def test_nobody_waits_for_ever(place: Place) -> None:
    call, sink = place.fetch()
    call.finish()
    place.clock.advance(59.9)
    assert not sink.ended
    place.clock.advance(0.3)
    assert isinstance(sink.error, OriginSilent)
    assert (place.sessions, place.services.wheel.waiting) == (0, 0)
    call.cancel()
    worker = await place.shop.rep(place.target.address)
    _, sink, asked = await place.asked(worker, b"OPTIONS")
    assert asked["method"] == b"OPTIONS"  # and not the one before
    worker.reply(asked, type="error", condition="policy-violation")
    await sink.end()
    assert isinstance(sink.error, OriginBlocked)
    assert place.services.wheel.waiting == 0


@case
async def test_a_sink_with_a_bug_that_is_told_of_a_failure(place: Place) -> None:
    class Bad(RecordingSink):
        def failed(self, error: Exception) -> None:
            super().failed(error)
            raise ZeroDivisionError("a bug")

    sink = Bad()
    place.origin.fetch(OriginRequest(b"GET", b"/", [(b"Host", b"a.example")]), sink).finish()
    place.clock.advance(61)
    (failure,) = place.services.stats.failures
    assert "a bug" in failure and place.sessions == 0
    place.services.stats.failures.clear()


def test_no_sockets(place: Place) -> None:
    errors: list[Exception] = []

    class Sink:
        def failed(self, error: Exception) -> None:
            errors.append(error)

    place.origin.connect(None, Sink()).cancel()
    (error,) = errors
    assert isinstance(error, OriginUnsuitable)
    assert str(error) == "WebSockets cannot be used with zhttpreq target"


def test_names_of_sessions() -> None:
    names = {new_id() for _ in range(1000)}
    assert len(names) == 1000
    for name in names:
        found = UUID(name.decode())
        assert (found.version, found.variant, str(found).encode()) == (4, RFC_4122, name)


@case
async def test_the_end_comes_before_a_request_has_left(place: Place) -> None:
    call, sink = place.fetch()
    call.finish()
    place.services.stop()
    await turn()
    assert sink.response is None
