"""The ``demo`` target: a realtime application small enough to be read, and a page to watch it.

Used through ``origin.targets``; its chat is in ``origin.demochat``.  It is a backend like any other: it
knows nothing of holds, answers with GRIP instructions, and publishes by a POST to the control API.  Its
counter lives and dies with the process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from zope.interface import implementer

from pushpin_tw.interfaces import IOriginSink
from pushpin_tw.origin.answering import Answer
from pushpin_tw.origin.demochat import Chat
from pushpin_tw.origin.http import HttpOrigin
from pushpin_tw.routing.route import Target
from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.message import OriginRequest, Response

COUNTER_CHANNEL = "demo-counter"

MAX_WAITING = 1000
"""Items that wait for the control API; further ones are dropped."""

MAX_TOGETHER = 100
"""Items in one request: no more than the control API takes, even if a chat's are as long as they may be."""

_JSON: Header = (b"Content-Type", b"application/json")
_TEXT: Header = (b"Content-Type", b"text/plain; charset=utf-8")
_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'"
)
_LAST = re.compile(rb"(?:^|&)last=([0-9]{1,18})(?:&|$)")
_ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class Demo:
    """The application: one page, one stream, one counter, one chat."""

    def __init__(self, services: Any) -> None:
        """``services`` is an ``IServices``."""
        handler = services.config.handler
        self._value = 0
        self._publish = _Publisher(handler.push_in_http_addr, handler.push_in_http_port, services).publish
        self._chat = Chat(self._publish)
        page = files("pushpin_tw.origin").joinpath("demo.html").read_bytes()
        where = b"http://localhost:%d/publish/" % handler.push_in_http_port
        self._page = page.replace(b"@PUBLISH@", where)

    def answer(self, request: OriginRequest, body: bytes) -> Answer:
        """What the application says."""
        handlers: dict[bytes, dict[bytes, Callable[[OriginRequest, bytes], Answer]]] = {
            b"/": {b"GET": self._show},
            b"/stream": {b"GET": self._stream},
            b"/counter": {b"GET": self._wait, b"POST": self._count},
            b"/chat": {b"POST": self._chat.answer},
        }
        methods = handlers.get(request.path)
        if methods is None:
            return Answer(404, b"Not Found", (_TEXT,), b"no such page\n")
        handler = methods.get(b"GET" if request.method == b"HEAD" else request.method)
        if handler is None:
            allow = (b"Allow", b", ".join(methods))
            return Answer(405, b"Method Not Allowed", (_TEXT, allow), b"method not allowed\n")
        return handler(request, body)

    def _show(self, request: OriginRequest, body: bytes) -> Answer:
        kind = (b"Content-Type", b"text/html; charset=utf-8")
        return Answer(200, b"OK", (kind, (b"Content-Security-Policy", _POLICY)), self._page)

    def _stream(self, request: OriginRequest, body: bytes) -> Answer:
        headers = (
            (b"Content-Type", b"text/event-stream"),
            (b"Grip-Hold", b"stream"),
            (b"Grip-Channel", b"demo"),
            (b"Grip-Keep-Alive", rb":\n\n; format=cstring; timeout=20"),
        )
        return Answer(200, b"OK", headers, b": welcome\n\n")

    def _wait(self, request: OriginRequest, body: bytes) -> Answer:
        """The value, at once when it differs from the ``last`` that the client has seen."""
        last = _LAST.search(request.query or b"")
        held: tuple[Header, ...] = ()
        if last is not None and int(last[1]) == self._value:
            # With the previous id, a value that is published before the hold begins is not missed.
            channel = f"{COUNTER_CHANNEL}; prev-id={self._value}".encode()
            held = ((b"Grip-Hold", b"response"), (b"Grip-Channel", channel))
        return Answer(200, b"OK", (_JSON, *held), self._as_json())

    def _count(self, request: OriginRequest, body: bytes) -> Answer:
        previous, self._value = self._value, self._value + 1
        value = self._as_json()
        self._publish(
            {
                "channel": COUNTER_CHANNEL,
                "id": str(self._value),
                "prev-id": str(previous),
                "formats": {
                    "http-response": {"headers": {"Content-Type": "application/json"}, "body": value.decode()}
                },
            }
        )
        return Answer(200, b"OK", (_JSON,), value)

    def _as_json(self) -> bytes:
        return b'{"value": %d}\n' % self._value


@implementer(IOriginSink)
class _Publisher:
    """Posts items to the control API, as any backend would, and tells the log of a refusal.

    There is one request at a time, so that items arrive in their order; what comes meanwhile goes together.
    """

    def __init__(self, address: str, port: int, services: Any) -> None:
        host = _ANY_ADDRESS.get(address, address)
        self._control = HttpOrigin(Target(kind=""), host, port, services)
        self._stats = services.stats
        self._items: list[dict[str, Any]] = []
        self._busy = False

    def publish(self, item: dict[str, Any]) -> None:
        """Post it, soon."""
        if len(self._items) == MAX_WAITING:
            self._stats.note("warn", "demo: too much to publish")
            return
        self._items.append(item)
        if not self._busy:
            self._post()

    def _post(self) -> None:
        self._busy = True
        items, self._items = self._items[:MAX_TOGETHER], self._items[MAX_TOGETHER:]
        body = json.dumps({"items": items}).encode()
        headers = [(b"Host", b"localhost"), (b"Content-Type", b"application/json")]
        call = self._control.fetch(
            OriginRequest(b"POST", b"/publish/", headers, len(body), host="localhost"), self
        )
        call.write(body)
        call.finish()

    def _next(self) -> None:
        self._busy = False
        if self._items:
            self._post()

    def responded(self, response: Response) -> None:
        """As ``IOriginSink``."""
        if response.status != 200:
            self._stats.note("warn", f"demo: publishing was answered with {response.status}")

    def received(self, data: bytes) -> None:
        """As ``IOriginSink``."""

    def settled(self) -> None:
        """As ``IOriginSink``."""

    def finished(self) -> None:
        """As ``IOriginSink``."""
        self._next()

    def failed(self, error: Exception) -> None:
        """As ``IOriginSink``."""
        self._stats.note("warn", f"demo: publishing failed: {error}")
        self._next()

    def origin_drained(self) -> None:
        """As ``IOriginSink``."""
