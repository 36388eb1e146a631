"""The ``test`` target: a backend within pushpin, to try a set-up without writing one (proxy 8.8).

Used through ``origin.targets``.  Answers like any backend; what is held is held by the proxy.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from zope.interface import implementer

from pushpin_tw.grip.wsextension import DEFAULT_PREFIX, read_extension
from pushpin_tw.origin.answering import Answer
from pushpin_tw.origin.inprocess import Agreement
from pushpin_tw.sockets import BINARY, MESSAGE, TEXT, ISocketOwner
from pushpin_tw.wire.headers import Header, get_all
from pushpin_tw.wire.message import OriginRequest

_TEXT: Header = (b"Content-Type", b"text/plain")
_DEFAULT_CHANNEL = b"test"

_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_KEPT = frozenset("!$%'()*+,/:;?@[]")

_ROOT = Answer(200, b"OK", (_TEXT,), b"Hello from the Pushpin test handler!\n")
_UNKNOWN = Answer(404, b"Not Found", (_TEXT,), b"no such test resource\n")


def answer(request: OriginRequest, body: bytes) -> Answer:
    """What the test handler says to a request of any method."""
    path = _resource(request)
    if path == b"/":
        return _ROOT
    if path == b"/response":
        return _hold(b"response", request.query, b"nothing for now\n")
    if path == b"/stream":
        return _hold(b"stream", request.query, b"[stream opened]\n")
    return _UNKNOWN


def _resource(request: OriginRequest) -> bytes:
    path = request.path
    return path[:-1] if len(path) > 1 and path.endswith(b"/") else path


def _hold(mode: bytes, query: bytes | None, body: bytes) -> Answer:
    listed = tuple((b"Grip-Channel", name) for name in channels(query))
    return Answer(200, b"OK", (_TEXT, (b"Grip-Hold", mode), *listed), body)


def channels(query: bytes | None) -> list[bytes]:
    """Every ``channel`` value of a query; ``test`` when there is none.

    Escapes are decoded where the result may stand in a Grip-Channel header as one name; others remain.
    """
    pairs = (pair.partition(b"=") for pair in (query or b"").split(b"&"))
    names = [_ESCAPES.sub(_decode, value) for name, _, value in pairs if name == b"channel"]
    return names or [_DEFAULT_CHANNEL]


def _decode(escapes: re.Match[bytes]) -> bytes:
    text = unquote_to_bytes(escapes[0]).decode("utf-8", "surrogateescape")
    return b"".join(map(_plain_or_escaped, text))


def _plain_or_escaped(char: str) -> bytes:
    raw = char.encode("utf-8", "surrogateescape")
    if char in _KEPT or char < " " or char == "\x7f" or "\udc80" <= char <= "\udcff":
        return b"%%%02X" % raw[0]
    return raw


# ---- WebSockets --------------------------------------------------------------------------------------------


def accept(request: OriginRequest) -> Agreement | Answer:
    """What the test handler says to a client who wants a WebSocket: there is one at ``/ws``."""
    if _resource(request) != b"/ws":
        return _UNKNOWN
    if read_extension(get_all(request.headers, b"sec-websocket-extensions")) is None:
        return Agreement(lambda socket: socket.own(_Echo(socket, b"")))

    def serve(socket: Any) -> None:
        for name in channels(request.query):
            message = {"type": "subscribe", "channel": name.decode("utf-8", "replace")}
            socket.send(TEXT, b"c:" + json.dumps(message).encode())
        socket.own(_Echo(socket, DEFAULT_PREFIX))

    return Agreement(serve, ((b"Sec-WebSocket-Extensions", b"grip"),))


@implementer(ISocketOwner)
class _Echo:
    """Says what it hears.  All of it behind the prefix, or a client's ``c:`` would come back as our wish."""

    __slots__ = ("_prefix", "_socket")

    def __init__(self, socket: Any, prefix: bytes) -> None:
        self._socket = socket
        self._prefix = prefix

    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        """As ``ISocketOwner``."""
        if first and kind in (TEXT, BINARY):
            data = self._prefix + data
        self._socket.send(kind, data, first, end == MESSAGE)
        if self._socket.congested:
            self._socket.pause()

    def socket_closed(self, code: int | None, reason: bytes) -> None:
        """As ``ISocketOwner``."""
        self._socket.close(code, reason)

    def socket_drained(self) -> None:
        """As ``ISocketOwner``."""
        self._socket.resume()

    def socket_lost(self) -> None:
        """As ``ISocketOwner``."""
