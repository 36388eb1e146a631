"""The other side of ZHTTP: requests that programs send to us, and what they are answered (zeromq 2.13).

Called by ``edge.zhttp`` and its sessions.  ``wire.zhttp`` has everything that both sides have in common; here
is what is said in a session's first packet, and in packets that only an answering side sends.  Never knows a
socket or a session.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from pushpin_tw.errors import HttpError, PacketError
from pushpin_tw.wire.headers import Header, get, get_all, is_token, is_value, without
from pushpin_tw.wire.http1 import parse_request
from pushpin_tw.wire.message import Request
from pushpin_tw.wire.tnetstring import decode, encode
from pushpin_tw.wire.zhttp import Packet, parse

BAD_REQUEST = "bad-request"
REJECTED = "rejected"
SESSION_TIMEOUT = "session-timeout"
"""Conditions of errors (zeromq 2.14)."""
MULTI = b"3:ext,15:5:multi,4:true!}"
"""The field that says: we understand packets for several sessions."""

_SOCKETS = (b"ws", b"wss")
_SCHEMES = (b"http", b"https", *_SOCKETS)
_URI = re.compile(rb"[a-zA-Z]+://([^/?#@\x00-\x20\x7f]+)([/?][^#\x00-\x20\x7f]*)?")
_DIGITS = re.compile(rb"[0-9]{1,18}")
# Said of one hop, or by the packets themselves, or in the URI.
_DROPPED = frozenset(
    (b"host", b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"expect", b"upgrade")
)
_KEY = (b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAA==")
"""Of a client who is none: whoever speaks frames with it makes the answer to its real key."""


@dataclass(slots=True)
class Question:
    """The first packet of a session."""

    packet: Packet
    """With everything that later packets may have, too; it names one session."""
    method: bytes
    uri: bytes
    stream: bool
    """Whether the answer may come in parts."""
    welcome: bool
    """Whether answers through ROUTER are welcome."""
    peer: str
    """The address of a client behind the requester; empty when it tells none."""
    echo: bytes
    """The field ``user-data``, which each of our packets repeats; empty when there is none."""

    @property
    def scheme(self) -> bytes:
        """Of the URI, in lower case."""
        return self.uri.partition(b"://")[0].lower()

    @property
    def known(self) -> bool:
        """Whether we know the scheme."""
        return self.scheme in _SCHEMES

    @property
    def socket(self) -> bool:
        """Whether a WebSocket is wanted."""
        return self.scheme in _SOCKETS

    @property
    def sound(self) -> bool:
        """Whether it begins a session in the right way (zeromq 2.13)."""
        _, seq = self.packet.ids[0]
        if self.socket:
            return seq == 0
        return self.stream and (seq == 0 or (seq is None and not self.packet.more))


def parse_question(frame: bytes) -> Question:
    """The question in a frame.

    :raises PacketError: as ``zhttp.parse``, or it has no sender that can be answered, or names several
        sessions.
    """
    packet = parse(frame)
    if len(packet.ids) != 1:
        raise PacketError("several ids")
    if not packet.sender or b" " in packet.sender:
        raise PacketError("no sender")
    fields = decode(frame[1:])
    return Question(
        packet,
        _field(fields, "method", bytes, b""),
        _field(fields, "uri", bytes, b""),
        _field(fields, "stream", bool, False),
        _field(fields, "router-resp", bool, False),
        _address(_field(fields, "peer-address", bytes, b"")),
        _written("user-data", fields["user-data"]) if "user-data" in fields else b"",
    )


def _field(fields: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = fields.get(name, default)
    if not isinstance(value, kind):
        raise PacketError(f"wrong type of {name}")
    return value


def _address(text: bytes) -> str:
    try:
        return str(ip_address(text.decode("ascii")))
    except ValueError:
        return ""


def request_of(question: Question) -> Request:
    """The request that is asked, as if a client had sent it: the URI says where to, and the packets, not
    headers, how long a body is.

    :raises HttpError: there is no such request.
    """
    found = _URI.fullmatch(question.uri)
    if found is None:
        raise HttpError("invalid URI")
    host, target = found.groups()
    target = target or b"/"
    if target.startswith(b"?"):
        target = b"/" + target
    packet = question.packet
    headers = [(name, value.strip(b" \t")) for name, value in packet.headers]
    if not all(is_token(name) and is_value(value) for name, value in headers):
        raise HttpError("invalid header")
    lines = [(b"Host", host), *without(headers, _DROPPED)]
    if question.socket:
        lines += _handshake(lines)
    method = b"GET" if question.socket else question.method
    head = b"".join(b"%b: %b\r\n" % pair for pair in lines)
    request = parse_request(b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, head))
    request.secure = question.scheme in (b"https", b"wss")
    request.peer = question.peer
    if not question.socket:
        _frame(request, get_all(headers, b"content-length"), packet)
    return request


def _handshake(headers: Sequence[Header]) -> list[Header]:
    """What a handshake has and these lack."""
    lacking = [(b"Upgrade", b"websocket")]
    for line in ((b"Sec-WebSocket-Version", b"13"), _KEY):
        if get(headers, line[0].lower()) is None:
            lacking.append(line)
    return lacking


def _frame(request: Request, lengths: Sequence[bytes], packet: Packet) -> None:
    """Say how long the body is."""
    if len(lengths) > 1 or not all(map(_DIGITS.fullmatch, lengths)):
        raise HttpError("invalid content length")
    announced = int(lengths[0]) if lengths else None
    if packet.more:
        request.length = announced
        request.chunked = announced is None
    elif announced in (None, len(packet.body)):
        request.length = len(packet.body) if packet.body else announced
    else:
        raise HttpError("body of another length than announced")


# ---- what we answer ----------------------------------------------------------------------------------------


def extended(frame: bytes, fields: bytes) -> bytes:
    """A packet with more fields at its end."""
    inside = frame[frame.index(b":") + 1 : -1] + fields
    return b"T%d:%b}" % (len(inside), inside)


def keep_alive(sender: bytes, session: bytes, seq: int) -> bytes:
    """The session lives."""
    return _packet(sender, session, {"seq": seq, "type": "keep-alive"})


def response(
    sender: bytes,
    session: bytes,
    seq: int,
    code: int,
    reason: bytes,
    headers: Sequence[Header],
    body: bytes,
    more: bool,
    credits: int = 0,
) -> bytes:
    """The head of a response and what of its body goes along, or the consent to a WebSocket."""
    fields: dict[str, Any] = {"seq": seq, "code": code, "reason": reason, "headers": headers}
    if credits:
        fields["credits"] = credits
    if body:
        fields["body"] = body
    if more:
        fields["more"] = True
    return _packet(sender, session, fields)


def error(sender: bytes, session: bytes, seq: int, condition: str) -> bytes:
    """There is no (more) answer."""
    return _packet(sender, session, {"seq": seq, "type": "error", "condition": condition})


def rejection(
    sender: bytes,
    session: bytes,
    seq: int,
    code: int,
    reason: bytes,
    headers: Sequence[Header],
    body: bytes,
) -> bytes:
    """No WebSocket but this."""
    fields: dict[str, Any] = {"seq": seq, "type": "error", "condition": REJECTED, "code": code}
    fields.update(reason=reason, headers=headers)
    if body:
        fields["body"] = body
    return _packet(sender, session, fields)


def unnumbered_cancel(sender: bytes, session: bytes) -> bytes:
    """A session does not begin."""
    return _packet(sender, session, {"type": "cancel"})


def _packet(sender: bytes, session: bytes, fields: Mapping[str, Any]) -> bytes:
    return b"T" + encode({"from": sender, "id": session, **fields})


def _written(name: str, value: Any) -> bytes:
    """A field of a packet."""
    return encode(name) + encode(value)
