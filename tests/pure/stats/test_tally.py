"""The tally and its outlet: what becomes a packet, and when (zeromq 5.2, 5.3)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from zope.interface.verify import verifyObject

from pushpin_tw.broker.parcel import Parcel
from pushpin_tw.figures import ITally
from pushpin_tw.grip.item import parse_item
from pushpin_tw.stats.outlet import PacketOutlet
from pushpin_tw.stats.tally import Tally
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.statspacket import KINDS
from pushpin_tw.wire.tnetstring import decode
from tests.pure.clock import Clock
from tests.support.tally import RecordedTally

S, R, W = "http-stream", "http-response", "ws-message"


class Connection:
    """An ``ICounted``."""

    def __init__(self, kind: str = "http", secure: bool = False) -> None:
        self.kind = kind
        self.number = 0 if kind == "http" else UUID(int=2**100).int
        self.cohort: Any = None
        self.secure = secure
        self.address = "10.0.0.1"

    def refresh(self) -> None:
        """As ``ICounted``."""


class World:
    """A tally with an outlet whose packets are kept."""

    def __init__(self, wanted: tuple[str, ...] = KINDS, interval: float = 10, **options: Any) -> None:
        self.clock = Clock()
        self.errors: list[str] = []
        self.wheel = Wheel(self.clock, lambda: self.errors.append("timer"))
        self.packets: list[tuple[str, dict[str, Any]]] = []
        self.outlet = PacketOutlet(self.wheel, "h", interval=interval, packets=options.pop("packets", True))
        self.outlet.send = self._sent
        self.outlet.wanted = frozenset(wanted)
        self.tally = Tally(self.wheel, self.outlet, **options)
        self.outlet.collect = self.tally.flush
        self.outlet.start()

    def _sent(self, packet: bytes) -> None:
        kind, _, data = packet.partition(b" T")
        members = {
            key: value.decode() if isinstance(value, bytes) else value for key, value in decode(data).items()
        }
        assert members.pop("from") == "h"
        self.packets.append((kind.decode(), members))

    def take(self, *kinds: str) -> list[tuple[str, dict[str, Any]]]:
        """What was sent since the last time, of some types only if any are given."""
        packets, self.packets = self.packets, []
        return [packet for packet in packets if not kinds or packet[0] in kinds]

    def open(self, route: str = "", kind: str = "http", secure: bool = False) -> Connection:
        connection = Connection(kind, secure)
        self.tally.opened(connection, 42, route)
        return connection

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds, 0.1)


def item(**fields: Any) -> Any:
    return parse_item({"channel": "c", **fields})


def test_both_tallies_are_such() -> None:
    verifyObject(ITally, World().tally)
    verifyObject(ITally, RecordedTally())


# ---- connections -------------------------------------------------------------------------------------------


def test_a_connection_begins_and_ends() -> None:
    world = World(("conn",))
    connection = world.open("r")
    begin = {"id": "connmgr:1", "route": "r", "type": "http", "peer-address": "10.0.0.1", "ttl": 120}
    assert world.take() == [("conn", begin)]
    assert world.tally.connections.get("connmgr:1") is connection
    world.tally.retried(connection)
    assert world.take() == [("conn", begin)]
    world.tally.closed(connection)
    assert world.take() == [("conn", {"id": "connmgr:1", "route": "r", "unavailable": True})]
    assert len(world.tally.connections) == 0
    world.tally.retried(connection)
    assert world.take() == []


def test_websockets_have_their_own_numbers_and_change_hands() -> None:
    world = World(("conn",))
    opening = world.open(kind="ws", secure=True)
    name = str(UUID(int=2**100))
    assert world.take() == [
        ("conn", {"id": name, "type": "ws", "peer-address": "10.0.0.1", "ttl": 120, "ssl": True})
    ]
    tunnel = Connection("ws")
    tunnel.cohort, opening.cohort = opening.cohort, None
    world.tally.passed(tunnel)
    assert world.tally.connections.get(name) is tunnel
    world.tally.closed(tunnel)
    assert world.take() == [("conn", {"id": name, "unavailable": True})]


def test_connections_are_told_again_within_their_time() -> None:
    world = World(("conn",), ttl=8)
    for _ in range(12):
        world.open()
    world.pass_time(0.2)  # a timer may be a tick late
    world.take()
    for _ in range(3):
        world.pass_time(6)
        names = [members["id"] for _, members in world.take()]
        assert sorted(names) == sorted(f"connmgr:{number}" for number in range(1, 13))


def test_nobody_is_told_what_nobody_wants() -> None:
    world = World(())
    connection = world.open()
    world.tally.joined("stream", "c")
    world.tally.message(Parcel(item(formats={S: {"content": "x"}})), {S: 1})
    world.pass_time(100)
    world.tally.retried(connection)
    world.tally.closed(connection)
    world.tally.left("stream", "c", False)
    world.pass_time(100)
    assert world.take() == []
    assert world.outlet.totals.requests == 1


def test_connections_that_are_not_to_be_told() -> None:
    world = World(tells_connections=False)
    connection = world.open()
    world.pass_time(100)
    world.tally.closed(connection)
    world.pass_time(10)
    assert world.take("conn") == []


def test_without_connections_and_subscriptions_nothing_waits() -> None:
    world = World(interval=0)
    connection = world.open()
    world.tally.joined("ws", "c")
    world.pass_time(3)
    assert world.wheel.waiting == 2
    world.tally.closed(connection)
    world.tally.left("ws", "c", False)
    world.pass_time(3)
    assert world.wheel.waiting == 0


def test_a_process_that_has_slept_makes_up_for_it() -> None:
    world = World((), interval=0)
    world.open()
    world.clock.advance(90, 90)
    world.tally.flush()
    assert world.outlet.totals.minutes == 2
    world.clock.advance(100_000, 100_000)
    world.tally.flush()
    assert world.outlet.totals.minutes <= 5


# ---- activity ----------------------------------------------------------------------------------------------


def test_zmq_173_what_comes_together_is_one_packet() -> None:
    world = World(("counts", "activity"))
    world.tally.closed(world.open("r"))
    world.pass_time(0.05)
    world.tally.closed(world.open("r"))
    world.tally.closed(world.open())
    world.tally.active("s")
    world.pass_time(0.3)
    assert world.take() == [
        ("counts", {"requests-received": 3}),
        ("activity", {"route": "r", "count": 2}),
        ("activity", {"count": 1}),
        ("activity", {"route": "s", "count": 1}),
    ]
    world.tally.active("s")
    world.pass_time(0.3)
    assert world.take() == [("activity", {"route": "s", "count": 1})]


# ---- items -------------------------------------------------------------------------------------------------


def test_an_item_and_its_receivers() -> None:
    world = World(("message", "report"))
    world.tally.received(item(formats={S: {"content": "x" * 25}}))
    parcel = Parcel(item(id="m-1", formats={S: {"content": "x" * 25}, R: {"body": "x" * 31}}))
    world.tally.sent(parcel, "r", S, 2)
    world.tally.sent(parcel, "", R, 3)
    world.tally.message(parcel, {S: 2, R: 3, W: 1})
    assert world.take() == [
        ("message", {"channel": "c", "item-id": "m-1", "transport": S, "count": 2}),
        ("message", {"channel": "c", "item-id": "m-1", "transport": R, "count": 3}),
    ]
    world.pass_time(10.2)
    reports = {members.get("route"): members for _, members in world.take()}
    assert (reports["r"]["sent"], reports["r"]["http-response-sent"], reports["r"]["received"]) == (2, 0, 0)
    assert (reports[None]["sent"], reports[None]["http-response-sent"], reports[None]["received"]) == (
        3,
        3,
        1,
    )
    assert "blocks-sent" not in reports["r"]
    assert 9900 <= reports["r"]["duration"] <= 10200


def test_zmq_171_blocks() -> None:
    world = World(("message",), block=10)
    world.tally.received(item(formats={S: {"content": "x" * 25}, R: {"body": "x" * 31}, W: {"content": "x"}}))
    world.tally.received(item(size=95, formats={S: {"content": "x"}}))
    world.tally.received(item(formats={R: {"action": "hint"}}))
    small = Parcel(item(formats={S: {"content": "x" * 25}}))
    world.tally.message(small, {S: 2, R: 0})
    world.tally.sent(small, "", S, 2)
    large = Parcel(item(size=95, formats={S: {"content": "x"}}))
    world.tally.message(large, {S: 3})
    world.tally.sent(large, "", S, 3)
    assert [members["blocks"] for _, members in world.take()] == [6, 30]
    world.tally.flush()
    report = world.outlet.totals.take_report()[""]
    assert (report["blocks-received"], report["blocks-sent"]) == (4 + 10, 36)


# ---- subscriptions and reports -----------------------------------------------------------------------------


def test_subscriptions() -> None:
    world = World(("sub",))
    world.tally.joined("stream", "c")
    first = {"mode": "stream", "channel": "c", "ttl": 60, "subscribers": 1}
    assert world.take() == [("sub", first)]
    world.pass_time(50)
    assert ("sub", first) in world.take()
    world.tally.left("stream", "c", False)
    assert world.take() == [("sub", {"mode": "stream", "channel": "c", "unavailable": True})]
    world.tally.joined("response", "c")
    world.tally.left("response", "c", True)
    world.take()
    world.tally.lingered("response", "c")
    assert world.take() == [("sub", {"mode": "response", "channel": "c", "unavailable": True})]


def test_an_outlet_without_packets_keeps_no_subscriptions() -> None:
    world = World(packets=False)
    world.tally.joined("stream", "c")
    world.tally.left("stream", "c", True)
    world.tally.lingered("stream", "c")
    assert world.take() == []


def test_zmq_175_reports_end() -> None:
    world = World(("report",))
    connection = world.open("r")
    world.pass_time(10.2)
    assert world.take()[0][1]["connections"] == 1
    world.tally.closed(connection)
    world.pass_time(10)
    assert world.take()[0][1]["connections"] == 1
    world.pass_time(10)
    (_, zero), *more = world.take()
    assert not more
    assert not any(value for name, value in zero.items() if name not in ("duration", "route"))
    world.pass_time(50)
    assert world.take() == []


def test_zmq_176_no_reports() -> None:
    world = World(interval=0)
    world.open()
    world.pass_time(100)
    assert world.take("report") == []


def test_what_prometheus_reads() -> None:
    world = World(())
    connection = world.open()
    world.tally.received(item(formats={S: {"content": "x"}}))
    figures = {
        "request_received": 1,
        "connection_connected": 1,
        "connection_minute": 1,
        "message_received": 1,
        "message_sent": 0,
    }
    assert world.outlet.figures() == figures
    world.tally.closed(connection)
    assert world.outlet.figures() == figures
    world.pass_time(10.2)
    assert world.outlet.figures() == {**figures, "connection_connected": 0}


def test_nothing_is_told_after_the_end() -> None:
    world = World()
    connection = world.open()
    world.outlet.stop()
    world.take()
    world.tally.closed(connection)
    world.pass_time(20)
    assert world.take() == []
    unreported = World(interval=0)
    unreported.outlet.stop()
    assert not world.errors
