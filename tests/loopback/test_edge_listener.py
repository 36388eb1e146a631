"""Where clients come in, and how many (proxy 2.4, 8.5)."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from pushpin_tw.descriptors import Descriptors, listener_name
from pushpin_tw.edge.doors import open_tcp, open_unix
from pushpin_tw.edge.transport import EagerPort
from pushpin_tw.errors import ConfigError
from tests.support.edge import EdgeHouse, Visit, edge, keep
from tests.support.rawclient import RawClient
from tests.support.waiting import until, within

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nGET / "


@pytest_twisted.ensureDeferred
async def test_c059_several_ports() -> None:
    async with edge(ports="http_port=0,127.0.0.1:0,[::1]:0") as house:
        hosts = [host for host, _ in house.listeners.addresses]
        assert hosts == ["0.0.0.0", "127.0.0.1", "::1"]
        ports = [port for _, port in house.listeners.addresses]
        assert house.stats.notes == [
            ("info", f"listening on 0.0.0.0:{ports[0]}"),
            ("info", f"listening on 127.0.0.1:{ports[1]}"),
            ("info", f"listening on [::1]:{ports[2]}"),
        ]
        for number in range(3):
            client = await house.client(number)
            client.send(GET)
            await client.expect(OK)
        assert [visit.request.peer for visit in house.visits] == ["127.0.0.1", "127.0.0.1", "::1"]


@pytest_twisted.ensureDeferred
async def test_c057_an_ipv6_port_takes_no_ipv4_clients() -> None:
    async with edge(ports="http_port=[::]:0") as house:
        host, port = house.listeners.addresses[0]
        assert host == "::"
        client = await RawClient.connect(("::1", port))
        client.send(GET)
        await client.expect(OK)
        client.drop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with socket.socket() as other:
            # The IPv4 port is free for somebody else; a connection of old that had its number is no matter.
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))


@pytest_twisted.ensureDeferred
async def test_c061_a_port_in_use_stops_the_start() -> None:
    async with edge() as house:
        port = house.listeners.addresses[0][1]
        other = EdgeHouse(f"[runner]\nhttp_port=127.0.0.1:0,127.0.0.1:{port}\n")
        with pytest.raises(CannotListenError) as caught:
            other.listeners.startService()
        assert caught.value.socketError.errno == errno.EADDRINUSE
        assert other.listeners.addresses == []
        await other.stop()


@pytest_twisted.ensureDeferred
async def test_small_answers_leave_at_once() -> None:
    async with edge() as house:
        client = await house.client()
        client.send(GET)
        await client.expect(OK)
        connection = next(iter(house.listeners.watch.live))
        assert connection.transport.getTcpNoDelay()


# ---- Unix sockets ------------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Short enough for the path of a Unix socket."""
    yield tmp_path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest_twisted.ensureDeferred
async def test_c068_a_unix_socket(directory: Path) -> None:
    path = directory / "s"
    async with edge(ports=f"local_ports={path}?mode=606") as house:
        assert house.listeners.addresses == [str(path)]
        assert house.stats.notes == [("info", f'listening on "{path}" (pathname)')]
        assert mode_of(path) == 0o606
        client = await house.client()
        client.send(GET * 2)
        await client.expect(OK * 2)
        request = house.visits[0].request
        assert (request.secure, request.peer) == (False, "")
        client.send(b"\x00")
        assert (await client.read_response()).status == 400
        await client.closed()
    assert not path.exists()


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_as_open_as_the_umask_says(directory: Path) -> None:
    before = os.umask(0o027)
    try:
        async with edge(ports=f"local_ports={directory}/s"):
            assert mode_of(directory / "s") == 0o750
    finally:
        os.umask(before)


@pytest_twisted.ensureDeferred
async def test_a_stale_socket_file_is_replaced(directory: Path) -> None:
    path = directory / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with edge(ports=f"local_ports={path}") as house:
        client = await house.client()
        client.send(GET)
        await client.expect(OK)
        path.unlink()  # somebody tidies up; stopping must not mind


