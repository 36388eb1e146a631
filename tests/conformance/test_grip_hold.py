"""Response holds (grip 17.1): a request that waits for a published answer or for its timeout."""

from __future__ import annotations

import gzip

import pytest
import pytest_twisted

from tests.support.origin import Asked, hold, reply
from tests.support.running import R, S
from tests.support.stage import Stage, numbered

case = pytest_twisted.ensureDeferred
MARKER = {R: {"body": "marker"}}
MARKED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmarker"
ALWAYS_UPDATES = "1.36 always updates on the first subscription"
NO_UPDATE = {"update_on_first_subscription": "false"}


@case
async def test_grip_001_published_body(stage: Stage) -> None:
    await stage.start(hold("response", "X-Foo: bar", "Content-Type: text/plain"))
    client = await stage.held()
    await stage.silent(client)
    await stage.proxy.publish("c", {R: {"body": "hello\n"}})
    await client.expect(
        b"HTTP/1.1 200 OK\r\nX-Foo: bar\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n"
    )
    await stage.usable(client)


@case
async def test_grip_002_published_headers_replace(stage: Stage) -> None:
    await stage.start(hold("response", "X-Foo: bar", "X-Bar: 1", "Set-Cookie: a=1", "Set-Cookie: b=2"))
    client = await stage.held()
    headers = [
        ["x-foo", "new"],
        ["x-foo", "new2"],
        ["Set-Cookie", "c=3"],
        ["Grip-Foo", "z"],
        ["Content-Length", "999"],
        ["Transfer-Encoding", "x"],
        ["Connection", "close"],
    ]
    await stage.proxy.publish("c", {R: {"code": 201, "headers": headers, "body": "hello\n"}})
    await client.expect(
        b"HTTP/1.1 201 Created\r\nX-Bar: 1\r\nx-foo: new\r\nx-foo: new2\r\nSet-Cookie: c=3\r\n"
        b"Content-Length: 6\r\n\r\nhello\n"
    )
    await stage.usable(client)


