"""Channels, and in each the holds grouped by the bytes they want.

Used by the broker alone.  Delivery path: a channel keeps its holds in groups of equal (kind, form, bucket),
so that choosing the form, counting and rate accounting happen per group, and the loop over a group's holds is
one call with ready bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from pushpin_tw.broker.sequencer import Sequence
from pushpin_tw.interfaces import TAILORED

GroupKey = tuple[str, Hashable, str]


class Group:
    """The holds of one channel that want the same bytes."""

    __slots__ = (
        "_snapshot",
        "bucket",
        "channel",
        "elsewhere",
        "form",
        "kind",
        "members",
        "pending",
        "tailored",
    )

    def __init__(self, channel: str, kind: str, form: Hashable, bucket: str) -> None:
        self.channel = channel
        self.kind = kind
        self.form = form
        self.bucket = bucket
        self.tailored = form is TAILORED
        """Whether the members are given items, not bytes."""
        self.members: dict[Any, None] = {}
        self.elsewhere = 0
        """How many members may listen to other channels as well; tailored ones do not count."""
        self.pending: Any = None
        """The batch that is waiting for this group, to which more items may be joined; the fan-out's."""
        self._snapshot: tuple[Any, ...] | None = ()

    def add(self, hold: Any) -> None:
        """Let ``hold`` join."""
        self.members[hold] = None
        self._snapshot = None
        if not (self.tailored or hold.single):
            self.elsewhere += 1

    def remove(self, hold: Any) -> None:
        """Let ``hold``, a member, leave."""
        del self.members[hold]
        self._snapshot = None
        if not (self.tailored or hold.single):
            self.elsewhere -= 1

    def snapshot(self) -> tuple[Any, ...]:
        """The members at this moment, in the order they came; the same object while nothing changes."""
        if self._snapshot is None:
            self._snapshot = tuple(self.members)
        return self._snapshot

    def unchanged(self, snapshot: tuple[Any, ...]) -> bool:
        """Whether nobody has come or gone since ``snapshot`` was taken."""
        return self._snapshot is snapshot

    @property
    def updatable(self) -> bool:
        """Whether an update means anything to the members."""
        return self.tailored or self.kind == "http-response"


class Channel:
    """A named stream of items: who waits on it, and whether response holds were here lately.

    Also an entry of the timer wheel: a channel that only response holds used lingers, so that a client which
    polls again finds it (grip 11.7).
    """

    __slots__ = ("_on_linger", "due", "groups", "holds", "lingers", "name", "sequence", "slot")

    def __init__(self, name: str, on_linger: Callable[[Channel], None]) -> None:
        self.name = name
        self.groups: dict[GroupKey, Group] = {}
        self.holds: dict[str, int] = {}
        """Number of holds by kind."""
        self.lingers = False
        """Whether the last response hold has left and its subscription is kept for a while."""
        self.sequence: Sequence | None = None
        """How far its items have come; None before the first that has an id."""
        self.due = 0
        self.slot = 0
        self._on_linger = on_linger

    def add(self, hold: Any) -> bool:
        """Let ``hold`` join; false when it is here already."""
        key = (hold.kind, hold.form, hold.bucket)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(self.name, *key)
        elif hold in group.members:
            return False
        group.add(hold)
        self.holds[hold.kind] = self.holds.get(hold.kind, 0) + 1
        return True

    def remove(self, hold: Any) -> bool:
        """Let ``hold`` leave; false when it is not here."""
        key = (hold.kind, hold.form, hold.bucket)
        group = self.groups.get(key)
        if group is None or hold not in group.members:
            return False
        group.remove(hold)
        if not group.members:
            del self.groups[key]
        self.holds[hold.kind] -= 1
        return True

    @property
    def deserted(self) -> bool:
        """Whether nobody waits here and nobody is remembered."""
        return not self.groups and not self.lingers

    def expired(self) -> None:
        """The wheel's call: the lingering is over."""
        self._on_linger(self)
