"""One end of a WebSocket that travels in ZHTTP packets: an ``ISocket`` (zeromq 2.10).

Used by ``origin`` for those of workers and by ``edge`` for those of programs that send requests to us.  Both
ends are equals: each may say CLOSE first, and when both have, the session is over.  What is to be said goes
as far as the peer's credits let it; what the peer says gives it credits back once it was passed on.  Never
answers a ping, and never says CLOSE of its own accord.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from zope.interface import implementer

from pushpin_tw.sockets import BINARY, CLOSE, PONG, TEXT, ISocket
from pushpin_tw.wire import zhttp
from pushpin_tw.wire.zhttp import Packet
from pushpin_tw.wire.zhttpcredits import Allowance
from pushpin_tw.wire.zhttpwords import NO_CODE, Words

_GRANTING = ("", "credit", "ping", "pong")
_NAMES = {TEXT: b"text", BINARY: b"binary"}


class Line(Protocol):
    """The session that carries it."""

    @property
    def lives(self) -> bool:
        """Whether it is not over."""

    def say(self, write: Callable[..., bytes], *values: Any, **named: Any) -> None:
        """Send what a writer of ``wire.zhttp`` makes of these."""

    def give_back(self, amount: int) -> None:
        """Grant credits for so many bytes more."""

    def leave(self, tell: bool = False) -> None:
        """The session is over, here and, with ``tell``, there."""

    def overrun(self) -> None:
        """The peer pays no heed to credits; the session is going to end for that."""


@implementer(ISocket)
class Talk:
    """The end behind which the peer is."""

    __slots__ = (
        "_closed",
        "_closing",
        "_line",
        "_owed",
        "_owner",
        "_passing",
        "_paused",
        "_services",
        "_words",
        "allowance",
    )

    def __init__(self, line: Line, services: Any) -> None:
        """``services`` is an ``IServices``."""
        self._line = line
        self._services = services
        self._owner: Any = None
        """None before somebody owns the socket, and after the end."""
        self.allowance = Allowance()
        """For whoever has learnt of credits before there was a talk."""
        self._words = Words()
        """What the peer has said and the owner has not heard."""
        self._owed = 0
        """Credits that are to be given back."""
        self._paused = False
        self._passing = False
        """The owner is being told something, further up the stack."""
        self._closing: Closing | None = None
        """What we say for CLOSE, from the moment we want to."""
        self._closed = False
        """It was sent."""

    # ---- for the owner (ISocket) ---------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """As ``ISocket``."""
        return self._owner is not None and self.allowance.congested

    def own(self, owner: Any) -> None:
        """As ``ISocket``."""
        self._owner = owner
        self.resume()

    def send(self, kind: int, data: bytes, first: bool = True, last: bool = True) -> None:
        """As ``ISocket``."""
        if self._closing is None and self._line.lives:
            self.allowance.add(kind, data, last)
            self._flush()

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        """As ``ISocket``."""
        if self._closing is not None or not self._line.lives:
            return
        if self._words.closed:
            self.allowance = Allowance()  # the peer wants no more messages, and may not pay for them
        self._closing = Closing(self, code, reason)
        self._services.wheel.schedule(self._closing, self._services.config.tw.close_timeout)
        self.allowance.add(CLOSE, b"")
        self._flush()

    def abort(self) -> None:
        """As ``ISocket``."""
        self._end(tell=True)

    def pause(self) -> None:
        """As ``ISocket``."""
        self._paused = True

    def resume(self) -> None:
        """As ``ISocket``."""
        self._paused = False
        if not self._passing:
            self._pass_on()
            self._repay()

    # ---- to the peer ---------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what the credits are for."""
        while (piece := self.allowance.take()) is not None:
            kind, data, last = piece
            if kind == CLOSE:
                assert self._closing is not None
                self._line.say(zhttp.close, self._closing.code, self._closing.reason)
                self._closed = True
                self._over()
            elif kind > BINARY:
                self._line.say(zhttp.ping, data, pong=kind == PONG)
            else:
                owed, self._owed = self._owed, 0
                self._line.say(zhttp.data, data, not last, owed, _NAMES[kind])

    def _repay(self) -> None:
        """Give credits back that no message has carried."""
        owed, self._owed = self._owed, 0
        if owed and self._line.lives:
            self._line.give_back(owed)

    # ---- from the peer -------------------------------------------------------------------------------------

    def heard(self, packet: Packet) -> None:
        """A packet that is in order and neither ``error`` nor ``cancel``."""
        if not self._words.add(packet):
            self.lose(tell=True)
            return
        self._pass_on()
        if self._words.too_many:
            self._line.overrun()
            self.lose(tell=True)
        if packet.type in _GRANTING and self._line.lives:
            self._grant(packet.credits)
        self._repay()

    def _pass_on(self) -> None:
        """Tell the owner what waits, as long as it listens."""
        self._passing = True
        try:
            while self._words and self._owner is not None and not self._paused:
                self._tell(*self._words.next())
        except Exception:
            self._crash()
        self._passing = False

    def _tell(self, kind: int, data: bytes, first: bool, end: int) -> None:
        if kind != CLOSE:
            self._owed += len(data)
            self._owner.socket_received(kind, data, first, end)
            return
        self._owner.socket_closed(None if end == NO_CODE else end, data)
        self._over()

    def _grant(self, credits: int) -> None:
        crowded = self.allowance.congested
        self.allowance.grant(credits)
        self._flush()
        if crowded and not self.allowance.congested and self._owner is not None:
            try:
                self._owner.socket_drained()
            except Exception:
                self._crash()

    # ---- the end -------------------------------------------------------------------------------------------

    def _over(self) -> None:
        """One side has said CLOSE: perhaps both have now, and the owner knows."""
        if self._closed and self._words.closed and not self._words:
            self.lose()

    def _end(self, tell: bool) -> Any:
        """No more calls either way; returns who was the owner."""
        self._line.leave(tell)
        if self._closing is not None:
            self._services.wheel.cancel(self._closing)
        self._words.clear()
        owner, self._owner = self._owner, None
        return owner

    def lose(self, tell: bool = False) -> None:
        """The session is over, or is ended here; the peer hears of it with ``tell``, the owner anyway."""
        owner = self._end(tell)
        if owner is not None:
            try:
                owner.socket_lost()
            except Exception:
                self._services.stats.failure("a WebSocket over ZHTTP")

    def _crash(self) -> None:
        """Within an ``except`` block: the owner has a bug; this session ends, no other one notices."""
        self._services.stats.failure("a WebSocket over ZHTTP")
        self.lose(tell=True)


class Closing:
    """Our CLOSE, and the time that the peer has for its own; an entry of the wheel."""

    __slots__ = ("_talk", "code", "due", "reason", "slot")

    def __init__(self, talk: Talk, code: int | None, reason: bytes) -> None:
        self._talk = talk
        self.code = code
        self.reason = reason
        self.due = self.slot = 0

    def expired(self) -> None:
        """The peer lives, but does not answer."""
        self._talk.lose(tell=True)
