"""Who takes part in the conversations of the proxy's tests: a client, its upload, backends.

They do nothing by themselves.  What the proxy tells them is written into one script, in the order in which it
happens; a test lets something arrive and reads what was said since.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushpin_tw.broker.broker import Broker
from pushpin_tw.broker.fanout import Fanout
from pushpin_tw.broker.limiter import Pace
from pushpin_tw.grip.filters import Filters
from pushpin_tw.grip.item import parse_item
from pushpin_tw.hold.base import HoldRoom
from pushpin_tw.interfaces import IBody, IOrigin, IOriginCall, IResponder
from pushpin_tw.proxy.gateway import Gateway, GatewaySettings
from pushpin_tw.proxy.held import Acceptor
from pushpin_tw.proxy.refetch import Refetch
from pushpin_tw.routing.rewrite import Rewriter
from pushpin_tw.sockets import IClientSocket, IOriginSocket
from pushpin_tw.testing.services import RecordedStats
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.http1 import parse_request
from pushpin_tw.wire.message import OriginRequest, Request, Response
from tests.pure.clock import Clock
from tests.pure.routing.tables import Section, table
from tests.support.tally import RecordedTally

LIMIT = 100_000


class Broken(Exception):
    """A bug that a test puts in."""


class Script:
    """What was said, line by line: ``WHO: WHAT``."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, who: str, what: str | bytes) -> None:
        if isinstance(what, bytes):
            what = what.decode("latin-1") if len(what) < 200 else f"{len(what)} bytes"
        self.lines.append(f"{who}: {what}")

    def take(self) -> list[str]:
        """What was said since the last time."""
        lines, self.lines = self.lines, []
        return lines


KINDS = {1: "text", 2: "binary", 9: "ping", 10: "pong"}


@implementer(IClientSocket, IOriginSocket)
class Socket:
    """Either end of a WebSocket."""

    form = False

    def __init__(self, script: Script, who: str) -> None:
        self.script = script
        self.who = who
        self.congested = False
        self.owner: Any = None
        self.broken: set[str] = set()

    def _say(self, what: str) -> None:
        if what.split()[0] in self.broken:
            raise Broken(what)
        self.script.say(self.who, what)

    def own(self, owner: Any) -> None:
        self.owner = owner

    def send(self, kind: int, data: bytes, first: bool = True, last: bool = True) -> None:
        marks = ("" if first else "...") + data.decode("latin-1") + ("" if last else "...")
        self._say(f"{KINDS[kind]} {marks}".rstrip(" "))

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        assert data == b"".join(parts)
        self._say(f"deliver {data.decode('latin-1')}")

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        self._say(f"close {code} {reason.decode()}".rstrip())

    def abort(self) -> None:
        self._say("abort")
        self.owner = None

    def pause(self) -> None:
        self._say("pause")

    def resume(self) -> None:
        self._say("resume")

    def part(self) -> None:
        self._say("part")

    def refresh(self) -> None:
        self._say("refresh")


