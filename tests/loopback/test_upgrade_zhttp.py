"""Backends on ZeroMQ while one process takes over from another: they go over to the new one by themselves."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from pushpin_tw.wire.tnetstring import decode, encode
from tests.loopback.test_upgrade import Place, until


class Worker(threading.Thread):
    """Answers with whom it was asked by, after a moment when the path says so."""

    def __init__(self, spec: str) -> None:
        super().__init__(daemon=True)
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
                if asked["uri"].endswith(b"/slow"):
                    time.sleep(0.5)
                reply = {"from": b"W", "id": asked["id"], "seq": 0, "code": 200, "body": asked["from"]}
                pub.send(asked["from"] + b" T" + encode(reply))
        self._context.destroy(linger=0)

    def end(self) -> None:
        self._over.set()
        self.join()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path)
    (tmp_path / "routes").write_text(f"* zhttp/ipc://{tmp_path}/w\n")
    yield place
    place.clear()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(f"ipc://{tmp_path}/w")
    yield worker
    worker.end()


def ask(place: Place, path: str = "/") -> bytes:
    """By whom the worker was asked; empty when the proxy did not reach it, or the answer was lost because the
    worker was not yet subscribed to."""
    connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=1)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if answer.status == 200 else b""
    except TimeoutError:
        return b""
    finally:
        connection.close()


def test_workers_go_over_and_requests_under_way_are_answered(place: Place, worker: Worker) -> None:
    place.start()
    until(lambda: ask(place), "the worker")
    before = ask(place)
    assert before == b"proxy_%d" % place.pid
    slow: list[bytes] = []
    client = threading.Thread(target=lambda: slow.append(ask(place, "/slow")))
    client.start()
    time.sleep(0.2)
    place.upgrade()
    client.join()
    assert slow == [before]
    until(lambda: ask(place), "the worker again")
    assert ask(place) == b"proxy_%d" % place.pid != before
