"""Builds the object graph of one process, nothing else.

Called by the ``twistd`` plugin and by the ``pushpin`` command, and by tests with a clock of their own.  The
order of construction is the order of the flow, seen from its end: broker and holds, then the gateway, then
the doors through which requests and items come in.
"""

from __future__ import annotations

import os
import random as random_module
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.plugin import getPlugins
from zope.interface import implementer

import pushpin_tw.plugins
from pushpin_tw.broker.broker import Broker
from pushpin_tw.broker.fanout import Fanout
from pushpin_tw.broker.limiter import Pace
from pushpin_tw.config import Config
from pushpin_tw.destinations import Origins
from pushpin_tw.edge.listener import ClientListeners
from pushpin_tw.edge.sockjs import SockJs
from pushpin_tw.edge.zhttp import ZhttpInlet
from pushpin_tw.extensions import IMessageFilter, IPublishSource, IServices, ITargetType
from pushpin_tw.grip.filters import Filters
from pushpin_tw.handover import Relinquishing
from pushpin_tw.hold.base import HoldRoom
from pushpin_tw.hold.updates import BATCH
from pushpin_tw.inlet import Inlet
from pushpin_tw.monitoring import Monitoring, gather, troubles, wants_metrics
from pushpin_tw.origin.zhttpservice import ZhttpSockets
from pushpin_tw.proxy.connections import Connections
from pushpin_tw.proxy.gateway import Gateway, GatewaySettings
from pushpin_tw.proxy.held import Acceptor
from pushpin_tw.proxy.refetch import Refetch
from pushpin_tw.proxy.sharing import Sharing
from pushpin_tw.reconfigure import apply
from pushpin_tw.routeswatch import RoutesWatch, reader_in
from pushpin_tw.routing.rewrite import Rewriter
from pushpin_tw.routing.route import Route
from pushpin_tw.routing.table import RouteTable
from pushpin_tw.stats.connections import Connections as Registry
from pushpin_tw.stats.journal import Journal
from pushpin_tw.stats.measures import Measures
from pushpin_tw.stats.report import StatsSocket, make_outlet, make_tally, wants_figures
from pushpin_tw.stats.tally import Outlet
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.gripsig import Key, load_key


@implementer(IServices)
class Services:
    """What the process lends to every room and plugin."""

    def __init__(self, config: Config, reactor: Any, clock: Any, random: random_module.Random, stats: Any):
        self.config = config
        self.reactor = reactor
        self.clock = clock
        self.random = random
        self.stats = stats
        self.wheel = Wheel(clock, lambda: stats.failure("timer"))
        self.connections: Any
        """Set by who builds the rest."""
        self.tally: Any = None
        """ITally; None when nobody wants figures."""
        self.measures: Measures | None = None
        """What ``stats`` measures; None when nobody wants metrics."""
        self._shared: dict[str, Any] = {}

    def shared(self, name: str, make: Callable[[], Any]) -> Any:
        """The one object called ``name``; see ``IServices``."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def later(self, delay: float, call: Callable[[], None]) -> object:
        """Call back after ``delay`` seconds.  What is to come at once is the reactor's business, so that a
        test's clock need not be moved for it."""
        return (self.clock if delay else self.reactor).callLater(delay, call)

    def stop(self) -> None:
        """End what was shared, and the timers."""
        for name, thing in self._shared.items():
            stop = getattr(thing, "stop", None)
            if stop is not None:
                try:
                    stop()
                except Exception:
                    self.stats.failure(f"stopping {name}")
        self._shared.clear()
        self.wheel.stop()


def target_types() -> dict[str, Any]:
    """All kinds of targets that are installed, by prefix."""
    return {kind.prefix: kind for kind in getPlugins(ITargetType, pushpin_tw.plugins)}


def message_filters() -> list[Any]:
    """All filters that are installed."""
    return list(getPlugins(IMessageFilter, pushpin_tw.plugins))


def publish_sources() -> list[Any]:
    """All ways for items to come in that are installed."""
    return list(getPlugins(IPublishSource, pushpin_tw.plugins))


@dataclass(frozen=True, slots=True)
class Place:
    """Which of several workers a service is."""

    number: int
    """From 0."""
    outlet: Outlet
    """Where its figures go."""


