"""The small values that instructions and items are made of: JSON, integers, base64 (grip 5.2).

Called by the parsers of this room and by the publish inputs.  Never knows which field it reads.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from typing import NoReturn

Document = dict[str, object] | list[object]

MAX_INT = 2**31 - 1
_MIN_INT = -(2**31)

_INT = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]{1,20})[ \t\n\v\f\r]*")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BOM = b"\xef\xbb\xbf"
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(byte for byte in range(256) if byte not in _BASE64)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("number out of range")
    return value


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


# Line ends and other control characters within strings are let through: hand-written publishers have them.
_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, strict=False)


def load_document(data: bytes) -> Document:
    """Parse a JSON text that is an object or an array, in UTF-8, perhaps with a byte order mark.

    Half a surrogate pair becomes U+FFFD, so that every string of the result can be encoded.

    :raises ValueError: anything else, also numbers and nestings beyond what the interpreter takes.
    """
    if data.startswith(_BOM):
        data = data[3:]
    try:
        value = _DECODER.decode(data.decode())
        if not isinstance(value, dict | list):
            raise ValueError("neither object nor array")
        return _scrub(value) if _SURROGATE_ESCAPE.search(data) else value  # type: ignore[return-value]
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _scrub(value: object) -> object:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_scrub(element) for element in value]
    if isinstance(value, dict):
        return {_scrub(key): _scrub(member) for key, member in value.items()}
    return value


def parse_int(text: str) -> int | None:
    """A decimal integer of 32 bits with optional sign and surrounding white space, or None."""
    found = _INT.fullmatch(text)
    if found is None:
        return None
    number = int(found[1])
    return number if _MIN_INT <= number <= MAX_INT else None


def to_int(value: object) -> int | None:
    """An int field: a number (rounded, halves away from zero), a boolean, or a string, where one that is no
    integer counts as 0.  None for any other type.  Numbers beyond 32 bits become the nearest bound.
    """
    if isinstance(value, int):
        return max(_MIN_INT, min(MAX_INT, int(value)))
    if isinstance(value, float):
        bounded = max(float(_MIN_INT), min(float(MAX_INT), value))
        return math.floor(bounded + 0.5) if bounded >= 0 else math.ceil(bounded - 0.5)
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        return parse_int(value) or 0
    return None


def decode_base64(data: bytes) -> bytes:
    """Lenient decoding: foreign bytes, padding included, are skipped; incomplete last bytes are dropped."""
    letters = data.translate(None, _NOT_BASE64)
    rest = len(letters) % 4
    if rest == 1:
        letters = letters[:-1]
    elif rest:
        letters += b"=" * (4 - rest)
    return binascii.a2b_base64(letters)
