"""SockJS by scripts, streams and WebSockets, and what all ways have in common (websocket 10, 135 to 140).

Through the whole service, with a WebSocket backend.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
import pytest_twisted
from _pytest.mark import ParameterSet

from tests.support.running import W
from tests.support.sockjsclient import CALLBACK, WAYS, Framed, Polls, Raw, Scripts, Talk
from tests.support.wsbackend import BackendSocket
from tests.support.wspeer import BINARY, PING, PONG, TEXT
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

ROUTE = "*,sockjs=/sj"
FETCHER = "1.36 asks backends with another program than 1.41"
ADDED = ("xhr_streaming", "eventsource", "htmlfile")
"""Transports that the reference does not have."""


def each(number: int, *without: str) -> list[ParameterSet]:
    """Every way in which frames travel, for one case."""
    mark = pytest.mark.differs("there is no such transport")
    return [
        pytest.param(way, id=f"ws_{number}-{name}", marks=[mark] if name in ADDED else [])
        for name, way in WAYS.items()
        if name not in without
    ]


async def opened(scene: SocketStage, way: Any, query: str = "") -> tuple[Any, BackendSocket]:
    """A session that is open, and its other end."""
    number = len(scene.backend.sockets) + 1
    talk: Talk = way(scene, query=query)
    await talk.open()
    return talk, await scene.backend.socket(number)


# ---- scripts -----------------------------------------------------------------------------------------------


@case
async def test_ws_135_scripts(scene: SocketStage) -> None:
    await scene.start_w(condition=ROUTE)
    talk = Scripts(scene)
    answer = await talk.answer()
    assert (answer.status, answer.get("Content-Type")) == (200, "application/javascript")
    assert answer.get("Access-Control-Allow-Origin") == "*"
    assert answer.body == f'/**/{CALLBACK}("o");\n'.encode()
    backend = await scene.backend.socket(1)
    await talk.listen()
    backend.text('m:say "hi"')
    assert (await talk.answer()).body == f'/**/{CALLBACK}("a[\\"say \\\\\\"hi\\\\\\"\\"]");\n'.encode()
    await talk.say("up", "ö")
    await backend.expect_text("up")
    await backend.expect_text("ö")
    backend.text("m:a")
    answer = await talk.ask("/sj/s/i/jsonp?c=c&callback=wins")
    assert answer.body.startswith(b"/**/wins(")


@pytest.mark.differs("emits U+2028 as it is, which ends a line of script")
@case
async def test_ws_135_line_ends_of_scripts(scene: SocketStage) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, Scripts)
    await talk.listen()
    backend.text("m:\u2028\u2029")
    assert (await talk.answer()).body == f'/**/{CALLBACK}("a[\\"\\u2028\\u2029\\"]");\n'.encode()


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("", id="ws_135-none"),
        pytest.param("?c=", id="ws_135-empty"),
        pytest.param("?c=a(b);x", id="ws_135-code", marks=pytest.mark.differs("emits it unchecked")),
        pytest.param("?c=a%28b%29", id="ws_135-encoded", marks=pytest.mark.differs("emits it unchecked")),
    ],
)
@case
async def test_no_script_without_a_function(scene: SocketStage, query: str) -> None:
    await scene.start_w(condition=ROUTE)
    answer = await Polls(scene).ask(f"/sj/s/i/jsonp{query}", None, method="GET")
    assert (answer.status, answer.get("Content-Type")) == (400, "text/plain")
    assert answer.body == b"Bad Request\n"
    assert not scene.origin.requests


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            b"d=%5B%22a+b%22%5D",
            "a b",
            id="ws_135-plus-is-a-space",
            marks=pytest.mark.differs("leaves the plus as it is"),
        ),
        pytest.param(b"d=%5B%22a%2Bb%22%5D", "a+b", id="ws_135-plus"),
        pytest.param(b'["plain"]', None, id="ws_135-no-form"),
        pytest.param(b"d=%5B%22a", None, id="ws_135-half"),
        pytest.param(b"x=%5B%22a%22%5D", None, id="ws_135-another-field"),
    ],
)
@case
async def test_what_forms_say(scene: SocketStage, body: bytes, message: str | None) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, Scripts)
    answer = await talk.ask("/sj/s/i/jsonp_send", body)
    if message is None:
        assert (answer.status, answer.body) == (400, b"Payload expected\n")
    else:
        assert (answer.status, answer.body) == (200, b"ok")
        await backend.expect_text(message)


# ---- WebSockets --------------------------------------------------------------------------------------------


@case
async def test_ws_136_frames_within_a_websocket(scene: SocketStage) -> None:
    await scene.start_w("X-From: origin", condition=ROUTE)
    talk, backend = await opened(scene, Framed)
    assert talk.peer.head.get("X-From") == "origin"
    backend.text("m:hello")
    backend.binary(b"m:\xff")
    assert await talk.messages() == ["hello"]
    assert await talk.messages() == ["\ufffd"]
    talk.peer.text('["a","b"]')
    talk.peer.binary(b'["c"]')
    talk.peer.text("[]")
    talk.peer.ping(b"?")
    talk.peer.text('["d"]')
    for text in "abcd":
        await backend.expect_text(text)
    backend.ping(b"?")
    backend.pong(b"!")
    backend.text("m:end")
    assert await talk.messages() == ["end"]


@case
async def test_ws_136_the_heart_beats_in_spite_of_messages(scene: SocketStage) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, Framed)
    for _ in range(2):
        for _ in range(23):
            await scene.proxy.advance(1)
        backend.text("m:x")
        assert await talk.messages() == ["x"]
        for _ in range(3):
            await scene.proxy.advance(1)
        assert await talk.frame() == "h"


@case
async def test_ws_136_close_is_no_frame_of_sockjs(scene: SocketStage) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, Framed)
    backend.close(4001, b"bye")
    assert await talk.closing() == (4001, "bye")
    talk.peer.close(4002, b"ok")
    await backend.expect_close(4002, b"ok")
    talk, backend = await opened(scene, Framed)
    talk.peer.close(4003, b"first")
    await backend.expect_close(4003, b"first")
    backend.close()
    assert await talk.closing() == (1000, "")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'"a"', id="ws_136-string"),
        pytest.param(b"junk", id="ws_136-junk"),
        pytest.param(b"5", id="ws_136-number"),
        pytest.param(b"", id="ws_136-empty"),
        pytest.param(b'["a",5]', id="ws_136-array-with-a-number"),
    ],
)
@case
async def test_what_is_no_array_drops(scene: SocketStage, data: bytes) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, Framed)
    talk.peer.text(data)
    await talk.peer.gone()
    await backend.gone()


@case
async def test_ws_136_compressed(scene: SocketStage) -> None:
    """The WebSocket around the frames is like any other."""
    await scene.start_w(condition=ROUTE, runner={"allow_compression": "true"})
    client = await scene.join("/sj/s/i/websocket", "Sec-WebSocket-Extensions: permessage-deflate")
    assert (client.head.get("Sec-WebSocket-Extensions") or "").startswith("permessage-deflate")
    backend = await scene.backend.socket(1)
    await scene.subscribe(backend)
    backend.text("m:said")
    await scene.say("published")
    for text in ("o", 'a["said"]', 'a["published"]'):
        message = await client.read()
        data = message.data
        if message.compressed:
            data = zlib.decompressobj(-15).decompress(data + b"\0\0\xff\xff")
        assert (message.kind, data.decode()) == (TEXT, text)


@case
async def test_ws_136_ids_do_not_matter(scene: SocketStage) -> None:
    await scene.start_w(condition=ROUTE)
    one, first = await opened(scene, Framed)
    other, second = await opened(scene, Framed)
    await one.say("one")
    await other.say("other")
    await first.expect_text("one")
    await second.expect_text("other")
    assert (await one.send(b'["a"]')).status == 404


@pytest.mark.differs(FETCHER)
@case
async def test_ws_137_a_raw_websocket(scene: SocketStage) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, Raw)
    for kind, data in [(TEXT, b"junk"), (BINARY, b"\xff"), (PING, b"?"), (PONG, b"!")]:
        talk.peer.frame(kind, data)
        await backend.expect(kind, data)
    backend.text("m:hello")
    backend.ping(b"?")
    assert await talk.messages() == ["hello"]
    await talk.peer.expect(PING, b"?")
    for _ in range(60):
        await scene.proxy.advance(1)
    await scene.quiet(talk.peer)


@pytest.mark.parametrize("path", ["/sj", "/sj/info", "/sj/s/i", "/sj/s/i/x/websocket", "/sjx/websocket"])
@case
async def test_ws_137_there_is_no_other(scene: SocketStage, path: str) -> None:
    await scene.start_w(condition=ROUTE)
    client = await scene.shake(path)
    answer = await client.read_response()
    assert (answer.status, answer.body) == (404, b"Not Found\n")
    assert answer.get("Content-Type") == "text/plain"
    assert not {"Cache-Control", "Access-Control-Allow-Origin"} & {name for name, _ in answer.headers}
    assert not scene.origin.requests


# ---- all of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_path", ["", "/ws"], ids=["base", "as-path"])
@pytest.mark.parametrize("way", each(138))
@case
async def test_which_path_the_origin_sees(scene: SocketStage, way: Any, as_path: str) -> None:
    await scene.start_w(condition=ROUTE + f",sockjs_as_path={as_path}" * bool(as_path))
    talk, backend = await opened(scene, way, "?a=b&x=%20")
    path = as_path or ("/sj/websocket" if isinstance(talk, Framed) else "/sj")
    query = talk.target.partition("?")[2]
    assert backend.asked.target == f"{path}?{query}"
    assert query.endswith("a=b&x=%20")
    assert (backend.asked.method, backend.asked.get("Content-Length")) == ("GET", None)


@pytest.mark.differs("fragments are lost, or end the process")
@pytest.mark.parametrize("way", each(139))
@case
async def test_fragments_become_one_string(scene: SocketStage, way: Any) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, way)
    await talk.listen()
    backend.frame(TEXT, b"m:on\xc3", fin=False)
    await scene.proxy.settle()
    backend.ping(b"in between")
    backend.frame(0, b"\xa9", fin=False)
    await scene.proxy.settle()
    backend.frame(0, b"", fin=True)
    if isinstance(talk, Raw):
        await talk.peer.expect(PING, b"in between")
    assert await talk.messages() == ["oné"]


@pytest.mark.parametrize("way", each(140))
@case
async def test_publishing_and_grip(scene: SocketStage, way: Any) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, way)
    await talk.listen()
    await scene.subscribe(backend, "c")
    await scene.subscribe(backend, "d")
    await scene.say('pub "1"')
    assert await talk.messages() == ['pub "1"']
    await talk.listen()
    await scene.proxy.publish("d", {W: {"content-bin": "/w=="}})
    assert await binary_text(talk) == "\ufffd"
    await talk.say("up")
    await backend.expect_text("up")
    await talk.listen()
    backend.control(json.dumps({"type": "unsubscribe", "channel": "d"}))
    await scene.proxy.held("d", 0)
    await scene.say("never", "d")
    await scene.say("last")
    assert await talk.messages() == ["last"]


async def binary_text(talk: Talk) -> str:
    """The one message in the next frame, whatever its kind."""
    if isinstance(talk, Raw):
        return (await talk.peer.read()).data.decode("utf-8", "replace")
    return (await talk.messages())[0]


@pytest.mark.differs(FETCHER)
@pytest.mark.parametrize("way", each(140))
@case
async def test_published_close(scene: SocketStage, way: Any) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, way)
    await talk.listen()
    await scene.subscribe(backend)
    await scene.say(members={"action": "close", "code": 4001, "reason": "bye"})
    assert await talk.closing() == (4001, "bye")
    await backend.expect_close(1000)


@pytest.mark.differs(FETCHER)
@pytest.mark.parametrize("way", each(140))
@case
async def test_keep_alive_and_delayed_messages(scene: SocketStage, way: Any) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, way)
    await talk.listen()
    backend.control(json.dumps({"type": "send-delayed", "content": "late", "timeout": 2}))
    backend.control(json.dumps({"type": "flush-delayed"}))
    assert await talk.messages() == ["late"]
    await talk.listen()
    backend.control(json.dumps({"type": "keep-alive", "content": "alive", "timeout": 3}))
    await scene.proxy.settle()
    for _ in range(4):
        await scene.proxy.advance(1)
    assert await talk.messages() == ["alive"]
    await talk.listen()
    await scene.subscribe(backend)
    backend.control('{"type": "detach"}')
    await backend.expect_close(1000)
    await scene.say("without an origin")
    assert await talk.messages() == ["without an origin"]


@pytest.mark.parametrize("way", each(140))
@case
async def test_filters(scene: SocketStage, way: Any) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, way)
    await talk.listen()
    await scene.meta(backend, user="me")
    await scene.subscribe(backend, filters=["skip-self"])
    await scene.say("mine", meta={"sender": "me"})
    await scene.say("yours", meta={"sender": "you"})
    assert await talk.messages() == ["yours"]


@pytest.mark.parametrize("way", each(140, "raw"))
@case
async def test_published_pings_are_lost(scene: SocketStage, way: Any) -> None:
    await scene.start_w(condition=ROUTE)
    talk, backend = await opened(scene, way)
    await talk.listen()
    await scene.subscribe(backend)
    await scene.say(members={"type": "ping", "content": "?"})
    await scene.say("next")
    assert await talk.messages() == ["next"]


@case
async def test_ws_144_sessions_are_logged(scene: SocketStage) -> None:
    await scene.start_w(condition=ROUTE)
    await Polls(scene).open()
    await Framed(scene).open()
    await Polls(scene).ask("/sj/info", None, method="GET")
    said = [
        f"GET ws://example.com{path} -> {scene.origin.address} code=101 0"
        for path in ("/sj", "/sj/websocket")
    ]
    await scene.proxy.logged(said[1])
    assert [line for line in scene.proxy.lines() if "://" in line] == said
