"""When streams look into their next link though nothing has told them to (grip 11.6).

Used by streams with a next link.  Those with the same timeout and link are one group with one timer, so that
they ask together and share the answer; a stream that has got items meanwhile stays for another period.
"""

from __future__ import annotations

from typing import Any

from pushpin_tw.grip.instruct import NextLink
from pushpin_tw.wheel import Wheel

GroupKey = tuple[int, str]


class LinkGroup:
    """The streams that look into one link at the same time.  An entry of the timer wheel."""

    __slots__ = ("_times", "due", "key", "members", "slot")

    def __init__(self, times: LinkTimes, key: GroupKey) -> None:
        self.key = key
        self.members: dict[Any, bool] = {}
        """Each with whether it was active in this period."""
        self.due = 0
        self.slot = 0
        self._times = times

    def active(self, hold: Any) -> None:
        """``hold``, a member, has got items: it need not look this time."""
        self.members[hold] = True

    def leave(self, hold: Any) -> None:
        """``hold`` is no member any more; harmless when its time has just come."""
        self.members.pop(hold, None)
        if not self.members:
            self._times.close(self)

    def expired(self) -> None:
        """The wheel's call."""
        idle = [hold for hold, active in self.members.items() if not active]
        self.members = dict.fromkeys((hold for hold, active in self.members.items() if active), False)
        if self.members:
            self._times.wait(self)
        else:
            self._times.close(self)
        for hold in idle:
            self._times.look(hold)


class LinkTimes:
    """All groups."""

    def __init__(self, wheel: Wheel, stats: Any) -> None:
        self._wheel = wheel
        self._stats = stats
        self._groups: dict[GroupKey, LinkGroup] = {}

    def join(self, hold: Any, link: NextLink) -> LinkGroup:
        """Let ``hold.link_due()`` be called when ``link`` is due; the first member starts the period."""
        key = (link.timeout, link.uri.partition("?")[0])
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = LinkGroup(self, key)
            self.wait(group)
        group.members[hold] = False
        return group

    def wait(self, group: LinkGroup) -> None:
        """A period begins."""
        self._wheel.schedule(group, group.key[0])

    def close(self, group: LinkGroup) -> None:
        """Nobody is left in ``group``."""
        self._wheel.cancel(group)
        if self._groups.get(group.key) is group:
            del self._groups[group.key]

    def look(self, hold: Any) -> None:
        """The time of one stream has come."""
        try:
            hold.link_due()
        except Exception:
            self._stats.failure("timer of a next link")
            hold.abort()
