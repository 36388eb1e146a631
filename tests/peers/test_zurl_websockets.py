"""WebSockets that zurl opens as a worker (zeromq 2.10)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from tests.peers.running import Pushpin, pushpin
from tests.peers.test_zurl import ZURL, Between, zurl

pytestmark = pytest.mark.skipif(not ZURL, reason="zurl is not installed")


def look(connection: ServerConnection, request: Any) -> Any:
    """There is one WebSocket, below /ws."""
    if request.path.startswith("/ws"):
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, "no such thing\n")


def echo(connection: ServerConnection) -> None:
    """Says what it hears; ``close`` ends it."""
    for message in connection:
        if message == "close":
            connection.close(4001, "bye")
        connection.send(message)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Pushpin]:
    with serve(echo, "127.0.0.1", 0, process_request=look, max_size=None, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        backend = f"127.0.0.1:{server.socket.getsockname()[1]}"
        route = f"* zhttp/ipc://{tmp_path}/ours,host={backend}"
        with zurl(tmp_path), pushpin(tmp_path, route) as proxy:
            between = Between(tmp_path)
            between.start()
            wait_until_served(proxy)
            yield proxy
            between.end()
        server.shutdown()
        thread.join()


def joined(proxy: Pushpin) -> ClientConnection:
    """A client."""
    return connect(f"ws://127.0.0.1:{proxy.port}/ws", max_size=None, compression=None)


def wait_until_served(proxy: Pushpin) -> None:
    """Clients are refused until the worker is there."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with suppress(InvalidStatus), joined(proxy):
            return
        time.sleep(0.05)
    raise AssertionError("no worker")


def test_messages(service: Pushpin) -> None:
    with joined(service) as client:
        for message in ("hello", "", b"\0\xff", *["x" * 190_000] * 5):  # zurl takes no frame beyond 200 000
            client.send(message)
            assert client.recv(30) == message


def test_an_end(service: Pushpin) -> None:
    with joined(service) as client:
        client.send("close")
        with pytest.raises(ConnectionClosedError) as closed:
            client.recv(30)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "bye")


def test_a_refusal(service: Pushpin) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{service.port}/none"):
        pass
    assert refused.value.response.status_code == 404
    assert refused.value.response.body == b"no such thing\n"
