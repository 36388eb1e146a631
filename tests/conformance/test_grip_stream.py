"""Stream holds (grip 17.2): a response that goes on with every published item."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import hold
from tests.support.rawclient import BodyReader
from tests.support.running import R, S
from tests.support.stage import Stage, numbered

case = pytest_twisted.ensureDeferred
CHUNKED = b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = 100_001


async def say(stage: Stage, *contents: str, channel: str = "c") -> None:
    """Publish, one request each."""
    for content in contents:
        await stage.proxy.publish(channel, {S: {"content": content}})


async def nothing_more(stage: Stage, body: BodyReader, channel: str = "c") -> None:
    """The stream is open and nothing came: the next bytes are a marker's."""
    await say(stage, "-marker-", channel=channel)
    await body.expect(b"-marker-")
    assert not body.ended


@case
async def test_grip_033_head_body_items(stage: Stage) -> None:
    await stage.start(hold("stream", "Content-Type: text/plain", body=b"welcome\n"))
    _, head, body = await stage.stream(initial=b"welcome\n")
    assert head.raw == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + CHUNKED
    await say(stage, "hello\n", "")
    await body.expect(b"hello\n")
    await nothing_more(stage, body)


@case
async def test_grip_034_binary_content(stage: Stage) -> None:
    await stage.start(hold("stream"))
    _, _, body = await stage.stream()
    await stage.proxy.publish("c", {S: {"content": "no", "content-bin": "AP8K"}})
    await body.expect(b"\x00\xff\n")
    await nothing_more(stage, body)


@case
async def test_grip_035_close(stage: Stage) -> None:
    await stage.start(hold("stream"))
    client, _, body = await stage.stream()
    await say(stage, "a")
    await stage.proxy.publish("c", {S: {"action": "close"}})
    await body.expect(b"a")
    await body.end()
    await stage.usable(client)


@case
async def test_grip_036_close_http_1_0(stage: Stage) -> None:
    await stage.start(hold("stream"))
    client, head, _ = await stage.stream(version="HTTP/1.0")
    assert head.raw == b"HTTP/1.0 200 OK\r\n\r\n"
    await say(stage, "a")
    await stage.proxy.publish("c", {S: {"action": "close"}})
    await client.expect(b"a")
    await client.closed()


@case
async def test_grip_037_close_with_connection_close(stage: Stage) -> None:
    await stage.start(hold("stream"))
    client, head, body = await stage.stream("c", "Connection: close")
    assert head.raw == b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + CHUNKED
    await say(stage, "a")
    await stage.proxy.publish("c", {S: {"action": "close"}})
    await body.expect(b"a")
    await body.end()
    await client.closed()


@case
async def test_grip_038_without_effect(stage: Stage) -> None:
    await stage.start(hold("stream"))
    _, _, body = await stage.stream()
    await stage.proxy.publish("c", {S: {"action": "hint"}})
    await stage.proxy.publish("c", {R: {"body": "x"}})
    await say(stage, "after")
    await body.expect(b"after")
    await nothing_more(stage, body)
    assert len(stage.origin.requests) == 1


@pytest.mark.differs("1.36 knows no refresh")
@case
async def test_grip_038_refresh(stage: Stage) -> None:
    await stage.start(hold("stream"))
    _, _, body = await stage.stream()
    await stage.proxy.publish("c", {S: {"action": "refresh"}})
    await nothing_more(stage, body)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(["Grip-Channel: c1, c2"], id="grip-039-list"),
        pytest.param(["Grip-Channel: c1", "Grip-Channel: c2"], id="grip-039-lines"),
    ],
)
@case
async def test_two_channels(stage: Stage, headers: list[str]) -> None:
    await stage.start(hold("stream", *headers, channel=None))
    _, _, body = await stage.stream("c2")
    await say(stage, "one", channel="c1")
    await body.expect(b"one")
    await say(stage, "two", channel="c2")
    await body.expect(b"two")


