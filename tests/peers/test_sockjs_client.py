"""The client library of SockJS against the ``test`` target, which echoes and listens to a channel.

Under node it has no document, so that what needs one (scripts, frames) is tried in a browser.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.peers.nodejs import ROOM, needs, program
from tests.peers.running import Pushpin, pushpin
from tests.peers.webdriver import CHROMIUM, DRIVER, Browser, browser
from tests.rules.documents import blocks

ROUTES = ("*,sockjs=/echo,sockjs_as_path=/ws test", "*,path_beg=/page demo")
MESSAGES = ['a "quoted" </script> line\n', "é\u2028😀\u0000", ""]
CDN = "https://cdn.jsdelivr.net/npm/sockjs-client@1.6.1/dist/sockjs.min.js"
LIBRARY = ROOM / "node_modules" / "sockjs-client" / "dist" / "sockjs.min.js"

UNDER_NODE = ("websocket", "xhr-streaming", "eventsource", "xhr-polling")
HERE = ("htmlfile",)
"""Transports for pages of the same origin only."""
ANYWHERE = (
    "websocket",
    "xhr-streaming",
    "eventsource",
    "iframe-eventsource",
    "iframe-htmlfile",
    "xhr-polling",
    "iframe-xhr-polling",
    "jsonp-polling",
)
"""Everything else that the library tries; what it has for Internet Explorer beside that asks for the same."""
PIECES = [[f"{batch}.{number} {'x' * 5000}" for number in range(15)] for batch in range(4)]
"""Messages that do not fit into one response of a stream, in portions that may wait for a poll."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nobody is interested."""


@contextmanager
def files(directory: Path) -> Iterator[str]:
    """The URL at which the files of a directory are served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def library() -> Iterator[str]:
    """Where the library is, for the page within the frames of some transports."""
    with files(LIBRARY.parent) as url:
        yield f"{url}/{LIBRARY.name}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, library: str) -> Iterator[Pushpin]:
    with pushpin(tmp_path_factory.mktemp("sockjs"), *ROUTES, proxy=f"sockjs_url={library}") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory, library: str) -> Iterator[Pushpin]:
    """Several processes, each of which may get any request."""
    directory = tmp_path_factory.mktemp("workers")
    with pushpin(directory, *ROUTES, proxy=f"sockjs_url={library}", extra="[tw]\nworkers=3") as proxy:
        yield proxy


def publish(service: Pushpin, *messages: dict[str, Any]) -> None:
    items = [{"channel": "test", "formats": {"ws-message": message}} for message in messages]
    body = json.dumps({"items": items}).encode()
    with urllib.request.urlopen(f"{service.control_url}/publish/", body, timeout=10) as response:
        assert response.status == 200


# ---- under node --------------------------------------------------------------------------------------------


@needs("sockjs-client")
@pytest.mark.parametrize("transport", UNDER_NODE)
@pytest.mark.parametrize("processes", ["service", "workers"])
def test_under_node(processes: str, transport: str, request: pytest.FixtureRequest) -> None:
    service: Pushpin = request.getfixturevalue(processes)
    with program("sockjs.js", f"{service.url}/echo", transport, *MESSAGES[:1], "é\u2028😀") as client:
        assert client.next() == ["open", transport]
        assert client.next() == ["message", MESSAGES[0]]
        assert client.next() == ["message", "é\u2028😀"]
        publish(service, {"content": "from a publisher"})
        assert client.next() == ["message", "from a publisher"]
        for texts in PIECES:
            publish(service, *({"content": text} for text in texts))
            for text in texts:
                assert client.next() == ["message", text]
        publish(service, {"action": "close", "code": 4001, "reason": "bye"})
        assert client.next() == ["close", 4001, "bye"]
        client.ended()


@needs("sockjs-client")
def test_without_a_websocket(tmp_path: Path) -> None:
    """The library goes on to what works: this target takes ``/ws``, and not ``/ws/websocket``."""
    transports = ",".join(UNDER_NODE)
    with (
        pushpin(tmp_path, "*,sockjs=/ws test") as service,
        program("sockjs.js", f"{service.url}/ws", transports, "hello") as client,
    ):
        assert client.next() == ["open", "xhr-streaming"]
        assert client.next() == ["message", "hello"]


@needs("sockjs-client")
@pytest.mark.slow
def test_heartbeats(service: Pushpin) -> None:
    with ExitStack() as stack:
        clients = [
            stack.enter_context(program("sockjs.js", f"{service.url}/echo", transport))
            for transport in UNDER_NODE
        ]
        for client, transport in zip(clients, UNDER_NODE, strict=True):
            assert client.next() == ["open", transport]
        for client in clients:
            assert client.next(40) == ["heartbeat"]
        publish(service, {"content": "alive"})
        for client in clients:
            assert client.next() == ["message", "alive"]


# ---- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as window:
        yield window


TALK = """
window.seen = [];
var socket = new SockJS(arguments[0], null, { transports: [arguments[1]] });
socket.onopen = function () {
  seen.push(["open", socket.transport]);
  arguments_.forEach(function (message) { socket.send(message); });
};
socket.onmessage = function (event) { seen.push(["message", event.data]); };
socket.onclose = function (event) { seen.push(["close", event.code, event.reason]); };
"""


in_a_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"
)


@needs("sockjs-client")
@in_a_browser
@pytest.mark.parametrize("transport", [*ANYWHERE, *HERE])
def test_in_a_browser(service: Pushpin, window: Browser, transport: str) -> None:
    page = service.url + "/page/"
    if transport not in HERE:
        # Another origin than that of the service, as pages are that need SockJS.
        page = page.replace("127.0.0.1", "localhost")
    window.open(page)
    script = TALK.replace("arguments[0]", json.dumps(f"{service.url}/echo"))
    script = script.replace("arguments[1]", json.dumps(transport))
    window.run(LIBRARY.read_text() + script.replace("arguments_", json.dumps(MESSAGES)))
    events: list[list[Any]] = [["open", transport]]

    def expect(*more: list[Any]) -> None:
        events.extend(more)
        window.wait_for("return seen.length", lambda count: count >= len(events))
        assert window.run("return seen") == events

    expect(*(["message", text] for text in MESSAGES))
    publish(service, {"content": "from a publisher"})
    expect(["message", "from a publisher"])
    for texts in PIECES:
        publish(service, *({"content": text} for text in texts))
        expect(*(["message", text] for text in texts))
    publish(service, {"action": "close", "code": 4001, "reason": "bye"})
    expect(["close", 4001, "bye"])


@needs("sockjs-client")
@in_a_browser
def test_the_page_of_the_documentation(
    service: Pushpin, window: Browser, library: str, tmp_path: Path
) -> None:
    page = next(
        block.text for block in blocks() if block.page.endswith("sockjs.rst") and "html" in block.text
    )
    for shown, here in [(CDN, library), ("http://localhost:7999", service.url)]:
        assert shown in page
        page = page.replace(shown, here)
    (tmp_path / "page.html").write_text(page)
    with files(tmp_path) as url:
        window.open(f"{url}/page.html")
        text = "return document.body.innerText.trim()"
        window.wait_for(text, lambda lines: lines == "open: websocket\nmessage: hello")
        publish(service, {"content": "hello, everybody"})
        window.wait_for(text, lambda lines: lines.endswith("\nmessage: hello, everybody"))
        publish(service, {"action": "close", "code": 4001, "reason": "bye"})
        window.wait_for(text, lambda lines: lines.endswith("\nclosed: 4001 bye"))
