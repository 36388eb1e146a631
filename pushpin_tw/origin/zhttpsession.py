"""One session with a streaming worker, as far as requests and WebSockets are alike (zeromq 2.6 to 2.11).

Used by ``zhttp`` and ``zhttpsocket``, whose sessions are subclasses.  Keeps the numbers of both directions
and the worker's address, notices silence and disorder, keeps the worker's end alive.  Never knows what a
session carries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from pushpin_tw.errors import OriginError, OriginSilent
from pushpin_tw.origin.zhttproom import StreamHub, new_id
from pushpin_tw.wire.conditions import failure
from pushpin_tw.wire.zhttp import Packet, cancel, credit

SILENCE = 60
"""Seconds without a packet from the worker after which a session fails."""
PIECE = 100_000
"""Credits that one packet returns."""

P = ParamSpec("P")
Writer = Callable[Concatenate[bytes, bytes, int, P], bytes]


class Session:
    """A session; registered with its hub from ``begin`` until its end.

    Subclasses give ``kind``, ``met``, ``heard``, ``broken``, and call ``begin``, ``say``, ``leave``.
    """

    __slots__ = ("_count", "acknowledged", "due", "hub", "id", "multi", "place", "seq", "slot", "worker")

    kind: str
    """Keep-alives of different kinds go separately."""

    def __init__(self, hub: StreamHub) -> None:
        self.hub = hub
        self.id = new_id(hub.room.mark)
        self.worker = b""
        """The worker's address; empty while it is not known."""
        self.multi = False
        """Whether the worker understands packets for several sessions."""
        self.acknowledged = False
        """Whether the worker has said anything."""
        self.seq = 0
        """The number of our next packet."""
        self._count = 0
        """The number that the worker's next packet must have."""
        self.due = self.slot = self.place = 0

    # ---- for subclasses to give ----------------------------------------------------------------------------

    def met(self, packet: Packet) -> bool:
        """The worker's first packet, valid or not; False fails the session."""
        raise NotImplementedError

    def heard(self, packet: Packet) -> None:
        """A packet that is in order and neither ``error`` nor ``cancel``."""
        raise NotImplementedError

    def broken(self, error: OriginError, packet: Packet | None = None) -> None:
        """The session has failed and is over: for the worker, too.  ``packet`` is the ``error`` that says so,
        if one does."""
        raise NotImplementedError

    # ---- for subclasses to call ----------------------------------------------------------------------------

    def begin(self, frame: bytes) -> bool:
        """Send the first packet, which has number 0; False when no worker can take it."""
        self.seq = 1
        self.hub.register(self)
        self.hub.room.services.wheel.schedule(self, SILENCE)
        if self.hub.begin(self, frame):
            return True
        self.leave()
        return False

    def say(self, write: Writer[P], *values: P.args, **named: P.kwargs) -> None:
        """Send what a writer of ``wire.zhttp`` makes of these; nothing while the worker is not known."""
        if self.worker:
            self.hub.send(self.worker, write(self.hub.own, self.id, self.seq, *values, **named))
            self.seq += 1

    def give_back(self, amount: int) -> None:
        """Return credits for ``amount`` bytes that have gone on."""
        for piece in granted(amount):
            self.say(credit, piece)

    def leave(self, tell: bool = False) -> None:
        """The session is over, here and, with ``tell``, there; harmless when it is over already."""
        hub = self.hub
        hub.room.services.wheel.cancel(self)
        hub.room.alive.remove(self)
        if tell and self.id in hub.sessions:
            self.say(cancel)
        hub.forget(self)

    # ---- for the hub and the wheel -------------------------------------------------------------------------

    def packet(self, packet: Packet, seq: int | None) -> None:
        """A packet from the worker."""
        if not self.acknowledged:
            self.acknowledged = True
            if not self.met(packet):
                self._break(OriginError("a worker without address"))
                return
            if self.worker:
                self.hub.room.alive.add(self)
        if packet.type in ("error", "cancel"):
            condition = packet.condition if packet.type == "error" else "cancel"
            self._break(failure(condition), packet=packet if packet.type == "error" else None)
            return
        if seq != self._count:
            self._break(OriginError(f"packet {seq} instead of {self._count}"), tell=True)
            return
        self._count += 1
        self.hub.room.services.wheel.schedule(self, SILENCE)
        self.heard(packet)
        if packet.multi and not self.multi:
            self._understands_multi()

    def unsent(self) -> None:
        """No worker could take the first packet, as turns out now."""
        self._break(OriginError("no worker"))

    def abandon(self) -> None:
        """The sockets are taken away."""
        self._break(OriginError("no sockets any more"), tell=True)

    def _understands_multi(self) -> None:
        self.multi = True
        alive = self.hub.room.alive
        if self.place:  # else the session is over, or the worker cannot be told anything
            alive.tell(self)
            alive.add(self)

    def _break(self, error: OriginError, tell: bool = False, packet: Packet | None = None) -> None:
        self.leave(tell)
        self.broken(error, packet)

    def expired(self) -> None:
        """The worker was silent for too long."""
        self._break(OriginSilent("silent for too long"))


def granted(amount: int) -> list[int]:
    """``amount`` of credits in the pieces in which they are returned."""
    return [min(PIECE, amount - at) for at in range(0, amount, PIECE)]
