"""ZHTTP packets: how HTTP exchanges and WebSockets travel over ZeroMQ (zeromq 1.5, 2.4, 2.5).

Called by the rooms that speak ZHTTP.  ``parse`` reads what a worker says, ``response_head`` makes a response
of it; the other functions write what this proxy says, whole frames with their prefix ``T`` and fields in a
fixed order.  They write the bytes directly: each request passes here.  Never knows a socket or a session.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pushpin_tw.errors import HttpError, PacketError
from pushpin_tw.wire.headers import Header, HeaderList, get, is_token, is_value
from pushpin_tw.wire.message import OriginRequest, Response
from pushpin_tw.wire.tnetstring import decode

CREDITS = 200_000
"""Bytes of a response that may be under way; the same number of a request goes without being asked for."""
MAX_IDS = 128
"""Sessions that one packet of ours names; others take more from us, but not every worker does."""

TYPES = frozenset(
    (
        *("error", "credit", "keep-alive", "cancel", "close", "ping", "pong"),
        *("handoff-start", "handoff-proceed"),
    )
)
_INTEGER = re.compile(rb"-?[0-9]{1,40}")
_HOP = frozenset((b"connection", b"keep-alive", b"transfer-encoding"))
_NO_ZERO = frozenset((b"GET", b"HEAD", b"OPTIONS"))

# ---- what workers say --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Packet:
    """One packet.  Not frozen: one is made for each, and a frozen one takes twice as long to make."""

    ids: tuple[tuple[bytes, int | None], ...]
    """Sessions and the sequence number for each, None where there is none; at least one."""
    type: str = ""
    """Empty for data, else one of ``TYPES``."""
    sender: bytes = b""
    """The field ``from``."""
    body: bytes = b""
    more: bool = False
    credits: int = 0
    """May be negative, which means nothing."""
    code: int = 0
    """0 when there is none."""
    reason: bytes = b""
    headers: tuple[Header, ...] = ()
    """As written: whether they can stand in a message is not said."""
    condition: str = ""
    content_type: bytes = b""
    multi: bool = False
    """Whether the sender understands packets that name several sessions."""
    quiet: bool = False


def parse(frame: bytes) -> Packet:
    """The packet in a frame.  Fields that mean nothing from a worker are not looked at.

    :raises PacketError: it is none, it names no session, or a field is of the wrong type.
    """
    if not frame.startswith(b"T"):
        raise PacketError("no tnetstring")
    fields = decode(frame[1:])
    if not isinstance(fields, dict):
        raise PacketError("no map")
    extension = _field(fields, "ext", dict, {})
    return Packet(
        _ids(fields),
        _type(_field(fields, "type", bytes, None)),
        _field(fields, "from", bytes, b""),
        _field(fields, "body", bytes, b""),
        _field(fields, "more", bool, False),
        _integer(fields, "credits") or 0,
        _integer(fields, "code") or 0,
        _field(fields, "reason", bytes, b""),
        _headers(_field(fields, "headers", list, ())),
        _field(fields, "condition", bytes, b"").decode("utf-8", "replace"),
        _field(fields, "content-type", bytes, b""),
        extension.get("multi") is True,
        extension.get("quiet") is True,
    )


def _field(fields: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    if name not in fields:
        return default
    if not isinstance(fields[name], kind):
        raise PacketError(f"wrong type of {name}")
    return fields[name]


def _integer(fields: dict[str, Any], name: str) -> int | None:
    """A number, however it is written (zeromq 1.5); None when there is none."""
    if name not in fields:
        return None
    value = fields[name]
    if isinstance(value, bytes) and _INTEGER.fullmatch(value):
        return int(value)
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise PacketError(f"wrong type of {name}")
    return int(value)


def _type(value: bytes | None) -> str:
    if value is None:
        return ""
    name = value.decode("ascii", "replace")
    if name not in TYPES:
        raise PacketError("unknown type")
    return name


def _ids(fields: dict[str, Any]) -> tuple[tuple[bytes, int | None], ...]:
    value = fields.get("id")
    seq = _integer(fields, "seq")
    if isinstance(value, bytes):
        return ((value, seq),)
    if not isinstance(value, list) or not value:
        raise PacketError("no id")
    ids = [_entry(entry) for entry in value]
    if seq is not None:
        ids[0] = ids[0][0], seq
    return tuple(ids)


def _entry(entry: Any) -> tuple[bytes, int | None]:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), bytes):
        raise PacketError("wrong type of id")
    return entry["id"], _integer(entry, "seq")


def _headers(value: Sequence[Any]) -> tuple[Header, ...]:
    headers = []
    for pair in value:
        if not isinstance(pair, list) or [type(each) for each in pair] != [bytes, bytes]:
            raise PacketError("wrong type of headers")
        headers.append((pair[0], pair[1]))
    return tuple(headers)


def response_head(packet: Packet, method: bytes) -> Response:
    """The response that the first data packet of a session, an answer to ``method``, begins.

    When it is the last one as well, it tells the length of the body.  A worker's headers about its own
    connection are left out.

    :raises HttpError: no such response can be sent to a client.
    """
    if not 200 <= packet.code <= 999:
        raise HttpError("invalid status code", 502)
    response = Response(packet.code, checked_reason(packet.reason), checked_headers(packet.headers))
    length = get(response.headers, b"content-length")
    if length is not None:
        if not (length.isdigit() and len(length) < 20) or _count(response.headers, b"content-length") > 1:
            raise HttpError("invalid content length", 502)
        response.length = int(length)
    elif not packet.more and method != b"HEAD":
        response.length = len(packet.body)
    return response


def checked_headers(headers: Iterable[Header]) -> HeaderList:
    """A worker's headers without those about its connection.

    :raises HttpError: one cannot stand in a message.
    """
    kept = []
    for name, value in headers:
        value = value.strip(b" \t")
        if not is_token(name) or not is_value(value):
            raise HttpError("invalid header", 502)
        if name.lower() not in _HOP:
            kept.append((name, value))
    return kept


def checked_reason(reason: bytes) -> bytes:
    """``reason``.

    :raises HttpError: it cannot stand in a status line.
    """
    if not is_value(reason):
        raise HttpError("invalid reason", 502)
    return reason


def _count(headers: Iterable[Header], name: bytes) -> int:
    return sum(key.lower() == name for key, _ in headers)


# ---- what we say -------------------------------------------------------------------------------------------

_STREAM = b"6:stream,4:true!"
_WELCOME = b"11:router-resp,4:true!3:ext,15:5:multi,4:true!}"
_MORE = b"4:more,4:true!"
_IGNORE_POLICIES = b"15:ignore-policies,4:true!"
MAX_SIZE = 1_000_000
"""What request/reply workers are told of how long a response may be."""


def policy(
    untrusted: bool = False,
    trust_connect_host: bool = False,
    insecure: bool = False,
    client_cert: bytes = b"",
    client_key: bytes = b"",
) -> bytes:
    """The fields that say how the worker shall treat the server that it asks, the same for every request of
    a target; the certificate and the key are PEM text."""
    return b"".join(
        (
            b"" if untrusted else _IGNORE_POLICIES,
            b"18:trust-connect-host,4:true!" if trust_connect_host else b"",
            b"17:ignore-tls-errors,4:true!" if insecure else b"",
            _text(b"client-cert", client_cert) if client_cert else b"",
            _text(b"client-key", client_key) if client_key else b"",
        )
    )


def stream_request(
    sender: bytes, session: bytes, request: OriginRequest, rules: bytes, body: bytes, more: bool
) -> bytes:
    """The first packet of an HTTP session, ``seq`` 0; ``body`` is at most ``CREDITS`` bytes long.

    ``rules`` is what ``policy`` has made.
    """
    return _framed(
        _begin(sender, session, 0),
        _question(request, b"https" if request.secure else b"http"),
        _body(body, more),
        _number(b"credits", CREDITS),
        _STREAM,
        rules,
        _WELCOME,
    )


def whole_request(sender: bytes, session: bytes, request: OriginRequest, rules: bytes, body: bytes) -> bytes:
    """The one packet of a request in request/reply mode; ``rules`` as for ``stream_request``."""
    return _framed(
        _text(b"from", sender),
        _text(b"id", session),
        _question(request, b"https" if request.secure else b"http"),
        _body(body, False),
        _number(b"max-size", MAX_SIZE),
        rules,
    )


def socket_request(sender: bytes, session: bytes, request: OriginRequest, rules: bytes) -> bytes:
    """The first packet of a WebSocket session, ``seq`` 0.

    ``request`` has all headers of the handshake that the worker shall see; its method and length are not
    told.  ``rules`` as for ``stream_request``.
    """
    return _framed(
        _begin(sender, session, 0),
        _text(b"uri", uri(request, b"wss" if request.secure else b"ws")),
        _header_list(request.headers),
        _number(b"credits", CREDITS),
        rules,
        _WELCOME,
    )


def data(
    sender: bytes,
    session: bytes,
    seq: int,
    body: bytes,
    more: bool,
    granted: int = 0,
    content_type: bytes = b"",
) -> bytes:
    """Bytes of a request's body, or with a ``content_type`` (``text`` or ``binary``) of a message, which has
    a body even when that is empty.  ``granted`` credits may travel along."""
    return _framed(
        _begin(sender, session, seq),
        _number(b"credits", granted) if granted else b"",
        _text(b"content-type", content_type) if content_type else b"",
        _text(b"body", body) if body or content_type else b"",
        _MORE if more else b"",
    )


def credit(sender: bytes, session: bytes, seq: int, granted: int) -> bytes:
    """Grant ``granted`` more bytes."""
    return _framed(_begin(sender, session, seq), _text(b"type", b"credit"), _number(b"credits", granted))


def cancel(sender: bytes, session: bytes, seq: int) -> bytes:
    """The session is over."""
    return _framed(_begin(sender, session, seq), _text(b"type", b"cancel"))


def close(sender: bytes, session: bytes, seq: int, code: int | None, reason: bytes) -> bytes:
    """A WebSocket's close frame; ``code`` is None when it has none."""
    return _framed(
        _begin(sender, session, seq),
        _text(b"type", b"close"),
        b"" if code is None else _number(b"code", code),
        _text(b"body", reason) if reason else b"",
    )


