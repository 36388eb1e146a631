"""The parent's stand-in for a broker: sends each item to the workers that hold its channel.

Used by publish sources in place of ``broker.Broker``, and fed by the crew with what workers tell about their
channels.  Items are put in order here, so that a worker which comes to a channel late is no further behind
than the others; rates and delivery are the workers' business.  What a worker does not take at once waits in
its link, and publishers have to wait while too much does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from zope.interface import implementer

from pushpin_tw.broker.sequencer import Sequence, Sequencer
from pushpin_tw.grip.item import Item
from pushpin_tw.interfaces import IItems
from pushpin_tw.wheel import Wheel
from pushpin_tw.workers.link import encode
from pushpin_tw.workers.packing import pack

NONE: frozenset[int] = frozenset()


class Channel:
    """A channel that somebody holds."""

    __slots__ = ("holders", "name", "sequence")

    def __init__(self, name: str) -> None:
        self.name = name
        self.holders = NONE
        """The workers that do; equal sets are one object."""
        self.sequence: Sequence | None = None
        """As of ``broker.channels.Channel``."""


class Wire(Protocol):
    """What the hub wants of a link."""

    congested: bool
    """Whether too much waits to be sent."""

    def send_encoded(self, data: bytes) -> None: ...
    def poll(self) -> None: ...


@implementer(IItems)
class Hub:
    """Who holds what."""

    def __init__(self, wheel: Wheel, stats: Any, wait: float, ttl: float) -> None:
        """``stats`` is an ``IStatsSink``, ``wait`` and ``ttl`` as of ``Sequencer``."""
        self.tally: Any = None
        """ITally; None when nobody wants figures."""
        self._stats = stats
        self._wheel = wheel
        self._sequencer = Sequencer(wheel, stats, wait, ttl)
        self._links: dict[int, Wire] = {}
        self._channels: dict[str, Channel] = {}
        self._sets: dict[frozenset[int], frozenset[int]] = {NONE: NONE}
        self._watchers: list[Any] = []
        self._relieved: list[Callable[[], None]] = []
        self._batch: list[Any] = []
        """Packed items that wait for the next one, which may go to the same workers."""
        self._addressees = NONE
        self._accepting = False

    # ---- the crew's side -----------------------------------------------------------------------------------

    def joined(self, worker: int, link: Wire) -> None:
        """A worker is there, which holds no channel yet."""
        self._links[worker] = link

    def left(self, worker: int) -> None:
        """A worker is gone, and so are its holds."""
        if self._links.pop(worker, None) is None:
            return
        for channel in [name for name, record in self._channels.items() if worker in record.holders]:
            self.closed(worker, channel)
        self.drained()

    def opened(self, worker: int, channel: str) -> None:
        """A worker holds ``channel`` from now on.  When it is not the first one, it is told so, and how far
        the channel has come."""
        record = self._channels.get(channel)
        if record is None:
            record = self._channels[channel] = Channel(channel)
            for watcher in self._watchers:
                watcher.channel_opened(channel)
        elif worker not in record.holders:
            last_id = None if record.sequence is None else record.sequence.last_id
            self._links[worker].send_encoded(encode(("known", channel, last_id)))
        record.holders = self._same(record.holders | {worker})

    def closed(self, worker: int, channel: str) -> None:
        """The opposite."""
        record = self._channels.get(channel)
        if record is None:
            return
        record.holders = self._same(record.holders - {worker})
        if not record.holders:
            del self._channels[channel]
            if record.sequence is not None:
                self._sequencer.drop(record.sequence)
            for watcher in self._watchers:
                watcher.channel_closed(channel)

    def forgotten(self, channel: str) -> None:
        """Holds of some worker have missed an item: its last id says nothing any more."""
        record = self._channels.get(channel)
        if record is not None and record.sequence is not None:
            record.sequence.forget(self._wheel.seconds())

    def drained(self) -> None:
        """A link may be congested no more."""
        if self._relieved and not self.congested:
            calls, self._relieved = self._relieved, []
            for call in calls:
                try:
                    call()
                except Exception:
                    self._stats.failure("publish")

    def _same(self, holders: frozenset[int]) -> frozenset[int]:
        return self._sets.setdefault(holders, holders)

    # ---- the publishers' side ------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """See ``IItems``: a worker is behind."""
        return any(link.congested for link in self._links.values())

    def relieve(self, call: Callable[[], None]) -> None:
        """See ``IItems``."""
        if self.congested:
            self._relieved.append(call)
        else:
            call()

    def accept(self, items: Iterable[Item]) -> None:
        """See ``IItems``.

        First the links are read: whoever publishes because a client has been answered must reach that client,
        and its worker has told us of the channel before it answered.
        """
        for link in tuple(self._links.values()):
            link.poll()
        self._accepting = True
        try:
            for item in items:
                try:
                    if self.tally is not None:
                        self.tally.received(item)
                    self._publish(item)
                except Exception:
                    self._stats.failure("publish")
        finally:
            self._accepting = False
            self._send()

    def _publish(self, item: Item) -> None:
        """As ``Broker``: what is repeated is dropped, what is early waits here, not in each worker."""
        if not self._sequencer.fresh(item):
            return
        channel = self._channels.get(item.channel)
        if channel is None:
            self._stats.published(item.channel, 0)
        elif item.no_seq or (channel.sequence is None and item.id is None):
            self._deliver(channel, item)
        else:
            if channel.sequence is None:
                channel.sequence = self._sequencer.sequence(partial(self._deliver, channel))
            self._sequencer.take(channel.sequence, item)

    def _deliver(self, channel: Channel, item: Item) -> None:
        if channel.holders is not self._addressees:
            self._send()
            self._addressees = channel.holders
        self._batch.append(pack(item))
        if not self._accepting:  # it had waited for one that has not come
            self._send()

    def _send(self) -> None:
        """Send what goes to the same workers, encoded once."""
        batch, self._batch = self._batch, []
        if batch:
            data = encode(("items", batch))
            for worker in self._addressees:
                self._links[worker].send_encoded(data)
        self._addressees = NONE

    def recover(self) -> None:
        """See ``IItems``."""
        for channel in self._channels.values():
            if channel.sequence is not None:
                channel.sequence.last_id = None
        data = encode(("recover",))
        for link in self._links.values():
            link.send_encoded(data)

    def watch(self, watcher: Any) -> None:
        """See ``IItems``."""
        self._watchers.append(watcher)
        for channel in self._channels:
            watcher.channel_opened(channel)

    def unwatch(self, watcher: Any) -> None:
        """See ``IItems``."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
