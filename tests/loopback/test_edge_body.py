"""Request bodies: their framing, their pace, answers before their end, and bodies that break the rules."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.support.edge import PLAIN, EdgeHouse, Visit, edge, keep
from tests.support.rawclient import RawClient
from tests.support.waiting import until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
CLOSING = OK + b"Connection: close\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def post(length: int, *lines: bytes) -> bytes:
    return POST + b"".join(line + b"\r\n" for line in lines) + b"Content-Length: %d\r\n\r\n" % length


def refusal(text: bytes, status: bytes = b"400 Bad Request", version: bytes = b"1.1") -> bytes:
    close = b"Connection: close\r\n" if version == b"1.1" else b""
    head = b"HTTP/%b %b\r\nContent-Type: text/plain\r\n%bContent-Length: %d\r\n\r\n%b\n"
    return head % (version, status, close, len(text) + 1, text)


FAILED = refusal(b"Failed to process request.", b"500 Internal Server Error")


async def upload(house: EdgeHouse, client: RawClient, data: bytes) -> Visit:
    """Send a request whose body the test takes from the visit."""
    house.answer = keep
    client.send(data)
    return await house.visit(len(house.visits) + 1)


# ---- Expect (4.6) ------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_client_that_waits_is_told_to_go_on_when_somebody_wants_the_body() -> None:
    async with edge() as house:
        client = await house.client()
        visit = await upload(house, client, post(5, b"Expect: 100-continue"))
        await deferLater(reactor, 0)
        assert not client.unread
        visit.body.begin(visit)
        await client.expect(CONTINUE)
        client.send(b"hello")
        await visit.told("finished")
        assert visit.received == b"hello"
        visit.reply()
        await client.expect(OK + b"Content-Length: 3\r\n\r\nok\n")
        client.send(GET)
        await house.visit(2)


@pytest.mark.parametrize(
    "data",
    [
        post(5, b"Expect: 100-continue") + b"h",
        post(5),
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        post(5, b"Expect: something-else"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_others_are_not(data: bytes) -> None:
    async with edge() as house:
        client = await house.client()
        visit = await upload(house, client, data)
        visit.body.begin(visit)
        client.send(b"hello"[len(visit.received) :])
        await visit.told("finished")
        assert visit.received == b"hello"
        visit.reply()
        assert (await client.read_response()).status == 200


@pytest_twisted.ensureDeferred
async def test_an_answer_spares_the_client_its_body() -> None:
    async with edge() as house:
        client = await house.client()
        visit = await upload(house, client, post(5, b"Expect: 100-continue"))
        visit.reply(status=413)
        await client.expect(b"HTTP/1.1 413 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n")
        await client.expect(b"Content-Length: 3\r\n\r\nok\n")
        await client.closed()


# ---- answers before the end of the body --------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_body_that_is_here_and_not_wanted_is_stepped_over() -> None:
    async with edge() as house:
        house.answer = Visit.reply
        client = await house.client()
        client.send(post(5) + b"hello" + CHUNKED + b"2\r\nab\r\n0\r\n\r\n" + GET)
        for _ in range(3):
            await client.expect(OK + b"Content-Length: 3\r\n\r\nok\n")
        assert [visit.request.method for visit in house.visits] == [b"POST", b"POST", b"GET"]


@pytest_twisted.ensureDeferred
async def test_abandoning_before_beginning_steps_over_as_well() -> None:
    def refuse(visit: Visit) -> None:
        if visit.body is not None:
            visit.body.abandon()
            visit.body.begin(visit)
        visit.reply()

    async with edge() as house:
        house.answer = refuse
        client = await house.client()
        client.send(post(5) + b"hello" + GET)
        for _ in range(2):
            await client.expect(OK + b"Content-Length: 3\r\n\r\nok\n")
        assert house.visits[0].received == b""


@pytest.mark.parametrize("begun", [False, True])
@pytest_twisted.ensureDeferred
async def test_c219_an_answer_before_the_end_of_the_body_goes_out_in_pieces_and_closes(begun: bool) -> None:
    async with edge() as house:
        client = await house.client()
        visit = await upload(house, client, post(50_000) + b"x" * 10_500)
        if begun:
            visit.body.begin(visit)
            await house.wait_for(lambda: len(visit.received) == 10_500, "the beginning")
        visit.body.abandon()
        visit.responder.start(200, b"OK", PLAIN, None)
        visit.responder.write(b"one")
        visit.responder.flush()
        chunked = b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n"
        await client.expect(CLOSING + chunked + b"3\r\none\r\n")
        client.send(b"y" * 1000)
        visit.responder.write(b"two")
        visit.responder.finish()
        await client.expect(b"3\r\ntwo\r\n0\r\n\r\n")
        await client.closed()
        assert len(visit.received) == (10_500 if begun else 0)
        assert "finished" not in visit.events


@pytest_twisted.ensureDeferred
async def test_an_early_answer_survives_a_client_that_sends_on() -> None:
    """The client sends all of its ten megabytes before it reads; a reset would destroy the answer."""
    async with edge() as house:
        client = await house.client()
        client.pause()
        visit = await upload(house, client, post(10_000_000))
        visit.reply()
        client.send(b"x" * 10_000_000)
        await until(lambda: not client.transport.dataBuffer, "all to be sent")
        client.resume()
        await client.expect(CLOSING + b"Content-Length: 3\r\n\r\nok\n")
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_nothing_behind_an_unread_body_is_taken_for_a_request() -> None:
    async with edge() as house:
        house.answer = Visit.reply
        client = await house.client()
        client.send(post(100) + GET)
        await client.expect(CLOSING + b"Content-Length: 3\r\n\r\nok\n")
        await client.closed()
        assert len(house.visits) == 1


@pytest_twisted.ensureDeferred
async def test_an_answer_from_within_the_body_ends_the_flow() -> None:
    async with edge() as house:
        client = await house.client()
        visit = await upload(house, client, CHUNKED + b"3\r\nabc\r\n")
        taken = []

        def stop(data: bytes) -> None:
            taken.append(data)
            visit.reply()

        visit.body_received = stop  # type: ignore[method-assign]
        visit.body.begin(visit)
        client.send(b"3\r\ndef\r\n0\r\n\r\n")
        await client.expect(CLOSING + b"Content-Length: 3\r\n\r\nok\n")
        await client.closed()
        assert taken == [b"abc"]
        assert visit.events == []


# ---- pace --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stopped", ["before begin", "after begin"])
@pytest_twisted.ensureDeferred
async def test_a_slow_taker_slows_the_client(stopped: str) -> None:
    async with edge() as house:
        client = await house.client()
        size = 20_000_000
        visit = await upload(house, client, post(size))
        if stopped == "after begin":
            visit.body.begin(visit)
            visit.body.pause()
        client.send(b"x" * size)
        connection = next(iter(house.listeners.watch.live))
        await until(lambda: not connection.reading, "the edge to stop reading")
        before = len(visit.received) + len(connection.buffer)
        for _ in range(20):
            await deferLater(reactor, 0)
        assert len(visit.received) + len(connection.buffer) == before <= 8192 + 2 * 65536
        if stopped == "before begin":
            visit.body.begin(visit)
        else:
            visit.body.resume()
        await visit.told("finished")
        assert len(visit.received) == size
        visit.reply()
        await client.expect(OK + b"Content-Length: 3\r\n\r\nok\n")


@pytest_twisted.ensureDeferred
async def test_a_complete_body_ends_a_pause() -> None:
    """Nobody may forget to resume: a client that goes away must be noticed."""
    async with edge() as house:
        client = await house.client()
        visit = await upload(house, client, post(5))
        visit.body_received = lambda data: visit.body.pause()  # type: ignore[method-assign]
        visit.body.begin(visit)
        client.send(b"hello")
        await visit.told("finished")
        client.drop()
        await visit.told("lost")


# ---- broken bodies (8.2) -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"zz\r\n", b"Failed to parse request: invalid chunk size"),
        (b"1;a\nb\r\n", b"Failed to parse request: invalid chunk size"),
        (b"1\r\nxy\r\n", b"Failed to parse request: invalid chunk suffix"),
        (b"100000000\r\n", b"Failed to parse request: chunk too large"),
        (b"0\r\nA : b\r\n\r\n", b"Failed to parse request: invalid header name"),
        (b"0\r\nA: \x01\r\n\r\n", b"Failed to parse request: invalid header value"),
    ],
)
@pytest.mark.parametrize("when", ["with the head", "later"])
@pytest_twisted.ensureDeferred
async def test_c171_broken_chunks(data: bytes, text: bytes, when: str) -> None:
    async with edge() as house:
        client = await house.client()
        if when == "with the head":
            visit = await upload(house, client, CHUNKED + data + GET)
            visit.body.begin(visit)
        else:
            visit = await upload(house, client, CHUNKED + b"2\r\nok\r\n")
            visit.body.begin(visit)
            client.send(data + GET)
        await client.expect(refusal(text))
        await client.closed()
        assert visit.events == ["lost"]
        visit.reply()
        assert len(house.visits) == 1


@pytest.mark.parametrize("limit", [8192, 1024])
@pytest_twisted.ensureDeferred
async def test_c171_a_chunk_extension_that_does_not_fit(limit: int) -> None:
    async with edge(f"client_buffer_size={limit}") as house:
        client = await house.client()
        visit = await upload(house, client, CHUNKED)
        visit.body.begin(visit)
        client.send(b"1;" + b"x" * (limit - 4) + b"\r\ny\r\n")
        await house.wait_for(lambda: visit.received == b"y", "the chunk that fits")
        client.send(b"1;" + b"x" * (limit - 3) + b"\r\ny\r\n")
        await client.expect(FAILED)
        await client.closed()
        assert visit.events == ["lost"]


@pytest_twisted.ensureDeferred
async def test_broken_chunks_within_a_response_close_it() -> None:
    async with edge() as house:
        client = await house.client()
        visit = await upload(house, client, CHUNKED + b"2\r\nok\r\n")
        visit.body.begin(visit)
        visit.responder.start(200, b"OK", [], 100)
        visit.responder.write(b"part")
        client.send(b"zz\r\n")
        await client.expect(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\npart")
        await client.closed()
        assert visit.events == ["lost"]


@pytest.mark.parametrize("data", [post(5) + b"hell", CHUNKED + b"5\r\nhello\r\n"])
@pytest.mark.parametrize("begun", [False, True])
@pytest_twisted.ensureDeferred
async def test_c171_a_body_that_ends_early(data: bytes, begun: bool) -> None:
    async with edge() as house:
        client = await house.client()
        visit = await upload(house, client, data)
        if begun:
            visit.body.begin(visit)
        client.transport.loseWriteConnection()
        await client.expect(FAILED)
        await client.closed()
        assert visit.events == ["lost"]


@pytest_twisted.ensureDeferred
async def test_a_body_that_ends_early_of_an_old_client() -> None:
    async with edge() as house:
        client = await house.client()
        await upload(house, client, b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhell")
        client.transport.loseWriteConnection()
        await client.expect(refusal(b"Failed to process request.", b"500 Internal Server Error", b"1.0"))
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_a_sink_that_fails_costs_one_request() -> None:
    def fail(data: bytes) -> None:
        raise RuntimeError("a bug")

    async with edge(failures=1) as house:
        client = await house.client()
        visit = await upload(house, client, post(5) + b"hello")
        visit.body_received = fail  # type: ignore[method-assign]
        visit.body.begin(visit)
        assert (await client.read_response()).status == 502
        assert visit.events == ["lost"]


# ---- clients that close their side -------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_client_that_half_closes_gets_all_its_answers() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET + post(5) + b"hello")
        client.transport.loseWriteConnection()
        first = await house.visit()
        await until(lambda: next(iter(house.listeners.watch.live)).ended, "the end to be seen")
        first.reply()
        await client.expect(OK + b"Content-Length: 3\r\n\r\nok\n")
        second = await house.visit(2)
        second.body.begin(second)
        assert second.received == b"hello"
        second.reply()
        await client.expect(OK + b"Content-Length: 3\r\n\r\nok\n")
        await client.closed()
        assert first.events == [] and second.events == ["finished"]


@pytest_twisted.ensureDeferred
async def test_a_half_closed_stream_goes_on() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET)
        client.transport.loseWriteConnection()
        visit = await house.visit()
        visit.responder.start(200, b"OK", [], None)
        visit.responder.flush()
        await client.read_head()
        await until(lambda: next(iter(house.listeners.watch.live)).ended, "the end to be seen")
        visit.responder.deliver(b"2\r\nhi\r\n")
        await client.expect(b"2\r\nhi\r\n")
        visit.responder.finish()
        await client.expect(b"0\r\n\r\n")
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_c125_a_client_that_closes_later_has_given_up() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET)
        visit = await house.visit()
        house.clock.advance(0.5)
        client.transport.loseConnection()
        await visit.told("lost")
        await house.settled()
        assert not visit.responder.congested
        visit.reply()


@pytest_twisted.ensureDeferred
async def test_a_client_that_has_heard_enough_of_a_stream_has_given_up() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(GET)
        visit = await house.visit()
        house.clock.advance(0.5)
        visit.responder.start(200, b"OK", [], None)
        visit.responder.write(b"the one thing it wanted")
        visit.responder.flush()
        await client.read_until(b"wanted\r\n")
        client.transport.loseConnection()
        await visit.told("lost")
        await house.settled()


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost", b"\r\n"])
@pytest_twisted.ensureDeferred
async def test_without_a_complete_head_nothing_is_said(data: bytes) -> None:
    async with edge() as house:
        client = await house.client()
        client.send(data)
        client.transport.loseWriteConnection()
        await client.closed()
        await house.settled()


@pytest_twisted.ensureDeferred
async def test_a_reset_is_told_to_the_owner() -> None:
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        client.send(post(5) + b"he")
        visit = await house.visit()
        visit.body.begin(visit)
        client.drop()
        await visit.told("lost")
        assert visit.events == ["lost"]


@pytest_twisted.ensureDeferred
async def test_an_answer_to_a_body_that_is_here_and_broken_closes() -> None:
    async with edge() as house:
        house.answer = Visit.reply
        client = await house.client()
        client.send(CHUNKED + b"zz\r\n" + GET)
        await client.expect(CLOSING + b"Content-Length: 3\r\n\r\nok\n")
        await client.closed()
        assert len(house.visits) == 1


@pytest_twisted.ensureDeferred
async def test_after_the_end_a_body_flows_no_more() -> None:
    async with edge() as house:
        client = await house.client()
        visit = await upload(house, client, post(10) + b"hello")
        visit.reply()
        visit.body.begin(visit)
        visit.body.pause()
        visit.body.resume()
        visit.body.abandon()
        await client.expect(CLOSING + b"Content-Length: 3\r\n\r\nok\n")
        await client.closed()
        assert visit.received == b"" and visit.events == []
