"""The command line: ``python -m benchmarks MEASURE|all [options]``, or ``headline`` with its own options."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import inputs, measures, replies, scaling, sockets, streamed
from benchmarks.events import Events
from benchmarks.headline.command import main as headline
from benchmarks.load import FILES_KEPT_FREE, LoadProcesses
from benchmarks.measures import Bench, Settings
from benchmarks.origin import OriginProcess
from benchmarks.process import raise_file_limit, wait_for_quiet
from benchmarks.report import Report, machine
from benchmarks.servers import CLIENTS_MAX, SERVERS, NotStarted, Server

MEASURES = {
    **measures.MEASURES,
    **inputs.MEASURES,
    **sockets.MEASURES,
    **replies.MEASURES,
    **streamed.MEASURES,
    **scaling.MEASURES,
}
OTHERS_MAX = 0.1  # share of the machine that others may use before the reader is warned


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="This program and its peers; headline --help: a demonstration of its own",
    )
    parser.add_argument("measure", choices=[*MEASURES, "all"])
    parser.add_argument("--servers", default=",".join(SERVERS), help="comma-separated, of: %(default)s")
    parser.add_argument("--clients", type=int, default=10000, help="held clients (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (%(default)s)")
    parser.add_argument("--size", type=int, default=100, help="bytes of a published message (%(default)s)")
    parser.add_argument("--holds", type=int, default=3000, help="new holds per round (%(default)s)")
    parser.add_argument("--sockets", type=int, default=5000, help="WebSockets (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="seconds per round of requests (%(default)s)"
    )
    parser.add_argument(
        "--patience", type=float, default=20.0, help="seconds to wait for a quiet machine (%(default)s)"
    )
    parser.add_argument("--loads", type=int, default=1, help="load processes (%(default)s)")
    parser.add_argument(
        "--log-level", type=int, default=1, help="of the servers (%(default)s; 2 logs requests)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results here")
    parser.add_argument("--text", type=Path, metavar="FILE", help="keep what is printed here")
    options = parser.parse_args()
    if unknown := set(options.servers.split(",")) - set(SERVERS):
        parser.error(f"unknown server: {', '.join(unknown)}")
    for name in ("clients", "sockets"):
        if not 0 < getattr(options, name) <= CLIENTS_MAX:
            parser.error(f"--{name}: 1 to {CLIENTS_MAX}")
    if options.size < 60:
        parser.error("--size: at least 60")
    return options


def _available(names: list[str]) -> tuple[list[type[Server]], dict[str, str]]:
    kinds, versions = [], {}
    for name in names:
        reason = SERVERS[name].missing()
        versions[name] = f"not measured: {reason}" if reason else SERVERS[name].version()
        if not reason:
            kinds.append(SERVERS[name])
    return kinds, versions


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Run the chosen measures over all available servers and print the report."""
    if sys.argv[1:2] == ["headline"]:
        headline(sys.argv[2:])
        return
    options = _arguments()
    limit = raise_file_limit()
    settings = Settings(
        clients=options.clients,
        rounds=options.rounds,
        size=options.size,
        holds=options.holds,
        sockets=options.sockets,
        seconds=options.seconds,
        loads=max(options.loads, -(-max(options.clients, options.sockets) // (limit - FILES_KEPT_FREE))),
        log_level=options.log_level,
    )
    kinds, versions = _available(options.servers.split(","))
    report = Report(machine(), versions, asdict(settings))
    print(report.head(), flush=True)
    origin, events = OriginProcess(), OriginProcess(Events)
    loads = LoadProcesses(settings.loads)
    try:
        bench = Bench(settings, origin, events, loads, _say)
        for name in MEASURES if options.measure == "all" else [options.measure]:
            new_table, measure = MEASURES[name]
            table = new_table()
            for kind in kinds:
                busy = wait_for_quiet(OTHERS_MAX, options.patience)
                _say(f"{name}: {kind.name}")
                try:
                    measure(bench, kind, table)
                except NotStarted as error:
                    _say(str(error))
                    table.notes.append(f"{kind.name}: did not start")
                if busy > OTHERS_MAX:
                    table.notes.append(
                        f"{kind.name}: others used {busy:.0%} of the machine just before: repeat"
                    )
            table.notes += [kind.note for kind in kinds if kind.note]
            report.tables.append(table)
            print("\n" + table.text(), flush=True)
    finally:
        loads.stop()
        origin.stop()
        events.stop()
    if options.json:
        options.json.write_text(report.json())
    if options.text:
        options.text.write_text(report.text())


if __name__ == "__main__":
    main()
