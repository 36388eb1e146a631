"""The client's end of a WebSocket: the responder that can be switched, and the socket it becomes.

Made by ``edge.http`` for requests that ask for it.  The socket is the stage of its connection from the 101
on: bytes of the client become calls of an ``ISocketOwner``, whose words become frames.  Published messages
come ready-made and wait here when the client does not read.  Never decides what is said, or to whom.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from pushpin_tw.edge.connection import ClientConnection
from pushpin_tw.edge.parting import retire
from pushpin_tw.edge.responder import Responder
from pushpin_tw.edge.watch import Deadlines
from pushpin_tw.framing import ServerFraming
from pushpin_tw.sockets import NORMAL, IClientSocket
from pushpin_tw.wire.headers import Header, get_all
from pushpin_tw.wire.http1 import encode_head, status_line
from pushpin_tw.wire.message import Request
from pushpin_tw.wire.websocket import accept_key, negotiate_deflate

DROPPED = "items-dropped-slow-client"
"""What published messages that a client had no room for are counted as."""
COMPLAINT = "a client does not read what is published for it: dropping messages"
"""What is logged of it, once for each."""
SLICE = 4096
"""Compressed bytes that are read at once: they can become a thousand times as many."""
BATCH = 65536
"""Bytes of waiting frames that are written at once."""


class SocketRoom:
    """What the sockets of a process have in common."""

    __slots__ = ("closing", "compress", "lenient", "limit", "stats")

    def __init__(self, config: Any, services: Any) -> None:
        """``config`` is a ``config.Config``, ``services`` an ``IServices``."""
        self.compress: bool = config.runner.allow_compression
        self.lenient: bool = config.tw.websocket_lenient
        self.limit: int = config.tw.socket_queue
        self.stats = services.stats
        self.closing = Deadlines(services.wheel, config.tw.close_timeout, lambda socket: socket.overdue())
        """Sockets that have said CLOSE."""


class HandshakeResponder(Responder):
    """The way back to a client that asks for a WebSocket: answers as any other, or switches."""

    __slots__ = ("_request", "_room")

    def __init__(self, connection: ClientConnection, request: Request, room: SocketRoom) -> None:
        super().__init__(connection, request)
        self._request = request
        self._room = room

    def respond(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        """A refusal.  The connection ends behind it; as with the original its head does not say so, unless
        the request had a body (websocket 1.1, 1.10)."""
        self.persistent = self.minor > 0 and self._body is None
        super().respond(status, reason, headers, body)

    def _end(self, persist: bool) -> None:
        super()._end(False)

    def switch(self, reason: bytes, headers: Sequence[Header], extensions: bytes) -> ClientSocket | None:
        """Answer with 101 and return the client's end; see ``IResponder``.

        :raises WireError: a header contains a line end; nothing was sent then.
        """
        connection = self._connection
        if connection is None or self.started:
            return None
        if connection.ended:
            self.abort()
            return None
        offered = self._request.headers
        key = get_all(offered, b"sec-websocket-key")[-1]
        agreed = None
        if self._room.compress:
            agreed = negotiate_deflate(get_all(offered, b"sec-websocket-extensions"))
        lines = [
            *headers,
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Accept", accept_key(key)),
        ]
        spoken = [element for element in (agreed, extensions) if element]
        if spoken:
            lines.append((b"Sec-WebSocket-Extensions", b", ".join(spoken)))
        head = encode_head(status_line(1, 101, reason), lines)
        self.started = True
        self._release()
        connection.send(head)
        socket = ClientSocket(connection, self._room, agreed is not None)
        connection.stage = connection.talk = socket
        return socket


class _Gone:
    """Stands for a connection that is gone, so that nothing holds it any longer."""

    closing = True
    congested = False


_GONE: Any = _Gone()


@implementer(IClientSocket)
class ClientSocket:
    """One client's WebSocket; the stage of its connection, and owner of its framing."""

    __slots__ = (
        "_blamed",
        "_closed",
        "_connection",
        "_framing",
        "_heard",
        "_owner",
        "_paused",
        "_reading",
        "_room",
        "_size",
        "_waiting",
        "form",
    )

    def __init__(self, connection: ClientConnection, room: SocketRoom, compressed: bool) -> None:
        """``compressed``: permessage-deflate was agreed."""
        self._connection = connection
        self._room = room
        self._framing = ServerFraming(self._write, self, compressed, room.lenient)
        self._owner: Any = None
        self._waiting: deque[bytes] | None = None
        """Frames for a client that does not read, which are shared with other sockets; there are none, or the
        connection is congested."""
        self._size = 0
        """Bytes of these."""
        self._paused = True
        """The owner wants nothing, or there is none yet."""
        self._reading = False
        """What the client said is being told to the owner, further up the stack."""
        self._blamed = False
        """That messages are dropped was logged."""
        self._closed = False
        """We have said CLOSE."""
        self._heard = False
        """The client has."""
        self.form = compressed

    @property
    def congested(self) -> bool:
        """Whether the client is slower than what was sent."""
        return self._connection.congested

    def own(self, owner: Any) -> None:
        """From now on ``owner`` is told what happens; the first one begins with what came before the 101."""
        first, self._owner = self._owner is None, owner
        if first:
            self.resume()

    # ---- to the client -------------------------------------------------------------------------------------

    def send(self, kind: int, data: bytes, first: bool = True, last: bool = True) -> None:
        """A piece of a message, behind everything that waits; see ``ISocket``."""
        if not self._closed and not self._connection.closing:
            self._framing.frame(kind, data, first, last)

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        """Ready frames; see ``IClientSocket``."""
        connection = self._connection
        if self._closed or connection.closing:
            return
        if not connection.congested:
            connection.active = True
            connection.transport.write(data)
        else:
            self._keep(parts)

    def _keep(self, parts: Sequence[bytes]) -> None:
        """Let frames wait, as many as there is room for; the first one always has room (websocket 5.4)."""
        if self._waiting is None:
            self._waiting = deque()
        dropped = 0
        for part in parts:
            if self._size and self._size + len(part) > self._room.limit:
                dropped += 1
            else:
                self._size += len(part)
                self._waiting.append(part)
        if dropped:
            self._room.stats.count(DROPPED, dropped)
            if not self._blamed:
                self._blamed = True
                self._room.stats.note("info", COMPLAINT, "connmgr")

    def _write(self, data: bytes) -> None:
        """A frame that must not be lost."""
        if self._waiting is None:
            self._connection.send(data)
        else:
            self._size += len(data)
            self._waiting.append(data)

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        """Say CLOSE; see ``ISocket``.  No code is written as 1000 (websocket 1.8)."""
        if self._closed or self._connection.closing:
            return
        self._framing.close(NORMAL if code is None else code, reason)
        self._closed = True
        self._room.closing.add(self)
        self._end()

    def _end(self) -> None:
        """Close the connection, once both sides have said CLOSE and nothing waits."""
        if self._closed and self._heard and self._waiting is None:
            if self._connection.reading:
                self._connection.close()
            else:
                self._connection.close_gently()

    def abort(self) -> None:
        """End the connection at once; what was written before is sent if the client takes it."""
        self._owner = None
        if not self._connection.closing:
            self._forget()
            self._connection.drop()

    def _forget(self) -> None:
        """Nothing that waits will be sent, nothing that was read will be told."""
        self._framing.stop()
        self._waiting = None

    def overdue(self) -> None:
        """Called when the client has not answered CLOSE in time."""
        self._connection.cut()

    # ---- from the client -----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop reading."""
        if not self._connection.closing:
            self._paused = True
            self._connection.pause_reading()

    def resume(self) -> None:
        """Read on, beginning with what was read already."""
        if not self._connection.closing:
            self._paused = False
            self._read_on()

    def _read_on(self) -> None:
        """Tell what was read, and if the owner wants more then, read it."""
        connection = self._connection
        if not self._reading:
            self._read(connection)
        if not self._paused and not connection.closing:
            connection.resume_reading()

    def _read(self, connection: ClientConnection) -> None:
        """Tell the owner what the client says, as long as it listens."""
        self._reading = True
        try:
            while connection.buffer and not self._paused:
                data, connection.buffer = connection.buffer, b""
                if self.form and len(data) > SLICE:
                    data, connection.buffer = data[:SLICE], data[SLICE:]
                self._framing.received(data)
        except Exception:
            self.failure()
            self._lose()
        self._reading = False

    # ---- called by the framing -----------------------------------------------------------------------------

    def piece(self, kind: int, data: bytes, first: bool, end: int) -> None:
        """A piece of a message, or a whole ``PING`` or ``PONG``."""
        self._owner.socket_received(kind, data, first, end)

    def closed(self, code: int | None, reason: bytes) -> None:
        """The client has said CLOSE."""
        self._heard = True
        self._owner.socket_closed(code, reason)
        self._end()

    def violated(self, code: int, text: str) -> None:
        """The client has broken the rules; if it is to be told, that is all it hears."""
        connection = self._connection
        if not self._room.lenient:
            self._waiting = None
            if not self._closed:
                self._framing.close(code, text.encode())
            self._room.closing.add(self)
            connection.close_gently()
        self._lose()

    # ---- called by the connection --------------------------------------------------------------------------

    def resign(self) -> None:
        """Nothing follows a WebSocket anyhow."""

    def retire(self) -> bool:
        """Let the owner say CLOSE; whether it has."""
        self._tell(lambda: retire(self._owner))
        return self._closed

    def received(self, connection: ClientConnection, data: bytes) -> None:
        """More bytes."""
        connection.active = True
        connection.buffer += data
        if not self._reading:
            self._read(connection)

    def ended(self, connection: ClientConnection) -> None:
        """The client has closed its side: it has gone."""
        self._lose()

    def drained(self, connection: ClientConnection) -> None:
        """The client reads again: write what waits for it, then let the owner go on."""
        waiting = self._waiting
        while waiting and not connection.congested:
            batch = [waiting.popleft()]
            size = len(batch[0])
            while waiting and size < BATCH:
                size += len(waiting[0])
                batch.append(waiting.popleft())
            self._size -= size
            connection.send(batch[0] if len(batch) == 1 else b"".join(batch))
        if waiting or connection.congested:
            return
        self._waiting = None
        self._end()
        if self._owner is not None and not self._closed:
            self._tell(self._owner.socket_drained)

    def lost(self, connection: ClientConnection) -> None:
        """The connection is gone."""
        self._room.closing.drop(self)
        self._lose()
        connection.talk = None
        self._connection = _GONE

    def failure(self) -> None:
        """Within an ``except`` block: log the bug."""
        self._room.stats.failure("client socket")

    def _lose(self) -> None:
        """Let go of the client, and let the owner know."""
        owner, self._owner = self._owner, None
        self._forget()
        if not self._connection.closing:
            self._connection.drop()
        if owner is not None:
            self._tell(owner.socket_lost)

    def _tell(self, call: Any) -> None:
        """Call into another room: a bug there is logged, and costs this socket."""
        try:
            call()
        except Exception:
            self.failure()
            if self._owner is not None:
                self._lose()
