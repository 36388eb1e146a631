"""Statistics of several processes: what workers tell, and what their parent makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pushpin_tw.stats.outlet import PacketOutlet
from pushpin_tw.stats.tally import Tally
from pushpin_tw.wheel import Wheel
from pushpin_tw.workers.figures import Figures, LinkOutlet
from tests.pure.clock import Clock


class Link:
    """Remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def send(self, *message: Any) -> None:
        self.sent.append(message)


class Turns:
    """Calls that wait for the next turn of the reactor."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def later(self, delay: float, call: Callable[[], None]) -> None:
        assert delay == 0
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Parent:
    """What two workers tell, and the packets that come of it."""

    def __init__(self, *wanted: str) -> None:
        self.clock = Clock()
        self.wheel = Wheel(self.clock, self._bug)
        self.outlet = PacketOutlet(self.wheel, "handler_1", as_json=True)
        self.packets: list[bytes] = []
        self.outlet.send = self.packets.append
        self.outlet.wanted = frozenset(wanted)
        self.outlet.start()
        self.figures = Figures(self.outlet, self.wheel)

    @staticmethod
    def _bug() -> None:
        raise

    def said(self) -> list[str]:
        packets, self.packets[:] = [packet.decode() for packet in self.packets], []
        return packets


def sub(number: int) -> str:
    return (
        'sub J{"channel":"c","from":"handler_1","mode":"stream",' + f'"subscribers":{number},"ttl":60}}'
        if number
        else 'sub J{"channel":"c","from":"handler_1","mode":"stream","unavailable":true}'
    )


JOINED = ("joined", "stream", "c", False)
LEFT = ("left", "stream", "c", False)


def test_changes_of_one_turn_are_one_message() -> None:
    link, turns = Link(), Turns()
    outlet: Any = LinkOutlet(link, turns.later)  # type: ignore[arg-type]
    outlet.joined("stream", "c")
    outlet.left("response", "d", True)
    outlet.lingered("response", "d")
    assert link.sent == []
    turns.turn()
    outlet.joined("ws", "e")
    turns.turn()
    assert link.sent == [
        ("changes", [JOINED, ("left", "response", "d", True), ("lingered", "response", "d", False)]),
        ("changes", [("joined", "ws", "e", False)]),
    ]


def test_counts_and_packets_are_told_as_plain_values() -> None:
    link = Link()
    outlet = LinkOutlet(link, Turns().later)  # type: ignore[arg-type]
    outlet.add({"r": [1, 2]})
    outlet.emit("conn", {"id": "connmgr:1"})
    assert link.sent == [("delta", {"r": [1, 2]}), ("packet", "conn", {"id": "connmgr:1"})]


def test_subscribers_are_those_of_all_workers() -> None:
    parent = Parent("sub")
    parent.figures.changes(0, [JOINED])
    assert parent.said() == [sub(1)]
    parent.figures.changes(1, [JOINED, JOINED])
    parent.clock.advance(1.2)
    assert parent.said() == [sub(3)]
    parent.figures.changes(0, [LEFT])
    parent.figures.changes(1, [LEFT])
    parent.clock.advance(1.0)
    assert parent.said() == [sub(1)]
    parent.figures.changes(1, [LEFT])
    assert parent.said() == [sub(0)]


def test_a_channel_lingers_while_it_does_so_anywhere() -> None:
    parent = Parent("sub")
    lingers, over = ("left", "stream", "c", True), ("lingered", "stream", "c", False)
    parent.figures.changes(0, [JOINED, lingers])
    parent.figures.changes(1, [JOINED, lingers])
    parent.said()
    parent.figures.changes(0, [over])
    assert parent.said() == []
    parent.figures.changes(1, [over])
    assert parent.said() == [sub(0)]


def test_a_worker_that_is_gone_has_no_subscribers() -> None:
    parent = Parent("sub")
    parent.figures.changes(0, [JOINED, JOINED])
    parent.figures.changes(1, [JOINED, ("left", "stream", "c", True)])
    parent.said()
    parent.figures.left(0)
    assert parent.said() == []  # it lingers in the other one
    parent.figures.left(1)
    assert parent.said() == [sub(0)]
    parent.figures.left(1)
    assert parent.said() == []


def test_what_workers_count_within_a_moment_is_told_at_once() -> None:
    parent = Parent("counts")
    for worker in range(2):
        link = Link()
        tally = Tally(Wheel(Clock(), parent._bug), LinkOutlet(link, Turns().later))  # type: ignore[arg-type]
        tally.routes[""].requests += 2
        tally.flush()
        ((name, delta),) = link.sent
        assert name == "delta"
        parent.figures.delta(worker, delta)
    assert parent.said() == []
    parent.clock.advance(0.2)
    assert parent.said() == ['counts J{"from":"handler_1","requests-received":4}']
    assert parent.outlet.figures()["request_received"] == 4


def test_packets_that_nobody_wants_any_more_are_dropped() -> None:
    parent = Parent("conn")
    parent.figures.packet(0, "message", {"channel": "c"})
    parent.figures.packet(0, "conn", {"id": "connmgr:1"})
    assert parent.said() == ['conn J{"from":"handler_1","id":"connmgr:1"}']