class PushpinService(Relinquishing):
    """One whole pushpin."""

    def __init__(self, config: Config, services: Services, worker: Place | None = None) -> None:
        """``worker``: it is one of several that share the clients, and the limits for all of them."""
        super().__init__()
        self.worker = worker
        self.config = config
        self.lent = services
        self.stats = services.stats
        self.broker: Broker
        self.gateway: Gateway
        self.rewriter: Rewriter
        self.listeners: Any
        self.routes: RoutesWatch
        self.control: Any = None
        self.statistics: StatsSocket | None = None
        """Where figures go; None when nobody wants any."""
        self.monitoring: Monitoring | None = None
        """Where metrics are served."""
        self.setName("pushpin")

    @property
    def client_addresses(self) -> list[Any]:
        """Where clients are served: (host, port) pairs and paths of Unix sockets."""
        return list(self.listeners.addresses)

    @property
    def control_address(self) -> tuple[str, int] | None:
        """Where the HTTP control API is served; None when it is off."""
        return None if self.control is None else self.control.address

    def when_ready(self, call: Callable[[], None]) -> None:
        """Call ``call`` once clients are served, which is so when this has started."""
        call()

    def reconfigure(self, config: Config) -> None:
        """Go on as ``config`` says, as far as that is possible without a restart."""
        apply(self, config)

    def configure_requests(self, config: Config) -> None:
        """Treat requests that come from now on so."""
        self.gateway.configure(_gateway_settings(self.lent))
        self.rewriter.configure(config.proxy)

    def configure_delivery(self, config: Config) -> None:
        """Deliver at this pace."""
        self.broker.fanout.configure(*_pace(config))

    def configure_holds(self, config: Config) -> None:
        """Limits of holds."""
        room = self.gateway.acceptor.room
        room.queue_limit = config.tw.hold_queue
        room.subscription_max = config.handler.connection_subscription_max

    def reload(self) -> None:
        """Read the routes again, at once."""
        self.routes.reload()

    def reopen(self) -> None:
        """Logs are to be opened again; there are none but the program's."""

    def drain(self) -> Deferred[None]:
        """Let nobody in any more, and everybody go over ``drain_seconds``; fires when they have, or time is
        up.  Publishing goes on meanwhile; ``stopService`` is to follow."""
        seconds = self.config.tw.drain_seconds
        if not seconds:
            return succeed(None)
        drained: Deferred[None] = self.listeners.drain(seconds)
        if not drained.called:
            clients = self.listeners.clients
            self.stats.note("info", f"letting {clients} clients go over {seconds:g} seconds", "runner")
        return drained

    def stopService(self) -> Any:
        """Stop listening, drop the clients, then the connections to origins and the timers."""

        def last(result: Any) -> Any:
            self.lent.stop()
            return result

        return super().stopService().addBoth(last)


def make_service(
    config: Config,
    *,
    routes: Sequence[str] | None = None,
    reactor: Any = None,
    clock: Any = None,
    random: random_module.Random | None = None,
    stats: Any = None,
    worker: Place | None = None,
) -> PushpinService:
    """Build everything that ``config`` asks for.

    ``routes`` are lines that replace the routes file.  ``clock`` and ``random`` are for tests: with them,
    timeouts and jitter are theirs while sockets stay real.  A ``worker`` only serves clients: what there can
    be only one of is its parent's.
    """
    if reactor is None:
        from twisted.internet import reactor
    stats = stats or Journal(config)
    measures = Measures(stats) if wants_metrics(config) else None
    services = Services(
        config, reactor, clock or reactor, random or random_module.Random(), measures or stats
    )
    services.measures = measures
    service = PushpinService(config, services, worker)
    if wants_figures(config):
        _make_statistics(service, services, worker)
    service.broker = _make_broker(services)
    service.inlet = Inlet(service.broker)
    _make_gateway(service, services, routes)
    registry = Registry(1) if services.tally is None else services.tally.connections
    services.connections = Connections(service.broker, registry.get)
    ZhttpSockets(services).setServiceParent(service)
    service.routes.setServiceParent(service)
    service.keep(service.routes)
    for source in publish_sources() if worker is None else ():
        part = source.service(config, service.inlet, services)
        if part is not None:
            part.setServiceParent(service)
            if source.name == "http":
                service.control = part
                service.keep(part, part)
    if config.tw.zhttp_in_spec:
        _Doors(ZhttpInlet(config, service.gateway, services, bool(worker))).setServiceParent(service)
    service.listeners = ClientListeners(config, service.gateway, services)
    doors = _Doors(service.listeners)
    doors.setServiceParent(service)
    service.keep(doors, service.listeners)
    if measures is not None:
        gather(measures, service)
        if worker is None:
            _make_monitoring(service, services, measures)
    return service


