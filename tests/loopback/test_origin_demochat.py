"""The chat of the ``demo`` target: what it answers to the proxy's requests, and what it publishes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pushpin_tw.grip.item import parse_items
from pushpin_tw.origin.answering import Answer
from pushpin_tw.origin.demochat import MAX_TEXT, Chat
from pushpin_tw.sockets import BINARY, CLOSE, PING, PONG, TEXT
from pushpin_tw.wire.events import CONTENT_TYPE, DISCONNECT, OPEN, encode_event, parse_events
from pushpin_tw.wire.headers import Header, get
from pushpin_tw.wire.message import OriginRequest


class Room:
    """A chat, and what it has published."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.chat = Chat(self.items.append)

    def ask(self, body: bytes, *headers: Header, kind: bytes = CONTENT_TYPE) -> Answer:
        request = OriginRequest(b"POST", b"/chat", [(b"Content-Type", kind), *headers], path=b"/chat")
        return self.chat.answer(request, body)

    def said(self, *events: tuple[int, bytes], name: bytes = b"otter") -> list[tuple[int, bytes]]:
        """The events that answer some of a client that is in already."""
        answer = self.ask(b"".join(encode_event(*event) for event in events), (b"Meta-Name", name))
        assert answer.status == 200
        assert get(answer.headers, b"content-type") == CONTENT_TYPE
        return parse_events(answer.body)

    def heard(self) -> list[str]:
        """What everybody got to read since the last call; it is what the control API takes."""
        items = parse_items(json.dumps({"items": self.items}).encode()) if self.items else []
        assert [item.channel for item in items] == ["demo-chat"] * len(self.items)
        texts = [item["formats"]["ws-message"]["content"] for item in self.items]
        self.items.clear()
        return texts


@pytest.fixture
def room() -> Room:
    return Room()


def test_a_newcomer_is_subscribed_and_gets_a_name(room: Room) -> None:
    answer = room.ask(encode_event(OPEN))
    assert answer.status == 200
    assert get(answer.headers, b"content-type") == CONTENT_TYPE
    assert get(answer.headers, b"sec-websocket-extensions") == b"grip"
    assert get(answer.headers, b"set-meta-name") == b"otter"
    opened, subscribe, keep_alive, greeting = parse_events(answer.body)
    assert opened == (OPEN, b"")
    assert subscribe[1][:2] == keep_alive[1][:2] == b"c:"
    assert json.loads(subscribe[1][2:]) == {"type": "subscribe", "channel": "demo-chat"}
    ping = {"type": "keep-alive", "message-type": "ping", "content": "", "timeout": 50}
    assert json.loads(keep_alive[1][2:]) == ping
    assert greeting == (TEXT, b"m:you are otter")
    assert room.heard() == ["otter is here"]


def test_names_differ(room: Room) -> None:
    names = [get(room.ask(encode_event(OPEN)).headers, b"set-meta-name") for _ in range(30)]
    assert len(set(names)) == 30
    assert (names[0], names[11], names[22]) == (b"otter", b"otter-2", b"otter-3")


def test_what_is_said_is_published(room: Room) -> None:
    assert room.said((TEXT, b"hello"), (TEXT, "ärger".encode()), (TEXT, b"\xff")) == []
    assert room.heard() == ["otter: hello", "otter: ärger", "otter: \ufffd"]
    room.said((TEXT, b"x" * (MAX_TEXT + 1)))
    assert room.heard() == [f"otter: {'x' * MAX_TEXT}"]


def test_who_leaves_is_missed(room: Room) -> None:
    assert room.said((TEXT, b"bye"), (CLOSE, b"\x03\xe9")) == [(CLOSE, b"\x03\xe9")]
    assert room.heard() == ["otter: bye", "otter has left"]
    assert room.said((CLOSE, b"")) == [(CLOSE, b"")]
    assert room.said((DISCONNECT, b""), name=b"heron") == []
    assert room.heard() == ["otter has left", "heron has left"]


def test_what_is_no_text_is_answered_in_silence(room: Room) -> None:
    assert room.said((PING, b"p"), (PONG, b""), (BINARY, b"b"), (PING, b"")) == [(PONG, b"p"), (PONG, b"")]
    assert room.said() == []
    assert room.heard() == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"TEXT 5\r\nhello\r\n", CONTENT_TYPE),
        (b"", CONTENT_TYPE),
        (b"OPEN", CONTENT_TYPE),
        (b"OPEN\r\n", b"text/plain"),
    ],
)
def test_what_is_no_beginning_is_refused(room: Room, body: bytes, kind: bytes) -> None:
    assert room.ask(body, kind=kind).status == 400
    assert room.heard() == []
