"""WebSockets to backends that break the rules, for owners that have ways of their own."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from pushpin_tw.sockets import BINARY, TEXT
from pushpin_tw.testing.sockets import RecordingOwner, RecordingSocketSink
from tests.loopback.originstage import OriginStage
from tests.loopback.socketpeer import (
    COMPRESSED,
    DEFLATE,
    Frame,
    agree,
    close,
    frame,
    frames,
    handshake,
    joined,
    sent,
)
from tests.support.waiting import until

# ---- backends that break the rules -------------------------------------------------------------------------

VIOLATIONS = {
    "ws_034-masked": (frame(1, b"hello", key=b"abcd"), 1002),
    "ws_034-rsv2": (frame(1, b"hello", rsv=2), 1002),
    "ws_034-rsv3": (frame(1, b"hello", rsv=1), 1002),
    "ws_034-length": (b"\x81\x7e\x00\x05hello", 1002),
    "ws_035-rsv1": (frame(1, b"hello", rsv=4), 1002),
    "ws_035-opcode": (frame(3), 1002),
    "ws_035-control": (frame(11), 1002),
    "ws_035-continuation": (frame(0, b"x"), 1002),
    "ws_035-inside": (frame(1, b"a", False) + frame(1, b"b"), 1002),
    "ws_036-long": (frame(9, b"x" * 126), 1002),
    "ws_036-fragment": (frame(9, b"x", False), 1002),
    "ws_037-utf8": (frame(1, b"\xff\xfe"), 1007),
    "ws_038-reason": (close(1000, b"\xff\xfe"), 1007),
    "ws_038-long": (close(1000, b"x" * 124), 1002),
    "ws_039-one": (frame(8, b"x"), 1002),
    "ws_040-code": (close(999), 1002),
}


@pytest.mark.parametrize("name", VIOLATIONS)
@pytest_twisted.ensureDeferred
async def test_strict(origin_stage: OriginStage, name: str) -> None:
    """It is told why, and both sides end; nothing of the offence reaches the client."""
    said, code = VIOLATIONS[name]
    _, owner, link = await joined(origin_stage)
    link.say(frame(1, b"good") + said + frame(1, b"too late"))
    await owner.end()
    assert owner.messages == [(TEXT, b"good")] and not owner.said_close and owner.disorder == []
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
    (last,) = frames(link.received)
    assert last.opcode == 8 and last.data[:2] == code.to_bytes(2, "big")


LENIENT = "[tw]\nwebsocket_lenient=true\n"
ACCEPTED = [
    "ws_034-masked",
    "ws_034-rsv2",
    "ws_034-rsv3",
    "ws_034-length",
    "ws_037-utf8",
    "ws_039-one",
    "ws_040-code",
]


@pytest.mark.parametrize("name", VIOLATIONS)
@pytest_twisted.ensureDeferred
async def test_lenient(origin_stage: OriginStage, name: str) -> None:
    said, _ = VIOLATIONS[name]
    _, owner, link = await joined(origin_stage, config=LENIENT)
    link.say(frame(1, b"good") + said)
    if name in ACCEPTED:
        await owner.until(lambda: len(owner.messages) == 2 or owner.said_close, "what it says")
        assert not owner.lost
        return
    await owner.end()
    assert owner.messages == [(TEXT, b"good")] and not owner.said_close
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
    assert link.received == b"", "no CLOSE"


@pytest.mark.parametrize(
    "said", [frame(1, b"\xff\xff\xff", rsv=4), frame(9, b"x", rsv=4), frame(0, b"x", rsv=4)]
)
@pytest_twisted.ensureDeferred
async def test_ws_049_compressed_badly(origin_stage: OriginStage, said: bytes) -> None:
    _, owner, link = await joined(origin_stage, DEFLATE, config=COMPRESSED)
    link.say(said)
    await owner.end()
    assert owner.messages == []
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")


@pytest_twisted.ensureDeferred
async def test_a_violation_behind_our_close(origin_stage: OriginStage) -> None:
    """CLOSE is said once."""
    socket, owner, link = await joined(origin_stage)
    socket.close(1000)
    await sent(origin_stage, link, 1)
    link.say(frame(3))
    await owner.end()
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
    assert len(frames(link.received)) == 1


@pytest_twisted.ensureDeferred
async def test_frames_behind_its_close(origin_stage: OriginStage) -> None:
    _, owner, link = await joined(origin_stage)
    link.say(close(1000) + frame(1, b"too late") + frame(3) + close(1001))
    await owner.until(lambda: owner.said_close, "CLOSE")
    link.say(frame(1, b"too late"))
    link.close()
    await owner.end()
    assert owner.messages == [] and owner.code == 1000 and owner.disorder == []


# ---- owners ------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_sink_that_aborts_at_once(origin_stage: OriginStage) -> None:
    class Aborting(RecordingSocketSink):
        def opened(self, response: Any, socket: Any) -> None:
            super().opened(response, socket)
            socket.abort()

    agree(origin_stage.peer, behind=frame(1, b"hello"))
    sink = Aborting()
    origin_stage.origin().connect(handshake(), sink)
    await sink.answer()
    link = await origin_stage.peer.link()
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
    assert sink.owner.pieces == [] and not sink.owner.lost


@pytest_twisted.ensureDeferred
async def test_an_owner_that_closes_within_a_message(origin_stage: OriginStage) -> None:
    """What has come with it is still told."""

    class Closing(RecordingOwner):
        socket: Any = None

        def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
            super().socket_received(kind, data, first, end)
            self.socket.close(1000)

        def socket_closed(self, code: int | None, reason: bytes) -> None:
            super().socket_closed(code, reason)
            self.socket.close(1001)

    agree(origin_stage.peer)
    sink = RecordingSocketSink(Closing())
    origin_stage.origin().connect(handshake(), sink)
    await sink.answer()
    sink.owner.socket = sink.socket
    link = origin_stage.peer.links[0]
    link.say(frame(1, b"a") + frame(1, b"b") + close(1000))
    await until(lambda: sink.owner.said_close, "CLOSE")
    assert sink.owner.messages == [(TEXT, b"a"), (TEXT, b"b")] and sink.owner.disorder == []
    await origin_stage.peer.until(lambda: bool(link.received), "CLOSE at the backend")
    assert frames(link.received) == [Frame(8, (1000).to_bytes(2, "big"))]
    link.close()
    await sink.owner.end()


class Broken(RecordingOwner):
    """Raises in one of its methods."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.socket: Any = None

    def _fail(self, where: str) -> None:
        if self.where == where:
            raise ZeroDivisionError("a bug in the owner")

    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        super().socket_received(kind, data, first, end)
        if self.where == "aborted":
            self.socket.abort()
        self._fail("received")
        self._fail("aborted")

    def socket_closed(self, code: int | None, reason: bytes) -> None:
        super().socket_closed(code, reason)
        self._fail("closed")

    def socket_drained(self) -> None:
        super().socket_drained()
        self._fail("drained")

    def socket_lost(self) -> None:
        super().socket_lost()
        self._fail("lost")


@pytest.mark.parametrize("where", ["received", "aborted", "closed", "drained", "lost"])
@pytest_twisted.ensureDeferred
async def test_an_owner_with_a_bug(origin_stage: OriginStage, where: str) -> None:
    """It costs this socket alone, and is logged once."""
    agree(origin_stage.peer)
    owner = Broken(where)
    sink = RecordingSocketSink(owner)
    origin_stage.origin().connect(handshake(), sink)
    await sink.answer()
    owner.socket = sink.socket
    link = origin_stage.peer.links[0]
    if where == "drained":
        link.transport.pauseProducing()
        while not owner.socket.congested:
            owner.socket.send(BINARY, b"x" * 100_000)
        link.transport.resumeProducing()
        await until(lambda: owner.drains > 0, "room")
    else:
        link.say(frame(1, b"hello") + (close(1000) if where == "closed" else b""))
        await owner.heard(1)
        if where == "lost":
            link.close()
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
    stats = origin_stage.services.stats
    await until(lambda: bool(stats.failures), "a failure")
    [failure] = stats.failures
    assert "a bug in the owner" in failure
    stats.failures.clear()
    owner.socket.part()
    owner.socket.refresh()
    assert owner.lost == (where != "aborted")
