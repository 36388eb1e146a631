"""WebSockets of clients that break the rules, close or vanish (websocket 1.5, 1.8, 1.9)."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.error import ConnectionDone

from pushpin_tw.sockets import BINARY, CLOSE, MESSAGE, TEXT
from tests.loopback.edgesockets import BIG, DEFLATE, Owner, advance, departure, dropped, join, stuck
from tests.support.edge import EdgeHouse, edge
from tests.support.waiting import turn, until
from tests.support.wspeer import encode

case = pytest_twisted.ensureDeferred

ON = "allow_compression=true"
LENIENT = "\n[tw]\nwebsocket_lenient=true"


# ---- CLOSE -------------------------------------------------------------------------------------------------


async def lingers(house: EdgeHouse) -> None:
    """A client that has not seen the end keeps its connection, which is closed gently."""
    for _ in range(5):
        await turn()
    assert house.live == 1


@case
async def test_we_close_first() -> None:
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        owner.socket.close(4000, b"why")
        owner.socket.close(4001, b"once more")
        owner.socket.send(TEXT, b"too late")
        await client.expect_close(4000, b"why")
        client.text("still heard")
        client.close(4001, b"mine")
        await client.gone()
        await dropped(owner)
        assert (owner.messages, owner.code, owner.reason) == ([(TEXT, b"still heard")], 4001, b"mine")
        await advance(house, 130)


@case
async def test_a_reason_that_is_too_long() -> None:
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        owner.socket.close(4000, "ö".encode() * 100)
        await client.expect_close(4000, "ö".encode() * 61)


@case
async def test_nobody_reads_when_both_have_closed() -> None:
    """The owner has paused: what the client has sent behind its CLOSE must not reset the connection."""

    class Pausing(Owner):
        def socket_closed(self, code: int | None, reason: bytes) -> None:
            self.socket.pause()
            super().socket_closed(code, reason)

    async with edge() as house:
        owner = Pausing()
        client = await join(house, owner)
        reasons = departure(client)
        client.close(4000)
        await owner.until(lambda: owner.said_close, "CLOSE")
        client.raw.send(bytes(100_000))
        await until(lambda: client.raw.transport.dataBuffer == b"", "the bytes")
        client.raw.pause()
        owner.socket.close(4000)
        await lingers(house)
        client.raw.resume()
        await client.expect_close(4000)
        await client.gone()
        await dropped(owner)
        assert reasons[0].check(ConnectionDone)


@case
async def test_a_client_that_does_not_answer_close() -> None:
    async with edge("\n[tw]\nclose_timeout=20") as house:
        owner = Owner()
        client = await join(house, owner)
        owner.socket.close(1001)
        await client.expect_close(1001)
        await advance(house, 19)
        assert not owner.lost
        await advance(house, 2)
        await client.gone()
        await dropped(owner)


@case
async def test_a_client_that_does_not_even_read_close() -> None:
    async with edge("\n[tw]\nclose_timeout=20") as house:
        owner = Owner()
        await stuck(house, owner)
        owner.socket.close(1001)
        await advance(house, 21)
        await dropped(owner)
        await house.settled()


# ---- breaking the rules ------------------------------------------------------------------------------------


@case
async def test_the_rules() -> None:
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        client.text("good")
        client.frame(3, b"bad")
        client.text("good again")
        frame = await client.read_frame()
        assert (frame.kind, frame.data[:2]) == (CLOSE, (1002).to_bytes(2, "big"))
        await client.gone()
        await dropped(owner)
        assert owner.messages == [(TEXT, b"good")] and not owner.said_close
        await house.settled()


@case
async def test_the_rules_when_we_have_closed() -> None:
    """CLOSE is said once."""
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        owner.socket.close(4000)
        await client.expect_close(4000)
        client.frame(3)
        await client.gone()
        await dropped(owner)


@case
async def test_the_rules_for_a_client_that_does_not_read() -> None:
    """What waited is not sent any more, and the end comes in time whether it reads or not."""
    async with edge("\n[tw]\nclose_timeout=20") as house:
        owner = Owner()
        client, _ = await stuck(house, owner)
        part = encode(TEXT, b"waits")
        owner.socket.deliver(part, [part])
        client.frame(3)
        await dropped(owner)
        await advance(house, 21)
        await house.settled()


@case
async def test_the_rules_for_a_client_that_reads_again() -> None:
    """It is told, behind what was on its way."""
    async with edge() as house:
        owner = Owner()
        client, count = await stuck(house, owner)
        part = encode(TEXT, b"waits")
        owner.socket.deliver(part, [part])
        client.frame(3)
        await dropped(owner)
        client.raw.resume()
        for _ in range(count):
            await client.expect(BINARY, BIG)
        assert (await client.read_frame()).data[:2] == (1002).to_bytes(2, "big")
        await client.gone()


@case
async def test_the_rules_for_a_client_that_goes_on() -> None:
    """What it still sends must not reset the connection."""
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        reasons = departure(client)
        client.raw.pause()
        client.frame(3)
        client.raw.send(bytes(1_000_000))
        await dropped(owner)
        await lingers(house)
        client.raw.resume()
        frame = await client.read_frame()
        assert frame.kind == CLOSE
        await client.gone()
        assert reasons[0].check(ConnectionDone)


@case
async def test_the_rules_without_rigour() -> None:
    async with edge(LENIENT) as house:
        owner = Owner()
        client = await join(house, owner)
        client.frame(TEXT, b"\xff", mask=b"", rsv=3, form=8)
        await owner.heard(1)
        assert owner.pieces == [(TEXT, b"\xff", True, MESSAGE)]
        client.frame(3)
        await client.gone()
        await dropped(owner)


@pytest.mark.parametrize("lenient", ["", LENIENT], ids=["strict", "lenient"])
@case
async def test_what_is_not_compressed(lenient: str) -> None:
    async with edge(ON + lenient) as house:
        owner = Owner()
        client = await join(house, owner, DEFLATE)
        client.frame(TEXT, b"\xff\xff\xff", rsv=4)
        if not lenient:
            frame = await client.read_frame()
            assert (frame.kind, frame.data[:2]) == (CLOSE, (1007).to_bytes(2, "big"))
        await client.gone()
        await dropped(owner)


# ---- the end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["drop", "end"])
@case
async def test_the_client_goes(how: str) -> None:
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        client.frame(TEXT, b"half", fin=False)
        await owner.until(lambda: bool(owner.pieces), "a piece")
        getattr(client, how)()
        await dropped(owner)
        assert not owner.said_close
        owner.socket.send(TEXT, b"to nobody")
        owner.socket.deliver(b"x", [b"x"])
        owner.socket.close(1000)
        owner.socket.pause()
        owner.socket.resume()
        owner.socket.abort()
        assert not owner.socket.congested
        await house.settled()


@case
async def test_the_client_closes_one_side() -> None:
    """It has gone: a WebSocket needs both."""
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        client.text("last words")
        client.raw.transport.loseWriteConnection()
        await client.gone()
        await dropped(owner)
        assert owner.messages == [(TEXT, b"last words")]


@case
async def test_the_client_goes_while_nobody_listens() -> None:
    """A paused connection notices at the next occasion to write or read."""
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        owner.socket.pause()
        client.drop()
        owner.socket.resume()
        await dropped(owner)
        await house.settled()


@case
async def test_aborted() -> None:
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        owner.socket.send(TEXT, b"still sent")
        owner.socket.abort()
        owner.socket.abort()
        owner.socket.send(TEXT, b"too late")
        await client.expect_text("still sent")
        await client.gone()
        await house.settled()
        assert not owner.lost


@case
async def test_aborted_while_being_told_something() -> None:
    class Aborting(Owner):
        def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
            super().socket_received(kind, data, first, end)
            self.socket.abort()

    async with edge() as house:
        owner = Aborting()
        client = await join(house, owner)
        client.raw.send(encode(TEXT, b"a", mask=client.mask) * 3)
        await client.gone()
        assert owner.messages == [(TEXT, b"a")] and not owner.lost


@case
async def test_ws_145_silence() -> None:
    """1800 s without a byte in either direction end a connection, others live on."""
    async with edge() as house:
        owners = [Owner(), Owner(), Owner()]
        silent, talking, listening = [await join(house, owner) for owner in owners]
        part = encode(TEXT, b"news")
        for _ in range(4):
            await advance(house, 480, 60)
            talking.ping()
            await owners[1].heard(len(owners[1].messages) + 1)
            owners[2].socket.deliver(part, [part])
            await listening.expect_text("news")
        await silent.gone()
        await dropped(owners[0])
        assert not talking.raw.lost and not listening.raw.lost


@case
async def test_the_service_stops() -> None:
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        closing = await join(house, other := Owner())
        other.socket.close(1001)
    await until(lambda: client.raw.lost and closing.raw.lost, "the end")
    assert owner.lost and other.lost
