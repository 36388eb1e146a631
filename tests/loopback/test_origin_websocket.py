"""WebSockets to backends: frames both ways, closing, flow control."""

from __future__ import annotations

import zlib

import pytest
import pytest_twisted

from pushpin_tw.origin.websocket import PARTING
from pushpin_tw.sockets import BINARY, FRAME, MESSAGE, PING, PONG, TEXT
from tests.loopback.originstage import OriginStage
from tests.loopback.socketpeer import (
    COMPRESSED,
    DEFLATE,
    Frame,
    close,
    frame,
    frames,
    joined,
    passed,
    sent,
)
from tests.support.waiting import turn

# ---- frames ------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_ws_028_ws_030_to_the_backend(origin_stage: OriginStage) -> None:
    """Every frame is masked, with a key of its own."""
    socket, _, link = await joined(origin_stage)
    said = [(TEXT, b"hello"), (BINARY, b"\0\xff"), (TEXT, b""), (PING, b"p" * 125), (PONG, b"")]
    for kind, data in said:
        socket.send(kind, data)
    assert await sent(origin_stage, link, 5) == [Frame(kind, data) for kind, data in said]
    for _ in range(3):
        socket.send(TEXT, b"hello")
    await sent(origin_stage, link, 8)
    assert len({link.received[-11 * n : len(link.received) - 11 * (n - 1)] for n in (1, 2, 3)}) == 3


@pytest_twisted.ensureDeferred
async def test_ws_031_ws_032_pieces_to_the_backend(origin_stage: OriginStage) -> None:
    socket, _, link = await joined(origin_stage)
    socket.send(TEXT, b"ab", True, False)
    socket.send(PING, b"pp")
    socket.send(TEXT, b"cd", False, False)
    socket.send(TEXT, b"ef", False, True)
    assert await sent(origin_stage, link, 4) == [
        Frame(1, b"ab", False),
        Frame(9, b"pp"),
        Frame(0, b"cd", False),
        Frame(0, b"ef"),
    ]


@pytest_twisted.ensureDeferred
async def test_from_the_backend(origin_stage: OriginStage) -> None:
    _, owner, link = await joined(origin_stage)
    link.say(frame(1, b"a") + frame(2, b"") + frame(9, b"p") + frame(10, b"q"))
    link.say(frame(1, b"b", False) + frame(9, b"between") + frame(0, b"", False) + frame(0, b"c"))
    await owner.heard(6)
    assert owner.messages == [
        (TEXT, b"a"),
        (BINARY, b""),
        (PING, b"p"),
        (PONG, b"q"),
        (PING, b"between"),
        (TEXT, b"bc"),
    ]
    assert owner.pieces[4] == (TEXT, b"b", True, FRAME)
    assert owner.pieces[-1] == (TEXT, b"c", False, MESSAGE)
    assert owner.disorder == []
    await turn()
    assert link.received == b"", "no ping is answered here"


@pytest_twisted.ensureDeferred
async def test_ws_033_much_from_the_backend(origin_stage: OriginStage) -> None:
    """A long message comes in pieces as the network brings it."""
    _, owner, link = await joined(origin_stage)
    data = bytes(range(256)) * 20_000
    link.say(frame(2, data))
    await owner.heard(1)
    assert owner.messages == [(BINARY, data)] and len(owner.pieces) > 2
    assert owner.disorder == []


@pytest_twisted.ensureDeferred
async def test_ws_041_a_frame_without_end(origin_stage: OriginStage) -> None:
    _, owner, link = await joined(origin_stage)
    link.say(b"\x81\x7f" + (2**40).to_bytes(8, "big") + b"abcd")
    await owner.until(lambda: owner.begun == b"abcd", "what there is")
    link.close()
    await owner.end()
    assert owner.messages == []


@pytest_twisted.ensureDeferred
async def test_byte_by_byte(origin_stage: OriginStage) -> None:
    _, owner, link = await joined(origin_stage)
    data = frame(1, b"hello") + frame(2, b"x" * 300) + frame(9, b"p") + close(4000, b"why")
    for at in range(len(data)):
        link.say(data[at : at + 1])
        await turn()
    await owner.until(lambda: owner.said_close, "CLOSE")
    assert owner.messages == [(TEXT, b"hello"), (BINARY, b"x" * 300), (PING, b"p")]
    assert (owner.code, owner.reason, owner.disorder) == (4000, b"why", [])


