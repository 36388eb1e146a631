"""The eager transport keeps every promise of Twisted's: order, back-pressure, half close, errors, TLS on top.

Each test runs on TCP and on a Unix socket, and against Twisted's own transport: what holds there holds here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor, tcp, unix
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from pushpin_tw.edge.doors import open_tcp, open_unix
from pushpin_tw.edge.transport import EagerPort, EagerServer, EagerUnixPort, EagerUnixServer
from tests.support.waiting import turn, until


@implementer(IHalfCloseableProtocol)
class Server(Protocol):
    """Remembers."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Failure | None = None
        self.read_lost = self.write_lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.read_lost = True

    def writeConnectionLost(self) -> None:
        self.write_lost = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class Open:
    """An admission without limits."""

    def open(self) -> bool:
        return True

    def exhausted(self) -> None:
        raise AssertionError

    failed = exhausted


class Pair:
    """A server's transport, and the other end as a plain socket."""

    def __init__(self, server: Server, client: socket.socket) -> None:
        self.server = server
        self.transport: Any = server.transport
        self.client = client
        self.came = bytearray()

    def read(self) -> None:
        """What is there."""
        try:
            while data := self.client.recv(1_000_000):
                self.came += data
        except BlockingIOError:
            pass

    async def reads(self, data: bytes) -> None:
        """Exactly this comes."""

        def come() -> bool:
            self.read()
            return len(self.came) >= len(data)

        await until(come, f"{len(data)} bytes")
        assert self.came == data
        self.came = bytearray()

    async def clog(self) -> bytes:
        """Write until the socket takes no more; returns what was written."""
        written = b""
        while not (self.transport.dataBuffer or self.transport._tempDataBuffer):
            part = os.urandom(10_000)
            self.transport.write(part)
            written += part
            await turn()
        return written


def eager_tcp(factory: Factory) -> EagerPort:
    port = EagerPort(factory, "127.0.0.1", Open(), reactor)
    port.startListening = lambda: port.listen(open_tcp("127.0.0.1", 0))
    return port


def eager_unix(factory: Factory, path: str) -> EagerUnixPort:
    port = EagerUnixPort(path, factory, Open(), reactor)
    port.startListening = lambda: port.listen(open_unix(path))
    return port


KINDS = {
    "tcp": lambda factory, path: eager_tcp(factory),
    "unix": lambda factory, path: eager_unix(factory, path),
    "stock tcp": lambda factory, path: tcp.Port(0, factory, 50, "127.0.0.1", reactor),
    "stock unix": lambda factory, path: unix.Port(path, factory, reactor=reactor),
}
Connect = Callable[[], Any]


