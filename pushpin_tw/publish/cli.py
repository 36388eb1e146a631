"""The command ``pushpin-publish``: one item from the command line to a running proxy (proxy 3.3).

Called by the shell.  ``publish.itemargs`` builds the item, ``publish.sending`` carries it.  Needs no reactor:
it does one thing and ends.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Sequence

from pushpin_tw.errors import PublishError
from pushpin_tw.publish.itemargs import IN_JSON, PACKED, add_item_options, item_from
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
    item = item_from(options, IN_JSON if over_http else PACKED)
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
    add_item_options(parser)
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


if __name__ == "__main__":
    sys.exit(main())