@pytest_twisted.ensureDeferred
async def test_a_socket_that_is_in_use_or_no_socket_is_left_alone(directory: Path) -> None:
    path = directory / "s"
    async with edge(ports=f"local_ports={path}") as house:
        other = EdgeHouse(f"[runner]\nlocal_ports={path}\n")
        with pytest.raises(CannotListenError):
            other.listeners.startService()
        await other.stop()
        client = await house.client()
        client.send(GET)
        await client.expect(OK)
    path.write_text("a file")
    other = EdgeHouse(f"[runner]\nlocal_ports={path}\n")
    with pytest.raises(CannotListenError):
        other.listeners.startService()
    await other.stop()
    assert path.read_text() == "a file"


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_may_belong_to_others(directory: Path) -> None:
    path = directory / "s"
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    async with edge(ports=f"local_ports={path}?user={user}&group={group}"):
        status = os.stat(path)
        assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
    for unknown in ("user", "group"):
        other = EdgeHouse(f"[runner]\nlocal_ports={path}?{unknown}=nobody-has-this-name\n")
        with pytest.raises(ConfigError, match="nobody-has-this-name"):
            other.listeners.startService()
        await other.stop()


# ---- how many ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
@pytest_twisted.ensureDeferred
async def test_c070_a_client_too_many_waits_until_another_leaves(number: int) -> None:
    async with edge("client_maxconn=4", ports="http_port=127.0.0.1:0,127.0.0.1:0") as house:
        clients = [await house.client(index % 2) for index in range(4)]
        await house.settled(4)
        fifth, sixth = await house.client(number), await house.client(1 - number)
        for client in (fifth, sixth):
            client.send(GET)
        for _ in range(20):
            await deferLater(reactor, 0)
        assert house.visits == [] and house.live == 4
        clients[0].send(GET)
        await clients[0].expect(OK)
        clients[1].drop()
        await until(lambda: bool(fifth.unread or sixth.unread), "one of those that wait")
        assert not (fifth.unread and sixth.unread)
        clients[2].drop()
        await fifth.expect(OK)
        await sixth.expect(OK)


@pytest_twisted.ensureDeferred
async def test_c070_idle_clients_make_room() -> None:
    async with edge("client_maxconn=1") as house:
        first = await house.client()
        await house.settled(1)
        second = await house.client()
        second.send(GET)
        house.clock.advance(61)
        await first.closed()
        await second.expect(OK)


@pytest_twisted.ensureDeferred
async def test_c221_many_at_the_same_instant() -> None:
    async with edge() as house:
        house.answer = Visit.reply
        clients = await gatherResults([_deferred(house.client()) for _ in range(300)])
        for client in clients:
            client.send(GET)
        for client in clients:
            assert (await client.read_response()).status == 200


def _deferred(coroutine):  # type: ignore[no-untyped-def]
    from twisted.internet.defer import ensureDeferred

    return ensureDeferred(coroutine)


@pytest_twisted.ensureDeferred
async def test_the_backlog_holds_hundreds_of_clients() -> None:
    """While the reactor is busy elsewhere; each of them gets its answer."""
    async with edge() as house:
        house.answer = Visit.reply
        with contextlib.ExitStack() as stack:
            sockets = []
            for _ in range(600):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    client.connect(house.listeners.addresses[0])
                sockets.append(client)
            await house.settled(600)
            for client in sockets:
                client.send(GET)
            await until(lambda: len(house.visits) == 600, "all requests")
            for client in sockets:
                assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest_twisted.ensureDeferred
