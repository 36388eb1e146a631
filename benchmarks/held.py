"""Held clients of one load process: open them, wait for a message on all of them, count only what is whole.

Raw non-blocking sockets on one edge-triggered epoll: a delivery costs one `read`, one lookup among the
proven wordings and one clock reading. Run by `load` in a process of its own. Never draws conclusions: it
reports times and counts.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.verify import Broken, Check

IP_BIND_ADDRESS_NO_PORT = 24  # from <linux/in.h>: choose the port at connect, when the destination is known
CLIENT_PATIENCE = 15.0  # seconds that one client waits for its opening
READ_SIZE = 65536
READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET


@dataclass(slots=True)
class Opened:
    """What came of opening clients; times are of the system-wide monotonic clock."""

    opened: int = 0
    start: float = 0.0
    end: float = 0.0
    lost: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Received:
    """What came of one message: whole deliveries, their times of arrival (sum and last), what went wrong."""

    whole: int = 0
    time_sum: float = 0.0
    last: float = 0.0
    cpu: float = 0.0
    stray: int = 0
    lost: Counter[str] = field(default_factory=Counter)


class HeldClients:
    """All clients of this process, by file descriptor."""

    def __init__(self, address: tuple[str, int], source: str) -> None:
        self._address = address
        self._source = source
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}
        self._proven: set[bytes] = set()

    def send_only(self, request: bytes, count: int) -> int:
        """Open clients that hear nothing until a message is published; returns how many could connect."""
        for _ in range(count):
            client = socket.socket()
            client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            client.bind((self._source, 0))
            client.settimeout(CLIENT_PATIENCE)
            try:
                client.connect(self._address)
                client.sendall(request)
            except OSError:
                client.close()
                continue
            client.setblocking(False)
            self._sockets[client.fileno()] = client
            self._poll.register(client, READABLE)
        return len(self._sockets)

    def open(self, request: bytes, is_open: Check, count: int, at_once: int, patience: float) -> Opened:
        """Open `count` clients, never more than `at_once` unanswered; held is whose opening has arrived."""
        result = Opened(start=time.monotonic())
        waiting: dict[int, float] = {}  # when each connected, oldest first
        deadline = result.start + patience
        left = count
        while left or waiting:
            now = time.monotonic()
            while left and len(waiting) < at_once:
                left -= 1
                waiting[self._connect()] = now
            for fd, events in self._poll.poll(0.5, 1024):
                if fd not in waiting:
                    self._check_open(fd, result)
                elif self._advance(fd, events, request, is_open, result):
                    del waiting[fd]
            now = time.monotonic()
            late = [fd for fd, since in waiting.items() if now - since > CLIENT_PATIENCE or now > deadline]
            for fd in late:
                del waiting[fd]
                self._drop(fd, result.lost, "no answer in time")
            if now > deadline:
                result.lost["not tried in time"] += left
                break
        result.end = time.monotonic()
        return result

    def _connect(self) -> int:
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((self._source, 0))
        client.connect_ex(self._address)
        fd = client.fileno()
        self._sockets[fd] = client
        self._poll.register(fd, select.EPOLLOUT | select.EPOLLET)
        return fd

    def _advance(self, fd: int, events: int, request: bytes, is_open: Check, result: Opened) -> bool:
        """One step of an opening; True when it came to its end, good or bad."""
        client = self._sockets[fd]
        try:
            if events & select.EPOLLOUT:
                client.send(request)
                self._poll.modify(fd, READABLE)
                return False
            data = client.recv(READ_SIZE)
            if not data:
                raise Broken("closed")
            data = self._partial.pop(fd, b"") + data
            if data not in self._proven:
                if not is_open(data):
                    self._partial[fd] = data
                    return False
                self._proven.add(data)
        except (OSError, Broken) as error:
            self._drop(fd, result.lost, str(error) if isinstance(error, Broken) else type(error).__name__)
            return True
        result.opened += 1
        return True

    def _check_open(self, fd: int, result: Opened) -> None:
        """Who is held must hear nothing until a message is published."""
        result.opened -= 1
        data = self._sockets[fd].recv(READ_SIZE)
        self._drop(fd, result.lost, "more than the opening" if data else "closed after the opening")

    def receive(self, is_whole: Check, ready: Callable[[], None], patience: float) -> Received:
        """Wait until what has arrived at each client is the whole message.

        `ready` is called when everything that arrived earlier has been read (and counted as stray).
        """
        result = Received(stray=self._drain())
        self._proven.clear()
        ready()
        deadline = time.monotonic() + patience
        cpu = time.process_time()
        self._collect(is_whole, deadline, result)
        result.cpu = time.process_time() - cpu
        return result

    def _collect(self, is_whole: Check, deadline: float, result: Received) -> None:
        poll, read, clock = self._poll.poll, os.read, time.monotonic
        partial, proven = self._partial, self._proven
        waiting = set(self._sockets)
        done = 0
        time_sum = now = 0.0
        while waiting:
            for fd, _events in poll(0.5, 4096):
                try:
                    data = read(fd, READ_SIZE)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                now = clock()
                if fd not in waiting:
                    result.stray += 1
                    continue
                usual = data in proven and not partial
                if not usual and not self._is_whole(fd, data, is_whole, result):
                    if fd not in self._sockets:
                        waiting.remove(fd)
                    continue
                waiting.remove(fd)
                done += 1
                time_sum += now
            if clock() > deadline:
                for fd in waiting:
                    reason = "only a part arrived" if fd in partial else "message did not arrive"
                    self._drop(fd, result.lost, reason)
                break
        result.whole, result.time_sum, result.last = done, time_sum, now

    def _is_whole(self, fd: int, data: bytes, is_whole: Check, result: Received) -> bool:
        """The slow way: put the pieces together, decode, compare; drop whoever got something else."""
        if not data:
            self._drop(fd, result.lost, "closed")
            return False
        data = self._partial.pop(fd, b"") + data
        if data in self._proven:
            return True
        try:
            if is_whole(data):
                self._proven.add(data)
                return True
            self._partial[fd] = data
        except Broken as error:
            self._drop(fd, result.lost, str(error))
        return False

    def _drain(self) -> int:
        """Read what nobody waits for; returns how many clients had something unexpected."""
        stray = 0
        while events := self._poll.poll(0, 4096):
            for fd, _events in events:
                try:
                    data = os.read(fd, READ_SIZE)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                stray += 1
                if not data:
                    self._drop(fd, Counter(), "closed")
        return stray

    def _drop(self, fd: int, lost: Counter[str], reason: str) -> None:
        lost[reason] += 1
        self._partial.pop(fd, None)
        self._sockets.pop(fd).close()

    def close(self) -> None:
        """Leave, all at once."""
        for client in self._sockets.values():
            client.close()
        self._sockets.clear()
        self._poll.close()
