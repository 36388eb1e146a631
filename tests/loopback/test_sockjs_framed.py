"""SockJS within a WebSocket, framed or raw (websocket 6.6 to 6.8)."""

from __future__ import annotations

import struct
from collections.abc import Hashable
from dataclasses import replace

import pytest
import pytest_twisted

from pushpin_tw.broker.parcel import Parcel
from pushpin_tw.grip.item import parse_item
from pushpin_tw.sockets import BINARY, CLOSE, PING, PONG, SOCKET, TEXT
from pushpin_tw.wire.websocket import encode_frame
from tests.loopback.sockjsstage import BASE, Stage, Started, sockjs
from tests.support.rawclient import RawClient

HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
FRAMED = "/sj/s/i/websocket"


def masked(kind: int, data: bytes, fin: bool = True) -> bytes:
    """A client's frame; the mask is zero, so that the text stays legible."""
    if len(data) < 126:
        size = bytes([0x80 | len(data)])
    else:
        size = (
            struct.pack("!BQ", 0xFF, len(data)) if len(data) > 0xFFFF else struct.pack("!BH", 0xFE, len(data))
        )
    return bytes([(0x80 if fin else 0) | kind]) + size + bytes(4) + data


def encoded(form: Hashable, content: str) -> bytes:
    """As an item's content is published."""
    item = parse_item({"channel": "c", "formats": {"ws-message": {"content": content}}})
    return Parcel(item).encoded(SOCKET, form)


def text(data: bytes) -> bytes:
    return encode_frame(TEXT, data)


async def opened(stage: Stage, target: str = FRAMED) -> tuple[RawClient, Started]:
    client = await stage.house.client()
    client.request(target, *HANDSHAKE)
    head = await client.read_head()
    assert (head.status, head.get("Set-Cookie")) == (101, "a=b")
    return client, stage.started[-1]


@pytest_twisted.ensureDeferred
async def test_ws_136_frames_both_ways() -> None:
    async with sockjs() as stage:
        client, started = await opened(stage)
        await client.expect(text(b"o"))
        started.socket.send(TEXT, b"hello")
        started.socket.send(BINARY, b"\xff\x00")
        published = [encoded(started.socket.form, content) for content in ("pub", "lished")]
        started.socket.deliver(b"".join(published), published)
        frames = [b'a["hello"]', 'a["\ufffd\\u0000"]'.encode(), b'a["pub"]', b'a["lished"]']
        await client.expect(b"".join(map(text, frames)))
        client.send(masked(TEXT, b'["a","b"]') + masked(TEXT, b"[]") + masked(BINARY, b'["c\\u00e9"]'))
        client.send(masked(TEXT, b'["in ', fin=False) + masked(PING, b"?") + masked(0, b'pieces"]'))
        await started.told(b"a", b"b", "cé".encode(), b"in pieces")
        started.socket.send(PING, b"?")
        started.socket.send(PONG, b"!")
        started.socket.send(TEXT, b"end")
        await client.expect(text(b'a["end"]'))
        assert not stage.sockjs.sessions


@pytest_twisted.ensureDeferred
async def test_ws_136_the_heart_beats() -> None:
    async with sockjs() as stage:
        client, started = await opened(stage)
        await client.expect(text(b"o"))
        stage.advance(24)
        started.socket.send(TEXT, b"x")
        await client.expect(text(b'a["x"]'))
        stage.advance(1)
        await client.expect(text(b"h"))
        stage.advance(25)
        await client.expect(text(b"h"))


@pytest.mark.parametrize(
    "data", [b'"a"', b"junk", b"5", b"", b"[1]", b'["a",null]', b'["%b"]' % (b"x" * 200_000)]
)
@pytest_twisted.ensureDeferred
async def test_ws_136_what_is_no_array_of_strings_drops(data: bytes) -> None:
    async with sockjs() as stage:
        client, started = await opened(stage)
        await client.expect(text(b"o"))
        client.send(masked(TEXT, data) + masked(TEXT, b'["never"]'))
        await client.closed()
        await started.told("socket lost")
        await stage.house.settled()


@pytest_twisted.ensureDeferred
async def test_ws_136_close_is_a_frame_of_websocket() -> None:
    async with sockjs() as stage:
        client, started = await opened(stage)
        await client.expect(text(b"o"))
        started.socket.close(4001, b"bye")
        await client.expect(encode_frame(CLOSE, b"\x0f\xa1bye"))
        stage.advance(26)
        client.send(masked(CLOSE, b"\x0f\xa2ok"))
        await client.closed()
        await started.told(("closed", 4002, b"ok"), "socket lost")


