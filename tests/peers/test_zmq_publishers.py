"""The pubcontrol library publishes over ZeroMQ: PUSH, and XPUB to those who listen.  It knows the addresses,
or asks for them."""

from __future__ import annotations

import http.client
import queue
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from gripcontrol import GripPubControl, HttpResponseFormat, HttpStreamFormat, WebSocketMessageFormat
from pubcontrol import Item, PubControl
from websockets.sync.client import connect

from pushpin_tw.publish.ctl import main as ctl
from tests.peers.running import Pushpin, free_port, pushpin

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the library


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushpin]:
    directory: Path = tmp_path_factory.mktemp("zmq")
    inputs = f"push_in_spec=ipc://{directory}/pull\npush_in_sub_specs=ipc://{directory}/sub\n"
    commands = f"command_spec=ipc://{directory}/command\n"
    extra = f"{inputs}{commands}ipc_file_mode=600\nsubscription_linger=0\n"
    with pushpin(directory, "* test", extra=extra) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pushpin, str]]:
    """One that listens on all addresses, and its command socket as publishers know it."""
    pull, sub, command = (free_port("") for _ in range(3))
    specs = [("push_in_spec", pull), ("push_in_sub_specs", sub), ("command_spec", command)]
    extra = "".join(f"{key}=tcp://*:{port}\n" for key, port in specs)
    with pushpin(tmp_path_factory.mktemp("ports"), "* test", extra=extra) as proxy:
        yield proxy, f"tcp://127.0.0.1:{command}"


class Told:
    """What the library says about channels."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[str, str]] = queue.Queue()

    def __call__(self, event: str, channel: str) -> None:
        self._queue.put((event, channel))

    def next(self) -> tuple[str, str]:
        return self._queue.get(timeout=10)

    @property
    def silent(self) -> bool:
        return self._queue.empty()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def context() -> Iterator[Any]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def pusher(service: Pushpin, context: Any) -> Iterator[PubControl]:
    control = PubControl({"zmq_push_uri": f"ipc://{service.directory}/pull"}, zmq_context=context)
    yield control
    control.close()


@pytest.fixture
def publisher(service: Pushpin, context: Any, told: Told) -> Iterator[PubControl]:
    """Who sends only what somebody wants."""
    entry = {"zmq_pub_uri": f"ipc://{service.directory}/sub", "require_subscribers": True}
    control = PubControl(entry, sub_callback=told, zmq_context=context)
    yield control
    control.close()


class Stream:
    """A held stream, read line by line."""

    def __init__(self, service: Pushpin, channel: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        self.connection.request("GET", f"/stream?channel={channel}")
        self.response = self.connection.getresponse()
        assert self.response.readline() == b"[stream opened]\n"

    def close(self) -> None:
        """With a reset: who closes its side right after asking may be waiting for the answer."""
        self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.response.close()
        self.connection.close()


def test_pushed_to_a_stream(service: Pushpin, pusher: PubControl) -> None:
    stream = Stream(service, "news")
    for content in ("hällo\n", "again\n"):
        pusher.publish("news", Item(HttpStreamFormat(content), id=content), blocking=True)
        assert stream.response.readline() == content.encode()
    pusher.publish("news", Item(HttpStreamFormat(close=True)), blocking=True)
    assert stream.response.read() == b""
    stream.response.close()
    stream.connection.close()


def test_pushed_to_a_websocket(service: Pushpin, pusher: PubControl) -> None:
    """Bytes come as the library's own encoding of them, which pushpin does not know of (zeromq 3.6)."""
    with connect(f"ws://127.0.0.1:{service.port}/ws?channel=chat") as client:
        client.send("echo")
        assert client.recv(10) == "echo"
        pusher.publish("chat", Item(WebSocketMessageFormat("hi")), blocking=True)
        assert client.recv(10) == "hi"
        pusher.publish("chat", Item(WebSocketMessageFormat(b"\0\1", binary=True)), blocking=True)
        assert client.recv(10) == b"AAE="


