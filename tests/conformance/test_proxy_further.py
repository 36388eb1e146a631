"""Silence, crowds, and what hostile clients, backends and publishers get.

Proxy 10.9, through the whole service.
"""

from __future__ import annotations

import json

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from tests.support.origin import hold, instruct, reply
from tests.support.rawclient import RawClient
from tests.support.running import R, S
from tests.support.stage import ALIVE, Stage
from tests.support.waiting import until, within

pytestmark = pytest.mark.differs("1.36 reads clients and asks backends with other programs than 1.41")
case = pytest_twisted.ensureDeferred
OK = reply("Content-Type: text/plain", body=b"ok\n")
POST = b"POST / HTTP/1.1\r\nHost: a.example\r\n"


# ---- silence -----------------------------------------------------------------------------------------------

BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"
GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
STREAM = hold("stream", channel="ch", body=b"x\n")
STREAMED = (
    b"HTTP/1.1 200 OK\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nx\n\r\n"
)
HALF = POST + b"Content-Length: 50000\r\n\r\n"
SILENT = [
    ("C208-no-answer", GET, b"", b"", "error"),
    ("C208-half-an-answer", GET, BEGUN, BEGUN, "error"),
    ("C208-half-a-request", HALF + b"abc", OK, b"", "error"),
    ("C208-half-an-upload", HALF + b"x" * 20000, b"", b"", "error"),
    ("C208-stream", GET, STREAM, STREAMED, "accept"),
]


@pytest.mark.parametrize(
    ("sent", "answer", "seen", "outcome"), [row[1:] for row in SILENT], ids=[row[0] for row in SILENT]
)
@case
async def test_half_an_hour_of_silence(
    stage: Stage, sent: bytes, answer: bytes, seen: bytes, outcome: str
) -> None:
    stage.origin.early = sent.startswith(HALF)
    await stage.start(answer)
    client = await stage.client()
    client.send(sent)
    await client.expect(seen)
    if not sent.endswith(b"abc"):
        await stage.origin.request(1)
    for _ in range(59):
        await stage.proxy.advance(30)
    await stage.silent(client)
    for _ in range(4):
        await stage.proxy.advance(30)
    await client.closed()
    said = [line.rpartition(" ")[2] for line in stage.proxy.lines() if "http://" in line]
    assert said == [outcome]


@case
async def test_c208_a_sign_of_life_in_time(stage: Stage) -> None:
    """An answer that goes on, a stream with keep-alives, and an upload in drops live longer."""
    stage.origin.at("/stream", hold("stream", "Grip-Keep-Alive: K; timeout=600", channel="ch"))
    await stage.start(b"HTTP/1.1 200 OK\r\n\r\n1")
    client = await stage.ask()
    body = client.body(await client.read_head())
    await body.expect(b"1")
    held = await stage.ask("/stream")
    stream = held.body(await held.read_head())
    asked = await stage.origin.request(1)
    upload = await stage.client()
    upload.send(POST + b"Content-Length: 3\r\n\r\n")
    for _ in range(3):
        for _ in range(50):
            await stage.proxy.advance(30)
        asked.write(b"2")
        await body.expect(b"2")
        upload.send(b"3")
    assert (await stage.origin.request(2)).body == b"333"
    assert not client.lost
    assert not upload.lost
    assert not held.lost
    assert set(stream.take()) == set(b"K")


# ---- crowds and uploads ------------------------------------------------------------------------------------


@case
async def test_c221_three_hundred_at_once(stage: Stage) -> None:
    await stage.start(OK)
    clients = [await stage.client() for _ in range(300)]
    for client in clients:
        client.send(GET)
    for client in clients:
        await client.expect(OK)
    assert len(stage.origin.requests) == 300


@case
async def test_c221_three_hundred_that_connect_at_once(stage: Stage) -> None:
    await stage.start(OK)
    waiting = [Deferred.fromCoroutine(RawClient.connect(stage.proxy.address)) for _ in range(300)]
    clients = await within(gatherResults(waiting), "three hundred connections")
    stage._clients += clients
    for client in clients:
        client.send(GET)
    for client in clients:
        await client.expect(OK)


@case
async def test_c219_an_answer_before_the_end_of_the_request(stage: Stage) -> None:
    stage.origin.early = True
    await stage.start(b"HTTP/1.1 200 OK\r\n\r\none")
    client = await stage.client()
    client.send(POST + b"Content-Length: 50000\r\n\r\n" + b"x" * 10500)
    await client.expect(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: Transfer-Encoding\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
    )
    asked = await stage.origin.request(1)
    asked.write(b"three")
    await client.expect(b"5\r\nthree\r\n")
    asked.close()
    await client.expect(b"0\r\n\r\n")
    await client.closed()


