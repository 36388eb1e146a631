"""One command to a running proxy: where its command socket is, and what it answers (zeromq 4.1, 4.2).

Called by ``publish.ctl`` and nobody else: ``ask`` waits for the answer, which a command may and a reactor
must not.
"""

from __future__ import annotations

import os
import re

from pushpin_tw.config import parse_config
from pushpin_tw.config.reading import SEARCHED
from pushpin_tw.errors import PacketError, PushpinError
from pushpin_tw.wire.zrpc import Command, Outcome, read_outcome, write_command

TIMEOUT = 15.0
"""Seconds for an answer: the proxy itself may take ten to find out that there is none."""
CONNECT_TIMEOUT = 3.0
"""Seconds for somebody to be there at all."""

_ANY = re.compile(r"tcp://(\*|0\.0\.0\.0|\[::\]):")


class Unusable(PushpinError):
    """It cannot be asked: there is no address, or it is none."""


class NoAnswer(PushpinError):
    """Nobody has answered, or not in terms of commands."""


def find_spec(path: str, instance: int | None) -> str:
    """The address in a configuration; without a ``path``, in the one that ``pushpin`` would find.

    ``instance`` is the number of ``pushpin --id``.

    :raises Unusable: there is no configuration or no address in it.
    :raises ConfigError: it is wrong.
    """
    path = path or _find_config()
    try:
        text = _read(path)
    except OSError as error:
        raise Unusable(f"{path}: cannot be read: {error.strerror}") from None
    spec = parse_config(text, path, _read, instance=instance).handler.command_spec
    if not spec:
        raise Unusable(f"{path}: command_spec is not set, so that no commands are taken")
    # Who binds to every address is reached at one of them.
    return _ANY.sub(lambda found: f"tcp://{'[::1]' if found[1] == '[::]' else '127.0.0.1'}:", spec)


def _find_config() -> str:
    for path in SEARCHED:
        if os.path.isfile(path):
            return path
    tried = " ".join(os.path.abspath(path) for path in SEARCHED)
    raise Unusable(f"no configuration file found (--config), and no address given (--spec). Tried: {tried}")


def _read(path: str) -> str:
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "replace")


def ask(spec: str, command: Command, timeout: float) -> Outcome:
    """What is answered at ``spec``, within ``timeout`` seconds.

    :raises Unusable: it is no address.
    :raises NoAnswer: nobody is there, or nobody answers in time.
    """
    import zmq  # not above: help and wrong usage need not wait for the library to load

    request = write_command(command)
    with zmq.Context() as context, context.socket(zmq.REQ) as asker:
        asker.linger = 0
        asker.ipv6 = "[" in spec
        asker.immediate = True  # so that sending waits for somebody to be there
        asker.sndtimeo = int(1000 * min(timeout, CONNECT_TIMEOUT))
        asker.rcvtimeo = int(1000 * timeout)
        try:
            asker.connect(spec)
        except zmq.ZMQError as error:
            raise Unusable(f"{spec}: {zmq.strerror(error.errno or 0)}") from None
        try:
            asker.send(request)
        except zmq.Again:
            raise NoAnswer(f"nobody takes commands at {spec}") from None
        try:
            frame = asker.recv()
        except zmq.Again:
            raise NoAnswer(f"no answer from {spec} within {timeout:g} seconds") from None
    try:
        return read_outcome(frame)
    except PacketError as error:
        raise NoAnswer(f"no answer that could be read from {spec}: {error}") from None
