"""Items over ZeroMQ: the inputs PULL and SUB (zeromq 3).

Called by the service as the publish sources ``pull`` and ``sub``.  A publisher is not answered, so that what
it does wrong is counted, told to the log now and then, and dropped.  Never keeps an item.
"""

from __future__ import annotations

from typing import Any

import zmq
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from pushpin_tw.complaints import Complaints
from pushpin_tw.config import Config
from pushpin_tw.errors import ConfigError, PacketError, PublishError
from pushpin_tw.extensions import IPublishSource
from pushpin_tw.grip.item import Item, parse_item
from pushpin_tw.grip.scalars import load_document
from pushpin_tw.interfaces import IChannelWatcher
from pushpin_tw.wire.tnetstring import decode
from pushpin_tw.zmqending import Farewell
from pushpin_tw.zmqsocket import Frames, Options, ZmqSocket, zmq_room

TURN_ITEMS = 250
"""Messages that are read in one turn of the reactor, in some 2 ms."""
PULL_WAITING = 101_000
"""Messages of one publisher that may wait for us; then they wait with the publisher."""
SUB_WAITING = 1000
"""The same on SUB, where the publisher drops what has no room."""
FINISH_LOOK = 0.005
"""Seconds between looks whether publishers have hung up, when that is waited for."""
FINISH_LOOKS = 2000
"""Looks until it is waited for no more."""

_KEEP_ALIVE: Options = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_CNT: 6,
    zmq.TCP_KEEPALIVE_INTVL: 5,
}


def decode_item(frame: bytes, channel: str | None = None) -> Item:
    """The item in a frame: a tnetstring, with or without ``T`` before it, or ``J`` and JSON (zeromq 1.4).

    ``channel`` overrides that of the item, which then need not have one.

    :raises PacketError: it is neither.
    :raises PublishError: it is no item.
    """
    packed = not frame.startswith(b"J")
    if packed:
        value = decode(frame.removeprefix(b"T"))
    else:
        try:
            value = load_document(frame[1:])
        except ValueError:
            raise PacketError("no JSON") from None
    if not isinstance(value, dict):
        raise PacketError("no object")
    return parse_item(value, packed, channel)


class ZmqInput(Service):
    """A socket that items come from, while it runs."""

    kind: int
    """Of ZeroMQ's sockets."""
    key: str
    """Of the configuration."""
    frames: int
    """How many a message has; the last one is the item."""

    def __init__(self, name: str, config: Config, broker: Any, services: Any) -> None:
        """``broker`` is an ``IBroker``, ``services`` an ``IServices``."""
        self.setName(name)
        self.addresses: tuple[str, ...] = ()
        """Where it is bound or what it connects to, while it runs."""
        self._config = config.handler
        self._broker = broker
        self._services = services
        self._items: list[Item] = []
        """Those of this turn of the reactor."""
        self._complaints = Complaints(f"zmq {name}", services, "items-invalid")
        self._socket: ZmqSocket | None = None

    def startService(self) -> None:
        """:raises ConfigError: an address cannot be used."""
        super().startService()
        room = zmq_room(self._services)
        self._socket = room.open(self.kind, self._received, self._options(), TURN_ITEMS, self._accept)
        try:
            self.addresses = self._attach(self._socket)
        except OSError as error:
            self.stopService()
            raise ConfigError(f"cannot use {error.filename}: {error.strerror}", key=self.key) from None
        self._note("info", ", ".join(self.addresses))

    def stopService(self) -> None:
        super().stopService()
        self.addresses = ()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def finish(self) -> Deferred[None]:
        """Take what publishers have sent by now, then stop: another process is about to bind the address, and
        gets what they send from then on."""
        done: Deferred[None] = Deferred()
        self._look(done, Farewell(self.addresses), FINISH_LOOKS)
        return done

    def _look(self, done: Deferred[None], farewell: Farewell, looks: int) -> None:
        """Has all of it come?"""
        socket = self._socket
        finished = socket is None or not looks
        if not finished and farewell.over and socket is not None and socket.idle:
            farewell = Farewell(self.addresses)  # where nobody can be refused, some may be back already
            finished = farewell.over
        if finished:
            self.stopService()
            done.callback(None)
        else:
            self._services.clock.callLater(FINISH_LOOK, self._look, done, farewell, looks - 1)

    def _options(self) -> Options:
        raise NotImplementedError

    def _attach(self, socket: ZmqSocket) -> tuple[str, ...]:
        """Bind or connect; where it is then.

        :raises OSError:
        """
        raise NotImplementedError

    def _note(self, level: str, text: str) -> None:
        self._services.stats.note(level, f"zmq {self.name}: {text}", "handler")

    def _received(self, frames: Frames) -> None:
        if len(frames) != self.frames:
            self._complaints.drop("frames", f"frames: {len(frames)} instead of {self.frames}")
            return
        channel = frames[0].decode("utf-8", "replace") if self.frames > 1 else None
        try:
            self._items.append(decode_item(frames[-1], channel))
        except PacketError as error:
            self._complaints.drop("packet", str(error))
        except PublishError as error:
            self._complaints.drop("item", error.reason or "unknown action")

    def _accept(self) -> None:
        items, self._items = self._items, []
        self._broker.accept(items)
        if self._broker.congested and self._socket is not None:
            # Further messages wait in ZeroMQ's queues, ours first and then the publishers' own.
            self._socket.pause()
            self._broker.relieve(self._socket.resume)


