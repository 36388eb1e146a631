"""The backend's end of a WebSocket over HTTP: an ``IOriginSocket`` that is a row of requests (websocket 4).

Made by ``origin.overhttp`` once a backend has agreed; used by the proxy.  One request at a time: what the
client has said stands in the request, what the backend says in its answer.  Never looks into messages; what
waits to be said is kept by ``origin.outbox``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import OriginError, OriginUnreachable, OriginUnsent, WireError
from pushpin_tw.origin.asking import Asking, event_request
from pushpin_tw.origin.outbox import DELIVERED, OFFERED, Outbox
from pushpin_tw.sockets import BINARY, CLOSE, MESSAGE, PONG, IOriginSocket
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.events import (
    CONTENT_TYPE,
    DISCONNECT,
    MAX_CONTROL,
    OPEN,
    Event,
    Meta,
    bytes_accepted,
    encode_event,
    keep_alive_interval,
    parse_close,
    parse_events,
    update_meta,
)
from pushpin_tw.wire.headers import get
from pushpin_tw.wire.message import Response

RETRIES = 5
"""How often a request is sent again to a backend that cannot be reached: after about 1, 2, 4, 8 and 16 s."""

_DISCONNECT = encode_event(DISCONNECT)

ALIVE, LEAVING, ENDED = range(3)
"""A socket that somebody owns; one whose client has gone without a word; one of the past."""


@dataclass(slots=True)
class Rules:
    """What all WebSockets to a target have in common."""

    origin: Any
    """The ``IOrigin`` that is asked."""
    one_event: bool
    wheel: Wheel
    random: Any
    stats: Any
    """An ``IStatsSink``."""
    max_leaving: int
    """How many backends may wait for DISCONNECT at a time; more are not told."""
    leaving: int = 0
    """How many wait for it."""


def has_events(response: Response) -> bool:
    """Whether an answer is one in terms of events."""
    return response.status == 200 and get(response.headers, b"content-type") == CONTENT_TYPE


@implementer(IOriginSocket)
class EventSocket:
    """A WebSocket as a backend over HTTP sees it.

    There is at most one request at a time: it is under way, or waits to be sent again; ``_body`` is not None
    until its answer was dealt with.
    """

    __slots__ = (
        "_asking",
        "_body",
        "_eager",
        "_handshake",
        "_heard",
        "_interval",
        "_meta",
        "_outbox",
        "_owner",
        "_parting",
        "_paused",
        "_rules",
        "_state",
        "_tries",
        "due",
        "slot",
    )

    def __init__(self, rules: Rules, handshake: Any, interval: int, meta: Meta) -> None:
        """``interval``: seconds of silence after which the backend wants to be asked, 0 for never; ``meta``:
        what it has stored with this connection."""
        self._rules = rules
        self._handshake = handshake
        self._interval = interval
        self._meta = meta
        self._outbox = Outbox(rules.one_event)
        self._owner: Any = None
        self._state = ALIVE
        self._body: bytes | None = b""  # as if OPEN were still under way, until begin()
        self._asking: Asking | None = None
        self._tries = 0
        self._eager = False  # whether there is an occasion to ask, though nothing is to be said
        self._paused = False
        self._heard = False  # whether the backend has said CLOSE
        self._parting = False  # whether its answer to CLOSE does not matter
        self.due = self.slot = 0

    def begin(self, events: list[Event]) -> None:
        """The answer to OPEN had these events besides."""
        self._finish(events, False)

    # ---- for the proxy (IOriginSocket) ---------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """As ``ISocket``."""
        return self._state == ALIVE and self._outbox.congested

    def own(self, owner: Any) -> None:
        """As ``ISocket``."""
        self._owner = owner

    def send(self, kind: int, data: bytes, first: bool = True, last: bool = True) -> None:
        """As ``ISocket``."""
        if self._state == ALIVE:
            self._outbox.add(kind, data, first, last)
            self._next()

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        """As ``ISocket``."""
        if self._state == ALIVE:
            self._outbox.close(code, reason)
            self._next()

    def part(self) -> None:
        """As ``IOriginSocket``."""
        self._parting = True
        self.close()

    def abort(self) -> None:
        """As ``ISocket``: the backend is sent DISCONNECT, in the background (websocket 4.12)."""
        self._owner = None
        self._leave()

    def pause(self) -> None:
        """As ``ISocket``: nothing more is asked."""
        self._paused = True

    def resume(self) -> None:
        """As ``ISocket``."""
        self._paused = False
        self._next()

    def refresh(self) -> None:
        """As ``IOriginSocket`` (websocket 4.10)."""
        if self._state == ALIVE and not self._outbox.closing:
            self._eager = True
            self._next()

    # ---- asking --------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Ask, if nothing is under way and there is an occasion."""
        if self._body is not None or self._state == ENDED:
            return
        outbox = self._outbox
        if self._state == LEAVING:
            self._ask(_DISCONNECT)
        elif self._paused:
            return
        elif outbox.fresh or self._eager:
            self._eager = False
            self._ask(outbox.take())
        elif outbox.spoiled:
            self._lose("message too long")

    def _ask(self, body: bytes) -> None:
        self._rules.wheel.cancel(self)
        self._body = body
        self._tries = 0
        self._send(body)

    def _send(self, body: bytes) -> None:
        try:
            request = event_request(self._handshake, body, self._meta.values(), self._outbox.replayed)
        except OriginError as error:
            self.unanswered(error)
            return
        asking = self._asking = Asking(self)
        asking.begin(self._rules.origin, request, body)

    def expired(self) -> None:
        """Time to ask again, or to ask for news (websocket 4.9, 4.13)."""
        if self._body is not None:
            self._send(self._body)
            return
        self._outbox.repeat_close()
        self._eager = True
        self._next()

    # ---- answers (Asker) -----------------------------------------------------------------------------------

    def unanswered(self, error: OriginError) -> None:
        """As ``Asker``."""
        self._asking = None
        if isinstance(error, OriginUnreachable | OriginUnsent) and self._tries < RETRIES:
            delay = 2**self._tries + self._rules.random.randrange(1000) / 1000
            self._tries += 1
            self._rules.wheel.schedule(self, delay)
        else:
            self._lose(str(error))

    def answered(self, response: Response, body: bytes) -> None:
        """As ``Asker``."""
        self._asking = None
        if self._body is _DISCONNECT:
            self._end()
            return
        crowded = self._outbox.congested
        try:
            events = self._read(response, body)
        except WireError as error:
            self._lose(str(error))
        else:
            self._finish(events, crowded)

    def _read(self, response: Response, body: bytes) -> list[Event]:
        """Take note of what the answer says of the request, and return its events."""
        if not has_events(response):
            raise WireError(f"status {response.status} without events")
        events = parse_events(body)
        if any(kind == OPEN for kind, _ in events):
            raise WireError("OPEN is said already")
        outbox, accepted = self._outbox, bytes_accepted(response.headers)
        if self._state == ALIVE:
            outbox.accept(accepted)
            if outbox.closing == OFFERED and accepted and not self._interval:
                outbox.repeat_close()
        update_meta(self._meta, response.headers)
        self._interval = keep_alive_interval(response.headers, self._interval)
        return events

    def _finish(self, events: list[Event], crowded: bool) -> None:
        """Tell the owner, also of room if there was none before (``crowded``); then end, or go on."""
        try:
            for kind, content in events:
                if self._state != ALIVE or self._heard:
                    break
                self._tell(kind, content)
            if crowded and self._state == ALIVE and not self._outbox.congested:
                self._owner.socket_drained()
        except Exception:
            self._rules.stats.failure("origin")
            self._lose("bug")
        if self._state == ENDED:
            return
        self._body = None
        if self._state == ALIVE and self._over():
            self._lose("")
            return
        if self._state == ALIVE and self._interval and not (self._heard and not self._outbox.closing):
            self._rules.wheel.schedule(self, self._interval)
        self._next()

    def _tell(self, kind: int, content: bytes) -> None:
        if kind <= BINARY or (kind != CLOSE and kind <= PONG and len(content) <= MAX_CONTROL):
            self._owner.socket_received(kind, content, True, MESSAGE)
        elif kind == CLOSE:
            self._heard = True
            self._owner.socket_closed(*parse_close(content))
        elif kind <= PONG:
            owner, self._owner = self._owner, None
            self._leave()
            owner.socket_lost()
        else:
            self._lose("OPEN is said already" if kind == OPEN else "")

    def _over(self) -> bool:
        """Whether nothing remains to be said or heard (websocket 4.8, 4.11)."""
        closing = self._outbox.closing
        if closing == OFFERED:
            return self._parting or not self._interval
        return closing == DELIVERED and (self._heard or self._parting or not self._interval)

    # ---- the end -------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        """The backend is told that the client has gone, unless too many are being told."""
        if self._state != ALIVE:
            return
        rules = self._rules
        if rules.leaving >= rules.max_leaving:
            rules.stats.count("disconnects-dropped")
            self._end()
            return
        rules.leaving += 1
        self._state = LEAVING
        self._outbox.clear()
        self._next()

    def _lose(self, why: str) -> None:
        owner = self._owner
        self._end()
        if why:
            self._rules.stats.note("debug", f"WebSocket over HTTP: {why}")
        if owner is not None:
            try:
                owner.socket_lost()
            except Exception:
                self._rules.stats.failure("origin")

    def _end(self) -> None:
        if self._state == LEAVING:
            self._rules.leaving -= 1
        self._state = ENDED
        self._owner = None
        self._rules.wheel.cancel(self)
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
