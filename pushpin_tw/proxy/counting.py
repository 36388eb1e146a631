"""What statistics know of a WebSocket while it is open (zeromq 5.2).

Used by the tunnel, which is one of these.  Where figures go is behind ``figures.ITally``.
"""

from __future__ import annotations

from typing import Any

ACTIVE = 60
"""Seconds after which the messages of a WebSocket count as activity again."""


class CountedSocket:
    """A WebSocket that is open, as statistics know it: an ``ICounted``, but for ``refresh``."""

    __slots__ = ("_active", "address", "cohort", "number", "secure")

    kind = "ws"

    def __init__(self) -> None:
        self.cohort: Any = None

    def counted(self, opening: Any) -> None:
        """From now on this is what ``opening``, an ``ICounted`` with a cohort, was."""
        self.number: int = opening.number
        self.address: str = opening.address
        self.secure: bool = opening.secure
        self.cohort, opening.cohort = opening.cohort, None
        self._active: int = self.cohort.tally.second
        self.cohort.tally.passed(self)

    def from_client(self, size: int, last: bool) -> None:
        """A piece of a message has passed."""
        if self.cohort is not None:
            self._act()
            self.cohort.counts.from_client(size, last)

    def from_origin(self, size: int, last: bool) -> None:
        """The same in the other direction."""
        if self.cohort is not None:
            self._act()
            self.cohort.counts.from_server(size, last)

    def _act(self) -> None:
        tally = self.cohort.tally
        if tally.second - self._active >= ACTIVE:
            self._active = tally.second
            tally.active(self.cohort.counts.route)

    def ended(self) -> None:
        """The client has gone; may be told again."""
        if self.cohort is not None:
            self.cohort.tally.closed(self)
