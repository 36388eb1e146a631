"""A small HTTP server for the colder pages: one request per connection (grip 14.1, zeromq 6.1).

Used by the control API and by the metrics endpoint; each gives it a function from a request to a response.
Limits count while bytes arrive, and only so many connections are served at once; the others wait unread.
twisted.web is not used because the rules (line ends, error texts, a body for HEAD) are not those of a general
server.  Never waits for an answer, and knows no path.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from pushpin_tw.errors import HttpError
from pushpin_tw.grip.status import default_reason
from pushpin_tw.wire.headers import HeaderList, get_all, is_token, is_value
from pushpin_tw.wire.http1 import head_end

BACKLOG = 1024
"""Connections that the kernel keeps for us; beyond that a client would have to try again after a second."""
LINGER = 2.0
"""Seconds that a client which was refused may go on sending before its connection is cut.  Closing at once
would make the kernel reset the connection, and the refusal might never be read."""

TEXT = "text/plain"
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^\x00-\x20\x7f]+) ([\x21-\x7e]+)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_WITHOUT_BODY = frozenset([b"HEAD", b"GET", b"DELETE", b"OPTIONS"])


@dataclass(frozen=True, slots=True)
class SmallRequest:
    """A request head."""

    method: bytes
    target: bytes
    version: bytes
    """As it stood; answered with the same if it is ``HTTP/1.0``, else with ``HTTP/1.1``."""
    headers: HeaderList
    length: int | None
    """Bytes of body; None when none was announced."""

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for ``100 Continue`` (RFC 9110, 10.1.1: not in HTTP/1.0)."""
        if not self.length or self.version == b"HTTP/1.0":
            return False
        return any(value.lower() == b"100-continue" for value in get_all(self.headers, b"expect"))


@dataclass(frozen=True, slots=True)
class SmallResponse:
    """What is answered."""

    status: int
    text: str
    """The body without its line end."""
    content_type: str = TEXT
    allow: str = ""

    def encode(self, version: bytes) -> bytes:
        """The bytes for the wire; ``version`` is that of the request."""
        body = self.text.encode() + b"\n"
        return b"%b %d %b\r\n%bContent-Type: %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
            b"HTTP/1.0" if version == b"HTTP/1.0" else b"HTTP/1.1",
            self.status,
            default_reason(self.status),
            b"Allow: %b\r\n" % self.allow.encode() if self.allow else b"",
            self.content_type.encode(),
            len(body),
            body,
        )


def parse_head(head: bytes, max_body: int) -> SmallRequest:
    """Read a request head, empty line included; its lines end in CRLF or LF.

    :raises HttpError: with the answer of grip 14.1.  The request's version is not known then, or does not
        matter: ``HTTP/1.1`` is answered.
    """
    first, *lines = [line.removesuffix(b"\r") for line in head.rstrip(b"\r\n").split(b"\n")]
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise HttpError("Failed to parse request header.")
    headers: HeaderList = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not is_token(name) or not is_value(value):
            raise HttpError("Failed to parse request header.")
        headers.append((name, value.strip(b" \t")))
    method, target, version = found.groups()
    return SmallRequest(method, target, version, headers, _length(method, headers, max_body))


def _length(method: bytes, headers: HeaderList, max_body: int) -> int | None:
    lengths = set(get_all(headers, b"content-length"))
    if not lengths:
        if method not in _WITHOUT_BODY or get_all(headers, b"transfer-encoding"):
            raise HttpError("Request requires Content-Length.", 411)
        return None
    value = lengths.pop()
    if lengths or not _LENGTH.fullmatch(value):
        raise HttpError("Bad Content-Length.")
    if int(value) > max_body:
        raise HttpError("Request body too large.")
    return int(value)


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take."""

    head: int
    """Bytes of a request's head."""
    body: int
    """Bytes of its body."""
    served: int
    """Connections at the same time."""
    silence: float
    """Seconds without a byte until a connection is closed."""
    whole: float | None = None
    """Seconds for all of a request, and as many for the response to be taken; None for any number of them."""


