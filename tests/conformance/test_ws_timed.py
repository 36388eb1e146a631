"""What comes to a WebSocket client by the clock: keep-alives, delayed messages (websocket 3.7, 3.8, 2.4)."""

from __future__ import annotations

import json

import pytest
import pytest_twisted

from tests.support.wsbackend import BackendSocket
from tests.support.wsclient import SocketClient
from tests.support.wspeer import BINARY, CONTINUATION, PING, PONG, TEXT, Frame
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred
SLACK = 0.3
"""Seconds: a tick of the wheel, and looks of ``time_until``."""


def keep_alive(backend: BackendSocket, **members: object) -> None:
    """The control message."""
    backend.control(json.dumps({"type": "keep-alive", **members}))


def send_delayed(backend: BackendSocket, **members: object) -> None:
    """The control message."""
    backend.control(json.dumps({"type": "send-delayed", **members}))


async def waited(scene: SocketStage, client: SocketClient, limit: float) -> float:
    """How many seconds pass until something comes."""
    start = scene.proxy.seconds()
    await scene.proxy.settle()
    await scene.proxy.time_until(lambda: client.raw.unread, limit + SLACK)
    return scene.proxy.seconds() - start


async def opened(scene: SocketStage, **options: str) -> tuple[SocketClient, BackendSocket]:
    """A client and its backend."""
    await scene.start_w(**options)
    return await scene.open()


# ---- keep-alives (websocket 3.7) ---------------------------------------------------------------------------


