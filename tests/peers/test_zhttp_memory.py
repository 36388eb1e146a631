"""100 MB pass between a client and a streaming worker, in constant memory, at the pace of the slower side."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from pushpin_tw.wire import zhttp
from pushpin_tw.wire.tnetstring import decode, encode
from tests.peers.running import Pushpin, pushpin

TOTAL = 100 << 20
PIECE = bytes(range(256)) * 200
ALLOWANCE = 16 << 20
"""Bytes by which the proxy may grow meanwhile."""


class Worker(threading.Thread):
    """Answers GET with ``TOTAL`` bytes as credits come, and takes the body of POST bit by bit."""

    def __init__(self, spec: str) -> None:
        super().__init__(daemon=True)
        self.sent = self.received = 0
        self.may_grant = threading.Event()
        self.may_grant.set()
        context = zmq.Context.instance()
        self.pull, self.router = context.socket(zmq.PULL), context.socket(zmq.ROUTER)
        self.pub = context.socket(zmq.XPUB)
        self.router.setsockopt(zmq.IDENTITY, b"W")
        for end, name in ((self.pull, "out"), (self.router, "out-stream"), (self.pub, "in")):
            end.linger = 0
            end.connect(f"{spec}-{name}")

    def run(self) -> None:
        self.pub.recv()
        while True:
            asked = decode(self.pull.recv()[1:])
            self._seq = 0
            if asked["method"] == b"GET":
                self._download(asked)
            else:
                self._upload(asked)

    def _say(self, asked: dict[str, object], **fields: object) -> None:
        packet = {"from": b"W", "id": asked["id"], "seq": self._seq, **fields}
        self._seq += 1
        address = asked["from"]
        assert isinstance(address, bytes)
        self.pub.send(address + b" T" + encode(packet))

    def _download(self, asked: dict[str, object]) -> None:
        headers = [[b"Content-Length", b"%d" % TOTAL]]
        self._say(asked, code=200, reason=b"OK", headers=headers, more=True)
        granted, self.sent = zhttp.CREDITS, 0
        while self.sent < TOTAL:
            while granted < len(PIECE):
                told = decode(self.router.recv_multipart()[2][1:])
                granted += told.get("credits", 0)
            self._say(asked, body=PIECE, more=True)
            granted -= len(PIECE)
            self.sent += len(PIECE)
        self._say(asked)

    def _upload(self, asked: dict[str, object]) -> None:
        body, more = asked["body"], True
        assert isinstance(body, bytes)
        self.received = len(body)
        while more:
            self.may_grant.wait()
            self._say(asked, type=b"credit", credits=len(body))
            told = decode(self.router.recv_multipart()[2][1:])
            body, more = told.get("body", b""), told.get("more", False)
            self.received += len(body)
        self._say(asked, code=200, reason=b"OK", body=b"%d" % self.received)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Pushpin]:
    with pushpin(tmp_path, f"* zhttp/ipc://{tmp_path}/w") as proxy:
        yield proxy


@pytest.fixture
def worker(service: Pushpin, tmp_path: Path) -> Worker:
    worker = Worker(f"ipc://{tmp_path}/w")
    worker.start()
    return worker


def ask(service: Pushpin, request: bytes) -> socket.socket:
    """A client whose request the worker has got."""
    for _ in range(100):
        sock = socket.create_connection(("127.0.0.1", service.port), 60)
        sock.sendall(request)
        sock.settimeout(0.2)
        try:
            if sock.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200":
                sock.settimeout(60)
                return sock
        except TimeoutError:  # it is being asked
            sock.settimeout(60)
            return sock
        sock.close()  # the worker is not there yet
        time.sleep(0.05)
    raise AssertionError("no worker")


def test_a_download_takes_constant_memory(service: Pushpin, worker: Worker) -> None:
    with ask(service, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") as sock:
        while worker.sent < 2 * zhttp.CREDITS:
            time.sleep(0.01)
        before, last = service.resident(), -1
        while last != worker.sent:
            last = worker.sent
            time.sleep(0.3)
        assert worker.sent < TOTAL / 2, "a client that does not read did not stop the worker"
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        count, highest = len(data.partition(b"\r\n\r\n")[2]), 0
        buffer = bytearray(1 << 20)
        while size := sock.recv_into(buffer):
            count += size
            highest = max(highest, service.resident())
        assert count == TOTAL
        assert highest - before < ALLOWANCE


def test_an_upload_takes_constant_memory(service: Pushpin, worker: Worker) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % TOTAL
    worker.may_grant.clear()
    with ask(service, head + PIECE * 10) as sock:
        sock.settimeout(1)
        sent = len(PIECE) * 10
        with pytest.raises(TimeoutError):
            while sent < TOTAL:
                sent += sock.send(PIECE)
        assert sent < TOTAL / 2, "a worker that grants nothing did not stop the client"
        before = service.resident()
        worker.may_grant.set()
        sock.settimeout(60)
        highest = 0
        while sent < TOTAL:
            sent += sock.send(PIECE[: TOTAL - sent])
            highest = max(highest, service.resident())
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        assert answer.endswith(b"%d" % TOTAL)
        assert highest - before < ALLOWANCE
