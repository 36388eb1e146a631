"""What every ``IOrigin`` and every ``ITargetType`` must do, as tests that anybody can run on their own.

For whoever adds a target type.  Works with trial and with pytest-twisted::

    class TestQueue(OriginContract, TargetTypeContract):
        target_type = QueueTarget()
        good_addresses: ClassVar = {"orders": "orders"}
        bad_addresses = ("", "two words")

        def make_origin(self, services):
            return self.target_type.origin(Target(kind="queue", address="orders"), services)

The origin must answer ``request`` with any final response.  Under trial, add its ``TestCase`` to the bases.
``testing.sockets`` has the tests of what such a kind does for WebSockets.
Nothing here opens a connection; the origin under test does.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushpin_tw.errors import OriginError, RouteSyntaxError
from pushpin_tw.extensions import ITargetType
from pushpin_tw.interfaces import IOrigin, IOriginCall, IOriginSink
from pushpin_tw.testing.services import LentServices
from pushpin_tw.wire.message import OriginRequest, Response

PATIENCE = 10.0
"""Seconds after which an answer is not expected any more."""


@implementer(IOriginSink)
class RecordingSink:
    """An ``IOriginSink`` that keeps what it hears, and objects when the order is wrong."""

    def __init__(self) -> None:
        self.response: Response | None = None
        self.body = b""
        self.pieces = 0
        """How often body bytes came."""
        self.error: Exception | None = None
        self.ended = False
        self.drains = 0
        self.disorder: list[str] = []
        """What came when it must not."""
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def responded(self, response: Response) -> None:
        """As ``IOriginSink``."""
        self._expect(self.response is None, "a second head")
        self._expect(response.status >= 200, "an interim response")
        self.response = response
        self._look()

    def received(self, data: bytes) -> None:
        """As ``IOriginSink``."""
        self._expect(self.response is not None, "body bytes without a head")
        self._expect(data != b"", "an empty piece")
        self.body += data
        self.pieces += 1
        self._look()

    def settled(self) -> None:
        """As ``IOriginSink``."""
        self._expect(True, "")
        self._look()

    def finished(self) -> None:
        """As ``IOriginSink``."""
        self._expect(self.response is not None, "an end without a head")
        self.ended = True
        self._look()

    def failed(self, error: Exception) -> None:
        """As ``IOriginSink``."""
        self._expect(isinstance(error, OriginError), f"no OriginError but {error!r}")
        self.error = error
        self.ended = True
        self._look()

    def origin_drained(self) -> None:
        """As ``IOriginSink``."""
        self._expect(True, "")
        self.drains += 1
        self._look()

    def _expect(self, right: bool, otherwise: str) -> None:
        if self.ended:
            self.disorder.append("something after the end")
        elif not right:
            self.disorder.append(otherwise)

    def until(self, condition: Callable[[], bool], what: str) -> Deferred[None]:
        """Fires when ``condition()`` is true after something was heard; fails after ``PATIENCE`` seconds."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append((condition, waiting))
        waiting.addTimeout(PATIENCE, reactor, lambda _, seconds: _give_up(what, self))
        self._look()
        return waiting

    def end(self) -> Deferred[None]:
        """Fires when the response is complete or has failed."""
        return self.until(lambda: self.ended, "the end of a response")

    def _look(self) -> None:
        met = [entry for entry in self._waiting if entry[0]()]
        self._waiting = [entry for entry in self._waiting if entry not in met]
        for _, waiting in met:
            waiting.callback(None)


def _give_up(what: str, sink: RecordingSink) -> None:
    raise AssertionError(
        f"waited in vain for {what}; heard {sink.response} {sink.body[:200]!r} {sink.error!r}"
    )


class OriginSuite:
    """What all suites of origins share."""

    def make_origin(self, services: LentServices) -> Any:
        """The ``IOrigin`` under test."""
        raise NotImplementedError

    def make_services(self) -> LentServices:
        """What it is lent."""
        return LentServices(reactor)

    async def release(self) -> None:
        """Called at the end of every test, to stop what ``make_origin`` has started."""

    def _run(self, script: Callable[[Any, LentServices], Coroutine[Any, Any, None]]) -> Deferred[None]:
        async def run() -> None:
            services = self.make_services()
            try:
                await script(self.make_origin(services), services)
            finally:
                services.stop()
                await self.release()

        return Deferred.fromCoroutine(run())


