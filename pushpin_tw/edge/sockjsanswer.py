"""Answers to the requests of SockJS clients, and requests that are held to carry frames (websocket 6.2, 6.5).

Used by ``edge.sockjs`` and by sessions.  Knows how each transport of SockJS looks in HTTP; never decides what
a client is told, or when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zope.interface import implementer

from pushpin_tw.grip.status import default_reason
from pushpin_tw.interfaces import IParting, IResponderOwner
from pushpin_tw.wire.headers import Header, get, without
from pushpin_tw.wire.message import Request
from pushpin_tw.wire.sockjs import html_beginning, html_frame, padded

STREAM_LIMIT = 131_072
"""Bytes of a streaming response; then it ends, for clients keep all of it, and the next one goes on."""

_PLAIN = b"text/plain"
_SCRIPT = b"application/javascript"
_UNCACHED: Header = (b"Cache-Control", b"no-store, no-cache, must-revalidate, max-age=0")
_CREDENTIALS: Header = (b"Access-Control-Allow-Credentials", b"true")
_ALLOWING = frozenset({b"access-control-allow-origin", b"access-control-allow-credentials"})


@dataclass(frozen=True, slots=True)
class Stream:
    """How many frames travel in one response."""

    content_type: bytes
    prelude: bytes
    wrap: Callable[[bytes], bytes]
    """What stands for a frame."""


XHR_STREAMING = Stream(_SCRIPT + b"; charset=UTF-8", b"h" * 2048 + b"\n", b"%b\n".__mod__)
EVENT_SOURCE = Stream(b"text/event-stream; charset=UTF-8", b"\r\n", b"data: %b\r\n\r\n".__mod__)


def html_file(callback: bytes) -> Stream:
    """A page in a frame of the client's, whose scripts talk to ``callback``."""
    return Stream(b"text/html; charset=UTF-8", html_beginning(callback), html_frame)


class Client:
    """One request, and the way back."""

    __slots__ = ("_common", "callback", "responder")

    def __init__(self, request: Request, responder: Any, callback: bytes | None = None) -> None:
        """``callback``: the function that a script is to call with what a client is told."""
        origin = get(request.headers, b"origin") or b"*"
        self._common: tuple[Header, ...] = (
            _UNCACHED,
            (b"Access-Control-Allow-Origin", origin),
            _CREDENTIALS,
        )
        self.callback = callback
        self.responder = responder

    def headers(self, content_type: bytes | None, others: Iterable[Header] = ()) -> list[Header]:
        """What stands above the body."""
        kind = [] if content_type is None else [(b"Content-Type", content_type)]
        return [*others, *kind, *self._common]

    def answer(self, status: int, body: bytes = b"", content_type: bytes | None = _PLAIN) -> None:
        """A short response."""
        self.responder.respond(status, default_reason(status), self.headers(content_type), body)

    def tell(self, text: bytes, end: bytes = b"") -> None:
        """``text``, as a script if the client wants that; else with the line's ``end``."""
        if self.callback is None:
            self.answer(200, text + end)
        else:
            self.answer(200, padded(self.callback, text), _SCRIPT)

    def relay(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        """An origin's response; who may read it is said here, and only once, as browsers demand."""
        self.responder.respond(status, reason, [*without(headers, _ALLOWING), *self._common], body)


class CarrierOwner(Protocol):
    """A session, as its carriers see it."""

    def carrier_lost(self) -> None:
        """The client has gone."""

    def retire(self) -> None:
        """As ``IParting``."""


@implementer(IParting, IResponderOwner)
class Carrier:
    """A request that a session answers with frames: with one if it is a poll, else with many."""

    __slots__ = ("_left", "_session", "_stream", "client")

    def __init__(self, client: Client, stream: Stream | None) -> None:
        """``stream``: None for a poll."""
        self.client = client
        self._stream = stream
        self._left = STREAM_LIMIT
        self._session: CarrierOwner

    def hold(self, session: CarrierOwner) -> None:
        """From now on ``session`` is told what happens, until the response is complete."""
        self._session = session
        self.client.responder.own(self)

    def begin(self) -> None:
        """The session is open; a stream begins before there is a frame, so that the client need not doubt."""
        if self._stream is not None:
            self._begin(self._stream)
            self.client.responder.flush()

    def _begin(self, stream: Stream) -> None:
        responder = self.client.responder
        if not responder.started:
            responder.start(200, default_reason(200), self.client.headers(stream.content_type), None)
            responder.write(stream.prelude)

    def send(self, frame: bytes) -> bool:
        """Send a frame; returns whether there may be another one."""
        stream, responder = self._stream, self.client.responder
        if stream is None:
            self.client.tell(frame, b"\n")
            return False
        self._begin(stream)
        text = stream.wrap(frame)
        responder.write(text)
        self._left -= len(text)
        if self._left <= 0:
            responder.finish()
            return False
        responder.flush()
        return True

    def send_last(self, frame: bytes) -> None:
        """Send a frame behind which nothing comes."""
        if self.send(frame):
            self.client.responder.finish()

    def drop(self) -> None:
        """End the request without a word."""
        self.client.responder.abort()

    def end(self, status: int, text: bytes) -> None:
        """Say why there are no frames any more; within a stream there is no way to say it."""
        if self.client.responder.started:
            self.client.responder.abort()
        else:
            self.client.answer(status, text)

    def relay(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        """An origin's response instead of frames."""
        self.client.relay(status, reason, headers, body)

    # ---- IResponderOwner -----------------------------------------------------------------------------------

    def drained(self) -> None:
        """As ``IResponderOwner``: a stream ends before a slow client matters; the next one waits for it."""

    def lost(self) -> None:
        """As ``IResponderOwner``."""
        self._session.carrier_lost()

    def retire(self) -> None:
        """As ``IParting``."""
        self._session.retire()
