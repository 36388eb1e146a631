"""Workers that are killed at random, under load: nobody but their own clients may notice.

Eight seconds by default; ``WORKER_CHAOS_SECONDS=60`` for the whole proof, ``WORKER_CHAOS_SEED`` for another
one.
"""

from __future__ import annotations

import json
import os
import random
import re
import selectors
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from tests.support.child import PATIENCE
from tests.support.running import free_port
from tests.support.workers import Crowd, eventually

SECONDS = float(os.environ.get("WORKER_CHAOS_SECONDS", "8"))
SEED = int(os.environ.get("WORKER_CHAOS_SEED", "1"))
WORKERS = 3
CLIENTS = 150
PERIOD = 2.0
"""Seconds between deaths."""
RATE = 25
"""Items a second, of each input."""
INPUTS = (b"http", b"pull")
ASK = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
TCP = Path("/proc/net/tcp")


class Client:
    """An open stream, and the numbers of the items that came through it, by the input that they came from."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.sendall(ASK)
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.numbers: dict[bytes, list[int]] = {name: [] for name in INPUTS}
        self._rest = b""

    def read(self) -> bool:
        """Take what came; False at the end."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            name, _, number = line.partition(b" ")
            if name in INPUTS:
                self.numbers[name].append(int(number))
        return True

    @property
    def whole(self) -> bool:
        """Whether every item came once and in order, from the first one on."""
        return all(
            not numbers or numbers == list(range(numbers[0], numbers[-1] + 1))
            for numbers in self.numbers.values()
        )


class Load(threading.Thread):
    """Publishes, over HTTP and ZeroMQ."""

    def __init__(self, crowd: Crowd, pull: str) -> None:
        super().__init__()
        self.published = 0
        self.problems: list[str] = []
        self.over = threading.Event()
        self._crowd = crowd
        self._pull = pull

    def run(self) -> None:
        try:
            with zmq.Context() as context, context.socket(zmq.PUSH) as push:
                push.connect(self._pull)
                while not self.over.wait(1 / RATE):
                    self._publish(push)
        except Exception as error:
            self.problems.append(repr(error))

    def _publish(self, push: zmq.Socket[bytes]) -> None:
        # Items of two inputs have no order among each other.
        number = self.published + 1
        push.send(b"J" + json.dumps(item(f"pull {number}\n")).encode())
        body = json.dumps({"items": [item(f"http {number}\n")]}).encode()
        url = f"http://127.0.0.1:{self._crowd.control}/publish/"
        with urllib.request.urlopen(url, body, timeout=PATIENCE) as answer:
            assert answer.status == 200
        self.published = number


def item(content: str) -> dict[str, object]:
    """For everybody."""
    return {"channel": "demo", "http-stream": {"content": content}}


def clients_of(pid: int, port: int) -> set[int]:
    """The ports of the clients that process ``pid`` serves on ``port``."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link))
        if found:
            inodes.add(found[1])
    ports = set()
    for line in TCP.read_text().splitlines()[1:]:
        _, local, remote, state, *rest = line.split()
        if int(local.partition(":")[2], 16) == port and state == "01" and rest[5] in inodes:
            ports.add(int(remote.partition(":")[2], 16))
    return ports


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[tuple[Crowd, str]]:
    pull = f"tcp://127.0.0.1:{free_port()}"
    # Nobody reads the log meanwhile.
    more = f"[handler]\npush_in_spec={pull}\n[runner]\nlog_level=1,runner:2"
    opened = Crowd(tmp_path, more, WORKERS, patience=SECONDS + 60)
    yield opened, pull
    opened.close()


class Field:
    """All clients, and what became of them."""

    def __init__(self, crowd: Crowd) -> None:
        self.live: dict[int, Client] = {}
        self.gone: list[Client] = []
        self._crowd = crowd
        self._selector = selectors.DefaultSelector()

    def fill(self) -> None:
        """Let new ones come for those who were lost."""
        while len(self.live) < CLIENTS:
            client = Client(self._crowd.port)
            self.live[client.port] = client
            self._selector.register(client.socket, selectors.EVENT_READ, client)

    def read(self, seconds: float) -> set[int]:
        """Read for so long; the ports of those who were lost."""
        lost, end = set(), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                client = key.data
                if not client.read():
                    self._selector.unregister(client.socket)
                    client.socket.close()
                    self.gone.append(self.live.pop(client.port))
                    lost.add(client.port)
        return lost

    def read_until(self, done: Callable[[Client], bool], problem: str) -> None:
        """Read until all clients are done; nobody may be lost."""
        limit = time.monotonic() + PATIENCE
        while not all(map(done, self.live.values())):
            assert time.monotonic() < limit, problem
            assert self.read(0.1) == set()

    def close(self) -> None:
        self._selector.close()
        for client in self.live.values():
            client.socket.close()


@pytest.fixture
def field(crowd: tuple[Crowd, str]) -> Iterator[Field]:
    opened = Field(crowd[0])
    yield opened
    opened.close()


@pytest.mark.slow
def test_only_the_clients_of_killed_workers_notice(crowd: tuple[Crowd, str], field: Field) -> None:
    place, pull = crowd
    chance, load = random.Random(SEED), Load(place, pull)
    field.fill()
    load.start()
    try:
        deaths, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            assert field.read(PERIOD * 0.9) == set()
            eventually(lambda: len(place.workers()) == WORKERS, "the successor of a worker")
            victim = chance.choice(place.workers())
            os.kill(victim, signal.SIGSTOP)  # so that nobody comes or goes while we look
            doomed = clients_of(victim, place.port) & field.live.keys()
            os.kill(victim, signal.SIGKILL)
            deaths += 1
            lost, limit = field.read(PERIOD * 0.1), time.monotonic() + PATIENCE
            while not doomed <= lost:
                assert time.monotonic() < limit, "the dead are still connected"
                lost |= field.read(0.1)
            assert lost == doomed
            field.fill()
            assert place.get() == 200
        field.read_until(lambda client: all(client.numbers.values()), "those who came last hear nothing")
    finally:
        load.over.set()
        load.join()
    assert load.problems == []
    assert deaths > 1
    last = [load.published]
    field.read_until(
        lambda client: all(numbers[-1:] == last for numbers in client.numbers.values()),
        "the last item has not come everywhere",
    )
    assert all(client.whole for client in [*field.gone, *field.live.values()])
