"""How long items were on their way, and how much waits for its turn."""

from __future__ import annotations

from tests.pure.broker.test_fanout import Listener, World, action, stream


def test_one_time_is_told_for_each_item_and_slice_never_for_each_hold() -> None:
    world = World(slice_=2)
    world.listen(*[Listener() for _ in range(5)])
    world.publish("a", "b")
    world.now += 3
    world.settle()
    assert world.delivered == [(100.0, 2), (100.0, 2)] * 2 + [(100.0, 1), (100.0, 1)]


def test_items_that_are_joined_keep_their_own_times() -> None:
    world = World()
    world.listen(Listener())
    world.publish("a")
    world.now += 1
    world.publish("b")
    world.settle()
    assert world.delivered == [(100.0, 1), (101.0, 1)]


def test_who_has_left_and_what_is_not_sent_do_not_count() -> None:
    world, stays, leaves = World(), Listener(), Listener()
    world.listen(stays, leaves)
    world.broker.accept([action("close"), stream("a"), action("hint")])
    world.broker.unsubscribe(leaves, "c")
    world.settle()
    assert world.delivered == [(100.0, 1)]
    world.publish("b")
    world.broker.unsubscribe(stays, "c")
    world.settle()
    assert world.delivered == [(100.0, 1)]


def test_deliveries_wait_for_the_rate() -> None:
    world = World(rate=40)
    world.listen(*[Listener() for _ in range(3)])
    world.listen(*[Listener(bucket="other") for _ in range(2)])
    assert world.broker.deliveries == 0
    world.publish("a", "b")
    assert world.broker.deliveries == 10
    world.turn()
    assert world.broker.deliveries == 9
    world.settle()
    assert world.broker.deliveries == 0


def test_subscriptions_are_counted_by_mode() -> None:
    world, one, two = World(), Listener(), Listener()
    world.listen(one, two)
    world.listen(one, channel="d")
    assert world.broker.subscriptions() == {"response": 0, "stream": 3, "ws": 0}
    world.broker.unsubscribe(one, "c")
    assert world.broker.subscriptions()["stream"] == 2
