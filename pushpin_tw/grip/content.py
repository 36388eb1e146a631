"""Compressed bodies of GRIP responses, made plain (grip 17.1/26).

Called by the proxy for a gathered instruction response, since what holds send is never compressed.  Never
yields more than it is allowed to: a small body can stand for gigabytes.
"""

from __future__ import annotations

import zlib

from pushpin_tw.errors import GripError

_GZIP = zlib.MAX_WBITS | 16


def decode_body(encoding: bytes, body: bytes, limit: int) -> bytes:
    """The content of ``body``, which came with the Content-Encoding ``encoding``; at most ``limit`` bytes.

    ``gzip``, ``deflate`` (with or without zlib's header) and ``identity`` are known, in any case.

    :raises GripError: another encoding, broken or incomplete data, or more content than ``limit``.
    """
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        plain = body
    elif name in (b"gzip", b"x-gzip"):
        plain = _inflate(body, _GZIP, limit)
    elif name == b"deflate":
        # RFC 9110 (8.4.1.2) asks for zlib's header, and knows of senders that leave it out.
        plain = _inflate(body, zlib.MAX_WBITS if _has_zlib_header(body) else -zlib.MAX_WBITS, limit)
    else:
        raise GripError("response has an unsupported Content-Encoding")
    if len(plain) > limit:
        raise GripError("decoded response body is too large")
    return plain


def _has_zlib_header(body: bytes) -> bool:
    return len(body) >= 2 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0


def _inflate(body: bytes, wbits: int, limit: int) -> bytes:
    """Decode all members of ``body``; one byte beyond ``limit`` is enough to know."""
    pieces: list[bytes] = []
    room = limit + 1
    while body and room > 0:
        decoder = zlib.decompressobj(wbits)
        try:
            piece = decoder.decompress(body, room)
        except zlib.error:
            raise GripError("response body does not match its Content-Encoding") from None
        pieces.append(piece)
        room -= len(piece)
        if room > 0 and not decoder.eof:
            raise GripError("response body does not match its Content-Encoding")
        body = decoder.unused_data
        if body and wbits != _GZIP:
            raise GripError("response body does not match its Content-Encoding")
    return b"".join(pieces)
