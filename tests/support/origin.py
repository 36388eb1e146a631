"""A backend that answers what a test wrote, byte for byte, and remembers what it was asked.

Used by loopback and conformance tests.  It parses only as much of a request as it needs to find its end.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from tests.support.rawclient import Pairs, RawClient, no_delay, parse_pairs
from tests.support.waiting import Bell, within

Answer = bytes | Callable[["Asked"], bytes | Awaitable[None] | None]
"""Bytes to send, or what makes them or writes them to the ``Asked``."""


def reply(*headers: str, body: bytes = b"", status: str = "200 OK") -> bytes:
    """A complete response with a Content-Length; ``headers`` are lines."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def hold(
    mode: str, *headers: str, channel: str | None = "c", body: bytes = b"", status: str = "200 OK"
) -> bytes:
    """An instruction response."""
    lines = [f"Grip-Hold: {mode}"]
    if channel is not None:
        lines.append(f"Grip-Channel: {channel}")
    return reply(*lines, *headers, body=body, status=status)


def instruct(
    body: bytes, *headers: str, kind: str = "application/grip-instruct", status: str = "200 OK"
) -> bytes:
    """An instruction response of the JSON kind."""
    return reply(f"Content-Type: {kind}", *headers, body=body, status=status)


def withheld(asked: Asked) -> None:
    """No answer: the test writes it when it is time."""


