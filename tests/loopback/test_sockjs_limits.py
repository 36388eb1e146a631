"""SockJS where somebody is slow, large, early, late or gone (websocket 6)."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import pytest_twisted

from pushpin_tw.edge.sockjs import MAX_BODY
from pushpin_tw.edge.sockjsanswer import STREAM_LIMIT
from pushpin_tw.edge.sockjspieces import MAX_MESSAGE
from pushpin_tw.edge.sockjssession import GAP, HEARTBEAT, HIGH_WATER, MAX_WAITING
from pushpin_tw.routing.route import Condition, Route
from pushpin_tw.routing.uri import request_uri
from pushpin_tw.sockets import CLOSE, TEXT
from pushpin_tw.wire.sockjs import quote
from pushpin_tw.wire.websocket import encode_frame
from tests.loopback.sockjsstage import BASE, Stage, Started, sockjs
from tests.loopback.test_sockjs_framed import masked, opened, text
from tests.support.edge import Visit
from tests.support.rawclient import RawClient
from tests.support.waiting import turn, until

XHR = "/sj/s/i/xhr"
SEND = "/sj/s/i/xhr_send"
case = pytest_twisted.ensureDeferred


def test_the_limits() -> None:
    assert (MAX_BODY, MAX_MESSAGE, MAX_WAITING, HIGH_WATER) == (100_000, 200_000, 200_000, 100_000)
    assert (STREAM_LIMIT, HEARTBEAT, GAP) == (131_072, 25, 5)


# ---- several processes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "target"),
    [(None, XHR), (Route(Condition(), ()), XHR), (BASE, "/other/s/i/xhr"), (BASE, "/sj/i/xhr")],
)
@case
async def test_a_request_for_a_route_that_has_changed(route: Route | None, target: str) -> None:
    """Another process has passed it on."""

    def receive(visit: Visit) -> None:
        uri = request_uri(visit.request, False)
        stage.sockjs.receive(visit.request, uri, route, b"", visit.responder, stage._start)

    async with sockjs() as stage:
        stage.house.answer = receive
        answer = await stage.get(target)
        assert (answer.status, answer.body) == (404, b"Not Found\n")
        assert not stage.started


@case
async def test_a_request_that_makes_no_sense_there() -> None:
    def receive(visit: Visit) -> None:
        uri = request_uri(visit.request, False)
        stage.sockjs.receive(visit.request, uri, BASE, b"", visit.responder, stage._start)

    async with sockjs() as stage:
        stage.house.answer = receive
        answer = await stage.get("/sj/s/i/htmlfile")
        assert (answer.status, answer.body) == (400, b"Bad Request\n")


# ---- requests ----------------------------------------------------------------------------------------------


@case
async def test_an_upload_that_is_given_up() -> None:
    async with sockjs() as stage:
        client = await stage.house.client()
        client.send(b"POST /sj/s/i/xhr HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        await stage.house.visit()
        client.drop()
        await stage.house.settled()
        assert not stage.started


@case
async def test_a_browser_that_asks_beforehand_for_no_headers() -> None:
    async with sockjs() as stage:
        answer = await stage.get(XHR, "Access-Control-Request-Method: POST", method="OPTIONS")
        assert answer.status == 204
        assert answer.get("Access-Control-Allow-Methods") == "OPTIONS, GET, POST"
        assert answer.get("Access-Control-Allow-Headers") is None


@pytest.mark.parametrize("depth", [1, 500])
@case
async def test_deep_arrays(depth: int) -> None:
    async with sockjs() as stage:
        assert await stage.text(XHR) == b"o\n"
        answer = await stage.ask(SEND, b"[" * depth * 100 + b"]" * depth * 100)
        assert (answer.status, answer.body) == (400, b"Payload expected\n")
        assert not stage.started[0].events


@case
async def test_streams_over_http_1_0_end_with_the_connection() -> None:
    async with sockjs() as stage:
        client = await stage.house.client()
        client.request("/sj/s/i/xhr_streaming", method="POST", version="HTTP/1.0", body=b"")
        head = await client.read_head()
        assert head.get("Transfer-Encoding") is None
        body = client.body(head)
        await body.expect(b"h" * 2048 + b"\no\n")
        stage.socket.close(4000, b"bye")
        assert await body.rest() == b'c[4000,"bye"]\n'


# ---- sessions ----------------------------------------------------------------------------------------------


@case
async def test_nothing_happens_after_the_end() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        poll = await stage.hold()
        session: Any = stage.started[0].responder
        assert (session.started, session.minor, session.persistent) == (False, 1, True)
        session.respond(403, b"No", [], b"no")
        assert (session.started, session.sent) == (True, 2)
        assert (await poll.read_response()).status == 403
        session.respond(500, b"Twice", [], b"")
        session.own(stage.started[0])
        assert session.switch(b"", [], b"") is None
        session.send(TEXT, b"x")
        session.deliver(b"", [b'"x"'])
        session.close(4000, b"")
        session.pause()
        session.resume()
        session.abort()
        assert not stage.started[0].events
        assert not stage.sockjs.sessions


@case
async def test_an_opening_that_is_given_up_by_the_proxy() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        poll = await stage.hold()
        stage.started[0].responder.abort()
        await poll.closed()
        assert not stage.sockjs.sessions


@case
async def test_a_close_answers_the_sender_that_waits() -> None:
    async with sockjs() as stage:
        assert await stage.text(XHR) == b"o\n"
        started = stage.started[0]
        started.holding_back = True
        sender = await stage.send(SEND, b'["a","b"]')
        await started.told(b"a")
        stage.socket.close(4001, b"bye")
        answer = await sender.read_response()
        assert (answer.status, answer.body) == (200, b'c[4001,"bye"]\n')
        await started.told(b"a", ("closed", 4001, b"bye"), "socket lost")


@case
async def test_a_close_before_anybody_owns_the_socket() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        poll = await stage.hold()
        socket = stage.started[0].responder.switch(b"", [], b"")
        assert (await poll.read_response()).body == b"o\n"
        socket.close(4001, b"bye")
        assert await stage.text(XHR) == b'c[4001,"bye"]\n'
        assert not stage.started[0].events


@case
async def test_a_client_that_never_reads_its_polls_costs_little() -> None:
    """What is published to it is dropped with it, however much that is."""
    async with sockjs() as stage:
        assert await stage.text(XHR) == b"o\n"
        for _ in range(100):
            stage.socket.deliver(b"", [quote(b"x" * 10_000)] * 2)
        await stage.started[0].told("socket lost")
        assert not stage.sockjs.sessions
        assert stage.house.stats.counts["sockjs-sessions-overflowed", ""] == 1


@pytest.mark.parametrize("size", [199_998, 199_999])
@case
async def test_so_much_may_wait(size: int) -> None:
    """The quotes of a message are part of it, and what fits exactly does."""
    async with sockjs() as stage:
        assert await stage.text(XHR) == b"o\n"
        stage.socket.deliver(b"", [quote(b"x" * size)])
        assert stage.sockjs.sessions == (1 if size == 199_998 else 0)
        if not stage.sockjs.sessions:
            await stage.started[0].told("socket lost")


@case
async def test_stopping_ends_sessions_that_wait_to_be_opened() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        poll = await stage.hold()
        stage.sockjs.stop()
        await poll.closed()
        await stage.started[0].told("lost")


# ---- within WebSockets -------------------------------------------------------------------------------------


async def stuffed(stage: Stage) -> tuple[RawClient, Started, int]:
    """A client that does not read, and how many messages of 1000 bytes were sent to it."""
    client, started = await opened(stage)
    await client.expect(text(b"o"))
    client.pause()
    count = 0
    while not started.socket.congested:
        started.socket.send(TEXT, b"x" * 1000)
        count += 1
        assert count < 20_000
    return client, started, count


@case
async def test_no_heartbeat_waits_for_a_client_that_does_not_read() -> None:
    async with sockjs() as stage:
        client, started, count = await stuffed(stage)
        stage.advance(60)
        client.resume()
        await started.told("socket drained")
        stage.advance(20)
        frame = text(b'a["%b"]' % (b"x" * 1000))
        await client.expect(frame * count + text(b"h"))


@case
async def test_a_responder_that_is_aborted() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        client = await stage.house.client()
        client.send(b"".join([b"GET /sj/s/i/websocket HTTP/1.1\r\nHost: a\r\n", HANDSHAKE, b"\r\n"]))
        await stage.house.visit()
        responder = stage.started[0].responder
        assert not responder.congested
        responder.abort()
        await client.closed()
        assert responder.switch(b"", [], b"") is None


HANDSHAKE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@case
async def test_an_owner_that_ends_it_within_an_array() -> None:
    async with sockjs() as stage:
        client, started = await opened(stage)
        await client.expect(text(b"o"))
        received = started.socket_received

        def end(kind: int, data: bytes, first: bool, end: int) -> None:
            received(kind, data, first, end)
            started.socket.abort()

        started.socket_received = end  # type: ignore[method-assign]
        client.send(masked(TEXT, b'["a","b","c"]'))
        await client.closed()
        await started.told(b"a")


@case
async def test_pausing_reaches_the_client() -> None:
    async with sockjs() as stage:
        client, started = await opened(stage)
        await client.expect(text(b"o"))
        started.socket.pause()
        client.send(masked(TEXT, b'["a"]'))
        for _ in range(10):
            await turn()
        assert not started.events
        started.socket.resume()
        await started.told(b"a")


@case
async def test_nobody_is_told_of_a_socket_without_an_owner() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        clients = []
        for number in range(3):
            client = await stage.house.client()
            client.send(b"".join([b"GET /sj/s/i/websocket HTTP/1.1\r\nHost: a\r\n", HANDSHAKE, b"\r\n"]))
            await stage.house.visit(number + 1)
            socket = stage.started[number].responder.switch(b"", [], b"")
            socket.own(None)
            await client.read_head()
            await client.expect(text(b"o"))
            clients.append((client, socket))
        clients[0][0].send(masked(TEXT, b'["a"]') + masked(CLOSE, b"\x0f\xa1bye"))
        clients[0][1].close(4001, b"")
        await clients[0][0].expect(encode_frame(CLOSE, b"\x0f\xa1"))
        await clients[0][0].closed()
        clients[1][0].pause()
        while not clients[1][1].congested:
            clients[1][1].send(TEXT, b"x" * 10_000)
        clients[1][0].resume()
        await until(lambda: not clients[1][1].congested, "a client that has read")
        clients[1][0].drop()
        await stage.house.settled(1)
        clients[2][1].send(TEXT, b"x" * 200_001)
        await clients[2][0].closed()
        assert stage.house.stats.counts["sockjs-sessions-overflowed", ""] == 1
        assert not any(started.events for started in stage.started)


# ---- everything at once ------------------------------------------------------------------------------------


def strings(body: bytes) -> list[str]:
    """The messages in the body of a poll or of a stream."""
    frames = [line for line in body.decode().split("\n") if line[:1] == "a"]
    return [message for frame in frames for message in json.loads(frame[1:])]


@pytest.mark.parametrize("seed", range(8))
@case
async def test_no_message_is_lost_or_changes_places(seed: int) -> None:
    """However polls, streams, heartbeats and messages of all sizes follow each other."""
    choose = random.Random(seed)
    async with sockjs() as stage:
        assert await stage.text(XHR) == b"o\n"
        socket, said, heard = stage.socket, [], []
        for _ in range(60):
            target = choose.choice([XHR, "/sj/s/i/xhr_streaming"])
            client = await stage.hold(target) if choose.random() < 0.8 else None
            if client is not None and len(heard) == len(said):
                stage.advance(choose.choice([0, 1, 26]))
            count = choose.randrange(4)
            sizes = [choose.choice([0, 10, 5_000, 20_000]) for _ in range(count)]
            # What surely answers a poll, or ends a stream.
            sizes += [44_000] * 3 if target != XHR else [1]
            for size in sizes:
                said.append(f"{len(said)} {'x' * size}")
                if choose.random() < 0.5:
                    socket.send(TEXT, said[-1].encode())
                else:
                    socket.deliver(b"", [quote(said[-1].encode())])
            client = client or await stage.hold(target)
            heard += strings((await client.read_response()).body)
            client.drop()
        if len(heard) < len(said):
            heard += strings(await stage.text(XHR))
        assert heard == said, [text[:10] for text in heard]


SEGMENTS = [
    "sj",
    "",
    "s",
    "i",
    "..",
    "%2f",
    "xhr",
    "xhr_send",
    "xhr_streaming",
    "eventsource",
    "htmlfile",
    "jsonp",
]
SEGMENTS += ["jsonp_send", "websocket", "info", "iframe.html", "iframe", "%00", "x" * 300]
QUERIES = [
    "",
    "?",
    "?c=f",
    "?c=",
    "?callback=a.b&c=<",
    "?c=%3Cscript%3E",
    "?%ff",
    "?c=f&c=(",
    "?callback=$_.-1",
]
BODIES = [
    b"",
    b"[]",
    b'["a"]',
    b'["a",1]',
    b'"a"',
    b"d=%5B%5D",
    b"d=%5",
    b"d=[]&d=",
    b"\xff",
    b"[" * 999,
    b"{}" * 99,
]
ANSWERS = {200, 204, 304, 400, 404, 405}


@pytest.mark.parametrize("seed", range(6))
@case
async def test_whatever_is_asked_has_an_answer(seed: int) -> None:
    """Random paths, methods and bodies: nothing hangs but what has to wait, and nothing is reflected."""
    choose = random.Random(seed)
    async with sockjs() as stage:
        for _ in range(250):
            path = "/sj" + "".join("/" + choose.choice(SEGMENTS) for _ in range(choose.randrange(4)))
            method = choose.choice(["GET", "POST", "POST", "OPTIONS", "PUT", "HEAD", "DELETE"])
            body = choose.choice(BODIES) if method in ("POST", "PUT") else None
            number = len(stage.house.visits) + 1
            client = await stage.send(path + choose.choice(QUERIES), body, method=method)
            await stage.house.visit(number)
            stage.advance(choose.choice([0, 1, 6]))
            for _ in range(5):
                await turn()
            if not client.unread:
                stage.advance(26)
            head = await client.read_head()
            assert head.status in ANSWERS, (method, path, head)
            if head.status not in (200, 204, 304):
                assert b"<" not in head.raw
                assert head.get("Content-Type") == "text/plain"
            client.drop()
        stage.advance(30)
        assert stage.started and not stage.sockjs.sessions
