"""Backends of WebSockets on top of ``ScriptedOrigin``: such that speak frames, and such that speak events.

Used by tests through ``wsstage``.  They do what a test wrote, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.support.origin import Asked, ScriptedOrigin, reply
from tests.support.waiting import Bell, within
from tests.support.wsclient import accept
from tests.support.wspeer import Peer

EVENTS = "application/websocket-events"


# ---- frames


class BackendSocket(Peer):
    """A WebSocket at the backend's side."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked.switch())
        self.asked = asked
        """The handshake."""

    def control(self, content: str) -> None:
        """A control message; ``content`` is its JSON."""
        self.text(f"c:{content}")


def agreement(
    asked: Asked, *headers: str, extensions: str = "grip", reason: str = "Switching Protocols"
) -> bytes:
    """A 101 to the handshake, with further header lines; ``extensions`` empty: none."""
    lines = [
        f"HTTP/1.1 101 {reason}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept(asked.get('Sec-WebSocket-Key') or '')}",
        *([f"Sec-WebSocket-Extensions: {extensions}"] if extensions else []),
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class SocketBackend:
    """What an origin does with WebSockets; its ``accepting`` gives answers for ``ScriptedOrigin``."""

    def __init__(self) -> None:
        self.sockets: list[BackendSocket] = []
        """Those it has agreed to, in order."""
        self._bell = Bell()

    def accepting(
        self,
        *headers: str,
        extensions: str = "grip",
        reason: str = "Switching Protocols",
        behind: bytes = b"",
    ) -> Callable[[Asked], None]:
        """An answer that agrees to a handshake; ``behind`` is written right after the head."""

        def answer(asked: Asked) -> None:
            head = agreement(asked, *headers, extensions=extensions, reason=reason)
            self.agree(asked, head + behind)

        return answer

    def agree(self, asked: Asked, head: bytes) -> BackendSocket:
        """Agree in the words of ``head``."""
        socket = BackendSocket(asked)
        self.sockets.append(socket)
        socket.raw.send(head)
        self._bell.ring()
        return socket

    async def socket(self, number: int) -> BackendSocket:
        """The socket of that number, counted from 1; waits for it."""
        while len(self.sockets) < number:
            await within(self._bell.wait(), f"WebSocket {number} at the backend")
        return self.sockets[number - 1]


# ---- events over HTTP


def event(kind: str, content: bytes | str | None = None) -> bytes:
    """One event; None: without content."""
    if content is None:
        return f"{kind}\r\n".encode()
    content = content.encode() if isinstance(content, str) else content
    return f"{kind} {len(content):x}\r\n".encode() + content + b"\r\n"


def events(*parts: bytes | tuple[str, bytes | str] | str, headers: Iterable[str] = ()) -> bytes:
    """A response with events: kinds, (kind, content) pairs or bytes as they are."""
    body = b""
    for part in parts:
        if isinstance(part, bytes):
            body += part
        elif isinstance(part, str):
            body += event(part)
        else:
            body += event(*part)
    return reply(f"Content-Type: {EVENTS}", *headers, body=body)


def opening(
    *parts: bytes | tuple[str, bytes | str] | str, headers: Iterable[str] = (), extensions: str = "grip"
) -> bytes:
    """A response that agrees to OPEN, with further events."""
    offered = [f"Sec-WebSocket-Extensions: {extensions}"] if extensions else []
    return events("OPEN", *parts, headers=[*offered, *headers])


def events_of(body: bytes) -> list[tuple[str, bytes | None]]:
    """The (kind, content) of a request's events; None: without content.  Fails if they are malformed."""
    found: list[tuple[str, bytes | None]] = []
    while body:
        line, mark, body = body.partition(b"\r\n")
        assert mark, f"not an event: {line!r}"
        kind, space, size = line.decode().partition(" ")
        if not space:
            found.append((kind, None))
            continue
        assert size == f"{int(size, 16):x}", f"not the form of a size: {line!r}"
        end = int(size, 16)
        assert body[end : end + 2] == b"\r\n", f"the content of {line!r} does not end well: {body[end:]!r}"
        found.append((kind, body[:end]))
        body = body[end + 2 :]
    return found


async def asked_events(origin: ScriptedOrigin, number: int) -> list[tuple[str, bytes | None]]:
    """The events of the origin's request of that number, counted from 1; waits for it."""
    return events_of((await origin.request(number)).body)
