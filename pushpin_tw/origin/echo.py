"""The ``test`` target: a backend within pushpin, to try a set-up without writing one (proxy 8.8).

Used through ``origin.targets``.  Answers like any backend; what is held is held by the proxy.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from pushpin_tw.origin.answering import Answer
from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.message import OriginRequest

_TEXT: Header = (b"Content-Type", b"text/plain")
_DEFAULT_CHANNEL = b"test"

_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_KEPT = frozenset("!$%'()*+,/:;?@[]")

_ROOT = Answer(200, b"OK", (_TEXT,), b"Hello from the Pushpin test handler!\n")
_UNKNOWN = Answer(404, b"Not Found", (_TEXT,), b"no such test resource\n")


def answer(request: OriginRequest, body: bytes) -> Answer:
    """What the test handler says to a request of any method."""
    path = request.path
    if len(path) > 1 and path.endswith(b"/"):
        path = path[:-1]
    if path == b"/":
        return _ROOT
    if path == b"/response":
        return _hold(b"response", request.query, b"nothing for now\n")
    if path == b"/stream":
        return _hold(b"stream", request.query, b"[stream opened]\n")
    return _UNKNOWN


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