@implementer(IResponder)
class Client:
    """A responder: bytes wait for a flush, an end is final, and what is broken raises."""

    minor = 1
    persistent = True
    chunked = False
    # As ICounted:
    kind = "http"
    number = 0
    cohort: Any = None
    believed = ""

    @property
    def address(self) -> str:
        return self.believed or "the socket's"

    def __init__(self, script: Script, head_only: bool, minor: int, broken: set[str]) -> None:
        self.script = script
        self.head_only = head_only
        self.minor = minor
        self.congested = False
        self.started = False
        self.dead = False
        self.sent = 0
        self.owner: Any = None
        self.broken = broken
        self.headers: list[Header] = []
        self._pieces: list[str | bytes] = []
        self.socket: Socket
        verifyObject(IResponder, self)

    def _check(self, method: str) -> None:
        if method in self.broken:
            raise Broken(method)
        assert not self.dead, f"{method} after the end"

    def _die(self) -> None:
        self.dead = True
        self.owner = None

    def own(self, owner: Any) -> None:
        self._check("own")
        self.owner = owner

    def start(self, status: int, reason: bytes, headers: Sequence[Header], length: int | None) -> None:
        self._check("start")
        assert not self.started
        self.started = True
        self.chunked = length is None and self.minor == 1
        self.headers = list(headers)
        self._pieces.append(f"{status} {reason.decode()}" + ("" if length is None else f", {length} bytes"))

    def write(self, data: bytes) -> None:
        self._check("write")
        assert self.started
        self.sent += len(data)
        self._pieces.append(data)

    def flush(self) -> None:
        self._check("flush")
        self._flush()

    def _flush(self) -> None:
        for piece in self._pieces:
            self.script.say("client", piece)
        self._pieces = []

    def finish(self) -> None:
        self._check("finish")
        assert self.started
        self._flush()
        self.script.say("client", "end")
        self._die()

    def respond(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        self._check("respond")
        assert not self.started
        self.started = True
        self.headers = list(headers)
        self.script.say("client", f"{status} {reason.decode()} | ".encode() + body)
        self._die()

    def switch(self, reason: bytes, headers: Sequence[Header], extensions: bytes) -> Socket:
        self._check("switch")
        assert not self.started
        self.started = True
        self.headers = list(headers)
        self.script.say("client", f"101 {reason.decode()} | ".encode() + extensions)
        self._die()
        self.socket = Socket(self.script, "client")
        return self.socket

    def deliver(self, data: bytes) -> None:
        self._check("deliver")
        assert self.started and not self._pieces
        self.script.say("client", data)

    def complete(self, data: bytes) -> None:
        self._check("complete")
        assert not self.started
        self.started = True
        self.script.say("client", data.replace(b"\r\n", b"~"))
        self._die()

    def abort(self) -> None:
        self._check("abort")
        self._flush()
        self.script.say("client", "abort")
        self._die()

    # ---- what a client does --------------------------------------------------------------------------------

    def goes(self) -> None:
        """The connection is gone."""
        owner, self.owner = self.owner, None
        self.dead = True
        if owner is not None:
            owner.lost()

    def reads_again(self) -> None:
        """It was too slow, and has caught up."""
        self.congested = False
        self.owner.drained()


@implementer(IBody)
class Upload:
    """The body of a request, at hand as far as it was sent."""

    def __init__(self, script: Script, waiting: bytes = b"") -> None:
        self.script = script
        self.sink: Any = None
        self._waiting = waiting
        self.dropped = False
        verifyObject(IBody, self)

    def begin(self, sink: Any) -> None:
        self.sink = sink
        self.script.say("upload", "begin")
        if self._waiting:
            sink.body_received(self._waiting)

    def pause(self) -> None:
        self.script.say("upload", "pause")

    def resume(self) -> None:
        self.script.say("upload", "resume")

    def abandon(self) -> None:
        assert not self.dropped
        self.dropped = True
        self.script.say("upload", "abandon")

    def sends(self, data: bytes) -> None:
        """More of the body comes."""
        assert not self.dropped
        self.sink.body_received(data)

    def ends(self) -> None:
        """The body is complete."""
        assert not self.dropped
        self.sink.body_finished()


@implementer(IOriginCall)
class Call:
    """A request to a backend, and the backend's part in it."""

    def __init__(self, script: Script, name: str, request: OriginRequest, sink: Any) -> None:
        self.script = script
        self.name = name
        self.request = request
        self.sink = sink
        self.congested = False
        self.over = False
        self.on_write: Callable[[], None] = lambda: None
        self.on_finish: Callable[[], None] = lambda: None
        verifyObject(IOriginCall, self)

    def write(self, data: bytes) -> None:
        if not self.over:
            self.script.say(self.name, data)
            self.on_write()

    def finish(self) -> None:
        if not self.over:
            self.script.say(self.name, "end")
            self.on_finish()

    def pause(self) -> None:
        self.script.say(self.name, "pause")

    def resume(self) -> None:
        self.script.say(self.name, "resume")

    def cancel(self) -> None:
        if not self.over:
            self.over = True
            self.script.say(self.name, "cancel")

    # ---- what a backend does -------------------------------------------------------------------------------

    def responds(
        self, status: int = 200, *headers: str, length: int | None = None, reason: str = "OK"
    ) -> Call:
        """The head comes; ``headers`` are ``Name: value``."""
        if not self.over:
            pairs = [tuple(line.encode().split(b": ", 1)) for line in headers]
            self.sink.responded(Response(status, reason.encode(), pairs, length))  # type: ignore[arg-type]
        return self

    def sends(self, *pieces: bytes) -> Call:
        """Body bytes come, all of them in one read."""
        for piece in pieces:
            if not self.over:
                self.sink.received(piece)
        if not self.over:
            self.sink.settled()
        return self

    def ends(self) -> None:
        """The response is complete."""
        if not self.over:
            self.over = True
            self.sink.finished()

    def fails(self, error: Exception) -> None:
        """There will be no more."""
        if not self.over:
            self.over = True
            self.sink.failed(error)

    def takes_more(self) -> None:
        """It was too slow, and has caught up."""
        self.congested = False
        self.sink.origin_drained()


@implementer(IOrigin)
class Backend:
    """A target's destination."""

    def __init__(self, script: Script, name: str) -> None:
        self.script = script
        self.name = name
        self.calls: list[Call] = []
        self.wishes: list[Wish] = []
        self.within: Callable[[Call], object] = lambda call: None
        """What happens within ``fetch``."""
        verifyObject(IOrigin, self)

    def fetch(self, request: OriginRequest, sink: Any) -> Call:
        length = "?" if request.length is None else request.length
        head = f"{request.method.decode()} {request.target.decode()} ({length})"
        self.script.say(self.name, head)
        call = Call(self.script, self.name, request, sink)
        self.calls.append(call)
        self.within(call)
        return call

    def connect(self, handshake: Any, sink: Any) -> Wish:
        wish = Wish(self.script, self.name, handshake, sink)
        self.wishes.append(wish)
        return wish

    @property
    def call(self) -> Call:
        """The latest."""
        return self.calls[-1]


class Wish:
    """A WebSocket that an origin is asked for."""

    def __init__(self, script: Script, name: str, handshake: Any, sink: Any) -> None:
        self.script = script
        self.name = name
        self.handshake = handshake
        self.sink = sink
        request: OriginRequest = handshake.prepare()
        self.headers = request.headers
        script.say(name, f"{request.method.decode()} {request.target.decode()} socket")

    def cancel(self) -> None:
        self.script.say(self.name, "cancel")

    def agrees(self, *headers: tuple[str, str], reason: str = "Yes") -> Socket:
        """The origin's end; the client has its own then."""
        pairs = [(name.encode(), value.encode()) for name, value in headers]
        socket = Socket(self.script, self.name)
        self.sink.opened(Response(101, reason.encode(), pairs), socket)
        return socket

    def refuses(self, status: int, *headers: tuple[str, str], body: bytes = b"") -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers]
        self.sink.refused(Response(status, b"No", pairs, len(body)), body)


