"""WebSockets over HTTP as a whole: whatever client, backend and time do, the rules between them hold."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface import implementer

from pushpin_tw.errors import OriginDisconnected, OriginUnreachable
from pushpin_tw.interfaces import IOrigin, IOriginCall
from pushpin_tw.origin.overhttp import OverHttpOrigin
from pushpin_tw.routing.route import Target
from pushpin_tw.sockets import BINARY, CLOSE, MESSAGE, PING, PONG, TEXT, IHandshake, ISocketOwner, ISocketSink
from pushpin_tw.testing.services import RecordedStats, config
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.events import CONTENT_TYPE, DISCONNECT, OPEN, Event, encode_event, parse_events
from pushpin_tw.wire.headers import Header, get
from pushpin_tw.wire.message import OriginRequest, Response
from tests.pure.clock import Clock

TYPE = (b"Content-Type", CONTENT_TYPE)
MESSAGES = (TEXT, BINARY, PING, PONG)


@implementer(IOriginCall)
class Call:
    """A request at the backend."""

    congested = False

    def __init__(self, backend: Backend, request: OriginRequest, sink: Any) -> None:
        self.backend, self.request, self.sink = backend, request, sink
        self.body = b""

    def write(self, data: bytes) -> None:
        self.body += data

    def finish(self) -> None:
        assert len(self.body) == self.request.length

    def cancel(self) -> None:
        if self.backend.call is self:
            self.backend.call = None

    def pause(self) -> None:
        """Nothing is on its way."""

    def resume(self) -> None:
        """Nothing was."""


@implementer(IOrigin)
class Backend:
    """Has one request at most; remembers what it took, and how far what it was offered went."""

    def __init__(self) -> None:
        self.call: Call | None = None
        self.taken: list[tuple[int, int]] = []
        """Kinds and bytes of contents."""
        self.consumed = self.seen = 0
        self.farewells = 0
        """How often it was told that the client has gone."""

    def fetch(self, request: OriginRequest, sink: Any) -> Call:
        assert self.call is None, "two requests at a time"
        assert not self.farewells, "a request behind DISCONNECT"
        self.call = Call(self, request, sink)
        return self.call

    def connect(self, handshake: Any, sink: Any) -> Any:
        raise NotImplementedError

    def _end(self) -> Call:
        call, self.call = self.call, None
        assert call is not None
        return call

    def answer(
        self, events: list[Event], share: float | None = None, headers: tuple[Header, ...] = ()
    ) -> None:
        """Say this, and accept a ``share`` of what was offered."""
        call = self._end()
        contents = [event for event in parse_events(call.body) if event[0] in MESSAGES]
        offered = sum(len(data) for _, data in contents)
        if call.body == encode_event(DISCONNECT):
            self.farewells += 1
        elif call.body != encode_event(OPEN):
            replayed = int(get(call.request.headers, b"content-bytes-replayed") or 0)
            assert replayed == max(0, self.seen - self.consumed)
        self.seen = max(self.seen, self.consumed + offered)
        accepted = offered if share is None else round(share * offered)
        stream = [(kind, byte) for kind, data in contents for byte in data]
        self.taken += stream[:accepted]
        self.consumed += accepted
        if accepted < offered:
            headers = (*headers, (b"Content-Bytes-Accepted", b"%d" % accepted))
        body = b"".join(encode_event(*event) for event in events)
        call.sink.responded(Response(200, b"OK", [TYPE, *headers], len(body)))
        if body:
            call.sink.received(body)
        call.sink.finished()

    def fail(self, error: Exception) -> None:
        """There is no answer."""
        self._end().sink.failed(error)


@implementer(IHandshake)
class Handshake:
    connection_id = b"id"

    def prepare(self) -> OriginRequest:
        return OriginRequest(b"POST", b"/", [(b"Host", b"a.example")])


@implementer(ISocketOwner, ISocketSink)
class Owner:
    """Objects when it is told what it must not be told."""

    def __init__(self) -> None:
        self.socket: Any = None
        self.heard: list[Event] = []
        self.closed = self.lost = self.left = False

    def opened(self, response: Response, socket: Any) -> None:
        self.socket = socket
        socket.own(self)

    def refused(self, response: Response, body: bytes) -> None:
        raise AssertionError("refused")

    def failed(self, error: Exception) -> None:
        raise AssertionError("failed") from error

    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        assert not (self.closed or self.lost or self.left)
        assert first and end == MESSAGE
        self.heard.append((kind, data))

    def socket_closed(self, code: int | None, reason: bytes) -> None:
        assert not (self.closed or self.lost or self.left)
        self.closed = True

    def socket_drained(self) -> None:
        assert not (self.lost or self.left) and not self.socket.congested

    def socket_lost(self) -> None:
        assert not (self.lost or self.left)
        self.lost = True


class World:
    """A socket, with everything around it."""

    def __init__(self, one_event: bool, interval: int, max_leaving: int = 10) -> None:
        self.clock = Clock()
        self.stats = RecordedStats()
        self.config = config(f"[runner]\nclient_maxconn={max_leaving}\n")
        self.random = Random(1)
        self.wheel = Wheel(self.clock, lambda: self.stats.failure("timer"))
        self.backend = Backend()
        origin = OverHttpOrigin(self.backend, Target(kind="", over_http=True, one_event=one_event), self)
        self.rules = origin._rules
        self.owner = Owner()
        self.said: list[tuple[int, int]] = []
        self.said_close = False
        origin.connect(Handshake(), self.owner)
        keep_alive = (b"Keep-Alive-Interval", b"%d" % interval)
        self.backend.answer([(OPEN, b"")], headers=(keep_alive,))
        self.socket = self.owner.socket

    @property
    def over(self) -> bool:
        """Whether the owner hears nothing more."""
        return self.owner.lost or self.owner.left

    # ---- steps

    def say(self, kind: int, data: bytes) -> None:
        if not self.over and not self.said_close:
            self.said += [(kind, byte) for byte in data]
        self.socket.send(kind, data)

    def close(self) -> None:
        self.said_close = True
        self.socket.close(4001, b"bye")

    def part(self) -> None:
        self.said_close = True
        self.socket.part()

    def abort(self) -> None:
        self.owner.left = True
        self.socket.abort()

    def answer(self, events: list[Event], share: float | None) -> None:
        if self.backend.call is not None:
            self.backend.answer(events, share)

    def unreachable(self) -> None:
        if self.backend.call is not None:
            self.backend.fail(OriginUnreachable("refused"))

    def broken(self) -> None:
        if self.backend.call is not None:
            self.backend.fail(OriginDisconnected("gone"))

    def check(self) -> None:
        """What holds at all times."""
        assert self.stats.failures == []
        assert self.backend.taken == self.said[: len(self.backend.taken)], "lost, doubled or reordered"
        assert self.rules.leaving in (0, 1)


HARMLESS = st.tuples(st.sampled_from(MESSAGES), st.binary(max_size=4))
DRASTIC = st.sampled_from(
    [(CLOSE, b""), (CLOSE, b"\x0f\xa1"), (OPEN, b""), (DISCONNECT, b""), (PING, bytes(126))]
)
SAY = st.tuples(st.just("say"), st.sampled_from(MESSAGES), st.binary(max_size=5))
ANSWER = st.tuples(st.just("answer"), st.lists(HARMLESS, max_size=2), st.none() | st.floats(0, 1))
USUAL = st.sampled_from(["refresh", "pause", "resume", "resume", "unreachable"])
WAIT = st.tuples(st.just("wait"), st.sampled_from([0.5, 3, 21]))
END = st.one_of(
    st.tuples(st.just("answer"), st.lists(HARMLESS | DRASTIC, max_size=3), st.none() | st.floats(0, 1)),
    st.tuples(st.sampled_from(["broken", "close", "part", "abort"])),
)
STEPS = st.tuples(
    st.lists(st.one_of(SAY, SAY, SAY, ANSWER, ANSWER, st.tuples(USUAL), WAIT), max_size=20),
    st.lists(st.one_of(SAY, ANSWER, st.tuples(USUAL), WAIT, END), max_size=8),
).map(lambda parts: parts[0] + parts[1])


def run(world: World, steps: list[Any]) -> None:
    """Do all of it."""
    for what, *arguments in steps:
        if what == "wait":
            world.clock.advance(arguments[0], 0.1)
        elif what in ("refresh", "pause", "resume"):
            getattr(world.socket, what)()
        else:
            getattr(world, what)(*arguments)
        world.check()


@settings(max_examples=200)
@given(st.booleans(), st.sampled_from([0, 20]), st.booleans(), STEPS)
def test_whatever_happens(one_event: bool, interval: int, dead: bool, steps: list[Any]) -> None:
    """In the end everything was said, unless the socket or the backend has died; nothing is left of it."""
    world = World(one_event, interval)
    run(world, steps)
    world.socket.resume()
    world.socket.refresh()
    settle(world, dead)
    if not (world.over or world.said_close or dead):
        assert world.backend.taken == world.said
    if not world.owner.lost:
        world.abort()
    settle(world, dead)
    assert world.backend.call is None
    assert world.wheel.waiting == 0, "nothing waits for the past"
    assert world.rules.leaving == 0


def settle(world: World, dead: bool) -> None:
    """Let the backend be there, and content with everything; or away for good (websocket 4.13)."""
    for _ in range(45):
        if dead:
            world.unreachable()
        else:
            world.answer([], None)
        world.check()
        world.clock.advance(1, 0.5)


def test_no_more_backends_are_told_of_the_end_than_there_are_clients() -> None:
    """The others are left alone, and nothing goes on for them (websocket 4.12)."""
    world = World(False, 20, max_leaving=1)
    world.rules.leaving = 1
    world.abort()
    assert world.backend.call is None
    assert world.wheel.waiting == 0
    assert world.rules.leaving == 1
    assert world.stats.counts["disconnects-dropped", ""] == 1


def test_the_end_is_told_once() -> None:
    """Also when the backend cannot be told of what it has done."""
    world = World(False, 0)
    world.say(TEXT, b"hi")
    world.answer([(PING, bytes(126))], None)
    assert world.owner.lost
    settle(world, dead=True)
    assert world.rules.leaving == 0


def test_a_bug_in_the_owner_ends_its_socket_only() -> None:
    world = World(False, 20)
    world.owner.closed = True  # so that it objects to whatever it is told
    world.say(TEXT, b"hi")
    world.answer([(TEXT, b"x"), (TEXT, b"y")], None)
    assert world.owner.lost
    assert len(world.stats.failures) == 1
    assert world.backend.call is None
    assert world.wheel.waiting == 0
