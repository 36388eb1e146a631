"""A published item, encoded once for each form that somebody waits for.

Made by the broker, carried by the fan-out.  Delivery path: nothing here happens per recipient.
"""

from __future__ import annotations

from collections.abc import Hashable

from pushpin_tw.grip.item import Item
from pushpin_tw.grip.template import Template
from pushpin_tw.wire.http1 import encode_chunk

RESPONSE = "http-response"
STREAM = "http-stream"


class Parcel:
    """An item and its ready bytes."""

    __slots__ = ("_response", "_streams", "_template", "item")

    def __init__(self, item: Item) -> None:
        self.item = item
        self._streams: dict[Hashable, bytes] = {}
        self._template: Template | None = None
        self._response = b""

    def action(self, kind: str) -> str | None:
        """What the item asks of holds of this kind; None when it is not for them."""
        part = self.item.http_stream if kind == STREAM else self.item.http_response
        return None if part is None else part.action

    def wanted(self, kind: str) -> tuple[str, ...]:
        """The content filters that must be attached; empty also when it does not matter to express holds."""
        part = self.item.http_stream if kind == STREAM else self.item.http_response
        return () if part is None else part.content_filters or ()

    def encoded(self, kind: str, form: Hashable) -> bytes:
        """The bytes of a ``send`` for holds of this kind and form.

        The form of a stream is whether it is chunked; the form of a response hold is its ``Template``.  Of
        whole responses only the latest is kept: a thousand polls may have as many templates, and all of their
        answers at once are more than need be in memory.
        """
        if kind == STREAM:
            data = self._streams.get(form)
            if data is None:
                data = self._streams[form] = self._encode_stream(form)
            return data
        response = self.item.http_response
        assert response is not None and isinstance(form, Template)
        if self._template is not form:
            self._response = form.fill(response)
            self._template = form
        return self._response

    def _encode_stream(self, chunked: Hashable) -> bytes:
        stream = self.item.http_stream
        assert stream is not None
        return encode_chunk(stream.content) if chunked and stream.content else stream.content

    def weight(self, kind: str, block: int) -> int:
        """How many deliveries one delivery counts for, when ``block`` bytes count for one (grip 15)."""
        size = self.item.size
        if size is None:
            size = self._size(kind)
        return max(1, -(-size // block))

    def _size(self, kind: str) -> int:
        if kind == STREAM:
            return len(self.item.http_stream.content) if self.item.http_stream else 0
        response = self.item.http_response
        return len(response.body or b"") if response else 0
