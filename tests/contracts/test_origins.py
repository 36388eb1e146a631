"""The origins and target types that come with pushpin, against the suites that third parties run."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.plugin import getPlugins
from zope.interface.verify import verifyObject

import pushpin_tw.plugins
from pushpin_tw.errors import OriginError
from pushpin_tw.extensions import IServices, ITargetType
from pushpin_tw.figures import IStatsSink
from pushpin_tw.interfaces import IOriginSink
from pushpin_tw.origin.capped import CappedOrigin, Row
from pushpin_tw.plugins import builtin
from pushpin_tw.routing.route import Target
from pushpin_tw.testing.origins import OriginContract, RecordingSink, TargetTypeContract
from pushpin_tw.testing.services import LentServices, RecordedStats
from pushpin_tw.wire.message import OriginRequest
from pushpin_tw.zmqsocket import zmq_room
from tests.support.zworker import Worker, Workshop, unpack


class Backend(Protocol):
    """Answers as soon as a request is complete, chunked or not."""

    transport: Any

    def connectionMade(self) -> None:
        self.unread = b""

    def dataReceived(self, data: bytes) -> None:
        self.unread += data
        while (end := self._end()) is not None:
            head, self.unread = self.unread[:end], self.unread[end:]
            body = b"" if head.startswith(b"HEAD") else b"an answer"
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + body)

    def _end(self) -> int | None:
        head, found, body = self.unread.partition(b"\r\n\r\n")
        if not found:
            return None
        start = len(head) + 4
        if b"chunked" in head:
            last = 0 if body.startswith(b"0\r\n\r\n") else body.find(b"\r\n0\r\n\r\n") + 2
            return start + last + 5 if last != 1 else None
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)
        return start + length if len(body) >= length else None


class TestHttpOrigin(OriginContract, TargetTypeContract):
    target_type = builtin.http_target
    good_addresses: ClassVar = {
        "127.0.0.1:80": "127.0.0.1:80",
        "some-host_1.example:65535": "some-host_1.example:65535",
        "[0:0::1]:9214": "[::1]:9214",
    }
    bad_addresses = (
        "",
        "host",
        "h:0",
        "h:65536",
        "h:x",
        ":80",
        "[::1]",
        "[::1]:",
        "[zz]:1",
        "a b:80",
        "h:1:2",
    )

    def make_origin(self, services: LentServices) -> Any:
        factory = Factory.forProtocol(Backend)
        factory.noisy = False
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        target = Target(kind="", address=f"127.0.0.1:{self.port.getHost().port}")
        return self.target_type.origin(target, services)

    async def release(self) -> None:
        await self.port.stopListening()


class TestCappedOrigin(OriginContract):
    def make_origin(self, services: LentServices) -> Any:
        return CappedOrigin(builtin.test_target.origin(Target(kind="test"), services), Row(1), services.stats)


class TestCappedHttpOrigin(TestHttpOrigin):
    def make_origin(self, services: LentServices) -> Any:
        return CappedOrigin(super().make_origin(services), Row(1), services.stats)


class TestTestTarget(OriginContract, TargetTypeContract):
    target_type = builtin.test_target
    good_addresses: ClassVar = {"": ""}
    bad_addresses = ("x", "127.0.0.1:80")

    def make_origin(self, services: LentServices) -> Any:
        return self.target_type.origin(Target(kind="test"), services)


class TestDemoTarget(OriginContract, TargetTypeContract):
    target_type = builtin.demo_target
    good_addresses: ClassVar = {"": ""}
    bad_addresses = ("x",)

    def make_origin(self, services: LentServices) -> Any:
        return self.target_type.origin(Target(kind="demo"), services)


class TestZhttpTarget(OriginContract, TargetTypeContract):
    target_type = builtin.zhttp_target
    good_addresses: ClassVar = {
        "ipc:///tmp/none": "ipc:///tmp/none",
        "tcp://127.0.0.1:10000": "tcp://127.0.0.1:10000",
    }
    bad_addresses = (
        "",
        "tcp://",
        "zws/tcp://127.0.0.1:1",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:abc",
        "127.0.0.1:80",
        "http://a:1",
    )

    def make_origin(self, services: LentServices) -> Any:
        self.directory = TemporaryDirectory()
        target = Target(kind="zhttp", address=f"ipc://{self.directory.name}/a")
        origin = self.target_type.origin(target, services)
        self.shop = Workshop()
        worker = self.shop.idle(target.address)
        # An origin is to be used at once: nobody turns the reactor until the worker is there.
        room: list[str] = []
        for each in zmq_room(services).sockets:
            each.on_room = lambda: room.append("for a request")
        while not (worker.pub.unread and len(room) == 2):
            for each in zmq_room(services).sockets:
                each.doRead()
        worker.pub.plain.recv()
        self.serving = LoopingCall(self._serve, worker)
        self.serving.start(0, now=False)
        return origin

    def _serve(self, worker: Worker) -> None:
        while worker.pull.unread:
            worker.answer(unpack(worker.pull.plain.recv()), b"an answer")

    async def release(self) -> None:
        self.serving.stop()
        self.shop.clear()
        self.directory.cleanup()


class TestZhttpReqTarget(TargetTypeContract):
    target_type = builtin.zhttpreq_target
    good_addresses = TestZhttpTarget.good_addresses
    bad_addresses = TestZhttpTarget.bad_addresses


def test_every_kind_is_found_as_a_plugin() -> None:
    kinds = [kind.prefix for kind in getPlugins(ITargetType, pushpin_tw.plugins)]
    assert sorted(kinds) == ["", "demo", "test", "zhttp", "zhttpreq"]


def test_c126_without_a_worker(tmp_path: Path) -> None:
    """502 at once, no other target."""
    services = LentServices(reactor)
    origin = builtin.zhttp_target.origin(Target(kind="zhttp", address=f"ipc://{tmp_path}/none"), services)
    sink = RecordingSink()
    call = origin.fetch(OriginRequest(b"GET", b"/", []), sink)
    call.write(b"x")
    call.finish()
    assert type(sink.error) is OriginError
    call.pause()
    call.resume()
    call.cancel()
    assert (sink.disorder, services.stats.notes) == ([], [])
    services.stop()


def test_the_fakes_have_the_methods_of_the_real_ones() -> None:
    verifyObject(IOriginSink, RecordingSink())
    verifyObject(IStatsSink, RecordedStats())
    services = LentServices(reactor)
    verifyObject(IServices, services)
    services.stop()
