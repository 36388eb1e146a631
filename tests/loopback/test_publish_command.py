"""The command socket as a service: addresses, answers that take their time, ends."""

from __future__ import annotations

import socket
import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_twisted
import zmq
from twisted.internet import reactor
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushpin_tw.errors import ConfigError
from pushpin_tw.extensions import IConnections, IPublishSource
from pushpin_tw.publish.command import MAX_UNANSWERED, PATIENCE, CommandSocket, ZmqCommand
from pushpin_tw.testing.services import LentServices
from pushpin_tw.wire.tnetstring import decode, encode
from pushpin_tw.zmqsocket import zmq_room
from tests.support.waiting import turn, until

case = pytest_twisted.ensureDeferred
ANY = "command_spec=tcp://127.0.0.1:*"


@implementer(IConnections)
class Elsewhere:
    """Connections that somebody else looks after, who answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Callable[[Any], None]]] = []
        self.channels: list[str] = []
        self.at_once = False

    def find(self, names: list[str], done: Callable[[list[str]], None]) -> None:
        self._ask(names, done, names[:1])

    def refresh(self, name: str, done: Callable[[bool], None]) -> None:
        self._ask(name, done, False)

    def _ask(self, what: Any, done: Callable[[Any], None], answer: Any) -> None:
        self.asked.append((what, done))
        if self.at_once:
            done(answer)

    def refresh_channel(self, channel: str) -> None:
        self.channels.append(channel)


class Desk:
    """The socket, and somebody with commands for it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.services: LentServices
        self.socket: CommandSocket
        self.elsewhere = Elsewhere()
        self.recovered = 0
        self.items: list[Any] = []
        self.full = self.congested = False
        self.relieved: list[Callable[[], None]] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.peer: zmq.Socket[bytes]
        self._peers: list[zmq.Socket[bytes]] = []
        self._lent: list[LentServices] = []

    def accept(self, items: list[Any]) -> None:
        self.items += items
        self.congested = self.full

    def relieve(self, call: Callable[[], None]) -> None:
        self.relieved.append(call)

    def recover(self) -> None:
        self.recovered += 1

    def start(self, *lines: str) -> CommandSocket:
        self.services = LentServices(reactor, self.clock, "\n".join(["[handler]", *lines, ""]))
        self.services.connections = self.elsewhere
        self._lent.append(self.services)
        found = ZmqCommand().service(self.services.config, self, self.services)
        assert found is not None
        self.socket = found
        found.startService()
        self.connect()
        return found

    def connect(self) -> None:
        """Somebody who has not been here before: what the others have sent may be lost."""
        self.peer = self._context.socket(zmq.DEALER)
        self._peers.append(self.peer)
        self.peer.connect(self.socket.address)

    def ask(self, method: str, name: str, **args: Any) -> None:
        self.peer.send_multipart([b"", encode({"method": method, "id": name, "args": args})])

    def check(self, name: str) -> None:
        self.ask("conncheck", name, ids=[name])

    async def answer(self) -> dict[str, Any]:
        await until(lambda: bool(self.peer.poll(0)), "an answer")
        empty, content = self.peer.recv_multipart()
        assert not empty
        found: dict[str, Any] = decode(content)
        return found

    async def waiting(self, count: int) -> None:
        await until(lambda: len(self.elsewhere.asked) >= count, f"{count} questions")
        for _ in range(3):
            await turn()
        assert len(self.elsewhere.asked) == count

    def clear(self) -> None:
        for services in self._lent:
            services.stop()
        self._context.destroy(linger=0)


@pytest_twisted.async_yield_fixture
async def desk() -> AsyncIterator[Desk]:
    opened = Desk()
    yield opened
    opened.clear()
    await turn()


def done(name: str, value: Any = None) -> dict[str, Any]:
    return {"id": name.encode(), "success": True, "value": value}


def refused(name: str, condition: str) -> dict[str, Any]:
    return {"id": name.encode(), "success": False, "condition": condition.encode()}


def test_the_contracts() -> None:
    assert verifyObject(IPublishSource, ZmqCommand())
    assert verifyObject(IConnections, Elsewhere())


def test_without_an_address_there_is_no_socket() -> None:
    services = LentServices(reactor)
    assert ZmqCommand().service(services.config, None, services) is None


@case
async def test_the_address_and_the_mode_of_its_file(desk: Desk, tmp_path: Path) -> None:
    started = desk.start(f"command_spec=ipc://{tmp_path}/command", "ipc_file_mode=606")
    assert started.address == f"ipc://{tmp_path}/command"
    assert stat.S_IMODE((tmp_path / "command").stat().st_mode) == 0o606
    assert desk.services.stats.notes == [("info", f"zmq command: ipc://{tmp_path}/command")]


@case
async def test_an_address_that_is_taken(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        spec = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError) as caught:
            desk.start(f"command_spec={spec}")
    assert str(caught.value) == f"command_spec: cannot use {spec}: Address already in use"
    assert not zmq_room(desk.services).sockets
    assert not desk.socket.running