@case
async def test_ws_066_an_idle_client_is_kept_alive(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    keep_alive(backend, content="ka", timeout=2)
    for _ in range(5):
        assert await waited(scene, client, 2) >= 1 - SLACK
        await client.expect_text("ka")


@pytest.mark.differs("1.36 loses what pings contain")
@case
async def test_ws_066_what_is_sent_to_the_client_puts_it_off(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    await scene.subscribe(backend)
    keep_alive(backend, content="ka", timeout=2)
    for say in (backend.text, backend.ping) * 4:
        await scene.proxy.advance(0.9)
        say(b"m:x")
        kind = PING if say == backend.ping else TEXT
        await client.expect(kind, b"m:x" if kind == PING else b"x")
    for _ in range(4):
        await scene.proxy.advance(0.8)
        await scene.say("published")
        await client.expect_text("published")
    assert await waited(scene, client, 2) >= 1 - SLACK
    await client.expect_text("ka")


@case
async def test_ws_066_what_the_client_says_does_not(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    keep_alive(backend, content="ka", timeout=2)
    await scene.proxy.settle()
    passed = 0.0
    while not client.raw.unread:
        client.text("x")
        client.ping()
        await backend.expect_text("x")
        await backend.expect(PING)
        await scene.proxy.advance(0.25)
        passed += 0.25
    assert 1 - SLACK <= passed <= 2.25 + SLACK
    await client.expect_text("ka")


@case
async def test_ws_066_a_filtered_item_does_not_put_it_off(scene: SocketStage) -> None:
    """The timer counts from what is sent, and this is not."""
    client, backend = await opened(scene)
    await scene.meta(backend, user="alice")
    await scene.subscribe(backend, filters=["skip-self"])
    keep_alive(backend, content="ka", timeout=2)
    await scene.proxy.settle()
    passed = 0.0
    while not client.raw.unread:
        await scene.say("unheard", meta={"sender": "alice"})
        await scene.proxy.advance(0.25)
        passed += 0.3
    assert passed <= 2.3 + SLACK
    await client.expect_text("ka")


@case
async def test_ws_067_at_intervals_whatever_is_sent(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    keep_alive(backend, content="ka", timeout=2, mode="interval")
    await scene.proxy.settle()
    came = []
    for _ in range(25):
        backend.text("m:x")
        while not came or came[-1] != b"x":
            came.append((await client.read()).data)
        came.append(b"")
        await scene.proxy.advance(0.4)
    assert 4 <= came.count(b"ka") <= 11


KINDS = {
    "ping": ({"message-type": "ping", "content": "p"}, PING, b"p"),
    "pong": ({"message-type": "pong", "content": ""}, PONG, b""),
    "binary": ({"message-type": "binary", "content": "b"}, BINARY, b"b"),
    "text": ({"message-type": "text", "content": "hällo"}, TEXT, "hällo".encode()),
    "content-bin": ({"content-bin": "YWI="}, TEXT, b"ab"),
    "both": ({"content": "x", "content-bin": "AAE=", "message-type": "binary"}, BINARY, b"\0\1"),
    "empty": ({"content": ""}, TEXT, b""),
    "empty-ping": ({"content-bin": "", "message-type": "ping"}, PING, b""),
}


@pytest.mark.parametrize(
    ("members", "kind", "data"), KINDS.values(), ids=[f"ws_068-{name}" for name in KINDS]
)
@case
async def test_what_a_keep_alive_may_be(
    scene: SocketStage, members: dict[str, object], kind: int, data: bytes
) -> None:
    client, backend = await opened(scene)
    keep_alive(backend, timeout=1, **members)
    for _ in range(2):
        await waited(scene, client, 1)
        await client.expect(kind, data)


@pytest.mark.parametrize("members", [{}, {"message-type": "ping"}], ids=["ws_068-bare", "ws_068-type-alone"])
@case
async def test_without_content_it_is_switched_off(scene: SocketStage, members: dict[str, object]) -> None:
    client, backend = await opened(scene)
    keep_alive(backend, content="ka", timeout=2)
    await scene.proxy.settle()
    keep_alive(backend, timeout=1, **members)
    await scene.proxy.settle()
    await scene.proxy.advance(3)
    await scene.quiet(client)


TIMES = {
    "fraction": (2.6, 3),
    "string": ("4", 4),
    "true": (True, 1),
    "zero": (0, 55),
    "false": (False, 55),
    "word": ("soon", 55),
    "absent": (None, 55),
}


@pytest.mark.parametrize(("timeout", "seconds"), TIMES.values(), ids=[f"ws_068-{name}" for name in TIMES])
@case
async def test_how_often_it_comes(scene: SocketStage, timeout: object, seconds: int) -> None:
    client, backend = await opened(scene)
    keep_alive(backend, content="ka", mode="nonsense", **({} if timeout is None else {"timeout": timeout}))
    took = await waited(scene, client, seconds)
    assert seconds - 1 - SLACK <= took
    await client.expect_text("ka")


WRONG = {
    "negative-timeout": {"timeout": -1},
    "null-timeout": {"timeout": None},
    "object-timeout": {"timeout": {}},
    "type": {"message-type": "zip"},
    "number-as-type": {"message-type": 1},
    "number-as-content": {"content": 5},
    "null-content": {"content": None},
    "number-as-content-bin": {"content-bin": 5},
    "number-as-mode": {"mode": 1},
    "long-ping": {"message-type": "ping", "content": "x" * 126},
}


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(
            members,
            marks=[pytest.mark.differs("the reference would send it")] if name == "long-ping" else [],
            id=f"ws_069-{name}",
        )
        for name, members in WRONG.items()
    ],
)
@case
async def test_a_wrong_keep_alive_changes_nothing(scene: SocketStage, members: dict[str, object]) -> None:
    client, backend = await opened(scene)
    keep_alive(backend, content="ka", timeout=2)
    keep_alive(backend, **{"content": "wrong", "timeout": 1, **members})
    for _ in range(3):
        await waited(scene, client, 2)
        await client.expect_text("ka")


@case
async def test_ws_069_a_new_setting_replaces_the_old_one(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    keep_alive(backend, content="old", timeout=2, mode="interval")
    keep_alive(backend, content="new", timeout=9)
    assert await waited(scene, client, 9) >= 8 - SLACK
    await client.expect_text("new")
    backend.text("m:x")
    await client.expect_text("x")
    assert await waited(scene, client, 9) >= 8 - SLACK
    await client.expect_text("new")


@case
async def test_ws_072_no_keep_alive_within_a_message(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    keep_alive(backend, content="ka", timeout=2, mode="interval")
    backend.frame(TEXT, b"m:a", fin=False)
    assert await client.read_frame() == Frame(TEXT, b"a", fin=False)
    await scene.proxy.advance(5)
    await scene.quiet(client)
    backend.frame(CONTINUATION, b"b")
    assert await client.read_frame() == Frame(CONTINUATION, b"b")
    await waited(scene, client, 2)
    await client.expect_text("ka")


# ---- delayed messages (websocket 3.8) ----------------------------------------------------------------------


@case
async def test_ws_070_a_delayed_message(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    send_delayed(backend, content="later")
    assert await waited(scene, client, 1) >= 1 - SLACK
    await client.expect_text("later")
    await scene.proxy.advance(3)
    await scene.quiet(client)


@pytest.mark.parametrize(
    ("members", "kind", "data", "seconds"),
    [
        pytest.param({}, TEXT, b"", 1, id="ws_070-nothing"),
        pytest.param({"content": "x", "timeout": 0}, TEXT, b"x", 1, id="ws_070-zero"),
        pytest.param({"content": "x", "timeout": "3"}, TEXT, b"x", 3, id="ws_070-string"),
        pytest.param(
            {"content-bin": "AAE=", "message-type": "binary", "timeout": 2},
            BINARY,
            b"\0\1",
            2,
            id="ws_070-bin",
        ),
        pytest.param({"message-type": "ping"}, PING, b"", 1, id="ws_070-ping"),
    ],
)
@case
async def test_what_may_be_delayed(
    scene: SocketStage, members: dict[str, object], kind: int, data: bytes, seconds: int
) -> None:
    client, backend = await opened(scene)
    send_delayed(backend, **members)
    assert seconds - SLACK <= await waited(scene, client, seconds)
    await client.expect(kind, data)


@case
async def test_ws_070_a_second_one_sends_the_first(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    send_delayed(backend, content="first", timeout=60)
    send_delayed(backend, content="second", timeout=2)
    await client.expect_text("first")
    assert await waited(scene, client, 2) >= 2 - SLACK
    await client.expect_text("second")


@case
async def test_ws_070_flush(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    backend.control('{"type":"flush-delayed"}')
    await scene.nothing(client, backend)
    send_delayed(backend, content="later", timeout=60)
    backend.control('{"type":"flush-delayed"}')
    await client.expect_text("later")
    await scene.proxy.advance(61)
    await scene.quiet(client)


@pytest.mark.differs("1.36 gives its backend no code")
@case
async def test_ws_071_a_delayed_message_outlives_its_backend(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    send_delayed(backend, content="later")
    backend.control('{"type":"detach"}')
    await backend.expect_close(1000)
    await waited(scene, client, 1)
    await client.expect_text("later")


@case
async def test_ws_071_but_not_a_connection_that_is_closing(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    send_delayed(backend, content="later", timeout=2)
    backend.close(4000, b"why")
    await client.expect_close(4000, b"why")
    await scene.proxy.advance(3)
    await scene.quiet(client)
    client.close(4000)
    await client.gone()


@pytest.mark.differs("the next message of the backend ends the reference")
@case
async def test_ws_072_nothing_within_a_message(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    await scene.subscribe(backend)
    backend.frame(TEXT, b"m:half,", fin=False)
    assert await client.read_frame() == Frame(TEXT, b"half,", fin=False)
    # Between fragments only control frames may stand, so the delayed message was asked for before.
    await scene.say("published")
    await scene.proxy.settle()
    await scene.quiet(client)
    backend.frame(CONTINUATION, b"half")
    assert await client.read_frame() == Frame(CONTINUATION, b"half")
    await scene.nothing(client, backend)


@pytest.mark.differs("the next message of the backend ends the reference")
@case
async def test_ws_072_what_was_delayed_comes_behind_the_message(scene: SocketStage) -> None:
    client, backend = await opened(scene)
    await scene.subscribe(backend)
    send_delayed(backend, content="delayed")
    backend.frame(TEXT, b"m:half,", fin=False)
    assert await client.read_frame() == Frame(TEXT, b"half,", fin=False)
    await scene.say("published")
    await scene.proxy.advance(2)
    await scene.quiet(client)
    backend.frame(CONTINUATION, b"half")
    assert await client.read_frame() == Frame(CONTINUATION, b"half")
    await client.expect_text("delayed")
    for said in ("a", "b"):
        backend.text(f"m:{said}")
        await client.expect_text(said)
    await scene.unsaid(client)