@pytest.fixture(params=KINDS)
def connected(request: pytest.FixtureRequest, tmp_path: Path) -> Connect:
    """A function that gives a ``Pair`` as an asynchronous context manager."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Pair]:
        servers: list[Server] = []

        def build() -> Server:
            servers.append(Server())
            return servers[0]

        factory = Factory.forProtocol(build)
        port = KINDS[request.param](factory, str(tmp_path / "s"))  # type: ignore[no-untyped-call]
        port.startListening()
        family = socket.AF_INET if "tcp" in request.param else socket.AF_UNIX
        address = port.getHost()
        with socket.socket(family) as client:
            client.connect((address.host, address.port) if "tcp" in request.param else address.name)
            client.setblocking(False)
            await until(lambda: bool(servers) and servers[0].transport is not None, "the connection")
            pair = Pair(servers[0], client)
            eager = isinstance(pair.transport, EagerServer | EagerUnixServer)
            assert eager == ("stock" not in request.param)
            yield pair
            pair.transport.abortConnection()
            await until(lambda: servers[0].lost is not None, "the end")
        await port.stopListening()

    return connect


def eager(pair: Pair) -> bool:
    return isinstance(pair.transport, EagerServer | EagerUnixServer)


@pytest_twisted.ensureDeferred
async def test_a_write_is_sent_before_it_returns(connected: Connect) -> None:
    async with connected() as pair:
        pair.transport.write(b"now")
        pair.read()
        assert pair.came == (b"now" if eager(pair) else b"")
        await pair.reads(b"now")


@pytest_twisted.ensureDeferred
async def test_order_is_kept_through_congestion(connected: Connect) -> None:
    async with connected() as pair:
        written = await pair.clog()
        for number in range(1000):
            pair.transport.write(b"%d," % number)
            written += b"%d," % number
        pair.transport.writeSequence([b"a", b"b"])
        await pair.reads(written + b"ab")
        assert not pair.transport.dataBuffer and not pair.transport._tempDataBuffer
        pair.transport.write(b"again")
        await pair.reads(b"again")


def test_order_is_kept_whatever_is_written_and_read(tmp_path: Path) -> None:
    """Without a reactor: a transport whose readiness a test plays, between any reads and writes."""

    class Reactor:
        writing = False

        def addReader(self, reader: object) -> None: ...  # noqa: N802
        def removeReader(self, reader: object) -> None: ...  # noqa: N802

        def addWriter(self, writer: object) -> None:  # noqa: N802
            self.writing = True

        def removeWriter(self, writer: object) -> None:  # noqa: N802
            self.writing = False

    steps = st.lists(
        st.tuples(st.sampled_from(["write", "sequence", "read", "ready"]), st.integers(0, 60_000))
    )
    source = b"".join(b"%06d" % number for number in range(20_000))

    @settings(max_examples=60)
    @given(steps)
    def play(script: list[tuple[str, int]]) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            theirs.setblocking(False)
            fake, came, written = Reactor(), bytearray(), 0
            transport = EagerServer(ours, Protocol(), ("a", 1), None, 0, fake)

            def read(size: int) -> None:
                with suppress(BlockingIOError):
                    came.extend(theirs.recv(size))

            for step, size in script:
                if step == "read":
                    read(size)
                elif step == "ready":
                    if fake.writing:
                        assert transport.doWrite() is None
                else:
                    part = source[written : written + size]
                    written += len(part)
                    transport.write(part) if step == "write" else transport.writeSequence(
                        [part[:9], part[9:]]
                    )
                assert transport.waiting == fake.writing
            while fake.writing:
                read(1_000_000)
                assert transport.doWrite() is None
            while len(came) < written:
                read(1_000_000)
            assert came == source[:written]

    play()


@pytest_twisted.ensureDeferred
async def test_a_large_write_arrives_whole(connected: Connect) -> None:
    async with connected() as pair:
        data = os.urandom(30_000_000)
        pair.transport.write(data)
        await pair.reads(data)


@pytest_twisted.ensureDeferred
async def test_nothing_is_nothing(connected: Connect) -> None:
    async with connected() as pair:
        pair.transport.write(b"")
        pair.transport.writeSequence([])
        pair.transport.writeSequence([b""])
        pair.transport.write(b"x")
        await pair.reads(b"x")


@pytest_twisted.ensureDeferred
async def test_text_is_refused(connected: Connect) -> None:
    async with connected() as pair:
        with pytest.raises(TypeError):
            pair.transport.write("text")


@pytest.mark.parametrize("clogged", [False, True])
@pytest_twisted.ensureDeferred
async def test_closing_sends_what_was_written(connected: Connect, clogged: bool) -> None:
    async with connected() as pair:
        written = await pair.clog() if clogged else b""
        pair.transport.write(b"last")
        pair.transport.loseConnection()
        await pair.reads(written + b"last")
        await until(lambda: pair.server.lost is not None, "the end")
        assert pair.client.recv(10) == b""
        pair.transport.write(b"too late")
        pair.transport.writeSequence([b"too late"])


@pytest.mark.parametrize("clogged", [False, True])
@pytest_twisted.ensureDeferred
async def test_half_closing_sends_what_was_written_and_reads_on(connected: Connect, clogged: bool) -> None:
    async with connected() as pair:
        written = await pair.clog() if clogged else b""
        pair.transport.write(b"last")
        pair.transport.loseWriteConnection()
        await pair.reads(written + b"last")
        await until(lambda: pair.server.write_lost, "our side to close")
        assert pair.client.recv(10) == b""
        pair.transport.write(b"dropped")
        pair.client.send(b"still heard")
        await until(lambda: pair.server.received == b"still heard", "the other side")
        pair.client.shutdown(socket.SHUT_WR)
        await until(lambda: pair.server.read_lost, "the other side's end")
        pair.transport.loseConnection()
        await until(lambda: pair.server.lost is not None, "the end")


@pytest_twisted.ensureDeferred
async def test_the_other_side_may_half_close(connected: Connect) -> None:
    async with connected() as pair:
        pair.client.shutdown(socket.SHUT_WR)
        await until(lambda: pair.server.read_lost, "the other side's end")
        pair.transport.write(b"still said")
        await pair.reads(b"still said")
        assert pair.server.lost is None


@pytest.mark.parametrize("clogged", [False, True])
@pytest_twisted.ensureDeferred
async def test_aborting_sends_nothing_more(connected: Connect, clogged: bool) -> None:
    async with connected() as pair:
        written = await pair.clog() if clogged else b""
        pair.transport.abortConnection()
        pair.transport.write(b"never")
        await until(lambda: pair.server.lost is not None, "the end")
        with suppress(ConnectionResetError):
            pair.read()
        assert b"never" not in pair.came and len(pair.came) <= len(written)


@pytest_twisted.ensureDeferred
async def test_a_write_into_a_broken_connection_is_reported_later(connected: Connect) -> None:
    """Not from within write(): whoever loops over many connections must not be entered again."""
    async with connected() as pair:
        pair.transport.stopReading()  # so that only writing can find out
        pair.client.send(b"unread")
        pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        pair.client.close()
        for _ in range(3):
            pair.transport.write(b"x")
            assert pair.server.lost is None
        await until(lambda: pair.server.lost is not None, "the loss")
        pair.transport.write(b"x")


@pytest_twisted.ensureDeferred
async def test_a_streaming_producer_is_paused_and_resumed(connected: Connect) -> None:
    @implementer(IPushProducer)
    class Producer:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def pauseProducing(self) -> None:
            self.calls.append("pause")

        def resumeProducing(self) -> None:
            self.calls.append("resume")

        def stopProducing(self) -> None:
            self.calls.append("stop")

    async with connected() as pair:
        producer = Producer()
        pair.transport.registerProducer(producer, True)
        pair.transport.write(b"a little")
        assert producer.calls == []
        await pair.reads(b"a little")
        written = b""
        while not producer.calls:
            part = os.urandom(50_000)
            pair.transport.write(part)
            written += part
            await turn()
        assert producer.calls == ["pause"]
        await pair.reads(written)
        await until(lambda: len(producer.calls) > 1, "to be resumed")
        assert producer.calls == ["pause", "resume"]
        pair.transport.abortConnection()
        await until(lambda: pair.server.lost is not None, "the end")
        assert producer.calls == ["pause", "resume", "stop"]


@pytest_twisted.ensureDeferred
async def test_a_pulling_producer_is_asked_until_it_has_no_more(connected: Connect) -> None:
    @implementer(IPullProducer)
    class Producer:
        def __init__(self, transport: Any, parts: list[bytes]) -> None:
            self.transport, self.parts = transport, parts

        def resumeProducing(self) -> None:
            if self.parts:
                self.transport.write(self.parts.pop(0))
            else:
                self.transport.unregisterProducer()

        def stopProducing(self) -> None: ...

    async with connected() as pair:
        parts = [os.urandom(100_000) for _ in range(50)]
        expected = b"".join(parts)
        pair.transport.registerProducer(Producer(pair.transport, parts), False)
        await pair.reads(expected)


@pytest_twisted.ensureDeferred
async def test_its_names(connected: Connect) -> None:
    async with connected() as pair:
        if isinstance(pair.transport, EagerServer):
            assert repr(pair.transport) == f"<EagerServer {pair.client.getsockname()!r}>"
            assert pair.transport.getPeer().port == pair.client.getsockname()[1]
            assert pair.transport.getHost().port == pair.client.getpeername()[1]
        if eager(pair):
            assert pair.transport.logPrefix() == "client"


@pytest_twisted.ensureDeferred
async def test_no_descriptors_for_clients(connected: Connect) -> None:
    async with connected() as pair:
        if isinstance(pair.transport, EagerUnixServer):
            with pytest.raises(NotImplementedError):
                pair.transport.sendFileDescriptor(0)
