"""One side of an open WebSocket that speaks frames: it sends what a test wrote and shows what came.

Used by ``wsclient`` and ``wsbackend``.  It answers nothing by itself, checks nothing and repairs nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.support.rawclient import RawClient

CONTINUATION = 0
TEXT = 1
BINARY = 2
CLOSE = 8
PING = 9
PONG = 10
"""Opcodes of RFC 6455, 5.2."""

MASK = b"\x12\x34\x56\x78"


class Frame(NamedTuple):
    """What stood in one frame."""

    kind: int
    """The opcode."""
    data: bytes
    """Without the mask."""
    fin: bool = True
    rsv: int = 0
    """The three bits, RSV1 being 4."""
    masked: bool = False


class Message(NamedTuple):
    """A message, its fragments joined, or a control frame."""

    kind: int
    data: bytes
    compressed: bool = False
    """Whether RSV1 stood in its first frame; ``data`` are as they came."""


def encode(
    kind: int,
    data: bytes = b"",
    fin: bool = True,
    rsv: int = 0,
    mask: bytes = b"",
    form: int = 0,
    announced: int = -1,
) -> bytes:
    """The bytes of a frame.

    ``form`` is how many bytes the length takes besides the 7 bits (2 or 8; 0: as few as may be),
    ``announced`` a length other than that of ``data``.
    """
    size = announced if announced >= 0 else len(data)
    form = form or (0 if size < 126 else 2 if size < 65536 else 8)
    short = {0: size, 2: 126, 8: 127}[form]
    head = bytes([fin << 7 | rsv << 4 | kind, (0x80 if mask else 0) | short])
    return head + (size.to_bytes(form, "big") if form else b"") + mask + masked(data, mask)


def masked(data: bytes, mask: bytes) -> bytes:
    """``data`` with the mask put on or taken off."""
    if not mask or not data:
        return data
    size = len(data)
    keys = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")


def decode(data: bytes | bytearray) -> tuple[Frame, int] | None:
    """The first frame in ``data`` and how many bytes it takes; None while it is incomplete."""
    if len(data) < 2:
        return None
    size, at = data[1] & 0x7F, 2
    if size > 125:
        wide = 2 if size == 126 else 8
        size, at = int.from_bytes(data[2 : 2 + wide], "big"), 2 + wide
    with_mask = bool(data[1] & 0x80)
    end = at + 4 * with_mask + size
    if len(data) < end:
        return None
    mask = bytes(data[at : at + 4]) if with_mask else b""
    plain = masked(bytes(data[end - size : end]), mask)
    return Frame(data[0] & 15, plain, bool(data[0] & 0x80), data[0] >> 4 & 7, with_mask), end


class Peer:
    """Frames over a connection."""

    def __init__(self, raw: RawClient, mask: bytes = b"") -> None:
        """``mask`` is put on every frame that goes out."""
        self.raw = raw
        self.mask = mask
        self._open: list[Frame] = []

    # ---- sending

    def frame(
        self,
        kind: int,
        data: bytes = b"",
        fin: bool = True,
        rsv: int = 0,
        mask: bytes | None = None,
        form: int = 0,
        announced: int = -1,
    ) -> None:
        """One frame; see ``encode``."""
        mask = self.mask if mask is None else mask
        self.raw.send(encode(kind, data, fin, rsv, mask, form, announced))

    def text(self, data: str | bytes) -> None:
        """A message in one frame."""
        self.frame(TEXT, data.encode() if isinstance(data, str) else data)

    def binary(self, data: bytes) -> None:
        """A message in one frame."""
        self.frame(BINARY, data)

    def ping(self, data: bytes = b"") -> None:
        self.frame(PING, data)

    def pong(self, data: bytes = b"") -> None:
        self.frame(PONG, data)

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        """CLOSE; the connection is left alone."""
        self.frame(CLOSE, closing(code, reason))

    def end(self) -> None:
        """Close the connection behind what was written."""
        self.raw.transport.loseConnection()

    def drop(self) -> None:
        """Go away without a word."""
        self.raw.drop()

    # ---- reading

    async def read_frame(self) -> Frame:
        """The next frame."""
        unread = self.raw.unread

        def ready() -> Frame | None:
            found = decode(unread)
            if found is None:
                return None
            del unread[: found[1]]
            return found[0]

        return await self.raw.wait_for(ready, "a frame")

    async def read(self) -> Message:
        """The next message or control frame, whichever is complete first."""
        while True:
            frame = await self.read_frame()
            if frame.kind >= CLOSE:
                assert frame.fin and not frame.rsv, f"not a good control frame: {frame}"
                return Message(frame.kind, frame.data)
            assert (frame.kind == CONTINUATION) == bool(self._open), f"out of turn: {frame} in {self._open}"
            self._open.append(frame)
            if frame.fin:
                frames, self._open = self._open, []
                joined = b"".join(frame.data for frame in frames)
                return Message(frames[0].kind, joined, bool(frames[0].rsv & 4))

    async def expect(self, kind: int, data: bytes | str = b"") -> None:
        """This message or control frame comes next."""
        data = data.encode() if isinstance(data, str) else data
        got = await self.read()
        if len(data) > 1000:
            assert (got.kind, len(got.data)) == (kind, len(data)), f"{got.kind}, {len(got.data)} bytes"
            assert got.data == data, "the content is another"
        assert (got.kind, got.data) == (kind, data), f"{got} instead of {(kind, data)}"

    async def expect_text(self, data: bytes | str) -> None:
        """This text comes next."""
        await self.expect(TEXT, data)

    async def expect_close(self, code: int | None = None, reason: bytes = b"") -> None:
        """CLOSE comes next; ``code`` None: without any."""
        await self.expect(CLOSE, closing(code, reason))

    async def gone(self) -> None:
        """The connection ends, and nothing came before."""
        await self.raw.closed()


def closing(code: int | None = None, reason: bytes = b"") -> bytes:
    """The content of a CLOSE."""
    return b"" if code is None else code.to_bytes(2, "big") + reason
