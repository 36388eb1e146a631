"""The formats of an item: what each kind of hold is given, as bytes ready for the wire (grip 12.2).

Called by the parser of items; read by the broker and by holds.  Everything that does not depend on the
recipient is done here, once: encoding, checking, sorting out headers.  Never knows a channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pushpin_tw.grip import fields as read
from pushpin_tw.grip.fields import FieldError, Fields
from pushpin_tw.grip.params import split_elements
from pushpin_tw.grip.scalars import decode_base64
from pushpin_tw.grip.status import default_reason
from pushpin_tw.wire.headers import Header, HeaderList, get_all, without

RESPONSE = "http-response"
STREAM = "http-stream"
SOCKET = "ws-message"

MAX_CONTROL = 125
"""Bytes that the content of a ping or pong may have (RFC 6455, 5.5)."""
MAX_CLOSE_REASON = 123
"""Bytes that the reason of a close frame may have, behind its code."""

_ACTIONS = frozenset(["send", "hint", "close", "refresh"])
_TYPES = frozenset(["text", "binary", "ping", "pong"])
_FRAMING = frozenset([b"connection", b"transfer-encoding", b"content-length"])
_NONE: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """An answer for response holds."""

    action: str
    """'send', 'hint', 'close' or 'refresh'; the fields below matter for 'send'."""
    code: int = 200
    """200 to 999."""
    reason: bytes = b"OK"
    headers: tuple[Header, ...] = ()
    """Without ``Grip-*`` and framing."""
    body: bytes | None = None
    """None when there is a patch instead."""
    patch: tuple[object, ...] | None = None
    """Operations for ``jsonpatch.apply_patch``."""
    content_filters: tuple[str, ...] | None = None
    """What must be attached to the hold's channel; None when unchecked."""
    replaced: frozenset[bytes] = _NONE
    """Lower-case names of the instruction's headers that this response has instead."""
    hidden: frozenset[bytes] = _NONE
    """Lower-case names that ``Grip-Expose-Headers`` takes away, as the original does (grip 16.3)."""

    def merge(self, base: Iterable[Header]) -> HeaderList:
        """The headers of the answer: ``base``, those of the instruction, overridden by these (grip 8.3)."""
        kept = without(base, self.replaced) if self.replaced else list(base)
        kept += self.headers
        return without(kept, self.hidden) if self.hidden else kept


@dataclass(slots=True)
class StreamFormat:
    """A piece of content for stream holds, which nobody changes; not frozen, as ``Item``."""

    action: str
    content: bytes = b""
    content_filters: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SocketFormat:
    """A message for WebSockets."""

    action: str
    type: str = "text"
    """'text', 'binary', 'ping' or 'pong'; of 'send'."""
    content: bytes = b""
    content_filters: tuple[str, ...] | None = None
    code: int = 1000
    """The close code, 0 to 65535 and otherwise unchecked; of 'close'."""
    reason: bytes = b""
    """UTF-8, short enough for a close frame; of 'close'."""


def parse_response(value: object, packed: bool = False) -> ResponseFormat:
    """Read an ``http-response``; ``packed`` tells that it came as a tnetstring.

    :raises FieldError:
    """
    fields, action = _open(value, RESPONSE)
    if action != "send":
        return ResponseFormat(action)
    where = "'http-response'"
    code = read.status(fields, where) or 200
    reason = read.reason(fields, where) or default_reason(code)
    headers = read.headers(fields, where)
    filters = _filters(fields, where)
    body = _content(fields, "body", where, packed)
    patch = None
    if body is None:
        patch = _patch(fields, where, packed)
    if not headers:
        return ResponseFormat(action, code, reason, (), body, patch, filters)
    replaced = frozenset(name.lower() for name, _ in headers)
    hidden = frozenset(name.lower() for name in split_elements(get_all(headers, b"grip-expose-headers")))
    kept = tuple(pair for pair in without(headers, _FRAMING) if pair[0][:5].lower() != b"grip-")
    return ResponseFormat(action, code, reason, kept, body, patch, filters, replaced, hidden)


