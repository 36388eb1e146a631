"""Defects of the original that are not repeated here (grip 16.3), one test or more for each of them.

Some are numbered cases: ``build-id`` on an item (155); and what is as odd as ever, ``Grip-Expose-Headers`` of
an item (28), what a filter's error leaves of an item (152, 153), and comparisons in patches (174, 176).
"""

from __future__ import annotations

import json

import pytest
import pytest_twisted

from tests.conformance.test_grip_links import HINT, streams
from tests.conformance.test_grip_stream import CHUNKED, SLACK
from tests.support.items import answer, item, piece
from tests.support.origin import Asked, hold, instruct, reply
from tests.support.running import R, S
from tests.support.stage import Stage

case = pytest_twisted.ensureDeferred
pytestmark = pytest.mark.differs("a defect of the original")


@pytest.mark.parametrize("body", [b"{}", b'{"response":{}}', b'{"response":{"body":""}}'])
@case
async def test_instructions_that_ask_for_nothing(stage: Stage, body: bytes) -> None:
    await stage.start(instruct(body))
    client = await stage.ask()
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await stage.usable(client)


MISMATCHES = [
    ("c; filter=skip-self; filter=var-subst", [], "subscription=var-subst message="),
    ("c", ["var-subst"], "subscription= message=var-subst"),
    (
        "c; filter=build-id; filter=var-subst",
        ["var-subst", "build-id"],
        "subscription=build-id,var-subst message=var-subst,build-id",
    ),
]
MISMATCH_IDS = ["attached", "wanted", "order"]
FORMAT = "Grip-Set-Meta: id_format=x"


@pytest.mark.parametrize(("channel", "wanted", "text"), MISMATCHES, ids=MISMATCH_IDS)
@case
async def test_a_stream_tells_of_other_filters(
    stage: Stage, channel: str, wanted: list[str], text: str
) -> None:
    await stage.start(hold("stream", FORMAT, channel=channel, body=b"begin"))
    client, _, body = await stage.stream(initial=b"begin")
    await stage.proxy.publish_all([item({S: {"content": "no", "content-filters": wanted}})])
    assert await body.rest() == f"\n\ncontent filter mismatch: {text}\n".encode()
    await stage.usable(client)


@pytest.mark.parametrize(("channel", "wanted", "text"), MISMATCHES, ids=MISMATCH_IDS)
@case
async def test_a_response_tells_of_other_filters(
    stage: Stage, channel: str, wanted: list[str], text: str
) -> None:
    await stage.start(hold("response", FORMAT, channel=channel))
    client = await stage.held()
    await stage.proxy.publish_all([item({R: {"body": "no", "content-filters": wanted}})])
    got = await client.read_response()
    assert (got.status, got.get("Content-Type")) == (502, "text/plain")
    assert got.body == f"content filter mismatch: {text}\n".encode()
    await stage.usable(client)


@case
async def test_a_mismatch_leaves_the_position(stage: Stage) -> None:
    await stage.start(hold("response", channel="c; prev-id=1"), condition="*")
    client = await stage.held()
    await stage.proxy.publish_all([item({R: {"body": "no", "content-filters": ["var-subst"]}}, "2", "1")])
    await stage.silent(client)
    await stage.proxy.publish_all([answer("next", "3", "1", no_seq=True)])
    assert (await client.read_response()).body == b"next"


@case
async def test_six_filters_in_json(stage: Stage) -> None:
    channels = [{"name": "n", "filters": ["skip-self"] * 6}]
    await stage.start(instruct(json.dumps({"hold": {"mode": "stream", "channels": channels}}).encode()))
    got = await (await stage.ask()).read_response()
    text = b"Failed to parse accept instructions: too many filters for channel 'n'\n"
    assert (got.status, got.body) == (502, text)


def without_body(head: bytes) -> bytes:
    """What a backend answers to HEAD: a length, and nothing behind it."""
    return head[: head.index(b"\r\n\r\n") + 4]


@pytest.mark.parametrize("length", [0, 9])
@case
async def test_head_is_held_and_gets_a_head(stage: Stage, length: int) -> None:
    await stage.start(without_body(hold("response", body=b"x" * length)))
    client = await stage.ask(method="HEAD")
    await stage.proxy.held("c")
    await stage.proxy.publish_all([answer("hello")])
    head = await client.read_head()
    assert head.status == 200
    await stage.usable(client)


@case
async def test_head_times_out_with_a_head(stage: Stage) -> None:
    await stage.start(without_body(hold("response", "Grip-Timeout: 5", "X-A: 1", body=b"x" * 9)))
    client = await stage.ask(method="HEAD")
    await stage.proxy.held("c")
    await stage.proxy.time_until(lambda: client.unread, 5 + SLACK)
    head = await client.read_head()
    assert (head.status, head.get("X-A")) == (200, "1")
    await stage.usable(client)


