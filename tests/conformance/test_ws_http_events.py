"""Events over HTTP in both directions (websocket 10, 90 to 91, 104 to 108, 114, 123)."""

from __future__ import annotations

import re

import pytest
import pytest_twisted

from tests.support.origin import Asked, withheld
from tests.support.wsbackend import asked_events, event, events, opening
from tests.support.wspeer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

MOST = 200_000
"""Bytes of a message from a client."""
LARGEST = 1_000_000
"""Bytes of an answer."""


# ---- from the client ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "data", "body"),
    [
        pytest.param(TEXT, b"hi", b"TEXT 2\r\nhi\r\n", id="ws_090-TEXT"),
        pytest.param(TEXT, b"x" * 330, b"TEXT 14a\r\n" + b"x" * 330 + b"\r\n", id="ws_090-longer"),
        pytest.param(TEXT, b"\xff\xfe", b"TEXT 2\r\n\xff\xfe\r\n", id="ws_037-invalid", marks=[]),
        pytest.param(BINARY, b"\x00\xff", b"BINARY 2\r\n\x00\xff\r\n", id="ws_090-BINARY"),
        pytest.param(TEXT, b"", b"TEXT\r\n", id="ws_090-empty TEXT"),
        pytest.param(BINARY, b"", b"BINARY\r\n", id="ws_090-empty BINARY"),
        pytest.param(PING, b"pp", b"PING 2\r\npp\r\n", id="ws_090-PING"),
        pytest.param(PING, b"", b"PING\r\n", id="ws_090-empty PING"),
        pytest.param(PONG, b"po", b"PONG 2\r\npo\r\n", id="ws_090-PONG"),
        pytest.param(CLOSE, b"\x10\xe1bye", b"CLOSE 5\r\n\x10\xe1bye\r\n", id="ws_090-CLOSE"),
        pytest.param(CLOSE, b"", b"CLOSE\r\n", id="ws_090-empty CLOSE"),
    ],
)
@case
async def test_what_the_client_says(scene: SocketStage, kind: int, data: bytes, body: bytes) -> None:
    lenient = {"tw": {"websocket_lenient": "true"}} if data == b"\xff\xfe" else {}
    await scene.start_h(opening(), events(), **lenient)
    client = await scene.join()
    client.frame(kind, data)
    asked = await scene.origin.request(2)
    assert (asked.body, asked.get("Content-Bytes-Replayed")) == (body, None)


@case
async def test_ws_090_fragments(scene: SocketStage) -> None:
    """One event, once the last of them is there."""
    await scene.start_h(opening(), events())
    client = await scene.join()
    client.frame(TEXT, b"ab", fin=False)
    client.frame(CONTINUATION, b"", fin=False)
    client.frame(CONTINUATION, b"cd", fin=False)
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 1
    client.frame(CONTINUATION, b"ef")
    assert await asked_events(scene.origin, 2) == [("TEXT", b"abcdef")]


@pytest.mark.differs("its defect: drops the client")
@case
async def test_ws_090_a_message_that_is_never_complete(scene: SocketStage) -> None:
    await scene.start_h(opening(), events("CLOSE"))
    client = await scene.join()
    client.frame(TEXT, b"ab", fin=False)
    client.close(4001)
    assert await asked_events(scene.origin, 2) == [("CLOSE", b"\x0f\xa1")]


@pytest.mark.differs("its defect: drops the client")
@case
async def test_ws_032_a_ping_between_fragments(scene: SocketStage) -> None:
    await scene.start_h(opening(), events())
    client = await scene.join()
    client.frame(TEXT, b"ab", fin=False)
    client.ping(b"pp")
    assert await asked_events(scene.origin, 2) == [("PING", b"pp")]
    client.frame(CONTINUATION, b"cd")
    assert await asked_events(scene.origin, 3) == [("TEXT", b"abcd")]


@case
async def test_ws_091_connection_ids(scene: SocketStage) -> None:
    await scene.start_h(opening())
    scene.origin.on("/a", opening(), events())
    scene.origin.on("/b", opening(), events())
    clients = [await scene.join("/a"), await scene.join("/b")]
    for client in clients:
        client.text("hi")
    ids = []
    for path in ("/a", "/b"):
        first, second = [(await scene.origin.request(n, path)).all("Connection-Id") for n in (1, 2)]
        assert first == second
        assert len(first) == 1
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first[0])
        ids += first
    assert len(set(ids)) == 2


@case
async def test_ws_104_what_comes_during_a_request(scene: SocketStage) -> None:
    await scene.start_h(opening(), withheld, events())
    client = await scene.join()
    client.text("a")
    first = await scene.origin.request(2)
    client.text("b")
    client.binary(b"\x01")
    client.frame(TEXT, b"c", fin=False)
    client.frame(CONTINUATION, b"d")
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 2
    first.write(events())
    assert await asked_events(scene.origin, 3) == [("TEXT", b"b"), ("BINARY", b"\x01"), ("TEXT", b"cd")]
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 3


