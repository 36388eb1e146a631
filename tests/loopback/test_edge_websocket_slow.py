"""WebSockets of clients that do not read: what waits for them, and what does not (websocket 2.5, 5.4)."""

from __future__ import annotations

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from pushpin_tw.edge.websocket import DROPPED
from pushpin_tw.sockets import BINARY, PING, TEXT
from tests.loopback.edgesockets import BIG, SLOW, Echo, Owner, dropped, fill, join, stuck
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


QUEUE = "\n[tw]\nsocket_queue=1000"
LONG, SHORT = encode(TEXT, b"x" * 596), encode(TEXT, b"y" * 196)
"""Of 600 and 200 bytes."""


@case
async def test_more_than_may_wait() -> None:
    """Whole messages are dropped, and counted; those that still fit are kept."""
    async with edge(QUEUE) as house:
        owner = Owner()
        for _ in range(2):
            house.stats.counts.clear()
            client, count = await stuck(house, owner)
            owner.socket.deliver(LONG * 3 + SHORT, [LONG, LONG, LONG, SHORT])
            assert house.stats.counts == {(DROPPED, ""): 2}
            owner.socket.deliver(SHORT, [SHORT])
            owner.socket.deliver(SHORT, [SHORT])
            assert house.stats.counts == {(DROPPED, ""): 3}
            client.raw.resume()
            for _ in range(count):
                await client.expect(BINARY, BIG)
            for content in ("x" * 596, "y" * 196, "y" * 196):
                await client.expect_text(content)


@case
async def test_there_is_room_again() -> None:
    """What has left does not count, whatever sent it."""
    async with edge(QUEUE) as house:
        owner = Owner()
        client, count = await stuck(house, owner)
        for drains in (1, 2):
            owner.socket.deliver(LONG, [LONG])
            owner.socket.send(TEXT, b"y" * 196)
            owner.socket.deliver(LONG, [LONG])
            assert house.stats.counts == {(DROPPED, ""): drains}
            client.raw.resume()
            for _ in range(count):
                await client.expect(BINARY, BIG)
            await client.expect_text("x" * 596)
            await client.expect_text("y" * 196)
            await owner.until(lambda drains=drains: owner.drains == drains, "room")  # type: ignore[misc]
            client.raw.pause()
            count = await fill(owner)


@case
async def test_both_close_while_much_waits() -> None:
    """The connection ends behind all of it."""
    async with edge() as house:
        owner = Owner()
        client, count = await stuck(house, owner)
        owner.socket.deliver(LONG, [LONG])
        client.close(4000)
        await owner.until(lambda: owner.said_close, "CLOSE")
        owner.socket.deliver(SHORT, [SHORT])
        owner.socket.close(4001)
        client.raw.resume()
        for _ in range(count):
            await client.expect(BINARY, BIG)
        await client.expect_text("x" * 596)
        await client.expect_text("y" * 196)
        await client.expect_close(4001)
        await client.gone()
        await dropped(owner)


@case
async def test_much_that_waits_leaves_in_steps() -> None:
    class Checking(Owner):
        def socket_drained(self) -> None:
            assert not self.socket.congested
            super().socket_drained()

    async with edge() as house:
        owner = Checking()
        client, count = await stuck(house, owner)
        sizes = [10_000] * 100 + [2_900_000]
        for size in sizes:
            part = encode(BINARY, bytes(size))
            owner.socket.deliver(part, [part])
        client.raw.resume()
        for _ in range(count):
            await client.expect(BINARY, BIG)
        for size in sizes:
            await client.expect(BINARY, bytes(size))
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
