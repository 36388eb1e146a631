"""The way back to one client for one request (``IResponder``).

Made by ``edge.http`` for every request, handed forward through the proxy and into holds.  Frames the
response; how heads look is ``wire.render``'s.  Never parses, never decides what is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from zope.interface import implementer

from pushpin_tw.edge.connection import ClientConnection, RequestStage
from pushpin_tw.edge.parting import parts, retire
from pushpin_tw.errors import HttpError
from pushpin_tw.figures import ICounted
from pushpin_tw.interfaces import IResponder
from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.headsize import FIXED, LINE
from pushpin_tw.wire.http1 import LAST_CHUNK, encode_chunk, encode_head, status_line
from pushpin_tw.wire.message import Request
from pushpin_tw.wire.render import bodiless, framing_lines, whole_response

HALF_CLOSE = 0.1
"""Seconds.  A client that closes its side right behind its request wants the answer (``printf ... | nc``);
one that does so later has given up: nothing else tells of a client that went away, and would end its hold."""

FRAMED = FIXED + LINE
"""Bytes that are no words of a head with one line for its framing."""
_HEAD_END = b"\r\n\r\n"
_PLAIN: tuple[Header, ...] = ((b"Content-Type", b"text/plain"),)


@implementer(ICounted, IResponder)
class Responder:
    """Lives as long as its request; dead afterwards, when every call does nothing."""

    __slots__ = (
        "_bodiless",
        "_body",
        "_connection",
        "_left",
        "_owner",
        "_pieces",
        "believed",
        "chunked",
        "cohort",
        "head_only",
        "minor",
        "number",
        "persistent",
        "sent",
        "started",
    )

    kind = "http"

    def __init__(self, connection: ClientConnection, request: Request) -> None:
        self._connection: ClientConnection | None = connection
        self._owner: Any = None
        self._body: Any = None
        self._pieces: list[bytes] | None = None
        self._left: int | None = None
        self._bodiless = False
        self.minor = request.minor
        self.persistent = request.keep_alive
        self.head_only = request.method == b"HEAD"
        self.chunked = False
        self.started = False
        self.sent = 0
        self.number = 0
        self.cohort: Any = None
        self.believed = ""
        """The client's address, when that is not the socket's."""

    @property
    def secure(self) -> bool:
        """Whether the client speaks TLS."""
        return self._connection is not None and self._connection.secure

    @property
    def address(self) -> str:
        """The client's address, as far as it is believed."""
        return self.believed or ("" if self._connection is None else self._connection.peer)

    def refresh(self) -> None:
        """Only WebSockets can."""

    @property
    def congested(self) -> bool:
        """Whether the client is slower than what was written."""
        connection = self._connection
        return connection is not None and connection.congested

    def own(self, owner: Any) -> None:
        """From now on ``owner`` is told what happens."""
        if self._connection is not None:
            self._owner = owner

    # ---- piece by piece ------------------------------------------------------------------------------------

    def start(self, status: int, reason: bytes, headers: Sequence[Header], length: int | None) -> None:
        """Begin a response; see ``IResponder``.

        :raises WireError: a header contains a line end; nothing was started then.
        """
        if self._connection is None or self.started:
            return
        self._bodiless = self.head_only or bodiless(status)
        self._settle()
        if length is None and not self.minor and not self._bodiless:
            self.persistent = False  # only closing ends such a body
        framing, chunked = framing_lines(self.minor, self.persistent, status, length)
        head = encode_head(status_line(self.minor, status, reason), list(headers), framing)
        if self.cohort is not None:
            self.cohort.counts.client_header_sent += len(head) - FRAMED - LINE * len(headers)
        self._pieces = [head]
        self.chunked = chunked
        self._left = length
        self.started = True

    def write(self, data: bytes) -> None:
        """Body bytes, sent by ``flush`` or ``finish``; beyond the announced length they are cut off."""
        if self._connection is None or not self.started or self._bodiless:
            return
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        if not data:
            return
        self.sent += len(data)
        if self.cohort is not None:
            self.cohort.counts.client_content_sent += len(data)
        piece = encode_chunk(data) if self.chunked else data
        if self._pieces is None:
            self._pieces = [piece]
        else:
            self._pieces.append(piece)

    def flush(self) -> None:
        """Send what waits, in one write."""
        pieces, connection = self._pieces, self._connection
        if pieces is not None and connection is not None:
            self._pieces = None
            connection.send(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def finish(self) -> None:
        """The response is complete."""
        if self._connection is None:
            return
        if not self.started:
            self.abort()
            return
        if self._bodiless:
            self._left = None
        elif self.chunked:
            self._pieces = [*(self._pieces or ()), LAST_CHUNK]
        self.flush()
        self._end(self.persistent and not self._left)

    # ---- at once -------------------------------------------------------------------------------------------

    def respond(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        """A whole response.

        :raises WireError: a header contains a line end; nothing was sent then.
        """
        connection = self._connection
        if connection is None:
            return
        if self.started:
            self.abort()
            return
        self._settle()
        data = whole_response(self.minor, self.persistent, self.head_only, status, reason, headers, body)
        self.started = True
        if not self.head_only and not bodiless(status):
            self.sent = len(body)
        if self.cohort is not None:
            self.cohort.counts.client_header_sent += len(data) - self.sent - FRAMED - LINE * len(headers)
            self.cohort.counts.client_content_sent += self.sent
        connection.send(data)
        self._end(self.persistent)

    def deliver(self, data: bytes) -> None:
        """The express way of a stream: framed bytes, straight to the transport."""
        connection = self._connection
        if connection is None or self._bodiless:
            return
        if self._pieces is not None:
            self.flush()
        connection.active = True
        connection.transport.write(data)

    def complete(self, data: bytes) -> None:
        """The express way of a held request: a whole response, ready-made."""
        connection = self._connection
        if connection is not None:
            self.started = True
            if self.cohort is not None:
                self._count_whole(data)
            connection.send(data)
            self._end(self.persistent)

    def _count_whole(self, data: bytes) -> None:
        counts = self.cohort.counts
        head = data.find(_HEAD_END)
        counts.client_header_sent += head + 4 - FIXED - LINE * data.count(b"\r\n", 0, head)
        counts.client_content_sent += len(data) - head - 4

    def switch(self, reason: bytes, headers: Sequence[Header], extensions: bytes) -> Any:
        """Nobody has asked for a WebSocket here (``edge.websocket`` answers those who do): as ``abort``."""
        self.abort()

    def abort(self) -> None:
        """Close at once, without a proper end; what was written before is sent if the client takes it."""
        connection = self._connection
        if connection is not None:
            self.flush()
            self._release()
            connection.drop()

    # ---- the end -------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """The head is about to be written: will the connection be of use after the response?"""
        if self._body is not None and not self._body.arrived():
            self.persistent = False

    def _end(self, persist: bool) -> None:
        body = self._body
        if body is not None and not body.skip():
            persist = False
        connection = self._release()
        if connection is not None:
            stage = cast(RequestStage, connection.stage)
            stage.answered(connection, persist, unread=body is not None and not body.complete)

    def _release(self) -> ClientConnection | None:
        """Die."""
        connection, self._connection = self._connection, None
        self._owner = self._pieces = None
        if self.cohort is not None:
            self.cohort.tally.closed(self)
        if self._body is not None:
            self._body.abandon()
        if connection is not None:
            connection.talk = None
        return connection

    # ---- called by the edge --------------------------------------------------------------------------------

    @property
    def body(self) -> Any:
        """The request's body, an ``edge.body.RequestBody``, or None."""
        return self._body

    def attach(self, body: Any) -> None:
        """The request has a body."""
        self._body = body

    def drained(self) -> None:
        """The client reads again."""
        if self._owner is not None:
            self.guard(self._owner.drained)

    def lost(self) -> None:
        """The connection is gone."""
        owner, connection = self._owner, self._release()
        if connection is not None:
            self._bury(owner, connection)

    def resign(self) -> None:
        """Unless the answer has begun, or is ready already, it will say that the connection ends."""
        if not self.started and not parts(self._owner):
            self.persistent = False

    def retire(self) -> bool:
        """Let the owner end this; whether it has."""
        self.guard(retire, self._owner)
        return self._connection is None

    def ended(self) -> None:
        """The client has closed its side: does it wait for an answer, or has it gone?"""
        connection = self._connection
        if connection is None:
            return
        if self._body is not None and not self._body.arrived():
            self.refuse(HttpError("Failed to process request.", 500))
        elif connection.watch.seconds() - connection.asked > HALF_CLOSE:
            connection.drop()
            self.lost()

    def refuse(self, error: HttpError) -> None:
        """The body breaks the rules: say so if nothing was said yet, close, and let the owner know."""
        connection, owner = self._connection, self._owner
        if connection is None:
            return
        if self.started:
            self.abort()
        else:
            connection.send(refusal(self.minor, error))
            self._release()
            connection.close_gently()
        self._bury(owner, connection)

    def guard(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call into another room: a bug there is logged and costs this request, nothing else."""
        connection = self._connection
        try:
            call(*arguments)
        except Exception:
            assert connection is not None
            connection.stage.failure()
            self._crash(connection)

    def _crash(self, connection: ClientConnection) -> None:
        """Whoever was to answer cannot: end this request as well as may be."""
        owner = self._owner
        if self._connection is None:
            return
        if self.started:
            self.abort()
        else:
            self.respond(502, b"Bad Gateway", _PLAIN, b"Error while proxying to origin.\n")
        self._bury(owner, connection)

    @staticmethod
    def _bury(owner: Any, connection: ClientConnection) -> None:
        """Tell the former owner that this responder is dead."""
        if owner is not None:
            try:
                owner.lost()
            except Exception:
                connection.stage.failure()


def refusal(minor: int, error: HttpError) -> bytes:
    """An early error (proxy 8.2); the connection is to be closed."""
    reason = b"Bad Request" if error.status == 400 else b"Internal Server Error"
    return whole_response(minor, False, False, error.status, reason, _PLAIN, error.text.encode() + b"\n")
