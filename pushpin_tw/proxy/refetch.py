"""What holds ask origins by themselves: next links, gone links, the requests of filters (grip 10, 13.6).

Made by the service, called by holds and by filters.  ``subrequest`` knows the ways, ``fetching`` one next
link, ``calls`` everything else; here it is decided who shares a fetch.  Never knows what an answer leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import FilterError
from pushpin_tw.grip.terms import MAX_BODY, LinkRequest
from pushpin_tw.interfaces import ILinks
from pushpin_tw.proxy.calls import PATIENCE, Done, Errand, Pace
from pushpin_tw.proxy.fetching import Fetch, LinkCall
from pushpin_tw.proxy.subrequest import LinkRoom, Order, Place, Ways
from pushpin_tw.routing.rewrite import Rewriter
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.headers import Header

__all__ = ["Place", "Refetch"]

GONE_PATIENCE = 60.0
"""Seconds that a backend may take to answer that somebody is gone."""


@implementer(ILinks)
class Refetch:
    """The requests of all holds."""

    def __init__(
        self,
        gateway: Any,
        rewriter: Rewriter,
        filters: Any,
        later: Callable[[float, Callable[[], None]], object],
        wheel: Wheel,
        stats: Any,
    ) -> None:
        """``gateway`` has ``table`` and ``origins``, those of the moment; ``filters`` is a
        ``grip.filters.Filters``; ``later(seconds, call)`` calls back in a later turn of the reactor; the
        wheel also knows the time for signatures."""
        self.started = 0
        """As ``ILinks``."""
        ways = Ways(gateway, rewriter, wheel)
        self._room = LinkRoom(ways, filters, later, wheel, stats, gateway.tally)
        self._pace = Pace(later)
        self._open: dict[object, Fetch] = {}

    def stop(self) -> None:
        """The process ends its work: nothing more is asked, nobody is told anything."""
        self._room.close()
        self._pace.stop()

    def follow(self, request: LinkRequest, sink: Any, after: int) -> LinkCall:
        """As ``ILinks``."""
        key = (request.place, request.uri, frozenset(request.last_ids))
        fetch = self._open.get(key)
        if fetch is None or (fetch.number is not None and fetch.number < after):
            fetch = self._open[key] = Fetch(self._room, Order(request), partial(self._close, key))
            self._room.later(0.0, partial(self._begin, fetch))
        return fetch.join(sink)

    def _begin(self, fetch: Fetch) -> None:
        if fetch.over or self._room.closed:
            return
        fetch.number = self.started
        self.started += 1
        fetch.send()

    def _close(self, key: object, fetch: Fetch) -> None:
        if self._open.get(key) is fetch:
            del self._open[key]

    def gone(self, request: LinkRequest) -> None:
        """As ``ILinks``."""
        order = Order(LinkRequest(request.place, request.uri), b"POST")
        errand = Errand(self._room, order, MAX_BODY, GONE_PATIENCE, partial(self._told, order))
        self._room.later(0.0, errand.begin)

    def _told(self, order: Order, outcome: Any) -> None:
        stats = self._room.stats
        if isinstance(outcome, FilterError):
            why = outcome.detail.removeprefix("filter error: ")
            stats.note("debug", f"gone link {order.link.uri}: {why}", "handler")
        elif stats.wants_holds:
            status, _, body = outcome
            stats.linked(order.method, order.link.uri, status, len(body))

    def ask(
        self, request: LinkRequest, headers: Sequence[Header], body: bytes, limit: int, done: Done
    ) -> Errand:
        """As ``ILinks``."""
        errand = Errand(self._room, Order(request, b"POST", tuple(headers), body), limit, PATIENCE, done)
        self._pace.enter(errand)
        return errand