class Scene:
    """A gateway, and everybody around it."""

    def __init__(self, routes: str = "* a:1", section: Section | None = None, **settings: bool) -> None:
        self.script = Script()
        self.clock = Clock(1_000_000.0)
        self.stats = RecordedStats()
        self.backends: dict[str, Backend] = {}
        self.wheel = Wheel(self.clock, lambda: self.stats.failure("timer"))
        self.fanout = Fanout(Pace(-1, 500), self.clock.callLater, self.stats)
        self.broker = Broker(self.fanout, self.wheel, self.stats, 60)
        rewriter = Rewriter(section or Section())
        entropy = random.Random(2).randbytes
        self.gateway = Gateway(GatewaySettings(**settings), rewriter, self, self.clock, entropy, self.stats)
        filters = Filters([])
        self.room = HoldRoom(
            self.broker,
            self.wheel,
            self.stats,
            random.Random(1),
            self.gateway,
            100,
            subscription_max=20,
            links=Refetch(self.gateway, rewriter, filters, self.clock.callLater, self.wheel, self.stats),
            filters=filters,
        )
        self.gateway.acceptor = Acceptor(self.room)
        self.client: Client
        self.upload: Upload | None
        self.broken: set[str] = set()
        """Methods that the next client's responder fails in."""
        self.route(routes)

    def count(self) -> RecordedTally:
        """From now on what happens is counted."""
        tally = RecordedTally()
        self.gateway.tally = self.room.tally = self.broker.tally = self.fanout.tally = tally
        return tally

    def route(self, lines: str) -> None:
        """Read the routes again."""
        self.gateway.table = table(lines)

    def origin(self, target: Any) -> Backend:
        """The backend of a target, as ``service.Origins``."""
        return self[target.label]

    def __getitem__(self, label: str) -> Backend:
        return self.backends.setdefault(label, Backend(self.script, label.partition(":")[0]))

    @property
    def a(self) -> Call:
        """The latest request to ``a:1``."""
        return self["a:1"].call

    @property
    def b(self) -> Call:
        """The latest request to ``b:2``."""
        return self["b:2"].call

    def asks(
        self,
        target: str = "/",
        *headers: str,
        method: str = "GET",
        minor: int = 1,
        host: str = "h",
        waiting: bytes = b"",
    ) -> Client:
        """A client's request; ``waiting`` is what has come of its body already."""
        lines = [f"{method} {target} HTTP/1.{minor}", f"Host: {host}", *headers, "", ""]
        request: Request = parse_request("\r\n".join(lines).encode())
        self.client = Client(self.script, method == "HEAD", minor, self.broken)
        self.client.persistent = request.keep_alive
        self.upload = Upload(self.script, waiting) if request.has_body else None
        self.gateway.handle_request(request, self.upload, self.client)
        return self.client

    def wishes(self, target: str = "/", *headers: str, agree: str = "grip") -> tuple[Socket, Socket]:
        """A client's WebSocket that ``a:1`` agrees to: both ends, the client's first."""
        wish = self.wish(target, *headers)
        origin = wish.agrees(*([("Sec-WebSocket-Extensions", agree)] if agree else []))
        return self.client.socket, origin

    def wish(self, target: str = "/", *headers: str) -> Wish:
        """What ``a:1`` is asked by a client who wants a WebSocket."""
        keys = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x")
        self.asks(target, *keys, *headers)
        return self["a:1"].wishes[-1]

    def posts(self, length: int | None, *headers: str, waiting: bytes = b"") -> Upload:
        """A POST whose body is about to come; ``length`` None: in chunks."""
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        self.asks("/", framing, *headers, method="POST", waiting=waiting)
        assert self.upload is not None
        return self.upload

    def publishes(self, channel: str = "c", meta: dict[str, str] | None = None, **formats: Any) -> None:
        """An item; ``response``, ``stream`` and ``message`` are its formats; a string is content."""
        names = {
            "response": ("http-response", "body"),
            "stream": ("http-stream", "content"),
            "message": ("ws-message", "content"),
        }
        spelled = {}
        for key, value in formats.items():
            name, part = names[key]
            spelled[name] = {part: value} if isinstance(value, str) else value
        self.broker.accept([parse_item({"channel": channel, "formats": spelled, "meta": meta or {}})])
        self.clock.advance(0.01)

    def said(self) -> list[str]:
        """What was said since the last time, by everybody to everybody; nothing has gone wrong."""
        assert self.stats.failures == []
        return self.script.take()

    def crashed(self) -> list[str]:
        """The same, when exactly one bug has shown itself."""
        assert len(self.stats.failures) == 1, self.stats.failures
        assert "Broken" in self.stats.failures.pop()
        return self.script.take()

    def logged(self) -> list[str]:
        """The lines of the log since the last time."""
        lines = [
            f"{line.method.decode()} {line.uri}"
            + (f" -> {line.target}" if line.target else "")
            + (f" route={line.route}" if line.route else "")
            + (f" code={line.status} {line.size}" if line.outcome == "code" else f" {line.outcome}")
            + (" retry" if line.retry else "")
            for line in self.stats.requests
        ]
        self.stats.requests.clear()
        return lines


def hold(mode: str = "stream", *more: str, channel: str = "c") -> list[str]:
    """Headers with which a backend asks for a hold."""
    return [f"Grip-Hold: {mode}", f"Grip-Channel: {channel}", *more]
