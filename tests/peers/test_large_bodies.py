"""A gigabyte passes in either direction, in constant memory, at the pace of the slower side."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.running import Pushpin, pushpin

GIGABYTE = 1 << 30
PIECE = bytes(range(256)) * 1024
ALLOWANCE = 48 << 20
"""Bytes by which the proxy may grow while a gigabyte passes."""


class Origin(threading.Thread):
    """Sends a gigabyte on GET, counts what comes on POST; one connection at a time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sent = 0
        self.may_read = threading.Event()
        self.may_read.set()

    def run(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                self.serve(sock)

    def serve(self, sock: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        if head.startswith(b"GET"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
            self.sent = 0
            while self.sent < GIGABYTE:
                sock.sendall(PIECE)
                self.sent += len(PIECE)
            return
        count = len(body)
        while count < GIGABYTE:
            self.may_read.wait()
            count += len(sock.recv(1 << 20))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone")


@pytest.fixture
def origin() -> Iterator[Origin]:
    origin = Origin()
    origin.start()
    yield origin
    origin.listener.shutdown(socket.SHUT_RDWR)
    origin.listener.close()


@pytest.fixture
def service(tmp_path: Path, origin: Origin) -> Iterator[Pushpin]:
    with pushpin(tmp_path, f"* 127.0.0.1:{origin.port}") as proxy:
        yield proxy


def connect(service: Pushpin, request: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", service.port), 60)
    sock.sendall(request)
    return sock


@pytest.mark.slow
def test_a_gigabyte_download_takes_constant_memory(service: Pushpin, origin: Origin) -> None:
    before = service.resident()
    with connect(service, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") as sock:
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % GIGABYTE in head
        count, highest = len(body), 0
        buffer = bytearray(1 << 20)
        while size := sock.recv_into(buffer):
            count += size
            if count % 64 == 0:
                highest = max(highest, service.resident())
        assert count == GIGABYTE
        assert max(highest, service.resident()) - before < ALLOWANCE


@pytest.mark.slow
def test_a_gigabyte_upload_takes_constant_memory(service: Pushpin, origin: Origin) -> None:
    before = service.resident()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % GIGABYTE
    with connect(service, head) as sock:
        highest = 0
        for count in range(0, GIGABYTE, len(PIECE)):
            sock.sendall(PIECE)
            if count % (64 << 20) == 0:
                highest = max(highest, service.resident())
        assert b"done" in sock.recv(65536)
        assert max(highest, service.resident()) - before < ALLOWANCE


def test_a_slow_client_slows_the_origin(service: Pushpin, origin: Origin) -> None:
    before = service.resident()
    with connect(service, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as sock:
        sock.recv(1000)
        last = -1
        while last != origin.sent:
            last = origin.sent
            threading.Event().wait(0.5)
        assert origin.sent < 64 << 20
        assert service.resident() - before < ALLOWANCE


def test_a_slow_origin_slows_the_client(service: Pushpin, origin: Origin) -> None:
    origin.may_read.clear()
    before = service.resident()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % GIGABYTE
    with connect(service, head) as sock:
        sock.settimeout(2)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 128 << 20:
                sent += sock.send(PIECE)
        assert sent < 64 << 20
        assert service.resident() - before < ALLOWANCE
    origin.may_read.set()
