"""Telling workers that sessions live on: 45 slots, one of them each second (zeromq 2.9).

Called by sessions over ZHTTP.  A session lies in one slot from its worker's first packet until its end, and
its worker hears of it once in 45 seconds.  What workers hear of in the same second, and understand together,
goes in one packet.  Never ends a session.
"""

from __future__ import annotations

from typing import Any, Protocol

from pushpin_tw.wheel import GRAIN, Wheel
from pushpin_tw.wire.zhttp import keep_alives

SLOTS = 45
"""How many there are, and seconds between two keep-alives of a session."""


class Lasting(Protocol):
    """What a session offers."""

    hub: Any
    """The ``StreamHub`` that it speaks through."""
    id: bytes
    kind: str
    """Sessions of one kind only go together."""
    worker: bytes
    """Whom to tell."""
    multi: bool
    """Whether the worker understands packets for several sessions."""
    seq: int
    """The number of the next packet to the worker."""
    place: int
    """The slot, counted from 1; 0 when it is in none.  Owned by ``KeepAlives``."""


class KeepAlives:
    """The sessions of this process, by slot; itself an entry of the wheel while there are any."""

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._slots: list[dict[Lasting, None]] = [{} for _ in range(SLOTS)]
        self._next = 0
        """The slot whose turn comes next."""
        self._turn = 0.0
        """When that is."""
        self._count = 0
        self.due = self.slot = 0

    def add(self, session: Lasting) -> None:
        """``session`` has a worker, or other habits than before.

        One that goes alone waits its full time from now on; others go where there are fewest.
        """
        self.remove(session)
        if not self._count:
            self._turn = self._wheel.seconds() + 1
            self._wheel.schedule(self, 1)
        place = (self._next - 1) % SLOTS
        if session.multi:
            place = min(range(SLOTS), key=lambda slot: len(self._slots[slot]))
        self._slots[place][session] = None
        session.place = place + 1
        self._count += 1

    def remove(self, session: Lasting) -> None:
        """``session`` is over; harmless when it was in no slot."""
        if session.place:
            del self._slots[session.place - 1][session]
            session.place = 0
            self._count -= 1

    def tell(self, session: Lasting) -> None:
        """Keep one session alive at once."""
        tell([session])

    def expired(self) -> None:
        """A second has passed, or more of them when the process was held up; nobody is told twice then."""
        now = self._wheel.seconds()
        self._turn = max(self._turn, now - (SLOTS - 1))
        while self._turn <= now + GRAIN:
            self._turn += 1
            slot, self._next = self._slots[self._next], (self._next + 1) % SLOTS
            tell(list(slot))
        if self._count:
            self._wheel.schedule(self, self._turn - now)


def tell(sessions: list[Lasting]) -> None:
    """Send keep-alives for ``sessions``: alone, or together where the worker understands that."""
    groups: dict[tuple[Any, ...], list[Lasting]] = {}
    for session in sessions:
        one = b"" if session.multi else session.id
        groups.setdefault((session.hub, session.kind, session.worker, one), []).append(session)
    for (hub, _, worker, _), group in groups.items():
        for packet in keep_alives(hub.own, [(session.id, session.seq) for session in group]):
            hub.send(worker, packet)
        for session in group:
            session.seq += 1
