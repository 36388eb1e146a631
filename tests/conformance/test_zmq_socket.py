"""WebSockets of workers on ZeroMQ: the opening, messages, and credits (zeromq 2.10)."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from pushpin_tw.origin.zhttproom import zhttp_room
from pushpin_tw.origin.zhttpsocket import SocketSession
from tests.support.waiting import until
from tests.support.wsclient import HANDSHAKE, SocketClient
from tests.support.wspeer import BINARY, CONTINUATION, PING, PONG, TEXT, Frame
from tests.support.zhttpscene import GENERIC, Workplace
from tests.support.zsocket import Session, asked, opened, settled

case = pytest_twisted.ensureDeferred

# ---- the opening -------------------------------------------------------------------------------------------


@case
async def test_zmq_086_what_the_worker_is_asked(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    _, session = await asked(
        workplace,
        worker,
        "/s/ws?a=1",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Protocol: p1, p2",
        "Origin: http://localhost",
        host="localhost",
    )
    packet = session.asked
    headers = {name.decode(): value.decode() for name, value in packet.pop("headers")}
    assert headers.pop("Grip-Sig") and headers.pop("Grip-Feature")
    assert headers == {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": HANDSHAKE[3].partition(": ")[2],
        "Sec-WebSocket-Protocol": "p1, p2",
        "Origin": "http://localhost",
        "Sec-WebSocket-Extensions": "grip",
    }
    assert packet.pop("from") and len(packet.pop("id")) == 36
    assert packet == {
        "seq": 0,
        "uri": b"ws://localhost/s/ws?a=1",
        "credits": 200_000,
        "ignore-policies": True,
        "router-resp": True,
        "ext": {"multi": True},
    }


@pytest.mark.parametrize(("target", "scheme"), [("ssl", b"wss"), ("untrusted", b"ws")])
@case
async def test_zmq_086_parameters_of_the_target(workplace: Workplace, target: str, scheme: bytes) -> None:
    await workplace.begin(f"*,path_beg=/s/,no_grip zhttp/{workplace.a},{target},host=b.example")
    _, session = await asked(workplace, await workplace.worker(), host="localhost")
    packet = session.asked
    assert packet["uri"] == scheme + b"://b.example/s/ws"
    assert ("ignore-policies" in packet) == (target != "untrusted")
    names = [name for name, _ in packet["headers"]]
    assert not [name for name in names if name.startswith(b"Grip-") or name.endswith(b"-Extensions")]


@case
async def test_zmq_087_headers_of_the_agreement(workplace: Workplace) -> None:
    await workplace.begin()
    raw, session = await asked(workplace, await workplace.worker())
    session.accept(
        ("Sec-WebSocket-Protocol", "p1"),
        ("Upgrade", "nonsense"),
        ("Sec-WebSocket-Accept", "nonsense"),
        reason="Sure",
        credits=1024,
        body="ignored",
    )
    client = await SocketClient.switched(raw)
    assert client.head.get("Sec-WebSocket-Protocol") == "p1"
    assert client.head.line == "HTTP/1.1 101 Sure"
    session.text("first")
    await client.expect_text("first")


@pytest.mark.parametrize("fields", [{"code": 200, "reason": "OK"}, {"code": 500}, {}])
@case
async def test_zmq_102_whatever_the_code(workplace: Workplace, fields: dict[str, Any]) -> None:
    await workplace.begin()
    raw, session = await asked(workplace, await workplace.worker())
    session.say(fields)
    client = await SocketClient.switched(raw)
    assert client.head.reason == fields.get("reason", "")


@pytest.mark.parametrize("first", ["keep-alive", "credit"])
@case
async def test_zmq_103_a_worker_that_takes_its_time(workplace: Workplace, first: str) -> None:
    proxy = await workplace.begin()
    raw, session = await asked(workplace, await workplace.worker())
    session.say(type=first, credits=2)
    await proxy.settle()
    assert not raw.unread
    session.accept()
    client = await SocketClient.switched(raw)
    client.text("abc")
    if first == "credit":
        await session.expect_text(b"ab", more=True)
    session.say(type="credit", credits=10)
    await session.expect_text(b"c" if first == "credit" else b"abc")


@case
async def test_zmq_100_a_refusal(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    raw, session = await asked(workplace, worker)
    headers = [("X-Why", "because"), ("Content-Type", "text/html")]
    session.say(
        type="error", condition="rejected", code=403, reason="No Way", headers=headers, body="go away"
    )
    answer = await raw.read_response()
    assert (answer.status, answer.reason, answer.body) == (403, "No Way", b"go away")
    assert answer.headers == [*headers, ("Content-Length", "7")]
    await settled(workplace, worker)


@pytest.mark.differs("the client gets something else")
@pytest.mark.parametrize("code", [None, 0, 101, 199, 1000, -1, 66_000])
@case
async def test_refusals_that_are_none(workplace: Workplace, code: int | None) -> None:
    await workplace.begin()
    raw, session = await asked(workplace, await workplace.worker())
    session.say(type="error", condition="rejected", code=code, reason="x")
    await workplace.failed(raw)


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": [("X-Bad", "a\r\nSet-Cookie: b")]},
        {"headers": [("X Bad", "a")]},
        {"reason": "OK\r\nX: y"},
    ],
)
@pytest.mark.differs("the worker is not told, and the client gets something else")
@pytest.mark.parametrize("code", [101, 403])
@case
async def test_nothing_can_be_injected(workplace: Workplace, fields: dict[str, Any], code: int) -> None:
    """Neither into an agreement nor into a refusal.  A worker whose agreement is of no use is told."""
    await workplace.begin()
    raw, session = await asked(workplace, await workplace.worker())
    if code == 101:
        session.say(fields, code=101)
        await session.expect(type=b"cancel")
    else:
        session.say(fields, type="error", condition="rejected", code=code)
    await workplace.failed(raw)


@pytest.mark.parametrize(
    ("fields", "cancelled"),
    [
        ({"type": "error", "condition": "policy-violation"}, False),
        ({"type": "error", "condition": "length-required"}, False),
        ({"type": "error", "condition": "bad-request", "seq": 9}, False),
        ({"type": "error", "from": None}, False),
        ({"type": "cancel"}, False),
        ({"type": "cancel", "seq": None}, False),
        ({"type": "ping"}, False),
        ({"type": "pong"}, False),
        ({"type": "close"}, False),
        ({"type": "handoff-start"}, False),
        ({"code": 101, "from": None}, False),
        ({"code": 101, "from": None, "seq": 1}, False),
        ({"type": "keep-alive", "from": None}, False),
        ({"code": 101, "seq": 1}, True),
        ({"code": 101, "seq": None}, True),
    ],
)
@pytest.mark.parametrize("path", ["/s/ws", "/d/ws"])
@case
async def test_zmq_101_answers_that_are_none(
    workplace: Workplace, path: str, fields: dict[str, Any], cancelled: bool
) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    raw, session = await asked(workplace, worker, path)
    session.say(fields)
    if cancelled:
        await session.expect(type=b"cancel")
    await workplace.failed(raw)
    await settled(workplace, worker)


@pytest.mark.parametrize("condition", ["remote-connection-failed", "connection-timeout", "tls-error"])
@case
async def test_the_next_target_is_tried(workplace: Workplace, condition: str) -> None:
    await workplace.begin(f"*,path_beg=/s/,debug zhttp/{workplace.a} zhttp/{workplace.b}")
    first, second = await workplace.worker(), await workplace.shop.worker(workplace.b, "V")
    raw, session = await asked(workplace, first)
    session.say(type="error", condition=condition)
    other = Session(second, await second.asked())
    assert other.asked["id"] != session.asked["id"]
    other.say(type="error", condition=condition)
    tried = f"zhttp/{workplace.a}, zhttp/{workplace.b}"
    await workplace.failed(raw, f"Unable to connect to any targets. Tried: {tried}\n".encode())


@case
async def test_nobody_is_there(workplace: Workplace) -> None:
    """At once, and no other target is tried."""
    await workplace.begin(f"*,path_beg=/s/,debug zhttp/{workplace.a} {workplace.origin.address}")
    raw = await workplace.shake("/s/ws")
    await workplace.failed(raw)


@case
async def test_a_client_that_does_not_wait(workplace: Workplace) -> None:
    """The worker is told when its name is known."""
    proxy = await workplace.begin()
    worker = await workplace.worker()
    raw, session = await asked(workplace, worker)
    session.say(type="keep-alive")
    await proxy.settle()
    raw.drop()
    await session.expect(type=b"cancel")
    raw, session = await asked(workplace, worker)
    raw.drop()
    await proxy.settle()
    session.accept()
    await session.expect(type=b"cancel")
    await settled(workplace, worker)


@case
async def test_nobody_answers(workplace: Workplace) -> None:
    proxy = await workplace.begin()
    worker = await workplace.worker()
    raw, _ = await asked(workplace, worker, "/d/ws")
    await proxy.advance(59)
    assert not raw.unread
    await proxy.advance(2)
    await workplace.failed(raw, GENERIC)
    await settled(workplace, worker)


# ---- messages ----------------------------------------------------------------------------------------------


@case
async def test_zmq_088_messages_of_the_client(workplace: Workplace) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    client.text("hi")
    client.binary(b"\0\xff")
    client.text("")
    client.binary(b"")
    await session.expect_text(b"hi")
    await session.expect({"content-type": b"binary", "body": b"\0\xff"})
    await session.expect_text(b"")
    await session.expect({"content-type": b"binary", "body": b""})


@pytest.mark.parametrize(("kind", "name"), [(TEXT, b"text"), (BINARY, b"binary")])
@case
async def test_zmq_089_fragments_of_the_client(workplace: Workplace, kind: int, name: bytes) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    client.frame(kind, b"a", fin=False)
    client.frame(CONTINUATION, b"b", fin=False)
    client.frame(CONTINUATION, b"c")
    await session.expect({"content-type": name, "body": b"a"}, more=True)
    await session.expect({"content-type": name, "body": b"b"}, more=True)
    await session.expect({"content-type": name, "body": b"c"})


@pytest.mark.differs("the connection is cut")
@case
async def test_pings_between_fragments(workplace: Workplace) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    client.frame(TEXT, b"a", fin=False)
    client.ping(b"p")
    client.frame(CONTINUATION, b"b")
    await session.expect_text(b"a", more=True)
    await session.expect(type=b"ping", body=b"p")
    await session.expect_text(b"b")
    session.text("f1", more=True)
    session.say(type="ping", body="p")
    session.text("f2")
    assert await client.read_frame() == Frame(TEXT, b"f1", fin=False)
    assert await client.read_frame() == Frame(PING, b"p")
    assert await client.read_frame() == Frame(CONTINUATION, b"f2")


@case
async def test_zmq_090_pings(workplace: Workplace) -> None:
    proxy = await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    client.ping(b"pi")
    client.pong()
    await session.expect(type=b"ping", body=b"pi")
    await session.expect(type=b"pong")
    await proxy.settle()
    assert not client.raw.unread
    session.say(type="pong", body="po")
    session.say(type="ping")
    session.say(type="ping", body="pi")
    await client.expect(PONG, b"po")
    await client.expect(PING, b"")
    await client.expect(PING, b"pi")
    await session.granted(4)


@case
async def test_zmq_091_messages_of_the_worker(workplace: Workplace) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    session.say(body="a")
    session.say({"content-type": "binary", "body": b"\0\xff"})
    session.say({"content-type": "foo", "body": "c"})
    session.say()
    for kind, data in ((TEXT, b"a"), (BINARY, b"\0\xff"), (TEXT, b"c"), (TEXT, b"")):
        assert await client.read_frame() == Frame(kind, data)
    await session.granted(4)


@case
async def test_zmq_092_fragments_of_the_worker(workplace: Workplace) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    session.text("f1", more=True)
    session.say({"content-type": "binary", "body": "f2"})
    session.say({"content-type": "binary", "body": "f3"})
    assert await client.read_frame() == Frame(TEXT, b"f1", fin=False)
    assert await client.read_frame() == Frame(CONTINUATION, b"f2")
    assert await client.read_frame() == Frame(BINARY, b"f3")


@pytest.mark.parametrize("kind", ["handoff-start", "handoff-proceed", "keep-alive"])
@case
async def test_packets_that_mean_nothing(workplace: Workplace, kind: str) -> None:
    """They have their number all the same, and their credits do not count."""
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker(), credits=1)
    session.say(type=kind, credits=100)
    session.text("x")
    await client.expect_text("x")
    await session.granted(1)
    client.text("yz")
    await session.expect_text(b"y", more=True)


@case
async def test_zmq_108_grip(workplace: Workplace) -> None:
    await workplace.begin()
    client, session = await opened(
        workplace, await workplace.worker(), ("Sec-WebSocket-Extensions", 'grip; message-prefix="m:"')
    )
    assert client.head.get("Sec-WebSocket-Extensions") is None
    session.text('c:{"type": "subscribe", "channel": "c"}')
    session.text("m:direct")
    session.text("unprefixed")
    await client.expect_text("direct")
    await workplace.proxy.held("c")
    await workplace.say("published")
    await client.expect_text("published")
    session.text("m:again")
    await client.expect_text("again")
    await session.granted(39 + 8 + 10 + 7)
    session.text('c:{"type": "detach"}')
    packets = [await session.told(), await session.told()]
    assert {"type": b"close"} in packets and {"type": b"credit", "credits": 20} in packets
    await workplace.say("on its own")
    await client.expect_text("on its own")


# ---- credits -----------------------------------------------------------------------------------------------


@case
async def test_zmq_093_messages_are_cut(workplace: Workplace) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker(), credits=10)
    client.text("a" * 10 + "b" * 8 + "c" * 7)
    await session.expect_text(b"a" * 10, more=True)
    session.say(type="credit", credits=8)
    await session.expect_text(b"b" * 8, more=True)
    session.say(type="credit", credits=100)
    await session.expect_text(b"c" * 7)


@case
async def test_zmq_094_nothing_without_credits(workplace: Workplace) -> None:
    """An empty message takes none, and waits for some nevertheless."""
    proxy = await workplace.begin()
    client, session = await opened(workplace, await workplace.worker(), credits=None)
    client.text("hello")
    client.text("")
    await proxy.settle()
    session.text("x")
    await session.granted(1)
    session.say(type="credit", credits=5)
    await session.expect_text(b"hello")
    await proxy.settle()
    session.text("x")
    await session.granted(1)
    session.say(type="credit", credits=1)
    await session.expect_text(b"")


@case
async def test_zmq_094_six_are_enough_for_both(workplace: Workplace) -> None:
    proxy = await workplace.begin()
    client, session = await opened(workplace, await workplace.worker(), credits=None)
    client.text("hello")
    client.text("")
    await proxy.settle()
    session.say(type="credit", credits=6)
    await session.expect_text(b"hello")
    await session.expect_text(b"")


@case
async def test_zmq_095_credits_that_ride(workplace: Workplace) -> None:
    """Those for a packet that grants some itself go with what that sets free, or on their own."""
    proxy = await workplace.begin()
    client, session = await opened(workplace, await workplace.worker(), credits=None)
    client.text("hello")
    await proxy.settle()
    session.text("x", credits=5)
    packets = [await session.told()]
    if "credits" not in packets[0] or "type" in packets[0]:
        packets.append(await session.told())
    assert sum(packet.get("credits", 0) for packet in packets) == 1
    assert [packet["body"] for packet in packets if "body" in packet] == [b"hello"]
    await client.expect_text("x")


@pytest.mark.parametrize("type", [None, "ping", "pong", "credit"])
@case
async def test_packets_that_may_grant(workplace: Workplace, type: str | None) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker(), credits=None)
    client.text("hello")
    session.say(type=type, credits=-7)
    session.say(type=type, credits=0)
    session.say(type=type, credits=5)
    await session.expect_text(b"hello")


@case
async def test_pings_wait_for_all_of_their_length(workplace: Workplace) -> None:
    """And what is behind them waits for them."""
    proxy = await workplace.begin()
    client, session = await opened(workplace, await workplace.worker(), credits=2)
    client.ping(b"abc")
    client.text("behind")
    client.close(4000, b"done")
    await proxy.settle()
    session.text("x")
    await session.granted(1)
    session.say(type="credit", credits=2)
    await session.expect(type=b"ping", body=b"abc")
    await session.expect_text(b"b", more=True)
    session.say(type="credit", credits=5)
    await session.expect_text(b"ehind")
    await session.expect(type=b"close", code=4000, body=b"done")


@case
async def test_empty_pings_wait_for_credits_and_take_none(workplace: Workplace) -> None:
    proxy = await workplace.begin()
    client, session = await opened(workplace, await workplace.worker(), credits=None)
    client.ping()
    client.pong()
    await proxy.settle()
    session.text("x")
    await session.granted(1)
    session.say(type="credit", credits=1)
    await session.expect(type=b"ping")
    await session.expect(type=b"pong")
    client.text("ab")
    await session.expect_text(b"a", more=True)


@case
async def test_zmq_107_much_at_once(workplace: Workplace) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    data = bytes(range(250)) * 1000
    session.say({"content-type": "binary", "body": data})
    await client.expect(BINARY, data)
    await session.granted(len(data))


@case
async def test_a_client_that_does_not_read_grants_nothing(workplace: Workplace) -> None:
    """Nor is anything lost, and the window is all that waits."""
    proxy = await workplace.begin(tw={"write_buffer": 4096})
    worker = await workplace.worker()
    raw, session = await asked(workplace, worker)
    session.accept(credits=1000)
    client = await SocketClient.switched(raw)
    client.raw.pause()
    sent = granted = 0
    data = b"x" * 10_000
    while sent - granted < 200_000 and sent < 50_000_000:
        session.say({"content-type": "binary", "body": data})
        sent += len(data)
        await proxy.settle()
        while worker.router.unread:
            granted += (await session.told())["credits"]
    assert sent - granted == 200_000
    client.raw.resume()
    for _ in range(sent // len(data)):
        await client.expect(BINARY, data)
    await session.granted(200_000)


@pytest.mark.one_process
@pytest.mark.differs("there is no looking into it")
@case
async def test_a_worker_that_grants_nothing_stops_the_client(workplace: Workplace) -> None:
    """Little of what the client sends is taken from it, and all of it comes when the worker wants it."""
    proxy: Any = await workplace.begin()
    client, session = await opened(workplace, await workplace.worker(), credits=None)
    data, count = b"x" * 60_000, 200
    for _ in range(count):
        client.binary(data)
    hub = zhttp_room(proxy.service.lent).hub(workplace.a)
    assert hub is not None
    (ours,) = hub.sessions.values()
    assert isinstance(ours, SocketSession)
    socket = ours.talk
    await until(lambda: socket.congested, "enough that waits")
    await proxy.settle()
    session.say(type="credit", credits=1_000_000)
    received = b""
    while len(received) < count * len(data):
        received += (await session.told())["body"]
        if len(received) % 1_000_000 == 0:
            session.say(type="credit", credits=1_000_000)
    assert received == data * count
    assert not socket.congested
