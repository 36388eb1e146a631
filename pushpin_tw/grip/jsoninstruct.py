"""The ``application/grip-instruct`` body: what it adds to an instruction's headers (grip 5).

Called by ``instruct.parse_instruct`` alone.  Checks go from ``hold`` to ``response`` in the order of the
specification, since the first error is the one an origin's author reads.  Never fills in what headers said.
"""

from __future__ import annotations

from dataclasses import replace

from pushpin_tw.errors import InstructError
from pushpin_tw.grip import fields as read
from pushpin_tw.grip.fields import FieldError, Fields
from pushpin_tw.grip.scalars import decode_base64, load_document
from pushpin_tw.grip.status import default_reason
from pushpin_tw.grip.terms import (
    DEFAULT_TIMEOUT,
    MIN_TIMEOUT,
    Channel,
    Instruct,
    KeepAlive,
    check_filters,
    without_framing,
)
from pushpin_tw.wire.message import Response


def apply_json(instruct: Instruct, response: Response, body: bytes) -> Instruct:
    """``instruct``, read from the headers of ``response``, changed by the document ``body``.

    The origin's own headers and body are dropped: the client sees what the document's ``response`` defines.

    :raises InstructError: with the words of grip 5.
    """
    if response.status != 200:
        raise InstructError("response code for application/grip-instruct content must be 200")
    try:
        document = load_document(body)
    except ValueError:
        raise InstructError("failed to parse application/grip-instruct content as JSON") from None
    if not isinstance(document, dict):
        raise InstructError("instruct must be an object")
    try:
        instruct = _apply_hold(instruct, document)
        return _apply_response(instruct, document)
    except FieldError as error:
        raise InstructError(str(error)) from None


def _apply_hold(instruct: Instruct, document: Fields) -> Instruct:
    hold = read.mapping(document, "hold", "instruct")
    if hold is None:
        return instruct
    mode = read.text(hold, "mode", "hold")
    if mode not in (None, "response", "stream"):
        raise FieldError("hold 'mode' must be set to either 'response' or 'stream'")
    channels = _channels(hold)
    timeout = read.count(hold, "timeout", "hold")
    keep_alive = read.mapping(hold, "keep-alive", "hold")
    return replace(
        instruct,
        mode=mode or "response",
        channels=instruct.channels + channels,
        timeout=instruct.timeout if timeout is None else max(MIN_TIMEOUT, timeout),
        keep_alive=instruct.keep_alive if keep_alive is None else _keep_alive(keep_alive),
        meta={**instruct.meta, **read.meta(hold, "hold")},
    )


def _channels(hold: Fields) -> tuple[Channel, ...]:
    if "channels" not in hold:
        raise FieldError("hold does not contain 'channels'")
    channels = hold["channels"]
    if not isinstance(channels, list):
        raise read.wrong_type("hold", "channels")
    return tuple(_channel(channel) for channel in channels)


def _channel(channel: object) -> Channel:
    if not isinstance(channel, dict):
        raise FieldError("channel is not an object")
    name = read.text(channel, "name", "channel")
    if name is None:
        raise FieldError("channel does not contain 'name'")
    prev_id = read.text(channel, "prev-id", "channel")
    filters = read.texts(channel, "filters", "channel", "filters contains value with wrong type") or ()
    check_filters(filters, name)
    return Channel(name, prev_id, filters)


def _content(fields: Fields, key: str, where: str) -> bytes:
    """The base64 field ``key-bin``, else the string field ``key``; empty when there is neither."""
    encoded = read.raw(fields, key + "-bin", where)
    if encoded is not None:
        return decode_base64(encoded)
    return read.raw(fields, key, where) or b""


def _keep_alive(fields: Fields) -> KeepAlive | None:
    """An empty one replaces that of the headers by none."""
    data = _content(fields, "content", "keep-alive")
    timeout = read.count(fields, "timeout", "keep-alive")
    seconds = DEFAULT_TIMEOUT if timeout is None else max(1, timeout)
    return KeepAlive(data, seconds, interval=True) if data else None


def _apply_response(instruct: Instruct, document: Fields) -> Instruct:
    if "response" not in document:
        return replace(instruct, headers=(), body=b"")
    response = document["response"]
    if not isinstance(response, dict):
        raise FieldError("")
    status = read.status(response, "response")
    reason = read.reason(response, "response")
    if not reason:
        reason = instruct.reason if status is None else default_reason(status)
    # Names that start with Grip- are kept, other than those of the origin's own headers (grip 5.1).
    return replace(
        instruct,
        status=instruct.status if status is None else status,
        reason=reason,
        headers=tuple(without_framing(read.headers(response, "response"))),
        body=_content(response, "body", "response"),
    )
