"""Origins that live in this process: the base of the ``test`` and ``demo`` targets.

A backend that is a function: it is given a whole request and returns a whole answer.  Used by ``origin.echo``
and ``origin.demo``, and free for target plugins.  Never holds anything: like every backend it answers with
GRIP instructions when it wants a client to wait, and the proxy does the waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import OriginError
from pushpin_tw.interfaces import IOrigin, IOriginCall
from pushpin_tw.origin.unavailable import DeadCall
from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.message import OriginRequest, Response

MAX_BODY = 100_000
"""Bytes of a request body that are kept; a longer one is answered with 400 (proxy 8.8)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    reason: bytes
    headers: tuple[Header, ...] = ()
    """Without framing headers."""
    body: bytes = b""


TOO_LARGE = Answer(400, b"Bad Request", ((b"Content-Type", b"text/plain"),), b"request too large\n")


@implementer(IOrigin)
class AnsweringOrigin:
    """An ``IOrigin`` around a function."""

    def __init__(self, answer: Callable[[OriginRequest, bytes], Answer], stats: Any) -> None:
        """``answer`` is given the request and its body; ``stats`` is an ``IStatsSink``."""
        self._answer = answer
        self._stats = stats

    def fetch(self, request: OriginRequest, sink: Any) -> AnsweringCall:
        """As ``IOrigin``."""
        return AnsweringCall(request, sink, self._answer, self._stats)

    def connect(self, handshake: Any, sink: Any) -> DeadCall:
        """As ``IOrigin``: it fails.  ``origin.inprocess`` is for those who know WebSockets."""
        sink.failed(OriginError("WebSockets cannot be used with this target"))
        return DeadCall()


@implementer(IOriginCall)
class AnsweringCall:
    """One request; it is answered within ``finish()``, or within ``write()`` when it is too large."""

    __slots__ = ("_answer", "_body", "_request", "_sink", "_stats", "congested")

    def __init__(
        self, request: OriginRequest, sink: Any, answer: Callable[[OriginRequest, bytes], Answer], stats: Any
    ) -> None:
        self.congested = False
        self._request = request
        self._sink = sink
        self._answer = answer
        self._stats = stats
        self._body = b""

    def write(self, data: bytes) -> None:
        """As ``IOriginCall``."""
        if self._sink is None:
            return
        self._body += data
        if len(self._body) > MAX_BODY:
            self._reply(TOO_LARGE, None)

    def finish(self) -> None:
        """As ``IOriginCall``."""
        if self._sink is None:
            return
        try:
            answer = self._answer(self._request, self._body)
        except Exception:
            self._stats.failure("origin")
            answer = Answer(500, b"Internal Server Error")
        self._reply(answer, len(answer.body))

    def pause(self) -> None:
        """As ``IOriginCall``; everything was said at once."""

    def resume(self) -> None:
        """As ``IOriginCall``."""

    def cancel(self) -> None:
        """As ``IOriginCall``."""
        self._sink = None

    def _reply(self, answer: Answer, length: int | None) -> None:
        try:
            self._sink.responded(
                Response(answer.status, answer.reason, list(answer.headers), length, chunked=length is None)
            )
            # The sink may have cancelled this call from within.
            if self._sink is not None and answer.body and self._request.method != b"HEAD":
                self._sink.received(answer.body)
            sink, self._sink = self._sink, None
            if sink is not None:
                sink.finished()
        except Exception:
            self._stats.failure("origin")
            self._sink = None
