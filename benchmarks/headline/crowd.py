"""The clients: some thousand in each of several processes, every one of them with a connection of its own.

A client of the poll variant asks for the headline, then for the one after it, and so on, at once and on the
same connection; a client of the stream variant asks once.  The first arrival of every wording is parsed and
compared in full, later ones by equality with it.  Raw descriptors on one edge-triggered epoll: a delivery
costs a `read`, a lookup, a clock reading, and the `send` of the next poll.

Started by `command` through `Crowds`.  Never draws conclusions: it reports times and counts.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import socket
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from benchmarks.headline.reading import POLL, read_poll, read_stream
from benchmarks.process import raise_file_limit, schedule
from benchmarks.verify import Broken

IP_BIND_ADDRESS_NO_PORT = 24  # from <linux/in.h>: choose the port at connect, when the destination is known
FIRST_NET = 17  # clients come from 127.17.x.x, 127.18.x.x and so on
SOURCE_CLIENTS = 5000  # of one address: the kernel seeks long for a port when half of them are taken
READ_SIZE = 65536
READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
REPORT_EVERY = 0.1  # seconds
REST = 0.005  # seconds between looks: woken for each delivery, clients would cost more than the proxies


@dataclass(frozen=True, slots=True)
class Plan:
    """What one process is to do; clients are dealt to the addresses in turn."""

    variant: str
    addresses: tuple[tuple[str, int], ...]
    number: int  # of the process; its clients have addresses of their own, each with all ports
    count: int
    at_once: int  # clients that connect and have no answer yet
    apart: bool  # a session of its own: Linux deals processor time to sessions first


@dataclass(slots=True)
class Progress:
    """What happened since the last report; `cpu` is the sum since the process began."""

    opened: int = 0
    again: int = 0  # polls that ended without a new headline
    missed: int = 0  # headlines that a client did not get, but the one after it
    cpu: float = 0.0
    failed: Counter[str] = field(default_factory=Counter)  # clients that never had a headline, by reason
    lost: Counter[str] = field(default_factory=Counter)  # clients that had one, by reason
    arrived: dict[int, array[float]] = field(default_factory=dict)  # times of the system-wide monotonic clock


def _request(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


class Crowd:
    """The clients of this process, by file descriptor."""

    def __init__(self, pipe: Connection, plan: Plan) -> None:
        self._pipe = pipe
        self._plan = plan
        self._polls = plan.variant == POLL
        self._read_headlines = read_poll if self._polls else read_stream
        self._first = _request("/" if self._polls else "/stream")
        self._next: dict[int, bytes] = {}
        self._poll = select.epoll()
        self._poll.register(pipe.fileno(), select.EPOLLIN)
        self._started = 0
        self._opening: set[int] = set()
        self._seen: dict[int, int] = {}  # the newest headline of each client that has one
        self._partial: dict[int, bytes] = {}
        self._proven: dict[bytes, tuple[int, ...]] = {}
        self._progress = Progress()

    def run(self) -> None:
        """Go on until the parent closes the pipe, or ends."""
        with suppress(BrokenPipeError):
            self._run()

    def _run(self) -> None:
        pipe, poll, clock = self._pipe.fileno(), self._poll.poll, time.monotonic
        due = clock() + REPORT_EVERY
        while True:
            while self._started < self._plan.count and len(self._opening) < self._plan.at_once:
                self._connect()
            if not self._opening:
                time.sleep(REST)
            for fd, events in poll(max(due - clock(), 0), 4096):
                if fd == pipe:
                    return
                if events & select.EPOLLOUT:
                    self._connected(fd)
                else:
                    self._readable(fd)
            if clock() >= due:
                self._report()
                due = clock() + REPORT_EVERY

    def _report(self) -> None:
        self._progress.cpu = time.process_time()
        self._pipe.send(self._progress)
        self._progress = Progress()

    def _connect(self) -> None:
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.bind((f"127.{FIRST_NET + self._plan.number}.0.{self._started // SOURCE_CLIENTS + 1}", 0))
        client.connect_ex(self._plan.addresses[self._started % len(self._plan.addresses)])
        self._started += 1
        fd = client.detach()
        self._opening.add(fd)
        self._poll.register(fd, select.EPOLLOUT | select.EPOLLET)

    def _connected(self, fd: int) -> None:
        try:
            os.write(fd, self._first)
        except OSError as error:
            self._drop(fd, f"while connecting: {type(error).__name__}")
            return
        self._poll.modify(fd, READABLE)

    def _readable(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(fd, type(error).__name__)
            return
        now = time.monotonic()
        numbers = self._proven.get(data) if fd not in self._partial else None
        try:
            if numbers is None:
                numbers = self._prove(fd, data)
                if numbers is None:
                    return
            for number in numbers:
                self._take(fd, number, now)
            if self._polls:
                os.write(fd, self._next[numbers[-1]])
        except (OSError, Broken) as error:
            self._drop(fd, str(error) if isinstance(error, Broken) else type(error).__name__)

    def _prove(self, fd: int, data: bytes) -> tuple[int, ...] | None:
        """The slow way: put the pieces together, parse, compare; None while some are missing."""
        if not data:
            raise Broken("closed")
        data = self._partial.pop(fd, b"") + data
        numbers = self._proven.get(data) or self._read_headlines(data)
        if not numbers:
            self._partial[fd] = data
            return None
        self._proven[data] = numbers
        self._next[numbers[-1]] = _request(f"/?last_id={numbers[-1]}")
        return numbers

    def _take(self, fd: int, number: int, now: float) -> None:
        progress = self._progress
        seen = self._seen.get(fd)
        self._seen[fd] = number
        if seen is None:
            self._opening.remove(fd)
            progress.opened += 1
            return
        if number == seen:
            progress.again += 1
            return
        if number < seen:
            raise Broken("an older headline")
        progress.missed += number - seen - 1
        times = progress.arrived.get(number)
        if times is None:
            times = progress.arrived[number] = array("d")
        times.append(now)

    def _drop(self, fd: int, reason: str) -> None:
        had_one = self._seen.pop(fd, None) is not None
        (self._progress.lost if had_one else self._progress.failed)[reason] += 1
        self._opening.discard(fd)
        self._partial.pop(fd, None)
        os.close(fd)


def _main(pipe: Connection, plan: Plan) -> None:
    if plan.apart:
        os.setsid()
    raise_file_limit()
    gc.disable()  # a collection would show up as latency of the server
    Crowd(pipe, plan).run()


class Crowds:
    """The parent's handle: all processes of clients, and the sum of what they report."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        context = multiprocessing.get_context("spawn")
        self._cpu: dict[Connection, float] = {}
        self._processes = []
        self.total = Progress()
        for number, plan in enumerate(plans):
            pipe, theirs = context.Pipe()
            process = context.Process(target=_main, args=(theirs, plan), daemon=True, name=f"crowd {number}")
            process.start()
            theirs.close()
            self._cpu[pipe] = 0.0
            self._processes.append(process)

    @property
    def here(self) -> int:
        """Clients that have had a headline and are still connected."""
        return self.total.opened - sum(self.total.lost.values())

    def wanted_seconds(self) -> float:
        """Processor time that all processes have used, and waited for, so far."""
        return sum(sum(schedule(process.pid)) for process in self._processes if process.pid is not None)

    def gather(self, seconds: float) -> None:
        """Add up what is reported in so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for pipe in wait(list(self._cpu), left):
                assert isinstance(pipe, Connection)
                try:
                    self._add(pipe, pipe.recv())
                except EOFError:
                    raise RuntimeError("a process of clients has ended") from None

    def _add(self, pipe: Connection, part: Progress) -> None:
        total = self.total
        total.opened += part.opened
        total.again += part.again
        total.missed += part.missed
        total.failed += part.failed
        total.lost += part.lost
        self._cpu[pipe] = part.cpu
        total.cpu = sum(self._cpu.values())
        for number, times in part.arrived.items():
            total.arrived.setdefault(number, array("d")).extend(times)

    def stop(self) -> None:
        """Disconnect all clients and end the processes."""
        for pipe in self._cpu:
            pipe.close()
        for process in self._processes:
            process.join(10)
            process.terminate()
