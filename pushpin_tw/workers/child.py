"""A worker process: a whole pushpin whose items, commands and end come over the link.

Run by ``crew`` as ``python -m pushpin_tw.workers.child NUMBER``.  When the link closes, the parent is gone,
and the worker goes as well.  Signals are the parent's business: those that a terminal or a service manager
sends to all processes at once are ignored here.
"""

from __future__ import annotations

import pickle
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.error import CannotListenError
from twisted.logger import globalLogBeginner
from zope.interface import implementer

from pushpin_tw.config import Config
from pushpin_tw.descriptors import Descriptors
from pushpin_tw.errors import ConfigError
from pushpin_tw.garbage import look_seldom
from pushpin_tw.interfaces import IChannelWatcher
from pushpin_tw.monitoring import troubles
from pushpin_tw.options import Settings
from pushpin_tw.origin.zhttproom import zhttp_room
from pushpin_tw.process import make_logs
from pushpin_tw.routing.uri import Uri
from pushpin_tw.service import Place, PushpinService, make_service
from pushpin_tw.stats.journal import Journal
from pushpin_tw.stats.logfile import LogObserver, Logs, Output
from pushpin_tw.wire.message import Request, RequestLine
from pushpin_tw.workers.backends import Relay
from pushpin_tw.workers.crew import LINK
from pushpin_tw.workers.figures import LinkOutlet
from pushpin_tw.workers.link import Link, Message
from pushpin_tw.workers.packing import unpack
from pushpin_tw.workers.siblings import Siblings

BEAT = 1.0
"""Seconds between signs of life, and between figures."""
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def _nothing(item: object) -> None:
    pass


class LinkVoice:
    """A voice whose lines the parent writes, for logs that only the parent can write to."""

    def __init__(self, service: str, level: int, link: Link) -> None:
        self.level = level
        self._service = service
        self.link = link

    def write(self, level: int, message: str, request: RequestLine | None = None, details: str = "") -> None:
        """See ``stats.logfile.Voice``."""
        if level <= self.level or request is not None:
            self.link.send("log", self._service, level, message, details)


class Builder(Protocol):
    """What makes a worker's service."""

    def __call__(
        self, config: Config, settings: Settings, logging: str | int | None, names: list[str], place: Place
    ) -> PushpinService: ...


@implementer(IChannelWatcher)
class Child:
    """One worker, from its own point of view."""

    def __init__(
        self,
        number: int,
        end: socket.socket,
        reactor: Any,
        build: Builder,
        leave: Callable[[int], None],
    ) -> None:
        """``end`` is its end of the link; ``build`` makes the service, which is not started; ``leave(code)``
        is called when the process is to end."""
        self.service: PushpinService | None = None
        self.link = Link(end, reactor, self._received, lambda: leave(1), self)
        self._outlet = LinkOutlet(self.link, reactor.callLater)
        self._place = Place(number, self._outlet)
        self._backends: Relay | None = None
        self._siblings: Siblings | None = None
        self._build = build
        self._leave = leave
        self.due = 0
        self.slot = 0

    # ---- the parent speaks ---------------------------------------------------------------------------------

    def _received(self, message: Message) -> None:
        getattr(self, f"_do_{message[0].replace(' ', '_')}")(*message[1:])

    def _do_begin(self, packed: bytes, logging: str | int | None, names: list[str]) -> None:
        """Start serving.  ``packed`` is a configuration, settings, the number of the parent's process, and
        where workers meet; ``logging`` is where the program itself logs to, None when that is the parent's
        business; ``names`` are those of the listening sockets."""
        config, settings, parent, meeting = pickle.loads(packed)  # from the parent, who has started us
        try:
            service = self._build(config, settings, logging, names, self._place)
            backends = zhttp_room(service.lent)
            self._backends = Relay(self._place.number, parent, self.link, backends)
            tally = service.lent.tally
            if tally is not None:
                tally.received = _nothing  # items are counted where they come in
            service.broker.watch(self)
            self._siblings = _join(service, meeting)
            service.startService()
        except (CannotListenError, ConfigError, OSError) as error:
            self.link.send("failed", str(error))
            self._leave(1)
            return
        self.service = service
        self.expired()
        self.link.send("ready")

    def _do_items(self, packed: list[tuple[Any, ...]]) -> None:
        broker = self._serving.broker
        broker.accept(unpack(packed))
        if broker.congested:
            self.link.pause()
            broker.relieve(self.link.resume)

    def _do_known(self, channel: str, last_id: str | None) -> None:
        self._serving.broker.learn(channel, last_id)

    def _do_wanted(self, kinds: list[str]) -> None:
        self._outlet.wanted = frozenset(kinds)

    def _do_recover(self) -> None:
        self._serving.broker.recover()

    def _do_find(self, number: int, names: list[str]) -> None:
        self._serving.lent.connections.find(
            names, lambda found: self.link.send("answer", number, list(found))
        )

    def _do_refresh(self, number: int, name: str) -> None:
        self._serving.lent.connections.refresh(
            name, lambda known: self.link.send("answer", number, [True] if known else [])
        )

    def _do_refresh_channel(self, channel: str) -> None:
        self._serving.lent.connections.refresh_channel(channel)

    def _do_zhttp(self, *words: Any) -> None:
        if self._backends is not None:
            self._backends.hear(*words)

    def _do_reconfigure(self, packed: bytes) -> None:
        self._serving.reconfigure(pickle.loads(packed))  # from the parent

    def _do_reload(self) -> None:
        self._serving.reload()

    def _do_reopen(self) -> None:
        self._serving.reopen()

    def _do_drain(self) -> None:
        self._serving.drain().addCallback(lambda _: self.link.send("drained"))

    def _do_stop(self) -> None:
        self._leave(0)

    @property
    def _serving(self) -> PushpinService:
        assert self.service is not None
        return self.service

    # ---- to the parent -------------------------------------------------------------------------------------

    def channel_opened(self, channel: str) -> None:
        """See ``IChannelWatcher``."""
        self.link.send("opened", channel)

    def channel_closed(self, channel: str) -> None:
        """See ``IChannelWatcher``."""
        self.link.send("closed", channel)

    def channel_forgotten(self, channel: str) -> None:
        """See ``IChannelWatcher``."""
        self.link.send("forgotten", channel)

    def expired(self) -> None:
        """Time for a sign of life."""
        service = self._serving
        measures, tally = service.lent.measures, service.lent.tally
        if tally is not None:
            tally.flush()
        self.link.send("beat", troubles(service), None if measures is None else measures.take())
        service.lent.wheel.schedule(self, BEAT)

    def failure(self, where: str) -> None:
        """Within an ``except`` block: a message has met a bug."""
        if self.service is None:
            raise  # there is no log yet: the process ends with a traceback
        self.service.stats.failure(where)

    def stop(self) -> Any:
        """Stop serving; a Deferred that fires when nothing is left."""
        service, self.service = self.service, None
        if self._siblings is not None:
            self._siblings.stop(orphaned=not self.link.connected)
        if service is None:
            return None
        service.lent.wheel.cancel(self)
        service.broker.unwatch(self)
        return service.stopService()


