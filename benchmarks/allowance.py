"""Processes that get a fixed share of a core each, and no more: as if each had a slower core of its own.

Used by `scaling`, where the processes measured must be what limits the figure, on a machine that has too few
cores to give each its own. Whoever has used up its share is stopped until the share has grown again. Needs no
rights but those over the processes; never touches others.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

SLICE = 0.001  # seconds between looks
SAVED = 0.02  # seconds of processor time at most that are kept for later by who does not use its share


def cpu_clock(pid: int) -> float:
    """Seconds of processor time of a process until now, the slice that it is running in included.

    :raises OSError: there is no such process.
    """
    # As clock_getcpuclockid(3) makes the name of the clock, which Python offers for threads only.
    return time.clock_gettime((~pid << 3) | 2)


class Account:
    """How much a process may run; pure, told the time."""

    def __init__(self, share: float, now: float, used: float) -> None:
        """It may use `share` of a core from `now` on, when it has `used` so much already."""
        self._share = share
        self._now = now
        self._granted = used
        self.stopped = False

    def look(self, now: float, used: float) -> bool:
        """Whether it is to be stopped, or to go on, which `stopped` tells."""
        self._granted = min(self._granted + (now - self._now) * self._share, used + SAVED)
        self._now = now
        over = used > self._granted
        changed = over is not self.stopped
        self.stopped = over
        return changed


class Allowance:
    """Gives each of some processes `share` of a core; a context manager."""

    def __init__(
        self,
        pids: Iterable[int],
        share: float,
        send: Callable[[int, signal.Signals], None] = os.kill,
    ) -> None:
        self._pids = list(pids)
        self._share = share
        self._send = send
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Allowance:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        start = time.monotonic()
        accounts = {pid: Account(self._share, start, cpu_clock(pid)) for pid in self._pids}
        try:
            while not self._over.wait(SLICE):
                for pid, account in accounts.items():
                    if account.look(time.monotonic(), cpu_clock(pid)):
                        self._send(pid, signal.SIGSTOP if account.stopped else signal.SIGCONT)
        finally:
            for pid in accounts:
                with suppress(ProcessLookupError):
                    self._send(pid, signal.SIGCONT)
