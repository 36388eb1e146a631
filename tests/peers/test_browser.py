"""A page in headless Chromium receives what is published: EventSource and long-polls, through the demo
backend."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.running import Pushpin, pushpin
from tests.peers.webdriver import CHROMIUM, DRIVER, Browser, browser

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"
)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Pushpin]:
    with pushpin(tmp_path, "* demo,over_http") as proxy:
        yield proxy


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as window:
        yield window


def publish(service: Pushpin, content: str) -> None:
    item = {"channel": "demo", "formats": {"http-stream": {"content": content}}}
    body = json.dumps({"items": [item]}).encode()
    with urllib.request.urlopen(f"{service.control_url}/publish/", body, timeout=10) as response:
        assert response.status == 200


def test_an_event_source_receives_published_events(service: Pushpin, window: Browser) -> None:
    window.open(service.url + "/")
    window.run(
        "window.got = []; window.source = new EventSource('/stream');"
        "source.onmessage = function (event) { got.push(event.data); };"
    )
    window.wait_for("return source.readyState", lambda state: state == 1)
    publish(service, "data: one\n\n")
    publish(service, "data: two\n\n")
    assert window.wait_for("return got", lambda got: len(got) >= 2)[-2:] == ["one", "two"]


def test_the_demo_page_shows_a_published_line_and_counts(service: Pushpin, window: Browser) -> None:
    window.open(service.url + "/")
    text = "return document.body.innerText"
    window.wait_for(text, lambda shown: "/publish/" in shown)
    window.wait_for("return document.querySelector('#stream-state').innerText", lambda state: state == "held")
    assert "hello-from-a-test" not in window.run(text)
    publish(service, "data: hello-from-a-test\n\n")
    window.wait_for(text, lambda shown: "hello-from-a-test" in shown)
