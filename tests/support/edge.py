"""The client-facing edge alone: real sockets, a gateway that does as a test says, a clock that stands still.

Used by the loopback tests of ``pushpin_tw.edge``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor
from zope.interface import implementer

from pushpin_tw.config import parse_config
from pushpin_tw.edge.listener import ClientListeners
from pushpin_tw.interfaces import IBodySink, IGateway, IResponderOwner
from pushpin_tw.testing.services import LentServices
from pushpin_tw.wire.message import Request
from tests.support.clock import StillClock
from tests.support.rawclient import RawClient
from tests.support.waiting import Bell, until, within

PLAIN = [(b"Content-Type", b"text/plain")]


@implementer(IResponderOwner, IBodySink)
class Visit:
    """One request as the gateway got it, and what it was told since."""

    def __init__(self, house: EdgeHouse, request: Request, body: Any, responder: Any) -> None:
        self.house = house
        self.request = request
        self.body = body
        self.responder = responder
        self.events: list[str] = []
        """'drained', 'finished' (the body), 'lost'."""
        self.received = bytearray()
        responder.own(self)

    def reply(self, text: bytes = b"ok\n", status: int = 200) -> None:
        """A short whole response."""
        self.responder.respond(status, b"OK", PLAIN, text)

    def note(self, event: str) -> None:
        self.events.append(event)
        self.house.bell.ring()

    def drained(self) -> None:
        self.note("drained")

    def lost(self) -> None:
        self.note("lost")

    def body_received(self, data: bytes) -> None:
        self.received += data
        self.house.bell.ring()

    def body_finished(self) -> None:
        self.note("finished")

    async def told(self, event: str) -> None:
        """Wait until that has happened."""
        await self.house.wait_for(lambda: event in self.events, f"{event!r} among {self.events}")


def echo(visit: Visit) -> None:
    """Answer with the request line, and the body when it has come."""

    def answer() -> None:
        request = visit.request
        visit.reply(b" ".join([request.method, request.target, bytes(visit.received)]))

    if visit.body is None:
        answer()
        return
    visit.body_finished = answer  # type: ignore[method-assign]
    visit.body.begin(visit)


def keep(visit: Visit) -> None:
    """Do nothing; the test answers."""


@implementer(IGateway)
class EdgeHouse:
    """Listeners and the gateway behind them."""

    def __init__(self, config_text: str, directory: str = "") -> None:
        self.clock = StillClock()
        self.services = LentServices(reactor, self.clock, config_text)
        if directory:
            self.services.config = parse_config(config_text, f"{directory}/pushpin.conf", lambda path: "")
        self.stats = self.services.stats
        self.answer: Callable[[Visit], None] = echo
        """What happens to each request."""
        self.visits: list[Visit] = []
        self.bell = Bell()
        self.listeners = ClientListeners(self.services.config, self, self.services)
        self._clients: list[RawClient] = []

    def handle_request(self, request: Request, body: Any, responder: Any) -> None:
        visit = Visit(self, request, body, responder)
        self.visits.append(visit)
        try:
            self.answer(visit)
        finally:
            self.bell.ring()

    @property
    def live(self) -> int:
        """Connections at the moment."""
        return len(self.listeners.watch.live)

    async def client(self, number: int = 0, **options: Any) -> RawClient:
        """Connect to the listener of that number."""
        client = await RawClient.connect(self.listeners.addresses[number], **options)
        self._clients.append(client)
        return client

    async def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Until the gateway has seen something."""
        while not condition():
            await within(self.bell.wait(), what)

    async def visit(self, number: int = 1) -> Visit:
        """The request of that number, counted from 1."""
        await self.wait_for(lambda: len(self.visits) >= number, f"request {number}")
        return self.visits[number - 1]

    async def settled(self, live: int = 0) -> None:
        """Until so many connections are left."""
        await until(lambda: self.live == live, f"{live} connections; there are {self.live}")

    async def stop(self) -> None:
        """Everything is closed; no bug showed itself."""
        await within(self.listeners.stopService(), "the listeners' end")
        for client in self._clients:
            if not client.lost:
                client.drop()
        await until(lambda: all(client.lost for client in self._clients), "the clients' end")
        assert self.live == 0
        self.services.stop()
        assert not self.clock.getDelayedCalls()


@asynccontextmanager
async def edge(
    *lines: str, ports: str = "http_port=127.0.0.1:0", directory: str = "", failures: int = 0
) -> AsyncIterator[EdgeHouse]:
    """A running edge; ``lines`` are more of ``[runner]``, then other sections.

    ``failures``: bugs that the test provokes.
    """
    house = EdgeHouse("\n".join(["[runner]", ports, *lines, ""]), directory)
    house.listeners.startService()
    try:
        yield house
    finally:
        await house.stop()
    assert len(house.stats.failures) == failures, house.stats.failures
