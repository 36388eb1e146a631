"""Requests and responses on one connection: order, persistence, limits, and the early errors of proxy 8.2."""

from __future__ import annotations

from typing import ClassVar

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.support.edge import PLAIN, Visit, edge, keep
from tests.support.waiting import until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def early(body: str, status: str = "400 Bad Request") -> bytes:
    """The bytes of an early error."""
    lines = [
        f"HTTP/1.0 {status}",
        "Content-Type: text/plain",
        f"Content-Length: {len(body) + 1}",
        "",
        body,
        "",
    ]
    return "\r\n".join(lines[:-1]).encode() + b"\n"


# ---- what the gateway is given -----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_request_reaches_the_gateway_with_its_peer() -> None:
    async with edge() as house:
        client = await house.client()
        client.send(b"PUT /x?y HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n\r\n")
        await client.expect(OK + b"Content-Length: 9\r\n\r\nPUT /x?y ")
        request = house.visits[0].request
        assert (request.host, request.peer, request.secure) == (b"a.example", "127.0.0.1", False)
        assert request.headers == [(b"Host", b"a.example"), (b"X", b"1")]
        assert house.visits[0].body is None


@pytest_twisted.ensureDeferred
async def test_a_websocket_handshake_is_a_request_like_any_other() -> None:
    async with edge() as house:
        client = await house.client()
        client.send(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await client.expect(OK + b"Content-Length: 8\r\n\r\nGET /ws ")
        assert house.visits[0].request.websocket


# ---- one after the other -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_c174_pipelined_requests_are_answered_in_order() -> None:
    async with edge() as house:
        client = await house.client()
        client.send(
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
            b"POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
        )
        for text in (b"GET /1 ", b"GET /2 ", b"POST /3 body"):
            await client.expect(OK + b"Content-Length: %d\r\n\r\n%b" % (len(text), text))


@pytest_twisted.ensureDeferred
async def test_a_thousand_pipelined_requests_need_no_deep_stack() -> None:
    async with edge() as house:
        client = await house.client()
        requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(1000))
        client.send(requests)
        for number in range(1000):
            text = b"GET /%d " % number
            await client.expect(OK + b"Content-Length: %d\r\n\r\n%b" % (len(text), text))


@pytest_twisted.ensureDeferred
async def test_a_thousand_answered_one_by_one_need_none_either() -> None:
    """Each is answered when the gateway likes, not while it is handed over."""
    async with edge() as house:
        house.answer = lambda visit: reactor.callLater(0, visit.reply)  # type: ignore[attr-defined,assignment]
        client = await house.client()
        client.send(GET * 1000)
        for _ in range(1000):
            await client.expect(OK + b"Content-Length: 3\r\n\r\nok\n")


@pytest_twisted.ensureDeferred
async def test_c181_a_request_waits_behind_one_that_is_held() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        first = await house.visit()
        client.send(GET)
        other = await house.client()
        other.send(GET)
        await house.visit(2)
        assert house.visits[1].request.target == b"/"
        assert not client.unread
        house.visits[1].reply()
        first.reply(b"first\n")
        await client.expect(OK + b"Content-Length: 6\r\n\r\nfirst\n")
        (await house.visit(3)).reply(b"second\n")
        await client.expect(OK + b"Content-Length: 7\r\n\r\nsecond\n")


@pytest_twisted.ensureDeferred
async def test_what_is_sent_behind_a_held_request_stays_within_bounds() -> None:
    """Twenty megabytes behind a held request wait with the client, not here; afterwards all are read."""
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET)
        first = await house.visit()
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 4000 + b"\r\n\r\n"
        client.send(head * 5000)
        connection = next(iter(house.listeners.watch.live))
        while connection.reading:
            await deferLater(reactor, 0)
        for _ in range(20):
            await deferLater(reactor, 0)
        assert len(connection.buffer) <= 8192 + 65536
        house.answer = Visit.reply
        first.reply()
        for _ in range(5001):
            await client.expect(OK + b"Content-Length: 3\r\n\r\nok\n")


