"""Filters that origins attach to channels, and how several of them work on one item (grip 13).

Called by holds for every item on a channel with filters, and by the proxy for the bodies of instructions.
Filters that wait for somebody call back later; all others answer within the call, and cost no more than it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from pushpin_tw.errors import FilterError
from pushpin_tw.grip.item import Item
from pushpin_tw.grip.terms import Channel

Outcome = bytes | FilterError | None
"""Content to go on with, or why there is none; None drops the item."""
Done = Callable[[Outcome], None]


class FilterSession(Protocol):
    """A hold, as filters see it."""

    meta: Mapping[str, str]
    """What the origin noted about the client."""
    uri: str
    """Where the instructions in force came from."""

    @property
    def place(self) -> Any:
        """For requests of its own (``grip.terms.LinkRequest``)."""

    @property
    def links(self) -> Any:
        """ILinks."""

    def positions(self) -> dict[str, str | None]:
        """The position on every channel that is subscribed; None where it is not tracked."""


class FilterContext:
    """One item for one hold."""

    __slots__ = ("channel", "item", "session")

    def __init__(self, session: FilterSession, item: Item, channel: str) -> None:
        self.session = session
        self.item = item
        self.channel = channel
        """As the origin calls it, without the route's prefix."""


class FilterChain:
    """The filters of one channel, in order; shared by all holds that have the same."""

    __slots__ = ("_filters", "content_names")

    def __init__(self, filters: tuple[Any, ...]) -> None:
        self._filters = filters
        self.content_names = tuple(one.name for one in filters if "message" in one.targets)
        """Those that may change an item's content (grip 13.5)."""

    def run(self, context: FilterContext, content: bytes, done: Done) -> Any:
        """Let all filters look at ``content``, each at what the one before has made of it.

        Calls ``done`` once, perhaps within this call.  Returns None, or an object whose ``cancel()`` calls it
        off.  What a filter raises goes on to the caller, and ``done`` is not called then.
        """
        if len(self._filters) == 1:
            only = self._filters[0]
            return only.start(context, content, lambda outcome: done(_blanked(outcome)))
        run = Run(self._filters, context, done)
        run.go_on(content)
        return run if run.waiting else None


class Run:
    """One item on its way through several filters."""

    __slots__ = ("_at", "_call", "_context", "_done", "_filters", "_going", "_outcome", "waiting")

    def __init__(self, filters: tuple[Any, ...], context: FilterContext, done: Done) -> None:
        self.waiting = True
        """Whether ``done`` may still be called."""
        self._filters = filters
        self._context = context
        self._done = done
        self._at = 0
        self._call: Any = None
        self._going = False
        self._outcome: list[Outcome] = []

    def go_on(self, content: bytes) -> None:
        """Ask one filter after the other, until one of them takes its time or the end is reached."""
        self._going = True
        try:
            while self.waiting:
                if self._at == len(self._filters):
                    self._finish(content)
                    return
                one = self._filters[self._at]
                self._at += 1
                self._call = one.start(self._context, content, self._answered)
                if not self._outcome:
                    return
                outcome = _blanked(self._outcome.pop())
                if not isinstance(outcome, bytes):
                    self._finish(outcome)
                    return
                content = outcome
        finally:
            self._going = False

    def _answered(self, outcome: Outcome) -> None:
        if not self.waiting:
            return
        if self._going:
            self._outcome.append(outcome)
            return
        outcome = _blanked(outcome)
        if isinstance(outcome, bytes):
            self.go_on(outcome)
        else:
            self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        self.waiting = False
        self._done(outcome)

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        self.waiting = False
        if self._call is not None:
            self._call.cancel()


def _blanked(outcome: Outcome) -> Outcome:
    """An item whose template is wrong is delivered without content (grip 13.3)."""
    return b"" if isinstance(outcome, FilterError) and outcome.blank else outcome


class ResponseContent:
    """The filters of a response's body (grip 13.4), fed piece by piece."""

    __slots__ = ("_stages",)

    def __init__(self, stages: list[Any]) -> None:
        self._stages = stages

    def feed(self, data: bytes) -> bytes:
        """What can be passed on after ``data``.

        :raises FilterError: with the words for the client in debug mode.
        """
        for stage in self._stages:
            data = stage.feed(data)
        return data

    def finish(self) -> bytes:
        """What is left at the end.

        :raises FilterError: as ``feed``.
        """
        rest = b""
        for stage in self._stages:
            rest = stage.feed(rest) + stage.finish()
        return rest


class Filters:
    """All filters by name."""

    def __init__(self, filters: Iterable[Any]) -> None:
        """``filters`` are ``IMessageFilter``."""
        self._filters = {one.name: one for one in filters}
        self._chains: dict[tuple[str, ...], FilterChain | None] = {}

    def chain(self, names: tuple[str, ...]) -> FilterChain | None:
        """The filters of these names, without those that are not known; None when none is."""
        known = tuple(name for name in names if name in self._filters)
        if not known:
            return None
        chain = self._chains.get(known)
        if chain is None:
            chain = self._chains[known] = FilterChain(tuple(self._filters[name] for name in known))
        return chain

    def response(self, channels: Iterable[Channel], meta: Mapping[str, str]) -> ResponseContent | None:
        """What the body of a response with such instructions goes through; None when nothing changes it."""
        names = dict.fromkeys(name for channel in channels for name in channel.filters)
        found = [self._filters[name] for name in names if name in self._filters]
        stages = [one.response(meta) for one in found if "response" in one.targets]
        return ResponseContent(stages) if stages else None
