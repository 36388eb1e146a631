"""WebSockets to backends that only know HTTP: the ``IOrigin`` of ``over_http`` targets (websocket 4).

Put around the origin of such a target by the service.  Requests pass through; for a WebSocket the backend is
asked whether it wants it, and ``origin.eventsocket`` does the rest.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import OriginError, WireError
from pushpin_tw.interfaces import IOrigin
from pushpin_tw.origin.asking import Asking, event_request
from pushpin_tw.origin.eventsocket import EventSocket, Rules, has_events
from pushpin_tw.routing.route import Target
from pushpin_tw.wire.events import (
    OPEN,
    Event,
    Meta,
    bytes_accepted,
    encode_event,
    keep_alive_interval,
    parse_events,
    update_meta,
)
from pushpin_tw.wire.message import OriginRequest, Response

_OPEN = encode_event(OPEN)


@implementer(IOrigin)
class OverHttpOrigin:
    """An ``IOrigin`` for WebSockets around one for requests."""

    def __init__(self, origin: Any, target: Target, services: Any) -> None:
        """``origin`` is the ``IOrigin`` of ``target``; ``services`` is an ``IServices``."""
        self._rules = Rules(
            origin,
            target.one_event,
            services.wheel,
            services.random,
            services.stats,
            services.config.runner.client_maxconn,
        )

    def fetch(self, request: OriginRequest, sink: Any) -> Any:
        """As ``IOrigin``."""
        return self._rules.origin.fetch(request, sink)

    def connect(self, handshake: Any, sink: Any) -> OpenCall:
        """As ``IOrigin``."""
        call = OpenCall(self._rules, handshake, sink)
        call.ask()
        return call


class OpenCall:
    """The request that says OPEN (websocket 4.4)."""

    __slots__ = ("_handshake", "_meta", "_rules", "_sink", "due", "slot")

    def __init__(self, rules: Rules, handshake: Any, sink: Any) -> None:
        self._rules = rules
        self._handshake = handshake
        self._sink = sink
        """None once nobody waits."""
        self._meta: Meta = {}
        self.due = self.slot = 0

    def ask(self) -> None:
        """Say OPEN; a backend that has not made up its mind is asked again."""
        try:
            request = event_request(self._handshake, _OPEN, self._meta.values())
        except OriginError as error:
            self.unanswered(error)
        else:
            Asking(self).begin(self._rules.origin, request, _OPEN)

    expired = ask

    def cancel(self) -> None:
        """Nobody waits any more.  The answer is awaited all the same: who agrees has to learn the end."""
        self._sink = None
        self._rules.wheel.cancel(self)

    def unanswered(self, error: OriginError) -> None:
        """As ``Asker``."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.failed(error)

    def answered(self, response: Response, body: bytes) -> None:
        """As ``Asker``."""
        if not has_events(response):
            sink, self._sink = self._sink, None
            if sink is not None:
                sink.refused(response, body)
            return
        try:
            self._read(response, parse_events(body))
        except WireError as error:
            self.unanswered(OriginError(str(error)))

    def _read(self, response: Response, events: list[Event]) -> None:
        update_meta(self._meta, response.headers)
        interval = keep_alive_interval(response.headers, 0)
        if not events and interval:
            if self._sink is not None:
                self._rules.wheel.schedule(self, interval)
            return
        if not events or events[0][0] != OPEN:
            raise WireError("answer does not begin with OPEN")
        if bytes_accepted(response.headers):
            raise WireError("more accepted than offered")
        socket = EventSocket(self._rules, self._handshake, interval, self._meta)
        sink, self._sink = self._sink, None
        if sink is None:
            socket.abort()
        else:
            sink.opened(response, socket)
        socket.begin(events[1:])
