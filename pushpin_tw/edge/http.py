"""The HTTP stage: requests out of a client's bytes, one at a time, in order (proxy 8.1, 8.2, 8.3).

One object serves all connections of a listener; what belongs to a connection lives in it.  Called by
``edge.connection``; hands every request to the gateway.  Never writes a response but the early errors.
"""

from __future__ import annotations

import re
from typing import Any

from pushpin_tw.edge.body import RequestBody
from pushpin_tw.edge.connection import ClientConnection
from pushpin_tw.edge.responder import Responder, refusal
from pushpin_tw.edge.watch import Watch
from pushpin_tw.edge.websocket import HandshakeResponder, SocketRoom
from pushpin_tw.errors import HttpError
from pushpin_tw.wire.http1 import check_partial_request, head_end, parse_request
from pushpin_tw.wire.message import Request

_EMPTY_LINES = re.compile(rb"(?:\r?\n)+")


class HttpStage:
    """What the bytes of a connection mean while it speaks HTTP."""

    __slots__ = ("_gateway", "_limit", "_secure", "_sockets", "_stats", "_watch")

    def __init__(
        self, gateway: Any, stats: Any, watch: Watch, sockets: SocketRoom, limit: int, secure: bool
    ) -> None:
        """``limit``: bytes of a request head (``client_buffer_size``).  ``secure``: behind TLS."""
        self._gateway = gateway
        self._sockets = sockets
        self._stats = stats
        self._watch = watch
        self._limit = limit
        self._secure = secure

    # ---- called by the connection --------------------------------------------------------------------------

    def received(self, connection: ClientConnection, data: bytes) -> None:
        """More bytes: of a head, of a body, or of requests that must wait for their turn."""
        talk: Responder | None = connection.talk
        if talk is not None and talk.body is not None and not talk.body.complete:
            connection.active = True
            talk.body.received(data)
            return
        connection.buffer = connection.buffer + data if connection.buffer else data
        if talk is None:
            self._advance(connection)
        elif len(connection.buffer) > self._limit:
            connection.pause_reading()

    def ended(self, connection: ClientConnection) -> None:
        """The client has closed its side; without a complete request there is nothing to say to it."""
        talk: Responder | None = connection.talk
        if talk is None:
            connection.close()
        else:
            talk.ended()

    def drained(self, connection: ClientConnection) -> None:
        """The client reads again."""
        if connection.talk is not None:
            connection.talk.drained()
        else:
            self._advance(connection)

    def lost(self, connection: ClientConnection) -> None:
        """The connection is gone."""
        if connection.talk is not None:
            connection.talk.lost()

    def failure(self) -> None:
        """Within an ``except`` block: log the bug."""
        self._stats.failure("client request")

    def answered(self, connection: ClientConnection, persist: bool, unread: bool) -> None:
        """A response is complete."""
        if persist:
            self._advance(connection)
        elif unread or connection.buffer or not connection.reading:
            connection.close_gently()
        else:
            connection.close()

    # ---- requests ------------------------------------------------------------------------------------------

    def _advance(self, connection: ClientConnection) -> None:
        """Start what has arrived; a loop, for a thousand requests may come and be answered at once.

        A client that does not read its answers is not given more of them.
        """
        if connection.starting:
            return
        connection.starting = True
        while connection.buffer and connection.talk is None and not connection.closing:
            if connection.congested:
                break
            try:
                request = self._take_request(connection)
            except HttpError as error:
                connection.send(refusal(0, error))
                connection.close_gently()
                break
            if request is None:
                break
            self._start(connection, request)
        connection.starting = False
        if connection.talk is None and not connection.closing:
            self._rest(connection)

    def _rest(self, connection: ClientConnection) -> None:
        """Nothing is asked, or only a part of a head has come, or the client must read first."""
        if connection.congested and connection.buffer:
            connection.pause_reading()
        elif connection.ended:
            connection.close()
        else:
            connection.resume_reading()
            if not connection.congested:
                self._watch.idle.add(connection)

    def _take_request(self, connection: ClientConnection) -> Request | None:
        """Cut the next request's head off the buffer; None when it is incomplete.

        :raises HttpError: it cannot become a request.
        """
        data = connection.buffer
        if data[0] in b"\r\n":
            found = _EMPTY_LINES.match(data)
            if found:
                data = connection.buffer = data[found.end() :]
            if data in (b"", b"\r"):
                return None
        end = head_end(data)
        if end < 0 or end > self._limit:
            check_partial_request(data)
            if len(data) > self._limit:
                raise HttpError(f"Request header size exceeded limit of {self._limit} bytes.")
            return None
        request = parse_request(data[:end])
        request.size = end
        connection.buffer = data[end:]
        return request

    def _start(self, connection: ClientConnection, request: Request) -> None:
        self._watch.idle.drop(connection)
        connection.asked = connection.since = self._watch.seconds()
        request.secure = self._secure
        request.peer = connection.peer
        talk: Responder
        if request.websocket:
            talk = HandshakeResponder(connection, request, self._sockets)
        else:
            talk = Responder(connection, request)
        connection.talk = talk
        if self._watch.resigned:
            talk.persistent = False
        body = None
        if request.has_body:
            body = RequestBody(connection, request, talk, self._limit)
            talk.attach(body)
        if len(connection.buffer) > self._limit:
            connection.pause_reading()
        talk.guard(self._gateway.handle_request, request, body, talk)
