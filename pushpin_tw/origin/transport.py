"""TCP towards an origin: like Twisted's, but it tries the socket first.

Made by ``origin.connect`` for every connection to a backend.  Never knows what the bytes mean.

Two things differ from ``twisted.internet.tcp.Client``.  A write with nothing waiting before it goes to the
socket at once, because arming and disarming write readiness costs more than the send itself.  And a peer
that takes no more of a request is still listened to: what it said before (a 413, say) is worth more than the
bytes it did not want.
"""

from __future__ import annotations

import select
from typing import Any

from twisted.internet import main, tcp


class OriginTransport(tcp.Client):
    """An ``ITCPTransport`` to a backend."""

    deaf = False
    """Whether the peer takes no more bytes; whatever is written then vanishes, reading goes on."""

    _poll: Any = None

    def write(self, data: bytes) -> None:
        """As ``ITransport.write``."""
        if self.deaf:
            return
        if self.connected and not self.disconnecting and not self.dataBuffer and not self._tempDataBuffer:
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0  # full, or broken: doWrite will see
            if sent == len(data):
                return
            if sent:
                data = data[sent:]
        super().write(data)

    def writeSomeData(self, data: bytes) -> Any:
        """As ``FileDescriptor.writeSomeData``; a broken pipe swallows instead of ending the connection."""
        if self.deaf:
            return len(data)
        written = super().writeSomeData(data)
        if written is main.CONNECTION_LOST:
            # The end shows when everything that was received before it has been read.
            self.deaf = True
            return len(data)
        return written

    @property
    def unsent(self) -> bool:
        """Whether not all of what was written has left."""
        return bool(self.deaf or self.dataBuffer or self._tempDataBuffer)

    def stale(self) -> bool:
        """Whether an idle connection has bytes to read or has been closed, though nobody was told yet."""
        if self._poll is None:
            # Asking in this way costs a fifth of peeking, for a peek with nothing to see raises.
            self._poll = select.poll()
            self._poll.register(self.socket, select.POLLIN)
        return bool(self._poll.poll(0))


class OriginConnector(tcp.Connector):
    """An ``IConnector`` whose transports are ``OriginTransport``."""

    def _makeTransport(self) -> OriginTransport:
        return OriginTransport(self.host, self.port, self.bindAddress, self, self.reactor)


def connect(address: str, port: int, factory: Any, reactor: Any) -> OriginConnector:
    """Connect to an IP literal; ``factory`` is an ``IProtocolFactory`` with ``clientConnectionFailed``.

    There is no time limit but the operating system's (proxy 4.7).
    """
    connector = OriginConnector(address, port, factory, None, None, reactor)  # type: ignore[arg-type]
    connector.connect()
    return connector
