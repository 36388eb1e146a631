"""An open-ended response: a head, an initial body, and then whatever is published (grip 9).

Made by the exchange when the head and the initial body have been written.  Delivery path: while the client
reads, an item is one call with ready bytes; while it does not, items wait in a bounded queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from pushpin_tw.grip.instruct import KeepAlive
from pushpin_tw.hold.base import Hold, HoldRoom
from pushpin_tw.interfaces import IHold
from pushpin_tw.wire.http1 import encode_chunk


@implementer(IHold)
class StreamHold(Hold):
    """A client that listens."""

    __slots__ = ("_keep_alive", "_last", "_queue", "_subscribed", "form")

    kind = "http-stream"

    def __init__(
        self,
        room: HoldRoom,
        responder: Any,
        channels: tuple[str, ...],
        bucket: str,
        keep_alive: KeepAlive | None,
    ) -> None:
        super().__init__(room, responder, channels, bucket)
        self.form: bool = responder.chunked
        self._keep_alive = keep_alive
        self._queue: deque[bytes] | None = None
        self._last = 0.0
        self._subscribed = False

    def begin(self) -> None:
        """Take over the client; the channels are joined once it has taken the initial body (grip 9.1)."""
        self.responder.own(self)
        if not self.responder.congested:
            self._listen()

    def _listen(self) -> None:
        self._subscribed = True
        self.subscribe()
        self._arm()

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        """Write at once, or queue for a client who is slow."""
        responder = self.responder
        if responder is None:
            return
        if self._queue is None and not responder.congested:
            responder.deliver(data)
            if self._keep_alive is not None:
                self._last = self.room.wheel.seconds()
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
        if not self._subscribed:
            self._listen()
            return
        queue = self._queue
        while queue and not responder.congested:
            responder.deliver(queue.popleft())
        if not queue and not responder.congested and self.responder is not None:
            self._queue = None
            self._arm()

    def act(self, action: str) -> None:
        """``close`` ends the response; the others mean nothing without a next link (grip 9.2)."""
        if action == "close":
            responder = self.responder
            if responder is not None:
                for part in self._queue or ():
                    responder.deliver(part)
                responder.finish()
                self.leave()

    # ---- keep-alive (grip 9.3) -----------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._keep_alive is not None:
            self._last = 0.0
            self.room.wheel.schedule(self, self._period(self._keep_alive))

    def _period(self, keep_alive: KeepAlive) -> float:
        return max(0.0, keep_alive.timeout - self.room.random.randrange(1000) / 1000)

    def on_time(self) -> None:
        """A period is over: was it an idle one?"""
        responder, keep_alive = self.responder, self._keep_alive
        if responder is None or keep_alive is None or self._queue is not None or responder.congested:
            return  # a slow client stops the timer; drained() starts it again
        if self._last and not keep_alive.interval:
            # Items only note their time, so that delivering one does not touch the wheel.
            left = self._last + self._period(keep_alive) - self.room.wheel.seconds()
            if left > 0:
                self._last = 0.0
                self.room.wheel.schedule(self, left)
                return
        if keep_alive.data:
            responder.deliver(encode_chunk(keep_alive.data) if self.form else keep_alive.data)
        self._arm()
