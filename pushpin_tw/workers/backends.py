"""Backends on ZeroMQ, asked by several processes: their sockets are the parent's.

An address can be bound once.  So the processes that serve clients send packets over their links, and the
parent has the sockets of all; ``Relay`` is the one side and ``Desk`` the other.  To backends they are one
pushpin with one instance id.  Whose session a packet is for stands in its id, so that the parent remembers
none.  Never knows what a packet means.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any

from twisted.application.service import Service

from pushpin_tw.complaints import Complaints
from pushpin_tw.errors import PacketError
from pushpin_tw.origin.zhttpports import ReplyPorts, StreamPorts
from pushpin_tw.origin.zhttproom import STREAMING, Hub, ZhttpRoom
from pushpin_tw.origin.zhttpsession import Session
from pushpin_tw.routing.route import Target
from pushpin_tw.wire.zhttp import Packet, parse
from pushpin_tw.workers.link import Link, Message

NAME = "zhttp"
"""The first word of all messages here."""
MARK = 4
"""Hexadecimal digits at the start of a session's id that are the number of its process."""

_fields = attrgetter(*(field.name for field in fields(Packet)))


class LinkedPorts:
    """In place of ``StreamPorts`` and ``ReplyPorts`` where there are no sockets."""

    def __init__(self, link: Link, target: Target) -> None:
        self._link = link
        self._spec = target.address
        self._asked: set[bytes] = set()
        """Sessions whose request may not have left."""
        self._say("open", target.kind == STREAMING, target.ipc_file_mode, target.label)

    def _say(self, what: str, *values: Any) -> None:
        self._link.send(NAME, what, self._spec, *values)

    def begin(self, session: bytes, frame: bytes) -> bool:
        """As ``StreamPorts``; whether a backend has taken it is told later."""
        self._say("begin", session, frame)
        return True

    def send(self, worker: bytes, frame: bytes) -> None:
        """As ``StreamPorts``."""
        self._say("send", worker, frame)

    def ask(self, session: bytes, frame: bytes) -> None:
        """As ``ReplyPorts``."""
        self._asked.add(session)
        self._say("ask", session, frame)

    def answered(self, packet: Packet) -> None:
        """Its requests have left."""
        self._asked.difference_update(name for name, _ in packet.ids)

    def forget(self, session: bytes) -> None:
        """As ``ReplyPorts``."""
        if session in self._asked:
            self._asked.discard(session)
            self._say("forget", session)

    def close(self) -> None:
        """As ``Ports``."""
        self._say("close")


class Relay:
    """The side of a process that serves clients."""

    def __init__(self, number: int, parent: int, link: Link, room: ZhttpRoom) -> None:
        """``number`` is that of this process, ``parent`` the system's number of its parent; ``room`` has no
        targets yet."""
        self._link = link
        self._room = room
        self._ports: dict[str, LinkedPorts] = {}
        room.own = instance_id(parent)
        room.mark = f"{number:0{MARK}x}"
        room.open_ports = self._open

    def _open(self, hub: Hub, target: Target) -> LinkedPorts:
        ports = self._ports[hub.spec] = LinkedPorts(self._link, target)
        return ports

    def hear(self, what: str, spec: str, *values: Any) -> None:
        """The desk says something."""
        hub = self._room.hub(spec)
        if hub is None:
            return
        if what == "packet":
            packet = Packet(*values)
            self._ports[spec].answered(packet)
            hub.dispatch(packet)
        elif what == "bound":
            hub.bound = values[0]
            if not hub.bound:
                hub.cut()
        else:  # "unsent"
            session = hub.sessions.get(values[0])
            if isinstance(session, Session):
                session.unsent()


class Counter:
    """The sockets of one SPEC, and the processes that use them."""

    def __init__(self, desk: Desk, spec: str, streaming: bool, mode: int | None, label: str) -> None:
        self.streaming = streaming
        self.processes: set[int] = set()
        self.ports: Any = None
        """None when they cannot be bound."""
        self.told: set[int] = set()
        """Processes that know whether they could be; who asks again wants another attempt."""
        self._desk = desk
        self._spec = spec
        self._mode = -1 if mode is None else mode
        self._complaints = Complaints(f"target {label}", desk.services, "packets-invalid", "proxy")

    def open(self) -> None:
        """Bind the sockets, if that is possible."""
        services = self._desk.services
        kind = StreamPorts if self.streaming else ReplyPorts
        own = instance_id(os.getpid())
        try:
            self.ports = kind(services, self._spec, own, self._mode, self._received, self._complaints)
        except OSError as error:
            services.stats.note("error", f"unable to bind to {self._spec}: {error.strerror}")

    def close(self) -> None:
        """Nobody uses them any more."""
        ports, self.ports = self.ports, None
        if ports is not None:
            ports.close()

    def _received(self, frame: bytes) -> None:
        """Each process that has one of the sessions gets the packet."""
        try:
            packet = parse(frame)
        except PacketError as error:
            self._complaints.drop("packet", str(error))
            return
        fields = _fields(packet)
        for process in self.processes & {_process(name) for name, _ in packet.ids}:
            self._desk.say(process, "packet", self._spec, *fields)


