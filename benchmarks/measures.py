"""The four measures. Each takes one server at a time, all rounds of it, and adds a row to its table.

Called by the command line with the settings of the run. Every figure is the median of the rounds; what
went wrong is summed up over all of them, never left out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.held import Opened, Received
from benchmarks.load import LoadProcesses
from benchmarks.origin import PLAIN_BODY, OriginProcess
from benchmarks.report import Table, middle
from benchmarks.servers import Server

AT_ONCE = 256  # clients that connect at the same time
OPEN_PATIENCE = 120.0  # seconds for all clients of a server to be held
STEP_PATIENCE = 2.0  # seconds for the origin to be asked about a step of clients; some may be lost
ROUND_PATIENCE = 30.0  # seconds for one message to reach everybody
BURST = 20  # items in one POST of the burst rounds
CONNECTIONS = 32  # kept-alive connections of plain requests
WARM_UP = 50  # clients that come and go before memory is read for the first time


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line may change."""

    clients: int
    rounds: int
    size: int
    holds: int
    seconds: float
    loads: int
    log_level: int


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measure works with."""

    settings: Settings
    origin: OriginProcess
    loads: LoadProcesses
    say: Callable[[str], None]

    def start(self, kind: type[Server]) -> Server:
        """A server that is not yet started; `with` starts it."""
        return kind(self.origin.port, self.settings.log_level)

    def content(self, name: str, count: int = 1) -> list[bytes]:
        """`count` different messages of the size that was set, each a line."""
        size = self.settings.size
        return [f"{name} {n} ".encode().ljust(size - 1, b".")[: size - 1] + b"\n" for n in range(count)]


def _losses(lost: Counter[str]) -> list[str]:
    return [f"{count} lost: {reason}" for reason, count in lost.most_common()]


def _open(bench: Bench, server: Server) -> Opened:
    return bench.loads.open_streams(
        server.stream_request, server.opening, bench.settings.clients, AT_ONCE, OPEN_PATIENCE
    )


@dataclass(slots=True)
class _Round:
    """One message (or burst) to everybody."""

    received: Received
    start: float
    server_cpu: float

    @property
    def seconds(self) -> float:
        return self.received.last - self.start


def _round(bench: Bench, server: Server, contents: list[bytes], streams: bool = True) -> _Round:
    server.program.settle()
    start = cpu = 0.0

    def publish() -> None:
        nonlocal start, cpu
        cpu = server.program.cpu_seconds()
        start = server.publish(contents, streams)

    received = bench.loads.receive(b"".join(contents), streams, publish, ROUND_PATIENCE)
    return _Round(received, start, server.program.cpu_seconds() - cpu)


def fanout_table() -> Table:
    """The empty table of `fanout`."""
    return Table(
        "fanout: one publish to all held streams",
        (
            *("server", "items", "clients", "lost", "deliveries/s", "average ms", "last ms"),
            *("server us/delivery", "load busy %"),
        ),
        notes=[
            "deliveries/s: clients x items / time from start of POST until the last client has all of it",
            f"lost: clients refused, closed or not served while all connect, {AT_ONCE} at once, or later",
        ],
    )


def fanout(bench: Bench, kind: type[Server], table: Table) -> None:
    """Deliveries per second, average and last latency of one publish to all held streams; then of a burst."""
    with bench.start(kind) as server:
        bench.loads.target(server.address, 1)
        opened = _open(bench, server)
        lost = opened.lost
        bench.say(f"{kind.name}: {opened.opened} streams held after {opened.end - opened.start:.1f} s")
        for items in (1, BURST):
            rounds = [
                _round(bench, server, bench.content(f"{kind.name} {items} {number}", items))
                for number in range(bench.settings.rounds + 1)
            ]
            lost += sum((one.received.lost for one in rounds), Counter())
            table.rows.append(
                [kind.name, items, opened.opened, sum(lost.values()), *_fanout_figures(rounds[1:], items)]
            )
            if stray := sum(one.received.stray for one in rounds):
                table.notes.append(f"{kind.name}: {stray} clients received something that was not published")
        table.notes += [f"{kind.name}: {loss}" for loss in _losses(lost)]
        bench.loads.close()


def _fanout_figures(rounds: list[_Round], items: int) -> list[float | None]:
    """The medians of the columns that are times or rates."""
    whole = [one for one in rounds if one.received.whole]
    return [
        middle([one.received.whole * items / one.seconds for one in whole]),
        middle([(one.received.time_sum / one.received.whole - one.start) * 1e3 for one in whole]),
        middle([one.seconds * 1e3 for one in whole]),
        middle([one.server_cpu / one.received.whole / items * 1e6 for one in whole]),
        middle([one.received.cpu / one.seconds * 100 for one in whole]),
    ]


def holds_table() -> Table:
    """The empty table of `holds`."""
    return Table(
        "holds: new held streams per second",
        ("server", "at once", "holds/s", "lost", "server us/hold"),
        notes=["a hold: connect, GET, the origin's instruction; head and first content arrived"],
    )


def holds(bench: Bench, kind: type[Server], table: Table) -> None:
    """New holds per second, each on a connection of its own, with 32 and with 256 on their way at a time."""
    sources = iter(
        range(10, 250)
    )  # another address each round: a closed connection keeps its port for a minute
    with bench.start(kind) as server:
        for at_once in (32, AT_ONCE):
            rounds = [
                _holds_round(bench, server, at_once, next(sources)) for _ in range(bench.settings.rounds + 1)
            ]
            lost = sum((opened.lost for opened, _cpu in rounds), Counter())
            rates = [opened.opened / (opened.end - opened.start) for opened, _cpu in rounds[1:]]
            costs = [cpu / opened.opened * 1e6 for opened, cpu in rounds[1:] if opened.opened]
            table.rows.append([kind.name, at_once, middle(rates), sum(lost.values()), middle(costs)])
            table.notes += [f"{kind.name}, {at_once} at once: {loss}" for loss in _losses(lost)]


def _holds_round(bench: Bench, server: Server, at_once: int, source: int) -> tuple[Opened, float]:
    """Open the holds of a round and close them; also returns the processor time of the server."""
    server.program.settle()
    bench.loads.target(server.address, source)
    cpu = server.program.cpu_seconds()
    opened = bench.loads.open_streams(
        server.stream_request, server.opening, bench.settings.holds, at_once, OPEN_PATIENCE
    )
    cpu = server.program.cpu_seconds() - cpu
    bench.loads.close()
    return opened, cpu


def requests_table() -> Table:
    """The empty table of `requests`."""
    return Table(
        f"requests: plain proxied requests per second, {CONNECTIONS} kept-alive connections",
        ("server", "requests/s", "wrong", "server us/request", "load busy %"),
    )


def requests(bench: Bench, kind: type[Server], table: Table) -> None:
    """Plain proxied requests per second."""
    with bench.start(kind) as server:
        rates, costs, busy = [], [], []
        wrong: Counter[str] = Counter()
        for number in range(bench.settings.rounds + 1):
            cpu = server.program.cpu_seconds()
            parts = bench.loads.pump(
                server.address, server.plain_request, PLAIN_BODY, CONNECTIONS, bench.settings.seconds
            )
            cpu = server.program.cpu_seconds() - cpu
            whole = sum(part.whole for part in parts)
            if number and whole:
                wrong += sum((part.wrong for part in parts), Counter())
                seconds = max(part.seconds for part in parts)
                rates.append(whole / seconds)
                costs.append(cpu / whole * 1e6)
                busy.append(sum(part.cpu for part in parts) / seconds * 100)
        table.rows.append([kind.name, middle(rates), sum(wrong.values()), middle(costs), middle(busy)])
        table.notes += [f"{kind.name}: {loss}" for loss in _losses(wrong)]


def memory_table() -> Table:
    """The empty table of `memory`."""
    return Table(
        "memory: user-space memory per held client",
        ("server", "held as", "clients", "PSS KB/client", "USS KB/client", "PSS MB before", "PSS MB after"),
        notes=[
            "KB of 1024 bytes: growth over all processes of the server, divided by the held clients",
            "clients: those that a publish reached afterwards",
        ],
    )


def memory(bench: Bench, kind: type[Server], table: Table) -> None:
    """Memory per held client, as streams and as response holds, each in a fresh server."""
    for streams in (True, False):
        with bench.start(kind) as server:
            bench.loads.target(server.address, 1)
            bench.loads.open_streams(server.stream_request, server.opening, WARM_UP, 8, OPEN_PATIENCE)
            bench.loads.target(server.address, 2)
            server.program.settle()
            before = server.program.memory()
            if streams:
                _open(bench, server)
            else:
                _open_responses(bench, server)
            server.program.settle()
            after = server.program.memory()
            proof = _round(bench, server, bench.content(f"{kind.name} proof"), streams).received
            grown = after - before
            held = max(proof.whole, 1)
            table.rows.append(
                [
                    *(kind.name, "stream" if streams else "response", proof.whole),
                    *(grown.pss / held / 1024, grown.uss / held / 1024),
                    *(before.pss / 2**20, after.pss / 2**20),
                ]
            )
            bench.loads.close()


def _open_responses(bench: Bench, server: Server) -> None:
    """Hold responses in steps: the origin's count tells when those of a step have been asked about."""
    deadline = time.monotonic() + OPEN_PATIENCE
    left = bench.settings.clients
    while left and time.monotonic() < deadline:
        step = min(AT_ONCE, left)
        left -= step
        goal = bench.origin.asked() + step
        bench.loads.send_only(server.hold_request, step)
        step_deadline = time.monotonic() + STEP_PATIENCE
        while bench.origin.asked() < goal and time.monotonic() < step_deadline:
            time.sleep(0.01)


MEASURES: dict[str, tuple[Callable[[], Table], Callable[[Bench, type[Server], Table], None]]] = {
    "fanout": (fanout_table, fanout),
    "holds": (holds_table, holds),
    "requests": (requests_table, requests),
    "memory": (memory_table, memory),
}
