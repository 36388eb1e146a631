"""What more worker processes bring: proxied requests per second with one, two and four of them.

Load, backend and workers share the cores of one machine, where a second worker would mostly take time away
from the others. So each worker gets a fixed share of a core (`allowance`), small enough that load and backend
always have time left: then the workers are the limit, if the columns of who was how busy say so. Called by
the command line as the other measures are.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.allowance import Allowance, cpu_clock
from benchmarks.inputs import measure_input
from benchmarks.listeners import Child, Listeners, Publisher
from benchmarks.measures import Bench, losses
from benchmarks.origin import PLAIN_BODY
from benchmarks.pump import Work
from benchmarks.report import Table, middle
from benchmarks.servers import Ours, Server
from benchmarks.verify import is_response

COUNTS = (1, 2, 4)  # workers
SHARE = 0.2  # of a core, for each
CONNECTIONS = 64  # enough for each worker to have some, by whatever lot
WORKER = b"pushpin_tw.workers.child"
PASSED_ON = (1, 3)  # workers to which items are passed on


def crew_of(kind: type[Ours], count: int) -> type[Ours]:
    """The same server with `count` workers."""
    return type(kind.__name__, (kind,), {"workers": count, "name": f"{kind.name}, {count}"})


def workers_of(server: Server) -> list[int]:
    """The processes that serve clients; one that serves alone is all there is."""
    pids = list(server.program.pids())
    return [pid for pid in pids if WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()] or pids


@dataclass(slots=True)
class Side:
    """A server with its figures."""

    server: Server
    pids: list[int]
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    parent_costs: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    least: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    backend: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)


def scaling_table() -> Table:
    """The empty table of `scaling`."""
    return Table(
        f"scaling: plain proxied requests per second, each worker with {SHARE:.0%} of a core",
        (
            *("server, workers", "requests/s", "times one", "wrong", "share used %", "least used %"),
            *("worker us/request", "parent us/request", "load busy %", "origin busy %"),
        ),
        notes=[
            f"{CONNECTIONS} kept-alive connections; rounds alternate between the rows",
            "share used: processor time of the workers / what they may have (at 100 % they are the limit)",
            "least used: the same of the one that used the least",
            "busy: processor time / time; 100 % is a whole core",
        ],
    )


def scaling(bench: Bench, kind: type[Server], table: Table) -> None:
    """Requests per second with different numbers of workers."""
    if not issubclass(kind, Ours):
        table.notes.append(f"{kind.name}: has no workers that each serve clients")
        return
    with ExitStack() as servers:
        sides = [_side(servers.enter_context(bench.start(crew_of(kind, count)))) for count in COUNTS]
        for number in range(bench.settings.rounds + 1):
            for side in sides:
                side.server.program.settle()
                _round(bench, side, counts=number > 0)
    one = middle(sides[0].rates)
    for side in sides:
        rate = middle(side.rates)
        table.rows.append(
            [
                *(side.server.name, rate, rate / one if rate and one else None),
                *(sum(side.wrong.values()), middle(side.used), middle(side.least)),
                *(middle(side.costs), middle(side.parent_costs), middle(side.load), middle(side.backend)),
            ]
        )
        table.notes += [f"{side.server.name}: {loss}" for loss in losses(side.wrong)]


def _side(server: Server) -> Side:
    return Side(server, workers_of(server))


def _round(bench: Bench, side: Side, counts: bool) -> None:
    work = Work(side.server.plain_request, partial(is_response, content=PLAIN_BODY))
    everybody = side.server.program.cpu_seconds()
    backend = bench.origin.cpu_seconds()
    with Allowance(side.pids, SHARE):
        before, start = [cpu_clock(pid) for pid in side.pids], time.monotonic()
        parts = bench.loads.pump(side.server.address, work, CONNECTIONS, bench.settings.seconds)
        used = [cpu_clock(pid) - was for pid, was in zip(side.pids, before, strict=True)]
        seconds = time.monotonic() - start
    everybody = side.server.program.cpu_seconds() - everybody
    backend = bench.origin.cpu_seconds() - backend
    whole = sum(part.whole for part in parts)
    if counts and whole:
        side.wrong += sum((part.wrong for part in parts), Counter())
        side.rates.append(whole / max(part.seconds for part in parts))
        side.costs.append(sum(used) / whole * 1e6)
        side.parent_costs.append(max(everybody - sum(used), 0.0) / whole * 1e6)
        side.used.append(sum(used) / len(used) / seconds / SHARE * 100)
        side.least.append(min(used) / seconds / SHARE * 100)
        side.load.append(sum(part.cpu for part in parts) / seconds * 100)
        side.backend.append(backend / seconds * 100)


def passing_table() -> Table:
    """The empty table of `passing`."""
    return Table(
        "passing: items through PULL, with one process and through a parent to its workers",
        (
            *("server, workers", "input", "channels", "items", "lost", "items/s", "deliveries/s"),
            *("server us/item", "workers us/item", "load busy %"),
        ),
        notes=["as `inputs`; us/item: processor time of all processes, and of those that serve clients"],
    )


def passing(bench: Bench, kind: type[Server], table: Table) -> None:
    """Items per second when they have to be passed on to workers."""
    if not issubclass(kind, Ours):
        table.notes.append(f"{kind.name}: has no workers that each serve clients")
        return
    for own in (True, False):
        for count in PASSED_ON:
            listeners, publisher = Child(Listeners), Child(Publisher)
            try:
                with bench.start(crew_of(kind, count)) as server:
                    pids = workers_of(server)
                    parts = [partial(_processor_time, pids)]
                    measure_input(bench, server, table, listeners, publisher, own, True, parts)
            finally:
                listeners.stop()
                publisher.stop()


def _processor_time(pids: list[int]) -> float:
    return sum(cpu_clock(pid) for pid in pids)


MEASURES: dict[str, tuple[Callable[[], Table], Callable[[Bench, type[Server], Table], None]]] = {
    "scaling": (scaling_table, scaling),
    "passing": (passing_table, passing),
}