class SmallConnection(Protocol):
    """One client.  What is done with bytes is the current method ``_receive``."""

    def __init__(self, server: SmallServer) -> None:
        self.due = 0
        self.slot = 0
        self._server = server
        self._buffer = bytearray()
        self._request: SmallRequest
        self._receive = self._receive_head

    # ---- the reactor's side

    def connectionMade(self) -> None:
        self._server.opened(self)

    def dataReceived(self, data: bytes) -> None:
        self._receive(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._server.wheel.cancel(self)
        self._server.closed(self)

    # ---- the server's side

    def wait(self) -> None:
        """Too many are being served: read nothing for now."""
        self._transport.pauseProducing()

    def serve(self) -> None:
        """It is this connection's turn."""
        limits = self._server.limits
        self._server.wheel.schedule(self, limits.whole or limits.silence)
        self._transport.resumeProducing()

    def expired(self) -> None:
        """Silent for too long."""
        self._transport.abortConnection()

    def abort(self) -> None:
        """The server stops."""
        self._transport.abortConnection()

    # ---- a request

    @property
    def _transport(self) -> Any:
        return self.transport

    def _heard(self) -> None:
        limits = self._server.limits
        if limits.whole is None:
            self._server.wheel.schedule(self, limits.silence)

    def _receive_head(self, data: bytes) -> None:
        self._heard()
        seen = max(0, len(self._buffer) - 3)
        self._buffer += data
        end = head_end(self._buffer, seen)
        limit = self._server.limits.head
        if end > limit or (end < 0 and len(self._buffer) >= limit):
            self._refuse(HttpError("Request header too large."))
            return
        if end >= 0:
            self._begin(end)

    def _begin(self, end: int) -> None:
        try:
            request = parse_head(bytes(self._buffer[:end]), self._server.limits.body)
        except HttpError as error:
            self._refuse(error)
            return
        self._request = request
        if request.length is None:
            self._answer(b"")
            return
        del self._buffer[:end]
        if request.expects_continue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._receive = self._receive_body
        self._receive_body(b"")

    def _receive_body(self, data: bytes) -> None:
        self._heard()
        self._buffer += data
        length = self._request.length or 0
        if len(self._buffer) > length:
            self._refuse(HttpError("Request body exceeded Content-Length."), self._request.version)
        elif len(self._buffer) == length:
            self._answer(bytes(self._buffer))

    def _answer(self, body: bytes) -> None:
        response = self._server.answer(self._request, body)
        self._receive = self._discard
        self._buffer.clear()
        limits = self._server.limits
        self._server.wheel.schedule(self, limits.whole or limits.silence)
        self._transport.write(response.encode(self._request.version))
        self._transport.loseConnection()

    def _refuse(self, error: HttpError, version: bytes = b"HTTP/1.1") -> None:
        self._receive = self._discard
        self._buffer.clear()
        self._transport.write(SmallResponse(error.status, error.text).encode(version))
        self._transport.loseWriteConnection()
        self._server.wheel.schedule(self, LINGER)

    def _discard(self, data: bytes) -> None:
        """What comes behind the end of a request."""


class SmallServer(Factory):
    """All clients of one port."""

    noisy = False

    def __init__(
        self, name: str, limits: Limits, answer: Callable[[SmallRequest, bytes], SmallResponse], services: Any
    ) -> None:
        """``name`` is for the log; ``answer`` is given a request and its body; ``services`` is an
        ``IServices``."""
        self.limits = limits
        self.wheel = services.wheel
        self._name = name
        self._respond = answer
        self._stats = services.stats
        self._served: set[SmallConnection] = set()
        self._waiting: deque[SmallConnection] = deque()
        self._port: Any = None
        self._retired = False
        self._emptied: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> SmallConnection:
        return SmallConnection(self)

    def accept_on(self, port: Any) -> None:
        """``port`` is where clients come from; it pauses while nobody more can be served."""
        self._port = port

    def retire(self) -> None:
        """Take nobody in any more: clients in the port's backlog are another process's."""
        self._retired = True
        self._port.stopReading()

    def answer(self, request: SmallRequest, body: bytes) -> SmallResponse:
        """The response to ``request``; a bug behind it costs the client a 500 and nobody else."""
        try:
            return self._respond(request, body)
        except Exception:
            self._stats.failure(self._name)
            return SmallResponse(500, "Internal Server Error")

    def opened(self, connection: SmallConnection) -> None:
        """A client has come: serve it, or let it wait.

        The port accepts clients in batches, so that some more may come after it was told to stop.
        """
        if len(self._served) < self.limits.served:
            self._served.add(connection)
            connection.serve()
        else:
            self._waiting.append(connection)
            connection.wait()
        if len(self._served) == self.limits.served:
            self._port.stopReading()

    def closed(self, connection: SmallConnection) -> None:
        """A client has gone: the next one's turn."""
        if connection in self._served:
            self._served.remove(connection)
        else:
            self._waiting.remove(connection)
        if self._emptied is not None:
            if not self._served and not self._waiting:
                emptied, self._emptied = self._emptied, None
                emptied.callback(None)
        elif self._waiting:
            following = self._waiting.popleft()
            self._served.add(following)
            following.serve()
        elif not self._retired:
            self._port.startReading()

    def stop(self) -> Deferred[None]:
        """Cut all connections; fires when the last one is gone."""
        if not self._served:
            return succeed(None)
        self._emptied = emptied = Deferred[None]()
        for connection in [*self._served, *self._waiting]:
            connection.abort()
        return emptied
