"""The backend's end of a WebSocket over TCP: an ``IOriginSocket`` (RFC 6455; websocket 1.5 to 1.9, 2.5).

Made by ``origin.upgrade`` behind a 101, for a connection of ``origin.pool``; used by the proxy.  ``framing``
reads and writes the frames; this decides when the connection ends.  Never looks into messages, never answers
a ping, never says CLOSE of its own accord but to a backend that breaks the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from pushpin_tw.framing import ClientFraming
from pushpin_tw.origin.pool import Connection
from pushpin_tw.sockets import NORMAL, IOriginSocket
from pushpin_tw.wheel import Wheel

PARTING = 1.0
"""Seconds that a backend has to close its connection once both sides have said CLOSE (RFC 6455, 7.1.1)."""


@dataclass(frozen=True, slots=True)
class SocketRules:
    """What all WebSockets of an origin have in common."""

    wheel: Wheel
    stats: Any
    """An ``IStatsSink``."""
    close_timeout: float
    """Seconds that a backend has to answer CLOSE."""
    lenient: bool
    """Take what RFC 6455 forbids and the original lets pass."""
    entropy: Callable[[int], bytes]
    """Random bytes that nobody can guess, for keys and masks."""


@implementer(IOriginSocket)
class OriginSocket:
    """The user of a connection from the 101 on, the owner of its framing, and what waits for a CLOSE."""

    __slots__ = ("_connection", "_framing", "_heard", "_owner", "_rules", "_said", "due", "slot")

    def __init__(self, connection: Connection, deflate: bool, rules: SocketRules) -> None:
        """``deflate``: permessage-deflate was agreed on."""
        self._connection: Connection | None = connection
        """None after the end."""
        self._framing = ClientFraming(connection.write, self, deflate, rules.lenient, rules.entropy)
        self._rules = rules
        self._owner: Any = None
        self._said = self._heard = False
        self.due = self.slot = 0

    # ---- for the proxy (IOriginSocket) ---------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """As ``ISocket``."""
        return self._connection is not None and self._connection.congested

    def own(self, owner: Any) -> None:
        """As ``ISocket``."""
        self._owner = owner

    def send(self, kind: int, data: bytes, first: bool = True, last: bool = True) -> None:
        """As ``ISocket``."""
        if self._connection is not None and not self._said:
            self._framing.frame(kind, data, first, last)

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        """As ``ISocket``.  No code is written as 1000 (websocket 1.8)."""
        if self._connection is None or self._said:
            return
        self._said = True
        self._framing.close(NORMAL if code is None else code, reason)
        self._rules.wheel.schedule(self, PARTING if self._heard else self._rules.close_timeout)

    def part(self) -> None:
        """As ``IOriginSocket``."""
        self.close()

    def abort(self) -> None:
        """As ``ISocket``.  What was sent still leaves: a client may speak and go in one breath."""
        self._owner = None
        self._end()

    def pause(self) -> None:
        """As ``ISocket``."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """As ``ISocket``."""
        if self._connection is not None:
            self._connection.resume()

    def refresh(self) -> None:
        """As ``IOriginSocket``; this backend speaks whenever it likes."""

    # ---- for the connection --------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """As ``pool.User``; the connection was open before."""

    def data_received(self, data: bytes) -> None:
        """Bytes of the backend, those behind the 101 first."""
        if self._connection is None:
            return
        try:
            self._framing.received(data)
        except Exception:
            self._crash()

    def drained(self) -> None:
        """The connection takes more."""
        try:
            self._owner.socket_drained()
        except Exception:
            self._crash()

    def silent(self) -> None:
        """Nothing came or went for long.  A backend may have nothing to say while its client is kept alive by
        others (websocket 10, 145); but what was said to it must leave."""
        if self.congested:
            self._lose()

    def connection_lost(self, clean: bool) -> None:
        """The backend has gone."""
        self._lose()

    # ---- for the framing -----------------------------------------------------------------------------------

    def piece(self, kind: int, data: bytes, first: bool, end: int) -> None:
        """A piece of a message."""
        self._owner.socket_received(kind, data, first, end)

    def closed(self, code: int | None, reason: bytes) -> None:
        """The backend has said CLOSE."""
        self._heard = True
        if self._said:
            self._rules.wheel.schedule(self, PARTING)
        self._owner.socket_closed(code, reason)

    def violated(self, code: int, text: str) -> None:
        """The backend breaks the rules."""
        self._rules.stats.note("debug", f"WebSocket target: {text}")
        if not (self._said or self._rules.lenient):
            self._framing.close(code, b"")
        self._lose()

    # ---- the end -------------------------------------------------------------------------------------------

    def expired(self) -> None:
        """The backend has not closed, or has not even answered CLOSE."""
        self._lose()

    def _end(self) -> None:
        """Close the connection, politely but without CLOSE."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._rules.wheel.cancel(self)
            self._framing.stop()
            connection.close()

    def _lose(self) -> None:
        self._end()
        owner, self._owner = self._owner, None
        if owner is None:
            return
        try:
            owner.socket_lost()
        except Exception:
            self._rules.stats.failure("origin")

    def _crash(self) -> None:
        """Within an ``except`` block: the owner has a bug; this socket ends, no other one notices."""
        self._rules.stats.failure("origin")
        self._lose()
