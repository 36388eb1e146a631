"""A WebSocket that listens to channels: its subscriptions, keep-alive and delayed message (websocket 3, 5).

Made by the tunnel when the origin asks for the first of these.  Stands beside the tunnel, not in it: what the
origin and the client say to each other does not come through here.  Delivery path: an item for a subscription
without filters is one call with ready frames.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from zope.interface import implementer

from pushpin_tw.grip.formats import SocketFormat
from pushpin_tw.grip.item import Item
from pushpin_tw.grip.wscontrol import KeepAlive, SendDelayed
from pushpin_tw.hold.base import HoldRoom
from pushpin_tw.hold.inbox import Inbox, Origin, Subscription
from pushpin_tw.interfaces import TAILORED, IHold, ITailoredHold
from pushpin_tw.sockets import SOCKET, ISocketHold

MAX_FILTERS = 5
"""Filters of one channel; an origin that wants more is refused, and its client with it (websocket 3.2)."""


class Peer(Protocol):
    """The tunnel, as its hold sees it."""

    def end(self, code: int | None, reason: bytes) -> None:
        """Say CLOSE to both sides."""

    def refresh(self) -> None:
        """Ask the origin for news."""

    def crash(self) -> None:
        """Let the client go at once."""


class _Membership:
    """What a hold is for one channel, and all that both kinds have in common."""

    __slots__ = ("bucket", "hold")

    kind = SOCKET

    def __init__(self, hold: SocketHold) -> None:
        self.hold = hold
        self.bucket = hold.bucket

    def abort(self) -> None:
        """A bug: let the client go, and nobody else."""
        self.hold.peer.crash()

    def update(self) -> None:
        """A socket has no positions: there is nothing to ask for."""

    recheck = update

    def refresh(self) -> None:
        """As ``ISocketHold``."""
        self.hold.peer.refresh()


@implementer(IHold, ISocketHold)
class Membership(_Membership):
    """In a channel without filters."""

    single = False

    __slots__ = ("act", "deliver", "form", "unfit")

    def __init__(self, hold: SocketHold) -> None:
        super().__init__(hold)
        self.form: Hashable = hold.socket.form
        self.deliver = hold.deliver
        self.act = hold.act
        self.unfit = hold.unfit


@implementer(ISocketHold, ITailoredHold)
class FilteredMembership(_Membership):
    """In a channel with filters."""

    __slots__ = ("receive",)

    form = TAILORED

    def __init__(self, hold: SocketHold, inbox: Inbox) -> None:
        super().__init__(hold)
        self.receive = inbox.receive


class Delayed:
    """A message that waits for its time: an entry of the timer wheel."""

    __slots__ = ("content", "due", "hold", "kind", "slot")

    def __init__(self, hold: SocketHold, kind: int, content: bytes) -> None:
        self.hold = hold
        self.kind = kind
        self.content = content
        self.due = 0
        self.slot = 0

    def expired(self) -> None:
        """The wheel's call."""
        self.hold.flush_delayed()