@pytest.mark.parametrize("kind", [reply("Grip-Channel: c", body=b"x" * 9), hold("stream", body=b"x" * 9)])
@case
async def test_head_of_anything_else_gets_a_head(stage: Stage, kind: bytes) -> None:
    await stage.start(without_body(kind))
    client = await stage.ask(method="HEAD")
    assert (await client.read_head()).status == 200
    await stage.usable(client)


@pytest.mark.parametrize("header", ["Connection: keep-alive", "Connection: Keep-Alive", "X-No: header"])
@case
async def test_an_old_client_sees_the_end_of_a_stream(stage: Stage, header: str) -> None:
    await stage.start(hold("stream", body=b"begin "))
    client, head, body = await stage.stream("c", header, version="HTTP/1.0", initial=b"begin ")
    assert head.raw == b"HTTP/1.0 200 OK\r\n\r\n"
    await stage.proxy.publish_all([piece("end"), item({S: {"action": "close"}})])
    assert await body.rest() == b"end"
    await client.closed()


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@case
async def test_a_stream_that_can_have_no_body_ends(stage: Stage, status: str) -> None:
    await stage.start(hold("stream", f"Grip-Status: {status}", "X-A: 1", body=b"x"))
    client = await stage.ask()
    await client.expect(f"HTTP/1.1 {status}\r\nX-A: 1\r\n\r\n".encode())
    await stage.usable(client)
    await stage.proxy.held("c", 0)


@case
async def test_publishing_less_than_nothing(stage: Stage) -> None:
    await stage.start(reply())
    client = await stage.control()
    client.send(b"POST /publish/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n")
    assert (await client.read_response()).status == 400


def breaks_off(asked: Asked) -> None:
    """A next link's answer of which the end is missing."""
    asked.write(b"HTTP/1.1 200 OK\r\nGrip-Hold: stream\r\nGrip-Channel: d\r\nContent-Length: 9\r\n\r\nhalf")
    asked.close()


@case
async def test_half_of_a_next_link(stage: Stage) -> None:
    stage.origin.on("/n", breaks_off)
    await stage.start(streams(body=b"begin "))
    client, _, body = await stage.stream(initial=b"begin ")
    await stage.proxy.publish_all([HINT])
    assert await body.rest() == b"half\n\nFailed to retrieve next link.\n"
    await stage.usable(client)
    await stage.proxy.held("d", 0)
    assert len(stage.origin.asked_for("/n")) == 1


def is_silent(asked: Asked) -> None:
    """A next link's answer of which nothing but the head comes."""
    asked.write(without_body(reply("Grip-Hold: stream", "Grip-Channel: d", body=b"never")))
    asked.close()


@case
async def test_nothing_of_a_next_link(stage: Stage) -> None:
    """Nothing was written, so it is tried again."""
    stage.origin.on("/n", is_silent, reply(body=b"bye"))
    await stage.start(streams())
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([HINT])
    await stage.origin.request(1, "/n")
    passed = await stage.proxy.time_until(lambda: body.ended, 2 + SLACK)
    assert passed >= 1 - SLACK
    assert body.take() == b"bye"


@case
async def test_items_of_one_moment_are_released_in_order(stage: Stage) -> None:
    await stage.start(hold("stream"))
    _, _, body = await stage.stream()
    order = [5, 3, 8, 1, 9, 7, 2, 6, 4]
    items = [piece(str(n), f"{n}", f"before {n}") for n in order]
    await stage.proxy.publish_all([piece("0", "0"), *items])
    await body.expect(b"0")
    await stage.proxy.time_until(lambda: len(body.pending) == len(order), 6 + SLACK)
    await body.expect("".join(map(str, order)).encode())


@pytest.mark.parametrize("mode", ["none", "response", "stream"])
@case
async def test_a_reason_of_any_bytes(stage: Stage, mode: str) -> None:
    lines = ["Grip-Status: 404 Gar nicht sch\xf6n \xff", "Grip-Timeout: 5", "Grip-Channel: c"]
    if mode != "none":
        lines.append(f"Grip-Hold: {mode}")
    await stage.start(reply(*lines))
    client = await stage.ask()
    if mode == "response":
        await stage.proxy.held("c")
    await stage.proxy.time_until(lambda: client.unread, 5 + SLACK)
    framing = CHUNKED if mode == "stream" else b"Content-Length: 0\r\n\r\n"
    await client.expect(b"HTTP/1.1 404 Gar nicht sch\xf6n \xff\r\n" + framing)
