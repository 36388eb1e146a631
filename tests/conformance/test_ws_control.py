"""Control messages over a WebSocket: channels, notes about the client, and detaching (websocket 3)."""

from __future__ import annotations

import json

import pytest
import pytest_twisted

from tests.support.wsbackend import BackendSocket
from tests.support.wsclient import SocketClient
from tests.support.wspeer import PING, TEXT, encode
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred
NO_CODE = pytest.mark.differs("1.36 gives its backend no code")
SUBSCRIBE = '{"type":"subscribe","channel":"c"}'
PARTING = 6.0
"""Seconds that a backend may have to end the connection."""
SIX = [f"f{number}" for number in range(6)]


async def unsaid(
    scene: SocketStage, client: SocketClient, backend: BackendSocket, channel: str = "c"
) -> None:
    """What is published on a channel does not come, and the connection lives on."""
    await scene.proxy.settle()
    await scene.say("unheard", channel)
    await scene.proxy.settle()
    await scene.nothing(client, backend)


async def said(scene: SocketStage, client: SocketClient, channel: str = "c") -> None:
    """What is published on a channel comes, once."""
    await scene.say(f"on {channel}", channel)
    await client.expect_text(f"on {channel}")
    await scene.quiet(client)


async def parted(scene: SocketStage, backend: BackendSocket) -> None:
    """A backend that has answered CLOSE, and does not end the connection itself, sees the end of it."""
    await scene.proxy.settle()
    await scene.proxy.advance(PARTING)
    await backend.gone()


# ---- the envelope (websocket 3.1) --------------------------------------------------------------------------