def parse_stream(value: object, packed: bool = False) -> StreamFormat:
    """Read an ``http-stream``.

    :raises FieldError:
    """
    fields, action = _open(value, STREAM)
    if action != "send":
        return StreamFormat(action)
    filters = _filters(fields, "'http-stream'")
    content = _content(fields, "content", "'http-stream'", packed)
    if content is None:
        choice = "'content'" if packed else "'content' or 'content-bin'"
        raise FieldError(f"'http-stream' does not contain {choice}")
    return StreamFormat(action, content, filters)


def parse_socket(value: object, packed: bool = False) -> SocketFormat:
    """Read a ``ws-message``.

    :raises FieldError:
    """
    fields, action = _open(value, SOCKET)
    if action == "send":
        return _parse_message(fields, packed)
    if action == "close":
        return _parse_close(fields)
    return SocketFormat(action)


def _parse_message(fields: Fields, packed: bool) -> SocketFormat:
    where = "'ws-message'"
    kind = read.text(fields, "type", where)
    if kind is not None and kind not in _TYPES:
        raise FieldError(f"{where} contains 'type' with unknown value")
    filters = _filters(fields, where)
    content = read.raw(fields, "content-bin", where)
    if content is not None:
        kind = kind or "binary"
        content = content if packed else decode_base64(content)
    else:
        kind = kind or "text"
        content = read.raw(fields, "content", where)
    control = kind in ("ping", "pong")
    if content is None:
        if not control:
            raise FieldError(f"{where} does not contain 'content' or 'content-bin'")
        content = b""
    if control and len(content) > MAX_CONTROL:
        raise FieldError(f"{where} contains 'content' too long for a {kind}")
    return SocketFormat("send", kind, content, filters)


def _parse_close(fields: Fields) -> SocketFormat:
    """Without a code there is no reason either, though it is checked."""
    code = read.count(fields, "code", "'ws-message'")
    reason = read.text(fields, "reason", "'ws-message'")
    if code is None:
        return SocketFormat("close")
    short = (reason or "").encode()[:MAX_CLOSE_REASON].decode("utf-8", "ignore").encode()
    return SocketFormat("close", code=code % 65536, reason=short)


def _open(value: object, name: str) -> tuple[Fields, str]:
    if not isinstance(value, dict):
        raise FieldError(f"'{name}' is not an object")
    if "action" not in value:
        return value, "send"
    action = read.text(value, "action", f"'{name}'")
    if action not in _ACTIONS:
        raise FieldError("")  # no words, as in the original
    return value, str(action)


def _filters(fields: Fields, where: str) -> tuple[str, ...] | None:
    return read.texts(fields, "content-filters", where, "content-filters contains element with wrong type")


def _content(fields: Fields, key: str, where: str, packed: bool) -> bytes | None:
    """The field ``key-bin``, else the field ``key``; a tnetstring has raw bytes in the latter alone."""
    encoded = None if packed else read.raw(fields, key + "-bin", where)
    return read.raw(fields, key, where) if encoded is None else decode_base64(encoded)


def _patch(fields: Fields, where: str, packed: bool) -> tuple[object, ...]:
    if "body-patch" not in fields:
        choice = "'body' or 'body-patch'" if packed else "'body', 'body-bin', or 'body-patch'"
        raise FieldError(f"{where} does not contain {choice}")
    operations = fields["body-patch"]
    if not isinstance(operations, list):
        raise read.wrong_type(where, "body-patch")
    return tuple(map(_unpacked, operations) if packed else operations)


def _unpacked(value: object) -> object:
    """The JSON value that a tnetstring value stands for."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_unpacked(element) for element in value]
    if isinstance(value, Mapping):
        return {key: _unpacked(member) for key, member in value.items()}
    return value
