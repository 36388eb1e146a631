"""The measures of WebSockets: as those of HTTP, with clients that were switched.

Called by the command line. All WebSockets are opened over HTTP: the origin answers with events.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.events import CONTENT_TYPE, event
from benchmarks.held import Opened
from benchmarks.measures import (
    AT_ONCE,
    CONNECTIONS,
    OPEN_PATIENCE,
    Bench,
    arrive,
    ask,
    deliver,
    fanout_table,
    grow,
    holds_table,
    memory_table,
    warm_up,
)
from benchmarks.pump import Work
from benchmarks.report import Table
from benchmarks.servers import SOCKET, Nchan, Server, post_request
from benchmarks.verify import is_echo, is_response, is_socket_content, is_switched

PLAIN = partial(is_switched, compressed=False)
MASK = b"\x1f\x2e\x3d\x4c"


def _open(bench: Bench, server: Server, compressed: bool = False) -> Opened:
    is_open = partial(is_switched, compressed=compressed)
    count = bench.settings.sockets
    return bench.loads.open(server.socket_request, is_open, count, AT_ONCE, OPEN_PATIENCE)


def sockets_table() -> Table:
    """The empty table of `sockets`."""
    plain = fanout_table()
    first, *columns = plain.columns
    return Table("sockets: one publish to all WebSockets", (first, "compressed", *columns), notes=plain.notes)


def sockets(bench: Bench, kind: type[Server], table: Table) -> None:
    """As `fanout`, plain and compressed."""
    for compress in (False, True):
        with bench.start(kind, compress) as server:
            bench.loads.target(server.address, 1)
            opened = _open(bench, server, compress)
            bench.say(f"{kind.name}: {opened.opened} WebSockets after {opened.end - opened.start:.1f} s")
            words = [kind.name, "yes" if compress else "no"]
            deliver(bench, server, table, opened, words, SOCKET, is_socket_content)
            bench.loads.close()


def handshakes_table() -> Table:
    """The empty table of `handshakes`."""
    plain = holds_table()
    columns = [
        {"holds/s": "WebSockets/s", "server us/hold": "server us/WebSocket"}.get(c, c) for c in plain.columns
    ]
    return Table(
        "handshakes: new WebSockets per second, opened over HTTP",
        columns,
        notes=["connect, GET, OPEN at the origin; the 101 arrived"],
    )


def handshakes(bench: Bench, kind: type[Server], table: Table) -> None:
    """New WebSockets per second, with 32 and with 256 on their way at a time."""
    sources = iter(range(10, 250))
    with bench.start(kind) as server:
        for at_once in (CONNECTIONS, AT_ONCE):
            arrive(bench, server, table, at_once, sources, server.socket_request, PLAIN)


def socket_memory_table() -> Table:
    """The empty table of `socket_memory`."""
    table = memory_table()
    table.title = "socket_memory: user-space memory per idle WebSocket"
    return table


def socket_memory(bench: Bench, kind: type[Server], table: Table) -> None:
    """Memory per WebSocket that has said nothing."""
    with bench.start(kind) as server:
        warm_up(bench, server, server.socket_request, PLAIN)
        grow(bench, server, table, SOCKET, _open, is_socket_content)


def echo_table() -> Table:
    """The empty table of `echo`."""
    return Table(
        f"echo: messages per second and back over HTTP, {CONNECTIONS} WebSockets",
        ("server", "messages/s", "wrong", "server us/message", "load busy %"),
        notes=["(origin alone): the same events in the same origin, asked by the load itself"],
    )


def echo(bench: Bench, kind: type[Server], table: Table) -> None:
    """Messages of WebSockets that the origin sends back, each in a request of its own."""
    if kind is Nchan:
        table.notes.append("nchan: does not know WebSockets over HTTP")
        return
    message = bench.content(kind.name)[0]
    if not table.rows:
        _origin_alone(bench, message, table)
    masked = bytes(byte ^ MASK[n % 4] for n, byte in enumerate(message))
    frame = _frame_head(len(message), 0x80) + MASK + masked
    answer = partial(is_echo, content=message)
    with bench.start(kind) as server:
        work = Work(frame, answer, server.socket_request, PLAIN)
        ask(bench, table, kind.name, server.address, work, server.program.cpu_seconds)


def _frame_head(size: int, masked: int) -> bytes:
    if size < 126:
        return bytes((0x81, masked | size))
    return bytes((0x81, masked | 126)) + size.to_bytes(2, "big")


def _origin_alone(bench: Bench, message: bytes, table: Table) -> None:
    events = event("TEXT", message)
    request = post_request("/ws", events, f"Content-Type: {CONTENT_TYPE}")
    work = Work(request, partial(is_response, content=events))
    ask(bench, table, "(origin alone)", ("127.0.0.1", bench.events.port), work, lambda: 0.0)


MEASURES: dict[str, tuple[Callable[[], Table], Callable[[Bench, type[Server], Table], None]]] = {
    "sockets": (sockets_table, sockets),
    "handshakes": (handshakes_table, handshakes),
    "socket_memory": (socket_memory_table, socket_memory),
    "echo": (echo_table, echo),
}
