"""SockJS in front of a backend that only knows HTTP (websocket 10, 131 to 140).

Through the whole service.
"""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from _pytest.mark import ParameterSet

from tests.support.monitors import Monitors
from tests.support.origin import reply
from tests.support.sockjsclient import WAYS, Framed, Polls
from tests.support.wsbackend import asked_events, events, opening
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

ROUTE = "*,sockjs=/sj"
SUBSCRIBE = ("TEXT", 'c:{"type":"subscribe","channel":"c"}')


def each(number: int) -> list[ParameterSet]:
    """Every way in which frames travel, for one case."""
    mark = pytest.mark.differs("there is no such transport")
    added = ("xhr_streaming", "eventsource", "htmlfile")
    return [
        pytest.param(way, id=f"ws_{number}-{name}", marks=[mark] if name in added else [])
        for name, way in WAYS.items()
    ]


@case
async def test_ws_131_without_a_poll(scene: SocketStage) -> None:
    await scene.start_h(opening(), events(), opening(), condition=ROUTE)
    await Polls(scene).open()
    for _ in range(6):
        await scene.proxy.advance(1)
    assert await asked_events(scene.origin, 2) == [("DISCONNECT", None)]
    await Polls(scene).open()
    assert await asked_events(scene.origin, 3) == [("OPEN", None)]


@pytest.mark.differs("misses the loss of a poll with Content-Length: 0")
@pytest.mark.parametrize("way", each(131))
@case
async def test_a_client_that_leaves(scene: SocketStage, way: Any) -> None:
    await scene.start_h(opening(), events(), condition=ROUTE)
    talk = way(scene)
    await talk.open()
    await talk.listen()
    talk.leave()
    assert await asked_events(scene.origin, 2) == [("DISCONNECT", None)]


@pytest.mark.parametrize("way", each(132))
@case
async def test_the_origin_closes(scene: SocketStage, way: Any) -> None:
    goodbye = events(("TEXT", "m:last words"), ("CLOSE", b"\x0f\xa1bye"))
    await scene.start_h(opening(), goodbye, events("CLOSE"), condition=ROUTE)
    talk = way(scene)
    await talk.open()
    await talk.listen()
    await talk.say("hello")
    assert await asked_events(scene.origin, 2) == [("TEXT", b"hello")]
    assert await talk.messages() == ["last words"]
    assert await talk.closing() == (4001, "bye")


@case
async def test_ws_132_no_code(scene: SocketStage) -> None:
    await scene.start_h(opening(), events("CLOSE"), condition=ROUTE)
    talk = Polls(scene)
    await talk.open()
    await talk.listen()
    await talk.say("hello")
    assert await talk.closing() == (0, "Connection closed")


@pytest.mark.parametrize("way", each(134)[:-2])
@case
async def test_the_origin_refuses(scene: SocketStage, way: Any) -> None:
    await scene.start_h(reply("X-Why: because", body=b"no", status="403 No"), opening(), condition=ROUTE)
    talk = way(scene)
    answer = await talk.ask(talk.target, b"" if way.method == "POST" else None, method=way.method)
    assert (answer.status, answer.reason, answer.body) == (403, "No", b"no")
    assert answer.get("X-Why") == "because"
    assert answer.get("Access-Control-Allow-Origin") == "*"
    await talk.open()


@pytest.mark.parametrize("way", each(138))
@case
async def test_what_the_origin_is_asked(scene: SocketStage, way: Any) -> None:
    await scene.start_h(condition=ROUTE)
    talk = way(scene, query="?a=b")
    await talk.open()
    asked = await scene.origin.request(1)
    path, _, query = asked.target.partition("?")
    assert (asked.method, path) == ("POST", "/sj/websocket" if isinstance(talk, Framed) else "/sj")
    assert query == talk.target.partition("?")[2]
    shaken = {"Sec-WebSocket-Key", "Sec-WebSocket-Version"} & {name for name, _ in asked.headers}
    assert len(shaken) == (2 if isinstance(talk, Framed) else 0)


@pytest.mark.parametrize("way", each(140))
@case
async def test_publishing_and_grip(scene: SocketStage, way: Any) -> None:
    await scene.start_h(opening(SUBSCRIBE, ("TEXT", "m:welcome")), events(), condition=ROUTE)
    talk = way(scene)
    await talk.open()
    await talk.listen()
    assert await talk.messages() == ["welcome"]
    await talk.listen()
    await scene.proxy.held("c")
    await scene.say("news")
    assert await talk.messages() == ["news"]
    await talk.listen()
    await scene.say(members={"action": "close", "code": 4001, "reason": "bye"})
    assert await talk.closing() == (4001, "bye")
    assert await asked_events(scene.origin, 2) == [("CLOSE", None)]


@pytest.mark.differs("misses the loss of a poll with Content-Length: 0")
@case
async def test_a_session_is_one_connection(monitors: Monitors) -> None:
    """In statistics, and wherever its requests come in."""
    monitor = await monitors.watch("conn ", condition=ROUTE, target="over_http")
    monitors.origin.on("/sj", *[opening()] * 8)
    talks = [Polls(monitors, f"session{number}") for number in range(8)]
    for talk in talks:
        await talk.open()
        await talk.listen()
    names = set()
    while len(names) < len(talks):
        begin = await monitor.next("conn", type="ws")
        names.add(begin.pop("id"))
        assert begin == {"type": "ws", "peer-address": "127.0.0.1", "ttl": 120}
    await monitors.arrived(monitor, "conn")
    assert names.issuperset(packet["id"] for packet in monitor.all("conn"))
    for talk in talks:
        talk.leave()
    for name in names:
        await monitor.next("conn", id=name, unavailable=True)
