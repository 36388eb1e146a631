"""WebSockets of workers on ZeroMQ, against the suite that third parties run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import LoopingCall

from pushpin_tw.plugins import builtin
from pushpin_tw.routing.route import Target
from pushpin_tw.testing.services import LentServices
from pushpin_tw.testing.sockets import SocketContract
from pushpin_tw.zmqsocket import zmq_room
from tests.support.zworker import Packet, Worker, Workshop, unpack


class Echo:
    """What a worker does that agrees to ``/ws``, gives credits back, and says what it hears."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def serve(self) -> None:
        """Answer what has come."""
        while self._worker.pull.unread:
            self._open(unpack(self._worker.pull.plain.recv()))
        while self._worker.router.unread:
            self._echo(unpack(self._worker.router.plain.recv_multipart()[2]))

    def _open(self, packet: Packet) -> None:
        if packet["uri"].endswith(b"/ws"):
            self._worker.reply(packet, code=101, reason="Switching Protocols", credits=150_000)
        else:
            refusal = {"code": 404, "reason": "Not Found", "body": "no such thing\n"}
            self._worker.reply(packet, refusal, type="error", condition="rejected")

    def _echo(self, packet: Packet) -> None:
        kind, body = packet.get("type"), packet.get("body", b"")
        if kind == b"close":
            self._worker.reply(packet, type="close", code=packet.get("code"), body=body)
        elif kind in (b"ping", b"pong"):
            self._worker.reply(packet, type="pong", body=body, credits=len(body))
        elif kind is None:
            fields = {"content-type": packet["content-type"], "more": packet.get("more")}
            self._worker.reply(packet, fields, body=body, credits=len(body))


class TestZhttpTarget(SocketContract):
    @pytest.fixture(autouse=True)
    def address(self, tmp_path: Path) -> None:
        self.target = Target(kind="zhttp", address=f"ipc://{tmp_path}/w")

    def make_origin(self, services: LentServices) -> Any:
        origin = builtin.zhttp_target.origin(self.target, services)
        self.shop = Workshop()
        worker = self.shop.idle(self.target.address)
        # An origin is to be used at once: nobody turns the reactor until the worker is there.
        room: list[str] = []
        for each in zmq_room(services).sockets:
            each.on_room = lambda: room.append("for a packet")
        while not (worker.pub.unread and len(room) == 2):
            for each in zmq_room(services).sockets:
                each.doRead()
        worker.pub.plain.recv()
        self.serving = LoopingCall(Echo(worker).serve)
        self.serving.start(0, now=False)
        return origin

    async def release(self) -> None:
        self.serving.stop()
        self.shop.clear()
