"""The text of a routes file to routes (proxy 1.2 to 1.5).

Called when a routes file was read, and for ``--route``.  Every line stands for itself: a bad one is reported
with its number and skipped, and nothing it contains harms the others.  Never opens the file; what it refers
to is read through ``KeySource``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pushpin_tw.errors import HttpError, RouteSyntaxError
from pushpin_tw.routing.route import Condition, Route, Target
from pushpin_tw.routing.uri import Authority, authority, normal_path
from pushpin_tw.wire.gripsig import Key, Signer, load_key, make_signer
from pushpin_tw.wire.headers import Header, is_token, is_value

COMMAND_LINE = "<route>"
"""The file name of routes that were given by ``--route``; each of them is line 1."""

MAX_ZHTTP_SPECS = 100
"""Distinct ZeroMQ specifications that one table may use."""

Properties = list[tuple[str, str]]

_PLAIN = re.compile(r'[^", #]+')
_QUOTED = re.compile(r'[^"\\]+')
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SMALL_NUMBER = re.compile(r"[0-9]{1,9}")
_OCTAL = re.compile(r"[0-7]{1,4}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LOG_LEVELS = {str(level): level for level in range(5)}
_ZHTTP_KINDS = ("zhttp", "zhttpreq")


def _no_file(path: str) -> bytes:
    raise FileNotFoundError(path)


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where routes get their signatures from, and how files that lines name are read."""

    sig_iss: str = ""
    """The issuer of routes that name none."""
    sig_key: Key | None = None
    """The key of routes that name none."""
    read_file: Callable[[str], bytes] = _no_file
    """Reads a ``file:`` key, relative to the routes file; raises OSError."""
    read_local: Callable[[str], bytes] = _no_file
    """Reads a certificate, relative to the working directory; raises OSError."""


def parse_routes(
    text: str, file: str, target_types: Mapping[str, Any], keys: KeySource
) -> tuple[list[Route], list[str]]:
    """The routes of ``text``, and a warning, ready for the log, for each line that was skipped.

    ``target_types`` maps prefixes to ``ITargetType`` objects; the one for '' takes HOST:PORT.
    """
    reader = _Reader(target_types, keys)
    routes: list[Route] = []
    warnings: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{file}:{1 if file == COMMAND_LINE else number}"
        try:
            route = reader.read(line.removesuffix("\r"))
        except _Duplicate:
            warnings.append(f"{place} skipping duplicate condition")
        except RouteSyntaxError as error:
            warnings.append(f"{place}: {error}")
        except Exception as error:  # a target type of somebody else has a bug
            words = " ".join(str(error).split())
            warnings.append(f"{place}: target type failed: {type(error).__name__}: {words}")
        else:
            routes += [route] if route is not None else []
    return routes, warnings


# ---- from a line to sections -------------------------------------------------------------------------------


def split_line(line: str) -> list[tuple[str, Properties]]:
    """The sections of a line: for each its head and its properties, quotes resolved; none for a comment.

    :raises RouteSyntaxError: with one of the messages of proxy 1.4.
    """
    sections: list[tuple[str, Properties]] = []
    at = 0
    while True:
        while line[at : at + 1] == " ":
            at += 1
        if line[at : at + 1] in ("", "#"):
            return sections
        words, at = _section(line, at)
        sections.append(_head_and_properties(words))


def _section(line: str, at: int) -> tuple[list[str], int]:
    words = []
    while True:
        word, at = _word(line, at)
        words.append(word)
        if line[at : at + 1] != ",":
            return words, at
        at += 1
        if line[at : at + 1] in ("", " ", "#", ","):
            raise RouteSyntaxError("expecting prop")


def _word(line: str, at: int) -> tuple[str, int]:
    parts = []
    while True:
        plain = _PLAIN.match(line, at)
        if plain is not None:
            parts.append(plain[0])
            at = plain.end()
        elif line[at : at + 1] == '"':
            part, at = _quoted(line, at + 1)
            parts.append(part)
        else:
            return "".join(parts), at


