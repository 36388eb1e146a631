"""The Autobahn test suite against the proxy: ``make wstest``, or ``python -m tests.wstest [SETUP...]``.

The suite is a program of its own, for Python 2.7; the Makefile installs it.  It talks to an echo server
through the proxy, judges every answer and writes a report; from that comes the table that is printed.  Ends
with 1 when a case has failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.wstest.report import Results, describe
from tests.wstest.setups import SETUPS, Setup

PROGRAM = ".venv/wstest/bin/wstest"
DEFAULT = ["pushpin_tw", "pushpin_tw-http"]
SECONDS = 3600.0
"""Within which a run must end; that of the longest sections takes a third of it."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.wstest", description="The Autobahn test suite")
    known, usual = ", ".join(SETUPS), " ".join(DEFAULT)
    parser.add_argument("setup", nargs="*", default=DEFAULT, help=f"of: {known} (if none: {usual})")
    parser.add_argument("--cases", help="comma-separated, like 5.*,6.4.1 (if absent: those of the setup)")
    parser.add_argument("--wstest", default=PROGRAM, help="the suite's program (%(default)s)")
    parser.add_argument("--report", type=Path, help="keep the suite's own report in this directory")
    options = parser.parse_args()
    if unknown := set(options.setup) - set(SETUPS):
        parser.error(f"unknown setup: {', '.join(sorted(unknown))}")
    return options


def run(name: str, setup: Setup, cases: list[str], program: str, directory: Path, reports: Path) -> Results:
    """Start a setup and let the suite judge it; files go into ``directory``, its report into ``reports``."""
    with setup.start(directory, setup.compress) as port:
        server = {"agent": name, "url": f"ws://127.0.0.1:{port}"}
        spec = {"outdir": str(reports), "servers": [server], "cases": cases, "exclude-cases": []}
        # The suite stops at a spec that lacks this.
        spec["exclude-agent-cases"] = {}
        file = directory / "spec.json"
        file.write_text(json.dumps(spec))
        log = directory / "suite.log"
        with open(log, "wb") as output:
            command = [program, "-m", "fuzzingclient", "-s", str(file)]
            code = subprocess.run(
                command, stdout=output, stderr=subprocess.STDOUT, timeout=SECONDS
            ).returncode
        if code:
            sys.exit(f"the suite ended with {code}:\n{log.read_text()[-2000:]}")
    return Results.read(reports, name)


def main() -> None:
    options = arguments()
    failed = False
    with tempfile.TemporaryDirectory(prefix="wstest-") as room:
        reports = (options.report or Path(room) / "reports").absolute()
        for name in options.setup:
            setup = SETUPS[name]
            cases = options.cases.split(",") if options.cases else [f"{part}.*" for part in setup.sections]
            directory = Path(room) / name
            directory.mkdir()
            start = time.monotonic()
            results = run(name, setup, cases, options.wstest, directory, reports)
            print(f"\n{setup.title} ({time.monotonic() - start:.0f} s)\n\n{describe(results)}", flush=True)
            failed = failed or bool(results.failed())
    if options.report:
        print(f"\nEvery conversation: {reports / 'index.html'}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
