"""A stream that can ask its origin: one response to the client, made of many (grip 10, 11).

Made by the acceptance of instructions for streams with a next link, positions, filters or a gone link.  Looks
at each item for itself; when one is missing, or when it is time, it fetches the next link, appends its body
and goes on with its instructions.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import GripError
from pushpin_tw.grip.formats import StreamFormat
from pushpin_tw.grip.instruct import Instruct, NextLink
from pushpin_tw.grip.item import Item
from pushpin_tw.grip.terms import LinkRequest
from pushpin_tw.hold.base import HoldRoom
from pushpin_tw.hold.inbox import Inbox, Origin
from pushpin_tw.hold.linktimes import LinkGroup
from pushpin_tw.hold.stream import Stream
from pushpin_tw.interfaces import NEVER, TAILORED, ILinkSink, ITailoredHold
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.http1 import encode_chunk

RETRIES = 5
"""How often a next link that failed is fetched again; the first time after a second, then after twice as long
each time."""
LINK_FAILED = "Failed to retrieve next link."


class Alarm:
    """The wheel's entry for a link that is to be fetched again."""

    __slots__ = ("_hold", "due", "slot")

    def __init__(self, hold: LinkedStreamHold, wheel: Wheel, delay: float) -> None:
        self.due = 0
        self.slot = 0
        self._hold = hold
        wheel.schedule(self, delay)

    def expired(self) -> None:
        """The wheel's call."""
        self._hold.try_again()


