"""The inputs PULL and SUB as services: addresses, starts that fail, ends; and in the running program."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import zmq
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from zope.interface.verify import verifyObject

from pushpin_tw.errors import ConfigError, PacketError, PublishError
from pushpin_tw.extensions import IPublishSource
from pushpin_tw.grip.item import Item
from pushpin_tw.publish.zmq import ZmqInput, ZmqPull, ZmqSub, decode_item
from pushpin_tw.testing.services import LentServices
from pushpin_tw.zmqsocket import zmq_room
from tests.support.child import PATIENCE, Command
from tests.support.rawclient import RawClient
from tests.support.waiting import turn, until
from tests.support.zmqscene import ENCODINGS, packed, streamed

case = pytest_twisted.ensureDeferred
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["channel", "formats", "http-stream", "content", "id"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
ANY = "tcp://127.0.0.1:*"


class Broker:
    """Who gets the items."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.watchers: list[Any] = []
        self.room = 1_000_000
        self.relieved: list[Callable[[], None]] = []

    @property
    def congested(self) -> bool:
        return len(self.items) >= self.room

    def relieve(self, call: Callable[[], None]) -> None:
        self.relieved.append(call)

    def accept(self, items: list[Item]) -> None:
        self.items += items

    def watch(self, watcher: Any) -> None:
        self.watchers.append(watcher)
        watcher.channel_opened("early")

    def unwatch(self, watcher: Any) -> None:
        if watcher in self.watchers:
            self.watchers.remove(watcher)


