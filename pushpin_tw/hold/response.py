"""A long-poll: a request that waits for one item, or for its timeout (grip 8).

Made by the acceptance of instructions.  Answers once and is gone.  The express kind is given ready bytes; the
tailored kind has positions, filters or a gone link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zope.interface import implementer

from pushpin_tw.grip.formats import ResponseFormat
from pushpin_tw.grip.instruct import Instruct
from pushpin_tw.grip.item import Item
from pushpin_tw.grip.jsonpatch import apply_patch
from pushpin_tw.grip.template import Template
from pushpin_tw.grip.terms import LinkRequest
from pushpin_tw.hold.base import Hold, HoldRoom
from pushpin_tw.hold.inbox import Inbox, Origin
from pushpin_tw.interfaces import NEVER, TAILORED, IHold, ITailoredHold

FAILED = "Error while proxying to origin."


@implementer(IHold)
class ResponseHold(Hold):
    """Waits with nothing sent."""

    __slots__ = ("form", "retry")

    kind = "http-response"

    def __init__(
        self,
        room: HoldRoom,
        responder: Any,
        channels: tuple[str, ...],
        bucket: str,
        template: Template,
        retry: Any,
    ) -> None:
        """``retry`` is handed to ``IRefetch.rerun`` when the origin must be asked again; None when it cannot
        be, because it has answered before the request was complete."""
        super().__init__(room, responder, channels, bucket)
        self.form: Any = template
        self.retry = retry

    def begin(self, timeout: float) -> None:
        """Start to wait, for ``timeout`` seconds."""
        self.responder.own(self)
        self.subscribe()
        self.room.wheel.schedule(self, timeout)

    def leave(self) -> Any:
        """As ``Hold``; the timer wheel may refer to what is left for a while, but not to the request."""
        responder = super().leave()
        if responder is not None:
            self.room.updates.remove(self, self)
        self.retry = None
        return responder

    # Whatever answers the client comes before leave(): if it fails, abort() still finds the responder.

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        """The answer."""
        if self.responder is not None:
            self.responder.complete(data)
            self.leave()

    def act(self, action: str, item: Item | None = None) -> None:
        """``hint`` asks the origin again; ``close`` and ``refresh`` mean nothing here (grip 12.3)."""
        if action == "hint" and self.responder is not None:
            self.run_again()

    def update(self) -> None:
        """The origin is asked again when it is this hold's turn; until then an item may still answer."""
        if self.responder is not None and self.retry is not None:
            self.room.updates.add(self, self)

    def updated(self) -> None:
        """It is this hold's turn."""
        if self.responder is not None:
            self.run_again()

    def run_again(self) -> None:
        """Ask the origin again, at once (grip 11.5)."""
        if self.retry is None:
            self.on_time()  # the client asks again itself
            return
        self.room.refetch.rerun(self.position(), self.responder)
        self.leave()

    def position(self) -> Any:
        """``retry``, with what the client has seen, as far as that is known."""
        return self.retry

    def on_time(self) -> None:
        """Nothing was published: the response that the origin gave for this."""
        self.responder.complete(self.template.timeout())
        self.leave()

    def retire(self) -> None:
        """As ``IParting``: the same response, on a connection that ends."""
        if self.responder is not None:
            self.responder.persistent = False
            self.responder.complete(self.template.farewell())
            self.leave()

    @property
    def template(self) -> Template:
        """What answers are made from."""
        template: Template = self.form
        return template

    def fail(self, text: str) -> None:
        """Answer with an error (grip 8.2)."""
        self.deliver(self.template.failure(text if self.debug else FAILED), ())

    def drained(self) -> None:
        """The client has taken an answer from before; nothing waits for it here."""


@implementer(ITailoredHold)
class TailoredResponseHold(ResponseHold):
    """Looks at each item for itself."""

    __slots__ = ("_inbox", "_template")

    def __init__(
        self,
        room: HoldRoom,
        responder: Any,
        channels: tuple[str, ...],
        bucket: str,
        template: Template,
        retry: Any,
        origin: Origin,
    ) -> None:
        super().__init__(room, responder, channels, bucket, template, retry)
        self.form = TAILORED
        self._template = template
        self._inbox = Inbox(self, origin)

    def follow(self, instruct: Instruct) -> bool:
        """Take positions and filters over; whether something was missed already, so that the origin must be
        asked again instead of waiting (grip 11.4)."""
        self._inbox.replace(instruct.channels, instruct.meta, self._inbox.uri)
        return self._inbox.conflicts(NEVER if self.retry is None else self.retry.asked)

    @property
    def template(self) -> Template:
        """What answers are made from."""
        return self._template

    def position(self) -> Any:
        """As ``ResponseHold``."""
        return self.retry.since(self._inbox.last_ids(), self.room.wheel.seconds())

    def leave(self) -> Any:
        """As ``Hold``; the origin is told if it wants to be."""
        responder = super().leave()
        if responder is not None:
            inbox = self._inbox
            inbox.clear()
            if inbox.origin.gone_link is not None:
                self.room.links.gone(LinkRequest(inbox.place, inbox.origin.gone_link))
        return responder

    def receive(self, parcel: Any, channel: str) -> None:
        """An item."""
        if self.responder is not None:
            self._inbox.receive(parcel, channel)

    def recheck(self) -> None:
        """As ``ITailoredHold``."""
        if self.responder is not None and self._inbox.conflicts(NEVER):
            self.run_again()

    # ---- for the inbox -------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether an item can be dealt with."""
        return self.responder is not None

    def part(self, item: Item) -> ResponseFormat | None:
        """What is for this hold."""
        return item.http_response

    def content(self, part: ResponseFormat) -> bytes:
        """The body before filters."""
        if part.body is not None:
            return part.body
        return apply_patch(self._template.body, part.patch or ())

    def accepted(self, parcel: Any, channel: str, part: ResponseFormat, content: bytes | None) -> None:
        """An item has come through."""
        if part.action != "send":
            self.act(part.action)
        elif content is None:
            self.deliver(parcel.encoded(self.kind, self._template), ())
        else:
            self.deliver(self._template.fill(replace(part, body=content, patch=None)), ())

    def rest(self) -> None:
        """Nothing has waited for that."""

    def missed(self) -> None:
        """An item is missing: ask the origin for it."""
        if self.retry is None:
            self.on_time()
        else:
            self.update()
