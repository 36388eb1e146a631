"""Sockets with filters: which items reach them, with which words, and what changes on the way."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from pushpin_tw.broker.broker import Broker
from pushpin_tw.broker.fanout import Fanout
from pushpin_tw.broker.limiter import Pace
from pushpin_tw.broker.parcel import Parcel
from pushpin_tw.grip.delivery import RequireSub, SkipSelf, SkipUsers
from pushpin_tw.grip.filters import Filters
from pushpin_tw.grip.item import parse_item
from pushpin_tw.grip.substitution import BuildId, VarSubst
from pushpin_tw.hold.base import HoldRoom
from pushpin_tw.hold.inbox import Origin
from pushpin_tw.hold.socket import FilteredMembership, Membership, SocketHold
from pushpin_tw.interfaces import IHold, ITailoredHold
from pushpin_tw.sockets import SOCKET, ISocketHold
from pushpin_tw.testing.services import RecordedStats
from pushpin_tw.wheel import Wheel
from tests.pure.clock import Clock

FILTERS = [SkipSelf(), SkipUsers(), RequireSub(), VarSubst(), BuildId()]


class Client:
    """The client's end, which reads frames as their content."""

    form = False
    congested = False

    def __init__(self) -> None:
        self.got: list[str] = []

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        assert data == b"".join(parts)
        self.got += [part[2:].decode() for part in parts]

    def send(self, kind: int, data: bytes) -> None:
        self.got.append(data.decode())


