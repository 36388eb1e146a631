"""The events of WebSocket-over-HTTP and the headers that go with them (websocket 4.2, 4.5, 4.8, 4.9).

Called by ``origin.overhttp`` and its parts.  Writes events in the one way that every backend reads, and reads
what backends write, as leniently as they have been used to; never decides what an event means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pushpin_tw.errors import WireError
from pushpin_tw.sockets import BINARY, CLOSE, PING, PONG, TEXT
from pushpin_tw.wire.headers import Header, get

OPEN = 16
DISCONNECT = 17
"""Kinds of events that are no messages; numbers that no opcode of RFC 6455 has."""

CONTENT_TYPE = b"application/websocket-events"

MIN_KEEP_ALIVE = 20
"""Seconds; a backend that wants to be asked more often is asked this often."""

MAX_CONTROL = 125
"""Bytes of a PING, PONG or CLOSE (RFC 6455, 5.5)."""

MAX_META = 65536
"""Bytes of names and values that a backend may store with one connection."""

Event = tuple[int, bytes]
"""Kind and content."""

_NAMES = {
    TEXT: b"TEXT",
    BINARY: b"BINARY",
    CLOSE: b"CLOSE",
    PING: b"PING",
    PONG: b"PONG",
    OPEN: b"OPEN",
    DISCONNECT: b"DISCONNECT",
}
_KINDS = {name: kind for kind, name in _NAMES.items()}
_BARE = {kind: name + b"\r\n" for kind, name in _NAMES.items()}

_SIZE = re.compile(rb"[ \t\n\v\f\r]*([+-]?)(?:0[xX])?([0-9A-Fa-f]+)[ \t\n\v\f\r]*")
_NUMBER = re.compile(rb"[ \t]*([+-]?[0-9]{1,20})[ \t]*")
_MAX_INT = 2**31 - 1
_SET_META = b"set-meta-"


def encode_event(kind: int, content: bytes = b"") -> bytes:
    """One event: its type, and if there is content its size and itself."""
    if content:
        return b"%b %x\r\n%b\r\n" % (_NAMES[kind], len(content), content)
    return _BARE[kind]


def parse_events(body: bytes) -> list[Event]:
    """The events of a response; those of unknown type are left out.

    :raises WireError: a type line without end, or a size that is none; then no event of the body counts.
    """
    events: list[Event] = []
    start, end = 0, len(body)
    while start < end:
        stop = body.find(b"\r\n", start)
        if stop < 0:
            raise WireError("event without end of line")
        name, space, size = body[start:stop].partition(b" ")
        start = stop + 2
        content = b""
        if space:
            length = _length(size, start)
            stop = end if length < 0 else min(end, start + length)
            content = body[start:stop]
            start = stop + 2
        kind = _KINDS.get(name)
        if kind is not None:
            events.append((kind, content))
    return events


def _length(size: bytes, start: int) -> int:
    """The length of the content that begins at ``start``; negative for everything up to the end."""
    match = _SIZE.fullmatch(size)
    if match is None:
        raise WireError("size of an event is no number")
    length = int(match[2], 16)
    if length > _MAX_INT - start:
        raise WireError("size of an event out of range")
    return -length if match[1] == b"-" else length


def encode_close(code: int | None, reason: bytes) -> bytes:
    """The content of CLOSE; none without a code."""
    return b"" if code is None else (code & 0xFFFF).to_bytes(2, "big") + reason


def parse_close(content: bytes) -> tuple[int | None, bytes]:
    """Code and reason; a reason that no frame could carry is cut.

    Code 0 is none: backend libraries write it when they are told none, and clients take it for an offence.
    """
    if len(content) < 2 or content.startswith(b"\0\0"):
        return None, b""
    reason = content[2:]
    if len(content) > MAX_CONTROL:
        reason = reason[: MAX_CONTROL - 2].decode("utf-8", "ignore").encode()
    return int.from_bytes(content[:2], "big"), reason


# ---- headers of a response ---------------------------------------------------------------------------------


def bytes_accepted(headers: Iterable[Header]) -> int | None:
    """How much of a request's contents the backend took; None for everything (websocket 4.8)."""
    number = _number(get(headers, b"content-bytes-accepted"))
    return None if number is None or number < 0 else number


def keep_alive_interval(headers: Iterable[Header], current: int) -> int:
    """Seconds of silence after which the backend wants to be asked, 0 for never (websocket 4.9).

    ``current``: what holds if the response does not say.
    """
    value = get(headers, b"keep-alive-interval")
    if value is None:
        return current
    number = _number(value)
    return 0 if number is None or number <= 0 else max(number, MIN_KEEP_ALIVE)


def _number(value: bytes | None) -> int | None:
    match = None if value is None else _NUMBER.fullmatch(value)
    number = None if match is None else int(match[1])
    return None if number is None or abs(number) > _MAX_INT else number


Meta = dict[bytes, Header]
"""What a backend has stored with a connection, as headers of the next request, by name in lower case."""


def update_meta(meta: Meta, headers: Iterable[Header]) -> None:
    """Do what the ``Set-Meta-*`` headers of a response say (websocket 4.5).

    :raises WireError: it becomes more than ``MAX_META``.
    """
    changed = False
    for name, value in headers:
        if name[:9].lower() != _SET_META or len(name) == 9:
            continue
        key = name[9:].lower()
        meta.pop(key, None)
        if value:
            meta[key] = (b"Meta-" + name[9:], value)
            changed = True
    if changed and sum(len(name) + len(value) for name, value in meta.values()) > MAX_META:
        raise WireError("too much meta data")
