"""The way to a connection: addresses, names, what is refused and what is tried next (proxy 4.7 to 4.9)."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from zope.interface import implementer

from pushpin_tw.errors import OriginBlocked, OriginError, OriginUnreachable
from pushpin_tw.testing.origins import RecordingSink
from tests.loopback.originpeer import fetched, request
from tests.loopback.originstage import OriginStage
from tests.support.waiting import turn, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@implementer(IHostnameResolver)
class Names:
    """Resolves names in the next turn; what is a list of addresses may also be a failure."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    def resolveHostName(  # noqa: N802
        self, receiver: Any, name: str, port: int = 0, *args: Any, **kwargs: Any
    ) -> Any:
        self.asked.append(name)
        reactor.callLater(0, self._answer, receiver, name, port)  # type: ignore[attr-defined]
        return receiver

    def _answer(self, receiver: Any, name: str, port: int) -> None:
        receiver.resolutionBegan(self)
        for address in self.addresses.get(name, []):
            receiver.addressResolved(IPv4Address("TCP", address, port))
        receiver.resolutionComplete()


@pytest.fixture
def names() -> Any:
    """The reactor's name resolver, replaced."""
    resolver = Names()
    pluggable = IReactorPluggableNameResolver(reactor)
    before = pluggable.installNameResolver(resolver)
    yield resolver
    pluggable.installNameResolver(before)


@pytest_twisted.ensureDeferred
async def test_c101_connection_refused(origin_stage: OriginStage) -> None:
    sink = await fetched(origin_stage.origin(port=closed_port()), request())
    assert isinstance(sink.error, OriginUnreachable)


@pytest_twisted.ensureDeferred
async def test_c103_nothing_of_the_body_is_spent_on_a_refusal(origin_stage: OriginStage) -> None:
    sink = await fetched(origin_stage.origin(port=closed_port()), request(b"POST", length=5), b"hello")
    assert isinstance(sink.error, OriginUnreachable)
    sink = RecordingSink()
    call = origin_stage.origin().fetch(request(b"POST", length=5), sink)
    call.write(b"hello")
    call.finish()
    link = await origin_stage.peer.link()
    await origin_stage.peer.until(lambda: link.received.endswith(b"\r\n\r\nhello"), "the body")
    call.cancel()


@pytest_twisted.ensureDeferred
async def test_c046_ipv6(origin_stage: OriginStage) -> None:
    peer = await origin_stage.another_peer(r"tcp6:0:interface=\:\:1")
    peer.says(OK)
    sink = await fetched(origin_stage.origin("::1", peer.port), request())
    assert sink.body == b"ok"


@pytest_twisted.ensureDeferred
async def test_the_system_resolver(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    sink = await fetched(origin_stage.origin("localhost"), request())
    assert sink.body == b"ok"


@pytest_twisted.ensureDeferred
async def test_c104_an_unknown_name_is_no_reason_for_another_target(
    origin_stage: OriginStage, names: Names
) -> None:
    sink = await fetched(origin_stage.origin("no.such.host.invalid"), request())
    assert isinstance(sink.error, OriginError) and not isinstance(sink.error, OriginUnreachable)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "\udc80.example"])
@pytest_twisted.ensureDeferred
async def test_c104_a_name_that_cannot_be_one(origin_stage: OriginStage, host: str) -> None:
    sink = await fetched(origin_stage.origin(host), request())
    assert type(sink.error) is OriginError


@pytest_twisted.ensureDeferred
async def test_addresses_are_tried_in_order(origin_stage: OriginStage, names: Names) -> None:
    names.addresses = {"several": ["127.0.0.2", "127.0.0.1", "127.0.0.3"]}
    origin_stage.peer.says(OK)
    sink = await fetched(origin_stage.origin("several"), request(b"POST", length=2), b"ab")
    assert sink.body == b"ok"
    assert len(origin_stage.peer.links) == 1
    again = await fetched(origin_stage.origin("several"), request())
    assert again.body == b"ok"
    assert names.asked == ["several"], "a kept connection needs no name"


