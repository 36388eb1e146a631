"""The origins that know WebSockets, against the suite that third parties run."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from zope.interface.verify import verifyObject

from pushpin_tw.errors import OriginError
from pushpin_tw.origin.capped import CappedOrigin
from pushpin_tw.plugins import builtin
from pushpin_tw.routing.route import Target
from pushpin_tw.sockets import IHandshake, ISocketOwner, ISocketSink
from pushpin_tw.testing.services import LentServices
from pushpin_tw.testing.sockets import FixedHandshake, RecordingOwner, RecordingSocketSink, SocketContract
from pushpin_tw.wire.message import OriginRequest


class TestTestTarget(SocketContract):
    def make_origin(self, services: LentServices) -> Any:
        return builtin.test_target.origin(Target(kind="test"), services)


class TestCapped(TestTestTarget):
    def make_origin(self, services: LentServices) -> Any:
        return CappedOrigin(super().make_origin(services), 1, services.stats)


def test_the_fakes_have_the_methods_of_the_real_ones() -> None:
    request = OriginRequest(b"GET", b"/", [])
    verifyObject(IHandshake, FixedHandshake(request))
    verifyObject(ISocketOwner, RecordingOwner())
    verifyObject(ISocketSink, RecordingSocketSink())


def test_targets_that_know_no_websockets() -> None:
    """They fail at once, and no other target is tried."""
    for kind, address in ((builtin.demo_target, ""), (builtin.zhttpreq_target, "ipc:///tmp/none")):
        services = LentServices(reactor)
        target = Target(kind=kind.prefix, address=address)
        sink = RecordingSocketSink()
        kind.origin(target, services).connect(FixedHandshake(OriginRequest(b"GET", b"/", [])), sink).cancel()
        assert type(sink.error) is OriginError and sink.disorder == []
        services.stop()
