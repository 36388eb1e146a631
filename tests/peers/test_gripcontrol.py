"""The gripcontrol library publishes, and its formats reach held clients."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import gripcontrol
import pytest
from gripcontrol import GripPubControl, HttpResponseFormat, HttpStreamFormat
from pubcontrol import Item

from tests.peers.running import Pushpin, pushpin

# The backend runs in this process, and PyJWT finds the customary key short.
pytestmark = pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")


class Backend(BaseHTTPRequestHandler):
    """Holds as gripcontrol's own helpers say."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        signed = gripcontrol.validate_sig(self.headers.get("Grip-Sig", ""), "changeme")
        if not signed:
            self.reply({"Content-Type": "text/plain"}, b"unsigned\n")
        elif self.path == "/stream":
            channel = gripcontrol.create_grip_channel_header(gripcontrol.Channel("news"))
            self.reply({"Grip-Hold": "stream", "Grip-Channel": channel}, b"open\n")
        elif self.path == "/instruct":
            channel = gripcontrol.Channel("news")
            instruct = gripcontrol.create_hold_stream(channel, gripcontrol.Response(body="instruct\n"))
            self.reply({"Content-Type": "application/grip-instruct"}, instruct.encode())
        else:
            instruct = gripcontrol.create_hold_response(
                gripcontrol.Channel("news"), gripcontrol.Response(body="nothing\n"), timeout=20
            )
            self.reply({"Content-Type": "application/grip-instruct"}, instruct.encode())

    def reply(self, headers: dict[str, str], body: bytes) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Closes at its end what its threads still hold open."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.taken: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        self.taken.append(sock)
        return sock, address


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushpin]:
    server = Server(("127.0.0.1", 0), Backend)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pushpin(tmp_path_factory.mktemp("grip"), f"* 127.0.0.1:{server.server_port}") as proxy:
            yield proxy
    finally:
        server.shutdown()
        thread.join()
        for sock in server.taken:
            sock.close()
        server.server_close()


def publish(service: Pushpin, item_format: Any) -> None:
    """By the library, waiting for its result."""
    control = GripPubControl({"control_uri": service.control_url})
    done = threading.Event()
    results: list[tuple[bool, str]] = []

    def told(result: bool, message: str) -> None:
        results.append((result, message))
        done.set()

    control.publish("news", Item(item_format), blocking=False, callback=told)
    assert done.wait(10)
    control.close()
    assert results[0][0], results


class Stream:
    """A held stream, read line by line."""

    def __init__(self, service: Pushpin, path: str, first: bytes) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        self.connection.request("GET", path)
        self.response = self.connection.getresponse()
        assert self.response.readline() == first

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@pytest.mark.parametrize(("path", "first"), [("/stream", b"open\n"), ("/instruct", b"instruct\n")])
def test_a_stream_receives_what_the_library_publishes(service: Pushpin, path: str, first: bytes) -> None:
    stream = Stream(service, path, first)
    publish(service, HttpStreamFormat("hello\n"))
    assert stream.response.readline() == b"hello\n"
    publish(service, HttpStreamFormat(b"\x00\xff\n"))
    assert stream.response.readline() == b"\x00\xff\n"
    publish(service, HttpStreamFormat(close=True))
    assert stream.response.read() == b""
    stream.close()


def test_a_long_poll_receives_what_the_library_publishes(service: Pushpin) -> None:
    watch = Stream(service, "/stream", b"open\n")
    sock = socket.create_connection(("127.0.0.1", service.port), 10)
    sock.sendall(b"GET /poll HTTP/1.1\r\nHost: a\r\n\r\n")
    response = http.client.HTTPResponse(sock)
    # The poll is held as soon as a stream opened behind it on the same backend is.
    behind = Stream(service, "/stream", b"open\n")
    answered = threading.Event()

    def keep_publishing() -> None:
        while not answered.wait(0.2):
            publish(service, HttpResponseFormat(201, "Made", {"X-N": "1"}, "done\n"))

    thread = threading.Thread(target=keep_publishing)
    thread.start()
    try:
        response.begin()
        assert (response.status, response.reason, response.getheader("X-N")) == (201, "Made", "1")
        assert response.read() == b"done\n"
    finally:
        answered.set()
        thread.join()
        response.close()
        sock.close()
        watch.close()
        behind.close()


def test_the_library_is_told_what_was_wrong(service: Pushpin) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.control, timeout=10)
    connection.request("POST", "/publish/", json.dumps({"items": [{"formats": {}}]}))
    response = connection.getresponse()
    assert response.status == 400
    assert b"'channel'" in response.read()
    connection.close()
