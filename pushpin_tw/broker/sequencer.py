"""Order by id and prev-id, and the memory of ids that makes a repeated item harmless (grip 11.1, 11.2).

Used by the broker for every item.  An item that comes too early waits for the one before it, but not for
long: a gap is the holds' business, who can ask their origin.  Never knows who listens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pushpin_tw.grip.item import Item
from pushpin_tw.wheel import GRAIN, Wheel

MAX_PENDING = 100
"""Items of one channel that may wait for an earlier one; more are dropped and counted."""
MAX_CACHED = 1_000_000
"""Ids that are remembered at once; the oldest make room."""
DOUBT = 10.0
"""Seconds for which an id that was forgotten over a gap still counts for holds that begin."""


class Sequence:
    """How far one channel has come.  An entry of the timer wheel while items wait."""

    __slots__ = ("_doubt", "_late", "_pending", "deliver", "due", "last_id", "slot")

    def __init__(self, late: Callable[[Sequence], None], deliver: Callable[[Item], None]) -> None:
        """``late`` is called when an item has waited long enough; ``deliver`` hands items out in order."""
        self.last_id: str | None = None
        """The id of the item that was delivered last; None when that is not known."""
        self.deliver = deliver
        self.due = 0
        self.slot = 0
        self._late = late
        self._pending: dict[str, tuple[float, Item]] = {}
        self._doubt: tuple[str, float] | None = None

    @property
    def waiting(self) -> int:
        """How many items wait for an earlier one."""
        return len(self._pending)

    def early(self, item: Item) -> bool:
        """Whether something is missing before ``item``."""
        return self.last_id is not None and item.prev_id is not None and item.prev_id != self.last_id

    def forget(self, now: float) -> None:
        """The last id says nothing about the order any more: somebody has missed something."""
        if self.last_id is not None:
            self._doubt = (self.last_id, now)
            self.last_id = None

    def behind(self, prev_id: str, since: float) -> bool:
        """Whether the last id, which is not known now, was forgotten after ``since`` and whoever begins with
        ``prev_id`` has not seen that item: one of many who begin at once must not hide it from the others."""
        if self._doubt is None:
            return False
        last_id, forgotten = self._doubt
        return last_id != prev_id and forgotten > since

    def keep(self, item: Item, until: float) -> bool:
        """Let an early item wait; False when it cannot."""
        assert item.prev_id is not None
        if item.prev_id in self._pending or len(self._pending) >= MAX_PENDING:
            return False
        self._pending[item.prev_id] = (until, item)
        return True

    def advance(self, item: Item) -> None:
        """Deliver ``item``, and what has waited for just this one."""
        while True:
            self.last_id = item.id
            self.deliver(item)
            if item.id is None or item.id not in self._pending:
                return
            _, item = self._pending.pop(item.id)

    def release(self, now: float) -> float | None:
        """Deliver what has waited until ``now``, oldest first; when the next one is due, or None."""
        while self._pending:
            key, (until, item) = next(iter(self._pending.items()))
            if until > now + GRAIN:
                return until
            del self._pending[key]
            self.advance(item)
        return None

    def expired(self) -> None:
        """The wheel's call."""
        self._late(self)


class Sequencer:
    """The order of all channels, and the ids that were seen; an entry of the timer wheel."""

    def __init__(self, wheel: Wheel, stats: Any, wait: float, ttl: float) -> None:
        """``wait``: seconds that an early item waits; ``ttl``: seconds that an id is known; 0: not at all."""
        self.due = 0
        self.slot = 0
        self._wheel = wheel
        self._stats = stats
        self._wait = wait
        self._ttl = ttl
        self._seen: dict[tuple[str, str], float] = {}
        self._late = self._release  # one for all sequences

    def fresh(self, item: Item) -> bool:
        """Whether ``item`` is none that was published before; from now on it is."""
        if item.id is None or self._ttl <= 0:
            return True
        key = (item.channel, item.id)
        now = self._wheel.seconds()
        if self._seen.get(key, now) > now:
            self._stats.count("items-repeated")
            return False
        self._seen.pop(key, None)
        self._seen[key] = now + self._ttl
        if len(self._seen) > MAX_CACHED:
            del self._seen[next(iter(self._seen))]
        if not self.due:
            self._wheel.schedule(self, self._ttl)
        return True

    def sequence(self, deliver: Callable[[Item], None]) -> Sequence:
        """The order of one more channel."""
        return Sequence(self._late, deliver)

    def take(self, sequence: Sequence, item: Item) -> None:
        """Deliver ``item`` when its turn has come, else let it wait."""
        if self._wait <= 0 or not sequence.early(item):
            sequence.advance(item)
            return
        if not sequence.keep(item, self._wheel.seconds() + self._wait):
            self._stats.count("items-dropped-out-of-order")
        elif not sequence.due:
            self._wheel.schedule(sequence, self._wait)

    def drop(self, sequence: Sequence) -> None:
        """The channel is gone, and what waited with it."""
        self._wheel.cancel(sequence)

    def _release(self, sequence: Sequence) -> None:
        now = self._wheel.seconds()
        due = sequence.release(now)
        if due is not None:
            self._wheel.schedule(sequence, due - now)

    def expired(self) -> None:
        """The wheel's call: forget the ids whose time is over."""
        now = self._wheel.seconds()
        while self._seen:
            key, until = next(iter(self._seen.items()))
            if until > now + GRAIN:
                self._wheel.schedule(self, until - now)
                return
            del self._seen[key]
