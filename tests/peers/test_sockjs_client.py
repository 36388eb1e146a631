"""The client library of SockJS against the ``test`` target, which echoes and listens to a channel.

Under node it has no document, so that what needs one (scripts, frames) is tried in a browser.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.peers.nodejs import ROOM, needs, program
from tests.peers.running import Pushpin, pushpin
from tests.peers.webdriver import CHROMIUM, DRIVER, Browser, browser

ROUTES = ("*,sockjs=/echo,sockjs_as_path=/ws test", "*,path_beg=/page demo")
MESSAGES = ['a "quoted" line\n', "é\u2028😀\u0000", ""]
LIBRARY = ROOM / "node_modules" / "sockjs-client" / "dist" / "sockjs.min.js"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushpin]:
    with pushpin(tmp_path_factory.mktemp("sockjs"), *ROUTES) as proxy:
        yield proxy


def publish(service: Pushpin, **message: Any) -> None:
    item = {"channel": "test", "formats": {"ws-message": message}}
    body = json.dumps({"items": [item]}).encode()
    with urllib.request.urlopen(f"{service.control_url}/publish/", body, timeout=10) as response:
        assert response.status == 200


@needs("sockjs-client")
@pytest.mark.parametrize("transport", ["websocket", "xhr-streaming", "eventsource", "xhr-polling"])
def test_under_node(service: Pushpin, transport: str) -> None:
    with program("sockjs.js", f"{service.url}/echo", transport, *MESSAGES[:1], "é\u2028😀") as client:
        assert client.next() == ["open", transport]
        assert client.next() == ["message", MESSAGES[0]]
        assert client.next() == ["message", "é\u2028😀"]
        publish(service, content="from a publisher")
        assert client.next() == ["message", "from a publisher"]
        publish(service, action="close", code=4001, reason="bye")
        assert client.next() == ["close", 4001, "bye"]
        client.ended()


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


@needs("sockjs-client")
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")
@pytest.mark.parametrize(
    "transport",
    ["websocket", "xhr-streaming", "eventsource", "xhr-polling", "jsonp-polling"],
)
def test_in_a_browser(service: Pushpin, window: Browser, transport: str) -> None:
    # Another origin than that of the service, as pages are that need SockJS.
    window.open(service.url.replace("127.0.0.1", "localhost") + "/page/")
    script = TALK.replace("arguments[0]", json.dumps(f"{service.url}/echo"))
    script = script.replace("arguments[1]", json.dumps(transport))
    window.run(LIBRARY.read_text() + script.replace("arguments_", json.dumps(MESSAGES)))

    def expect(*events: list[Any]) -> None:
        seen = window.wait_for("return seen", lambda seen: len(seen) >= len(events))
        assert seen == list(events)

    echoes = [["open", transport], *(["message", text] for text in MESSAGES)]
    expect(*echoes)
    publish(service, content="from a publisher")
    expect(*echoes, ["message", "from a publisher"])
    publish(service, action="close", code=4001, reason="bye")
    expect(*echoes, ["message", "from a publisher"], ["close", 4001, "bye"])
