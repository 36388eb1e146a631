"""The body of a request that came over ZHTTP (``IBody``): read at the pace of whoever wants it.

Made by ``edge.zhttprequest`` for requests that have one.  What was read gives credits back; what nobody reads
waits here, as much as there were credits for.
"""

from __future__ import annotations

from typing import Any, Protocol

from zope.interface import implementer

from pushpin_tw.interfaces import IBody

MAX_WAITING = 2_000_000
"""Bytes that wait at most: ten times what there are credits for."""


class BodySession(Protocol):
    """The request that it belongs to."""

    def guard(self, call: Any, *values: Any) -> None:
        """Call into another room."""

    def was_read(self, amount: int) -> None:
        """So many bytes are behind us."""


@implementer(IBody)
class AskedBody:
    """Bytes on their way from a program."""

    __slots__ = ("_ended", "_expected", "_paused", "_session", "_sink", "_waiting", "_wanted")

    def __init__(self, session: BodySession, length: int | None) -> None:
        """``length``: how long it is to be; None when that was not said."""
        self._session = session
        self._expected = length
        """What is still to come."""
        self._sink: Any = None
        self._wanted = True
        self._paused = False
        self._ended = False
        """All of it has come."""
        self._waiting = bytearray()

    # ---- for whoever wants the body (IBody) ----------------------------------------------------------------

    def begin(self, sink: Any) -> None:
        """As ``IBody``."""
        if self._wanted and self._sink is None:
            self._sink = sink
            self._pass_on()

    def pause(self) -> None:
        """As ``IBody``."""
        self._paused = True

    def resume(self) -> None:
        """As ``IBody``."""
        self._paused = False
        self._pass_on()

    def abandon(self) -> None:
        """As ``IBody``."""
        self._wanted = False
        self._sink = None
        self._waiting.clear()

    # ---- for the session -----------------------------------------------------------------------------------

    def arrived(self, data: bytes, more: bool) -> bool:
        """Bytes came, the last ones unless there are ``more``; whether that can be."""
        if self._expected is not None:
            self._expected -= len(data)
            if self._expected < 0 or (self._expected and not more):
                return False
        self._ended = not more
        if self._wanted:
            self._waiting += data
            self._pass_on()
        return True

    @property
    def complete(self) -> bool:
        """Whether all of it has come."""
        return self._ended

    @property
    def too_much(self) -> bool:
        """Whether more waits than there can have been credits for."""
        return len(self._waiting) > MAX_WAITING

    def _pass_on(self) -> None:
        """Tell the sink what waits, unless it does not listen."""
        while self._sink is not None and not self._paused and self._waiting:
            data = bytes(self._waiting)
            self._waiting.clear()
            self._session.guard(self._sink.body_received, data)
            self._session.was_read(len(data))
        if self._ended and self._sink is not None and not self._paused and not self._waiting:
            sink, self._sink = self._sink, None
            self._wanted = False
            self._session.guard(sink.body_finished)
