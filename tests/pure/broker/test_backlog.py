"""Publishers that are faster than delivery: when they have to wait, and until when."""

from __future__ import annotations

from tests.pure.broker.test_fanout import Hopeless, Listener, World, stream


def crowd(backlog: int) -> tuple[World, list[Listener]]:
    """A rate of ten deliveries a second, in slices of one."""
    world = World(rate=10, slice_=1, backlog=backlog)
    listeners = [Listener(), Listener()]
    world.listen(*listeners)
    return world, listeners


def test_publishers_wait_until_half_of_it_is_gone() -> None:
    world, listeners = crowd(4)
    relieved: list[int] = []
    world.publish("a", "b", "c")
    assert not world.broker.congested
    world.publish("d")
    assert world.broker.congested
    world.broker.relieve(lambda: relieved.append(len(listeners[1].got)))
    while not relieved:
        assert world.broker.congested or len(listeners[1].got) < 2
        world.turn()
    assert relieved == [2]
    world.settle()
    assert relieved == [2]
    assert [listener.parts for listener in listeners] == [[b"a", b"b", b"c", b"d"]] * 2


def test_what_is_joined_counts_too() -> None:
    world = World(backlog=3)
    world.listen(Listener())
    world.publish("a", "b", "c")
    assert world.broker.congested
    world.turn()
    assert not world.broker.congested


def test_nobody_waits_without_reason() -> None:
    world, _ = crowd(4)
    relieved: list[str] = []
    world.broker.relieve(lambda: relieved.append("at once"))
    assert relieved == ["at once"]


def test_one_publisher_that_fails_does_not_keep_the_others_waiting() -> None:
    world, _ = crowd(1)
    relieved: list[str] = []

    def fail() -> None:
        raise RuntimeError("cannot")

    world.publish("a")
    world.broker.relieve(fail)
    world.broker.relieve(lambda: relieved.append("after it"))
    world.settle()
    assert relieved == ["after it"]
    assert world.stats.failures == ["fan-out"]


def test_items_that_cannot_be_encoded_or_delivered_leave_nothing_behind() -> None:
    world = World(backlog=2)
    world.listen(Hopeless())
    world.publish("a")
    world.broker.accept([stream("x" * 10)])
    assert world.broker.congested
    world.settle()
    assert not world.broker.congested
