"""Backends that take only a part of what they are offered (websocket 10, 115 and 116)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import Answer, Asked, withheld
from tests.support.wsbackend import events, opening
from tests.support.wsclient import SocketClient
from tests.support.wspeer import PING, TEXT
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred
pytestmark = pytest.mark.differs("1.36 takes everything for accepted")

KEPT_ALIVE = "Keep-Alive-Interval: 20"
BYE = b"CLOSE 5\r\n\x0f\xa1bye\r\n"


def takes(count: object, *parts: str) -> bytes:
    """An answer that accepts so much."""
    return events(*parts, headers=[f"Content-Bytes-Accepted: {count}"])


def offered(asked: Asked) -> tuple[bytes, str | None]:
    """What is offered, and how much of it is so again."""
    return asked.body, asked.get("Content-Bytes-Replayed")


async def started(
    scene: SocketStage, *answers: Answer, keep_alive: bool = False, **options: str
) -> SocketClient:
    """A client, and a backend that gives these ``answers`` to what it says."""
    await scene.start_h(opening(headers=[KEPT_ALIVE] * keep_alive), *answers, events(), **options)
    client = await scene.join()
    await scene.proxy.settle()
    return client


@pytest.mark.parametrize(
    ("count", "rest", "replayed"),
    [
        pytest.param(0, b"TEXT 5\r\nhello\r\n", "5", id="ws_115-0"),
        pytest.param(3, b"TEXT 2\r\nlo\r\n", "2", id="ws_115-3"),
        pytest.param(5, b"", None, id="ws_115-5"),
        pytest.param(-1, b"", None, id="ws_115--1"),
        pytest.param("zz", b"", None, id="ws_115-zz"),
    ],
)
@case
async def test_a_part_of_one_message(
    scene: SocketStage, count: object, rest: bytes, replayed: str | None
) -> None:
    """The rest is not offered by itself, but with the next request."""
    client = await started(scene, takes(count))
    client.text("hello")
    assert offered(await scene.origin.request(2)) == (b"TEXT 5\r\nhello\r\n", None)
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 2
    client.text("world")
    assert offered(await scene.origin.request(3)) == (rest + b"TEXT 5\r\nworld\r\n", replayed)
    await scene.proxy.settle()
    client.text("!")
    assert offered(await scene.origin.request(4)) == (b"TEXT 1\r\n!\r\n", None)


@pytest.mark.parametrize(
    ("count", "rest", "replayed"),
    [
        pytest.param(0, b"TEXT 2\r\nab\r\nPING 2\r\ncd\r\nBINARY 2\r\nef\r\n", "6", id="ws_115-nothing"),
        pytest.param(
            1, b"TEXT 1\r\nb\r\nPING 2\r\ncd\r\nBINARY 2\r\nef\r\n", "5", id="ws_115-within the first"
        ),
        pytest.param(2, b"PING 2\r\ncd\r\nBINARY 2\r\nef\r\n", "4", id="ws_115-the first"),
        pytest.param(3, b"PING 1\r\nd\r\nBINARY 2\r\nef\r\n", "3", id="ws_115-within the second"),
        pytest.param(5, b"BINARY 1\r\nf\r\n", "1", id="ws_115-within the last"),
    ],
)
@case
async def test_a_part_of_several(scene: SocketStage, count: int, rest: bytes, replayed: str) -> None:
    client = await started(scene, withheld, takes(count))
    client.text("first")
    asked = await scene.origin.request(2)
    client.text("ab")
    client.frame(PING, b"cd")
    client.binary(b"ef")
    await scene.proxy.settle()
    asked.write(events())
    await scene.origin.request(3)
    await scene.proxy.settle()
    client.text("!")
    assert offered(await scene.origin.request(4)) == (rest + b"TEXT 1\r\n!\r\n", replayed)


@case
async def test_ws_115_bit_by_bit(scene: SocketStage) -> None:
    """What was offered before is counted over several requests."""
    client = await started(scene, takes(2), takes(2), takes(4))
    for number, data in ((2, "hello"), (3, "world"), (4, "!")):
        client.text(data)
        await scene.origin.request(number)
        await scene.proxy.settle()
    client.text("?")
    await scene.origin.request(5)
    assert [offered(asked) for asked in scene.origin.requests[1:]] == [
        (b"TEXT 5\r\nhello\r\n", None),
        (b"TEXT 3\r\nllo\r\nTEXT 5\r\nworld\r\n", "3"),
        (b"TEXT 1\r\no\r\nTEXT 5\r\nworld\r\nTEXT 1\r\n!\r\n", "6"),
        (b"TEXT 2\r\nld\r\nTEXT 1\r\n!\r\nTEXT 1\r\n?\r\n", "3"),
    ]


@case
async def test_ws_115_more_than_was_offered(scene: SocketStage) -> None:
    client = await started(scene, takes(6))
    client.text("hello")
    await client.gone()
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 2


@case
async def test_ws_115_events_come_with_it(scene: SocketStage) -> None:
    client = await started(scene, events(("TEXT", b"m:slow down"), headers=["Content-Bytes-Accepted: 0"]))
    client.text("hello")
    await client.expect_text("slow down")


@case
async def test_ws_115_the_time_brings_the_rest(scene: SocketStage) -> None:
    client = await started(scene, takes(3), keep_alive=True)
    client.text("hello")
    await scene.origin.request(2)
    await scene.proxy.settle()
    await scene.proxy.advance(20.5)
    assert offered(await scene.origin.request(3)) == (b"TEXT 2\r\nlo\r\n", "2")


@case
async def test_ws_115_a_refresh_brings_the_rest(scene: SocketStage) -> None:
    await scene.start_h(opening(("TEXT", b'c:{"type":"subscribe","channel":"c"}')), takes(3), events())
    client = await scene.join()
    await scene.proxy.held("c")
    client.text("hello")
    await scene.origin.request(2)
    await scene.proxy.settle()
    await scene.say(members={"action": "refresh"})
    assert offered(await scene.origin.request(3)) == (b"TEXT 2\r\nlo\r\n", "2")


@case
async def test_ws_115_the_client_vanishes(scene: SocketStage) -> None:
    """The header says what was not taken, though nothing of it is offered."""
    client = await started(scene, takes(3))
    client.text("hello")
    await scene.origin.request(2)
    await scene.proxy.settle()
    client.drop()
    assert offered(await scene.origin.request(3)) == (b"DISCONNECT\r\n", "2")


@pytest.mark.parametrize(
    "option", [pytest.param("one_event", id="ws_115-one event"), pytest.param("", id="ws_115-incomplete")]
)
@case
async def test_no_progress(scene: SocketStage, option: str) -> None:
    """Who cannot be told everything at once has to take something."""
    client = await started(scene, withheld, takes(0), target=f"over_http,{option}".rstrip(","))
    client.text("first")
    asked = await scene.origin.request(2)
    client.text("hello")
    client.frame(TEXT, b"more", fin=bool(option))
    await scene.proxy.settle()
    asked.write(events())
    await client.gone()
    assert scene.origin.requests[2].body == b"TEXT 5\r\nhello\r\n"
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 3


@case
async def test_ws_115_clients_cannot_say_what_is_repeated(scene: SocketStage) -> None:
    await scene.start_h(opening(), events())
    await scene.join("/", "Content-Bytes-Replayed: 5")
    assert offered(await scene.origin.request(1)) == (b"OPEN\r\n", None)


# ---- with CLOSE --------------------------------------------------------------------------------------------


async def closing(scene: SocketStage, *answers: Answer, keep_alive: bool = False) -> SocketClient:
    """A client that has said ``hello`` and CLOSE in one request, which gets the first of ``answers``."""
    client = await started(scene, withheld, *answers, keep_alive=keep_alive)
    client.text("first")
    asked = await scene.origin.request(2)
    client.text("hello")
    client.close(4001, b"bye")
    await scene.proxy.settle()
    asked.write(events())
    assert offered(await scene.origin.request(3)) == (b"TEXT 5\r\nhello\r\n" + BYE, None)
    return client


@pytest.mark.parametrize("count", [pytest.param(count, id=f"ws_116-{count}") for count in (5, 6, 9, 11)])
@case
async def test_a_part_of_close(scene: SocketStage, count: int) -> None:
    client = await closing(scene, takes(count, "CLOSE"))
    await client.gone()
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(takes(10, "CLOSE"), id="ws_116-10"),
        pytest.param(events("CLOSE"), id="ws_116-everything"),
    ],
)
@case
async def test_close_is_taken(scene: SocketStage, answer: bytes) -> None:
    client = await closing(scene, answer)
    await client.expect_close(1000)
    await client.gone()


@case
async def test_ws_116_close_is_taken_and_not_answered(scene: SocketStage) -> None:
    client = await closing(scene, takes(10))
    await client.gone()


@case
async def test_ws_116_close_is_repeated_with_the_rest(scene: SocketStage) -> None:
    client = await closing(scene, takes(3), events("CLOSE"), keep_alive=True)
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 3
    await scene.proxy.advance(20.5)
    assert offered(await scene.origin.request(4)) == (b"TEXT 2\r\nlo\r\n" + BYE, "2")
    await client.expect_close(1000)
    await client.gone()


@case
async def test_ws_116_close_is_repeated_at_once(scene: SocketStage) -> None:
    """Where no time would bring it; the original hangs."""
    client = await closing(scene, takes(3), events("CLOSE"))
    assert offered(await scene.origin.request(4)) == (b"TEXT 2\r\nlo\r\n" + BYE, "2")
    await client.expect_close(1000)
    await client.gone()


@case
async def test_ws_116_nothing_is_taken_and_no_time_would_bring_it(scene: SocketStage) -> None:
    """It is not asked again and again."""
    client = await closing(scene, takes(0))
    await client.gone()
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 3
