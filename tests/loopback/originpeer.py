"""A backend of raw bytes for the origin room's tests: it says what a test wrote, when the test wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from pushpin_tw.routing.route import Target
from pushpin_tw.testing.origins import RecordingSink
from pushpin_tw.wire.message import OriginRequest
from tests.support.waiting import Bell, within

Said = Callable[["Link"], None]


class Link(Protocol):
    """One connection, as the backend sees it."""

    transport: Any

    def __init__(self, peer: RawPeer) -> None:
        self.peer = peer
        self.received = b""
        self.lost = False
        self.clean = False
        """Whether the proxy closed it properly instead of resetting it."""

    def connectionMade(self) -> None:
        self.peer.links.append(self)
        self.peer.bell.ring()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.peer.answer is not None:
            self.peer.answer(self)
        self.peer.bell.ring()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self.clean = reason.check(type(connectionDone.value)) is not None
        self.peer.bell.ring()

    def say(self, data: bytes) -> None:
        """Send."""
        self.transport.write(data)

    def close(self) -> None:
        """Close after what was said."""
        self.transport.loseConnection()


class RawPeer(Factory):
    """Listens and hands out links; ``answer`` is called whenever bytes have come."""

    noisy = False

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.answer: Said | None = None
        self.bell = Bell()
        self.port = 0
        self._listening: Any = None

    @classmethod
    async def listen(cls, where: str = "tcp:0:interface=127.0.0.1", wrap: Any = None) -> RawPeer:
        """On the endpoint ``where``; ``wrap`` puts another factory, such as TLS, around this one."""
        peer = cls()
        endpoint = serverFromString(reactor, where)
        peer._listening = await endpoint.listen(peer if wrap is None else wrap(peer))
        peer.port = peer._listening.getHost().port
        return peer

    def buildProtocol(self, addr: object) -> Link:
        return Link(self)

    def says(self, *responses: bytes, close: bool = False) -> None:
        """Answer every complete request head with the next response; the last one again and again."""
        queue = list(responses)

        def answer(link: Link) -> None:
            while b"\r\n\r\n" in link.received:
                _, _, link.received = link.received.partition(b"\r\n\r\n")
                link.say(queue.pop(0) if len(queue) > 1 else queue[0])
                if close:
                    link.close()

        self.answer = answer

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a state of the links."""
        while not condition():
            await within(self.bell.wait(), what)

    async def link(self, number: int = 1) -> Link:
        """The connection of that number, counted from 1."""
        await self.until(lambda: len(self.links) >= number, f"connection {number}")
        return self.links[number - 1]

    async def stop(self) -> None:
        """Stop listening, drop the links."""
        await self._listening.stopListening()
        for link in self.links:
            if not link.lost:
                link.transport.abortConnection()
        await self.until(lambda: all(link.lost for link in self.links), "the end of all connections")


def request(
    method: bytes = b"GET", target: bytes = b"/", length: int | None = 0, **more: Any
) -> OriginRequest:
    """A request to ``a.example``."""
    headers = [(b"Host", b"a.example"), *more.pop("headers", ())]
    return OriginRequest(method, target, headers, length, more.pop("host", "a.example"), **more)


def target(**options: Any) -> Target:
    """A ``HOST:PORT`` target with options."""
    return Target(kind="", **options)


async def fetched(origin: Any, asked: OriginRequest, *pieces: bytes) -> RecordingSink:
    """The whole exchange."""
    sink = RecordingSink()
    call = origin.fetch(asked, sink)
    for piece in pieces:
        call.write(piece)
    call.finish()
    await sink.end()
    assert sink.disorder == []
    return sink
