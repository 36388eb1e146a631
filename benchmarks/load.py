"""Load processes: the parent's handle, and the loop in the child that does what it is told.

Used by the measures. A command is the name of a method of the child with its arguments; each is bounded in
time. Never shares a process with a server, the origin or the publisher.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.held import HeldClients, Opened, Received
from benchmarks.process import raise_file_limit
from benchmarks.pump import Pumped, Work, pump
from benchmarks.verify import Check

REPLY_PATIENCE = 900.0  # seconds: above every bound that a command has of its own
FILES_KEPT_FREE = 500  # descriptors of a load process that are not clients


class _Child:
    """The commands, as the child carries them out."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._clients: HeldClients | None = None

    def run(self) -> None:
        raise_file_limit()
        gc.disable()  # a collection would show up as latency of the server
        while True:
            try:
                name, arguments = self._pipe.recv()
            except EOFError:
                return
            self._pipe.send(getattr(self, name)(*arguments))

    def target(self, address: tuple[str, int], source: str) -> None:
        self.close()
        self._clients = HeldClients(address, source)

    def _held(self) -> HeldClients:
        if self._clients is None:
            raise RuntimeError("no target yet")
        return self._clients

    def open(self, request: bytes, is_open: Check, count: int, at_once: int, patience: float) -> Opened:
        return self._held().open(request, is_open, count, at_once, patience)

    def send_only(self, request: bytes, count: int) -> int:
        return self._held().send_only(request, count)

    def receive(self, is_whole: Check, patience: float) -> Received:
        return self._held().receive(is_whole, lambda: self._pipe.send("ready"), patience)

    def pump(self, address: tuple[str, int], work: Work, connections: int, seconds: float) -> Pumped:
        return pump(address, work, connections, seconds)

    def close(self) -> None:
        if self._clients is not None:
            self._clients.close()
            self._clients = None


def _main(pipe: Connection) -> None:
    _Child(pipe).run()


class LoadProcesses:
    """`count` load processes that work at the same time; every figure is the sum over all of them."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(count):
            pipe, theirs = context.Pipe()
            process = context.Process(target=_main, args=(theirs,), daemon=True, name=f"load {number}")
            process.start()
            self._pipes.append(pipe)
            self._processes.append(process)

    def _reply(self, pipe: Connection) -> Any:
        if not pipe.poll(REPLY_PATIENCE):
            raise RuntimeError("a load process does not answer")
        return pipe.recv()

    def _all(self, name: str, arguments: Callable[[int], tuple[Any, ...]]) -> list[Any]:
        for number, pipe in enumerate(self._pipes):
            pipe.send((name, arguments(number)))
        return [self._reply(pipe) for pipe in self._pipes]

    def _shares(self, count: int) -> list[int]:
        whole, rest = divmod(count, len(self._pipes))
        return [whole + (number < rest) for number in range(len(self._pipes))]

    def target(self, address: tuple[str, int], source: int) -> None:
        """Choose the server of the next clients, and 127.0.`source`.x as their address."""
        self._all("target", lambda number: (address, f"127.0.{source}.{number + 1}"))

    def open(self, request: bytes, is_open: Check, count: int, at_once: int, patience: float) -> Opened:
        """Open clients; `at_once` is the number of unanswered ones over all processes."""
        shares, pace = self._shares(count), self._shares(at_once)
        parts: list[Opened] = self._all("open", lambda n: (request, is_open, shares[n], pace[n], patience))
        return Opened(
            opened=sum(part.opened for part in parts),
            start=min(part.start for part in parts),
            end=max(part.end for part in parts),
            lost=sum((part.lost for part in parts), Counter()),
        )

    def send_only(self, request: bytes, count: int) -> int:
        """Open clients that hear nothing yet; returns how many there are now."""
        shares = self._shares(count)
        return sum(self._all("send_only", lambda n: (request, shares[n])))

    def receive(self, is_whole: Check, publish: Callable[[], None], patience: float) -> Received:
        """Publish when all processes are ready for it, and gather what they received."""
        for pipe in self._pipes:
            pipe.send(("receive", (is_whole, patience)))
        for pipe in self._pipes:
            self._reply(pipe)
        publish()
        parts: list[Received] = [self._reply(pipe) for pipe in self._pipes]
        return Received(
            whole=sum(part.whole for part in parts),
            time_sum=sum(part.time_sum for part in parts),
            last=max(part.last for part in parts),
            cpu=sum(part.cpu for part in parts),
            stray=sum(part.stray for part in parts),
            lost=sum((part.lost for part in parts), Counter()),
        )

    def pump(self, address: tuple[str, int], work: Work, connections: int, seconds: float) -> list[Pumped]:
        """Questions and answers from every process; `connections` over all of them."""
        shares = self._shares(connections)
        return self._all("pump", lambda n: (address, work, shares[n], seconds))

    def close(self) -> None:
        """Close all clients; the processes stay."""
        self._all("close", lambda number: ())

    def stop(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()
            process.join(10)
