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
* ``StreamHub.begin(frame)`` sends the first packet, to any worker, and is False when none can take it;
  ``StreamHub.send(worker, frame)`` a later one, to the worker called ``worker`` (bytes).
* ``ReplyHub.ask(session, frame)`` sends the request; when no worker is there, as soon as one comes.

``zhttpsession.Session`` does all that for sessions with a streaming worker.  What is no packet, or names no
session, is dropped here: nothing in it counts, and a worker may send it again in order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Protocol

import zmq

from pushpin_tw.complaints import Complaints
from pushpin_tw.errors import PacketError
from pushpin_tw.origin.zhttpalive import KeepAlives
from pushpin_tw.routing.route import Target, zhttp_specs
from pushpin_tw.wire.zhttp import Packet, parse
from pushpin_tw.zmqsocket import Frames, Options, ZmqSocket, zmq_room

STREAMING = "zhttp"
REPLYING = "zhttpreq"
MAX_SPECS = 100
"""SPECs that routes may name; requests for others fail."""
FEW = 100
"""Requests that may wait in the socket for one worker, and answers from it."""
MANY = 101_000
"""The same of what has to arrive."""
LINGER = 500
"""Milliseconds for which packets to workers may still leave when all ends."""
_PROBE = b"probe-ack"


class Registered(Protocol):
    """What a hub knows of a session."""

    @property
    def id(self) -> bytes: ...

    def packet(self, packet: Packet, seq: int | None) -> None: ...


def new_id() -> bytes:
    """A name for a session that nobody can guess."""
    # A UUID of version 4 (RFC 9562, 5.4); the module for them takes four times as long.
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}".encode()


class Hub:
    """The sockets of one SPEC and the sessions that use them."""

    streaming: bool

    def __init__(self, room: ZhttpRoom, target: Target) -> None:
        self.room = room
        self.spec = target.address
        self.own = room.own
        self.bound = False
        self.sessions: dict[bytes, Registered] = {}
        self.complaints = Complaints(f"target {target.label}", room.services, "packets-invalid", "proxy")
        self._sockets: list[ZmqSocket] = []
        mode = target.ipc_file_mode
        try:
            self._bind(-1 if mode is None else mode)
        except OSError as error:
            room.services.stats.note("error", f"unable to bind to {self.spec}: {error.strerror}")
            self.close()
        else:
            self.bound = True

    def _bind(self, mode: int) -> None:
        """:raises OSError:"""
        raise NotImplementedError

    def _open(self, kind: int, spec: str, mode: int, received: Any, options: Options) -> ZmqSocket:
        socket = zmq_room(self.room.services).open(kind, received, options)
        self._sockets.append(socket)
        socket.bind(spec, mode)
        return socket

    def close(self) -> None:
        """No more packets."""
        self.bound = False
        for socket in self._sockets:
            socket.close()
        self._sockets = []

    def register(self, session: Registered) -> None:
        """From now on ``session`` gets its packets."""
        self.sessions[session.id] = session

    def forget(self, session: Registered) -> None:
        """The opposite; harmless when it is not registered."""
        if self.sessions.pop(session.id, None) is not None and not self.sessions:
            self.room.idle(self)

    def _packet(self, frame: bytes) -> None:
        try:
            packet = parse(frame)
        except PacketError as error:
            self.complaints.drop("packet", str(error))
            return
        for name, seq in packet.ids:
            session = self.sessions.get(name)
            if session is None:
                continue
            try:
                session.packet(packet, seq)
            except Exception:
                self.room.services.stats.failure("origin")

    def _wrong_frames(self, count: int, expected: int) -> None:
        self.complaints.drop("frames", f"frames: {count} instead of {expected}")


