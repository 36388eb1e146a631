"""The sockets of ZHTTP targets, sessions through them, and what is left when they end (zeromq 2.1 to 2.9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from pushpin_tw.errors import OriginError, OriginSilent
from pushpin_tw.origin.targets import ZmqTarget
from pushpin_tw.origin.unavailable import UnavailableOrigin
from pushpin_tw.origin.zhttprequest import MAX_AHEAD, StreamedRequest
from pushpin_tw.origin.zhttproom import MAX_SPECS, ReplyHub, StreamHub, ZhttpRoom, zhttp_room
from pushpin_tw.origin.zhttpservice import ZhttpSockets
from pushpin_tw.routing.route import Target
from pushpin_tw.testing.origins import RecordingSink
from pushpin_tw.testing.services import LentServices
from pushpin_tw.wire.message import OriginRequest
from pushpin_tw.wire.zhttp import policy
from tests.support.clock import StillClock
from tests.support.waiting import until
from tests.support.zworker import Packet, Worker, Workshop, derived, free_ports

case = pytest_twisted.ensureDeferred
GET = OriginRequest(b"GET", b"/", [(b"Host", b"a.example")], host="a.example")
ZHTTP, ZHTTPREQ = ZmqTarget("zhttp"), ZmqTarget("zhttpreq")


class Setting:
    """A room, and workers for the SPEC ``a``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = StillClock()
        self.services = LentServices(reactor, self.clock)
        self.room: ZhttpRoom = zhttp_room(self.services)
        self.shop = Workshop()
        self.spec = f"ipc://{directory}/a"

    @property
    def notes(self) -> list[tuple[str, str]]:
        return self.services.stats.notes

    def target(self, name: str = "a", kind: str = "zhttp", **more: Any) -> Target:
        return Target(kind=kind, address=f"ipc://{self.directory}/{name}", **more)

    def files(self, name: str = "a") -> list[bool]:
        """Which of the socket files are there."""
        spec = f"ipc://{self.directory}/{name}"
        return [Path(each.removeprefix("ipc://")).exists() for each in (*derived(spec), spec)]

    async def worker(self) -> tuple[Any, Worker]:
        """An origin, and the worker that it asks."""
        origin = ZHTTP.origin(self.target(), self.services)
        return origin, await self.shop.worker(self.spec)

    async def session(
        self, request: OriginRequest = GET, sink: RecordingSink | None = None
    ) -> tuple[StreamedRequest, RecordingSink, Worker, Packet]:
        """A request without a body, and who was asked."""
        origin, worker = await self.worker()
        sink = sink or RecordingSink()
        call = origin.fetch(request, sink)
        call.finish()
        return call, sink, worker, await worker.asked()

    async def over(self) -> None:
        """No session is left anywhere, nor a timer."""
        hub = self.room.hub(self.spec)
        if hub is not None:
            await until(lambda: not hub.sessions, "the end of the session")
        self.clock.advance(2)  # the ticker of keep-alives finds nobody, and stops
        assert not self.services.wheel.waiting


@pytest_twisted.async_yield_fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    setting = Setting(tmp_path)
    yield setting
    setting.shop.clear()
    setting.services.stop()


# ---- hubs --------------------------------------------------------------------------------------------------


@case
async def test_the_first_line_decides_and_others_share(setting: Setting) -> None:
    targets = [setting.target(), setting.target(kind="zhttpreq"), setting.target("b", "zhttpreq")]
    ZHTTP.keep(targets, setting.services)
    hub = setting.room.hub(setting.spec)
    assert isinstance(hub, StreamHub)
    assert isinstance(setting.room.hub(f"ipc://{setting.directory}/b"), ReplyHub)
    assert (setting.files("a"), setting.files("b")) == (
        [True, True, True, False],
        [False, False, False, True],
    )
    ZHTTP.keep([Target(kind="test"), *targets], setting.services)
    assert setting.room.hub(setting.spec) is hub


@case
async def test_sockets_that_no_route_names_are_closed(setting: Setting) -> None:
    setting.room.keep([setting.target("a"), setting.target("b")])
    setting.room.keep([setting.target("b")])
    assert setting.room.hub(setting.spec) is None
    assert (any(setting.files("a")), all(setting.files("b")[:3])) == (False, True)
    setting.services.stop()
    assert not any(setting.files("b"))


