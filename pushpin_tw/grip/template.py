"""What the answer to a held request is made from, and the answer itself (grip 8.3).

Made by the exchange when a response hold starts; filled by the broker with what is published.  Holds whose
answers can only be equal share one template, so that an item is encoded once for all of them.  Never knows
which client gets the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from weakref import WeakValueDictionary

from pushpin_tw.grip.formats import ResponseFormat
from pushpin_tw.grip.instruct import Instruct
from pushpin_tw.grip.jsonpatch import apply_patch
from pushpin_tw.wire.headers import Header, HeaderList
from pushpin_tw.wire.render import whole_response

_PLAIN: tuple[Header, ...] = ((b"Content-Type", b"text/plain"),)


class Dress(Protocol):
    """What makes a response fit for a client of another origin; equal ones do the same."""

    def whole(
        self, status: int, reason: bytes, headers: Sequence[Header], body: bytes
    ) -> tuple[int, bytes, HeaderList, bytes]:
        """The response that is sent instead."""


class Template:
    """Status, headers and body of a timeout, and how this client's responses are framed and dressed."""

    __slots__ = (
        "__weakref__",
        "_dress",
        "body",
        "head_only",
        "headers",
        "minor",
        "persistent",
        "reason",
        "status",
    )

    def __init__(
        self, instruct: Instruct, minor: int, persistent: bool, head_only: bool, dress: Dress | None = None
    ) -> None:
        self.status = instruct.status
        self.reason = instruct.reason
        self.headers = instruct.headers
        self.body = instruct.body
        self.minor = minor
        self.persistent = persistent
        self.head_only = head_only
        self._dress = dress

    def timeout(self) -> bytes:
        """The whole response when nothing was published in time."""
        return self._whole(self.status, self.reason, self.headers, self.body)

    def farewell(self) -> bytes:
        """The same, if the connection ends behind it."""
        return self._whole(self.status, self.reason, self.headers, self.body, last=True)

    def fill(self, published: ResponseFormat) -> bytes:
        """The whole response that ``published`` (action ``send``) makes of this hold.

        :raises WireError: a header contains a line end.
        """
        body = published.body
        if body is None:
            body = apply_patch(self.body, published.patch or ())
        return self._whole(published.code, published.reason, published.merge(self.headers), body)

    def failure(self, text: str) -> bytes:
        """The whole response that tells what went wrong in the hold (grip 8.2)."""
        return self._whole(502, b"Bad Gateway", _PLAIN, text.encode() + b"\n")

    def _whole(
        self, status: int, reason: bytes, headers: Sequence[Header], body: bytes, last: bool = False
    ) -> bytes:
        if self._dress is not None:
            status, reason, headers, body = self._dress.whole(status, reason, headers, body)
        persistent = self.persistent and not last
        return whole_response(self.minor, persistent, self.head_only, status, reason, headers, body)


class Templates:
    """Hands out one template for all holds that would have equal ones."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[object, Template] = WeakValueDictionary()

    def find(
        self, instruct: Instruct, minor: int, persistent: bool, head_only: bool, dress: Dress | None = None
    ) -> Template:
        """The template of such holds; it lives as long as one of them."""
        key = (
            instruct.status,
            instruct.reason,
            instruct.headers,
            instruct.body,
            minor,
            persistent,
            head_only,
            dress,
        )
        template = self._known.get(key)
        if template is None:
            template = self._known[key] = Template(instruct, minor, persistent, head_only, dress)
        return template
