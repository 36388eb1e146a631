"""RFC 6455 and RFC 7692 as bytes: the opening handshake's headers, frames, compressed messages (websocket 1).

Called by ``framing``, by the edge and by origins, and by the broker, which writes one frame for everybody who
gets it.  Reading frames is ``framing``'s.  Never touches sockets, clocks or randomness.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha1

from pushpin_tw.errors import WireError
from pushpin_tw.sockets import BINARY, CLOSE
from pushpin_tw.wire.headers import Header, get_all
from pushpin_tw.wire.message import Request

MAX_KEY = 220
"""Bytes of a ``Sec-WebSocket-Key``; longer ones make a handshake invalid."""
MAX_REASON = 123
"""Bytes of the reason in CLOSE (RFC 6455, 5.5)."""

Params = list[tuple[bytes, bytes | None]]
Extension = tuple[bytes, Params]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_NAME = re.compile(rb"[ \t]*(" + _TOKEN + rb")[ \t]*")
# A value that is not quoted need not be a token: backends say message-prefix=q:
_VALUE = re.compile(rb"[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^ \t;,\"]*))[ \t]*", re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_BLANK = re.compile(rb"[ \t]*")

# ---- the handshake -----------------------------------------------------------------------------------------


def accept_key(key: bytes) -> bytes:
    """``Sec-WebSocket-Accept`` for a ``Sec-WebSocket-Key``, which is taken as it is (RFC 6455, 4.2.2)."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def check_handshake(request: Request) -> bool:
    """Whether a request whose ``Upgrade`` is ``websocket`` is a valid handshake (websocket 1.1)."""
    headers = request.headers
    versions = get_all(headers, b"sec-websocket-version")
    keys = get_all(headers, b"sec-websocket-key")
    return (
        request.method == b"GET"
        and not request.has_body
        and versions[-1:] == [b"13"]
        and bool(keys)
        and len(keys[-1]) <= MAX_KEY
        and check_extensions(headers)
    )


def check_extensions(headers: Iterable[Header]) -> bool:
    """Whether everything in ``Sec-WebSocket-Extensions`` can be read; also if there is none."""
    values = get_all(headers, b"sec-websocket-extensions")
    try:
        parse_extensions(values)
    except WireError:
        return False
    return True


def parse_extensions(values: Iterable[bytes]) -> list[Extension]:
    """Read values of ``Sec-WebSocket-Extensions``, in order: names, and parameters with their values.

    The value of a parameter is None when there is no ``=``; quotes and backslashes are undone.

    :raises WireError: one of them is no list of extensions (RFC 6455, 9.1).
    """
    found: list[Extension] = []
    for value in values:
        at = 0
        while at < len(value):
            if value[at : at + 1] == b",":
                at += 1
                continue
            blank = _BLANK.match(value, at)
            if blank and value[blank.end() : blank.end() + 1] in (b"", b","):
                at = blank.end()
                continue
            extension, at = _extension(value, at)
            found.append(extension)
    return found


def _extension(value: bytes, at: int) -> tuple[Extension, int]:
    name, at = _name(value, at)
    params: Params = []
    while value[at : at + 1] == b";":
        at += 1
        while value[at : at + 1] in (b" ", b"\t"):
            at += 1
        if value[at : at + 1] in (b"", b",", b";"):
            continue  # "grip;" has no parameter
        key, at = _name(value, at)
        content = None
        if value[at : at + 1] == b"=":
            match = _VALUE.match(value, at + 1)
            assert match is not None  # it may be empty
            quoted, bare = match.groups()
            content = bare if quoted is None else _ESCAPE.sub(rb"\1", quoted)
            at = match.end()
        params.append((key, content))
    if value[at : at + 1] not in (b"", b","):
        raise WireError("not a list of extensions")
    return (name, params), at


def _name(value: bytes, at: int) -> tuple[bytes, int]:
    match = _NAME.match(value, at)
    if match is None:
        raise WireError("not a list of extensions")
    return match.group(1), match.end()


# ---- permessage-deflate (RFC 7692) -------------------------------------------------------------------------

_DEFLATE = b"permessage-deflate"
_TAKEOVER = (b"client_no_context_takeover", b"server_no_context_takeover")
_WINDOWS = (b"client_max_window_bits", b"server_max_window_bits")
_WINDOW = re.compile(rb"[89]|1[0-5]")
_WIDEST = b"15"
_TAIL = b"\0\0\xff\xff"


def negotiate_deflate(offers: Sequence[bytes]) -> bytes | None:
    """Answer to the values of a client's ``Sec-WebSocket-Extensions`` for ``permessage-deflate``: the first
    offer that can be met (websocket 1.4), or None.

    :raises WireError: as ``parse_extensions``.
    """
    for name, params in parse_extensions(offers):
        if name == _DEFLATE and _acceptable(params):
            agreed = [key for key in _TAKEOVER if (key, None) in params]
            return b"; ".join([_DEFLATE, *agreed])
    return None


