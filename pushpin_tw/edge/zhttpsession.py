"""One session with a program that asks us over ZHTTP, as far as all are alike (zeromq 2.13).

Made by ``edge.zhttp``; requests and WebSockets are subclasses.  Keeps the numbers of both directions, notices
disorder and silence, and tells the program that we live.  Never knows what is asked or answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pushpin_tw.wheel import GRAIN
from pushpin_tw.wire import zhttp
from pushpin_tw.wire.zhttp import Packet
from pushpin_tw.wire.zhttpasked import MULTI, SESSION_TIMEOUT, Question, error, extended, keep_alive

SILENCE = 60
"""Seconds without a packet from the program after which a session ends."""
KEEP_ALIVE = 45
"""Seconds between two packets that tell it that we live."""

Key = tuple[bytes, bytes]
"""The names of a program and of its session."""


class Inlet(Protocol):
    """Where sessions live."""

    own: bytes
    services: Any
    sessions: dict[Key, Session]

    def answer(self, program: bytes, frame: bytes, welcome: bool) -> None:
        """Send a packet; through ROUTER if it is ``welcome`` there."""

    def forget(self, session: Session) -> None:
        """It is over."""

    def overrun(self) -> None:
        """A program pays no heed to credits."""


class Session:
    """A session, from its first packet to its end; an entry of the wheel.

    Subclasses give ``heard`` and ``gone``, and call ``say`` and ``leave``.
    """

    __slots__ = (
        "_count",
        "_echo",
        "_heard",
        "_multi",
        "_told",
        "_welcome",
        "due",
        "inlet",
        "key",
        "seq",
        "slot",
    )

    def __init__(self, inlet: Inlet, question: Question) -> None:
        packet = question.packet
        self.inlet = inlet
        self.key: Key = packet.sender, packet.ids[0][0]
        self.seq = 0
        """The number of our next packet."""
        self._count = 1
        """The number that the program's next packet must have, if it has one."""
        self._welcome = question.welcome
        self._echo = question.echo
        self._multi = packet.multi
        self._heard = self._told = inlet.services.wheel.seconds()
        self.due = self.slot = 0
        self._wait(self._told)

    # ---- for subclasses to give ----------------------------------------------------------------------------

    def heard(self, packet: Packet) -> None:
        """A packet that is in order and neither ``error`` nor ``cancel``."""
        raise NotImplementedError

    def gone(self) -> None:
        """The session is over, and not because we have said so."""
        raise NotImplementedError

    # ---- for subclasses to call ----------------------------------------------------------------------------

    @property
    def lives(self) -> bool:
        """Whether the session is not over."""
        return self.inlet.sessions.get(self.key) is self

    def say(self, write: Callable[..., bytes], *values: Any, **named: Any) -> None:
        """Send what a writer of packets makes of these; the first one says that we know packets for several
        sessions, if the program does."""
        program, name = self.key
        frame = write(self.inlet.own, name, self.seq, *values, **named)
        more = self._echo + MULTI if self._multi and not self.seq else self._echo
        self.inlet.answer(program, extended(frame, more) if more else frame, self._welcome)
        self.seq += 1

    def give_back(self, amount: int) -> None:
        """Grant credits for so many bytes more."""
        self.say(zhttp.credit, amount)

    def leave(self, tell: bool = False) -> None:
        """The session is over, here and, with ``tell``, there; harmless when it is over already."""
        if self.lives:
            if tell:
                self.say(zhttp.cancel)
            self.inlet.services.wheel.cancel(self)
            self.inlet.forget(self)

    def overrun(self) -> None:
        """The program pays no heed to credits."""
        self.inlet.overrun()

    # ---- for the inlet and the wheel -----------------------------------------------------------------------

    def packet(self, packet: Packet, seq: int | None) -> None:
        """A later packet from the program."""
        if packet.type in ("error", "cancel"):
            self.end()
        elif seq is not None and seq != self._count:
            self.end(tell=True)
        else:
            self._count += 1
            self._heard = self.inlet.services.wheel.seconds()
            self.heard(packet)

    def end(self, tell: bool = False) -> None:
        """The session is to end, whatever is under way."""
        self.leave(tell)
        self.gone()

    def expired(self) -> None:
        """Time to say something, or too late."""
        now = self.inlet.services.wheel.seconds()
        if now >= self._heard + SILENCE - GRAIN:
            self.say(error, SESSION_TIMEOUT)
            self.end()
            return
        if now >= self._told + KEEP_ALIVE - GRAIN:
            self._told = now
            self.say(keep_alive)
        self._wait(now)

    def _wait(self, now: float) -> None:
        next_time = min(self._heard + SILENCE, self._told + KEEP_ALIVE)
        self.inlet.services.wheel.schedule(self, next_time - now)
