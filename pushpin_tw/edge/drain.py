"""Clients leave before the process does, each with a proper end, a few at a time.

Made by ``edge.listener`` when nobody comes in any more.  Everybody who is held comes back, to another process
or to this one's successor, and not all are to do so in one moment.  Never ends a request whose answer is
still being asked for: it is left to itself until time is up.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from pushpin_tw.edge.watch import LINGER, Watch

GRACE = 1.0
"""Seconds for which a kept-alive connection still takes a request: clients use one that they believe to be
open, and what they send on it while it closes is lost."""
SETTLING = 0.25
"""Seconds after the last client that what was said to origins has for leaving."""


class Drain:
    """An entry of the timer wheel, due several times a second."""

    def __init__(self, watch: Watch, services: Any, seconds: float) -> None:
        """``seconds``: until the last held client is told; what has not ended ``LINGER`` seconds later is
        left to whoever stops the listeners."""
        self.done: Deferred[None] = Deferred()
        """Fires when there is nobody left, or time is up."""
        self._watch = watch
        self._services = services
        self._seconds = seconds
        self._began = 0.0
        self._row: list[Any] = []
        """Clients in the order of their turns, the last one first."""
        self._total = 0
        self._asked: list[Any] = []
        """Those whose turn has come, but who were in the middle of something."""
        self._silent: list[Any] = []
        self.due = 0
        self.slot = 0

    def start(self) -> None:
        """Begin.  Answers that have not begun say that the connection ends behind them."""
        watch = self._watch
        self._began = watch.seconds()
        self._row = list(watch.live)
        self._total = len(self._row)
        self._services.random.shuffle(self._row)
        watch.resign(min(GRACE, self._seconds), self._be_silent)
        for connection in self._row:
            connection.resign()
        self._go_on()

    def left(self) -> None:
        """A client has gone."""
        if not self._watch.live and self.due:
            self._services.wheel.cancel(self)
            if self._total:
                self._services.clock.callLater(SETTLING, self._end)
            else:
                self._end()

    def expired(self) -> None:
        """The wheel's call."""
        passed = self._watch.seconds() - self._began
        if passed >= self._seconds + LINGER:
            self._end()
            return
        left = round(self._total * max(0.0, 1 - passed / self._seconds))
        self._asked += self._row[left:]
        del self._row[left:]
        self._asked = [
            connection for connection in self._asked if not connection.closing and not connection.retire()
        ]
        self._go_on()

    def _go_on(self) -> None:
        self._services.wheel.schedule(self, 0.0)
        self.left()

    def _end(self) -> None:
        self._row, self._asked = [], []
        self.done.callback(None)

    def _be_silent(self, connection: Any) -> None:
        """Nobody has asked for anything; but what the socket has received by now is looked at first."""
        self._silent.append(connection)
        if len(self._silent) == 1:
            self._services.reactor.callLater(0, self._close_silent)

    def _close_silent(self) -> None:
        silent, self._silent = self._silent, []
        for connection in silent:
            if connection.talk is None:
                connection.close()
