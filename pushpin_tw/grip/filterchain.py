"""How filters are run, one after the other: over an item for one hold, over the body of a response (grip 13).

Called by holds and by the proxy, which import it from ``filters``.  This is on the way of every item to every
hold with filters: those that answer at once cost a call each, and nothing is made for them.  Never knows a
filter by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, ClassVar, Protocol

from zope.interface import implementer

from pushpin_tw.errors import FilterError
from pushpin_tw.extensions import IMessageFilter
from pushpin_tw.grip.item import Item

Outcome = bytes | FilterError | None
"""Content to go on with, or why there is none; None drops the item."""
Done = Callable[[Outcome], None]


class FilterSession(Protocol):
    """A hold, as filters see it."""

    meta: Mapping[str, str]
    """What the origin noted about the client; keys without value are left out."""
    uri: str
    """Where the instructions in force came from."""

    @property
    def place(self) -> Any:
        """For requests of its own (``grip.terms.LinkRequest``)."""

    @property
    def links(self) -> Any:
        """ILinks."""

    def positions(self) -> dict[str, str | None]:
        """A new dict of the positions before the item on all channels that are subscribed, by the origin's
        names; None where it is not tracked."""


class FilterContext:
    """One item for one hold."""

    __slots__ = ("channel", "item", "session")

    def __init__(self, session: FilterSession, item: Item, channel: str) -> None:
        self.session = session
        self.item = item
        self.channel = channel
        """As the origin calls it, without the route's prefix."""


class ContentStage(Protocol):
    """What a filter makes of the body of one response."""

    def feed(self, data: bytes) -> bytes:
        """What can be passed on after ``data``; raises ``FilterError``."""

    def finish(self) -> bytes:
        """What is left at the end; raises ``FilterError``."""


@implementer(IMessageFilter)
class InstantFilter(ABC):
    """A filter that answers at once: a subclass has ``name``, ``targets`` and ``apply``."""

    name: ClassVar[str]
    targets: ClassVar[frozenset[str]]

    @abstractmethod
    def apply(self, context: FilterContext, content: bytes) -> bytes | None:
        """The content to go on with; None drops the item.

        :raises FilterError: as ``IMessageFilter``.
        """

    def start(self, context: FilterContext, content: bytes, done: Done) -> None:
        """As ``IMessageFilter``."""
        try:
            outcome: Outcome = self.apply(context, content)
        except FilterError as error:
            outcome = error
        done(outcome)


class FilterChain:
    """The filters of one channel, in order; shared by all holds that have the same."""

    __slots__ = ("_filters", "_instant", "content_names")

    def __init__(self, filters: Iterable[Any]) -> None:
        """``filters`` are ``IMessageFilter``."""
        self._filters = tuple(filters)
        self._instant: tuple[Callable[[FilterContext, bytes], bytes | None], ...] | None = None
        if all(isinstance(one, InstantFilter) for one in self._filters):
            self._instant = tuple(one.apply for one in self._filters)
        self.content_names = tuple(one.name for one in self._filters if "message" in one.targets)
        """Those that may change an item's content (grip 13.5)."""

    def run(self, context: FilterContext, content: bytes, done: Done) -> Run | None:
        """Let each filter look at what the one before has made of ``content``.

        Calls ``done`` once, perhaps within this call.  Returns None, or an object whose ``cancel()`` calls
        it off.  What a filter raises by mistake goes on to the caller, and ``done`` is not called then; a
        filter that makes its mistake later ends the run with a ``FilterError``, and what it raises goes on to
        whoever had let the filters continue.
        """
        if self._instant is None:
            return Run(self._filters, context, done).begin(content)
        for apply in self._instant:
            try:
                outcome = apply(context, content)
            except FilterError as error:
                if not error.blank:
                    done(error)
                    return None
                outcome = b""
            if outcome is None:
                done(None)
                return None
            content = outcome
        done(content)
        return None


class _Waiting(Enum):
    """What a filter has said that has said nothing yet."""

    WAITING = 0


_WAITING = _Waiting.WAITING


class Step:
    """One filter at work on one item."""

    __slots__ = ("_run", "call", "later", "outcome")

    def __init__(self, run: Run) -> None:
        self._run = run
        self.call: Any = None
        """What cancels it, if anything can."""
        self.later = False
        """Whether it has not answered at once."""
        self.outcome: Outcome | _Waiting = _WAITING

    def done(self, outcome: Outcome) -> None:
        """The filter has spoken; only its first word counts, and only while somebody wants to know."""
        run = self._run
        if run.step is not self or self.outcome is not _WAITING:
            return
        self.outcome = outcome
        if self.later:
            run.resume(outcome)


class Run:
    """One item on its way through filters of which some take their time."""

    __slots__ = ("_context", "_done", "_left", "step")

    def __init__(self, filters: tuple[Any, ...], context: FilterContext, done: Done) -> None:
        self.step: Step | None = None
        """The filter at work; None when nothing more is to come."""
        self._left = iter(filters)
        self._context = context
        self._done = done

    def begin(self, content: bytes) -> Run | None:
        """As ``FilterChain.run``."""
        outcome = self._walk(content)
        if outcome is _WAITING:
            return self
        self._done(outcome)
        return None

    def resume(self, outcome: Outcome) -> None:
        """The filter at work has answered late."""
        try:
            end = self._walk(outcome)
        except Exception:
            self._done(FilterError("filter error: internal error"))
            raise
        if end is not _WAITING:
            self._done(end)

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        step, self.step = self.step, None
        if step is not None and step.call is not None:
            step.call.cancel()

    def _walk(self, outcome: Outcome) -> Outcome | _Waiting:
        """Ask one filter after the other until one takes its time, or the end is reached."""
        while True:
            self.step = None
            if isinstance(outcome, FilterError) and outcome.blank:
                outcome = b""
            one = next(self._left, None) if isinstance(outcome, bytes) else None
            if one is None:
                return outcome
            step = self.step = Step(self)
            try:
                step.call = one.start(self._context, outcome, step.done)
            except FilterError as error:
                step.done(error)
            if step.outcome is _WAITING:
                step.later = True
                return _WAITING
            outcome = step.outcome


class ResponseContent:
    """The filters of the body of one response, fed piece by piece (grip 13.4)."""

    __slots__ = ("_stages",)

    def __init__(self, stages: Iterable[ContentStage]) -> None:
        self._stages = tuple(stages)

    def feed(self, data: bytes) -> bytes:
        """What can be passed on after ``data``.

        :raises FilterError: with the words for the client in debug mode; there is nothing to feed after it.
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
