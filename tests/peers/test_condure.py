"""Condure, the original's connection manager, in front of our proxy: all of its clients come over ZHTTP."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from tests.peers.running import Pushpin, free_port, pushpin, wait_for_port

CONDURE = shutil.which("condure")
pytestmark = pytest.mark.skipif(not CONDURE, reason="condure is not installed")

LARGE = bytes(range(250)) * 12_000


class Backend(BaseHTTPRequestHandler):
    """Sends back what it is sent, or a lot, in pieces."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("X-Path", self.path)
        self.end_headers()
        for at in range(0, len(LARGE), 50_000):
            piece = LARGE[at : at + 50_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args: object) -> None:
        """Quiet."""


class Front:
    """The two of them."""

    def __init__(self, behind: Pushpin, port: int) -> None:
        self.behind = behind
        self.port = port

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def publish(self, **formats: object) -> None:
        named = {name.replace("_", "-"): value for name, value in formats.items()}
        body = json.dumps({"items": [{"channel": "c", "formats": named}]}).encode()
        urllib.request.urlopen(f"{self.behind.control_url}/publish/", body, 30).read()

    def logged(self, text: str, count: int = 1) -> None:
        """Wait for so many lines of the proxy's."""
        end = time.monotonic() + 30
        while self.log().count(text) < count:
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)

    def log(self) -> str:
        """What it says."""
        files = sorted((self.behind.directory / "log").iterdir())
        return "".join(file.read_text() for file in files)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    thread = threading.Thread(target=backend.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    spec = f"ipc://{tmp_path}/z"
    routes = ["*,path_beg=/test test", f"* 127.0.0.1:{backend.server_port}"]
    port = free_port()
    with pushpin(tmp_path, *routes, extra=f"[tw]\nzhttp_in_spec={spec}") as behind:
        listen = f"--listen=127.0.0.1:{port},stream"
        manager = subprocess.Popen([str(CONDURE), listen, f"--zclient-stream={spec}", "--zclient-connect"])
        wait_for_port(port, manager)
        yield Front(behind, port)
        manager.kill()
        manager.wait()
    backend.shutdown()
    thread.join()
    backend.server_close()


def test_bodies_of_any_length(front: Front) -> None:
    client = front.client()
    for body in (b"", b"x", LARGE, b"y"):
        client.request("POST", "/a?b=c", body)
        answer = client.getresponse()
        assert (answer.status, answer.read() == body) == (200, True)
    client.request("GET", "/d%20e")
    answer = client.getresponse()
    assert answer.headers["X-Path"] == "/d%20e"
    assert answer.read() == LARGE
    client.close()


def test_many_at_once(front: Front) -> None:
    def ask(number: int) -> bool:
        client = front.client()
        body = b"%d" % number * 5000
        client.request("POST", "/", body)
        same = client.getresponse().read() == body
        client.close()
        return same

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(ask, range(300)))


def test_a_long_poll_and_a_stream(front: Front) -> None:
    poll, stream = front.client(), front.client()
    stream.request("GET", "/test/stream?channel=c")
    answer = stream.getresponse()
    assert answer.readline() == b"[stream opened]\n"
    poll.request("GET", "/test/response?channel=c")
    front.logged("subscribe", 2)
    front.publish(http_stream={"content": "streamed\n"}, http_response={"body": "answered\n"})
    assert answer.readline() == b"streamed\n"
    assert poll.getresponse().read() == b"answered\n"
    front.publish(http_stream={"action": "close"})
    assert answer.read() == b""
    poll.close()
    stream.close()


def test_a_client_that_goes(front: Front) -> None:
    """Its hold ends: nobody is there for what is published."""
    client = front.client()
    client.request("GET", "/test/stream?channel=c")
    client.getresponse().readline()
    front.publish(http_stream={"content": "x"})
    front.logged("publish channel=c receivers=1")
    client.close()
    end = time.monotonic() + 30
    while "receivers=0" not in front.log():
        assert time.monotonic() < end
        front.publish(http_stream={"content": "x"})


def test_a_websocket(front: Front) -> None:
    with connect(f"ws://127.0.0.1:{front.port}/test/ws?channel=c", max_size=None) as client:
        for message in ("hello", "", b"\0\xff", "x" * 300_000):
            client.send(message)
            assert client.recv(30) == message
        assert client.ping(b"p").wait(30)
        front.logged("subscribe")
        front.publish(ws_message={"content": "published"})
        assert client.recv(30) == "published"
        front.publish(ws_message={"action": "close", "code": 4001, "reason": "bye"})
        with pytest.raises(ConnectionClosedError) as closed:
            client.recv(30)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "bye")


def test_a_websocket_that_is_refused(front: Front) -> None:
    address = f"ws://127.0.0.1:{front.port}/test/nothing"
    with pytest.raises(InvalidStatus) as refused, connect(address):
        pass
    assert refused.value.response.status_code == 404
    assert refused.value.response.body == b"no such test resource\n"