@pytest_twisted.ensureDeferred
async def test_c218_a_head_and_a_body_byte_by_byte() -> None:
    async with edge() as house:
        client = await house.client()
        data = (
            b"\r\nPOST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;e=f\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
        )
        for at in range(len(data)):
            client.send(data[at : at + 1])
            await deferLater(reactor, 0)
        await client.expect(OK + b"Content-Length: 13\r\n\r\nPOST /x abcde")
        client.send(GET)
        await client.expect(OK + b"Content-Length: 6\r\n\r\nGET / ")


# ---- persistence (8.3) -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_head", "answer_line", "closes"),
    [
        (b"GET / HTTP/1.1\r\n", b"", False),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n", b"Connection: close\r\n", True),
        (b"GET / HTTP/1.0\r\n", b"", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", b"Connection: keep-alive\r\n", False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_c175_persistence(request_head: bytes, answer_line: bytes, closes: bool) -> None:
    async with edge() as house:
        client = await house.client()
        client.send(request_head + b"\r\n")
        version = request_head[6:14]
        head = version + b" 200 OK\r\nContent-Type: text/plain\r\n" + answer_line
        await client.expect(head + b"Content-Length: 6\r\n\r\nGET / ")
        if closes:
            await client.closed()
        else:
            client.send(GET)
            await client.expect(OK + b"Content-Length: 6\r\n\r\nGET / ")


@pytest_twisted.ensureDeferred
async def test_c176_an_empty_body_is_no_reason_to_close() -> None:
    async with edge() as house:
        client = await house.client()
        for _ in range(2):
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            await client.expect(OK + b"Content-Length: 7\r\n\r\nPOST / ")


@pytest_twisted.ensureDeferred
async def test_c178_empty_lines_before_a_request_and_lf_alone() -> None:
    async with edge() as house:
        client = await house.client()
        client.send(b"\r\n\n\r\nGET /1 HTTP/1.1\nHost: a\n\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.expect(OK + b"Content-Length: 7\r\n\r\nGET /1 ")
        await client.expect(OK + b"Content-Length: 7\r\n\r\nGET /2 ")


# ---- framing of responses (8.4) ----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_response_in_pieces_is_chunked() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET)
        responder = (await house.visit()).responder
        responder.start(200, b"OK", PLAIN, None)
        assert responder.started and responder.chunked
        responder.write(b"one")
        responder.write(b"")
        responder.write(b"two")
        assert not client.unread
        responder.flush()
        chunks = b"3\r\none\r\n3\r\ntwo\r\n"
        await client.expect(
            OK + b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        )
        responder.deliver(b"4\r\nmore\r\n")
        await client.expect(b"4\r\nmore\r\n")
        responder.write(b"end")
        assert responder.sent == 9
        responder.finish()
        await client.expect(b"3\r\nend\r\n0\r\n\r\n")
        client.send(GET)
        await house.visit(2)


@pytest_twisted.ensureDeferred
async def test_c182_http_1_0_gets_an_unframed_body_until_close() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        responder = (await house.visit()).responder
        assert responder.persistent
        responder.start(200, b"OK", PLAIN, None)
        assert not responder.chunked and not responder.persistent
        responder.write(b"a")
        responder.flush()
        await client.expect(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\na")
        responder.deliver(b"b")
        await client.expect(b"b")
        responder.finish()
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_a_body_shorter_than_announced_closes() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET)
        responder = (await house.visit()).responder
        responder.start(200, b"OK", [], 10)
        responder.write(b"short")
        responder.finish()
        await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_a_body_longer_than_announced_is_cut() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET + GET)
        responder = (await house.visit()).responder
        responder.start(200, b"OK", [], 10)
        for part in (b"123456", b"7890abc", b"def"):
            responder.write(part)
        responder.finish()
        await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234567890")
        (await house.visit(2)).reply()
        await client.expect(OK + b"Content-Length: 3\r\n\r\nok\n")


@pytest.mark.parametrize("length", [None, 5])
@pytest_twisted.ensureDeferred
async def test_head_gets_no_body_however_it_is_answered(length: int | None) -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        responder = (await house.visit()).responder
        assert responder.head_only
        responder.start(200, b"OK", [], length)
        responder.write(b"12345")
        responder.deliver(b"x")
        responder.finish()
        framing = b"Content-Length: 5\r\n"
        if length is None:
            framing = b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n"
        await client.expect(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
        second = await house.visit(2)
        second.reply()
        assert second.responder.sent == 0
        await client.expect(OK + b"Content-Length: 3\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
@pytest_twisted.ensureDeferred
async def test_no_body_and_no_framing(status: int) -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET + GET)
        responder = (await house.visit()).responder
        responder.start(status, b"R", [], 5)
        responder.write(b"12345")
        responder.finish()
        (await house.visit(2)).reply(b"x", status)
        await client.expect(b"HTTP/1.1 %d R\r\n\r\n" % status)
        await client.expect(b"HTTP/1.1 %d OK\r\nContent-Type: text/plain\r\n\r\n" % status)


@pytest_twisted.ensureDeferred
async def test_a_ready_made_response_ends_the_request() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET + GET)
        first = await house.visit()
        first.responder.complete(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        second = await house.visit(2)
        first.responder.complete(b"never")
        second.responder.persistent = False
        second.reply()
        await client.expect(OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nok\n")
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_after_the_end_nothing_is_written() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET)
        responder = (await house.visit()).responder
        responder.respond(200, b"OK", PLAIN, b"once")
        responder.start(200, b"OK", [], None)
        responder.write(b"x")
        responder.flush()
        responder.deliver(b"x")
        responder.complete(b"x")
        responder.respond(200, b"OK", [], b"x")
        responder.finish()
        responder.abort()
        assert not responder.congested
        client.send(GET)
        (await house.visit(2)).reply()
        await client.expect(OK + b"Content-Length: 4\r\n\r\nonce")
        await client.expect(OK + b"Content-Length: 3\r\n\r\nok\n")


@pytest.mark.parametrize("how", ["abort", "respond after start", "finish before start"])
@pytest_twisted.ensureDeferred
async def test_an_aborted_response_ends_without_a_proper_end(how: str) -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET)
        visit = await house.visit()
        expected = b""
        if how != "finish before start":
            visit.responder.start(200, b"OK", [], None)
            visit.responder.write(b"so far")
            expected = (
                b"HTTP/1.1 200 OK\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            expected += b"6\r\nso far\r\n"
        if how == "abort":
            visit.responder.abort()
        elif how == "respond after start":
            visit.reply()
        else:
            visit.responder.finish()
        await client.expect(expected)
        await client.closed()
        assert visit.events == []


# ---- early errors (8.2) ------------------------------------------------------------------------------------

INVALID = "Failed to parse request: invalid "


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"G@T / HTTP/1.1\r\n\r\n", INVALID + "token"),
        (b"GET /\r\n\r\n", INVALID + "token"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", INVALID + "token"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", INVALID + "token"),
        (b"\rGET / HTTP/1.1\r\n\r\n", INVALID + "token"),
        (b"GET / HTTP/2.0\r\n\r\n", INVALID + "HTTP version"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", INVALID + "HTTP version"),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", INVALID + "header name"),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", INVALID + "header name"),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", INVALID + "header value"),
        (b"GET / HTTP/1.1\rA: b\r\n\r\n", INVALID + "new line"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 65 + b"\r\n", "Failed to parse request: too many headers"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", INVALID + "content length"),
        (
            b"GET / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n",
            "Failed to parse request: unsupported transfer encoding",
        ),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 9000, "Request header size exceeded limit of 8192 bytes."),
    ],
)
@pytest_twisted.ensureDeferred
async def test_c171_early_errors(data: bytes, body: str) -> None:
    async with edge() as house:
        client = await house.client()
        client.send(data)
        await client.expect(early(body))
        await client.closed()
        assert house.visits == []
        await house.settled()