@case
async def test_ws_058_a_subscription(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    await scene.subscribe(backend)
    await said(scene, client)
    backend.text("m:own")
    await client.expect_text("own")
    await scene.quiet(backend)


@pytest.mark.differs("the reference takes a moment")
@case
async def test_ws_058_what_comes_with_the_101(scene: SocketStage) -> None:
    """Who has seen the 101 hears what is published."""
    behind = encode(TEXT, f"c:{SUBSCRIBE}".encode()) + encode(TEXT, b"m:hello")
    await scene.start(scene.backend.accepting(behind=behind))
    client, _ = await scene.open()
    await scene.say("published")
    await client.expect_text("hello")
    await client.expect_text("published")


@case
async def test_ws_058_a_binary_message_controls_nothing(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.binary(f"c:{SUBSCRIBE}".encode())
    await unsaid(scene, client, backend)


GOOD = {
    "spaces": f" \n\t{SUBSCRIBE}\r\n ",
    "unknown-member": '{"type":"subscribe","x":[null],"channel":"c"}',
    "last-member-counts": '{"type":"detach","channel":"x","type":"subscribe","channel":"c"}',
    "escapes": '{"type":"subscribe","channel":"\\u0063"}',
    "unknown-filters": '{"type":"subscribe","channel":"c","filters":["none-such"]}',
    "no-filters": '{"type":"subscribe","channel":"c","filters":[]}',
}


@pytest.mark.parametrize("message", GOOD.values(), ids=[f"ws_058-{name}" for name in GOOD])
@case
async def test_a_message_that_means_something(scene: SocketStage, message: str) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.control(message)
    await scene.proxy.held("c")
    await said(scene, client)


BAD = {
    "not-json": b"subscribe",
    "nothing": b"",
    "half": b'{"type":"subscribe","channel":"c"',
    "array": b"[" + SUBSCRIBE.encode() + b"]",
    "string": b'"subscribe"',
    "no-type": b'{"channel":"c"}',
    "number-as-type": b'{"type":1,"channel":"c"}',
    "null-as-type": b'{"type":null,"channel":"c"}',
    "unknown-type": b'{"type":"set-hold","channel":"c"}',
    "type-in-capitals": b'{"type":"Subscribe","channel":"c"}',
    "no-channel": b'{"type":"subscribe"}',
    "empty-channel": b'{"type":"subscribe","channel":""}',
    "numeric-channel": b'{"type":"subscribe","channel":5}',
    "null-channel": b'{"type":"subscribe","channel":null}',
    "last-channel-bad": b'{"type":"subscribe","channel":"c","channel":5}',
    "null-filters": b'{"type":"subscribe","channel":"c","filters":null}',
    "string-as-filters": b'{"type":"subscribe","channel":"c","filters":"skip-self"}',
    "number-as-filter": b'{"type":"subscribe","channel":"c","filters":[1]}',
    "trailing-garbage": SUBSCRIBE.encode() + b" x",
    "second-object": SUBSCRIBE.encode() * 2,
    "bad-utf8": b'{"type":"subscribe","channel":"c","x":"\xff"}',
    "deep": b'{"type":"subscribe","channel":' + b"[" * 20_000,
    "huge-number": b'{"type":"keep-alive","content":"x","timeout":' + b"9" * 5_000 + b"}",
    "close": b'{"type":"close","code":4000}',
    "nameless-meta": b'{"type":"set-meta","value":"x"}',
    "empty-meta": b'{"type":"set-meta","name":"","value":"x"}',
    "null-session": b'{"type":"session","id":null}',
}


@pytest.mark.parametrize("message", BAD.values(), ids=[f"ws_059-{name}" for name in BAD])
@case
async def test_a_message_that_means_nothing(scene: SocketStage, message: bytes) -> None:
    # Who is strict about frames ends the connection over text that is not UTF-8 (websocket 1.5).
    await scene.start_w(tw={"websocket_lenient": "true"})
    client, backend = await scene.open()
    backend.text(b"c:" + message)
    await unsaid(scene, client, backend)
    await scene.quiet(backend)
    await scene.subscribe(backend)
    await said(scene, client)


# ---- channels (websocket 3.2, 3.3) -------------------------------------------------------------------------


@case
async def test_ws_060_the_prefix_of_the_route(scene: SocketStage) -> None:
    await scene.start_w(condition="*,prefix=px-")
    client, backend = await scene.open()
    await scene.subscribe(backend, "t", prefix="px-")
    await unsaid(scene, client, backend, "t")
    await said(scene, client, "px-t")
    backend.control('{"type":"unsubscribe","channel":"t"}')
    await unsaid(scene, client, backend, "px-t")


@case
async def test_ws_061_twenty_channels(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    for number in range(1, 22):
        backend.control(json.dumps({"type": "subscribe", "channel": f"c{number}"}))
    await scene.proxy.held("c20")
    await said(scene, client, "c20")
    await unsaid(scene, client, backend, "c21")
    backend.control('{"type":"unsubscribe","channel":"c1"}')
    await scene.subscribe(backend, "c22")
    await said(scene, client, "c22")
    await unsaid(scene, client, backend, "c1")


@case
async def test_ws_061_at_the_limit_filters_cannot_be_changed(scene: SocketStage) -> None:
    await scene.start_w(target="sub=own", handler={"connection_subscription_max": 2})
    client, backend = await scene.open()
    await scene.meta(backend, user="alice")
    await scene.subscribe(backend, "c")
    backend.control('{"type":"subscribe","channel":"c","filters":["skip-self"]}')
    backend.control('{"type":"subscribe","channel":"third"}')
    await scene.proxy.settle()
    await scene.say("hi", meta={"sender": "alice"})
    await client.expect_text("hi")
    await said(scene, client, "own")
    await unsaid(scene, client, backend, "third")


@pytest.mark.parametrize(
    ("condition", "reason"),
    [("*", b""), ("*,debug", b"too many filters for channel 't'")],
    ids=["ws_062-plain", "ws_062-debug_grip_203"],
)
@NO_CODE
@case
async def test_too_many_filters(scene: SocketStage, condition: str, reason: bytes) -> None:
    await scene.start_w(condition=condition)
    client, backend = await scene.open()
    backend.control(json.dumps({"type": "subscribe", "channel": "t", "filters": SIX}))
    await client.expect_close(1011, reason)
    await backend.expect_close(1000)
    backend.close(1000)
    client.close(1011)
    await client.gone()
    await parted(scene, backend)


@case
async def test_ws_062_five_filters_are_not_too_many(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    await scene.subscribe(backend, "c", filters=SIX[:5])
    await said(scene, client)


@case
async def test_ws_063_unsubscribe(scene: SocketStage) -> None:
    await scene.start_w(target="sub=own")
    client, backend = await scene.open()
    await scene.proxy.held("own")
    await scene.subscribe(backend)
    for channel in ("never-heard-of", "own", "c", "c"):
        backend.control(json.dumps({"type": "unsubscribe", "channel": channel}))
    await unsaid(scene, client, backend)
    await said(scene, client, "own")


@case
async def test_ws_063_channels_of_the_target(scene: SocketStage) -> None:
    """Whether the backend speaks GRIP or not, and without the prefix of the route (websocket 2.6)."""
    await scene.start_w(extensions="", condition="*,prefix=px-", target="sub=own,sub=other")
    client, _ = await scene.open()
    await scene.proxy.held("other")
    await said(scene, client, "own")
    await said(scene, client, "other")
    await scene.say("unheard", "px-own")
    await said(scene, client, "own")


@case
async def test_ws_063_channels_of_a_target_over_http(scene: SocketStage) -> None:
    await scene.start_h(target="over_http,sub=own")
    client = await scene.join()
    await scene.proxy.held("own")
    await said(scene, client, "own")


@case
async def test_ws_064_subscribing_again_replaces_filters(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    await scene.meta(backend, user="alice")
    await scene.subscribe(backend, filters=["skip-self"])
    await scene.say("own", meta={"sender": "alice"})
    await said(scene, client)
    await scene.subscribe(backend)
    await scene.say("own", meta={"sender": "alice"})
    await client.expect_text("own")
    await scene.subscribe(backend, filters=["skip-self"])
    await scene.say("own", meta={"sender": "alice"})
    await said(scene, client)


@case
async def test_ws_064_one_copy_however_often_subscribed(scene: SocketStage) -> None:
    await scene.start_w(target="sub=c")
    client, backend = await scene.open()
    for filters in ([], ["skip-self"], ["skip-self"], []):
        await scene.subscribe(backend, filters=filters)
        await said(scene, client)


# ---- detach (websocket 3.4) --------------------------------------------------------------------------------


async def detached(scene: SocketStage, **options: str) -> tuple[SocketClient, BackendSocket]:
    """A client on ``c`` whose backend has gone for good."""
    await scene.start_w(**options)
    client, backend = await scene.subscribed()
    backend.control('{"type":"detach"}')
    await backend.expect_close(1000)
    return client, backend


@NO_CODE
@case
async def test_ws_065_a_client_without_a_backend(scene: SocketStage) -> None:
    client, backend = await detached(scene)
    backend.close(1000)
    await parted(scene, backend)
    await said(scene, client)
    client.text("nobody hears this")
    client.ping(b"nor this")
    await said(scene, client)
    client.close(1001, b"bye")
    await client.expect_close(1000)
    await client.gone()


@NO_CODE
@case
async def test_ws_065_what_a_backend_does_after_that_means_nothing(scene: SocketStage) -> None:
    client, backend = await detached(scene)
    backend.control('{"type":"detach"}')
    backend.control('{"type":"unsubscribe","channel":"c"}')
    backend.text("m:late")
    backend.ping(b"late")
    backend.close(4000, b"late")
    await parted(scene, backend)
    await said(scene, client)


@NO_CODE
@case
async def test_ws_065_a_backend_that_drops_after_that(scene: SocketStage) -> None:
    client, backend = await detached(scene)
    backend.drop()
    await said(scene, client)


@NO_CODE
@case
async def test_ws_065_what_the_client_said_before_arrives(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.text("before")
    await backend.expect_text("before")
    backend.control('{"type":"detach"}')
    await backend.expect_close(1000)
    client.text("after")
    await scene.quiet(backend, client)


@NO_CODE
@case
async def test_ws_065_a_detached_client_can_be_closed(scene: SocketStage) -> None:
    client, backend = await detached(scene)
    await scene.say(members={"action": "close", "code": 4001, "reason": "bye"})
    await client.expect_close(4001, b"bye")
    client.close(4001)
    await client.gone()
    await scene.quiet(backend)


@NO_CODE
@case
async def test_ws_065_a_detached_client_that_goes(scene: SocketStage) -> None:
    client, backend = await detached(scene)
    client.drop()
    await scene.proxy.held("c", 0)
    await scene.quiet(backend)


@NO_CODE
@case
async def test_ws_065_keep_alives_go_on(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.control('{"type":"keep-alive","content":"","message-type":"ping","timeout":5}')
    backend.control('{"type":"detach"}')
    await backend.expect_close(1000)
    await scene.proxy.time_until(lambda: client.raw.unread, 6)
    await client.expect(PING)


@NO_CODE
@case
async def test_ws_065_a_limit_error_after_detaching(scene: SocketStage) -> None:
    """What was said before is still done in order."""
    await scene.start_w(condition="*")
    client, backend = await scene.subscribed()
    backend.control('{"type":"detach"}')
    backend.control(json.dumps({"type": "subscribe", "channel": "t", "filters": SIX}))
    await backend.expect_close(1000)
    await said(scene, client)


# ---- session and notes (websocket 3.5, 3.6) ----------------------------------------------------------------


@pytest.mark.parametrize(
    "content", ['"id":"S"', '"id":""', '"x":1'], ids=["ws_058-named", "ws_058-empty", "ws_058-absent"]
)
@case
async def test_a_session_shows_nothing(scene: SocketStage, content: str) -> None:
    await scene.start_w()
    client, backend = await scene.subscribed()
    backend.control(f'{{"type":"session",{content}}}')
    await said(scene, client)
    await scene.nothing(client, backend)
    await scene.quiet(backend)
