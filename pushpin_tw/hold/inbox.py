"""What happens to an item before a tailored hold acts on it: position, checks, filters (grip 11.3, 12.3, 13).

Part of every tailored hold.  Keeps the hold's position on each channel and its filters, and lets items wait
in a bounded queue while a filter is at work, the client does not read, or the origin is being asked.  Never
writes to the client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pushpin_tw.errors import FilterError
from pushpin_tw.grip.filters import FilterChain, FilterContext
from pushpin_tw.grip.instruct import Channel
from pushpin_tw.grip.item import Item

LastIds = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a tailored hold comes from, and what of it stays for its whole life."""

    place: Any
    """For ``ILinks``: how the proxy finds the way back to the origin."""
    uri: str
    """The URI that the client has asked for."""
    prefix: str
    """What the route puts in front of the channel names of instructions."""
    implicit: tuple[str, ...]
    """Names of channels that the route adds to all instructions, complete."""
    gone_link: str | None
    """Where to say that the hold has ended."""


class Subscription:
    """One hold on one channel."""

    __slots__ = ("chain", "name", "prev_id")

    def __init__(self, name: str, prev_id: str | None, chain: FilterChain | None) -> None:
        self.name = name
        """As the origin calls it, without the route's prefix."""
        self.prev_id = prev_id
        """The id of the item that the client has seen last; None when that is not tracked."""
        self.chain = chain


class Owner(Protocol):
    """The hold, as its inbox sees it."""

    room: Any
    debug: bool

    def ready(self) -> bool:
        """Whether an item can be dealt with now."""

    def part(self, item: Item) -> Any:
        """The format of ``item`` that is for this hold, or None."""

    def content(self, part: Any) -> bytes:
        """The content of a ``send`` for this hold, before filters."""

    def accepted(self, parcel: Any, channel: str, part: Any, content: bytes | None) -> None:
        """The item has come through, with other content than its own if that is not None."""

    def rest(self) -> None:
        """A filter that had not answered at once has, and nothing that could be dealt with is left."""

    def missed(self) -> None:
        """An item before this one has never come."""

    def fail(self, text: str) -> None:
        """Something went wrong that ends the hold."""

    def unfit(self, wanted: tuple[str, ...], attached: tuple[str, ...]) -> None:
        """The item is not meant for the filters attached."""


class Work:
    """An item that a filter is busy with."""

    __slots__ = ("_channel", "_inbox", "_parcel", "_part", "_subscription", "call", "later")

    def __init__(
        self, inbox: Inbox, parcel: Any, channel: str, part: Any, subscription: Subscription
    ) -> None:
        self.call: Any = None
        """What cancels it, if anything can."""
        self.later = False
        """Whether the filters have not answered at once."""
        self._inbox = inbox
        self._parcel = parcel
        self._channel = channel
        self._part = part
        self._subscription = subscription

    def done(self, outcome: bytes | FilterError | None) -> None:
        """The filters have spoken."""
        inbox = self._inbox
        if inbox.work is not self:
            return
        inbox.work = None
        inbox.judge(self._parcel, self._channel, self._part, self._subscription, outcome)
        if self.later:  # nobody else lets the next item in
            inbox.resume()


