"""Messages that two readers could cut up differently, from clients and from backends (proxy 8.12).

The backend sees exactly the requests that a client's framing denotes, a client exactly one well-formed
response for each; what can be read in two ways is refused, and nothing behind it is read.
"""

from __future__ import annotations

import re

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.support.origin import Asked, reply
from tests.support.rawclient import RawClient
from tests.support.stage import ALIVE, Stage
from tests.support.waiting import Waited, turn, until, within

pytestmark = pytest.mark.differs("1.36 reads clients and asks backends with other programs than 1.41")
case = pytest_twisted.ensureDeferred
OK = reply("Content-Type: text/plain", body=b"ok\n")
HOST = b"Host: a.example\r\n"
LINE = b"POST /first HTTP/1.1\r\n"
POST = LINE + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
LENGTH = b"Content-Length: %d\r\n" % len(HIDDEN)

HEADS = {
    "length, then chunked": POST + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then length": POST + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n0\r\n\r\n",
    "chunked and no length": POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK,
    "two lengths": POST + b"Content-Length: 0\r\n" + LENGTH + b"\r\n",
    "two lengths, the other way": POST + LENGTH + b"Content-Length: 0\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 0, 5\r\n\r\nhello",
    "plus": POST + b"Content-Length: +5\r\n\r\nhello",
    "minus": POST + b"Content-Length: -5\r\n\r\nhello",
    "hexadecimal": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "digits and more": POST + b"Content-Length: 5x\r\n\r\nhello",
    "two numbers": POST + b"Content-Length: 5 5\r\n\r\nhello",
    "underscore": POST + b"Content-Length: 1_0\r\n\r\n0123456789",
    "fraction": POST + b"Content-Length: 5.0\r\n\r\nhello",
    "no number": POST + b"Content-Length:\r\n\r\n",
    "a number beyond all bounds": POST + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    "digits of another script": POST + "Content-Length: \u0665\r\n\r\nhello".encode(),
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNK,
    "chunked twice in a list": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNK,
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + CHUNK,
    "chunked, then identity": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"
    + CHUNK,
    "identity, then chunked": POST
    + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"
    + CHUNK,
    "identity": POST + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNK,
    "chunked with a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + CHUNK,
    "quoted chunked": POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNK,
    "no coding": POST + b"Transfer-Encoding:\r\n\r\n" + CHUNK,
    "chunked behind a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNK,
    "chunked behind a comma": POST + b"Transfer-Encoding: ,chunked\r\n\r\n" + CHUNK,
    "chunked for 1.0": b"POST /first HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK,
    "chunked for 1.0 that persists": b"POST /first HTTP/1.0\r\nConnection: keep-alive\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK,
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNK,
    "tab before the colon": POST + b"Content-Length\t: 5\r\n\r\nhello",
    "space before the first name": LINE + b" Content-Length: 5\r\n\r\nhello",
    "space before a name": POST + b" Content-Length: 5\r\n\r\nhello",
    "fold": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNK,
    "fold with a tab": POST + b"X-A: b\r\n\tContent-Length: 5\r\n\r\nhello",
    "a line without a colon": POST + b"Content-Length\r\n\r\n",
    "no name": POST + b": 5\r\n\r\n",
    "NUL in a name": POST + b"Transfer\x00-Encoding: chunked\r\n\r\n" + CHUNK,
    "a name that is no ASCII": POST + "Content-L\u0435ngth: 5\r\n\r\n".encode(),
    "NUL in a value": POST + b"X-A: b\x00\r\n\r\n",
    "CR in a value": POST + b"X-A: b\rContent-Length: 5\r\n\r\n",
    "CR behind a value": POST + b"X-A: b\r\r\nContent-Length: 5\r\n\r\n",
    "CR before a name": POST + b"\rContent-Length: 5\r\n\r\n",
    "LF behind the request line": b"POST /first HTTP/1.1\n" + HOST + b"\r\n",
    "LF behind a header": LINE + b"Host: a.example\nX-A: b\r\n\r\n",
    "LF in a value": POST + b"X-A: b\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK,
    "LF for the empty line": POST + b"\n",
    "LF, then an empty line": LINE + b"Host: a.example\n\r\n",
    "CRLF behind lines that end in LF": b"POST /first HTTP/1.1\nHost: a.example\nX-A: b\n\r\n",
    "two spaces": b"POST  /first HTTP/1.1\r\n" + HOST + b"\r\n",
    "tabs": b"POST\t/first\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "a space in the target": b"POST /first HTTP/1.1 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space behind the version": b"POST /first HTTP/1.1 \r\n" + HOST + b"\r\n",
    "a space before the method": b" POST /first HTTP/1.1\r\n" + HOST + b"\r\n",
    "NUL in the target": b"POST /fir\x00st HTTP/1.1\r\n" + HOST + b"\r\n",
    "a small version": b"POST /first http/1.1\r\n" + HOST + b"\r\n",
    "a long version": b"POST /first HTTP/1.10\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /first\r\n",
    "two hosts": POST + b"Host: b.example\r\n\r\n",
}

