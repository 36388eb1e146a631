"""The connections of clients that there are: by name, and in the order in which they are told of again.

Used by ``stats.tally``, and by whoever looks for a connection.  A connection is called by a number of ours
(HTTP: the name ``connmgr:NUMBER`` is put together when somebody wants it) or by its ``Connection-Id``
(WebSockets).  Pure: never sends anything, never keeps a connection that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Key = int | bytes

SENDER = "connmgr:"
"""What names of HTTP connections begin with; the reference calls one of its processes so."""


class Connections:
    """All of a process.

    They are spread over slots, so that each slot can be told of in its turn.  That is also how one is found:
    a table in pieces costs no more than one in one piece.
    """

    def __init__(self, slots: int, worker: str = "") -> None:
        """``slots``: how many turns there are, at least one; ``worker`` tells numbers of several processes
        apart."""
        self._slots: list[dict[Key, Any]] = [{} for _ in range(max(1, slots))]
        self._prefix = f"{SENDER}{worker}-" if worker else SENDER

    def add(self, key: Key, connection: Any) -> None:
        """There is one more, or another object stands for it.

        ``connection`` has the attributes of ``interfaces.ICounted``.
        """
        self._slots[hash(key) % len(self._slots)][key] = connection

    def remove(self, key: Key) -> Any:
        """It has ended; what stood for it, None when it had ended before."""
        return self._slots[hash(key) % len(self._slots)].pop(key, None)

    def name(self, key: Key) -> str:
        """What packets and commands call it."""
        return f"{self._prefix}{key}" if isinstance(key, int) else key.decode()

    def get(self, name: str) -> Any:
        """What stands for the connection of that name, None when there is none."""
        key: Key = name.encode()
        if name.startswith(self._prefix):
            digits = name[len(self._prefix) :]
            if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
                return None
            key = int(digits)
            if str(key) != digits:
                return None
        return self._slots[hash(key) % len(self._slots)].get(key)

    def turn(self, number: int) -> Mapping[Key, Any]:
        """Those whose turn it is; ``number`` counts on."""
        return self._slots[number % len(self._slots)]

    def __len__(self) -> int:
        return sum(map(len, self._slots))
