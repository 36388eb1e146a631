"""What a response head means: relay it, or read on because the origin speaks GRIP (proxy 7.1, grip 2)?

Called by the exchange.  Pure: looks at a head and at flags, decides, does nothing.
"""

from __future__ import annotations

from enum import Enum

from pushpin_tw.grip.instruct import is_instruct
from pushpin_tw.grip.terms import MAX_BODY
from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.message import Response

MAX_REQUEST_BODY = MAX_BODY
"""Bytes of a request body that are kept for failover, holds and re-runs (proxy 4.6)."""
PREFETCH = 10_000
"""Bytes of a request body that are awaited before an origin is asked (proxy 4.6)."""

_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"content-length"))


class Decision(Enum):
    """What to do with a response whose head has come."""

    RELAY = "relay"
    """Pass it on as it comes."""
    GATHER = "gather"
    """Read the whole body, then follow the instructions."""
    TOO_LARGE = "too large"
    """It carries instructions, but the request's body was not kept."""


def decide(response: Response, *, grip: bool, replayable: bool) -> Decision:
    """``grip``: whether the route interprets GRIP; ``replayable``: whether the request's body was kept."""
    if not grip or not is_instruct(response):
        return Decision.RELAY
    return Decision.GATHER if replayable else Decision.TOO_LARGE


def relayed_headers(response: Response) -> list[Header]:
    """The headers of a relayed response: all but those of this hop (proxy 8.4)."""
    return [pair for pair in response.headers if pair[0].lower() not in _HOP_BY_HOP]
