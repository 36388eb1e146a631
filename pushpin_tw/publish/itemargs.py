"""An item from the arguments of a command line (proxy 3.3).

Used by ``publish.cli`` and ``publish.ctl``.  Knows what an item looks like in JSON and in a tnetstring, never
how it travels.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from pushpin_tw.errors import PublishError


class _Json:
    """How contents are written in JSON: what is no text, in base64 under another name."""

    @staticmethod
    def content(name: str, data: bytes) -> dict[str, Any]:
        try:
            return {name: data.decode()}
        except UnicodeDecodeError:
            return {f"{name}-bin": base64.b64encode(data).decode()}

    message = content


class _Packed:
    """How contents are written in tnetstrings: as they are; only WebSockets tell text and bytes apart."""

    @staticmethod
    def content(name: str, data: bytes) -> dict[str, Any]:
        return {name: data}

    @staticmethod
    def message(name: str, data: bytes) -> dict[str, Any]:
        return {next(iter(_Json.content(name, data))): data}


IN_JSON = _Json()
PACKED = _Packed()

_BINARY = {
    "http-response": ("body-bin", "body"),
    "http-stream": ("content-bin", "content"),
    "ws-message": ("content-bin", "content-bin"),
}
"""Where JSON has base64, and what tnetstrings call the same bytes."""


def add_item_options(parser: argparse.ArgumentParser) -> None:
    """What may be said about an item, apart from its channel and content."""
    add = parser.add_argument
    add("--id", metavar="S", help="id of the item")
    add("--prev-id", metavar="S", help="id of the item before it")
    add("--sender", metavar="S", help="the meta value 'sender'")
    add("--code", metavar="N", default="200", help="HTTP response code (default: 200)")
    add("-H", "--header", metavar='"K: V"', action="append", default=[], help="add an HTTP response header")
    add("-M", "--meta", metavar='"K=V"', action="append", default=[], help="add a meta value")
    add("--hint", action="store_true", help="send a hint instead of content")
    add("--close", action="store_true", help="close streams and WebSockets")
    add("--patch", action="store_true", help="content is a JSON patch")
    add("--no-seq", action="store_true", help="do not wait for items out of order")
    add("--no-eol", action="store_true", help="add no newline to HTTP payloads")


def item_from(options: argparse.Namespace, form: _Json | _Packed) -> dict[str, Any]:
    """The item, as ``form`` has it (``IN_JSON`` or ``PACKED``).

    :raises PublishError: what was said has no sense, or a file cannot be read.
    """
    code = _code(options.code)
    headers = [_header(text) for text in options.header]
    meta = dict(_meta(text) for text in options.meta)
    if options.sender is not None:
        meta["sender"] = options.sender
    item: dict[str, Any] = {"channel": options.channel, "formats": _formats(options, form, code, headers)}
    for name, value in (("id", options.id), ("prev-id", options.prev_id), ("meta", meta or None)):
        if value is not None:
            item[name] = value
    if options.no_seq:
        item["no-seq"] = True
    return item


def items_from_json(text: bytes) -> list[Any]:
    """The items of a JSON document, as tnetstrings have them: one item, a list, or ``{"items": [...]}``.

    They are not checked any further: that is what publishing does.

    :raises PublishError: it is no JSON, or what should be base64 is not.
    :raises RecursionError: it is nested too deeply.
    """
    try:
        document = json.loads(text, parse_constant=_not_json)
    except ValueError as error:
        raise PublishError(f"no JSON: {error}") from None
    if isinstance(document, dict) and "items" in document:
        document = document["items"]
    return [_unpack(item) for item in (document if isinstance(document, list) else [document])]


def _unpack(item: Any) -> Any:
    """An item of JSON with bytes in place of base64."""
    if not isinstance(item, dict):
        return item
    if isinstance(item.get("formats"), dict):
        return item | {"formats": _unpack_formats(item["formats"])}
    return _unpack_formats(item)


def _unpack_formats(formats: dict[str, Any]) -> dict[str, Any]:
    found = dict(formats)
    for name, (encoded, plain) in _BINARY.items():
        one = found.get(name)
        if isinstance(one, dict) and isinstance(one.get(encoded), str):
            rest = {key: value for key, value in one.items() if key not in (encoded, plain)}
            found[name] = rest | {plain: _decoded(one[encoded], f"'{name}' contains '{encoded}'")}
    return found


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise PublishError(f"{what} that is no base64") from None


def _formats(
    options: argparse.Namespace, form: _Json | _Packed, code: int, headers: list[list[str]]
) -> Mapping[str, Any]:
    if options.hint:
        return {name: {"action": "hint"} for name in ("http-response", "http-stream", "ws-message")}
    if options.close:
        return {name: {"action": "close"} for name in ("http-stream", "ws-message")}
    if options.content is None:
        raise PublishError("must specify content")
    response: dict[str, Any] = {"code": code}
    if headers:
        response["headers"] = headers
    content, end = _content(options.content), b"\n"
    if options.patch:
        return {"http-response": response | {"body-patch": _patch(content)}}
    if options.no_eol or options.content.startswith("@"):
        end = b""
    return {
        "http-response": response | form.content("body", content + end),
        "http-stream": form.content("content", content + end),
        "ws-message": form.message("content", content),
    }


def _content(text: str) -> bytes:
    if not text.startswith("@"):
        return os.fsencode(text)
    try:
        with open(text[1:], "rb") as file:
            return file.read()
    except OSError as error:
        reason = f"{error.strerror} (os error {error.errno})"
        raise PublishError(f"can't read file {text[1:]}: {reason}") from None


def _patch(content: bytes) -> list[Any]:
    try:
        patch = json.loads(content, parse_constant=_not_json)
    except RecursionError:
        raise PublishError("patch content is nested too deeply") from None
    except ValueError as error:
        raise PublishError(str(error)) from None
    if not isinstance(patch, list):
        raise PublishError("patch content must be a JSON array")
    return patch


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON value")


def _code(text: str) -> int:
    if not text:
        raise PublishError("failed to parse code: cannot parse integer from empty string")
    if not (text.isascii() and text.isdigit()):
        raise PublishError("failed to parse code: invalid digit found in string")
    if len(text) > 9 or int(text) > 999:
        raise PublishError("code must be an integer between 0 and 999")
    return int(text)


def _header(text: str) -> list[str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise PublishError('header must be in the form "name: value"')
    return [name, value.strip()]


def _meta(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise PublishError('meta must be in the form "name=value"')
    return name, value.strip()
