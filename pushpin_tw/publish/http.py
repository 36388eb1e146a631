"""The control API's server: publishing over HTTP, one request per connection (grip 14.1).

Called by the service as the publish source ``http``.  Limits count while bytes arrive, and at most
``MAX_SERVED`` connections are served at once; the others wait unread.  twisted.web is not used because the
rules (line ends, error texts, a body for HEAD) are not those of a general server.  Never parses an item.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import implementer

from pushpin_tw.config import Config
from pushpin_tw.errors import HttpError
from pushpin_tw.extensions import IPublishSource
from pushpin_tw.publish.controlapi import ControlApi, ControlRequest, ControlResponse, parse_head
from pushpin_tw.wire.http1 import head_end

MAX_SERVED = 128
"""Connections served at once."""
BACKLOG = 1024
"""Connections that the kernel keeps for us; beyond that a client would have to try again after a second."""
IDLE_TIMEOUT = 60.0
"""Seconds without a byte until a connection is closed."""
LINGER = 2.0
"""Seconds that a client which was refused may go on sending before its connection is cut.  Closing at once
would make the kernel reset the connection, and the refusal might never be read."""


class ControlConnection(Protocol):
    """One client of the control API.  What is done with bytes is the current method ``_receive``."""

    def __init__(self, server: ControlFactory) -> None:
        self.due = 0
        self.slot = 0
        self._server = server
        self._buffer = bytearray()
        self._request: ControlRequest
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
        self._server.wheel.schedule(self, IDLE_TIMEOUT)
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

    def _receive_head(self, data: bytes) -> None:
        self._server.wheel.schedule(self, IDLE_TIMEOUT)
        seen = max(0, len(self._buffer) - 3)
        self._buffer += data
        end = head_end(self._buffer, seen)
        limit = self._server.max_head
        if end > limit or (end < 0 and len(self._buffer) >= limit):
            self._refuse(HttpError("Request header too large."))
            return
        if end >= 0:
            self._begin(end)

    def _begin(self, end: int) -> None:
        try:
            request = parse_head(bytes(self._buffer[:end]), self._server.max_body)
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
        self._server.wheel.schedule(self, IDLE_TIMEOUT)
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
        self._transport.write(response.encode(self._request.version))
        self._transport.loseConnection()

    def _refuse(self, error: HttpError, version: bytes = b"HTTP/1.1") -> None:
        self._receive = self._discard
        self._buffer.clear()
        self._transport.write(ControlResponse(error.status, error.text).encode(version))
        self._transport.loseWriteConnection()
        self._server.wheel.schedule(self, LINGER)

    def _discard(self, data: bytes) -> None:
        """What comes behind the end of a request."""


class ControlFactory(Factory):
    """All clients of the control API."""

    noisy = False

    def __init__(self, config: Config, broker: Any, services: Any) -> None:
        """``broker`` is an ``IBroker``, ``services`` an ``IServices``."""
        self.max_head = config.handler.push_in_http_max_headers_size
        self.max_body = config.handler.push_in_http_max_body_size
        self.wheel = services.wheel
        self._stats = services.stats
        self._api = ControlApi(broker)
        self._served: set[ControlConnection] = set()
        self._waiting: deque[ControlConnection] = deque()
        self._port: Any = None
        self._emptied: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> ControlConnection:
        return ControlConnection(self)

    def accept_on(self, port: Any) -> None:
        """``port`` is where clients come from; it pauses while nobody more can be served."""
        self._port = port

    def answer(self, request: ControlRequest, body: bytes) -> ControlResponse:
        """The response to ``request``; a bug behind the API costs the publisher a 500 and nobody else."""
        try:
            return self._api.answer(request, body)
        except Exception:
            self._stats.failure("http control server")
            return ControlResponse(500, "Internal Server Error")

    def opened(self, connection: ControlConnection) -> None:
        """A client has come: serve it, or let it wait.

        The port accepts clients in batches, so that some more may come after it was told to stop.
        """
        if len(self._served) < MAX_SERVED:
            self._served.add(connection)
            connection.serve()
        else:
            self._waiting.append(connection)
            connection.wait()
        if len(self._served) == MAX_SERVED:
            self._port.stopReading()

    def closed(self, connection: ControlConnection) -> None:
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
        else:
            self._port.startReading()

    def stop(self) -> Deferred[None]:
        """Cut all connections; fires when the last one is gone."""
        if not self._served:
            return succeed(None)
        self._emptied = emptied = Deferred[None]()
        for connection in [*self._served, *self._waiting]:
            connection.abort()
        return emptied


class ControlService(Service):
    """The control API on its port, while it runs."""

    address: tuple[str, int] | None = None
    """Where it listens; known once started."""

    def __init__(self, host: str, port: int, factory: ControlFactory, services: Any) -> None:
        self._host = host
        self._port_number = port
        self._factory = factory
        self._services = services
        self._port: Any = None

    def startService(self) -> None:
        """:raises twisted.internet.error.CannotListenError: the address is taken or not ours."""
        super().startService()
        self._port = self._services.reactor.listenTCP(
            self._port_number, self._factory, backlog=BACKLOG, interface=self._host
        )
        self._factory.accept_on(self._port)
        bound = self._port.getHost()
        self.address = (bound.host, bound.port)
        host = f"[{bound.host}]" if ":" in bound.host else bound.host
        self._services.stats.note("info", f"http control server: {host}:{bound.port}", "handler")

    def stopService(self) -> Deferred[Any] | None:
        super().stopService()
        if self._port is None:
            return None
        port, self._port = self._port, None
        self.address = None
        return gatherResults([maybeDeferred(port.stopListening), self._factory.stop()])


@implementer(IPlugin, IPublishSource)
class HttpControl:
    """The publish source that answers HTTP requests."""

    name = "http"

    def __init__(self, port: int | None = None) -> None:
        """``port`` stands for that of the configuration; 0 then lets the system choose one."""
        self._port = port

    def service(self, config: Config, broker: Any, services: Any) -> ControlService | None:
        """See ``IPublishSource``: None when the configuration has no port."""
        port = self._port
        if port is None:
            if not config.handler.push_in_http_port:
                return None
            port = config.handler.push_in_http_port
        factory = ControlFactory(config, broker, services)
        return ControlService(config.handler.push_in_http_addr, port, factory, services)
