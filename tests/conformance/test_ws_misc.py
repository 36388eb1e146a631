"""WebSockets: the ``test`` target, the log, silence, and what the proxy's own cases say of them.

Websocket 10, 142 to 145; proxy 10, C187 to C197."""

from __future__ import annotations

from base64 import b64decode

import pytest
import pytest_twisted

from tests.support.origin import reply
from tests.support.running import refusing
from tests.support.wsbackend import agreement
from tests.support.wsclient import HANDSHAKE, KEY, SocketClient
from tests.support.wspeer import BINARY, PING, PONG, TEXT
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred
FAILED = b"Error while proxying to origin.\n"


async def refused(scene: SocketStage, status: int, body: bytes, *headers: str) -> None:
    """A handshake is, with a body and no type of it, and then the connection ends."""
    raw = await scene.shake("/", *headers)
    answer = await raw.read_response()
    assert (answer.status, answer.body) == (status, body)
    assert [name for name, _ in answer.headers] == ["Content-Length"]
    await raw.closed()


# ---- the test target (websocket 10, 142) -------------------------------------------------------------------


@pytest.mark.differs("1.36 loses what pings contain")
@case
async def test_ws_142_c187_an_echo(scene: SocketStage) -> None:
    await scene.start(routes=["* test"])
    client = await scene.join("/ws")
    await scene.proxy.held("test")
    for kind, data in [(TEXT, b"hello"), (BINARY, b"\0\xff"), (TEXT, b""), (TEXT, b"c:{}"), (TEXT, b"m:x")]:
        client.frame(kind, data)
        await client.expect(kind, data)
    client.ping(b"pp")
    await client.expect(PING, b"pp")
    client.pong(b"po")
    await client.expect(PONG, b"po")
    client.text("x" * 300_000)
    await client.expect_text("x" * 300_000)
    await scene.say("published", "test")
    await client.expect_text("published")
    client.close(1000)
    await client.expect_close(1000)
    await client.gone()


@case
async def test_ws_142_a_channel_of_ones_own(scene: SocketStage) -> None:
    await scene.start(routes=["* test"])
    client = await scene.join("/ws?channel=a")
    await scene.proxy.held("a")
    await scene.say("unheard", "test")
    await scene.say("heard", "a")
    await client.expect_text("heard")
    client.close(4001, b"bye")
    await client.expect_close(4001, b"bye")


@pytest.mark.parametrize(
    "path", ["/", "/wsx", "/ws/x"], ids=["ws_142_c188-root", "ws_142-like", "ws_142-below"]
)
@case
async def test_there_is_no_other(scene: SocketStage, path: str) -> None:
    await scene.start(routes=["* test"])
    raw = await scene.shake(path)
    answer = await raw.read_response()
    assert (answer.status, answer.body) == (404, b"no such test resource\n")
    await raw.closed()


# ---- the log (websocket 7) ---------------------------------------------------------------------------------


