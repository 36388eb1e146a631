"""The parent's stand-in for a broker: sends each item to the workers that hold its channel.

Used by publish sources in place of ``broker.Broker``, and fed by the crew with what workers tell about their
channels.  Sequencing, rates and delivery are the workers' business.  Never keeps an item: what a worker does
not take at once waits in its link, and publishers have to wait while too much does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, Protocol

from zope.interface import implementer

from pushpin_tw.grip.item import Item
from pushpin_tw.interfaces import IItems
from pushpin_tw.workers.link import encode
from pushpin_tw.workers.packing import pack

NONE: frozenset[int] = frozenset()


class Wire(Protocol):
    """What the hub wants of a link."""

    congested: bool
    """Whether too much waits to be sent."""

    def send_encoded(self, data: bytes) -> None: ...
    def poll(self) -> None: ...


@implementer(IItems)
class Hub:
    """Who holds what."""

    def __init__(self, stats: Any) -> None:
        """``stats`` is an ``IStatsSink``."""
        self._stats = stats
        self._links: dict[int, Wire] = {}
        self._holders: dict[str, frozenset[int]] = {}
        """By channel: the workers that hold it, never none.  Equal sets are one object (``_sets``)."""
        self._sets: dict[frozenset[int], frozenset[int]] = {NONE: NONE}
        self._watchers: list[Any] = []
        self._relieved: list[Callable[[], None]] = []

    # ---- the crew's side -----------------------------------------------------------------------------------

    def joined(self, worker: int, link: Wire) -> None:
        """A worker is there, which holds no channel yet."""
        self._links[worker] = link

    def left(self, worker: int) -> None:
        """A worker is gone, and so are its holds."""
        if self._links.pop(worker, None) is None:
            return
        for channel in [name for name, holders in self._holders.items() if worker in holders]:
            self.closed(worker, channel)
        self.drained()

    def opened(self, worker: int, channel: str) -> None:
        """A worker holds ``channel`` from now on."""
        holders = self._holders.get(channel, NONE)
        self._holders[channel] = self._same(holders | {worker})
        if not holders:
            for watcher in self._watchers:
                watcher.channel_opened(channel)

    def closed(self, worker: int, channel: str) -> None:
        """The opposite."""
        holders = self._same(self._holders.get(channel, NONE) - {worker})
        if holders:
            self._holders[channel] = holders
        elif self._holders.pop(channel, None) is not None:
            for watcher in self._watchers:
                watcher.channel_closed(channel)

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
        for holders, run in self._runs(items):
            data = encode(("items", [pack(item) for item in run]))
            for worker in holders:
                self._links[worker].send_encoded(data)

    def _runs(self, items: Iterable[Item]) -> Iterator[tuple[frozenset[int], list[Item]]]:
        """Neighbours that go to the same workers."""
        for holders, run in groupby(items, self._holders_of):
            if holders:
                yield holders, list(run)
            else:
                for item in run:
                    self._stats.published(item.channel, 0)

    def _holders_of(self, item: Item) -> frozenset[int]:
        return self._holders.get(item.channel, NONE)

    def recover(self) -> None:
        """See ``IItems``."""
        data = encode(("recover",))
        for link in self._links.values():
            link.send_encoded(data)

    def watch(self, watcher: Any) -> None:
        """See ``IItems``."""
        self._watchers.append(watcher)
        for channel in self._holders:
            watcher.channel_opened(channel)

    def unwatch(self, watcher: Any) -> None:
        """See ``IItems``."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
