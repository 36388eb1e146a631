"""Two pages in headless Chromium talk over WebSockets, with a backend that only knows requests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.running import Pushpin, pushpin
from tests.peers.webdriver import CHROMIUM, DRIVER, Browser, browser
from tests.rules.documents import ROOT

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"
)

ROUTE = (ROOT / "etc" / "routes").read_text().splitlines()[-1]
PUBLISH = str(Path(sys.executable).with_name("pushpin-publish"))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Pushpin]:
    with pushpin(tmp_path, ROUTE) as proxy:
        yield proxy


@pytest.fixture
def pages(service: Pushpin, tmp_path: Path) -> Iterator[tuple[Browser, Browser]]:
    """The demo page in two windows, both connected."""
    with browser(tmp_path) as first:
        second = first.another()
        for page in (first, second):
            page.open(service.url + "/")
            page.wait_for(
                "return document.getElementById('chat-state').innerText", lambda text: text == "open"
            )
        yield first, second


def say(page: Browser, text: str) -> None:
    page.run(
        f"document.getElementById('said').value = {json.dumps(text)};document.getElementById('say').click()"
    )


def heard(page: Browser, *texts: str) -> None:
    """The page's latest lines become these, the first one last."""
    lines = "return [...document.querySelectorAll('#heard span')].map(line => line.textContent)"
    page.wait_for(lines, lambda shown: shown[: len(texts)] == list(reversed(texts)))


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=20, stdout=subprocess.DEVNULL)


def test_two_pages_talk(pages: tuple[Browser, Browser]) -> None:
    first, second = pages
    heard(second, "you are heron", "heron is here")
    heard(first, "you are otter", "otter is here", "heron is here")
    say(first, "hello <b>heron</b> \U0001f4cc")
    heard(second, "otter: hello <b>heron</b> \U0001f4cc")
    say(second, "hello otter")
    for page in pages:
        heard(page, "otter: hello <b>heron</b> \U0001f4cc", "heron: hello otter")
    second.close()
    heard(first, "heron: hello otter", "heron has left")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_what_is_published_reaches_both(service: Pushpin, pages: tuple[Browser, Browser]) -> None:
    control = f"{service.control_url}/publish/"
    item = {"channel": "demo-chat", "formats": {"ws-message": {"content": "from curl"}}}
    run("curl", "-sf", "-d", json.dumps({"items": [item]}), control)
    for page in pages:
        heard(page, "from curl")
    run(PUBLISH, "--spec", service.control_url, "demo-chat", "from the command line")
    for page in pages:
        heard(page, "from curl", "from the command line")


def test_pages_come_back(service: Pushpin, pages: tuple[Browser, Browser]) -> None:
    run(PUBLISH, "--spec", service.control_url, "--close", "demo-chat")
    names = set()
    for page in pages:
        shown = "return [...document.querySelectorAll('#heard span')].map(line => line.textContent)"
        lines = page.wait_for(shown, lambda lines: sum("you are" in line for line in lines) == 2)
        names.add(next(line for line in lines if "you are" in line))
    assert names == {"you are badger", "you are finch"}
    say(pages[0], "here again")
    for page in pages:
        page.wait_for(shown, lambda lines: lines[0].endswith(": here again"))


def test_a_page_without_a_websocket_talks_to_one_with(pages: tuple[Browser, Browser]) -> None:
    first, second = pages
    heard(second, "you are heron", "heron is here")
    first.run("document.getElementById('way').click()")
    heard(second, "otter has left", "badger is here")
    heard(first, "you are badger", "badger is here")
    assert first.run("return document.getElementById('way').innerText") == "Use a WebSocket"
    for number in range(5):
        say(first, f"<i>line</i> {number}")
    for page in pages:
        heard(page, *(f"badger: <i>line</i> {number}" for number in range(5)))
    say(second, "hello badger")
    heard(first, "heron: hello badger")
    first.run("document.getElementById('way').click()")
    # The browser may keep the stream's connection for a while, to use it again.
    lines = "return document.getElementById('heard').innerText"
    second.wait_for(lines, lambda shown: "badger has left" in shown and "finch is here" in shown)
