"""Several processes ask the same backends on ZeroMQ, as they run."""

from __future__ import annotations

import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from pushpin_tw.wire.tnetstring import decode, encode
from tests.support.workers import Crowd, eventually


class Worker(threading.Thread):
    """A backend that answers each request with the id of the session."""

    def __init__(self, spec: str) -> None:
        super().__init__(daemon=True)
        self.senders: set[bytes] = set()
        self._context = zmq.Context()
        self._spec = spec
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        pull, pub = self._context.socket(zmq.PULL), self._context.socket(zmq.PUB)
        pull.connect(f"{self._spec}-out")
        pub.connect(f"{self._spec}-in")
        while not self._over.is_set():
            if pull.poll(20):
                asked = decode(pull.recv()[1:])
                self.senders.add(asked["from"])
                reply = {"from": b"W", "id": asked["id"], "seq": 0, "code": 200, "body": asked["id"]}
                pub.send(asked["from"] + b" T" + encode(reply))
        self._context.destroy(linger=0)

    def end(self) -> None:
        self._over.set()
        self.join()


@pytest.fixture
def spec(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/w"


@pytest.fixture
def place(tmp_path: Path, spec: str) -> Iterator[Crowd]:
    place = Crowd(tmp_path, "", 2)
    (tmp_path / "routes").write_text(f"* zhttp/{spec}\n")
    place.command.signal(signal.SIGHUP)
    yield place
    place.close()


@pytest.fixture
def worker(spec: str) -> Iterator[Worker]:
    worker = Worker(spec)
    yield worker
    worker.end()


def numbers(place: Crowd) -> set[bytes]:
    """Which processes have answered a few requests; whose request failed is none."""
    found = set()
    for _ in range(10):
        try:
            # What a PUB socket says before the subscription has reached it is lost.
            with urllib.request.urlopen(f"http://127.0.0.1:{place.port}/", timeout=1) as answer:
                found.add(answer.read()[:4])
        except (urllib.error.HTTPError, OSError):
            found.add(b"none")
    return found


def test_all_processes_reach_a_worker(place: Crowd, worker: Worker) -> None:
    both = {b"0000", b"0001"}
    eventually(lambda: numbers(place) == both, "answers everywhere")
    assert len(worker.senders) == 1
    os.kill(place.workers()[0], signal.SIGKILL)
    place.command.wait_for(r"worker \d has ended")
    eventually(lambda: numbers(place) == both, "answers everywhere again")
    assert len(worker.senders) == 1
