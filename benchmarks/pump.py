"""Questions over lasting connections: each connection asks again as soon as its answer is whole.

Run by `load` in a process of its own. Never pipelines: one question at a time per connection.
"""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.verify import Broken, Check


@dataclass(frozen=True, slots=True)
class Work:
    """A question, its right answer; and if there is one, the greeting before the first question."""

    question: bytes
    is_answer: Check
    greeting: bytes = b""
    is_greeted: Check | None = None


@dataclass(slots=True)
class Pumped:
    """Whole answers, wrong ones by reason, and the time it took."""

    whole: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    wrong: Counter[str] = field(default_factory=Counter)


def pump(address: tuple[str, int], work: Work, connections: int, seconds: float) -> Pumped:
    """Ask for `seconds` on `connections` connections; answers that arrive later do not count."""
    poll = select.epoll()
    clients: dict[int, socket.socket] = {}
    for _ in range(connections):
        client = socket.create_connection(address, timeout=10)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if work.is_greeted is not None:
            _greet(client, work.greeting, work.is_greeted)
        clients[client.fileno()] = client
        poll.register(client, select.EPOLLIN | select.EPOLLET)
    result = Pumped(cpu=time.process_time(), seconds=time.monotonic())
    for client in clients.values():
        client.send(work.question)
    _run(poll, clients, work, result.seconds + seconds, result)
    result.seconds = time.monotonic() - result.seconds
    result.cpu = time.process_time() - result.cpu
    for client in clients.values():
        client.close()
    poll.close()
    return result


def _greet(client: socket.socket, greeting: bytes, is_greeted: Check) -> None:
    client.sendall(greeting)
    data = b""
    while piece := client.recv(65536):
        data += piece
        if is_greeted(data):
            return
    raise RuntimeError(f"not greeted but {data[:200]!r}")


def _run(
    poll: select.epoll, clients: dict[int, socket.socket], work: Work, end: float, result: Pumped
) -> None:
    question, is_answer = work.question, work.is_answer
    proven: set[bytes] = set()  # a Date header makes a new wording each second
    partial: dict[int, bytes] = {}
    clock = time.monotonic
    while clients and clock() < end:
        for fd, _events in poll.poll(0.1):
            client = clients[fd]
            try:
                data = client.recv(65536)
                if not data:
                    raise Broken("closed")
                if partial:
                    data = partial.pop(fd, b"") + data
                if data not in proven:
                    if not is_answer(data):
                        partial[fd] = data
                        continue
                    proven.add(data)
                result.whole += 1
                client.send(question)
            except (OSError, Broken) as error:
                result.wrong[str(error) if isinstance(error, Broken) else type(error).__name__] += 1
                clients.pop(fd).close()
