"""What peers do wrong that cannot be answered: counted, and told to the log now and then.

Used by rooms that take messages from ZeroMQ.  Everything is counted; of each kind one line is written, then
none for a while.  Never keeps a message, and writes no more than a little of what a peer has sent.
"""

from __future__ import annotations

from typing import Any

SILENCE = 60.0
"""Seconds for which the log is not told of the same kind of mistake again."""
MAX_WORDS = 200
"""Characters of what is wrong with a message, some of which may be the peer's."""


class Complaints:
    """Those about the peers of one input."""

    def __init__(
        self, who: str, services: Any, counter: str = "packets-invalid", service: str = "handler"
    ) -> None:
        """``who`` begins each line; ``counter`` is what ``IStatsSink.count`` is told; ``service`` is whose
        line it is, see ``IStatsSink.note``.  ``services`` is an ``IServices``."""
        self._who = who
        self._services = services
        self._counter = counter
        self._service = service
        self._quiet: dict[str, tuple[float, int]] = {}
        """By kind: until when, and how many there were since."""

    def drop(self, kind: str, words: str) -> None:
        """One more message is dropped.  There are few kinds; ``words`` say more of this one."""
        self._services.stats.count(self._counter)
        self.warn(kind, f"message dropped: {words}")

    def warn(self, kind: str, words: str) -> None:
        """A peer does what it should not, and nothing follows from that."""
        now = self._services.clock.seconds()
        until, more = self._quiet.get(kind, (now, 0))
        if now < until:
            self._quiet[kind] = until, more + 1
            return
        self._quiet[kind] = now + SILENCE, 0
        text = words.encode("unicode_escape").decode("ascii")[:MAX_WORDS]
        like = f" ({more} more were like it before)" if more else ""
        self._services.stats.note("warn", f"{self._who}: {text}{like}", self._service)