async def test_running_out_of_descriptors_loses_nobody() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with edge() as house:
        house.answer = keep
        client = await house.client()
        await house.settled(1)
        with contextlib.ExitStack() as stack:
            waiting = [stack.enter_context(socket.socket()) for _ in range(3)]
            used = max(int(name) for name in os.listdir("/proc/self/fd"))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
            fill(stack)
            for each in waiting:
                each.connect(house.listeners.addresses[0])
            await until(lambda: bool(house.stats.notes[1:]), "the shortage to be noticed")
            assert house.live == 1
            assert house.stats.notes[1:] == [("warn", "out of file descriptors or memory with 1 clients")]
            client.send(GET)
            await house.visit()
            for _ in range(20):
                await deferLater(reactor, 0)
            assert len(house.stats.notes) == 2  # it does not try again and again
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            house.clock.advance(0.7)
            await house.settled(4)
            for each in waiting:
                each.send(GET)
            await house.visit(4)


def fill(stack: contextlib.ExitStack) -> None:
    """Take every descriptor that is left."""
    while True:
        try:
            stack.callback(os.close, os.dup(0))
        except OSError:
            return


@pytest_twisted.ensureDeferred
async def test_a_shortage_ends_when_somebody_leaves() -> None:
    async with edge() as house:
        client = await house.client()
        await house.settled(1)
        house.listeners.exhausted()
        second = await house.client()
        second.send(GET)
        for _ in range(10):
            await deferLater(reactor, 0)
        assert house.live == 1
        client.drop()
        await second.expect(OK)


@pytest_twisted.ensureDeferred
async def test_after_the_stop_nobody_is_served() -> None:
    async with edge() as house:
        address = house.listeners.addresses[0]
        await within(house.listeners.stopService(), "the stop")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


@pytest_twisted.ensureDeferred
async def test_a_bug_at_the_door_does_not_close_it() -> None:
    async with edge(failures=1) as house:
        port = house.listeners._ports[0]
        build, port.factory.buildProtocol = port.factory.buildProtocol, None
        client = await house.client()
        await client.closed()
        port.factory.buildProtocol = build
        client = await house.client()
        client.send(GET)
        await client.expect(OK)


@pytest_twisted.ensureDeferred
async def test_several_processes_may_share_a_port() -> None:
    """Each binds for itself, and the kernel spreads the clients."""

    class Door:
        def open(self) -> bool:
            return True

    first = EagerPort(Factory(), "127.0.0.1", Door(), reactor)
    first.listen(open_tcp("127.0.0.1", 0, shared=True))
    second = EagerPort(Factory(), "127.0.0.1", Door(), reactor)
    second.listen(open_tcp("127.0.0.1", first.getHost().port, shared=True))
    assert first.getHost() == second.getHost()
    await first.stopListening()
    await second.stopListening()


@pytest_twisted.ensureDeferred
async def test_listening_sockets_may_come_from_elsewhere(directory: Path) -> None:
    path = str(directory / "s")
    tcp, local = open_tcp("127.0.0.1", 0), open_unix(path)
    port = tcp.getsockname()[1]
    house = EdgeHouse(f"[runner]\nhttp_port=127.0.0.1:0\nlocal_ports={path}\n")
    runner = house.services.config.runner
    given = Descriptors(
        [
            (listener_name("http", runner.http_port[0]), tcp.detach()),
            (listener_name("local", runner.local_ports[0]), local.detach()),
            ("nobody's", open_tcp("127.0.0.1", 0).detach()),
        ]
    )
    house.services.shared("descriptors", lambda: given)
    house.listeners.startService()
    assert house.listeners.addresses == [("127.0.0.1", port), path]
    for number in range(2):
        client = await house.client(number)
        client.send(GET)
        await client.expect(OK)
    await house.listeners.stopService()
    assert os.path.exists(path)  # whoever has opened it may still need it
    given.stop()
    assert given.take("nobody's") is None


@pytest_twisted.ensureDeferred
async def test_a_socket_whose_backlog_is_full_is_in_use(directory: Path) -> None:
    path = str(directory / "s")
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(path)
        busy.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(path)
        other = EdgeHouse(f"[runner]\nlocal_ports={path}\n")
        with pytest.raises(CannotListenError):
            other.listeners.startService()
        await other.stop()
