"""Bursts of items, and WebSocket clients that are slow to read them (websocket 5.4, 2.4)."""

from __future__ import annotations

from collections import Counter

import pytest
import pytest_twisted

from tests.support.running import W
from tests.support.service import ServiceProxy
from tests.support.waiting import until
from tests.support.wsclient import HANDSHAKE, SocketClient
from tests.support.wspeer import BINARY, CONTINUATION, PING, TEXT, Frame, encode
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred
OWN = pytest.mark.differs("the reference drops what it has not written at once")
UNLIMITED = {"message_rate": "", "message_hwm": ""}
COMPLAINT = "a client does not read what is published for it: dropping messages"
DROPPED = "items-dropped-slow-client"
WITHIN = "items-dropped-within-message"


def item(content: str, channel: str = "c") -> dict[str, object]:
    """A message."""
    return {"channel": channel, "formats": {W: {"content": content}}}


def numbered(number: int, size: int) -> str:
    """A message of so many bytes that says its number at both ends."""
    return f"{number:08}".ljust(size - 8, "-") + f"{number:08}"


def number_of(data: bytes, size: int) -> int:
    """Which one that is; fails if it is not whole."""
    number = int(data[:8])
    assert data.decode() == numbered(number, size)
    return number


def counted(scene: SocketStage, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is counted from now on."""
    assert isinstance(scene.proxy, ServiceProxy)
    counts: Counter[str] = Counter()

    def count(name: str, n: int = 1, route: str = "") -> None:
        counts[name] += n

    monkeypatch.setattr(scene.proxy.log.journal, "count", count)
    return counts


async def reads(scene: SocketStage, client: SocketClient, count: int, size: int) -> list[int]:
    """Which messages of ``size`` bytes come next, as many as said."""
    found = []
    for _ in range(count):
        if not client.raw.unread:
            await scene.proxy.time_until(lambda: client.raw.unread, 10)
        found.append(number_of((await client.read()).data, size))
    return found


async def sleeping(scene: SocketStage) -> SocketClient:
    """A client on ``c`` that does not read."""
    raw = await scene.client(receive_buffer=8192)
    raw.request("/", *HANDSHAKE)
    client = await SocketClient.switched(raw)
    await scene.subscribe(await scene.backend.socket(1))
    client.raw.pause()
    return client


async def published(scene: SocketStage, count: int, size: int, start: int = 0) -> None:
    """So many messages, one after the other."""
    for number in range(start, start + count):
        await scene.say(numbered(number, size))


# ---- who reads ---------------------------------------------------------------------------------------------


@OWN
@pytest.mark.parametrize("handler", [{}, UNLIMITED], ids=["rate", "no-rate"])
@pytest.mark.parametrize("together", [50, 1000])
@case
async def test_ws_087_a_burst_for_a_client_that_reads(
    scene: SocketStage, handler: dict[str, str], together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.start_w(handler={**handler, "push_in_http_max_body_size": 20_000_000})
    counts = counted(scene, monkeypatch)
    client, _ = await scene.subscribed()
    for start in range(0, 1000, together):
        await scene.proxy.publish_all(
            [item(numbered(number, 9000)) for number in range(start, start + together)]
        )
    assert await reads(scene, client, 1000, 9000) == list(range(1000))
    assert not counts[DROPPED]


@OWN
@pytest.mark.parametrize("handler", [{}, UNLIMITED], ids=["rate", "no-rate"])
@case
async def test_ws_087_messages_that_are_more_than_a_turn(
    scene: SocketStage, handler: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.start_w(handler={**handler, "push_in_http_max_body_size": 50_000_000})
    counts = counted(scene, monkeypatch)
    client, _ = await scene.subscribed()
    await scene.proxy.publish_all([item(numbered(number, 1_000_000)) for number in range(8)])
    assert await reads(scene, client, 8, 1_000_000) == list(range(8))
    assert not counts[DROPPED]


@case
async def test_ws_087_a_large_message_is_one(scene: SocketStage) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    await scene.say(numbered(1, 100_000))
    await client.expect_text(numbered(1, 100_000))


@case
async def test_ws_087_many_small_ones_in_one_request(scene: SocketStage) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    await scene.proxy.publish_all([item(str(number)) for number in range(500)])
    await scene.proxy.time_until(lambda: client.raw.unread.endswith(b"499"), 5)
    for number in range(500):
        await client.expect_text(str(number))


@pytest.mark.one_process
@OWN
@case
async def test_ws_087_the_rate(scene: SocketStage) -> None:
    await scene.start_w()
    client, _ = await scene.subscribed()
    await scene.proxy.publish_all([item(f"{number:04}") for number in range(5000)])
    start = scene.proxy.seconds()
    while not client.raw.unread.endswith(b"4999"):
        await scene.proxy.advance(0.025)
    assert 1.8 <= scene.proxy.seconds() - start <= 2.2


@case
async def test_ws_087_channels_keep_the_order_of_acceptance(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    for channel in ("a", "b", "c"):
        await scene.subscribe(backend, channel)
    await scene.proxy.publish_all([item(str(number), "aabcb"[number % 5]) for number in range(50)])
    await scene.proxy.time_until(lambda: client.raw.unread.endswith(b"49"), 5)
    for number in range(50):
        await client.expect_text(str(number))


# ---- who does not read -------------------------------------------------------------------------------------

QUEUE = 1_000_000


@case
async def test_ws_088_a_client_that_does_not_read(scene: SocketStage) -> None:
    """Some may be lost, none in part, and later ones arrive."""
    await scene.start_w(tw={"socket_queue": QUEUE}, handler=UNLIMITED)
    client = await sleeping(scene)
    await published(scene, 60, 100_000)
    await scene.proxy.settle()
    client.raw.resume()
    while not client.raw.unread.endswith(b"end"):
        await scene.say("end")
        await scene.proxy.settle()
    found = []
    while (data := (await client.read()).data) != b"end":
        found.append(number_of(data, 100_000))
    assert found == sorted(set(found))
    assert 0 < len(found) < 60


@OWN
@case
async def test_ws_088_what_is_kept_for_it(scene: SocketStage, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.start_w(tw={"socket_queue": QUEUE}, handler=UNLIMITED)
    counts = counted(scene, monkeypatch)
    client = await sleeping(scene)
    sent = 0
    while not counts[DROPPED]:
        await published(scene, 10, 9000, sent)
        sent += 10
    await published(scene, 20, 9000, sent)
    sent += 20
    client.raw.resume()
    found = await reads(scene, client, sent - counts[DROPPED], 9000)
    assert found == list(range(len(found)))
    assert len(found) * 9000 > QUEUE
    assert scene.proxy.lines("connmgr").count(COMPLAINT) == 1
    await scene.unsaid(client)
    await published(scene, 30, 9000)
    assert await reads(scene, client, 30, 9000) == list(range(30))
    assert counts[DROPPED] == sent - len(found)


@OWN
@case
async def test_ws_088_as_much_as_is_configured(scene: SocketStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept beyond what the kernel and one write hold."""
    await scene.start_w(handler=UNLIMITED)
    counts = counted(scene, monkeypatch)
    client = await sleeping(scene)
    sent = 0
    while not counts[DROPPED]:
        await published(scene, 10, 100_000, sent)
        sent += 10
    client.raw.resume()
    found = await reads(scene, client, sent - counts[DROPPED], 100_000)
    assert found == list(range(len(found)))
    assert len(found) * 100_000 > 4_000_000 - 100_000


@OWN
@case
async def test_ws_088_others_are_not_concerned(scene: SocketStage, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.start_w(tw={"socket_queue": 100_000}, handler=UNLIMITED)
    counts = counted(scene, monkeypatch)
    await sleeping(scene)
    other, backend = await scene.open()
    await scene.subscribe(backend, count=2)
    sent = 0
    while counts[DROPPED] < 20:
        await published(scene, 10, 9000, sent)
        assert await reads(scene, other, 10, 9000) == list(range(sent, sent + 10))
        sent += 10


@OWN
@case
async def test_ws_088_a_message_larger_than_the_queue(
    scene: SocketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent whole if nothing waits before it."""
    await scene.start_w(
        tw={"socket_queue": 1000}, handler={**UNLIMITED, "push_in_http_max_body_size": 9_000_000}
    )
    counts = counted(scene, monkeypatch)
    client = await sleeping(scene)
    await published(scene, 3, 8_000_000)
    await until(lambda: counts[DROPPED] == 1, "the third to be dropped")
    client.raw.resume()
    assert await reads(scene, client, 2, 8_000_000) == [0, 1]
    await scene.unsaid(client)


@OWN
@case
async def test_ws_088_what_the_backend_says_is_not_dropped(
    scene: SocketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.start_w(tw={"socket_queue": 100_000}, handler=UNLIMITED)
    counts = counted(scene, monkeypatch)
    client = await sleeping(scene)
    sent = 0
    while not counts[DROPPED]:
        await published(scene, 10, 9000, sent)
        sent += 10
    backend = await scene.backend.socket(1)
    backend.text("m:said")
    backend.ping(b"p")
    await scene.say(members={"action": "close", "code": 4001})
    client.raw.resume()
    found = await reads(scene, client, sent - counts[DROPPED], 9000)
    assert found == list(range(len(found)))
    await client.expect_text("said")
    await client.expect(PING, b"p")
    await client.expect_close(4001)
    await backend.expect_close(1000)
    client.close(4001)
    await client.gone()


@OWN
@case
async def test_ws_088_a_client_that_goes_instead_of_reading(
    scene: SocketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.start_w(tw={"socket_queue": 100_000}, handler=UNLIMITED)
    counts = counted(scene, monkeypatch)
    client = await sleeping(scene)
    while not counts[DROPPED]:
        await published(scene, 10, 9000)
    client.drop()
    await scene.proxy.held("c", 0)
    await (await scene.backend.socket(1)).gone()


# ---- within a message of the backend -----------------------------------------------------------------------


@OWN
@case
async def test_ws_072_what_is_published_within_a_message_is_counted(
    scene: SocketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.start_w(handler=UNLIMITED)
    counts = counted(scene, monkeypatch)
    client, backend = await scene.subscribed()
    other, another = await scene.open()
    await scene.subscribe(another, count=2)
    backend.frame(BINARY, b"m:a", fin=False)
    assert await client.read_frame() == Frame(BINARY, b"a", fin=False)
    await scene.proxy.publish_all([item(str(number)) for number in range(5)])
    for number in range(5):
        await other.expect_text(str(number))
    assert counts == {WITHIN: 5}
    backend.frame(CONTINUATION, b"b")
    assert await client.read_frame() == Frame(CONTINUATION, b"b")
    await scene.unsaid(client)
    assert counts == {WITHIN: 5}


@OWN
@case
async def test_ws_072_a_frame_that_has_not_ended(scene: SocketStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a frame is half a message too."""
    await scene.start_w(handler=UNLIMITED)
    counts = counted(scene, monkeypatch)
    client, backend = await scene.subscribed()
    data = encode(TEXT, b"m:" + b"x" * 5000)
    backend.raw.send(data[:2500])
    await client.raw.wait_for(lambda: client.raw.unread or None, "the first half")
    await scene.say("unheard")
    backend.raw.send(data[2500:])
    await client.expect_text("x" * 5000)
    assert counts[WITHIN] == 1
    await scene.unsaid(client)
