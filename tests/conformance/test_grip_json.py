"""Instructions as a JSON body (grip 17.5)."""

from __future__ import annotations

import json

import pytest
import pytest_twisted

from tests.conformance.test_grip_invalid import refused
from tests.conformance.test_grip_stream import CHUNKED, SLACK
from tests.support.origin import instruct
from tests.support.running import S
from tests.support.stage import Stage, numbered

case = pytest_twisted.ensureDeferred


def value(document: object) -> bytes:
    """JSON on the wire."""
    return json.dumps(document).encode()


@case
async def test_grip_088_stream(stage: Stage) -> None:
    document = {
        "hold": {"mode": "stream", "channels": [{"name": "c"}]},
        "response": {"body": "st", "headers": {"Content-Type": "text/plain", "X": "y"}},
    }
    await stage.start(instruct(value(document), "X-O: 1"))
    _, head, body = await stage.stream(initial=b"st")
    assert head.raw == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX: y\r\n" + CHUNKED
    await stage.proxy.publish("c", {S: {"content": "item"}})
    await body.expect(b"item")
    assert not body.ended


@pytest.mark.differs("1.36 always updates on the first subscription")
@case
async def test_grip_089_response_hold(stage: Stage) -> None:
    document = {"hold": {"channels": [{"name": "c"}], "timeout": 5}, "response": {"code": 404}}
    await stage.start(instruct(value(document)))
    client = await stage.held()
    await stage.proxy.advance(4.3)
    await stage.silent(client)
    await stage.proxy.advance(1.0)
    await client.expect(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    await stage.usable(client)


NO_JSON = "failed to parse application/grip-instruct content as JSON"
KIND = "application/grip-instruct"
HEADERS = [["A", "1"], ["B", "2"], ["A", "3"], ["Content-Length", "77"]]
ANSWERS = [
    (
        "090",
        value({"response": {"code": 201, "reason": "Yo", "body": "b", "headers": HEADERS}}),
        [],
        KIND,
        "200 OK",
        b"HTTP/1.1 201 Yo\r\nA: 1\r\nB: 2\r\nA: 3\r\nContent-Length: 1\r\n\r\nb",
    ),
    (
        "091",
        value({"response": {"body": "b"}}),
        [],
        KIND,
        "201 Created",
        refused("response code for application/grip-instruct content must be 200"),
    ),
    ("092-word", b"nope", [], KIND, "200 OK", refused(NO_JSON)),
    ("092-scalar", b'"x"', [], KIND, "200 OK", refused(NO_JSON)),
    ("093", b"[]", [], KIND, "200 OK", refused("instruct must be an object")),
    ("094", b'{"hold":{}}', [], KIND, "200 OK", refused("hold does not contain 'channels'")),
    (
        "095",
        b'{"hold":{"mode":"x","channels":[]}}',
        [],
        KIND,
        "200 OK",
        refused("hold 'mode' must be set to either 'response' or 'stream'"),
    ),
    (
        "096",
        b'{"hold":{"channels":[{"name":5}]}}',
        [],
        KIND,
        "200 OK",
        refused("channel contains 'name' with wrong type"),
    ),
    (
        "098",
        b'{"hold":{"mode":"stream","channels":[],"meta":{"a":5}}}',
        [],
        KIND,
        "200 OK",
        refused("'meta' contains 'a' with wrong type"),
    ),
    (
        "099",
        b'{"response":{"body":"ok"}}',
        [],
        f"{KIND}; charset=utf8",
        "200 OK",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "100",
        b'{"response":{"body":"ok"}}',
        ["X-O: 1"],
        "Application/Grip-Instruct",
        "200 OK",
        b"HTTP/1.1 200 OK\r\nContent-Type: Application/Grip-Instruct\r\nX-O: 1\r\nContent-Length: 26\r\n\r\n"
        b'{"response":{"body":"ok"}}',
    ),
    (
        "102-header",
        b'{"response":{"body":"ok"}}',
        ["Grip-Status: 404 Foo"],
        KIND,
        "200 OK",
        b"HTTP/1.1 404 Foo\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "102-code",
        b'{"response":{"code":201,"body":"ok"}}',
        ["Grip-Status: 404 Foo"],
        KIND,
        "200 OK",
        b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok",
    ),
]


@pytest.mark.parametrize(
    ("document", "headers", "kind", "status", "expected"),
    numbered(ANSWERS),
)
@case
async def test_answered_at_once(
    stage: Stage, document: bytes, headers: list[str], kind: str, status: str, expected: bytes
) -> None:
    await stage.start(instruct(document, *headers, kind=kind, status=status))
    client = await stage.ask()
    await client.expect(expected)
    await stage.usable(client)


@case
async def test_grip_097_timeout_that_is_no_number(stage: Stage) -> None:
    await stage.start(instruct(b'{"hold":{"mode":"stream","channels":[],"timeout":"x"}}'))
    client = await stage.ask()
    head = await client.read_head()
    assert head.raw == b"HTTP/1.1 200 OK\r\n" + CHUNKED
    await stage.silent(client)


@case
async def test_grip_101_channels_of_both(stage: Stage) -> None:
    document = {"hold": {"mode": "stream", "channels": [{"name": "c1"}]}}
    await stage.start(instruct(value(document), "Grip-Hold: response", "Grip-Channel: c2"))
    _, head, body = await stage.stream("c1")
    assert head.raw == b"HTTP/1.1 200 OK\r\n" + CHUNKED
    await stage.proxy.publish("c1", {S: {"content": "one"}})
    await body.expect(b"one")
    await stage.proxy.publish("c2", {S: {"content": "two"}})
    await body.expect(b"two")


@case
async def test_grip_103_keep_alive_in_intervals(stage: Stage) -> None:
    keep_alive = {"content-bin": "AP8K", "content": "no", "timeout": 2}
    document = {"hold": {"mode": "stream", "channels": [{"name": "c"}], "keep-alive": keep_alive}}
    await stage.start(instruct(value(document)))
    _, _, body = await stage.stream()
    for _ in range(3):
        await stage.proxy.advance(0.6)
        await stage.proxy.publish("c", {S: {"content": "item"}})
        await body.expect(b"item")
        passed = 0.6 + await stage.proxy.time_until(lambda: len(body.pending) >= 3, 1.4 + SLACK)
        assert body.take() == b"\x00\xff\n"
        assert passed >= 1 - SLACK
