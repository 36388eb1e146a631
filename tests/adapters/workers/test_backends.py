"""Backends on ZeroMQ that several processes ask through their parent: real links, real sockets."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from pushpin_tw.errors import OriginError
from pushpin_tw.origin.targets import ZmqTarget
from pushpin_tw.origin.zhttproom import zhttp_room
from pushpin_tw.routing.route import Target
from pushpin_tw.testing.origins import RecordingSink
from pushpin_tw.testing.services import LentServices
from pushpin_tw.wire.message import OriginRequest
from pushpin_tw.workers.backends import NAME, Desk, DeskService, Relay
from pushpin_tw.workers.link import Link, Message, pair
from tests.support.clock import StillClock
from tests.support.waiting import turn, until
from tests.support.zworker import Packet, Worker, Workshop

case = pytest_twisted.ensureDeferred
GET = OriginRequest(b"GET", b"/", [(b"Host", b"a.example")], host="a.example")
ZHTTP, ZHTTPREQ = ZmqTarget("zhttp"), ZmqTarget("zhttpreq")


class Process:
    """One that serves clients."""

    def __init__(self, number: int, office: Office) -> None:
        self.services = LentServices(reactor, office.clock)
        ours, theirs = pair()
        self._link = Link(theirs, reactor, self._received, lambda: None, self.services.stats)
        self.desk_link = Link(ours, reactor, self._told, lambda: None, self.services.stats)
        self.number = number
        self._office = office
        self.room = zhttp_room(self.services)
        self._relay = Relay(number, os.getpid(), self._link, self.room)

    def _received(self, message: Message) -> None:
        name, *rest = message
        assert name == NAME
        self._relay.hear(*rest)

    def _told(self, message: Message) -> None:
        name, *rest = message
        assert name == NAME
        self._office.desk.hear(self.number, *rest)

    def ask(self, kind: ZmqTarget, target: Target, request: OriginRequest = GET) -> tuple[Any, RecordingSink]:
        sink = RecordingSink()
        call = kind.origin(target, self.services).fetch(request, sink)
        call.finish()
        return call, sink

    def end(self) -> None:
        self._link.close()
        self.desk_link.close()
        self.services.stop()


class Office:
    """A parent, its processes, and backends."""

    def __init__(self, directory: Path) -> None:
        self.clock = StillClock()
        self.services = LentServices(reactor, self.clock)
        self.desk = Desk(
            self.services, lambda number, message: self.processes[number].desk_link.send(*message)
        )
        self.processes = [Process(number, self) for number in range(3)]
        self.shop = Workshop()
        self.spec = f"ipc://{directory}/a"
        self.files = [directory / name for name in ("a-out", "a-out-stream", "a-in", "a")]

    def _send(self, number: int, message: Message) -> None:
        self.processes[number].desk_link.send(*message)

    def target(self, kind: str = "zhttp") -> Target:
        return Target(kind=kind, address=self.spec)

    async def keep(self, *kinds: str, processes: int = 3) -> None:
        """The first processes read routes that name these."""
        for process in self.processes[:processes]:
            process.room.keep([self.target(kind) for kind in kinds])
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await turn()

    @property
    def bound(self) -> list[bool]:
        return [file.exists() for file in self.files]


@pytest_twisted.async_yield_fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    office = Office(tmp_path)
    yield office
    office.shop.clear()
    for process in office.processes:
        process.end()
    office.services.stop()
    await turn()


async def asked(office: Office, worker: Worker) -> list[tuple[Packet, RecordingSink]]:
    """What a worker is asked by each process."""
    found = []
    for process in office.processes:
        _, sink = process.ask(ZHTTP, office.target())
        found.append((await worker.asked(), sink))
    return found


@case
async def test_all_ask_through_the_same_sockets(office: Office) -> None:
    await office.keep("zhttp")
    assert office.bound == [True, True, True, False]
    worker = await office.shop.worker(office.spec)
    found = await asked(office, worker)
    assert {packet["from"] for packet, _ in found} == {b"proxy_%d" % os.getpid()}
    assert [packet["id"][:4] for packet, _ in found] == [b"0000", b"0001", b"0002"]
    for packet, sink in found:
        worker.reply(packet, code=200, body="one ", more=True)
        told = await worker.told()
        assert (told["id"], told["credits"]) == (packet["id"], 4)
        worker.reply_router(packet, body="two")
        await sink.end()
        assert sink.body == b"one two"


@case
async def test_one_packet_for_sessions_of_several(office: Office) -> None:
    await office.keep("zhttp")
    worker = await office.shop.worker(office.spec)
    found = await asked(office, worker)
    ids: list[object] = [{"id": packet["id"], "seq": 0} for packet, _ in found]
    ids += [{"id": "unknown", "seq": 0}, {"id": "00ff-nobody", "seq": 0}]
    worker.reply(found[0][0], {"id": ids}, seq=None, code=200, body="for all")
    for _, sink in found:
        await sink.end()
        assert sink.body == b"for all"


@case
async def test_a_client_goes(office: Office) -> None:
    await office.keep("zhttp")
    worker = await office.shop.worker(office.spec)
    call, _ = office.processes[1].ask(ZHTTP, office.target())
    packet = await worker.asked()
    worker.reply(packet, type="keep-alive")
    await until(lambda: bool(call.acknowledged), "the keep-alive")
    call.cancel()
    assert (await worker.told())["type"] == b"cancel"


@case
async def test_without_a_worker(office: Office) -> None:
    await office.keep("zhttp")
    _, sink = office.processes[2].ask(ZHTTP, office.target())
    await sink.end()
    assert type(sink.error) is OriginError
    assert not office.processes[2].services.wheel.waiting


@case
async def test_requests_wait_for_a_worker_and_are_withdrawn(office: Office) -> None:
    await office.keep("zhttpreq")
    assert office.bound == [False, False, False, True]
    withdrawn, _ = office.processes[0].ask(ZHTTPREQ, office.target("zhttpreq"))
    _, sink = office.processes[1].ask(ZHTTPREQ, office.target("zhttpreq"))
    await office.settle()
    withdrawn.cancel()
    await office.settle()
    worker = await office.shop.rep(office.spec)
    packet = await worker.asked()
    assert packet["id"].startswith(b"0001")
    worker.answer(packet, b"ok")
    await sink.end()
    assert sink.body == b"ok"
    await office.settle()
    assert not worker.wire.unread


@case
async def test_what_is_no_packet_is_dropped_once(office: Office) -> None:
    await office.keep("zhttp")
    worker = await office.shop.worker(office.spec)
    found = await asked(office, worker)
    worker.publish(found[0][0]["from"], b"Tx")
    for packet, sink in found:
        worker.answer(packet, b"ok")
        await sink.end()
    assert office.services.stats.notes == [
        ("warn", f"target zhttp/{office.spec}: message dropped: expected a size")
    ]


@case
async def test_sockets_stay_while_somebody_needs_them(office: Office) -> None:
    await office.keep("zhttp")
    await office.keep(processes=2)
    assert office.bound == [True, True, True, False]
    await office.keep()
    assert not any(office.bound)
    await office.keep("zhttp")
    for number in range(3):
        office.desk.left(number)
    assert not any(office.bound)


@case
async def test_another_mode_waits_until_the_last_has_read_the_routes(office: Office) -> None:
    await office.keep("zhttp")
    await office.keep("zhttpreq", processes=2)
    assert office.bound == [True, True, True, False]
    _, sink = office.processes[0].ask(ZHTTPREQ, office.target("zhttpreq"))
    assert type(sink.error) is OriginError
    office.desk.left(1)
    await office.keep("zhttpreq")
    assert office.bound == [False, False, False, True]
    worker = await office.shop.rep(office.spec)
    _, sink = office.processes[0].ask(ZHTTPREQ, office.target("zhttpreq"))
    worker.answer(await worker.asked(), b"ok")
    await sink.end()
    assert sink.body == b"ok"


@pytest.mark.parametrize("kind", ["zhttp", "zhttpreq"])
@case
async def test_an_address_that_is_taken(office: Office, kind: str) -> None:
    other = LentServices(reactor)
    zhttp_room(other).keep([office.target(kind)])
    await office.keep(kind)
    name = f"unable to bind to {office.spec}: Address already in use"
    assert set(office.services.stats.notes) == {("error", name)}
    for process in office.processes:
        _, sink = process.ask(ZHTTP, office.target(kind))
        assert type(sink.error) is OriginError
    other.stop()
    await office.keep(kind)
    hubs = [process.room.hub(office.spec) for process in office.processes]
    assert [hub is not None and hub.bound for hub in hubs] == [True, True, True]


@case
async def test_sockets_rest_while_another_parent_has_them(office: Office) -> None:
    part = DeskService(office.desk)
    part.startService()
    await office.keep("zhttp")
    worker = await office.shop.worker(office.spec)
    found = await asked(office, worker)
    part.stopService()
    for _, sink in found:
        await sink.end()
        assert type(sink.error) is OriginError
    assert not any(office.bound)
    await office.keep("zhttp")
    assert not any(office.bound)
    part.startService()
    await office.settle()
    assert office.bound == [True, True, True, False]
    worker = await office.shop.worker(office.spec, "V")
    for packet, sink in await asked(office, worker):
        worker.answer(packet, b"ok")
        await sink.end()
        assert sink.body == b"ok"
