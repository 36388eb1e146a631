"""How many bytes leave in one turn of the reactor, so that nothing piles up in front of who reads."""

from __future__ import annotations

import pytest

from pushpin_tw.broker.fanout import CROWD, GATHERED, MAX_JOINED, MAX_TURN
from tests.pure.broker.test_fanout import Listener, World

SIZE = 9000
BUSY = 1000


def contents(count: int) -> list[str]:
    """Messages that can be told apart."""
    return [f"{number:08}".ljust(SIZE, "-") for number in range(count)]


def numbers(listener: Listener) -> list[int]:
    """Which of them came."""
    return [int(part[:8]) for part in listener.parts]


def test_a_burst_leaves_in_turns_that_a_socket_can_keep_up_with() -> None:
    world, listener = World(), Listener()
    world.listen(listener)
    world.publish(*contents(BUSY))
    sizes = []
    while world.queue:
        before = sum(map(len, listener.got))
        world.turn()
        sizes.append(sum(map(len, listener.got)) - before)
    assert numbers(listener) == list(range(BUSY))
    assert max(sizes) <= MAX_TURN + MAX_JOINED
    assert sum(sizes) <= len(sizes) * MAX_TURN
    assert len(sizes) <= BUSY * SIZE // MAX_TURN + 2


def test_small_items_are_not_slowed() -> None:
    world = World()
    listeners = [Listener() for _ in range(400)]
    for number, listener in enumerate(listeners):
        world.listen(listener, channel=str(number))
        world.publish("x" * 300, channel=str(number))
    world.turn()
    assert all(listener.parts for listener in listeners)
    assert not world.queue


def test_the_size_of_a_crowd_does_not_count() -> None:
    world = World(slice_=BUSY)
    listeners = [Listener() for _ in range(BUSY)]
    world.listen(*listeners)
    world.publish("x" * SIZE)
    world.turn()
    assert all(listener.parts for listener in listeners)


def test_a_crowd_that_takes_several_turns_is_charged_once() -> None:
    world = World(slice_=100)
    listeners = [Listener() for _ in range(BUSY)]
    world.listen(*listeners)
    world.publish("x" * (MAX_TURN + MAX_JOINED))
    world.settle()
    assert all(listener.parts for listener in listeners)
    assert world.turns == BUSY // 100


def test_a_heavy_item_is_given_the_turns_it_takes() -> None:
    world, listener = World(), Listener()
    world.listen(listener)
    world.publish("x" * (10 * MAX_TURN), "next")
    world.turn()
    assert len(listener.parts) == 1
    for _ in range(9):
        world.turn()
    assert len(listener.parts) == 1
    world.turn()
    assert len(listener.parts) == 2
    assert not world.queue


def test_within_a_rate_the_bytes_take_turns_but_no_time() -> None:
    world, listener = World(rate=2000), Listener()
    world.listen(listener)
    world.publish(*contents(120))
    start = world.now
    arrivals = []
    while world.queue:
        now = world.turn()
        arrivals += [round(now - start, 3)] * (len(listener.parts) - len(arrivals))
    assert numbers(listener) == list(range(120))
    assert arrivals == [0.0] * 50 + [0.025] * 50 + [0.05] * 20


def test_without_a_rate_others_have_their_turns_in_between() -> None:
    world = World()
    heavy, light = Listener(bucket="heavy"), Listener(bucket="light")
    world.listen(heavy, channel="heavy")
    world.listen(light, channel="light")
    world.publish(*contents(BUSY), channel="heavy")
    world.publish("x", channel="light")
    world.turn()
    world.turn()
    assert light.parts and len(heavy.parts) < 50
    world.settle()
    assert len(heavy.parts) == BUSY


# ---- floods ------------------------------------------------------------------------------------------------


def test_in_a_flood_items_of_several_turns_leave_together() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    for number in range(2 * GATHERED + 3):
        world.publish(*[f"{number}."] * CROWD)
        world.turn()
    # The first ones at once, then those of eight turns and the one behind them, and so on.
    per_write = [data.count(b".") // CROWD for data in hold.got]
    assert per_write == [1, GATHERED + 1, GATHERED + 1]
    world.settle()
    assert b"".join(hold.got) == b"".join(b"%d." % n * CROWD for n in range(2 * GATHERED + 3))


def test_the_end_of_a_flood_is_seen_in_the_next_turn() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    for number in range(3):
        world.publish(*[f"{number}."] * CROWD)
        world.turn()
    assert len(hold.got) == 1
    world.turn()
    assert len(hold.got) == 2
    assert not world.queue


@pytest.mark.parametrize("settings", [{"rate": 1_000_000}, {"hwm": 1_000_000}, {"backlog": CROWD}])
def test_nothing_is_gathered_where_less_may_wait(settings: dict[str, int]) -> None:
    world, hold = World(**settings), Listener()
    world.listen(hold)
    for number in range(4):
        world.publish(*[f"{number}."] * CROWD)
        before = len(hold.parts)
        world.turn()
        assert len(hold.parts) > before


def test_less_than_a_flood_leaves_at_once() -> None:
    world, hold = World(), Listener()
    world.listen(hold)
    for number in range(5):
        world.publish(*["x"] * (CROWD - 1))
        world.turn()
        assert len(hold.got) == number + 1
