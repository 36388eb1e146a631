"""The chat of the ``demo`` target: a backend for WebSockets that knows nothing but HTTP requests.

Used by ``origin.demo``.  The proxy turns each WebSocket into requests, with events in body and answer
(websocket 4).  Between them this end keeps nothing: who a client is stands in the headers that the proxy
stores with the connection, and who is to hear of a message is the proxy's business, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any

from pushpin_tw.errors import WireError
from pushpin_tw.origin.answering import Answer
from pushpin_tw.sockets import CLOSE, PING, PONG, TEXT
from pushpin_tw.wire.events import CONTENT_TYPE, DISCONNECT, OPEN, Event, encode_event, parse_events
from pushpin_tw.wire.headers import Header, get
from pushpin_tw.wire.message import OriginRequest

CHAT_CHANNEL = "demo-chat"

MAX_TEXT = 500
"""Characters of a message; the rest of a longer one is cut off."""

_NAMES = ("otter", "heron", "badger", "finch", "lynx", "newt", "robin", "stoat", "wren", "toad", "hare")
_CONTENT_TYPE: Header = (b"Content-Type", CONTENT_TYPE)
_GRIP: Header = (b"Sec-WebSocket-Extensions", b"grip")
_BAD = Answer(400, b"Bad Request", ((b"Content-Type", b"text/plain"),), b"events of a WebSocket expected\n")


def control(kind: str, **values: Any) -> bytes:
    """A message to the proxy, which the client does not see."""
    return encode_event(TEXT, b"c:" + json.dumps({"type": kind, **values}).encode())


WELCOME = (
    encode_event(OPEN)
    + control("subscribe", channel=CHAT_CHANNEL)
    # No proxy on the way takes the connection for dead, and whoever has gone without a word is noticed.
    + control("keep-alive", **{"message-type": "ping"}, content="", timeout=50)
)


class Chat:
    """One room, where everybody gets a name and hears everybody."""

    def __init__(self, publish: Callable[[dict[str, Any]], None]) -> None:
        """``publish`` is given items."""
        self._publish = publish
        self._guests = count()

    def answer(self, request: OriginRequest, body: bytes) -> Answer:
        """What the application says to a request of the proxy."""
        if get(request.headers, b"content-type") != CONTENT_TYPE:
            return _BAD
        try:
            events = parse_events(body)
        except WireError:
            return _BAD
        name = get(request.headers, b"meta-name")
        if name is None:
            return self._welcome(events)
        said = b"".join([self._hear(event, name.decode("latin-1")) for event in events])
        return Answer(200, b"OK", (_CONTENT_TYPE,), said)

    def _welcome(self, events: list[Event]) -> Answer:
        if not events or events[0][0] != OPEN:
            return _BAD
        round_, place = divmod(next(self._guests), len(_NAMES))
        name = f"{_NAMES[place]}-{round_ + 1}" if round_ else _NAMES[place]
        self._tell(f"{name} is here")
        # "m:" marks what is for the client.
        greeting = encode_event(TEXT, f"m:you are {name}".encode())
        headers = (_CONTENT_TYPE, _GRIP, (b"Set-Meta-Name", name.encode()))
        return Answer(200, b"OK", headers, WELCOME + greeting)

    def _hear(self, event: Event, name: str) -> bytes:
        """The events that answer one of the client's."""
        kind, content = event
        if kind == TEXT:
            self._tell(f"{name}: {content.decode('utf-8', 'replace')[:MAX_TEXT]}")
        elif kind == PING:
            return encode_event(PONG, content)
        elif kind in (CLOSE, DISCONNECT):
            self._tell(f"{name} has left")
            if kind == CLOSE:
                return encode_event(CLOSE, content)
        return b""

    def _tell(self, text: str) -> None:
        self._publish({"channel": CHAT_CHANNEL, "formats": {"ws-message": {"content": text}}})