@dataclass(eq=False)
class Asked:
    """One request, and the way back."""

    connection: OriginConnection = field(repr=False)
    method: str
    target: str
    version: str
    headers: Pairs
    body: bytes
    """When the origin is early: what has come of it, framing included."""

    def all(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The first value of a header."""
        return next(iter(self.all(name)), None)

    def write(self, data: bytes) -> None:
        """Send bytes to the proxy."""
        self.connection.transport.write(data)

    def close(self) -> None:
        """Close the connection after what was written."""
        self.connection.transport.loseConnection()

    def switch(self) -> RawClient:
        """Speak something else from here on: what comes goes to the ``RawClient`` returned."""
        return self.connection.switch()

    def gone(self) -> Deferred[None]:
        """Fires when the proxy has closed this connection."""
        return self.connection.gone()


class OriginConnection(Protocol):
    """Reads requests one after the other."""

    transport: Any

    def __init__(self, origin: ScriptedOrigin) -> None:
        self._origin = origin
        self._unread = bytearray()
        self._early: Asked | None = None
        self._switched: RawClient | None = None
        self._lost = False
        self._bell = Bell()

    def connectionMade(self) -> None:
        no_delay(self.transport)
        self._origin.connections.add(self)

    def dataReceived(self, data: bytes) -> None:
        if self._switched is not None:
            self._switched.dataReceived(data)
            return
        if self._early is not None:
            self._early.body += data
            return
        self._unread += data
        while self._switched is None and (asked := self._parse()) is not None:
            self._origin.asked(asked)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self._origin.connections.discard(self)
        self._bell.ring()
        if self._switched is not None:
            self._switched.connectionLost(reason)

    def switch(self) -> RawClient:
        """Read no more requests; what comes is for the ``RawClient`` returned."""
        raw = self._switched = RawClient()
        raw.transport = self.transport
        raw.unread += self._unread
        raw.lost = self._lost
        self._unread.clear()
        return raw

    def gone(self) -> Deferred[None]:
        """Fires when the connection is lost; at once when it is already."""
        waiting = self._bell.wait()
        if self._lost:
            self._bell.ring()
        return waiting

    def _parse(self) -> Asked | None:
        end = self._unread.find(b"\r\n\r\n")
        if end < 0:
            return None
        line, *lines = bytes(self._unread[:end]).decode("latin-1").split("\r\n")
        method, target, version = line.split(" ")
        asked = Asked(self, method, target, version, parse_pairs(lines), b"")
        if self._origin.early:
            asked.body = bytes(self._unread[end + 4 :])
            self._unread.clear()
            self._early = asked
            return asked
        if "chunked" in asked.all("Transfer-Encoding"):
            found = dechunk(self._unread, end + 4)
        else:
            found = self._sized(end + 4, int(asked.get("Content-Length") or 0))
        if found is None:
            return None
        asked.body, stop = found
        del self._unread[:stop]
        return asked

    def _sized(self, start: int, length: int) -> tuple[bytes, int] | None:
        stop = start + length
        return None if len(self._unread) < stop else (bytes(self._unread[start:stop]), stop)


def dechunk(data: bytearray, start: int) -> tuple[bytes, int] | None:
    """The chunked body that begins at ``start`` and the index behind it; None while it is incomplete."""
    body = bytearray()
    while True:
        line = data.find(b"\r\n", start)
        if line < 0:
            return None
        size = int(bytes(data[start:line]).split(b";")[0], 16)
        stop = line + 4 + size
        if len(data) < stop:
            return None
        body += data[line + 2 : stop - 2]
        start = stop
        if size == 0:
            return bytes(body), stop


class ScriptedOrigin(Factory):
    """A listening backend."""

    noisy = False

    def __init__(self) -> None:
        self.requests: list[Asked] = []
        """Everything it was asked, in order, except on paths given to ``at``."""
        self.connections: set[OriginConnection] = set()
        self.early = False
        """Whether it answers at the head of a request, one request for each connection."""
        self._answers: deque[Answer] = deque()
        self._scripts: dict[str, deque[Answer]] = {}
        self._paths: dict[str, Answer] = {}
        self._port: Any = None
        self._bell = Bell()
        self.errors: list[Failure] = []

    @classmethod
    async def listen(
        cls,
        where: str = "tcp:0:interface=127.0.0.1:backlog=1000",
        wrap: Callable[[ServerFactory], ServerFactory] | None = None,
    ) -> ScriptedOrigin:
        """On a free port of 127.0.0.1 or at the endpoint given; ``wrap`` puts TLS around it."""
        origin = cls()
        endpoint = serverFromString(reactor, where)
        origin._port = await endpoint.listen(wrap(origin) if wrap is not None else origin)
        return origin

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT`` or ``[::1]:PORT``, as a route's target."""
        bound = self._port.getHost()
        return f"[{bound.host}]:{bound.port}" if ":" in bound.host else f"{bound.host}:{bound.port}"

    def buildProtocol(self, addr: object) -> OriginConnection:
        return OriginConnection(self)

    def answers(self, *answers: Answer) -> None:
        """What the next requests get, one each; the last is given again and again."""
        self._answers = deque(answers)

    def on(self, path: str, *answers: Answer) -> None:
        """The same for requests to one path, whatever their query."""
        self._scripts[path] = deque(answers)

    def asked_for(self, path: str) -> list[Asked]:
        """The requests to a path, whatever their query."""
        return [asked for asked in self.requests if asked.target.partition("?")[0] == path]

    def at(self, path: str, answer: Answer) -> None:
        """What requests for exactly this target get; they are not recorded."""
        self._paths[path] = answer

    def asked(self, asked: Asked) -> None:
        """A request came.  Who waits for it wakes when its answer was written."""
        answer = self._paths.get(asked.target)
        if answer is not None:
            self._answer(asked, answer)
            return
        self.requests.append(asked)
        answers = self._scripts.get(asked.target.partition("?")[0], self._answers)
        self._answer(asked, answers.popleft() if len(answers) > 1 else answers[0])
        self._bell.ring()

    def _answer(self, asked: Asked, answer: Answer) -> None:
        if not isinstance(answer, bytes):
            made = answer(asked)
            if inspect.iscoroutine(made):
                Deferred.fromCoroutine(made).addErrback(self.errors.append)
                return
            answer = made  # type: ignore[assignment]
        if answer:
            asked.write(answer)  # type: ignore[arg-type]

    async def request(self, number: int, path: str = "") -> Asked:
        """The request of that number, counted from 1, to whatever path or to the one given; waits for it."""
        while len(found := self.asked_for(path) if path else self.requests) < number:
            await within(self._bell.wait(), f"request {number} to {path}; the origin had {self.requests}")
        return found[number - 1]

    async def down(self) -> None:
        """Nobody is there any more, until ``up``."""
        if self._port is not None:
            self._port.port = self._port.getHost().port  # not just any one when it comes back
            await self._port.stopListening()
        await self.disconnect()

    async def disconnect(self) -> None:
        """Drop all connections."""
        for connection in list(self.connections):
            waiting = connection.gone()
            connection.transport.abortConnection()
            await waiting

    def up(self) -> None:
        """Listen again, where it was."""
        self._port.startListening()

    async def stop(self) -> None:
        """Stop listening and drop the connections; errors of scripts show here."""
        if self._port is not None:
            await self._port.stopListening()
        await self.disconnect()
        for failure in self.errors:
            failure.raiseException()
