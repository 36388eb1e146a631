"""One client's connection: its bytes, its back-pressure, its end.

Made by ``edge.listener`` for every client; the *stage* (``edge.http``) says what the bytes mean.  Never
parses anything.  There may be a hundred thousand of these, most of them waiting: whatever is needed only
while something happens belongs elsewhere.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from zope.interface import implementer

from pushpin_tw.edge.watch import Watch


class Stage(Protocol):
    """What the bytes of a connection mean at the moment."""

    def received(self, connection: ClientConnection, data: bytes) -> None:
        """More bytes."""

    def ended(self, connection: ClientConnection) -> None:
        """The client will send no more, but may still read."""

    def drained(self, connection: ClientConnection) -> None:
        """The client is no longer congested."""

    def lost(self, connection: ClientConnection) -> None:
        """The connection is gone."""

    def failure(self) -> None:
        """Within an ``except`` block: log the bug."""


class RequestStage(Stage, Protocol):
    """One that takes requests."""

    def answered(self, connection: ClientConnection, persist: bool, unread: bool) -> None:
        """A response is complete; ``unread``: the request's body is not."""


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class ClientConnection:
    """A client over plain TCP or a Unix socket."""

    secure = False

    __slots__ = (
        "active",
        "asked",
        "buffer",
        "closing",
        "congested",
        "ended",
        "peer",
        "reading",
        "since",
        "stage",
        "starting",
        "talk",
        "transport",
        "watch",
    )

    def __init__(self, stage: Stage, watch: Watch, peer: str) -> None:
        """``peer`` is the client's address, '' for a Unix socket."""
        self.stage = stage
        self.watch = watch
        self.peer = peer
        self.transport: Any = None
        self.buffer = b""
        """What was read and is not understood yet."""
        self.talk: Any = None
        """The request that is being answered (the stage's own), or the WebSocket it has become."""
        self.starting = False
        """The stage is starting requests from the buffer, further up the stack."""
        self.asked = 0.0
        """When the request began."""
        self.since = 0.0
        """When the request began or was last answered something; deliveries are noted late."""
        self.active = False
        """Something was delivered, or came of a request's body, since the watch looked last."""
        self.congested = False
        self.reading = True
        self.ended = False
        """The client has closed its side."""
        self.closing = False
        """Nothing is written any more, and what is read does not matter."""

    # ---- called by the stage -------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether the silence timeout applies: a request is being answered, or the end of an answer sent."""
        return self.talk is not None or self.closing or self.congested

    def send(self, data: bytes) -> None:
        """Write to the client; its silence is measured from now."""
        self.since = self.watch.seconds()
        self.transport.write(data)

    def pause_reading(self) -> None:
        """Let what the client sends wait in the kernel."""
        if self.reading and not self.ended:
            self.reading = False
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Read on."""
        if not self.reading and not self.ended:
            self.reading = True
            self.transport.resumeProducing()

    def close(self) -> None:
        """Send what was written, then close."""
        if self._leave():
            self.transport.loseConnection()

    def close_gently(self) -> None:
        """Close although the client is still sending: end our side, and read until it has closed its own.

        Closing at once would answer its next bytes with a reset, which destroys what it has not read yet
        (RFC 9112, 9.6).
        """
        if self.ended:
            self.close()
        elif self._leave():
            self.resume_reading()
            self.transport.loseWriteConnection()

    def resign(self) -> None:
        """What is answered from now on shall be the last answer."""
        if self.talk is not None:
            self.talk.resign()

    def retire(self) -> bool:
        """Let whoever holds the client end that; whether there is no need to ask again."""
        return self.talk is not None and bool(self.talk.retire())

    def drop(self) -> None:
        """Close without patience: what the client does not take soon is lost."""
        self.close()
        self.watch.leaving.add(self)

    def overdue(self) -> None:
        """The time for leaving is over."""
        self.cut()

    def cut(self) -> None:
        """Close at once, with a reset if anything is left to send."""
        self._leave()
        if self.transport.waiting:
            self.transport.abortConnection()
        else:
            self._cut_clean()

    def _cut_clean(self) -> None:
        self.transport.loseConnection()

    def _leave(self) -> bool:
        """From now on the connection is closing; false if it was before."""
        if self.closing:
            return False
        self.closing = True
        self.since = self.watch.seconds()
        self.watch.idle.drop(self)
        self.buffer = b""
        # A transport with a paused producer would wait for it instead of closing.
        self.transport.unregisterProducer()
        return True

    # ---- called by the transport ---------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """As ``IProtocol``."""
        self.transport = transport
        transport.registerProducer(self, True)
        self.watch.enter(self)

    def connectionMade(self) -> None:
        """As ``IProtocol``; ``makeConnection`` has done everything."""

    def dataReceived(self, data: bytes) -> None:
        """As ``IProtocol``."""
        if not self.closing:
            self.stage.received(self, data)

    def readConnectionLost(self) -> None:
        """The client has closed its side (``IHalfCloseableProtocol``)."""
        self.ended = True
        if self.closing:
            self.transport.loseConnection()
        else:
            self.stage.ended(self)

    def writeConnectionLost(self) -> None:
        """Our side is closed, everything was sent: now the client has a little time to close its own."""
        self.watch.leaving.add(self)

    def connectionLost(self, reason: Any) -> None:
        """As ``IProtocol``."""
        self.closing = True
        self.buffer = b""
        self.stage.lost(self)
        self.watch.leave(self)

    def pauseProducing(self) -> None:
        """The client reads more slowly than we write."""
        self.congested = True

    def resumeProducing(self) -> None:
        """It has caught up."""
        self.congested = False
        if not self.closing:
            self.stage.drained(self)

    def stopProducing(self) -> None:
        """The connection is lost; ``connectionLost`` follows."""


class TlsClientConnection(ClientConnection):
    """A client over TLS, which knows no half-closed connections.

    Closing sends ``close_notify`` and then reads until the client has done the same, so it is always gentle,
    and always needs a limit, which begins when the client has taken what was written.
    """

    __slots__ = ("_patient",)

    secure = True

    def __init__(self, stage: Stage, watch: Watch, peer: str) -> None:
        """As for any other client."""
        super().__init__(stage, watch, peer)
        self._patient = True

    def close(self) -> None:
        """Send what was written, then close."""
        if self._leave():
            self.resume_reading()
            self.transport.loseConnection()
            self.watch.leaving.add(self)

    close_gently = close

    def drop(self) -> None:
        """Close without patience: what the client does not take soon is lost."""
        self._patient = False
        super().drop()

    def overdue(self) -> None:
        """Nobody tells when everything was sent, so that has to be looked for."""
        if self._patient and self.transport.waiting:
            self.watch.leaving.add(self)
        else:
            self.cut()

    def _cut_clean(self) -> None:
        self.transport.loseConnection()
        self.transport.transport.loseConnection()