@case
async def test_c222_a_long_head(stage: Stage) -> None:
    await stage.start(OK)
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: %b\r\n\r\n"
    client = await stage.client()
    client.send(head % (b"x" * (8100 - len(head % b""))))
    await client.expect(OK)
    assert stage.origin.requests[0].all("X-A") == ["x" * (8100 - len(head % b""))]


# ---- requests in two minds ---------------------------------------------------------------------------------

REFUSED = [
    ("C223", POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"),
    ("C224", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ("C224-other-order", POST + b"Content-Length: 6\r\nContent-Length: 5\r\n\r\nhello"),
    # Less ambiguous than the others, and refused all the same: no honest client sends both.
    ("C209", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 10\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    ("C225-path", b"GET / HTTP/1.1\r\nHost: a.example/evil\r\n\r\n"),
    ("C225-user", b"GET / HTTP/1.1\r\nHost: u@b\r\n\r\n"),
    ("C225-empty", b"GET /a HTTP/1.1\r\nHost:\r\n\r\n"),
    ("C225-query", b"GET / HTTP/1.1\r\nHost: a?x\r\n\r\n"),
    ("C225-fragment", b"GET / HTTP/1.1\r\nHost: a#x\r\n\r\n"),
    ("C225-space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("C225-comma", b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"),
    ("C225-backslash", b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n"),
    ("C225-port", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    ("C225-half-a-bracket", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    ("C225-two", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("C226-word", b"GET evil HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("C226-connect", b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n"),
    ("C226-gopher", b"GET gopher://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("C226-absolute-user", b"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("C226-absolute-empty", b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n"),
]


@pytest.mark.parametrize("raw", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
@case
async def test_requests_that_are_refused(stage: Stage, raw: bytes) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(raw + GET)
    answer = await client.read_response()
    assert answer.status == 400
    await client.closed()
    assert stage.origin.connections == set()


@pytest.mark.parametrize(
    ("target", "status"),
    [("http://A.example:80/x?y", 200), ("*", 502)],
    ids=["C226-absolute", "C226-asterisk"],
)
@case
async def test_other_forms_of_a_target(stage: Stage, target: str, status: int) -> None:
    await stage.start(OK)
    client = await stage.ask(target, host="other.example", method="OPTIONS")
    assert (await client.read_response()).status == status
    if status == 200:
        request = await stage.origin.request(1)
        assert (request.target, request.all("Host")) == ("/x?y", ["a.example"])
    else:
        assert stage.origin.connections == set()


# ---- what publishers and instructions may not say ----------------------------------------------------------

INJECTED = [
    ("C228-value", {"headers": [["X-A", "a\r\nX-Injected: 1"]]}),
    ("C228-value-lf", {"headers": [["X-A", "a\nX-Injected: 1"]]}),
    ("C228-value-cr", {"headers": [["X-A", "a\rX-Injected: 1"]]}),
    ("C228-value-nul", {"headers": [["X-A", "a\0X-Injected: 1"]]}),
    ("C228-object", {"headers": {"X-A": "a\r\nX-Injected: 1"}}),
    ("C228-reason", {"reason": "OK\r\nX-Injected: 1"}),
    ("C228-name", {"headers": [["X-A: a\r\nX-Injected", "1"]]}),
    ("C228-name-colon", {"headers": {"X-Injected: x": "1"}}),
    ("C228-name-space", {"headers": {"X-Injected ": "1"}}),
    ("C228-framing", {"headers": {"Content-Length": "0", "Transfer-Encoding": "chunked", "Connection": "x"}}),
]


@pytest.mark.parametrize("fields", [row[1] for row in INJECTED], ids=[row[0] for row in INJECTED])
@case
async def test_injection_by_publishing(stage: Stage, fields: dict[str, object]) -> None:
    await stage.start(hold("response", channel="ch"))
    client = await stage.ask()
    await stage.proxy.held("ch")
    await stage.proxy.post([{"channel": "ch", "formats": {R: {"body": "one\n", **fields}}}])
    await stage.proxy.publish("ch", {R: {"body": "two\n"}})
    await well_formed(stage, client)


@pytest.mark.parametrize(
    "fields", [row[1] for row in INJECTED], ids=[f"{row[0]}-instruct" for row in INJECTED]
)
@case
async def test_injection_by_instructions(stage: Stage, fields: dict[str, object]) -> None:
    await stage.start(instruct(json.dumps({"response": {"body": "one\n", **fields}}).encode()))
    await well_formed(stage, await stage.ask())


async def well_formed(stage: Stage, client: RawClient) -> None:
    """One response comes, nobody but the proxy has written lines into it, and nothing follows."""
    answer = await client.read_response()
    assert b"X-Injected" not in answer.raw.replace(b"X-A: aX-Injected", b"")
    assert all(character not in answer.raw.replace(b"\r\n", b"") for character in b"\r\n\0")
    assert answer.body in (b"one\n", b"two\n", b"Error while proxying to origin.\n") or answer.status == 502
    assert answer.all("Content-Length") == [str(len(answer.body))]
    assert answer.all("Transfer-Encoding") == []
    await stage.usable(client)


@pytest.mark.parametrize("header", ["Grip-Status", "Grip-Channel", "Grip-Expose-Headers", "Grip-Keep-Alive"])
@case
async def test_c228_injection_by_headers_of_an_instruction(stage: Stage, header: str) -> None:
    """A line end cannot come within a header; escapes and other controls stay what they are."""
    await stage.start(reply(f"{header}: 200 a%0d%0aX-Injected: 1", body=b"one\n"))
    answer = await (await stage.ask()).read_response()
    assert answer.get("X-Injected") is None


@pytest.mark.parametrize("code", [0, 7, 100, 101, 199, -1, 1000], ids=lambda code: f"C229-{code}")
@case
async def test_codes_that_no_response_may_have(stage: Stage, code: int) -> None:
    await stage.start(hold("response", channel="ch"))
    client = await stage.ask()
    await stage.proxy.held("ch")
    await stage.proxy.post([{"channel": "ch", "formats": {R: {"code": code, "body": "one\n"}}}])
    await stage.proxy.publish("ch", {R: {"body": "two\n"}})
    answer = await client.read_response()
    assert 200 <= answer.status < 600
    await stage.usable(client)


@pytest.mark.parametrize("code", [0, 7, 100, 101, -1, 1000], ids=lambda code: f"C229-{code}-instruct")
@case
async def test_codes_that_no_instruction_may_give(stage: Stage, code: int) -> None:
    await stage.start(instruct(json.dumps({"response": {"code": code, "body": "one\n"}}).encode()))
    client = await stage.ask()
    answer = await client.read_response()
    assert 200 <= answer.status < 600
    await stage.usable(client)


# ---- dribbles and leftovers --------------------------------------------------------------------------------


@case
async def test_c230_a_head_in_drops(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    for byte in b"GET / HTTP/1.1\r\nHost":
        await stage.silent(client)
        client.send(bytes([byte]))
        await stage.proxy.advance(3)
    await stage.proxy.advance(0.2)
    await client.closed()
    assert stage.origin.connections == set()


@pytest.mark.parametrize(
    "extra", [OK, b"\r\n", b"x", b"HTTP/1.1 500 Stray\r\nContent-Length: 5\r\n\r\nstray"]
)
@case
async def test_c232_a_second_response_reaches_nobody(stage: Stage, extra: bytes) -> None:
    await stage.start(OK + extra, OK)
    client = await stage.client()
    client.send(GET)
    await client.expect(OK)
    first = await stage.origin.request(1)
    await stage.silent(client)
    other = await stage.ask()
    await other.expect(OK)
    second = await stage.origin.request(2)
    assert second.connection is not first.connection
    client.send(GET)
    await client.expect(OK)


@case
async def test_c232_a_second_response_a_little_later(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.ask()
    await client.expect(OK)
    first = await stage.origin.request(1)
    first.write(b"HTTP/1.1 500 Stray\r\nContent-Length: 5\r\n\r\nstray")
    other = await stage.ask()
    await other.expect(OK)
    await stage.silent(client)
    await first.gone()


@case
async def test_c232_behind_a_response_that_is_held(stage: Stage) -> None:
    await stage.start(hold("stream", channel="ch", body=b"x\n") + OK)
    client = await stage.ask()
    body = client.body(await client.read_head())
    await body.expect(b"x\n")
    await stage.proxy.held("ch")
    await stage.proxy.publish("ch", {S: {"content": "news\n"}})
    await body.expect(b"news\n")
    await stage.silent(client)
    assert body.pending == b""


@case
async def test_c232_behind_a_response_without_body(stage: Stage) -> None:
    """To HEAD, and with 204 and 304, whatever body comes is not the next response."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    heads = [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(evil),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(evil),
    ]
    await stage.start(*(head + evil for head in heads), OK)
    client = await stage.client()
    client.send(GET.replace(b"GET", b"HEAD"))
    assert (await client.read_head()).status == 200
    for status in (204, 304):
        client.send(GET)
        assert (await client.read_head()).status == status
    client.send(GET)
    await client.expect(OK)


@case
async def test_c232_before_a_request(stage: Stage) -> None:
    """A backend that speaks first is not believed."""
    await stage.start(OK)
    client = await stage.ask()
    await client.expect(OK)
    first = await stage.origin.request(1)
    first.write(OK.replace(b"ok\n", b"no\n"))
    await until(lambda: not stage.origin.connections, "the end of a connection that nobody trusts")
    client.request(ALIVE)
    assert (await client.read_response()).body == b"alive"
