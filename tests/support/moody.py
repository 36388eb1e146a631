"""A backend of many moods, for soaks: it answers well, slowly, in pieces, half, or with garbage.

What it is to do stands in the request's target, so that a client knows what to expect: ``/ROUTE/MOOD/NUMBER``
and a query of ``size`` and ``channels``.  It answers nothing at once: ``step`` says the next piece.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import parse_qs

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from tests.support.origin import dechunk
from tests.support.rawclient import parse_pairs

CLOSE = b"close"
ABORT = b"abort"
"""What a script may have in place of bytes; compared by identity."""


def content(number: int, size: int) -> bytes:
    """A body that belongs to one request."""
    mark = b"<%d>" % number
    return (mark * (size // len(mark) + 1))[:size]


def pieces(dice: Random, data: bytes, most: int = 5) -> list[bytes]:
    """``data`` cut at random."""
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(most)))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def chunked(dice: Random, data: bytes) -> bytes:
    """``data`` in chunks of many sizes, with extensions and trailers now and then."""
    extension = dice.choice((b"", b"", b";a=b", b" "))
    chunks = [b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces(dice, data, 30) if piece]
    return b"".join([*chunks, b"0\r\n", dice.choice((b"", b"", b"X-Trailer: t\r\n")), b"\r\n"])


def mutated(dice: Random, data: bytes) -> bytes:
    """``data`` with a few bytes changed, lost, doubled or added."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 5, 20))):
        at, span = dice.randrange(len(changed) + 1), dice.choice((1, 1, 2, 8, 100))
        way = dice.randrange(5)
        if way == 0 and at < len(changed):
            changed[at] ^= 1 << dice.randrange(8)
        elif way == 1:
            del changed[at : at + span]
        elif way == 2:
            changed[at:at] = changed[at : at + span]
        elif way == 3:
            changed[at:at] = dice.choice(
                (b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b",", b"\xff", b"0", b"-1")
            )
        else:
            changed[at : at + 1] = bytes([dice.randrange(256)])
    return bytes(changed)


