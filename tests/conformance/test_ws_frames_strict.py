"""Frames that break RFC 6455: refused as it says, or taken as the original takes them (websocket 10, 34 to
38, 40 and 49)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_twisted

from tests.support.wsclient import SocketClient
from tests.support.wspeer import BINARY, CLOSE, CONTINUATION, PING, TEXT, closing
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

LENIENT = {"websocket_lenient": "true"}
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"

strict = pytest.mark.differs("the reference is lenient")


@dataclass(frozen=True)
class Words:
    """Frames of a client, and what becomes of them."""

    frames: tuple[tuple[int, bytes, dict[str, Any]], ...]
    code: int = 1002
    """What the client is told by those who are strict."""
    heard: tuple[tuple[int, bytes], ...] = ()
    """Messages that the backend of those who are lenient gets."""
    compress: bool = False

    def say(self, client: SocketClient) -> None:
        for kind, data, options in self.frames:
            client.frame(kind, data, **options)


def one(kind: int, data: bytes = b"", **options: Any) -> tuple[tuple[int, bytes, dict[str, Any]], ...]:
    return ((kind, data, options),)


def parameters(rows: Iterable[tuple[str, Words]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("words", [pytest.param(words, id=name) for name, words in rows])


TOLD = ((TEXT, b"hello"),)

ACCEPTED = [
    ("ws_034-unmasked", Words(one(TEXT, b"hello", mask=b""), heard=TOLD)),
    ("ws_034-rsv2", Words(one(TEXT, b"hello", rsv=2), heard=TOLD)),
    ("ws_034-rsv3", Words(one(TEXT, b"hello", rsv=1), heard=TOLD)),
    ("ws_034-16_bits", Words(one(TEXT, b"hello", form=2), heard=TOLD)),
    ("ws_034-64_bits", Words(one(TEXT, b"hello", form=8), heard=TOLD)),
    ("ws_037-text", Words(one(TEXT, b"\xff\xfe"), 1007, ((TEXT, b"\xff\xfe"),))),
    (
        "ws_037-cut",
        Words(one(TEXT, b"\xc3", fin=False) + one(CONTINUATION, b"("), 1007, ((TEXT, b"\xc3("),)),
    ),
    ("ws_037-end", Words(one(TEXT, b"\xe2\x82"), 1007, ((TEXT, b"\xe2\x82"),))),
    *(
        (f"ws_040-{code}", Words(one(CLOSE, closing(code, b"why")), 1002, ((CLOSE, closing(code, b"why")),)))
        for code in (0, 999, 1005, 1006, 5000)
    ),
]
"""What the original accepts."""

REFUSED = [
    ("ws_035-rsv1", Words(one(TEXT, b"hello", rsv=4))),
    ("ws_035-opcode_3", Words(one(3, b"hello"))),
    ("ws_035-opcode_11", Words(one(11, b"hello"))),
    ("ws_035-continuation", Words(one(CONTINUATION, b"hello"))),
    ("ws_035-text_within", Words(one(TEXT, b"he", fin=False) + one(TEXT, b"llo"))),
    ("ws_036-126", Words(one(PING, b"x" * 126))),
    ("ws_036-fragmented", Words(one(PING, b"x", fin=False))),
    ("ws_038-reason", Words(one(CLOSE, closing(1000, b"\xff\xfe")), 1007)),
    ("ws_038-126", Words(one(CLOSE, closing(1000, b"x" * 124)))),
    ("ws_049-no_data", Words(one(TEXT, b"\xff\xff\xff", rsv=4), 1007, compress=True)),
    ("ws_049-ping", Words(one(PING, b"x", rsv=4), compress=True)),
    (
        "ws_049-continuation",
        Words(one(BINARY, b"he", fin=False) + one(CONTINUATION, b"llo", rsv=4), compress=True),
    ),
]
"""What the original drops."""


async def offend(scene: SocketStage, words: Words, lenient: bool) -> tuple[SocketClient, Any]:
    """A client that has said the words, and its backend."""
    runner = {"allow_compression": "true"} if words.compress else {}
    tw = LENIENT if lenient else {}
    await scene.start_w(runner=runner, tw=tw)
    client, backend = await scene.open("/", *([OFFER] if words.compress else []))
    words.say(client)
    return client, backend


async def dropped(peer: Any) -> None:
    """The connection ends without CLOSE, perhaps within a message."""
    unread = peer.raw.unread
    await peer.raw.wait_for(lambda: peer.raw.lost or None, "the end of the connection")
    while unread:
        frame = await peer.read_frame()
        assert frame.kind in (TEXT, BINARY) and not frame.fin, frame


@strict
@parameters([*ACCEPTED, *REFUSED])
@case
async def test_by_the_rules(scene: SocketStage, words: Words) -> None:
    """The client is told which rule it broke and let go; the backend is dropped."""
    client, backend = await offend(scene, words, lenient=False)
    frame = await client.read_frame()
    assert (frame.kind, int.from_bytes(frame.data[:2], "big")) == (CLOSE, words.code)
    assert len(frame.data) > 2
    await client.gone()
    await dropped(backend)


@parameters(ACCEPTED)
@case
async def test_as_the_original_accepts(scene: SocketStage, words: Words) -> None:
    client, backend = await offend(scene, words, lenient=True)
    for kind, data in words.heard:
        await backend.expect(kind, data)
    if words.heard[0][0] == CLOSE:
        return
    await scene.nothing_back(client, backend)
    kind, data = words.heard[0]
    backend.frame(kind, b"m:" + data)
    await client.expect(kind, data)


@parameters(REFUSED)
@case
async def test_as_the_original_drops(scene: SocketStage, words: Words) -> None:
    """Neither side is told why."""
    client, backend = await offend(scene, words, lenient=True)
    await client.gone()
    await dropped(backend)
