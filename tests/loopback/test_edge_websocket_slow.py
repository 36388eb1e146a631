"""WebSockets of clients that do not read: what waits for them, and what does not (websocket 2.5, 5.4)."""

from __future__ import annotations

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from pushpin_tw.edge.websocket import DROPPED
from pushpin_tw.sockets import BINARY, PING, TEXT
from tests.loopback.edgesockets import BIG, SLOW, Echo, Owner, dropped, join, stuck
from tests.support.edge import edge
from tests.support.wspeer import encode

case = pytest_twisted.ensureDeferred


@case
async def test_a_client_that_reads_again() -> None:
    async with edge() as house:
        owner = Owner()
        client, count = await stuck(house, owner)
        assert owner.drains == 0
        client.raw.resume()
        for _ in range(count):
            await client.expect(BINARY, BIG)
        await owner.until(lambda: owner.drains == 1, "room")
        assert not owner.socket.congested


@case
async def test_published_messages_wait() -> None:
    """Behind what was sent, and before what is sent later."""
    async with edge() as house:
        owner = Owner()
        client, count = await stuck(house, owner)
        parts = [encode(TEXT, b"%d" % number) for number in range(100)]
        owner.socket.deliver(b"".join(parts[:2]), parts[:2])
        owner.socket.send(PING, b"between")
        for part in parts[2:]:
            owner.socket.deliver(part, [part])
        owner.socket.deliver(encode(BINARY, BIG), [encode(BINARY, BIG)])
        owner.socket.close(4000)
        owner.socket.deliver(parts[0], parts[:1])
        client.raw.resume()
        for _ in range(count):
            await client.expect(BINARY, BIG)
        await client.expect_text("0")
        await client.expect_text("1")
        await client.expect(PING, b"between")
        for number in range(2, 100):
            await client.expect_text(str(number))
        await client.expect(BINARY, BIG)
        await client.expect_close(4000)
        client.close(4000)
        await client.gone()
        await dropped(owner)
        assert owner.drains == 0
        assert not house.stats.counts


@case
async def test_more_than_may_wait() -> None:
    """Whole messages are dropped, and counted; those that still fit are kept."""
    async with edge("\n[tw]\nsocket_queue=1000") as house:
        owner = Owner()
        client, count = await stuck(house, owner)
        big, small = encode(TEXT, b"x" * 596), encode(TEXT, b"y" * 198)
        owner.socket.deliver(big * 2 + small, [big, big, small])
        owner.socket.deliver(small, [small])
        assert house.stats.counts == {(DROPPED, ""): 2}
        client.raw.resume()
        for _ in range(count):
            await client.expect(BINARY, BIG)
        await client.expect_text("x" * 596)
        await client.expect_text("y" * 198)
        await owner.until(lambda: owner.drains == 1, "room")
        owner.socket.deliver(small, [small])
        await client.expect_text("y" * 198)
        assert house.stats.counts == {(DROPPED, ""): 2}


@case
async def test_much_that_waits_leaves_in_steps() -> None:
    async with edge() as house:
        owner = Owner()
        client, count = await stuck(house, owner)
        part = encode(BINARY, bytes(10_000))
        for _ in range(390):
            owner.socket.deliver(part, [part])
        client.raw.resume()
        for _ in range(count):
            await client.expect(BINARY, BIG)
        for _ in range(390):
            await client.expect(BINARY, bytes(10_000))
        await owner.until(lambda: owner.drains == 1, "room")


@case
async def test_an_echo_at_the_pace_of_the_client() -> None:
    async with edge() as house:
        owner = Echo()
        client = await join(house, owner, receive_buffer=SLOW)
        client.raw.pause()
        for _ in range(300):
            client.binary(BIG)
        heard = -1
        while heard != len(owner.messages) or not owner.socket.congested:
            heard = len(owner.messages)
            await deferLater(reactor, 0.02)
        assert heard < 300
        client.raw.resume()
        for _ in range(300):
            await client.expect(BINARY, BIG)
        assert owner.disorder == []


@case
async def test_a_bug_where_room_is_told_of() -> None:
    class Broken(Owner):
        def socket_drained(self) -> None:
            raise ZeroDivisionError

    async with edge(failures=1) as house:
        owner = Broken()
        client, count = await stuck(house, owner)
        client.raw.resume()
        for _ in range(count):
            await client.expect(BINARY, BIG)
        await client.gone()
        await dropped(owner)
