"""Frames between a client and a WebSocket target (websocket 10, 28 to 33, 41 and 47)."""

from __future__ import annotations

import tracemalloc

import pytest
import pytest_twisted
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from tests.support.waiting import turn, until
from tests.support.wspeer import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, Peer
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

LARGE = bytes(range(251)) * 20_000
"""Some 5 MB."""


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param(TEXT, "hällo".encode(), id="ws_028-text"),
        pytest.param(BINARY, b"\x00\xff\x80", id="ws_028-binary"),
        pytest.param(TEXT, b"", id="ws_028-empty"),
        pytest.param(BINARY, b"", id="ws_028-empty_binary"),
        pytest.param(TEXT, b"x" * 125, id="ws_028-125"),
        pytest.param(TEXT, b"x" * 126, id="ws_028-126"),
    ],
)
@case
async def test_round_trip(scene: SocketStage, kind: int, data: bytes) -> None:
    await scene.start_w(extensions="")
    client, backend = await scene.open()
    client.frame(kind, data)
    frame = await backend.read_frame()
    assert frame == Frame(kind, data, masked=True)
    backend.frame(kind, data)
    frame = await client.read_frame()
    assert frame == Frame(kind, data)


@case
async def test_ws_028_many_messages_keep_their_order(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    for number in range(500):
        client.text(f"up {number}")
        backend.text(f"m:down {number}")
    for number in range(500):
        await backend.expect_text(f"up {number}")
        await client.expect_text(f"down {number}")


# ---- PING and PONG -----------------------------------------------------------------------------------------


@pytest.mark.differs("the release at hand passes pings without what they carry")
@case
async def test_ws_029_ping_is_not_answered_here(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.ping(b"pp")
    await backend.expect(PING, b"pp")
    await scene.nothing(client, backend)
    backend.pong(b"pp")
    await client.expect(PONG, b"pp")


@pytest.mark.differs("the release at hand passes pings without what they carry")
@case
async def test_ws_030_pings_of_125_bytes(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    for data in (b"x" * 125, b""):
        client.ping(data)
        await backend.expect(PING, data)
        backend.ping(data)
        await client.expect(PING, data)


@pytest.mark.differs("the release at hand passes pings without what they carry")
@pytest.mark.parametrize("kind", [PING, PONG], ids=["ws_030-ping", "ws_030-pong"])
@case
async def test_the_prefix_is_for_messages(scene: SocketStage, kind: int) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.frame(kind, b"m:x")
    await client.expect(kind, b"m:x")
    backend.frame(kind, b"x")
    await client.expect(kind, b"x")


# ---- messages in pieces ------------------------------------------------------------------------------------


@case
async def test_ws_031_fragments(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.frame(TEXT, b"ab", fin=False)
    client.frame(CONTINUATION, b"cd", fin=False)
    client.frame(CONTINUATION, b"ef")
    await backend.expect_text("abcdef")
    backend.frame(BINARY, b"m:ab", fin=False)
    backend.frame(CONTINUATION, b"", fin=False)
    backend.frame(CONTINUATION, b"cd")
    await client.expect(BINARY, b"abcd")


@pytest.mark.differs("the reference drops both connections")
@case
async def test_ws_032_a_ping_between_fragments(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.frame(TEXT, b"ab", fin=False)
    client.ping(b"now")
    await backend.expect(PING, b"now")
    client.pong(b"again")
    client.frame(CONTINUATION, b"cd")
    await backend.expect(PONG, b"again")
    await backend.expect_text("abcd")
    backend.frame(TEXT, b"m:ab", fin=False)
    backend.ping(b"now")
    await client.expect(PING, b"now")
    backend.frame(CONTINUATION, b"cd")
    await client.expect_text("abcd")


@pytest.mark.differs("the release at hand gets stuck")
@case
async def test_ws_033_five_million_bytes(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.binary(LARGE)
    await backend.expect(BINARY, LARGE)
    backend.binary(b"m:" + LARGE[:300_000])
    await client.expect(BINARY, LARGE[:300_000])
    client.frame(BINARY, LARGE, fin=False)
    client.frame(CONTINUATION, LARGE)
    await backend.expect(BINARY, LARGE * 2)


@case
async def test_ws_041_a_frame_without_end(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    other, behind = await scene.open()
    client.frame(BINARY, b"abcd", announced=2**40)
    came = b""
    while came != b"abcd":
        frame = await backend.read_frame()
        assert (frame.kind, frame.fin) == (CONTINUATION if came else BINARY, False)
        came += frame.data
    await scene.nothing_back(other, behind)
    await scene.nothing(client, backend)


@case
async def test_ws_041_what_goes_by_is_not_kept(scene: SocketStage) -> None:
    """A message of any size passes in constant memory."""
    await scene.start_w()
    client, backend = await scene.open()
    piece, count = bytes(100_000), 150
    client.frame(BINARY, announced=len(piece) * count)
    unread = backend.raw.unread
    tracemalloc.start()
    try:
        for _ in range(count):
            client.raw.send(piece)
            came = 0
            while came < len(piece):
                await until(lambda: bool(unread), "more of the message")
                came += len(unread)
                unread.clear()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # of 15 MB
    await scene.nothing(client, backend)


# ---- the pace of the slower one ----------------------------------------------------------------------------


@implementer(IPullProducer)
class Flood:
    """Messages as fast as the other side takes them."""

    COUNT = 200
    SIZE = 100_000
    """20 MB."""

    def __init__(self, peer: Peer, prefix: bytes) -> None:
        self.sent = 0
        self._peer = peer
        self._prefix = prefix
        peer.raw.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        if self.sent < self.COUNT:
            self._peer.binary(self._prefix + self.message(self.sent))
            self.sent += 1
        else:
            self._peer.raw.transport.unregisterProducer()

    def stopProducing(self) -> None:
        pass

    def message(self, number: int) -> bytes:
        return b"%08d" % number + bytes(self.SIZE - 8)

    async def stuck(self) -> None:
        """Wait until nothing moves any more."""
        calm = 0
        while calm < 200:
            before = self.sent
            await turn()
            calm = calm + 1 if self.sent == before else 0
        assert 0 < self.sent < self.COUNT

    async def arrives(self, peer: Peer) -> None:
        """All of it comes, in order."""
        for number in range(self.COUNT):
            await peer.expect(BINARY, self.message(number))


@case
async def test_ws_047_a_client_that_stops_reading(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.raw.pause()
    flood = Flood(backend, b"m:")
    await flood.stuck()
    client.text("up is not blocked")
    await backend.expect_text("up is not blocked")
    client.raw.resume()
    await flood.arrives(client)
    await scene.nothing(client, backend)


@pytest.mark.differs("the release at hand gets stuck")
@case
async def test_ws_047_a_backend_that_stops_reading(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.raw.pause()
    flood = Flood(client, b"")
    await flood.stuck()
    backend.text("m:down is not blocked")
    await client.expect_text("down is not blocked")
    backend.raw.resume()
    await flood.arrives(backend)
    await scene.nothing_back(client, backend)
