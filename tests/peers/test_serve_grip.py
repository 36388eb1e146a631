"""A chat by express and serve-grip under node, which only know HTTP: WebSockets are the proxy's."""

from __future__ import annotations

import http.client
import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.peers.nodejs import Program, needs, program
from tests.peers.running import Pushpin, free_port, pushpin

pytestmark = needs("express", "@fanoutio/serve-grip")

SECONDS = 20.0


class Chat:
    """The proxy and what the server behind it tells."""

    def __init__(self, proxy: Pushpin, server: Program) -> None:
        self.proxy = proxy
        self.server = server

    def connect(self, room: str) -> Any:
        """A new client, as a context."""
        return connect(f"ws://127.0.0.1:{self.proxy.port}/rooms/{room}", open_timeout=SECONDS)

    @contextmanager
    def enter(self, room: str) -> Iterator[ClientConnection]:
        """A client that has been let in; the server is told when it leaves."""
        with self.connect(room) as client:
            assert self.server.next() == ["open", True]
            yield client
        assert self.server.next() == ["closed", 1000]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    origin = free_port()
    target = f"127.0.0.1:{origin}"
    routes = [f"*,prefix=chat-,proto=ws {target},over_http", f"*,prefix=chat- {target}"]
    with (
        pushpin(tmp_path_factory.mktemp("chat"), *routes) as proxy,
        program("chat.mjs", str(origin), proxy.control_url) as server,
    ):
        assert server.next() == ["listening"]
        yield Chat(proxy, server)


def send(client: ClientConnection, **message: Any) -> None:
    client.send(json.dumps(message))


def receive(client: ClientConnection) -> Any:
    return json.loads(client.recv(SECONDS))


def test_people_talk(chat: Chat) -> None:
    with chat.enter("hall") as alice, chat.enter("hall") as bob, chat.enter("elsewhere") as carol:
        for client, nick in ((alice, "alice"), (bob, "bób"), (carol, "carol")):
            send(client, nick=nick)
            assert receive(client) == {"welcome": nick}
        said = [(alice, "alice", "hello"), (bob, "bób", "hi alice 😀"), (alice, "alice", "how are you?")]
        for client, nick, text in said:
            send(client, text=text)
            assert [receive(alice), receive(bob)] == [{"from": nick, "text": text}] * 2
        send(carol, text="is anybody here?")
        assert receive(carol) == {"from": "carol", "text": "is anybody here?"}


def test_a_picture_arrives_as_bytes(chat: Chat) -> None:
    with chat.enter("gallery") as alice, chat.enter("gallery") as bob:
        picture = bytes(range(256)) * 400
        send(alice, picture=b64encode(picture).decode())
        assert [alice.recv(SECONDS), bob.recv(SECONDS)] == [picture] * 2


def test_a_line_reaches_a_whole_room(chat: Chat) -> None:
    with ExitStack() as stack:
        people = [stack.enter_context(chat.enter("crowd")) for _ in range(50)]
        for number in range(5):
            send(people[number], text=f"line {number}")
            for client in people:
                assert receive(client) == {"from": "somebody", "text": f"line {number}"}


def test_a_stream_listens_to_the_same_room(chat: Chat) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", chat.proxy.port, timeout=SECONDS)
    connection.request("GET", "/rooms/mixed")
    response = connection.getresponse()
    assert response.readline() == b"listening\n"
    with chat.enter("mixed") as client:
        # An item without a format for streams passes them by.
        send(client, text="hello")
        assert receive(client) == {"from": "somebody", "text": "hello"}
    response.close()
    connection.close()


def test_a_detached_client_listens_on(chat: Chat) -> None:
    with chat.enter("apart") as speaker, chat.connect("apart") as listener:
        assert chat.server.next() == ["open", True]
        send(listener, detach=True)
        assert chat.server.next() == ["closed", None]
        send(listener, text="nobody hears this")
        send(speaker, text="but this")
        assert receive(speaker) == receive(listener) == {"from": "somebody", "text": "but this"}


def test_the_server_is_told_how_a_client_closed(chat: Chat) -> None:
    with chat.connect("door") as client:
        assert chat.server.next() == ["open", True]
        client.close(4000)
        assert chat.server.next() == ["closed", 4000]
        # The library answers without a code, whatever the client said.
        assert client.close_code == 1000


def test_the_server_is_told_who_was_lost(chat: Chat) -> None:
    with chat.connect("door") as client:
        assert chat.server.next() == ["open", True]
        send(client, nick="dave")
        assert receive(client) == {"welcome": "dave"}
        client.socket.shutdown(socket.SHUT_RDWR)
        assert chat.server.next() == ["lost", "dave"]


def test_nobody_enters_a_room_for_members(chat: Chat) -> None:
    with pytest.raises(InvalidStatus) as caught, chat.connect("secret"):
        pass
    assert (caught.value.response.status_code, caught.value.response.body) == (403, b"members only\n")
