"""The proxy's own answers, to the byte (proxy 4.9, 8.9).

Used by the gateway and the exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushpin_tw.errors import (
    OriginBlocked,
    OriginLengthless,
    OriginSilent,
    OriginUnreachable,
    OriginUnsuitable,
)
from pushpin_tw.grip.status import default_reason
from pushpin_tw.proxy.dressed import ScriptResponder
from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.render import bodiless

NO_ROUTE = "Route not found"
"""As 2.0 says it."""
ORIGIN_FAILED = "Error while proxying to origin."
REQUEST_TOO_LARGE = "Request too large to accept GRIP instruct."
EVENTS_FORBIDDEN = "Client not allowed to send WebSocket events directly."
LENGTH_REQUIRED = "Must provide Content-Length header."
UNREACHABLE = "Error: zhttp service for route is unreachable."
NOT_WEBSOCKET = (
    'Request contained an Upgrade header with value "websocket" but the request was not a valid '
    "WebSocket request."
)
CHECK = "pushpin_tw, a Pushpin on Twisted. Distributed under the Apache License, Version 2.0."

_PLAIN = [(b"Content-Type", b"text/plain")]


def answer(responder: Any, status: int, text: str, websocket: bool = False) -> None:
    """Send a short text and its line end.

    An answer to a WebSocket handshake has no Content-Type and closes the connection.
    """
    if websocket:
        responder.persistent = False
    responder.respond(status, default_reason(status), [] if websocket else _PLAIN, text.encode() + b"\n")


def text_size(responder: Any, status: int, text: str) -> int:
    """Bytes of body that ``answer`` sends."""
    return body_size(responder, status, default_reason(status), _PLAIN, text.encode() + b"\n")


def body_size(responder: Any, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> int:
    """Bytes of body that this response sends when all of it is given at once."""
    if isinstance(responder, ScriptResponder):
        return len(responder.whole(status, reason, headers, body)[1])
    return 0 if responder.head_only or bodiless(status) else len(body)


def origin_error_text(error: Exception, targets: list[str], debug: bool) -> str:
    """What a client is told when no target gave a usable answer; ``targets`` are those tried."""
    if debug and isinstance(error, OriginUnreachable):
        return f"Unable to connect to any targets. Tried: {', '.join(targets)}"
    if debug and isinstance(error, OriginBlocked):
        return "Error: Origin host/IP blocked."
    if debug and isinstance(error, OriginSilent):
        return UNREACHABLE
    if debug and isinstance(error, OriginUnsuitable):
        return str(error)
    return ORIGIN_FAILED


def origin_error(error: Exception, targets: list[str], debug: bool) -> tuple[int, str]:
    """Status and text for a request without an answer; WebSockets fail with 502 always."""
    if isinstance(error, OriginLengthless):
        return 411, LENGTH_REQUIRED
    return 502, origin_error_text(error, targets, debug)