def _join(service: PushpinService, meeting: str) -> Siblings:
    """Let others answer requests for sessions of theirs, and answer for those of this one.

    :raises CannotListenError: they cannot call.
    """
    gateway = service.gateway

    def answer(route_id: str, uri: Uri, request: Request, body: bytes, responder: Any) -> None:
        _, route = gateway.table.by_id(route_id)
        if route is None:
            route = gateway.table.route(uri.host, uri.path, False, uri.secure)
        gateway.sockjs.receive(request, uri, route, body, responder, gateway.open_socket)

    assert service.worker is not None
    siblings = Siblings(service.worker.number, service.config.tw.workers, meeting, service.lent, answer)
    siblings.start()
    gateway.sockjs.siblings = siblings
    return siblings


class Worker:
    """The process around a ``Child``: logs, descriptors, and its end."""

    def __init__(self, number: int, reactor: Any) -> None:
        self._reactor = reactor
        self._logs: Logs | None = None
        self._code = 1
        end = socket.socket(fileno=LINK)
        end.setblocking(False)
        self._child = Child(number, end, reactor, self._build, self._leave)

    def run(self) -> int:
        """Serve until told to stop; returns the exit code."""
        self._reactor.addSystemEventTrigger("before", "shutdown", self._child.stop)
        self._reactor.run()
        if self._logs is not None:
            self._logs.close()
        return self._code

    def _build(
        self, config: Config, settings: Settings, logging: str | int | None, names: list[str], place: Place
    ) -> PushpinService:
        link = self._child.link
        own = None if logging is None else Output(logging, self._reactor)
        logs = self._logs = make_logs(
            config, settings, own, self._reactor, lambda service, level: LinkVoice(service, level, link)
        )
        logs.open()
        globalLogBeginner.beginLoggingTo([LogObserver(logs.voices.__getitem__)], redirectStandardIO=False)
        service = make_service(
            config, routes=settings.routes, reactor=self._reactor, stats=Journal(config, logs), worker=place
        )
        service.reopen = logs.reopen  # type: ignore[method-assign]
        descriptors = Descriptors((name, place) for place, name in enumerate(names, LINK + 1))
        service.lent.shared("descriptors", lambda: descriptors)
        return service

    def _leave(self, code: int) -> None:
        self._code = code
        if self._reactor.running:
            self._reactor.stop()


def main() -> int:
    """What the parent runs."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    from twisted.internet import reactor

    look_seldom()
    return Worker(int(sys.argv[1]), reactor).run()


if __name__ == "__main__":
    sys.exit(main())
