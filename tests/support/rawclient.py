"""A client that speaks bytes: it sends what a test wrote and shows what came back, to the byte.

Used by tests that compare wire output.  It never repairs, retries or follows anything.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.support.waiting import Bell, Waited, within

T = TypeVar("T")
Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a response."""

    raw: bytes
    """With the empty line."""
    version: str
    status: int
    reason: str
    headers: Pairs
    """In order, names as spelled, values trimmed; latin-1."""

    @property
    def line(self) -> str:
        """The status line."""
        return self.raw.split(b"\r\n", 1)[0].decode("latin-1")

    def all(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The first value of a header."""
        return next(iter(self.all(name)), None)


@dataclass(frozen=True, slots=True)
class Answer(Head):
    """A whole response."""

    body: bytes
    """Without chunk framing."""


class RawClient(Protocol):
    """One connection."""

    transport: Any

    def __init__(self) -> None:
        self.unread = bytearray()
        """What came and was not taken yet."""
        self.lost = False
        self._bell = Bell()

    @classmethod
    async def connect(
        cls,
        address: tuple[str, int] | str,
        tls: IOpenSSLClientConnectionCreator | None = None,
        receive_buffer: int = 0,
    ) -> RawClient:
        """To a (host, port) or to the path of a Unix socket.

        ``receive_buffer`` (bytes) makes the kernel take little from the server while the client pauses.
        """
        if receive_buffer and not isinstance(address, str):
            return await cls._connect_small(address, receive_buffer)
        endpoint: IStreamClientEndpoint
        if isinstance(address, str):
            endpoint = UNIXClientEndpoint(reactor, address)
        else:
            endpoint = HostnameEndpoint(reactor, *address)
        if tls is not None:
            endpoint = wrapClientTLS(tls, endpoint)
        return await within(connectProtocol(endpoint, cls()), f"a connection to {address}")

    @classmethod
    async def _connect_small(cls, address: tuple[str, int], receive_buffer: int) -> RawClient:
        """The buffer must be set before the connection is made, or the window is offered already."""
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.connect(address)
        raw.setblocking(False)
        client = cls()
        factory = ClientFactory.forProtocol(lambda: client)
        with raw:
            reactor.adoptStreamConnection(raw.fileno(), socket.AF_INET, factory)  # type: ignore[attr-defined]
        return client

    # ---- the reactor's side

    def connectionMade(self) -> None:
        no_delay(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.unread += data
        self._bell.ring()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self._bell.ring()

    # ---- sending

    def send(self, data: bytes) -> None:
        """Exactly these bytes."""
        self.transport.write(data)

    def request(
        self,
        target: str = "/",
        *headers: str,
        method: str = "GET",
        version: str = "HTTP/1.1",
        body: bytes | None = None,
        host: str = "example.com",
    ) -> None:
        """A request with the header lines given, a Host above them; a body brings its length."""
        lines = [f"{method} {target} {version}", f"Host: {host}", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))

    def pause(self) -> None:
        """Read nothing from the socket."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self.transport.resumeProducing()

    def drop(self) -> None:
        """Go away without a word."""
        self.transport.abortConnection()

    # ---- reading

    async def wait_for(self, ready: Callable[[], T | None], what: str) -> T:
        """Until ``ready()`` returns something; fails when the connection ends before."""
        while True:
            found = ready()
            if found is not None:
                return found
            if self.lost:
                raise Waited(f"connection closed before {what}; unread: {bytes(self.unread[:2000])!r}")
            try:
                await within(self._bell.wait(), what)
            except Waited as error:
                raise Waited(f"{error}; unread: {bytes(self.unread[:2000])!r}") from None

    def take(self, count: int) -> bytes:
        """Remove bytes that came."""
        data = bytes(self.unread[:count])
        del self.unread[:count]
        return data

    async def read_bytes(self, count: int) -> bytes:
        """Exactly so many bytes."""
        return await self.wait_for(
            lambda: self.take(count) if len(self.unread) >= count else None, f"{count} bytes"
        )

    async def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with ``mark``."""

        def ready() -> bytes | None:
            at = self.unread.find(mark)
            return None if at < 0 else self.take(at + len(mark))

        return await self.wait_for(ready, repr(mark))

    async def expect(self, data: bytes) -> None:
        """These bytes and no others come next; fails at the first byte that differs."""

        def ready() -> bytes | None:
            came = bytes(self.unread[: len(data)])
            return came if len(came) == len(data) or not data.startswith(came) else None

        came = await self.wait_for(ready, repr(data))
        assert came == data
        self.take(len(data))

    async def read_head(self) -> Head:
        """The head of the next response."""
        raw = await self.read_until(b"\r\n\r\n")
        return Head(raw, *parse_head(raw))

    async def read_response(self, head_only: bool = False) -> Answer:
        """The next response with its body, whatever its framing."""
        head = await self.read_head()
        body = b"" if head_only else await self.body(head).rest()
        return Answer(head.raw, head.version, head.status, head.reason, head.headers, body)

    def body(self, head: Head) -> BodyReader:
        """The body that follows ``head``, piece by piece."""
        return BodyReader(self, head)

    async def closed(self) -> None:
        """The server closes, and nothing more comes before."""
        await self.wait_for(lambda: self.lost or self.unread or None, "the end of the connection")
        assert not self.unread, f"came before the end: {bytes(self.unread)!r}"


class BodyReader:
    """A response body read while it grows, without its framing."""

    def __init__(self, client: RawClient, head: Head) -> None:
        self._client = client
        self._payload = bytearray()
        self._ended = False
        length = head.get("Content-Length")
        self._left = int(length) if length is not None else 0
        if head.get("Transfer-Encoding") == "chunked":
            self._decode = self._decode_chunked
        elif length is not None:
            self._decode = self._decode_length
        elif head.status in (204, 304):
            self._decode = self._decode_none
        else:
            self._decode = self._decode_raw

    @property
    def pending(self) -> bytes:
        """What came and was not taken yet."""
        self._decode()
        return bytes(self._payload)

    @property
    def ended(self) -> bool:
        """Whether the end of the body has come."""
        self._decode()
        return self._ended

    def take(self) -> bytes:
        """Remove what came."""
        data = self.pending
        self._payload.clear()
        return data

    async def expect(self, data: bytes) -> None:
        """These bytes come next, in whatever pieces; fails at the first byte that differs."""

        def ready() -> bytes | None:
            came = self.pending[: len(data)]
            done = len(came) == len(data) or self._ended or not data.startswith(came)
            return came if done else None

        assert await self._client.wait_for(ready, f"{data!r} of a body") == data
        del self._payload[: len(data)]

    async def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        await self._client.wait_for(lambda: len(self.pending) >= count or None, f"{count} bytes of a body")
        data = bytes(self._payload[:count])
        del self._payload[:count]
        return data

    async def rest(self) -> bytes:
        """Everything up to the end, which must be a proper one."""
        await self._client.wait_for(lambda: self.ended or None, "the end of a body")
        return self.take()

    async def end(self) -> None:
        """The body ends here."""
        assert await self.rest() == b""

    def _decode_none(self) -> None:
        self._ended = True

    def _decode_length(self) -> None:
        data = self._client.take(self._left)
        self._left -= len(data)
        self._payload += data
        self._ended = self._left == 0

    def _decode_raw(self) -> None:
        self._payload += self._client.take(len(self._client.unread))
        self._ended = self._client.lost

    def _decode_chunked(self) -> None:
        unread = self._client.unread
        while not self._ended:
            line = unread.find(b"\r\n")
            if line < 0:
                return
            size = int(bytes(unread[:line]), 16)
            if len(unread) < line + 4 + size:
                return
            chunk = self._client.take(line + 4 + size)
            assert chunk.endswith(b"\r\n"), f"a chunk without its line end: {chunk[:100]!r}"
            self._payload += chunk[line + 2 : -2]
            self._ended = size == 0


def no_delay(transport: Any) -> None:
    """What is written is sent now, not when the peer has acknowledged what was sent before."""
    if hasattr(transport, "setTcpNoDelay"):
        transport.setTcpNoDelay(True)


def parse_head(raw: bytes) -> tuple[str, int, str, Pairs]:
    """(version, status, reason, headers) of a response head with its empty line."""
    line, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    return version, int(status), reason, parse_pairs(lines)


def parse_pairs(lines: Iterable[str]) -> Pairs:
    """Header lines to (name, value)."""
    pairs = []
    for line in lines:
        name, colon, value = line.partition(":")
        assert colon, f"not a header line: {line!r}"
        pairs.append((name, value.strip(" \t")))
    return pairs
