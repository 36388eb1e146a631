"""ZeroMQ sockets in the reactor, against real peers."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import zmq
from twisted.internet import reactor
from zope.interface.verify import verifyClass

from pushpin_tw import zmqsocket
from pushpin_tw.testing.services import LentServices
from pushpin_tw.zmqsocket import TURN_BYTES, TURN_MESSAGES, Frames, ZmqRoom, ZmqSocket, ipc_path, zmq_room
from tests.support.waiting import turn, until

case = pytest_twisted.ensureDeferred
Plain = zmq.Socket[bytes]
ANY = "tcp://127.0.0.1:*"


class World:
    """Our sockets, and those of peers, which have a context of their own."""

    def __init__(self) -> None:
        self.services = LentServices(reactor)
        self.room: ZmqRoom = zmq_room(self.services)
        self.peers: zmq.Context[Plain] = zmq.Context()
        self.got: list[Frames] = []
        self._plain: list[Plain] = []

    def open(self, kind: int, options: dict[int, int] | None = None) -> ZmqSocket:
        return self.room.open(kind, self.got.append, options or {})

    def peer(self, kind: int, spec: str, **options: Any) -> Plain:
        plain = self.peers.socket(kind)
        self._plain.append(plain)  # its end would be a warning
        for name, value in options.items():
            setattr(plain, name, value)
        plain.connect(spec)
        return plain

    async def receive(self, count: int) -> None:
        await until(lambda: len(self.got) >= count, f"{count} messages")

    def clear(self) -> None:
        self.services.stop()
        self.peers.destroy(linger=0)
        assert self.services.stats.failures == []


@pytest_twisted.async_yield_fixture
async def world() -> AsyncIterator[World]:
    opened = World()
    yield opened
    opened.clear()
    await turn()


def test_the_contract() -> None:
    assert verifyClass(zmqsocket.IReadDescriptor, ZmqSocket)


@case
async def test_messages_in_their_order(world: World) -> None:
    peer = world.peer(zmq.PUSH, world.open(zmq.PULL).bind(ANY))
    for number in range(2000):
        peer.send_multipart([b"%d" % number, b""])
    await world.receive(2000)
    assert world.got == [[b"%d" % number, b""] for number in range(2000)]


async def flood(world: World, count: int, message: bytes) -> list[int]:
    """How many messages came in each turn of the reactor, when all had arrived before the first."""
    peer = world.peer(zmq.PUSH, world.open(zmq.PULL, {zmq.RCVHWM: 0}).bind(ANY), sndhwm=0)
    peer.send(b"first")
    await world.receive(1)
    for _ in range(count):
        peer.send(message)
    turns: list[int] = []
    while len(world.got) <= count:
        before = len(world.got)
        await turn()
        turns.append(len(world.got) - before)
    return turns


@case
async def test_a_flood_leaves_turns_to_others(world: World) -> None:
    # One turn of ours may fall before and one after the reader's.
    assert max(await flood(world, 5000, b"x")) <= 2 * TURN_MESSAGES


@case
async def test_long_messages_end_a_turn_earlier(world: World) -> None:
    assert max(await flood(world, 40, bytes(TURN_BYTES // 2))) <= 4


@case
async def test_the_end_of_a_turn_is_told(world: World) -> None:
    """Once for the messages of a turn, behind them; never without any."""
    told: list[int] = []
    ours = world.room.open(
        zmq.PULL, world.got.append, {zmq.RCVHWM: 0}, 10, lambda: told.append(len(world.got))
    )
    peer = world.peer(zmq.PUSH, ours.bind(ANY), sndhwm=0)
    peer.send(b"first")
    await world.receive(1)
    await turn()
    assert told == [1]
    for _ in range(35):
        peer.send(b"x")
    await world.receive(36)
    for _ in range(5):
        await turn()
    assert told[-1] == 36
    assert all(0 < now - before <= 10 for before, now in pairwise(told))


@case
async def test_a_bug_at_the_end_of_a_turn(world: World) -> None:
    def settled() -> None:
        raise RuntimeError("a bug")

    ours = world.room.open(zmq.PULL, world.got.append, {}, 10, settled)
    peer = world.peer(zmq.PUSH, ours.bind(ANY))
    for count in (1, 2):
        peer.send(b"x")
        await world.receive(count)
        await turn()
    assert len(world.services.stats.failures) == 2
    world.services.stats.failures.clear()


@case
async def test_nothing_to_do_is_nothing_done(world: World) -> None:
    """The descriptor is silent once everything was read, and no call is pending."""
    sub = world.open(zmq.SUB)
    peer = world.peer(zmq.XPUB, sub.bind(ANY))
    sub.subscribe(b"a")
    await until(lambda: bool(peer.poll(0)), "the subscription")
    peer.send(b"a")
    await world.receive(1)
    await turn()
    pending = set(reactor.getDelayedCalls())
    await turn()
    assert set(reactor.getDelayedCalls()) <= pending
    assert select.select([sub], [], [], 0)[0] == []


@case
async def test_a_conversation_never_stalls(world: World) -> None:
    """Sending uses up what the descriptor would tell, so that each call is followed by a look."""

    def answer(frames: Frames) -> None:
        assert ours.send(frames)

    ours = world.room.open(zmq.ROUTER, answer, {})
    peers = [world.peer(zmq.DEALER, ours.bind(ANY)) for _ in range(3)]
    for number in range(300):
        for peer in peers:
            peer.send(b"%d" % number)
        for peer in peers:
            await until(lambda peer=peer: bool(peer.poll(0)), "the answer")
            assert peer.recv() == b"%d" % number


@pytest.mark.parametrize("call", ["send", "subscribe", "unsubscribe", "bind", "connect"])
@case
async def test_no_call_hides_a_message(world: World, call: str) -> None:
    """A message is there, the reactor has not looked yet, and the socket is used for something else."""
    ours = world.open(zmq.XSUB if call == "send" else zmq.SUB)
    peer = world.peer(zmq.XPUB, ours.bind(ANY))
    if call == "send":
        await until(lambda: ours.send([b"\1a"]) and bool(peer.poll(0)), "the subscription")
    else:
        ours.subscribe(b"a")
        await until(lambda: bool(peer.poll(0)), "the subscription")
    for _ in range(5):
        await turn()
    peer.send(b"a")
    assert select.select([ours], [], [], 10)[0]
    time.sleep(0.05)  # libzmq does not look at its commands more often than once in about a millisecond
    match call:
        case "send":
            ours.send([b"\1b"])
        case "subscribe":
            ours.subscribe(b"b")
        case "unsubscribe":
            ours.unsubscribe(b"a")
        case "bind":
            ours.bind(ANY)
        case "connect":
            ours.connect("tcp://127.0.0.1:9")
    if call == "unsubscribe":
        ours.subscribe(b"a")  # or the message would rightly be dropped
    await world.receive(1)
    assert world.got == [[b"a"]]


@case
async def test_what_nobody_takes_is_dropped(world: World) -> None:
    assert not world.open(zmq.PUSH).send([b"x"])
    assert not world.open(zmq.ROUTER, {zmq.ROUTER_MANDATORY: 1}).send([b"nobody", b"x"])
    with pytest.raises(zmq.ZMQError, match="not supported"):
        world.open(zmq.PULL).send([b"x"])


@case
async def test_a_bug_costs_one_message(world: World) -> None:
    def received(frames: Frames) -> None:
        world.got.append(frames)
        if frames == [b"bad"]:
            raise RuntimeError("a bug")

    peer = world.peer(zmq.PUSH, world.room.open(zmq.PULL, received, {}).bind(ANY))
    peer.send(b"bad")
    peer.send(b"good")
    await world.receive(2)
    (failure,) = world.services.stats.failures
    assert failure.startswith("a ZeroMQ message") and "a bug" in failure
    world.services.stats.failures.clear()


@case
async def test_closing_within_a_message(world: World) -> None:
    def received(frames: Frames) -> None:
        world.got.append(frames)
        ours.close()
        ours.close()

    ours = world.room.open(zmq.PULL, received, {})
    peer = world.peer(zmq.PUSH, ours.bind(ANY))
    for _ in range(3):
        peer.send(b"x")
    await world.receive(1)
    await turn()
    assert world.got == [[b"x"]]
    assert world.room.sockets == set()


@case
async def test_a_reactor_that_stops_closes_it(world: World) -> None:
    ours = world.open(zmq.PULL)
    assert ours.logPrefix() == "ZeroMQ"
    ours.connectionLost(None)
    assert world.room.sockets == set()


@case
async def test_a_message_that_is_too_long(world: World) -> None:
    """Its sender is disconnected, connects again, and its next message comes."""
    ours = world.open(zmq.PULL, {zmq.MAXMSGSIZE: 1000})
    peer = world.peer(zmq.PUSH, ours.bind(ANY), reconnect_ivl=1)
    peer.send(bytes(1001))

    def came() -> bool:
        peer.send(b"short", zmq.NOBLOCK)
        return bool(world.got)

    await until(came, "the next message")
    assert world.got[0] == [b"short"]


# ---- addresses


@case
async def test_ipv6(world: World) -> None:
    ours, theirs = world.open(zmq.PULL), world.open(zmq.PUSH)
    spec = ours.bind("tcp://[::1]:*")
    assert spec.startswith("tcp://[::1]:")
    theirs.connect(spec)
    assert theirs.send([b"x"])
    await world.receive(1)


@case
async def test_several_addresses(world: World) -> None:
    ours = world.open(zmq.PULL)
    for spec in (ours.bind(ANY), ours.bind("tcp://[::1]:*"), ours.bind(ANY)):
        world.peer(zmq.PUSH, spec, ipv6=1).send(b"x")
    await world.receive(3)


@pytest.mark.parametrize(
    ("spec", "number"),
    [
        ("tcp://192.0.2.1:5560", errno.EADDRNOTAVAIL),
        ("tcp://no such host:5560", errno.ENODEV),
        ("tcp://127.0.0.1:70000", errno.EINVAL),
        ("unknown://x", errno.EPROTONOSUPPORT),
        ("ipc:///nowhere/x", errno.ENOENT),
    ],
)
@case
async def test_addresses_that_cannot_be_bound(world: World, spec: str, number: int) -> None:
    with pytest.raises(OSError, match="//") as caught:
        world.open(zmq.PULL).bind(spec)
    assert (caught.value.errno, caught.value.filename) == (number, spec)


@case
async def test_an_address_that_is_taken(world: World) -> None:
    with pytest.raises(OSError, match="//") as caught:
        world.open(zmq.PULL).bind(world.open(zmq.PULL).bind(ANY))
    assert caught.value.errno == errno.EADDRINUSE


@case
async def test_an_address_that_cannot_be_connected(world: World) -> None:
    for spec in ("unknown://x", "tcp://127.0.0.1:70000"):
        with pytest.raises(OSError, match=spec):
            world.open(zmq.SUB).connect(spec)


# ---- files of IPC sockets


@pytest.mark.parametrize(("mode", "expected"), [(0o666, 0o666), (0o600, 0o600), (-1, 0o777 & ~0o027)])
@case
async def test_the_mode_of_a_file(world: World, tmp_path: Path, mode: int, expected: int) -> None:
    path = tmp_path / "in"
    before = os.umask(0o027)
    try:
        spec = world.open(zmq.PULL).bind(f"ipc://{path}", mode)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == expected
    world.peer(zmq.PUSH, spec).send(b"x")
    await world.receive(1)


@case
async def test_a_file_lives_as_long_as_its_socket(world: World, tmp_path: Path) -> None:
    path = tmp_path / "in"
    world.open(zmq.PULL).bind(f"ipc://{path}")
    assert path.is_socket()
    world.services.stop()
    assert not path.exists()


@case
async def test_the_file_of_a_successor_is_left_alone(world: World, tmp_path: Path) -> None:
    path = tmp_path / "in"
    world.open(zmq.PULL).bind(f"ipc://{path}")
    (tmp_path / "other").write_text("theirs")
    (tmp_path / "other").rename(path)
    world.services.stop()
    assert path.read_text() == "theirs"


@case
async def test_a_file_that_was_left_behind_is_replaced(world: World, tmp_path: Path) -> None:
    path = tmp_path / "in"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    world.peer(zmq.PUSH, world.open(zmq.PULL).bind(f"ipc://{path}")).send(b"x")
    await world.receive(1)


@case
async def test_the_socket_of_somebody_who_lives_is_left_alone(world: World, tmp_path: Path) -> None:
    spec = world.open(zmq.PULL).bind(f"ipc://{tmp_path}/in")
    with pytest.raises(OSError, match="in") as caught:
        world.open(zmq.PULL).bind(spec)
    assert caught.value.errno == errno.EADDRINUSE
    world.peer(zmq.PUSH, spec).send(b"x")
    await world.receive(1)


@case
async def test_a_listener_with_too_many_waiting_is_alive(world: World, tmp_path: Path) -> None:
    path = tmp_path / "in"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(OSError, match="in") as caught:
            world.open(zmq.PULL).bind(f"ipc://{path}")
    assert caught.value.errno == errno.EADDRINUSE


@case
async def test_a_file_that_is_no_socket_is_left_alone(world: World, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("gold")
    with pytest.raises(OSError, match="no socket"):
        world.open(zmq.PULL).bind(f"ipc://{path}")
    assert path.read_text() == "gold"


@case
async def test_an_abstract_name_has_no_file(world: World) -> None:
    name = f"ipc://@pushpin-test-{os.getpid()}"
    world.peer(zmq.PUSH, world.open(zmq.PULL).bind(name, 0o600)).send(b"x")
    await world.receive(1)


@pytest.mark.parametrize(
    ("spec", "path"), [("ipc://run/x", "run/x"), ("ipc:///x", "/x"), ("ipc://@x", ""), ("tcp://h:1", "")]
)
def test_paths(spec: str, path: str) -> None:
    assert ipc_path(spec) == path


@case
async def test_a_pause(world: World) -> None:
    """Also one that begins within a turn, with a look on its way."""
    ours = world.room.open(zmq.PULL, lambda frames: (world.got.append(frames), ours.pause()), {})
    peer = world.peer(zmq.PUSH, ours.bind(ANY))
    for number in range(3):
        peer.send(b"%d" % number)
    for count in (1, 2, 3):
        await world.receive(count)
        for _ in range(3):
            await turn()
        assert len(world.got) == count
        ours.pause()
        ours.resume()
        ours.resume()
    peer.send(b"again")
    await world.receive(4)
    ours.close()
    ours.resume()
    ours.pause()


@case
async def test_room_for_a_message(world: World) -> None:
    """It is told of when a peer comes, and when a peer has taken what was there; once for each time."""
    ours = world.open(zmq.DEALER, {zmq.SNDHWM: 10})
    address = ours.bind(ANY)
    told: list[None] = []
    ours.on_room = lambda: told.append(None)
    assert not ours.send([b"x"])
    await turn()
    assert told == []
    peer = world.peer(zmq.DEALER, address, rcvhwm=10)
    await until(lambda: bool(told), "room for a message")
    for size in (0, 100_000):
        sent = 0
        while ours.send([b"x" * size]):
            sent += 1
        ours.on_room = lambda: told.append(None)
        before = len(told)
        for _ in range(sent):
            await until(lambda: bool(peer.poll(0)), "a message")
            assert len(peer.recv()) == size
        await until(lambda before=before: len(told) > before, "room for a message")
    for _ in range(3):
        assert ours.send([b"x"])
        await turn()
    assert len(told) == 3


@case
async def test_a_bug_of_whoever_has_waited_for_room(world: World) -> None:
    ours = world.open(zmq.DEALER)

    def tell() -> None:
        ours.close()
        raise RuntimeError("a bug")

    ours.on_room = tell
    world.peer(zmq.DEALER, ours.bind(ANY))
    await until(lambda: not world.room.sockets, "room for a message")
    (failure,) = world.services.stats.failures
    assert "a bug" in failure
    world.services.stats.failures.clear()
