"""A published item, encoded once for each form that somebody waits for.

Made by the broker, carried by the fan-out.  Delivery path: nothing here happens per recipient.
"""

from __future__ import annotations

from collections.abc import Hashable

from pushpin_tw.grip.formats import ResponseFormat, SocketFormat, StreamFormat
from pushpin_tw.grip.item import Item
from pushpin_tw.grip.template import Template
from pushpin_tw.grip.wscontrol import KINDS
from pushpin_tw.sockets import BINARY, SOCKET, SOCKJS, SOCKJS_FRAMES, TEXT
from pushpin_tw.wire import sockjs
from pushpin_tw.wire.http1 import encode_chunk
from pushpin_tw.wire.websocket import encode_message

RESPONSE = "http-response"
STREAM = "http-stream"


class Parcel:
    """An item and its ready bytes."""

    __slots__ = ("_response", "_shared", "_template", "item", "since")

    def __init__(self, item: Item, since: float = 0.0) -> None:
        """``since``: the time when its way to the holds began."""
        self.item = item
        self.since = since
        self._shared: dict[tuple[str, Hashable], bytes] = {}
        self._template: Template | None = None
        self._response = b""

    def part(self, kind: str) -> StreamFormat | ResponseFormat | SocketFormat | None:
        """What is for holds of this kind; None when nothing is."""
        if kind == STREAM:
            return self.item.http_stream
        return self.item.ws_message if kind == SOCKET else self.item.http_response

    def action(self, kind: str) -> str | None:
        """What the item asks of holds of this kind; None when it is not for them."""
        part = self.part(kind)
        return None if part is None else part.action

    def wanted(self, kind: str) -> tuple[str, ...]:
        """The content filters that must be attached; empty also when it does not matter to express holds."""
        part = self.part(kind)
        return () if part is None else part.content_filters or ()

    def encoded(self, kind: str, form: Hashable, content: bytes | None = None) -> bytes:
        """The bytes of a ``send`` for holds of this kind and form; empty when there is nothing to send.

        The form of a stream is whether it is chunked; the form of a response hold is its ``Template``; that
        of a socket is whether its frames are compressed, ``SOCKJS`` or one of ``SOCKJS_FRAMES``.  Of whole
        responses only the latest is kept: a thousand polls may have as many templates, and all of their
        answers at once are more than need be in memory.

        ``content``: what stands in place of a socket's message, for one hold.
        """
        if kind == RESPONSE:
            return self._encode_response(form)
        if content is not None:
            return self._encode_message(form, content)
        key = (kind, form)
        data = self._shared.get(key)
        if data is None:
            encode = self._encode_stream if kind == STREAM else self._encode_message
            data = self._shared[key] = encode(form)
        return data

    def _encode_response(self, template: Hashable) -> bytes:
        response = self.item.http_response
        assert response is not None and isinstance(template, Template)
        if self._template is not template:
            self._response = template.fill(response)
            self._template = template
        return self._response

    def _encode_stream(self, chunked: Hashable) -> bytes:
        stream = self.item.http_stream
        assert stream is not None
        return encode_chunk(stream.content) if chunked and stream.content else stream.content

    def _encode_message(self, form: Hashable, content: bytes | None = None) -> bytes:
        message = self.item.ws_message
        assert message is not None
        kind = KINDS[message.type]
        data = message.content if content is None else content
        if form == SOCKJS or form in SOCKJS_FRAMES:
            if kind > BINARY:
                return b""
            literal = sockjs.quote(data)
            if form == SOCKJS:
                return literal
            return encode_message(TEXT, sockjs.array([literal]), form == SOCKJS_FRAMES[True])
        return encode_message(kind, data, bool(form))

    def weight(self, kind: str, block: int) -> int:
        """How many deliveries one delivery counts for, when ``block`` bytes count for one (grip 15)."""
        size = self.item.size
        if size is None:
            size = self.size(kind)
        return max(1, -(-size // block))

    def size(self, kind: str) -> int:
        """Bytes of content for holds of this kind."""
        part = self.part(kind)
        if part is None:
            return 0
        return len((part.body if isinstance(part, ResponseFormat) else part.content) or b"")
