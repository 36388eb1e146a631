"""Published items: checked here and only here (grip 12.1, 14.3).

Called by every publish input.  A publisher who made a mistake learns it from the first complaint; an item
that was parsed needs no more checks.  Never looks at who listens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pushpin_tw.errors import PublishError
from pushpin_tw.grip import fields as read
from pushpin_tw.grip.fields import FieldError, Fields
from pushpin_tw.grip.formats import (
    RESPONSE,
    SOCKET,
    STREAM,
    ResponseFormat,
    SocketFormat,
    StreamFormat,
    parse_response,
    parse_socket,
    parse_stream,
)
from pushpin_tw.grip.scalars import load_document

_WHERE = "publish item object"


@dataclass(slots=True)
class Item:
    """One published message, which nobody changes.

    Not frozen: items are made by ten thousands a second, and making a frozen one takes four times as long.
    """

    channel: str
    id: str | None = None
    prev_id: str | None = None
    http_response: ResponseFormat | None = None
    http_stream: StreamFormat | None = None
    ws_message: SocketFormat | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    """Stands for the content's length in block accounting; None when the real one counts."""
    no_seq: bool = False
    """Whether sequencing leaves it alone."""


def parse_items(body: bytes) -> list[Item]:
    """The items of a JSON document ``{"items": [...]}``, all of them or none.

    :raises PublishError: with the words of grip 14.3.
    """
    try:
        document = load_document(body)
    except ValueError:
        raise PublishError("Body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise PublishError("Invalid format.")
    return items_of(document)


def items_of(document: Fields, packed: bool = False) -> list[Item]:
    """The items of a decoded object that has them as ``items``, all of them or none; ``packed`` as in
    ``parse_item``.

    :raises PublishError: with the words of grip 14.3.
    """
    if "items" not in document:
        raise PublishError("Invalid format: object does not contain 'items'")
    items = document["items"]
    if not isinstance(items, list):
        raise PublishError("Invalid format: object contains 'items' with wrong type")
    try:
        return [_parse(value, packed) for value in items]
    except FieldError as error:
        raise PublishError(f"Invalid format: {error}") from None


def parse_item(value: object, packed: bool = False, channel: str | None = None) -> Item:
    """One item from a decoded object.

    ``packed`` tells that it came as a tnetstring: ``str`` keys, ``bytes`` for strings, and binary content as
    it is (grip 14.4).  ``channel`` overrides that of the object, which then need not have one.

    :raises PublishError: with the words of grip 12, which may be none at all.
    """
    if channel is not None and isinstance(value, dict):
        value = {**value, "channel": channel}
    try:
        return _parse(value, packed)
    except FieldError as error:
        raise PublishError(str(error)) from None


def _parse(value: object, packed: bool) -> Item:
    if not isinstance(value, dict):
        raise FieldError(f"{_WHERE} is not an object")
    channel = read.text(value, "channel", _WHERE)
    if channel is None:
        raise FieldError(f"{_WHERE} does not contain 'channel'")
    if len(value) == 2 and "formats" in value:  # as most are
        return Item(channel, None, None, *_formats(value, packed))
    item_id = _id(value, "id", packed)
    prev_id = _id(value, "prev-id", packed)
    response, stream, socket = _formats(value, packed)
    meta = read.meta(value, _WHERE)
    size = read.count(value, "size", _WHERE)
    no_seq = value.get("no-seq", False)
    if not isinstance(no_seq, bool):
        raise read.wrong_type(_WHERE, "no-seq")
    return Item(channel, item_id, prev_id, response, stream, socket, meta, size, no_seq)


def _id(fields: Fields, key: str, packed: bool) -> str | None:
    """An id; in a tnetstring null is none (zeromq 3.1), in JSON it is a mistake."""
    return None if packed and fields.get(key) is None else read.text(fields, key, _WHERE)


def _formats(
    fields: Fields, packed: bool
) -> tuple[ResponseFormat | None, StreamFormat | None, SocketFormat | None]:
    """The formats, from ``formats`` or, without it, from the item itself; names we do not know count too."""
    formats = read.mapping(fields, "formats", _WHERE)
    if formats is None:
        formats = {key: fields[key] for key in (RESPONSE, STREAM, SOCKET) if key in fields}
    if not formats:
        raise FieldError("no formats specified")
    return (
        parse_response(formats[RESPONSE], packed) if RESPONSE in formats else None,
        parse_stream(formats[STREAM], packed) if STREAM in formats else None,
        parse_socket(formats[SOCKET], packed) if SOCKET in formats else None,
    )
