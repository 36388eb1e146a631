"""Clients with WebSockets at an edge without anything behind it.

Used by the loopback tests of ``pushpin_tw.edge.websocket``.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from pushpin_tw.sockets import BINARY, MESSAGE
from pushpin_tw.testing.sockets import RecordingOwner
from tests.support.edge import EdgeHouse, Visit
from tests.support.waiting import turn, until
from tests.support.wsclient import HANDSHAKE, SocketClient

SLOW = 4096
"""Bytes that the kernel takes from the server for a client who does not read."""
BIG = bytes(100_000)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


class Owner(RecordingOwner):
    """Takes the socket that comes of a request."""

    socket: Any = None

    def accept(self, visit: Visit, extensions: bytes = b"") -> None:
        """Switch, without any headers."""
        self.socket = visit.responder.switch(b"Switching Protocols", [], extensions)
        if self.socket is not None:
            self.socket.own(self)


class Echo(Owner):
    """Says what it hears, at the pace at which it is taken."""

    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        super().socket_received(kind, data, first, end)
        self.socket.send(kind, data, first, end == MESSAGE)
        if self.socket.congested:
            self.socket.pause()

    def socket_closed(self, code: int | None, reason: bytes) -> None:
        super().socket_closed(code, reason)
        self.socket.close(code, reason)

    def socket_drained(self) -> None:
        super().socket_drained()
        self.socket.resume()


async def join(house: EdgeHouse, owner: Owner, *headers: str, **options: Any) -> SocketClient:
    """A client whose socket is ``owner``'s; ``options`` are those of ``RawClient.connect``."""
    house.answer = owner.accept
    raw = await house.client(**options)
    raw.request("/ws", *HANDSHAKE, *headers)
    return await SocketClient.switched(raw)


async def stuck(house: EdgeHouse, owner: Owner) -> tuple[SocketClient, int]:
    """A client that does not read, and how many ``BIG`` messages it took until no more would go."""
    client = await join(house, owner, receive_buffer=SLOW)
    client.raw.pause()
    return client, await fill(owner)


async def fill(owner: Owner) -> int:
    """Send ``BIG`` messages until no more go; how many these were."""
    count = 0
    while not owner.socket.congested:
        owner.socket.send(BINARY, BIG)
        count += 1
        for _ in range(2):
            await turn()
    return count


def departure(client: SocketClient) -> list[Failure]:
    """Where the reason will be why the connection of ``client`` ended."""
    reasons: list[Failure] = []
    lost = client.raw.connectionLost

    def note(reason: Failure) -> None:
        reasons.append(reason)
        lost(reason)

    client.raw.connectionLost = note  # type: ignore[method-assign]
    return reasons


async def advance(house: EdgeHouse, seconds: float, step: float = 1.0) -> None:
    """Move the clock in steps and let the sockets follow."""
    for _ in range(round(seconds / step)):
        house.clock.advance(step)
        await deferLater(reactor, 0)


async def dropped(owner: Owner) -> None:
    """The owner hears of the end, and that everything before was in order."""
    await until(lambda: owner.lost, "the end of a socket")
    assert owner.disorder == []
