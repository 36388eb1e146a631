"""The origin of each target that a route names, made when it is first asked.

Made by ``service``, asked by ``proxy``.  What an origin does is the business of its kind; here it is put
behind the limits of the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pushpin_tw.extensions import IStandingTargetType
from pushpin_tw.origin.capped import CappedOrigin, Row
from pushpin_tw.origin.overhttp import OverHttpOrigin
from pushpin_tw.routing.route import Route, Target

MAX_DIRECT = 1000
"""Hosts of links that are not reached through a route and are remembered."""


class Origins:
    """The origin of each target, made once and kept while a route names the target."""

    def __init__(self, types: dict[str, Any], services: Any) -> None:
        """``types`` are kinds of targets by prefix, ``services`` is an ``IServices``."""
        self._types = types
        self._services = services
        self._origins: dict[Target, Any] = {}
        self._direct: dict[Target, Any] = {}
        cap = services.config.proxy.max_open_requests
        self._row = Row(cap) if cap > 0 else None

    def origin(self, target: Target) -> Any:
        """The IOrigin of ``target``."""
        origin = self._origins.get(target)
        if origin is None:
            origin = self._origins[target] = self._make(target)
        return origin

    def _make(self, target: Target) -> Any:
        origin = self._types[target.kind].origin(target, self._services)
        cap, stats = self._services.config.tw.max_open_requests, self._services.stats
        if cap > 0:
            origin = CappedOrigin(origin, Row(cap), stats)
        if self._row is not None:
            # Outside: who waits for its target has its place among all.
            origin = CappedOrigin(origin, self._row, stats)
        return OverHttpOrigin(origin, target, self._services) if target.over_http else origin

    def direct(self, target: Target) -> Any:
        """The IOrigin of a target that no route names: the host of a link.  Origins say where links lead to,
        so that only the latest of these are kept; connections live in the pool all the same."""
        origin = self._direct.pop(target, None)
        if origin is None:
            origin = self._make(target)
        self._direct[target] = origin
        if len(self._direct) > MAX_DIRECT:
            del self._direct[next(iter(self._direct))]
        return origin

    def keep(self, routes: Iterable[Route]) -> None:
        """Forget the targets that no route names any more; requests under way keep theirs.  Tell the kinds of
        targets that have to do something before the first request."""
        named = dict.fromkeys(target for route in routes for target in route.targets)
        self._origins = {target: origin for target, origin in self._origins.items() if target in named}
        for kind in self._types.values():
            if IStandingTargetType.providedBy(kind):
                try:
                    kind.keep(list(named), self._services)
                except Exception:
                    self._services.stats.failure("targets")
