"""Reliable clients in great number: each remembers what it has, and asks again from there when cut off.

Used by the proofs in ``tests/peers``.  A client never looks at others, never drops an item that came
twice and never sorts: what it was given is what it shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import httptools
from twisted.internet import reactor, task
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.support.waiting import Waited

Address = tuple[str, int]
Item = tuple[int, str]
"""The id of an item, and its text."""
PACE = 0.02
"""Seconds between two looks at a condition: a busy machine has something better to do than to look."""


async def pause(seconds: float) -> None:
    """Let real time pass."""
    await task.deferLater(reactor, seconds)


def _nothing() -> object:
    """Time alone counts."""
    return None


async def eventually(
    condition: Callable[[], object],
    what: Callable[[], str],
    seconds: float,
    progress: Callable[[], object] = _nothing,
) -> float:
    """Wait for a state of many clients; returns how many seconds it took.

    Fails when ``progress`` has had the same value for so many seconds: a busy machine is slow, but not
    at a standstill.
    """
    begin = moved = reactor.seconds()
    before = progress()
    while not condition():
        now, there = reactor.seconds(), progress()
        if there != before:
            before, moved = there, now
        elif now - moved > seconds:
            raise Waited(f"nothing has moved for {seconds:g} s: {what()}")
        await pause(PACE)
    return float(reactor.seconds() - begin)


class Connection(Protocol):
    """One connection of a client: what comes is parsed and handed over, until it is cut."""

    transport: Any

    def __init__(self, client: Client) -> None:
        self._client = client
        self._parser = httptools.HttpResponseParser(self)
        self.left: int | None = None
        """Bytes that will still be read before the connection is cut."""
        self._over = False

    def connectionMade(self) -> None:
        self._client.connected(self)

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        if self.left is not None:
            data, cut = data[: self.left], len(data) >= self.left
            self.left -= len(data)
            if cut:
                self.transport.abortConnection()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._client.faults.append(f"{error!r} {error.__context__!r} at {data!r}")
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end()

    def cut(self, politely: bool) -> None:
        """Go away in the middle of whatever there is."""
        if politely:
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()
        self._end()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._client.disconnected()

    # ---- the parser's side

    def on_headers_complete(self) -> None:
        self._client.started(self._parser.get_status_code())

    def on_body(self, data: bytes) -> None:
        self._client.body(data)

    def on_message_complete(self) -> None:
        self._client.finished()


class Client:
    """A client of one channel, on one connection at a time."""

    kind: str
    """The endpoint of the backend."""

    def __init__(self, address: Address, channel: str, random: Random) -> None:
        self._address = address
        self.channel = channel
        self._random = random
        self.received: list[Item] = []
        self.responses = 0
        """Good responses that began."""
        self.cuts = 0
        self.torn = 0
        """Responses that ended in the middle of an item."""
        self.faults: list[str] = []
        """What was no HTTP, or no item."""
        self._connection: Connection | None = None
        self._timer: Any = None
        self._status = 0
        self._unread = b""
        self._wanted = False

    @property
    def last(self) -> int:
        """The id of the last item."""
        return self.received[-1][0] if self.received else 0

    @property
    def online(self) -> bool:
        """Whether a good response has begun on the connection that there is."""
        return self._connection is not None and self._status == 200

    def start(self, delay: float = 0) -> None:
        """Connect, now or some seconds later, and again whenever the connection is lost."""
        self._wanted = True
        self._timer = reactor.callLater(delay, self._connect)

    def stop(self) -> None:
        """Leave for good."""
        self._wanted = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connection is not None:
            self._connection.cut(politely=False)

    def cut(self) -> None:
        """Lose the connection at once, or within the next bytes that come."""
        connection = self._connection
        if connection is None or connection.left is not None:
            return
        self.cuts += 1
        if self._random.random() < 0.5:
            connection.left = self._random.randint(1, 60)
        else:
            connection.cut(politely=self._random.random() < 0.5)

    # ---- the connection's side

    def connected(self, connection: Connection) -> None:
        """It may ask now."""
        self._connection = connection
        if self._wanted:
            self._ask()
        else:
            connection.cut(politely=False)

    def disconnected(self) -> None:
        """What was not whole never was; the next connection asks for it again."""
        self._connection = None
        self._status = 0
        self.torn += bool(self._unread)
        self._unread = b""
        if self._wanted:
            self._later(self._connect)

    def started(self, status: int) -> None:
        """A response begins."""
        self._status = status
        self.responses += status == 200

    def body(self, data: bytes) -> None:
        """Part of a response; what an error says is of no interest."""
        if self._status == 200:
            self._unread += data
            self._unread = self._read(self._unread)

    def finished(self) -> None:
        """A response has ended."""
        self._whole(self._unread)
        self._unread = b""
        if self._status == 200:
            self._status = 0
            self._ask()
        else:
            self._later(self._ask)

    # ---- what the kinds do in their own ways

    def _target(self) -> str:
        return f"/{self.kind}/{self.channel}?after={self.last}"

    def _headers(self) -> list[str]:
        return []

    def _read(self, data: bytes) -> bytes:
        """Take whole items; returns what is not whole."""
        raise NotImplementedError

    def _whole(self, data: bytes) -> None:
        """The response is complete, and this was left."""
        raise NotImplementedError

    # ---- asking

    def _later(self, function: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = reactor.callLater(self._random.uniform(0.02, 0.2), function)

    def _connect(self) -> None:
        self._timer = None
        factory = _Once(self)
        reactor.connectTCP(*self._address, factory, timeout=30)

    def _ask(self) -> None:
        self._timer = None
        if self._connection is not None:
            lines = [f"GET {self._target()} HTTP/1.1", "Host: example.com", *self._headers(), "", ""]
            self._connection.transport.write("\r\n".join(lines).encode())


class _Once(ClientFactory):
    """A connection for a client."""

    noisy = False

    def __init__(self, client: Client) -> None:
        self._client = client

    def buildProtocol(self, address: object) -> Connection:
        return Connection(self._client)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._client.disconnected()


class Stream(Client):
    """Server-sent events, read as browsers read them."""

    kind = "stream"

    def __init__(self, address: Address, channel: str, random: Random) -> None:
        super().__init__(address, channel, random)
        self._browser = random.random() < 0.5

    def _target(self) -> str:
        # A browser keeps its address and says in a header what it has.
        return f"/{self.kind}/{self.channel}?after=0" if self._browser else super()._target()

    def _headers(self) -> list[str]:
        return [f"Last-Event-ID: {self.last}"] if self._browser and self.received else []

    def _read(self, data: bytes) -> bytes:
        *whole, rest = data.split(b"\n\n")
        for event in whole:
            if not event.startswith(b":"):
                number, text = event.split(b"\n")
                assert number.startswith(b"id: ") and text.startswith(b"data: "), event
                self.received.append((int(number[4:]), text[6:].decode()))
        return rest

    def _whole(self, data: bytes) -> None:
        self.torn += bool(data)


class Poll(Client):
    """One long-poll after the other on a connection that is kept."""

    kind = "poll"

    def _read(self, data: bytes) -> bytes:
        return data

    def _whole(self, data: bytes) -> None:
        if self._status == 200:
            self.received += [(item["id"], item["text"]) for item in json.loads(data)]


class Crowd:
    """Clients that are looked at together."""

    def __init__(self, clients: Iterable[Client]) -> None:
        self.clients = list(clients)

    def progress(self) -> int:
        """How many items they have got, all together."""
        return sum(len(client.received) for client in self.clients)

    async def start(self, seconds: float, at_once: int = 100) -> None:
        """Begin with all of them; returns when each has been answered or was asked to wait.

        Fails when nothing has moved for so many seconds, as ``have``.
        """
        for number, client in enumerate(self.clients):
            client.start()
            if number % at_once == at_once - 1:
                await self._answered(self.clients[: number + 1], seconds)
        await self._answered(self.clients, seconds)

    async def _answered(self, clients: list[Client], seconds: float) -> None:
        streams = [client for client in clients if isinstance(client, Stream)]
        await eventually(
            lambda: all(one.online for one in streams),
            lambda: "streams open",
            seconds,
            lambda: sum(one.responses for one in streams),
        )

    async def have(self, last: dict[str, int], seconds: float) -> float:
        """Wait until each has the last item of its channel; returns how many seconds it took."""

        def behind() -> list[Client]:
            return [client for client in self.clients if client.last < last[client.channel]]

        def words() -> str:
            few = [f"{one.kind} {one.channel} at {one.last}" for one in behind()[:10]]
            return f"{len(behind())} clients do not have {last}: {', '.join(few)}"

        return await eventually(lambda: not behind(), words, seconds, self.progress)

    async def stop(self) -> None:
        """All leave."""
        for client in self.clients:
            client.stop()
        await pause(0)
