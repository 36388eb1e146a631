"""The command ``pushpin-ctl``: asks a running proxy over its command socket (zeromq 4).

Called by the shell.  Reads from its arguments what is to be asked, and prints the answer; ``publish.asking``
carries both.  Needs no reactor: it does one thing and ends.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pushpin_tw.errors import ConfigError, PublishError
from pushpin_tw.publish.asking import TIMEOUT, NoAnswer, Unusable, ask, find_spec
from pushpin_tw.publish.itemargs import PACKED, add_item_options, item_from, items_from_json
from pushpin_tw.wire.zrpc import Command, Outcome

VERSION = "pushpin-ctl 1.41.0"
DONE, REFUSED, USAGE, NO_ANSWER = range(4)
"""Exit codes."""
STDIN = "-"
"""In place of a channel: items are read from there."""

_WHAT = "Ask a running pushpin, at the command_spec of its configuration."
_EXAMPLES = """\
examples:
  pushpin-ctl zmq-uris                    where publishers may connect to
  pushpin-ctl publish news hello          publish, and learn whether it was understood
  pushpin-ctl publish - < items.json      an item, a list of them, or {"items": [...]}
  pushpin-ctl refresh --channel chat      let WebSockets over HTTP ask their backend
  pushpin-ctl conncheck connmgr:17        which of these connections there are
  pushpin-ctl --spec tcp://10.0.0.7:5563 --json recover

exit codes:
  0 done, 1 refused (the condition is on stderr), 2 wrong usage, 3 no answer
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    SystemExit with 2: options without sense.
    """
    options = _parse(argv)
    kind = _KINDS[options.command]
    try:
        command = kind.command(options)
        spec = options.spec or find_spec(options.config, options.instance)
        outcome = ask(spec, command, options.timeout)
    except (ConfigError, PublishError, Unusable) as error:
        return _fail(str(error), USAGE)
    except UnicodeEncodeError:
        return _fail("all but the content must be UTF-8", USAGE)
    except RecursionError:
        return _fail("JSON is nested too deeply", USAGE)
    except NoAnswer as error:
        return _fail(str(error), NO_ANSWER)
    return _tell(kind, outcome, options.json)


def _fail(text: str, code: int) -> int:
    print(f"Error: {text}", file=sys.stderr)
    return code


def _tell(kind: _Kind, outcome: Outcome, as_json: bool) -> int:
    value, code = _texts(outcome.value), DONE if outcome.condition is None else REFUSED
    if as_json:
        told: dict[str, Any] = {"success": code == DONE, "value": value}
        if code == REFUSED:
            told["condition"] = outcome.condition
        print(json.dumps(told, sort_keys=True))
    elif code == REFUSED:
        return _fail(": ".join([str(outcome.condition), *([value] if isinstance(value, str) else [])]), code)
    else:
        for line in kind.words(value):
            print(line)
    return code


def _texts(value: Any) -> Any:
    """``value`` with text for bytes, as it is printed."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_texts(each) for each in value]
    if isinstance(value, dict):
        return {name: _texts(each) for name, each in value.items()}
    return value


# ---- what can be asked -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the commands."""

    summary: str
    arguments: Callable[[argparse.ArgumentParser], object]
    command: Callable[[argparse.Namespace], Command]
    words: Callable[[Any], Sequence[str]]
    """The lines that tell of an answer."""


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def _conncheck_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help="as statistics and the header Connection-Id have them"
    )


def _conncheck(options: argparse.Namespace) -> Command:
    return Command("conncheck", {"ids": [os.fsencode(name) for name in options.ids]})


def _refresh_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--cid", metavar="ID", help="the WebSocket with this Connection-Id")
    which.add_argument("--channel", metavar="NAME", help="all WebSockets that are subscribed to this")


def _refresh(options: argparse.Namespace) -> Command:
    name = "channel" if options.cid is None else "cid"
    return Command("refresh", {name: os.fsencode(getattr(options, name))})


def _publish_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("channel", help=f"channel to publish to; {STDIN} for JSON from standard input")
    parser.add_argument(
        "content", nargs="?", help="HTTP body and WebSocket message; @FILE takes them from a file"
    )
    add_item_options(parser)


def _publish(options: argparse.Namespace) -> Command:
    if options.channel != STDIN:
        return Command("publish", {"items": [item_from(options, PACKED)]})
    if options.content is not None:
        raise PublishError(f"{STDIN} reads everything from standard input")
    return Command("publish", {"items": items_from_json(sys.stdin.buffer.read())})


_KINDS = {
    "conncheck": _Kind(
        "print which of some connections there are",
        _conncheck_arguments,
        _conncheck,
        lambda value: [str(name) for name in value or ()],
    ),
    "publish": _Kind("publish an item", _publish_arguments, _publish, lambda value: ["Published"]),
    "recover": _Kind(
        "forget last ids, and let clients that wait ask their backends again",
        _no_arguments,
        lambda options: Command("recover"),
        lambda value: ["Recovering"],
    ),
    "refresh": _Kind(
        "let WebSockets over HTTP ask their backends for news",
        _refresh_arguments,
        _refresh,
        lambda value: ["Refreshed"],
    ),
    "zmq-uris": _Kind(
        "print where publishers may connect to, over ZeroMQ",
        _no_arguments,
        lambda options: Command("get-zmq-uris"),
        lambda value: [f"{name:<14}{spec}" for name, spec in sorted(dict(value or {}).items())],
    ),
}


# ---- arguments ---------------------------------------------------------------------------------------------


def _common() -> argparse.ArgumentParser:
    """What may stand before the command and behind it."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    add = parser.add_argument
    add("--spec", metavar="SPEC", help="address of the command socket, in place of the configuration's")
    add("-c", "--config", metavar="FILE", help="configuration file (default: where pushpin looks for it)")
    add("--instance", metavar="N", type=_count, help="of the proxy that was started with --id N")
    add("--timeout", metavar="S", type=_seconds, help=f"seconds to wait for an answer (default: {TIMEOUT:g})")
    add("--json", action="store_true", help="print the answer as JSON")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise argparse.ArgumentTypeError(f"no number: {text}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1_000_000:
        raise argparse.ArgumentTypeError(f"no number of seconds: {text}")
    return value


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options before the command and behind it, which argparse would not let stand between its arguments."""
    width = max(map(len, _KINDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{kind.summary}" for name, kind in _KINDS.items())
    parser = argparse.ArgumentParser(
        "pushpin-ctl",
        description=f"{_WHAT}\n\ncommands:\n{commands}",
        epilog=f"'pushpin-ctl COMMAND --help' has the rest.\n\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_common()],
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=VERSION)
    parser.add_argument("command", metavar="COMMAND", choices=list(_KINDS), help="one of the above")
    parser.add_argument("rest", metavar="...", nargs=argparse.REMAINDER, help="its arguments")
    found = parser.parse_args(argv)
    kind = _KINDS[found.command]
    inner = argparse.ArgumentParser(
        f"pushpin-ctl {found.command}",
        description=f"{kind.summary.capitalize()}.",
        parents=[_common()],
        allow_abbrev=False,
    )
    kind.arguments(inner)
    defaults = {"spec": "", "config": "", "instance": None, "timeout": TIMEOUT, "json": False}
    outer = {name: value for name, value in vars(found).items() if name != "rest"}
    return argparse.Namespace(**defaults | outer | vars(inner.parse_intermixed_args(found.rest)))


if __name__ == "__main__":
    sys.exit(main())