@pytest_twisted.ensureDeferred
async def test_all_addresses_refuse(origin_stage: OriginStage, names: Names) -> None:
    names.addresses = {"several": ["127.0.0.2", "127.0.0.3"]}
    sink = await fetched(origin_stage.origin("several"), request())
    assert isinstance(sink.error, OriginUnreachable)


@pytest_twisted.ensureDeferred
async def test_no_more_than_sixteen_addresses(origin_stage: OriginStage, names: Names) -> None:
    many = [f"127.0.1.{number}" for number in range(1, 17)]
    names.addresses = {"many": [*many, "127.0.0.1"], "fewer": [*many[1:], "127.0.0.1"]}
    origin_stage.peer.says(OK)
    sink = await fetched(origin_stage.origin("many"), request())
    assert isinstance(sink.error, OriginUnreachable)
    sink = await fetched(origin_stage.origin("fewer"), request())
    assert sink.body == b"ok"


@pytest_twisted.ensureDeferred
async def test_other_failures_are_no_reason_for_another_target(origin_stage: OriginStage) -> None:
    """No route to a documentation address from the loopback; the kernel says so at once."""
    sink = await fetched(origin_stage.origin("255.255.255.255"), request())
    assert type(sink.error) is OriginError


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.1", "::ffff:127.0.0.1"])
@pytest_twisted.ensureDeferred
async def test_c105_untrusted_stays_away_from_private_addresses(origin_stage: OriginStage, host: str) -> None:
    sink = RecordingSink()
    call = origin_stage.origin(host, untrusted=True).fetch(request(b"POST", length=2), sink)
    assert isinstance(sink.error, OriginBlocked)
    call.write(b"ab")
    call.finish()
    assert sink.disorder == []


@pytest_twisted.ensureDeferred
async def test_c105_untrusted_names(origin_stage: OriginStage, names: Names) -> None:
    names.addresses = {"inside": ["127.0.0.1", "192.168.1.1"]}
    sink = await fetched(origin_stage.origin("inside", untrusted=True), request())
    assert isinstance(sink.error, OriginBlocked)
    assert origin_stage.peer.links == []


@pytest_twisted.ensureDeferred
async def test_c105_an_untrusted_target_gets_no_trusted_connection(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    await fetched(origin_stage.origin(), request())
    assert origin_stage.idle() == 1
    sink = await fetched(origin_stage.origin(untrusted=True), request())
    assert isinstance(sink.error, OriginBlocked)


@pytest_twisted.ensureDeferred
async def test_cancelled_while_the_name_is_looked_up(origin_stage: OriginStage, names: Names) -> None:
    names.addresses = {"name": ["127.0.0.1"]}
    sink = RecordingSink()
    call = origin_stage.origin("name").fetch(request(), sink)
    call.finish()
    call.cancel()
    await until(lambda: names.asked == ["name"], "the look-up")
    await turn()
    await turn()
    assert origin_stage.peer.links == [] and not sink.ended


@pytest_twisted.ensureDeferred
async def test_cancelled_while_connecting(origin_stage: OriginStage) -> None:
    sink = RecordingSink()
    call = origin_stage.origin().fetch(request(), sink)
    call.finish()
    call.cancel()
    origin_stage.peer.says(OK)
    other = await fetched(origin_stage.origin(), request())
    assert other.body == b"ok" and not sink.ended
    assert all(link.lost or link.received == b"" for link in origin_stage.peer.links)


@pytest_twisted.ensureDeferred
async def test_a_connection_does_not_remember_its_first_call(origin_stage: OriginStage) -> None:
    """A kept connection would keep the request, the client and all that hangs on them."""
    origin_stage.peer.says(OK)
    sink = RecordingSink()
    call = origin_stage.origin().fetch(request(), sink)
    call.finish()
    await sink.end()
    assert call._sink is None and call._connection is None and call._dial is None
