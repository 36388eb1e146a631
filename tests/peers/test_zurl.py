"""zurl, the ZHTTP server that comes with Pushpin, as a worker: it asks a web server for whatever it is asked.

Both sides bind, so that a few sockets stand between and pass everything on as it is.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import zmq

from tests.peers.running import Pushpin, pushpin, stop

ZURL = shutil.which("zurl")
pytestmark = pytest.mark.skipif(not ZURL, reason="zurl is not installed")

LONG = bytes(range(256)) * 12_000


class Backend(BaseHTTPRequestHandler):
    """Answers GET with three million bytes, or holds; POST with a digest of what came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.endswith("/hold"):
            self.answer(b"welcome\n", ("Grip-Hold", "stream"), ("Grip-Channel", "c"))
        elif self.path.endswith("/long"):
            self.answer(LONG, ("X-Path", self.path))
        else:
            self.answer(b"hello\n", ("X-Path", self.path), status=203)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(hashlib.sha256(body).hexdigest().encode())

    def answer(self, body: bytes, *headers: tuple[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Between(threading.Thread):
    """Workers for Pushpin, clients for zurl."""

    def __init__(self, directory: Path) -> None:
        super().__init__(daemon=True)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._done = threading.Event()
        ours, theirs = f"ipc://{directory}/ours", f"ipc://{directory}/zurl"
        pull, push = self._socket(zmq.PULL, f"{ours}-out"), self._socket(zmq.PUSH, f"{theirs}-in")
        named, there = (
            self._socket(zmq.DEALER, f"{ours}-out-stream", b"z"),
            self._socket(zmq.ROUTER, f"{theirs}-in-stream"),
        )
        xpub, xsub = self._socket(zmq.XPUB, f"{ours}-in"), self._socket(zmq.XSUB, f"{theirs}-out")
        # From, to, and what is put in front: a router's way to name its peer.
        self._ways = [
            (pull, push, []),
            (named, there, [b"z"]),
            (xsub, xpub, []),
            (xpub, xsub, []),
        ]

    def _socket(self, kind: int, spec: str, name: bytes = b"") -> zmq.Socket[bytes]:
        plain = self._context.socket(kind)
        plain.linger = 0
        if name:
            plain.setsockopt(zmq.IDENTITY, name)
        plain.connect(spec)
        return plain

    def run(self) -> None:
        poller = zmq.Poller()
        for come, _, _ in self._ways:
            poller.register(come, zmq.POLLIN)
        while not self._done.is_set():
            ready = dict(poller.poll(20))
            for come, go, front in self._ways:
                if come in ready:
                    go.send_multipart([*front, *come.recv_multipart()])
        self._context.destroy(linger=0)

    def end(self) -> None:
        self._done.set()
        self.join(10)


@contextmanager
def zurl(directory: Path) -> Iterator[None]:
    """A zurl with the name ``z``."""
    keys = {
        "instance_id": "z",
        "in_spec": f"ipc://{directory}/zurl-in",
        "in_stream_spec": f"ipc://{directory}/zurl-in-stream",
        "out_spec": f"ipc://{directory}/zurl-out",
        "in_req_spec": "",
        "defpolicy": "deny",
    }
    file = directory / "zurl.conf"
    file.write_text("\n".join(["[General]", *(f"{key}={value}" for key, value in keys.items()), ""]))
    assert ZURL is not None
    with (directory / "zurl-output").open("wb") as output:
        process = subprocess.Popen([ZURL, f"--config={file}"], stdout=output, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 20
        while not all(Path(spec[6:]).exists() for spec in keys.values() if spec.startswith("ipc:")):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.02)
        yield
    finally:
        stop(process)


@pytest.fixture
def service(tmp_path: Path, backend: str) -> Iterator[Pushpin]:
    routes = [
        f"*,debug zhttp/ipc://{tmp_path}/ours,host={backend}",
        f"*,path_beg=/untrusted,debug zhttp/ipc://{tmp_path}/ours,host={backend},untrusted",
        f"*,path_beg=/nobody,replace_beg=/,debug zhttp/ipc://{tmp_path}/ours,host=127.0.0.1:1 test",
    ]
    with zurl(tmp_path), pushpin(tmp_path, *routes) as proxy:
        between = Between(tmp_path)
        between.start()
        wait_until_served(proxy)
        yield proxy
        between.end()


def wait_until_served(proxy: Pushpin) -> None:
    """Requests fail until the worker is there."""
    end = time.monotonic() + 20
    while ask(proxy, "GET", "/short")[0].status != 203:
        assert time.monotonic() < end
        time.sleep(0.05)


def ask(
    proxy: Pushpin, method: str, path: str, body: bytes | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
    connection.request(method, path, body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def test_a_request(service: Pushpin) -> None:
    response, body = ask(service, "GET", "/short?a=b%20c")
    assert (response.status, body) == (203, b"hello\n")
    assert response.getheader("X-Path") == "/short?a=b%20c"


def test_long_bodies(service: Pushpin) -> None:
    assert ask(service, "GET", "/long")[1] == LONG
    assert ask(service, "POST", "/", LONG)[1] == hashlib.sha256(LONG).hexdigest().encode()


def test_a_hold(service: Pushpin) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.request("GET", "/hold")
    response = connection.getresponse()
    assert response.readline() == b"welcome\n"
    item = b'{"items": [{"channel": "c", "formats": {"http-stream": {"content": "hello\\n"}}}]}'
    control = http.client.HTTPConnection("127.0.0.1", service.control, timeout=30)
    control.request("POST", "/publish/", item)
    assert control.getresponse().read() == b"Published\n"
    assert response.readline() == b"hello\n"
    control.close()
    connection.close()


def test_what_zurl_says_went_wrong(service: Pushpin) -> None:
    """Its policy forbids the address; nobody listens there, so that the next target is asked."""
    response, body = ask(service, "GET", "/untrusted")
    assert (response.status, body) == (502, b"Error: Origin host/IP blocked.\n")
    response, body = ask(service, "GET", "/nobody")
    assert (response.status, body) == (200, b"Hello from the Pushpin test handler!\n")
