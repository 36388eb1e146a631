"""An open-ended response: a head, an initial body, and then whatever is published (grip 9).

Made by the acceptance of instructions when the head and the initial body have been written.  Delivery path:
while the client reads, an item is one call with ready bytes; while it does not, items wait, up to a limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from pushpin_tw.grip.instruct import KeepAlive
from pushpin_tw.grip.item import Item
from pushpin_tw.hold.base import Hold, HoldRoom
from pushpin_tw.interfaces import IHold
from pushpin_tw.wire.http1 import encode_chunk


class Stream(Hold):
    """What both kinds of streams have: a body that stays open, and its keep-alive (grip 9.3)."""

    __slots__ = ("form", "keep_alive", "last", "subscribed")

    kind = "http-stream"

    def __init__(self, room: HoldRoom, responder: Any, channels: tuple[str, ...], bucket: str) -> None:
        super().__init__(room, responder, channels, bucket)
        self.form: Any = responder.chunked
        self.keep_alive: KeepAlive | None = None
        self.last = 0.0
        """When something was written, since the period began."""
        self.subscribed = False
        """Whether the client has taken the initial body."""

    def fail(self, text: str) -> None:
        """End the response; in debug mode the client is told why (grip 10.5)."""
        responder = self.responder
        if responder is not None:
            if self.debug:
                responder.write(f"\n\n{text}\n".encode())
            responder.finish()
            self.leave()

    def blocked(self) -> bool:
        """Whether keep-alives would pile up: a slow client stops the timer, ``drained`` starts it again."""
        return bool(self.responder.congested)

    def arm(self) -> None:
        """A period begins."""
        if self.keep_alive is not None:
            self.last = 0.0
            self.room.wheel.schedule(self, self.room.period(self.keep_alive.timeout))

    def on_time(self) -> None:
        """A period is over: was it an idle one?"""
        responder, keep_alive = self.responder, self.keep_alive
        if responder is None or keep_alive is None or self.blocked():
            return
        if self.last and not keep_alive.interval:
            # Items only note their time, so that delivering one does not touch the wheel.
            left = self.last + self.room.period(keep_alive.timeout) - self.room.wheel.seconds()
            if left > 0:
                self.last = 0.0
                self.room.wheel.schedule(self, left)
                return
        if self.room.tally is not None:
            self.room.tally.active(self.bucket)
            self.room.tally.routes[self.bucket].delivered(self.kind, 1, len(keep_alive.data), 1)
        if keep_alive.data:
            responder.deliver(encode_chunk(keep_alive.data) if responder.chunked else keep_alive.data)
        self.arm()


@implementer(IHold)
class StreamHold(Stream):
    """A client that listens."""

    __slots__ = ("_queue",)

    def __init__(
        self,
        room: HoldRoom,
        responder: Any,
        channels: tuple[str, ...],
        bucket: str,
        keep_alive: KeepAlive | None,
    ) -> None:
        super().__init__(room, responder, channels, bucket)
        self.keep_alive = keep_alive
        self._queue: deque[bytes] | None = None

    def begin(self) -> None:
        """Take over the client; the channels are joined once it has taken the initial body (grip 9.1)."""
        self.responder.own(self)
        if not self.responder.congested:
            self._listen()

    def _listen(self) -> None:
        self.subscribed = True
        self.subscribe()
        self.arm()

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        """Write at once, or queue for a client who is slow."""
        responder = self.responder
        if responder is None:
            return
        if self._queue is None and not responder.congested:
            responder.deliver(data)
            if self.keep_alive is not None:
                self.last = self.room.wheel.seconds()
        else:
            self._enqueue(parts)

    def _enqueue(self, parts: Sequence[bytes]) -> None:
        if self._queue is None:
            self._queue = deque()
        room = self.room.queue_limit - len(self._queue)
        self._queue.extend(parts[:room] if room > 0 else ())
        if len(parts) > room:
            self.room.stats.count("items-dropped-slow-client", len(parts) - max(room, 0))

    def drained(self) -> None:
        """The client reads again: first what waited, in order."""
        responder = self.responder
        if not self.subscribed:
            self._listen()
            return
        queue = self._queue
        while queue and not responder.congested:
            responder.deliver(queue.popleft())
        if not queue and not responder.congested and self.responder is not None:
            self._queue = None
            self.arm()

    def blocked(self) -> bool:
        """As ``Stream``."""
        return self._queue is not None or super().blocked()

    def act(self, action: str, item: Item | None = None) -> None:
        """``close`` ends the response; the others mean nothing without a next link (grip 9.2)."""
        if action == "close":
            self._finish()

    def retire(self) -> None:
        """As ``IParting``: the end, of the connection as well."""
        if self.responder is not None:
            self.responder.persistent = False
            self._finish()

    def _finish(self) -> None:
        """The end, behind what waits for the client."""
        responder = self.responder
        if responder is not None:
            for part in self._queue or ():
                responder.deliver(part)
            responder.finish()
            self.leave()

    def update(self) -> None:
        """Without a next link there is nobody to ask."""
