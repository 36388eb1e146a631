"""The way back to a client of another origin: every response gets CORS headers or becomes a script (proxy 6).

The gateway puts a ``DressedResponder`` around the client's responder, and whoever answers need not know.  Who
takes the client over for long takes the dress off (``undress``, ``undress_stream``, ``shed``): a hold costs
no more for it.  Never decides what is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from pushpin_tw.interfaces import IResponder
from pushpin_tw.routing.crossorigin import Dress
from pushpin_tw.routing.padding import SCRIPT, mirrored
from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.render import bodiless


def dress(responder: Any, clothes: Dress) -> Any:
    """``responder`` with what it is given dressed from now on."""
    if clothes.padding is not None:
        return ScriptResponder(responder, clothes)
    return DressedResponder(responder, clothes)


def undress(responder: Any) -> tuple[Any, Dress | None]:
    """The client's own responder, and what it wore; only before anything is answered."""
    if isinstance(responder, DressedResponder):
        return responder.inner, responder.clothes
    return responder, None


def undress_stream(responder: Any) -> Any:
    """The responder for a stream that is going to start: with CORS headers, but never a script, which would
    run only when the stream is over (proxy 6.4)."""
    inner, clothes = undress(responder)
    return inner if clothes is None else DressedResponder(inner, clothes)


def shed(responder: Any) -> Any:
    """The responder for what follows after a head: CORS headers are of no more use then.  A script that was
    begun stays one."""
    if type(responder) is DressedResponder:
        return responder.inner
    return responder


@implementer(IResponder)
class DressedResponder:
    """Adds CORS headers."""

    __slots__ = ("clothes", "inner")

    def __init__(self, inner: Any, clothes: Dress) -> None:
        self.inner = inner
        self.clothes = clothes

    @property
    def minor(self) -> int:
        """As ``IResponder``; so are all others."""
        return int(self.inner.minor)

    @property
    def persistent(self) -> bool:
        return bool(self.inner.persistent)

    @persistent.setter
    def persistent(self, value: bool) -> None:
        self.inner.persistent = value

    @property
    def head_only(self) -> bool:
        return bool(self.inner.head_only)

    @property
    def chunked(self) -> bool:
        return bool(self.inner.chunked)

    @property
    def congested(self) -> bool:
        return bool(self.inner.congested)

    @property
    def started(self) -> bool:
        return bool(self.inner.started)

    @property
    def sent(self) -> int:
        return int(self.inner.sent)

    def own(self, owner: Any) -> None:
        self.inner.own(owner)

    def start(self, status: int, reason: bytes, headers: Sequence[Header], length: int | None) -> None:
        self.inner.start(status, reason, self.clothes.cors.add(headers), length)

    def write(self, data: bytes) -> None:
        self.inner.write(data)

    def flush(self) -> None:
        self.inner.flush()

    def finish(self) -> None:
        self.inner.finish()

    def respond(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        self.inner.respond(status, reason, self.clothes.cors.add(headers), body)

    def deliver(self, data: bytes) -> None:
        self.inner.deliver(data)

    def complete(self, data: bytes) -> None:
        self.inner.complete(data)

    def switch(self, reason: bytes, headers: Sequence[Header], extensions: bytes) -> Any:
        return self.inner.switch(reason, headers, extensions)

    def abort(self) -> None:
        self.inner.abort()


class ScriptResponder(DressedResponder):
    """Makes a script of the response: a whole one when all of it comes before anything has to be sent."""

    __slots__ = ("_headers", "_pieces", "_script")

    chunked = False  # to deliver() come bytes without framing, which belong into the script

    def __init__(self, inner: Any, clothes: Dress) -> None:
        super().__init__(inner, clothes)
        self._script: Any = None
        self._headers: list[Header] = []
        """Those of a whole response."""
        self._pieces: list[bytes] | None = None
        """What is written of the script while nothing is sent."""

    @property
    def started(self) -> bool:
        return self._script is not None or bool(self.inner.started)

    @property
    def sent(self) -> int:
        """What is written of the script, its end included."""
        if self._script is None:
            return int(self.inner.sent)
        written = sum(map(len, self._pieces)) if self._pieces is not None else self.inner.sent
        return int(written + len(self._script.end()))

    def start(self, status: int, reason: bytes, headers: Sequence[Header], length: int | None) -> None:
        if self.started:
            return
        assert self.clothes.padding is not None
        self._script = self.clothes.padding.open(status, reason, headers, length)
        self._headers = mirrored(headers)
        self._pieces = [self._script.start]

    def write(self, data: bytes) -> None:
        if self._script is None:
            return
        piece = self._script.feed(data)
        if self._pieces is None:
            self.inner.write(piece)
        else:
            self._pieces.append(piece)

    def flush(self) -> None:
        if self._pieces is not None:
            self.inner.start(200, b"OK", [SCRIPT], None)
            self.inner.write(b"".join(self._pieces))
            self._pieces = None
        self.inner.flush()

    def finish(self) -> None:
        if self._pieces is not None:
            whole = b"".join([*self._pieces, self._script.end()])
            self.inner.respond(200, b"OK", self._headers, whole)
            return
        if self._script is not None:
            self.inner.write(self._script.end())
        self.inner.finish()

    def respond(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        if self.started:
            self.abort()
        else:
            self.inner.respond(200, b"OK", *self.whole(status, reason, headers, body))

    def whole(
        self, status: int, reason: bytes, headers: Sequence[Header], body: bytes
    ) -> tuple[list[Header], bytes]:
        """Headers and body of the script that ``respond`` sends."""
        assert self.clothes.padding is not None
        length = None if bodiless(status) else len(body)
        return self.clothes.padding.relayed(status, reason, headers, body[: length or 0], length)

    def deliver(self, data: bytes) -> None:
        self.write(data)
        self.flush()
