"""WebSocket clients in great number, whose memory is the evidence of what became of them.

Used by ``test_socket_chaos``.  A client has one session after the other; a session notes when what happened,
and draws no conclusions.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

Address = tuple[str, int]

FIN_TEXT, PART_TEXT, FIN_REST, FIN_CLOSE = 0x81, 0x01, 0x80, 0x88
OPENING, OPEN, ENDED = range(3)


def frame(first: int, data: bytes) -> bytes:
    """A short frame of a client; a mask of zeros leaves the text as it is."""
    return bytes([first, 0x80 | len(data)]) + bytes(4) + data


class Session(Protocol):
    """One WebSocket, from the attempt to the end."""

    transport: Any

    def __init__(self, path: str, over: Callable[[Session], None]) -> None:
        self.path = path
        self._over = over
        self.state = OPENING
        self.began: float = reactor.seconds()
        self.opened = 0.0
        self.ended = 0.0
        self.status = 0
        """Of the answer to the handshake; 0 if there was none."""
        self.connection = ""
        """Its name, as the backend says."""
        self.said: list[tuple[float, float]] = []
        """When each message was sent, and when its echo came (0: never)."""
        self.echoes = 0
        self.published: list[int] = []
        self.closing: tuple[float, float] = (0.0, 0.0)
        """When CLOSE was said, and when it was answered."""
        self.cut_at = 0.0
        """When the client went away of its own accord."""
        self.faults: list[str] = []
        self._buffer = b""
        self._part: bytes | None = None

    # ---- what a client does

    def connectionMade(self) -> None:
        lines = [
            f"GET {self.path} HTTP/1.1",
            "Host: example.com",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode())

    def say(self, last: bool = False, in_pieces: bool = False) -> None:
        """The next message; ``last``: it is to be answered at once."""
        if self.state != OPEN or self.closing[0]:
            return
        self.said.append((reactor.seconds(), 0.0))
        text = f"m {len(self.said)}{' end' if last else ''}".encode()
        if in_pieces:
            self.transport.write(frame(PART_TEXT, text[:1]) + frame(FIN_REST, text[1:]))
        else:
            self.transport.write(frame(FIN_TEXT, text))

    def say_half(self) -> None:
        """The beginning of a message that will never end."""
        self.transport.write(frame(PART_TEXT, b"m x"))

    def close(self) -> None:
        """Say CLOSE."""
        if self.state == OPEN and not self.closing[0]:
            self.closing = (reactor.seconds(), 0.0)
            self.transport.write(frame(FIN_CLOSE, (4000).to_bytes(2, "big")))

    def cut(self) -> None:
        """Go without a word."""
        if self.state == OPEN and not self.closing[0]:
            self.cut_at = reactor.seconds()
            self.transport.abortConnection()

    def waits(self, since: float, until: float) -> bool:
        """Whether, as far as the client knows, it had asked for something and had no answer within a time."""
        asked = [*self.said, *([self.closing] if self.closing[0] else [])]
        return any(sent <= until and (not answered or answered >= since) for sent, answered in asked)

    # ---- what comes

    def dataReceived(self, data: bytes) -> None:
        if self.cut_at:
            return
        self._buffer += data
        if self.state == OPENING and not self._read_head():
            return
        while (end := self._frame_end()) <= len(self._buffer):
            found, self._buffer = self._buffer[:end], self._buffer[end:]
            self._heard(found[0], found[2:])

    def _read_head(self) -> bool:
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return False
        self.status = int(head.split(b" ")[1])
        if self.status != 101:
            self.transport.loseConnection()
            return False
        self.state, self.opened, self._buffer = OPEN, reactor.seconds(), rest
        return True

    def _frame_end(self) -> int:
        """Where the next frame ends; beyond everything there is if that is unknown."""
        return 2 + self._buffer[1] if len(self._buffer) >= 2 else 3

    def _heard(self, first: int, data: bytes) -> None:
        word, _, rest = data.decode("latin-1").partition(" ")
        if first == FIN_CLOSE:
            self.closing = (self.closing[0], reactor.seconds())
            if data != (4000).to_bytes(2, "big"):
                self.faults.append(f"CLOSE {data!r}")
        elif first != FIN_TEXT:
            self.faults.append(f"frame {first:x} {data!r}")
        elif word == "hello" and not self.connection:
            self.connection = rest
        elif word == "p":
            self.published.append(int(rest))
        elif word == "e" and self.echoes < len(self.said) and rest.split(" ")[0] == str(self.echoes + 1):
            self.said[self.echoes] = (self.said[self.echoes][0], reactor.seconds())
            self.echoes += 1
        else:
            self.faults.append(f"{data!r} after {self.echoes} of {len(self.said)} echoes")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.state, self.ended = ENDED, reactor.seconds()
        self._over(self)


class _Once(ClientFactory):
    """A connection for a session."""

    noisy = False

    def __init__(self, session: Session) -> None:
        self._session = session

    def buildProtocol(self, address: object) -> Session:
        return self._session

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._session.faults.append(f"no connection: {reason.value}")
        self._session.connectionLost(reason)


class Client:
    """Whoever opens a session, and another one when it has ended."""

    def __init__(self, address: Address, path: str, random: Random) -> None:
        self._address = address
        self._random = random
        self.path = path
        self.channel = path.rpartition("/")[2]
        self.sessions: list[Session] = []
        self._timer: Any = None
        self._wanted = True

    @property
    def session(self) -> Session:
        """The latest one."""
        return self.sessions[-1]

    @property
    def online(self) -> bool:
        """Whether there is an open session that is to last."""
        if not self.sessions or self.session.state != OPEN or not self.session.connection:
            return False
        return not self.session.closing[0] and not self.session.cut_at

    def start(self) -> None:
        """Open a session."""
        self._timer = None
        session = Session(self.path, self._over)
        self.sessions.append(session)
        reactor.connectTCP(*self._address, _Once(session), timeout=30)

    def stop(self) -> None:
        """No further session."""
        self._wanted = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.sessions and self.session.state != ENDED:
            self.session.transport.abortConnection()

    def _over(self, session: Session) -> None:
        if self._wanted:
            self._timer = reactor.callLater(self._random.uniform(0.05, 0.5), self.start)
