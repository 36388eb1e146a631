"""The ``websockets`` library on both sides: its client through the proxy to its server, a process."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.peers.nodejs import Program
from tests.peers.running import free_port, pushpin, wait_for_port

SECONDS = 20.0
LARGE = 5_000_000


class Service:
    """The proxy and what the server behind it tells."""

    def __init__(self, port: int, server: Program, compress: bool) -> None:
        self.port = port
        self.server = server
        self.compress = compress

    def connect(self, path: str, **options: Any) -> Any:
        """A new client, as a context."""
        options = {"compression": "deflate" if self.compress else None, "max_size": None, **options}
        return connect(f"ws://127.0.0.1:{self.port}{path}", open_timeout=SECONDS, **options)

    @contextmanager
    def open(self, path: str, **options: Any) -> Iterator[ClientConnection]:
        """A client whose other end has told of it; at the end both have closed well."""
        with self.connect(path, **options) as client:
            told = self.server.next()
            extensions = ["permessage-deflate"] if self.compress else []
            assert told == ["open", path.split("/")[1], client.subprotocol, extensions]
            assert [extension.name for extension in client.protocol.extensions] == extensions
            yield client
            client.close()
        self.closed(1000, "")

    def closed(self, code: int, reason: str) -> None:
        """The server saw its end in this way."""
        assert self.server.next() == ["closed", code, reason]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "compressed"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    origin, compress = free_port(), request.param
    script = Path(__file__).with_name("echo_and_more.py")
    command = [sys.executable, str(script), str(origin), *(["compress"] if compress else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    server = Program(process)
    runner = f"allow_compression={str(compress).lower()}"
    try:
        wait_for_port(origin, process)
        directory = tmp_path_factory.mktemp("sockets")
        with pushpin(directory, f"* 127.0.0.1:{origin}", runner=runner) as proxy:
            yield Service(proxy.port, server, compress)
    finally:
        server.stop()


@pytest.mark.parametrize(
    "message",
    ["hello", "", "é\u2028😀\u0000", b"\x00\xff\x80", b"", "x" * 126, b"y" * 65536],
    ids=["text", "empty-text", "unicode", "binary", "empty-binary", "126", "65536"],
)
def test_an_echo(service: Service, message: str | bytes) -> None:
    with service.open("/echo") as client:
        client.send(message)
        assert client.recv(SECONDS) == message


def test_five_megabytes(service: Service) -> None:
    content = random.Random(5).randbytes(LARGE)
    with service.open("/echo") as client:
        client.send(content)
        assert client.recv(SECONDS) == content
        text = "0123456789" * (LARGE // 10)
        client.send(text)
        assert client.recv(SECONDS) == text


def test_many_messages_stay_in_order(service: Service) -> None:
    with service.open("/echo") as client:
        sent: list[str | bytes] = [str(number) * (number % 50) for number in range(500)]
        sent[1::2] = [str(message).encode() for message in sent[1::2]]
        for message in sent:
            client.send(message)
        assert [client.recv(SECONDS) for _ in sent] == sent


def test_a_message_in_fragments(service: Service) -> None:
    with service.open("/echo") as client:
        client.send(f"{number};" for number in range(100))
        assert client.recv(SECONDS) == "".join(f"{number};" for number in range(100))
        client.send([b"a" * 10000, b"", b"b"])
        assert client.recv(SECONDS) == b"a" * 10000 + b"b"
    with service.open("/fragments/50") as client:
        assert client.recv(SECONDS) == "".join(f"{number};" for number in range(50))


def test_pings_of_both_sides(service: Service) -> None:
    with service.open("/echo") as client:
        assert client.ping("and you?").wait(SECONDS)
        assert client.ping(b"").wait(SECONDS)
    with service.open("/ping") as client:
        # The client answers while it reads.
        assert client.recv(SECONDS) == "pong has come"
        assert service.server.next() == ["pong"]


def test_the_chosen_subprotocol_reaches_the_client(service: Service) -> None:
    with service.open("/echo", subprotocols=["chat.v1", "chat.v2"]) as client:
        assert client.subprotocol == "chat.v2"


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (3000, "é"), (4999, "r" * 123)])
def test_a_client_closes(service: Service, code: int, reason: str) -> None:
    with service.connect("/listen") as client:
        assert service.server.next()[:2] == ["open", "listen"]
        client.close(code, reason)
        service.closed(code, reason)
        assert (client.close_code, client.close_reason) == (code, reason)


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (1013, "later"), (4000, "4"), (4999, "bye")])
def test_a_server_closes(service: Service, code: int, reason: str) -> None:
    with service.connect(f"/close/{code}/{reason}") as client, pytest.raises(ConnectionClosed):
        client.recv(SECONDS)
    assert (client.close_code, client.close_reason) == (code, reason)
    assert service.server.next()[:2] == ["open", "close"]
    service.closed(code, reason)


def test_a_client_goes_away_without_a_word(service: Service) -> None:
    with service.connect("/listen") as client:
        assert service.server.next()[:2] == ["open", "listen"]
        client.socket.shutdown(socket.SHUT_RDWR)
        # No CLOSE has come.
        service.closed(1006, "")


def test_a_server_goes_away_without_a_word(tmp_path: Path) -> None:
    origin = free_port()
    script = Path(__file__).with_name("echo_and_more.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(origin)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    server = Program(process)
    try:
        wait_for_port(origin, process)
        with pushpin(tmp_path, f"* 127.0.0.1:{origin}") as proxy:
            with Service(proxy.port, server, False).connect("/listen") as client:
                assert server.next()[0] == "open"
                server.stop()
                with pytest.raises(ConnectionClosedError):
                    client.recv(SECONDS)
            assert client.close_code == 1006
    finally:
        server.stop()


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 500, 503])
def test_a_rejection(service: Service, status: int) -> None:
    with pytest.raises(InvalidStatus) as caught, service.connect(f"/reject/{status}/10"):
        pass
    response = caught.value.response
    assert (response.status_code, response.body) == (status, b"no" * 5)
    assert (response.headers["Content-Type"], response.headers["X-Why"]) == ("text/x-no", "because")


@pytest.mark.parametrize("size", [8192, 8194, 100_000, 900_000])
def test_a_rejection_with_a_long_body(service: Service, size: int) -> None:
    with pytest.raises(InvalidStatus) as caught, service.connect(f"/reject/403/{size}"):
        pass
    response = caught.value.response
    assert (response.status_code, response.body) == (403, b"no" * (size // 2))
