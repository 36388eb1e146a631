"""The control API as a function: a request goes in, a response comes out (grip 14).

Called by the small HTTP server that this room runs; no socket is needed to ask it.  Never waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushpin_tw.errors import PublishError
from pushpin_tw.grip.item import parse_items
from pushpin_tw.smallhttp import TEXT, SmallRequest, SmallResponse
from pushpin_tw.wire.headers import get_all

_JSON = "application/json"
_KNOWN_TYPES = {
    b"text/plain": TEXT,
    b"text/*": TEXT,
    b"*/*": TEXT,
    b"*": TEXT,
    b"application/json": _JSON,
    b"application/*": _JSON,
}


def negotiate(accepts: Sequence[bytes]) -> str | None:
    """The content type that ``Accept`` values select: the last one we know; None when there is none."""
    if not accepts:
        return TEXT
    chosen = None
    for accept in accepts:
        for part in accept.split(b","):
            chosen = _KNOWN_TYPES.get(part.partition(b";")[0].strip(), chosen)
    return chosen


class ControlApi:
    """The end points (grip 14.3)."""

    def __init__(self, broker: Any) -> None:
        """``broker`` is an ``IBroker``."""
        self._broker = broker

    def answer(self, request: SmallRequest, body: bytes) -> SmallResponse:
        """Do what ``request`` says.  Published items are handed on; their delivery comes later."""
        content_type = negotiate(get_all(request.headers, b"accept"))
        if content_type is None:
            words = f"Not Acceptable. Supported formats are {TEXT} and {_JSON}."
            return SmallResponse(406, words)
        path = request.target
        if len(path) > 1:
            path = path.removesuffix(b"/")
        if path == b"/":
            return SmallResponse(200, "Pushpin API")
        if path not in (b"/publish", b"/recover"):
            return SmallResponse(404, "Not Found")
        if request.method != b"POST":
            return SmallResponse(405, f"Method not allowed: {request.method.decode()}.", allow="POST")
        if path == b"/recover":
            self._broker.recover()
            return _done("Updated", content_type)
        return self._publish(body, content_type)

    def _publish(self, body: bytes, content_type: str) -> SmallResponse:
        try:
            items = parse_items(body)
        except PublishError as error:
            return SmallResponse(400, error.reason)
        if self._broker.congested:
            return SmallResponse(503, "Too many items wait for delivery, nothing was published.")
        self._broker.accept(items)
        return _done("Published", content_type)


def _done(word: str, content_type: str) -> SmallResponse:
    return SmallResponse(200, f'{{"message":"{word}"}}' if content_type == _JSON else word, content_type)