@case
async def test_answers_that_come_later(desk: Desk) -> None:
    """What can be answered at once is not held up by them."""
    desk.start(ANY)
    desk.check("a")
    desk.ask("refresh", "b", cid="b")
    desk.ask("refresh", "c", cid="c")
    desk.ask("refresh", "d", channel="hällo")
    desk.ask("recover", "e")
    assert await desk.answer() == done("d")
    assert await desk.answer() == done("e")
    assert desk.elsewhere.channels == ["hällo"]
    assert desk.recovered == 1
    (names, found), (b, refreshed), (c, unknown) = desk.elsewhere.asked
    assert (names, b, c) == (["a"], "b", "c")
    unknown(False)
    refreshed(True)
    found(["a"])
    for expected in (refused("c", "item-not-found"), done("b"), done("a", [b"a"])):
        assert await desk.answer() == expected
    assert desk.services.wheel.waiting == 0


@case
async def test_answers_that_do_not_come(desk: Desk) -> None:
    desk.start(ANY)
    desk.check("a")
    desk.ask("refresh", "b", cid="b")
    await desk.waiting(2)
    desk.clock.advance(PATIENCE - 0.1)
    desk.ask("recover", "c")
    assert await desk.answer() == done("c")
    desk.clock.advance(0.3)
    assert await desk.answer() == refused("a", "proxy-request-failed")
    assert await desk.answer() == refused("b", "timeout")
    for _, late in desk.elsewhere.asked:
        late([])
    desk.ask("recover", "d")
    assert await desk.answer() == done("d")


@case
async def test_only_so_many_wait(desk: Desk) -> None:
    """The others are not read, and lost by nobody."""
    desk.start(ANY)
    for number in range(MAX_UNANSWERED + 3):
        desk.check(str(number))
    await desk.waiting(MAX_UNANSWERED)
    desk.elsewhere.asked[7][1]([])
    assert await desk.answer() == done("7", [])
    await desk.waiting(MAX_UNANSWERED + 1)
    desk.clock.advance(PATIENCE + 0.2)
    await desk.waiting(MAX_UNANSWERED + 3)
    for _ in range(MAX_UNANSWERED):
        assert not (await desk.answer())["success"]
    desk.ask("recover", "on")
    assert await desk.answer() == done("on")


@case
async def test_a_backlog_of_items(desk: Desk) -> None:
    """While items wait for their delivery, and until an answer comes, nothing is read."""
    desk.start(ANY)
    desk.full = True
    item = {"channel": "c", "http-stream": {"content": "x"}}
    for name in ("a", "b"):
        desk.ask("publish", name, items=[item])
    assert await desk.answer() == done("a")
    for _ in range(3):
        await turn()
    assert len(desk.items) == 1
    desk.full = desk.congested = False
    desk.relieved.pop()()
    assert await desk.answer() == done("b")
    assert (len(desk.items), desk.relieved) == (2, [])


@case
async def test_its_end(desk: Desk, tmp_path: Path) -> None:
    """Answers that come too late for it go nowhere, and it may be started again."""
    desk.start(f"command_spec=ipc://{tmp_path}/command")
    desk.check("a")
    await desk.waiting(1)
    desk.socket.stopService()
    assert desk.socket.address == ""
    assert desk.services.wheel.waiting == 0
    desk.elsewhere.asked[0][1](["a"])
    desk.socket.startService()
    desk.connect()
    desk.ask("recover", "b")
    assert await desk.answer() == done("b")


@case
async def test_what_is_no_command_is_dropped(desk: Desk) -> None:
    desk.start(ANY)
    desk.peer.send_multipart([b"no envelope"])
    desk.peer.send_multipart([b"", b"junk"])
    desk.ask("recover", "a")
    assert await desk.answer() == done("a")
    assert [text for level, text in desk.services.stats.notes if level == "warn"] == [
        "zmq command: message dropped: no empty frame in front"
    ]


def anything(random: Random, depth: int = 3) -> Any:
    """A value that somebody may send."""
    kind = random.randrange(6 if depth else 4)
    if kind == 4:
        return [anything(random, depth - 1) for _ in range(random.randrange(3))]
    if kind == 5:
        names = ["ids", "cid", "channel", "items", "formats", "http-stream", "content", "id", "meta"]
        return {name: anything(random, depth - 1) for name in random.sample(names, random.randrange(4))}
    return random.choice([None, True, -1, 5, 1.5, b"", b"a", b"\xff", "x" * 300])


@case
async def test_whatever_is_asked_is_answered(desk: Desk) -> None:
    desk.start(ANY)
    desk.elsewhere.at_once = True
    random = Random(7)
    methods = ["get-zmq-uris", "conncheck", "refresh", "recover", "publish", "dance"]
    conditions = Counter[bytes]()
    for number in range(2000):
        args = {name: anything(random) for name in ("ids", "cid", "channel", "items") if random.randrange(2)}
        desk.ask(random.choice(methods), str(number), **args)
        told = await desk.answer()
        assert told["id"] == str(number).encode()
        conditions[told.get("condition", b"done")] += 1
    assert conditions.keys() == {b"done", b"bad-request", b"item-not-found", b"method-not-found"}
    assert desk.services.stats.failures == []
