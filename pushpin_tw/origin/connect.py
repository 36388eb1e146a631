"""The way to a new connection: name, addresses, TCP, TLS (proxy 4.7, 4.8).

Used by ``origin.http`` when no idle connection is at hand.  Tries the addresses of a name in order; keeps to
public ones where a target is not trusted.  Never retries and never talks HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Any, Protocol

from twisted.internet.error import ConnectionRefusedError, TCPTimedOutError, UserError
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from twisted.internet.protocol import ClientFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from pushpin_tw.errors import OriginBlocked, OriginError, OriginUnanswered, OriginUnreachable
from pushpin_tw.origin.pool import Connection
from pushpin_tw.origin.tls import SslCreator, is_literal
from pushpin_tw.origin.transport import OriginConnector, connect
from pushpin_tw.routing.route import private_address

MAX_ADDRESSES = 16

_EXHAUSTED = (EMFILE, ENFILE, ENOBUFS, ENOMEM)


class Caller(Protocol):
    """Who waits for the connection; it also becomes its user."""

    def unreachable(self, error: OriginError) -> None:
        """There will be no connection."""


@implementer(IResolutionReceiver)
class Dial(ClientFactory):
    """One attempt to get a connection, over all addresses of a host."""

    noisy = False

    def __init__(
        self,
        host: str,
        port: int,
        untrusted: bool,
        caller: Caller,
        make: Callable[[], Connection],
        tls: SslCreator | None,
        exhausted: Callable[[], None],
        reactor: Any,
    ) -> None:
        """``make`` builds the connection object, with ``caller`` as its user; ``exhausted`` is called when
        there is no descriptor or memory left for it."""
        self._host = host
        self._port = port
        self._untrusted = untrusted
        self._caller: Caller | None = caller
        self._make: Callable[[], Connection] | None = make
        self._tls = tls
        self._exhausted = exhausted
        self._reactor = reactor
        self._addresses: list[str] = []
        self._connector: OriginConnector | None = None
        self._connection: Connection | None = None

    def start(self) -> None:
        """Begin; the caller may hear of a failure before this returns."""
        if is_literal(self._host):
            self._addresses = [self._host]
            self._begin()
            return
        try:
            self._host.encode("idna")
        except UnicodeError:
            self._give_up(OriginError("invalid host name"))
            return
        self._reactor.nameResolver.resolveHostName(self, self._host, self._port)

    def stop(self) -> None:
        """Nobody waits any more."""
        self._caller = None
        if self._connection is not None:
            self._connection.abort()
        elif self._connector is not None:
            self._connector.disconnect()

    # ---- the name (IResolutionReceiver) --------------------------------------------------------------------

    def resolutionBegan(self, resolution: IHostResolution) -> None:  # noqa: N802
        """The resolver has started; it cannot be stopped."""

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        """One more address."""
        if len(self._addresses) < MAX_ADDRESSES:
            self._addresses.append(address.host)  # type: ignore[attr-defined]

    def resolutionComplete(self) -> None:  # noqa: N802
        """That were all of them."""
        if self._caller is None:
            return
        if self._addresses:
            self._begin()
        else:
            self._give_up(OriginError("unknown host"))

    # ---- the addresses -------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._untrusted:
            self._addresses = [address for address in self._addresses if not private_address(address)]
            if not self._addresses:
                self._give_up(OriginBlocked("private address"))
                return
        self._addresses.reverse()
        self._next()

    def _next(self) -> None:
        factory = self if self._tls is None else TLSMemoryBIOFactory(self._tls, True, self, self._reactor)
        self._connector = connect(self._addresses.pop(), self._port, factory, self._reactor)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """TCP is there.  The transport keeps its factory, so what this one kept is let go."""
        if self._caller is None or self._make is None:
            return None
        self._connection = connection = self._make()
        self._caller = self._make = None
        return connection

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """No TCP connection to this address."""
        self._connector = None
        if self._caller is None or isinstance(reason.value, UserError):
            return
        if self._addresses:
            self._next()
        elif isinstance(reason.value, ConnectionRefusedError):
            self._give_up(OriginUnreachable(reason.getErrorMessage()))
        elif isinstance(reason.value, TCPTimedOutError):
            self._give_up(OriginUnanswered(reason.getErrorMessage()))
        else:
            if getattr(reason.value, "osError", None) in _EXHAUSTED:
                self._exhausted()
            self._give_up(OriginError(reason.getErrorMessage()))

    def _give_up(self, error: OriginError) -> None:
        caller, self._caller = self._caller, None
        assert caller is not None
        caller.unreachable(error)
