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
        """``retry`` is handed to ``IRefetch.rerun`` when the origin must be asked again."""
        super().__init__(room, responder, channels, bucket)
        self.form = template
        self.retry = retry

    def begin(self, timeout: float) -> None:
        """Start to wait, for ``timeout`` seconds."""
        self.responder.own(self)
        self.subscribe()
        self.room.wheel.schedule(self, timeout)

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        """The answer."""
        responder = self.leave()
        if responder is not None:
            responder.complete(data)

    def act(self, action: str) -> None:
        """``hint`` asks the origin again; ``close`` and ``refresh`` mean nothing here (grip 12.3)."""
        if action == "hint":
            responder = self.leave()
            if responder is not None:
                self.room.refetch.rerun(self.retry, responder)

    def on_time(self) -> None:
        """Nothing was published: the response that the origin gave for this."""
        responder = self.leave()
        if responder is not None:
            responder.complete(self.form.timeout())
