"""What is told of subscriptions, and when."""

from __future__ import annotations

from pushpin_tw.stats.subscriptions import GONE, Subscriptions


class World:
    def __init__(self, slots: int = 3) -> None:
        self.told: list[tuple[str, str, int]] = []
        self.table = Subscriptions(slots, lambda *told: self.told.append(told))

    def take(self) -> list[tuple[str, str, int]]:
        told, self.told = self.told, []
        return told

    def ticks(self, count: int) -> list[tuple[str, str, int]]:
        for _ in range(count):
            self.table.tick()
        return self.take()


def test_the_first_is_told_at_once_and_changes_with_the_next_tick() -> None:
    world = World(1000)
    world.table.joined("stream", "c")
    assert world.take() == [("stream", "c", 1)]
    world.table.joined("stream", "c")
    world.table.joined("stream", "c", 3)
    world.table.left("stream", "c")
    assert world.take() == []
    world.table.tick()
    assert world.take()[:1] == [("stream", "c", 4)]


def test_who_is_told_of_anyhow_is_told_of_once() -> None:
    world = World(1)
    world.table.joined("stream", "c")
    world.table.joined("stream", "c")
    world.take()
    assert world.ticks(1) == [("stream", "c", 2)]


def test_everybody_is_told_of_once_in_all_slots() -> None:
    world = World(4)
    names = [f"c{number}" for number in range(50)]
    for name in names:
        world.table.joined("ws", name)
    world.take()
    assert sorted(channel for _, channel, _ in world.ticks(4)) == sorted(names)
    assert sorted(channel for _, channel, _ in world.ticks(4)) == sorted(names)


def test_the_last_one_leaves() -> None:
    world = World()
    world.table.joined("ws", "c")
    world.table.joined("stream", "c")
    world.table.joined("ws", "c")
    world.table.left("ws", "c", number=2)
    assert world.take()[-1] == ("ws", "c", GONE)
    assert {mode for mode, _, _ in world.ticks(3)} == {"stream"}
    assert len(world.table) == 1


def test_a_channel_that_lingers_is_silent_until_that_is_over() -> None:
    world = World()
    world.table.joined("response", "c")
    world.take()
    world.table.left("response", "c", True)
    assert world.ticks(6) == []
    assert len(world.table) == 1
    world.table.lingered("response", "c")
    assert world.take() == [("response", "c", GONE)]
    assert len(world.table) == 0


def test_somebody_comes_back() -> None:
    world = World()
    world.table.joined("response", "c")
    world.table.left("response", "c", True)
    world.take()
    world.table.joined("response", "c")
    world.table.lingered("response", "c")
    assert world.take() == [("response", "c", 1)]


def test_several_processes_linger_for_the_same_channel() -> None:
    world = World()
    for _ in range(2):
        world.table.joined("response", "c")
    for _ in range(2):
        world.table.left("response", "c", True)
    world.take()
    world.table.lingered("response", "c")
    assert world.take() == []
    world.table.lingered("response", "c")
    assert world.take() == [("response", "c", GONE)]
