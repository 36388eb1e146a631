"""The parent of worker processes: opens what there can be only one of, and serves no client itself.

Made by ``process`` in place of ``service.PushpinService`` when ``[tw] workers`` asks for several processes,
and used in the same way.  Publish inputs and commands run here, with the hub as their broker.
"""

from __future__ import annotations

import os
import pickle
import random as random_module
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError

from pushpin_tw.config import Config
from pushpin_tw.descriptors import Descriptors, listener_name
from pushpin_tw.edge.doors import open_tcp
from pushpin_tw.edge.listener import open_local
from pushpin_tw.handover import Relinquishing
from pushpin_tw.inlet import Inlet
from pushpin_tw.monitoring import wants_metrics
from pushpin_tw.options import Settings
from pushpin_tw.service import Services, publish_sources
from pushpin_tw.stats.logfile import Logs
from pushpin_tw.stats.measures import Measures
from pushpin_tw.workers.backends import NAME, Desk, DeskService
from pushpin_tw.workers.crew import Crew, Worker
from pushpin_tw.workers.hub import Hub
from pushpin_tw.workers.link import Message
from pushpin_tw.workers.overview import Overview
from pushpin_tw.workers.share import share
from pushpin_tw.workers.siblings import Meeting

Listening = list[tuple[str, socket.socket]]


class Parent(Relinquishing):
    """One pushpin of several processes."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        logs: Logs,
        count: int,
        reactor: Any,
        stats: Any,
        clock: Any = None,
    ) -> None:
        """``count`` workers, which write to the same ``logs``; ``stats`` is an ``IStatsSink``; ``clock`` is
        for tests."""
        super().__init__()
        self.setName("pushpin")
        self.config = config
        self.stats = stats
        measures = Measures(stats) if wants_metrics(config) else None
        self.lent = Services(
            config, reactor, clock or reactor, random_module.Random(), stats if measures is None else measures
        )
        self.lent.measures = measures
        self.hub = Hub(
            self.lent.wheel, stats, config.handler.message_wait / 1000, config.handler.id_cache_ttl
        )
        self.control: Any = None
        self._settings = settings
        self._logs = logs
        self._count = count
        self._drained: dict[int, Deferred[None]] = {}
        self.crew = Crew(self.lent, self.hub, self._beginning, self._hear, config.tw.link_backlog)
        self.lent.connections = self.crew.questions
        self.backends = Desk(self.lent, self._tell_backends)
        DeskService(self.backends).setServiceParent(self)
        self.overview = Overview(config, self.lent, self.crew)
        self.hub.tally = self.lent.tally
        self.doors = Doors(config, count, stats)
        self.inlet = Inlet(self.hub)
        crew = _Crew(self.doors, self.crew, self.lent)
        crew.setServiceParent(self)
        self.keep(crew, crew)
        for source in publish_sources():
            part = source.service(config, self.inlet, self.lent)
            if part is not None:
                part.setServiceParent(self)
                if source.name == "http":
                    self.control = part
                    self.keep(part, part)
        self.overview.setServiceParent(self)

    @property
    def client_addresses(self) -> list[Any]:
        """As of ``PushpinService``."""
        return list(self.doors.addresses)

    @property
    def control_address(self) -> tuple[str, int] | None:
        """As of ``PushpinService``."""
        return None if self.control is None else self.control.address

    @property
    def statistics(self) -> Any:
        """As of ``PushpinService``."""
        return self.overview.statistics

    @property
    def monitoring(self) -> Any:
        """As of ``PushpinService``."""
        return self.overview.monitoring

    def when_ready(self, call: Any) -> None:
        """Call ``call`` once all workers serve."""
        self.crew.on_ready = call

    def reconfigure(self, config: Config) -> None:
        """Let all workers, and those to come, go on as ``config`` says."""
        self.config = self.lent.config = config
        self.lent.stats.configure(config)
        self.crew.tell("reconfigure", pickle.dumps(share(config, self._count)))

    def reload(self) -> None:
        """Let all workers read the routes again."""
        self.crew.tell("reload")

    def reopen(self) -> None:
        """Let all workers open their logs again."""
        self.crew.tell("reopen")

    def drain(self) -> Deferred[Any]:
        """Let nobody in any more, and everybody go; fires when they have gone."""
        self.crew.stopping = True  # who dies now is not replaced
        self.doors.close()
        for worker in self.crew.workers:
            worker.close_listening()
        reached = self.crew.tell("drain")
        self._drained = {number: Deferred() for number in reached}
        return DeferredList(self._drained.values())

    def stopService(self) -> Any:
        """Stop the workers, then what they were told by."""

        def last(result: Any) -> Any:
            self.lent.stop()
            return result

        return DeferredList([super().stopService(), self.crew.stop()]).addBoth(last)

    # ---- workers -------------------------------------------------------------------------------------------

    def _beginning(self, number: int) -> tuple[Any, ...]:
        meeting = self.lent.shared("workers.meeting", Meeting).directory
        packed = pickle.dumps((share(self.config, self._count), self._settings, os.getpid(), meeting))
        return packed, self._logs.own

    def _tell_backends(self, number: int, message: Message) -> None:
        link = self.crew.workers[number].link
        if link is not None:
            link.send(*message)

    def _hear(self, worker: Worker, message: Message) -> None:
        name = message[0]
        if name == "log":
            _, service, level, text, details = message
            self._logs.voices[service].write(level, text, None, details)
        elif name == "ready":
            self.overview.welcome(worker)
        elif name == NAME:
            self.backends.hear(worker.number, *message[1:])
        elif name == "failed":
            self.stats.note("error", f"worker {worker.number}: {message[1]}", "runner")
        elif name in ("drained", "left"):
            waiting = self._drained.pop(worker.number, None)
            if waiting is not None:
                waiting.callback(None)
            if name == "left":
                self.backends.left(worker.number)
        self.overview.hear(worker, message)


class _Crew(Service):
    """The doors and the crew as a service."""

    def __init__(self, doors: Doors, crew: Crew, services: Any) -> None:
        self._doors = doors
        self._crew = crew
        self._services = services

    def startService(self) -> None:
        """:raises CannotListenError: an address cannot be used."""
        super().startService()
        self._crew.start(self._doors.open(self._services.shared("descriptors", Descriptors)))

    def listening(self) -> list[tuple[str, socket.socket]]:
        """The sockets, by the names that ``Descriptors`` know them by."""
        return self._crew.listening()

    def hand_over(self) -> None:
        """They are another process's as well, and so are the files."""
        self._doors.forget_files()

    def stopService(self) -> None:
        super().stopService()
        self._doors.close()