BODIES = {
    "no size": b"\r\n" + CHUNK,
    "a prefix": b"0x%b" % CHUNK,
    "a sign": b"+%b" % CHUNK,
    "a minus": b"-%b" % CHUNK,
    "a space before the size": b" " + CHUNK,
    "LF behind the size": CHUNK.replace(b"\r\n", b"\n", 1),
    "CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "LF in an extension": b"5;a=b\nhello\r\n0\r\n\r\n",
    "CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    "no semicolon": b"5 a=b\r\nhello\r\n0\r\n\r\n",
    "a vertical tab": b"5\x0b\r\nhello\r\n0\r\n\r\n",
    "a size beyond all bounds": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a size with underscores": b"0_5\r\nhello\r\n0\r\n\r\n",
    "LF behind a chunk": b"5\r\nhello\n0\r\n\r\n",
    "CR behind a chunk": b"5\r\nhello\r0\r\n\r\n",
    "nothing behind a chunk": b"5\r\nhello0\r\n\r\n",
    "a chunk that is longer": b"3\r\nhello\r\n0\r\n\r\n",
    "a chunk that is shorter": b"7\r\nhello\r\n0\r\n\r\n",
    "LF at the end": b"0\r\n\n",
    "LF behind the last size": b"0\n\r\n",
    "LF behind a trailer": b"0\r\nX-T: 1\n\r\n",
    "a space in a trailer": b"0\r\nX-T : 1\r\n\r\n",
    "a fold in a trailer": b"0\r\nX-T: 1\r\n 2\r\n\r\n",
    "NUL in a trailer": b"0\r\nX-T: \x00\r\n\r\n",
    "CR in a trailer": b"0\r\nX-T: 1\r2\r\n\r\n",
    "no colon in a trailer": b"0\r\nX-T\r\n\r\n",
}

ATTACKS = HEADS | {f"chunk: {name}": CHUNKED + body for name, body in BODIES.items()}


async def send_in_pieces(client: RawClient, data: bytes, size: int) -> None:
    """Each piece in a segment of its own, as far as the kernel lets it."""
    for start in range(0, len(data), size):
        if client.lost:
            return
        client.send(data[start : start + size])
        await turn()


@pytest.mark.parametrize("size", [1, 100_000], ids=["bytewise", "whole"])
@pytest.mark.parametrize("raw", ATTACKS.values(), ids=ATTACKS.keys())
@case
async def test_refused_and_closed(stage: Stage, raw: bytes, size: int) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.transport.setTcpNoDelay(True)
    await send_in_pieces(client, raw + HIDDEN * 2, size)
    answer = await client.read_response()
    assert (answer.status, answer.reason) == (400, "Bad Request")
    assert answer.get("Content-Type") == "text/plain"
    await client.closed()
    assert stage.origin.connections == set()


# ---- what is too large, in drops ---------------------------------------------------------------------------

TOO_LARGE = {
    "a request line": (b"GET /", b"x", 400),
    "a header": (LINE + b"X-A: ", b"x", 400),
    "headers": (LINE, b"A: b\r\n", 400),
    "a chunk extension": (CHUNKED + b"5;", b"x", 500),
    "spaces behind a size": (CHUNKED + b"5", b" ", 500),
    "zeros before a size": (CHUNKED, b"0", 500),
    "a trailer": (CHUNKED + b"0\r\nX-T: ", b"x", 500),
    "trailers": (CHUNKED + b"0\r\n", b"A: b\r\n", 500),
}


@pytest.mark.parametrize(("begin", "drop", "status"), TOO_LARGE.values(), ids=TOO_LARGE.keys())
@case
async def test_without_end(stage: Stage, begin: bytes, drop: bytes, status: int) -> None:
    """It is refused as soon as the limit is passed, whatever else would come."""
    await stage.start(OK)
    client = await stage.client()
    client.send(begin)
    sent = 0
    while not client.unread and not client.lost and sent < 100_000:
        client.send(drop * 100)
        sent += len(drop) * 100
        await turn()
        await stage.proxy.settle()
    assert sent < 20_000
    assert (await client.read_response()).status == status
    await client.closed()
    assert stage.origin.connections == set()


@case
async def test_a_megabyte_in_chunks_of_one_byte(stage: Stage) -> None:
    """Allowed, and no more work for the reader than any other megabyte."""
    stage.origin.early = True
    await stage.start(b"")
    client = await stage.client()
    client.send(CHUNKED + b"1\r\nx\r\n" * 1_000_000)
    asked = await stage.origin.request(1)
    start = reactor.seconds()
    await until(lambda: asked.body.count(b"x") == 1_000_000, "the body", 60)
    assert reactor.seconds() - start < 30


