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
import stat
from collections.abc import Iterable
from errno import EADDRINUSE, EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Any, Protocol

from twisted.internet import address, tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import CannotListenError

BACKLOG = 65535
"""Connections that may wait to be accepted; the kernel lowers it to ``net.core.somaxconn``."""
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
    reuse_port = False
    write_buffer = FileDescriptor.bufferSize
    """Bytes that may wait for a client before its producer is paused, and the size of a read."""

    def createInternetSocket(self) -> socket.socket:  # noqa: N802
        """As Twisted's, with the options of the edge; accepted sockets inherit the first two."""
        skt: socket.socket = super().createInternetSocket()
        if self.addressFamily != socket.AF_UNIX:
            skt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            skt.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self.addressFamily == socket.AF_INET6:
            skt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if self.reuse_port:
            skt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return skt

    def doRead(self) -> None:
        """Take what waits, within limits."""
        for _ in range(ACCEPTS):
            if not self.admission.open():
                return
            try:
                skt, client = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self.admission.exhausted()
                    return
                continue  # of this one client, who has gone or may not come: accept(2), "Error handling"
            try:
                self._welcome(skt, client)
            except Exception:
                # Escaping, it would close the port.
                self.admission.failed()
                skt.close()

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

    def __init__(self, port: int, factory: Any, interface: str, admission: Admission, reactor: Any) -> None:
        """``interface`` is an IP literal; IPv6 ports do not take IPv4 clients."""
        super().__init__(port, factory, BACKLOG, interface, reactor)
        self.admission = admission


class EagerUnixPort(_BulkPort, unix.Port):
    """A Unix socket for clients."""

    transport = EagerUnixServer

    def __init__(
        self,
        path: str,
        factory: Any,
        admission: Admission,
        reactor: Any,
        mode: int | None = None,
        owner: tuple[int, int] = (-1, -1),
    ) -> None:
        """``mode``: permissions, None to follow the umask.  ``owner``: user and group id, -1 to leave it."""
        unix.Port.__init__(self, os.fsencode(path), factory, BACKLOG, reactor=reactor)
        self.admission = admission
        self._mode = mode
        self._owner = owner

    def startListening(self) -> None:
        """Bind, in place of a stale socket file, and listen.

        :raises CannotListenError: another process listens there, or the path or its owner is impossible.
        """
        path = self._bindPath
        assert self.factory is not None
        skt = self.createInternetSocket()
        try:
            _remove_stale(path)
            skt.bind(path)
            # Nobody can connect before listen(), so the permissions are in force from the first client on.
            if self._mode is not None:
                os.chmod(path, self._mode)
            if self._owner != (-1, -1):
                os.chown(path, *self._owner)
            skt.listen(BACKLOG)
        except OSError as error:
            skt.close()
            raise CannotListenError(None, path, error) from None
        self.factory.doStart()
        self.connected = True
        self.socket = skt
        self.fileno = skt.fileno  # type: ignore[method-assign]
        self.startReading()

    def connectionLost(self, reason: Any) -> None:
        """Remove the socket file, which somebody else may have done before."""
        with contextlib.suppress(OSError):
            os.unlink(self._bindPath)
        tcp.Port.connectionLost(self, reason)


def _remove_stale(path: bytes) -> None:
    """Remove a socket file that nobody listens on.

    :raises OSError: somebody does (EADDRINUSE).
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # bind() will complain
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # a full backlog: somebody listens
    raise OSError(EADDRINUSE, os.strerror(EADDRINUSE))
