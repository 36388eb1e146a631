"""A bug on the way of a WebSocket is logged with its traceback and costs no more than the sockets it meets.

Every point between the two ends, of publishing and of time is made to fail in turn; others that do not come
by there notice nothing, and as soon as the fault is gone everything works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted

from pushpin_tw.broker.broker import Broker
from pushpin_tw.broker.fanout import Batch, Fanout
from pushpin_tw.broker.parcel import Parcel
from pushpin_tw.edge.websocket import ClientSocket, HandshakeResponder
from pushpin_tw.framing import ClientFraming, ServerFraming
from pushpin_tw.grip.wssorting import Sorter
from pushpin_tw.hold.inbox import Inbox
from pushpin_tw.hold.socket import Delayed, SocketHold
from pushpin_tw.origin.websocket import OriginSocket
from pushpin_tw.proxy import tunnel
from pushpin_tw.proxy.opening import Opening
from pushpin_tw.proxy.tunnel import Tunnel
from tests.conformance.test_injected_faults import broken, proxies_on, tracebacks
from tests.support.waiting import until
from tests.support.wsbackend import BackendSocket
from tests.support.wsclient import SocketClient
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred
Act = Callable[[SocketClient, BackendSocket], None]
Point = tuple[Any, str]


def called(value: object) -> str:
    """The name of a parameter."""
    return str(getattr(value, "__name__", value))


async def works(scene: SocketStage, channel: str) -> None:
    """A new socket does all that sockets do."""
    client, backend = await scene.open()
    await scene.subscribe(backend, channel)
    await scene.say("published", channel)
    await client.expect_text("published")
    await scene.nothing_back(client, backend)
    await scene.nothing(client, backend)
    client.close(4000)
    await backend.expect_close(4000)
    backend.close(4001)
    await client.expect_close(4001)
    await client.gone()
    await scene.proxy.held(channel, 0)


async def survives(scene: SocketStage, client: SocketClient, backend: BackendSocket) -> None:
    """A socket that was there all the time."""
    await scene.say("still here", "survivors")
    await client.expect_text("still here")
    await scene.nothing(client, backend)
    await scene.nothing_back(client, backend)


async def a_fault(scene: SocketStage, monkeypatch: pytest.MonkeyPatch, point: Point, act: Act) -> None:
    """Break a point, let one socket come by, and see what is left."""
    await scene.start_w(handler={"message_rate": "", "message_hwm": ""})
    survivor, its_backend = await scene.open()
    await scene.subscribe(its_backend, "survivors")
    client, backend = await scene.subscribed()
    with broken(monkeypatch, *point) as calls:
        act(client, backend)
        for _ in range(100):
            if calls:
                break
            await scene.proxy.advance(0.5)
        assert calls
        await proxies_on(scene)
    found = tracebacks(scene)
    assert found
    assert all("Injected" in text for text in found)
    await survives(scene, survivor, its_backend)
    for peer in (client, backend):
        if not peer.raw.lost:
            peer.drop()
    await until(lambda: client.raw.lost and backend.raw.lost, "both ends to be let go")
    await works(scene, "anew")
    await survives(scene, survivor, its_backend)


# ---- what is published -------------------------------------------------------------------------------------

PUBLISHING: list[Point] = [
    (Broker, "accept"),
    (Broker, "_publish"),
    (Fanout, "add"),
    (Fanout, "_serve"),
    (Fanout, "_drain"),
    (Fanout, "_deliver"),
    (Batch, "encode"),
    (Parcel, "encoded"),
    (Parcel, "_encode_message"),
    (ClientSocket, "deliver"),
    (ClientSocket, "close"),
    (Tunnel, "end"),
    (OriginSocket, "part"),
]


@pytest.mark.parametrize("point", PUBLISHING, ids=[f"{called(one)}.{name}" for one, name in PUBLISHING])
@pytest.mark.parametrize("filtered", [False, True], ids=["express", "filtered"])
@case
async def test_a_fault_while_publishing(
    scene: SocketStage, monkeypatch: pytest.MonkeyPatch, point: Point, filtered: bool
) -> None:
    await scene.start_w(handler={"message_rate": "", "message_hwm": ""})
    survivor, its_backend = await scene.open()
    client, backend = await scene.open()
    if filtered:
        await scene.meta(backend, user="alice")
    await scene.subscribe(backend, filters=["skip-self", "var-subst"] if filtered else [])
    items = [
        {"channel": "c", "formats": {"ws-message": message}}
        for message in ({"content": "lost %%"}, {"action": "close", "code": 4001})
    ]
    with broken(monkeypatch, *point) as calls:
        await scene.proxy.post(items)
        for _ in range(100):
            if calls:
                break
            await scene.proxy.settle()
        assert calls
        await proxies_on(scene)
    found = tracebacks(scene)
    assert found
    assert all("Injected" in text for text in found)
    await scene.nothing(survivor, its_backend)
    for peer in (client, backend):
        if not peer.raw.lost:
            peer.drop()
    await scene.proxy.held("c", 0)
    await scene.subscribe(its_backend, "survivors")
    await works(scene, "anew")
    await survives(scene, survivor, its_backend)


@pytest.mark.parametrize("name", ["receive", "judge", "_consider"])
@case
async def test_a_fault_in_filters(scene: SocketStage, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    await scene.start_w(handler={"message_rate": "", "message_hwm": ""})
    other, _ = await scene.subscribed()
    client, backend = await scene.open()
    with broken(monkeypatch, Inbox, name) as calls:
        await scene.subscribe(backend, count=2, filters=["skip-self"])
        await scene.say("hi")
        assert calls
        await client.gone()
        await backend.gone()
    await other.expect_text("hi")
    assert all("Injected" in text for text in tracebacks(scene))
    await works(scene, "anew")


# ---- between the ends --------------------------------------------------------------------------------------


def says(client: SocketClient, backend: BackendSocket) -> None:
    client.text("hi")


def is_told(client: SocketClient, backend: BackendSocket) -> None:
    backend.text("m:hi")


def is_closed(client: SocketClient, backend: BackendSocket) -> None:
    backend.close(4000)


def closes(client: SocketClient, backend: BackendSocket) -> None:
    client.close(4000)


def goes(client: SocketClient, backend: BackendSocket) -> None:
    client.drop()


def is_left(client: SocketClient, backend: BackendSocket) -> None:
    backend.drop()


def controls(content: str) -> Act:
    """The backend says something to the proxy."""

    def act(client: SocketClient, backend: BackendSocket) -> None:
        backend.control(content)

    act.__name__ = content.split('"')[3]
    return act


KEEP_ALIVE = '{"type":"keep-alive","content":"x","timeout":2}'
LATER = '{"type":"send-delayed","content":"x"}'
BETWEEN: list[tuple[Any, str, Act]] = [
    (ServerFraming, "received", says),
    (OriginSocket, "send", says),
    (ClientFraming, "frame", says),
    (ClientFraming, "received", is_told),
    (Sorter, "sort", is_told),
    (Tunnel, "to_client", is_told),
    (ClientSocket, "send", is_told),
    (SocketHold, "sent", is_told),
    (SocketHold, "message_ended", is_told),
    (Tunnel, "close_client", is_closed),
    (ClientSocket, "close", is_closed),
    (Tunnel, "close_origin", closes),
    (OriginSocket, "close", closes),
    (Tunnel, "client_lost", goes),
    (OriginSocket, "abort", goes),
    (SocketHold, "leave", goes),
    (Broker, "unsubscribe", goes),
    (Tunnel, "origin_lost", is_left),
    (ClientSocket, "abort", is_left),
    (SocketHold, "leave", is_left),
    (Tunnel, "obey", controls('{"type":"detach"}')),
    (tunnel, "parse_control", controls('{"type":"detach"}')),
    (Tunnel, "_detach", controls('{"type":"detach"}')),
    (SocketHold, "subscribe", controls('{"type":"subscribe","channel":"d"}')),
    (Broker, "subscribe", controls('{"type":"subscribe","channel":"d"}')),
    (SocketHold, "unsubscribe", controls('{"type":"unsubscribe","channel":"c"}')),
    (SocketHold, "set_meta", controls('{"type":"set-meta","name":"a","value":"b"}')),
    (SocketHold, "keep_alive", controls(KEEP_ALIVE)),
    (SocketHold, "expired", controls(KEEP_ALIVE)),
    (SocketHold, "send_delayed", controls(LATER)),
    (Delayed, "expired", controls(LATER)),
]


@pytest.mark.parametrize(
    ("owner", "name", "act"), BETWEEN, ids=[f"{called(row[0])}.{row[1]}-{called(row[2])}" for row in BETWEEN]
)
@case
async def test_a_fault_between_the_ends(
    scene: SocketStage, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Act
) -> None:
    await a_fault(scene, monkeypatch, (owner, name), act)


OPENING: list[Point] = [
    (HandshakeResponder, "switch"),
    (Opening, "_join"),
    (Opening, "_log"),
    (Opening, "make_hold"),
    (Tunnel, "begin"),
    (Broker, "subscribe"),
    (ClientSocket, "own"),
    (OriginSocket, "own"),
]


@pytest.mark.parametrize("point", OPENING, ids=[f"{called(one)}.{name}" for one, name in OPENING])
@case
async def test_a_fault_while_a_socket_opens(
    scene: SocketStage, monkeypatch: pytest.MonkeyPatch, point: Point
) -> None:
    await scene.start_w(target="sub=own")
    survivor, its_backend = await scene.open()
    await scene.subscribe(its_backend, "survivors")
    with broken(monkeypatch, *point) as calls:
        raw = await scene.shake()
        await until(lambda: raw.lost, "the end of the handshake")
        assert calls
        assert not raw.unread or raw.unread.startswith((b"HTTP/1.1 502", b"HTTP/1.1 101"))
        await proxies_on(scene)
    backend = await scene.backend.socket(2)
    await until(lambda: backend.raw.lost, "the backend to be let go")
    assert all("Injected" in text for text in tracebacks(scene))
    await works(scene, "anew")
    await survives(scene, survivor, its_backend)
