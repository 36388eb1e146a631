"""One hold and its items, as filters see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pushpin_tw.errors import FilterError
from pushpin_tw.grip.filters import FilterContext, Filters
from pushpin_tw.grip.item import Item


class Session:
    """A hold with positions (channel=position), which also is its own ``ILinks``."""

    place = "place"

    def __init__(
        self, meta: dict[str, str] | None = None, uri: str = "http://h/a/b?c", **positions: Any
    ) -> None:
        self.meta = meta or {}
        self.uri = uri
        self.asked: list[Any] = []
        self.answer: Callable[[Any], None]
        self.cancelled = 0
        self._positions = positions

    @property
    def links(self) -> Session:
        return self

    def positions(self) -> dict[str, str | None]:
        return dict(self._positions)

    def ask(self, request: Any, headers: Any, body: bytes, limit: int, done: Any) -> Session:
        self.asked.append((request, headers, body, limit))
        self.answer = done
        return self

    def cancel(self) -> None:
        self.cancelled += 1


def run(
    one: Any,
    session: Session,
    content: bytes = b"x",
    channel: str = "c",
    id: str | None = None,
    **meta: str,
) -> Any:
    """What a filter that answers at once has to say of an item with ``meta``."""
    said: list[Any] = []
    context = FilterContext(session, Item(channel, id, meta=meta), channel)
    assert one.start(context, content, said.append) is None
    (outcome,) = said
    return outcome


def chained(
    *filters: Any, content: bytes = b"x", session: Session | None = None, **meta: str
) -> tuple[list[Any], Any]:
    """What a chain says of an item with ``meta``, so far, and what cancels it."""
    chain = Filters(filters).chain(tuple(one.name for one in filters))
    assert chain is not None
    said: list[Any] = []
    context = FilterContext(session or Session(), Item("c", meta=meta), "c")
    return said, chain.run(context, content, said.append)


def complaint(outcome: Any) -> tuple[str, bool]:
    """The words of an error, and whether the item is delivered all the same."""
    assert isinstance(outcome, FilterError)
    return outcome.detail, outcome.blank