class Peer:
    """The tunnel."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def end(self, code: int | None, reason: bytes) -> None:
        self.told.append((code, reason.decode()))

    def refresh(self) -> None:
        self.told.append("refresh")

    def crash(self) -> None:
        self.told.append("crash")


class World:
    """A broker and one socket, on a route that puts ``px-`` in front of channels."""

    def __init__(self, debug: bool = False, implicit: tuple[str, ...] = ()) -> None:
        self.clock, self.stats = Clock(), RecordedStats()
        wheel = Wheel(self.clock, lambda: self.stats.failure("timer"))
        fanout = Fanout(Pace(-1, 500), self.clock.callLater, self.stats)
        self.broker = Broker(fanout, wheel, self.stats, 60)
        room = HoldRoom(
            self.broker, wheel, self.stats, Random(1), None, 100, 20, links=None, filters=Filters(FILTERS)
        )
        self.client, self.peer = Client(), Peer()
        origin = Origin(None, "ws://h/", "px-", implicit, None)
        self.hold = SocketHold(room, self.client, self.peer, "", origin)
        self.hold.debug = debug

    def publish(self, content: str | dict[str, Any], channel: str = "px-c", **meta: str) -> list[str]:
        """What the client gets of it."""
        message = {"content": content} if isinstance(content, str) else content
        self.broker.accept([parse_item({"channel": channel, "ws-message": message, "meta": meta})])
        self.clock.advance(0.01)
        assert self.stats.failures == []
        got, self.client.got = self.client.got, []
        return got


def test_both_kinds_are_holds() -> None:
    world = World()
    world.hold.set_meta("a", "b")
    assert verifyObject(IHold, Membership(world.hold))
    assert world.hold._inbox is not None
    assert verifyObject(ITailoredHold, FilteredMembership(world.hold, world.hold._inbox))


def test_both_kinds_let_the_origin_be_asked() -> None:
    world = World()
    world.hold.subscribe("c", ())
    world.hold.subscribe("filtered", ("skip-self",))
    for count, channel in enumerate(("px-c", "px-filtered"), 1):
        world.broker.refresh(channel)
        assert world.peer.told == ["refresh"] * count
    assert verifyObject(ISocketHold, Membership(world.hold))


def test_skip_self() -> None:
    world = World()
    world.hold.subscribe("c", ("skip-self",))
    assert world.publish("a", sender="alice") == ["a"]
    world.hold.set_meta("user", "alice")
    assert world.publish("b", sender="alice") == []
    assert world.publish("c", sender="bob") == ["c"]
    assert world.publish("d") == ["d"]
    assert world.publish({"action": "close"}, sender="alice") == []
    assert world.peer.told == []
    world.hold.set_meta("user", "")
    assert world.publish("e", sender="") == ["e"]
    world.hold.set_meta("user", None)
    assert world.publish("f", sender="alice") == ["f"]
    world.publish({"action": "close", "code": 4001}, sender="alice")
    assert world.peer.told == [(4001, "")]


def test_skip_users() -> None:
    world = World()
    world.hold.set_meta("user", "alice")
    world.hold.subscribe("c", ("skip-users",))
    assert world.publish("a", skip_users="bob, alice") == []
    assert world.publish("b", skip_users="bob") == ["b"]


def test_require_sub_knows_all_channels_without_the_prefix() -> None:
    world = World()
    world.hold.subscribe("before", ())
    world.hold.subscribe("c", ("require-sub",))
    assert world.publish("a", require_sub="before") == ["a"]
    assert world.publish("b", require_sub="after") == []
    world.hold.subscribe("after", ())
    assert world.publish("c", require_sub="after") == ["c"]
    world.hold.unsubscribe("after")
    assert world.publish("d", require_sub="after") == []
    assert world.publish("e") == ["e"]


def test_a_subscription_of_the_route_counts_too() -> None:
    world = World(implicit=("always",))
    world.hold.subscribe("c", ("require-sub",))
    assert world.publish("a", require_sub="always") == ["a"]
    world.hold.unsubscribe("always")
    assert world.publish("b", "always") == ["b"]


def test_content_is_made_for_each() -> None:
    world = World()
    world.hold.set_meta("user", "alice")
    world.hold.subscribe("c", ("var-subst",))
    assert world.publish("hi %(user)s 100%%") == ["hi alice 100%"]
    assert world.publish("hi %(nobody)s") in ([], [""])


def test_filters_can_be_replaced() -> None:
    world = World()
    world.hold.set_meta("user", "alice")
    world.hold.subscribe("c", ("skip-self",))
    assert world.publish("a", sender="alice") == []
    world.hold.subscribe("c", ())
    assert world.publish("b", sender="alice") == ["b"]
    assert world.broker.holds("px-c") == {"ws-message": 1}
    world.hold.subscribe("c", ("var-subst",))
    assert world.publish("%(user)s", sender="alice") == ["alice"]
    world.hold.subscribe("c", ("unknown",))
    assert world.publish("%(user)s", sender="alice") == ["%(user)s"]


def test_what_filters_do_not_change_is_one_frame_for_everybody() -> None:
    world, frames = World(), []
    world.client.deliver = lambda data, parts: frames.append(data)  # type: ignore[method-assign]
    world.hold.subscribe("c", ("skip-self", "var-subst"))
    world.hold.subscribe("d", ("skip-self",))
    item = parse_item({"channel": "px-c", "ws-message": {"content": "a" * 100}})
    parcel = Parcel(item)
    for channel in ("px-c", "px-d"):
        world.hold._members[channel].receive(parcel, channel)
    assert len(frames) == 2
    assert frames[0] is frames[1] is parcel.encoded(SOCKET, False)


def test_items_for_other_filters() -> None:
    world = World()
    world.hold.subscribe("c", ("var-subst", "skip-self"))
    assert world.publish({"content": "a", "content-filters": ["var-subst"]}) == ["a"]
    assert world.publish({"content": "b", "content-filters": []}) == []
    assert world.publish({"content": "c"}) == ["c"]
    world.hold.subscribe("c", ())
    assert world.publish({"content": "d", "content-filters": ["var-subst"]}) == []
    assert world.publish({"content": "e", "content-filters": []}) == ["e"]
    assert world.peer.told == []


@pytest.mark.parametrize(
    ("filters", "attached"), [((), ""), (("build-id", "var-subst"), "build-id,var-subst")]
)
def test_items_for_other_filters_end_a_socket_in_debug_mode(filters: tuple[str, ...], attached: str) -> None:
    world = World(debug=True)
    world.hold.subscribe("c", filters)
    assert world.publish({"content": "a", "content-filters": ["var-subst"]}) == []
    assert world.peer.told == [(1011, f"content filter mismatch: subscription={attached} message=var-subst")]


def test_a_filter_that_fails_drops_the_message() -> None:
    world = World()
    world.hold.subscribe("c", ("build-id",))
    assert world.publish("%I") in ([], [""])
    assert world.peer.told == []


def test_the_reason_of_an_end_is_short_enough_for_a_frame() -> None:
    world = World(debug=True)
    world.hold.subscribe("ä" * 100, ("x",) * 6)
    [(code, reason)] = world.peer.told
    assert code == 1011 and len(reason.encode()) <= 123


def test_who_leaves_is_nowhere_any_more() -> None:
    world = World(implicit=("always",))
    world.hold.subscribe("c", ("skip-self",))
    world.hold.subscribe("d", ())
    world.hold.leave()
    world.hold.leave()
    assert world.broker.channels() == []
    assert world.publish("a") == []
