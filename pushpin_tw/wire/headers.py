"""Header lists: ordered pairs of bytes, names compared without case.

Called by every room that looks into a message head.  A header list is a plain ``list`` of ``(name, value)``:
order, case and duplicates are what a proxy must keep, and a plain list is the cheapest thing that keeps them.
Never parses or writes heads; that is ``wire.http1``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

Header = tuple[bytes, bytes]
HeaderList = list[Header]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


def get(headers: Iterable[Header], name: bytes) -> bytes | None:
    """The value of the first header called ``name`` (given in lower case), or None."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


def get_all(headers: Iterable[Header], name: bytes) -> list[bytes]:
    """All values of ``name`` (given in lower case), in order."""
    return [value for key, value in headers if key.lower() == name]


def without(headers: Iterable[Header], names: Collection[bytes]) -> HeaderList:
    """A copy that lacks every header whose lower-case name is in ``names``."""
    return [pair for pair in headers if pair[0].lower() not in names]


def is_token(name: bytes) -> bool:
    """Whether ``name`` is a token (RFC 9110, 5.6.2) and thus a legal header name or method."""
    return _TOKEN.fullmatch(name) is not None


def is_value(value: bytes) -> bool:
    """Whether ``value`` may stand in a header line: no control characters but tab (RFC 9110, 5.5)."""
    return _VALUE.fullmatch(value) is not None


def split_list(values: Sequence[bytes]) -> list[bytes]:
    """Split header values at commas outside double quotes (RFC 9110, 5.6.1), trimmed, empty ones dropped.

    Within quotes a backslash takes the next byte literally; an unterminated quote takes the rest.
    """
    found: list[bytes] = []
    for value in values:
        parts = _split_quoted(value) if b'"' in value else value.split(b",")
        found += [part for part in map(bytes.strip, parts) if part]
    return found


def _split_quoted(value: bytes) -> list[bytes]:
    parts, start, quoted, at = [], 0, False, 0
    while at < len(value):
        char = value[at]
        if quoted and char == 0x5C:
            at += 1
        elif char == 0x22:
            quoted = not quoted
        elif char == 0x2C and not quoted:
            parts.append(value[start:at])
            start = at + 1
        at += 1
    return [*parts, value[start:]]
