"""Where programs come in that ask over ZHTTP: three sockets, and the sessions behind them (zeromq 2.13).

Made by ``service`` when ``zhttp_in_spec`` of ``[tw]`` is set.  A program pushes the first packet of each
session to one socket, and later ones through ROUTER; answers go to its SUB, or through ROUTER if it says so.
Decides which first packets begin a session; what happens then is the sessions' business.  What is no packet
is counted, told to the log now and then, and dropped.
"""

from __future__ import annotations

import errno
import os
from typing import Any

import zmq

from pushpin_tw.complaints import Complaints
from pushpin_tw.edge.zhttprequest import AskedRequest
from pushpin_tw.edge.zhttpsession import Key, Session
from pushpin_tw.edge.zhttpsocket import AskedSocket
from pushpin_tw.errors import ConfigError, HttpError, PacketError, RouteSyntaxError
from pushpin_tw.routing.route import parse_zmq_spec, zhttp_specs
from pushpin_tw.wire import zhttp
from pushpin_tw.wire.zhttpasked import (
    BAD_REQUEST,
    Question,
    error,
    extended,
    parse_question,
    request_of,
    unnumbered_cancel,
)
from pushpin_tw.zmqsocket import Frames, Options, ZmqSocket, zmq_room

KEY = "zhttp_in_spec"
FEW = 100
"""Requests of one program that may wait for us."""
MANY = 101_000
"""Other packets that may wait, for us or for a program."""
LINGER = 500
"""Milliseconds for which packets may still leave when all ends."""
RETRY = 2.0
"""Seconds until a process tries again to get addresses that another one has."""
PROBE_ACK = b"probe-ack"


class ZhttpInlet:
    """The sockets and the sessions."""

    def __init__(self, config: Any, gateway: Any, services: Any, shared: bool = False) -> None:
        """``config`` is a ``config.Config``, ``gateway`` an ``IGateway``, ``services`` an ``IServices``.

        ``shared``: other processes want the same addresses, and one at a time has them.
        """
        self.services = services
        self.sessions: dict[Key, Session] = {}
        self.own = b""
        """Our instance id."""
        self.addresses: tuple[str, ...] = ()
        """Where it is bound, while it runs: PULL, ROUTER, PUB."""
        self._shared = shared
        self._config = config
        self._gateway = gateway
        self._limit: int = config.runner.client_maxconn
        self._complaints = Complaints("zhttp in", services, "packets-invalid", "connmgr")
        self._sockets: list[ZmqSocket] = []
        self.due = self.slot = 0

    # ---- start and stop ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """:raises ConfigError: an address cannot be used."""
        self.own = b"proxy_%d" % os.getpid()
        self._bind()

    def _bind(self) -> None:
        many: Options = {zmq.SNDHWM: MANY, zmq.RCVHWM: MANY, zmq.LINGER: LINGER}
        try:
            out, stream, back = zhttp_specs(parse_zmq_spec(self._config.tw.zhttp_in_spec))
            self._pull = self._open(zmq.PULL, out, {zmq.RCVHWM: FEW}, self._pulled)
            self._router = self._open(zmq.ROUTER, stream, {**many, zmq.IDENTITY: self.own}, self._routed)
            self._pub = self._open(zmq.PUB, back, many, _nothing)
        except RouteSyntaxError as problem:
            raise ConfigError(str(problem), key=KEY) from None
        except OSError as problem:
            self._close()
            if not self._shared or problem.errno != errno.EADDRINUSE:
                raise ConfigError(f"cannot use {problem.filename}: {problem.strerror}", key=KEY) from None
            self.services.wheel.schedule(self, RETRY)
        else:
            self.services.stats.note("info", f"zhttp in: {', '.join(self.addresses)}", "connmgr")

    def expired(self) -> None:
        """Whoever has the addresses may have gone."""
        try:
            self._bind()
        except ConfigError as problem:
            self.services.stats.note("error", str(problem), "connmgr")

    def _open(self, kind: int, spec: str, options: Options, received: Any) -> ZmqSocket:
        socket = zmq_room(self.services).open(kind, received, options)
        self._sockets.append(socket)
        self.addresses += (socket.bind(spec, self._config.handler.ipc_file_mode),)
        return socket

    def stopService(self) -> None:
        """Cancel all sessions, and close the sockets."""
        self.services.wheel.cancel(self)
        for session in list(self.sessions.values()):
            session.end(tell=True)
        self._close()

    def _close(self) -> None:
        for socket in self._sockets:
            socket.close()
        self._sockets = []
        self.addresses = ()

    # ---- for sessions (Inlet) ------------------------------------------------------------------------------

    def answer(self, program: bytes, frame: bytes, welcome: bool) -> None:
        """As ``Inlet``.  Lost when there is no such program (any more)."""
        if not self._sockets:
            return
        if welcome:
            self._router.send((program, b"", frame))
        else:
            self._pub.send((program + b" " + frame,))

    def forget(self, session: Session) -> None:
        """As ``Inlet``; there is room for another one now."""
        del self.sessions[session.key]
        self._pull.resume()

    def overrun(self) -> None:
        """As ``Inlet``."""
        self._complaints.warn("window", "a program sends on and on without credits")

    # ---- first packets -------------------------------------------------------------------------------------

    def _pulled(self, frames: Frames) -> None:
        if len(frames) != 1:
            self._complaints.drop("frames", f"frames: {len(frames)} instead of 1")
            return
        try:
            question = parse_question(frames[0])
        except PacketError as problem:
            self._complaints.drop("packet", str(problem))
            return
        if question.packet.type in ("error", "cancel"):
            self._complaints.drop("type", f"{question.packet.type} for no session")
            return
        refusal = self._refusal(question)
        if refusal is None:
            self._begin(question)
        else:
            self._refuse(question, refusal)

    def _refusal(self, question: Question) -> bytes | None:
        """What a question is answered that begins no session (zeromq 2.13); None when it may begin one."""
        packet = question.packet
        name = packet.ids[0][0]
        if packet.type:
            return zhttp.cancel(self.own, name, 0)
        if (packet.sender, name) in self.sessions or not question.known:
            return unnumbered_cancel(self.own, name)
        return None if question.sound else error(self.own, name, 0, BAD_REQUEST)

    def _refuse(self, question: Question, frame: bytes) -> None:
        frame = extended(frame, question.echo) if question.echo else frame
        self.answer(question.packet.sender, frame, question.welcome)

    def _begin(self, question: Question) -> None:
        packet = question.packet
        try:
            request = request_of(question)
        except HttpError:
            self._refuse(question, error(self.own, packet.ids[0][0], 0, BAD_REQUEST))
            return
        kind = AskedSocket if question.socket else AskedRequest
        session = kind(self, question, request)
        self.sessions[session.key] = session
        if len(self.sessions) >= self._limit:
            self._pull.pause()
        session.begin(packet, self._gateway)

    # ---- later packets -------------------------------------------------------------------------------------

    def _routed(self, frames: Frames) -> None:
        if len(frames) == 2:
            self._router.send((frames[0], b"", PROBE_ACK))
            return
        if len(frames) != 3:
            self._complaints.drop("frames", f"frames: {len(frames)} instead of 3")
            return
        try:
            packet = zhttp.parse(frames[2])
        except PacketError as problem:
            self._complaints.drop("packet", str(problem))
            return
        for name, seq in packet.ids:
            session = self.sessions.get((packet.sender, name))
            if session is None:
                continue
            try:
                session.packet(packet, seq)
            except Exception:
                self.services.stats.failure("client request")


def _nothing(frames: Frames) -> None:
    """A PUB socket receives nothing."""