PUBLISHED = [
    (
        "003",
        {"code": 299, "body-bin": "aGVsbG8=", "body": "no", "headers": {"Zed": "1", "Alpha": "2"}},
        b"HTTP/1.1 299 Undefined Reason\r\nAlpha: 2\r\nZed: 1\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "004",
        {"code": 404, "reason": "Nothing Here", "body": ""},
        b"HTTP/1.1 404 Nothing Here\r\nContent-Length: 0\r\n\r\n",
    ),
    ("005", {"code": 204, "body": "x"}, b"HTTP/1.1 204 No Content\r\n\r\n"),
    ("006", {"code": 304, "body": "x"}, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ("007", {"code": 200.7, "body": "x"}, b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx"),
    ("008", {"code": "404", "body": "x"}, b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx"),
    ("009", {"body-bin": "aGV%%sbG8=xx"}, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello1"),
]


@pytest.mark.parametrize(("form", "expected"), numbered(PUBLISHED))
@case
async def test_published_response(stage: Stage, form: object, expected: bytes) -> None:
    await stage.start(hold("response"))
    client = await stage.held()
    await stage.proxy.publish("c", {R: form})
    await client.expect(expected)
    await stage.usable(client)


@case
async def test_grip_010_http_1_0(stage: Stage) -> None:
    await stage.start(hold("response"))
    client = await stage.held(version="HTTP/1.0")
    await stage.proxy.publish("c", {R: {"body": "x"}})
    await client.expect(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx")
    await client.closed()


@case
async def test_grip_011_http_1_0_keep_alive(stage: Stage) -> None:
    await stage.start(hold("response"))
    client = await stage.held("c", "Connection: keep-alive", version="HTTP/1.0")
    await stage.proxy.publish("c", {R: {"body": "x"}})
    await client.expect(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx")
    await stage.usable(client)


@case
async def test_grip_012_connection_close(stage: Stage) -> None:
    await stage.start(hold("response"))
    client = await stage.held("c", "Connection: close")
    await stage.proxy.publish("c", {R: {"body": "x"}})
    await client.expect(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")
    await client.closed()


@case
async def test_grip_013_second_hold_on_the_connection(stage: Stage) -> None:
    await stage.start(hold("response"))
    client = await stage.held()
    for body in ("one", "two"):
        await stage.proxy.publish("c", {R: {"body": body}})
        await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body.encode())
        client.request("/")
        await stage.proxy.held("c")
    assert len(stage.origin.requests) == 3


@case
async def test_grip_014_not_for_a_response_hold(stage: Stage) -> None:
    await stage.start(hold("response"))
    client = await stage.held()
    await stage.proxy.publish("c", {S: {"content": "x"}})
    await stage.proxy.publish("c", {R: {"action": "close"}})
    await stage.proxy.publish("c", MARKER)
    await client.expect(MARKED)
    await stage.usable(client)


@pytest.mark.differs("1.36 knows no refresh")
@case
async def test_grip_014_refresh(stage: Stage) -> None:
    await stage.start(hold("response"))
    client = await stage.held()
    await stage.proxy.publish("c", {R: {"action": "refresh"}})
    await stage.proxy.publish("c", MARKER)
    await client.expect(MARKED)


@case
async def test_grip_015_two_clients(stage: Stage) -> None:
    await stage.start(hold("response"))
    first = await stage.held()
    second = await stage.ask()
    await stage.proxy.held("c", 2)
    await stage.proxy.publish("c", MARKER)
    await first.expect(MARKED)
    await second.expect(MARKED)


async def timed_out(stage: Stage, *headers: str, status: str = "200 OK", body: bytes = b"") -> bytes:
    """The answer of a response hold after 5 seconds, up to the end that a usable connection proves."""
    await stage.start(hold("response", *headers, status=status, body=body), handler=NO_UPDATE)
    client = await stage.held()
    await stage.proxy.advance(4.3)
    await stage.silent(client)
    await stage.proxy.advance(1.0)
    answer = await client.read_until(b"\r\n\r\n")
    answer += await client.read_bytes(len(body) if b"Content-Length" in answer else 0)
    await stage.usable(client)
    assert len(stage.origin.requests) == 1
    return answer


TIMEOUTS = [
    (
        "016",
        ["Grip-Timeout: 5", "X-A: b"],
        "200 OK",
        b"timeout!\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 9\r\n\r\ntimeout!\n",
    ),
    ("017", ["Grip-Timeout: 0"], "200 OK", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    (
        "021",
        ["Grip-Timeout: 5", "Grip-Status: 304 Not Modified", 'ETag: "x"'],
        "200 OK",
        b"",
        b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
    ),
    (
        "022",
        ["Grip-Timeout: 5", "Grip-Status: 404  Two Spaces"],
        "200 OK",
        b"",
        b"HTTP/1.1 404  Two Spaces\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "023",
        ["Grip-Timeout: 5", "Grip-Status: 999"],
        "200 OK",
        b"",
        b"HTTP/1.1 999 Undefined Reason\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "024",
        ["Grip-Timeout: 5"],
        "500 Oops",
        b"sorry",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nsorry",
    ),
    (
        "025",
        [
            "Grip-Timeout: 5",
            "X-A: 1",
            "X-B: 2",
            "X-C: 3",
            "Content-Type: text/plain",
            "Set-Cookie: a=b",
            "Grip-Expose-Headers: x-a, X-C",
        ],
        "200 OK",
        b"",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-C: 3\r\nContent-Length: 0\r\n\r\n",
    ),
]


@pytest.mark.parametrize(("headers", "status", "body", "expected"), numbered(TIMEOUTS))
@pytest.mark.differs(ALWAYS_UPDATES)
@case
async def test_timeout(stage: Stage, headers: list[str], status: str, body: bytes, expected: bytes) -> None:
    assert await timed_out(stage, *headers, status=status, body=body) == expected


@case
async def test_grip_018_no_channel(stage: Stage) -> None:
    await stage.start(hold("response", "Grip-Timeout: 5", channel=None, body=b"t12"), handler=NO_UPDATE)
    client = await stage.ask()
    await stage.origin.request(1)
    await stage.silent(client)
    await stage.proxy.advance(4.3)
    await stage.silent(client)
    await stage.proxy.advance(1.0)
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nt12")
    await stage.usable(client)
    assert len(stage.origin.requests) == 1


@pytest.mark.differs(ALWAYS_UPDATES)
@case
async def test_grip_020_no_update_on_first_subscription(stage: Stage) -> None:
    await stage.start(hold("response", "Grip-Timeout: 5"), handler=NO_UPDATE)
    client = await stage.held()
    for _ in range(4):
        await stage.proxy.advance(1)
    await stage.silent(client)
    await stage.proxy.advance(1.3)
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await stage.proxy.settle()
    assert len(stage.origin.requests) == 1


@pytest.mark.differs("the reference sends the encoded bytes without saying so")
@case
async def test_grip_026_content_encoding(stage: Stage) -> None:
    body = gzip.compress(b"plain words")
    await stage.start(
        hold("response", "Grip-Timeout: 5", "Content-Encoding: gzip", "Keep-Alive: timeout=5", body=body)
    )
    client = await stage.held()
    await stage.proxy.advance(5.3)
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nplain words")
    await stage.usable(client)


@case
async def test_grip_027_no_keep_alive(stage: Stage) -> None:
    await stage.start(hold("response", "Grip-Keep-Alive: \\n; format=cstring; timeout=2"))
    client = await stage.held()
    for _ in range(3):
        await stage.proxy.advance(2)
    await stage.silent(client)
    await stage.proxy.publish("c", MARKER)
    await client.expect(MARKED)


@case
async def test_grip_028_expose_headers_of_an_item_remove(stage: Stage) -> None:
    await stage.start(hold("response", "X-Keep: 1", "X-Del: 2"))
    client = await stage.held()
    headers = [["Grip-Expose-Headers", "X-Del, X-New"], ["X-New", "3"], ["X-Other", "4"]]
    await stage.proxy.publish("c", {R: {"headers": headers, "body": ""}})
    await client.expect(b"HTTP/1.1 200 OK\r\nX-Keep: 1\r\nX-Other: 4\r\nContent-Length: 0\r\n\r\n")


def shown(asked: Asked) -> tuple[object, ...]:
    """What of a request must be the same when it is run again; the signature's time may differ."""
    headers = [(name, "" if name == "Grip-Sig" else value) for name, value in asked.headers]
    return asked.method, asked.target, headers, asked.body


@pytest.mark.parametrize(
    ("method", "body"),
    [pytest.param("GET", None, id="grip-029-get"), pytest.param("POST", b"q=1", id="grip-029-post")],
)
@case
async def test_hint_runs_the_request_again(stage: Stage, method: str, body: bytes | None) -> None:
    await stage.start(hold("response", "X-Old: 1"), reply(body=b"recovered"))
    client = await stage.ask("/path?query=1", "X-Own: yes", "Cookie: a=b", method=method, body=body)
    await stage.proxy.held("c")
    await stage.proxy.publish("c", {R: {"action": "hint"}})
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nrecovered")
    await stage.usable(client)
    first, second = stage.origin.requests
    assert shown(second) == shown(first)
    assert second.get("Grip-Last") is None
