"""The running program, as a child process: logs, signals, exit codes (proxy 3.2, C054-C063)."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.child import PATIENCE, Command
from tests.support.running import free_port

CONFIG = """
[global]
rundir=run
[runner]
http_port=127.0.0.1:0
logdir=log
[proxy]
routesfile=routes
sig_key=secret
"""


Start = Callable[..., Command]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts commands in a directory of their own, with a configuration and one route."""
    (tmp_path / "pushpin.conf").write_text(CONFIG)
    (tmp_path / "routes").write_text("* test\n")
    commands: list[Command] = []

    def start(*argv: str, program: tuple[str, ...] = ("-m", "pushpin_tw.command")) -> Command:
        commands.append(Command(tmp_path, *program, *argv))
        return commands[-1]

    yield start
    for command in commands:
        command.close()


def until(condition: Callable[[], object], what: str) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


def get(port: int | str, path: str = "/") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
        return str(answer.read().decode())


def words(path: Path) -> list[str]:
    """The messages of a log."""
    return [line.split(" ", 3)[3] for line in path.read_text().splitlines()] if path.exists() else []


LISTENING = r"listening on 127\.0\.0\.1:(\d+)$"
WHEN = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} "


def test_c063_logs_go_to_files(start: Start, tmp_path: Path) -> None:
    command = start("--config=pushpin.conf")
    command.wait_for(rf"^\[INFO\] {WHEN}started$")
    (line,) = words(tmp_path / "log" / "connmgr.log")
    port = line.rpartition(":")[2]
    assert get(port) == "Hello from the Pushpin test handler!\n"
    log = tmp_path / "log" / "pushpin-proxy.log"
    until(lambda: len(words(log)) == 2, "the request's line")
    assert words(log) == [
        "routes loaded with 1 entries",
        f"GET http://127.0.0.1:{port}/ -> test code=200 37",
    ]
    names = ["connmgr.pid", "pushpin-handler.pid", "pushpin-proxy.pid"]
    assert sorted(os.listdir(tmp_path / "run")) == names
    assert (tmp_path / "run" / names[0]).read_text() == f"{command.pid}\n"
    command.signal(signal.SIGTERM)
    assert command.end() == 0
    assert [line.split(" ", 3)[3] for line in command.lines] == ["starting...", "started", "stopping..."]
    assert os.listdir(tmp_path / "run") == []


def test_merged_output_has_the_service_in_each_line(start: Start) -> None:
    command = start("-m")
    port = command.wait_for(rf"^\[INFO\] {WHEN}\[connmgr\] {LISTENING}")[1]
    command.wait_for("started$")
    get(port, "/?y=z")
    command.wait_for(rf"^\[INFO\] {WHEN}\[proxy\] GET http://127.0.0.1:{port}/\?y=z -> test code=200 37$")
    assert re.search(rf"^\[INFO\] {WHEN}using config: pushpin.conf$", command.lines[0])


def test_a_log_of_its_own_in_json(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pushpin.conf").write_text(CONFIG + "[tw]\nlog_format=json\n")
    command = start("--config=pushpin.conf", "--logfile=own", "-m")
    own = tmp_path / "own"
    until(lambda: own.exists() and "started" in own.read_text(), "the start")
    command.signal(signal.SIGINT)
    assert (command.end(), command.lines) == (0, [])
    records = [json.loads(line) for line in own.read_text().splitlines()[1:]]
    assert {record["service"] for record in records} == {"connmgr", "proxy", "runner"}
    assert records[-1]["message"] == "stopping..."


def test_c054_port_and_routes_of_the_command_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pushpin.conf").write_text(CONFIG.replace("logdir", "local_ports=sock\nlogdir"))
    port = free_port()
    command = start("-m", f"-port=127.0.0.1:{port}", "--route=* test", "--route", "a.example test")
    command.wait_for("started$")
    assert [line.rpartition(" ")[2] for line in command.lines if "listening" in line] == [f"127.0.0.1:{port}"]
    assert get(port).startswith("Hello")


@pytest.mark.parametrize(("instance", "shift"), [("2", 20), ("0", 200)], ids=["C055", "C056"])
def test_instances(start: Start, tmp_path: Path, instance: str, shift: int) -> None:
    port = free_port()
    text = CONFIG + f"[handler]\npush_in_http_addr=127.0.0.1\npush_in_http_port={port - shift}\n"
    (tmp_path / "pushpin.conf").write_text(text.replace("[global]", "[global]\nport_offset=200"))
    command = start("-m", f"--id={instance}")
    command.wait_for(rf"http control server: 127\.0\.0\.1:{port}$")
    command.wait_for("started$")
    assert sorted(os.listdir(tmp_path / "run")) == [
        f"p{instance}-{name}.pid" for name in ("connmgr", "pushpin-handler", "pushpin-proxy")
    ]


def test_c057_only_ipv6(start: Start) -> None:
    port = free_port()
    command = start("-m", f"--port=[::1]:{port}")
    command.wait_for(rf"listening on \[::1\]:{port}$")
    command.wait_for("started$")
    socket.create_connection(("::1", port), PATIENCE).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), PATIENCE)


