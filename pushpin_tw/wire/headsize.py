"""How many bytes of a head statistics count: its words, without what separates them (zeromq 5.2).

Called by whoever counts.  Heads that were read from a socket or written to one have a ``size``, so that
this is a subtraction; others are added up.
"""

from __future__ import annotations

from collections.abc import Sequence

from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.message import OriginRequest, Request, Response

_FIXED = 14
"""Bytes of a head that are no words: two spaces, the version, two line ends."""
_LINE = 4
"""The same of each further line: colon, space, line end."""


def words(size: int, lines: int) -> int:
    """Bytes that count of a head that has ``size`` bytes and so many header lines."""
    return size - _FIXED - _LINE * lines


def request_words(request: Request | OriginRequest) -> int:
    """Bytes that count of a request's head."""
    if request.size:
        return words(request.size, len(request.headers))
    return len(request.method) + len(request.target) + _added_up(request.headers)


def response_words(response: Response) -> int:
    """Bytes that count of a response's head."""
    if response.size:
        return words(response.size, len(response.headers))
    return len(str(response.status)) + len(response.reason) + _added_up(response.headers)


def _added_up(headers: Sequence[Header]) -> int:
    return sum(len(name) + len(value) for name, value in headers)
