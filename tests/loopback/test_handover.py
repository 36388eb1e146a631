"""What one process lets go of for another: the inlet of items, peers on ZeroMQ, and parts of a service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import zmq
from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed

from pushpin_tw.grip.item import Item, parse_item
from pushpin_tw.handover import Relinquishing
from pushpin_tw.inlet import Inlet
from pushpin_tw.testing.services import LentServices
from pushpin_tw.zmqending import Farewell, Listeners
from tests.support.running import free_port
from tests.support.waiting import until, within

# ---- items -------------------------------------------------------------------------------------------------


class Items:
    """A broker that writes down what it is told."""

    congested = False

    def __init__(self) -> None:
        self.told: list[Any] = []

    def accept(self, items: list[Item]) -> None:
        self.told += [item.channel for item in items]

    def recover(self) -> None:
        self.told.append("recover")

    def relieve(self, call: Any) -> None:
        call()

    def watch(self, watcher: Any) -> None:
        watcher.channel_opened("ours")

    def unwatch(self, watcher: Any) -> None:
        self.told.append("unwatch")


class Watcher:
    def __init__(self) -> None:
        self.open: list[str] = []

    def channel_opened(self, channel: str) -> None:
        self.open.append(channel)

    def channel_closed(self, channel: str) -> None:
        self.open.remove(channel)


def item(channel: str) -> Item:
    return parse_item({"channel": channel, "formats": {"http-stream": {"content": "x"}}})


def test_items_go_to_the_broker_and_to_the_other_process() -> None:
    items, elsewhere = Items(), Items()
    inlet = Inlet(items)
    inlet.accept([item("a")])
    inlet.relay, inlet.relay_recover = elsewhere.accept, elsewhere.recover
    inlet.accept(iter([item("b"), item("c")]))
    inlet.recover()
    inlet.part()
    inlet.accept([item("d")])
    inlet.recover()
    assert items.told == ["a", "b", "c", "recover", "d", "recover"]
    assert elsewhere.told == ["b", "c", "recover"]
    relieved: list[bool] = []
    inlet.relieve(lambda: relieved.append(inlet.congested))
    assert relieved == [False]


def test_watchers_know_what_is_listened_to_in_the_other_process() -> None:
    items, first, second = Items(), Watcher(), Watcher()
    inlet = Inlet(items)
    inlet.watch(first)
    for channel in ("ours", "theirs", "theirs"):
        inlet.guest_opened(channel)
    inlet.watch(second)
    assert (first.open, sorted(second.open)) == (["ours", "ours", "theirs"], ["ours", "ours", "theirs"])
    inlet.unwatch(second)
    inlet.guest_closed("theirs")
    inlet.guest_closed("theirs")
    assert first.open == ["ours", "ours"]
    inlet.part()
    assert (first.open, items.told) == (["ours"], ["unwatch"])


# ---- peers -------------------------------------------------------------------------------------------------


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context = zmq.Context()
    sockets: list[zmq.Socket[bytes]] = []
    plain = context.socket

    def socket(kind: int) -> zmq.Socket[bytes]:
        sockets.append(plain(kind))
        return sockets[-1]

    context.socket = socket  # type: ignore[method-assign, assignment]
    yield context
    for each in sockets:
        each.close(linger=0)
    context.term()


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
@pytest_twisted.ensureDeferred
async def test_peers_keep_what_they_have_not_sent(context: Any, tmp_path: Path, kind: str) -> None:
    address = f"tcp://127.0.0.1:{free_port()}" if kind == "tcp" else f"ipc://{tmp_path}/pull"
    pull, push, other = context.socket(zmq.PULL), context.socket(zmq.PUSH), context.socket(zmq.PULL)
    pull.bind(address)
    push.connect(address)
    sent = 0
    for _ in range(100):
        push.send(b"%d" % sent)
        sent += 1
    assert pull.poll(10_000)
    farewell, listeners = Farewell([address]), Listeners([address])
    got: list[int] = []

    def take() -> None:
        while pull.poll(0):
            got.append(int(pull.recv()))

    while not farewell.over:
        take()
        await until(lambda: True, "a turn")
    take()
    push.send(b"%d" % sent)
    assert not pull.poll(50), (got, pull.recv())
    assert Farewell([address]).over  # nobody has come back
    assert not listeners.closed
    pull.close()
    await until(lambda: listeners.closed, "the end of the listener")
    other.bind(address)
    assert other.poll(10_000)
    assert [*got, int(other.recv())] == list(range(sent + 1))


def test_other_addresses_are_left_alone(context: Any) -> None:
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    push.connect(f"tcp://127.0.0.1:{port}")
    push.send(b"1")
    assert pull.poll(10_000)
    elsewhere = ["tcp://127.0.0.1:1", "ipc:///nowhere", "ipc://@none", "inproc://a", "tcp://127.0.0.1:*"]
    assert Farewell(elsewhere).over and Listeners(elsewhere).closed
    push.send(b"2")
    assert [pull.recv(), pull.recv()] == [b"1", b"2"]


# ---- parts -------------------------------------------------------------------------------------------------


class Part(Service):
    def __init__(self, script: list[str], name: str, broken: bool = False) -> None:
        self.script = script
        self.setName(name)
        self.broken = broken

    def startService(self) -> None:
        super().startService()
        self.script.append(f"start {self.name}")

    def stopService(self) -> None:
        super().stopService()
        self.script.append(f"stop {self.name}")


class Finishing(Part):
    def finish(self) -> Deferred[None]:
        self.script.append(f"finish {self.name}")
        if self.broken:
            raise OSError("cannot")
        return succeed(None)


@pytest_twisted.ensureDeferred
async def test_parts_are_kept_or_closed_and_opened_again() -> None:
    script: list[str] = []
    service = Relinquishing()
    service.lent = LentServices(reactor, reactor)
    kept = Part(script, "kept")
    service.keep(kept)
    for part in (
        kept,
        Finishing(script, "zmq", broken=True),
        Finishing(script, "sub"),
        Part(script, "stats"),
    ):
        part.setServiceParent(service)
    service.startService()
    script.clear()
    await within(service.release(), "the release")
    assert script == ["finish zmq", "finish sub", "stop zmq", "stop sub", "stop stats"]
    assert list(service) == [kept]
    script.clear()
    service.resume()
    assert script == ["start zmq", "start sub", "start stats"]
    assert service.listening() == []
    await within(service.stopService() or succeed(None), "the end")
    service.lent.wheel.stop()
