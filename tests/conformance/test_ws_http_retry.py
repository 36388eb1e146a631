"""Backends over HTTP that are slow, break off or cannot be reached (websocket 10, 101 to 103, 112)."""

from __future__ import annotations

from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET, socket

import pytest
import pytest_twisted

from pushpin_tw.origin.transport import OriginTransport
from tests.support.origin import Asked, withheld
from tests.support.waiting import until
from tests.support.wsbackend import asked_events, events, opening
from tests.support.wsclient import SocketClient
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

SLACK = 0.5
"""Seconds: ticks of the wheel and looks of ``time_until``."""


AGAIN = pytest.mark.differs("1.36 asks once more when a connection that was kept breaks")


async def joined(scene: SocketStage, *answers: object, **options: str) -> SocketClient:
    """A client whose opening is over."""
    await scene.start_h(opening(), *answers, **options)  # type: ignore[arg-type]
    client = await scene.join()
    await scene.proxy.settle()
    return client


async def until_passed(scene: SocketStage, seconds: float) -> None:
    """In small steps, so that what each attempt comes to is known before the next one."""
    end = scene.proxy.seconds() + seconds
    await scene.proxy.time_until(lambda: scene.proxy.seconds() >= end, seconds + 1)


# ---- connected ---------------------------------------------------------------------------------------------


@case
async def test_ws_101_a_slow_answer(scene: SocketStage) -> None:
    client = await joined(scene, withheld)
    client.text("hi")
    asked = await scene.origin.request(2)
    await scene.proxy.advance(75)
    await scene.quiet(client)
    asked.write(events(("TEXT", b"m:at last")))
    await client.expect_text("at last")


def closes(asked: Asked) -> None:
    asked.close()


def resets(asked: Asked) -> None:
    asked.connection.transport.abortConnection()


def breaks_off(asked: Asked) -> None:
    asked.write(events(("TEXT", b"m:x"))[:-3])
    asked.close()


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(closes, id="ws_102-closes", marks=AGAIN),
        pytest.param(resets, id="ws_102-resets", marks=AGAIN),
        pytest.param(breaks_off, id="ws_102-breaks off"),
    ],
)
@case
async def test_no_answer(scene: SocketStage, broken: object) -> None:
    """It may have been understood, so it is not repeated."""
    client = await joined(scene, broken, events())
    client.text("hi")
    await client.gone()
    await scene.proxy.settle()
    await scene.proxy.advance(3)
    assert len(scene.origin.requests) == 2


@case
async def test_ws_102_a_connection_that_was_closed_meanwhile(scene: SocketStage) -> None:
    client = await joined(scene, events(("TEXT", b"m:ok")))
    await scene.origin.disconnect()
    await scene.proxy.settle()
    client.text("hi")
    await client.expect_text("ok")
    assert len(scene.origin.requests) == 2


# ---- not connected -----------------------------------------------------------------------------------------


@case
async def test_ws_103_the_backend_comes_back(scene: SocketStage) -> None:
    """What was to be said is said once; what came meanwhile follows together."""
    client = await joined(scene, events(("TEXT", b"m:1")), events(("TEXT", b"m:2")))
    await scene.origin.down()
    client.text("a")
    await scene.proxy.settle()
    client.text("b")
    client.text("c")
    await scene.proxy.advance(2)
    scene.origin.up()
    assert len(scene.origin.requests) == 1
    # The second attempt may have failed by now, 1 to 2 s after the first; the third follows after 2 to 3 s.
    await scene.proxy.time_until(lambda: len(scene.origin.requests) > 1, 5 - 2 + SLACK)
    assert await asked_events(scene.origin, 2) == [("TEXT", b"a")]
    assert await asked_events(scene.origin, 3) == [("TEXT", b"b"), ("TEXT", b"c")]
    await client.expect_text("1")
    await client.expect_text("2")
    await scene.proxy.advance(5)
    assert len(scene.origin.requests) == 3


@pytest.mark.parametrize(
    ("since", "least", "most"),
    [
        pytest.param(0.2, 1, 2, id="ws_103-first"),
        pytest.param(2.5, 3, 5, id="ws_103-second"),
        pytest.param(5.5, 7, 10, id="ws_103-third"),
        pytest.param(10.5, 15, 19, id="ws_103-fourth"),
        pytest.param(19.5, 31, 36, id="ws_103-fifth"),
    ],
)
@case
async def test_times_of_retries(scene: SocketStage, since: float, least: float, most: float) -> None:
    """The backend is there again ``since`` so many seconds, and is asked then and then."""
    client = await joined(scene, events(("TEXT", b"m:ok")))
    await scene.origin.down()
    client.text("a")
    await scene.proxy.settle()
    start = scene.proxy.seconds()
    await until_passed(scene, since)
    scene.origin.up()
    await scene.proxy.time_until(lambda: len(scene.origin.requests) > 1, most)
    assert least - SLACK <= scene.proxy.seconds() - start <= most + SLACK
    await client.expect_text("ok")


