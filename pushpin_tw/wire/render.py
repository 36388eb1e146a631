"""How a response to a client is framed (proxy 8.3, 8.4; grip 6), and whole responses ready to send.

Called by the edge for every response and by the broker for the ready-made ones of long-polls, so that both
write the same bytes.  Never decides what is in a response.
"""

from __future__ import annotations

from collections.abc import Sequence

from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.http1 import encode_head, status_line


def bodiless(status: int) -> bool:
    """Whether a response of this status has neither body nor framing headers (RFC 9112, 6.3)."""
    return status in (204, 304) or status < 200


def framing_lines(minor: int, persistent: bool, status: int, length: int | None) -> tuple[bytes, bool]:
    """The framing lines of a response head, and whether the body goes out in chunks.

    ``length`` is None for a body of unknown length.  An HTTP/1.0 response of unknown length ends by closing,
    so ``persistent`` must be false there.
    """
    connection = b""
    if minor and not persistent:
        connection = b"Connection: close\r\n"
    elif persistent and not minor:
        connection = b"Connection: keep-alive\r\n"
    if bodiless(status):
        return connection, False
    if length is not None:
        return b"%bContent-Length: %d\r\n" % (connection, length), False
    if minor:
        return connection + b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", True
    return connection, False


def whole_response(
    minor: int,
    persistent: bool,
    head_only: bool,
    status: int,
    reason: bytes,
    headers: Sequence[Header],
    body: bytes,
) -> bytes:
    """A complete response in one piece; the body is left out where none may follow.

    :raises WireError: a header contains a line end.
    """
    lines, _ = framing_lines(minor, persistent, status, len(body))
    head = encode_head(status_line(minor, status, reason), list(headers), lines)
    return head if head_only or bodiless(status) else head + body