def test_c059_several_listeners(start: Start, tmp_path: Path) -> None:
    text = CONFIG.replace("http_port=127.0.0.1:0", "http_port=127.0.0.1:0, [::1]:0")
    (tmp_path / "pushpin.conf").write_text(text)
    command = start("-m")
    command.wait_for(LISTENING)
    command.wait_for(r"listening on \[::1\]:\d+$")


# ---- starts that fail --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[runner]\nhttp_port=\n", ["pushpin.conf: no server ports configured"]),
        ("[runner]\nhttp_port=:8205\n", ["pushpin.conf:2: http_port: invalid http port: :8205"]),
        (
            "[runner]\nhttp_port=1\nlogdir=routes/log\n[proxy]\nworkers=x\n[tw]\nhold_queue=0\n",
            [
                "pushpin.conf:5: workers: expected an integer, not 'x'",
                "pushpin.conf:7: hold_queue: expected an integer from 1 to 2147483647, not 0",
            ],
        ),
    ],
    ids=["C058", "host", "several"],
)
def test_wrong_configurations(start: Start, tmp_path: Path, text: str, said: list[str]) -> None:
    (tmp_path / "pushpin.conf").write_text(text)
    command = start("--config=pushpin.conf")
    assert command.end() == 1
    assert [line.split(" ", 3)[3] for line in command.lines] == said
    assert all(line.startswith("[ERR] ") for line in command.lines)