def _quoted(line: str, at: int) -> tuple[str, int]:
    """The text of a quoted run whose opening quote ends at ``at``, and where it ends."""
    parts = []
    while True:
        plain = _QUOTED.match(line, at)
        if plain is not None:
            parts.append(plain[0])
            at = plain.end()
        if at >= len(line):
            raise RouteSyntaxError("unterminated quoted section")
        if line[at] == '"':
            return "".join(parts), at + 1
        escaped = line[at + 1 : at + 2]
        if not escaped:
            raise RouteSyntaxError("unterminated escape sequence")
        if escaped not in '\\"':
            raise RouteSyntaxError(f"unexpected escape character: {escaped}")
        parts.append(escaped)
        at += 2


def _head_and_properties(words: list[str]) -> tuple[str, Properties]:
    head, words = ("", words) if "=" in words[0] else (words[0], words[1:])
    properties = []
    for word in words:
        name, _, value = word.partition("=")
        if not name:
            raise RouteSyntaxError("empty prop name")
        properties.append((name, value))
    return head, properties


# ---- from sections to a route ------------------------------------------------------------------------------


class _Duplicate(Exception):
    """The condition stands on an earlier line."""


class _Reader:
    """Reads one file's lines; remembers what must be unique or limited within it."""

    def __init__(self, target_types: Mapping[str, Any], keys: KeySource) -> None:
        self._types = target_types
        self._keys = keys
        self._conditions: set[Condition] = set()
        self._specs: set[str] = set()
        self._signers: dict[tuple[str, str], Signer | None] = {}

    def read(self, line: str) -> Route | None:
        """The route on ``line``; None when it has none.

        :raises RouteSyntaxError: the line is wrong.
        """
        if _SURROGATE.search(line):
            raise RouteSyntaxError("invalid UTF-8")
        sections = split_line(line)
        if not sections:
            return None
        if len(sections) < 2:
            raise RouteSyntaxError("must specify condition and at least one target")
        head, properties = sections[0]
        condition = _condition(head, dict(properties))
        targets = tuple(self._target(word, found) for word, found in sections[1:])
        route = self._route(condition, targets, properties)
        if _CONTROL.search(line):
            raise RouteSyntaxError("control character in line")
        if condition.host:
            if condition in self._conditions:
                raise _Duplicate
            self._conditions.add(condition)
        return route

    def _route(self, condition: Condition, targets: tuple[Target, ...], properties: Properties) -> Route:
        values = dict(properties)
        given = values.get
        mode = given("jsonp_mode", "extended")
        if mode not in ("extended", "basic"):
            raise RouteSyntaxError("jsonp_mode must be set to 'basic' or 'extended'")
        method = given("jsonp_defmethod") or ("GET" if mode == "extended" else "POST")
        if not is_token(method.encode("utf-8", "surrogateescape")):
            raise RouteSyntaxError("jsonp_defmethod must be a method")
        set_headers, drop_headers = _header_edits(value for name, value in properties if name == "header")
        replaces = "replace_beg" in values
        return Route(
            condition=condition,
            targets=targets,
            id=given("id") or condition.implicit_id,
            explicit_id=bool(given("id")),
            signer=self._signer(given("sig_key", ""), given("sig_iss", "")),
            prefix=given("prefix", ""),
            orig_headers="orig_headers" in values,
            as_host=_authority("as_host", given("as_host", "")),
            path_rem=len(condition.path_beg) if replaces else _number(given("path_rem", "")),
            replace_beg=normal_path(given("replace_beg", "").encode()),
            debug="debug" in values,
            aco="aco" in values,
            jsonp_mode=mode,
            jsonp_cb=given("jsonp_cb") or "callback",
            jsonp_body=given("jsonp_body", ""),
            jsonp_defcb=given("jsonp_defcb", ""),
            jsonp_defmethod=method,
            session="session" in values,
            sockjs=given("sockjs", "").encode(),
            sockjs_as_path=normal_path(given("sockjs_as_path", "").encode()),
            set_headers=set_headers,
            drop_headers=drop_headers,
            no_grip="no_grip" in values,
            log_level=_LOG_LEVELS.get(given("log_level", "")),
        )

    def _signer(self, text: str, iss: str) -> Signer | None:
        iss = iss or self._keys.sig_iss
        if (text, iss) not in self._signers:
            key = load_key(text, self._keys.read_file) or self._keys.sig_key
            self._signers[text, iss] = make_signer(key, iss)
        return self._signers[text, iss]

    def _target(self, word: str, properties: Properties) -> Target:
        values = dict(properties)
        kind, address = self._address(word)
        mode = values.get("ipc_file_mode", "")
        for name in ("client_cert", "client_key"):
            if values.get(name):
                self._check_readable(name, values[name])
        return Target(
            kind=kind,
            address=address,
            ssl="ssl" in values,
            insecure="insecure" in values,
            trust_connect_host="trust_connect_host" in values,
            host=_authority("host", values.get("host", "")),
            untrusted="untrusted" in values,
            subs=tuple(value for name, value in properties if name == "sub" and value),
            over_http="over_http" in values,
            one_event="one_event" in values,
            ipc_file_mode=int(mode, 8) if _OCTAL.fullmatch(mode) else None,
            client_cert=values.get("client_cert", ""),
            client_key=values.get("client_key", ""),
        )

    def _address(self, word: str) -> tuple[str, str]:
        """The kind of a target, and what its type makes of the rest."""
        kind, slash, rest = word.partition("/")
        if not kind or kind not in self._types or (slash and not rest):
            kind, rest = "", word
        if kind not in self._types:
            raise RouteSyntaxError("target bad format")
        address: str = self._types[kind].parse(rest)
        if kind in _ZHTTP_KINDS:
            self._specs.add(address)
            if len(self._specs) > MAX_ZHTTP_SPECS:
                self._specs.remove(address)
                raise RouteSyntaxError(f"more than {MAX_ZHTTP_SPECS} zhttp specs")
        return kind, address

    def _check_readable(self, name: str, path: str) -> None:
        try:
            self._keys.read_local(path)
        except (OSError, ValueError):
            raise RouteSyntaxError(f"unable to read {name}: {path}") from None


