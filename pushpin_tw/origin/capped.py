"""Limits on how many requests are under way at the same time: ``max_open_requests`` of ``[tw]`` for a target,
of ``[proxy]`` for all of them.

Put around an origin by the service where a limit is set.  A request beyond it waits in a row, first come
first served, and costs nothing but its place; how many wait is bounded by the clients who have asked.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import OriginError
from pushpin_tw.interfaces import IOrigin, IOriginCall, IOriginSink
from pushpin_tw.wire.message import OriginRequest, Response

MAX_KEPT = 65536
"""Bytes of a waiting request's body after which no more of it is wanted."""


class Row:
    """Requests that are under way and those that wait for it, of one target or of several."""

    def __init__(self, cap: int) -> None:
        """``cap``: requests under way at the same time, at least 1."""
        self._cap = cap
        self._open = 0
        self._waiting: OrderedDict[CappedCall, None] = OrderedDict()
        self._serving = False

    def add(self, call: CappedCall) -> None:
        """``call`` begins when its turn comes, which may be now."""
        self._waiting[call] = None
        self._serve()

    def ended(self, call: CappedCall) -> None:
        """``call`` is over, or wants no turn any more."""
        if call in self._waiting:
            del self._waiting[call]
        else:
            self._open -= 1
            self._serve()

    def _serve(self) -> None:
        """Begin as many as may be; not from within itself, since an origin may answer at once."""
        if self._serving:
            return
        self._serving = True
        try:
            while self._waiting and self._open < self._cap:
                call, _ = self._waiting.popitem(last=False)
                self._open += 1
                call.begin()
        finally:
            self._serving = False


@implementer(IOrigin)
class CappedOrigin:
    """An ``IOrigin`` that asks another one, a limited number of times at once."""

    def __init__(self, origin: Any, row: Row, stats: Any) -> None:
        """``row`` is shared by all origins that the limit is for; ``stats`` is an ``IStatsSink``."""
        self.origin = origin
        self.row = row
        self.stats = stats

    def fetch(self, request: OriginRequest, sink: Any) -> CappedCall:
        """As ``IOrigin``."""
        call = CappedCall(self, request, sink)
        self.row.add(call)
        return call

    def connect(self, handshake: Any, sink: Any) -> Any:
        """As ``IOrigin``; a WebSocket stays for hours and takes nobody's place."""
        return self.origin.connect(handshake, sink)


@implementer(IOriginCall, IOriginSink)
class CappedCall:
    """One request, which waits for its turn; then everything passes through."""

    __slots__ = ("_call", "_finished", "_kept", "_origin", "_over", "_paused", "_request", "_sink")

    def __init__(self, origin: CappedOrigin, request: OriginRequest, sink: Any) -> None:
        self._origin = origin
        self._request = request
        self._sink = sink
        self._call: Any = None
        """The call that is under way; None while it waits."""
        self._kept = bytearray()
        self._finished = False
        self._paused = False
        self._over = False

    def begin(self) -> None:
        """Its turn has come."""
        try:
            call = self._origin.origin.fetch(self._request, self)
        except Exception:
            self._origin.stats.failure("origin")
            self.failed(OriginError("unexpected error"))
            return
        if self._over:
            call.cancel()  # it has answered or was cancelled already
            return
        crowded = self.congested
        self._call = call
        if self._paused:
            call.pause()
        if self._kept:
            kept = bytes(self._kept)
            self._kept.clear()
            call.write(kept)
        if self._finished and not self._over:
            call.finish()
        elif crowded and not self._over and not call.congested:
            self._sink.origin_drained()

    def _end(self, unwanted: bool = False) -> None:
        """No more calls either way, and room for the next, which must not meet this one at the origin."""
        if self._over:
            return
        self._over = True
        call, self._call = self._call, None
        self._kept.clear()
        if unwanted and call is not None:
            call.cancel()
        self._origin.row.ended(self)

    # ---- IOriginCall ---------------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """As ``IOriginCall``."""
        return len(self._kept) >= MAX_KEPT if self._call is None else bool(self._call.congested)

    def write(self, data: bytes) -> None:
        """As ``IOriginCall``."""
        if self._call is not None:
            self._call.write(data)
        elif not self._over:
            self._kept += data

    def finish(self) -> None:
        """As ``IOriginCall``."""
        self._finished = True
        if self._call is not None:
            self._call.finish()

    def pause(self) -> None:
        """As ``IOriginCall``."""
        self._paused = True
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        """As ``IOriginCall``."""
        self._paused = False
        if self._call is not None:
            self._call.resume()

    def cancel(self) -> None:
        """As ``IOriginCall``."""
        self._end(unwanted=True)

    # ---- IOriginSink ---------------------------------------------------------------------------------------

    def _tell(self, method: str, *values: Any) -> None:
        """A sink with a bug does not keep its place for ever."""
        if self._over:
            return
        try:
            getattr(self._sink, method)(*values)
        except Exception:
            self._origin.stats.failure("origin")
            self.cancel()

    def responded(self, response: Response) -> None:
        """As ``IOriginSink``."""
        self._tell("responded", response)

    def received(self, data: bytes) -> None:
        """As ``IOriginSink``."""
        self._tell("received", data)

    def settled(self) -> None:
        """As ``IOriginSink``."""
        self._tell("settled")

    def finished(self) -> None:
        """As ``IOriginSink``."""
        self._tell("finished")
        self._end()

    def failed(self, error: Exception) -> None:
        """As ``IOriginSink``."""
        self._tell("failed", error)
        self._end()

    def origin_drained(self) -> None:
        """As ``IOriginSink``."""
        self._tell("origin_drained")
