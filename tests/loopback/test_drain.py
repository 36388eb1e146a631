"""Clients that are let go before the process ends, one by one, each with a proper end: the whole service."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import deferLater

from tests.support.origin import ScriptedOrigin, hold, reply, withheld
from tests.support.rawclient import RawClient
from tests.support.running import S
from tests.support.service import ServiceProxy
from tests.support.sockjsclient import WAYS, Framed, Raw, Talk
from tests.support.waiting import until, within
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred
WINDOW = 5.0


@pytest_twisted.async_yield_fixture
async def scene() -> AsyncIterator[SocketStage]:
    """A service that has WebSockets behind it."""
    scene = SocketStage(await ScriptedOrigin.listen(), ServiceProxy.start)
    yield scene
    await scene.clear()


class Parting:
    """A service that drains, and whether it is done."""

    def __init__(self, scene: SocketStage) -> None:
        proxy: Any = scene.proxy
        self.service = proxy.service
        self.advance = proxy.advance
        self.finished = False
        self.done: Deferred[None] = self.service.drain()
        self.done.addCallback(self._finish)

    def _finish(self, _: object) -> None:
        self.finished = True

    async def over(self) -> None:
        """Everybody has gone, and nothing more is waited for than a moment."""
        await until(lambda: self.service.listeners.clients == 0, "the end of all clients")
        await self.advance(0.3)
        await within(self.done, "the end of draining")

    async def wait(self, seconds: float = WINDOW + 0.2) -> None:
        """Let time pass in small steps."""
        for _ in range(round(seconds * 10)):
            await self.advance(0.1)


async def streams(scene: SocketStage, count: int) -> list[Any]:
    """So many clients that listen, with heads read."""
    bodies = []
    for _ in range(count):
        client = await scene.ask()
        bodies.append(client.body(await client.read_head()))
    await scene.proxy.held("c", count)
    return bodies


# ---- holds -------------------------------------------------------------------------------------------------


@case
async def test_streams_end_properly_over_the_window_in_no_order(scene: SocketStage) -> None:
    scene.origin.at("/", hold("stream"))
    await scene.start()
    bodies = await streams(scene, 50)
    drain = Parting(scene)
    order: list[int] = []
    sizes = []
    for _ in range(50):
        await drain.advance(0.1)
        new = [number for number, body in enumerate(bodies) if body.ended and number not in order]
        order += new
        sizes.append(len(new))
    await drain.advance(0.1)
    assert sum(sizes) >= 48
    assert max(sizes) <= 3, sizes
    assert order != sorted(order)
    for body in bodies:
        await body.end()
    await drain.over()


@case
async def test_items_reach_those_who_are_still_there(scene: SocketStage) -> None:
    scene.origin.at("/", hold("stream"))
    await scene.start()
    bodies = await streams(scene, 10)
    drain = Parting(scene)
    await drain.wait(2.5)
    there = [body for body in bodies if not body.ended]
    assert 0 < len(there) < 10
    await scene.proxy.publish("c", {S: {"content": "late"}})
    for body in there:
        await body.expect(b"late")
    await drain.wait(3)
    await drain.over()


@case
async def test_a_slow_client_gets_what_waits_for_it_first(scene: SocketStage) -> None:
    scene.origin.at("/", hold("stream"))
    await scene.start(tw={"write_buffer": 1000})
    client = await scene.client(receive_buffer=4096)
    client.request()
    await client.read_head()
    await scene.proxy.held("c")
    client.pause()
    items = [b"%d" % number * 100_000 for number in range(60)]
    for item in items:
        await scene.proxy.publish("c", {S: {"content": item.decode()}})
    drain = Parting(scene)
    await drain.wait()
    assert not drain.finished
    client.resume()
    assert b"".join(items) in dechunked(await everything(client))
    await drain.over()


async def everything(client: RawClient) -> bytes:
    await client.wait_for(lambda: client.lost or None, "the end")
    return bytes(client.unread)


def dechunked(data: bytes) -> bytes:
    assert data.endswith(b"\r\n0\r\n\r\n")
    pieces = []
    while data:
        size, _, data = data.partition(b"\r\n")
        pieces.append(data[: int(size, 16)])
        data = data[int(size, 16) + 2 :]
    return b"".join(pieces)


@case
async def test_a_long_poll_is_told_that_time_is_up(scene: SocketStage) -> None:
    scene.origin.at("/", hold("response", body=b"nothing yet"))
    await scene.start()
    client = await scene.held()
    drain = Parting(scene)
    await drain.wait()
    answer = await client.read_response()
    assert (answer.status, answer.body) == (200, b"nothing yet")
    assert answer.all("Connection") == ["close"]
    await client.closed()
    await drain.over()


@case
async def test_a_long_poll_that_is_answered_may_ask_once_more(scene: SocketStage) -> None:
    scene.origin.answers(hold("response"), reply(body=b"bye"))
    await scene.start()
    client = await scene.held()
    drain = Parting(scene)
    await scene.proxy.publish("c", {"http-response": {"body": "item"}})
    answer = await client.read_response()
    assert (answer.body, answer.all("Connection")) == (b"item", [])
    client.request()
    answer = await client.read_response()
    assert (answer.body, answer.all("Connection")) == (b"bye", ["close"])
    await client.closed()
    await drain.over()


@case
async def test_links_are_fetched_to_their_ends(scene: SocketStage) -> None:
    scene.origin.at("/", hold("stream", "Grip-Link: </next>; rel=next; timeout=1", body=b"first"))
    scene.origin.on("/next", withheld)
    await scene.start()
    client, _, body = await scene.stream(initial=b"first")
    await scene.proxy.publish("c", {S: {"action": "hint"}})
    asked = await scene.origin.request(1, "/next")
    asked.write(b"HTTP/1.1 200 OK\r\nGrip-Hold: stream\r\nGrip-Channel: c\r\nContent-Length: 6\r\n\r\nsec")
    await body.expect(b"sec")
    drain = Parting(scene)
    await drain.wait()
    assert not body.ended
    asked.write(b"ond")
    await drain.wait(0.3)
    assert await body.rest() == b"ond"
    await client.closed()
    await drain.over()


@case
async def test_a_script_ends_as_one(scene: SocketStage) -> None:
    scene.origin.at("/", hold("response", body=b"{}"))
    await scene.start(condition="*,aco")
    client = await scene.held(channel="c")
    client.drop()
    client = await scene.ask("/?callback=f")
    await scene.proxy.held("c")
    drain = Parting(scene)
    await drain.wait()
    answer = await client.read_response()
    assert answer.body.startswith(b"/**/f({")
    assert answer.all("Connection") == ["close"]
    await drain.over()


# ---- WebSockets --------------------------------------------------------------------------------------------


@case
async def test_websockets_are_closed_with_1001_over_the_window(scene: SocketStage) -> None:
    await scene.start_w()
    peers = [await scene.open() for _ in range(20)]
    drain = Parting(scene)
    closed: Counter[int] = Counter()
    for step in range(52):
        await drain.advance(0.1)
        for client, _ in peers:
            if client.raw.unread:
                await client.expect_close(1001)
                client.close(1001)
                closed[step] += 1
    assert sum(closed.values()) == 20
    assert max(closed.values()) <= 2, closed
    for client, backend in peers:
        await client.gone()
        await backend.expect_close(1000)
    await drain.over()


@case
async def test_a_websocket_client_that_does_not_answer_is_not_waited_for(scene: SocketStage) -> None:
    await scene.start_w()
    client, _ = await scene.open()
    drain = Parting(scene)
    await drain.wait()
    await client.expect_close(1001)
    assert not drain.finished
    await drain.wait(2)
    await within(drain.done, "the limit")
    assert drain.service.listeners.clients == 1


@case
async def test_a_backend_over_http_learns_of_it(scene: SocketStage) -> None:
    await scene.start_h()
    client = await scene.join()
    drain = Parting(scene)
    await drain.wait()
    await client.expect_close(1001)
    client.close(1001)
    asked = await scene.origin.request(2)
    assert asked.body == b"CLOSE\r\n"
    await drain.over()


@pytest.mark.parametrize("way", [pytest.param(way, id=name) for name, way in WAYS.items()])
@case
async def test_sessions_of_sockjs_get_their_last_frame(scene: SocketStage, way: Any) -> None:
    await scene.start_w(condition="*,sockjs=/sj")
    talk: Talk = way(scene)
    await talk.open()
    backend = await scene.backend.socket(1)
    await talk.listen()
    drain = Parting(scene)
    await drain.wait()
    assert await talk.closing() == (1001, "" if isinstance(talk, Framed | Raw) else "Connection closed")
    if isinstance(talk, Framed | Raw):
        talk.peer.close(1001)
    await backend.expect_close(1000)
    await drain.over()


# ---- requests ----------------------------------------------------------------------------------------------


@case
async def test_a_request_under_way_is_answered(scene: SocketStage) -> None:
    await scene.start(withheld)
    client = await scene.ask()
    asked = await scene.origin.request(1)
    drain = Parting(scene)
    await drain.wait(WINDOW + 1)
    asked.write(reply(body=b"late"))
    answer = await client.read_response()
    assert (answer.body, answer.all("Connection")) == (b"late", ["close"])
    await client.closed()
    await drain.over()


@case
async def test_a_response_under_way_goes_on(scene: SocketStage) -> None:
    await scene.start(withheld)
    client = await scene.ask()
    asked = await scene.origin.request(1)
    asked.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfir")
    head = await client.read_head()
    body = client.body(head)
    await body.expect(b"fir")
    drain = Parting(scene)
    await drain.wait(0.5)
    asked.write(b"st.")
    assert await body.rest() == b"st."
    assert head.all("Connection") == []
    await drain.wait(1.2)
    await client.closed()
    await drain.over()


@case
async def test_what_never_ends_is_not_waited_for(scene: SocketStage) -> None:
    await scene.start(withheld)
    await scene.ask()
    await scene.origin.request(1)
    drain = Parting(scene)
    await drain.wait(WINDOW + 1.8)
    assert not drain.finished
    await drain.wait(0.4)
    await within(drain.done, "the limit")


@case
async def test_an_idle_connection_takes_one_more_request(scene: SocketStage) -> None:
    await scene.start()
    clients = [await scene.client() for _ in range(3)]
    for client in clients:
        await scene.usable(client)
    drain = Parting(scene)
    await drain.wait(0.5)
    clients[0].request("/alive")
    answer = await clients[0].read_response()
    assert (answer.body, answer.all("Connection")) == (b"alive", ["close"])
    await clients[0].closed()
    await drain.wait(0.3)
    await scene.silent(clients[1])
    await drain.wait(0.5)
    for client in clients[1:]:
        await client.closed()
    await drain.over()


@case
async def test_a_request_is_read_before_its_connection_is_closed(scene: SocketStage) -> None:
    """It came while the process was busy, and the time of the connection is over in the same turn."""
    await scene.start()
    client = await scene.client()
    await scene.usable(client)
    drain = Parting(scene)
    await drain.wait(0.9)

    def busy() -> None:
        client.transport.getHandle().sendall(b"GET /alive HTTP/1.1\r\nHost: a\r\n\r\n")
        drain.service.lent.clock.advance(0.3)

    reactor.callLater(0, busy)
    answer = await client.read_response()
    assert (answer.body, answer.all("Connection")) == (b"alive", ["close"])
    await drain.over()


@case
async def test_a_client_that_is_held_meanwhile_is_let_go_as_well(scene: SocketStage) -> None:
    scene.origin.answers(withheld)
    await scene.start()
    client = await scene.ask()
    asked = await scene.origin.request(1)
    drain = Parting(scene)
    await drain.wait(WINDOW - 0.5)
    asked.write(hold("response", body=b"none"))
    await scene.proxy.held("c")
    await drain.wait(1)
    answer = await client.read_response()
    assert (answer.body, answer.all("Connection")) == (b"none", ["close"])
    await drain.over()


@case
async def test_nobody_comes_in_but_those_whom_the_kernel_has_let_in(scene: SocketStage) -> None:
    await scene.start()
    proxy: Any = scene.proxy
    address = proxy.address
    kept = await scene.client()
    await scene.usable(kept)
    with socket.create_connection(address) as early:  # nobody has taken it yet
        drain = Parting(scene)
        early.setblocking(False)
        early.sendall(b"GET /alive HTTP/1.1\r\nHost: a\r\n\r\n")
        answered = bytearray()

        def readable() -> bool:
            with suppress(BlockingIOError):
                answered.extend(early.recv(65536))
            return answered.endswith(b"alive")

        await until(readable, "the answer")
        assert b"Connection: close\r\n" in answered
        with pytest.raises(ConnectionRefusedError):
            await RawClient.connect(address)
    await drain.wait(1.2)
    await drain.over()


@case
async def test_without_clients_there_is_nothing_to_wait_for(scene: SocketStage) -> None:
    await scene.start()
    assert Parting(scene).finished


@case
async def test_no_time_to_drain(scene: SocketStage) -> None:
    scene.origin.at("/", hold("stream"))
    await scene.start(tw={"drain_seconds": 0})
    client, _, _ = await scene.stream()
    assert Parting(scene).finished
    await scene.proxy.stop()
    scene._started = False
    await client.closed()
    await deferLater(reactor, 0)
