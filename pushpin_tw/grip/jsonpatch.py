"""``body-patch``: small changes to the JSON body of a held response (grip 12.4).

Called by response holds.  Neither RFC 6901 nor RFC 6902 in their details: empty tokens are errors, adding to
an array replaces, comparing is by text or integer.  Never raises: what cannot be done gives an empty body.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable

from pushpin_tw.grip.scalars import load_document, to_int

_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_EXPONENT_FROM = 1e20
_MISSING = object()

Tokens = list[str]


class _PatchError(Exception):
    """An operation cannot be done."""


def apply_patch(document: bytes, operations: Iterable[object]) -> bytes:
    """``document``, a JSON object or array, after all ``operations``, compact and sorted, its line end kept.

    Empty when the document is something else, an operation fails, or the result is neither object nor array.
    The operations are not changed: all holds share them.
    """
    try:
        root: list[object] = [load_document(document)]
        for operation in operations:
            _apply(root, operation)
        if not isinstance(root[0], dict | list):
            return b""
        text = _ENCODE(_canonical(root[0])).encode()
    except (_PatchError, ValueError, RecursionError):
        return b""
    return text + next((end for end in (b"\r\n", b"\n") if document.endswith(end)), b"")


def _apply(root: list[object], operation: object) -> None:
    if not isinstance(operation, dict):
        raise _PatchError
    name = operation.get("op")
    perform = _OPERATIONS.get(name) if isinstance(name, str) else None
    if perform is None:
        raise _PatchError
    perform(root, operation, _pointer(operation, "path"))


def _add(root: list[object], operation: dict[str, object], path: Tokens) -> None:
    _set(root, path, copy.deepcopy(_value(operation)))


def _remove(root: list[object], operation: dict[str, object], path: Tokens) -> None:
    _take(root, path)


def _replace(root: list[object], operation: dict[str, object], path: Tokens) -> None:
    value = _value(operation)
    _get(root, path)
    _set(root, path, copy.deepcopy(value))


def _move(root: list[object], operation: dict[str, object], path: Tokens) -> None:
    source = _pointer(operation, "from")
    if len(source) < len(path) and path[: len(source)] == source:
        raise _PatchError
    _set(root, path, _take(root, source))


def _copy(root: list[object], operation: dict[str, object], path: Tokens) -> None:
    _set(root, path, copy.deepcopy(_get(root, _pointer(operation, "from"))))


def _test(root: list[object], operation: dict[str, object], path: Tokens) -> None:
    if not _equal(_get(root, path), _value(operation)):
        raise _PatchError


_OPERATIONS: dict[str, Callable[[list[object], dict[str, object], Tokens], None]] = {
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


def _get(root: list[object], path: Tokens) -> object:
    value = root[0]
    for token in path:
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list):
            value = value[_index(value, token)]
        else:
            raise _PatchError
    return value


def _set(root: list[object], path: Tokens, value: object) -> None:
    if not path:
        root[0] = value
        return
    parent, last = _get(root, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif not isinstance(parent, list):
        raise _PatchError
    elif last == "-":
        parent.append(value)
    else:
        parent[_index(parent, last)] = value


def _take(root: list[object], path: Tokens) -> object:
    if not path:
        raise _PatchError
    parent, last = _get(root, path[:-1]), path[-1]
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
