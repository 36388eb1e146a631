"""The command ``pushpin`` (proxy 3.1): stays in the foreground, says what is wrong, exits with 0 or 1.

Called by the shell.  Runs the same ``process.Program`` as ``twistd pushpin`` does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from twisted.logger import globalLogBeginner
from twisted.python.usage import UsageError

from pushpin_tw.config import Config
from pushpin_tw.config.loglevel import ERROR, INFO
from pushpin_tw.errors import ConfigError
from pushpin_tw.garbage import look_seldom
from pushpin_tw.options import Settings, parse_arguments, usage
from pushpin_tw.process import STDOUT, Program, find_config, load_config, make_logs
from pushpin_tw.routeswatch import reader_in
from pushpin_tw.routing.routefile import COMMAND_LINE, KeySource, parse_routes
from pushpin_tw.service import target_types
from pushpin_tw.stats.logfile import LogObserver, Output, TextVoice
from pushpin_tw.upgrade import find_predecessor
from pushpin_tw.wire.gripsig import load_key

VERSION = "pushpin 1.41.0"
"""The version whose place this program takes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code once it was stopped."""
    try:
        settings = parse_arguments(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        print(f"error: {error}\n", file=sys.stderr, flush=True)
        print(usage())
        return 1
    if settings.help or settings.version:
        print(usage() if settings.help else VERSION)
        return 0
    return check(settings) if settings.check_config else run(settings)


# ---- --check-config ----------------------------------------------------------------------------------------


def check(settings: Settings) -> int:
    """Say everything that is wrong with configuration and routes, or what is good; returns the exit code."""
    try:
        path = settings.config or find_config()
        config, errors = load_config(path, settings)
    except ConfigError as error:
        print(error)
        return 1
    for warning in config.warnings:
        print(f"warning: {warning}")
    problems = [str(error) for error in errors]
    problems += _key_problems(config)
    count, route_problems = _check_routes(config, settings)
    problems += route_problems
    for problem in problems:
        print(problem)
    if problems:
        return 1
    print(f"{path}: good")
    print(f"{config.routes_path if settings.routes is None else COMMAND_LINE}: good, {count} routes")
    return 0


def _key_problems(config: Config) -> list[str]:
    problems = []
    for name, use in (("sig_key", "signs"), ("upstream_key", "verifies")):
        text = getattr(config.proxy, name)
        key = load_key(text, reader_in(config.directory)) if text else None
        if text and not getattr(key, use, False):
            problems.append(f"{config.file}: {name}: there is no key that can be used")
    return problems


def _check_routes(config: Config, settings: Settings) -> tuple[int, list[str]]:
    """How many routes there are, and what is wrong with the others."""
    path = config.routes_path
    if settings.routes is not None:
        text, name, directory = "\n".join(settings.routes), COMMAND_LINE, ""
    else:
        name, directory = path, os.path.dirname(path)
        try:
            text = reader_in("")(path).decode("utf-8", "surrogateescape")
        except OSError:
            return 0, [f"unable to open routes file: {path}"]
    key = load_key(config.proxy.sig_key, reader_in(config.directory))
    keys = KeySource(config.proxy.sig_iss, key, reader_in(directory), reader_in(""))
    routes, problems = parse_routes(text, name, target_types(), keys)
    return len(routes), problems


# ---- the program -------------------------------------------------------------------------------------------


def run(settings: Settings) -> int:
    """Start, run until a signal comes, stop; returns the exit code."""
    from twisted.internet import reactor

    predecessor = find_predecessor()
    look_seldom()
    own = Output(settings.logfile or STDOUT, reactor)
    try:
        own.open()
    except OSError as error:
        print(f"error: {settings.logfile}: {error.strerror}", file=sys.stderr)
        return 1
    config = _load(settings, TextVoice(own, INFO, reactor))
    if config is None:
        own.close()
        if predecessor is not None:
            predecessor.failed("its configuration cannot be used")
        return 1
    logs = make_logs(config, settings, own, reactor)
    globalLogBeginner.beginLoggingTo([LogObserver(logs.voices.__getitem__)], redirectStandardIO=False)
    program = Program(config, settings, logs, reactor, predecessor)
    program.startService()
    system: Any = reactor
    system.addSystemEventTrigger("before", "shutdown", program.stopService)
    system.run()
    logs.close()
    return 0


def _load(settings: Settings, voice: TextVoice) -> Config | None:
    """The configuration, or None when it cannot be used, which was said then."""
    try:
        path = settings.config or find_config()
        config, problems = load_config(path, settings)
    except ConfigError as error:
        problems = [error]
    for problem in problems:
        voice.write(ERROR, str(problem))
    if problems:
        return None
    voice.level = config.runner.log_level.of("runner")
    if not settings.config:
        voice.write(INFO, f"using config: {path}")
    voice.write(INFO, "starting...")
    return config


if __name__ == "__main__":
    sys.exit(main())
