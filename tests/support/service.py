"""Our own service between a test's client and its origin: real sockets, a clock that the test moves.

Used by loopback and conformance tests through ``tests.support.stage``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pushpin_tw.config import parse_config
from pushpin_tw.publish.http import HttpControl
from pushpin_tw.service import make_service
from tests.support.clock import StillClock
from tests.support.notebook import Notebook
from tests.support.running import SHIPPED, Proxy, Routes, Settings, config_text
from tests.support.waiting import Waited, turn, until


class ServiceProxy(Proxy):
    """Our own service, in this process."""

    STEP = 0.1
    """Seconds between looks in ``time_until``."""

    def __init__(self, routes: Routes, settings: Settings) -> None:
        self.clock = StillClock()
        file = "pushpin.conf"
        if isinstance(routes, Path):
            settings = {**settings, "proxy": {"routesfile": routes.name, **settings.get("proxy", {})}}
            file = str(routes.with_name(file))
        self.config = parse_config(config_text(SHIPPED, settings), file, self._no_include)
        self.log = Notebook(self.config)
        self.service = make_service(
            self.config,
            routes=None if isinstance(routes, Path) else list(routes),
            clock=self.clock,
            random=random.Random(1),
            stats=self.log.journal,
        )
        # Port 0 means "off" in a configuration file, so the test's control API is made here.
        control = HttpControl(port=0).service(self.config, self.service.broker, self.service.lent)
        assert control is not None
        control.setServiceParent(self.service)
        self._control = control

    @staticmethod
    def _no_include(path: str) -> str:
        raise FileNotFoundError(path)

    @classmethod
    async def start(cls, routes: Routes, settings: Settings) -> ServiceProxy:
        """A service that listens."""
        proxy = cls(routes, settings)
        started: Any = proxy.service.startService()
        if started is not None:
            await started
        await until(lambda: bool(proxy.service.client_addresses), "the listeners")
        proxy.address = proxy.service.client_addresses[0]
        assert proxy._control.address is not None
        proxy.control_address = proxy._control.address
        return proxy

    async def publish_all(self, items: Sequence[Mapping[str, object]]) -> None:
        """Good items in one request; the clock moves on by two turns of the rate limiter."""
        await super().publish_all(items)
        self.clock.advance(0.05)

    def seconds(self) -> float:
        return float(self.clock.seconds())

    async def settle(self) -> None:
        client = await self.control()
        client.request("/")
        await client.read_response()
        await client.closed()

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settle()

    async def held(self, channel: str, count: int = 1, kind: str = "") -> None:
        await until(lambda: self._holds(channel, kind) == count, f"{count} holds on {channel!r}")

    def _holds(self, channel: str, kind: str) -> int:
        found = self.service.broker.holds(channel)
        return found.get(kind, 0) if kind else sum(found.values())

    async def watched(self) -> None:
        statistics = self.service.statistics
        assert statistics is not None
        await until(lambda: bool(statistics.outlet.wanted), "a subscription to statistics")

    def mark(self, kind: str) -> bool:
        statistics = self.service.statistics
        assert statistics is not None
        statistics.outlet.emit(kind, {"mark": True})
        return True

    async def time_until(self, condition: Callable[[], object], limit: float) -> float:
        passed = 0.0
        while not condition():
            if passed > limit:
                raise Waited(f"not within {limit:g} s of the service's clock")
            await self.advance(self.STEP)
            passed += self.STEP
        return passed

    def lines(self, service: str = "proxy") -> list[str]:
        return self.log.texts(service)

    async def stop(self) -> None:
        stopped: Any = self.service.stopService()
        if stopped is not None:
            await stopped
        await turn()
        self.log.no_bugs()