# ---- compression -------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_ws_048_compressed(origin_stage: OriginStage) -> None:
    """Both ways, in one piece and in several, also with what was said before as context."""
    socket, owner, link = await joined(origin_stage, DEFLATE, config=COMPRESSED)
    socket.send(TEXT, b"hello hello hello")
    socket.send(BINARY, b"one ", True, False)
    socket.send(PING, b"p")
    socket.send(BINARY, b"two", False, True)
    got = await sent(origin_stage, link, 4)
    assert [(one.opcode, one.fin, one.rsv) for one in got] == [
        (1, True, 4),
        (2, False, 4),
        (9, True, 0),
        (0, True, 0),
    ]
    inflate = zlib.decompressobj(-15)
    assert inflate.decompress(got[0].data + b"\0\0\xff\xff") == b"hello hello hello"
    assert inflate.decompress(got[1].data + got[3].data + b"\0\0\xff\xff") == b"one two"
    deflate = zlib.compressobj(wbits=-15)
    for _ in range(2):
        data = deflate.compress(b"hello hello") + deflate.flush(zlib.Z_SYNC_FLUSH)
        link.say(frame(1, data[:-4], rsv=4))
    link.say(frame(1, b"plain"))
    zeros = zlib.compressobj(9, wbits=-15)
    data = zeros.compress(bytes(5_000_000)) + zeros.flush(zlib.Z_SYNC_FLUSH)
    link.say(frame(2, data[:-4], rsv=4))
    await owner.heard(4)
    assert owner.messages[:3] == [(TEXT, b"hello hello")] * 2 + [(TEXT, b"plain")]
    assert owner.messages[3] == (BINARY, bytes(5_000_000))


# ---- the end -----------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_ws_039_ws_046_the_client_closes(origin_stage: OriginStage) -> None:
    """What the backend says before its own CLOSE still comes."""
    socket, owner, link = await joined(origin_stage)
    socket.send(TEXT, b"last")
    socket.close(4321, b"bye")
    socket.send(TEXT, b"too late")
    expected = [Frame(1, b"last"), Frame(8, (4321).to_bytes(2, "big") + b"bye")]
    assert await sent(origin_stage, link, 2) == expected
    link.say(frame(1, b"m:late") + close(4321, b"bye"))
    await owner.until(lambda: owner.said_close, "CLOSE")
    assert owner.messages == [(TEXT, b"m:late")] and not owner.lost
    assert (owner.code, owner.reason) == (4321, b"bye")
    link.close()
    await owner.end()
    assert frames(link.received) == expected


@pytest_twisted.ensureDeferred
async def test_ws_044_the_backend_closes(origin_stage: OriginStage) -> None:
    socket, owner, link = await joined(origin_stage)
    link.say(close(4000, b"why"))
    await owner.until(lambda: owner.said_close, "CLOSE")
    passed(origin_stage, 300)
    assert not owner.lost, "until the client answers the connection stays"
    socket.close(4001, b"mine")
    assert await sent(origin_stage, link, 1) == [Frame(8, (4001).to_bytes(2, "big") + b"mine")]
    assert not link.lost, "the server closes first"
    link.close()
    await owner.end()
    assert owner.disorder == []


@pytest_twisted.ensureDeferred
async def test_close_without_a_code(origin_stage: OriginStage) -> None:
    socket, owner, link = await joined(origin_stage)
    link.say(close())
    await owner.until(lambda: owner.said_close, "CLOSE")
    assert (owner.code, owner.reason) == (None, b"")
    socket.close()
    assert await sent(origin_stage, link, 1) == [Frame(8, (1000).to_bytes(2, "big"))]


@pytest.mark.parametrize("first", ["client", "backend"])
@pytest_twisted.ensureDeferred
async def test_a_backend_that_does_not_close_its_connection(origin_stage: OriginStage, first: str) -> None:
    socket, owner, link = await joined(origin_stage)
    if first == "client":
        socket.close(1000)
    link.say(close(1000))
    await owner.until(lambda: owner.said_close, "CLOSE")
    socket.close(1000)
    await sent(origin_stage, link, 1)
    passed(origin_stage, PARTING - 0.5)
    assert not owner.lost
    passed(origin_stage, 0.4)
    assert owner.lost
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
    assert link.clean


