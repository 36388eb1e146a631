"""The origins that know WebSockets, against the suite that third parties run."""

from __future__ import annotations

import ssl
import threading
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor, threads
from websockets.sync.server import ServerConnection, serve
from zope.interface.verify import verifyObject

from pushpin_tw.errors import OriginError, OriginUnreachable
from pushpin_tw.origin.capped import CappedOrigin, Row
from pushpin_tw.plugins import builtin
from pushpin_tw.routing.route import Target
from pushpin_tw.sockets import IHandshake, ISocketOwner, ISocketSink
from pushpin_tw.testing.services import LentServices
from pushpin_tw.testing.sockets import FixedHandshake, RecordingOwner, RecordingSocketSink, SocketContract
from pushpin_tw.wire.message import OriginRequest
from tests.support.certificates import Authority


class TestTestTarget(SocketContract):
    def make_origin(self, services: LentServices) -> Any:
        return builtin.test_target.origin(Target(kind="test"), services)


class TestCapped(TestTestTarget):
    def make_origin(self, services: LentServices) -> Any:
        return CappedOrigin(super().make_origin(services), Row(1), services.stats)


def test_the_fakes_have_the_methods_of_the_real_ones() -> None:
    request = OriginRequest(b"GET", b"/", [])
    verifyObject(IHandshake, FixedHandshake(request))
    verifyObject(ISocketOwner, RecordingOwner())
    verifyObject(ISocketSink, RecordingSocketSink())


def test_targets_that_know_no_websockets() -> None:
    """They fail at once, and no other target is tried."""
    for kind, address in ((builtin.demo_target, ""), (builtin.zhttpreq_target, "ipc:///tmp/none")):
        services = LentServices(reactor)
        target = Target(kind=kind.prefix, address=address)
        sink = RecordingSocketSink()
        kind.origin(target, services).connect(FixedHandshake(OriginRequest(b"GET", b"/", [])), sink).cancel()
        assert isinstance(sink.error, OriginError) and not isinstance(sink.error, OriginUnreachable)
        assert sink.disorder == []
        services.stop()


class Backend:
    """An echo by the ``websockets`` library, in a thread of its own."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.extensions: list[str] = []
        """What was agreed on, connection by connection."""
        self._server = serve(self._echo, "127.0.0.1", 0, ssl=tls, process_request=self._look, max_size=None)
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @staticmethod
    def _look(connection: ServerConnection, request: Any) -> Any:
        if request.path == "/ws":
            return None
        return connection.respond(HTTPStatus.NOT_FOUND, "no such thing\n")

    def _echo(self, connection: ServerConnection) -> None:
        self.extensions.append(connection.response.headers.get("Sec-WebSocket-Extensions", ""))
        for message in connection:
            connection.send(message)

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()


class TestHttpOrigin(SocketContract):
    """Against a server that is strict in its own way."""

    target = Target(kind="")

    def make_origin(self, services: LentServices) -> Any:
        self.backend = Backend()
        address = f"127.0.0.1:{self.backend.port}"
        return builtin.http_target.origin(replace(self.target, address=address), services)

    async def release(self) -> None:
        await threads.deferToThread(self.backend.stop)


class TestHttpOriginCompressed(TestHttpOrigin):
    def make_services(self) -> LentServices:
        return LentServices(reactor, config_text="[runner]\nallow_compression=true\n")

    async def release(self) -> None:
        await super().release()
        assert all("permessage-deflate" in agreed for agreed in self.backend.extensions)


class TestHttpOriginOverTls(TestHttpOrigin):
    target = Target(kind="", ssl=True)

    @pytest.fixture(autouse=True)
    def authority(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        authority = Authority(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", authority.file)
        self.files = authority.certificate("a.example")

    def make_origin(self, services: LentServices) -> Any:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.files)
        self.backend = Backend(context)
        address = f"127.0.0.1:{self.backend.port}"
        return builtin.http_target.origin(replace(self.target, address=address), services)