def _condition(head: str, values: dict[str, str]) -> Condition:
    if values.get("proto", "http") not in ("http", "ws"):
        raise RouteSyntaxError("proto must be set to 'http' or 'ws'")
    if values.get("ssl", "yes") not in ("yes", "no"):
        raise RouteSyntaxError("ssl must be set to 'yes' or 'no'")
    if values.get("path_beg") == "":
        raise RouteSyntaxError("path_beg cannot be empty")
    return Condition(
        host=head,
        proto=values.get("proto", ""),
        ssl=values["ssl"] == "yes" if "ssl" in values else None,
        path_beg=values.get("path_beg", "").encode(),
    )


def _header_edits(texts: Iterable[str]) -> tuple[tuple[Header, ...], frozenset[bytes]]:
    """What ``header`` properties come to: they are applied from the last to the first, and each replaces what
    was there under its name."""
    appended: dict[bytes, Header] = {}
    dropped = set()
    for text in reversed(list(texts)):
        name_text, colon, value_text = text.partition(":")
        name, value = name_text.encode(), value_text.lstrip(" ").encode()
        if not colon or not is_token(name) or not is_value(value):
            raise RouteSyntaxError("header must use format 'name:value'")
        lower = name.lower()
        dropped.add(lower)
        appended.pop(lower, None)
        if value:
            appended[lower] = (name, value)
    return tuple(appended.values()), frozenset(dropped)


def _authority(name: str, text: str) -> Authority | None:
    try:
        return authority(text.encode()) if text else None
    except HttpError:
        raise RouteSyntaxError(f"{name} must use format 'host[:port]'") from None


def _number(text: str) -> int:
    return int(text) if _SMALL_NUMBER.fullmatch(text) else 0
