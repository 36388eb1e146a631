"""The control API's server: publishing over HTTP, one request per connection (grip 14.1).

Called by the service as the publish source ``http``.  Never parses an item.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from pushpin_tw.config import Config
from pushpin_tw.descriptors import Descriptors, listener_name
from pushpin_tw.extensions import IPublishSource
from pushpin_tw.publish.controlapi import ControlApi
from pushpin_tw.smallhttp import BACKLOG, Limits, SmallServer

MAX_SERVED = 128
"""Connections served at once."""
IDLE_TIMEOUT = 60.0
"""Seconds without a byte until a connection is closed."""


class ControlService(Service):
    """The control API on its port, while it runs."""

    address: tuple[str, int] | None = None
    """Where it listens; known once started."""

    def __init__(self, host: str, port: int, factory: SmallServer, services: Any) -> None:
        self._host = host
        self._port_number = port
        self._factory = factory
        self._services = services
        self._port: Any = None

    def startService(self) -> None:
        """:raises twisted.internet.error.CannotListenError: the address is taken or not ours."""
        super().startService()
        given = self._services.shared("descriptors", Descriptors).take(self._name)
        if given is None:
            self._port = self._services.reactor.listenTCP(
                self._port_number, self._factory, backlog=BACKLOG, interface=self._host
            )
        else:
            with given:
                self._port = self._services.reactor.adoptStreamPort(
                    given.fileno(), given.family, self._factory
                )
        self._factory.accept_on(self._port)
        bound = self._port.getHost()
        self.address = (bound.host, bound.port)
        host = f"[{bound.host}]" if ":" in bound.host else bound.host
        self._services.stats.note("info", f"http control server: {host}:{bound.port}", "handler")

    @property
    def _name(self) -> str:
        return listener_name("control", f"{self._host}:{self._port_number}")

    def listening(self) -> list[tuple[str, socket.socket]]:
        """The listening socket, by the name that ``Descriptors`` know it by."""
        return [] if self._port is None else [(self._name, self._port.socket)]

    def hand_over(self) -> None:
        """Another process serves whom the kernel lets in: the socket is closed here, but not shut down."""
        if self._port is not None:
            self._port._shouldShutdown = False
            self._factory.retire()

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
        handler = config.handler
        limits = Limits(
            handler.push_in_http_max_headers_size,
            handler.push_in_http_max_body_size,
            MAX_SERVED,
            IDLE_TIMEOUT,
        )
        factory = SmallServer("http control server", limits, ControlApi(broker).answer, services)
        return ControlService(config.handler.push_in_http_addr, port, factory, services)
