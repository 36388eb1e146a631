"""What went wrong at a worker, as the error it is for the proxy (zeromq 2.11, 2.14).

Called by origins that speak ZHTTP, for requests and for WebSockets.  What a client is told is decided by
``proxy``, and whether another target is tried follows from the class of the error.
"""

from __future__ import annotations

from pushpin_tw.errors import (
    OriginBlocked,
    OriginError,
    OriginInsecure,
    OriginLengthless,
    OriginUnanswered,
    OriginUnreachable,
)

_ERRORS: dict[str, type[OriginError]] = {
    "remote-connection-failed": OriginUnreachable,
    "connection-timeout": OriginUnanswered,
    "tls-error": OriginInsecure,
    "policy-violation": OriginBlocked,
    "length-required": OriginLengthless,
}


def failure(condition: str) -> OriginError:
    """The error for the ``condition`` of an ``error`` packet; an empty one is as good as an unknown one."""
    return _ERRORS.get(condition, OriginError)(condition or "undefined-condition")