class OriginContract(OriginSuite):
    """The tests of an ``IOrigin``; name what is to be tested by overriding ``make_origin``."""

    request: ClassVar[OriginRequest] = OriginRequest(
        b"GET", b"/", [(b"Host", b"a.example")], host="a.example", path=b"/"
    )
    """What the origin must answer with a final response."""
    body: ClassVar[bytes] = b"twelve bytes"

    async def _whole(self, origin: Any, request: OriginRequest, *pieces: bytes) -> RecordingSink:
        sink = RecordingSink()
        call = origin.fetch(request, sink)
        for piece in pieces:
            call.write(piece)
        call.finish()
        await sink.end()
        assert sink.error is None, sink.error
        assert sink.disorder == []
        return sink

    def test_interfaces(self) -> Deferred[None]:
        """Origin and call have the methods they claim to have."""

        async def script(origin: Any, services: LentServices) -> None:
            verifyObject(IOrigin, origin)
            sink = RecordingSink()
            call = origin.fetch(self.request, sink)
            verifyObject(IOriginCall, call)
            assert call.congested is False
            call.cancel()

        return self._run(script)

    def test_answer(self) -> Deferred[None]:
        """A head, a body as long as it says, an end."""

        async def script(origin: Any, services: LentServices) -> None:
            sink = await self._whole(origin, self.request)
            assert sink.response is not None
            if sink.response.length is not None:
                assert len(sink.body) == sink.response.length

        return self._run(script)

    def test_again(self) -> Deferred[None]:
        """One request after the other, and many at once."""

        async def script(origin: Any, services: LentServices) -> None:
            first = await self._whole(origin, self.request)
            second = await self._whole(origin, self.request)
            assert first.body == second.body
            sinks = [RecordingSink() for _ in range(20)]
            for sink in sinks:
                origin.fetch(self.request, sink).finish()
            for sink in sinks:
                await sink.end()
                assert (sink.error, sink.disorder, sink.body) == (None, [], first.body)

        return self._run(script)

    def test_head(self) -> Deferred[None]:
        """The answer to HEAD has no body."""

        async def script(origin: Any, services: LentServices) -> None:
            sink = await self._whole(origin, replace(self.request, method=b"HEAD"))
            assert sink.body == b""

        return self._run(script)

    def test_body(self) -> Deferred[None]:
        """A body of known and one of unknown length, whole and in pieces."""

        async def script(origin: Any, services: LentServices) -> None:
            whole = replace(self.request, method=b"POST", length=len(self.body))
            await self._whole(origin, whole, self.body)
            await self._whole(origin, whole, self.body[:5], self.body[5:])
            unknown = replace(self.request, method=b"POST", length=None)
            await self._whole(origin, unknown, self.body[:5], self.body[5:])
            await self._whole(origin, unknown)

        return self._run(script)

    def test_cancelled(self) -> Deferred[None]:
        """Who cancelled hears nothing more."""

        async def script(origin: Any, services: LentServices) -> None:
            sink = RecordingSink()
            call = origin.fetch(replace(self.request, length=len(self.body)), sink)
            call.write(self.body[:5])
            call.cancel()
            call.write(self.body[5:])
            call.finish()
            await self._whole(origin, self.request)
            assert sink.response is None and not sink.ended

        return self._run(script)

    def test_cancelled_from_within(self) -> Deferred[None]:
        """The sink may cancel while it is being told something."""

        async def script(origin: Any, services: LentServices) -> None:
            sink = _CancellingSink()
            sink.call = origin.fetch(self.request, sink)
            sink.call.finish()
            await sink.until(lambda: sink.response is not None, "a head")
            await self._whole(origin, self.request)
            assert sink.body == b"" and not sink.ended and services.stats.failures == []

        return self._run(script)

    def test_after_the_end(self) -> Deferred[None]:
        """Calls that come too late do nothing."""

        async def script(origin: Any, services: LentServices) -> None:
            sink = RecordingSink()
            call = origin.fetch(self.request, sink)
            call.finish()
            await sink.end()
            for late in (call.finish, call.pause, call.resume, call.cancel, call.cancel):
                late()
            call.write(self.body)
            await self._whole(origin, self.request)
            assert sink.disorder == []

        return self._run(script)

    def test_paused(self) -> Deferred[None]:
        """Pausing loses nothing; pausing twice needs one resume."""

        async def script(origin: Any, services: LentServices) -> None:
            expected = await self._whole(origin, self.request)
            sink = RecordingSink()
            call = origin.fetch(self.request, sink)
            call.pause()
            call.pause()
            call.finish()
            call.resume()
            await sink.end()
            assert (sink.error, sink.disorder, sink.body) == (None, [], expected.body)

        return self._run(script)

    def test_sink_with_a_bug(self) -> Deferred[None]:
        """A sink that raises is told of in the log and disturbs nobody else."""

        async def script(origin: Any, services: LentServices) -> None:
            sink = _RaisingSink()
            origin.fetch(self.request, sink).finish()
            await sink.until(lambda: sink.response is not None, "a head")
            await self._whole(origin, self.request)
            assert len(services.stats.failures) == 1
            assert "a bug in the sink" in services.stats.failures[0]

        return self._run(script)


class _CancellingSink(RecordingSink):
    """Cancels at the head."""

    call: Any = None

    def responded(self, response: Response) -> None:
        """As ``IOriginSink``."""
        self.call.cancel()
        super().responded(response)


class _RaisingSink(RecordingSink):
    """Has a bug."""

    def responded(self, response: Response) -> None:
        """As ``IOriginSink``."""
        super().responded(response)
        raise ZeroDivisionError("a bug in the sink")


class TargetTypeContract:
    """The tests of an ``ITargetType``."""

    target_type: ClassVar[Any]
    good_addresses: ClassVar[Mapping[str, str]]
    """What may stand behind the prefix, and what becomes of it."""
    bad_addresses: ClassVar[Sequence[str]]
    """What must be refused."""

    def test_target_type(self) -> None:
        """It is what it claims to be, and its prefix can be found in a routes file."""
        verifyObject(ITargetType, self.target_type)
        prefix = self.target_type.prefix
        assert isinstance(prefix, str)
        assert not set(prefix) & set("/:,= \t\"'"), prefix

    def test_good_addresses(self) -> None:
        """Good addresses are normalised, once and for all."""
        for written, normal in self.good_addresses.items():
            assert self.target_type.parse(written) == normal
            assert self.target_type.parse(normal) == normal

    def test_bad_addresses(self) -> None:
        """Bad addresses are refused with words for the log."""
        for written in self.bad_addresses:
            try:
                self.target_type.parse(written)
            except RouteSyntaxError as error:
                assert str(error)
            else:
                raise AssertionError(f"{written!r} was taken")
