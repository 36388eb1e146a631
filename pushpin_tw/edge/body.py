"""The body of a client's request (``IBody``): read at the pace of whoever wants it.

Made by ``edge.http`` for requests that have one.  Until somebody begins, its bytes stay in the connection's
buffer.  Never answers by itself; bytes that break the rules go to the responder (proxy 8.2).
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from pushpin_tw.edge.connection import ClientConnection
from pushpin_tw.edge.responder import Responder
from pushpin_tw.errors import HttpError
from pushpin_tw.interfaces import IBody
from pushpin_tw.wire.body import BodyReader, ChunkedReader, LengthReader
from pushpin_tw.wire.message import Request

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@implementer(IBody)
class RequestBody:
    """Bytes on their way from a client."""

    __slots__ = (
        "_abandoned",
        "_begun",
        "_connection",
        "_expects_continue",
        "_length",
        "_limit",
        "_reader",
        "_responder",
        "_sink",
    )

    def __init__(
        self, connection: ClientConnection, request: Request, responder: Responder, limit: int
    ) -> None:
        """``limit``: bytes that may wait unread, and that the line before a chunk may have."""
        self._connection = connection
        # Not the request itself: a held client would keep its headers.
        self._length = None if request.chunked else request.length
        self._expects_continue = request.expects_continue
        self._responder = responder
        self._limit = limit
        self._reader = self._make_reader()
        self._sink: Any = None
        self._begun = False
        self._abandoned = False

    def _make_reader(self) -> BodyReader:
        return ChunkedReader(self._limit) if self._length is None else LengthReader(self._length)

    # ---- for whoever wants the body ------------------------------------------------------------------------

    def begin(self, sink: Any) -> None:
        """Start the flow into ``sink``; see ``IBody``."""
        if self._begun or self._abandoned:
            return
        self._begun = True
        self._sink = sink
        connection = self._connection
        data, connection.buffer = connection.buffer, b""
        if data:
            # What waited may have stopped the reading; the sink may stop it again.
            connection.resume_reading()
            self._feed(data)
        elif self._expects_continue and not self._responder.started:
            connection.send(CONTINUE)

    def pause(self) -> None:
        """Stop reading from the client; a complete body leaves nothing to stop."""
        if self._sink is not None and not self._reader.finished:
            self._connection.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._sink is not None:
            self._connection.resume_reading()

    def abandon(self) -> None:
        """The rest is not wanted."""
        if self._sink is not None:
            # What a slow taker had stopped is to be noticed and thrown away.
            self._connection.resume_reading()
        self._abandoned = True
        self._sink = None

    # ---- for the edge --------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether the end of the body was read."""
        return self._reader.finished

    def received(self, data: bytes) -> None:
        """Bytes came while the body was not complete."""
        if self._sink is not None:
            self._feed(data)
        elif not self._begun:
            self._keep(self._connection.buffer + data)

    def arrived(self) -> bool:
        """Whether the body is complete, or would be if anybody read what is here."""
        if self._begun or self._reader.finished:
            return self._reader.finished
        trial = self._make_reader()
        try:
            trial.feed(self._connection.buffer)
        except HttpError:
            return False
        return trial.finished

    def skip(self) -> bool:
        """The response is complete: step over a body that nobody has read, as far as it is here.

        Returns whether it is behind us, and the next request may follow.
        """
        if not self._begun and not self._reader.finished:
            connection = self._connection
            data, connection.buffer = connection.buffer, b""
            try:
                self._reader.feed(data)
            except HttpError:
                return False
            connection.buffer = self._reader.rest
        return self._reader.finished

    def _feed(self, data: bytes) -> None:
        reader, responder = self._reader, self._responder
        try:
            piece = reader.feed(data)
        except HttpError as error:
            responder.refuse(error)
            return
        finished = reader.finished
        if finished:
            # The next request's bytes are in place before anybody answers this one.
            self._connection.resume_reading()
            self._keep(reader.rest)
        if piece:
            responder.guard(self._sink.body_received, piece)
        sink = self._sink
        if finished and sink is not None:
            self._sink = None
            responder.guard(sink.body_finished)

    def _keep(self, data: bytes) -> None:
        self._connection.buffer = data
        if len(data) > self._limit:
            self._connection.pause_reading()
