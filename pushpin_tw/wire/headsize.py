"""How many bytes of a head statistics count: its words, without what separates them (zeromq 5.2).

Called by whoever counts.  Heads that were read from a socket or written to one have a ``size``, so that
this is a subtraction; others are added up.
"""

from __future__ import annotations

from collections.abc import Sequence

from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.message import OriginRequest, Request, Response

FIXED = 14
"""Bytes of a head that are no words: two spaces, the version, two line ends."""
LINE = 4
"""The same of each further line: colon, space, line end."""


def request_words(request: Request | OriginRequest) -> int:
    """Bytes that count of a request's head."""
    if request.size:
        return request.size - FIXED - LINE * len(request.headers)
    return len(request.method) + len(request.target) + _added_up(request.headers)


def response_words(response: Response) -> int:
    """Bytes that count of a response's head."""
    if response.size:
        return response.size - FIXED - LINE * len(response.headers)
    return len(str(response.status)) + len(response.reason) + _added_up(response.headers)


def _added_up(headers: Sequence[Header]) -> int:
    return sum(len(name) + len(value) for name, value in headers)
