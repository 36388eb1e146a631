"""What a client has said and an HTTP backend has not taken yet (websocket 4.6 to 4.8, 4.11).

The queue of ``origin.overhttp``: messages go in, bodies of requests come out, and what the backend accepted
goes away.  Knows nothing of requests, time or the reactor.
"""

from __future__ import annotations

from pushpin_tw.errors import WireError
from pushpin_tw.sockets import BINARY, CLOSE
from pushpin_tw.wire.events import Event, encode_close, encode_event

MAX_QUEUED = 200_000
"""Bytes of messages that wait before the client counts as congested, and the longest message."""

OVERHEAD = 64
"""Bytes that a waiting message counts for beside its content: many empty ones are much, too."""

SILENT, SAID, OFFERED, DELIVERED = range(4)
"""What became of the client's CLOSE: there is none, it waits, the latest request has it, it was taken."""


class Outbox:
    """Messages in order, CLOSE last."""

    __slots__ = (
        "_batch",
        "_close",
        "_kept",
        "_maxed",
        "_offered",
        "_partial",
        "_queue",
        "_size",
        "closing",
        "one_event",
        "replayed",
        "spoiled",
    )

    def __init__(self, one_event: bool) -> None:
        """``one_event``: no request may hold more than one."""
        self.one_event = one_event
        self.closing = SILENT
        """What became of CLOSE."""
        self.replayed = 0
        """Content bytes at the beginning of the queue that were offered before."""
        self.spoiled = False
        """Whether a message is too long; nothing behind it is taken."""
        self._queue: list[Event] = []
        self._size = 0
        self._partial: bytearray | None = None
        self._close = b""
        self._batch = 0  # messages in the latest request
        self._offered = 0  # their content bytes
        self._kept = 0  # messages at the beginning that the backend did not want when it was asked last
        self._maxed = False  # whether the latest request left something out

    # ---- what goes in --------------------------------------------------------------------------------------

    def add(self, kind: int, data: bytes, first: bool, last: bool) -> None:
        """A piece of a message, or a whole PING or PONG."""
        if self.closing or self.spoiled:
            return
        if kind > BINARY or (first and last):
            self._append(kind, data)
            return
        partial = self._partial
        if partial is None:
            partial = self._partial = bytearray()
        partial += data
        if last:
            self._partial = None
            self._append(kind, bytes(partial))
        elif len(partial) > MAX_QUEUED:
            self._spoil()

    def _append(self, kind: int, data: bytes) -> None:
        if len(data) > MAX_QUEUED:
            self._spoil()
            return
        self._queue.append((kind, data))
        self._size += len(data) + OVERHEAD

    def _spoil(self) -> None:
        self.spoiled = True
        self._partial = None

    def close(self, code: int | None, reason: bytes) -> None:
        """CLOSE, behind what is complete."""
        if not self.closing:
            self.closing = SAID
            self._close = encode_close(code, reason)
            self._partial = None

    def clear(self) -> None:
        """Nothing of all this will be asked for any more; ``replayed`` stays."""
        self._queue.clear()
        self._partial = None
        self._size = self._kept = 0

    @property
    def congested(self) -> bool:
        """Whether nothing more should be read from the client."""
        return self.spoiled or self._size + len(self._partial or b"") >= MAX_QUEUED

    # ---- what comes out ------------------------------------------------------------------------------------

    @property
    def fresh(self) -> bool:
        """Whether there is something that the backend was not asked to take yet."""
        return len(self._queue) > self._kept or self.closing == SAID

    def take(self) -> bytes:
        """The body of the next request: what waits, or a part of it; it waits on until ``accept``."""
        queue = self._queue
        batch = min(1, len(queue)) if self.one_event else len(queue)
        events = [encode_event(kind, data) for kind, data in queue[:batch]]
        self._batch = batch
        self._offered = sum(len(data) for _, data in queue[:batch])
        left_out = batch < len(queue)
        if self.closing:
            if not (left_out or (self.one_event and batch)):
                self.closing = OFFERED
                events.append(encode_event(CLOSE, self._close))
            else:
                self.closing = SAID
                left_out = True
        self._maxed = left_out or self._partial is not None
        return b"".join(events)

    def accept(self, accepted: int | None) -> None:
        """The backend took ``accepted`` content bytes of the latest request; None when it took everything.

        After partial acceptance of the messages, CLOSE counts as not sent: ``closing`` is ``OFFERED`` still.

        :raises WireError: it took more than there was, half a CLOSE, or nothing where there was more to come.
        """
        offered = self._offered
        close = len(self._close) if self.closing == OFFERED else 0
        if accepted is None:
            accepted = offered + close
        elif accepted > offered + close:
            raise WireError("more accepted than offered")
        elif not accepted and offered and self._maxed:
            raise WireError("no progress")
        elif offered <= accepted < offered + close:
            raise WireError("CLOSE accepted in part")
        taken = min(accepted, offered)
        if self.closing == OFFERED and taken == offered:
            self.closing = DELIVERED
        self.replayed = offered - taken
        self._remove(taken)
        self._offered = 0

    def _remove(self, taken: int) -> None:
        """Of the latest request's messages, those that were taken and empty ones behind them go; what is left
        of the next one is a message of its own."""
        queue, gone = self._queue, 0
        while gone < self._batch and len(queue[gone][1]) <= taken:
            taken -= len(queue[gone][1])
            self._size -= len(queue[gone][1]) + OVERHEAD
            gone += 1
        del queue[:gone]
        self._kept = self._batch - gone
        self._batch = 0
        if taken:
            kind, data = queue[0]
            queue[0] = (kind, data[taken:])
            self._size -= taken

    def repeat_close(self) -> None:
        """CLOSE is to be sent again."""
        if self.closing:
            self.closing = SAID