# ---- bodies that look like requests ------------------------------------------------------------------------

HOLDERS = {
    "length": POST + LENGTH + b"\r\n" + HIDDEN,
    "chunk": CHUNKED + CHUNK,
    "chunks": CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in HIDDEN) + b"0\r\n\r\n",
    "GET": (POST + LENGTH + b"\r\n" + HIDDEN).replace(b"POST", b"GET"),
    "hop by hop": POST + b"Connection: Content-Length, Host\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "a hop's coding": POST + b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK,
    "spaces around a length": POST
    + LENGTH.replace(b": ", b": \t ").replace(b"\r", b" \t\r")
    + b"\r\n"
    + HIDDEN,
    "zeros before a length": POST + LENGTH.replace(b": ", b": 000") + b"\r\n" + HIDDEN,
    "trailers that frame": CHUNKED + CHUNK[:-2] + b"Content-Length: 0\r\nTransfer-Encoding: x\r\n\r\n",
}


@pytest.mark.parametrize("raw", HOLDERS.values(), ids=HOLDERS.keys())
@case
async def test_a_body_stays_a_body(stage: Stage, raw: bytes) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(raw + b"GET /last HTTP/1.1\r\n" + HOST + b"\r\n")
    await client.expect(OK + OK)
    first, last = stage.origin.requests
    assert (first.target, last.target) == ("/first", "/last")
    assert first.body == HIDDEN
    assert first.all("Content-Length") == [str(len(HIDDEN))]
    assert first.all("Host") == ["a.example"]
    assert first.all("Transfer-Encoding") == []
    assert last.body == b""


@pytest.mark.parametrize("framing", [LENGTH + b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
@pytest.mark.parametrize(
    "head",
    [
        b"POST /first HTTP/1.1\r\nHost: nowhere.example\r\n",
        b"POST /first HTTP/1.1\r\nHost: a.example\r\nPushpin-Check: 1\r\n",
        b"POST /first HTTP/1.1\r\nHost: bad host\r\n",
        b"POST /first HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n",
    ],
    ids=["no route", "check", "bad host", "bad handshake"],
)
@case
async def test_a_body_that_nobody_wants(stage: Stage, head: bytes, framing: bytes) -> None:
    """The request is answered before its body comes; then the body is no request either."""
    await stage.start(OK, routes=[f"a.example {stage.origin.address}"])
    client = await stage.client()
    client.send(head + framing)
    answer = await client.read_response()
    client.send(HIDDEN + HIDDEN)
    await client.closed()
    assert answer.get("Connection") == "close"
    assert stage.origin.connections == set()


@case
async def test_a_broken_body_that_nobody_wants(stage: Stage) -> None:
    await stage.start(OK, routes=[f"a.example {stage.origin.address}"])
    client = await stage.client()
    client.send(CHUNKED.replace(b"a.example", b"nowhere.example") + b"zz\r\n" + HIDDEN)
    assert (await client.read_response()).status == 502
    await client.closed()
    assert stage.origin.connections == set()


# ---- one byte too many, anywhere ---------------------------------------------------------------------------

ODD = [b"\r", b"\n", b"\0", b" ", b"\t", b"\x0b", b"\r\n", b"\x85"]
FRAMINGS = [POST + LENGTH + b"\r\n" + HIDDEN, CHUNKED + CHUNK]
LAST = b"GET /last HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("raw", FRAMINGS, ids=["length", "chunk"])
@case
async def test_an_odd_byte_anywhere_in_a_request(stage: Stage, raw: bytes, odd: bytes) -> None:
    await stage.start(OK)

    async def attack(at: int) -> None:
        client = await stage.client()
        client.send(raw[:at] + odd + raw[at:] + LAST)
        client.transport.loseWriteConnection()
        await client.wait_for(lambda: client.lost or None, "the end")

    attacks = [Deferred.fromCoroutine(attack(at)) for at in range(len(raw) + 1)]
    await within(gatherResults(attacks), "all attacks", 60)
    allowed = {"/first", "/last"}
    if odd == b"\r\n":  # an empty line may end a head earlier: what stood behind it are requests then
        allowed.add("/hidden")
    seen = {re.sub("%85|%0B", "", request.target) for request in stage.origin.requests}
    assert seen <= allowed


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: %d\r\n\r\n%b" % (len(EVIL), EVIL),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL),
]


@pytest.mark.parametrize("odd", [*ODD, b"1"], ids=repr)
@pytest.mark.parametrize("raw", ANSWERS, ids=["length", "chunk"])
@case
async def test_an_odd_byte_anywhere_in_a_response(stage: Stage, raw: bytes, odd: bytes) -> None:
    """Whatever comes of it, a second request never gets the rest of the first one's response."""
    await stage.start(b"")
    whole = [await first_of_two(stage, at, raw[:at] + odd + raw[at:]) for at in range(len(raw) + 1)]
    assert any(whole)


async def first_of_two(stage: Stage, number: int, said: bytes) -> bool:
    """Two requests, ``said`` is the answer to the first: whether it was relayed as a whole."""
    client = await stage.client()
    client.request()
    asked = await stage.origin.request(number + 1)
    asked.write(said)
    await stage.proxy.settle()
    client.request(ALIVE)
    await stage.proxy.settle()
    if not client.unread.endswith(b"alive"):
        asked.close()
        await client.wait_for(lambda: client.lost or client.unread.endswith(b"alive") or None, "the end")
    whole = await skip_response(client)
    if whole and client.unread:
        await client.expect(reply(body=b"alive"))
    client.drop()
    return whole


async def skip_response(client: RawClient) -> bool:
    """Step over a response; whether it is complete."""
    try:
        await client.read_response()
    except Waited:
        return False
    return True


# ---- backends in two minds ---------------------------------------------------------------------------------

TWOFOLD = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok\n",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "plus": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "minus": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "a number beyond all bounds": b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\n",
    "chunked and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n"
    b"0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in two lines": b"HTTP/1.1 200 OK\r\n" + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "xchunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "fold": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "no colon": b"HTTP/1.1 200 OK\r\nContent-Length\r\n\r\nok",
    "no name": b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\nok",
    "a space in a name": b"HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX-A: b\x00\r\nContent-Length: 2\r\n\r\nok",
    "another control in a value": b"HTTP/1.1 200 OK\r\nX-A: \x1b[2J\r\nContent-Length: 2\r\n\r\nok",
    "CR in a value": b"HTTP/1.1 200 OK\r\nX-A: b\rX-Injected: 1\r\nContent-Length: 2\r\n\r\nok",
    "LF in a value": b"HTTP/1.1 200 OK\r\nX-A: b\nX-Injected: 1\r\nContent-Length: 2\r\n\r\nok",
    "LF for the empty line": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok",
    "CR in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok",
    "NUL in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\nok",
    "a code of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "a code of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "a code below 100": b"HTTP/1.1 099 OK\r\n\r\n" + OK,
    "zeros for a code": b"HTTP/1.1 000 OK\r\n\r\n" + OK,
    "a tunnel": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + OK,
    "an empty line first": b"\r\n" + OK,
    "no status line": b"<html>\r\n\r\n" + OK,
}


