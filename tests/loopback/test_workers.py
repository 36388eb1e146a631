"""Several processes behind one address, as they run: what each death means, and the end of all."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.child import PATIENCE, Command
from tests.support.running import free_port

Start = Callable[..., "Place"]


def until(condition: Callable[[], object], what: str) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


class Listener:
    """A client with an open stream."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self._socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(address)
        self._socket.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self._got = b""
        self.lost = False
        self.wait_for(b"\r\n\r\n")

    def wait_for(self, mark: bytes) -> bool:
        """Whether ``mark`` comes before the end."""
        while mark not in self._got:
            try:
                data = self._socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                self.lost = True
                return False
            self._got += data
        return True

    @property
    def lines(self) -> list[bytes]:
        """What was published, as far as it was waited for."""
        return re.findall(rb"(item \d+)\n", self._got)

    @property
    def ended(self) -> bool:
        """Whether the stream has had a proper end."""
        return self._got.endswith(b"0\r\n\r\n")

    def close(self) -> None:
        self._socket.close()


class Place:
    """A parent and its workers."""

    def __init__(self, directory: Path, more: str, count: int) -> None:
        self.port, self.control, self.unix = free_port(), free_port(), str(directory / "socket")
        (directory / "routes").write_text("* demo\n")
        (directory / "pushpin.conf").write_text(
            f"[global]\nrundir=run\n[runner]\nhttp_port=127.0.0.1:{self.port}\nlocal_ports={self.unix}\n"
            f"[proxy]\nroutesfile=routes\n"
            f"[handler]\npush_in_http_addr=127.0.0.1\npush_in_http_port={self.control}\n"
            f"[tw]\nworkers={count}\n{more}\n"
        )
        self.count = count
        self.listeners: list[Listener] = []
        self.command = Command(directory, "-m", "pushpin_tw.command", "--config=pushpin.conf", "-m")
        self.command.wait_for(r"started$")

    def workers(self) -> list[int]:
        """The processes that serve clients."""
        children = Path(f"/proc/{self.command.pid}/task/{self.command.pid}/children").read_text().split()
        return [int(pid) for pid in children]

    def listen(self, count: int = 1) -> list[Listener]:
        came = [Listener(("127.0.0.1", self.port)) for _ in range(count)]
        self.listeners += came
        return came

    def publish(self, number: int) -> None:
        items = [{"channel": "demo", "formats": {"http-stream": {"content": f"item {number}\n"}}}]
        body = json.dumps({"items": items}).encode()
        url = f"http://127.0.0.1:{self.control}/publish/"
        with urllib.request.urlopen(url, body, timeout=PATIENCE) as answer:
            assert answer.status == 200

    def get(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=PATIENCE) as answer:
            return int(answer.status)

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()
        self.command.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    places: list[Place] = []

    def start(more: str = "", count: int = 2) -> Place:
        places.append(Place(tmp_path, more, count))
        return places[-1]

    yield start
    for place in places:
        place.close()


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_one_publish_reaches_the_clients_of_all_workers(start: Start) -> None:
    place = start()
    listeners = [*place.listen(12), Listener(place.unix)]
    place.listeners.append(listeners[-1])
    assert len(place.workers()) == 2
    for number in range(3):
        place.publish(number)
    for listener in listeners:
        assert listener.wait_for(b"item 2\n")
        assert listener.lines == [b"item 0", b"item 1", b"item 2"]


def test_a_worker_that_dies_takes_its_own_clients_along_and_is_replaced(start: Start) -> None:
    place = start()
    listeners = place.listen(16)
    place.publish(0)
    for listener in listeners:
        assert listener.wait_for(b"item 0\n")
    victim, other = place.workers()
    os.kill(victim, signal.SIGKILL)
    place.command.wait_for(r"worker \d has ended: .*signal 9")
    place.publish(1)
    stayed = [listener for listener in listeners if listener.wait_for(b"item 1\n")]
    assert 0 < len(stayed) < len(listeners)
    # Who comes while one is away waits for its successor, and nobody is refused.
    late = place.listen(8)
    place.publish(2)
    for listener in [*stayed, *late]:
        assert listener.wait_for(b"item 2\n")
    assert all(listener.lines == [b"item 0", b"item 1", b"item 2"] for listener in stayed)
    assert other in place.workers()
    assert len(place.workers()) == 2
    for _ in range(8):
        assert place.get() == 200


def test_the_end(start: Start, tmp_path: Path) -> None:
    place = start("drain_seconds=0.5")
    listeners = place.listen(8)
    workers = place.workers()
    place.command.signal(signal.SIGTERM)
    for listener in listeners:
        assert not listener.wait_for(b"never")
        assert listener.ended
    assert place.command.end() == 0
    assert not any(map(alive, workers))
    assert not os.path.exists(place.unix)


def test_without_a_parent_there_are_no_workers(start: Start) -> None:
    place = start()
    workers = place.workers()
    (listener,) = place.listen()
    place.command.signal(signal.SIGKILL)
    assert not listener.wait_for(b"never")
    until(lambda: not any(map(alive, workers)), "the end of the workers")


def test_routes_are_read_again_by_all(start: Start, tmp_path: Path) -> None:
    place = start()
    (tmp_path / "routes").write_text("* test\n")
    place.command.signal(signal.SIGHUP)
    hello = b"Hello from the Pushpin test handler!\n"

    def said() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{place.port}/", timeout=PATIENCE) as answer:
            return bytes(answer.read())

    until(lambda: all(said() == hello for _ in range(12)), "the new routes everywhere")


def test_an_address_that_is_taken_stops_the_start(start: Start, tmp_path: Path) -> None:
    place = start()
    second = Command(tmp_path, "-m", "pushpin_tw.command", "--config=pushpin.conf", "-m")
    assert second.end() == 1
    assert any("Couldn't listen on" in line and str(place.port) in line for line in second.lines)
    second.close()
    assert place.get() == 200
