"""Requests to workers that answer with one packet: ``zhttpreq`` targets (zeromq 2.3, 2.12).

Used by ``origin.zhttp``, whose hub for the target decides the mode.  A request leaves when all of its body is
there; it waits while no worker has room for it.  A worker is never told that nobody waits any more, and what
it says then is dropped.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import HttpError, OriginError, OriginSilent, OriginUnsuitable
from pushpin_tw.interfaces import IOriginCall
from pushpin_tw.origin.unavailable import DeadCall
from pushpin_tw.origin.zhttproom import ReplyHub, new_id
from pushpin_tw.wire.conditions import failure
from pushpin_tw.wire.message import OriginRequest, Response
from pushpin_tw.wire.render import bodiless
from pushpin_tw.wire.zhttp import MAX_SIZE, Packet, response_head, whole_request

MAX_BODY = 1_000_000
"""Bytes of a request's body."""
PATIENCE = 60
"""Seconds from a request to its answer, wherever it spends them."""
NO_SOCKETS = "WebSockets cannot be used with zhttpreq target"

TOO_LARGE = "request body too large for one packet"


def refuse_socket(sink: Any) -> DeadCall:
    """The answer to every handshake; ``sink`` is an ``ISocketSink``."""
    sink.failed(OriginUnsuitable(NO_SOCKETS))
    return DeadCall()


@implementer(IOriginCall)
class RequestCall:
    """One request, and the session that it is for its hub."""

    __slots__ = ("_body", "_hub", "_request", "_rules", "_sink", "due", "id", "slot")

    congested = False

    def __init__(self, hub: ReplyHub, request: OriginRequest, rules: bytes, sink: Any) -> None:
        """``rules`` is what ``wire.zhttp.policy`` has made of the target."""
        self.id = new_id(hub.room.mark)
        self.due = self.slot = 0
        self._hub = hub
        self._request = request
        self._rules = rules
        self._sink = sink
        self._body: bytearray | None = bytearray()
        """None once the request was sent."""

    def begin(self) -> RequestCall:
        """What cannot be sent fails at once."""
        if (self._request.length or 0) > MAX_BODY:
            self._fail(OriginError(TOO_LARGE))
        return self

    # ---- IOriginCall ---------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """As ``IOriginCall``."""
        if self._sink is None or self._body is None:
            return
        self._body += data
        announced = self._request.length
        if announced is not None and len(self._body) > announced:
            self._fail(OriginError("request body longer than announced"))
        elif len(self._body) > MAX_BODY:
            self._fail(OriginError(TOO_LARGE))

    def finish(self) -> None:
        """As ``IOriginCall``."""
        if self._sink is None or self._body is None:
            return
        body, self._body = bytes(self._body), None
        request, hub = self._request, self._hub
        if request.length is not None and len(body) < request.length:
            self._fail(OriginError("request body shorter than announced"))
            return
        if request.length is None:
            request = replace(request, length=len(body))
        hub.register(self)
        hub.room.services.wheel.schedule(self, PATIENCE)
        hub.ask(self, whole_request(hub.own, self.id, request, self._rules, body))

    def pause(self) -> None:
        """As ``IOriginCall``; an answer comes as a whole."""

    def resume(self) -> None:
        """As ``IOriginCall``."""

    def cancel(self) -> None:
        """As ``IOriginCall``; the worker does not hear of it."""
        self._leave()

    def _leave(self) -> Any:
        """The end; returns the sink, None when it was the end before."""
        sink, self._sink = self._sink, None
        self._body = None
        if sink is not None:
            self._hub.forget(self)
            self._hub.room.services.wheel.cancel(self)
        return sink

    def _fail(self, error: OriginError) -> None:
        sink = self._leave()
        try:
            sink.failed(error)
        except Exception:
            self._hub.room.services.stats.failure("origin")

    # ---- for the hub and the wheel -------------------------------------------------------------------------

    def expired(self) -> None:
        """There is no answer, or there was nobody to be asked."""
        self._fail(OriginSilent(f"no answer within {PATIENCE} seconds"))

    def abandon(self) -> None:
        """The socket is taken away."""
        self._fail(OriginError("no socket any more"))

    def packet(self, packet: Packet, seq: int | None) -> None:
        """The answer, if it is one."""
        if len(packet.ids) != 1:
            self._hub.complaints.drop("ids", f"an answer to {len(packet.ids)} requests")
        elif packet.type in ("error", "cancel"):
            self._fail(failure(packet.condition if packet.type == "error" else "cancel"))
        elif packet.type or packet.more:
            self._fail(OriginError(f"an answer in parts: {packet.type or 'more'}"))
        else:
            self._answer(packet)

    def _answer(self, packet: Packet) -> None:
        method = self._request.method
        try:
            response = response_head(packet, method)
            body = _content(packet, response, method)
        except HttpError as error:
            self._fail(OriginError(error.text))
            return
        if len(body) > MAX_SIZE:
            self._hub.room.services.stats.note(
                "warn", f"zhttpreq/{self._hub.spec}: {len(body)} bytes at once"
            )
        try:
            self._tell(response, body)
        except Exception:
            self._hub.room.services.stats.failure("origin")
            self._leave()

    def _tell(self, response: Response, body: bytes) -> None:
        """The sink may cancel from within each of these."""
        self._sink.responded(response)
        if body and self._sink is not None:
            self._sink.received(body)
        sink = self._leave()
        if sink is not None:
            sink.finished()


def _content(packet: Packet, response: Response, method: bytes) -> bytes:
    """The body that belongs to ``response``.

    :raises HttpError: it is not as long as its head says.
    """
    if method == b"HEAD" or bodiless(response.status):
        return b""
    if response.length not in (None, len(packet.body)):
        raise HttpError("body of another length than announced", 502)
    return packet.body