@pytest_twisted.ensureDeferred
async def test_c171_garbage_is_refused_before_its_end() -> None:
    async with edge() as house:
        client = await house.client()
        client.send(b"\x16\x03\x01")
        await client.expect(early(INVALID + "token"))


def head_of(size: int) -> bytes:
    start, end = b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize(("limit", "case"), [(8192, "C172"), (4096, "C069")])
@pytest.mark.parametrize("split", [False, True])
@pytest_twisted.ensureDeferred
async def test_c172_c069_the_size_of_a_head(limit: int, case: str, split: bool) -> None:
    async with edge(f"client_buffer_size={limit}") as house:
        for size, refused in ((limit, False), (limit + 1, True), (limit + 70_000, True)):
            client = await house.client()
            head = head_of(size)
            if split:
                client.send(head[:limit])
                await deferLater(reactor, 0.01)
                head = head[limit:]
            client.send(head)
            if refused:
                await client.expect(early(f"Request header size exceeded limit of {limit} bytes."))
                await client.closed()
            else:
                await client.expect(OK + b"Content-Length: 6\r\n\r\nGET / ")


@pytest_twisted.ensureDeferred
async def test_empty_lines_do_not_count_for_the_size_of_a_head() -> None:
    async with edge() as house:
        client = await house.client()
        client.send(b"\r\n" * 10_000 + head_of(8192))
        await client.expect(OK + b"Content-Length: 6\r\n\r\nGET / ")


