"""Which channels are listened to, as the packets ``sub`` tell it (zeromq 5.2, 5.4).

Fed by ``stats.tally``, or with what several processes report of theirs; read by ``stats.report``.  Pure: says
what is to be told now, when something happens and once in a second; never sends anything.
"""

from __future__ import annotations

from collections.abc import Callable

GONE = 0
"""The number of subscribers of which nothing more is told."""

Tell = Callable[[str, str, int], None]
"""``tell(mode, channel, subscribers)``; ``GONE`` when the channel is listened to no more."""


class Subscriptions:
    """The numbers of subscribers by mode and channel, added up over all who report some.

    The table lies in as many slots as there are seconds between two times that a channel is told of.
    """

    def __init__(self, slots: int, tell: Tell) -> None:
        self._slots: list[dict[tuple[str, str], int]] = [{} for _ in range(max(1, slots))]
        self._tell = tell
        self._second = 0
        self._changed: set[tuple[str, str]] = set()
        self._lingering: dict[tuple[str, str], int] = {}
        """How many wait for somebody to come back."""

    def joined(self, mode: str, channel: str, number: int = 1) -> None:
        """So many more listen; the first ones are told of at once."""
        key = (mode, channel)
        slot = self._slot(key)
        known = slot.get(key, 0)
        slot[key] = known + number
        if known:
            self._changed.add(key)
        else:
            self._tell(mode, channel, number)

    def left(self, mode: str, channel: str, lingers: bool = False, number: int = 1) -> None:
        """So many less; ``lingers``: whoever reports it keeps the channel for a while."""
        key = (mode, channel)
        slot = self._slot(key)
        if lingers:
            self._lingering[key] = self._lingering.get(key, 0) + 1
        slot[key] -= number
        if slot[key]:
            self._changed.add(key)
        else:
            del slot[key]
            self._changed.discard(key)
            self._end(key)

    def lingered(self, mode: str, channel: str) -> None:
        """One of those who wait for somebody does so no more: it was in vain, or somebody has joined."""
        key = (mode, channel)
        waiting = self._lingering.pop(key) - 1
        if waiting:
            self._lingering[key] = waiting
        else:
            self._end(key)

    def _end(self, key: tuple[str, str]) -> None:
        if key not in self._slot(key) and key not in self._lingering:
            self._tell(*key, GONE)

    def tick(self) -> None:
        """A second has passed: tell what has changed within it, and those whose turn it is."""
        slot = self._slots[self._second % len(self._slots)]
        self._second += 1
        changed, self._changed = self._changed, set()
        for key in changed:
            if key not in slot:
                self._tell(*key, self._slot(key)[key])
        for key, number in list(slot.items()):
            self._tell(*key, number)

    def _slot(self, key: tuple[str, str]) -> dict[tuple[str, str], int]:
        return self._slots[hash(key) % len(self._slots)]

    def __len__(self) -> int:
        return sum(map(len, self._slots)) + len(self._lingering)
