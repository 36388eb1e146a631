"""SockJS clients on real sockets, and a double of gateway and tunnel that does as a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from pushpin_tw.edge.sockjs import SockJs
from pushpin_tw.interfaces import IResponderOwner
from pushpin_tw.routing.route import Condition, Route
from pushpin_tw.routing.uri import Uri, request_uri
from pushpin_tw.sockets import ISocketOwner
from pushpin_tw.wire.message import Request
from tests.support.edge import EdgeHouse, Visit, edge
from tests.support.rawclient import Answer, RawClient

BASE = Route(Condition(), (), id="base", sockjs=b"/sj")
URL = "http://cdn.example.com/sockjs.js"


@implementer(IResponderOwner, ISocketOwner)
@dataclass(eq=False)
class Started:
    """A WebSocket that was asked for, and what was told about it since."""

    stage: Stage
    request: Request
    uri: Uri
    route: Route
    responder: Any

    def __post_init__(self) -> None:
        self.socket: Any = None
        self.events: list[Any] = []
        """Messages (bytes), ('closed', code, reason), 'lost', 'socket lost', 'socket drained'."""
        self.holding_back = False
        """Whether it pauses the socket after each message."""
        self.responder.own(self)

    def accept(self) -> Any:
        """The origin agrees."""
        self.socket = self.responder.switch(b"Switching Protocols", [(b"Set-Cookie", b"a=b")], b"")
        if self.socket is not None:
            self.socket.own(self)
        return self.socket

    def note(self, event: Any) -> None:
        self.events.append(event)
        self.stage.house.bell.ring()

    def drained(self) -> None:
        self.note("drained")

    def lost(self) -> None:
        self.note("lost")

    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        assert (first, end) == (True, 2)
        self.note(data)
        if self.holding_back:
            self.socket.pause()

    def socket_closed(self, code: int | None, reason: bytes) -> None:
        self.note(("closed", code, reason))

    def socket_drained(self) -> None:
        self.note("socket drained")

    def socket_lost(self) -> None:
        self.note("socket lost")

    async def told(self, *events: Any) -> None:
        """Wait until just this has happened."""
        await self.stage.house.wait_for(lambda: len(self.events) >= len(events), f"{events} in {self.events}")
        assert self.events == list(events)


class Stage:
    """An edge with SockJS on ``route``."""

    def __init__(self, house: EdgeHouse, route: Route) -> None:
        self.house = house
        self.route = route
        self.accepting = True
        """Whether every WebSocket that is asked for is agreed to at once."""
        self.started: list[Started] = []
        self.sockjs = SockJs(house.services)
        house.answer = self._handle

    def _handle(self, visit: Visit) -> None:
        uri = request_uri(visit.request, False)
        self.sockjs.handle(visit.request, uri, self.route, visit.body, visit.responder, self._start)

    def _start(self, request: Request, uri: Uri, route: Route, responder: Any) -> None:
        started = Started(self, request, uri, route, responder)
        self.started.append(started)
        if self.accepting:
            started.accept()

    @property
    def socket(self) -> Any:
        """The socket of the latest session."""
        return self.started[-1].socket

    def advance(self, seconds: float) -> None:
        """Let time pass, in steps that no timer is longer than."""
        self.house.clock.pump([0.1] * round(seconds * 10 + 1))

    async def send(
        self, target: str, body: bytes | None = b"", *headers: str, method: str = "POST"
    ) -> RawClient:
        """A request on a connection of its own."""
        client = await self.house.client()
        client.request(target, *headers, method=method, body=body)
        return client

    async def ask(self, target: str, body: bytes | None = b"", *headers: str, method: str = "POST") -> Answer:
        """A request and its response."""
        client = await self.send(target, body, *headers, method=method)
        answer = await client.read_response(head_only=method == "HEAD")
        client.drop()
        return answer

    async def get(self, target: str, *headers: str, method: str = "GET") -> Answer:
        """A request without a body, and its response."""
        return await self.ask(target, None, *headers, method=method)

    async def text(self, target: str, body: bytes = b"") -> bytes:
        """The body of the response to a POST, which must be a success."""
        answer = await self.ask(target, body)
        assert answer.status == 200, answer
        return answer.body

    async def hold(self, target: str = "/sj/s/i/xhr") -> RawClient:
        """A poll that is held."""
        number = len(self.house.visits)
        client = await self.send(target)
        await self.house.visit(number + 1)
        return client


@asynccontextmanager
async def sockjs(route: Route = BASE, *lines: str) -> AsyncIterator[Stage]:
    """A stage that is cleared afterwards."""
    async with edge(*lines, "[proxy]", f"sockjs_url={URL}") as house:
        stage = Stage(house, route)
        yield stage
        stage.sockjs.stop()
        assert not stage.sockjs.sessions
