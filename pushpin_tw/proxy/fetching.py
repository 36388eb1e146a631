"""A next link that is being fetched, once for everybody who waits for the same (grip 10.2 to 10.4).

Made by ``refetch``.  A ``Fetch`` reads the response, filters its body and passes it on; a ``LinkCall`` is the
part of one hold in it.  Never retries and never decides what an instruction leads to: that is the hold's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import GripError, OriginError
from pushpin_tw.grip.instruct import Instruct, parse_instruct
from pushpin_tw.grip.terms import MAX_BODY
from pushpin_tw.interfaces import ILinkCall
from pushpin_tw.proxy.convoy import Convoy, Fellow
from pushpin_tw.proxy.subrequest import LinkRoom, Order, SubRequest, codings, decoded
from pushpin_tw.wire.message import Response

MAX_KEPT = 100_000
"""Bytes of a body that are kept for those who join later; beyond, nobody joins."""
FAILED = "Failed to retrieve next link."
NOT_A_STREAM = "Next link returned non-stream hold."


@implementer(ILinkCall)
class LinkCall(Fellow):
    """What one sink has to do with a fetch."""

    __slots__ = ("_fetch", "_opened", "sink")

    def __init__(self, fetch: Fetch, sink: Any) -> None:
        super().__init__(fetch.convoy)
        self.sink = sink
        """None when it wants no more, or was told the end."""
        self._fetch = fetch
        self._opened = False

    def pause(self) -> None:
        """As ``ILinkCall``."""
        if self.sink is not None:
            self.convoy.slow(self)

    def resume(self) -> None:
        """As ``ILinkCall``."""
        if self.sink is not None:
            self.convoy.ready(self)

    def cancel(self) -> None:
        """As ``ILinkCall``."""
        if self.sink is not None:
            self.sink = None
            self._fetch.left(self)

    # ---- for the fetch -------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Tell what there was before; harmless when that was done."""
        instruct = self._fetch.instruct
        if self.sink is None or self._opened or instruct is None:
            return
        self._opened = True
        self._tell(lambda sink: sink.link_opened(instruct))
        kept = self._fetch.kept
        if kept:
            self._tell(lambda sink: sink.link_received(bytes(kept)))

    def receive(self, data: bytes) -> None:
        """More of the body."""
        self.catch_up()
        self._tell(lambda sink: sink.link_received(data))

    def finish(self) -> None:
        """The body is complete; the last word."""
        self.catch_up()
        self._tell(lambda sink: sink.link_finished(), last=True)

    def fail(self, error: GripError | None) -> None:
        """The last word."""
        self._tell(lambda sink: sink.link_failed(error), last=True)

    def _tell(self, say: Callable[[Any], None], last: bool = False) -> None:
        """A sink with a bug is dropped; others do not notice."""
        sink = self.sink
        if sink is None:
            return
        if last:
            self.cancel()
        try:
            say(sink)
        except Exception:
            self._fetch.room.stats.failure("next link")
            self.cancel()
            self._drop(sink)

    def _drop(self, sink: Any) -> None:
        abort = getattr(sink, "abort", None)
        if abort is not None:
            try:
                abort()
            except Exception:
                self._fetch.room.stats.failure("next link")


class Fetch(SubRequest):
    """One GET, and everybody who waits for it."""

    __slots__ = (
        "_content",
        "_forget",
        "_gathered",
        "_size",
        "convoy",
        "instruct",
        "kept",
        "number",
    )

    def __init__(self, room: LinkRoom, order: Order, forget: Callable[[Fetch], None]) -> None:
        """``forget`` is called, perhaps more than once, when nobody may join any more."""
        super().__init__(room, order)
        self.number: int | None = None
        """How many requests were sent before this one; None until it is sent."""
        self.convoy = Convoy(room.wheel, self.hold_up, self._cut)
        """The ``LinkCall`` of everybody who waits."""
        self.instruct: Instruct | None = None
        """What the head says; None until it has come."""
        self.kept: bytearray | None = bytearray()
        """What was passed on so far; None when that is too much to be kept."""
        self._content: Any = None
        self._gathered: bytearray | None = None
        self._size = 0
        self._forget = forget

    def join(self, sink: Any) -> LinkCall:
        """One more who waits; the sink is not called now."""
        call = LinkCall(self, sink)
        if self.instruct is not None:
            self.room.later(0.0, call.catch_up)
        self.convoy.join(call)
        return call

    def left(self, call: LinkCall) -> None:
        """``call`` is over; with the last one, the fetch is."""
        self.convoy.leave(call)
        if not self.convoy.fellows:
            self._forget(self)
            self.stop()

    def _cut(self, call: LinkCall) -> None:
        """``call`` has kept the others waiting for too long."""
        call.fail(GripError(FAILED))

    # ---- the response --------------------------------------------------------------------------------------

    def on_response(self, response: Response) -> None:
        """Read the instructions, before the status is looked at."""
        try:
            instruct = parse_instruct(response, b"", self.order.link.uri)
        except GripError as error:
            self._end(error)
            return
        if instruct.mode == "response":
            self._end(GripError(NOT_A_STREAM))
        elif not 200 <= response.status <= 299:
            self._end(None)
        else:
            if codings(response):
                self._gathered = bytearray()
            self._content = self.room.filters.response(instruct.channels, instruct.meta)
            self.instruct = instruct
            for call in tuple(self.convoy.fellows):
                call.catch_up()

    def on_data(self, data: bytes) -> None:
        """Pass it on, or gather what is encoded."""
        self._size += len(data)
        if self._gathered is None:
            self._pass(data)
            return
        self._gathered += data
        if len(self._gathered) > MAX_BODY:
            self._end(GripError("response body is too large to be decoded"))

    def _pass(self, data: bytes) -> None:
        if self._content is not None:
            try:
                data = self._content.feed(data)
            except GripError as error:
                self._end(error)
                return
        self._spread(data)

    def _spread(self, data: bytes) -> None:
        if not data or self.over:
            return
        for call in tuple(self.convoy.fellows):
            call.receive(data)
        if self.kept is None:
            return
        self.kept += data
        if len(self.kept) > MAX_KEPT:
            for call in tuple(self.convoy.fellows):
                call.catch_up()  # who came within this very turn
            self.kept = None
            self._forget(self)

    def on_end(self) -> None:
        """All of it was fetched."""
        if self._gathered is not None:
            assert self.response is not None
            try:
                plain = decoded(self.response, bytes(self._gathered), MAX_BODY)
            except GripError as error:
                self._end(error)
                return
            self._pass(plain)
        if self._content is not None and not self.over:
            try:
                rest = self._content.finish()
            except GripError as error:
                self._end(error)
                return
            self._spread(rest)
        if not self.over:
            self._log()
            self._forget(self)
            for call in tuple(self.convoy.fellows):
                call.finish()

    def on_failure(self, error: Exception) -> None:
        """There is no more.  What could not be sent at all will not be better the next time."""
        self._end(None if isinstance(error, OriginError) else GripError(FAILED))

    def _end(self, error: GripError | None) -> None:
        """Whoever waits does so in vain."""
        self.stop()
        self._log()
        self._forget(self)
        for call in tuple(self.convoy.fellows):
            call.fail(error)

    def _log(self) -> None:
        stats, link = self.room.stats, self.order.link
        if self.response is not None and stats.wants_holds:
            stats.linked(self.order.method, link.uri, self.response.status, self._size)
