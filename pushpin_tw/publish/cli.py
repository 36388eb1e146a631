"""The command ``pushpin-publish``: one item from the command line to a running proxy (proxy 3.3).

Called by the shell.  Builds the item and prints the outcome; ``publish.sending`` carries it.  Needs no
reactor: it does one thing and ends.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from pushpin_tw.errors import PublishError
from pushpin_tw.publish.sending import post, push
from pushpin_tw.wire.tnetstring import encode

VERSION = "pushpin-publish 1.41.0"
DEFAULT_SPEC = "http://localhost:5561"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    0: published.  1: it could not be, which is said on stderr.  SystemExit with 2: options without sense.
    """
    options = _parser().parse_intermixed_args(argv)
    if options.user is not None and options.bearer is not None:
        _parser().error("argument -B/--bearer: not allowed with argument -u/--user")
    try:
        _publish(options)
    except PublishError as error:
        print(f"Error: {error.reason}", file=sys.stderr)
        return 1
    except UnicodeEncodeError:
        print("Error: all but the content must be UTF-8", file=sys.stderr)
        return 1
    print("Published")
    return 0


def _publish(options: argparse.Namespace) -> None:
    spec = options.spec or os.environ.get("GRIP_URL") or DEFAULT_SPEC
    over_http = spec.startswith(("http:", "https:"))
    authorization = _authorization(options)
    if authorization and not spec.startswith("https:"):
        raise PublishError("Authentication requires https")
    item = _item(options, _Json() if over_http else _Packed())
    if not over_http:
        push(spec, encode(item))
        return
    body = json.dumps({"items": [item]}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    status, answer = post(spec, body.encode(), authorization)
    if status != 200:
        raise PublishError(answer.decode("utf-8", "replace").strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "pushpin-publish", description="Publish an item to a channel.", allow_abbrev=False
    )
    add = parser.add_argument
    add("channel", help="channel to publish to")
    add("content", nargs="?", help="HTTP body and WebSocket message; @FILE takes them from a file")
    add("--spec", metavar="URL", help=f"GRIP URL or ZeroMQ PUSH spec (default: $GRIP_URL, {DEFAULT_SPEC})")
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
    add("-u", "--user", metavar="USER:PASS", help="authenticate with a password (https only)")
    add("-B", "--bearer", metavar="TOKEN", help="authenticate with a token (https only)")
    add("-V", "--version", action="version", version=VERSION)
    return parser


def _authorization(options: argparse.Namespace) -> str:
    if options.user is not None:
        return "Basic " + base64.b64encode(os.fsencode(options.user)).decode()
    if options.bearer is None:
        return ""
    if not options.bearer.isascii() or not options.bearer.isprintable():
        raise PublishError("invalid token")
    return f"Bearer {options.bearer}"


# ---- the item ----------------------------------------------------------------------------------------------


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


def _item(options: argparse.Namespace, form: _Json | _Packed) -> dict[str, Any]:
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


if __name__ == "__main__":
    sys.exit(main())
