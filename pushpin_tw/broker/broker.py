"""The one entry for published items, and the register of who waits for what.

Called by publish sources (``accept``) and by holds (``subscribe``, ``unsubscribe``).  Delivery follows in
later turns of the reactor, through the fan-out.  Never writes to a client itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zope.interface import implementer

from pushpin_tw.broker.channels import Channel
from pushpin_tw.broker.fanout import Fanout
from pushpin_tw.broker.parcel import RESPONSE, Parcel
from pushpin_tw.grip.item import Item
from pushpin_tw.interfaces import IBroker
from pushpin_tw.wheel import Wheel

MODES = {"http-response": "response", "http-stream": "stream"}


@implementer(IBroker)
class Broker:
    """Channels by name."""

    def __init__(self, fanout: Fanout, wheel: Wheel, stats: Any, linger: float) -> None:
        """``linger``: seconds for which a channel is kept after its last response hold has left."""
        self._fanout = fanout
        self._wheel = wheel
        self._stats = stats
        self._linger = linger
        self._channels: dict[str, Channel] = {}
        self._on_linger = self._linger_over  # one for all channels

    def accept(self, items: Iterable[Item]) -> None:
        """Queue items for the holds that wait for them, in order."""
        for item in items:
            try:
                self._publish(item)
            except Exception:
                self._stats.failure("publish")

    def _publish(self, item: Item) -> None:
        channel = self._channels.get(item.channel)
        receivers = 0
        if channel is not None and channel.groups:
            parcel = Parcel(item)
            for group in channel.groups.values():
                receivers += self._fanout.add(group, parcel)
        self._stats.published(item.channel, receivers)

    def subscribe(self, hold: Any, channel: str) -> None:
        """Let ``hold`` see what is published on ``channel``; harmless when it does already."""
        record = self._channels.get(channel)
        if record is None:
            record = self._channels[channel] = Channel(channel, self._on_linger)
        first = record.add(hold)
        if hold.kind == RESPONSE and record.lingers:
            record.lingers = False
            self._wheel.cancel(record)
        elif first:
            self._stats.subscribed(MODES[hold.kind], channel)

    def unsubscribe(self, hold: Any, channel: str) -> None:
        """The opposite; harmless when ``hold`` is not subscribed."""
        record = self._channels.get(channel)
        if record is None or not record.remove(hold):
            return
        if hold.kind == RESPONSE and self._linger > 0:
            record.lingers = True
            self._wheel.schedule(record, self._linger)
            return
        self._stats.unsubscribed(MODES[hold.kind], channel)
        self._sweep(record)

    def _linger_over(self, record: Channel) -> None:
        record.lingers = False
        self._stats.unsubscribed("response", record.name)
        self._sweep(record)

    def _sweep(self, record: Channel) -> None:
        if record.deserted and self._channels.get(record.name) is record:
            del self._channels[record.name]

    def channels(self) -> list[str]:
        """The names of all channels that are subscribed or linger."""
        return list(self._channels)

    def holds(self, channel: str) -> dict[str, int]:
        """How many holds of each kind wait on ``channel``."""
        record = self._channels.get(channel)
        return {} if record is None else dict(record.holds)

    def recover(self) -> None:
        """Nothing to forget: items are delivered in the order they come, no last id is kept."""
