"""Prove that received bytes are the bytes that were promised, cheaply enough to do it for every one of them.

Servers word a message differently: one chunk or several, this header or that. So the first arrival of
every wording is decoded in full and compared with what was published; its raw bytes are remembered, and
later arrivals are accepted by equality with a wording that was proven this way. Anything else goes through
the decoder again.

Used by the load processes (`load`, `held`, `pump`). Never reads a socket itself.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha1

Check = Callable[[bytes], bool]
"""Whether what has arrived is whole; False while bytes are missing, `Broken` when they are wrong."""
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""What clients of WebSockets send: the same for all of them, so that they are all answered alike."""
ACCEPT = b64encode(sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
"""And what they are to be answered (RFC 6455, 4.2.2)."""
TEXT = 0x81
COMPRESSED = 0xC1
DEFLATE = b"permessage-deflate"


class Broken(Exception):
    """Bytes arrived that cannot be part of the promised answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a response: status, lower-case header names with values, length of the head in bytes."""

    status: int
    headers: dict[bytes, bytes]
    size: int


def read_head(data: bytes) -> Head | None:
    """Parse the response head at the start of `data`; None while its blank line has not arrived."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    words = first.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise Broken(f"not a status line: {first[:60]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    return Head(int(words[1]), headers, end + 4)


def read_chunks(data: bytes) -> tuple[bytes, bool]:
    """Decode chunked coding: the content of all whole chunks, and whether `data` ends at the end of one."""
    content: list[bytes] = []
    at = 0
    while at < len(data):
        end = data.find(b"\r\n", at)
        if end < 0:
            return b"".join(content), False
        try:
            size = int(data[at:end].partition(b";")[0], 16)
        except ValueError:
            raise Broken(f"not a chunk size: {data[at:end][:60]!r}") from None
        if size == 0:
            raise Broken("the stream was ended")
        after = end + 2 + size
        if len(data) < after + 2:
            return b"".join(content), False
        if data[after : after + 2] != b"\r\n":
            raise Broken("a chunk does not end where it should")
        content.append(data[end + 2 : after])
        at = after + 2
    return b"".join(content), True


def is_response(data: bytes, content: bytes) -> bool:
    """Whether `data` is one whole 200 response with exactly `content`; False while bytes are missing."""
    head = read_head(data)
    if head is None:
        return False
    if head.status != 200:
        raise Broken(f"status {head.status}")
    rest = data[head.size :]
    if b"content-length" in head.headers:
        if int(head.headers[b"content-length"]) != len(content):
            raise Broken("wrong content-length")
        whole = rest
    elif head.headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        if not rest.endswith(b"0\r\n\r\n"):
            return False
        whole = read_chunks(rest[:-5])[0]
    else:
        raise Broken("a response without length")
    if not content.startswith(whole):
        raise Broken("not the promised body")
    return whole == content


def is_stream_content(data: bytes, content: bytes) -> bool:
    """Whether `data`, taken from a chunked stream, is exactly `content`; False while some is missing."""
    got, at_end = read_chunks(data)
    if not content.startswith(got):
        raise Broken("not the published content")
    return at_end and got == content


def is_stream_opening(data: bytes, opening: bytes) -> bool:
    """Whether `data` is the head of a chunked 200 response followed by exactly `opening`."""
    head = read_head(data)
    if head is None:
        return False
    if head.status != 200:
        raise Broken(f"status {head.status}")
    if head.headers.get(b"transfer-encoding", b"").lower() != b"chunked":
        raise Broken("not a chunked response")
    return is_stream_content(data[head.size :], opening)


def is_switched(data: bytes, compressed: bool) -> bool:
    """Whether `data` is the head of a 101 to `KEY` and nothing else; `compressed`: messages will be."""
    head = read_head(data)
    if head is None:
        return False
    if head.status != 101:
        raise Broken(f"status {head.status}")
    if head.headers.get(b"sec-websocket-accept") != ACCEPT:
        raise Broken("wrong Sec-WebSocket-Accept")
    if (DEFLATE in head.headers.get(b"sec-websocket-extensions", b"")) != compressed:
        raise Broken("compression agreed" if not compressed else "compression not agreed")
    if len(data) > head.size:
        raise Broken("more than the opening")
    return True


def read_frames(data: bytes) -> tuple[list[bytes], bool]:
    """The messages of all whole frames, each of them a TEXT, and whether `data` ends behind one."""
    messages: list[bytes] = []
    at = 0
    while at + 2 <= len(data):
        first, size = data[at], data[at + 1]
        if first not in (TEXT, COMPRESSED) or size > 126:
            raise Broken(f"not a frame of text: {data[at : at + 2].hex()}")
        start = at + 2
        if size == 126:
            size = int.from_bytes(data[start : start + 2], "big")
            start += 2
        if len(data) < start + size:
            break
        at = start + size
        messages.append(data[start:at] if first == TEXT else _inflate(data[start:at]))
    return messages, at == len(data)


def _inflate(data: bytes) -> bytes:
    """A message whose compressor began anew (RFC 7692, 7.2.2)."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data + b"\x00\x00\xff\xff")
    except zlib.error as error:
        raise Broken(f"compressed wrongly: {error}") from None


def is_socket_content(data: bytes, content: bytes) -> bool:
    """Whether `data` is exactly `content` in frames: a message for each line."""
    messages, at_end = read_frames(data)
    if messages != content.splitlines(keepends=True)[: len(messages)]:
        raise Broken("not the published content")
    return at_end and b"".join(messages) == content


def is_echo(data: bytes, content: bytes) -> bool:
    """Whether `data` is one frame with exactly `content`."""
    messages, at_end = read_frames(data)
    if messages and messages != [content]:
        raise Broken("not what was said")
    return at_end and bool(messages)