@case
async def test_sessions_keep_their_sockets_to_the_end(setting: Setting) -> None:
    _, sink, worker, asked = await setting.session()
    setting.room.keep([])
    worker.reply(asked, code=200, body="abc", more=True)
    assert (await worker.told())["type"] == b"credit"
    worker.reply(asked)
    await sink.end()
    assert sink.body == b"abc"
    assert setting.room.hub(setting.spec) is None
    assert not any(setting.files())


@case
async def test_sockets_that_are_named_again_stay(setting: Setting) -> None:
    _, sink, worker, asked = await setting.session()
    hub = setting.room.hub(setting.spec)
    setting.room.keep([])
    setting.room.keep([setting.target()])
    worker.answer(asked, b"abc")
    await sink.end()
    assert setting.room.hub(setting.spec) is hub


@case
async def test_a_new_mode_waits_for_sessions_of_the_old_one(setting: Setting) -> None:
    _, sink, worker, asked = await setting.session()
    setting.room.keep([setting.target(kind="zhttpreq")])
    assert isinstance(setting.room.hub(setting.spec), StreamHub)
    worker.answer(asked, b"abc")
    await sink.end()
    assert isinstance(setting.room.hub(setting.spec), ReplyHub)
    setting.room.keep([setting.target()])
    assert isinstance(setting.room.hub(setting.spec), StreamHub)
    assert setting.files() == [True, True, True, False]


@case
async def test_sockets_are_bound_all_or_none(setting: Setting) -> None:
    """One port of three is taken; when it is free, the next table of routes has them all."""
    port = free_ports()
    other = LentServices(reactor)
    blocker = Target(kind="zhttpreq", address=f"tcp://127.0.0.1:{port + 2}")
    ZHTTPREQ.origin(blocker, other)
    target = Target(kind="zhttp", address=f"tcp://127.0.0.1:{port}")
    origin = ZHTTP.origin(target, setting.services)
    sink = RecordingSink()
    origin.fetch(GET, sink).finish()
    assert type(sink.error) is OriginError
    assert setting.notes == [("error", f"unable to bind to {target.address}: Address already in use")]
    other.stop()

    def bound() -> bool:
        setting.room.keep([target])
        hub = setting.room.hub(target.address)
        return hub is not None and hub.bound

    await until(bound, "all three")


@case
async def test_there_are_not_too_many(setting: Setting) -> None:
    targets = [setting.target(str(at), "zhttpreq") for at in range(MAX_SPECS + 1)]
    setting.room.keep(targets)
    assert setting.room.hub(targets[-2].address) is not None
    assert setting.room.hub(targets[-1].address) is None
    assert setting.notes == [("error", f"target {targets[-1].label}: more than 100 of its kind")]
    sink = RecordingSink()
    ZHTTPREQ.origin(targets[-1], setting.services).fetch(GET, sink)
    assert type(sink.error) is OriginError


@case
async def test_client_certificates_are_sent_along(setting: Setting) -> None:
    pem = setting.directory / "client.pem"
    target = setting.target(client_cert=str(pem))
    assert isinstance(ZHTTP.origin(target, setting.services), UnavailableOrigin)
    pem.write_bytes(b"certificate and key")
    origin = ZHTTP.origin(target, setting.services)
    worker = await setting.shop.worker(setting.spec)
    call = origin.fetch(GET, RecordingSink())
    call.finish()
    asked = await worker.asked()
    assert (asked["client-cert"], asked["client-key"]) == (b"certificate and key", b"certificate and key")


# ---- sessions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["answer", "error", "order", "cancel", "silence", "bad head"])
@case
async def test_nothing_is_left_of_a_session(setting: Setting, end: str) -> None:
    call, sink, worker, asked = await setting.session()
    worker.reply(asked, type="keep-alive", ext={"multi": True})
    assert (await worker.told())["type"] == b"keep-alive"
    assert setting.services.wheel.waiting
    if end == "answer":
        worker.answer(asked)
    elif end == "error":
        worker.reply(asked, type="error")
    elif end == "order":
        worker.reply(asked, seq=7)
    elif end == "bad head":
        worker.reply(asked, code=1)
    elif end == "silence":
        for _ in range(61):
            setting.clock.advance(1)
        assert isinstance(sink.error, OriginSilent)
    else:
        call.cancel()
        call.cancel()
    if end != "cancel":
        await sink.end()
    assert sink.disorder == []
    await setting.over()