class Inbox:
    """The items of one hold, on their way in.  Also what filters see of it (``FilterSession``)."""

    __slots__ = ("_hold", "_queue", "meta", "origin", "subscriptions", "uri", "work")

    def __init__(self, hold: Owner, origin: Origin) -> None:
        self.origin = origin
        self.uri = origin.uri
        """The URI that the instructions in force came from."""
        self.meta: Mapping[str, str] = {}
        self.subscriptions: dict[str, Subscription] = {}
        """By complete name."""
        self.work: Work | None = None
        self._hold = hold
        self._queue: deque[tuple[Any, str]] | None = None

    # ---- what is subscribed --------------------------------------------------------------------------------

    def replace(self, channels: Iterable[Channel], meta: Mapping[str, str], uri: str) -> None:
        """New instructions are in force, those of ``uri``."""
        filters, origin = self._hold.room.filters, self.origin
        subscriptions = {name: Subscription(name, None, None) for name in origin.implicit}
        for channel in channels:
            chain = filters.chain(channel.filters) if channel.filters else None
            subscriptions[origin.prefix + channel.name] = Subscription(channel.name, channel.prev_id, chain)
        self.subscriptions = subscriptions
        self.meta = meta
        self.uri = uri

    @property
    def place(self) -> Any:
        """For filters."""
        return self.origin.place

    @property
    def links(self) -> Any:
        """For filters."""
        return self._hold.room.links

    def positions(self) -> dict[str, str | None]:
        """The position on every channel, by the origin's names."""
        return {one.name: one.prev_id for one in self.subscriptions.values()}

    def last_ids(self) -> LastIds:
        """The positions that are tracked."""
        return tuple(
            (one.name, one.prev_id) for one in self.subscriptions.values() if one.prev_id is not None
        )

    def conflicts(self, asked: float) -> bool:
        """Whether an item was published on some channel that the client has not seen (grip 11.4).

        ``asked``: when the origin was, as ``IBroker.conflicts``.
        """
        broker, found = self._hold.room.broker, False
        for name, one in self.subscriptions.items():
            if one.prev_id is None:
                continue
            # All are looked at: each that conflicts is forgotten.
            if broker.conflicts(name, one.prev_id, asked):
                found = True
        return found

    # ---- items ---------------------------------------------------------------------------------------------

    def receive(self, parcel: Any, channel: str) -> None:
        """An item has come."""
        if self._queue is None and self.work is None and self._hold.ready():
            self._consider(parcel, channel)
            return
        queue = self._queue
        if queue is None:
            queue = self._queue = deque()
        if len(queue) < self._hold.room.queue_limit:
            queue.append((parcel, channel))
        else:
            self._hold.room.stats.count("items-dropped-slow-client")

    def drain(self) -> None:
        """Deal with what waits, as far as that is possible."""
        while self._queue and self.work is None and self._hold.ready():
            self._consider(*self._queue.popleft())
        if not self._queue:
            self._queue = None

    def resume(self) -> None:
        """The filter at work has answered."""
        self.drain()
        if self.work is None:
            self._hold.rest()

    def skip(self) -> None:
        """New instructions are in force: items that are contained in them already need not be dealt with.

        What comes behind the position is not contained, even when it does not follow at once.
        """
        contained: set[tuple[str, str | None]] = set()
        while self._queue:
            parcel, channel = self._queue[0]
            one, item = self.subscriptions.get(channel), parcel.item
            if one is not None and (
                one.prev_id is None
                or one.prev_id == (item.prev_id or "")
                or (channel, one.prev_id) in contained
            ):
                return
            contained.add((channel, item.id))
            self._queue.popleft()

    def clear(self) -> None:
        """Nothing of what waits matters any more."""
        self._queue = None
        work, self.work = self.work, None
        if work is not None and work.call is not None:
            work.call.cancel()

    def _consider(self, parcel: Any, channel: str) -> None:
        item = parcel.item
        one = self.subscriptions.get(channel)
        part = self._hold.part(item)
        if one is None or part is None:
            return
        if one.prev_id is not None and one.prev_id != (item.prev_id or ""):
            self.clear()
            self._hold.room.broker.forget(channel)
            self._hold.missed()
            return
        chain = one.chain
        attached = () if chain is None else chain.content_names
        if part.content_filters is not None and part.content_filters != attached:
            self._hold.unfit(part.content_filters, attached)
            return
        if chain is None:
            self._advance(one, item)
            self._hold.accepted(parcel, channel, part, None)
            return
        content = self._hold.content(part) if part.action == "send" else b""
        work = self.work = Work(self, parcel, channel, part, one)
        call = chain.run(FilterContext(self, item, one.name), content, work.done)
        work.call, work.later = call, True

    def judge(
        self,
        parcel: Any,
        channel: str,
        part: Any,
        subscription: Subscription,
        outcome: bytes | FilterError | None,
    ) -> None:
        """What the filters have said of an item."""
        if isinstance(outcome, FilterError):
            if self._hold.debug:
                self._hold.fail(outcome.detail)
            return
        self._advance(subscription, parcel.item)
        if outcome is not None:
            self._hold.accepted(parcel, channel, part, outcome)

    @staticmethod
    def _advance(subscription: Subscription, item: Item) -> None:
        if subscription.prev_id is not None:
            subscription.prev_id = item.id
