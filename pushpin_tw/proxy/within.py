"""What is special about being called back: within one's own call, after the end, and with a bug at hand.

Used by the exchange.  An origin of this process may answer within ``fetch``, when there is no call yet that
could be told that nobody listens any more.  Never knows what is said.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")


class Guarded(Protocol):
    """Whoever answers a client."""

    responder: Any
    """None when that is over."""

    def crash(self) -> None:
        """Called within an ``except`` block."""


G = TypeVar("G", bound=Guarded)


def guarded(method: Callable[Concatenate[G, P], None]) -> Callable[Concatenate[G, P], None]:
    """A bug in ``method`` costs this one client, nobody else; once that is over the method does nothing."""

    def call(self: G, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.responder is None:
            return
        try:
            method(self, *args, **kwargs)
        except Exception:
            self.crash()

    return update_wrapper(call, method)


class NotYet:
    """Stands for a call to an origin while ``fetch`` has not returned."""

    congested = False

    def write(self, data: bytes) -> None:
        """Nobody listens yet."""

    finish = pause = resume = cancel = lambda self: None


NOT_YET = NotYet()