@case
async def test_after_a_long_pause_nobody_is_told_twice(setting: Setting) -> None:
    _, _, worker, asked = await setting.session()
    worker.reply(asked, type="keep-alive", ext={"multi": True})
    await worker.told()
    hub = setting.room.hub(setting.spec)
    assert hub is not None
    session = hub.sessions[asked["id"]]
    assert isinstance(session, StreamedRequest)
    before = session.seq
    setting.services.wheel.schedule(session, 10_000)
    setting.clock.advance(3600)
    assert session.seq == before + 1


@case
async def test_a_client_that_is_paused_keeps_the_credits(setting: Setting) -> None:
    call, sink, worker, asked = await setting.session()
    call.pause()
    worker.reply(asked, code=200, body="abc", more=True)
    worker.reply(asked, body="def", more=True)
    await until(lambda: call._inbox_size == 6, "both packets")  # type: ignore[attr-defined]
    assert sink.response is None
    call.resume()
    assert sink.body == b"abcdef"
    told = await worker.told()
    assert (told["type"], told["credits"]) == (b"credit", 6)
    call.pause()
    worker.reply(asked, body="ghi")
    await setting.over()
    assert not sink.ended
    call.resume()
    assert (sink.body, sink.ended, sink.disorder) == (b"abcdefghi", True, [])


@case
async def test_a_client_that_is_paused_hears_of_a_failure_once(setting: Setting) -> None:
    call, sink, worker, asked = await setting.session()
    call.pause()
    worker.reply(asked, code=200, body="abc", more=True)
    worker.reply(asked, type="error")
    await sink.end()
    call.resume()
    assert type(sink.error) is OriginError
    assert (sink.disorder, setting.services.stats.failures) == ([], [])


@case
async def test_credits_come_back_in_pieces(setting: Setting) -> None:
    _, sink, worker, asked = await setting.session()
    worker.reply(asked, code=200, body=b"x" * 250_000, more=True)
    pieces = [(await worker.told())["credits"] for _ in range(3)]
    assert pieces == [100_000, 100_000, 50_000]
    assert setting.notes == [
        ("warn", f"target zhttp/{setting.spec}: 250000 bytes sent, 200000 granted"),
    ]
    assert len(sink.body) == 250_000


