"""SockJS sessions where several processes serve the clients, as they run: each request may come to any."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.child import PATIENCE
from tests.support.workers import Crowd, eventually

ROUTES = "*,sockjs=/echo,sockjs_as_path=/ws test\n"
SESSIONS = 30


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Crowd]:
    place = Crowd(tmp_path, "drain_seconds=0.5", 3, ROUTES)
    yield place
    place.close()


class Caller:
    """A client of one session; each of its requests is on a connection of its own."""

    def __init__(self, place: Crowd, number: int) -> None:
        self._place = place
        self._path = f"/echo/{number}/session{number}/"
        self.stream: http.client.HTTPResponse | None = None

    def begin(self, action: str, body: str = "") -> http.client.HTTPResponse:
        """A request, and the head of its response."""
        connection = http.client.HTTPConnection("127.0.0.1", self._place.port, timeout=PATIENCE)
        connection.request("POST", self._path + action, body, {"Connection": "close"})
        return connection.getresponse()  # which has the socket from now on

    def ask(self, action: str, body: str = "") -> tuple[int, str]:
        """A request and its response: status and body."""
        with self.begin(action, body) as response:
            return response.status, response.read().decode()

    def listen(self) -> None:
        """Open a stream."""
        self.stream = self.begin("xhr_streaming")
        assert self.line() == "h" * 2048
        assert self.line() == "o"

    def line(self) -> str:
        """The next one of the stream; '' when it has ended, or was broken off."""
        assert self.stream is not None
        try:
            return self.stream.readline().decode().rstrip("\n")
        except http.client.IncompleteRead:
            return ""

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()


@pytest.fixture
def callers(place: Crowd) -> Iterator[list[Caller]]:
    callers = [Caller(place, number) for number in range(SESSIONS)]
    yield callers
    for caller in callers:
        caller.close()


def publish(place: Crowd, text: str) -> None:
    items = [{"channel": "test", "formats": {"ws-message": {"content": text}}}]
    url = f"http://127.0.0.1:{place.control}/publish/"
    with urllib.request.urlopen(url, json.dumps({"items": items}).encode(), timeout=PATIENCE) as answer:
        assert answer.status == 200


def test_polls(callers: list[Caller]) -> None:
    assert [caller.ask("xhr") for caller in callers] == [(200, "o\n")] * SESSIONS
    for number, caller in enumerate(callers):
        for text in (f"one {number}", "two"):
            assert caller.ask("xhr_send", json.dumps([text])) == (200, "ok")
    for number, caller in enumerate(callers):
        assert caller.ask("xhr") == (200, f'a["one {number}","two"]\n')


def test_streams(place: Crowd, callers: list[Caller]) -> None:
    for caller in callers:
        caller.listen()
    publish(place, "to all")
    for number, caller in enumerate(callers):
        assert caller.line() == 'a["to all"]'
        assert caller.ask("xhr_send", f'["{number}"]') == (200, "ok")
        assert caller.line() == f'a["{number}"]'
        assert caller.ask("xhr") == (200, 'c[2010,"Another connection still open"]\n')


def test_large_messages_and_the_end_of_streams(callers: list[Caller]) -> None:
    text = "x" * 90_000
    for caller in callers[:6]:
        caller.listen()
        for _ in range(2):  # more than a stream carries
            assert caller.ask("xhr_send", json.dumps([text])) == (200, "ok")
            assert caller.line() == f'a["{text}"]'
        assert caller.line() == ""
        assert caller.ask("xhr_send", '["after"]') == (200, "ok")
        assert caller.ask("xhr") == (200, 'a["after"]\n')
        assert caller.ask("xhr_send", json.dumps(["x" * 100_000])) == (400, "Request too large.\n")


def test_a_worker_that_dies(place: Crowd, callers: list[Caller]) -> None:
    for caller in callers:
        caller.listen()
    os.kill(place.workers()[0], signal.SIGKILL)
    place.command.wait_for(r"worker \d has ended: .*signal 9")
    publish(place, "to all")
    heard = [caller.line() for caller in callers]
    lost = [caller for caller, line in zip(callers, heard, strict=True) if line != 'a["to all"]']
    assert 0 < len(lost) < SESSIONS
    # Everybody is told something soon, whatever became of the session.
    for caller in callers:
        status, text = caller.ask("xhr_send", '["on"]')
        assert (status, text) in [(200, "ok"), (404, "Not Found\n"), (503, "Session is not available\n")]
    # As soon as there is a successor, sessions begin everywhere again.
    numbers = itertools.count(SESSIONS)

    def all_begin() -> bool:
        new = [Caller(place, next(numbers)) for _ in range(SESSIONS)]
        return [caller.ask("xhr") for caller in new] == [(200, "o\n")] * SESSIONS

    eventually(all_begin, "a successor")


def test_the_end(place: Crowd, callers: list[Caller]) -> None:
    """Everybody is let go by the worker that has the session, wherever the connection is."""
    for caller in callers:
        caller.listen()
    place.command.signal(signal.SIGTERM)
    assert [caller.line() for caller in callers] == ['c[1001,"Connection closed"]'] * SESSIONS
    assert [caller.line() for caller in callers] == [""] * SESSIONS
    assert place.command.end() == 0