@case
async def test_ws_105_one_event(scene: SocketStage) -> None:
    await scene.start_h(
        opening(), withheld, events(), events(), events("CLOSE"), target="over_http,one_event"
    )
    client = await scene.join()
    client.text("a")
    first = await scene.origin.request(2)
    client.text("b")
    client.ping(b"p")
    client.close()
    await scene.proxy.settle()
    first.write(events())
    await client.expect_close(1000)
    bodies = [asked.body for asked in scene.origin.requests[1:]]
    assert bodies == [b"TEXT 1\r\na\r\n", b"TEXT 1\r\nb\r\n", b"PING 1\r\np\r\n", b"CLOSE\r\n"]


@pytest.mark.differs("its defect: they are lost")
@pytest.mark.parametrize(
    "option", [pytest.param("", id="ws_106-all"), pytest.param(",one_event", id="ws_106-one")]
)
@case
async def test_empty_messages_during_a_request(scene: SocketStage, option: str) -> None:
    await scene.start_h(opening(), withheld, events(), target="over_http" + option)
    client = await scene.join()
    client.text("a")
    first = await scene.origin.request(2)
    client.text("")
    client.ping()
    client.text("b")
    await scene.proxy.settle()
    first.write(events())
    count = 5 if option else 3
    await scene.origin.request(count)
    assert b"".join(asked.body for asked in scene.origin.requests[2:]) == b"TEXT\r\nPING\r\nTEXT 1\r\nb\r\n"
    assert len(scene.origin.requests) == count


@case
async def test_ws_114_the_longest_message(scene: SocketStage) -> None:
    await scene.start_h(opening(), events(("TEXT", b"m:ok")))
    client = await scene.join()
    client.binary(b"x" * MOST)
    assert await asked_events(scene.origin, 2) == [("BINARY", b"x" * MOST)]
    await client.expect_text("ok")


@pytest.mark.parametrize("cuts", [pytest.param(1, id="ws_114-whole"), pytest.param(4, id="ws_114-fragments")])
@case
async def test_a_longer_message(scene: SocketStage, cuts: int) -> None:
    """The client is dropped, and the backend is not told (4.7)."""
    await scene.start_h(opening(), events())
    client = await scene.join()
    rest = MOST + 1
    for number in range(cuts):
        size = rest // (cuts - number)
        rest -= size
        client.frame(CONTINUATION if number else BINARY, bytes(size), fin=number == cuts - 1)
    await client.gone()
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 1


@pytest.mark.differs("1.36 stops reading for good")
@case
async def test_ws_114_more_messages_than_may_wait(scene: SocketStage) -> None:
    """They are read when there is room again: nothing is lost."""
    await scene.start_h(opening(), withheld, events())
    client = await scene.join()
    client.text("a")
    first = await scene.origin.request(2)
    said = [bytes([number]) * 60_000 for number in range(40)]
    for data in said:
        client.binary(data)
    await scene.proxy.settle()
    first.write(events())
    heard: list[bytes] = []
    number = 3
    while len(heard) < len(said):
        heard += [content or b"" for _, content in await asked_events(scene.origin, number)]
        number += 1
    assert heard == said
    assert number > 4, "it had to be read bit by bit"


# ---- from the backend --------------------------------------------------------------------------------------


@case
async def test_ws_090_what_the_backend_says(scene: SocketStage) -> None:
    """In order; PING and PONG are the backend's own business (4.7)."""
    answer = events(
        ("TEXT", "m:h\u00e4".encode()),
        ("BINARY", b"m:\x00\xff"),
        "PING",
        ("PONG", b"m:po"),
        ("TEXT", b"m:"),
        ("TEXT", b"m:" + b"x" * 10_000),
    )
    await scene.start_h(opening(), answer)
    client = await scene.join()
    client.ping(b"pp")
    await client.expect_text("h\u00e4")
    await client.expect(BINARY, b"\x00\xff")
    await client.expect(PING)
    await client.expect(PONG, b"m:po")
    await client.expect_text("")
    await client.expect_text(b"x" * 10_000)
    await scene.quiet(client)


def answer_of(size: int) -> bytes:
    """A body of so many bytes, with one message and one that is dropped."""
    body = event("TEXT", b"m:hello")
    rest = size - len(body)
    return events(body + event("TEXT", b"-" * (rest - len(b"TEXT fffff\r\n\r\n"))))


@pytest.mark.differs("1.36 lets what is not for the client pass, in part")
@case
async def test_ws_114_the_longest_answer(scene: SocketStage) -> None:
    answer = answer_of(LARGEST)
    assert answer.endswith(b"-\r\n")
    assert f"Content-Length: {LARGEST}".encode() in answer
    await scene.start_h(opening(), answer, events(("TEXT", b"m:end")))
    client = await scene.join()
    client.text("go on")
    await client.expect_text("hello")
    client.text("go on")
    await client.expect_text("end")