class Desk:
    """One input, and publishers."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.services: LentServices
        self.input: ZmqInput
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._peers: list[zmq.Socket[bytes]] = []
        self._lent: list[LentServices] = []

    def start(self, source: ZmqPull | ZmqSub, *lines: str) -> ZmqInput:
        self.services = LentServices(reactor, None, "\n".join(["[handler]", *lines, ""]))
        self._lent.append(self.services)
        found = source.service(self.services.config, self.broker, self.services)
        assert found is not None
        self.input = found
        found.startService()
        return found

    def send(self, kind: int, spec: str, *frames: bytes) -> None:
        peer = self.context.socket(kind)
        peer.linger = 0
        peer.ipv6 = True
        peer.connect(spec)
        self._peers.append(peer)
        peer.send_multipart(frames)

    async def came(self, *channels: str) -> None:
        await until(lambda: len(self.broker.items) >= len(channels), "the items")
        assert [item.channel for item in self.broker.items] == list(channels)

    def notes(self, level: str) -> list[str]:
        return [text for at, text in self.services.stats.notes if at == level]


@pytest_twisted.async_yield_fixture
async def desk() -> AsyncIterator[Desk]:
    opened = Desk()
    yield opened
    for services in opened._lent:
        services.stop()
    opened.context.destroy(linger=0)
    await turn()


@pytest.mark.parametrize("source", [ZmqPull(), ZmqSub()], ids=["pull", "sub"])
def test_without_an_address_there_is_no_input(source: ZmqPull | ZmqSub) -> None:
    assert verifyObject(IPublishSource, source)
    services = LentServices(reactor)
    assert source.service(services.config, Broker(), services) is None


@case
async def test_messages_wait_in_zeromq_while_too_many_items_wait_here(desk: Desk) -> None:
    (address,) = desk.start(ZmqPull(), f"push_in_spec={ANY}").addresses
    desk.broker.room = 2
    for channel in "abcd":
        desk.send(zmq.PUSH, address, packed(streamed("x", channel)))
        await until(lambda: len(desk.broker.items) == 2 or len(desk._peers) == len(desk.broker.items), "it")
    assert len(desk.broker.relieved) == 1
    desk.broker.room = 100
    desk.broker.relieved.pop()()
    await until(lambda: len(desk.broker.items) == 4, "the others")
    assert {item.channel for item in desk.broker.items} == set("abcd")
    desk.broker.room = 5
    desk.send(zmq.PUSH, address, packed(streamed("x", "e")))
    await until(lambda: bool(desk.broker.relieved), "the pause")
    desk.input.stopService()
    desk.broker.relieved.pop()()  # harmless


@pytest.mark.parametrize("spec", [ANY, "tcp://[::1]:*"])
@case
async def test_addresses(desk: Desk, spec: str) -> None:
    (address,) = desk.start(ZmqPull(), f"push_in_spec={spec}").addresses
    assert address.startswith(spec[:-1])
    assert desk.notes("info") == [f"zmq pull: {address}"]
    desk.send(zmq.PUSH, address, packed(streamed("x")))
    await desk.came("c")


@pytest.mark.parametrize(
    ("source", "key"), [(ZmqPull(), "push_in_spec"), (ZmqSub(), "push_in_sub_specs")], ids=["pull", "sub"]
)
@case
async def test_the_mode_of_the_file(desk: Desk, tmp_path: Path, source: ZmqPull | ZmqSub, key: str) -> None:
    desk.start(source, f"{key}=ipc://{tmp_path}/in", "ipc_file_mode=606")
    assert stat.S_IMODE((tmp_path / "in").stat().st_mode) == 0o606


@pytest.mark.parametrize(
    ("source", "key"), [(ZmqPull(), "push_in_spec"), (ZmqSub(), "push_in_sub_specs")], ids=["pull", "sub"]
)
@case
async def test_an_address_that_is_taken(desk: Desk, source: ZmqPull | ZmqSub, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        spec = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError) as caught:
            desk.start(source, f"{key}={spec}")
    assert str(caught.value) == f"{key}: cannot use {spec}: Address already in use"
    assert not zmq_room(desk.services).sockets
    assert not desk.input.running
    assert desk.broker.watchers == []


@case
async def test_an_address_that_is_none(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="cannot use carrier://pigeon"):
        desk.start(ZmqSub(), "push_in_sub_specs=carrier://pigeon", "push_in_sub_connect=true")


@case
async def test_further_addresses_are_not_bound(desk: Desk) -> None:
    started = desk.start(ZmqSub(), f"push_in_sub_specs={ANY},{ANY}")
    assert len(started.addresses) == 1
    assert desk.notes("warn") == [f"zmq sub: 2 addresses, of which only {ANY} is bound"]


NOISE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\xff" * 5000,
    b"\xff\0\0\0\0\0\0\0\1\x7f\3\1NULL" + bytes(48) + b"\6" + b"\xff" * 8 + bytes(1000),
    b"",
]


@pytest.mark.parametrize("noise", NOISE, ids=["http", "noise", "huge", "nothing"])
@case
async def test_peers_that_speak_something_else(desk: Desk, noise: bytes) -> None:
    (address,) = desk.start(ZmqPull(), f"push_in_spec={ANY}").addresses
    client = await RawClient.connect(("127.0.0.1", int(address.rpartition(":")[2])))
    client.send(noise)
    desk.send(zmq.PUSH, address, packed(streamed("x")))
    await desk.came("c")
    client.drop()


@case
async def test_it_may_be_started_again(desk: Desk, tmp_path: Path) -> None:
    spec = f"ipc://{tmp_path}/in"
    desk.start(ZmqSub(), f"push_in_sub_specs={spec}")
    desk.input.stopService()
    assert desk.input.addresses == ()
    assert desk.broker.watchers == []
    desk.input.channel_opened("late")  # of no interest any more
    desk.input.channel_closed("late")
    desk.input.startService()
    xpub = desk.context.socket(zmq.XPUB)
    xpub.connect(spec)
    await until(lambda: bool(xpub.poll(0)), "the subscription")
    assert xpub.recv() == b"\1early"
    xpub.send_multipart([b"early", packed(streamed("x"))])
    await desk.came("early")
    xpub.close(linger=0)


# ---- frames ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [b"", b"T", b"J", b"Jnull", b"T0:~", b"T0:]", b"3:a", b"J{}]", b"J\xff{}"])
def test_frames_that_cannot_be_read(frame: bytes) -> None:
    with pytest.raises(PacketError):
        decode_item(frame)


@pytest.mark.parametrize("frame", [b"0:}", b"T0:}", b"J{}"])
def test_frames_without_an_item(frame: bytes) -> None:
    with pytest.raises(PublishError, match="'channel'"):
        decode_item(frame)


@given(
    st.binary(max_size=40)
    | st.tuples(st.sampled_from(ENCODINGS), TREES).map(lambda one: packed(one[1], one[0]))
)
def test_any_frame_is_an_item_or_an_error(frame: bytes) -> None:
    try:
        found = decode_item(frame)
    except (PacketError, PublishError):
        return
    assert isinstance(found, Item)


@given(st.data())
def test_a_broken_item_is_an_item_or_an_error(data: st.DataObject) -> None:
    whole = packed(
        streamed("content", id="1", size=7, meta={"a": "b"}), data.draw(st.sampled_from(ENCODINGS))
    )
    at = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 3))
    frame = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + cut :]
    try:
        found = decode_item(frame, "c")
    except (PacketError, PublishError):
        return
    assert found.channel == "c"


# ---- the program -------------------------------------------------------------------------------------------

CONFIG = """
[global]
rundir=run
ipc_prefix=mine-
[runner]
http_port=127.0.0.1:0
[proxy]
routesfile=routes
[handler]
"""
PROGRAM = ("-m", "pushpin_tw.command")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "routes").write_text("* test\n")
    return tmp_path


def configured(directory: Path, *lines: str) -> None:
    (directory / "pushpin.conf").write_text(CONFIG + "\n".join([*lines, ""]))


def wait_for(condition: Callable[[], object], what: str) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


def push(spec: str) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as pusher:
        pusher.linger = 10_000
        pusher.connect(spec)
        pusher.send(packed(streamed("x", "told")))


@pytest.mark.parametrize("key", ["push_in_spec", "push_in_sub_specs", "command_spec"])
def test_a_taken_address_ends_the_start(directory: Path, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        spec = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        configured(directory, f"{key}={spec}", "push_in_spec=ipc://{rundir}/pull" if "sub" in key else "")
        command = Command(directory, *PROGRAM, "--merge-output", "--config=pushpin.conf")
        try:
            assert command.end() == 1
        finally:
            command.close()
    assert command.lines[-1].endswith(f"{key}: cannot use {spec}: Address already in use")


def test_variables_and_the_end(directory: Path) -> None:
    """Both files are removed, though publishers are connected."""
    configured(
        directory,
        "push_in_spec=ipc://{rundir}/{ipc_prefix}pull",
        "push_in_sub_specs=ipc://{rundir}/{ipc_prefix}sub",
    )
    command = Command(directory, *PROGRAM, "--merge-output", "--config=pushpin.conf")
    try:
        command.wait_for("started$")
        with zmq.Context() as context, context.socket(zmq.XPUB) as xpub:
            xpub.connect(f"ipc://{directory}/run/mine-sub")
            push(f"ipc://{directory}/run/mine-pull")
            command.wait_for("publish channel=told receivers=0$")
            command.signal(signal.SIGTERM)
            assert command.end() == 0
    finally:
        command.close()
    assert os.listdir(directory / "run") == []


def test_a_daemon(directory: Path) -> None:
    """twistd forks after it has built the service; sockets made before would be of no use."""
    configured(directory, f"push_in_spec=ipc://{directory}/pull")
    argv = ("--pidfile=pid", "--logfile=log", "pushpin", "-m", "-c", "pushpin.conf")
    launcher = Command(directory, "-c", "from twisted.scripts.twistd import run; run()", *argv)
    try:
        assert launcher.end() == 0
    finally:
        launcher.close()
    pid = int((directory / "pid").read_text())
    try:
        push(f"ipc://{directory}/pull")
        wait_for(lambda: "publish channel=told" in (directory / "log").read_text(), "the item in the log")
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not (directory / "pid").exists(), "its end")
