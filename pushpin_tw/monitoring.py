"""What those who run the program can see of it: the metrics endpoints, and whether it is ready (zeromq 6).

Called by ``service`` for a process that serves clients, and by whoever has several of these.  Puts together
what rooms know; measures nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import MultiService

from pushpin_tw.broker.broker import MODES
from pushpin_tw.config import Config
from pushpin_tw.stats.measures import Measures, Snapshot
from pushpin_tw.stats.prometheus import Endpoint, Pages

Figures = Callable[[], Mapping[str, int]]
_MESSAGES = {"message_received": 0, "message_sent": 0}
"""What the endpoint of the proxy part does not count."""


class Monitoring(MultiService):
    """The endpoints that the configuration asks for; it outlives what it tells of."""

    def __init__(
        self,
        config: Config,
        services: Any,
        totals: Figures,
        snapshots: Callable[[], Mapping[int, Snapshot]],
        troubles: Callable[[], list[str]],
    ) -> None:
        """As ``stats.prometheus.Pages``; ``services`` is an ``IServices``."""
        super().__init__()
        self.setName("monitoring")
        self.handler: Endpoint | None = None
        self.proxy: Endpoint | None = None
        if config.handler.prometheus_port is not None:
            pages = Pages(config.handler.prometheus_prefix, totals, snapshots, troubles)
            self.handler = self._add(config.handler.prometheus_port, pages, services)
        if config.proxy.prometheus_port is not None:
            pages = Pages(
                config.proxy.prometheus_prefix, lambda: {**totals(), **_MESSAGES}, snapshots, troubles
            )
            self.proxy = self._add(config.proxy.prometheus_port, pages, services)

    def _add(self, listen: Any, pages: Pages, services: Any) -> Endpoint:
        endpoint = Endpoint(listen, pages, services, services.config.handler.ipc_file_mode)
        endpoint.setServiceParent(self)
        return endpoint


def wants_metrics(config: Config) -> bool:
    """Whether anybody can ask."""
    return config.handler.prometheus_port is not None or config.proxy.prometheus_port is not None


def gather(measures: Measures, service: Any) -> None:
    """Let ``measures`` ask what there is in ``service``, a ``PushpinService``, whenever they are taken."""
    room = service.gateway.acceptor.room
    measures.gauge("clients", lambda: {"": service.listeners.clients})
    measures.gauge("holds", lambda: {mode: room.holds[kind] for kind, mode in MODES.items()})
    measures.gauge("subscriptions", service.broker.subscriptions)
    measures.gauge("channels", lambda: {"": len(service.broker.channels())})
    measures.gauge("deliveries", lambda: {"": service.broker.deliveries})


def troubles(service: Any) -> list[str]:
    """Why clients had better be sent elsewhere than to ``service``; nothing when they need not."""
    if not service.running:
        return ["not running"]
    found = []
    if service.routes.trouble:
        found.append(service.routes.trouble)
    if not service.listeners.addresses:
        found.append("no clients are let in")
    return found
