"""Options of the ``pushpin`` command and of ``twistd pushpin`` (proxy 3.1).

Called by ``command`` and by ``tap``.  Both kinds of options become the same ``Settings``.  Reads no
file: whether a configuration exists is for ``process`` to find out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from twisted.python.usage import Options as TwistedOptions
from twisted.python.usage import UsageError

from pushpin_tw.config import Listen, LogLevels, parse_listen, parse_log_levels

_TABLE = (
    ("config", "c", "FILE", "Configuration file."),
    ("logfile", "", "FILE", "File to log to."),
    ("loglevel", "", "X", "Log level (default: 2)."),
    ("verbose", "", "", "The same as --loglevel=3."),
    ("merge-output", "m", "", "Log of all components to one place."),
    ("port", "", "[ADDR:]PORT", "Listen here, on nothing else."),
    ("id", "", "N", "Number of this instance, to run several."),
    ("route", "", "LINE", "Add a route (replaces the routes file)."),
)
"""Name, letter, value (empty for a flag) and help of what both commands know."""

_ALONE = (
    ("check-config", "", "", "Check configuration and routes, then exit."),
    ("help", "h", "", "Display this help."),
    ("version", "v", "", "Display the version."),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for on a command line."""

    config: str = ""
    """Path of the configuration; '' to look for it."""
    logfile: str = ""
    """Path of the program's own log; '' for standard output."""
    log_levels: LogLevels | None = None
    merge_output: bool = False
    listen: Listen | None = None
    """Replaces all listeners of the configuration."""
    instance: int | None = None
    routes: tuple[str, ...] | None = None
    """Lines that replace the routes file."""
    check_config: bool = False
    help: bool = False
    version: bool = False


def parse_arguments(argv: Sequence[str]) -> Settings:
    """Read the arguments of ``pushpin``.

    Long names may have one dash or two; other words are ignored, as the original does.

    :raises UsageError: with a text of proxy 3.1.
    """
    takes_value = {name: bool(value) for name, _, value, _ in _TABLE + _ALONE}
    letters = {letter: name for name, letter, _, _ in _TABLE + _ALONE if letter}
    letters["V"] = "version"  # what 2.0 calls it
    values: dict[str, Any] = {"route": []}
    words = iter(argv)
    for word in words:
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            continue
        given, equals, value = word.partition("=")
        name = given.removeprefix("-").removeprefix("-")
        if not given.startswith("--"):
            name = letters.get(name, name)
        if name not in takes_value:
            raise UsageError(f"Unknown option '{name}'.")
        if not takes_value[name]:
            if equals:
                raise UsageError(f"Unexpected value after '{given}'.")
            values[name] = True
            continue
        if not equals:
            found = next(words, None)
            if found is None:
                raise UsageError(f"Missing value after '{given}'.")
            value = found
        if name == "route":
            values["route"].append(value)
        else:
            values[name] = value
    return make_settings(values)


def make_settings(values: dict[str, Any]) -> Settings:
    """Check the values of options, by name.

    :raises UsageError: with a text of proxy 3.1.
    """
    instance = values.get("id")
    if instance is not None and not (instance.isascii() and instance.isdigit() and len(instance) < 5):
        raise UsageError("id must be greater than or equal to 0")
    try:
        levels = values.get("loglevel")
        log_levels = None if levels is None else parse_log_levels(levels.split(","))
    except ValueError as error:
        raise UsageError(str(error)) from None
    port = values.get("port")
    return Settings(
        config=values.get("config") or "",
        logfile=values.get("logfile") or "",
        log_levels=LogLevels(3) if values.get("verbose") else log_levels,
        merge_output=bool(values.get("merge-output")),
        listen=None if port is None else _listen(port),
        instance=None if instance is None else int(instance),
        routes=tuple(values["route"]) or None,
        check_config=bool(values.get("check-config")),
        help=bool(values.get("help")),
        version=bool(values.get("version")),
    )


def _listen(text: str) -> Listen:
    number = text.rpartition(":")[2]
    if not (number.isascii() and number.isdigit() and int(number[:6])):
        raise UsageError("port must be greater than or equal to 1")
    try:
        return parse_listen(text)
    except ValueError:
        raise UsageError(f"invalid http port: {text}") from None


def usage() -> str:
    """What ``--help`` says."""
    lines = ["Usage: pushpin [options]", "Reverse proxy for realtime web services.", "", "Options:"]
    for name, letter, value, text in _TABLE + _ALONE:
        short = f"-{letter}, " if letter else ""
        lines.append(f"  {short}--{name} <{value.lower()}>" if value else f"  {short}--{name}")
        lines[-1] = f"{lines[-1]:<26}{text}"
    return "\n".join(lines)


class Options(TwistedOptions):
    """Options of ``twistd pushpin``; twistd's own stand before that word."""

    optParameters: ClassVar[list[list[Any]]] = [
        [name, letter or None, None, text]
        for name, letter, value, text in _TABLE
        if value and name != "route"
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        [name, letter or None, text] for name, letter, value, text in _TABLE if not value
    ]

    def __init__(self) -> None:
        super().__init__()
        self["route"] = []
        self.settings = Settings()

    def opt_route(self, line: str) -> None:
        """Add a route (replaces the routes file)."""
        self["route"].append(line)

    def postOptions(self) -> None:
        """Check them.

        :raises UsageError: twistd prints it and exits with 1.
        """
        self.settings = make_settings(dict(self))
