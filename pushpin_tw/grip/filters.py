"""The filters that origins attach to channels, by name (grip 13.1, 13.4).

Made by the service from the installed plugins; asked by holds and by the proxy for what an instruction names.
How filters are run stands in ``filterchain``, whose names others import from here.  Never knows a filter that
was not given to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pushpin_tw.errors import ConfigError
from pushpin_tw.grip.filterchain import (
    Done,
    FilterChain,
    FilterContext,
    FilterSession,
    InstantFilter,
    Outcome,
    ResponseContent,
)
from pushpin_tw.grip.terms import Channel

__all__ = [
    "Done",
    "FilterChain",
    "FilterContext",
    "FilterSession",
    "Filters",
    "InstantFilter",
    "Outcome",
    "ResponseContent",
]

MAX_CHAINS = 1000
"""Combinations of filters that are kept ready; there are never as many in use."""


class Filters:
    """All filters by name."""

    def __init__(self, filters: Iterable[Any]) -> None:
        """``filters`` are ``IMessageFilter``; Twisted finds one twice that has two names in its module.

        :raises ConfigError: two are called the same.
        """
        self._known: dict[str, Any] = {}
        self._chains: dict[tuple[str, ...], FilterChain] = {}
        for one in filters:
            if self._known.get(one.name, one) is not one:
                raise ConfigError(f"two filters are called '{one.name}'")
            self._known[one.name] = one

    def chain(self, names: tuple[str, ...]) -> FilterChain | None:
        """The filters of these names, without those that are not known; None when none is."""
        known = tuple(name for name in names if name in self._known)
        if not known:
            return None
        chain = self._chains.get(known)
        if chain is None:
            if len(self._chains) == MAX_CHAINS:
                self._chains.clear()
            chain = self._chains[known] = FilterChain(self._known[name] for name in known)
        return chain

    def response(self, channels: Iterable[Channel], meta: Mapping[str, str]) -> ResponseContent | None:
        """What the body of a response with such instructions goes through: each filter once, in the order in
        which they are mentioned first; None when nothing changes it (grip 13.4)."""
        names = dict.fromkeys(name for channel in channels for name in channel.filters)
        found = [self._known[name] for name in names if name in self._known]
        stages = [one.response(meta) for one in found if "response" in one.targets]
        return ResponseContent(stages) if stages else None