@pytest_twisted.ensureDeferred
async def test_a_backend_that_does_not_answer_close(origin_stage: OriginStage) -> None:
    socket, owner, link = await joined(origin_stage, config="[tw]\nclose_timeout=30\n")
    socket.close(1000)
    await sent(origin_stage, link, 1)
    passed(origin_stage, 29)
    assert not owner.lost
    passed(origin_stage, 1)
    assert owner.lost and not owner.said_close
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")


@pytest.mark.parametrize("reset", [False, True])
@pytest_twisted.ensureDeferred
async def test_ws_043_the_backend_vanishes(origin_stage: OriginStage, reset: bool) -> None:
    socket, owner, link = await joined(origin_stage)
    if reset:
        link.transport.abortConnection()
    else:
        link.close()
    await owner.end()
    assert not owner.said_close and owner.disorder == []
    socket.send(TEXT, b"too late")
    socket.close(1000)
    assert origin_stage.services.wheel.waiting == 0


@pytest_twisted.ensureDeferred
async def test_what_it_said_before_it_vanished(origin_stage: OriginStage) -> None:
    _, owner, link = await joined(origin_stage)
    link.say(frame(1, b"x" * 100_000) + frame(1, b"m:last"))
    link.close()
    await owner.end()
    assert owner.messages == [(TEXT, b"x" * 100_000), (TEXT, b"m:last")]


@pytest_twisted.ensureDeferred
async def test_ws_042_the_client_vanishes(origin_stage: OriginStage) -> None:
    """No CLOSE, but all that it has said."""
    socket, owner, link = await joined(origin_stage)
    socket.send(BINARY, b"x" * 3_000_000)
    socket.send(TEXT, b"half", True, False)
    socket.abort()
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
    assert frames(link.received) == [Frame(2, b"x" * 3_000_000), Frame(1, b"half", False)]
    assert link.clean and not owner.lost


@pytest_twisted.ensureDeferred
async def test_ws_145_silence(origin_stage: OriginStage) -> None:
    """It is no end by itself: the client may be kept alive by others.  The kernel looks after the backend."""
    socket, owner, link = await joined(origin_stage)
    assert link.transport.getTcpKeepAlive() == 0
    assert socket._connection._transport.getTcpKeepAlive() == 1
    for _ in range(3):
        passed(origin_stage, 1810)
    assert not owner.lost
    socket.send(PING, b"")
    await sent(origin_stage, link, 1)
    link.say(frame(10))
    await owner.heard(1)
    link.transport.pauseProducing()
    while not socket.congested:
        socket.send(BINARY, b"x" * 100_000)
    passed(origin_stage, 1810)
    assert owner.lost


# ---- flow control ------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_ws_047_a_client_that_does_not_read(origin_stage: OriginStage) -> None:
    """The backend cannot send; afterwards everything arrives."""
    socket, owner, link = await joined(origin_stage)
    socket.pause()
    data = frame(2, b"x" * 1_000_000)
    for _ in range(20):
        link.say(data)
    waiting = link.transport
    for _ in range(20):
        await turn()
    assert waiting.dataBuffer or waiting._tempDataBuffer, "the kernel has not taken all of it"
    heard = len(owner.pieces)
    for _ in range(5):
        await turn()
    assert len(owner.pieces) == heard
    socket.resume()
    await owner.heard(20)
    assert owner.messages == [(BINARY, b"x" * 1_000_000)] * 20


@pytest_twisted.ensureDeferred
async def test_a_backend_that_does_not_read(origin_stage: OriginStage) -> None:
    socket, owner, link = await joined(origin_stage)
    link.transport.pauseProducing()
    count = 0
    while not socket.congested:
        socket.send(BINARY, b"x" * 100_000)
        count += 1
        assert count < 1000
    assert owner.drains == 0
    link.transport.resumeProducing()
    await owner.until(lambda: owner.drains > 0, "room")
    assert socket.congested is False
    await origin_stage.peer.until(lambda: len(link.received) >= count * 100_000, "all of it")
    assert len(frames(link.received)) == count


@pytest_twisted.ensureDeferred
async def test_a_backend_that_does_not_read_until_silence(origin_stage: OriginStage) -> None:
    """What is written does not count as life for ever: it must leave."""
    socket, owner, link = await joined(origin_stage)
    link.transport.pauseProducing()
    while not socket.congested:
        socket.send(BINARY, b"x" * 100_000)
    passed(origin_stage, 1810)
    assert owner.lost
    passed(origin_stage, 6)
    link.transport.resumeProducing()
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
