"""Requests to a worker on ZeroMQ that streams: a `zhttp` target, asked through PUSH, answered through PUB.

There is one worker, a plain loop in a process of its own, with somebody else's tnetstrings; each answer is
one packet. Called by the command line as the other measures are.
"""

from __future__ import annotations

import multiprocessing
import time
from functools import partial

import tnetstring
import zmq

from benchmarks.measures import CONNECTIONS, Bench, ask
from benchmarks.origin import PLAIN_BODY
from benchmarks.pump import Work
from benchmarks.replies import ANSWER
from benchmarks.report import Table
from benchmarks.servers import STREAM_PATH, Pushpin, Server, get_request
from benchmarks.verify import is_response


def work(spec: str) -> None:
    """Answer until the process is ended."""
    context = zmq.Context()
    requests, answers = context.socket(zmq.PULL), context.socket(zmq.PUB)
    requests.connect(f"{spec}-out")
    answers.connect(f"{spec}-in")
    while True:
        request = tnetstring.loads(requests.recv()[1:])
        packet = {b"from": b"bench", b"id": request[b"id"], b"seq": 0, **ANSWER}
        answers.send(request[b"from"] + b" T" + tnetstring.dumps(packet))


def table() -> Table:
    """The empty table of `streamed`."""
    return Table(
        f"streamed: requests per second to one zhttp worker, {CONNECTIONS} kept-alive connections",
        ("server", "requests/s", "wrong", "server us/request", "load busy %"),
    )


def streamed(bench: Bench, kind: type[Server], table: Table) -> None:
    """Requests per second through a server, each answered by the worker."""
    if not issubclass(kind, Pushpin):
        table.notes.append(f"{kind.name}: knows no such workers")
        return
    with bench.start(kind) as server:
        context = multiprocessing.get_context("spawn")
        worker = context.Process(target=work, args=(server.stream_spec,), daemon=True, name="worker")
        worker.start()
        try:
            question = Work(get_request(STREAM_PATH), partial(is_response, content=PLAIN_BODY))
            for _ in range(100):  # wrong answers until the worker is there
                if any(part.whole for part in bench.loads.pump(server.address, question, 1, 0.1)):
                    break
                time.sleep(0.1)
            ask(bench, table, kind.name, server.address, question, server.program.cpu_seconds)
        finally:
            worker.terminate()
            worker.join(10)


MEASURES = {"streamed": (table, streamed)}