class StreamHub(Hub):
    """For workers that pull requests and stream answers."""

    streaming = True

    def _bind(self, mode: int) -> None:
        out, stream, back = zhttp_specs(self.spec)
        few: Options = {zmq.SNDHWM: FEW, zmq.RCVHWM: FEW}
        many: Options = {zmq.SNDHWM: MANY, zmq.RCVHWM: MANY}
        named: Options = {**many, zmq.LINGER: LINGER, zmq.IDENTITY: self.own}
        self._push = self._open(zmq.PUSH, out, mode, _nothing, few)
        self._router = self._open(zmq.ROUTER, stream, mode, self._routed, named)
        self._open(zmq.SUB, back, mode, self._published, many).subscribe(self.own + b" ")

    def begin(self, frame: bytes) -> bool:
        """Send the first packet of a session; False when no worker can take it."""
        return self.bound and self._push.send((frame,))

    def send(self, worker: bytes, frame: bytes) -> None:
        """A later packet of a session; lost when no worker has that identity."""
        if self.bound:
            self._router.send((worker, b"", frame))

    def _published(self, frames: Frames) -> None:
        if len(frames) != 1:
            self._wrong_frames(len(frames), 1)
            return
        self._packet(frames[0][len(self.own) + 1 :])

    def _routed(self, frames: Frames) -> None:
        if len(frames) != 3:
            self._wrong_frames(len(frames), 3)
        elif frames[2] != _PROBE:
            self._packet(frames[2])


class ReplyHub(Hub):
    """For workers that answer a request with one packet."""

    streaming = False

    def __init__(self, room: ZhttpRoom, target: Target) -> None:
        self._waiting: dict[bytes, bytes] = {}
        """Requests that no worker could take, by the ids of their sessions, in order."""
        super().__init__(room, target)

    def _bind(self, mode: int) -> None:
        options: Options = {zmq.SNDHWM: FEW, zmq.RCVHWM: FEW}
        self._dealer = self._open(zmq.DEALER, self.spec, mode, self._replied, options)

    def ask(self, session: Registered, frame: bytes) -> None:
        """Send the one packet of a session, now or when a worker can take it."""
        if self.bound and (self._waiting or not self._dealer.send((b"", frame))):
            self._waiting[session.id] = frame
            self._dealer.on_room = self._ask_on

    def _ask_on(self) -> None:
        """A worker takes more."""
        while self._waiting:
            session, frame = next(iter(self._waiting.items()))
            if not self._dealer.send((b"", frame)):
                self._dealer.on_room = self._ask_on
                return
            del self._waiting[session]

    def forget(self, session: Registered) -> None:
        """As ``Hub``."""
        self._waiting.pop(session.id, None)
        super().forget(session)

    def _replied(self, frames: Frames) -> None:
        if len(frames) != 2:
            self._wrong_frames(len(frames), 2)
        else:
            self._packet(frames[1])


def _nothing(frames: Frames) -> None:
    """A PUSH socket receives nothing."""


class ZhttpRoom:
    """The hubs of this process."""

    def __init__(self, services: Any) -> None:
        """``services`` is an ``IServices``."""
        self.services = services
        self.alive = KeepAlives(services.wheel)
        self.suffix = ""
        """What follows the instance id, when several processes are one pushpin; set before any target."""
        self._hubs: dict[str, Hub] = {}
        self._named: dict[str, Target] = {}
        """SPECs that the routes name, with the first target of each."""

    @property
    def own(self) -> bytes:
        """Our instance id."""
        return f"proxy_{os.getpid()}{self.suffix}".encode()

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

    def _open(self, spec: str) -> None:
        """Bind what is wanted for ``spec``, unless it is, or something else still is in use."""
        target = self._named[spec]
        streaming = target.kind == STREAMING
        hub = self._hubs.get(spec)
        if hub is not None:
            if hub.sessions or (hub.bound and hub.streaming == streaming):
                return
            hub.close()
        self._hubs[spec] = (StreamHub if streaming else ReplyHub)(self, target)

    def idle(self, hub: Hub) -> None:
        """Nobody uses ``hub`` at the moment; perhaps nobody names it either, or a hub of another kind."""
        if hub.sessions or self._hubs.get(hub.spec) is not hub:
            return
        target = self._named.get(hub.spec)
        if target is None:
            hub.close()
            del self._hubs[hub.spec]
        elif hub.streaming != (target.kind == STREAMING):
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
