"""Single requests of holds whose answers are short: gone links, and what filters ask (grip 10.6, 13.6).

Made by ``refetch``.  Each is bounded in time and in the size of its answer, and never retried.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pushpin_tw.errors import FilterError, GripError, OriginError, OriginTimeout
from pushpin_tw.proxy.subrequest import LinkRoom, Order, SubRequest, decoded
from pushpin_tw.wire.message import Response

PATIENCE = 10.0
"""Seconds that a filter's request may take."""
BURST = 3
"""Requests of filters to one URL that start within ``PERIOD``."""
PERIOD = 0.025
"""Seconds."""
MAX_WAITING = 10_000
"""Requests of filters that wait for their turn, all URLs together."""

Done = Callable[[Any], None]


def failure(text: str) -> FilterError:
    """What a filter could not do."""
    return FilterError(f"filter error: {text}")


class Errand(SubRequest):
    """One request whose whole answer is handed over at the end."""

    __slots__ = ("_body", "_done", "_limit", "_patience", "due", "pace", "slot")

    def __init__(self, room: LinkRoom, order: Order, limit: int, patience: float, done: Done) -> None:
        """``done`` is told as ``ILinks.ask`` says."""
        super().__init__(room, order)
        self._limit = limit
        self._patience = patience
        self._done = done
        self._body = bytearray()
        self.pace: Pace | None = None
        """Where it waits for its turn."""
        self.due = 0
        self.slot = 0

    def begin(self) -> None:
        """Its turn has come."""
        if not self.over and not self.room.closed:
            self.room.wheel.schedule(self, self._patience)
            self.send()

    def cancel(self) -> None:
        """Nobody waits for the answer."""
        if not self.over:
            self.stop()

    def stop(self) -> None:
        """As ``SubRequest``."""
        super().stop()
        self.room.wheel.cancel(self)
        if self.pace is not None:
            self.pace.leave(self)

    def refuse(self, error: FilterError) -> None:
        """There is no answer."""
        self._guarded(self._end, error)

    def expired(self) -> None:
        """The wheel's call."""
        self._guarded(self._fail, OriginTimeout("no answer in time"))

    def on_response(self, response: Response) -> None:
        """Wait for its body."""

    def on_data(self, data: bytes) -> None:
        """Gather it."""
        self._body += data
        if len(self._body) > self._limit:
            self._too_long()

    def _too_long(self) -> None:
        self._end(failure(f"network response exceeded {self._limit} bytes"))

    def on_end(self) -> None:
        """The answer is complete."""
        response = self.response
        assert response is not None
        try:
            body = decoded(response, bytes(self._body), self._limit)
        except GripError as error:
            self._end(failure(error.detail))
            return
        self._end((response.status, response.headers, body))

    def on_failure(self, error: Exception) -> None:
        """No answer."""
        kind = error.kind if isinstance(error, OriginError) else OriginError.kind
        self._end(failure(f"network request failed: {kind}"))

    def _end(self, outcome: Any) -> None:
        self.stop()
        self._done(outcome)


class _Window:
    """How many may still start, and who waits for the next time."""

    __slots__ = ("left", "waiting")

    def __init__(self) -> None:
        self.left = BURST
        self.waiting: dict[Errand, None] = {}


class Pace:
    """Lets the requests to one URL start a few at a time."""

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._later = later
        self._windows: dict[str, _Window] = {}
        self._places: dict[Errand, _Window] = {}

    def enter(self, errand: Errand) -> None:
        """``errand`` begins in a later turn of the reactor, or is refused then."""
        uri = errand.order.link.uri
        window = self._windows.get(uri)
        if window is None:
            window = self._windows[uri] = _Window()
            self._later(PERIOD, partial(self._turn, uri))
        if window.left and not window.waiting:
            window.left -= 1
            self._later(0.0, errand.begin)
        elif len(self._places) >= MAX_WAITING:
            self._later(0.0, partial(errand.refuse, failure("too many waiting requests")))
        else:
            errand.pace = self
            self._places[errand] = window
            window.waiting[errand] = None

    def leave(self, errand: Errand) -> None:
        """``errand`` waits no more."""
        window = self._places.pop(errand, None)
        if window is not None:
            del window.waiting[errand]
            errand.pace = None

    def stop(self) -> None:
        """Nobody's turn comes any more."""
        self._windows.clear()

    def _turn(self, uri: str) -> None:
        window = self._windows.get(uri)
        if window is None:
            return
        if not window.waiting and window.left == BURST:
            del self._windows[uri]
            return
        window.left = BURST
        self._later(PERIOD, partial(self._turn, uri))
        while window.left and window.waiting:
            errand = next(iter(window.waiting))
            self.leave(errand)
            window.left -= 1
            errand.begin()