@case
async def test_ws_144_a_line_at_the_moment_of_the_101(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open("/path?q", host="a.example")
    line = f"GET ws://a.example/path?q -> {scene.origin.address} code=101 0"
    await scene.proxy.logged(line)
    client.close(1000)
    backend.close(1000)
    await scene.proxy.settle()
    assert scene.proxy.lines().count(line) == 1
    assert scene.proxy.lines()[-1] == line


@case
async def test_ws_144_over_http(scene: SocketStage) -> None:
    proxy = {"log_from": "true", "log_user_agent": "true"}
    await scene.start_h(condition="*,id=ID", proxy=proxy)
    await scene.join("/path", "User-Agent: x/1", host="a.example")
    await scene.proxy.logged(
        f"GET ws://a.example/path -> {scene.origin.address}[http] from=127.0.0.1 route=ID code=101 0 ua=x/1"
    )


@pytest.mark.parametrize(("status", "body"), [("403 Forbidden", b"denied"), ("204 No Content", b"")])
@case
async def test_ws_144_a_refusal(scene: SocketStage, status: str, body: bytes) -> None:
    await scene.start(reply(status=status, body=body))
    raw = await scene.shake("/path", host="a.example")
    await raw.read_response()
    line = f"GET ws://a.example/path -> {scene.origin.address} code={status[:3]} {len(body)}"
    await scene.proxy.logged(line)


@pytest.mark.differs("the reference at hand says that there is no route in more words")
@case
async def test_ws_144_no_answer(scene: SocketStage, down: str) -> None:
    await scene.start(routes=[f"a.example {down}"])
    await (await scene.shake("/path", host="b.example")).read_response()
    await scene.proxy.logged("GET ws://b.example/path code=502 16")
    await (await scene.shake("/path", host="a.example")).read_response()
    await scene.proxy.logged(f"GET ws://a.example/path -> {down} code=502 32")


@case
async def test_ws_144_subscriptions_and_items(scene: SocketStage) -> None:
    await scene.start_w(condition="*,prefix=px-")
    _, backend = await scene.open("/path", host="a.example")
    await scene.subscribe(backend, "NAME", prefix="px-")
    await scene.say("x", "px-NAME")
    await scene.subscribe(backend, "NAME", prefix="px-", filters=["skip-self"])
    await scene.say("x", "px-NAME", meta={"sender": "x"})
    lines = scene.proxy.lines("handler")
    assert "subscribe ws://a.example/path channel=px-NAME" in lines
    assert lines.count("publish channel=px-NAME receivers=1") == 2


@pytest.mark.differs("1.36 writes control messages that mean nothing elsewhere")
@case
async def test_ws_144_what_is_ignored_is_for_who_looks_closely(scene: SocketStage) -> None:
    await scene.start_w(runner={"log_level": 3})
    client, backend = await scene.open()
    backend.control("[]")
    backend.control('{"type":"secret-of-somebody"')
    await scene.nothing(client, backend)
    lines = scene.proxy.lines("handler")
    assert "grip control packet is not an object" in lines
    assert "grip control message is not valid json" in lines
    assert not [line for line in lines if "secret" in line]


# ---- silence (websocket 1.9) -------------------------------------------------------------------------------


async def silent_for(scene: SocketStage, seconds: int) -> None:
    """Time passes, half a minute at a time."""
    for _ in range(seconds // 30):
        await scene.proxy.advance(30)


@pytest.mark.differs("that would take half an hour")
@case
async def test_ws_145_a_connection_without_traffic(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    await silent_for(scene, 1770)
    await scene.quiet(client, backend)
    await silent_for(scene, 90)
    await client.gone()
    await backend.gone()


@pytest.mark.differs("that would take half an hour")
@pytest.mark.parametrize("who", ["client", "backend"])
@case
async def test_ws_145_traffic_in_one_direction_is_traffic(scene: SocketStage, who: str) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    for _ in range(3):
        await silent_for(scene, 1500)
        if who == "client":
            client.text("x")
            await backend.expect_text("x")
        else:
            backend.ping(b"x")
            await client.expect(PING, b"x")
    await scene.quiet(client, backend)


@pytest.mark.differs("that would take half an hour")
@case
async def test_ws_145_a_client_that_never_answers_close(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.close(4000)
    await client.expect_close(4000)
    await silent_for(scene, 90)
    await scene.quiet(client)
    await silent_for(scene, 1770)
    await client.gone()


@pytest.mark.differs("that would take half an hour")
@pytest.mark.parametrize("detached", [False, True], ids=["with-backend", "detached"])
@case
async def test_ws_145_keep_alives_keep_it_alive(scene: SocketStage, detached: bool) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.control('{"type":"keep-alive","content":"","message-type":"ping","timeout":600}')
    if detached:
        backend.control('{"type":"detach"}')
        await backend.expect_close(1000)
    await scene.proxy.settle()
    await silent_for(scene, 5400)
    for _ in range(8):
        await client.expect(PING)
    assert not client.raw.lost


@pytest.mark.differs("that would take half an hour")
@case
async def test_ws_145_what_is_published_keeps_it_alive(scene: SocketStage) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    for _ in range(3):
        await silent_for(scene, 1500)
        await scene.say("x")
        await client.expect_text("x")
    await scene.quiet(client)


# ---- what the proxy's own cases say ------------------------------------------------------------------------


@case
async def test_c189_a_handshake(scene: SocketStage) -> None:
    await scene.start_w("X-Extra: 1", "Date: today")
    client, backend = await scene.open(
        "/",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Protocol: p",
    )
    assert backend.asked.get("Sec-WebSocket-Key") not in (KEY, None)
    assert backend.asked.all("Sec-WebSocket-Extensions") == ["grip"]
    assert backend.asked.all("Sec-WebSocket-Protocol") == ["p"]
    names = [name for name, _ in client.head.headers]
    assert names == ["X-Extra", "Date", "Upgrade", "Connection", "Sec-WebSocket-Accept"]


@pytest.mark.differs("1.36 knows no compression, and has another order")
@case
async def test_c189_what_the_backend_is_asked(scene: SocketStage) -> None:
    """In this order (websocket 2.1)."""
    proxy = {"x_forwarded_for": "append", "set_x_forwarded_protocol": "proto-only"}
    runner = {"allow_compression": "true"}
    await scene.start_w(proxy=proxy, runner=runner)
    kept = ["Cookie: a=b", "Origin: http://example.com", "X-One: 1", "X-One: 2"]
    dropped = [
        "Keep-Alive: 5",
        "Accept-Encoding: gzip",
        "Grip-Foo: x",
        "X-Forwarded-Proto: https",
        "Expect: x",
    ]
    _, backend = await scene.open("/path?query", *dropped[:3], *kept, *dropped[3:])
    asked = backend.asked
    assert (asked.method, asked.target, asked.version) == ("GET", "/path?query", "HTTP/1.1")
    names = [name for name, _ in asked.headers]
    assert names[:6] == [
        *("Host", "Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"),
        "Sec-WebSocket-Extensions",
    ]
    assert [": ".join(pair) for pair in asked.headers[6:10]] == kept
    assert names[10:] == ["Grip-Sig", "Grip-Feature", "X-Forwarded-For", "Sec-WebSocket-Extensions"]
    assert asked.all("Sec-WebSocket-Extensions") == ["permessage-deflate", "grip"]
    assert asked.get("Upgrade") == "websocket"
    assert asked.get("Connection") == "Upgrade"
    assert asked.get("Sec-WebSocket-Version") == "13"
    assert len(b64decode(asked.get("Sec-WebSocket-Key") or "", validate=True)) == 16


@case
async def test_c189_a_key_of_its_own_for_each(scene: SocketStage) -> None:
    await scene.start_w()
    keys = {(await scene.open())[1].asked.get("Sec-WebSocket-Key") for _ in range(5)}
    assert len(keys) == 5


@pytest.mark.one_process
@pytest.mark.differs("the reference leaves HTTP to another process")
@case
async def test_c189_over_a_connection_that_has_carried_requests(scene: SocketStage) -> None:
    await scene.start_w()
    plain = await scene.client()
    await scene.usable(plain)
    client, backend = await scene.open()
    assert len(scene.origin.connections) == 1
    await scene.nothing(client, backend)
    await scene.usable(plain)
    assert len(scene.origin.connections) == 2


@pytest.mark.differs("1.36 leaves out the reason")
@case
async def test_c190_a_refusal(scene: SocketStage) -> None:
    await scene.start(reply("X-R: r", body=b"nope", status="404 Not Found"))
    raw = await scene.shake()
    await raw.expect(b"HTTP/1.1 404 Not Found\r\nX-R: r\r\nContent-Length: 4\r\n\r\nnope")
    await raw.closed()


@pytest.mark.differs("1.36 does not finish its answer")
@case
async def test_c191_a_bad_accept_key(scene: SocketStage) -> None:
    await scene.start(lambda asked: agreement(asked).replace(b"Accept: ", b"Accept: x"))
    await refused(scene, 502, FAILED)


@case
async def test_c191_no_answer(scene: SocketStage) -> None:
    await scene.start(lambda asked: asked.close())
    await refused(scene, 502, FAILED)


@pytest.mark.differs("the reference answers with 502")
@case
async def test_c191_a_large_refusal_is_passed_on(scene: SocketStage) -> None:
    await scene.start(reply(status="403 Forbidden", body=b"x" * 10_000))
    await refused(scene, 403, b"x" * 10_000)


@case
async def test_c192_no_target_can_be_reached(scene: SocketStage, down: str) -> None:
    with refusing() as other:
        await scene.start(routes=[f"*,debug {down} {other}"])
        text = f"Unable to connect to any targets. Tried: {down}, {other}\n"
        await refused(scene, 502, text.encode())


@case
async def test_c193_the_second_target(scene: SocketStage, down: str) -> None:
    scene.origin.answers(scene.backend.accepting())
    await scene.start(routes=[f"* {down} {scene.origin.address}"])
    client, backend = await scene.open()
    await scene.nothing(client, backend)


@pytest.mark.parametrize(
    ("condition", "text"),
    [("*,debug", b"WebSockets cannot be used with zhttpreq target\n"), ("*", FAILED)],
    ids=["C194-debug", "C194-plain"],
)
@case
async def test_a_target_that_knows_requests_alone(scene: SocketStage, condition: str, text: bytes) -> None:
    await scene.start(routes=[f"{condition} zhttpreq/tcp://127.0.0.1:1"])
    await refused(scene, 502, text)


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@case
async def test_c196_lenient_handshakes(scene: SocketStage, version: str) -> None:
    await scene.start_w()
    lines = [line for line in HANDSHAKE if not line.startswith("Connection")]
    client = await SocketClient.switched(await scene.ask("/", *lines, version=version))
    await scene.nothing(client, await scene.backend.socket(1))


@pytest.mark.differs("1.36 knows no compression")
@case
async def test_c197_compression(scene: SocketStage) -> None:
    await scene.start_w(runner={"allow_compression": "true"})
    client, backend = await scene.open(
        "/", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    )
    assert client.head.all("Sec-WebSocket-Extensions") == ["permessage-deflate"]
    assert backend.asked.all("Sec-WebSocket-Extensions") == ["permessage-deflate", "grip"]