@case
async def test_grip_040_empty_channel_name(stage: Stage) -> None:
    await stage.start(hold("stream", channel="a, ,b,"))
    _, _, body = await stage.stream("b")
    await say(stage, "empty", channel="")
    await body.expect(b"empty")
    await nothing_more(stage, body, "b")


@case
async def test_grip_041_quotes_belong_to_the_name(stage: Stage) -> None:
    await stage.start(hold("stream", channel='"q,w"'))
    _, _, body = await stage.stream('"q,w"')
    await say(stage, "not this", channel="q,w")
    await say(stage, "this", channel='"q,w"')
    await body.expect(b"this")
    await nothing_more(stage, body, '"q,w"')


@case
async def test_grip_042_space_in_the_name(stage: Stage) -> None:
    await stage.start(hold("stream", channel="my chan;x=y"))
    _, _, body = await stage.stream("my chan")
    await say(stage, "here", channel="my chan")
    await body.expect(b"here")


@case
async def test_grip_043_route_prefix(stage: Stage) -> None:
    await stage.start(hold("stream", channel="p1"), condition="*,debug,prefix=pre-")
    _, _, body = await stage.stream("pre-p1")
    await say(stage, "not this", channel="p1")
    await say(stage, "this", channel="pre-p1")
    await body.expect(b"this")
    await nothing_more(stage, body, "pre-p1")


@case
async def test_grip_044_implicit_channel(stage: Stage) -> None:
    await stage.start(hold("stream", channel=None), target="sub=implicit")
    _, _, body = await stage.stream("implicit")
    await say(stage, "here", channel="implicit")
    await body.expect(b"here")


@case
async def test_grip_045_twenty_channels(stage: Stage) -> None:
    await stage.start(hold("stream", channel=", ".join(f"c{n}" for n in range(1, 26))))
    _, _, body = await stage.stream("c20")
    await say(stage, "not this", channel="c21")
    await say(stage, "this", channel="c20")
    await body.expect(b"this")
    await nothing_more(stage, body, "c20")


@case
async def test_grip_046_many_items_in_one_post(stage: Stage) -> None:
    await stage.start(hold("stream"))
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([{"channel": "c", "formats": {S: {"content": str(n)}}} for n in range(8)])
    await body.expect(b"01234567")
    await nothing_more(stage, body)


@case
async def test_grip_047_status(stage: Stage) -> None:
    await stage.start(hold("stream", "Grip-Status: 404", body=b"x"))
    _, head, body = await stage.stream(initial=b"x")
    assert head.raw == b"HTTP/1.1 404 Not Found\r\n" + CHUNKED
    await nothing_more(stage, body)


KEEP_ALIVES = [
    ("048", "ping; timeout=2", b"ping", 1, 2),
    ("049", "\\x01a\\r\\n\\\\b\\tz; format=cstring; timeout=2", b"\x01a\r\n\\bz", 1, 2),
    ("050", "AP8K; format=base64; timeout=2", b"\x00\xff\n", 1, 2),
    ("051", "x; timeout=0", b"x", 0, 1),
    ("054", '"a b"; timeout=2', b'"a b"', 1, 2),
    ("055", "a, b; timeout=2", b"a, b", 1, 2),
]
SLACK = 0.3
"""Seconds: two ticks of the wheel and one look of ``time_until``."""


@pytest.mark.parametrize(("value", "data", "least", "most"), numbered(KEEP_ALIVES))
@case
async def test_keep_alive(stage: Stage, value: str, data: bytes, least: float, most: float) -> None:
    await stage.start(hold("stream", f"Grip-Keep-Alive: {value}", body=b"init"))
    _, _, body = await stage.stream(initial=b"init")
    for _ in range(3):
        passed = await stage.proxy.time_until(lambda: len(body.pending) >= len(data), most + SLACK)
        assert body.take() == data
        assert least - SLACK <= passed


@case
async def test_grip_052_keep_alive_when_idle(stage: Stage) -> None:
    await stage.start(hold("stream", "Grip-Keep-Alive: K; timeout=3"))
    _, _, body = await stage.stream()
    await stage.proxy.advance(1.8)
    await say(stage, "item")
    await body.expect(b"item")
    passed = await stage.proxy.time_until(lambda: body.pending, 3 + SLACK)
    assert passed >= 2 - SLACK
    assert body.take() == b"K"


