"""The measures of HTTP. Each takes one server at a time, all rounds of it, and adds a row to its table.

Called by the command line with the settings of the run. Every figure is the median of the rounds; what
went wrong is summed up over all of them, never left out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.held import Opened, Received
from benchmarks.load import LoadProcesses
from benchmarks.origin import PLAIN_BODY, OriginProcess
from benchmarks.pump import Work
from benchmarks.report import Table, middle
from benchmarks.servers import RESPONSE, SOCKET, STREAM, Server
from benchmarks.verify import Check, is_response, is_stream_content, is_stream_opening

AT_ONCE = 256  # clients that connect at the same time
OPEN_PATIENCE = 120.0  # seconds for all clients of a server to be held
STEP_PATIENCE = 2.0  # seconds for the origin to be asked about a step of clients; some may be lost
ROUND_PATIENCE = 60.0  # seconds for one message to reach everybody
BURST = 20  # items in one POST of the burst rounds
CONNECTIONS = 32  # kept-alive connections of plain requests
HELD_AS = {STREAM: "stream", RESPONSE: "response", SOCKET: "WebSocket"}
WARM_UP = 50  # clients that come and go before memory is read for the first time


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line may change."""

    clients: int
    rounds: int
    size: int
    holds: int
    sockets: int
    seconds: float
    loads: int
    log_level: int


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measure works with."""

    settings: Settings
    origin: OriginProcess
    events: OriginProcess
    loads: LoadProcesses
    say: Callable[[str], None]

    def start(self, kind: type[Server], compress: bool = False) -> Server:
        """A server that is not yet started; `with` starts it."""
        return kind(self.origin.port, self.events.port, self.settings.log_level, compress)

    def content(self, name: str, count: int = 1) -> list[bytes]:
        """`count` different messages of the size that was set, each a line."""
        size = self.settings.size
        return [f"{name} {n} ".encode().ljust(size - 1, b".")[: size - 1] + b"\n" for n in range(count)]


def losses(lost: Counter[str]) -> list[str]:
    return [f"{count} lost: {reason}" for reason, count in lost.most_common()]


def _open(bench: Bench, server: Server) -> Opened:
    return bench.loads.open(
        server.stream_request, opening_of(server), bench.settings.clients, AT_ONCE, OPEN_PATIENCE
    )


def opening_of(server: Server) -> Check:
    """What a stream of this server begins with."""
    return partial(is_stream_opening, opening=server.opening)


@dataclass(slots=True)
class Round:
    """One message (or burst) to everybody."""

    received: Received
    start: float
    server_cpu: float

    @property
    def seconds(self) -> float:
        return self.received.last - self.start


def one_round(
    bench: Bench, server: Server, contents: list[bytes], as_what: str, is_content: Callable[..., bool]
) -> Round:
    """Publish `contents` at once, and wait until everybody has them."""
    server.program.settle()
    start = cpu = 0.0

    def publish() -> None:
        nonlocal start, cpu
        cpu = server.program.cpu_seconds()
        start = server.publish(contents, as_what)

    is_whole = partial(is_content, content=b"".join(contents))
    received = bench.loads.receive(is_whole, publish, ROUND_PATIENCE)
    return Round(received, start, server.program.cpu_seconds() - cpu)


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
        bench.say(f"{kind.name}: {opened.opened} streams held after {opened.end - opened.start:.1f} s")
        deliver(bench, server, table, opened, [kind.name], STREAM, is_stream_content)
        bench.loads.close()


def deliver(
    bench: Bench,
    server: Server,
    table: Table,
    opened: Opened,
    words: Sequence[object],
    as_what: str,
    is_content: Callable[..., bool],
) -> None:
    """All rounds of messages to the clients that were opened: a row that begins with `words` for single
    messages, and one for bursts."""
    name = " ".join(str(word) for word in words)
    lost = opened.lost
    for items in (1, BURST):
        rounds = [
            one_round(bench, server, bench.content(f"{name} {items} {number}", items), as_what, is_content)
            for number in range(bench.settings.rounds + 1)
        ]
        lost += sum((one.received.lost for one in rounds), Counter())
        table.rows.append(
            [*words, items, opened.opened, sum(lost.values()), *_fanout_figures(rounds[1:], items)]
        )
        if stray := sum(one.received.stray for one in rounds):
            table.notes.append(f"{name}: {stray} clients received something that was not published")
    table.notes += [f"{name}: {loss}" for loss in losses(lost)]


def _fanout_figures(rounds: list[Round], items: int) -> list[float | None]:
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
            arrive(bench, server, table, at_once, sources, server.stream_request, opening_of(server))


def arrive(
    bench: Bench,
    server: Server,
    table: Table,
    at_once: int,
    sources: Iterator[int],
    request: bytes,
    is_open: Check,
) -> None:
    """All rounds of clients that come and go: a row."""
    rounds = [
        _arrivals(bench, server, at_once, next(sources), request, is_open)
        for _ in range(bench.settings.rounds + 1)
    ]
    lost = sum((opened.lost for opened, _cpu in rounds), Counter())
    rates = [opened.opened / (opened.end - opened.start) for opened, _cpu in rounds[1:]]
    costs = [cpu / opened.opened * 1e6 for opened, cpu in rounds[1:] if opened.opened]
    table.rows.append([server.name, at_once, middle(rates), sum(lost.values()), middle(costs)])
    table.notes += [f"{server.name}, {at_once} at once: {loss}" for loss in losses(lost)]


def _arrivals(
    bench: Bench, server: Server, at_once: int, source: int, request: bytes, is_open: Check
) -> tuple[Opened, float]:
    """Open the clients of a round and close them; also returns the processor time of the server."""
    server.program.settle()
    bench.loads.target(server.address, source)
    cpu = server.program.cpu_seconds()
    opened = bench.loads.open(request, is_open, bench.settings.holds, at_once, OPEN_PATIENCE)
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
        work = Work(server.plain_request, partial(is_response, content=PLAIN_BODY))
        ask(bench, table, kind.name, server.address, work, server.program.cpu_seconds)


def ask(
    bench: Bench,
    table: Table,
    name: str,
    address: tuple[str, int],
    work: Work,
    cpu_seconds: Callable[[], float],
    connections: int = CONNECTIONS,
) -> None:
    """All rounds of questions: a row."""
    rates, costs, busy = [], [], []
    wrong: Counter[str] = Counter()
    for number in range(bench.settings.rounds + 1):
        cpu = cpu_seconds()
        parts = bench.loads.pump(address, work, connections, bench.settings.seconds)
        cpu = cpu_seconds() - cpu
        whole = sum(part.whole for part in parts)
        if number and whole:
            wrong += sum((part.wrong for part in parts), Counter())
            seconds = max(part.seconds for part in parts)
            rates.append(whole / seconds)
            costs.append(cpu / whole * 1e6)
            busy.append(sum(part.cpu for part in parts) / seconds * 100)
    table.rows.append([name, middle(rates), sum(wrong.values()), middle(costs), middle(busy)])
    table.notes += [f"{name}: {loss}" for loss in losses(wrong)]


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
    with bench.start(kind) as server:
        warm_up(bench, server, server.stream_request, opening_of(server))
        grow(bench, server, table, STREAM, _open, is_stream_content)
    with bench.start(kind) as server:
        warm_up(bench, server, server.stream_request, opening_of(server))
        grow(bench, server, table, RESPONSE, _open_responses, is_response)


def warm_up(bench: Bench, server: Server, request: bytes, is_open: Check) -> None:
    """Let a few clients come and go."""
    bench.loads.target(server.address, 1)
    bench.loads.open(request, is_open, WARM_UP, 8, OPEN_PATIENCE)
    bench.loads.target(server.address, 2)


def grow(
    bench: Bench,
    server: Server,
    table: Table,
    as_what: str,
    fill: Callable[[Bench, Server], object],
    is_content: Callable[..., bool],
) -> None:
    """By how much the server grows when `fill` opens its clients: a row."""
    server.program.settle()
    before = server.program.memory()
    fill(bench, server)
    server.program.settle()
    after = server.program.memory()
    contents = bench.content(f"{server.name} proof")
    proof = one_round(bench, server, contents, as_what, is_content).received
    grown = after - before
    held = max(proof.whole, 1)
    table.rows.append(
        [
            *(server.name, HELD_AS[as_what], proof.whole),
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
