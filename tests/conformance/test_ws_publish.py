"""Items for WebSocket clients: messages, actions, and what is refused (websocket 5.1 to 5.3, 5.5)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import pytest_twisted

from tests.support.running import R, S, W
from tests.support.wsbackend import BackendSocket, asked_events, events, opening
from tests.support.wsclient import SocketClient
from tests.support.wspeer import BINARY, PING, PONG, TEXT
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred
NO_CODE = pytest.mark.differs("1.36 gives its backend no code")
NO_REFRESH = pytest.mark.differs("1.36 knows no refresh")
SLACK = 0.4
"""Seconds: a tick of the wheel, and looks of ``time_until``."""

Members = Mapping[str, object]


async def refused(scene: SocketStage, items: object, text: str) -> None:
    """The whole request is."""
    answer = await scene.proxy.post(items)
    assert (answer.status, answer.body.decode()) == (400, f"Invalid format: {text}\n")


def message(members: object, channel: str = "c", **more: object) -> dict[str, object]:
    """An item."""
    return {"channel": channel, "formats": {W: members}, **more}


# ---- messages (websocket 5.2) ------------------------------------------------------------------------------

SENT = [
    ("ws_074_grip_199-text", {"content": "hello"}, TEXT, b"hello"),
    ("ws_074_grip_199-bytes", {"content-bin": "AP8K"}, BINARY, b"\x00\xff\n"),
    ("ws_074_grip_199-bytes-as-text", {"content-bin": "aGk=", "type": "text"}, TEXT, b"hi"),
    ("ws_074_grip_199-both", {"content": "x", "content-bin": "aGk="}, BINARY, b"hi"),
    ("ws_074-not-ascii", {"content": "hällo \U0001f600 \u2028"}, TEXT, "hällo \U0001f600 \u2028".encode()),
    ("ws_074-nul", {"content": "a\0b"}, TEXT, b"a\0b"),
    ("ws_074-text-as-bytes", {"content": "x", "type": "binary"}, BINARY, b"x"),
    ("ws_074-both-as-text", {"content": "x", "content-bin": "aGk=", "type": "text"}, TEXT, b"hi"),
    ("ws_074-empty", {"content": ""}, TEXT, b""),
    ("ws_074-empty-bytes", {"content-bin": ""}, BINARY, b""),
    ("ws_074-foreign-characters", {"content-bin": "a\nG-k=!"}, BINARY, b"hi"),
    ("ws_074-send", {"action": "send", "content": "x"}, TEXT, b"x"),
    ("ws_074-like-a-prefix", {"content": "m:x"}, TEXT, b"m:x"),
    ("ws_074-like-a-control-message", {"content": 'c:{"type":"detach"}'}, TEXT, b'c:{"type":"detach"}'),
    ("ws_074-unknown-member", {"content": "x", "zip": None, "code": 1}, TEXT, b"x"),
    ("ws_074_grip_200-ping", {"type": "ping"}, PING, b""),
    ("ws_074_grip_200-pong", {"type": "pong", "content": "pp"}, PONG, b"pp"),
    ("ws_074-ping-bytes", {"type": "ping", "content-bin": "AAE="}, PING, b"\0\1"),
    ("ws_074-longest-ping", {"type": "ping", "content": "x" * 125}, PING, b"x" * 125),
]


EMPTY_PING = pytest.mark.differs("1.36 does not send it")


@pytest.mark.parametrize(
    ("members", "kind", "data"),
    [
        pytest.param(*row, id=name, marks=[EMPTY_PING] if name == "ws_074_grip_200-ping" else [])
        for name, *row in SENT
    ],
)
@case
async def test_a_message(scene: SocketStage, members: Members, kind: int, data: bytes) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    await scene.say(members=members)
    await client.expect(kind, data)
    await scene.unsaid(client)


@case
async def test_ws_074_a_message_without_formats(scene: SocketStage) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    await scene.proxy.publish_all([{"channel": "c", W: {"content": "bare"}}])
    await client.expect_text("bare")


@case
async def test_ws_074_of_several_formats_one_is_for_sockets(scene: SocketStage) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    formats = {R: {"body": "answer"}, W: {"content": "message"}, S: {"content": "piece"}}
    await scene.proxy.publish("c", formats, size=5, meta={"x": "y"})
    await client.expect_text("message")
    await scene.unsaid(client)


@case
async def test_ws_074_two_clients_on_one_channel(scene: SocketStage) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    other, backend = await scene.open()
    await scene.subscribe(backend, count=2)
    await scene.say("both")
    await client.expect_text("both")
    await other.expect_text("both")
    await scene.quiet(client, other)


# ---- what is refused (websocket 5.2) -----------------------------------------------------------------------

WRONG = {
    "not-an-object": ("x", "'ws-message' is not an object"),
    "list": ([], "'ws-message' is not an object"),
    "number": ({"content": 5}, "'ws-message' contains 'content' with wrong type"),
    "null": ({"content": None}, "'ws-message' contains 'content' with wrong type"),
    "null-bytes": ({"content-bin": None}, "'ws-message' contains 'content-bin' with wrong type"),
    "type-of-type": ({"content": "x", "type": 1}, "'ws-message' contains 'type' with wrong type"),
    "unknown-type": ({"content": "x", "type": "zip"}, "'ws-message' contains 'type' with unknown value"),
    "close-as-type": ({"content": "x", "type": "close"}, "'ws-message' contains 'type' with unknown value"),
    "no-content": ({}, "'ws-message' does not contain 'content' or 'content-bin'"),
    "text-without": ({"type": "text"}, "'ws-message' does not contain 'content' or 'content-bin'"),
    "action-type": ({"action": 1}, "'ws-message' contains 'action' with wrong type"),
    "unknown-action": ({"action": "zip"}, ""),
    "filters": (
        {"content": "x", "content-filters": "f"},
        "'ws-message' contains 'content-filters' with wrong type",
    ),
    "filter": (
        {"content": "x", "content-filters": [1]},
        "content-filters contains element with wrong type",
    ),
}
WRONG_CODES = {
    "negative": (-1, "'ws-message' contains 'code' with invalid value"),
    "null": (None, "'ws-message' contains 'code' with wrong type"),
    "list": ([], "'ws-message' contains 'code' with wrong type"),
    "object": ({}, "'ws-message' contains 'code' with wrong type"),
}
REFUSED = [
    *(pytest.param(part, text, id=f"ws_078-{name}") for name, (part, text) in WRONG.items()),
    *(
        pytest.param({"action": "close", "code": code}, text, id=f"ws_076-{name}")
        for name, (code, text) in WRONG_CODES.items()
    ),
    pytest.param(
        {"action": "close", "code": 4000, "reason": 1},
        "'ws-message' contains 'reason' with wrong type",
        id="ws_076-reason",
    ),
]


@pytest.mark.parametrize(("part", "text"), REFUSED)
@case
async def test_one_bad_item_among_good_ones(scene: SocketStage, part: object, text: str) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    good = message({"content": "unheard"})
    await refused(scene, [good, message(part), good], text)
    await scene.proxy.settle()
    await scene.unsaid(client)


@case
async def test_ws_078_items_that_are_none(scene: SocketStage) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    good = message({"content": "unheard"})
    await refused(scene, [good, {"channel": "c"}], "no formats specified")
    channelless = {"formats": {W: {"content": "x"}}}
    await refused(scene, [good, channelless], "publish item object does not contain 'channel'")
    bad_meta = message({"content": "x"}, meta={"NAME": 1})
    await refused(scene, [good, bad_meta], "'meta' contains 'NAME' with wrong type")
    await scene.unsaid(client)


@pytest.mark.parametrize("kind", ["ping", "pong"])
@pytest.mark.differs("the reference drops the connection")
@case
async def test_ws_080_a_ping_with_no_room_for_its_content(scene: SocketStage, kind: str) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    answer = await scene.proxy.post([message({"type": kind, "content": "x" * 126})])
    assert answer.status == 400
    await scene.unsaid(client)


# ---- actions (websocket 5.3) -------------------------------------------------------------------------------


async def closes(client: SocketClient, backend: BackendSocket, code: int, reason: bytes) -> None:
    """Both sides hear CLOSE, the client with what was published."""
    await client.expect_close(code, reason)
    await backend.expect_close(1000)
    client.close(code)
    await client.gone()


CLOSED: list[tuple[str, Members, int, bytes]] = [
    ("ws_075_grip_201-bare", {}, 1000, b""),
    ("ws_075_grip_201-both", {"code": 4001, "reason": "bye"}, 4001, b"bye"),
    ("ws_075_grip_201-reason-alone", {"reason": "bye"}, 1000, b""),
    ("ws_075-code", {"code": 4001}, 4001, b""),
    ("ws_075-not-ascii", {"code": 4001, "reason": "tschüß"}, 4001, "tschüß".encode()),
    ("ws_075-longest-reason", {"code": 4001, "reason": "x" * 123}, 4001, b"x" * 123),
    ("ws_076-string", {"code": "4002"}, 4002, b""),
    ("ws_076-fraction", {"code": 4001.6}, 4002, b""),
    ("ws_076-zero", {"code": 0}, 0, b""),
    ("ws_076-word", {"code": "x"}, 0, b""),
    ("ws_076-true", {"code": True}, 1, b""),
    ("ws_076-modulo", {"code": 65536 + 4001}, 4001, b""),
]


@pytest.mark.parametrize(
    ("members", "code", "reason"), [row[1:] for row in CLOSED], ids=[row[0] for row in CLOSED]
)
@NO_CODE
@case
async def test_a_close(scene: SocketStage, members: Members, code: int, reason: bytes) -> None:
    await scene.start_w()
    client, backend = await scene.subscribed()
    await scene.say(members={"action": "close", **members})
    await closes(client, backend, code, reason)


@pytest.mark.differs("the reference drops the connection")
@pytest.mark.parametrize(
    ("reason", "sent"),
    [("x" * 124, b"x" * 123), ("x" * 122 + "ü", b"x" * 122), ("\U0001f600" * 99, "\U0001f600".encode() * 30)],
    ids=["ascii", "half-a-character", "long"],
)
@case
async def test_ws_080_a_reason_with_no_room(scene: SocketStage, reason: str, sent: bytes) -> None:
    await scene.start_w()
    client, backend = await scene.subscribed()
    await scene.say(members={"action": "close", "code": 4001, "reason": reason})
    await closes(client, backend, 4001, sent)


@pytest.mark.parametrize("later", [False, True], ids=["one-request", "two-requests"])
@NO_CODE
@case
async def test_ws_077_nothing_behind_a_close(scene: SocketStage, later: bool) -> None:
    await scene.start_w()
    client, backend = await scene.subscribed()
    first, end, last = ({"content": "a"}, {"action": "close"}, {"content": "b"})
    if later:
        await scene.proxy.publish_all([message(first), message(end)])
        await scene.proxy.publish_all([message(last)])
    else:
        await scene.proxy.publish_all([message(part) for part in (first, end, last)])
    await client.expect_text("a")
    await closes(client, backend, 1000, b"")


@NO_CODE
@case
async def test_ws_077_a_second_close_is_none(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.subscribed()
    for code in (4001, 4002):
        await scene.say(members={"action": "close", "code": code})
    await closes(client, backend, 4001, b"")
    await scene.quiet(backend)


@case
async def test_ws_077_between_the_closes_of_client_and_backend(scene: SocketStage) -> None:
    """What is published then still comes; behind the backend's CLOSE it does not (websocket 1.8)."""
    await scene.start_w()
    client, backend = await scene.subscribed()
    client.close(4000)
    await backend.expect_close(4000)
    await scene.say("late")
    await client.expect_text("late")
    backend.close(4000)
    await client.expect_close(4000)
    await client.gone()


