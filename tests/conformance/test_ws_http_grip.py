"""GRIP on WebSockets over HTTP (websocket 10, 117, 120, 122, and those of 50 to 71 that could differ)."""

from __future__ import annotations

import json

import pytest
import pytest_twisted

from tests.support.origin import Answer, withheld
from tests.support.wsbackend import asked_events, events, opening
from tests.support.wsclient import SocketClient
from tests.support.wspeer import BINARY, PING, TEXT, Message
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred


def control(kind: str, **members: object) -> tuple[str, bytes]:
    """A control message."""
    return "TEXT", b"c:" + json.dumps({"type": kind, **members}).encode()


NO_REFRESH = pytest.mark.differs("1.36 knows no refresh")

SUBSCRIBE = control("subscribe", channel="c")


async def heard(scene: SocketStage, *parts: tuple[str, bytes]) -> list[Message]:
    """What reaches a client of the ``parts`` of one answer."""
    end = Message(PING, b"end")
    await scene.start_h(opening(), events(*parts, ("PING", end.data)))
    client = await scene.join()
    client.text("go on")
    found: list[Message] = []
    while (message := await client.read()) != end:
        found.append(message)
    return found


# ---- prefixes ----------------------------------------------------------------------------------------------


@case
async def test_ws_050_prefixes(scene: SocketStage) -> None:
    found = await heard(
        scene,
        ("TEXT", b"m:hello"),
        ("TEXT", b"hello"),
        ("TEXT", b"m:"),
        ("TEXT", b""),
        ("BINARY", b"m:\x00"),
        ("BINARY", b"\x00"),
        ("PING", b"m:p"),
    )
    assert found == [
        Message(TEXT, b"hello"),
        Message(TEXT, b""),
        Message(BINARY, b"\x00"),
        Message(PING, b"m:p"),
    ]


@pytest.mark.parametrize(
    ("extensions", "passed"),
    [
        pytest.param('grip; message-prefix=""', [b"m:x", b"y"], id="ws_051-none"),
        pytest.param('foo, grip; message-prefix=""', [b"m:x", b"y"], id="ws_052-another"),
        pytest.param("GRIP", [b"c:{}", b"m:x", b"y"], id="ws_052-capitals"),
        pytest.param("grip; message-prefix=", [b"c:{}", b"m:x", b"y"], id="ws_052-nothing"),
        pytest.param('grip; message-prefix="', [b"c:{}", b"m:x", b"y"], id="ws_052-unclosed"),
        pytest.param("", [b"c:{}", b"m:x", b"y"], id="ws_052-not at all"),
        pytest.param("grip; message-prefix=m", [b":x"], id="ws_053-short"),
        pytest.param('grip; message-prefix="m:"', [b"x"], id="ws_053-quoted"),
    ],
)
@case
async def test_agreements(scene: SocketStage, extensions: str, passed: list[bytes]) -> None:
    """The ping comes through whatever was agreed."""
    await scene.start_h(
        opening(extensions=extensions),
        events(("TEXT", b"c:{}"), ("TEXT", b"m:x"), ("TEXT", b"y"), ("PING", b"end")),
    )
    client = await scene.join()
    assert client.head.get("Sec-WebSocket-Extensions") is None
    client.text("go on")
    for data in passed:
        await client.expect_text(data)
    await client.expect(PING, b"end")


@case
async def test_ws_120_grip_is_agreed_in_the_opening(scene: SocketStage) -> None:
    await scene.start_h(
        opening(extensions=""), events(("TEXT", b"m:x"), headers=["Sec-WebSocket-Extensions: grip"])
    )
    client = await scene.join()
    for _ in range(2):
        client.text("go on")
        await client.expect_text("m:x")


@pytest.mark.differs("its defect: the tail reaches the client")
@case
async def test_ws_056_a_long_message_for_nobody(scene: SocketStage) -> None:
    assert await heard(scene, ("TEXT", b"-" * 30_000), ("BINARY", b"-" * 200_000)) == []


# ---- control messages --------------------------------------------------------------------------------------


async def told(scene: SocketStage, *answers: Answer, **options: str) -> SocketClient:
    """A client on channel ``c``, whose backend gives these answers to what it says."""
    await scene.start_h(opening(SUBSCRIBE), *answers, events(), **options)
    client = await scene.join()
    await scene.proxy.held("c")
    return client


@case
async def test_ws_057_clients_give_no_orders(scene: SocketStage) -> None:
    order = SUBSCRIBE[1]
    await scene.start_h(opening(), events(("TEXT", b"m:end")))
    client = await scene.join()
    client.text(order)
    assert await asked_events(scene.origin, 2) == [("TEXT", order)]
    await client.expect_text("end")
    await scene.say("news")
    await scene.quiet(client)