def ping(sender: bytes, session: bytes, seq: int, body: bytes, pong: bool = False) -> bytes:
    """A WebSocket's ping, or its pong."""
    return _framed(
        _begin(sender, session, seq), _text(b"type", b"pong" if pong else b"ping"), _body(body, False)
    )


def keep_alives(sender: bytes, sessions: Sequence[tuple[bytes, int]]) -> list[bytes]:
    """Packets that keep ``sessions`` (id and ``seq`` of each) alive, ``MAX_IDS`` with each."""
    packets = []
    for at in range(0, len(sessions), MAX_IDS):
        some = sessions[at : at + MAX_IDS]
        if len(some) == 1:
            begin = _begin(sender, *some[0])
        else:
            entries = b"".join(_nested(_text(b"id", name) + _number(b"seq", seq)) for name, seq in some)
            begin = b"%b2:id,%d:%b]" % (_text(b"from", sender), len(entries), entries)
        packets.append(_framed(begin, _text(b"type", b"keep-alive")))
    return packets


def uri(request: OriginRequest, scheme: bytes) -> bytes:
    """The absolute URI of ``request``."""
    host = get(request.headers, b"host")
    return b"%b://%b%b" % (scheme, request.host.encode() if host is None else host, request.target)


def _question(request: OriginRequest, scheme: bytes) -> bytes:
    headers = request.headers
    if request.length or (request.length is not None and request.method not in _NO_ZERO):
        headers = [*headers, (b"Content-Length", b"%d" % request.length)]
    return b"%b%b%b" % (
        _text(b"method", request.method),
        _text(b"uri", uri(request, scheme)),
        _header_list(headers),
    )


