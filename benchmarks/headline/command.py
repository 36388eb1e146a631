"""The command line of the demonstration: start everything, set headlines, print what happened.

Called by ``python -m benchmarks headline``.  The log goes to standard output while headlines arrive, the
tables follow at the end.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

from benchmarks.headline.crowd import Crowds, Plan
from benchmarks.headline.demonstration import Demonstration, Service, Usage
from benchmarks.headline.figures import Round, table_of
from benchmarks.headline.plot import plot
from benchmarks.headline.proxies import NotStarted, Proxies
from benchmarks.headline.reading import POLL, STREAM
from benchmarks.headline.sizes import Machine, Size, Wish, size_of
from benchmarks.process import Memory, raise_file_limit
from benchmarks.report import Report, Table, machine
from benchmarks.servers import Ours

CLIENTS = 100_000  # as in the demonstration that the authors of the original published
NEEDED = ("django", "gripcontrol")
SLICE = 20_000  # above what a proxy holds: all its clients have the headline before it hears from them again
AT_ONCE = 256  # clients that connect at the same time


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks headline", description="One headline, pushed to many clients at once"
    )
    parser.add_argument("--clients", type=_natural, default=CLIENTS, help="how many (%(default)s)")
    parser.add_argument("--variant", choices=[POLL, STREAM], default=POLL, help="of clients (%(default)s)")
    parser.add_argument("--workers", type=_natural, help="processes of each proxy (as descriptors ask for)")
    parser.add_argument("--instances", type=_natural, help="independent proxies (1)")
    parser.add_argument("--rounds", type=_natural, default=5, help="headlines (%(default)s)")
    parser.add_argument(
        "--publish-interval", type=float, default=0.0, metavar="S", help="least seconds between headlines"
    )
    parser.add_argument(
        "--slice", type=_natural, default=SLICE, help="delivery_slice of the proxies (%(default)s)"
    )
    parser.add_argument("--text", type=Path, metavar="FILE", help="keep the tables here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the tables here, for programs")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the round in the middle (PNG)")
    return parser.parse_args(words)


def _natural(word: str) -> int:
    if (number := int(word)) < 1:
        raise ValueError
    return number


def this_machine() -> Machine:
    """What bounds a run here."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return Machine(
        files=raise_file_limit(),
        all_files=int(Path("/proc/sys/fs/file-max").read_text()),
        memory=int(fields["MemAvailable"].split()[0]) * 1024,
    )


def run(
    options: argparse.Namespace, size: Size, say: Callable[[str], None]
) -> tuple[list[Table], list[Round]]:
    """The whole demonstration; returns its tables, and the rounds that the last one is about."""
    proxies = Proxies(size.instances, size.workers, size.proxy_clients, options.slice)
    service, crowds = Service(proxies.controls), None
    try:
        proxies.start(service.port)
        empty, start = proxies.memory(), time.monotonic()
        crowds = Crowds(_plans(options.variant, size, proxies))
        demonstration = Demonstration(proxies, service, crowds, say)
        before = demonstration.usage()
        seconds = demonstration.open(size.clients)
        say(f"{crowds.total.opened:,} clients connected in {seconds:.1f} s")
        demonstration.settle()
        tables = [_opening_table(crowds, seconds, demonstration.usage() - before, proxies, empty)]
        rounds = []
        for number in range(1, options.rounds + 1):
            time.sleep(max(start - time.monotonic(), 0))
            start = time.monotonic() + options.publish_interval
            rounds.append(demonstration.headline(number))
        title = f"{options.variant}: one headline to {crowds.here:,} clients"
        tables.append(table_of(rounds, title))
        tables[-1].notes += [f"{count} lost: {reason}" for reason, count in crowds.total.lost.most_common()]
        return tables, rounds
    finally:
        if crowds is not None:
            crowds.stop()
        proxies.stop()
        service.stop()


def _plans(variant: str, size: Size, proxies: Proxies) -> list[Plan]:
    at_once = max(AT_ONCE // len(size.crowds), 1)
    apart = size.instances > 1  # as many shares of the processor for clients as for proxies
    return [
        Plan(variant, proxies.addresses, number, count, at_once, apart)
        for number, count in enumerate(size.crowds)
    ]


def _opening_table(crowds: Crowds, seconds: float, used: Usage, proxies: Proxies, empty: Memory) -> Table:
    """What came of connecting all clients, and what holding them takes."""
    columns = (
        *(
            "clients",
            "failed",
            "seconds",
            "clients/s",
            "backend requests",
            "proxies s",
            "clients s",
            "backend s",
        ),
        *("processes", "MB together", "KB/client"),
    )
    memory, opened = proxies.memory(), crowds.total.opened
    each = (memory.pss - empty.pss) / opened / 1024 if opened else None
    row = [opened, sum(crowds.total.failed.values()), seconds, opened / seconds, used.asked]
    table = Table(
        "all clients connect, and wait",
        columns,
        [[*row, used.proxies, used.clients, used.backend, proxies.processes(), memory.pss / 2**20, each]],
    )
    table.notes += [f"{count} failed: {reason}" for reason, count in crowds.total.failed.most_common()]
    table.notes.append(
        "s: seconds of processor time; memory is that of all proxies (PSS), and what a client adds to it"
    )
    return table


def _middle(rounds: Sequence[Round]) -> Round | None:
    """The round with the middle average."""
    known = sorted((one for one in rounds if one.seconds), key=lambda one: fmean(one.seconds))
    return known[(len(known) - 1) // 2] if known else None


def _say(text: str) -> None:
    print(text, flush=True)


def main(words: Sequence[str]) -> None:
    """Run the demonstration as the command line says."""
    options = arguments(words)
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        sys.exit(f"The headline service needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    size = size_of(Wish(options.clients, options.instances, options.workers), this_machine())
    for note in size.notes:
        _say(note)
    settings: dict[str, object] = {
        "variant": options.variant,
        "clients": size.clients,
        "instances": size.instances,
        "workers": size.workers,
        "processes of clients": len(size.crowds),
        "delivery_slice": options.slice,
    }
    report = Report(machine(), {"proxies": Ours.version()}, settings)
    _say(report.head() + "\n")
    try:
        tables, rounds = run(options, size, _say)
    except NotStarted as error:
        sys.exit(str(error))
    report.tables += tables
    for table in tables:
        _say("\n" + table.text())
    if options.text:
        options.text.write_text(report.text())
    if options.json:
        options.json.write_text(report.json())
    middle = _middle(rounds)
    if options.plot and middle is not None:
        options.plot.write_bytes(plot(middle.seconds, len(middle.seconds)))