@case
async def test_ws_058_subscriptions_come_and_go(scene: SocketStage) -> None:
    client = await told(scene, events(control("unsubscribe", channel="c"), ("TEXT", b"m:end")))
    await scene.say("news")
    await client.expect_text("news")
    client.text("enough")
    await client.expect_text("end")
    await scene.say("late")
    await scene.quiet(client)


@case
async def test_ws_059_orders_that_make_no_sense(scene: SocketStage) -> None:
    bad = [
        b"c:",
        b"c:{",
        b"c:[]",
        b"c:{}",
        b'c:{"type":"zip"}',
        b'c:{"type":"subscribe","channel":5}',
        b"c:{}x",
    ]
    await scene.start_h(
        opening(*(("TEXT", data) for data in bad), ("BINARY", SUBSCRIBE[1])),
        events(SUBSCRIBE, ("TEXT", b"m:end")),
    )
    client = await scene.join()
    await scene.say("early")
    client.text("go on")
    await client.expect_text("end")
    await scene.say("news")
    await client.expect_text("news")


@case
async def test_ws_060_the_routes_prefix(scene: SocketStage) -> None:
    await scene.start_h(opening(SUBSCRIBE), condition="*,prefix=px-")
    client = await scene.join()
    await scene.proxy.held("px-c")
    await scene.say("to another", "c")
    await scene.say("news", "px-c")
    await client.expect_text("news")


@pytest.mark.differs("1.36 ignores it")
@case
async def test_ws_062_too_many_filters(scene: SocketStage) -> None:
    filters = [f"f{number}" for number in range(6)]
    await scene.start_h(opening(control("subscribe", channel="c", filters=filters)), events())
    client = await scene.join()
    await client.expect_close(1011, b"too many filters for channel 'c'")
    assert await asked_events(scene.origin, 2) == [("CLOSE", None)]


@case
async def test_ws_063_channels_of_the_target(scene: SocketStage) -> None:
    """Without any GRIP in the answers."""
    await scene.start_h(opening(extensions=""), target="over_http,sub=c")
    client = await scene.join()
    await scene.proxy.held("c")
    await scene.say("news")
    await client.expect_text("news")


@case
async def test_ws_066_keep_alive(scene: SocketStage) -> None:
    await scene.start_h(opening(control("keep-alive", content="k", timeout=20)), events())
    client = await scene.join()
    await scene.proxy.settle()
    await scene.proxy.advance(17)
    await scene.quiet(client)
    await scene.proxy.advance(3.5)
    await client.expect_text("k")
    assert len(scene.origin.requests) == 1


@case
async def test_ws_071_a_delayed_message_survives_detach(scene: SocketStage) -> None:
    delayed = control("send-delayed", content="late", timeout=2)
    await scene.start_h(opening(delayed, control("detach")), events())
    client = await scene.join()
    assert await asked_events(scene.origin, 2) == [("CLOSE", None)]
    await scene.proxy.advance(2.5)
    await client.expect_text("late")


@case
async def test_ws_122_a_long_order(scene: SocketStage) -> None:
    size = 16_000
    _, short = control("subscribe", channel="c", more="")
    _, order = control("subscribe", channel="c", more="x" * (size - len(short)))
    assert len(order) == size
    await scene.start_h(opening(("TEXT", order)))
    client = await scene.join()
    await scene.proxy.held("c")
    await scene.say("news")
    await client.expect_text("news")


# ---- refresh -----------------------------------------------------------------------------------------------


@NO_REFRESH
@case
async def test_ws_117_refresh(scene: SocketStage) -> None:
    client = await told(scene, events(("TEXT", b"m:fresh")))
    await scene.say(members={"action": "refresh"})
    asked = await scene.origin.request(2)
    assert (asked.body, asked.get("Content-Length")) == (b"", "0")
    await client.expect_text("fresh")
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 2


@NO_REFRESH
@case
async def test_ws_117_refreshes_during_a_request(scene: SocketStage) -> None:
    client = await told(scene, withheld)
    client.text("a")
    asked = await scene.origin.request(2)
    for _ in range(3):
        await scene.say(members={"action": "refresh"})
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 2
    asked.write(events())
    assert (await scene.origin.request(3)).body == b""
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 3


@NO_REFRESH
@case
async def test_ws_117_no_refresh_while_closing(scene: SocketStage) -> None:
    await scene.start_h(opening(SUBSCRIBE, headers=["Keep-Alive-Interval: 20"]), events())
    client = await scene.join()
    await scene.proxy.held("c")
    client.close(4001)
    await scene.origin.request(2)
    await scene.proxy.settle()
    await scene.say(members={"action": "refresh"})
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 2
