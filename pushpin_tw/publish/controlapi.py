"""The control API as a function: a request goes in, a response comes out (grip 14).

Called by the HTTP server of this room; no socket is needed to ask it.  Reading the head is part of it, since
its rules are its own: LF or CRLF, no chunks, a ``Content-Length`` for most methods.  Never waits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pushpin_tw.errors import HttpError, PublishError
from pushpin_tw.grip.item import parse_items
from pushpin_tw.grip.status import default_reason
from pushpin_tw.wire.headers import HeaderList, get_all, is_token, is_value

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^\x00-\x20\x7f]+) ([\x21-\x7e]+)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_WITHOUT_BODY = frozenset([b"HEAD", b"GET", b"DELETE", b"OPTIONS"])

_TEXT = "text/plain"
_JSON = "application/json"
_KNOWN_TYPES = {
    b"text/plain": _TEXT,
    b"text/*": _TEXT,
    b"*/*": _TEXT,
    b"*": _TEXT,
    b"application/json": _JSON,
    b"application/*": _JSON,
}


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """A request head."""

    method: bytes
    target: bytes
    version: bytes
    """As it stood; answered with the same if it is ``HTTP/1.0``, else with ``HTTP/1.1``."""
    headers: HeaderList
    length: int | None
    """Bytes of body; None when none was announced."""

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for ``100 Continue`` (RFC 9110, 10.1.1: not in HTTP/1.0)."""
        if not self.length or self.version == b"HTTP/1.0":
            return False
        return any(value.lower() == b"100-continue" for value in get_all(self.headers, b"expect"))


@dataclass(frozen=True, slots=True)
class ControlResponse:
    """What is answered."""

    status: int
    text: str
    """The body without its line end."""
    content_type: str = _TEXT
    allow: str = ""

    def encode(self, version: bytes) -> bytes:
        """The bytes for the wire; ``version`` is that of the request."""
        body = self.text.encode() + b"\n"
        return b"%b %d %b\r\n%bContent-Type: %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
            b"HTTP/1.0" if version == b"HTTP/1.0" else b"HTTP/1.1",
            self.status,
            default_reason(self.status),
            b"Allow: %b\r\n" % self.allow.encode() if self.allow else b"",
            self.content_type.encode(),
            len(body),
            body,
        )


def parse_head(head: bytes, max_body: int) -> ControlRequest:
    """Read a request head, empty line included; its lines end in CRLF or LF.

    :raises HttpError: with the answer of grip 14.1.  The request's version is not known then, or does not
        matter: ``HTTP/1.1`` is answered.
    """
    first, *lines = [line.removesuffix(b"\r") for line in head.rstrip(b"\r\n").split(b"\n")]
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise HttpError("Failed to parse request header.")
    headers: HeaderList = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not is_token(name) or not is_value(value):
            raise HttpError("Failed to parse request header.")
        headers.append((name, value.strip(b" \t")))
    method, target, version = found.groups()
    return ControlRequest(method, target, version, headers, _length(method, headers, max_body))


def _length(method: bytes, headers: HeaderList, max_body: int) -> int | None:
    lengths = set(get_all(headers, b"content-length"))
    if not lengths:
        if method not in _WITHOUT_BODY or get_all(headers, b"transfer-encoding"):
            raise HttpError("Request requires Content-Length.", 411)
        return None
    value = lengths.pop()
    if lengths or not _LENGTH.fullmatch(value):
        raise HttpError("Bad Content-Length.")
    if int(value) > max_body:
        raise HttpError("Request body too large.")
    return int(value)


def negotiate(accepts: Sequence[bytes]) -> str | None:
    """The content type that ``Accept`` values select: the last one we know; None when there is none."""
    if not accepts:
        return _TEXT
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

    def answer(self, request: ControlRequest, body: bytes) -> ControlResponse:
        """Do what ``request`` says.  Published items are handed on; their delivery comes later."""
        content_type = negotiate(get_all(request.headers, b"accept"))
        if content_type is None:
            words = f"Not Acceptable. Supported formats are {_TEXT} and {_JSON}."
            return ControlResponse(406, words)
        path = request.target
        if len(path) > 1:
            path = path.removesuffix(b"/")
        if path == b"/":
            return ControlResponse(200, "Pushpin API")
        if path not in (b"/publish", b"/recover"):
            return ControlResponse(404, "Not Found")
        if request.method != b"POST":
            return ControlResponse(405, f"Method not allowed: {request.method.decode()}.", allow="POST")
        if path == b"/recover":
            self._broker.recover()
            return _done("Updated", content_type)
        return self._publish(body, content_type)

    def _publish(self, body: bytes, content_type: str) -> ControlResponse:
        try:
            items = parse_items(body)
        except PublishError as error:
            return ControlResponse(400, error.reason)
        self._broker.accept(items)
        return _done("Published", content_type)


def _done(word: str, content_type: str) -> ControlResponse:
    return ControlResponse(200, f'{{"message":"{word}"}}' if content_type == _JSON else word, content_type)
