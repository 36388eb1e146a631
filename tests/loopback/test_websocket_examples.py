"""The backends of the how-to of WebSockets do what the page says, on real sockets."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytest_twisted
from websockets.sync.server import serve

from tests.rules.documents import ROOT, blocks
from tests.support.running import Proxy
from tests.support.service import ServiceProxy
from tests.support.wsclient import HANDSHAKE, SocketClient
from tests.support.wspeer import PONG

EXAMPLES = ROOT / "examples" / "websockets"
PAGE = "docs/howto/websockets.rst"


def load(path: Path) -> ModuleType:
    module = ModuleType(path.stem)
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    return module


@contextmanager
def running(server: Any, *arguments: float) -> Iterator[int]:
    """The port on which it serves, in a thread."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=arguments)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


@contextmanager
def sockets() -> Iterator[str]:
    """The backend that speaks WebSocket, as a target."""
    example = load(EXAMPLES / "socket_backend.py")
    server = serve(example.talk, "127.0.0.1", 0, process_response=example.agree, compression=None)
    with running(server) as port:
        yield f"127.0.0.1:{port}"


@contextmanager
def requests() -> Iterator[str]:
    """The backend that speaks HTTP, as a target."""
    handler = load(EXAMPLES / "http_backend.py").Backend
    handler.log_message = lambda *args: None
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler), 0.02) as port:
        yield f"127.0.0.1:{port},over_http"


@pytest_twisted.async_yield_fixture(params=[sockets, requests])
async def proxy(request: pytest.FixtureRequest) -> AsyncIterator[Proxy]:
    """One in front of each."""
    backend: Callable[[], Any] = request.param
    with backend() as target:
        proxy = await ServiceProxy.start([f"* {target}"], {"handler": {"message_rate": -1}})
        yield proxy
        await proxy.stop()


async def join(proxy: Proxy) -> SocketClient:
    raw = await proxy.client()
    raw.request("/", *HANDSHAKE)
    return await SocketClient.switched(raw)


@pytest_twisted.ensureDeferred
async def test_a_client_is_answered_and_hears_what_is_published(proxy: Proxy) -> None:
    first, second = await join(proxy), await join(proxy)
    for client in (first, second):
        await client.expect_text("welcome")
    await proxy.held("room", 2)
    first.text("hello")
    await first.expect_text("you said: hello")
    await proxy.publish("room", {"ws-message": {"content": "hello, everybody"}})
    for client in (first, second):
        await client.expect_text("hello, everybody")
    first.ping(b"there?")
    await first.expect(PONG, b"there?")
    first.text("")
    await first.expect_text("you said: ")
    first.close(1000, b"bye")
    await first.expect_close(1000, b"bye")
    await proxy.held("room", 1)
    second.drop()
    await proxy.held("room", 0)


def shown(name: str) -> list[str]:
    """The commands of the page that call a program, as they would be typed."""
    commands = "".join(block.text for block in blocks() if block.page == PAGE and block.language == "sh")
    return [line for line in commands.replace("\\\n", " ").splitlines() if line.startswith(name)]


def test_the_page_tells_how_to_start_what_it_shows() -> None:
    started = {Path(command.split()[1]) for command in shown("python3 examples")}
    assert started == {path.relative_to(ROOT) for path in EXAMPLES.glob("*.py")}


def test_the_shown_answer_is_the_backends() -> None:
    """Sizes, too."""
    shown = [block.text for block in blocks() if block.page == PAGE and block.language == "http"]
    (request, answer) = (text.replace("\n", "\r\n").encode().partition(b"\r\n\r\n") for text in shown)
    assert b"Content-Length: %d" % len(request[2]) in request[0]
    assert b"Content-Length: %d" % len(answer[2]) in answer[0]
    example = load(EXAMPLES / "http_backend.py")
    (opened,) = example.decode_websocket_events(request[2])
    assert example.encode_websocket_events(example.answers(opened)) == answer[2]
