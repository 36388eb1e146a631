"""Fields of a JSON object, each read with the words of complaint that the protocol prescribes (grip 5, 12).

Called by the parsers of instructions and items.  ``where`` names the object in those words.  Never knows
which document it is in: both parsers turn a ``FieldError`` into an error of their own.

Objects that came as tnetstrings have ``str`` keys and ``bytes`` where JSON has strings; both are taken.
"""

from __future__ import annotations

from collections.abc import Mapping

from pushpin_tw.errors import PushpinError
from pushpin_tw.grip.scalars import parse_int, to_int
from pushpin_tw.wire.headers import HeaderList, is_token, is_value

Fields = Mapping[str, object]


class FieldError(PushpinError):
    """A field has a wrong type or value; never leaves this room."""


def wrong_type(where: str, key: str) -> FieldError:
    """The usual complaint."""
    return FieldError(f"{where} contains '{key}' with wrong type")


def invalid_value(where: str, key: str) -> FieldError:
    """The other one."""
    return FieldError(f"{where} contains '{key}' with invalid value")


def as_text(value: object) -> str | None:
    """The string ``value``; None when it is none."""
    if isinstance(value, str):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None


def as_bytes(value: object) -> bytes | None:
    """The string ``value`` as it goes onto the wire; None when it is none."""
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else None


def text(fields: Fields, key: str, where: str) -> str | None:
    """A string field; None when absent."""
    if key not in fields:
        return None
    value = as_text(fields[key])
    if value is None:
        raise wrong_type(where, key)
    return value


def raw(fields: Fields, key: str, where: str) -> bytes | None:
    """A string field as bytes; None when absent."""
    if key not in fields:
        return None
    value = as_bytes(fields[key])
    if value is None:
        raise wrong_type(where, key)
    return value


def mapping(fields: Fields, key: str, where: str) -> Fields | None:
    """An object field; None when absent."""
    if key not in fields:
        return None
    value = fields[key]
    if not isinstance(value, dict):
        raise wrong_type(where, key)
    return value


def count(fields: Fields, key: str, where: str) -> int | None:
    """An int field that must not be negative; None when absent."""
    if key not in fields:
        return None
    value = to_int(fields[key])
    if value is None:
        raise wrong_type(where, key)
    if value < 0:
        raise invalid_value(where, key)
    return value


def texts(fields: Fields, key: str, where: str, complaint: str) -> tuple[str, ...] | None:
    """A field that is an array of strings; None when absent.  ``complaint`` is about an element."""
    if key not in fields:
        return None
    value = fields[key]
    if not isinstance(value, list):
        raise wrong_type(where, key)
    found = [as_text(element) for element in value]
    if None in found:
        raise FieldError(complaint)
    return tuple(element for element in found if element is not None)


def meta(fields: Fields, where: str) -> dict[str, str]:
    """The field ``meta``, an object of strings; empty when absent."""
    members = mapping(fields, "meta", where)
    if not members:
        return {}
    found = {}
    for key, member in members.items():
        value = as_text(member)
        if value is None:
            raise wrong_type("'meta'", key)
        found[key] = value
    return found


def status(fields: Fields, where: str) -> int | None:
    """The field ``code``, an HTTP status of 200 to 999; None when absent.

    The original takes all from 0 on, and then sends clients a response that never becomes final; refused here
    (proxy 8.12).  A string that is no number at all, 0 by the rule for ints, stands for 200 instead, since
    the original answers such an item with success (grip 17.9/190).
    """
    if "code" not in fields:
        return None
    value = fields["code"]
    code = to_int(value)
    if code is None:
        raise wrong_type(where, "code")
    words = as_text(value)
    if words is not None and parse_int(words) is None:
        return 200
    if not 200 <= code <= 999:
        raise invalid_value(where, "code")
    return code


def reason(fields: Fields, where: str) -> bytes:
    """The field ``reason`` of an HTTP response; empty when absent."""
    value = raw(fields, "reason", where) or b""
    if not is_value(value):
        raise invalid_value(where, "reason")
    return value


def headers(fields: Fields, where: str) -> HeaderList:
    """The field ``headers``: an object, whose members come out sorted by name, or an array of pairs.

    Names that are no tokens and values with control characters are refused: nobody but the proxy ends a
    header line (proxy 8.12).
    """
    value = fields.get("headers", ())
    if value == ():
        return []
    if isinstance(value, dict):
        found = _header_members(value)
    elif isinstance(value, list):
        found = [_header_pair(element) for element in value]
    else:
        raise wrong_type(where, "headers")
    for name, content in found:
        if not is_token(name):
            raise FieldError(f"{where} contains invalid header name")
        if not is_value(content):
            raise FieldError(f"{where} contains invalid value of header '{name.decode()}'")
    return found


def _header_members(members: Fields) -> HeaderList:
    found = []
    for key in sorted(members):
        content = as_bytes(members[key])
        if content is None:
            raise wrong_type("headers", key)
        found.append((key.encode(), content))
    return found


def _header_pair(element: object) -> tuple[bytes, bytes]:
    if not isinstance(element, list):
        raise FieldError("headers contains element with wrong type")
    if len(element) != 2:
        raise FieldError("headers contains list with wrong number of elements")
    name, content = as_bytes(element[0]), as_bytes(element[1])
    if name is None:
        raise FieldError("header contains name element with wrong type")
    if content is None:
        raise FieldError("header contains value element with wrong type")
    return name, content
