"""Where clients come in: ports, TLS ports, Unix sockets, and how many may (proxy 2.4, 8.5).

Made by ``service``.  Opens and closes; what happens on a connection is ``edge.connection``'s.
"""

from __future__ import annotations

import grp
import os
import pwd
import resource
import socket
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory

from pushpin_tw.descriptors import Descriptors, listener_name
from pushpin_tw.edge.certs import CertificateDirectory, ClientTls
from pushpin_tw.edge.connection import ClientConnection, TlsClientConnection
from pushpin_tw.edge.doors import open_tcp, open_unix
from pushpin_tw.edge.drain import Drain
from pushpin_tw.edge.http import HttpStage
from pushpin_tw.edge.transport import EagerPort, EagerUnixPort
from pushpin_tw.edge.watch import Watch
from pushpin_tw.edge.websocket import SocketRoom
from pushpin_tw.errors import ConfigError

SHORTAGE_PAUSE = 0.5
"""Seconds without accepting after file descriptors or memory have run out."""
SHORTAGE_NOTE = 60.0
"""Seconds until the log is told of a shortage again."""
RESERVED = (16, 1000)
"""File descriptors that clients leave to publishers and backends: a tenth, but at least and at most these."""
CERTIFICATES = os.path.join("runner", "certs")
"""Below the directory of the configuration file."""


class ClientFactory(Factory):
    """Makes the connections of one listener."""

    noisy = False

    def __init__(self, kind: type[ClientConnection], stage: HttpStage, watch: Watch) -> None:
        self._kind = kind
        self._stage = stage
        self._watch = watch

    def buildProtocol(self, addr: Any) -> Any:
        """A new client."""
        return self._kind(self._stage, self._watch, getattr(addr, "host", ""))


