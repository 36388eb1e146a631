"""The types of configuration values: from the texts between commas to what the program uses.

Called by ``config.reading`` through the fields of ``config.sections``.  A kind is a function; it raises
``ValueError`` with what was expected, and whoever calls it adds file, line and key.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from pushpin_tw.config.listen import Listen, LocalListen, parse_listen, parse_local_listen
from pushpin_tw.config.loglevel import LogLevels, parse_log_levels

Kind = Callable[[tuple[str, ...]], Any]


class Absent(Exception):
    """An empty value that means the same as no value: the default holds."""


_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_ENDPOINT = re.compile(r"(?!tcp:)[a-z][a-z0-9+]*://.+|tcp://.+:(?:[0-9]{1,5}|\*)")
_METRIC = re.compile(r"(?:[A-Za-z_:][A-Za-z0-9_:]*)?")
_FALSE = ("", "0", "false")


def text(items: tuple[str, ...]) -> str:
    """Anything; a list reads as empty (C050)."""
    return items[0] if len(items) == 1 else ""


def line(items: tuple[str, ...]) -> str:
    """Anything that may stand in a header or in a line of a log."""
    value = text(items)
    if not value.isprintable():
        raise ValueError("expected text without control characters")
    return value


def flag(items: tuple[str, ...]) -> bool:
    """Everything is true but nothing, ``0`` and ``false`` (C053)."""
    return text(items).lower() not in _FALSE


def words(items: tuple[str, ...]) -> tuple[str, ...]:
    """A list, without its empty items."""
    return tuple(item for item in items if item)


def integer(minimum: int, maximum: int = 2**31 - 1) -> Kind:
    """A decimal number within bounds."""

    def kind(items: tuple[str, ...]) -> int:
        value = _one(items)
        if not _INTEGER.fullmatch(value):
            raise ValueError(f"expected an integer, not {value!r}")
        number = int(value)
        if not minimum <= number <= maximum:
            raise ValueError(f"expected an integer from {minimum} to {maximum}, not {value}")
        return number

    return kind


def seconds(items: tuple[str, ...]) -> float:
    """A time above zero, with a fraction if need be."""
    value = _one(items)
    if not _DECIMAL.fullmatch(value) or float(value) <= 0:
        raise ValueError(f"expected a number of seconds above 0, not {value!r}")
    return float(value)


def some_seconds(items: tuple[str, ...]) -> float:
    """A time that may be zero, with a fraction if need be."""
    value = _one(items)
    if not _DECIMAL.fullmatch(value):
        raise ValueError(f"expected a number of seconds, not {value!r}")
    return float(value)


def octal(items: tuple[str, ...]) -> int:
    """File permissions as octal digits; -1 leaves them to the umask."""
    value = _one(items)
    if value == "-1":
        return -1
    if not re.fullmatch(r"[0-7]{1,4}", value):
        raise ValueError(f"expected permissions in octal digits, not {value!r}")
    return int(value, 8)


def choice(*values: str) -> Kind:
    """One of some words."""

    def kind(items: tuple[str, ...]) -> str:
        value = _one(items)
        if value not in values:
            raise ValueError(f"expected {' or '.join(values)}, not {value!r}")
        return value

    return kind


def either(word: str, otherwise: str) -> Kind:
    """One word, or else another one (zeromq 5.1)."""
    return lambda items: word if text(items) == word else otherwise


def forwarded_protocol(items: tuple[str, ...]) -> str:
    """``true``, ``proto-only``, or '' for anything else (proxy 2.5)."""
    value = text(items).lower()
    return value if value in ("true", "proto-only") else ""


def ip_address(items: tuple[str, ...]) -> str:
    """An IP literal, or '' for every address."""
    value = text(items).removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(value)) if value else ""
    except ValueError:
        raise ValueError(f"expected an IP address, not {value!r}") from None


def endpoint(items: tuple[str, ...]) -> str:
    """A ZeroMQ endpoint, or '' for none."""
    value = line(items)
    if value and not _ENDPOINT.fullmatch(value):
        raise ValueError(f"expected an endpoint such as tcp://127.0.0.1:5560, not {value!r}")
    return value


def endpoints(items: tuple[str, ...]) -> tuple[str, ...]:
    """Several ZeroMQ endpoints."""
    return tuple(endpoint((item,)) for item in words(items))


def ports(scheme: str) -> Kind:
    """Addresses for clients to connect to."""

    def kind(items: tuple[str, ...]) -> tuple[Listen, ...]:
        return tuple(_listen(item, f"{scheme} port") for item in words(items))

    return kind


def local_ports(items: tuple[str, ...]) -> tuple[LocalListen, ...]:
    """Unix sockets for clients to connect to."""
    found = []
    for item in words(items):
        try:
            found.append(parse_local_listen(item))
        except ValueError:
            raise ValueError(f"invalid local port: {item}") from None
    return tuple(found)


def metrics_port(items: tuple[str, ...]) -> Listen | LocalListen | None:
    """``PORT``, ``ADDR:PORT`` or ``ipc://PATH``; None when empty."""
    value = text(items)
    if value.startswith("ipc://") and len(value) > 6:
        return LocalListen(value[6:])
    return _listen(value, "prometheus port") if value else None


def metrics_prefix(items: tuple[str, ...]) -> str:
    """What a metric's name may begin with."""
    value = text(items)
    if not _METRIC.fullmatch(value):
        raise ValueError(f"expected letters, digits, '_' and ':', not {value!r}")
    return value


def log_levels(items: tuple[str, ...]) -> LogLevels:
    """``N`` and ``SERVICE:N``."""
    return parse_log_levels(words(items))


def _one(items: tuple[str, ...]) -> str:
    """The one text; a list stays as it is, so that what expects a number says so."""
    if items == ("",):
        raise Absent
    return ",".join(items)


def _listen(item: str, what: str) -> Listen:
    try:
        return parse_listen(item)
    except ValueError:
        raise ValueError(f"invalid {what}: {item}") from None
