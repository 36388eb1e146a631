"""Connections to backends: one object each, and where they wait between two requests.

``origin.http`` takes a connection out of the pool or makes one, uses it for one request, and gives it back.
Never parses: bytes go to whoever uses the connection; in an idle connection they are a reason to close it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

MAX_IDLE = 1000
"""Idle connections kept by a process; the one that waited longest makes room for another."""

STEP = 10.0
"""Seconds: the wheel looks at every connection this often and so never keeps a closed one for long."""

SHORTAGE_NOTE = 60.0
"""Seconds until the log is told of a shortage again."""

FAREWELL = 5.0
"""Seconds a peer has for its side of a TLS close."""


class User(Protocol):
    """Who uses a connection at the moment."""

    def opened(self, connection: Connection) -> None:
        """A new connection can be written to: with TLS, the peer has proved who it is."""

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""

    def connection_lost(self, clean: bool) -> None:
        """The connection is gone; ``clean`` when the peer ended it properly."""

    def drained(self) -> None:
        """``congested`` of the connection has become false again."""

    def silent(self) -> None:
        """Nothing came or went for too long; again, if the connection lives on, after as long again."""


@implementer(IHandshakeListener, IPushProducer)
class Connection:
    """One connection to a backend, as the reactor's protocol.

    It has the methods of ``IProtocol`` without its base class, because there are many and slots make them
    small.
    """

    __slots__ = (
        "_check_peer",
        "_paused",
        "_pool",
        "_tcp",
        "_transport",
        "congested",
        "deadline",
        "due",
        "key",
        "slot",
        "unsent",
        "user",
    )

    def __init__(
        self, pool: Pool, key: Hashable, user: User, check_peer: Callable[[Any], None] | None = None
    ) -> None:
        """``check_peer`` is given the OpenSSL connection after a handshake and raises to refuse the peer."""
        self.key = key
        self.user: User | None = user
        self.congested = False
        self.unsent = False
        """After the end: whether not all of what was written had left."""
        self.deadline = 0.0
        self.due = 0
        self.slot = 0
        self._pool = pool
        self._check_peer = check_peer
        self._paused = False
        self._transport: Any = None
        self._tcp: Any = None

    # ---- for its user --------------------------------------------------------------------------------------

    def occupy(self, user: User) -> None:
        """Leave the pool and serve ``user``."""
        self.user = user
        self._wait(self._pool.silence_timeout)

    def outlast_silence(self) -> None:
        """Let the kernel find out whether the peer is still there: silence will not tell."""
        self._transport.setTcpKeepAlive(True)

    def write(self, data: bytes) -> None:
        """Send; what the kernel does not take waits here."""
        self.deadline = self._pool.wheel.seconds() + self._pool.silence_timeout
        self._transport.write(data)

    def pause(self) -> None:
        """Read no more for the moment."""
        if not self._paused:
            self._paused = True
            self._transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            self._transport.resumeProducing()

    def release(self) -> None:
        """The exchange is complete on both sides: another one may follow."""
        self.user = None
        if self.congested or self._tcp.deaf:
            self.close()
            return
        self.resume()
        self._wait(self._pool.idle_timeout)
        self._pool.keep(self)

    def close(self) -> None:
        """End the connection politely; its user hears nothing more."""
        self.user = None
        if self._transport is not None:
            self._transport.unregisterProducer()
            self._transport.loseConnection()
            self._wait(FAREWELL)

    def abort(self) -> None:
        """End the connection at once; its user hears nothing more."""
        self.user = None
        if self._transport is not None:
            self._transport.abortConnection()

    def stale(self) -> bool:
        """Whether the peer spoke or closed while the connection was idle."""
        return bool(self._tcp.stale())

    # ---- for the reactor -----------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """TCP is connected."""
        self._transport = transport
        self._tcp = getattr(transport, "transport", transport)  # a TLS layer has the TCP transport below it
        transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self._wait(self._pool.silence_timeout)
        if self._check_peer is None and self.user is not None:
            self.user.opened(self)

    def handshakeCompleted(self) -> None:
        """TLS is up; nothing was written yet."""
        if self._check_peer is None or self.user is None:
            return
        try:
            self._check_peer(self._transport.getHandle())
        except Exception:
            user = self.user
            self.abort()
            user.connection_lost(False)
        else:
            self.user.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes: the user's, or nobody's."""
        if self.user is None:
            self.abort()
            return
        self.deadline = self._pool.wheel.seconds() + self._pool.silence_timeout
        self.user.data_received(data)

    def connectionLost(self, reason: Failure) -> None:
        """The end."""
        self._pool.wheel.cancel(self)
        self._pool.forget(self)
        user, self.user = self.user, None
        self.unsent = self._tcp.unsent
        self._check_peer = self._transport = self._tcp = None
        if user is not None:
            user.connection_lost(isinstance(reason.value, ConnectionDone))

    def pauseProducing(self) -> None:
        """The transport has enough."""
        self.congested = True

    def resumeProducing(self) -> None:
        """The transport takes more."""
        self.congested = False
        if self.user is not None:
            self.user.drained()

    def stopProducing(self) -> None:
        """The transport is gone; ``connectionLost`` follows."""

    # ---- for the wheel -------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        self.deadline = self._pool.wheel.seconds() + seconds
        if not self.due or seconds < STEP:
            self._pool.wheel.schedule(self, min(seconds, STEP))

    def expired(self) -> None:
        """A step is over: look whether the time is up."""
        left = self.deadline - self._pool.wheel.seconds()
        if left > 0:
            self._pool.wheel.schedule(self, min(left, STEP))
        elif self.user is None and self._pool.forget(self):
            self.close()
        elif self.user is None:
            self.abort()  # it was asked to close and has not
        elif self._paused:
            self._wait(self._pool.silence_timeout)  # the silence is ours
        else:
            self._wait(self._pool.silence_timeout)
            self.user.silent()


