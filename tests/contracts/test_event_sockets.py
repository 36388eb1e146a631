"""WebSockets over HTTP, against the suite that third parties run, and a backend of others' making."""

from __future__ import annotations

import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from gripcontrol import WebSocketEvent, decode_websocket_events, encode_websocket_events
from twisted.internet import threads

from pushpin_tw.origin.overhttp import OverHttpOrigin
from pushpin_tw.plugins import builtin
from pushpin_tw.routing.route import Target
from pushpin_tw.testing.services import LentServices
from pushpin_tw.testing.sockets import SocketContract
from pushpin_tw.wire.message import OriginRequest

ECHOED = frozenset(("OPEN", "TEXT", "BINARY", "PING", "CLOSE"))


class Echo(BaseHTTPRequestHandler):
    """Says what it hears, in the words of gripcontrol."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Backend

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/ws":
            self._answer(404, "text/plain", b"no such thing\n")
            return
        events = decode_websocket_events(body)
        self.server.heard.append([event.type for event in events])
        said = [event for event in events if event.type in ECHOED]
        self._answer(200, "application/websocket-events", encode_websocket_events(map(pong, said)))

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def pong(event: WebSocketEvent) -> WebSocketEvent:
    """What is said to an event."""
    return WebSocketEvent("PONG", event.content) if event.type == "PING" else event


class Backend(ThreadingHTTPServer):
    """An echo over HTTP, in threads of its own."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.heard: list[list[str]] = []
        """The types of events, request by request."""
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class TestOverHttp(SocketContract):
    wanted: ClassVar[OriginRequest] = OriginRequest(
        b"POST", b"/ws", [(b"Host", b"a.example")], host="a.example", path=b"/ws"
    )
    unwanted: ClassVar[OriginRequest] = replace(wanted, target=b"/none", path=b"/none")
    agreed: ClassVar[int] = 200
    target = Target(kind="", over_http=True)

    def make_origin(self, services: LentServices) -> Any:
        self.backend = Backend()
        target = replace(self.target, address=f"127.0.0.1:{self.backend.server_port}")
        return OverHttpOrigin(builtin.http_target.origin(target, services), target, services)

    async def release(self) -> None:
        await threads.deferToThread(self.backend.stop)


class TestOverHttpOneEvent(TestOverHttp):
    target = Target(kind="", over_http=True, one_event=True)

    async def release(self) -> None:
        await super().release()
        assert all(len(types) <= 1 for types in self.backend.heard)
