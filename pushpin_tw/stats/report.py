"""Statistics over ZeroMQ: the socket that others subscribe to (zeromq 5).

Made by the service.  To subscribers it is a PUB socket; on our side it is XPUB, which tells what they have
subscribed to, so that nothing else is ever written.  What is told, and when, is ``stats.outlet``'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import zmq
from twisted.application.service import Service

from pushpin_tw.config import Config
from pushpin_tw.errors import ConfigError
from pushpin_tw.stats.outlet import PacketOutlet
from pushpin_tw.stats.tally import Outlet, Tally
from pushpin_tw.wire.statspacket import KINDS, concerns
from pushpin_tw.zmqsocket import Frames, Options, ZmqSocket, zmq_room

WAITING = 200_000
"""Packets that may wait for a slow subscriber; it misses what comes then."""


def wants_figures(config: Config) -> bool:
    """Whether anything is configured that tells statistics, or knows connections by their names."""
    handler, proxy = config.handler, config.proxy
    told = handler.stats_spec or handler.prometheus_port or proxy.prometheus_port
    return bool(told or handler.command_spec)


def make_outlet(services: Any) -> PacketOutlet:
    """The outlet that a configuration asks for; ``services`` is an ``IServices``."""
    handler = services.config.handler
    return PacketOutlet(
        services.wheel,
        f"handler_{os.getpid()}",
        handler.stats_subscription_ttl,
        handler.stats_report_interval,
        handler.stats_format == "json",
        packets=bool(handler.stats_spec),
    )


def make_tally(services: Any, outlet: Outlet, worker: str = "") -> Tally:
    """The tally that a configuration asks for; ``worker`` is its number among several, if there are."""
    config = services.config
    return Tally(
        services.wheel,
        outlet,
        config.global_.stats_connection_ttl,
        config.global_.stats_connection_send and bool(config.handler.stats_spec),
        config.handler.message_block_size,
        worker,
    )


class StatsSocket(Service):
    """Where statistics go, while it runs."""

    key = "stats_spec"

    def __init__(self, outlet: PacketOutlet, services: Any) -> None:
        """``services`` is an ``IServices``."""
        self.setName("stats")
        self.address = ""
        """Where it is bound, while it runs; '' without ``stats_spec``."""
        self.outlet = outlet
        self.on_wanted: Callable[[frozenset[str]], object] = _nothing
        """Told of the types that are subscribed to, whenever these may have changed."""
        self._services = services
        self._socket: ZmqSocket | None = None
        self.topics = dict.fromkeys(KINDS, 0)
        """How many topics that are subscribed to concern each type of packets."""

    def startService(self) -> None:
        """:raises ConfigError: the address cannot be used."""
        super().startService()
        config = self._services.config.handler
        if config.stats_spec:
            options: Options = {zmq.SNDHWM: WAITING, zmq.RCVHWM: WAITING}
            self._socket = zmq_room(self._services).open(zmq.XPUB, self._subscribed, options)
            try:
                self.address = self._socket.bind(config.stats_spec, config.ipc_file_mode)
            except OSError as error:
                self.stopService()
                raise ConfigError(f"cannot use {error.filename}: {error.strerror}", key=self.key) from None
            self.outlet.send = self._send
            self._services.stats.note("info", f"zmq stats: {self.address}", "handler")
        self.outlet.start()

    def stopService(self) -> None:
        super().stopService()
        self.address = ""
        self.outlet.stop()
        self.topics = dict.fromkeys(KINDS, 0)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, packet: bytes) -> None:
        if self._socket is not None:
            self._socket.send([packet])

    def _subscribed(self, frames: Frames) -> None:
        """A subscriber that is the first one of its topic, or the last one that leaves it."""
        change, topic = frames[0][:1], frames[0][1:]
        if change not in (b"\0", b"\1"):
            return
        for kind in KINDS:
            if concerns(topic, kind):
                self.topics[kind] += 1 if change == b"\1" else -1
        self.outlet.wanted = frozenset(kind for kind, topics in self.topics.items() if topics > 0)
        self.on_wanted(self.outlet.wanted)


def _nothing(kinds: frozenset[str]) -> None:
    pass