class Doors:
    """The listening sockets: of each TCP address one for every worker, so that the kernel spreads clients
    evenly; of each Unix socket one that all workers share, as the kernel spreads nothing there."""

    def __init__(self, config: Config, count: int, stats: Any) -> None:
        self.addresses: list[Any] = []
        self._config = config.runner
        self._count = count
        self._stats = stats
        self._files: list[str] = []

    def open(self, given: Descriptors) -> list[Listening]:
        """Open all of them but those that are ``given``; for each worker its sockets by name.

        :raises CannotListenError: one cannot be opened; none is open then.
        :raises ConfigError: a Unix socket shall belong to somebody unknown.
        """
        with ExitStack() as opened:
            places: list[Listening] = [[] for _ in range(self._count)]
            for name, sockets in self._each(given):
                for place, skt in zip(places, sockets, strict=True):
                    opened.callback(skt.close)
                    place.append((name, skt))
            opened.pop_all()
        return places

    def _each(self, given: Descriptors) -> Iterator[tuple[str, list[socket.socket]]]:
        for kind, listens in (("http", self._config.http_port), ("https", self._config.https_ports)):
            for listen in listens:
                name = listener_name(kind, listen)
                sockets = [skt for _ in range(self._count) if (skt := given.take(name)) is not None]
                if not sockets:
                    # Alone at first: what shares its address with strangers would take their clients.
                    with open_tcp(listen.host, listen.port) as alone:
                        port = alone.getsockname()[1]
                else:
                    port = sockets[0].getsockname()[1]
                self.addresses.append((listen.host, port))
                while len(sockets) < self._count:
                    sockets.append(self._another(listen.host, port, sockets))
                yield name, sockets
        for local in self._config.local_ports:
            name = listener_name("local", local)
            skt = given.take(name)
            self.addresses.append(local.path)
            if skt is None or given.owned:
                self._files.append(local.path)
            with skt or open_local(local) as skt:
                yield name, [skt.dup() for _ in range(self._count)]

    @staticmethod
    def _another(host: str, port: int, sockets: list[socket.socket]) -> socket.socket:
        """One more at the address.  One that was given may have been opened by a process that meant to be
        alone there; then its clients are shared."""
        try:
            return open_tcp(host, port, shared=True)
        except CannotListenError:
            if not sockets:
                raise
            return sockets[0].dup()

    def forget_files(self) -> None:
        """Files of Unix sockets are somebody else's by now."""
        self._files = []

    def close(self) -> None:
        """Remove the files of Unix sockets."""
        files, self._files = self._files, []
        for path in files:
            with suppress(OSError):
                os.unlink(path)
