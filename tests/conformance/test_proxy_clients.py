"""What clients may say and what they are told: early errors, persistence, times, the test handler, log lines.

Proxy 10.8, through the whole service.
"""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import hold, reply
from tests.support.running import R, S
from tests.support.stage import Stage

pytestmark = pytest.mark.differs("1.36 reads clients and asks backends with other programs than 1.41")
case = pytest_twisted.ensureDeferred
OK = reply("Content-Type: text/plain", body=b"ok\n")
GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.example\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HANDSHAKE = b"GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"


# ---- early errors (8.2) ------------------------------------------------------------------------------------

UNREADABLE = [
    ("method", b"G@T / HTTP/1.1\r\n\r\n", "invalid token"),
    ("target", b"GET /\x01 HTTP/1.1\r\n\r\n", "invalid token"),
    ("no-version", b"GET /\r\n\r\n", "invalid token"),
    ("garbage", b"\x00\x01\x02\x03", "invalid token"),
    ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "invalid token"),
    ("not-utf8", b"GET /\xe9 HTTP/1.1\r\n\r\n", "invalid token"),
    ("http2", b"GET / HTTP/2.0\r\n\r\n", "invalid HTTP version"),
    ("http12", b"GET / HTTP/1.2\r\n\r\n", "invalid HTTP version"),
    ("preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "invalid HTTP version"),
    ("name", b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", "invalid header name"),
    ("fold", b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "invalid header name"),
    ("space", b"GET / HTTP/1.1\r\nA : b\r\n\r\n", "invalid header name"),
    ("control", b"GET / HTTP/1.1\r\nA: b\x01c\r\n\r\n", "invalid header value"),
    ("cr", b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "invalid header value"),
    ("cr-line", b"GET / HTTP/1.1\rA: b\r\n\r\n", "invalid new line"),
    ("headers", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 65 + b"\r\n", "too many headers"),
    ("length", POST + b"Content-Length: x\r\n\r\n", "invalid content length"),
    ("negative", POST + b"Content-Length: -1\r\n\r\n", "invalid content length"),
    ("coding", POST + b"Transfer-Encoding: gzip\r\n\r\n", "unsupported transfer encoding"),
]


@pytest.mark.parametrize(
    ("raw", "reason"), [row[1:] for row in UNREADABLE], ids=[f"C171-{row[0]}" for row in UNREADABLE]
)
@case
async def test_a_head_that_cannot_be_read(stage: Stage, raw: bytes, reason: str) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(raw)
    body = f"Failed to parse request: {reason}\n".encode()
    await client.expect(
        b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    await client.closed()
    assert stage.origin.connections == set()
    assert stage.proxy.lines()[1:] == []


@case
async def test_c171_bytes_above_ascii_are_fine_in_values(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: caf\xe9 \xc3\xa9\r\n\r\n")
    await client.expect(OK)
    assert stage.origin.requests[0].all("X-A") == ["caf\xe9 \xc3\xa9"]


BROKEN_BODIES = [
    ("size", b"zz\r\n", "invalid chunk size"),
    ("empty-size", b"\r\n", "invalid chunk size"),
    ("suffix", b"2\r\nokX\r\n", "invalid chunk suffix"),
    ("large", b"100000000\r\n", "chunk too large"),
    ("trailer-name", b"0\r\nA b: c\r\n\r\n", "invalid header name"),
    ("trailer-value", b"0\r\nA: b\x01\r\n\r\n", "invalid header value"),
]


@pytest.mark.parametrize(
    ("raw", "reason"), [row[1:] for row in BROKEN_BODIES], ids=[f"C171-{row[0]}" for row in BROKEN_BODIES]
)
@case
async def test_a_body_that_cannot_be_read(stage: Stage, raw: bytes, reason: str) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(CHUNKED + raw)
    body = f"Failed to parse request: {reason}\n".encode()
    await client.expect(
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    await client.closed()
    assert stage.origin.connections == set()


@case
async def test_c171_a_chunk_extension_that_does_not_fit(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(CHUNKED + b"2;" + b"x" * 9000 + b"\r\nok\r\n0\r\n\r\n")
    await client.expect(
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nConnection: close\r\n"
        b"Content-Length: 27\r\n\r\nFailed to process request.\n"
    )
    await client.closed()
    assert stage.origin.connections == set()


@pytest.mark.parametrize("raw", [POST + b"Content-Length: 5\r\n\r\nabc", CHUNKED + b"5\r\nabc"])
@case
async def test_c171_a_body_that_ends_early(stage: Stage, raw: bytes) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(raw)
    client.transport.loseWriteConnection()
    await client.expect(
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nConnection: close\r\n"
        b"Content-Length: 27\r\n\r\nFailed to process request.\n"
    )
    await client.closed()
    assert stage.origin.connections == set()


@case
async def test_c171_a_whole_request_before_the_end_is_answered(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(GET)
    client.transport.loseWriteConnection()
    await client.expect(OK)
    await client.closed()


def head_of(size: int) -> bytes:
    start, end = b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize(
    ("settings", "limit"), [({}, 8192), ({"client_buffer_size": 4096}, 4096)], ids=["C172", "C069"]
)
@case
async def test_the_size_of_a_head(stage: Stage, settings: dict[str, object], limit: int) -> None:
    await stage.start(OK, runner=settings)
    client = await stage.client()
    client.send(head_of(limit))
    await client.expect(OK)
    client.send(head_of(limit + 1))
    body = b"Request header size exceeded limit of %d bytes.\n" % limit
    await client.expect(
        b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    await client.closed()
    assert len(stage.origin.requests) == 1


@case
async def test_c173_the_length_of_a_uri(stage: Stage) -> None:
    await stage.start(OK)
    longest = "/" + "x" * (4096 - len("http://a/"))
    client = await stage.ask(longest, host="a")
    await client.expect(OK)
    assert stage.origin.requests[0].target == longest
    client.request(longest + "x", host="a")
    answer = await client.read_response()
    assert answer.line == "HTTP/1.1 500 Internal Server Error"
    assert (answer.get("Content-Type"), answer.body) == ("text/plain", b"Failed to process request.\n")
    await client.closed()
    assert len(stage.origin.requests) == 1


BAD_HANDSHAKES = [
    ("C195-key", HANDSHAKE + VERSION + b"\r\n"),
    ("C195-version", HANDSHAKE + KEY + b"Sec-WebSocket-Version: 8\r\n\r\n"),
    ("C195-no-version", HANDSHAKE + KEY + b"\r\n"),
    ("C195-post", HANDSHAKE.replace(b"GET", b"POST") + KEY + VERSION + b"\r\n"),
    ("C195-body", HANDSHAKE + KEY + VERSION + b"Content-Length: 2\r\n\r\nab"),
    ("C195-chunks", HANDSHAKE + KEY + VERSION + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize("raw", [row[1] for row in BAD_HANDSHAKES], ids=[row[0] for row in BAD_HANDSHAKES])
@case
async def test_a_bad_handshake(stage: Stage, raw: bytes) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(raw)
    answer = await client.read_response()
    assert answer.line == "HTTP/1.1 400 Bad Request"
    assert answer.get("Content-Type") == "text/plain"
    assert answer.body == (
        b'Request contained an Upgrade header with value "websocket" but the request was not a valid '
        b"WebSocket request.\n"
    )
    await client.closed()
    assert stage.origin.connections == set()


# ---- one after the other -----------------------------------------------------------------------------------


@case
async def test_c174_in_order(stage: Stage) -> None:
    await stage.start(*(reply(body=text) for text in (b"one", b"two", b"three")))
    client = await stage.client()
    client.send(GET + GET + POST + b"Content-Length: 4\r\n\r\nbody")
    for text in (b"one", b"two", b"three"):
        await client.expect(reply(body=text))
    assert [request.method for request in stage.origin.requests] == ["GET", "GET", "POST"]
    assert stage.origin.requests[2].body == b"body"


PERSISTENCE = [
    ("C175-1.0", b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.0", b"", True),
    ("C175-1.0-keep", b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", b"HTTP/1.0", b"keep-alive", False),
    ("C175-1.1", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1", b"", False),
    ("C175-1.1-close", b"GET / HTTP/1.1\r\nConnection: x, close\r\n\r\n", b"HTTP/1.1", b"close", True),
    ("C176", POST + b"Content-Length: 0\r\n\r\n", b"HTTP/1.1", b"", False),
]


@pytest.mark.parametrize(
    ("raw", "version", "connection", "closes"),
    [row[1:] for row in PERSISTENCE],
    ids=[row[0] for row in PERSISTENCE],
)
@case
async def test_persistence(stage: Stage, raw: bytes, version: bytes, connection: bytes, closes: bool) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(raw)
    line = b"Connection: %b\r\n" % connection if connection else b""
    await client.expect(
        b"%b 200 OK\r\nContent-Type: text/plain\r\n%bContent-Length: 3\r\n\r\nok\n" % (version, line)
    )
    if closes:
        await client.closed()
    else:
        await stage.usable(client)


@case
async def test_c177_codings_have_a_case(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(POST + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n")
    answer = await client.read_response()
    assert answer.line == "HTTP/1.0 400 Bad Request"
    assert answer.body == b"Failed to parse request: unsupported transfer encoding\n"
    await client.closed()


@pytest.mark.parametrize("raw", [GET.replace(b"\r\n", b"\n"), b"\r\n" + GET, b"\n\r\n\n" + GET])
@case
async def test_c178_line_ends(stage: Stage, raw: bytes) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(raw + raw)
    await client.expect(OK + OK)
    assert [request.get("Host") for request in stage.origin.requests] == ["a.example", "a.example"]


@case
async def test_c179_garbage_behind_a_request(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(GET + b"\x00garbage\r\n\r\n" + GET)
    await client.expect(OK)
    answer = await client.read_response()
    assert answer.line == "HTTP/1.0 400 Bad Request"
    assert answer.body == b"Failed to parse request: invalid token\n"
    await client.closed()
    assert len(stage.origin.requests) == 1


@case
async def test_c181_behind_a_held_request(stage: Stage) -> None:
    await stage.start(hold("response", channel="ch"), OK)
    client = await stage.client()
    client.send(GET + GET)
    await stage.proxy.held("ch")
    await stage.silent(client)
    assert len(stage.origin.requests) == 1
    await stage.proxy.publish("ch", {R: {"body": "published"}})
    assert (await client.read_response()).body == b"published"
    await client.expect(OK)


@case
async def test_c182_a_stream_for_http_1_0(stage: Stage) -> None:
    await stage.start(hold("stream", "Content-Type: text/plain", channel="ch", body=b"x\n"))
    client = await stage.client()
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    await client.expect(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nx\n")
    await stage.proxy.held("ch")
    await stage.proxy.publish("ch", {S: {"content": "one\n"}})
    await client.expect(b"one\n")
    await stage.silent(client)
    await stage.proxy.publish("ch", {S: {"action": "close"}})
    await client.closed()


# ---- times -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: a", b"\r\n"], ids=["C180", "C180-a", "C180-b"]
)
@case
async def test_no_request_in_time(stage: Stage, sent: bytes) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(sent)
    await stage.silent(client)
    await stage.proxy.advance(59.5)
    await stage.silent(client)
    await stage.proxy.advance(0.7)
    await client.closed()


@case
async def test_c180_idle_after_a_response(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    await stage.proxy.advance(50)
    client.send(GET)
    await client.expect(OK)
    await stage.proxy.advance(59.5)
    await stage.silent(client)
    await stage.proxy.advance(0.7)
    await client.closed()


@case
async def test_c180_only_who_asks_nothing_is_sent_away(stage: Stage) -> None:
    """A half-sent body, a held response, and waiting for a backend may take longer."""
    stage.origin.at("/poll", hold("response", "Grip-Timeout: 1000", channel="ch"))
    await stage.start(b"")
    waiting = await stage.ask()
    held = await stage.ask("/poll")
    half = await stage.client()
    half.send(POST + b"Content-Length: 5\r\n\r\nabc")
    await stage.proxy.held("ch")
    asked = await stage.origin.request(1)
    for _ in range(10):
        await stage.proxy.advance(30)
    for client in (waiting, held, half):
        await stage.silent(client)
    asked.write(OK)
    await waiting.expect(OK)


# ---- answered here -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["* B", "other.example B"])
@case
async def test_c183_a_check(stage: Stage, route: str) -> None:
    await stage.start(OK, routes=[route.replace("B", stage.origin.address)])
    client = await stage.ask("/x", "Pushpin-Check: 1", host="a.example")
    answer = await client.read_response()
    assert (answer.line, answer.get("Content-Type")) == ("HTTP/1.1 200 OK", "text/plain")
    assert b"License" in answer.body
    assert stage.origin.connections == set()
    await stage.proxy.logged(f"GET http://a.example/x code=200 {len(answer.body)}")
    client.request(host="a.example", method="POST", body=b"abc")
    await client.read_response()


HELLO = b"Hello from the Pushpin test handler!\n"
NO_SUCH = b"no such test resource\n"
HANDLED = [
    ("C184", "* test", "/", 200, HELLO),
    ("C184-a", "* test", "/foo", 404, NO_SUCH),
    ("C184-b", "* test", "/ws", 404, NO_SUCH),
    ("C185", "*,path_beg=/foo test", "/foo", 404, NO_SUCH),
    ("C185-a", "*,path_beg=/foo/ test", "/foo/", 200, HELLO),
]


@pytest.mark.parametrize(
    ("route", "target", "status", "body"), [row[1:] for row in HANDLED], ids=[row[0] for row in HANDLED]
)
@case
async def test_the_test_handler(stage: Stage, route: str, target: str, status: int, body: bytes) -> None:
    await stage.start(routes=[route])
    answer = await (await stage.ask(target, host="a.example")).read_response()
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers == [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    await stage.proxy.logged(f"GET http://a.example{target} -> test code={status} {len(body)}")


STREAMS = [
    ("C184-c", "* test", "/stream", "test"),
    ("C184-d", "* test", "/stream/", "test"),
    ("C184-e", "* test", "/stream?channel=x", "x"),
    ("C185-b", "*,path_beg=/foo test", "/foo/stream", "test"),
]


@pytest.mark.parametrize(
    ("route", "target", "channel"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS]
)
@case
async def test_the_test_handlers_streams(stage: Stage, route: str, target: str, channel: str) -> None:
    await stage.start(routes=[route])
    client = await stage.ask(target, host="a.example")
    head = await client.read_head()
    assert (head.status, head.get("Content-Type")) == (200, "text/plain")
    body = client.body(head)
    await body.expect(b"[stream opened]\n")
    await stage.proxy.logged(f"GET http://a.example{target} -> test accept")
    await stage.proxy.publish(channel, {S: {"content": "news\n"}})
    await body.expect(b"news\n")


@case
async def test_c184_the_test_handlers_long_poll(stage: Stage) -> None:
    await stage.start(routes=["* test"])
    first = await stage.ask("/response", host="a.example")
    await stage.proxy.held("test")
    await stage.proxy.publish("test", {R: {"body": "news\n"}})
    assert (await first.read_response()).body == b"news\n"
    second = await stage.ask("/response")
    await stage.proxy.held("test")
    await stage.proxy.time_until(lambda: second.unread, 120)
    answer = await second.read_response()
    assert (answer.status, answer.get("Content-Type")) == (200, "text/plain")
    assert answer.body == b"nothing for now\n"


@case
async def test_c186_too_much_for_the_test_handler(stage: Stage) -> None:
    await stage.start(routes=["* test"])
    answer = await (await stage.ask(method="POST", body=b"x" * 150_000)).read_response()
    assert (answer.line, answer.body) == ("HTTP/1.1 400 Bad Request", b"request too large\n")
    assert answer.get("Content-Type") == "text/plain"
    assert answer.get("Transfer-Encoding") == "chunked"


# ---- the log -----------------------------------------------------------------------------------------------


@case
async def test_c198_everything_a_line_can_tell(stage: Stage) -> None:
    proxy = {"log_from": "true", "log_user_agent": "true"}
    await stage.start(OK, condition="*,id=myid", proxy=proxy)
    client = await stage.ask(
        "/x?y=z",
        "Referer: http://ref/x?y#z",
        "User-Agent: my ua/1.0",
        "Grip-Last: a; last-id=b",
        host="a.example",
    )
    await client.expect(OK)
    await stage.proxy.logged(
        f"GET http://a.example/x?y=z -> {stage.origin.address} from=127.0.0.1 ref=http://ref/x?y#z "
        "route=myid code=200 3 ua=my ua/1.0 #a=b"
    )


@case
async def test_c198_only_what_is_asked_for(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.ask("/x", "User-Agent: my ua/1.0", host="A.example:80")
    await client.expect(OK)
    await stage.proxy.logged(f"GET http://a.example:80/x -> {stage.origin.address} code=200 3")


@case
async def test_c206_a_plain_client_does_not_say_who_it_is(stage: Stage) -> None:
    await stage.start(OK, proxy={"log_from": "true"})
    client = await stage.ask("/", "X-Forwarded-For: 9.8.7.6", host="a.example")
    await client.expect(OK)
    await stage.proxy.logged(f"GET http://a.example/ -> {stage.origin.address} from=127.0.0.1 code=200 3")


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (["Grip-Last: a; last-id=b"], " #a=b"),
        (["Grip-Last: a; last-id=b", "X-A: 1", "Grip-Last: c; last-id=d"], " #a=b #c=d"),
    ],
    ids=["C199", "C199-a"],
)
@case
async def test_last_ids_in_the_log(stage: Stage, headers: list[str], words: str) -> None:
    await stage.start(OK)
    await (await stage.ask("/", *headers, host="a.example")).expect(OK)
    await stage.proxy.logged(f"GET http://a.example/ -> {stage.origin.address} code=200 3{words}")


@case
async def test_a_hold_in_the_log(stage: Stage) -> None:
    await stage.start(hold("response", channel="ch"), condition="*,id=r,prefix=p-")
    client = await stage.ask("/hold", host="a.example")
    await stage.proxy.held("p-ch")
    assert stage.proxy.lines()[-1] == f"GET http://a.example/hold -> {stage.origin.address} route=r accept"
    await stage.proxy.publish("p-ch", {R: {"body": "published"}})
    await client.read_response()
    assert stage.proxy.lines("handler")[-2:] == [
        "subscribe http://a.example/hold channel=p-ch",
        "publish channel=p-ch receivers=1",
    ]
