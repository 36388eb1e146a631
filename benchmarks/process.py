"""Processes of a run: start them in a session of their own, ask the kernel about them, end them.

Used by `servers` and by the measures. Never signals a process that it did not start.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

STOP_PATIENCE = 10.0  # seconds that a server gets to end in peace
QUIET_PATIENCE = 15.0  # seconds to wait for a server to become idle
QUIET_SAMPLE = 0.2  # seconds over which idleness is judged
BUSY_SAMPLE = 0.5  # seconds over which the load of others is judged
QUIET_SHARE = 0.03  # share of a core below which a server counts as idle


@dataclass(frozen=True, slots=True)
class Memory:
    """User-space memory of a group of processes, in bytes."""

    pss: int
    uss: int

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.pss + other.pss, self.uss + other.uss)

    def __sub__(self, other: Memory) -> Memory:
        return Memory(self.pss - other.pss, self.uss - other.uss)


def raise_file_limit() -> int:
    """Lift the soft limit of open files to the hard one, for this process and its children; returns it."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, below those of outgoing connections."""
    ports: list[int] = []
    candidates = iter(random.sample(range(20000, 32000), 2000))
    while len(ports) < count:
        port = next(candidates)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
    return ports


def schedule(pid: int) -> tuple[float, float]:
    """Seconds that the threads of a process have run so far, and waited to run; none if it is gone."""
    had = waited = 0
    for path in glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            words = Path(path).read_text().split()
        except OSError:
            continue
        had += int(words[0])
        waited += int(words[1])
    return had / 1e9, waited / 1e9


def busy_seconds() -> float:
    """Processor time that all processes have used since the machine was started."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def busy_share() -> float:
    """Share of all cores that is in use right now: before a measure starts, by others."""

    def ticks() -> tuple[int, int]:
        fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = ticks()
    time.sleep(BUSY_SAMPLE)
    total_now, idle_now = ticks()
    return 1 - (idle_now - idle) / max(total_now - total, 1)


def wait_for_quiet(limit: float, patience: float) -> float:
    """Wait until others use at most `limit` of the machine; returns what they used last."""
    end = time.monotonic() + patience
    busy = busy_share()
    while busy > limit and time.monotonic() < end:
        busy = busy_share()
    return busy


class Program:
    """A started server with all the processes that it started in turn (they share its session)."""

    def __init__(
        self, argv: Sequence[str], log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=None if env is None else dict(env),
                start_new_session=True,
            )
        self._log = log

    @property
    def running(self) -> bool:
        """Whether the first process is still there."""
        return self._process.poll() is None

    def log_tail(self) -> str:
        """The last lines that the program wrote, for a message about its failure."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])

    def pids(self) -> Iterator[int]:
        """Every process of the session that is alive."""
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    stat = Path("/proc", entry, "stat").read_text()
                except OSError:
                    continue
                fields = stat.rpartition(")")[2].split()
                if int(fields[3]) == self._process.pid and fields[0] != "Z":
                    yield int(entry)

    def memory(self) -> Memory:
        """Proportional and unique set size, summed over all processes."""
        pss = uss = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                words = line.split()
                if words[0] == "Pss:":
                    pss += int(words[1]) * 1024
                elif words[0] in ("Private_Clean:", "Private_Dirty:"):
                    uss += int(words[1]) * 1024
        return Memory(pss, uss)

    def cpu_seconds(self) -> float:
        """Processor time that all threads of all processes have used so far."""
        return sum(schedule(pid)[0] for pid in self.pids())

    def wanted_seconds(self) -> float:
        """The same, and the time that they have waited for a processor: whoever has no work wants none."""
        return sum(sum(schedule(pid)) for pid in self.pids())

    def settle(self) -> None:
        """Wait until the server is idle, so that one round does not pay for the clearing up after another."""
        end = time.monotonic() + QUIET_PATIENCE
        before = self.cpu_seconds()
        while time.monotonic() < end:
            time.sleep(QUIET_SAMPLE)
            now = self.cpu_seconds()
            if now - before < QUIET_SHARE * QUIET_SAMPLE:
                return
            before = now

    def stop(self) -> None:
        """End the program: politely, then whatever is left of its session."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_PATIENCE)
        for pid in list(self.pids()):
            os.kill(pid, signal.SIGKILL)
