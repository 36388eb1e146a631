"""The few calls of the W3C WebDriver protocol that the browser tests need."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers.running import free_port, stop, wait_for_port

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Browser:
    """One window of a headless Chromium."""

    def __init__(self, base: str, handle: str = "") -> None:
        """``base`` is the URL of the session; ``handle`` tells its windows apart, if there are several."""
        self._base = base
        self._handle = handle

    def another(self) -> Browser:
        """A further window."""
        self._handle = self._handle or call(f"{self._base}/window", method="GET")
        return Browser(self._base, call(f"{self._base}/window/new", {"type": "window"})["handle"])

    def close(self) -> None:
        """Close this window, which is not the last one."""
        self._turn()
        call(f"{self._base}/window", method="DELETE")

    def open(self, url: str) -> None:
        """Load a page."""
        self._turn()
        call(f"{self._base}/url", {"url": url})

    def run(self, script: str) -> Any:
        """What a piece of JavaScript returns."""
        self._turn()
        return call(f"{self._base}/execute/sync", {"script": script, "args": []})

    def wait_for(self, script: str, wanted: Callable[[Any], bool], seconds: float = 20) -> Any:
        """Ask again and again until the answer is as wanted."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(script)
            if wanted(value):
                return value
            if time.monotonic() > end:
                raise AssertionError(f"{script} gave {value!r}")
            time.sleep(0.05)

    def _turn(self) -> None:
        """What is said next is meant for this window."""
        if self._handle:
            call(f"{self._base}/window", {"handle": self._handle})


def call(url: str, data: Any = None, method: str = "POST") -> Any:
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["value"]


@contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """A browser with an empty profile."""
    port = free_port()
    with open(directory / "chromedriver.log", "wb") as log:
        process = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}"
    try:
        wait_for_port(port, process)
        options = {"binary": CHROMIUM, "args": [*ARGUMENTS, f"--user-data-dir={directory}/profile"]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        session = f"{base}/session/{call(f'{base}/session', wanted)['sessionId']}"
        try:
            yield Browser(session)
        finally:
            call(session, method="DELETE")
    finally:
        stop(process)
