"""One process that takes over from another, in real processes: nobody outside notices (SIGUSR2)."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zmq

from tests.support.child import PATIENCE, Command
from tests.support.running import free_port

PROGRAM = ("-m", "pushpin_tw.command")
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")
LISTENING = r"listening on 127\.0\.0\.1:(\d+)$"


class Place:
    """A directory with a configuration, and the processes that run there, of which each takes over from the
    one before."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.control = free_port()
        self.command: Command
        self.port = 0
        self.configure()
        (directory / "routes").write_text("* test\n")

    def configure(self, *handler: str, runner: str = "", tw: str = "drain_seconds=1") -> None:
        lines = [
            "[global]\nrundir=run",
            f"[runner]\nhttp_port=127.0.0.1:0\nlocal_ports=clients\nlog_level=2,proxy:1\n{runner}",
            "[proxy]\nroutesfile=routes",
            f"[handler]\npush_in_http_addr=127.0.0.1\npush_in_http_port={self.control}",
            *handler,
            f"[tw]\n{tw}\n",
        ]
        (self.directory / "pushpin.conf").write_text("\n".join(lines))

    def start(self, *program: str) -> None:
        self.command = Command(self.directory, *(program or (*PROGRAM, "-m", "--config=pushpin.conf")))
        self.command.wait_for("started$")  # where workers listen may be told a little later
        found = [match for line in self.command.lines if (match := re.search(LISTENING, line))]
        self.port = int((found or [self.command.wait_for(LISTENING)])[0][1])

    @property
    def pid(self) -> int:
        """Of the process that serves."""
        return int((self.directory / "run" / "connmgr.pid").read_text())

    def upgrade(self) -> None:
        """Let the next process take over; done when it has."""
        os.kill(self.pid, signal.SIGUSR2)
        self.command.wait_for("starting a process to take over$")
        self.command.wait_for(r"process \d+ has taken over$")

    def publish(self, text: str, channel: str = "c") -> None:
        item = {"channel": channel, "formats": {"http-stream": {"content": text}}}
        answer = ask(self.control, "/publish", json.dumps({"items": [item]}).encode())
        assert answer == b"Published\n"

    def stream(self) -> socket.socket:
        """A client that listens on channel ``c``."""
        client = connect(self.port)
        client.sendall(b"GET /stream?channel=c HTTP/1.1\r\nHost: a\r\n\r\n")
        read_until(client, b"[stream opened]\n\r\n")
        return client

    def clear(self) -> None:
        with suppress(OSError, ValueError):
            os.kill(self.pid, signal.SIGKILL)
        if hasattr(self, "command"):
            self.command.close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path)
    yield place
    place.clear()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def ask(port: int, path: str, body: bytes | None = None) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET" if body is None else "POST", path, body)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def read_until(client: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        more = client.recv(65536)
        assert more, f"the end, behind {data!r}"
        data += more
    return data


def until(condition: Callable[[], object], what: str) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


