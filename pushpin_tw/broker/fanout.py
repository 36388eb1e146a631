"""From a parcel to every hold that waits for it, in order, in slices.

Used by the broker.  Delivery path: one object per publish and group, never one per recipient; consecutive
parcels for an unchanged group are joined into one byte string and written once.  A hold that fails is told
off alone: logged, aborted, and the loop goes on with its neighbours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from pushpin_tw.broker.channels import Group
from pushpin_tw.broker.limiter import Pace
from pushpin_tw.broker.parcel import RESPONSE, Parcel

MAX_JOINED = 65536
"""Bytes up to which items are joined: what one send takes without waiting."""

MAX_TURN = 131072
"""Bytes for each recipient that leave in one turn of the reactor: what a socket sends in one.  More would
pile up in front of clients that read as fast as they can."""

CROWD = 100
"""Items between two turns that are many."""
GATHERED = 12
"""Turns that are left out, one after the other, while many items come: those for one recipient then leave in
one write, which costs more than all else that is done for an item."""

UNFIT = "unfit"
"""What becomes of a ``send`` that is meant for content filters, in a group of holds without any."""


class Batch:
    """One or more parcels on their way to the members that a group had when they were published."""

    __slots__ = (
        "action",
        "data",
        "group",
        "parcels",
        "parts",
        "position",
        "run",
        "size",
        "targets",
        "weight",
    )

    def __init__(self, group: Group, parcel: Parcel, action: str, weight: int, run: int) -> None:
        self.group = group
        self.targets = group.snapshot()
        self.parcels = [parcel]
        self.action = action
        self.weight = weight
        self.run = run
        self.position = 0
        self.size = 0
        self.data = b""
        self.parts: list[bytes] = []

    def encode(self) -> None:
        """Make the bytes, once, when the first recipient's turn comes; empty content has none.

        Tailored holds take them from the parcel themselves, if they have use for them.
        """
        kind, form = self.group.kind, self.group.form
        if self.action == "send" and not self.group.tailored:
            encoded = [parcel.encoded(kind, form) for parcel in self.parcels]
            self.parts = [data for data in encoded if data]
            self.data = b"".join(self.parts)


class Bucket:
    """The deliveries that share one rate."""

    __slots__ = ("batches", "debt", "waiting")

    def __init__(self) -> None:
        self.batches: deque[Batch] = deque()
        self.waiting = 0
        """Deliveries."""
        self.debt = 0
        """By how much the latest delivery was too heavy."""


class Fanout:
    """The queue between publishing and writing."""

    def __init__(
        self,
        pace: Pace,
        later: Callable[[float, Callable[[], None]], object],
        stats: Any,
        hwm: int = -1,
        block: int = -1,
        backlog: int = 50_000,
        delivered: Callable[[float, int], None] | None = None,
    ) -> None:
        """``later(seconds, call)`` schedules a turn; ``hwm`` is the number of deliveries that may wait in a
        bucket and ``block`` the bytes that count as one where the rate is limited, both unlimited below 1;
        ``backlog`` is the number of items that may wait until publishers have to; ``delivered(since, n)`` is
        told of items, taken in at the time ``since``, that ``n`` holds were given at once."""
        self._pace = pace
        self._later = later
        self._stats = stats
        self.tally: Any = None
        """ITally; None when nobody wants figures."""
        self._hwm = hwm
        self._block = block if pace.limited else -1
        self._buckets: dict[str, Bucket] = {}
        self._running = False
        self._first = False
        self._room = 0
        """Bytes that may still leave in this turn; below 0 when the latest batch was too heavy for one."""
        self._left = 0
        """Deliveries of the bucket in front that a turn had no bytes left for."""
        self._run = 0
        self._channel: str | None = None
        self._backlog = backlog
        self._delivered = delivered
        self._relieved: list[Callable[[], None]] = []
        self._added = 0
        """Items since the latest turn."""
        self._crowded = False
        """Whether there were many before it."""
        self._gathered = 0
        """Turns that were left out for more items to come."""
        self.waiting = 0
        """Items that are queued; one counts once for each group that it is meant for."""

    @property
    def deliveries(self) -> int:
        """How many deliveries wait for their turn."""
        return sum(bucket.waiting for bucket in self._buckets.values())

    def configure(self, pace: Pace, hwm: int, block: int, backlog: int) -> None:
        """Go on like this; what waits already was counted as before."""
        self._pace = pace
        self._hwm = hwm
        self._block = block if pace.limited else -1
        self._backlog = backlog

    @property
    def congested(self) -> bool:
        """Whether more items wait than should: publishers had better wait as well."""
        return self.waiting >= self._backlog

    def relieve(self, call: Callable[[], None]) -> None:
        """Call ``call``, once, as soon as few enough items wait; within this very call when they do now."""
        if self.congested:
            self._relieved.append(call)
        else:
            call()

    def add(self, group: Group, parcel: Parcel) -> int:
        """Queue a parcel for a group; how many holds it is meant for."""
        part = parcel.part(group.kind)
        if part is None:
            return 0
        action = part.action
        if part.content_filters and action == "send" and not group.tailored:
            action = UNFIT
        if group.channel != self._channel:
            self._channel = group.channel
            self._run += 1
        bucket = self._buckets.get(group.bucket)
        if bucket is None:
            bucket = self._buckets[group.bucket] = Bucket()
        self._added += 1
        if not self._join(group, parcel, action, bucket):
            self._append(group, parcel, action, bucket)
        if not self._running:
            self._running = self._first = True
            self._later(0.0, self._turn)
        return len(group.members)

    def _join(self, group: Group, parcel: Parcel, action: str, bucket: Bucket) -> bool:
        batch: Batch | None = group.pending
        if (
            batch is None
            or self._pace.limited
            or action != "send"
            or batch.action != "send"
            or (group.elsewhere and batch.run != self._run)
            or batch.targets is not group.snapshot()
            or group.tailored
            or group.kind == RESPONSE
        ):
            return False
        size = parcel.size(group.kind)
        if batch.size + size > MAX_JOINED:
            return False
        batch.size += size
        batch.parcels.append(parcel)
        self.waiting += 1
        return True

    def _append(self, group: Group, parcel: Parcel, action: str, bucket: Bucket) -> None:
        weight = parcel.weight(group.kind, self._block) if self._block > 0 else 1
        batch = Batch(group, parcel, action, weight, self._run)
        if self._hwm > 0:
            self._trim(batch, bucket)
            if not batch.targets:
                return
        if group.kind != RESPONSE and action == "send":
            batch.size = parcel.size(group.kind)
        group.pending = batch
        bucket.waiting += len(batch.targets)
        bucket.batches.append(batch)
        self.waiting += 1

    def _trim(self, batch: Batch, bucket: Bucket) -> None:
        room = max(0, self._hwm - bucket.waiting)
        excess = len(batch.targets) - room
        if excess > 0:
            batch.targets = batch.targets[:room]
            self._stats.count("deliveries-dropped-hwm", excess)
            self._stats.note("warn", f"exceeded publish hwm ({self._hwm}), dropping message", "handler")

    def _gathers(self) -> bool:
        """Whether this turn is left out, since items come by hundreds, turn after turn."""
        before, self._crowded = self._crowded, self._added >= CROWD
        self._added = 0
        if (
            not (before and self._crowded)
            or self._gathered == GATHERED
            or self._pace.limited
            or self._hwm > 0
            or self.congested
        ):
            self._gathered = 0
            return False
        self._gathered += 1
        return True

    def _turn(self) -> None:
        if self._gathers():
            self._later(0.0, self._turn)
            return
        self._room = min(self._room, 0) + MAX_TURN
        try:
            self._serve()
        except Exception:
            self._stats.failure("fan-out")
        if self._relieved and self.waiting <= self._backlog // 2:
            self._relieve()
        if not self._buckets:
            self._running = False
            return
        delay = self._pace.delay
        if self._left or (self._first and self._pace.doubled):
            delay = 0.0
        self._first = self._first and bool(self._left)
        self._later(delay, self._turn)

    def _relieve(self) -> None:
        calls, self._relieved = self._relieved, []
        for call in calls:
            try:
                call()
            except Exception:
                self._stats.failure("fan-out")

    def _serve(self) -> None:
        """One turn: the bucket whose turn it is, then it goes to the end of the row.

        A delivery heavier than the budget leaves a debt, which later turns of its bucket pay, also when
        nothing waits any more.  Within a turn the bucket stays where it is, for who publishes on a delivery;
        and so it does when its share of a rate takes more than one turn because of the bytes.
        """
        name, bucket = next(iter(self._buckets.items()))
        left, self._left = self._left or self._pace.budget - bucket.debt, 0
        try:
            if left > 0:
                left = self._drain(bucket, left)
        finally:
            bucket.debt = max(0, -left)
            if left > 0 and bucket.batches and self._pace.limited and self._room <= 0:
                self._left = left
            else:
                del self._buckets[name]
                if bucket.batches or bucket.debt:
                    self._buckets[name] = bucket

    def _drain(self, bucket: Bucket, budget: int) -> int:
        while budget > 0 and self._room > 0 and bucket.batches:
            batch = bucket.batches[0]
            group = batch.group
            if group.pending is batch:
                group.pending = None
            if not batch.position and not self._encode(batch):
                bucket.batches.popleft()
                bucket.waiting -= len(batch.targets)
                self.waiting -= len(batch.parcels)
                continue
            start = batch.position
            if not start:
                self._room -= batch.size
            end = min(start + max(1, budget // batch.weight), len(batch.targets))
            batch.position = end
            if end == len(batch.targets):
                bucket.batches.popleft()
                self.waiting -= len(batch.parcels)
            bucket.waiting -= end - start
            targets = batch.targets[start:end]
            if not group.unchanged(batch.targets):
                # Who has gone by its turn costs nothing (grip 15).
                targets = tuple(hold for hold in targets if hold in group.members)
            budget -= len(targets) * batch.weight
            self._deliver(batch, targets)
            if self.tally is not None and targets:
                self._count(batch, len(targets))
            if self._delivered is not None and targets and batch.action == "send":
                for parcel in batch.parcels:
                    self._delivered(parcel.since, len(targets))
        return budget

    def _count(self, batch: Batch, receivers: int) -> None:
        """Count what was written; other holds than these count for themselves."""
        group = batch.group
        if batch.parts and not group.tailored and group.kind != RESPONSE:
            counts = self.tally.routes[group.bucket]
            counts.delivered(group.kind, receivers, batch.size, len(batch.parts))

    def _encode(self, batch: Batch) -> bool:
        try:
            batch.encode()
        except Exception:
            self._stats.failure("encoding an item")
            return False
        return True

    def _deliver(self, batch: Batch, targets: tuple[Any, ...]) -> None:
        if batch.group.tailored:
            parcel, channel = batch.parcels[0], batch.group.channel
            for hold in targets:
                try:
                    hold.receive(parcel, channel)
                except Exception:
                    self._blame(hold)
        elif batch.action == "send":
            data, parts = batch.data, batch.parts
            if not data:
                return
            for hold in targets:
                try:
                    hold.deliver(data, parts)
                except Exception:
                    self._blame(hold)
        elif batch.action is UNFIT:
            wanted = batch.parcels[0].wanted(batch.group.kind)
            for hold in targets:
                try:
                    hold.unfit(wanted)
                except Exception:
                    self._blame(hold)
        else:
            item = batch.parcels[0].item
            for hold in targets:
                try:
                    hold.act(batch.action, item)
                except Exception:
                    self._blame(hold)

    def _blame(self, hold: Any) -> None:
        """Called within an ``except`` block: this hold is lost, the others are not."""
        self._stats.failure("delivery to a hold")
        try:
            hold.abort()
        except Exception:
            self._stats.failure("giving up a hold")
