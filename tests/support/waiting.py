"""Waiting for a state, never for a time.

Every wait of the support modules ends here, so that a test which waits in vain fails with words that say
what did not happen instead of hanging.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred, TimeoutError

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds of real time after which a state is not expected any more."""


class Waited(AssertionError):
    """The state did not come."""


async def within(deferred: Deferred[T], what: str, seconds: float = PATIENCE) -> T:
    """The result of ``deferred``; fails with ``what`` when it does not come."""
    deferred.addTimeout(seconds, reactor)
    try:
        return await deferred
    except TimeoutError:
        raise Waited(f"waited {seconds:g} s for {what}") from None


async def turn() -> None:
    """Let the reactor go round once."""
    await task.deferLater(reactor, 0)


async def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for a condition that nobody announces."""
    limit = reactor.seconds() + seconds
    while not condition():
        if reactor.seconds() > limit:
            raise Waited(f"waited {seconds:g} s for {what}")
        await turn()


class Bell:
    """Wakes everybody who waits for something to change."""

    def __init__(self) -> None:
        self._sleepers: list[Deferred[None]] = []

    def ring(self) -> None:
        """Something changed."""
        sleepers, self._sleepers = self._sleepers, []
        for sleeper in sleepers:
            if not sleeper.called:
                sleeper.callback(None)

    def wait(self) -> Deferred[None]:
        """Fires at the next ring."""
        sleeper: Deferred[None] = Deferred()
        self._sleepers.append(sleeper)
        return sleeper
