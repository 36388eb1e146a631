"""The origin of WebSockets: events over HTTP, answered from memory, as fast as Python can.

``OPEN`` is agreed to and subscribes the client, ``DISCONNECT`` is taken note of, everything else is echoed.
Started by the command line as an `OriginProcess` of its own; never parses an event.
"""

from __future__ import annotations

import re

from benchmarks.origin import CHANNEL, Origin

CONTENT_TYPE = "application/websocket-events"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)


def event(kind: str, content: bytes = b"") -> bytes:
    """One event, in bytes."""
    return f"{kind} {len(content):x}\r\n".encode() + content + b"\r\n" if content else f"{kind}\r\n".encode()


def _response(length: int, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


OPEN = event("OPEN")
DISCONNECT = event("DISCONNECT")
_SUBSCRIBED = OPEN + event("TEXT", f'c:{{"type": "subscribe", "channel": "{CHANNEL}"}}'.encode())
_OPENED = _response(len(_SUBSCRIBED), 'Sec-WebSocket-Extensions: grip; message-prefix=""') + _SUBSCRIBED
_GONE = _response(0)


class Events(Origin):
    """As any origin, for requests with a body of known length."""

    def __init__(self) -> None:
        super().__init__()
        self._heads: dict[int, bytes] = {}
        """Of echoes, by the length of their body."""

    def _take(self, data: bytes) -> tuple[bytes, bytes]:
        answers = []
        while True:
            end = data.find(b"\r\n\r\n") + 4
            match = _LENGTH.search(data, 0, end)
            if end < 4 or match is None:
                break
            stop = end + int(match[1])
            if len(data) < stop:
                break
            answers.append(self._echo(data[end:stop]))
            data = data[stop:]
        return b"".join(answers), data

    def _echo(self, body: bytes) -> bytes:
        if body == OPEN:
            return _OPENED
        if body == DISCONNECT:
            return _GONE
        head = self._heads.get(len(body))
        if head is None:
            head = self._heads[len(body)] = _response(len(body))
        return head + body
