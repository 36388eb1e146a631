"""A request for a WebSocket or of one over HTTP, with the whole answer (websocket 1.10, 4.3, 4.7).

Made by ``origin.overhttp``, ``origin.eventsocket`` and ``origin.upgrade``, which decide what is asked and
what an answer means.  Never retries, and never gives out half a body.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from zope.interface import implementer

from pushpin_tw.errors import OriginError
from pushpin_tw.interfaces import IOriginSink
from pushpin_tw.sockets import MAX_REFUSAL
from pushpin_tw.wire.events import CONTENT_TYPE
from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.message import OriginRequest, Response

MAX_BODY = MAX_REFUSAL
"""Bytes of an answer."""

_ACCEPT = (b"Accept", CONTENT_TYPE)
_CONTENT_TYPE = (b"Content-Type", CONTENT_TYPE)


class Asker(Protocol):
    """Who waits for an answer."""

    def answered(self, response: Response, body: bytes) -> None:
        """A complete one."""

    def unanswered(self, error: OriginError) -> None:
        """There is none, or it is too long."""


def event_request(
    handshake: Any, body: bytes, meta: Iterable[Header] = (), replayed: int = 0
) -> OriginRequest:
    """The request that carries ``body``.

    ``handshake`` is an ``IHandshake``, ``meta`` the headers that the backend has stored, ``replayed`` the
    number of content bytes that it was offered before.

    :raises OriginError: as ``IHandshake.prepare``.
    """
    request: OriginRequest = handshake.prepare()
    headers = request.headers
    headers.append(_ACCEPT)
    headers.append((b"Connection-Id", handshake.connection_id))
    headers.append(_CONTENT_TYPE)
    if replayed:
        headers.append((b"Content-Bytes-Replayed", b"%d" % replayed))
    headers.extend(meta)
    request.length = len(body)
    request.body_on_demand = True
    return request


@implementer(IOriginSink)
class Asking:
    """A request that is under way, ``call``; its answer is gathered here."""

    __slots__ = ("_asker", "_parts", "_response", "_size", "call")

    def __init__(self, asker: Asker) -> None:
        self._asker: Asker | None = asker
        """None once there is no answer to wait for."""
        self.call: Any = None
        self._parts: list[bytes] = []
        self._size = 0
        self._response: Response | None = None

    def begin(self, origin: Any, request: OriginRequest, body: bytes) -> None:
        """Ask ``origin`` (an ``IOrigin``); the answer may come within this call."""
        call = origin.fetch(request, self)
        self.call = call
        if body and self._asker is not None:
            call.write(body)
        if self._asker is not None:
            call.finish()
        else:
            call.cancel()

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._asker = None
        if self.call is not None:
            self.call.cancel()

    # ---- IOriginSink ---------------------------------------------------------------------------------------

    def responded(self, response: Response) -> None:
        """As ``IOriginSink``."""
        self._response = response

    def received(self, data: bytes) -> None:
        """As ``IOriginSink``."""
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_BODY:
            asker = self._asker
            self.cancel()
            if asker is not None:
                asker.unanswered(OriginError("answer too long"))

    def settled(self) -> None:
        """As ``IOriginSink``; nothing is passed on before its end."""

    def finished(self) -> None:
        """As ``IOriginSink``."""
        asker, self._asker = self._asker, None
        if asker is not None and self._response is not None:
            asker.answered(self._response, b"".join(self._parts))

    def failed(self, error: OriginError) -> None:
        """As ``IOriginSink``."""
        asker, self._asker = self._asker, None
        if asker is not None:
            asker.unanswered(error)

    def origin_drained(self) -> None:
        """As ``IOriginSink``; the body was given as a whole."""