class SocketHold:
    """What a client's socket is subscribed to; an entry of the timer wheel for its keep-alive."""

    __slots__ = (
        "_delayed",
        "_inbox",
        "_keep_alive",
        "_members",
        "_origin",
        "_ready",
        "bucket",
        "debug",
        "due",
        "last",
        "peer",
        "room",
        "slot",
        "socket",
        "within",
    )

    def __init__(self, room: HoldRoom, socket: Any, peer: Peer, bucket: str, origin: Origin) -> None:
        """``socket`` is the client's ``IClientSocket``; the channels of ``origin.implicit`` are joined."""
        self.room = room
        self.socket = socket
        self.peer = peer
        self.bucket = bucket
        self.debug = False
        """Whether the client may be told what went wrong."""
        self.within = False
        """Whether a message of the origin has begun and not ended: nothing may be put into it."""
        self.last = 0.0
        """When something was sent to the client, since the keep-alive's period began."""
        self.due = 0
        self.slot = 0
        self._origin = origin
        self._members: dict[str, Any] = {}
        """By complete name; None when the hold has ended."""
        self._inbox: Inbox | None = None
        self._keep_alive: KeepAlive | None = None
        self._delayed: Delayed | None = None
        self._ready: list[Delayed] = []
        """Delayed messages whose time came within a message."""
        for name in origin.implicit:
            self._join(name, name, ())
        room.holds[SOCKET] += 1

    # ---- what the origin asks for --------------------------------------------------------------------------

    def subscribe(self, name: str, filters: tuple[str, ...]) -> None:
        """Join the channel ``name`` (without the route's prefix), or replace its filters; above the limit of
        channels this is ignored."""
        if len(filters) > MAX_FILTERS:
            self.fail(f"too many filters for channel '{name}'")
        elif len(self._members) < self.room.subscription_max:
            self._join(self._origin.prefix + name, name, filters)

    def unsubscribe(self, name: str) -> None:
        """Leave a channel, unless the route has added it."""
        complete = self._origin.prefix + name
        if complete not in self._origin.implicit:
            self._part(complete)

    def set_meta(self, name: str, value: str | None) -> None:
        """Note something about the client."""
        meta = dict(self._filtering().meta)
        meta.pop(name, None)
        if value is not None:
            meta[name] = value
        self._filtering().meta = meta

    def keep_alive(self, wanted: KeepAlive | None) -> None:
        """From now on send this; None: nothing."""
        self._keep_alive = wanted
        if wanted is None:
            self.room.wheel.cancel(self)
        else:
            self._arm(wanted)

    def send_delayed(self, message: SendDelayed) -> None:
        """Send a message after a while; one that waits already is sent now."""
        self.flush_delayed()
        self._delayed = Delayed(self, message.kind, message.content)
        self.room.wheel.schedule(self._delayed, message.timeout)

    def flush_delayed(self) -> None:
        """Send what waits, or as soon as the message in progress is complete."""
        delayed, self._delayed = self._delayed, None
        if delayed is None:
            return
        self.room.wheel.cancel(delayed)
        self._ready.append(delayed)
        if not self.within:
            self.message_ended()

    # ---- for the tunnel ------------------------------------------------------------------------------------

    def message_ended(self) -> None:
        """A message of the origin is complete: what had to wait for that goes out."""
        self.within = False
        ready, self._ready = self._ready, []
        for delayed in ready:
            self._send(delayed.kind, delayed.content)

    def sent(self) -> None:
        """The origin has sent something to the client."""
        if self._keep_alive is not None:
            self.last = self.room.wheel.seconds()

    def leave(self) -> None:
        """No channel, no timer any more."""
        if self.socket is not None:
            self.room.holds[SOCKET] -= 1
        for name in list(self._members):
            self._part(name)
        if self._inbox is not None:
            self._inbox.clear()
        if self._delayed is not None:
            self.room.wheel.cancel(self._delayed)
        self.room.wheel.cancel(self)
        self.socket = self._keep_alive = self._delayed = None
        self._ready = []

    # ---- channels ------------------------------------------------------------------------------------------

    def _join(self, complete: str, name: str, filters: tuple[str, ...]) -> None:
        chain = self.room.filters.chain(filters) if filters else None
        before = self._members.get(complete)
        if chain is None:
            member: Any = before if isinstance(before, Membership) else Membership(self)
            if self._inbox is not None:
                self._inbox.subscriptions[complete] = Subscription(name, None, None)
        else:
            inbox = self._filtering()
            member = before if isinstance(before, FilteredMembership) else FilteredMembership(self, inbox)
            inbox.subscriptions[complete] = Subscription(name, None, chain)
        if member is before:
            return
        self._members[complete] = member
        self.room.broker.subscribe(member, complete)
        if before is not None:
            # In this order: a channel that is left by everybody is forgotten.
            self.room.broker.unsubscribe(before, complete)
        elif self.room.stats.wants_holds:
            self.room.stats.held(self._origin.uri, complete, False)

    def _part(self, complete: str) -> None:
        member = self._members.pop(complete, None)
        if member is not None:
            self.room.broker.unsubscribe(member, complete)
        if self._inbox is not None:
            self._inbox.subscriptions.pop(complete, None)

    def _filtering(self) -> Inbox:
        """What only sockets with filters or notes have."""
        if self._inbox is None:
            self._inbox = Inbox(self, self._origin)
            prefix, implicit = self._origin.prefix, self._origin.implicit
            for complete in self._members:
                name = complete if complete in implicit else complete[len(prefix) :]
                self._inbox.subscriptions[complete] = Subscription(name, None, None)
        return self._inbox

    # ---- items ---------------------------------------------------------------------------------------------

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        """Ready frames; within a message of the origin they are dropped (websocket 2.4)."""
        if self.within:
            self.room.stats.count("items-dropped-within-message", len(parts))
        elif self.socket is not None:
            if self._keep_alive is not None:
                self.last = self.room.wheel.seconds()
            self.socket.deliver(data, parts)

    def act(self, action: str, item: Item | None = None) -> None:
        """``close`` and ``refresh``; a ``hint`` means nothing here."""
        part = None if item is None else item.ws_message
        if self.socket is None or part is None:
            return
        if action == "close":
            self.peer.end(part.code, part.reason)
        elif action == "refresh":
            self.peer.refresh()

    def unfit(self, wanted: tuple[str, ...], attached: tuple[str, ...] = ()) -> None:
        """An item is meant for other content filters than are attached: in debug mode worth an end."""
        if self.debug:
            self.fail(
                f"content filter mismatch: subscription={','.join(attached)} message={','.join(wanted)}"
            )

    def fail(self, text: str) -> None:
        """This socket cannot go on; in debug mode the client is told why."""
        if self.socket is not None:
            self.peer.end(1011, _short(text) if self.debug else b"")

    # What an inbox asks of its owner.

    def ready(self) -> bool:
        """Nothing waits here but for filters."""
        return True

    def part(self, item: Item) -> SocketFormat | None:
        """What is for sockets."""
        return item.ws_message

    def content(self, part: SocketFormat) -> bytes:
        """The message before filters."""
        return part.content

    def accepted(self, parcel: Any, channel: str, part: SocketFormat, content: bytes | None) -> None:
        """An item has come through the filters."""
        if part.action != "send":
            self.act(part.action, parcel.item)
            return
        if self.socket is None:
            return
        # What filters have let pass as it was is the same frame for everybody.
        frame = parcel.encoded(SOCKET, self.socket.form, None if content is part.content else content)
        if frame:
            self._count(len(part.content if content is None else content))
            self.deliver(frame, (frame,))

    def rest(self) -> None:
        """Nothing has waited for that."""

    def missed(self) -> None:
        """Never: positions are not tracked."""

    # ---- time ----------------------------------------------------------------------------------------------

    def _arm(self, keep_alive: KeepAlive) -> None:
        self.last = 0.0
        self.room.wheel.schedule(self, self.room.period(keep_alive.timeout))

    def expired(self) -> None:
        """The wheel's call: a period is over.  Was it an idle one?"""
        keep_alive = self._keep_alive
        if keep_alive is None or self.socket is None:
            return
        if self.last and not keep_alive.interval:
            # What is sent only notes its time, so that delivering does not touch the wheel.
            left = self.last + self.room.period(keep_alive.timeout) - self.room.wheel.seconds()
            if left > 0:
                self.last = 0.0
                self.room.wheel.schedule(self, left)
                return
        self._arm(keep_alive)
        if not self.within and not self.socket.congested:
            if self.room.tally is not None:
                self.room.tally.active(self.bucket)
            self._count(len(keep_alive.content))
            self.socket.send(keep_alive.kind, keep_alive.content)

    def _send(self, kind: int, content: bytes) -> None:
        if self.socket is not None:
            self.sent()
            self._count(len(content))
            self.socket.send(kind, content)

    def _count(self, size: int) -> None:
        """Another message of so many bytes."""
        if self.room.tally is not None:
            self.room.tally.routes[self.bucket].delivered(SOCKET, 1, size, 1)


def _short(text: str) -> bytes:
    """As much of ``text`` as a close frame has room for (RFC 6455, 5.5.1)."""
    return text.encode()[:123].decode("utf-8", "ignore").encode()
