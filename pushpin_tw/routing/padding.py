"""JSON-P responses: a response written as a script that calls a function of the page (proxy 6.3, 6.4).

Used by ``crossorigin`` for whole responses and by ``proxy`` for those that come in pieces.  In extended mode
the function is given status, headers and body as one object; in basic mode it is given the body as it is,
which must be JSON then.  Never decides whether a client wants this (``jsonp``) and never frames anything.
"""

from __future__ import annotations

import json
from codecs import getincrementaldecoder
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pushpin_tw.wire.headers import Header, HeaderList, get_all, without

SCRIPT: Header = (b"Content-Type", b"application/javascript")

_REPLACED = frozenset((b"content-type", b"content-length"))
# Legal within JSON, but until ES2019 the end of a line within a script, and so the end of a string.
_LINE_ENDS = {0x2028: "\\u2028", 0x2029: "\\u2029"}
_Utf8 = getincrementaldecoder("utf-8")


@dataclass(frozen=True, slots=True)
class Padding:
    """How one client wants to be answered."""

    callback: bytes
    """The function's name; whatever the client has sent."""
    extended: bool

    def open(
        self, status: int, reason: bytes, headers: Sequence[Header], length: int | None
    ) -> ExtendedScript | BasicScript:
        """Begin a script for a response whose body comes in pieces; ``length`` is the body's, if known."""
        if not self.extended:
            return BasicScript(self.callback)
        return ExtendedScript(self.callback, status, reason, headers, length)

    def relayed(
        self, status: int, reason: bytes, headers: Sequence[Header], body: bytes, length: int | None
    ) -> tuple[HeaderList, bytes]:
        """Headers and body of a script for a response that was there at once (6.3)."""
        script = self.open(status, reason, headers, length)
        return mirrored(headers), script.start + script.feed(body) + script.end()

    def held(
        self, status: int, reason: bytes, headers: Sequence[Header], body: bytes
    ) -> tuple[HeaderList, bytes]:
        """The same for what a held request is answered with (6.4), which looks otherwise."""
        outer = [*without(headers, _REPLACED), SCRIPT]
        if not self.extended:
            script = BasicScript(self.callback)
            return outer, script.start + script.feed(body) + script.end()
        value = {
            "body": _text(body),
            "code": status,
            "headers": _joined(headers),
            "reason": _text(reason),
        }
        return outer, b"/**/%b(%b);\n" % (self.callback, _literal(value))


def mirrored(headers: Iterable[Header]) -> HeaderList:
    """The headers of a script for a whole response with ``headers``."""
    return [SCRIPT, *(pair for pair in headers if pair[0].lower() == b"cache-control")]


class ExtendedScript:
    """``/**/f({"code": 200, "reason": "OK", "headers": {}, "body": "..."});`` in pieces."""

    __slots__ = ("_decoder", "start")

    def __init__(
        self, callback: bytes, status: int, reason: bytes, headers: Sequence[Header], length: int | None
    ) -> None:
        shown = _first(headers)
        if length is not None:
            shown["Content-Length"] = str(length)
        self.start = b'/**/%b({"code": %d, "reason": %b, "headers": %b, "body": "' % (
            callback,
            status,
            _literal(_text(reason)),
            _literal(shown),
        )
        """What stands before the first piece of the body."""
        self._decoder = _Utf8("replace")

    def feed(self, data: bytes) -> bytes:
        """A piece of the body, as it stands within the script; perhaps a part of it later."""
        return _literal(self._decoder.decode(data))[1:-1]

    def end(self) -> bytes:
        """What is left to say when no piece follows."""
        unfinished, _ = self._decoder.getstate()
        return b'%b"});\n' % ("\ufffd" if unfinished else "").encode()


class BasicScript:
    """``/**/f(...);`` in pieces.  A line end that the body ends with is left out."""

    __slots__ = ("_kept", "start")

    def __init__(self, callback: bytes) -> None:
        self.start = b"/**/%b(" % callback
        """As in ``ExtendedScript``."""
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """As in ``ExtendedScript``."""
        data = self._kept + data
        length = len(data)
        if data.endswith(b"\r\n"):
            length -= 2
        elif data.endswith((b"\r", b"\n")):
            length -= 1
        self._kept = data[length:]
        return data[:length]

    def end(self) -> bytes:
        """As in ``ExtendedScript``."""
        return b"\r);\n" if self._kept == b"\r" else b");\n"


def _literal(value: object) -> bytes:
    """JSON without spaces, keys sorted, that is a literal of any JavaScript, too."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.translate(_LINE_ENDS).encode() if not text.isascii() else text.encode()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _first(headers: Sequence[Header]) -> dict[str, str]:
    """The first value of each header, under its first spelling."""
    found: dict[bytes, Header] = {}
    for pair in headers:
        found.setdefault(pair[0].lower(), pair)
    return {_text(name): _text(value) for name, value in found.values()}


def _joined(headers: Sequence[Header]) -> dict[str, str]:
    """All values of each header, under its first spelling."""
    spelled = {name.lower(): name for name, _ in reversed(headers)}
    return {_text(name): _text(b", ".join(get_all(headers, lower))) for lower, name in spelled.items()}