class PullInput(ZmqInput):
    """Each message is an item."""

    kind = zmq.PULL
    key = "push_in_spec"
    frames = 1

    def _options(self) -> Options:
        return {zmq.RCVHWM: PULL_WAITING}

    def _attach(self, socket: ZmqSocket) -> tuple[str, ...]:
        return (socket.bind(self._config.push_in_spec, self._config.ipc_file_mode),)


@implementer(IChannelWatcher)
class SubInput(ZmqInput):
    """Each message is a channel and an item; publishers know which channels are listened to."""

    kind = zmq.SUB
    key = "push_in_sub_specs"
    frames = 2

    def startService(self) -> None:
        super().startService()
        self._broker.watch(self)

    def stopService(self) -> None:
        self._broker.unwatch(self)
        super().stopService()

    def channel_opened(self, channel: str) -> None:
        """See ``IChannelWatcher``.  The empty topic would stand for all channels."""
        if channel and self._socket is not None:
            self._socket.subscribe(channel.encode())

    def channel_closed(self, channel: str) -> None:
        """See ``IChannelWatcher``."""
        if channel and self._socket is not None:
            self._socket.unsubscribe(channel.encode())

    def channel_forgotten(self, channel: str) -> None:
        """See ``IChannelWatcher``; publishers do not care."""

    def _options(self) -> Options:
        # What is sent are subscriptions, none of which may get lost.
        options: dict[int, int | bytes] = {zmq.RCVHWM: SUB_WAITING, zmq.SNDHWM: 0}
        if self._config.push_in_sub_connect:
            options.update(_KEEP_ALIVE)
        return options

    def _attach(self, socket: ZmqSocket) -> tuple[str, ...]:
        specs = self._config.push_in_sub_specs
        if self._config.push_in_sub_connect:
            for spec in specs:
                socket.connect(spec)
            return specs
        if len(specs) > 1:
            self._note("warn", f"{len(specs)} addresses, of which only {specs[0]} is bound")
        return (socket.bind(specs[0], self._config.ipc_file_mode),)


@implementer(IPlugin, IPublishSource)
class ZmqPull:
    """The publish source that pulls."""

    name = "pull"

    def service(self, config: Config, broker: Any, services: Any) -> PullInput | None:
        """See ``IPublishSource``."""
        return PullInput(self.name, config, broker, services) if config.handler.push_in_spec else None


@implementer(IPlugin, IPublishSource)
class ZmqSub:
    """The publish source that subscribes."""

    name = "sub"

    def service(self, config: Config, broker: Any, services: Any) -> SubInput | None:
        """See ``IPublishSource``."""
        return SubInput(self.name, config, broker, services) if config.handler.push_in_sub_specs else None
