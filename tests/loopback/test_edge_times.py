"""Clients that wait, dribble, fall silent, read slowly (proxy 8.6, 8.5)."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.support.edge import EdgeHouse, Visit, edge, keep
from tests.support.rawclient import RawClient
from tests.support.waiting import until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def advance(house: EdgeHouse, seconds: float, step: float = 1.0) -> None:
    """Move the clock in steps and let the sockets follow."""
    for _ in range(round(seconds / step)):
        house.clock.advance(step)
        await deferLater(reactor, 0)


# ---- 60 seconds to ask -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a", b"\r\n"])
@pytest_twisted.ensureDeferred
async def test_c180_no_request_in_time(sent: bytes) -> None:
    async with edge() as house:
        client = await house.client()
        client.send(sent)
        await house.settled(1)
        await advance(house, 59)
        assert house.live == 1
        await advance(house, 1.2, 0.2)
        await client.closed()
        await house.settled()


@pytest_twisted.ensureDeferred
async def test_c180_idle_after_a_response() -> None:
    async with edge() as house:
        client = await house.client()
        await advance(house, 50)
        client.send(GET)
        await client.read_response()
        await advance(house, 59)
        assert house.live == 1
        await advance(house, 1.2, 0.2)
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_c230_dribbling_does_not_extend_the_time() -> None:
    async with edge() as house:
        client = await house.client()
        for byte in b"GET / HTTP/1.1\r\nHost":
            client.send(bytes([byte]))
            await deferLater(reactor, 0)
            await advance(house, 3, 3)
        await advance(house, 0.2, 0.1)
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_the_time_is_configured() -> None:
    async with edge("[tw]", "head_timeout=5") as house:
        client = await house.client()
        await advance(house, 5.2, 0.2)
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_each_client_has_its_own_time() -> None:
    async with edge() as house:
        first = await house.client()
        await house.settled(1)
        await advance(house, 30)
        second = await house.client()
        await house.settled(2)
        await advance(house, 31)
        await first.closed()
        assert house.live == 1
        await advance(house, 30)
        await second.closed()


# ---- 1800 seconds of silence -------------------------------------------------------------------------------


def start_stream(visit: Visit) -> None:
    visit.responder.start(200, b"OK", [], None)
    visit.responder.flush()


@pytest.mark.parametrize("state", ["waiting", "streaming", "uploading", "held upload"])
@pytest_twisted.ensureDeferred
async def test_a_request_without_an_answer_is_dropped_after_1800_seconds(state: str) -> None:
    async with edge() as house:
        house.answer = start_stream if state == "streaming" else keep
        client = await house.client()
        upload = state in ("uploading", "held upload")
        client.send(b"POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\nhalf" if upload else GET)
        visit = await house.visit()
        if state == "uploading":
            visit.body.begin(visit)
        if state == "streaming":
            await client.read_head()
        await advance(house, 1790, 10)
        assert house.live == 1 and visit.events == []
        await advance(house, 80, 10)
        await visit.told("lost")
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_what_is_delivered_counts_as_a_sign_of_life() -> None:
    async with edge() as house:
        house.answer = start_stream
        client = await house.client()
        client.send(GET)
        visit = await house.visit()
        await client.read_head()
        for _ in range(3):
            await advance(house, 1700, 10)
            visit.responder.deliver(b"2\r\nhi\r\n")
            await client.expect(b"2\r\nhi\r\n")
        await advance(house, 1790, 10)
        assert visit.events == []
        await advance(house, 150, 10)
        await visit.told("lost")


@pytest_twisted.ensureDeferred
async def test_silence_that_the_clock_jumps_over() -> None:
    async with edge("[tw]", "silence_timeout=20") as house:
        house.answer = start_stream
        client = await house.client()
        client.send(GET)
        visit = await house.visit()
        await client.read_head()
        house.clock.advance(21)
        await visit.told("lost")


@pytest_twisted.ensureDeferred
async def test_idle_clients_are_not_asked_about_silence() -> None:
    async with edge("[tw]", "silence_timeout=5", "head_timeout=60") as house:
        client = await house.client()
        await advance(house, 30)
        assert house.live == 1
        client.send(GET)
        await client.read_response()


# ---- back-pressure -----------------------------------------------------------------------------------------


async def stalled(house: EdgeHouse) -> tuple[RawClient, Visit, int]:
    """A client that does not read, written to until it is congested; and the bytes written."""
    house.answer = start_stream
    client = await house.client(receive_buffer=4096)
    client.send(GET)
    visit = await house.visit()
    await client.read_head()
    client.pause()
    written = 0
    while not visit.responder.congested:
        visit.responder.deliver(b"x" * 50_000)
        written += 50_000
        await deferLater(reactor, 0)
        assert written < 50_000_000
    return client, visit, written


@pytest_twisted.ensureDeferred
async def test_a_slow_client_is_congested_until_it_has_read() -> None:
    async with edge() as house:
        client, visit, written = await stalled(house)
        assert visit.events == []
        client.resume()
        await visit.told("drained")
        assert not visit.responder.congested
        await client.read_bytes(written)


@pytest_twisted.ensureDeferred
async def test_the_buffer_in_front_of_a_slow_client_is_configured() -> None:
    async with edge("[tw]", "write_buffer=500000") as house:
        _, _, written = await stalled(house)
        connection = next(iter(house.listeners.watch.live))
        transport = connection.transport
        waiting = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        assert 500_000 < waiting <= 600_000 < written


@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_read_its_answer_is_not_given_another() -> None:
    async with edge() as house:
        client, visit, written = await stalled(house)
        visit.responder.finish()
        for _ in range(20):
            client.send(GET * 1000)
        connection = next(iter(house.listeners.watch.live))
        await until(lambda: not connection.reading, "the edge to stop reading")
        assert len(house.visits) == 1
        assert len(connection.buffer) <= 65536
        await advance(house, 100, 10)
        assert house.live == 1
        house.answer = Visit.reply
        client.resume()
        await client.read_bytes(written)
        await client.expect(b"0\r\n\r\n")
        for _ in range(20_000):
            await client.read_response()


@pytest_twisted.ensureDeferred
async def test_a_client_that_never_reads_its_answer_is_dropped_for_its_silence() -> None:
    async with edge("[tw]", "silence_timeout=100") as house:
        _, visit, _ = await stalled(house)
        visit.responder.finish()
        await advance(house, 90, 10)
        assert house.live == 1
        await advance(house, 40, 2)
        await house.settled()


@pytest_twisted.ensureDeferred
async def test_closing_waits_for_a_slow_client_but_not_for_ever() -> None:
    async with edge("[tw]", "silence_timeout=100") as house:
        client, visit, written = await stalled(house)
        visit.responder.persistent = False
        visit.responder.finish()
        await advance(house, 90, 10)
        assert house.live == 1
        await advance(house, 40, 2)
        await house.settled()
        client.resume()
        await until(lambda: client.lost, "the reset")
        assert len(client.unread) < written


@pytest_twisted.ensureDeferred
async def test_closing_lets_a_slow_client_read_the_rest() -> None:
    async with edge() as house:
        client, visit, written = await stalled(house)
        visit.responder.persistent = False
        visit.responder.finish()
        await advance(house, 10)
        client.resume()
        await client.read_bytes(written)
        await client.expect(b"0\r\n\r\n")
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_an_aborted_response_does_not_wait_for_a_slow_client() -> None:
    async with edge() as house:
        _, visit, _ = await stalled(house)
        visit.responder.abort()
        assert house.live == 1
        await advance(house, 2.2, 0.2)
        await house.settled()


@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_close_its_side_is_cut_off() -> None:
    """After an early error our side closes; the client has two seconds for its own."""
    async with edge() as house:
        with socket.create_connection(house.listeners.addresses[0]) as client:
            client.sendall(b"\x00")
            await until(lambda: len(house.listeners.watch.leaving) == 1, "our side to be closed")
            assert client.recv(1000).startswith(b"HTTP/1.0 400 ")
            assert client.recv(1000) == b""
            await advance(house, 1.8, 0.2)
            assert house.live == 1
            await advance(house, 0.6, 0.2)
            await house.settled()


# ---- stopping ----------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_c062_stopping_drops_everybody_at_once_and_says_nothing() -> None:
    async with edge() as house:
        idle = await house.client()
        house.answer = start_stream
        stream = await house.client()
        stream.send(GET)
        await stream.read_head()
        house.answer = keep
        held = await house.client()
        held.send(GET)
        uploading = await house.client()
        uploading.send(b"POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\nhalf")
        await house.visit(3)
        begun = await house.visit(3)
        begun.body.begin(begun)
        clients = [idle, stream, held, uploading]
        await house.listeners.stopService()
        for client in clients:
            await client.closed()
        assert [visit.events for visit in house.visits] == [["lost"]] * 3
        assert house.listeners.addresses == []


@pytest_twisted.ensureDeferred
async def test_c062_stopping_does_not_wait_for_a_slow_client() -> None:
    async with edge() as house:
        _, visit, _ = await stalled(house)
        await house.listeners.stopService()
        assert visit.events == ["lost"]
