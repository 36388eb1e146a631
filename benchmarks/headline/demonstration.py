"""A run: the service, the proxies and the clients, and what happens between them.

Used by `command`.  Prints nothing itself: `say` gets the lines of the log.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import urllib.request
from array import array
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import benchmarks
from benchmarks.headline.crowd import Crowds
from benchmarks.headline.figures import Delivery, Round
from benchmarks.headline.proxies import NotStarted, Proxies
from benchmarks.headline.reading import text_of
from benchmarks.process import Program, busy_seconds, free_ports

SERVICE_PATIENCE = 20.0  # seconds until the service must answer
OPEN_PATIENCE = 15.0  # seconds without another client that has its first headline
ROUND_PATIENCE = 60.0  # seconds for a headline to reach everybody
QUIET_PATIENCE = 60.0  # seconds for everybody to wait again
QUIET_SAMPLE = 0.25  # seconds over which idleness is judged
QUIET_SHARE = 0.15  # share of a core, over all processes, below which a run counts as idle
CORES = len(os.sched_getaffinity(0))
LOG_EVERY = 0.25  # seconds between lines of the log


class Service:
    """The headline service, a process of its own."""

    def __init__(self, controls: Sequence[str]) -> None:
        [self.port] = free_ports(1)
        descriptor, log = tempfile.mkstemp(prefix="headline-service-")
        os.close(descriptor)
        self._log = Path(log)
        command = [sys.executable, "-m", "benchmarks.headline.service", str(self.port), *controls]
        self._program = Program(command, self._log, cwd=Path(benchmarks.__file__).parent.parent)
        end = time.monotonic() + SERVICE_PATIENCE
        while True:
            try:
                self.asked()
                return
            except OSError:
                if time.monotonic() > end or not self._program.running:
                    tail = self._program.log_tail()
                    self.stop()
                    raise NotStarted(f"the headline service did not start:\n{tail}") from None
                time.sleep(0.1)

    def _call(self, target: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{target}", body, timeout=30) as response:
            return bytes(response.read())

    def asked(self) -> tuple[int, float]:
        """How many requests of clients were answered so far, and the processor time of it all."""
        counts = json.loads(self._call("/asked"))
        cpu = counts.pop("cpu")
        return sum(counts.values()), cpu

    def wanted_seconds(self) -> float:
        """Processor time that the process has used, and waited for, so far."""
        return self._program.wanted_seconds()

    def set(self, number: int) -> None:
        """Set the headline that must become `number`."""
        headline = json.loads(self._call("/", text_of(number).encode()))
        if headline["id"] != number:
            raise RuntimeError(f"the service calls this headline {headline['id']}, not {number}")

    def stop(self) -> None:
        """End the process."""
        self._program.stop()
        self._log.unlink()


@dataclass(slots=True)
class Usage:
    """Processor time in seconds, and what the backend was asked, at one moment."""

    proxies: float
    clients: float
    backend: float
    machine: float  # of all processes that there are
    asked: int

    def __sub__(self, other: Usage) -> Usage:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Usage(*(mine - theirs for mine, theirs in pairs))

    @property
    def own(self) -> float:
        """Without that of others."""
        return self.proxies + self.clients + self.backend


class Demonstration:
    """A run: everything is started, and headlines can be set."""

    def __init__(
        self, proxies: Proxies, service: Service, crowds: Crowds, say: Callable[[str], None]
    ) -> None:
        self._proxies = proxies
        self._service = service
        self._crowds = crowds
        self._say = say

    def usage(self) -> Usage:
        """What has been used so far."""
        asked, backend = self._service.asked()
        clients = self._crowds.total.cpu + time.process_time()
        return Usage(self._proxies.cpu_seconds(), clients, backend, busy_seconds(), asked)

    def open(self, count: int) -> float:
        """Wait until `count` clients have had their first headline or failed; returns seconds.

        When none has had it for a while, the others have failed, too.
        """
        start = said = progressed = time.monotonic()
        total, opened = self._crowds.total, 0
        while (left := count - total.opened - sum(total.failed.values())) > 0:
            self._crowds.gather(0.05)
            now = time.monotonic()
            if now - said >= 1:
                said = now
                self._say(f"{now - start:7.2f} s  {total.opened:>9,} connected")
            if total.opened > opened:
                opened, progressed = total.opened, now
            elif now - progressed > OPEN_PATIENCE:
                total.failed["did not answer in time"] += left
        return time.monotonic() - start

    def settle(self) -> float:
        """Wait until nobody has anything to do; returns when (monotonic) that was found to have begun."""
        end = time.monotonic() + QUIET_PATIENCE
        while True:
            start, before = time.monotonic(), self._wanted()
            self._crowds.gather(QUIET_SAMPLE)
            if self._wanted() - before < QUIET_SHARE * (time.monotonic() - start) or start > end:
                return start

    def _wanted(self) -> float:
        """Processor time that everybody had or waited for: waiting is the larger part on a busy machine."""
        parts = (self._proxies, self._service, self._crowds)
        return sum(part.wanted_seconds() for part in parts)

    def headline(self, number: int) -> Round:
        """Set a headline, wait until everybody has it, and until everybody waits for the next."""
        total = self._crowds.total
        before, lost, skipped = self.usage(), sum(total.lost.values()), total.missed
        times = total.arrived.setdefault(number, array("d"))
        self._say(f"headline {number} for {self._crowds.here:,} clients")
        start = said = time.monotonic()
        self._service.set(number)
        while len(times) < self._crowds.here and time.monotonic() < start + ROUND_PATIENCE:
            self._crowds.gather(0.05)
            now = time.monotonic()
            if times and now - said >= LOG_EVERY:
                said = now
                self._say(Delivery.of([at - start for at in times]).line(now - start))
        if times:
            self._say(Delivery.of([at - start for at in times]).line(time.monotonic() - start))
        missing = self._crowds.here - len(times)
        quiet = self.settle() - start
        seconds = time.monotonic() - start
        used = self.usage() - before
        return Round(
            number,
            [at - start for at in times],
            lost=sum(total.lost.values()) - lost,
            missing=missing + total.missed - skipped,
            quiet=quiet,
            asked=used.asked,
            proxies=used.proxies,
            clients=used.clients,
            backend=used.backend,
            others=max(used.machine - used.own, 0) / seconds / CORES,
        )
