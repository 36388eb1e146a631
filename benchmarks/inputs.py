"""The measures of publish inputs over ZeroMQ: how many items a second come through PULL and through SUB.

Called by the command line. A publisher sends all items of a round as fast as it can; the round ends when the
last byte of the last item has arrived. First each stream listens to a channel of its own and the items go to
one after the other, so that an input's own cost is what counts; then all streams listen to one channel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from benchmarks.listeners import Child, Heard, Listeners, Publisher
from benchmarks.measures import Bench, losses
from benchmarks.origin import CHANNEL
from benchmarks.report import Table, middle
from benchmarks.servers import Pushpin, Server, get_request

HOLDS = 1000  # streams
OWN_ITEMS = 20_000  # items of a round when each stream has a channel of its own
SHARED_ITEMS = 100  # when all have one
PATIENCE = 120.0  # seconds for a round
SUBSCRIBE_PATIENCE = 20.0  # seconds for the server to subscribe to all channels

Round = tuple[float, float, Heard]


def inputs_table() -> Table:
    """The empty table of `inputs`."""
    return Table(
        f"inputs: items over ZeroMQ to {HOLDS} held streams",
        (
            *("server", "input", "channels", "items", "lost", "items/s", "deliveries/s"),
            *("server us/item", "load busy %"),
        ),
        notes=[
            f"{HOLDS} channels: a stream on each, the items go to one after the other",
            "items/s: items / time from the first send until the last client has all of its own",
        ],
    )


def inputs(bench: Bench, kind: type[Server], table: Table) -> None:
    """Items per second through each input, to channels in turn and to one channel."""
    if not issubclass(kind, Pushpin):
        table.notes.append(f"{kind.name}: has no ZeroMQ inputs")
        return
    for own in (True, False):
        for push in (True, False):
            listeners, publisher = Child(Listeners), Child(Publisher)
            try:
                with bench.start(kind) as server:
                    measure_input(bench, server, table, listeners, publisher, own, push)
            finally:
                listeners.stop()
                publisher.stop()


def measure_input(
    bench: Bench,
    server: Server,
    table: Table,
    listeners: Child,
    publisher: Child,
    own: bool,
    push: bool,
    parts: Sequence[Callable[[], float]] = (),
) -> None:
    """All rounds of items to streams on channels of their `own` or on one, by PULL (`push`) or SUB: a row.

    `parts` tell the processor time of parts of the server; each gets a column behind that of all of it.
    """
    clocks = [server.program.cpu_seconds, *parts]
    paths = [f"/stream/{number}" if own else "/stream" for number in range(HOLDS)]
    held = listeners.ask("open", server.address, [get_request(path) for path in paths], server.opening)
    channels = [f"{CHANNEL}-{number}" for number in range(HOLDS)] if own else [CHANNEL]
    name = "PULL" if push else "SUB"
    bench.say(f"{server.name}: {name}, {held} streams on {len(channels)} channels")
    spec = server.pull_spec if push else server.sub_spec
    told = publisher.ask("connect", push, spec, len(channels), SUBSCRIBE_PATIENCE)
    if not push and told < len(channels):
        table.notes.append(f"{server.name}: subscribed to {told} of {len(channels)} channels only")
    count = OWN_ITEMS if own else SHARED_ITEMS
    rates, busy = [], []
    costs: list[list[float]] = [[] for _ in clocks]
    lost: Counter[str] = Counter()
    for number in range(bench.settings.rounds + 1):
        contents = bench.content(f"{server.name} {name} {number}", count)
        before = [clock() for clock in clocks]
        start, _sent, heard = _round(listeners, publisher, contents, channels, push)
        used = [clock() - was for clock, was in zip(clocks, before, strict=True)]
        server.program.settle()
        lost += heard.lost
        if number and heard.whole == held:
            seconds = heard.last - start
            rates.append(count / seconds)
            for cost, cpu in zip(costs, used, strict=True):
                cost.append(cpu / count * 1e6)
            busy.append(heard.cpu / seconds * 100)
    rate = middle(rates)
    deliveries = None if rate is None else rate * (1 if own else held)
    table.rows.append(
        [
            *(server.name, name, len(channels), count, sum(lost.values())),
            *(rate, deliveries, *map(middle, costs), middle(busy)),
        ]
    )
    table.notes += [f"{server.name} {name}: {loss}" for loss in losses(lost)]


def _round(
    listeners: Child, publisher: Child, contents: list[bytes], channels: list[str], push: bool
) -> Round:
    publisher.ask("prepare", channels, contents, push)
    listeners.tell("receive", [contents[n :: len(channels)] for n in range(len(channels))], PATIENCE)
    listeners.answer()  # it is ready
    publisher.tell("send")
    start, sent = publisher.answer()
    return start, sent, listeners.answer()


MEASURES: dict[str, tuple[Callable[[], Table], Callable[[Bench, type[Server], Table], None]]] = {
    "inputs": (inputs_table, inputs),
}
