"""Commands over ZeroMQ: what other programs ask of the proxy (zeromq 4).

Called by the service as the publish source ``command``.  Answers what it can at once; who looks after
connections, in this process or in others, may answer later, and has a limit.  Never waits for a delivery.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zmq
from twisted.application.service import Service
from twisted.plugin import IPlugin
from zope.interface import implementer

from pushpin_tw.complaints import Complaints
from pushpin_tw.config import Config
from pushpin_tw.errors import ConfigError, PacketError, PublishError
from pushpin_tw.extensions import IPublishSource
from pushpin_tw.grip.item import items_of
from pushpin_tw.wire.zrpc import (
    BAD_REQUEST,
    ITEM_NOT_FOUND,
    METHOD_NOT_FOUND,
    REQUEST_FAILED,
    TIMEOUT,
    Command,
    Outcome,
    read_command,
    write_outcome,
)
from pushpin_tw.zmqsocket import Frames, Options, ZmqSocket, zmq_room

MAX_UNANSWERED = 100
"""Commands that wait for their answer; no more are read until one has it."""
LINGER = 500
"""Milliseconds that answers may take to leave when the socket is closed."""
PATIENCE = 10.0
"""Seconds for whoever looks after connections to answer."""

_BAD = Outcome(condition=BAD_REQUEST)
_DONE = Outcome()


class Unanswered:
    """A command that others have to answer; an entry of the timer wheel."""

    __slots__ = ("_late", "_socket", "command", "due", "slot")

    def __init__(self, socket: CommandSocket, command: Command, late: str) -> None:
        """``late``: the condition when there is no answer in time."""
        self.command = command
        self.due = self.slot = 0
        self._socket = socket
        self._late = late

    def found(self, names: list[str]) -> None:
        """See ``IConnections.find``."""
        self._socket.settle(self, Outcome(names))

    def refreshed(self, found: bool) -> None:
        """See ``IConnections.refresh``."""
        self._socket.settle(self, _DONE if found else Outcome(condition=ITEM_NOT_FOUND))

    def expired(self) -> None:
        """The wheel's call."""
        self._socket.settle(self, Outcome(condition=self._late))


class CommandSocket(Service):
    """Where commands come in, while it runs."""

    key = "command_spec"

    def __init__(self, name: str, config: Config, broker: Any, services: Any) -> None:
        """``broker`` is an ``IItems``, ``services`` an ``IServices``."""
        self.setName(name)
        self.address = ""
        """Where it is bound, while it runs."""
        self._config = config.handler
        self._broker = broker
        self._services = services
        self._complaints = Complaints("zmq command", services, "commands-invalid")
        self._socket: ZmqSocket | None = None
        self._unanswered: set[Unanswered] = set()
        self._methods: dict[str, Callable[[Command], Outcome | None]] = {
            "get-zmq-uris": self._addresses,
            "conncheck": self._find,
            "refresh": self._refresh,
            "recover": self._recover,
            "publish": self._publish,
        }

    def startService(self) -> None:
        """:raises ConfigError: the address cannot be used."""
        super().startService()
        options: Options = {zmq.RCVHWM: MAX_UNANSWERED, zmq.LINGER: LINGER}
        self._socket = zmq_room(self._services).open(zmq.ROUTER, self._received, options)
        try:
            self.address = self._socket.bind(self._config.command_spec, self._config.ipc_file_mode)
        except OSError as error:
            self.stopService()
            raise ConfigError(f"cannot use {error.filename}: {error.strerror}", key=self.key) from None
        self._services.stats.note("info", f"zmq command: {self.address}", "handler")

    def stopService(self) -> None:
        super().stopService()
        self.address = ""
        for each in self._unanswered:
            self._services.wheel.cancel(each)
        self._unanswered.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # ---- commands in, answers out --------------------------------------------------------------------------

    def _received(self, frames: Frames) -> None:
        try:
            command = read_command(frames)
        except PacketError as error:
            self._complaints.drop("packet", str(error))
            return
        method = self._methods.get(command.method)
        outcome = Outcome(condition=METHOD_NOT_FOUND) if method is None else method(command)
        if outcome is not None:
            self._answer(command, outcome)

    def _answer(self, command: Command, outcome: Outcome) -> None:
        if self._socket is not None:
            self._socket.send(write_outcome(command, outcome))

    def _wait(self, command: Command, late: str) -> Unanswered:
        waiting = Unanswered(self, command, late)
        self._unanswered.add(waiting)
        self._services.wheel.schedule(waiting, PATIENCE)
        self._pace()
        return waiting

    def settle(self, waiting: Unanswered, outcome: Outcome) -> None:
        """The answer that a command has waited for; a second one comes too late."""
        if waiting not in self._unanswered:
            return
        self._unanswered.remove(waiting)
        self._services.wheel.cancel(waiting)
        self._answer(waiting.command, outcome)
        self._pace()

    def _pace(self) -> None:
        """Read no more than can be dealt with."""
        if self._socket is None:
            return
        if len(self._unanswered) >= MAX_UNANSWERED or self._broker.congested:
            self._socket.pause()
        else:
            self._socket.resume()

    # ---- what can be asked ---------------------------------------------------------------------------------

    def _addresses(self, command: Command) -> Outcome:
        """Where publishers may connect to (zeromq 4.4): as configured, since only they know this machine's
        name."""
        config = self._config
        found = {"command": config.command_spec}
        if config.push_in_spec:
            found["publish-pull"] = config.push_in_spec
        if config.push_in_sub_specs and not config.push_in_sub_connect:
            found["publish-sub"] = config.push_in_sub_specs[0]
        return Outcome(found)

    def _find(self, command: Command) -> Outcome | None:
        names = command.args.get("ids")
        if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
            return _BAD
        wanted = [name.decode("utf-8", "replace") for name in names]
        self._services.connections.find(wanted, self._wait(command, REQUEST_FAILED).found)
        return None

    def _refresh(self, command: Command) -> Outcome | None:
        name, channel = command.args.get("cid"), command.args.get("channel")
        if isinstance(name, bytes):
            waiting = self._wait(command, TIMEOUT)
            self._services.connections.refresh(name.decode("utf-8", "replace"), waiting.refreshed)
            return None
        if "cid" in command.args or not isinstance(channel, bytes):
            return _BAD
        self._services.connections.refresh_channel(channel.decode("utf-8", "replace"))
        return _DONE

    def _recover(self, command: Command) -> Outcome:
        self._broker.recover()
        return _DONE

    def _publish(self, command: Command) -> Outcome:
        try:
            items = items_of(command.args, True)
        except PublishError as error:
            return Outcome(error.reason, BAD_REQUEST)
        self._broker.accept(items)
        if self._broker.congested:
            self._pace()
            self._broker.relieve(self._pace)
        return _DONE


@implementer(IPlugin, IPublishSource)
class ZmqCommand:
    """The publish source that takes commands."""

    name = "command"

    def service(self, config: Config, broker: Any, services: Any) -> CommandSocket | None:
        """See ``IPublishSource``."""
        return CommandSocket(self.name, config, broker, services) if config.handler.command_spec else None