class Pool:
    """The idle connections of a process, by what they are good for."""

    def __init__(self, services: Any) -> None:
        """``services`` is an ``IServices``."""
        self.wheel = services.wheel
        self.idle_timeout: float = services.config.tw.origin_idle_timeout
        self.silence_timeout: float = services.config.tw.silence_timeout
        self._idle: dict[Hashable, dict[Connection, None]] = {}
        self._order: OrderedDict[Connection, None] = OrderedDict()
        self._stats = services.stats
        self._noted = -SHORTAGE_NOTE
        self._stopped = False

    def __len__(self) -> int:
        """How many are idle."""
        return len(self._order)

    def take(self, key: Hashable) -> Connection | None:
        """The connection for ``key`` that was used last, or None; the caller occupies it."""
        waiting = self._idle.get(key)
        while waiting:
            connection = next(reversed(waiting))
            self.forget(connection)
            if not connection.stale():
                return connection
            connection.abort()
        return None

    def keep(self, connection: Connection) -> None:
        """An idle connection; it comes out with ``take`` or closes when its time is up."""
        if self._stopped:
            connection.close()
            return
        waiting = self._idle.get(connection.key)
        if waiting is None:
            waiting = self._idle[connection.key] = {}
        waiting[connection] = None
        self._order[connection] = None
        if len(self._order) > MAX_IDLE:
            oldest = next(iter(self._order))
            self.forget(oldest)
            oldest.close()

    def forget(self, connection: Connection) -> bool:
        """``connection`` is idle no longer; returns whether it was."""
        waiting = self._idle.get(connection.key)
        if waiting is None or connection not in waiting:
            return False
        del waiting[connection], self._order[connection]
        if not waiting:
            del self._idle[connection.key]
        return True

    def exhausted(self) -> None:
        """The process has no descriptor or memory left for a connection: those that nobody uses end."""
        now = self.wheel.seconds()
        if now - self._noted >= SHORTAGE_NOTE:
            self._noted = now
            self._stats.note("warn", "out of file descriptors or memory for connections to backends")
        self._close_idle()

    def stop(self) -> None:
        """Close the idle connections, and from now on every one that would become idle."""
        self._stopped = True
        self._close_idle()

    def _close_idle(self) -> None:
        for connection in list(self._order):
            self.forget(connection)
            connection.close()
