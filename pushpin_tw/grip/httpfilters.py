"""Filters that ask the origin about each item and each client (grip 13.6).

Registered in ``plugins.builtin``, run by ``filterchain``.  How the request leaves, how many of
them and for how long, is the business of ``ILinks.ask``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import FilterError
from pushpin_tw.extensions import IMessageFilter
from pushpin_tw.grip.filterchain import Done, FilterContext
from pushpin_tw.grip.links import resolve
from pushpin_tw.grip.terms import MAX_BODY, LinkRequest
from pushpin_tw.wire.headers import HeaderList, get

_HTTP = {"ws": "http", "wss": "https"}


@implementer(IMessageFilter)
class HttpCheck:
    """``http-check``: the origin says whether a client gets an item."""

    name = "http-check"
    targets = frozenset({"delivery"})
    modifies = False
    """Whether the origin is given the content, and may answer with another."""

    def start(self, context: FilterContext, content: bytes, done: Done) -> Any:
        """As ``IMessageFilter``."""
        session = context.session
        try:
            uri = _uri(session.meta.get("url"), session.uri)
        except ValueError as error:
            done(FilterError(f"filter error: {error}"))
            return None
        positions = session.positions()
        last_ids = tuple((name, prev_id) for name, prev_id in positions.items() if prev_id is not None)
        headers = [(b"Sub-Meta", _object(session.meta)), (b"Pub-Meta", _object(context.item.meta))]
        body = content if self.modifies else b""

        def answered(result: tuple[int, HeaderList, bytes] | FilterError) -> None:
            done(result if isinstance(result, FilterError) else self._judge(result, content))

        return session.links.ask(LinkRequest(session.place, uri, last_ids), headers, body, MAX_BODY, answered)

    def _judge(self, result: tuple[int, HeaderList, bytes], content: bytes) -> bytes | FilterError | None:
        status, headers, body = result
        if status not in (200, 204):
            return FilterError(f"filter error: unexpected network request status: code={status}")
        if get(headers, b"action") == b"drop":
            return None
        return body if self.modifies and status == 200 else content


class HttpModify(HttpCheck):
    """``http-modify``: the origin also changes the content."""

    name = "http-modify"
    targets = frozenset({"delivery", "message"})
    modifies = True


def _uri(url: str | None, base: str) -> str:
    """Where to ask; the base of a WebSocket counts as its HTTP equivalent."""
    if not url:
        raise ValueError("missing url value")
    scheme, mark, rest = base.partition("://")
    try:
        return resolve(_HTTP.get(scheme, scheme) + mark + rest, url.encode())
    except ValueError:
        raise ValueError("invalid url value") from None


def _object(meta: Mapping[str, str]) -> bytes:
    """Compact JSON, sorted, within ASCII: what reads a header may take any other byte for Latin-1."""
    text = json.dumps(dict(meta), separators=(",", ":"), sort_keys=True)
    return text.replace("\x7f", "\\u007f").encode()  # the only control character that JSON lets through
