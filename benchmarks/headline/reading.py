"""What a client of the demonstration reads: which headlines are in the bytes that arrived.

Used by `crowd` for the first arrival of every wording, and by the tests.  Never reads a socket itself.
"""

from __future__ import annotations

import json

from benchmarks.verify import Broken, read_chunks, read_head

POLL, STREAM = "poll", "stream"
LAST_CHUNK = b"0\r\n\r\n"


def text_of(number: int) -> str:
    """The text of the headline `number`: known to both sides, so that every byte can be compared."""
    return f"Headline {number}: nothing much has happened since the one before" if number else "no news"


def _read_line(line: bytes) -> int:
    """The number of the headline in `line`, which must be what was published under it."""
    try:
        headline = json.loads(line)
        number = int(headline["id"])
    except (ValueError, TypeError, KeyError):
        raise Broken("not a headline") from None
    if headline["text"] != text_of(number):
        raise Broken("not the text that was published")
    return number


def read_poll(data: bytes) -> tuple[int, ...] | None:
    """The headline of a whole response; None while bytes are missing.

    :raises Broken: for anything that is not the response to a poll, or has more than one.
    """
    head = read_head(data)
    if head is None:
        return None
    if head.status != 200:
        raise Broken(f"status {head.status}")
    rest = data[head.size :]
    if b"content-length" in head.headers:
        missing = int(head.headers[b"content-length"]) - len(rest)
        if missing < 0:
            raise Broken("more than the response")
        return None if missing else (_read_line(rest),)
    if head.headers.get(b"transfer-encoding", b"").lower() != b"chunked":
        raise Broken("a response without length")
    if not rest.endswith(LAST_CHUNK):
        return None
    return (_read_line(read_chunks(rest[: -len(LAST_CHUNK)])[0]),)


def read_stream(data: bytes) -> tuple[int, ...] | None:
    """The headlines that arrived on a stream, with its head or later; None while bytes are missing.

    :raises Broken: for anything else.
    """
    if data.startswith(b"HTTP/"):
        head = read_head(data)
        if head is None:
            return None
        if head.status != 200:
            raise Broken(f"status {head.status}")
        if head.headers.get(b"transfer-encoding", b"").lower() != b"chunked":
            raise Broken("not a chunked response")
        data = data[head.size :]
    content, at_end = read_chunks(data)
    if not at_end or not content.endswith(b"\n"):
        return None
    return tuple(_read_line(line) for line in content.splitlines())
