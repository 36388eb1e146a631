"""Requests to a worker on ZeroMQ that answers with one packet: a `zhttpreq` target.

There is one worker, a plain loop around a REP socket in a process of its own, with somebody else's
tnetstrings. What it reaches when it is asked directly is measured too: no proxy can be faster than that.
Called by the command line as the other measures are.
"""

from __future__ import annotations

import multiprocessing
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import tnetstring
import zmq

from benchmarks.measures import Bench, ask
from benchmarks.origin import PLAIN_BODY
from benchmarks.pump import Work
from benchmarks.report import Table, middle
from benchmarks.servers import WORKER_PATH, Pushpin, Server, get_request
from benchmarks.verify import is_response

AT_ONCE = (1, 32, 256)  # kept-alive connections, each with a request under way
ANSWER = {
    b"code": 200,
    b"reason": b"OK",
    b"headers": [[b"Content-Type", b"text/plain"]],
    b"body": PLAIN_BODY,
}
REQUEST = {
    b"from": b"bench",
    b"method": b"GET",
    b"uri": b"http://127.0.0.1/worker",
    b"headers": [[b"Host", b"127.0.0.1"], [b"Grip-Sig", b"x" * 120], [b"Grip-Feature", b"x" * 200]],
    b"max-size": 1000000,
    b"ignore-policies": True,
}


def work(address: str) -> None:
    """Answer until the process is ended."""
    replier = zmq.Context().socket(zmq.REP)
    replier.connect(address)
    while True:
        request = tnetstring.loads(replier.recv()[1:])
        replier.send(b"T" + tnetstring.dumps({b"id": request[b"id"], **ANSWER}))


class Worker:
    """The process; a context manager that starts and ends it."""

    def __init__(self, address: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=work, args=(address,), daemon=True, name="worker")

    def __enter__(self) -> Worker:
        self._process.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.join(10)


def table() -> Table:
    """The empty table of `replies`."""
    return Table(
        "replies: requests per second to one zhttpreq worker",
        ("server, connections", "requests/s", "wrong", "server us/request", "load busy %"),
        notes=[
            "nothing, N: the worker itself, asked over ZeroMQ with N requests under way; the load is one "
            "process with nothing else to do"
        ],
    )


def replies(bench: Bench, kind: type[Server], table: Table) -> None:
    """Requests per second through a server, each answered by the worker; first what the worker can do."""
    if not table.rows:
        for count in AT_ONCE:
            table.rows.append(_directly(bench, count))
    if not issubclass(kind, Pushpin):
        table.notes.append(f"{kind.name}: knows no such workers")
        return
    with bench.start(kind) as server, Worker(f"tcp://127.0.0.1:{server.worker_port}"):
        question = Work(get_request(WORKER_PATH), partial(is_response, content=PLAIN_BODY))
        # The first answer tells that the worker is there; it waits for as long as that takes.
        bench.loads.pump(server.address, question, 1, 2.0)
        for count in AT_ONCE:
            name = f"{kind.name}, {count}"
            ask(bench, table, name, server.address, question, server.program.cpu_seconds, count)


def _directly(bench: Bench, at_once: int) -> list[object]:
    """A row: the worker without a proxy, with so many requests under way."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as asker:
        port = asker.bind_to_random_port("tcp://127.0.0.1")
        with Worker(f"tcp://127.0.0.1:{port}"):
            _exchange(asker, at_once, lambda: False)
            rates, busy = [], []
            for _ in range(bench.settings.rounds):
                start, cpu = time.monotonic(), time.process_time()
                end = start + bench.settings.seconds
                answers = _exchange(asker, at_once, lambda end=end: time.monotonic() < end)
                seconds = time.monotonic() - start
                rates.append(answers / seconds)
                busy.append((time.process_time() - cpu) / seconds * 100)
            asker.linger = 0
            return [f"nothing, {at_once}", middle(rates), 0, None, middle(busy)]


def _exchange(asker: zmq.Socket[bytes], at_once: int, more: Callable[[], bool]) -> int:
    """Ask, and ask again for each answer while there is to be `more`; returns how many came."""
    for _ in range(at_once):
        _send(asker)
    left, answers = at_once, 0
    while left:
        _, frame = asker.recv_multipart()
        answer: dict[bytes, Any] = tnetstring.loads(frame[1:])
        if {**ANSWER, b"id": answer[b"id"]} != answer:
            raise RuntimeError(f"a wrong answer: {answer}")
        answers += 1
        if more():
            _send(asker)
        else:
            left -= 1
    return answers


def _send(asker: zmq.Socket[bytes]) -> None:
    name = str(uuid.uuid4()).encode()
    asker.send_multipart((b"", b"T" + tnetstring.dumps({b"id": name, **REQUEST})))


MEASURES = {"replies": (table, replies)}