def _header_list(headers: Iterable[Header]) -> bytes:
    pairs = []
    for name, value in headers:
        pair = b"%d:%b,%d:%b," % (len(name), name, len(value), value)
        pairs.append(b"%d:%b]" % (len(pair), pair))
    every = b"".join(pairs)
    return b"7:headers,%d:%b]" % (len(every), every)


def _begin(sender: bytes, session: bytes, seq: int) -> bytes:
    number = b"%d" % seq
    return b"4:from,%d:%b,2:id,%d:%b,3:seq,%d:%b#" % (
        len(sender),
        sender,
        len(session),
        session,
        len(number),
        number,
    )


def _body(body: bytes, more: bool) -> bytes:
    return (_text(b"body", body) if body else b"") + (_MORE if more else b"")


def _text(name: bytes, value: bytes) -> bytes:
    return b"%d:%b,%d:%b," % (len(name), name, len(value), value)


def _number(name: bytes, value: int) -> bytes:
    digits = b"%d" % value
    return b"%d:%b,%d:%b#" % (len(name), name, len(digits), digits)


def _nested(fields: bytes) -> bytes:
    return b"%d:%b}" % (len(fields), fields)


def _framed(*fields: bytes) -> bytes:
    every = b"".join(fields)
    return b"T%d:%b}" % (len(every), every)
