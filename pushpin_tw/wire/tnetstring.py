"""TNetStrings: how values travel over ZeroMQ (zeromq 1).

Called by publish inputs, the publish command, ZHTTP and statistics.  Knows one kind of string, bytes; which
of them are text is decided by whoever reads them.  Never allocates from a size that it has not compared with
the bytes at hand, and never nests deeper than ``DEPTH``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pushpin_tw.errors import PacketError

DEPTH = 64
"""Levels of maps and lists within each other."""

MAX_DIGITS = 10
"""Of a size."""

_SIZES = {b"%d" % size: size for size in range(1000)}
"""Of most values, so that they are looked up instead of computed."""
_STRING, _MAP, _LIST = b",}]"
_NESTED = frozenset((_MAP, _LIST))
_INTEGER = re.compile(rb"-?[0-9]{1,40}")
_FLOAT = re.compile(rb"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,4})?")


def encode(value: Any) -> bytes:
    """``value`` as a tnetstring: None, bool, int, float, bytes, str (as UTF-8), lists, maps with str keys.

    :raises TypeError: a value of another type.
    """
    match value:
        case None:
            return b"0:~"
        case bool():
            return b"4:true!" if value else b"5:false!"
        case bytes():
            return b"%d:%b," % (len(value), value)
        case str():
            return encode(value.encode())
        case int():
            return _framed(b"%d" % value, b"#")
        case float():
            return _framed(repr(value).encode(), b"^")
        case Mapping():
            return _framed(b"".join(encode(str(key)) + encode(item) for key, item in value.items()), b"}")
        case Sequence():
            return _framed(b"".join(map(encode, value)), b"]")
    raise TypeError(f"no tnetstring for {type(value).__name__}")


def decode(data: bytes) -> Any:
    """The first value of ``data``; what follows it is ignored.

    Strings come as bytes, maps as dicts with str keys (what is no UTF-8 is replaced; of equal keys the last
    one counts).

    :raises PacketError: it is none, it is cut short, or it nests too deeply.
    """
    return _decode(data, 0, len(data), DEPTH)[0]


def _framed(data: bytes, kind: bytes) -> bytes:
    return b"%d:%b%b" % (len(data), data, kind)


def _decode(data: bytes, at: int, end: int, depth: int) -> tuple[Any, int]:
    """The value at ``at``, which must not reach beyond ``end``, and where it ends."""
    # Items come by ten thousands a second, each with a dozen values: what is cheaper than it is short.
    colon = data.find(b":", at, at + MAX_DIGITS + 1)
    if colon < 0:
        raise PacketError("expected a size")
    digits = data[at:colon]
    size = _SIZES.get(digits)
    if size is None:
        if not digits.isdigit():
            raise PacketError("expected a size")
        size = int(digits)
    start = colon + 1
    stop = start + size
    if stop >= end:
        raise PacketError("cut short")
    kind = data[stop]
    if kind == _STRING:
        return data[start:stop], stop + 1
    if kind in _NESTED:
        if not depth:
            raise PacketError("nested too deeply")
        inside = (_decode_map if kind == _MAP else _decode_list)(data, start, stop, depth - 1)
        return inside, stop + 1
    return _scalar(data[stop : stop + 1], data[start:stop]), stop + 1


def _scalar(kind: bytes, text: bytes) -> Any:
    if kind == b"#" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == b"^" and _FLOAT.fullmatch(text):
        return float(text)
    if kind == b"!" and text in (b"true", b"false"):
        return text == b"true"
    if kind == b"~" and not text:
        return None
    raise PacketError(f"no value of type {kind!r}")


def _decode_list(data: bytes, at: int, end: int, depth: int) -> list[Any]:
    items = []
    while at < end:
        item, at = _decode(data, at, end, depth)
        items.append(item)
    return items


def _decode_map(data: bytes, at: int, end: int, depth: int) -> dict[str, Any]:
    found = {}
    while at < end:
        key, at = _decode(data, at, end, depth)
        if key.__class__ is not bytes:
            raise PacketError("a key that is no string")
        found[key.decode("utf-8", "replace")], at = _decode(data, at, end, depth)
    return found
