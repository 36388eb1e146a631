"""What ``IOrigin.connect`` and every ``IOriginSocket`` must do, as tests that anybody can run on their own.

For whoever adds a target type that knows WebSockets.  Works like ``testing.origins``, and together with it::

    class TestQueue(OriginContract, SocketContract, TargetTypeContract):
        ...

The backend behind the origin must send every message back as it came, answer PING with PING or PONG of the
same data, and CLOSE with the same code and reason, or, when there was none, without or with 1000.
Nothing here opens a connection; the origin under test does.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from pushpin_tw.errors import OriginError
from pushpin_tw.interfaces import IOrigin
from pushpin_tw.sockets import BINARY, PING, PONG, TEXT, IOriginSocket
from pushpin_tw.testing.origins import OriginSuite
from pushpin_tw.testing.services import LentServices
from pushpin_tw.testing.socketends import FixedHandshake, RecordingOwner, RecordingSocketSink
from pushpin_tw.wire.message import OriginRequest, Response

__all__ = ["FixedHandshake", "RecordingOwner", "RecordingSocketSink", "SocketContract"]


class SocketContract(OriginSuite):
    """The tests of ``IOrigin.connect``; name what is to be tested by overriding ``make_origin``."""

    wanted: ClassVar[OriginRequest] = OriginRequest(
        b"GET", b"/ws", [(b"Host", b"a.example")], host="a.example", path=b"/ws"
    )
    """What the backend must agree to."""
    unwanted: ClassVar[OriginRequest | None] = OriginRequest(
        b"GET", b"/none", [(b"Host", b"a.example")], host="a.example", path=b"/none"
    )
    """What it must refuse; None when it never refuses."""
    agreed: ClassVar[int] = 101
    """The status of the backend's consent; 200 over HTTP."""

    async def _open(self, origin: Any, owner: Any = None) -> RecordingSocketSink:
        sink = RecordingSocketSink(owner)
        origin.connect(FixedHandshake(self.wanted), sink)
        await sink.answer()
        assert sink.socket is not None, str(sink)
        return sink

    async def _lives(self, origin: Any) -> None:
        """It still serves others."""
        sink = await self._open(origin)
        sink.socket.send(TEXT, b"alive?")
        await sink.owner.heard(1)
        assert sink.owner.messages == [(TEXT, b"alive?")]
        await self._part(sink)

    async def _part(self, sink: RecordingSocketSink) -> None:
        sink.socket.close(1000)
        await sink.owner.end()
        assert (sink.disorder, sink.owner.disorder) == ([], [])

    def test_socket_interfaces(self) -> Deferred[None]:
        """Origin, socket and call have the methods they claim to have."""

        async def script(origin: Any, services: LentServices) -> None:
            verifyObject(IOrigin, origin)
            sink = await self._open(origin)
            verifyObject(IOriginSocket, sink.socket)
            assert sink.response is not None and sink.response.status == self.agreed
            assert sink.socket.congested is False
            await self._part(sink)

        return self._run(script)

    def test_socket_echo(self) -> Deferred[None]:
        """Messages pass whole and in order, whatever they are made of."""
        messages = [
            (TEXT, b"hello"),
            (TEXT, b""),
            (BINARY, b""),
            (BINARY, bytes(range(256))),
            (TEXT, "gr\u00fc\u00df \U0001f600".encode()),
            (BINARY, b"x" * 100_000),
            (TEXT, b"c:{}"),
        ]

        async def script(origin: Any, services: LentServices) -> None:
            sink = await self._open(origin)
            for kind, data in messages:
                sink.socket.send(kind, data)
            await sink.owner.heard(len(messages))
            assert sink.owner.messages == messages
            await self._part(sink)

        return self._run(script)

    def test_socket_pieces(self) -> Deferred[None]:
        """A message in pieces is one message; a ping may come in between."""

        async def script(origin: Any, services: LentServices) -> None:
            sink = await self._open(origin)
            socket = sink.socket
            socket.send(TEXT, b"ab", True, False)
            socket.send(TEXT, b"", False, False)
            socket.send(PING, b"pp")
            socket.send(TEXT, b"cd", False, False)
            socket.send(TEXT, b"", False, True)
            socket.send(BINARY, b"", True, False)
            socket.send(BINARY, b"ef", False, True)
            await sink.owner.heard(3)
            messages = sink.owner.messages
            assert [one for one in messages if one[0] in (TEXT, BINARY)] == [(TEXT, b"abcd"), (BINARY, b"ef")]
            assert [data for kind, data in messages if kind in (PING, PONG)] == [b"pp"]
            await self._part(sink)

        return self._run(script)

    def test_socket_close(self) -> Deferred[None]:
        """The backend's CLOSE, then the end; calls that come too late do nothing."""

        async def script(origin: Any, services: LentServices) -> None:
            sink = await self._open(origin)
            socket, owner = sink.socket, sink.owner
            socket.send(TEXT, b"last words")
            await owner.heard(1)  # a backend need not answer behind CLOSE
            socket.close(4321, b"bye")
            socket.send(TEXT, b"too late")
            socket.close(4322, b"too late")
            await owner.end()
            assert owner.messages == [(TEXT, b"last words")]
            assert (owner.said_close, owner.code, owner.reason) == (True, 4321, b"bye")
            self._call_all(socket)
            await self._lives(origin)
            assert owner.disorder == [] and len(owner.messages) == 1

        return self._run(script)

    @staticmethod
    def _call_all(socket: Any) -> None:
        socket.send(TEXT, b"too late")
        socket.send(PING, b"")
        socket.close(4000)
        socket.pause()
        socket.resume()
        socket.refresh()
        socket.abort()
        socket.abort()
        assert socket.congested is False

    def test_socket_close_without_code(self) -> Deferred[None]:
        """A code is not invented on the way there."""

        async def script(origin: Any, services: LentServices) -> None:
            sink = await self._open(origin)
            sink.socket.close()
            await sink.owner.end()
            assert sink.owner.said_close and sink.owner.code in (None, 1000) and sink.owner.reason == b""

        return self._run(script)

    def test_socket_aborted(self) -> Deferred[None]:
        """Who aborts hears nothing more, and may do so while it is being told something."""

        class Aborting(RecordingOwner):
            socket: Any = None

            def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
                self.socket.abort()
                super().socket_received(kind, data, first, end)

        async def script(origin: Any, services: LentServices) -> None:
            sink = await self._open(origin)
            sink.socket.send(TEXT, b"not to come back")
            sink.socket.abort()
            self._call_all(sink.socket)
            other = await self._open(origin, Aborting())
            other.owner.socket = other.socket
            for _ in range(3):
                other.socket.send(TEXT, b"once")
            await other.owner.until(lambda: bool(other.owner.pieces), "a piece")
            await self._lives(origin)
            assert sink.owner.pieces == [] and not sink.owner.lost
            assert len(other.owner.pieces) == 1 and not other.owner.lost
            assert services.stats.failures == []

        return self._run(script)

    def test_socket_paused(self) -> Deferred[None]:
        """Pausing loses nothing; pausing twice needs one resume."""

        async def script(origin: Any, services: LentServices) -> None:
            sink = await self._open(origin)
            sink.socket.pause()
            sink.socket.pause()
            for number in range(20):
                sink.socket.send(TEXT, b"%d" % number)
            sink.socket.resume()
            await sink.owner.heard(20)
            assert sink.owner.messages == [(TEXT, b"%d" % number) for number in range(20)]
            await self._part(sink)

        return self._run(script)

    def test_socket_flood(self) -> Deferred[None]:
        """Much at a time: ``congested`` is followed by ``socket_drained``, and everything comes back."""
        data = bytes(range(250)) * 40

        async def script(origin: Any, services: LentServices) -> None:
            sink = await self._open(origin)
            socket, owner = sink.socket, sink.owner
            for _ in range(200):
                if socket.congested:
                    drains = owner.drains
                    await owner.until(lambda drains=drains: owner.drains > drains, "room")
                    assert not socket.congested
                socket.send(BINARY, data)
            await owner.heard(200)
            assert owner.messages == [(BINARY, data)] * 200
            await self._part(sink)

        return self._run(script)

    def test_socket_refused(self) -> Deferred[None]:
        """A refusal comes whole, with its status."""

        async def script(origin: Any, services: LentServices) -> None:
            if self.unwanted is None:
                return
            sink = RecordingSocketSink()
            origin.connect(FixedHandshake(self.unwanted), sink)
            await sink.answer()
            assert sink.response is not None and sink.response.status != self.agreed
            assert sink.body is not None and sink.socket is None
            if sink.response.length is not None:
                assert len(sink.body) == sink.response.length
            await self._lives(origin)
            assert sink.disorder == []

        return self._run(script)

    def test_socket_cancelled(self) -> Deferred[None]:
        """Who cancelled hears nothing more; cancelling after the answer changes nothing."""

        async def script(origin: Any, services: LentServices) -> None:
            early = RecordingSocketSink()
            call = origin.connect(FixedHandshake(self.wanted), early)
            at_once = early.answered
            call.cancel()
            call.cancel()
            late = RecordingSocketSink()
            call = origin.connect(FixedHandshake(self.wanted), late)
            await late.answer()
            call.cancel()
            late.socket.send(TEXT, b"still there")
            await late.owner.heard(1)
            await self._part(late)
            assert early.answered is at_once and early.disorder == []

        return self._run(script)

    def test_socket_without_request(self) -> Deferred[None]:
        """A request that cannot be made is a failure, told to the sink."""

        async def script(origin: Any, services: LentServices) -> None:
            sink = RecordingSocketSink()
            error = OriginError("no request")
            origin.connect(FixedHandshake(self.wanted, error), sink).cancel()
            assert sink.error is error and sink.disorder == []

        return self._run(script)

    def test_socket_owner_with_a_bug(self) -> Deferred[None]:
        """An owner that raises is told of in the log, loses its socket, and disturbs nobody else."""

        class Broken(RecordingOwner):
            def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
                raise ZeroDivisionError("a bug in the owner")

        async def script(origin: Any, services: LentServices) -> None:
            sink = await self._open(origin, Broken())
            sink.socket.send(TEXT, b"hello")
            await sink.owner.end()
            await self._lives(origin)
            assert len(services.stats.failures) == 1
            assert "a bug in the owner" in services.stats.failures[0]
            assert sink.owner.disorder == []

        return self._run(script)

    def test_socket_sink_with_a_bug(self) -> Deferred[None]:
        """The same for a sink."""

        class Broken(RecordingSocketSink):
            def opened(self, response: Response, socket: Any) -> None:
                super().opened(response, socket)
                raise ZeroDivisionError("a bug in the sink")

        async def script(origin: Any, services: LentServices) -> None:
            sink = Broken()
            origin.connect(FixedHandshake(self.wanted), sink)
            await sink.answer()
            await self._lives(origin)
            assert len(services.stats.failures) == 1
            assert "a bug in the sink" in services.stats.failures[0]

        return self._run(script)