class Desk:
    """The parent's side."""

    def __init__(self, services: Any, send: Callable[[int, Message], object]) -> None:
        """``send(process, message)``; ``services`` is an ``IServices``."""
        self.services = services
        self._send = send
        self._resting = False
        self._counters: dict[str, Counter] = {}
        self._refused: list[tuple[Any, ...]] = []
        """Arguments of ``_open`` of processes that want the other mode while it is not there yet."""

    def say(self, process: int, what: str, spec: str, *values: Any) -> None:
        """Tell the relay of ``process``."""
        self._send(process, (NAME, what, spec, *values))

    def hear(self, process: int, what: str, spec: str, *values: Any) -> None:
        """The relay of ``process`` says something."""
        if what == "open":
            self._open(process, spec, *values)
            return
        counter = self._counters.get(spec)
        if counter is None or process not in counter.processes:
            return
        if what == "close":
            self._close(process, spec)
        elif counter.ports is None:
            self.say(process, "bound", spec, False)
        elif what == "begin":
            if not counter.ports.begin(*values):
                self.say(process, "unsent", spec, values[0])
        else:  # "send", "ask", "forget"
            getattr(counter.ports, what)(*values)

    def rest(self) -> None:
        """Close everything, until ``resume``: another parent needs the addresses.  Sessions fail."""
        self._resting = True
        for spec, counter in self._counters.items():
            counter.close()
            self._tell_all(spec)

    def resume(self) -> None:
        """Open everything again; harmless when it is open."""
        if not self._resting:
            return
        self._resting = False
        for spec, counter in self._counters.items():
            counter.open()
            self._tell_all(spec)

    def _tell_all(self, spec: str) -> None:
        counter = self._counters[spec]
        for process in sorted(counter.processes):
            self.say(process, "bound", spec, counter.ports is not None)

    def left(self, process: int) -> None:
        """A process has ended, without a word."""
        self._refused = [each for each in self._refused if each[0] != process]
        for spec in [spec for spec, counter in self._counters.items() if process in counter.processes]:
            self._close(process, spec)

    def _open(self, process: int, spec: str, streaming: bool, mode: int | None, label: str) -> None:
        counter = self._counters.get(spec)
        if counter is None or (counter.ports is None and process in counter.told):
            processes = set() if counter is None else counter.processes
            counter = self._counters[spec] = Counter(self, spec, streaming, mode, label)
            counter.processes = processes
            if not self._resting:
                counter.open()
        counter.told.add(process)
        if counter.streaming != streaming:
            self._refused.append((process, spec, streaming, mode, label))
            self.say(process, "bound", spec, False)
            return
        counter.processes.add(process)
        self._tell_all(spec)

    def _close(self, process: int, spec: str) -> None:
        counter = self._counters[spec]
        counter.processes.discard(process)
        if counter.processes:
            return
        counter.close()
        del self._counters[spec]
        waiting = [each for each in self._refused if each[1] == spec]
        self._refused = [each for each in self._refused if each[1] != spec]
        for each in waiting:
            self._open(*each)


class DeskService(Service):
    """The desk as a part of the service; two parents cannot have its sockets at once."""

    def __init__(self, desk: Desk) -> None:
        self.setName("zhttp")
        self._desk = desk

    def startService(self) -> None:
        super().startService()
        self._desk.resume()

    def stopService(self) -> None:
        super().stopService()
        self._desk.rest()


def instance_id(parent: int) -> bytes:
    """What backends call all processes of one pushpin, after the ``parent``."""
    return b"proxy_%d" % parent


def _process(session: bytes) -> int:
    """Whose session it is; -1 when it is nobody's."""
    try:
        return int(session[:MARK], 16)
    except ValueError:
        return -1