@case
async def test_a_worker_that_ignores_a_slow_client_is_cut_off(setting: Setting) -> None:
    call, sink, worker, asked = await setting.session()
    call.pause()
    piece = b"x" * 1_000_000
    worker.reply(asked, code=200, more=True)
    for _ in range(MAX_AHEAD // len(piece) + 1):
        worker.reply(asked, body=piece, more=True)
    await sink.end()
    assert type(sink.error) is OriginError
    assert (await worker.told())["type"] == b"cancel"
    await setting.over()


class Raising(RecordingSink):
    """Has a bug in one of its methods."""

    def __init__(self, method: str) -> None:
        super().__init__()

        def fail(*values: object) -> None:
            raise ZeroDivisionError("a bug in the sink")

        setattr(self, method, fail)


@pytest.mark.parametrize("method", ["responded", "received", "settled", "finished", "failed"])
@case
async def test_a_sink_with_a_bug(setting: Setting, method: str) -> None:
    _, _, worker, asked = await setting.session(sink=Raising(method))
    if method == "failed":
        worker.reply(asked, type="error")
    else:
        worker.reply(asked, code=200, body="abc", more=method != "finished" or None)
    stats = setting.services.stats
    await until(lambda: bool(stats.failures), "the failure")
    await setting.over()
    assert len(stats.failures) == 1
    assert "a bug in the sink" in stats.failures[0]


@case
async def test_a_session_with_a_bug_disturbs_no_other(setting: Setting) -> None:
    _, sink, worker, asked = await setting.session()
    hub = setting.room.hub(setting.spec)
    assert hub is not None

    class Broken:
        id = b"broken"

        def packet(self, packet: object, seq: object) -> None:
            raise ZeroDivisionError("a bug in a session")

        def abandon(self) -> None:
            raise ZeroDivisionError("another bug in a session")

    broken = Broken()
    hub.register(broken)
    worker.reply(
        {**asked, "id": [{"id": "broken", "seq": 0}, {"id": asked["id"], "seq": 0}]}, code=200, seq=None
    )
    await sink.end()
    assert sink.error is None
    hub.cut()
    assert len(setting.services.stats.failures) == 2
    hub.forget(broken)


@case
async def test_an_origin_that_takes_more_again(setting: Setting) -> None:
    origin, worker = await setting.worker()
    sink = RecordingSink()
    call = origin.fetch(OriginRequest(b"POST", b"/", [], None, host="h"), sink)
    call.write(b"x" * 150_000)
    assert not call.congested
    call.write(b"x" * 250_000)
    asked = await worker.asked()
    assert (len(asked["body"]), call.congested) == (200_000, True)
    worker.reply(asked, type="credit", credits=1)
    assert (await worker.told())["body"] == b"x"
    assert (sink.drains, call.congested) == (1, False)
    call.finish()
    call.finish()
    call.write(b"too late")
    worker.reply(asked, type="credit", credits=300_000)
    told = await worker.told()
    assert (len(told["body"]), "more" in told) == (199_999, False)
    worker.answer(asked, b"ok")
    await sink.end()
    assert (sink.body, sink.disorder) == (b"ok", [])


@case
async def test_a_body_that_waits_is_dropped_with_its_client(setting: Setting) -> None:
    """Before the first packet has left."""
    origin, worker = await setting.worker()
    call = origin.fetch(OriginRequest(b"POST", b"/", [], None, host="h"), RecordingSink())
    call.write(b"abc")
    call.cancel()
    await setting.over()
    other = origin.fetch(GET, RecordingSink())
    other.finish()
    assert (await worker.asked())["method"] == b"GET"


@case
async def test_an_unbound_socket_says_nothing(setting: Setting) -> None:
    """Sessions may outlive it when all ends."""
    call, _, worker, asked = await setting.session()
    worker.reply(asked, type="keep-alive")
    hub = setting.room.hub(setting.spec)
    assert isinstance(hub, StreamHub)
    await until(lambda: call.acknowledged, "the keep-alive")
    setting.room.stop()
    call.cancel()
    assert not hub.sessions
    fresh = StreamedRequest(hub, GET, policy(), sink := RecordingSink())
    fresh.finish()
    assert type(sink.error) is OriginError


# ---- another process takes over ----------------------------------------------------------------------------


@case
async def test_sockets_rest_while_somebody_else_has_them(setting: Setting) -> None:
    part = ZhttpSockets(setting.services)
    part.startService()
    origin, _ = await setting.worker()
    assert part.finish().called
    part.stopService()
    assert not any(setting.files())
    setting.room.keep([setting.target("a"), setting.target("b", "zhttpreq")])
    assert not any(setting.files("b"))
    sink = RecordingSink()
    origin.fetch(GET, sink).finish()
    assert type(sink.error) is OriginError
    part.startService()
    part.startService()
    assert setting.files("a") == [True, True, True, False]
    assert setting.files("b") == [False, False, False, True]


@case
async def test_sessions_have_a_moment_to_end(setting: Setting) -> None:
    part = ZhttpSockets(setting.services)
    part.startService()
    _, sink, worker, asked = await setting.session()
    finished = part.finish()
    assert not finished.called
    worker.answer(asked, b"in time")
    await sink.end()
    assert sink.body == b"in time"
    assert finished.called
    setting.clock.advance(10)


@pytest.mark.parametrize("kind", ["zhttp", "zhttpreq"])
@case
async def test_sessions_that_last_are_cut(setting: Setting, kind: str) -> None:
    part = ZhttpSockets(setting.services)
    part.startService()
    origin = {"zhttp": ZHTTP, "zhttpreq": ZHTTPREQ}[kind].origin(setting.target(kind=kind), setting.services)
    worker: Any = await (setting.shop.worker if kind == "zhttp" else setting.shop.rep)(setting.spec)
    call = origin.fetch(GET, sink := RecordingSink())
    call.finish()
    asked = await worker.asked()
    if kind == "zhttp":
        worker.reply(asked, type="keep-alive")
        await until(lambda: bool(call.acknowledged), "the keep-alive")
    finished = part.finish()
    setting.clock.advance(5)
    assert finished.called
    assert not sink.ended
    part.stopService()
    assert type(sink.error) is OriginError
    if kind == "zhttp":
        assert (await worker.told())["type"] == b"cancel"
    await setting.over()
