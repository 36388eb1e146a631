"""Elements and params of GRIP headers: ``value; name=token; name="quoted"`` (grip 3).

Called by the parser of instructions.  This is not the list syntax of RFC 9110: empty elements count, quotes
around a value belong to it, and null differs from empty.  Never knows a header by name.
"""

from __future__ import annotations

from collections.abc import Sequence

Param = tuple[bytes, bytes | None]
"""Name and value; None when there was no ``=`` or an empty quoted string."""


def split_elements(values: Sequence[bytes]) -> list[bytes]:
    """Split header values at commas outside double quotes; elements are trimmed.

    An entirely empty value has no elements, an empty one between commas counts, a trailing comma adds none.
    An unterminated quote makes the rest one element.
    """
    found: list[bytes] = []
    for value in values:
        parts = _split_quoted(value) if b'"' in value else value.split(b",")
        if not parts[-1].strip():
            parts.pop()
        found += [part.strip() for part in parts]
    return found


def _split_quoted(value: bytes) -> list[bytes]:
    parts, start, at, quoted = [], 0, 0, False
    while at < len(value):
        char = value[at]
        if quoted and char == 0x5C:  # backslash
            at += 1
        elif char == 0x22:  # double quote
            quoted = not quoted
        elif char == 0x2C and not quoted:  # comma
            parts.append(value[start:at])
            start = at + 1
        at += 1
    return [*parts, value[start:]]


def parse_element(element: bytes) -> tuple[bytes, list[Param]] | None:
    """The literal value before the first ``;`` and the params behind it; None when those do not parse."""
    value, _, rest = element.partition(b";")
    params = parse_params(rest)
    return None if params is None else (value.strip(), params)


def parse_params(text: bytes) -> list[Param] | None:
    """Read ``name=token``, ``name="quoted"`` or ``name``, separated by ``;``.

    None for an unterminated quote or a backslash at the end of one.
    """
    found: list[Param] = []
    at = 0
    while at < len(text):
        end = _find(text, b";", at)
        equals = text.find(b"=", at, end)
        if equals < 0:
            name, value = text[at:end], None
        else:
            name = text[at:equals]
            value = text[equals + 1 : end].strip()
            if value.startswith(b'"'):
                quoted = _unquote(text, text.index(b'"', equals) + 1)
                if quoted is None:
                    return None
                value, at = quoted
                end = _find(text, b";", at)
                value = value or None
        at = end + 1
        name = name.strip()
        if name or equals >= 0:
            found.append((name, value))
    return found


def _find(text: bytes, char: bytes, start: int) -> int:
    at = text.find(char, start)
    return len(text) if at < 0 else at


def _unquote(text: bytes, at: int) -> tuple[bytes, int] | None:
    """The content of the quoted string that starts at ``at``, and the place behind its closing quote."""
    content = bytearray()
    while at < len(text):
        char = text[at]
        if char == 0x22:
            return bytes(content), at + 1
        if char == 0x5C:
            at += 1
            if at == len(text):
                return None
            char = text[at]
        content.append(char)
        at += 1
    return None


def lookup(params: Sequence[Param], name: bytes) -> bytes | None:
    """The value of the first param called ``name`` (given in lower case), names compared without case."""
    for key, value in params:
        if key.lower() == name:
            return value
    return None


def to_text(value: bytes) -> str:
    """Header bytes as text; what is not UTF-8 becomes U+FFFD."""
    return value.decode("utf-8", "replace")