class ClientListeners:
    """All listeners of the configuration; they share the limit of connections."""

    def __init__(self, config: Any, gateway: Any, services: Any) -> None:
        """``config`` is a ``config.Config``, ``gateway`` an ``IGateway``, ``services`` an ``IServices``."""
        self.addresses: list[Any] = []
        """Where clients are served while it runs: (host, port) pairs and paths of Unix sockets, in the order
        ``http_port``, ``https_ports``, ``local_ports``."""
        self._config = config
        self._gateway = gateway
        self._services = services
        self._given = Descriptors()
        self._limit = config.runner.client_maxconn
        self._room = self._limit
        self._noted = -SHORTAGE_NOTE
        self._ports: list[EagerPort | EagerUnixPort] = []
        self._paused = False
        self._ours = True
        """Whether nobody else has the listening sockets as well."""
        self._names: list[str] = []
        self._empty: Deferred[None] | None = None
        self._drain: Drain | None = None
        self.watch = Watch(
            services.wheel, config.tw.head_timeout, config.tw.silence_timeout, self._connection_left
        )
        self._sockets = SocketRoom(config, services)
        self.due = 0
        self.slot = 0

    # ---- start and stop ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Open every listener.

        :raises CannotListenError: one of them cannot be opened; none is open then.
        :raises ConfigError: a Unix socket shall belong to somebody unknown.
        """
        self._room = min(self._limit, _room())
        self._given = self._services.shared("descriptors", Descriptors)
        try:
            for listen in self._config.runner.http_port:
                self._open_tcp("http", listen)
            certificates = CertificateDirectory(
                os.path.join(self._config.directory, CERTIFICATES), self._services.stats
            )
            for listen in self._config.runner.https_ports:
                self._open_tcp("https", listen, ClientTls(certificates, self._services.stats))
            for local in self._config.runner.local_ports:
                self._open_local(local)
        except Exception:
            self.stopService()
            raise

    def configure(self, config: Any) -> None:
        """Other limits, from now on: of clients, of silence, of what waits for those who do not read."""
        self._config = config
        self._limit = config.runner.client_maxconn
        self._room = min(self._limit, _room())
        self.watch.configure(config.tw.head_timeout, config.tw.silence_timeout)
        self._sockets.limit = config.tw.socket_queue
        self._resume()

    @property
    def clients(self) -> int:
        """How many there are."""
        return len(self.watch.live)

    def drain(self, seconds: float) -> Deferred[None]:
        """Stop listening, and let all clients end within about ``seconds``; fires when they have, or a little
        later.  ``stopService`` is to follow."""
        if self._ours:
            for port in self._ports:
                port.empty()
        self._stop_listening()
        self._drain = Drain(self.watch, self._services, seconds)
        self._drain.start()
        return self._drain.done

    # ---- another process (upgrade) -------------------------------------------------------------------------

    def listening(self) -> list[tuple[str, socket.socket]]:
        """The listening sockets, by the names that ``Descriptors`` know them by."""
        return [(name, port.socket) for name, port in zip(self._names, self._ports, strict=True)]

    def hand_over(self) -> None:
        """The sockets are another process's as well: it serves whom the kernel lets in."""
        self._ours = False
        for port in self._ports:
            port.owned = False

    def _stop_listening(self) -> list[Deferred[Any]]:
        self._services.wheel.cancel(self)
        ports, self._ports = self._ports, []
        self.addresses, self._names = [], []
        return [port.stopListening() or succeed(None) for port in ports]

    def stopService(self) -> Deferred[Any]:
        """Stop listening and drop all clients at once; fires when nothing is left of either."""
        closing = self._stop_listening()
        for connection in tuple(self.watch.live):
            connection.cut()
        if self.watch.live:
            self._empty = Deferred()
            closing.append(self._empty)
        return DeferredList(closing, fireOnOneErrback=True, consumeErrors=True)

    def _open_tcp(self, kind: str, listen: Any, tls: ClientTls | None = None) -> None:
        factory = self._factory(secure=tls is not None)
        if tls is not None:
            factory = TLSMemoryBIOFactory(tls, False, factory, self._services.reactor)
        name = listener_name(kind, listen)
        listening = EagerPort(factory, listen.host, self, self._services.reactor)
        self._open(name, listening, self._given.take(name) or open_tcp(listen.host, listen.port))
        bound = listening.getHost()
        if tls is not None:
            tls.port = bound.port
        self.addresses.append((bound.host, bound.port))
        shown = f"[{bound.host}]" if ":" in bound.host else bound.host
        self._services.stats.note("info", f"listening on {shown}:{bound.port}", "connmgr")

    def _open_local(self, local: Any) -> None:
        factory = self._factory(secure=False)
        name = listener_name("local", local)
        given = self._given.take(name)
        owned = given is None or self._given.owned
        listening = EagerUnixPort(local.path, factory, self, self._services.reactor, owned)
        self._open(name, listening, given or open_local(local))
        self.addresses.append(local.path)
        self._services.stats.note("info", f'listening on "{local.path}" (pathname)', "connmgr")

    def _factory(self, secure: bool) -> Any:
        limit = self._config.runner.client_buffer_size
        stage = HttpStage(self._gateway, self._services.stats, self.watch, self._sockets, limit, secure)
        return ClientFactory(TlsClientConnection if secure else ClientConnection, stage, self.watch)

    def _open(self, name: str, port: EagerPort | EagerUnixPort, skt: socket.socket) -> None:
        port.write_buffer = self._config.tw.write_buffer
        port.listen(skt)
        self._ports.append(port)
        self._names.append(name)

    # ---- how many (transport.Admission) --------------------------------------------------------------------

    def open(self) -> bool:
        """Whether another client may come; if not, clients wait in the backlog until one goes."""
        if self._paused:
            return False
        if len(self.watch.live) < self._room:
            return True
        if self._room < self._limit:
            self._complain(f"the limit of file descriptors allows for no more than {self._room} clients")
        self._pause()
        return False

    def exhausted(self) -> None:
        """The process has no descriptor or memory left for another client."""
        self._complain(f"out of file descriptors or memory with {len(self.watch.live)} clients")
        self._pause()
        self._services.wheel.schedule(self, SHORTAGE_PAUSE)

    def _complain(self, text: str) -> None:
        """A shortage can last, and shows itself many times a second."""
        now = self._services.wheel.seconds()
        if now - self._noted >= SHORTAGE_NOTE:
            self._noted = now
            self._services.stats.note("warn", text, "connmgr")

    def failed(self) -> None:
        """Within an ``except`` block: a client could not be taken in."""
        self._services.stats.failure("taking in a client")

    def expired(self) -> None:
        """The pause after a shortage is over."""
        self._resume()

    def _pause(self) -> None:
        self._paused = True
        for port in self._ports:
            port.stopReading()

    def _resume(self) -> None:
        if self._paused and len(self.watch.live) < self._room:
            self._paused = False
            for port in self._ports:
                port.startReading()

    def _connection_left(self) -> None:
        if self._paused:
            self._resume()
        if self._drain is not None:
            self._drain.left()
        if self._empty is not None and not self.watch.live:
            empty, self._empty = self._empty, None
            empty.callback(None)


def _room() -> int:
    """How many clients the limit of file descriptors allows for."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        return 2**31
    least, most = RESERVED
    return max(1, descriptors - min(most, max(least, descriptors // 10)))


def open_local(local: Any) -> socket.socket:
    """Listen on a Unix socket (a ``config.LocalListen``).

    :raises CannotListenError: it cannot be opened.
    :raises ConfigError: it shall belong to somebody unknown.
    """
    return open_unix(local.path, local.mode, (_user_id(local.user), _group_id(local.group)))


def _user_id(name: str) -> int:
    if not name:
        return -1
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigError(f"unknown user: {name}", key="local_ports") from None


def _group_id(name: str) -> int:
    if not name:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"unknown group: {name}", key="local_ports") from None