@pytest_twisted.ensureDeferred
async def test_c179_garbage_behind_a_request() -> None:
    async with edge() as house:
        client = await house.client()
        client.send(GET + b"\x00garbage")
        await client.expect(OK + b"Content-Length: 6\r\n\r\nGET / ")
        await client.expect(early(INVALID + "token"))
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_nothing_behind_a_refused_request_is_read() -> None:
    async with edge() as house:
        client = await house.client()
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            + GET
        )
        await client.expect(early(INVALID + "content length"))
        await client.closed()
        assert house.visits == []


@pytest_twisted.ensureDeferred
async def test_c224_lengths_that_differ() -> None:
    async with edge() as house:
        client = await house.client()
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345" + GET
        )
        await client.expect(early(INVALID + "content length"))
        await client.closed()
        assert house.visits == []


@pytest_twisted.ensureDeferred
async def test_a_refusal_survives_a_client_that_goes_on_sending() -> None:
    """Closing with unread input would reset the connection and could destroy the answer."""
    async with edge() as house:
        client = await house.client()
        client.send(b"GET / HTTP/3\r\n" + b"x" * 3_000_000)
        await client.expect(early(INVALID + "HTTP version"))
        await client.closed()


# ---- bugs behind the edge ----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_gateway_that_fails_costs_one_request() -> None:
    def fail(visit: Visit) -> None:
        raise RuntimeError("a bug")

    async with edge(failures=1) as house:
        other = await house.client()
        house.answer = keep
        other.send(GET)
        kept = await house.visit()
        house.answer = fail
        client = await house.client()
        client.send(GET)
        body = b"Error while proxying to origin.\n"
        head = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
        await client.expect(head % len(body) + body)
        assert "a bug" in house.stats.failures[0]
        assert house.visits[1].events == ["lost"]
        kept.reply()
        await other.expect(OK + b"Content-Length: 3\r\n\r\nok\n")


@pytest_twisted.ensureDeferred
async def test_a_gateway_that_fails_within_a_response_costs_the_connection() -> None:
    def fail(visit: Visit) -> None:
        visit.responder.start(200, b"OK", [], 10)
        raise RuntimeError("a bug")

    async with edge(failures=1) as house:
        house.answer = fail
        client = await house.client()
        client.send(GET)
        await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_an_owner_that_fails_is_logged() -> None:
    class Owner:
        def lost(self) -> None:
            raise RuntimeError("a bug")

    async with edge(failures=1) as house:
        house.answer = lambda visit: visit.responder.own(Owner())
        client = await house.client()
        client.send(GET)
        await house.visit()
        client.drop()
        await house.settled()
        assert "a bug" in house.stats.failures[0]


@pytest_twisted.ensureDeferred
async def test_an_owner_that_fails_when_drained_costs_its_request() -> None:
    class Owner:
        told: ClassVar[list[str]] = []

        def drained(self) -> None:
            raise RuntimeError("a bug")

        def lost(self) -> None:
            self.told.append("lost")

    async with edge(failures=1) as house:
        house.answer = keep
        client = await house.client(receive_buffer=4096)
        client.send(GET)
        responder = (await house.visit()).responder
        responder.own(Owner())
        responder.start(200, b"OK", [], None)
        client.pause()
        while not responder.congested:
            responder.write(b"x" * 50_000)
            responder.flush()
            await deferLater(reactor, 0)
        client.resume()
        await until(lambda: client.lost, "the end")
        assert Owner.told == ["lost"]
        responder.own(Owner())
