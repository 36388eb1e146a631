"""Items as plain values, to be sent to other processes.

Called by both ends of a link.  What was parsed once is not parsed again: an item that comes out is equal to
the one that went in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Any

from pushpin_tw.grip.formats import ResponseFormat, SocketFormat, StreamFormat
from pushpin_tw.grip.item import Item

_response = attrgetter(*(each.name for each in fields(ResponseFormat)))
_stream = attrgetter(*(each.name for each in fields(StreamFormat)))
_socket = attrgetter(*(each.name for each in fields(SocketFormat)))


def pack(item: Item) -> tuple[Any, ...]:
    """Strings, bytes, numbers, and tuples and dicts of these."""
    response, stream, message = item.http_response, item.http_stream, item.ws_message
    return (
        item.channel,
        item.id,
        item.prev_id,
        None if response is None else _response(response),
        None if stream is None else _stream(stream),
        None if message is None else _socket(message),
        dict(item.meta),
        item.size,
        item.no_seq,
    )


def unpack(packed: Iterable[tuple[Any, ...]]) -> list[Item]:
    """The items again."""
    return [
        Item(
            channel,
            id_,
            prev_id,
            None if response is None else ResponseFormat(*response),
            None if stream is None else StreamFormat(*stream),
            None if message is None else SocketFormat(*message),
            meta,
            size,
            no_seq,
        )
        for channel, id_, prev_id, response, stream, message, meta, size, no_seq in packed
    ]