@case
async def test_ws_077_behind_the_close_of_the_backend(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.subscribed()
    backend.close(4000)
    await client.expect_close(4000)
    await scene.say("unheard")
    await scene.quiet(client)
    client.close(4000)
    await client.gone()


@pytest.mark.parametrize(
    "formats",
    [
        pytest.param({W: {"action": "hint"}}, id="ws_079-hint"),
        pytest.param({W: {"action": "refresh"}}, id="ws_079-refresh", marks=NO_REFRESH),
        pytest.param({R: {"body": "x"}, S: {"content": "x"}}, id="ws_079-http"),
        pytest.param({S: {"action": "close"}}, id="ws_079-end-of-streams"),
    ],
)
@case
async def test_what_sends_nothing(scene: SocketStage, formats: Members) -> None:
    await scene.start_w()
    client, backend = await scene.subscribed()
    await scene.proxy.publish("c", formats)
    await scene.proxy.settle()
    await scene.unsaid(client)
    await scene.quiet(backend)


@NO_REFRESH
@case
async def test_grip_202_refresh_over_http(scene: SocketStage) -> None:
    await scene.start_h(opening(("TEXT", 'c:{"type":"subscribe","channel":"c"}')), events(("TEXT", "m:news")))
    client = await scene.join()
    await scene.proxy.held("c")
    await scene.say(members={"action": "refresh"})
    await client.expect_text("news")
    assert await asked_events(scene.origin, 2) == []
    first, second = scene.origin.requests
    assert first.get("Connection-Id") == second.get("Connection-Id")
    assert second.get("Content-Length") == "0"


# ---- ids (websocket 5.5) -----------------------------------------------------------------------------------


@case
async def test_ws_081_the_same_id_twice(scene: SocketStage) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    for _ in range(2):
        await scene.say("once", id="1")
    await client.expect_text("once")
    await scene.unsaid(client)
    await scene.say("again", id="1", channel="c")
    await scene.proxy.advance(61)
    await scene.say("again", id="1")
    await client.expect_text("again")
    await scene.quiet(client)


@case
async def test_ws_081_an_item_waits_for_the_one_before(scene: SocketStage) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    await scene.say("1", id="1")
    await client.expect_text("1")
    await scene.say("3", id="3", **{"prev-id": "2"})
    await scene.proxy.settle()
    await scene.quiet(client)
    await scene.say("2", id="2", **{"prev-id": "1"})
    await client.expect_text("2")
    await client.expect_text("3")
    await scene.say("9", id="9", **{"prev-id": "8"})
    took = await scene.proxy.time_until(lambda: client.raw.unread, 5 + SLACK)
    assert took >= 5 - SLACK
    await client.expect_text("9")
    await scene.say("20", id="20", **{"prev-id": "19", "no-seq": True})
    await client.expect_text("20")
