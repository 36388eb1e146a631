"""Kept-alive connections: which are kept, for whom, for how long (proxy 4.7)."""

from __future__ import annotations

import pytest
import pytest_twisted

from pushpin_tw.origin import pool as pool_module
from pushpin_tw.testing.origins import RecordingSink
from tests.loopback.originpeer import fetched, request
from tests.loopback.originstage import OriginStage
from tests.support.waiting import turn

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest_twisted.ensureDeferred
async def test_one_connection_for_one_request_after_the_other(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    for _ in range(5):
        sink = await fetched(origin_stage.origin(), request(b"POST", length=2), b"ab")
        assert sink.body == b"ok"
    assert len(origin_stage.peer.links) == 1


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: foo, Close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
@pytest_twisted.ensureDeferred
async def test_not_kept_when_the_backend_says_so(origin_stage: OriginStage, response: bytes) -> None:
    origin_stage.peer.says(response)
    await fetched(origin_stage.origin(), request())
    assert origin_stage.idle() == 0
    await origin_stage.peer.until(lambda: origin_stage.peer.links[0].lost, "the end of the connection")
    assert origin_stage.peer.links[0].clean


@pytest_twisted.ensureDeferred
async def test_http_1_0_can_ask_for_it(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok")
    await fetched(origin_stage.origin(), request())
    assert origin_stage.idle() == 1


@pytest_twisted.ensureDeferred
async def test_the_last_used_comes_first(origin_stage: OriginStage) -> None:
    origin = origin_stage.origin()
    sinks = [RecordingSink(), RecordingSink()]
    for sink in sinks:
        origin.fetch(request(), sink).finish()
    await origin_stage.peer.until(
        lambda: [b"\r\n\r\n" in link.received for link in origin_stage.peer.links] == [True, True],
        "two requests",
    )
    first, second = origin_stage.peer.links
    first.say(OK)
    await turn()
    await turn()
    second.say(OK)
    for sink in sinks:
        await sink.end()
    assert origin_stage.idle() == 2
    first.received = second.received = b""
    origin_stage.peer.says(OK)
    third = RecordingSink()
    origin.fetch(request(), third).finish()
    await third.end()
    origin.fetch(request(target=b"/again"), again := RecordingSink()).finish()
    await again.end()
    assert len(origin_stage.peer.links) == 2
    assert origin_stage.idle() == 2


@pytest_twisted.ensureDeferred
async def test_idle_for_55_seconds(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    await fetched(origin_stage.origin(), request())
    for _ in range(54):
        origin_stage.clock.advance(1)
    assert origin_stage.idle() == 1
    origin_stage.clock.advance(1.2)
    await origin_stage.peer.until(lambda: origin_stage.peer.links[0].lost, "the end of the connection")
    assert origin_stage.idle() == 0
    assert origin_stage.peer.links[0].clean


@pytest_twisted.ensureDeferred
async def test_use_renews_it(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    for _ in range(4):
        await fetched(origin_stage.origin(), request())
        for _ in range(50):
            origin_stage.clock.advance(1)
    assert len(origin_stage.peer.links) == 1


@pytest_twisted.ensureDeferred
async def test_closed_by_the_backend_while_idle(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    await fetched(origin_stage.origin(), request())
    link = origin_stage.peer.links[0]
    link.close()
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
    sink = await fetched(origin_stage.origin(), request())
    assert sink.body == b"ok" and len(origin_stage.peer.links) == 2


@pytest_twisted.ensureDeferred
async def test_closed_a_moment_ago(origin_stage: OriginStage) -> None:
    """The reactor has not heard of it yet when the next request takes the connection."""
    origin_stage.peer.says(OK)
    await fetched(origin_stage.origin(), request())
    server = origin_stage.peer.links[0].transport.socket
    server.shutdown(1)
    sink = await fetched(origin_stage.origin(), request())
    assert sink.body == b"ok" and len(origin_stage.peer.links) == 2


@pytest_twisted.ensureDeferred
async def test_a_request_that_fails_on_a_reused_connection_is_not_retried(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    await fetched(origin_stage.origin(), request())
    origin_stage.peer.answer = lambda link: link.transport.abortConnection()
    sink = await fetched(origin_stage.origin(), request())
    assert sink.error is not None
    assert len(origin_stage.peer.links) == 1


@pytest_twisted.ensureDeferred
async def test_origins_share_by_address_and_policy(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    for options in ({}, {"ipc_file_mode": 0o600}, {"trust_connect_host": True}):
        await fetched(origin_stage.origin(**options), request(host="other.example"))
    assert len(origin_stage.peer.links) == 1
    await fetched(origin_stage.origin("localhost"), request())
    assert len(origin_stage.peer.links) == 2


@pytest_twisted.ensureDeferred
async def test_cancelled_connections_are_not_kept(origin_stage: OriginStage) -> None:
    sink = RecordingSink()
    call = origin_stage.origin().fetch(request(), sink)
    call.finish()
    link = await origin_stage.peer.link()
    link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok")
    await sink.until(lambda: sink.body == b"ok", "the beginning")
    call.cancel()
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
    assert origin_stage.idle() == 0 and not sink.ended


@pytest_twisted.ensureDeferred
async def test_no_more_than_the_limit(origin_stage: OriginStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_IDLE", 3)
    origin_stage.peer.says(OK)
    sinks = [RecordingSink() for _ in range(5)]
    for sink in sinks:
        origin_stage.origin().fetch(request(), sink).finish()
    for sink in sinks:
        await sink.end()
    assert origin_stage.idle() == 3
    await origin_stage.peer.until(lambda: sum(link.lost for link in origin_stage.peer.links) == 2, "two ends")


@pytest_twisted.ensureDeferred
async def test_stopping_closes_what_is_idle_and_what_would_become_so(origin_stage: OriginStage) -> None:
    origin = origin_stage.origin()
    origin.fetch(request(), running := RecordingSink()).finish()
    link = await origin_stage.peer.link()
    origin_stage.peer.says(OK)
    await fetched(origin, request())
    origin_stage.services.stop()
    await origin_stage.peer.until(lambda: origin_stage.peer.links[1].lost, "the end of the idle connection")
    link.say(OK)
    await running.end()
    assert running.body == b"ok"
    await origin_stage.peer.until(lambda: link.lost, "the end of the other")
