"""Where published items come in: the broker, and for a while another process as well.

Made by ``service`` and given to publish sources in the broker's place.  While one process takes over from
another (``upgrade``), items must reach those who are held in either.  Never looks at an item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zope.interface import implementer

from pushpin_tw.grip.item import Item
from pushpin_tw.interfaces import IItems


@implementer(IItems)
class Inlet:
    """What publish sources see."""

    def __init__(self, items: Any) -> None:
        """``items`` is the ``IItems`` of this process."""
        self.items = items
        self.relay: Callable[[list[Item]], object] | None = None
        """Who is given all items as well, before they are delivered here."""
        self.relay_recover: Callable[[], object] | None = None
        self._watchers: list[Any] = []
        self._guests: set[str] = set()
        """Channels that are listened to in the other process."""

    @property
    def congested(self) -> bool:
        """See ``IItems``."""
        return bool(self.items.congested)

    def relieve(self, call: Callable[[], None]) -> None:
        """See ``IItems``."""
        self.items.relieve(call)

    def accept(self, items: Iterable[Item]) -> None:
        """See ``IItems``."""
        if self.relay is not None:
            items = list(items)
            self.relay(items)
        self.items.accept(items)

    def recover(self) -> None:
        """See ``IItems``."""
        if self.relay_recover is not None:
            self.relay_recover()
        self.items.recover()

    def watch(self, watcher: Any) -> None:
        """See ``IItems``; a channel may be opened twice, once for each process."""
        self._watchers.append(watcher)
        self.items.watch(watcher)
        for channel in self._guests:
            watcher.channel_opened(channel)

    def unwatch(self, watcher: Any) -> None:
        """See ``IItems``."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
        self.items.unwatch(watcher)

    # ---- the other process ---------------------------------------------------------------------------------

    def guest_opened(self, channel: str) -> None:
        """Somebody listens to ``channel`` there."""
        if channel not in self._guests:
            self._guests.add(channel)
            for watcher in self._watchers:
                watcher.channel_opened(channel)

    def guest_closed(self, channel: str) -> None:
        """The opposite."""
        if channel in self._guests:
            self._guests.remove(channel)
            for watcher in self._watchers:
                watcher.channel_closed(channel)

    def part(self) -> None:
        """There is no other process any more."""
        self.relay = self.relay_recover = None
        for channel in list(self._guests):
            self.guest_closed(channel)