@case
async def test_grip_053_keep_alive_in_intervals(stage: Stage) -> None:
    await stage.start(hold("stream", "Grip-Keep-Alive: K; timeout=3; mode=interval"))
    _, _, body = await stage.stream()
    await stage.proxy.advance(1.8)
    await say(stage, "item")
    await body.expect(b"item")
    passed = await stage.proxy.time_until(lambda: body.pending, 1.3 + SLACK)
    assert passed >= 0.2 - SLACK
    assert body.take() == b"K"


@case
async def test_grip_056_large_initial_body(stage: Stage) -> None:
    large = b"x" * LARGE
    await stage.start(hold("stream", "Grip-Status: 404", "X-A: 1", body=large))
    _, head, body = await stage.stream(initial=large)
    assert head.raw == b"HTTP/1.1 404 Not Found\r\nX-A: 1\r\n" + CHUNKED
    await say(stage, "pub")
    await body.expect(b"pub")
    await nothing_more(stage, body)


def bad_gateway(text: str) -> bytes:
    """The whole 502."""
    head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
    return (head + text).encode()


@case
async def test_grip_057_too_large_for_a_response_hold(stage: Stage) -> None:
    await stage.start(hold("response", body=b"x" * LARGE), hold("response", body=b"x" * (LARGE - 1)))
    client = await stage.ask()
    await client.expect(bad_gateway(f"GRIP instruct response too large from {stage.origin.address}\n"))
    client.request("/")
    await stage.proxy.held("c")
    await stage.proxy.publish("c", {R: {"body": "was held"}})
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nwas held")


@case
async def test_grip_057_too_large_without_debug(stage: Stage) -> None:
    await stage.start(hold("response", body=b"x" * LARGE), condition="*")
    client = await stage.ask()
    await client.expect(bad_gateway("Error while proxying to origin.\n"))


@case
async def test_grip_058_large_request_body(stage: Stage) -> None:
    await stage.start(hold("response"))
    client = await stage.ask(method="POST", body=b"x" * LARGE)
    answer = await client.read_response()
    assert (answer.line, answer.body) == (
        "HTTP/1.1 400 Bad Request",
        b"Request too large to accept GRIP instruct.\n",
    )
    assert answer.get("Content-Type") == "text/plain"
    client = await stage.ask(method="POST", body=b"x" * (LARGE - 1))
    await stage.proxy.held("c")
    await stage.proxy.publish("c", {R: {"body": "was held"}})
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nwas held")


@case
async def test_grip_059_client_that_does_not_read(stage: Stage) -> None:
    """The healthy client is waited for after every ten items, so that only the sleeper may lose any."""
    await stage.start(hold("stream", body=b"."))
    sleeper = await stage.client(receive_buffer=4096)
    sleeper.request("/")
    slow = sleeper.body(await sleeper.read_head())
    await slow.expect(b".")
    reader = await stage.ask()
    healthy = reader.body(await reader.read_head())
    await healthy.expect(b".")
    await stage.proxy.held("c", 2)
    sleeper.pause()
    size, count = 20_000, 400
    items = [f"{n:05d}".ljust(size, "x") for n in range(count)]
    for start in range(0, count, 10):
        batch = items[start : start + 10]
        await stage.proxy.publish_all([{"channel": "c", "formats": {S: {"content": i}}} for i in batch])
        await stage.proxy.advance(0.1)
        await healthy.expect("".join(batch).encode())
    sleeper.resume()
    marker = "marker".ljust(size).encode()
    while not slow.pending.endswith(marker):
        await stage.proxy.publish("c", {S: {"content": marker.decode()}})
        await stage.proxy.advance(0.1)
        await healthy.expect(marker)
    received = slow.take().replace(marker, b"")
    assert received == "".join(items).encode()[: len(received)]
    assert 100 <= len(received) / size < count
    assert not slow.ended
