"""WebSockets for a Django project, a process that only knows HTTP: classes of gripcontrol and django-grip."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gripcontrol import GripPubControl, WebSocketMessageFormat
from pubcontrol import Item
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.peers.nodejs import Program
from tests.peers.running import Pushpin, free_port, pushpin, wait_for_port

SECONDS = 20.0
QUIET = 0.3
"""Seconds in which nothing comes that is not to come."""
MARKER = "nothing has come before this"


class Rooms:
    """The proxy and what the project behind it tells."""

    def __init__(self, proxy: Pushpin, project: Program) -> None:
        self.proxy = proxy
        self.project = project
        self.id = ""
        """Of the last client that came."""

    def connect(self, room: str) -> Any:
        """A new client, as a context."""
        return connect(f"ws://127.0.0.1:{self.proxy.port}/room/{room}/", open_timeout=SECONDS)

    @contextmanager
    def open(self, room: str) -> Iterator[ClientConnection]:
        """A client that the project has let in; the project is told of its end in the usual way."""
        with self.connect(room) as client:
            event, self.id = self.project.next()
            assert (event, len(self.id)) == ("open", 36)
            yield client
            own = self.id
            client.close()
            assert (client.close_code, client.close_reason) == (1000, "")
        assert self.project.next() == ["closed", own, 1000]

    def publish(self, room: str, message: WebSocketMessageFormat, sender: str = "") -> None:
        """By the library, waiting for its result."""
        control = GripPubControl({"control_uri": self.proxy.control_url})
        done = threading.Event()
        results: list[tuple[bool, str]] = []

        def told(result: bool, text: str) -> None:
            results.append((result, text))
            done.set()

        item = Item(message, meta={"sender": sender} if sender else {})
        control.publish(f"rooms-{room}", item, blocking=False, callback=told)
        assert done.wait(SECONDS)
        control.close()
        assert results[0][0], results


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    origin = free_port()
    with pushpin(tmp_path_factory.mktemp("rooms"), f"* 127.0.0.1:{origin},over_http") as proxy:
        script = Path(__file__).with_name("rooms_project.py")
        command = [sys.executable, str(script), str(origin), proxy.control_url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        project = Program(process)
        try:
            wait_for_port(origin, process)
            yield Rooms(proxy, project)
        finally:
            project.stop()


def ask(client: ClientConnection, message: str | bytes) -> Any:
    """The answer to a message."""
    client.send(message)
    return client.recv(SECONDS)


@pytest.mark.parametrize(
    "message", ["hello", "", "é\u2028😀", b"\x00\xff", b"", "x" * 16384, b"y" * 199_000], ids=len
)
def test_an_echo(rooms: Rooms, message: str | bytes) -> None:
    with rooms.open("echo") as client:
        assert ask(client, message) == message


def test_messages_that_wait_for_an_answer_stay_in_order(rooms: Rooms) -> None:
    with rooms.open("echo") as client:
        sent = [f"{number}" for number in range(200)]
        for message in sent:
            client.send(message)
        assert [client.recv(SECONDS) for _ in sent] == sent


def test_a_ping_is_answered_by_the_library(rooms: Rooms) -> None:
    with rooms.open("echo") as client:
        answered = client.ping("are you there?")
        # The library looks at pings while it receives.
        assert ask(client, "a message") == "a message"
        assert answered.wait(SECONDS)


def test_what_the_project_publishes_reaches_everybody(rooms: Rooms) -> None:
    with rooms.open("hall") as first, rooms.connect("hall") as second:
        other = rooms.project.next()[1]
        first.send("/say good morning")
        assert first.recv(SECONDS) == "good morning"
        assert second.recv(SECONDS) == "good morning"
        second.close()
        assert rooms.project.next() == ["closed", other, 1000]


def test_what_another_process_publishes_arrives(rooms: Rooms) -> None:
    with rooms.open("news") as client:
        rooms.publish("news", WebSocketMessageFormat("é"))
        assert client.recv(SECONDS) == "é"
        rooms.publish("other", WebSocketMessageFormat("elsewhere"))
        assert ask(client, MARKER) == MARKER


def test_nobody_listens_after_unsubscribing(rooms: Rooms) -> None:
    with rooms.open("exit") as client:
        client.send("/leave")
        assert ask(client, "left") == "left"
        rooms.publish("exit", WebSocketMessageFormat("too late"))
        assert ask(client, MARKER) == MARKER


def test_values_are_kept_for_the_project(rooms: Rooms) -> None:
    with rooms.open("kept") as client:
        assert json.loads(ask(client, "/who")) == {"room": "kept"}
        client.send("/name alice")
        assert json.loads(ask(client, "/who")) == {"room": "kept", "user": "alice"}
        client.send("/name bob")
        client.send("/forget")
        assert json.loads(ask(client, "/who")) == {"room": "kept"}


def test_nobody_hears_himself(rooms: Rooms) -> None:
    with rooms.open("quiet") as client:
        client.send("/name alice")
        client.send("/quietly")
        assert ask(client, "named") == "named"
        rooms.publish("quiet", WebSocketMessageFormat("from bob"), "bob")
        rooms.publish("quiet", WebSocketMessageFormat("from alice"), "alice")
        rooms.publish("quiet", WebSocketMessageFormat("from carol"), "carol")
        assert [client.recv(SECONDS), client.recv(SECONDS)] == ["from bob", "from carol"]


def test_a_message_for_later(rooms: Rooms) -> None:
    with rooms.open("later") as client:
        client.send("/later tea")
        assert ask(client, "at once") == "at once"
        assert client.recv(SECONDS) == "tea"


def test_a_detached_client_still_listens(rooms: Rooms) -> None:
    with rooms.connect("detached") as client:
        own = rooms.project.next()[1]
        client.send("/detach")
        assert rooms.project.next() == ["closed", own, None]
        client.send("nobody reads this")
        with pytest.raises(TimeoutError):
            client.recv(QUIET)
        rooms.publish("detached", WebSocketMessageFormat("still here"))
        assert client.recv(SECONDS) == "still here"
        rooms.publish("detached", WebSocketMessageFormat(action="close", code=4000, reason="enough"))
        with pytest.raises(ConnectionClosed):
            client.recv(SECONDS)
        assert (client.close_code, client.close_reason) == (4000, "enough")


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_a_client_closes(rooms: Rooms, code: int) -> None:
    with rooms.connect("door") as client:
        own = rooms.project.next()[1]
        client.close(code)
        assert rooms.project.next() == ["closed", own, code]
        assert client.close_code == code


def test_the_project_closes(rooms: Rooms) -> None:
    with rooms.connect("door") as client:
        own = rooms.project.next()[1]
        client.send("/close 4321")
        with pytest.raises(ConnectionClosed):
            client.recv(SECONDS)
        assert (client.close_code, client.close_reason) == (4321, "")
        # The client's answer comes to the project as well.
        assert rooms.project.next() == ["closed", own, 4321]


def test_a_publisher_closes(rooms: Rooms) -> None:
    with rooms.connect("curfew") as client:
        own = rooms.project.next()[1]
        rooms.publish("curfew", WebSocketMessageFormat(action="close", code=4001, reason="late"))
        with pytest.raises(ConnectionClosed):
            client.recv(SECONDS)
        assert (client.close_code, client.close_reason) == (4001, "late")
        assert rooms.project.next() == ["closed", own, None]


def test_the_project_is_told_of_a_client_that_was_lost(rooms: Rooms) -> None:
    with rooms.connect("lost") as client:
        own = rooms.project.next()[1]
        client.send("/name alice")
        assert json.loads(ask(client, "/who"))["user"] == "alice"
        client.socket.shutdown(socket.SHUT_RDWR)
        assert rooms.project.next() == ["lost", own, {"room": "lost", "user": "alice"}]


def test_a_room_that_nobody_may_enter(rooms: Rooms) -> None:
    with pytest.raises(InvalidStatus) as caught, rooms.connect("closed"):
        pass
    assert (caught.value.response.status_code, caught.value.response.body) == (403, b"this room is closed\n")


def test_a_long_explanation_why_nobody_may_enter(rooms: Rooms) -> None:
    with pytest.raises(InvalidStatus) as caught, rooms.connect("explained"):
        pass
    assert (caught.value.response.status_code, caught.value.response.body) == (403, b"no! " * 50_000)


def test_the_room_is_for_websockets_only(rooms: Rooms) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", rooms.proxy.port, timeout=SECONDS)
    connection.request("GET", "/room/plain/")
    response = connection.getresponse()
    assert (response.status, response.read()) == (400, b"Request must contain WebSocket events.\n")
    headers = {"Content-Type": "application/websocket-events", "Connection-Id": "forged"}
    connection.request("POST", "/room/plain/", "OPEN\r\n", headers)
    response = connection.getresponse()
    assert response.status == 403
    assert response.read() == b"Client not allowed to send WebSocket events directly.\n"
    connection.close()