class MoodyConnection(Protocol):
    """One connection of the proxy's; its script is what it will say."""

    transport: Any

    def __init__(self, origin: MoodyOrigin) -> None:
        self._origin = origin
        self._unread = bytearray()
        self._answered_early = False
        self.script: deque[bytes] = deque()

    def connectionMade(self) -> None:
        self._origin.connections[self] = None
        self.transport.setTcpNoDelay(True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._origin.connections.pop(self, None)

    def dataReceived(self, data: bytes) -> None:
        self._unread += data
        while self._take_request():
            pass

    def _take_request(self) -> bool:
        end = self._unread.find(b"\r\n\r\n")
        if end < 0:
            return False
        line, *lines = bytes(self._unread[:end]).decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        headers = {name.lower(): value for name, value in parse_pairs(lines)}
        if "/early/" in target and not self._answered_early:
            self._answered_early = True
            self.script += self._origin.answer(method, target)
        if headers.get("transfer-encoding") == "chunked":
            found = dechunk(self._unread, end + 4)
        else:
            stop = end + 4 + int(headers.get("content-length", 0))
            found = (bytes(self._unread[end + 4 : stop]), stop) if len(self._unread) >= stop else None
        if found is None:
            return False
        body, stop = found
        del self._unread[:stop]
        self._origin.check(target, headers, body)
        if not self._answered_early:
            self.script += self._origin.answer(method, target)
        self._answered_early = False
        return True

    def say(self) -> None:
        """The next piece of the script."""
        piece = self.script.popleft()
        if piece is CLOSE:
            self.transport.loseConnection()
        elif piece is ABORT:
            self.transport.abortConnection()
        else:
            self.transport.write(piece)


class MoodyOrigin(Factory):
    """A listening backend."""

    noisy = False

    def __init__(self, dice: Random, poll_again: Callable[[], bool]) -> None:
        """``poll_again()`` tells whether requests for holds shall be held."""
        self.connections: dict[MoodyConnection, None] = {}
        self.asked = 0
        self.wrong: list[str] = []
        """Requests that came with another body than the client had sent."""
        self._dice = dice
        self._holds = poll_again
        self._port: Any = None

    @classmethod
    async def listen(
        cls,
        dice: Random,
        poll_again: Callable[[], bool],
        wrap: Callable[[ServerFactory], ServerFactory] | None = None,
    ) -> MoodyOrigin:
        """On a free port; ``wrap`` puts TLS around it."""
        origin = cls(dice, poll_again)
        endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
        origin._port = await endpoint.listen(wrap(origin) if wrap is not None else origin)
        return origin

    @property
    def address(self) -> str:
        """As a route's target."""
        return f"127.0.0.1:{self._port.getHost().port}"

    def buildProtocol(self, addr: object) -> MoodyConnection:
        return MoodyConnection(self)

    async def stop(self) -> None:
        """Stop listening and drop everybody."""
        await self._port.stopListening()
        for connection in list(self.connections):
            connection.transport.abortConnection()

    def step(self, most: int = 3) -> bool:
        """Say something on a few connections; whether anything was left to say."""
        speaking = [connection for connection in self.connections if connection.script]
        for connection in self._dice.sample(speaking, min(most, len(speaking))):
            connection.say()
        return bool(speaking)

    def check(self, target: str, headers: dict[str, str], body: bytes) -> None:
        """A request is complete: was that what the client has sent?"""
        self.asked += 1
        wanted = headers.get("x-sum")
        if wanted is not None and wanted != str(zlib.crc32(body)):
            self.wrong.append(f"{target} with {body[:50]!r}")

    # ---- answers -------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str) -> list[bytes]:
        """The script for a request."""
        path, _, query = target.partition("?")
        words, given = path.split("/"), parse_qs(query)
        make = getattr(self, f"_answer_{words[2]}", None) if len(words) == 4 else None
        if make is None or not words[3].isdigit():
            return [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]
        size = int(found[0]) if (found := re.findall("size=([0-9]{1,6})", query)) else 10
        script: list[bytes] = make(int(words[3]), size, given.get("channels", [""])[0])
        if method == "HEAD":
            head, _, _ = b"".join(part for part in script if part not in (CLOSE, ABORT)).partition(
                b"\r\n\r\n"
            )
            return [head + b"\r\n\r\n"]
        return script

    def _head(self, number: int, *lines: bytes, status: bytes = b"200 OK") -> bytes:
        extra = self._dice.choice(
            (b"", b"", b"Keep-Alive: timeout=5\r\n", b"Set-Cookie: a=b\r\nSet-Cookie: c\r\n")
        )
        return b"HTTP/1.1 %b\r\nX-Number: %d\r\n%b%b\r\n" % (
            status,
            number,
            extra,
            b"".join(line + b"\r\n" for line in lines),
        )

    def _framed(self, number: int, body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
        """A whole response, framed by a length or by chunks."""
        if self._dice.random() < 0.5:
            length = b"Content-Length: %d" % len(body)
            return self._head(number, *lines, length, status=status) + body
        return self._head(number, *lines, b"Transfer-Encoding: chunked", status=status) + chunked(
            self._dice, body
        )

    def _answer_plain(self, number: int, size: int, channels: str) -> list[bytes]:
        return [self._framed(number, content(number, size))]

    def _answer_pieces(self, number: int, size: int, channels: str) -> list[bytes]:
        return pieces(self._dice, self._framed(number, content(number, size)))

    _answer_echo = _answer_pieces

    def _answer_interim(self, number: int, size: int, channels: str) -> list[bytes]:
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        return pieces(self._dice, interim + self._framed(number, content(number, size)))

    def _answer_close(self, number: int, size: int, channels: str) -> list[bytes]:
        lines = self._dice.choice(((), (b"Connection: close",)))
        return [*pieces(self._dice, self._head(number, *lines) + content(number, size)), CLOSE]

    def _answer_empty(self, number: int, size: int, channels: str) -> list[bytes]:
        return [self._head(number, status=self._dice.choice((b"204 No Content", b"304 Not Modified")))]

    def _answer_early(self, number: int, size: int, channels: str) -> list[bytes]:
        status = b"413 Content Too Large"
        whole = self._framed(number, content(number, size), b"Connection: close", status=status)
        return [*pieces(self._dice, whole), CLOSE]

    def _answer_die(self, number: int, size: int, channels: str) -> list[bytes]:
        whole = self._dice.choice(
            (self._answer_plain, self._answer_close, self._answer_poll, self._answer_stream)
        )
        said = b"".join(part for part in whole(number, size, channels) if part is not CLOSE)
        cut = said[: self._dice.randrange(len(said))]
        return [*pieces(self._dice, cut), self._dice.choice((CLOSE, ABORT))]

    def _answer_garbage(self, number: int, size: int, channels: str) -> list[bytes]:
        whole = self._dice.choice(
            (self._answer_plain, self._answer_interim, self._answer_poll, self._answer_stream)
        )
        said = mutated(self._dice, b"".join(whole(number, size, channels)))
        return [*pieces(self._dice, said), CLOSE]

    def _answer_poll(self, number: int, size: int, channels: str) -> list[bytes]:
        body = b'{"timeout":%d}' % number
        if not self._holds():
            return pieces(self._dice, self._framed(number, body, b"X-Plain: yes"))
        hold = (b"Grip-Hold: response", b"Grip-Channel: " + channels.encode(), b"Grip-Timeout: 20")
        return pieces(self._dice, self._framed(number, body, *hold))

    def _answer_stream(self, number: int, size: int, channels: str) -> list[bytes]:
        body = content(number, size) + b"|"
        if not self._holds():
            return pieces(self._dice, self._framed(number, body, b"X-Plain: yes"))
        hold = [b"Grip-Hold: stream", b"Grip-Channel: " + channels.encode()]
        if self._dice.random() < 0.5:
            hold.append(b"Grip-Keep-Alive: ~; timeout=%d" % self._dice.choice((5, 20)))
        return pieces(self._dice, self._framed(number, body, *hold))