def test_only_what_somebody_wants(service: Pushpin, publisher: PubControl, told: Told) -> None:
    stream = Stream(service, "sport")
    assert told.next() == ("sub", "sport")
    publisher.publish("weather", Item(HttpStreamFormat("rain\n")), blocking=True)
    publisher.publish("sport", Item(HttpStreamFormat("goal\n")), blocking=True)
    assert stream.response.readline() == b"goal\n"
    second = Stream(service, "sport")
    second.close()
    third = Stream(service, "other")
    assert told.next() == ("sub", "other")
    stream.close()
    assert told.next() == ("unsub", "sport")
    third.close()
    assert told.next() == ("unsub", "other")
    assert told.silent


def test_a_long_poll(service: Pushpin, publisher: PubControl, told: Told) -> None:
    sock = socket.create_connection(("127.0.0.1", service.port), 10)
    sock.sendall(b"GET /response?channel=poll HTTP/1.1\r\nHost: a\r\n\r\n")
    assert told.next() == ("sub", "poll")
    publisher.publish("poll", Item(HttpResponseFormat(code=201, body="answer\n")), blocking=True)
    response = http.client.HTTPResponse(sock)
    response.begin()
    assert (response.status, response.read()) == (201, b"answer\n")
    assert told.next() == ("unsub", "poll")
    response.close()
    sock.close()


@pytest.mark.parametrize("of_grip", [False, True], ids=["pubcontrol", "gripcontrol"])
def test_found_inputs(service: Pushpin, context: Any, told: Told, of_grip: bool) -> None:
    """Known by one address: to push, and to those who listen."""
    kind, name = (GripPubControl, "control_zmq_uri") if of_grip else (PubControl, "zmq_uri")
    entry = {name: f"ipc://{service.directory}/command"}
    pushing = kind(entry, zmq_context=context)
    wanted = kind(entry | {"require_subscribers": True}, told, zmq_context=context)
    try:
        stream = Stream(service, "found")
        assert told.next() == ("sub", "found")
        for control, content in ((pushing, "pushed\n"), (wanted, "wanted\n")):
            control.publish("found", Item(HttpStreamFormat(content)), blocking=True)
            assert stream.response.readline() == content.encode()
        stream.close()
        assert told.next() == ("unsub", "found")
    finally:
        pushing.close()
        wanted.close()


def test_found_at_any_address(ports: tuple[Pushpin, str], context: Any) -> None:
    """The library puts the host that it knows in place of the asterisk."""
    service, command = ports
    stream = Stream(service, "found")
    control = PubControl({"zmq_uri": command}, zmq_context=context)
    try:
        control.publish("found", Item(HttpStreamFormat("hello\n")), blocking=True)
        assert stream.response.readline() == b"hello\n"
    finally:
        control.close()
        stream.close()


def test_asked_from_the_command_line(ports: tuple[Pushpin, str], capsys: pytest.CaptureFixture[str]) -> None:
    service, command = ports
    config = f"--config={service.directory}/pushpin.conf"
    stream = Stream(service, "told")
    assert ctl([config, "publish", "told", "hello"]) == 0
    assert stream.response.readline() == b"hello\n"
    stream.close()
    assert ctl([config, "refresh", "--cid", "nobody"]) == 1
    assert ctl([config, "zmq-uris"]) == 0
    told = capsys.readouterr()
    assert told.err == "Error: item-not-found\n"
    port = command.rpartition(":")[2]
    assert told.out.splitlines()[:2] == ["Published", f"command       tcp://*:{port}"]


def test_what_was_lost_is_not_logged(service: Pushpin) -> None:
    """Nothing of all this was an offence."""
    log = (service.directory / "log" / "pushpin-handler.log").read_text()
    assert all(f"zmq {name}: ipc://" in log for name in ("pull", "sub", "command"))
    assert "dropped" not in log
