"""How a WebSocket over HTTP ends (websocket 10, 100, 109 to 113, 118, 119)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import Answer, Asked, reply, withheld
from tests.support.waiting import until
from tests.support.wsbackend import EVENTS, asked_events, events, opening
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

SUBSCRIBED = ("TEXT", b'c:{"type":"subscribe","channel":"c"}')
DETACH = ("TEXT", b'c:{"type":"detach"}')
KEPT_ALIVE = "Keep-Alive-Interval: 20"
DISCONNECT = [("DISCONNECT", None)]
REPEATS = pytest.mark.differs("1.36 repeats CLOSE after a time")


async def no_more(scene: SocketStage, count: int) -> None:
    """The origin was asked so many times, and is not asked again."""
    await scene.proxy.settle()
    await scene.proxy.advance(1)
    assert [asked.body for asked in scene.origin.requests[count:]] == []
    assert len(scene.origin.requests) == count


# ---- the backend breaks the rules, or leaves ---------------------------------------------------------------

OFFENCES = [
    pytest.param(reply(status="500 Bad", body=b"oops"), id="ws_100-500"),
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="ws_100-204"),
    pytest.param(reply("Content-Type: text/plain", body=b"TEXT 1\r\nx\r\n"), id="ws_100-type"),
    pytest.param(
        reply(f"Content-Type: {EVENTS}; charset=utf-8", body=b"TEXT 1\r\nx\r\n"), id="ws_100-parameter"
    ),
    pytest.param(events(b"TEXT 3\r\nm:x\r\nTEXT zz\r\n"), id="ws_100-malformed"),
    pytest.param(events("OPEN"), id="ws_100-OPEN"),
    pytest.param(events("DISCONNECT"), id="ws_100-DISCONNECT"),
]


@pytest.mark.parametrize("answer", OFFENCES)
@case
async def test_answers_that_end_it(scene: SocketStage, answer: bytes) -> None:
    await scene.start_h(opening(), answer, events())
    client = await scene.join()
    client.text("hi")
    await client.gone()
    await no_more(scene, 2)


@pytest.mark.differs("its defect: loses it")
@case
async def test_ws_100_what_was_said_before_disconnect(scene: SocketStage) -> None:
    await scene.start_h(opening(), events(("TEXT", b"m:last words"), "DISCONNECT"), events())
    client = await scene.join()
    client.text("hi")
    await client.expect_text("last words")
    await client.gone()
    await no_more(scene, 2)


# ---- the client says CLOSE ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "code", "reason"),
    [
        pytest.param([("CLOSE", b"\x0f\xa9w")], 4009, b"w", id="ws_109-code"),
        pytest.param(["CLOSE"], 1000, b"", id="ws_109-no code"),
        pytest.param([("CLOSE", b"\x0f")], 1000, b"", id="ws_109-half a code"),
    ],
)
@case
async def test_an_answer_to_close(scene: SocketStage, parts: list[str], code: int, reason: bytes) -> None:
    await scene.start_h(opening(), events(("TEXT", b"m:late"), *parts), events())
    client = await scene.join()
    client.close(4001)
    assert await asked_events(scene.origin, 2) == [("CLOSE", b"\x0f\xa1")]
    await client.expect_text("late")
    await client.expect_close(code, reason)
    await client.gone()
    await no_more(scene, 2)


@pytest.mark.parametrize("answer", [pytest.param(events(), id="ws_109-nothing"), *OFFENCES])
@case
async def test_no_answer_to_close(scene: SocketStage, answer: bytes) -> None:
    await scene.start_h(opening(), answer, events())
    client = await scene.join()
    client.close(4001, b"bye")
    assert await asked_events(scene.origin, 2) == [("CLOSE", b"\x0f\xa1bye")]
    await client.gone()
    await no_more(scene, 2)


@case
async def test_ws_109_close_is_repeated(scene: SocketStage) -> None:
    """When the backend wants to be asked, for then it may want to think."""
    await scene.start_h(
        opening(headers=[KEPT_ALIVE]), events(), events(("TEXT", b"m:late")), events(("CLOSE", b"\x0f\xa9"))
    )
    client = await scene.join()
    client.close(4001)
    for number in (2, 3, 4):
        assert await asked_events(scene.origin, number) == [("CLOSE", b"\x0f\xa1")]
        await scene.proxy.settle()
        if number < 4:
            await scene.proxy.advance(19)
            assert len(scene.origin.requests) == number
            await scene.proxy.advance(1.5)
    await client.expect_text("late")
    await client.expect_close(4009)
    await client.gone()
    await no_more(scene, 4)


@case
async def test_ws_109_keep_alive_ends_while_closing(scene: SocketStage) -> None:
    await scene.start_h(opening(headers=[KEPT_ALIVE]), events(headers=["Keep-Alive-Interval: 0"]))
    client = await scene.join()
    client.close(4001)
    await client.gone()


# ---- the backend says CLOSE --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(events(), id="ws_110-nothing"),
        pytest.param(events("CLOSE"), id="ws_110-CLOSE"),
        pytest.param(events(("TEXT", b"m:x")), id="ws_110-TEXT"),
        pytest.param(withheld, id="ws_110-later"),
    ],
)
@case
async def test_the_backend_closes(scene: SocketStage, last: Answer) -> None:
    await scene.start_h(
        opening(), events(("TEXT", b"m:x"), ("CLOSE", b"\x0f\xa0why"), ("TEXT", b"m:late")), last, events()
    )
    client = await scene.join()
    client.text("hi")
    await client.expect_text("x")
    await client.expect_close(4000, b"why")
    await scene.quiet(client)
    client.close(4001, b"bye")
    asked = await scene.origin.request(3)
    assert asked.body == b"CLOSE 5\r\n\x0f\xa1bye\r\n"
    if last is withheld:
        asked.write(events())
    await client.gone()
    await no_more(scene, 3)


@case
async def test_ws_110_the_client_vanishes_instead(scene: SocketStage) -> None:
    await scene.start_h(opening(), events(("CLOSE", b"\x0f\xa0why")), events())
    client = await scene.join()
    client.text("hi")
    await client.expect_close(4000, b"why")
    client.drop()
    assert await asked_events(scene.origin, 3) == DISCONNECT
    await no_more(scene, 3)


@case
async def test_ws_110_what_the_client_says_before_it_answers(scene: SocketStage) -> None:
    await scene.start_h(opening(), events("CLOSE"), events())
    client = await scene.join()
    client.text("hi")
    await client.expect_close(1000)
    client.text("more")
    assert await asked_events(scene.origin, 3) == [("TEXT", b"more")]
    client.close()
    assert await asked_events(scene.origin, 4) == [("CLOSE", None)]
    await client.gone()


# ---- the client goes away ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(events(), id="ws_111-idle"),
        pytest.param(reply(status="500 Bad"), id="ws_112-500"),
        pytest.param(events("OPEN", ("TEXT", b"m:x"), "CLOSE"), id="ws_112-events"),
        pytest.param(b"garbage\r\n\r\n", id="ws_112-garbage"),
    ],
)
@case
async def test_the_client_vanishes(scene: SocketStage, answer: bytes) -> None:
    await scene.start_h(opening(headers=[KEPT_ALIVE]), answer)
    client = await scene.join()
    client.drop()
    asked = await scene.origin.request(2)
    assert asked.body == b"DISCONNECT\r\n"
    await scene.proxy.settle()
    await scene.proxy.advance(25)
    assert len(scene.origin.requests) == 2


@case
async def test_ws_111_the_client_vanishes_during_a_request(scene: SocketStage) -> None:
    """What waits is not said any more, nor is what comes then told to anybody."""
    await scene.start_h(opening(), withheld, events())
    client = await scene.join()
    client.text("a")
    asked = await scene.origin.request(2)
    client.text("b")
    await scene.proxy.settle()
    client.drop()
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 2
    asked.write(events(("TEXT", b"m:late")))
    assert await asked_events(scene.origin, 3) == DISCONNECT
    await no_more(scene, 3)


@case
async def test_ws_111_nobody_is_told_when_the_last_answer_is_bad(scene: SocketStage) -> None:
    await scene.start_h(opening(), withheld, events())
    client = await scene.join()
    client.text("a")
    asked = await scene.origin.request(2)
    client.drop()
    await scene.proxy.settle()
    asked.write(reply(status="500 Bad"))
    await no_more(scene, 2)


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        pytest.param(opening(), 2, id="ws_111-agreed"),
        pytest.param(reply(status="403 No"), 1, id="ws_111-refused"),
        pytest.param(events(), 1, id="ws_111-failed"),
        pytest.param(opening("CLOSE"), 2, id="ws_111-closed"),
    ],
)
@case
async def test_the_client_vanishes_during_the_opening(scene: SocketStage, answer: bytes, count: int) -> None:
    await scene.start_h(withheld, events())
    client = await scene.shake()
    asked = await scene.origin.request(1)
    client.drop()
    await scene.proxy.settle()
    asked.write(answer)
    if count == 2:
        assert await asked_events(scene.origin, 2) == DISCONNECT
    await no_more(scene, count)


@case
async def test_ws_113_the_client_breaks_the_rules(scene: SocketStage) -> None:
    await scene.start_h(opening(), events())
    client = await scene.join()
    client.frame(3, b"x")
    assert await asked_events(scene.origin, 2) == DISCONNECT
    await until(lambda: client.raw.lost, "the end of the connection")
    await no_more(scene, 2)


@pytest.mark.differs("1.36 says nothing more")
@case
async def test_ws_113_the_client_vanishes_while_closing(scene: SocketStage) -> None:
    """Its CLOSE was not answered yet."""
    await scene.start_h(opening(headers=[KEPT_ALIVE]), events())
    client = await scene.join()
    client.close(4001)
    await scene.origin.request(2)
    await scene.proxy.settle()
    client.drop()
    assert await asked_events(scene.origin, 3) == DISCONNECT
    await no_more(scene, 3)


# ---- others end it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(status="500 Bad"), id="ws_118-500"),
        pytest.param(events(), id="ws_118-nothing"),
        pytest.param(events(("CLOSE", b"\x0f\xa9"), ("TEXT", b"m:late")), id="ws_118-CLOSE"),
    ],
)
@case
async def test_a_published_close(scene: SocketStage, answer: bytes) -> None:
    await scene.start_h(opening(SUBSCRIBED), answer, events())
    client = await scene.join()
    await scene.proxy.held("c")
    await scene.say(members={"action": "close", "code": 4001, "reason": "bye"})
    await client.expect_close(4001, b"bye")
    assert await asked_events(scene.origin, 2) == [("CLOSE", None)]
    await scene.proxy.settle()
    client.close(4001, b"bye")
    await client.gone()
    await no_more(scene, 2)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(status="500 Bad"), id="ws_119-500"),
        pytest.param(events(), id="ws_119-nothing", marks=REPEATS),
        pytest.param(events("CLOSE"), id="ws_119-CLOSE"),
        pytest.param(events(("TEXT", b"m:late")), id="ws_119-TEXT", marks=REPEATS),
    ],
)
@case
async def test_detach(scene: SocketStage, answer: bytes) -> None:
    """The client stays, and whatever it does is its own business."""
    await scene.start_h(opening(SUBSCRIBED, headers=[KEPT_ALIVE]), events(DETACH), answer, events())
    client = await scene.join()
    await scene.proxy.held("c")
    client.text("hi")
    assert await asked_events(scene.origin, 3) == [("CLOSE", None)]
    await scene.proxy.settle()
    await scene.say("news")
    await client.expect_text("news")
    client.text("to nobody")
    await scene.say("more")
    await client.expect_text("more")
    client.drop()
    await scene.proxy.settle()
    await scene.proxy.advance(25)
    assert len(scene.origin.requests) == 3


def breaking(asked: Asked) -> None:
    """The connection ends instead of an answer."""
    asked.close()


@pytest.mark.differs("1.36 asks once more when a connection that was kept breaks")
@case
async def test_ws_119_detach_while_the_backend_breaks(scene: SocketStage) -> None:
    await scene.start_h(opening(SUBSCRIBED, DETACH), breaking)
    client = await scene.join()
    assert await asked_events(scene.origin, 2) == [("CLOSE", None)]
    await scene.proxy.held("c")
    await scene.say("news")
    await client.expect_text("news")
    client.close(4001)
    await client.expect_close(1000)
    await client.gone()
    await no_more(scene, 2)
