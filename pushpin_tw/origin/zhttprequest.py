"""One HTTP request to a streaming worker and its response (zeromq 2.6, 2.7).

``StreamedRequest`` is made by ``origin.zhttp``.  Sends no more of a body than the worker has granted, and
grants as much of the response as has gone on to the client: 200 000 bytes may be under way in each direction,
however long bodies are.  Never retries, and never changes a body.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import HttpError, OriginDisconnected, OriginError
from pushpin_tw.interfaces import IOriginCall
from pushpin_tw.origin.zhttproom import StreamHub
from pushpin_tw.origin.zhttpsession import Session
from pushpin_tw.wire.body import BodyReader, response_body
from pushpin_tw.wire.headers import get
from pushpin_tw.wire.message import OriginRequest, Response
from pushpin_tw.wire.zhttp import CREDITS, Packet, data, response_head, stream_request

FIRST_WAIT = 0.2
"""Seconds in which more of a body may join the first packet."""
MAX_AHEAD = 50 * CREDITS
"""Bytes of a response that wait for a slow client before its worker, which has ignored its credits, is done
with."""

_EVENTS = b"application/websocket-events"


@implementer(IOriginCall)
class StreamedRequest(Session):
    """A session that carries a request."""

    __slots__ = (
        "_allowance",
        "_announced",
        "_begun",
        "_complete",
        "_delivering",
        "_inbox",
        "_inbox_size",
        "_owed",
        "_paused",
        "_pending",
        "_reader",
        "_request",
        "_response",
        "_rules",
        "_sink",
        "_uploaded",
        "_whole",
    )

    kind = "http"

    def __init__(self, hub: StreamHub, request: OriginRequest, rules: bytes, sink: Any) -> None:
        """``rules`` are those of the target, see ``wire.zhttp.policy``."""
        super().__init__(hub)
        self._request = request
        self._rules = rules
        self._sink = sink
        """None once nobody wants to hear more."""
        self._pending = bytearray()
        """What the worker has not granted of the request's body."""
        self._allowance = 0
        self._begun = False
        self._whole = False
        """Whether all of the request's body is here."""
        self._uploaded = False
        """Whether the worker has all of it."""
        self._response: Response | None = None
        self._reader: BodyReader | None = None
        self._inbox: list[bytes] = []
        """What the client cannot take yet."""
        self._inbox_size = 0
        self._owed = 0
        """Bytes that have gone to the client, and for which the worker has not got new credits."""
        self._announced = False
        self._complete = False
        """Whether the worker has said everything."""
        self._paused = False
        self._delivering = False

    def start(self) -> None:
        """Ask at once, if this is how it is done with the events of a WebSocket: their worker has to grant
        even the first byte (zeromq 2.6)."""
        if self._request.length and get(self._request.headers, b"content-type") == _EVENTS:
            self._ask(0)

    # ---- for the proxy (IOriginCall) -----------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """As ``IOriginCall``."""
        return len(self._pending) >= CREDITS

    def write(self, data: bytes) -> None:
        """As ``IOriginCall``."""
        if self._sink is None or self._whole or self._complete:
            return
        if not self._begun and not self._pending:
            self.hub.room.services.wheel.schedule(self, FIRST_WAIT)
        self._pending += data
        if self._begun:
            self._upload()
        elif len(self._pending) >= CREDITS:
            self._ask(CREDITS)

    def finish(self) -> None:
        """As ``IOriginCall``."""
        if self._sink is None or self._whole:
            return
        self._whole = True
        if self._begun:
            self._upload()
        else:
            self._ask(CREDITS)

    def pause(self) -> None:
        """As ``IOriginCall``."""
        self._paused = True

    def resume(self) -> None:
        """As ``IOriginCall``."""
        if self._paused:
            self._paused = False
            self._deliver()

    def cancel(self) -> None:
        """As ``IOriginCall``."""
        self._sink = None
        self._clear()
        self.leave(tell=True)

    # ---- the request ---------------------------------------------------------------------------------------

    def _ask(self, limit: int) -> None:
        """Send the first packet, with at most ``limit`` bytes of body."""
        body = bytes(self._pending[:limit])
        del self._pending[:limit]
        self._begun = True
        self._uploaded = self._whole and not self._pending
        more = not self._uploaded
        frame = stream_request(self.hub.own, self.id, self._request, self._rules, body, more)
        if not self.begin(frame):
            self._fail(OriginError("no worker"))

    def _grant(self, credits: int) -> None:
        self._allowance += max(credits, 0)
        self._upload()

    def _upload(self) -> None:
        """Send what may be sent; the end needs no credits."""
        if not self.acknowledged or self._uploaded or self._complete:
            return
        full = self.congested
        piece = bytes(self._pending[: self._allowance])
        del self._pending[: self._allowance]
        self._allowance -= len(piece)
        self._uploaded = self._whole and not self._pending
        if piece or self._uploaded:
            self.say(data, piece, not self._uploaded)
        if self._uploaded:
            self._deliver()
        elif full and not self.congested:
            self._guarded(self._sink.origin_drained)

    def expired(self) -> None:
        """No more of the body comes with the first packet, or the worker is silent."""
        if self._begun:
            super().expired()
        else:
            self._ask(CREDITS)

    # ---- the response (Session) ----------------------------------------------------------------------------

    def met(self, packet: Packet) -> bool:
        """As ``Session``: nobody can be sent the rest of a body who has no address."""
        self.worker = packet.sender
        return bool(packet.sender) or self._uploaded

    def heard(self, packet: Packet) -> None:
        """As ``Session``."""
        if packet.type == "credit":
            self._grant(packet.credits)
        elif not packet.type:
            self._receive(packet)

    def broken(self, error: OriginError, packet: Packet | None = None) -> None:
        """As ``Session``."""
        self._fail(error)

    def _receive(self, packet: Packet) -> None:
        if self._response is None:
            try:
                self._response = response_head(packet, self._request.method)
            except HttpError as error:
                self.leave(tell=packet.more)
                self._fail(OriginError(error.text))
                return
            self._reader = response_body(self._response, self._request.method)
        if packet.body:
            self._inbox.append(packet.body)
            self._inbox_size += len(packet.body)
        if packet.more:
            self._watch()
            self._grant(packet.credits)
        else:
            self._complete = True
            self.leave()
        self._deliver()
        if self._inbox_size > MAX_AHEAD and not self._complete:
            self.leave(tell=True)
            self._fail(OriginError("far more than granted"))

    def _watch(self) -> None:
        """A worker that ignores its credits is told of."""
        ahead = self._owed + self._inbox_size
        if ahead > CREDITS:
            self.hub.complaints.warn("window", f"{ahead} bytes sent, {CREDITS} granted")

    def _deliver(self) -> None:
        """Pass on what has come.  Not before the request has left: then its client would stop sending it."""
        if self._delivering or self._paused or self._response is None or self._sink is None:
            return
        if self._uploaded or self._complete:
            self._delivering = True
            self._guarded(self._pass_on)
            self._delivering = False

    def _pass_on(self) -> None:
        assert self._reader is not None
        if not self._announced:
            self._announced = True
            self._sink.responded(self._response)
        while self._inbox and self._sink is not None:
            came, self._inbox, self._inbox_size = b"".join(self._inbox), [], 0
            self._owed += len(came)
            body = self._reader.feed(came)
            if body:
                self._sink.received(body)
        if self._sink is None:
            return
        if self._complete:
            self._end(self._reader.closed())
            return
        self._sink.settled()
        if not self._paused and self._sink is not None:
            owed, self._owed = self._owed, 0
            self.give_back(owed)

    # ---- the end -------------------------------------------------------------------------------------------

    def _end(self, good: bool) -> None:
        if not good:
            self._fail(OriginDisconnected("response shorter than announced"))
            return
        sink, self._sink = self._sink, None
        sink.finished()

    def _fail(self, error: OriginError) -> None:
        """The session is over."""
        sink, self._sink = self._sink, None
        self._clear()
        if sink is not None:
            self._guarded(lambda: sink.failed(error))

    def _clear(self) -> None:
        self._pending.clear()
        self._inbox, self._inbox_size = [], 0

    def _guarded(self, call: Any) -> None:
        """A sink with a bug loses its session, nothing else."""
        try:
            call()
        except Exception:
            self.hub.room.services.stats.failure("origin")
            self.cancel()
