"""A Django project with django-grip, as a process behind the proxy: the counter service."""

from __future__ import annotations

import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.peers.running import Pushpin, free_port, pushpin, stop, wait_for_port


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushpin]:
    directory = tmp_path_factory.mktemp("django")
    origin = free_port()
    with pushpin(directory, f"* 127.0.0.1:{origin}") as proxy:
        script = Path(__file__).with_name("counter_project.py")
        process = subprocess.Popen([sys.executable, str(script), str(origin), proxy.control_url])
        try:
            wait_for_port(origin, process)
            yield proxy
        finally:
            stop(process)


def ask(url: str, data: bytes | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, data, method="GET" if data is None else "POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.status, response.read().decode()


def receivers(proxy: Pushpin, channel: str, count: int) -> None:
    """Wait until so many requests are held: the proxy says so in its request log."""
    deadline = threading.Event()
    for _ in range(300):
        text = (proxy.directory / "output").read_text() + "".join(
            file.read_text() for file in (proxy.directory / "log").glob("*") if file.is_file()
        )
        if sum(channel in line and line.endswith("accept") for line in text.splitlines()) >= count:
            return
        deadline.wait(0.1)
    raise AssertionError("not held in time")


def test_a_value_that_is_not_known_yet_is_answered_at_once(service: Pushpin) -> None:
    assert ask(f"{service.url}/counter/now/") == (200, "0\n")
    assert ask(f"{service.url}/counter/now/?last=7") == (200, "0\n")


def test_pollers_wait_until_the_value_changes(service: Pushpin) -> None:
    url = f"{service.url}/counter/wait/"
    with ThreadPoolExecutor(20) as pool:
        polls = [pool.submit(ask, f"{url}?last=0") for _ in range(20)]
        receivers(service, "/counter/wait/?last=0", 20)
        assert not any(poll.done() for poll in polls)
        assert ask(url, b"") == (200, "1\n")
        assert {poll.result(10) for poll in polls} == {(200, "1\n")}


def test_several_rounds_of_poll_and_increment(service: Pushpin) -> None:
    url = f"{service.url}/counter/rounds/"
    with ThreadPoolExecutor(1) as pool:
        for value in range(5):
            poll = pool.submit(ask, f"{url}?last={value}")
            receivers(service, f"/counter/rounds/?last={value} ", 1)
            assert ask(url, b"") == (200, f"{value + 1}\n")
            assert poll.result(10) == (200, f"{value + 1}\n")
