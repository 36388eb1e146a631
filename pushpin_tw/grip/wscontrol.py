"""Control messages: what an origin says to the proxy over a WebSocket (websocket 3).

Called by the proxy for ``c:`` messages.  Nobody is told of a mistake, so that the words of complaint are for
the log alone.  Never acts.
"""

from __future__ import annotations

from dataclasses import dataclass

from pushpin_tw.errors import ControlError
from pushpin_tw.grip import fields as read
from pushpin_tw.grip.fields import FieldError, Fields
from pushpin_tw.grip.formats import MAX_CONTROL as MAX_PING
from pushpin_tw.grip.scalars import decode_base64, load_document
from pushpin_tw.sockets import BINARY, PING, PONG, TEXT

MARK = b"c:"
"""How control messages begin."""
MAX_CONTROL = 65536
"""Bytes of a control message, its mark included; longer ones are ignored."""
KEEP_ALIVE = 55
"""Seconds between keep-alives, where an origin does not say how many."""
DELAY = 1
"""Seconds that a delayed message waits, where an origin does not say how many."""

KINDS = {"text": TEXT, "binary": BINARY, "ping": PING, "pong": PONG}
"""How origins and publishers call the kinds of messages."""

_WHERE = "grip control packet"


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Join a channel."""

    channel: str
    """Without the route's prefix."""
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Leave a channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class Detach:
    """The origin goes, the client stays."""


@dataclass(frozen=True, slots=True)
class Session:
    """A label for a service that keeps state."""

    id: str
    """Empty for none."""


@dataclass(frozen=True, slots=True)
class SetMeta:
    """A note about the client, for filters."""

    name: str
    value: str | None
    """None to remove it."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """What to send to a client when nothing else is."""

    kind: int
    content: bytes
    timeout: int
    """Seconds, at least 1."""
    interval: bool
    """Whether it is sent however much else is."""


@dataclass(frozen=True, slots=True)
class NoKeepAlive:
    """Send nothing of that sort any more."""


@dataclass(frozen=True, slots=True)
class SendDelayed:
    """A message to send after a while."""

    kind: int
    content: bytes
    timeout: int
    """Seconds, at least 1."""


@dataclass(frozen=True, slots=True)
class FlushDelayed:
    """Send it now."""


Control = (
    Subscribe
    | Unsubscribe
    | Detach
    | Session
    | SetMeta
    | KeepAlive
    | NoKeepAlive
    | SendDelayed
    | FlushDelayed
)


def parse_control(data: bytes) -> Control:
    """Read a control message, given without its mark.

    :raises ControlError: with words for the log.
    """
    try:
        document = load_document(data)
    except ValueError:
        raise ControlError("grip control message is not valid json") from None
    if not isinstance(document, dict):
        raise ControlError(f"{_WHERE} is not an object")
    try:
        return _parse(document)
    except FieldError as error:
        raise ControlError(str(error)) from None


def _parse(fields: Fields) -> Control:
    kind = read.text(fields, "type", _WHERE)
    if kind is None:
        raise FieldError(f"{_WHERE} does not contain 'type'")
    if kind == "subscribe":
        complaint = f"{_WHERE} contains 'filters' with wrong type"
        return Subscribe(_name(fields, "channel"), read.texts(fields, "filters", _WHERE, complaint) or ())
    if kind == "unsubscribe":
        return Unsubscribe(_name(fields, "channel"))
    if kind == "detach":
        return Detach()
    if kind == "session":
        return Session(read.text(fields, "id", _WHERE) or "")
    if kind == "set-meta":
        return SetMeta(_name(fields, "name"), read.text(fields, "value", _WHERE))
    if kind == "keep-alive":
        return _keep_alive(fields)
    if kind == "send-delayed":
        message, content = _kind(fields), _content(fields)
        return SendDelayed(message, _fit(message, content or b""), _timeout(fields, DELAY))
    if kind == "flush-delayed":
        return FlushDelayed()
    raise FieldError(f"{_WHERE} 'type' contains unknown value: {kind}")


def _keep_alive(fields: Fields) -> KeepAlive | NoKeepAlive:
    content = _content(fields)
    if content is None:
        return NoKeepAlive()
    message = _kind(fields)
    timeout = _timeout(fields, KEEP_ALIVE)
    interval = read.text(fields, "mode", _WHERE) == "interval"
    return KeepAlive(message, _fit(message, content), timeout, interval)


def _name(fields: Fields, key: str) -> str:
    value = read.text(fields, key, _WHERE)
    if value is None:
        raise FieldError(f"{_WHERE} does not contain '{key}'")
    if not value:
        raise read.invalid_value(_WHERE, key)
    return value


def _content(fields: Fields) -> bytes | None:
    encoded = read.raw(fields, "content-bin", _WHERE)
    content = read.raw(fields, "content", _WHERE)
    return content if encoded is None else decode_base64(encoded)


def _kind(fields: Fields) -> int:
    name = read.text(fields, "message-type", _WHERE)
    if name is None:
        return TEXT
    if name not in KINDS:
        raise FieldError(f"{_WHERE} contains 'message-type' with unknown value")
    return KINDS[name]


def _fit(kind: int, content: bytes) -> bytes:
    """Pings and pongs have no room for more (RFC 6455, 5.5)."""
    if kind in (PING, PONG) and len(content) > MAX_PING:
        raise read.invalid_value(_WHERE, "content")
    return content


def _timeout(fields: Fields, default: int) -> int:
    return read.count(fields, "timeout", _WHERE) or default