class Crowd:
    """Clients that ask again and again, some on kept-alive connections, some on a new one each time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = False
        self.failures: list[str] = []
        self.answered = 0
        self._threads = [
            threading.Thread(target=way, daemon=True) for way in (self._keep_alive, self._anew) * 2
        ]
        for thread in self._threads:
            thread.start()

    def _keep_alive(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        while not self._stop and not self.failures:
            self._ask(connection)  # which connects again after "Connection: close", and only then
        connection.close()

    def _anew(self) -> None:
        while not self._stop and not self.failures:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
            self._ask(connection)
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"Hello from the Pushpin test handler!\n")
        except (OSError, http.client.HTTPException, AssertionError) as error:
            self.failures.append(repr(error))
            connection.close()
        self.answered += 1

    def end(self) -> None:
        self._stop = True
        for thread in self._threads:
            thread.join()


# ---- it works ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "times"), [(1, 2), (2, 1)])
def test_no_request_fails_while_processes_take_over(place: Place, workers: int, times: int) -> None:
    place.configure(tw=f"drain_seconds=1\nworkers={workers}")
    place.start()
    crowd = Crowd(place.port)
    pids = {place.pid}
    for _ in range(times):
        seen = crowd.answered
        until(lambda seen=seen: crowd.failures or crowd.answered > seen + 50, "requests")  # type: ignore[misc]
        place.upgrade()
        pids.add(place.pid)
        place.command.wait_for("stopping...$")
    until(lambda: not any(alive(pid) for pid in pids - {place.pid}), "the end of the old processes")
    seen = crowd.answered
    until(lambda: crowd.failures or crowd.answered > seen + 50, "requests")
    crowd.end()
    assert crowd.failures == []
    assert len(pids) == times + 1
    os.kill(place.pid, signal.SIGTERM)
    until(lambda: not os.listdir("run") and not os.path.exists("clients"), "the end, without leftovers")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_what_is_published_reaches_those_who_are_held_in_either_process(place: Place) -> None:
    pull = f"ipc://{place.directory}/pull"
    place.configure(f"push_in_spec={pull}", tw="drain_seconds=20")
    place.start()
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(pull)
        before = place.stream()
        place.publish("one")
        read_until(before, b"one\r\n")
        place.upgrade()
        after = place.stream()
        place.publish("two")
        item = {"channel": "c", "formats": {"http-stream": {"content": "three"}}}
        push.send(b"J" + json.dumps(item).encode())
        for client in (before, after):
            assert read_until(client, b"three\r\n") == b"3\r\ntwo\r\n5\r\nthree\r\n"
            client.close()


def test_a_held_client_gets_a_proper_end(place: Place) -> None:
    place.start()
    client = place.stream()
    place.upgrade()
    assert read_until(client, b"0\r\n\r\n") == b"0\r\n\r\n"
    assert client.recv(1) == b""
    client.close()


def test_unix_sockets_go_on(place: Place) -> None:
    place.start()
    inode = os.stat("clients").st_ino
    place.upgrade()
    until(lambda: place.command.wait_for("stopping...$"), "the old process")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("clients")
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"Hello" in read_until(client, b"handler!\n")
    assert os.stat("clients").st_ino == inode


def test_items_of_a_busy_publisher_all_arrive(place: Place) -> None:
    pull = f"tcp://127.0.0.1:{free_port()}"
    place.configure(f"push_in_spec={pull}")
    place.start()
    total, sent = 1500, 0
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(pull)

        def send() -> None:
            nonlocal sent
            for number in range(total):
                item = {"channel": f"n{number}-", "formats": {"http-stream": {"content": "x"}}}
                push.send(b"J" + json.dumps(item).encode())
                sent += 1
                time.sleep(0.001)

        publisher = threading.Thread(target=send, daemon=True)
        publisher.start()
        until(lambda: sent > 100, "items")
        place.upgrade()
        publisher.join()
        missing = set(range(total))
        missing -= {int(found) for found in re.findall(r"channel=n(\d+)-", "\n".join(place.command.lines))}
        while missing:
            missing.discard(int(place.command.wait_for(r"publish channel=n(\d+)-")[1]))


def test_systemd_is_told_who_serves(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("manager")
        manager.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(place.directory / "manager"))
        place.start()
        assert manager.recv(1000) == b"READY=1"
        place.upgrade()
        assert {manager.recv(1000), manager.recv(1000)} == {b"READY=1", f"MAINPID={place.pid}".encode()}
        place.command.wait_for("stopping...$")
        os.kill(place.pid, signal.SIGTERM)
        assert manager.recv(1000) == b"STOPPING=1"


# ---- twistd ------------------------------------------------------------------------------------------------


def test_a_daemon_of_twistd_keeps_its_pid_file_right(place: Place) -> None:
    argv = ("--pidfile=pid", "--logfile=twistd.log", "pushpin", "-m", "-c", "pushpin.conf")
    launcher = Command(place.directory, *TWISTD, *argv)
    log, pid_file = place.directory / "twistd.log", place.directory / "pid"
    try:
        assert launcher.end() == 0
        first = int(pid_file.read_text())
        until(lambda: re.search(r"#info\] started$", log.read_text(), re.M), "the start")
        found = re.search(LISTENING, log.read_text(), re.M)
        assert found
        os.kill(first, signal.SIGUSR2)
        until(lambda: "has taken over" in log.read_text(), "the next process")
        second = int(pid_file.read_text())
        assert second == place.pid != first
        until(lambda: not alive(first), "the end of the first")
        assert ask(int(found[1]), "/").startswith(b"Hello")
        assert int(pid_file.read_text()) == second
        os.kill(second, signal.SIGTERM)
        until(lambda: not pid_file.exists(), "the end")
    finally:
        launcher.close()


def test_a_daemon_whose_next_process_fails_keeps_its_pid_file(place: Place) -> None:
    argv = ("--pidfile=pid", "--logfile=twistd.log", "pushpin", "-m", "-c", "pushpin.conf")
    launcher = Command(place.directory, *TWISTD, *argv)
    log, pid_file = place.directory / "twistd.log", place.directory / "pid"
    try:
        assert launcher.end() == 0
        first = int(pid_file.read_text())
        until(lambda: re.search(r"#info\] started$", log.read_text(), re.M), "the start")
        place.configure(tw="hold_queue=x")
        os.kill(first, signal.SIGUSR2)
        until(lambda: "this one goes on" in log.read_text(), "the failure")
        assert "hold_queue: expected an integer, not 'x'" in log.read_text()
        assert int(pid_file.read_text()) == first
        os.kill(first, signal.SIGTERM)
        until(lambda: not pid_file.exists(), "the end")
    finally:
        launcher.close()


# ---- it does not -------------------------------------------------------------------------------------------


def test_a_process_that_cannot_read_its_configuration_changes_nothing(place: Place) -> None:
    place.start()
    first, client = place.pid, place.stream()
    place.configure(tw="hold_queue=x")
    os.kill(first, signal.SIGUSR2)
    place.command.wait_for(r"^\[ERR\].* pushpin\.conf:\d+: hold_queue: expected an integer, not 'x'$")
    place.command.wait_for(r"^\[ERR\].* the new process has not started, this one goes on: its configuration")
    place.publish("still there")
    read_until(client, b"still there\r\n")
    assert ask(place.port, "/").startswith(b"Hello")
    assert place.pid == first
    place.configure()
    place.upgrade()
    assert place.pid != first
    client.close()


def test_a_process_that_cannot_start_leaves_everything_as_it_was(place: Place) -> None:
    pull = f"tcp://127.0.0.1:{free_port()}"
    place.configure(f"push_in_spec={pull}")
    place.start()
    first, client = place.pid, place.stream()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place.configure(f"push_in_spec={pull}", runner=f"https_ports=127.0.0.1:{taken.getsockname()[1]}")
        os.kill(first, signal.SIGUSR2)
        place.command.wait_for("this one goes on: Couldn't listen on 127")
    place.command.wait_for("zmq pull: tcp")
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(pull)
        item = {"channel": "c", "formats": {"http-stream": {"content": "still there"}}}
        push.send(b"J" + json.dumps(item).encode())
        read_until(client, b"still there\r\n")
    assert (ask(place.port, "/")[:5], place.pid) == (b"Hello", first)
    client.close()


def test_one_at_a_time(place: Place) -> None:
    place.start()
    os.kill(place.pid, signal.SIGUSR2)
    place.command.wait_for("starting a process to take over$")
    os.kill(place.pid, signal.SIGUSR2)
    place.command.wait_for("another process is about to take over already$")
    place.command.wait_for("has taken over$")


def test_the_end_of_the_old_process_is_that_of_one_that_has_not_started(place: Place) -> None:
    place.start()
    first = place.pid
    os.kill(first, signal.SIGUSR2)
    place.command.wait_for("starting a process to take over$")
    os.kill(first, signal.SIGTERM)
    assert place.command.end() == 0
    assert not any("has taken over" in line for line in place.command.lines)
    assert os.listdir(place.directory / "run") == []


def test_who_is_told_to_take_over_without_being_given_anything_does_not(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSHPIN_TW_PREDECESSOR", "[]")
    place.start()
    assert ask(place.port, "/").startswith(b"Hello")
