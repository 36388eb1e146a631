"""The connections of clients that there are: by name, and in the order in which they are told of again.

Used by ``stats.tally``, and by whoever looks for a connection.  Each has a number.  Those of HTTP connections
count from 1; the name ``connmgr:NUMBER`` is put together when somebody wants it.  That of a WebSocket is its
UUID, far beyond them.  Pure: never sends anything, never keeps a connection that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

SENDER = "connmgr:"
"""What names of HTTP connections begin with; the reference calls one of its processes so."""
COUNTED = 2**64
"""Numbers of HTTP connections are below."""


class Connections:
    """All of a process.

    They are spread over slots, so that each slot can be told of in its turn.  That is also how one is found:
    a table in pieces costs no more than one in one piece.
    """

    def __init__(self, slots: int, worker: str = "") -> None:
        """``slots``: how many turns there are, at least one; ``worker`` tells numbers of several processes
        apart."""
        self.turns: list[dict[int, Any]] = [{} for _ in range(max(1, slots))]
        """Connections by number, each in the slot of its number; see ``figures.ICounted``."""
        self._prefix = f"{SENDER}{worker}-" if worker else SENDER

    def name(self, number: int) -> str:
        """What packets and commands call a connection."""
        return f"{self._prefix}{number}" if number < COUNTED else str(UUID(int=number))

    def get(self, name: str) -> Any:
        """What stands for the connection of that name, None when there is none."""
        number = self._number(name)
        return self.turns[number % len(self.turns)].get(number)

    def _number(self, name: str) -> int:
        """0, which is nobody's, for what is no name."""
        try:
            rest = name.removeprefix(self._prefix)
            number = UUID(name).int if rest == name else int(rest[:20])
        except ValueError:
            return 0
        return number if self.name(number) == name else 0  # other ways to write it are no names

    def turn(self, count: int) -> Mapping[int, Any]:
        """Those whose turn it is; ``count`` counts on."""
        return self.turns[count % len(self.turns)]

    def __len__(self) -> int:
        return sum(map(len, self.turns))