@implementer(ITailoredHold, ILinkSink)
class LinkedStreamHold(Stream):
    """A client that listens, and is told what it has missed."""

    __slots__ = (
        "_after",
        "_alarm",
        "_attempts",
        "_call",
        "_fetched",
        "_group",
        "_inbox",
        "_instruct",
        "_next",
        "_positioned",
        "_sent",
        "_waiting",
        "_wanted",
        "_written",
    )

    def __init__(
        self,
        room: HoldRoom,
        responder: Any,
        bucket: str,
        origin: Origin,
    ) -> None:
        super().__init__(room, responder, origin.implicit, bucket)
        self.form = TAILORED
        self._inbox = Inbox(self, origin)
        self._instruct: Instruct | None = None
        """Instructions that are in force once their body is complete."""
        self._next: NextLink | None = None
        self._positioned = False
        """Whether a hold has begun once, with positions to compare (grip 11.4)."""
        self._group: LinkGroup | None = None
        """Where the next link's timeout is waited for."""
        self._waiting: LinkRequest | None = None
        """What it waits for in the row of updates."""
        self._wanted = False
        """Whether an update is to follow what is under way."""
        self._after = 0
        self._call: Any = None
        """The fetch that is under way."""
        self._alarm: Alarm | None = None
        self._attempts = 0
        self._written = False
        """Whether bytes of this fetch have reached the client."""
        self._fetched = origin.uri
        """Where the latest instructions came from, or will come from."""
        self._sent: set[str] | None = None
        """Which channels have brought something since the queue was empty last."""

    def begin(self, instruct: Instruct) -> None:
        """Take over the client, whose head and initial body are written, and go on as ``instruct`` says."""
        self._instruct = instruct
        self._inbox.replace((), instruct.meta, self._fetched)
        self.responder.own(self)
        self.subscribe()
        if not self.responder.congested:
            self._proceed()

    # ---- instructions (grip 10.3) --------------------------------------------------------------------------

    def _proceed(self) -> None:
        """The body that came with the latest instructions is complete: they are in force."""
        self.subscribed = True
        instruct, self._instruct = self._instruct, None
        assert instruct is not None
        self._next = instruct.next_link
        if instruct.mode == "stream":
            self._listen(instruct)
        elif self._next is not None:
            self._fetch()
        else:
            self.responder.finish()
            self.leave()

    def _listen(self, instruct: Instruct) -> None:
        problem = position_problem(instruct)
        if problem:
            self.fail(problem)
            return
        inbox = self._inbox
        inbox.replace(instruct.channels[: self.room.subscription_max], instruct.meta, self._fetched)
        self._join(tuple(inbox.subscriptions))
        inbox.skip()
        self.room.wheel.cancel(self)
        self.keep_alive = instruct.keep_alive
        self.arm()
        self._register()
        first, self._positioned = not self._positioned, True
        if first and inbox.conflicts(NEVER):
            self.update()
        self._go_on()

    def _join(self, names: tuple[str, ...]) -> None:
        """Be subscribed to these channels and no others."""
        broker, stats, before = self.room.broker, self.room.stats, self.channels
        self.channels = tuple(dict.fromkeys([*before, *names]))  # should one of the next steps fail
        for name in names:
            if name not in before:
                broker.subscribe(self, name)
                if stats.wants_holds:
                    stats.held(self._inbox.origin.uri, name, False)
        for name in before:
            if name not in names:
                broker.unsubscribe(self, name)
        self.channels = names

    def _go_on(self) -> None:
        """Whatever was under way is over: an update that was put off, else the items that wait."""
        if self._wanted:
            self._wanted = False
            self.update()
        self._inbox.drain()
        self._settle()

    # ---- items (grip 9.2) ----------------------------------------------------------------------------------

    def receive(self, parcel: Any, channel: str) -> None:
        """An item."""
        if self.responder is not None:
            self._inbox.receive(parcel, channel)
            self._settle()

    def ready(self) -> bool:
        """Whether an item can be dealt with now."""
        responder = self.responder
        return (
            responder is not None
            and self.subscribed
            and not (self._waiting or self._call or self._alarm)
            and not responder.congested
        )

    def part(self, item: Item) -> StreamFormat | None:
        """What is for this hold."""
        return item.http_stream

    def content(self, part: StreamFormat) -> bytes:
        """What filters are given."""
        return part.content

    def accepted(self, parcel: Any, channel: str, part: StreamFormat, content: bytes | None) -> None:
        """An item has come through."""
        if part.action == "send":
            self._send(parcel, channel, content)
        elif part.action == "close":
            self.responder.finish()
            self.leave()
        elif part.action == "hint" and self._next is not None:
            self._inbox.clear()
            self._after = self.room.links.started
            self._fetch()

    def _send(self, parcel: Any, channel: str, content: bytes | None) -> None:
        responder = self.responder
        if self.room.tally is not None:
            size = parcel.size(self.kind) if content is None else len(content)
            self.room.tally.routes[self.bucket].delivered(self.kind, 1, size, 1)
        if content is None:
            data = parcel.encoded(self.kind, responder.chunked)
        else:
            data = encode_chunk(content) if responder.chunked and content else content
        if data:
            responder.deliver(data)
            if self.keep_alive is not None:
                self.last = self.room.wheel.seconds()
        if self._group is not None:
            self._note(channel)
        if responder.congested:
            self._unregister()

    def rest(self) -> None:
        """A filter has answered late; an update may have waited for that."""
        if self.responder is not None:
            self._go_on()

    def missed(self) -> None:
        """An item is missing: it must be in what the origin answers from now on."""
        self.update()

    def drained(self) -> None:
        """The client reads again."""
        if self._call is not None:
            self._call.resume()
        elif not self.subscribed:
            self._proceed()
        else:
            self.arm()
            if not (self._waiting or self._alarm):
                self._register()
            self._inbox.drain()
            self._settle()

    # ---- when to ask (grip 11.3, 11.6) ---------------------------------------------------------------------

    def update(self) -> None:
        """Fetch the next link when it is this stream's turn; what is under way comes first."""
        if self.responder is None or self._next is None:
            return
        self._after = self.room.links.started
        if self._call or self._alarm or self._inbox.work is not None:
            self._wanted = True
        elif self._waiting is None:
            self._unregister()
            self._waiting = self._request()
            self.room.updates.add(self, self._waiting)

    def recheck(self) -> None:
        """As ``ITailoredHold``."""
        if self._inbox.conflicts(NEVER):
            self.update()

    def updated(self) -> None:
        """It is this stream's turn."""
        if self.responder is not None and self._waiting is not None:
            self._waiting = None
            self._fetch()

    def link_due(self) -> None:
        """The next link's timeout is over, and nothing has come meanwhile."""
        self._group = None
        self.update()

    def _register(self) -> None:
        if self._next is not None and self._group is None and not self.responder.congested:
            self._group = self.room.link_times.join(self, self._next)

    def _unregister(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            group.leave(self)

    def _note(self, channel: str) -> None:
        """Something has come on ``channel``: active is a stream on all of whose channels something has."""
        if len(self.channels) == 1:
            assert self._group is not None
            self._group.active(self)
        elif self._sent is None:
            self._sent = {channel}
        else:
            self._sent.add(channel)

    def _settle(self) -> None:
        """Nothing more can be dealt with at the moment."""
        sent, self._sent = self._sent, None
        if sent is not None and self._group is not None and len(sent) == len(self.channels):
            self._group.active(self)

    # ---- asking (grip 10) ----------------------------------------------------------------------------------

    def _request(self) -> LinkRequest:
        assert self._next is not None
        return LinkRequest(self._inbox.place, self._next.uri, self._inbox.last_ids())

    def _fetch(self) -> None:
        self._unregister()
        request = self._request()
        self._written = False
        self._fetched = request.uri
        self._call = self.room.links.follow(request, self, self._after)

    def link_opened(self, instruct: Instruct) -> None:
        """As ``ILinkSink``."""
        self._instruct = instruct
        if self.responder.congested:
            self._call.pause()

    def link_received(self, data: bytes) -> None:
        """As ``ILinkSink``."""
        responder = self.responder
        self._written = True
        self.room.wheel.cancel(self)  # the keep-alive of the instructions before
        responder.write(data)
        responder.flush()
        if responder.congested and self._call is not None:
            self._call.pause()

    def link_finished(self) -> None:
        """As ``ILinkSink``."""
        self._call = None
        self._attempts = 0
        if self.responder is not None:
            self._proceed()

    def link_failed(self, error: GripError | None) -> None:
        """As ``ILinkSink``."""
        self._call = None
        if self.responder is None:
            return
        if error is not None:
            self.fail(error.detail)
        elif self._written or self._attempts == RETRIES:
            self.fail(LINK_FAILED)
        else:
            delay = 2**self._attempts + self.room.random.randrange(1000) / 1000
            self._attempts += 1
            self._alarm = Alarm(self, self.room.wheel, delay)

    def try_again(self) -> None:
        """The wheel's call: the link has failed a while ago."""
        self._alarm = None
        if self.responder is not None:
            self._fetch()

    # ---- the end -------------------------------------------------------------------------------------------

    def retire(self) -> None:
        """As ``IParting``; the body of a next link that has begun comes first."""
        if self.responder is not None and self._call is None:
            self.responder.persistent = False
            self.responder.finish()
            self.leave()

    def leave(self) -> Any:
        """As ``Hold``; the origin is told if it wants to be (grip 10.6)."""
        responder = super().leave()
        if responder is None:
            return None
        room, inbox = self.room, self._inbox
        inbox.clear()
        self._unregister()
        if self._waiting is not None:
            room.updates.remove(self, self._waiting)
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            room.wheel.cancel(alarm)
        if inbox.origin.gone_link is not None:
            room.links.gone(LinkRequest(inbox.place, inbox.origin.gone_link))
        return responder


def position_problem(instruct: Instruct) -> str:
    """Why a stream cannot begin: with a position it needs a link to catch up from (grip 10.5)."""
    if instruct.next_link is None:
        for channel in instruct.channels:
            if channel.prev_id is not None:
                return f"channel '{channel.name}' specifies prev-id, but no next link found"
    return ""