def _acceptable(params: Params) -> bool:
    keys = [key for key, _ in params]
    if len(set(keys)) != len(keys):
        return False
    for key, value in params:
        if key in _TAKEOVER:
            good = value is None
        elif key == _WINDOWS[0]:
            good = value is None or _WINDOW.fullmatch(value) is not None
        else:
            good = key == _WINDOWS[1] and value == _WIDEST
        if not good:
            return False
    return True


def deflate(data: bytes) -> bytes:
    """The payload of a whole compressed message, made without what other messages said before."""
    return DeflatedMessage().piece(data, True)


class DeflatedMessage:
    """One message that is compressed piece by piece."""

    __slots__ = ("_compressor",)

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)

    def piece(self, data: bytes, last: bool) -> bytes:
        """The payload for the next piece; the receiver can inflate it without waiting for another."""
        payload = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return payload.removesuffix(_TAIL) if last else payload


class Inflater:
    """Compressed messages of one peer, in order; each may refer to those before."""

    __slots__ = ("_stream",)

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)

    def piece(self, data: bytes) -> bytes:
        """The content of the next piece of a payload.

        :raises zlib.error: it is not compressed data.
        """
        content = self._stream.decompress(data)
        while self._stream.eof:
            # A peer may end the stream, and begin another one (RFC 7692, 7.2.3.5).
            rest = self._stream.unused_data
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
            content += self._stream.decompress(rest)
        return content

    def end(self) -> bytes:
        """The message is complete; what was still missing of its content.

        :raises zlib.error: as above.
        """
        return self.piece(_TAIL)


# ---- frames ------------------------------------------------------------------------------------------------

_FIN = 0x80
_COMPRESSED = 0x40
_MASKED = 0x80


def encode_frame(kind: int, data: bytes, fin: bool = True, compressed: bool = False) -> bytes:
    """One frame as servers send it; ``kind`` 0 continues a message; ``compressed`` data were deflated."""
    return frame_header(kind, len(data), fin, compressed) + data


def encode_message(kind: int, data: bytes, compressed: bool) -> bytes:
    """A whole message, or a control frame, as servers send it; ``compressed``: permessage-deflate was agreed,
    which is for messages only."""
    if compressed and kind <= BINARY:
        return encode_frame(kind, deflate(data), compressed=True)
    return encode_frame(kind, data)


def decode_frame(frame: bytes) -> tuple[int, bytes]:
    """Kind and payload of a whole frame that ``encode_frame`` has made, without compression."""
    start = {126: 4, 127: 10}.get(frame[1], 2)
    return frame[0] & 15, frame[start:]


def frame_header(kind: int, length: int, fin: bool, compressed: bool = False, masked: bool = False) -> bytes:
    """What stands before the payload; if ``masked``, the key has to follow first."""
    start = kind | (_FIN if fin else 0) | (_COMPRESSED if compressed else 0)
    mask = _MASKED if masked else 0
    if length < 126:
        return bytes((start, mask | length))
    if length < 65536:
        return bytes((start, mask | 126)) + length.to_bytes(2, "big")
    return bytes((start, mask | 127)) + length.to_bytes(8, "big")


def close_payload(code: int | None, reason: bytes) -> bytes:
    """The payload of CLOSE; without a code there is no reason either.  A reason that is too long loses its
    end, whole characters of it."""
    if code is None:
        return b""
    if len(reason) > MAX_REASON:
        reason = reason[:MAX_REASON].decode("utf-8", "ignore").encode()
    return code.to_bytes(2, "big") + reason


def is_close_code(code: int) -> bool:
    """Whether a peer may send this code in CLOSE: those of RFC 6455, 7.4.1, those registered since, and the
    ranges of 7.4.2."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


def mask(data: bytes, key: bytes) -> bytes:
    """Mask or unmask (RFC 6455, 5.3); the first byte of ``data`` meets the first of ``key``."""
    length = len(data)
    keys = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")).to_bytes(length, "little")


def relax(data: bytes) -> bytes | None:
    """Bytes that begin with a frame, put so that a strict reader understands what a lenient one accepts.

    RSV2 and RSV3 are cleared, the length is written as short as may be, and a CLOSE of one byte becomes an
    empty one (websocket 1.5).  None when more bytes are needed.
    """
    if len(data) < 2:
        return None
    start, second = data[0] & 0xCF, data[1]
    masked, length, at = second & _MASKED, second & 0x7F, 2
    if length > 125:
        at += 2 if length == 126 else 8
        if len(data) < at:
            return None
        length = int.from_bytes(data[2:at], "big")
    if start & 0x0F == CLOSE and length == 1:
        key_end = at + (4 if masked else 0)
        if len(data) < key_end + 1:
            return None
        return bytes((start, masked)) + data[at:key_end] + data[key_end + 1 :]
    if start == data[0] and (at == 2 or length > (125 if at == 4 else 65535)):
        return data
    header = frame_header(0, length, False, masked=bool(masked))
    return bytes((start,)) + header[1:] + data[at:]
