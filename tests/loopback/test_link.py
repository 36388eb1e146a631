"""The link between processes: whole messages in order, through a real pair of sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from pushpin_tw.workers.link import BUFFER, Link, Message, encode, pair
from tests.pure.broker.test_fanout import Stats
from tests.support.waiting import turn, until

case = pytest_twisted.ensureDeferred


class End:
    """One end, and what has come out of it."""

    def __init__(self, end: Any, limit: int) -> None:
        self.got: list[Message] = []
        self.lost = 0
        self.reliefs = 0
        self.stats = Stats()
        self.link = Link(end, reactor, self._received, self._lost, self.stats, limit)
        self.link.relieved = self._relieved

    def _received(self, message: Message) -> None:
        self.got.append(message)
        if message[0] == "bug":
            raise RuntimeError("cannot")
        if message[0] == "poll":
            self.link.poll()

    def _lost(self) -> None:
        self.lost += 1

    def _relieved(self) -> None:
        self.reliefs += 1


@pytest_twisted.async_yield_fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    one, other = (End(end, 100_000) for end in pair())
    yield one, other
    one.link.close()
    other.link.close()
    await until(lambda: not (one.link.connected or other.link.connected), "the end of both")


Ends = tuple[End, End]


@case
async def test_messages_come_in_order_both_ways(ends: Ends) -> None:
    one, other = ends
    for number in range(1000):
        one.link.send("n", number, b"\0" * number, None, {"a": (1, 2.5, True)})
        other.link.send("m", number)
    await until(lambda: len(other.got) == len(one.got) == 1000, "all of them")
    assert [message[1] for message in other.got] == [message[1] for message in one.got] == list(range(1000))
    assert other.got[3] == ("n", 3, b"\0\0\0", None, {"a": (1, 2.5, True)})


@case
async def test_what_was_sent_can_be_read_at_once(ends: Ends) -> None:
    one, other = ends
    one.link.send("a")
    one.link.send("poll")
    one.link.send_encoded(encode(("b",)))
    other.link.poll()
    assert other.got == [("a",), ("poll",), ("b",)]


@case
async def test_more_than_the_sockets_take_waits_and_is_counted(ends: Ends) -> None:
    one, other = ends
    other.link.pause()
    size = 50_000
    count = 0
    while not one.link.congested:
        one.link.send("n", count, b"\0" * size)
        count += 1
    assert 100_000 < one.link.waiting < 100_000 + size + 100
    assert count * size < 8 * BUFFER
    await turn()
    assert other.got == []
    other.link.poll()
    assert other.got == []
    other.link.resume()
    other.link.resume()
    await until(lambda: len(other.got) == count, "all of them")
    await until(lambda: one.reliefs == 1, "relief")
    assert not one.link.congested
    assert [message[1] for message in other.got] == list(range(count))


@case
async def test_messages_that_were_read_wait_as_well(ends: Ends) -> None:
    one, other = ends
    for number in range(3):
        one.link.send("n", number)
    other.got_before = len(other.got)  # type: ignore[attr-defined]
    other.link._received = lambda message: (other.got.append(message), other.link.pause())[1]
    other.link.poll()
    assert len(other.got) == 1
    for count in (2, 3):
        other.link.resume()
        await until(lambda count=count: len(other.got) == count, "the next one")


@case
async def test_a_bug_in_one_message_leaves_the_next(ends: Ends) -> None:
    one, other = ends
    one.link.send("bug")
    one.link.send("after")
    await until(lambda: len(other.got) == 2, "both")
    assert other.stats.failures == ["a message between processes"]


@case
async def test_the_end_of_one_side_is_told_once(ends: Ends) -> None:
    one, other = ends
    one.link.send("last words")
    one.link.close()
    await until(lambda: other.lost == 1, "the end")
    assert other.got == [("last words",)]
    assert one.lost == 0
    other.link.send("nobody hears")
    other.link.poll()
    other.link.resume()
    await turn()
    assert other.lost == 1


@case
async def test_one_that_dies_while_much_waits(ends: Ends) -> None:
    one, other = ends
    other.link.pause()
    while not one.link.congested:
        one.link.send("n", b"\0" * 50_000)
    other.link.close()
    await until(lambda: one.lost == 1, "the end")


@pytest.mark.parametrize("size", [0, 1, 262_144, 1_000_000])
@case
async def test_messages_of_all_sizes(ends: Ends, size: int) -> None:
    one, other = ends
    one.link.send("n", b"\0" * size)
    one.link.send("m")
    await until(lambda: len(other.got) == 2, "both")
    assert other.got == [("n", b"\0" * size), ("m",)]
