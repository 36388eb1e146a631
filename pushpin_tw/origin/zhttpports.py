"""The ZeroMQ sockets behind a hub, or what stands for them in a process that has none (zeromq 2.1 to 2.3).

Made by ``zhttproom`` for each SPEC.  Knows frames and which peer they go to; what is within a packet is for
others.  Frames in the wrong number are dropped here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import zmq

from pushpin_tw.complaints import Complaints
from pushpin_tw.routing.route import zhttp_specs
from pushpin_tw.zmqsocket import Frames, Options, ZmqSocket, zmq_room

FEW = 100
"""Requests that may wait in the socket for one worker, and answers from it."""
MANY = 101_000
"""The same of what has to arrive."""
LINGER = 500
"""Milliseconds for which packets to workers may still leave when all ends."""
TOGETHER = 8
"""Requests that are sent to workers together."""
_PROBE = b"probe-ack"


class Ports:
    """All sockets of one SPEC."""

    def __init__(
        self,
        services: Any,
        spec: str,
        own: bytes,
        mode: int,
        received: Callable[[bytes], None],
        complaints: Complaints,
    ) -> None:
        """``own`` is our instance id, ``mode`` as for ``ZmqSocket.bind``; ``received(frame)`` is given each
        packet.

        :raises OSError: an address cannot be used; nothing is open then.
        """
        self._services = services
        self._spec = spec
        self._own = own
        self._mode = mode
        self._received = received
        self._complaints = complaints
        self._sockets: list[ZmqSocket] = []
        try:
            self._bind()
        except OSError:
            self.close()
            raise

    def _bind(self) -> None:
        """:raises OSError:"""
        raise NotImplementedError

    def _open(self, kind: int, spec: str, received: Callable[[Frames], None], options: Options) -> ZmqSocket:
        socket = zmq_room(self._services).open(kind, received, options)
        self._sockets.append(socket)
        socket.bind(spec, self._mode)
        return socket

    def close(self) -> None:
        """No more packets."""
        for socket in self._sockets:
            socket.close()
        self._sockets = []

    def _wrong_frames(self, count: int, expected: int) -> None:
        self._complaints.drop("frames", f"frames: {count} instead of {expected}")


class StreamPorts(Ports):
    """For workers that pull requests and stream answers."""

    def _bind(self) -> None:
        out, stream, back = zhttp_specs(self._spec)
        few: Options = {zmq.SNDHWM: FEW, zmq.RCVHWM: FEW}
        many: Options = {zmq.SNDHWM: MANY, zmq.RCVHWM: MANY}
        named: Options = {**many, zmq.LINGER: LINGER, zmq.IDENTITY: self._own}
        self._push = self._open(zmq.PUSH, out, _nothing, few)
        self._router = self._open(zmq.ROUTER, stream, self._routed, named)
        self._open(zmq.SUB, back, self._published, many).subscribe(self._own + b" ")

    def begin(self, session: bytes, frame: bytes) -> bool:
        """Send the first packet of ``session`` to any worker; False when none can take it."""
        return self._push.send((frame,))

    def send(self, worker: bytes, frame: bytes) -> None:
        """A later packet; lost when no worker has that identity."""
        self._router.send((worker, b"", frame))

    def _published(self, frames: Frames) -> None:
        if len(frames) != 1:
            self._wrong_frames(len(frames), 1)
            return
        self._received(frames[0][len(self._own) + 1 :])

    def _routed(self, frames: Frames) -> None:
        if len(frames) != 3:
            self._wrong_frames(len(frames), 3)
        elif frames[2] != _PROBE:
            self._received(frames[2])


class ReplyPorts(Ports):
    """For workers that answer a request with one packet."""

    def _bind(self) -> None:
        self._waiting: OrderedDict[bytes, bytes] = OrderedDict()
        """Requests that have not left, by the ids of their sessions, in order."""
        self._turn: Any = None
        """The call that sends them."""
        options: Options = {zmq.SNDHWM: FEW, zmq.RCVHWM: FEW}
        self._dealer = self._open(zmq.DEALER, self._spec, self._replied, options)

    def ask(self, session: bytes, frame: bytes) -> None:
        """Send the one packet of ``session`` when a worker can take it.

        A few go together, and what is left of them at the end of the reactor's turn: each time, the thread
        that does the work for ZeroMQ is woken and writes.  With all of them workers would be idle meanwhile.
        """
        self._waiting[session] = frame
        if self._dealer.on_room is not None:
            return
        if len(self._waiting) >= TOGETHER:
            self._ask_now()
        elif self._turn is None:
            self._turn = self._services.reactor.callLater(0, self._turn_over)

    def _turn_over(self) -> None:
        self._turn = None
        self._ask_now()

    def _ask_now(self) -> None:
        while self._waiting:
            session, frame = next(iter(self._waiting.items()))
            if not self._dealer.send((b"", frame)):
                self._dealer.on_room = self._ask_now
                return
            del self._waiting[session]

    def close(self) -> None:
        """As ``Ports``."""
        super().close()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def forget(self, session: bytes) -> None:
        """Nobody waits for the answer; harmless when the request has left."""
        self._waiting.pop(session, None)

    def _replied(self, frames: Frames) -> None:
        if len(frames) != 2:
            self._wrong_frames(len(frames), 2)
        else:
            self._received(frames[1])


def _nothing(frames: Frames) -> None:
    """A PUSH socket receives nothing."""
