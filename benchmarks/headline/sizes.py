"""How large a run can be on this machine: descriptors and memory set the number of clients and processes.

Used by `command`; pure.  Whatever is made smaller than asked for is said in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MEMORY_PER_CLIENT = (
    16 * 1024
)  # bytes: two ends of a connection in the kernel, the proxy's share, the client's
MEMORY_KEPT_FREE = 512 * 2**20
MEMORY_PER_PROCESS = 64 * 2**20
PROXY_SHARE = 0.9  # of its descriptors that a proxy uses for clients
WORKER_SHARE = 0.86  # the kernel deals clients to workers by lot: some get more than their share
FILES_KEPT_FREE = 200  # descriptors of a process of clients that are not clients
FILES_PER_CLIENT = 2  # of the whole system: both ends


@dataclass(frozen=True, slots=True)
class Machine:
    """What sets bounds."""

    files: int  # that one process may open
    all_files: int  # that all processes together may open
    memory: int  # bytes that are free


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; None: as many as are needed."""

    clients: int
    instances: int | None
    workers: int | None


@dataclass(frozen=True, slots=True)
class Size:
    """What is possible."""

    clients: int
    instances: int
    workers: int  # of each instance
    proxy_clients: int  # that one process of a proxy accepts
    crowds: Sequence[int]  # clients of each process of clients
    notes: Sequence[str]


def size_of(wish: Wish, machine: Machine) -> Size:
    """Fit a wish to a machine."""
    clients = wish.clients
    notes = []

    def at_most(count: int, why: str) -> None:
        nonlocal clients
        if clients > count:
            clients = max(count, 1)
            notes.append(f"{clients:,} clients instead of {wish.clients:,}: {why}")

    at_most(
        (machine.all_files - 10_000) // FILES_PER_CLIENT, f"{machine.all_files:,} open files in the system"
    )
    at_most(
        (machine.memory - MEMORY_KEPT_FREE) // (MEMORY_PER_CLIENT + 2 * MEMORY_PER_PROCESS // machine.files),
        f"{machine.memory / 2**30:.1f} GiB of memory are free",
    )
    alone = int(machine.files * PROXY_SHARE) - FILES_KEPT_FREE
    dealt = int(machine.files * WORKER_SHARE) - FILES_KEPT_FREE
    workers, instances = wish.workers, wish.instances or 1
    if workers is None:
        workers = 1 if wish.instances is not None or clients <= alone else -(-clients // dealt)
    each = workers * (dealt if workers > 1 else alone)
    at_most(
        instances * each,
        f"{instances} x {workers} processes with {machine.files:,} open files each",
    )
    crowd = machine.files - FILES_KEPT_FREE
    count = -(-clients // crowd)
    share, rest = divmod(clients, count)
    crowds = [share + (number < rest) for number in range(count)]
    return Size(clients, instances, workers, int(machine.files * PROXY_SHARE), crowds, notes)