def test_c061_a_port_in_use(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = start("-m", f"--port=127.0.0.1:{taken.getsockname()[1]}")
        assert command.end() == 1
    assert re.match(rf"\[ERR\] {WHEN}Couldn't listen on 127\.0\.0\.1:", command.lines[-1])
    assert os.listdir(tmp_path / "run") == []


def test_directories_that_cannot_be_made(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pushpin.conf").write_text(CONFIG.replace("logdir=log", "logdir=routes/log"))
    command = start()
    assert command.end() == 1
    assert command.lines[-1].endswith("failed to create directory: routes/log")


def test_logs_that_cannot_be_opened(start: Start, tmp_path: Path) -> None:
    command = start("--logfile=routes/log")
    assert command.end() == 1
    assert command.lines == ["error: routes/log: Not a directory"]
    (tmp_path / "log" / "connmgr.log").mkdir(parents=True)
    command = start()
    assert command.end() == 1
    assert "Is a directory" in command.lines[-1]


def test_warnings_are_told_once(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pushpin.conf").write_text(CONFIG + "[zoo]\nlion=1\n")
    command = start("--config=pushpin.conf")
    command.wait_for("started$")
    assert [line[:6] for line in command.lines] == ["[INFO]", "[WARN]", "[INFO]"]
    assert command.lines[1].endswith(" pushpin.conf:10: unknown section [zoo]")


# ---- signals -----------------------------------------------------------------------------------------------


def test_hup_reopens_logs_and_reads_routes(start: Start, tmp_path: Path) -> None:
    command = start("--config=pushpin.conf")
    command.wait_for("started$")
    log, old = tmp_path / "log" / "pushpin-proxy.log", tmp_path / "old"
    log.rename(old)
    (tmp_path / "routes").write_text("* test\na.example test\n")
    command.signal(signal.SIGHUP)
    command.wait_for("reloading$")
    until(lambda: words(log)[-1:] == ["routes loaded with 2 entries"], "the routes")
    assert words(old) == ["routes loaded with 1 entries"]


def test_usr1_reopens_logs_only(start: Start, tmp_path: Path) -> None:
    command = start("--config=pushpin.conf")
    command.wait_for("started$")
    (tmp_path / "log" / "pushpin-proxy.log").rename(tmp_path / "old")
    command.signal(signal.SIGUSR1)
    until(lambda: (tmp_path / "log" / "pushpin-proxy.log").exists(), "the new file")
    command.signal(signal.SIGTERM)
    assert command.end() == 0
    assert words(tmp_path / "log" / "pushpin-proxy.log") == []
    assert [line.split(" ", 3)[3] for line in command.lines] == ["starting...", "started", "stopping..."]


HOLD = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n"
    b"Grip-Channel: ch\r\nGrip-Hold: %b\r\n\r\nhi"
)


class Backend:
    """Holds what asks for it, and leaves everybody else waiting."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._clients: list[socket.socket] = []
        self.asked: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self._clients.append(client)
            line = client.recv(65536).partition(b"\r\n")[0]
            if line:
                mode = line.split()[1][1:]
                if mode != b"slow":
                    client.sendall(HOLD % mode)
                self.asked.append(mode)


def asking(port: str, path: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", int(port)), PATIENCE)
    client.sendall(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    return client


def test_c062_everybody_is_dropped_at_once(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pushpin.conf").write_text(CONFIG + "[tw]\ndrain_seconds=0\n")
    backend = Backend()
    command = start("-m", f"--route=* {backend.address}")
    port = command.wait_for(LISTENING)[1]
    command.wait_for("started$")
    stream, response = asking(port, b"stream"), asking(port, b"response")
    for _ in range(2):
        command.wait_for("accept$")
    head = stream.recv(65536)
    while not head.endswith(b"\r\n\r\n2\r\nhi\r\n"):
        head += stream.recv(65536)
    slow = asking(port, b"slow")
    until(lambda: b"slow" in backend.asked, "the slow request")
    idle = socket.create_connection(("127.0.0.1", int(port)), PATIENCE)
    before = time.monotonic()
    command.signal(signal.SIGTERM)
    for client in (stream, response, slow, idle):
        assert client.recv(65536) == b""
        client.close()
    assert command.end() == 0
    assert time.monotonic() - before < 1.0
    assert any(line.endswith("stopping...") for line in command.lines)


STUCK = """
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer
from pushpin_tw.extensions import IPublishSource

class Stuck(Service):
    def stopService(self):
        super().stopService()
        print("stuck", flush=True)
        return Deferred()

@implementer(IPlugin, IPublishSource)
class Source:
    name = "stuck"
    def service(self, config, broker, services):
        return Stuck()

source = Source()
"""


@pytest.fixture
def start_stuck(start: Start, tmp_path: Path) -> Start:
    """Starts a command with a publish source that never stops."""
    plugins = tmp_path / "pushpin_tw" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "stuck.py").write_text(STUCK)
    return start


def test_what_does_not_stop_is_left_behind(start_stuck: Start) -> None:
    command = start_stuck("-m")
    command.wait_for("started$")
    before = time.monotonic()
    command.signal(signal.SIGTERM)
    assert command.end() == 0
    assert time.monotonic() - before < 2.0
    assert "stopped before everything had ended" in command.lines[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(start_stuck: Start, number: int) -> None:
    command = start_stuck("-m")
    command.wait_for("started$")
    command.signal(signal.SIGTERM)
    command.wait_for("stuck$")
    command.signal(number)
    assert command.end() == -number


# ---- twistd pushpin ----------------------------------------------------------------------------------------

TWISTD = ("-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")


def test_twistd_runs_the_same(start: Start, tmp_path: Path) -> None:
    command = start("pushpin", "-c", "pushpin.conf", "--id=1", program=TWISTD)
    command.wait_for(r"\[pushpin_tw\.runner#info\] started$")
    (line,) = words(tmp_path / "log" / "p1-connmgr.log")
    assert get(line.rpartition(":")[2]).startswith("Hello")
    (tmp_path / "log" / "p1-pushpin-proxy.log").rename(tmp_path / "old")
    command.signal(signal.SIGHUP)
    command.wait_for("reloading$")
    until(lambda: words(tmp_path / "log" / "p1-pushpin-proxy.log"), "the routes")
    command.signal(signal.SIGTERM)
    assert command.end() == 0
    assert os.listdir(tmp_path / "run") == []


def test_twistd_with_merged_output_prints_our_lines(start: Start) -> None:
    command = start("pushpin", "-m", "-c", "pushpin.conf", program=TWISTD)
    port = command.wait_for(rf"^\[INFO\] {WHEN}\[connmgr\] {LISTENING}")[1]
    command.wait_for(rf"^\[INFO\] {WHEN}started$")
    get(port)
    command.wait_for(rf"^\[INFO\] {WHEN}\[proxy\] GET ")
    command.signal(signal.SIGINT)
    assert command.end() == 0


def test_twistd_with_a_log_file_of_its_own_gets_everything_merged(start: Start, tmp_path: Path) -> None:
    command = start("--logfile=twistd.log", "pushpin", "-m", "-c", "pushpin.conf", program=TWISTD)
    log = tmp_path / "twistd.log"
    until(lambda: log.exists() and "[pushpin_tw.runner#info] started" in log.read_text(), "the start")
    found = re.search(rf"\[pushpin_tw\.connmgr#info\] {LISTENING}", log.read_text(), re.MULTILINE)
    assert found
    get(found[1])
    until(lambda: "[pushpin_tw.proxy#info] GET http://" in log.read_text(), "the request's line")
    command.signal(signal.SIGUSR1)
    until((tmp_path / "twistd.log.1").exists, "twistd's own rotation")


def test_twistd_refuses_a_wrong_configuration(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pushpin.conf").write_text("[runner]\nhttp_port=:1\n")
    command = start("pushpin", "-c", "pushpin.conf", program=TWISTD)
    assert command.end() == 1
    assert any("pushpin.conf:2: http_port: invalid http port: :1" in line for line in command.lines)


def test_twistd_and_a_port_in_use(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = f"--port=127.0.0.1:{taken.getsockname()[1]}"
        command = start("pushpin", "-c", "pushpin.conf", port, program=TWISTD)
        assert command.end() == 1
    assert any("Couldn't listen on" in line for line in command.lines)
