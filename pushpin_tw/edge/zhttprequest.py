"""A request of a program over ZHTTP, and the way back for its answer: an ``IResponder`` (zeromq 2.13).

Made by ``edge.zhttp``, handed forward through the proxy and into holds.  A body goes as far as the program's
credits let it, to the byte.  Never parses, never decides what is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zope.interface import implementer

from pushpin_tw.edge.zhttpbody import AskedBody
from pushpin_tw.edge.zhttpsession import Inlet, Session
from pushpin_tw.errors import HttpError, WireError
from pushpin_tw.figures import ICounted
from pushpin_tw.interfaces import IResponder
from pushpin_tw.wire import zhttp
from pushpin_tw.wire.headers import Header, is_token, is_value, without
from pushpin_tw.wire.http1 import head_end, parse_response
from pushpin_tw.wire.message import Request
from pushpin_tw.wire.render import bodiless
from pushpin_tw.wire.zhttp import CREDITS, Packet
from pushpin_tw.wire.zhttpasked import BAD_REQUEST, Question, error, keep_alive, response

_PLAIN: tuple[Header, ...] = ((b"Content-Type", b"text/plain"),)
_FRAMING = frozenset((b"connection", b"content-length", b"transfer-encoding"))
_GRANTING = ("", "credit")

Head = tuple[int, bytes, list[Header]]
"""Status, reason, headers."""


@implementer(ICounted, IResponder)
class AskedRequest(Session):
    """Lives until the last byte of the answer has gone, which may be long after ``finish``."""

    __slots__ = (
        "_body",
        "_credits",
        "_crowded",
        "_finished",
        "_head",
        "_left",
        "_owner",
        "_queue",
        "_silent",
        "_unpaid",
        "_uploads",
        "believed",
        "cohort",
        "head_only",
        "number",
        "persistent",
        "request",
        "sent",
        "started",
    )

    kind = "http"
    minor = 1
    chunked = False

    def __init__(self, inlet: Inlet, question: Question, request: Request) -> None:
        super().__init__(inlet, question)
        packet = question.packet
        self.request = request
        self._credits = max(packet.credits, 0)
        """Bytes that may go to the program."""
        self._body: AskedBody | None = None
        self._uploads = packet.more
        """Credits are given back for what is read."""
        self._unpaid = max(0, len(packet.body) - CREDITS)
        """Bytes for which none are: so many have come unasked that the program would get ever more."""
        self._owner: Any = None
        self._head: Head | None = None
        """What was not sent of the answer: its head, and its body."""
        self._queue = bytearray()
        self._left: int | None = None
        """Bytes of the announced length that are to come."""
        self._silent = False
        """The answer has no body."""
        self._finished = False
        self._crowded = False
        self.persistent = True
        self.head_only = request.method == b"HEAD"
        self.started = False
        self.sent = 0
        self.number = 0
        self.cohort: Any = None
        self.believed = ""

    def begin(self, packet: Packet, gateway: Any) -> None:
        """Acknowledge the request and let it be answered."""
        request = self.request
        self._acknowledge(packet)
        if request.has_body:
            self._body = AskedBody(self, request.length)
        self.guard(gateway.handle_request, request, self._body, self)
        if self._body is not None and self.lives:
            self._arrived(packet)

    def _acknowledge(self, packet: Packet) -> None:
        if packet.more:
            self.say(zhttp.credit, CREDITS)
        else:
            self.say(keep_alive)

    # ---- for statistics (ICounted) -------------------------------------------------------------------------

    @property
    def secure(self) -> bool:
        """As ``ICounted``."""
        return self.request.secure

    @property
    def address(self) -> str:
        """As ``ICounted``."""
        return self.believed or self.request.peer

    def refresh(self) -> None:
        """As ``ICounted``."""

    # ---- the answer (IResponder) ---------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """As ``IResponder``."""
        return self._crowded and not self._finished

    def own(self, owner: Any) -> None:
        """As ``IResponder``."""
        if self.lives and not self._finished:
            self._owner = owner

    def start(self, status: int, reason: bytes, headers: Sequence[Header], length: int | None) -> None:
        """As ``IResponder``.

        :raises WireError: a header cannot stand in a message; nothing was started then.
        """
        if not self.lives or self.started:
            return
        if not is_value(reason) or not all(is_token(name) and is_value(value) for name, value in headers):
            raise WireError("a header that is none")
        lines = list(headers)
        if length is not None and not bodiless(status):
            lines.append((b"Content-Length", b"%d" % length))
        self._head = status, reason, lines
        self._left = length
        self._silent = self.head_only or bodiless(status)
        self.started = True
        if self.cohort is not None:
            self.cohort.counts.client_header_sent += (
                3 + len(reason) + sum(len(name) + len(value) for name, value in lines)
            )

    def write(self, data: bytes) -> None:
        """As ``IResponder``."""
        if not self.lives or not self.started or self._silent or self._finished:
            return
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        self.sent += len(data)
        if self.cohort is not None:
            self.cohort.counts.client_content_sent += len(data)
        self._queue += data
        self._crowded = len(self._queue) >= self.inlet.services.config.tw.write_buffer

    def flush(self) -> None:
        """As ``IResponder``."""
        if self.lives and self.started:
            self._send()
            self._crowded = len(self._queue) >= self.inlet.services.config.tw.write_buffer

    def finish(self) -> None:
        """As ``IResponder``."""
        if not self.lives or self._finished:
            return
        if not self.started or (self._left and not self._silent):
            self.abort()
            return
        self._finished = True
        self._release()
        self._send()

    def respond(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        """As ``IResponder``."""
        if self.started:
            self.abort()
            return
        self.start(status, reason, headers, len(body))
        self.write(body)
        self.finish()

    def deliver(self, data: bytes) -> None:
        """As ``IResponder``."""
        self.write(data)
        self.flush()

    def complete(self, data: bytes) -> None:
        """As ``IResponder``; the head is read again, for it was written for HTTP."""
        end = head_end(data)
        try:
            head = parse_response(data[:end])
        except HttpError:  # a publisher's headers are such as a reader may refuse
            self.abort()
            return
        self.start(head.status, head.reason, without(head.headers, _FRAMING), head.length)
        self.write(data[end:])
        self.finish()

    def switch(self, reason: bytes, headers: Sequence[Header], extensions: bytes) -> Any:
        """As ``IResponder``; nobody has asked for a WebSocket here."""
        self.abort()

    def abort(self) -> None:
        """As ``IResponder``."""
        self.leave(tell=True)
        self._release()

    # ---- to the program ------------------------------------------------------------------------------------

    def _send(self) -> None:
        """As much of the answer as the credits let go; the end needs none."""
        count = min(len(self._queue), self._credits)
        last = self._finished and count == len(self._queue)
        if not (self._head or count or last):
            return
        data = bytes(self._queue[:count])
        del self._queue[:count]
        self._credits -= count
        head, self._head = self._head, None
        if head is not None:
            self.say(response, *head, data, not last)
        else:
            self.say(zhttp.data, data, not last)
        if last:
            self.leave()

    # ---- from the program ----------------------------------------------------------------------------------

    def heard(self, packet: Packet) -> None:
        """As ``Session``."""
        if packet.type == "" and self._body is not None and not self._body.complete:
            self._arrived(packet)
        if packet.type in _GRANTING and self.lives:
            self._credits += max(packet.credits, 0)
            self._go_on()

    def _arrived(self, packet: Packet) -> None:
        assert self._body is not None
        if not self._body.arrived(packet.body, packet.more):
            self.say(error, BAD_REQUEST)
            self.end()
        elif self._body.too_much:
            self.overrun()
            self.end(tell=True)

    def _go_on(self) -> None:
        crowded = self._crowded
        self.flush()
        if crowded and not self._crowded and self._owner is not None:
            self.guard(self._owner.drained)

    def was_read(self, amount: int) -> None:
        """As ``BodySession``."""
        unpaid = min(self._unpaid, amount)
        self._unpaid -= unpaid
        if self.lives and self._uploads and amount > unpaid:
            self.give_back(amount - unpaid)

    # ---- the end -------------------------------------------------------------------------------------------

    def guard(self, call: Callable[..., object], *values: Any) -> None:
        """Call into another room: a bug there is logged and costs this request, nothing else."""
        try:
            call(*values)
        except Exception:
            self.inlet.services.stats.failure("client request")
            self._crash()

    def _crash(self) -> None:
        """Whoever was to answer cannot."""
        owner = self._owner
        if not self.lives or self._finished:
            return
        if self.started:
            self.abort()
        else:
            self.respond(502, b"Bad Gateway", _PLAIN, b"Error while proxying to origin.\n")
        self._bury(owner)

    def gone(self) -> None:
        """As ``Session``."""
        owner = self._owner
        self._release()
        self._bury(owner)

    def _bury(self, owner: Any) -> None:
        """Tell the former owner that this responder is dead."""
        if owner is not None:
            try:
                owner.lost()
            except Exception:
                self.inlet.services.stats.failure("client request")

    def _release(self) -> None:
        """Nobody answers any more."""
        self._owner = None
        if self._body is not None:
            self._body.abandon()
        if self.cohort is not None:
            self.cohort.tally.closed(self)
