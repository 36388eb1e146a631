"""A clock that stands still until a test moves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor, task
from twisted.internet.interfaces import IDelayedCall


class StillClock(task.Clock):
    """``task.Clock`` for a service with real sockets.

    Timeouts wait for ``advance``; what is to happen "in the next turn" (delay 0) happens in the next turn of
    the real reactor, for that is no matter of time.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        super().__init__()
        self.rightNow = start

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: Any, **kwargs: Any
    ) -> IDelayedCall:
        if delay <= 0:
            return reactor.callLater(0, callable, *args, **kwargs)
        return super().callLater(delay, callable, *args, **kwargs)
