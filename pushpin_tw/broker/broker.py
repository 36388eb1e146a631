"""The one entry for published items, and the register of who waits for what.

Called by publish sources (``accept``) and by holds (``subscribe``, ``unsubscribe``).  Delivery follows in
later turns of the reactor, through the fan-out.  Never writes to a client itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from zope.interface import implementer

from pushpin_tw.broker.channels import Channel
from pushpin_tw.broker.fanout import Fanout
from pushpin_tw.broker.newcomers import Newcomers
from pushpin_tw.broker.parcel import RESPONSE, Parcel
from pushpin_tw.broker.refreshing import Refreshing
from pushpin_tw.broker.sequencer import DOUBT, Sequence, Sequencer
from pushpin_tw.grip.item import Item
from pushpin_tw.interfaces import IBroker
from pushpin_tw.sockets import SOCKET
from pushpin_tw.wheel import Wheel

MODES = {"http-response": "response", "http-stream": "stream", "ws-message": "ws"}


@implementer(IBroker)
class Broker:
    """Channels by name."""

    def __init__(
        self,
        fanout: Fanout,
        wheel: Wheel,
        stats: Any,
        linger: float,
        *,
        wait: float = 5.0,
        ttl: float = 0.0,
        first_update: bool = False,
    ) -> None:
        """``linger``: seconds for which a channel is kept after its last response hold has left; ``wait`` and
        ``ttl`` as in ``Sequencer``; ``first_update``: whether the holds of a new channel are updated."""
        self.fanout = fanout
        self._wheel = wheel
        self._stats = stats
        self.tally: Any = None
        """ITally; None when nobody wants figures."""
        self._linger = linger
        self._channels: dict[str, Channel] = {}
        self._watchers: list[Any] = []
        self._subscriptions = dict.fromkeys(MODES, 0)
        """How many there are, by kind of hold."""
        self._on_linger = self._linger_over  # one for all channels
        self._sequencer = Sequencer(wheel, stats, wait, ttl)
        self._refreshing = Refreshing(wheel, stats)
        self._newcomers = Newcomers(wheel, self._update) if first_update else None

    @property
    def congested(self) -> bool:
        """See ``IBroker``."""
        return self.fanout.congested

    def relieve(self, call: Callable[[], None]) -> None:
        """See ``IBroker``."""
        self.fanout.relieve(call)

    def accept(self, items: Iterable[Item]) -> None:
        """Queue items for the holds that wait for them, in order."""
        for item in items:
            try:
                if self.tally is not None:
                    self.tally.received(item)
                self._publish(item)
            except Exception:
                self._stats.failure("publish")

    def _publish(self, item: Item) -> None:
        if not self._sequencer.fresh(item):
            return
        channel = self._channels.get(item.channel)
        if channel is None:
            self._stats.published(item.channel, 0)
        elif item.no_seq or (channel.sequence is None and item.id is None):
            self._deliver(channel, item)
        else:
            self._sequencer.take(self._sequence(channel), item)

    def _sequence(self, channel: Channel) -> Sequence:
        if channel.sequence is None:
            channel.sequence = self._sequencer.sequence(partial(self._deliver, channel))
        return channel.sequence

    def _deliver(self, channel: Channel, item: Item) -> None:
        receivers = 0
        if channel.groups:
            parcel, tally = Parcel(item, self._wheel.seconds()), self.tally
            for group in channel.groups.values():
                reached = self.fanout.add(group, parcel)
                receivers += reached
                if tally is not None and reached:
                    tally.sent(parcel, group.bucket, group.kind, reached)
            if tally is not None and receivers:
                tally.message(parcel, channel.holds)
        self._stats.published(item.channel, receivers)

    def subscribe(self, hold: Any, channel: str) -> None:
        """Let ``hold`` see what is published on ``channel``; harmless when it does already."""
        record = self._channels.get(channel)
        if record is None:
            record = self._channels[channel] = Channel(channel, self._on_linger)
            if self._newcomers is not None:
                self._newcomers.add(record)
            for watcher in self._watchers:
                watcher.channel_opened(channel)
        if not record.add(hold):
            return
        self._subscriptions[hold.kind] += 1
        if self.tally is not None:
            self.tally.joined(MODES[hold.kind], channel)
        if hold.kind == RESPONSE and record.lingers:
            self._wheel.cancel(record)
            self._waited(record)

    def unsubscribe(self, hold: Any, channel: str) -> None:
        """The opposite; harmless when ``hold`` is not subscribed."""
        record = self._channels.get(channel)
        if record is None or not record.remove(hold):
            return
        self._subscriptions[hold.kind] -= 1
        last = not record.holds[hold.kind]
        lingers = last and hold.kind == RESPONSE and self._linger > 0
        if self.tally is not None:
            self.tally.left(MODES[hold.kind], channel, lingers)
        if lingers:
            record.lingers = True
            self._wheel.schedule(record, self._linger)
        if lingers or not last:
            return
        if record.lingers and not record.groups and self._watchers:
            self._wheel.cancel(record)
            self._linger_over(record)
        else:
            self._sweep(record)

    def _linger_over(self, record: Channel) -> None:
        self._waited(record)
        self._sweep(record)

    def _waited(self, record: Channel) -> None:
        """Nobody is waited for any more."""
        record.lingers = False
        if self.tally is not None:
            self.tally.lingered(MODES[RESPONSE], record.name)

    def _sweep(self, record: Channel) -> None:
        if record.deserted and self._channels.get(record.name) is record:
            del self._channels[record.name]
            if record.sequence is not None:
                self._sequencer.drop(record.sequence)
            for watcher in self._watchers:
                watcher.channel_closed(record.name)

    def watch(self, watcher: Any) -> None:
        """See ``IBroker``."""
        self._watchers.append(watcher)
        for channel in self._channels:
            watcher.channel_opened(channel)

    def unwatch(self, watcher: Any) -> None:
        """See ``IBroker``."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def channels(self) -> list[str]:
        """The names of all channels that are subscribed or linger."""
        return list(self._channels)

    def holds(self, channel: str) -> dict[str, int]:
        """How many holds of each kind wait on ``channel``."""
        record = self._channels.get(channel)
        return {} if record is None else dict(record.holds)

    @property
    def deliveries(self) -> int:
        """How many wait for their turn."""
        return self.fanout.deliveries

    def subscriptions(self) -> dict[str, int]:
        """How many there are, one for each hold and channel, by mode."""
        return {MODES[kind]: count for kind, count in self._subscriptions.items()}

    def recover(self) -> None:
        """Forget all last ids; every hold asks its origin again, as its turn comes."""
        channels = list(self._channels.values())
        for channel in channels:
            if channel.sequence is not None:
                channel.sequence.last_id = None
        for channel in channels:
            self._update(channel)

    def refresh(self, channel: str) -> None:
        """All WebSockets of ``channel`` ask their origins for news, as their turn comes."""
        record = self._channels.get(channel)
        groups = () if record is None else record.groups.values()
        self._refreshing.add([hold for group in groups if group.kind == SOCKET for hold in group.members])

    def learn(self, channel: str, last_id: str | None) -> None:
        """Somebody elsewhere listens to ``channel`` already, so that its items are on their way here in any
        case; ``last_id`` is its last one if that is known, and harmless when it is known here as well."""
        record = self._channels.get(channel)
        if record is None:
            return
        if self._newcomers is not None:
            self._newcomers.known(record)
        if last_id is None:
            return
        sequence = self._sequence(record)
        if sequence.last_id is None:
            sequence.last_id = last_id
            for group in list(record.groups.values()):
                if group.tailored:
                    for hold in group.snapshot():
                        self._update_one(hold, hold.recheck)

    def forget(self, channel: str) -> None:
        """See ``IBroker``."""
        record = self._channels.get(channel)
        if record is not None and record.sequence is not None:
            self._forget(record.name, record.sequence)

    def _forget(self, channel: str, sequence: Sequence) -> None:
        sequence.forget(self._wheel.seconds())
        for watcher in self._watchers:
            watcher.channel_forgotten(channel)

    def conflicts(self, channel: str, prev_id: str, asked: float) -> bool:
        """See ``IBroker``."""
        record = self._channels.get(channel)
        sequence = None if record is None else record.sequence
        if sequence is None or sequence.last_id == prev_id:
            return False
        now = self._wheel.seconds()
        if sequence.last_id is None:
            return sequence.behind(prev_id, max(asked, now - DOUBT))
        self._forget(channel, sequence)
        return True

    def _update(self, channel: Channel) -> None:
        for group in list(channel.groups.values()):
            if group.updatable:
                for hold in group.snapshot():
                    self._update_one(hold, hold.update)

    def _update_one(self, hold: Any, update: Callable[[], None]) -> None:
        try:
            update()
        except Exception:
            self._stats.failure("update of a hold")
            hold.abort()
