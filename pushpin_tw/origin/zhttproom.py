"""The sockets of backends that speak ZHTTP, shared by all targets with the same SPEC (zeromq 2.1 to 2.3).

There is one ``ZhttpRoom`` in a process, ``zhttp_room(services)``.  The target types tell it which targets the
routes name; it binds what is new at once and closes what nobody names nor uses any more.  For each SPEC it
has a *hub*: a ``StreamHub`` (``zhttp``) or a ``ReplyHub`` (``zhttpreq``), whichever line came first.

Origins speak through a hub in the same way, whatever its kind:

* ``hub.own``: our instance id, the ``from`` of every packet; ``hub.bound``: whether the sockets are there.
* ``hub.register(session)`` at the beginning, ``hub.forget(session)`` at the end, always.
* ``session.id`` (bytes, see ``new_id``) is its name in packets; ``session.packet(packet, seq)`` is called
  with each ``wire.zhttp.Packet`` that names it, and with its own number in there, None when it has none.
  What it raises is told to the log and costs nobody else anything.
* ``session.abandon()`` is called when the sockets are taken away: it fails.
* ``StreamHub.begin(session, frame)`` sends the first packet, to any worker, and is False when none can take
  it; ``StreamHub.send(worker, frame)`` a later one, to the worker called ``worker`` (bytes).
* ``ReplyHub.ask(session, frame)`` sends the request; when no worker is there, as soon as one comes.

``zhttpsession.Session`` does all that for sessions with a streaming worker.  What is no packet, or names no
session, is dropped here: nothing in it counts, and a worker may send it again in order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from pushpin_tw.complaints import Complaints
from pushpin_tw.errors import PacketError
from pushpin_tw.origin.zhttpalive import KeepAlives
from pushpin_tw.origin.zhttpports import ReplyPorts, StreamPorts
from pushpin_tw.routing.route import Target
from pushpin_tw.wire.zhttp import Packet, parse

STREAMING = "zhttp"
REPLYING = "zhttpreq"
MAX_SPECS = 100
"""SPECs that routes may name; requests for others fail."""


class Registered(Protocol):
    """What a hub knows of a session."""

    @property
    def id(self) -> bytes: ...

    def packet(self, packet: Packet, seq: int | None) -> None: ...

    def abandon(self) -> None: ...


def new_id(mark: str = "") -> bytes:
    """A name for a session that nobody can guess, with ``mark`` (a few hexadecimal digits) at its start."""
    # A UUID of version 4 (RFC 9562, 5.4); the module for them takes four times as long.
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    start = mark + digits[len(mark) : 8]
    return f"{start}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}".encode()


class Hub:
    """The sockets of one SPEC and the sessions that use them."""

    def __init__(self, room: ZhttpRoom, target: Target) -> None:
        self.room = room
        self.spec = target.address
        self.own = room.own
        self.bound = False
        self.sessions: dict[bytes, Registered] = {}
        self.complaints = Complaints(f"target {target.label}", room.services, "packets-invalid", "proxy")
        self._ports: Any = None
        try:
            self._ports = room.open_ports(self, target)
        except OSError as error:
            room.services.stats.note("error", f"unable to bind to {self.spec}: {error.strerror}")
        else:
            self.bound = True

    def close(self) -> None:
        """No more packets."""
        self.bound = False
        ports, self._ports = self._ports, None
        if ports is not None:
            ports.close()

    def register(self, session: Registered) -> None:
        """From now on ``session`` gets its packets."""
        self.sessions[session.id] = session

    def forget(self, session: Registered) -> None:
        """The opposite; harmless when it is not registered."""
        if self.sessions.pop(session.id, None) is not None and not self.sessions:
            self.room.idle(self)

    def cut(self) -> None:
        """Fail all sessions."""
        for session in tuple(self.sessions.values()):
            try:
                session.abandon()
            except Exception:
                self.room.services.stats.failure("origin")

    def received(self, frame: bytes) -> None:
        """A packet has come, or what a worker takes for one."""
        try:
            packet = parse(frame)
        except PacketError as error:
            self.complaints.drop("packet", str(error))
        else:
            self.dispatch(packet)

    def dispatch(self, packet: Packet) -> None:
        """Hand ``packet`` to the sessions that it names."""
        for name, seq in packet.ids:
            session = self.sessions.get(name)
            if session is None:
                continue
            try:
                session.packet(packet, seq)
            except Exception:
                self.room.services.stats.failure("origin")


class StreamHub(Hub):
    """For workers that pull requests and stream answers."""

    def begin(self, session: Registered, frame: bytes) -> bool:
        """Send the first packet of ``session``; False when no worker can take it."""
        return self.bound and self._ports.begin(session.id, frame)

    def send(self, worker: bytes, frame: bytes) -> None:
        """A later packet of a session; lost when no worker has that identity."""
        if self.bound:
            self._ports.send(worker, frame)


class ReplyHub(Hub):
    """For workers that answer a request with one packet."""

    def ask(self, session: Registered, frame: bytes) -> None:
        """Send the one packet of a session, now or when a worker can take it."""
        if self.bound:
            self._ports.ask(session.id, frame)

    def forget(self, session: Registered) -> None:
        """As ``Hub``."""
        if self.bound:
            self._ports.forget(session.id)
        super().forget(session)


class ZhttpRoom:
    """The hubs of this process."""

    def __init__(self, services: Any) -> None:
        """``services`` is an ``IServices``."""
        self.services = services
        self.alive = KeepAlives(services.wheel)
        self.own = b"proxy_%d" % os.getpid()
        """Our instance id."""
        self.mark = ""
        """What the ids of our sessions begin with."""
        self.open_ports: Callable[[Hub, Target], Any] = self._open_ports
        """Makes the ports of a hub for a target.

        :raises OSError: an address cannot be used.
        """
        self._resting = False
        """Whether there are to be no sockets, whatever the routes name."""
        self._on_idle: Callable[[], None] | None = None
        self._hubs: dict[str, Hub] = {}
        self._named: dict[str, Target] = {}
        """SPECs that the routes name, with the first target of each."""

    def _open_ports(self, hub: Hub, target: Target) -> StreamPorts | ReplyPorts:
        kind = StreamPorts if target.kind == STREAMING else ReplyPorts
        mode = -1 if target.ipc_file_mode is None else target.ipc_file_mode
        return kind(self.services, hub.spec, hub.own, mode, hub.received, hub.complaints)

    def hub(self, spec: str) -> Hub | None:
        """The hub of ``spec``; None when there is none (any more)."""
        return self._hubs.get(spec)

    def add(self, target: Target) -> None:
        """A route names ``target``."""
        spec = target.address
        if spec in self._named:
            return
        if len(self._named) == MAX_SPECS:
            self.services.stats.note("error", f"target {target.label}: more than {MAX_SPECS} of its kind")
            return
        self._named[spec] = target
        self._open(spec)

    def keep(self, targets: Iterable[Target]) -> None:
        """The routes have changed and name these targets, in the order of their lines, and no others.

        Sockets without sessions change at once, others when their last session ends.
        """
        self._named = {}
        wanted = [target for target in targets if target.kind in (STREAMING, REPLYING)]
        named = {target.address for target in wanted}
        for hub in [hub for spec, hub in self._hubs.items() if spec not in named]:
            self.idle(hub)  # first, since others may want their ports
        for target in wanted:
            self.add(target)

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call ``call`` once, when there are no sessions; perhaps within this call."""
        if any(hub.sessions for hub in self._hubs.values()):
            self._on_idle = call
        else:
            call()

    def rest(self) -> None:
        """Close everything, until ``resume``: somebody else needs the addresses.  Sessions fail."""
        self._resting = True
        self._on_idle = None
        for hub in tuple(self._hubs.values()):
            hub.cut()
            hub.close()
        self._hubs.clear()

    def resume(self) -> None:
        """Open what the routes name by now; harmless when it is open."""
        self._resting = False
        for spec in self._named:
            if spec not in self._hubs:
                self._open(spec)

    def _open(self, spec: str) -> None:
        """Bind what is wanted for ``spec``, unless it is, or something else still is in use."""
        if self._resting:
            return
        target = self._named[spec]
        kind = StreamHub if target.kind == STREAMING else ReplyHub
        hub = self._hubs.get(spec)
        if hub is not None:
            if hub.sessions or (hub.bound and isinstance(hub, kind)):
                return
            hub.close()
        self._hubs[spec] = kind(self, target)

    def idle(self, hub: Hub) -> None:
        """Nobody uses ``hub`` at the moment; perhaps nobody names it either, or a hub of another kind."""
        if hub.sessions or self._hubs.get(hub.spec) is not hub:
            return
        if self._on_idle is not None:
            call, self._on_idle = self._on_idle, None
            self.when_idle(call)
        target = self._named.get(hub.spec)
        if target is None:
            hub.close()
            del self._hubs[hub.spec]
        elif isinstance(hub, StreamHub) != (target.kind == STREAMING):
            self._open(hub.spec)

    def stop(self) -> None:
        """Close everything."""
        for hub in self._hubs.values():
            hub.close()
        self._hubs.clear()
        self._named.clear()


def zhttp_room(services: Any) -> ZhttpRoom:
    """The one room of this process; ``services`` is an ``IServices``."""
    room: ZhttpRoom = services.shared("origin.zhttp", lambda: ZhttpRoom(services))
    return room