def _make_monitoring(service: PushpinService, services: Services, measures: Measures) -> None:
    assert service.statistics is not None
    service.monitoring = Monitoring(
        service.config,
        services,
        service.statistics.outlet.figures,
        lambda: {0: measures.take()},
        lambda: troubles(service),
    )
    service.monitoring.setServiceParent(service)


def _make_statistics(service: PushpinService, services: Services, worker: Place | None) -> None:
    if worker is not None:
        services.tally = make_tally(services, worker.outlet, str(worker.number))
        return
    outlet = make_outlet(services)
    services.tally = make_tally(services, outlet)
    outlet.collect = services.tally.flush
    service.statistics = StatsSocket(outlet, services)
    service.statistics.setServiceParent(service)


class _Doors(Service):
    """The listeners as a service."""

    def __init__(self, listeners: Any) -> None:
        self._listeners = listeners

    def startService(self) -> None:
        super().startService()
        self._listeners.startService()

    def stopService(self) -> Any:
        super().stopService()
        return self._listeners.stopService()


def _make_broker(services: Services) -> Broker:
    handler = services.config.handler
    pace, hwm, block, backlog = _pace(services.config)
    fanout = Fanout(
        pace,
        services.later,
        services.stats,
        hwm,
        block,
        backlog,
        None if services.measures is None else services.measures.since("delivery", services.clock.seconds),
    )
    fanout.tally = services.tally
    broker = Broker(
        fanout,
        services.wheel,
        services.stats,
        handler.subscription_linger,
        wait=handler.message_wait / 1000,
        ttl=handler.id_cache_ttl,
        first_update=handler.update_on_first_subscription,
    )
    broker.tally = services.tally
    return broker


def _pace(config: Config) -> tuple[Pace, int, int, int]:
    """How fast items leave, and how many may wait."""
    handler, tw = config.handler, config.tw
    pace = Pace(handler.message_rate, tw.delivery_slice)
    return pace, handler.message_hwm, handler.message_block_size, tw.publish_backlog


def _upstream_key(services: Services) -> Key | None:
    """The key of proxies in front of this one; None when nobody is to be trusted."""
    config = services.config
    text = config.proxy.upstream_key
    key = load_key(text, reader_in(config.directory)) if text else None
    if key is not None and key.verifies:
        return key
    if text:
        services.stats.note("warn", "upstream_key: there is no key that can be used, nobody is trusted")
    return None


def _gateway_settings(services: Services) -> GatewaySettings:
    proxy = services.config.proxy
    return GatewaySettings(
        debug=proxy.debug,
        accept_x_forwarded_protocol=proxy.accept_x_forwarded_protocol,
        accept_pushpin_route=proxy.accept_pushpin_route,
        auto_cross_origin=proxy.auto_cross_origin,
        upstream_key=_upstream_key(services),
    )


def _make_gateway(service: PushpinService, services: Services, routes: Sequence[str] | None) -> None:
    config, types = services.config, target_types()
    origins = Origins(types, services)
    rewriter = service.rewriter = Rewriter(config.proxy)
    gateway = Gateway(
        _gateway_settings(services), rewriter, origins, services.clock, os.urandom, services.stats
    )
    gateway.tally = services.tally
    gateway.sockjs = services.shared("edge.sockjs", lambda: SockJs(services))
    filters = Filters(message_filters())
    links = services.shared(
        "proxy.links",
        lambda: Refetch(gateway, rewriter, filters, services.later, services.wheel, services.stats),
    )
    if config.handler.share_all:
        gateway.sharing = Sharing(services.wheel, services.stats)
    gateway.acceptor = Acceptor(
        HoldRoom(
            broker=service.broker,
            wheel=services.wheel,
            stats=services.stats,
            random=services.random,
            refetch=gateway,
            queue_limit=config.tw.hold_queue,
            subscription_max=config.handler.connection_subscription_max,
            links=links,
            filters=filters,
            update_batch=max(1, BATCH // config.tw.workers) if service.worker is not None else BATCH,
            tally=services.tally,
        )
    )

    def use(table_routes: list[Route]) -> None:
        gateway.table = RouteTable(table_routes)
        origins.keep(table_routes)

    service.gateway = gateway
    quiet = service.worker is not None and service.worker.number > 0
    service.routes = RoutesWatch(config, types, use, services, lines=routes, quiet=quiet)