@case
async def test_ws_114_a_longer_answer(scene: SocketStage) -> None:
    await scene.start_h(opening(), answer_of(LARGEST + 1), events())
    client = await scene.join()
    client.text("go on")
    await client.gone()
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 2


@pytest.mark.parametrize(
    "kind", [pytest.param("PING", id="ws_123-PING"), pytest.param("PONG", id="ws_123-PONG")]
)
@case
async def test_control_frames_that_are_too_long(scene: SocketStage, kind: str) -> None:
    await scene.start_h(opening(), events((kind, b"x" * 126), ("TEXT", b"m:late")), events())
    client = await scene.join()
    client.text("go on")
    await client.gone()
    assert await asked_events(scene.origin, 3) == [("DISCONNECT", None)]


# ---- what the backend stores with a connection -------------------------------------------------------------


def metas(asked: Asked) -> list[tuple[str, str]]:
    return [pair for pair in asked.headers if pair[0].lower().startswith("meta-")]


@case
async def test_ws_107_meta(scene: SocketStage) -> None:
    await scene.start_h(
        opening(headers=["Set-Meta-One: 1", "Set-Meta-Two: 2", "Set-Meta-: 3"]),
        events(headers=["set-meta-ONE: 4"]),
        events(headers=["Set-Meta-Three: 5", "Set-Meta-Three: 6"]),
        events(),
    )
    client = await scene.join("/", "Meta-One: forged")
    expected = [
        [],
        [("Meta-One", "1"), ("Meta-Two", "2")],
        [("Meta-Two", "2"), ("Meta-ONE", "4")],
        [("Meta-Two", "2"), ("Meta-ONE", "4"), ("Meta-Three", "6")],
    ]
    for number, pairs in enumerate(expected, 1):
        asked = await scene.origin.request(number)
        assert metas(asked) == pairs
        await scene.proxy.settle()
        if number < len(expected):
            client.text("x")
    client.drop()
    last = await scene.origin.request(5)
    assert (last.body, metas(last)) == (b"DISCONNECT\r\n", expected[-1])


@pytest.mark.differs("1.36 cannot read headers without a value")
@case
async def test_ws_107_meta_is_removed(scene: SocketStage) -> None:
    await scene.start_h(
        opening(headers=["Set-Meta-One: 1", "Set-Meta-Two: 2", "Set-Meta-No:"]),
        events(headers=["Set-Meta-ONE:"]),
        events(),
    )
    client = await scene.join()
    client.text("x")
    assert metas(await scene.origin.request(2)) == [("Meta-One", "1"), ("Meta-Two", "2")]
    await scene.proxy.settle()
    client.text("x")
    assert metas(await scene.origin.request(3)) == [("Meta-Two", "2")]


# ---- keep-alive requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [
        pytest.param(5, 20, id="ws_108-5"),
        pytest.param(20, 20, id="ws_108-20"),
        pytest.param(21, 21, id="ws_108-21"),
    ],
)
@case
async def test_keep_alive(scene: SocketStage, interval: int, seconds: int) -> None:
    await scene.start_h(opening(headers=[f"Keep-Alive-Interval: {interval}"]), events(("TEXT", b"m:news")))
    client = await scene.join()
    await scene.proxy.settle()
    await scene.proxy.advance(seconds - 0.5)
    assert len(scene.origin.requests) == 1
    await scene.proxy.advance(1)
    asked = await scene.origin.request(2)
    assert (asked.body, asked.all("Content-Length")) == (b"", ["0"])
    await client.expect_text("news")
    await scene.proxy.settle()
    await scene.proxy.advance(seconds + 0.5)
    await scene.origin.request(3)


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=f"ws_108-{value}") for value in ("0", "-1", "soon", "")]
)
@case
async def test_no_keep_alive(scene: SocketStage, value: str) -> None:
    await scene.start_h(
        opening(headers=["Keep-Alive-Interval: 20"]), events(headers=[f"Keep-Alive-Interval: {value}"])
    )
    client = await scene.join()
    client.text("x")
    await scene.origin.request(2)
    await scene.proxy.settle()
    await scene.proxy.advance(21)
    assert len(scene.origin.requests) == 2


@case
async def test_ws_108_any_request_restarts_the_time(scene: SocketStage) -> None:
    await scene.start_h(opening(headers=["Keep-Alive-Interval: 20"]), events())
    client = await scene.join()
    await scene.proxy.settle()
    await scene.proxy.advance(12)
    client.text("x")
    await scene.origin.request(2)
    await scene.proxy.settle()
    await scene.proxy.advance(19)
    assert len(scene.origin.requests) == 2
    await scene.proxy.advance(1.5)
    assert (await scene.origin.request(3)).body == b""
