"""The object graph of one process: how it ends, and what it keeps."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest_twisted
from twisted.internet import reactor

from pushpin_tw.config import parse_config
from pushpin_tw.destinations import Origins
from pushpin_tw.proxy.exchange import Exchange
from pushpin_tw.service import Services, target_types
from pushpin_tw.testing.services import RecordedStats
from pushpin_tw.wire.message import Request
from tests.pure.routing.tables import only
from tests.support.clock import StillClock
from tests.support.rawclient import RawClient
from tests.support.running import SHIPPED, config_text
from tests.support.service import ServiceProxy

case = pytest_twisted.ensureDeferred


def services(stats: Any = None) -> Services:
    config = parse_config(config_text(SHIPPED, {}), "pushpin.conf", ServiceProxy._no_include)
    return Services(config, reactor, StillClock(), random.Random(1), stats or RecordedStats())


@case
async def test_stopping_ends_every_hold_and_every_timer() -> None:
    proxy = await ServiceProxy.start(["* test"], {})
    clients = []
    for path in ("/stream?channel=c", "/response?channel=c", "/response?channel=d"):
        client = await RawClient.connect(proxy.address)
        client.send(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        clients.append(client)
    await proxy.held("c", 2)
    await proxy.held("d", 1)
    await proxy.service.stopService()
    await clients[0].expect(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n")
    for client in clients[1:]:
        await client.closed()
    broker = proxy.service.broker
    assert [sum(broker.holds(name).values()) for name in broker.channels()] == [0, 0]
    assert proxy.clock.getDelayedCalls() == []
    assert proxy.service.client_addresses == []
    proxy.log.no_bugs()


@case
async def test_a_held_stream_does_not_keep_the_request_that_opened_it() -> None:
    """Not even one with a body, which the edge may still have to step over."""
    proxy = await ServiceProxy.start(["* test"], {})
    before = count(Request)
    client = await RawClient.connect(proxy.address)
    client.send(b"POST /stream?channel=c HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
    await proxy.held("c", 1)
    assert count(Request) == before
    assert count(Exchange) == 0
    client.drop()
    await proxy.stop()


def count(kind: type) -> int:
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


def test_what_is_shared_is_stopped_even_if_one_cannot_be() -> None:
    stats = RecordedStats()
    lent = services(stats)
    stopped = []

    class Stubborn:
        def stop(self) -> None:
            raise RuntimeError("will not")

    class Obedient:
        def stop(self) -> None:
            stopped.append(self)

    lent.shared("stubborn", Stubborn)
    lent.shared("timeless", dict)
    obedient = lent.shared("obedient", Obedient)
    assert lent.shared("obedient", Stubborn) is obedient
    lent.stop()
    lent.stop()
    assert stopped == [obedient]
    assert [text.partition(":")[0] for text in stats.failures] == ["stopping stubborn"]


def test_the_origin_of_a_target_is_kept_while_a_route_names_it() -> None:
    lent = services()
    origins = Origins(target_types(), lent)
    one, two = only("* B"), only("*,path_beg=/x test")
    first = origins.origin(one.targets[0])
    assert origins.origin(only("h B").targets[0]) is first
    other = origins.origin(two.targets[0])
    origins.keep([one])
    assert origins.origin(one.targets[0]) is first
    assert origins.origin(two.targets[0]) is not other
    lent.stop()
