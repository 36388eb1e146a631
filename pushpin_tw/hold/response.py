"""A long-poll: a request that waits for one item, or for its timeout (grip 8).

Made by the exchange.  Answers once and is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from pushpin_tw.grip.template import Template
from pushpin_tw.hold.base import Hold, HoldRoom
from pushpin_tw.interfaces import IHold


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
        self.form = template
        self.retry = retry

    def begin(self, timeout: float) -> None:
        """Start to wait, for ``timeout`` seconds."""
        self.responder.own(self)
        self.subscribe()
        self.room.wheel.schedule(self, timeout)

    def leave(self) -> Any:
        """As ``Hold``; the timer wheel may refer to what is left for a while, but not to the request."""
        responder = super().leave()
        self.retry = None
        return responder

    # Whatever answers the client comes before leave(): if it fails, abort() still finds the responder.

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        """The answer."""
        if self.responder is not None:
            self.responder.complete(data)
            self.leave()

    def act(self, action: str) -> None:
        """``hint`` asks the origin again; ``close`` and ``refresh`` mean nothing here (grip 12.3)."""
        if action == "hint" and self.responder is not None:
            if self.retry is None:
                self.on_time()  # the client asks again itself
                return
            self.room.refetch.rerun(self.retry, self.responder)
            self.leave()

    def on_time(self) -> None:
        """Nothing was published: the response that the origin gave for this."""
        self.responder.complete(self.form.timeout())
        self.leave()

    def drained(self) -> None:
        """The client has taken an answer from before; nothing waits for it here."""
