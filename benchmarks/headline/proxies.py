"""The proxies of a run: instances of this program that share a configuration file and nothing else.

Each is started with `--id` and `--port`, as a user would run several on one machine, and has as many
workers as were asked for: with one instance, that is all there is.  Used by `command`.
"""

from __future__ import annotations

import random
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import benchmarks
from benchmarks.process import Memory, Program

START_PATIENCE = 30.0  # seconds until an instance must answer
STRIDE = 10  # what `--id` adds to the ports of ZeroMQ and of the control API
PULL, CONTROL, SUB, COMMAND, HTTP = range(5)  # places in a stride
ASK_AT_ONCE = 2  # requests that an instance has under way at the backend
HTTP_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class NotStarted(Exception):
    """An instance did not answer; the text is what it wrote last."""


def free_block(count: int) -> int:
    """The first of `count` neighbouring ports of 127.0.0.1 that nobody listens on."""
    for _ in range(1000):
        first = random.randrange(20000, 32000 - count)
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise NotStarted(f"no {count} free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Proxies:
    """`instances` proxies with `workers` processes each; a context manager that starts and stops them."""

    def __init__(self, instances: int, workers: int, clients_max: int, slice_size: int) -> None:
        """`clients_max`: of one process; `slice_size`: deliveries in one turn."""
        self._instances = instances
        self._workers = workers
        self._clients_max = clients_max
        self._slice_size = slice_size
        self._first = free_block(STRIDE * instances)
        self._directory = Path()
        self._programs: list[Program] = []

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where clients connect, one for each instance."""
        return tuple(("127.0.0.1", self._first + STRIDE * n + HTTP) for n in range(self._instances))

    @property
    def controls(self) -> list[str]:
        """URLs to publish to, one for each instance."""
        return [f"http://127.0.0.1:{self._first + STRIDE * n + CONTROL}" for n in range(self._instances)]

    def configuration(self, backend_port: int) -> tuple[str, str]:
        """The texts of the configuration and of the routes file."""
        tw: dict[str, object] = {"delivery_slice": self._slice_size}
        if self._workers > 1:
            tw["workers"] = self._workers
        sections: dict[str, dict[str, object]] = {
            "global": {"rundir": self._directory / "run"},
            "runner": {"log_level": 1, "client_maxconn": self._clients_max * self._workers},
            "proxy": {"routesfile": "routes", "max_open_requests": ASK_AT_ONCE},
            "handler": {
                "push_in_spec": f"tcp://127.0.0.1:{self._first + PULL}",
                "push_in_http_port": self._first + CONTROL,
                "push_in_sub_specs": f"tcp://127.0.0.1:{self._first + SUB}",
                "command_spec": f"tcp://127.0.0.1:{self._first + COMMAND}",
                "share_all": "true",
            },
            "tw": tw,
        }
        lines = []
        for section, keys in sections.items():
            lines += [f"[{section}]", *(f"{key}={value}" for key, value in keys.items()), ""]
        return "\n".join(lines), f"* 127.0.0.1:{backend_port}\n"

    def start(self, backend_port: int) -> None:
        """Start all instances and wait until each answers.

        :raises NotStarted: when one does not.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="headline-"))
        text, routes = self.configuration(backend_port)
        file = self._directory / "pushpin.conf"
        file.write_text(text)
        (self._directory / "routes").write_text(routes)
        root = Path(benchmarks.__file__).parent.parent
        for number, (host, port) in enumerate(self.addresses):
            command = [
                *(sys.executable, "-m", "twisted", "pushpin", "--merge-output", f"--config={file}"),
                *(f"--id={number}", f"--port={host}:{port}"),
            ]
            self._programs.append(Program(command, self._directory / f"output-{number}", cwd=root))
        for address, program in zip(self.addresses, self._programs, strict=True):
            _wait_for_answer(address, program)

    def stop(self) -> None:
        """End all instances."""
        for program in self._programs:
            program.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def processes(self) -> int:
        """How many processes there are."""
        return sum(len(list(program.pids())) for program in self._programs)

    def memory(self) -> Memory:
        """Memory of all processes together: pages that several share are counted once."""
        total = Memory(0, 0)
        for program in self._programs:
            total += program.memory()
        return total

    def cpu_seconds(self) -> float:
        """Processor time of all processes so far."""
        return sum(program.cpu_seconds() for program in self._programs)

    def wanted_seconds(self) -> float:
        """The same, and the time that they have waited for a processor."""
        return sum(program.wanted_seconds() for program in self._programs)


def _wait_for_answer(address: tuple[str, int], program: Program) -> None:
    end = time.monotonic() + START_PATIENCE
    while time.monotonic() < end and program.running:
        try:
            with socket.create_connection(address, timeout=5) as probe:
                probe.sendall(HTTP_REQUEST)
                if probe.recv(65536).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise NotStarted(f"a proxy did not start:\n{program.log_tail()}")
