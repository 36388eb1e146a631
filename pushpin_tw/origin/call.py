"""One HTTP/1 request to a backend and its response (RFC 9112; proxy 4.6, 4.7, 8.4).

``HttpCall`` is made by ``origin.http`` and uses a connection of ``origin.pool`` as long as it lasts;
``origin.upgrade`` makes one that may end in a WebSocket.  Never changes a request beyond its framing, never
retries, never follows a redirect.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import (
    HttpError,
    OriginDisconnected,
    OriginError,
    OriginInsecure,
    OriginTimeout,
    OriginUnsent,
)
from pushpin_tw.interfaces import IOriginCall
from pushpin_tw.origin.connect import Dial
from pushpin_tw.origin.pool import Connection
from pushpin_tw.wire.body import BodyReader, response_body
from pushpin_tw.wire.http1 import LAST_CHUNK, encode_chunk, encode_head, head_end, parse_response
from pushpin_tw.wire.message import OriginRequest, Response

MAX_INTERIM = 16
"""1xx responses before the final one."""

_CHUNKED = b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n"
_NO_ZERO = frozenset((b"GET", b"HEAD", b"OPTIONS"))
_BEGINNING = b"HTTP/1."


def encode_request(request: OriginRequest) -> bytes:
    """The head of a request to a backend, framing headers last (proxy 4.6).

    :raises WireError: something in it contains a line end.
    """
    length = request.length
    if length is None:
        framing = _CHUNKED
    elif length or request.method not in _NO_ZERO:
        framing = b"Content-Length: %d\r\n" % length
    else:
        framing = b""
    return encode_head(b"%b %b HTTP/1.1" % (request.method, request.target), request.headers, framing)


@implementer(IOriginCall)
class HttpCall:
    """One request and its response; the user of a connection as long as it lasts.

    The head of the request leaves with the first bytes of the body or with ``finish()``, in one write.
    """

    __slots__ = (
        "_buffer",
        "_complete",
        "_connection",
        "_dial",
        "_head",
        "_head_limit",
        "_interim",
        "_left",
        "_method",
        "_paused",
        "_reader",
        "_response",
        "_sink",
        "_stats",
        "_waiting",
        "_waiting_size",
        "_write_limit",
    )

    def __init__(
        self, request: OriginRequest, sink: Any, head_limit: int, write_limit: int, stats: Any
    ) -> None:
        self._method = request.method
        self._left = request.length
        self._sink = sink
        self._head_limit = head_limit
        self._write_limit = write_limit
        self._stats = stats
        self._head = b""
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._complete = False
        self._paused = False
        self._dial: Dial | None = None
        self._connection: Connection | None = None
        self._buffer = b""
        self._interim = 0
        self._response: Response | None = None
        self._reader: BodyReader | None = None

    def begin(self, head: bytes) -> None:
        """The request's head is to be sent."""
        self._head = head

    # ---- for the proxy (IOriginCall) -----------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """As ``IOriginCall``."""
        if self._connection is not None:
            return self._connection.congested
        return self._waiting_size > self._write_limit

    def write(self, data: bytes) -> None:
        """As ``IOriginCall``.  More than the announced length ends the call with a failure."""
        if self._sink is None or self._complete or not data:
            return
        if self._left is None:
            self._send(encode_chunk(data))
            return
        self._left -= len(data)
        if self._left < 0:
            self._fail(OriginError("request body longer than announced"))
        else:
            self._send(data)

    def finish(self) -> None:
        """As ``IOriginCall``.  Less than the announced length ends the call with a failure."""
        if self._sink is None or self._complete:
            return
        self._complete = True
        if self._left is None:
            self._send(LAST_CHUNK)
        elif self._left:
            self._fail(OriginError("request body shorter than announced"))
        elif self._head:
            self._send(b"")

    def pause(self) -> None:
        """As ``IOriginCall``."""
        self._paused = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """As ``IOriginCall``."""
        self._paused = False
        if self._connection is not None:
            self._connection.resume()

    def cancel(self) -> None:
        """As ``IOriginCall``."""
        self._sink = None
        connection, self._connection = self._connection, None
        dial, self._dial = self._dial, None
        if connection is not None:
            connection.abort()
        elif dial is not None:
            dial.stop()
        self._waiting = []

    def _send(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        if self._connection is not None:
            self._connection.write(data)
        else:
            self._waiting.append(data)
            self._waiting_size += len(data)

    # ---- for the connection --------------------------------------------------------------------------------

    def dialing(self, dial: Dial) -> None:
        """A connection is being made."""
        self._dial = dial

    def unreachable(self, error: OriginError) -> None:
        """There is no connection."""
        self._fail(error)

    def opened(self, connection: Connection) -> None:
        """There is a connection."""
        self._dial = None
        self._connection = connection
        if self._paused:
            connection.pause()
        if not self._waiting:
            return
        congested = self._waiting_size > self._write_limit
        data, self._waiting, self._waiting_size = b"".join(self._waiting), [], 0
        connection.write(data)
        if congested and not connection.congested:
            self.drained()

    def drained(self) -> None:
        """The connection takes more."""
        if self._sink is None:
            return
        try:
            self._sink.origin_drained()
        except Exception:
            self._crash()

    def silent(self) -> None:
        """The backend neither speaks nor listens."""
        self._fail(OriginTimeout("silent for too long"))

    def connection_lost(self, clean: bool) -> None:
        """The backend has gone."""
        reader = self._reader
        if self._connection is None:
            self._fail(OriginInsecure("TLS failed"))
        elif reader is None:
            lost = OriginUnsent if self._connection.unsent else OriginDisconnected
            self._fail(lost("closed before a response"))
        elif clean and reader.closed():
            self._end(reusable=False)
        else:
            self._fail(OriginDisconnected("closed within a response"))

    def data_received(self, data: bytes) -> None:
        """Bytes of the response."""
        try:
            self._receive(data)
        except HttpError as error:
            self._fail(OriginError(error.text))
        except Exception:
            self._crash()

    def _receive(self, data: bytes) -> None:
        if self._reader is None:
            rest = self._receive_head(self._buffer + data)
            if rest is None or self._sink is None:
                return
            data = rest
        reader = self._reader
        assert reader is not None
        extra = b""
        if reader.finished:
            extra = data
        elif data:
            body = reader.feed(data)
            extra = reader.rest
            if body:
                self._sink.received(body)
        if self._sink is None:
            return
        if reader.finished:
            self._end(reusable=not extra)
        else:
            self._sink.settled()

    def _receive_head(self, data: bytes) -> bytes | None:
        """Read the final head and return what stands behind it; None when it is not complete."""
        while True:
            end = head_end(data)
            if end > self._head_limit or (end < 0 and len(data) > self._head_limit):
                raise HttpError("response head too large")
            if end < 0:
                if not (data.startswith(_BEGINNING) or _BEGINNING.startswith(data)):
                    raise HttpError("invalid status line")
                self._buffer = data
                return None
            response = parse_response(data[:end])
            response.size = end
            data = data[end:]
            if response.status >= 200:
                break
            if response.status == 101:
                self._switch(response, data)
                return None
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise HttpError("too many interim responses")
        self._buffer = b""
        self._response = response
        self._reader = response_body(response, self._method)
        self._sink.responded(response)
        return data

    def _switch(self, response: Response, rest: bytes) -> None:
        """The backend speaks another protocol from ``rest`` on."""
        raise HttpError("switches protocols unasked")

    # ---- the end -------------------------------------------------------------------------------------------

    def _end(self, reusable: bool) -> None:
        """The response is complete; the connection is reused only if the request was, too."""
        sink, connection = self._sink, self._connection
        self._sink = self._connection = None
        assert connection is not None and self._response is not None
        if reusable and self._complete and self._response.keep_alive:
            connection.release()
        else:
            connection.close()
        try:
            sink.finished()
        except Exception:
            self._stats.failure("origin")

    def _fail(self, error: OriginError) -> None:
        sink = self._sink
        if sink is None:
            return
        self.cancel()
        try:
            sink.failed(error)
        except Exception:
            self._stats.failure("origin")

    def _crash(self) -> None:
        """Within an ``except`` block: the sink has a bug; this call ends, no other one notices."""
        self._stats.failure("origin")
        self.cancel()
