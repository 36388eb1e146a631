"""TCP and Unix sockets whose writes try the socket first, and ports that take connections in bulk.

Made by ``edge.listener``; protocols on top see an ordinary Twisted transport.  Never knows what bytes mean.

Stock ``transport.write`` keeps the bytes, arms write readiness, waits for the reactor, sends, and disarms
again: 11-14 us a write where the ``send`` itself takes 5.  With empty buffers the socket almost always takes
everything at once, so that is tried first; what it does not take goes Twisted's ordinary way, and so does
every error.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Any, Protocol

from twisted.internet import address, tcp, unix
from twisted.internet.abstract import FileDescriptor

from pushpin_tw.edge.doors import BACKLOG

ACCEPTS = 256
"""Connections taken before the reactor goes round."""
_EXHAUSTED = (EMFILE, ENFILE, ENOBUFS, ENOMEM)


class _EagerWrites(FileDescriptor):
    """``write`` for stream sockets, to be mixed in before Twisted's own."""

    TLS: bool
    _aborting: bool
    socket: socket.socket

    @property
    def waiting(self) -> bool:
        """Whether bytes wait here for the socket to take them."""
        return bool(self.dataBuffer or self._tempDataBuffer)

    def write(self, data: bytes) -> None:
        """As ``ITransport.write``: in order, and silently nothing when the connection is lost."""
        if (
            self.dataBuffer
            or self._tempDataBuffer
            or not self.connected
            or self._writeDisconnected
            or self._aborting
            or self.TLS
            # A pull producer is asked for more when readiness comes.
            or (self.producer is not None and not self.streamingProducer)
        ):
            super().write(data)
            return
        try:
            sent = self.socket.send(data)
        except OSError:
            sent = 0  # full: wait for readiness; broken: doWrite meets the error and tells the reactor
        if sent != len(data):
            super().write(data[sent:])

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """As ``ITransport.writeSequence``."""
        self.write(b"".join(iovec))


class EagerServer(_EagerWrites, tcp.Server):
    """A client's TCP connection."""

    def __init__(
        self,
        sock: socket.socket,
        protocol: Any,
        client: tuple[Any, ...],
        server: Any,
        sessionno: int,
        reactor: Any,
    ) -> None:
        """As ``tcp.Server``, without the strings for logs that it makes for every connection (190 bytes)."""
        tcp.Connection.__init__(self, sock, protocol, reactor)
        if len(client) != 2:
            self._addressType = address.IPv6Address
        self.client = client
        self.startReading()
        self.connected = 1

    def logPrefix(self) -> str:
        """Asked for each event, so it costs nothing."""
        return "client"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.client!r}>"


class EagerUnixServer(_EagerWrites, unix.Server):
    """A client's connection over a Unix socket."""

    def logPrefix(self) -> str:
        """As above."""
        return "client"

    def sendFileDescriptor(self, fileno: int) -> None:  # noqa: N802
        """Descriptors travel with buffered bytes only; an eager write would overtake them."""
        raise NotImplementedError("clients are sent no file descriptors")


class Admission(Protocol):
    """Who says whether another connection may be taken."""

    def open(self) -> bool:
        """Whether there is room; when not, the ports are paused by whoever this is."""

    def exhausted(self) -> None:
        """The process has run out of descriptors or memory: pause the ports for a while."""

    def failed(self) -> None:
        """Within an ``except`` block: a client could not be taken in, which was a bug."""


class _BulkPort(tcp.Port):
    """Accepts many connections a turn, none beyond what ``admission`` allows: they stay in the backlog."""

    admission: Admission
    write_buffer = FileDescriptor.bufferSize
    """Bytes that may wait for a client before its producer is paused, and the size of a read."""

    owned = False
    """Whether there is a file that goes when this port is closed."""

    def listen(self, skt: socket.socket) -> None:
        """Take clients from ``skt``, which listens."""
        assert self.factory is not None
        self.factory.doStart()
        self.connected = True
        self.socket = skt
        self.fileno = skt.fileno  # type: ignore[method-assign]
        # Another process may take clients from it as well, and shutdown() would end that too.
        self._shouldShutdown = False
        self.startReading()

    def doRead(self) -> None:
        """Take what waits, within limits."""
        self._take(ACCEPTS)

    def empty(self) -> None:
        """Take everybody whom the kernel has let in, before the port closes: it would reset them."""
        while self._take(ACCEPTS):
            pass

    def _take(self, limit: int) -> bool:
        """Take so many; whether there may be more."""
        for _ in range(limit):
            if not self.admission.open():
                return False
            try:
                skt, client = self.socket.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self.admission.exhausted()
                    return False
                continue  # of this one client, who has gone or may not come: accept(2), "Error handling"
            try:
                self._welcome(skt, client)
            except Exception:
                # Escaping, it would close the port.
                self.admission.failed()
                skt.close()
        return True

    def _welcome(self, skt: socket.socket, client: Any) -> None:
        assert self.factory is not None
        protocol = self.factory.buildProtocol(self._buildAddr(client))
        assert protocol is not None
        transport = self.transport(skt, protocol, client, self, 0, self.reactor)
        if self.write_buffer != transport.bufferSize:
            transport.bufferSize = self.write_buffer
        protocol.makeConnection(transport)


class EagerPort(_BulkPort):
    """A TCP port for clients."""

    transport = EagerServer

    def __init__(self, factory: Any, interface: str, admission: Admission, reactor: Any) -> None:
        """``interface`` is an IP literal, as for the socket."""
        super().__init__(0, factory, BACKLOG, interface, reactor)
        self.admission = admission

    def listen(self, skt: socket.socket) -> None:
        """As above."""
        self._realPortNumber = skt.getsockname()[1]
        super().listen(skt)


class EagerUnixPort(_BulkPort, unix.Port):
    """A Unix socket for clients."""

    transport = EagerUnixServer

    def __init__(
        self, path: str, factory: Any, admission: Admission, reactor: Any, owned: bool = True
    ) -> None:
        """``owned``: whether the socket's file is ours to remove."""
        unix.Port.__init__(self, os.fsencode(path), factory, BACKLOG, reactor=reactor)
        self.admission = admission
        self.owned = owned

    def connectionLost(self, reason: Any) -> None:
        """Remove the socket file, which somebody else may have done before."""
        if self.owned:
            with contextlib.suppress(OSError):
                os.unlink(self._bindPath)
        tcp.Port.connectionLost(self, reason)