@pytest.mark.parametrize("raw", TWOFOLD.values(), ids=TWOFOLD.keys())
@pytest.mark.parametrize("size", [1, 100_000], ids=["bytewise", "whole"])
@case
async def test_a_response_that_is_refused(stage: Stage, raw: bytes, size: int) -> None:
    async def speak(asked: Asked) -> None:
        for start in range(0, len(raw), size):
            asked.write(raw[start : start + size])
            await turn()

    await stage.start(speak)
    client = await stage.ask()
    answer = await client.read_response()
    assert (answer.status, answer.body) == (502, b"Error while proxying to origin.\n")
    asked = await stage.origin.request(1)
    await asked.gone()
    await stage.usable(client)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nok\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n",
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 3\r\n\r\nok\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\nX",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok\n\r\n0\r\n\r\nX",
        b"HTTP/1.1 204 No Content\r\n\r\nX",
    ],
)
@case
async def test_a_connection_that_is_not_used_again(stage: Stage, raw: bytes) -> None:
    """Chunks by HTTP/1.0 are read but not believed any further (RFC 9112, 6.1)."""
    await stage.start(raw, OK)
    client = await stage.ask()
    answer = await client.read_response()
    assert answer.body == (b"" if answer.status == 204 else b"ok\n")
    first = await stage.origin.request(1)
    client.request()
    await client.expect(OK)
    second = await stage.origin.request(2)
    assert second.connection is not first.connection
    await first.gone()


@pytest.mark.parametrize(
    "end", [b"5;a\nhello", b"5\r\nhelloX", b"zz\r\n", b"0\r\n\n", b"0\r\nA b: c\r\n\r\n", b"100000000\r\n"]
)
@case
async def test_a_response_that_goes_wrong_later(stage: Stage, end: bytes) -> None:
    """The client sees that it is incomplete."""
    await stage.start(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    client = await stage.ask()
    head = await client.read_head()
    assert head.get("Transfer-Encoding") == "chunked"
    await client.expect(b"2\r\nok\r\n")
    asked = await stage.origin.request(1)
    asked.write(end)
    await client.wait_for(lambda: client.lost or None, "the end")
    assert not client.unread.endswith(b"0\r\n\r\n")
    await asked.gone()
