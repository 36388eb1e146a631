"""What all holds share: the room they live in, their channels, their end.

Holds are made by the exchange and live in the broker's groups and on the timer wheel.  A held client costs
one of these objects: slots, no closure, no Deferred, no timer of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

from zope.interface import implementer

from pushpin_tw.grip.filters import Filters
from pushpin_tw.hold.linktimes import LinkTimes
from pushpin_tw.hold.updates import BATCH, Updates
from pushpin_tw.interfaces import IParting, IResponderOwner
from pushpin_tw.wheel import Wheel


@dataclass(slots=True)
class HoldRoom:
    """What holds need from the process, shared by all of them."""

    broker: Any
    """IBroker."""
    wheel: Wheel
    stats: Any
    """IStatsSink."""
    random: Random
    refetch: Any
    """IRefetch."""
    queue_limit: int
    """Items that may wait for a client who does not read; more are dropped and counted."""
    subscription_max: int
    """Channels per connection; the rest of a longer list is ignored."""
    links: Any
    """ILinks."""
    filters: Filters
    tally: Any = None
    """ITally; None when nobody wants figures."""
    update_batch: int = BATCH
    """Requests that holds may have asked again in one period (``Updates``)."""
    updates: Updates = field(init=False)
    link_times: LinkTimes = field(init=False)
    holds: Counter[str] = field(default_factory=Counter)
    """How many there are at the moment, by kind."""

    def __post_init__(self) -> None:
        self.updates = Updates(self.wheel, self.stats, self.update_batch)
        self.link_times = LinkTimes(self.wheel, self.stats)

    def period(self, timeout: float) -> float:
        """Seconds until a keep-alive is due: up to one less than ``timeout``, so that many do not come in one
        instant (grip 9.3, websocket 3.7)."""
        return max(0.0, timeout - self.random.randrange(1000) / 1000)


@implementer(IParting, IResponderOwner)
class Hold(ABC):
    """A client kept waiting."""

    __slots__ = ("bucket", "channels", "debug", "due", "responder", "room", "slot")

    kind: ClassVar[str]

    def __init__(self, room: HoldRoom, responder: Any, channels: tuple[str, ...], bucket: str) -> None:
        """``channels``: the names to subscribe, complete with the route's prefix."""
        self.room = room
        self.responder = responder
        self.channels = channels
        self.bucket = bucket
        self.debug = False
        """Whether the client may be told what went wrong."""
        self.due = 0
        self.slot = 0
        room.holds[self.kind] += 1

    @property
    def single(self) -> bool:
        """As ``IHold``."""
        return len(self.channels) == 1

    def subscribe(self) -> None:
        """Join all channels; when that fails, none, and the hold is over."""
        broker = self.room.broker
        try:
            for name in self.channels:
                broker.subscribe(self, name)
        except Exception:
            self.leave()
            raise

    def leave(self) -> Any:
        """End this hold: no channel, no timer, no way back any more; returns the responder, or None when the
        hold had ended before."""
        responder, self.responder = self.responder, None
        if responder is None:
            return None
        self.room.holds[self.kind] -= 1
        self.room.wheel.cancel(self)
        broker = self.room.broker
        for name in self.channels:
            broker.unsubscribe(self, name)
        return responder

    def lost(self) -> None:
        """The client has gone."""
        self.leave()

    def abort(self) -> None:
        """Something went wrong in here: let the client go, and nobody else."""
        responder = self.leave()
        if responder is not None:
            responder.abort()

    def expired(self) -> None:
        """The wheel's call."""
        try:
            self.on_time()
        except Exception:
            self.room.stats.failure("timer of a hold")
            self.abort()

    @abstractmethod
    def on_time(self) -> None:
        """What is due now; each kind of hold has its own."""

    @abstractmethod
    def retire(self) -> None:
        """As ``IParting``."""

    @abstractmethod
    def fail(self, text: str) -> None:
        """This hold cannot go on; in debug mode the client is told why."""

    def unfit(self, wanted: tuple[str, ...], attached: tuple[str, ...] = ()) -> None:
        """An item is meant for other content filters than are attached here: it is dropped, and in debug mode
        that is worth an end (grip 13.5)."""
        if self.debug and self.responder is not None:
            self.fail(
                f"content filter mismatch: subscription={','.join(attached)} message={','.join(wanted)}"
            )

    @abstractmethod
    def update(self) -> None:
        """Ask the origin again when it is this hold's turn; some holds have nothing to ask."""

    @abstractmethod
    def drained(self) -> None:
        """The client reads again."""