@pytest_twisted.ensureDeferred
async def test_ws_136_the_client_closes_or_leaves() -> None:
    async with sockjs() as stage:
        client, started = await opened(stage)
        other, another = await opened(stage)
        client.send(masked(CLOSE, b"\x0f\xa1bye"))
        await started.told(("closed", 4001, b"bye"))
        other.drop()
        await another.told("socket lost")
        assert started.events == [("closed", 4001, b"bye")]
        started.socket.abort()


@pytest_twisted.ensureDeferred
async def test_ws_139_fragments_become_one_string() -> None:
    async with sockjs() as stage:
        client, started = await opened(stage)
        for data, first, last in [(b"\xc3", True, False), (b"\xa9", False, False), (b"", False, True)]:
            started.socket.send(TEXT, data, first, last)
        await client.expect(text(b"o") + text('a["é"]'.encode()))
        started.socket.send(TEXT, b"x" * 200_001, True, False)
        await client.closed()
        await started.told("socket lost")


@pytest_twisted.ensureDeferred
async def test_ws_137_a_raw_websocket_is_left_alone() -> None:
    async with sockjs() as stage:
        client, started = await opened(stage, "/sj/websocket?a=b")
        assert (started.uri.path, started.uri.query) == (b"/sj/websocket", b"a=b")
        started.socket.send(TEXT, b"hello")
        client.send(masked(TEXT, b"junk"))
        await client.expect(text(b"hello"))
        await started.told(b"junk")
        started.socket.abort()


@pytest.mark.parametrize(
    "path", ["/sj", "/sj/", "/sj/info", "/sj/s/i", "/sj/s/i/x/websocket", "/sj//i/websocket"]
)
@pytest_twisted.ensureDeferred
async def test_ws_137_there_is_no_other_websocket(path: str) -> None:
    async with sockjs() as stage:
        client = await stage.house.client()
        client.request(path, *HANDSHAKE)
        answer = await client.read_response()
        assert (answer.status, answer.body) == (404, b"Not Found\n")
        assert answer.headers[0] == ("Content-Type", "text/plain")
        assert {name for name, _ in answer.headers[1:]} <= {"Connection", "Content-Length"}
        await client.closed()
        assert not stage.started


@pytest.mark.parametrize(
    ("target", "as_path", "path"),
    [
        (FRAMED, b"", b"/sj/websocket"),
        ("/sj/s/i/anything", b"", b"/sj/websocket"),
        (FRAMED, b"/ws", b"/ws"),
        ("/sj/websocket", b"/ws", b"/ws"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_ws_138_where_a_websocket_leads(target: str, as_path: bytes, path: bytes) -> None:
    async with sockjs(replace(BASE, sockjs_as_path=as_path)) as stage:
        _, started = await opened(stage, f"{target}?a=b")
        assert (started.uri.scheme, started.uri.path, started.uri.query) == ("ws", path, b"a=b")
        assert (b"Sec-WebSocket-Version", b"13") in started.request.headers
        started.socket.abort()


@pytest_twisted.ensureDeferred
async def test_ws_136_a_rejection_is_relayed_as_it_is() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        client = await stage.house.client()
        client.request(FRAMED, *HANDSHAKE)
        await stage.house.visit()
        responder = stage.started[0].responder
        assert (responder.minor, responder.head_only, responder.started) == (1, False, False)
        responder.persistent = False
        assert not responder.persistent
        responder.respond(403, b"Forbidden", [(b"X", b"y")], b"no")
        answer = await client.read_response()
        assert (answer.status, answer.get("X"), answer.body) == (403, "y", b"no")
        await client.closed()
        assert responder.started and responder.sent == 2


@pytest_twisted.ensureDeferred
async def test_giving_up_before_it_opens_is_told_to_the_responders_owner() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        client = await stage.house.client()
        client.request(FRAMED, *HANDSHAKE)
        await stage.house.visit()
        stage.house.clock.advance(1)
        client.drop()
        await stage.started[0].told("lost")
        assert stage.started[0].accept() is None


@pytest.mark.parametrize("ended_by", ["client", "close", "abort"])
@pytest_twisted.ensureDeferred
async def test_ws_136_no_heart_beats_after_the_end(ended_by: str) -> None:
    async with sockjs() as stage:
        client, started = await opened(stage)
        await client.expect(text(b"o"))
        assert stage.house.clock.getDelayedCalls()
        if ended_by == "client":
            client.drop()
        elif ended_by == "abort":
            started.socket.abort()
        else:
            client.send(masked(CLOSE, b"\x0f\xa1"))
            await started.told(("closed", 4001, b""))
            started.socket.close(4001, b"")
        await stage.house.settled()
        stage.advance(200)
        assert not stage.house.clock.getDelayedCalls()
