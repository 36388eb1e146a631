"""``body-patch``: small changes to the JSON body of a held response (grip 12.4).

Called by response holds.  Neither RFC 6901 nor RFC 6902 in their details: empty tokens are errors, adding to
an array replaces, comparing is by text or integer.  Never raises: what cannot be done gives an empty body.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable

from pushpin_tw.grip.scalars import load_document, to_int

MAX_COPIED = 1_000_000
"""Values, and characters of strings and names, that the ``copy`` operations of a patch may copy altogether.
A document that is copied into itself a hundred times fits into no memory."""

_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_EXPONENT_FROM = 1e20
_MISSING = object()

Tokens = list[str]


class _PatchError(Exception):
    """An operation cannot be done."""


class _Document:
    """What a patch is applied to."""

    __slots__ = ("room", "root")

    def __init__(self, root: object) -> None:
        self.root = root
        self.room = MAX_COPIED


def apply_patch(document: bytes, operations: Iterable[object]) -> bytes:
    """``document``, a JSON object or array, after all ``operations``, compact and sorted, its line end kept.

    Empty when the document is something else, an operation fails, or the result is neither object nor array.
    The operations are not changed: all holds share them.
    """
    try:
        patched = _Document(load_document(document))
        for operation in operations:
            _apply(patched, operation)
        if not isinstance(patched.root, dict | list):
            return b""
        text = _ENCODE(_canonical(patched.root)).encode()
    except (_PatchError, ValueError, RecursionError):
        return b""
    return text + next((end for end in (b"\r\n", b"\n") if document.endswith(end)), b"")


def _apply(document: _Document, operation: object) -> None:
    if not isinstance(operation, dict):
        raise _PatchError
    name = operation.get("op")
    perform = _OPERATIONS.get(name) if isinstance(name, str) else None
    if perform is None:
        raise _PatchError
    perform(document, operation, _pointer(operation, "path"))


def _add(document: _Document, operation: dict[str, object], path: Tokens) -> None:
    _set(document, path, copy.deepcopy(_value(operation)))


def _remove(document: _Document, operation: dict[str, object], path: Tokens) -> None:
    _take(document, path)


def _replace(document: _Document, operation: dict[str, object], path: Tokens) -> None:
    value = _value(operation)
    _get(document, path)
    _set(document, path, copy.deepcopy(value))


def _move(document: _Document, operation: dict[str, object], path: Tokens) -> None:
    source = _pointer(operation, "from")
    if len(source) < len(path) and path[: len(source)] == source:
        raise _PatchError
    _set(document, path, _take(document, source))


def _copy(document: _Document, operation: dict[str, object], path: Tokens) -> None:
    value = _get(document, _pointer(operation, "from"))
    document.room -= _weight(value)
    if document.room < 0:
        raise _PatchError
    _set(document, path, copy.deepcopy(value))


def _test(document: _Document, operation: dict[str, object], path: Tokens) -> None:
    if not _equal(_get(document, path), _value(operation)):
        raise _PatchError


_OPERATIONS: dict[str, Callable[[_Document, dict[str, object], Tokens], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def _value(operation: dict[str, object]) -> object:
    value = operation.get("value", _MISSING)
    if value is _MISSING:
        raise _PatchError
    return value


def _weight(value: object) -> int:
    """What counts towards ``MAX_COPIED``."""
    if isinstance(value, dict):
        return 1 + sum(len(name) + _weight(member) for name, member in value.items())
    if isinstance(value, list):
        return 1 + sum(map(_weight, value))
    return 1 + len(value) if isinstance(value, str) else 1


def _pointer(operation: dict[str, object], key: str) -> Tokens:
    """The tokens of a pointer; none for ``/``, the whole document."""
    pointer = operation.get(key)
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise _PatchError
    if pointer == "/":
        return []
    tokens = pointer[1:].split("/")
    if "" in tokens:
        raise _PatchError
    return [token.replace("~1", "/").replace("~0", "~") for token in tokens]


def _index(array: list[object], token: str) -> int:
    """The index of an existing element."""
    if not (token.isascii() and token.isdigit() and len(token) <= 10 and int(token) < len(array)):
        raise _PatchError
    return int(token)


def _get(document: _Document, path: Tokens) -> object:
    value = document.root
    for token in path:
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list):
            value = value[_index(value, token)]
        else:
            raise _PatchError
    return value


def _set(document: _Document, path: Tokens, value: object) -> None:
    if not path:
        document.root = value
        return
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif not isinstance(parent, list):
        raise _PatchError
    elif last == "-":
        parent.append(value)
    else:
        parent[_index(parent, last)] = value


def _take(document: _Document, path: Tokens) -> object:
    if not path:
        raise _PatchError
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict) and last in parent:
        return parent.pop(last)
    if isinstance(parent, list):
        return parent.pop(_index(parent, last))
    raise _PatchError


def _equal(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    number = to_int(one)
    return number is not None and number == to_int(other)


def _canonical(value: object) -> object:
    """Members sorted by the UTF-16 code units of their names, integral numbers as integers."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: str(name).encode("utf-16-be"))
        return {name: _canonical(value[name]) for name in names}
    if isinstance(value, list):
        return [_canonical(element) for element in value]
    if isinstance(value, float) and abs(value) < _EXPONENT_FROM and value.is_integer():
        return int(value)
    return value
