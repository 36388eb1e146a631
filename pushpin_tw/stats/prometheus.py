"""The metrics endpoint (zeromq 6.1), which also says whether this program lives and is ready.

Made by ``service``.  What is asked for is put together when somebody asks; nothing is measured here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError

from pushpin_tw.config.listen import Listen, LocalListen
from pushpin_tw.smallhttp import BACKLOG, Limits, SmallRequest, SmallResponse, SmallServer
from pushpin_tw.stats.measures import Snapshot
from pushpin_tw.stats.metrics import original, ours

LIMITS = Limits(head=8191, body=65536, served=16, silence=10.0, whole=10.0)
"""Of the endpoint's clients; a head of 8192 bytes is too long (zeromq 6.1)."""
ALIVE = "/healthz"
READY = "/readyz"
ALL = "/metrics/all"
"""Paths that are ours; every other one has the original's metrics."""
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Pages:
    """What the endpoint says: a function from requests to responses."""

    def __init__(
        self,
        prefix: str,
        totals: Callable[[], Mapping[str, int]],
        snapshots: Callable[[], Mapping[int, Snapshot]],
        troubles: Callable[[], list[str]],
    ) -> None:
        """``totals`` has the original's metrics by their names, ``snapshots`` ours by the number of a worker,
        and ``troubles`` says why clients had better be sent elsewhere; nothing when they need not."""
        self._prefix = prefix
        self._totals = totals
        self._snapshots = snapshots
        self._troubles = troubles

    def answer(self, request: SmallRequest, body: bytes) -> SmallResponse:
        """The response to any request; its method does not matter."""
        path = request.target.partition(b"?")[0].decode("latin-1")
        if path == ALIVE:
            return SmallResponse(200, "ok")
        if path == READY:
            troubles = self._troubles()
            return SmallResponse(503, "\n".join(troubles)) if troubles else SmallResponse(200, "ready")
        text = original(self._prefix, self._totals())
        if path != ALL:
            return SmallResponse(200, text.removesuffix("\n"))
        return SmallResponse(
            200, (text + ours(self._prefix, self._snapshots())).removesuffix("\n"), PROMETHEUS
        )


class Endpoint(Service):
    """The pages on their port, while it runs."""

    def __init__(self, listen: Listen | LocalListen, pages: Pages, services: Any, mode: int = -1) -> None:
        """``mode``: permissions of a Unix socket; -1 leaves them to the umask."""
        self.address: tuple[str, int] | str | None = None
        """Where it listens, while it does."""
        self._listen = listen
        self._mode = mode
        self._server = SmallServer("metrics", LIMITS, pages.answer, services)
        self._services = services
        self._port: Any = None

    def startService(self) -> None:
        """:raises CannotListenError: the address is taken or not ours."""
        super().startService()
        listen, reactor = self._listen, self._services.reactor
        port: Any
        if isinstance(listen, LocalListen):
            port = LocalPort(listen.path, self._server, reactor, self._mode)
        else:
            port = tcp.Port(listen.port, self._server, BACKLOG, listen.host, reactor)
        self._server.accept_on(port)
        port.startListening()
        self._port = port
        bound = port.getHost()
        self.address = listen.path if isinstance(listen, LocalListen) else (bound.host, bound.port)
        self._services.stats.note("info", f"metrics: {self._listen}", "handler")

    def stopService(self) -> Deferred[Any] | None:
        super().stopService()
        if self._port is None:
            return None
        port, self._port = self._port, None
        self.address = None
        return gatherResults([maybeDeferred(port.stopListening), self._server.stop()])


class LocalPort(unix.Port):
    """A Unix socket that takes the place of another one, and leaves alone what has taken its own."""

    def __init__(self, path: str, factory: Any, reactor: Any, mode: int) -> None:
        """``mode``: permissions; -1 leaves them to the umask."""
        super().__init__(os.fsencode(path), factory, BACKLOG, reactor=reactor)
        self._permissions = mode
        self._inode = 0

    def startListening(self) -> None:
        """:raises CannotListenError: the path cannot be used, or is something else than a socket."""
        path = self._bindPath
        skt = self.createInternetSocket()
        try:
            with suppress(FileNotFoundError):
                if stat.S_ISSOCK(os.lstat(path).st_mode):
                    os.unlink(path)
            skt.bind(path)
            # Nobody can connect before listen(), so the permissions are in force from the first client on.
            if self._permissions >= 0:
                os.chmod(path, self._permissions)
            self._inode = os.lstat(path).st_ino
            skt.listen(self.backlog)
        except OSError as error:
            skt.close()
            raise CannotListenError(None, path, error) from None
        assert self.factory is not None
        self.factory.doStart()
        self.connected = True
        self.socket = skt
        self.fileno = skt.fileno  # type: ignore[method-assign]
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Any) -> None:
        """Remove the file, unless it is somebody else's by now."""
        with suppress(OSError):
            if os.lstat(self._bindPath).st_ino == self._inode:
                os.unlink(self._bindPath)
        tcp.Port.connectionLost(self, reason)
