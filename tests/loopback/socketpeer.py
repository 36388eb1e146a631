"""WebSocket backends of raw bytes for the origin room's tests; frames are made as RFC 6455, 5.2 says."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import Any, NamedTuple

from pushpin_tw.testing.services import LentServices
from pushpin_tw.testing.sockets import FixedHandshake, RecordingOwner, RecordingSocketSink
from tests.loopback.originpeer import Link, RawPeer, request
from tests.loopback.originstage import OriginStage

COMPRESSED = "[runner]\nallow_compression=true\n"
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate"
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Frame(NamedTuple):
    """What stood in one frame; ``data`` are unmasked."""

    opcode: int
    data: bytes
    fin: bool = True
    rsv: int = 0
    masked: bool = True


def frame(opcode: int, data: bytes = b"", fin: bool = True, rsv: int = 0, key: bytes = b"") -> bytes:
    """The bytes of a frame, as short as may be; masked if there is a ``key``."""
    size = len(data)
    if size < 126:
        length = bytes([size])
    elif size < 65536:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    if key:
        length = bytes([length[0] | 0x80]) + length[1:] + key
        data = bytes(byte ^ key[at % 4] for at, byte in enumerate(data))
    return bytes([fin << 7 | rsv << 4 | opcode]) + length + data


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    """A backend's CLOSE."""
    return frame(8, b"" if code is None else code.to_bytes(2, "big") + reason)


def frames(data: bytes) -> list[Frame]:
    """All whole frames in ``data``; what is incomplete at the end is left out."""
    found = []
    while len(data) >= 2:
        size, at = data[1] & 0x7F, 2
        if size > 125:
            wide = 2 if size == 126 else 8
            size, at = int.from_bytes(data[2 : 2 + wide], "big"), 2 + wide
        masked = bool(data[1] & 0x80)
        key = data[at : at + 4] if masked else b"\0\0\0\0"
        at += 4 * masked
        if len(data) < at + size:
            break
        plain = bytes(byte ^ key[n % 4] for n, byte in enumerate(data[at : at + size]))
        found.append(Frame(data[0] & 15, plain, bool(data[0] & 128), data[0] >> 4 & 7, masked))
        data = data[at + size :]
    return found


def accept(key: bytes) -> bytes:
    """What a backend says to ``key``."""
    return b64encode(sha1(key + MAGIC).digest())


def fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """The header lines of a request."""
    lines = head.split(b"\r\n")[1:]
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines if line)]


def key_of(head: bytes) -> bytes:
    """The key in a request."""
    return dict(fields(head))[b"Sec-WebSocket-Key"]


def agreement(head: bytes, *lines: bytes, reason: bytes = b"Switching Protocols") -> bytes:
    """A 101 for the request in ``head``, with more header lines."""
    standard = (
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept(key_of(head)),
    )
    return b"\r\n".join([b"HTTP/1.1 101 " + reason, *standard, *lines, b"", b""])


def agree(peer: RawPeer, *lines: bytes, behind: bytes = b"") -> dict[Link, bytes]:
    """Let ``peer`` agree to the first request of each link; returns the heads of these.

    ``behind`` follows the 101 at once.  What comes later stays in ``Link.received``.
    """
    heads: dict[Link, bytes] = {}

    def answer(link: Link) -> None:
        if link not in heads and b"\r\n\r\n" in link.received:
            heads[link], _, link.received = link.received.partition(b"\r\n\r\n")
            link.say(agreement(heads[link], *lines) + behind)

    peer.answer = answer
    return heads


def handshake(*headers: tuple[bytes, bytes], **more: Any) -> FixedHandshake:
    """A client's wish, made out for ``a.example``."""
    return FixedHandshake(request(target=b"/ws?a=b", headers=headers, **more))


async def opened(origin: Any) -> RecordingSocketSink:
    """An open WebSocket to a backend that agrees."""
    sink = RecordingSocketSink()
    origin.connect(handshake(), sink)
    await sink.answer()
    assert sink.socket is not None and sink.disorder == [], str(sink)
    return sink


async def asked(origin: Any, *headers: tuple[bytes, bytes]) -> RecordingSocketSink:
    """A handshake and its answer."""
    sink = RecordingSocketSink()
    origin.connect(handshake(*headers), sink)
    await sink.answer()
    assert sink.disorder == []
    return sink


async def joined(stage: OriginStage, *lines: bytes, config: str = "") -> tuple[Any, RecordingOwner, Link]:
    """An open WebSocket: its socket, its owner, and the backend's end."""
    agree(stage.peer, *lines)
    if config:
        stage.services = LentServices(stage.services.reactor, stage.clock, config)
    sink = await opened(stage.origin())
    return sink.socket, sink.owner, stage.peer.links[-1]


async def sent(stage: OriginStage, link: Link, count: int) -> list[Frame]:
    """The first frames that the backend got."""
    await stage.peer.until(lambda: len(frames(link.received)) >= count, f"{count} frames")
    return frames(link.received)


def passed(stage: OriginStage, seconds: float) -> None:
    """Let time go by, as the wheel likes it."""
    for _ in range(int(seconds)):
        stage.clock.advance(1)
    stage.clock.advance(seconds % 1 + 0.2)