@case
async def test_ws_103_the_backend_does_not_come_back(scene: SocketStage) -> None:
    """And nobody is told of the end."""
    client = await joined(scene, events())
    await scene.origin.down()
    client.text("a")
    await scene.proxy.settle()
    passed = await scene.proxy.time_until(lambda: client.raw.lost, 36 + SLACK)
    assert passed >= 31 - SLACK
    await client.gone()
    scene.origin.up()
    await scene.proxy.advance(3)
    assert len(scene.origin.requests) == 1


@case
async def test_ws_103_an_answer_makes_up_for_failures(scene: SocketStage) -> None:
    """The next one waits for about a second again."""
    client = await joined(scene, events(("TEXT", b"m:ok")))
    for _ in range(2):
        count = len(scene.origin.requests)
        await scene.origin.down()
        client.text("a")
        await scene.proxy.settle()
        await until_passed(scene, 2.5)
        scene.origin.up()
        await scene.proxy.time_until(lambda wanted=count: len(scene.origin.requests) > wanted, 2.5 + SLACK)
        await client.expect_text("ok")
        await scene.proxy.settle()


@case
async def test_ws_112_disconnect_is_said_once_the_backend_is_back(scene: SocketStage) -> None:
    client = await joined(scene, events())
    await scene.origin.down()
    client.drop()
    await scene.proxy.settle()
    await scene.proxy.advance(0.1)
    scene.origin.up()
    await scene.proxy.time_until(lambda: len(scene.origin.requests) > 1, 2 + SLACK)
    assert scene.origin.requests[1].body == b"DISCONNECT\r\n"
    await scene.proxy.advance(5)
    assert len(scene.origin.requests) == 2


@case
async def test_ws_112_what_is_being_said_comes_first(scene: SocketStage) -> None:
    """The client goes while its message waits for the backend to come back."""
    client = await joined(scene, events())
    await scene.origin.down()
    client.text("a")
    await scene.proxy.settle()
    client.text("b")
    await scene.proxy.settle()
    client.drop()
    await scene.proxy.settle()
    scene.origin.up()
    await scene.proxy.time_until(lambda: len(scene.origin.requests) > 1, 2 + SLACK)
    assert await asked_events(scene.origin, 2) == [("TEXT", b"a")]
    assert await asked_events(scene.origin, 3) == [("DISCONNECT", None)]
    await until(lambda: len(scene.origin.requests) == 3, "the end")


@case
async def test_ws_103_no_other_target_is_asked(scene: SocketStage) -> None:
    """The one that has agreed is the only one."""
    other = await scene.another_origin(opening())
    routes = [f"* {scene.origin.address},over_http {other.address},over_http"]
    await scene.start_h(opening(), events(("TEXT", b"m:ok")), routes=routes)
    client = await scene.join()
    await scene.proxy.settle()
    await scene.origin.down()
    client.text("a")
    await scene.proxy.settle()
    scene.origin.up()
    await scene.proxy.time_until(lambda: len(scene.origin.requests) > 1, 2 + SLACK)
    await client.expect_text("ok")
    assert other.requests == []


@pytest.mark.differs("its sockets cannot be made to take little at a time")
@case
async def test_ws_103_a_request_that_has_not_left(
    scene: SocketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend cannot have understood what it does not have as a whole, so that is said again."""
    create = OriginTransport.createInternetSocket

    def small(self: OriginTransport) -> socket:
        sock: socket = create(self)
        sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)
        return sock

    monkeypatch.setattr(OriginTransport, "createInternetSocket", small)
    client = await joined(scene, events(("TEXT", b"m:ok")))
    (connection,) = scene.origin.connections
    connection.transport.pauseProducing()
    connection.transport.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
    text = "x" * 190_000
    client.text(text)
    await scene.proxy.settle()
    connection.transport.abortConnection()
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 1
    await scene.proxy.time_until(lambda: len(scene.origin.requests) > 1, 2 + SLACK)
    assert await asked_events(scene.origin, 2) == [("TEXT", text.encode())]
    await client.expect_text("ok")
