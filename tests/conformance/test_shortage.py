"""Out of file descriptors: nothing spins, nothing dies, and everything goes on when there are some again."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted

from pushpin_tw.edge import listener
from pushpin_tw.edge.certs import CertificateDirectory
from pushpin_tw.testing.services import RecordedStats
from tests.support.certificates import Authority
from tests.support.child import Command
from tests.support.origin import reply
from tests.support.service import ServiceProxy
from tests.support.stage import ALIVE, Stage
from tests.support.waiting import turn, until

case = pytest_twisted.ensureDeferred
BACKENDS = "out of file descriptors or memory for connections to backends"


@contextlib.contextmanager
def no_descriptors() -> Iterator[Callable[[], None]]:
    """This process gets no more of them; call what it yields to take those that have become free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        used = max(int(name) for name in os.listdir("/proc/self/fd"))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))

        def fill() -> None:
            with contextlib.suppress(OSError):
                while True:
                    stack.callback(os.close, os.dup(0))

        fill()
        yield fill


@case
async def test_a_backend_without_a_descriptor_is_answered_for_and_logged_once(stage: Stage) -> None:
    other = await stage.another_origin(reply(body=b"other"))
    routes = [f"*,path_beg=/other {other.address}", f"* {stage.origin.address}"]
    proxy = await stage.start(reply(body=b"first"), routes=routes)
    client = await stage.client()
    await stage.usable(client)
    assert len(stage.origin.connections) == 1
    with no_descriptors() as fill:
        client.request("/other")
        answer = await client.read_response()
        assert (answer.status, answer.body) == (502, b"Error while proxying to origin.\n")
        assert proxy.lines().count(BACKENDS) == 1
        await until(lambda: not stage.origin.connections, "idle connections to be let go")
        client.request("/other")  # their descriptors can be used again
        assert (await client.read_response()).body == b"other"
        fill()
        for _ in range(3):
            client.request("/")
            assert (await client.read_response()).status == 502
            await until(lambda: not other.connections, "idle connections to be let go")
            fill()
        assert proxy.lines().count(BACKENDS) == 1
    client.request("/other")
    assert (await client.read_response()).body == b"other"


@pytest.mark.one_process
@case
async def test_clients_leave_descriptors_to_others(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    monkeypatch.setattr(listener, "RESERVED", (descriptors - 3, descriptors - 3))
    proxy = await stage.start(reply())
    clients = [await stage.client() for _ in range(5)]
    for client in clients:
        client.request(ALIVE)
    for client in clients[:3]:
        assert (await client.read_response()).body == b"alive"
    for _ in range(20):
        await turn()
    complaint = ["the limit of file descriptors allows for no more than 3 clients"]
    assert proxy.lines("connmgr")[1:] == complaint
    assert not clients[3].unread and not clients[4].unread
    for number in (0, 1):
        clients[number].drop()
        assert (await clients[number + 3].read_response()).body == b"alive"
    assert proxy.lines("connmgr")[1:] == complaint


@pytest.mark.one_process
@case
async def test_routes_that_could_not_be_read_are_read_later(stage: Stage, tmp_path: Path) -> None:
    routes = tmp_path / "routes"
    routes.write_text("* test\n")
    proxy = await stage.start(routes=routes)
    assert isinstance(proxy, ServiceProxy)
    client = await stage.client()
    routes.write_text(f"* {stage.origin.address}\n")
    with no_descriptors():
        proxy.service.reload()
        assert proxy.lines()[-1:] == ["unable to open routes file: routes"]
        client.request("/")
        assert b"test handler" in (await client.read_response()).body
    await proxy.advance(1.5)
    await stage.usable(client)


def test_a_certificate_that_could_not_be_read_is_read_later(tmp_path: Path) -> None:
    for path, name in zip(Authority(tmp_path).certificate("a.example"), ("crt", "key"), strict=True):
        Path(path).rename(tmp_path / f"a.example.{name}")
    stats = RecordedStats()
    directory = CertificateDirectory(str(tmp_path), stats)
    with no_descriptors():
        assert directory.find("a.example", 443) is None
    assert directory.find("a.example", 443) is not None
    assert stats.notes == []


# ---- the whole program -------------------------------------------------------------------------------------

PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
sys.argv = ["twistd", "-n", "--pidfile=", "pushpin", "--merge-output", "-c", "pushpin.conf"]
from twisted.scripts.twistd import run
run()
"""
CONFIG = """
[runner]
http_port=127.0.0.1:0
[proxy]
routesfile=routes
[handler]
push_in_http_addr=127.0.0.1
push_in_http_port=%d
"""


def ask(port: int, target: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client


def seconds_used(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
def test_a_crowd_beyond_the_limit_waits_its_turn(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        control = taken.getsockname()[1]
    (tmp_path / "pushpin.conf").write_text(CONFIG % control)
    (tmp_path / "routes").write_text("* demo\n")
    program = Command(tmp_path, "-c", PROGRAM)
    with contextlib.ExitStack() as stack:
        stack.callback(program.close)
        port = int(program.wait_for(r"listening on 127\.0\.0\.1:(\d+)$")[1])
        program.wait_for("started$")
        held = [stack.enter_context(ask(port, "/stream")) for _ in range(80)]
        for client in held[:44]:
            assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
        used = seconds_used(program.pid)
        held[44].settimeout(1)
        with pytest.raises(TimeoutError):
            held[44].recv(1000)
        assert seconds_used(program.pid) - used < 0.3
        publisher = stack.enter_context(socket.create_connection(("127.0.0.1", control), timeout=20))
        body = b'{"items":[{"channel":"demo","formats":{"http-stream":{"content":"hello"}}}]}'
        publisher.sendall(b"POST /publish/ HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        assert publisher.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"hello" in _until(held[0], b"hello")
        for client in held[:44]:
            client.close()
        for client in held[44:]:
            client.settimeout(20)
            assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
        program.signal(15)
        assert program.end() == 0
        complaints = [line for line in program.lines if "descriptors" in line]
        assert len(complaints) == 1 and "no more than 44 clients" in complaints[0]
        assert not any("Traceback" in line for line in program.lines)


def _until(client: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        data += client.recv(1000)
    return data
