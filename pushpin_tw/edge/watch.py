"""All clients of a process: which there are, and which have waited or been silent for too long (proxy 8.6).

Used by connections, which report their own changes, and by the listeners, which count and stop them.  Never
reads or writes a client's bytes.

A timer entry for each client would stay in the wheel until its time has come, long after a short connection
has ended.  Everybody waits equally long here, so one ordered mapping and one entry of the wheel serve all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pushpin_tw.wheel import Wheel

LINGER = 2.0
"""Seconds that a client has, at most, to take the end of a closing connection."""
ROUNDS = 30
"""How often within the silence timeout the silent are looked for."""


class Deadlines:
    """Things that all wait equally long: who began first is due first."""

    __slots__ = ("_call", "_delay", "_waiting", "_wheel", "due", "slot")

    def __init__(self, wheel: Wheel, delay: float, call: Callable[[Any], None]) -> None:
        """``call(thing)`` follows ``delay`` seconds after ``add(thing)``, unless it was dropped."""
        self._wheel = wheel
        self._delay = delay
        self._call = call
        self._waiting: dict[Any, float] = {}
        self.due = 0
        self.slot = 0

    def add(self, thing: Any) -> None:
        """Begin to wait; who waits already is not given more time."""
        if thing not in self._waiting:
            self._waiting[thing] = self._wheel.seconds() + self._delay
            if not self.due:
                self._wheel.schedule(self, self._delay)

    def drop(self, thing: Any) -> None:
        """Wait no more; harmless for who does not."""
        self._waiting.pop(thing, None)

    def configure(self, delay: float) -> None:
        """Who begins to wait from now on waits so long, but not less than those before."""
        self._delay = delay

    def hand_over(self, other: Deadlines) -> None:
        """Everybody waits there instead, from now on."""
        waiting, self._waiting = self._waiting, {}
        self._wheel.cancel(self)
        for thing in waiting:
            other.add(thing)

    def expired(self) -> None:
        """Called by the wheel when the first may be due."""
        now = self._wheel.seconds()
        due = []
        for thing, deadline in self._waiting.items():
            if deadline > now:
                self._wheel.schedule(self, deadline - now)
                break
            due.append(thing)
        for thing in due:
            self.drop(thing)
            self._call(thing)

    def __len__(self) -> int:
        return len(self._waiting)


class Watch:
    """The clients, seen from above.

    A connection has the attributes ``busy``, ``active`` and ``since`` (see ``edge.connection``) and the
    methods ``close()``, ``drop()`` and ``overdue()``.
    """

    def __init__(
        self, wheel: Wheel, head_timeout: float, silence_timeout: float, left: Callable[[], None]
    ) -> None:
        """Timeouts in seconds; ``left()`` is called whenever a client has gone."""
        self.live: set[Any] = set()
        self.idle = Deadlines(wheel, head_timeout, lambda connection: connection.close())
        self.leaving = Deadlines(wheel, LINGER, lambda connection: connection.overdue())
        self.resigned = False
        """Whether connections are kept alive no longer."""
        self.seconds = wheel.seconds
        self._wheel = wheel
        self._silence = silence_timeout
        self._left = left
        self.due = 0
        self.slot = 0

    def enter(self, connection: Any) -> None:
        """A client has come; it has ``head_timeout`` seconds for its first request."""
        self.live.add(connection)
        self.idle.add(connection)
        if not self.due:
            self._wheel.schedule(self, self._silence / ROUNDS)

    def configure(self, head_timeout: float, silence_timeout: float) -> None:
        """Other timeouts, in seconds, from now on."""
        if not self.resigned:
            self.idle.configure(head_timeout)
        self._silence = silence_timeout
        if self.live:
            self._wheel.schedule(self, silence_timeout / ROUNDS)

    def resign(self, grace: float, silent: Callable[[Any], None]) -> None:
        """From now on no connection is to be kept alive; ``silent(connection)`` follows for those on which
        nothing is asked for ``grace`` seconds."""
        self.resigned = True
        idle, self.idle = self.idle, Deadlines(self._wheel, grace, silent)
        idle.hand_over(self.idle)

    def leave(self, connection: Any) -> None:
        """It has gone."""
        self.live.discard(connection)
        self.idle.drop(connection)
        self.leaving.drop(connection)
        self._left()

    def expired(self) -> None:
        """A round: who is being answered without having been sent anything for too long?

        Delivering only sets a flag, so that delivering to thousands does not ask for the time; a client is
        dropped at most one round late.
        """
        if not self.live:
            return
        self._wheel.schedule(self, self._silence / ROUNDS)
        now = self._wheel.seconds()
        for connection in tuple(self.live):
            if connection.active:
                connection.active = False
                connection.since = now
            elif connection.busy and now - connection.since >= self._silence:
                connection.drop()
