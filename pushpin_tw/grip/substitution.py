"""Templates in published content and in bodies, and the two filters that fill them in (grip 13.3, 13.4).

``%%`` is a percent sign, ``%X`` and ``%(ARGUMENT)X`` are directives; within an argument a backslash takes the
next byte literally.  Run by ``filterchain``.  Each recipient gets bytes of its own, but a template is read
once for all of them.  Never looks at what the bytes between directives mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from zope.interface import implementer

from pushpin_tw.errors import FilterError
from pushpin_tw.extensions import IResponseFilter
from pushpin_tw.grip.filterchain import FilterContext, InstantFilter

MAX_ARGUMENT = 8192
"""Bytes of an argument, escapes included: what has not come to its end yet has to be kept."""
MAX_VALUES = 1_000_000
"""Bytes that all the values of one content may have together: a short template can stand for a long text."""
MAX_KEPT = 16384
"""Bytes of a template that is kept ready for its next recipient."""

_DIRECTIVE = re.compile(rb"%(?:([^(])|\(((?:[^\\)]++|\\.)*+)\)(.))", re.S)
_ARGUMENT = re.compile(rb"%\((?:[^\\)]++|\\.)*+", re.S)
_ESCAPED = re.compile(rb"\\(.)", re.S)

T = TypeVar("T")
Encode = Callable[[bytes], bytes]
"""How ids are written."""


class TemplateError(Exception):
    """A template cannot be filled in; becomes a ``FilterError``."""


@dataclass(frozen=True, slots=True)
class Directive:
    """What is to be filled in."""

    letter: str
    argument: bytes | None
    """Without escapes; None when there is none, or one without bytes."""
    position: int
    """Of the letter, in bytes from the beginning of the whole template."""

    def unknown(self) -> TemplateError:
        """The complaint that there is no such directive."""
        return TemplateError(f"Unknown directive '{self.letter}' at position {self.position}")


@dataclass(frozen=True, slots=True)
class Broken:
    """The template makes no sense from here on."""

    why: str


Part = bytes | Directive | Broken


class Reader:
    """Reads a template that comes in pieces."""

    __slots__ = ("_at", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        """The beginning of a directive."""
        self._at = 0
        """Where that stands in the whole."""

    def feed(self, data: bytes) -> list[Part]:
        """What is complete now; behind a ``Broken`` nothing counts."""
        text = self._rest + data
        parts: list[Part] = []
        at = 0
        while (mark := text.find(b"%", at)) >= 0:
            if mark > at:
                parts.append(text[at:mark])
            at = mark
            found = _DIRECTIVE.match(text, at)
            if found is None or (found[2] is not None and len(found[2]) > MAX_ARGUMENT):
                break
            at = found.end()
            parts.append(self._directive(found))
        else:
            parts.append(text[at:])
            at = len(text)
        self._rest = text[at:]
        self._at += at
        if len(self._rest) > MAX_ARGUMENT and _end_of_argument(self._rest) > MAX_ARGUMENT + 2:
            parts.append(Broken(f"Field too long starting at position {self._at + 1}"))
        return parts

    def _directive(self, found: re.Match[bytes]) -> Part:
        if found[1] == b"%":
            return b"%"
        position = self._at + found.end() - 1
        if found[2] is None:
            return Directive(found[1].decode("latin-1"), None, position)
        return Directive(found[3].decode("latin-1"), _ESCAPED.sub(rb"\1", found[2]) or None, position)

    def finish(self) -> list[Part]:
        """What is left at the end: nothing, or half a directive."""
        rest, at = self._rest, self._at
        if not rest:
            return []
        if len(rest) == 1:
            return [Broken(f"Expected directive after '%' at position {at}")]
        if len(rest) == 2:
            return [Broken(f"Expected character after '(' at position {at + 1}")]
        end = _end_of_argument(rest)
        if end == len(rest):
            return [Broken(f"Unterminated field starting at position {at + 1}")]
        if rest[end:] == b")":
            return [Broken(f"Expected directive after ')' at position {at + end}")]
        return [Broken(f"Expected character after '\\' at position {at + end}")]


def _end_of_argument(text: bytes) -> int:
    """How far the argument goes with which ``text`` begins, as far as it has come."""
    found = _ARGUMENT.match(text)
    return 0 if found is None else found.end()


def read(template: bytes) -> tuple[Part, ...]:
    """The parts of a whole template."""
    return _read(template) if len(template) <= MAX_KEPT else _read.__wrapped__(template)


@lru_cache(maxsize=16)
def _read(template: bytes) -> tuple[Part, ...]:
    reader = Reader()
    return (*reader.feed(template), *reader.finish())


def render(parts: Iterable[Part], value: Callable[[Directive, T], bytes], source: T) -> bytes:
    """Fill in ``value(directive, source)`` for each directive.

    :raises TemplateError: a part is broken, the values are too long together, or ``value`` has none.
    """
    filled: list[bytes] = []
    room = MAX_VALUES
    for part in parts:
        if isinstance(part, Directive):
            one = value(part, source)
            room -= len(one)
            if room < 0:
                raise TemplateError(f"Too much to fill in at position {part.position}")
            filled.append(one)
        elif isinstance(part, Broken):
            raise TemplateError(part.why)
        else:
            filled.append(part)
    return b"".join(filled)


# ---- the filters -------------------------------------------------------------------------------------------


def _variable(directive: Directive, variables: Mapping[str, str | None]) -> bytes:
    if directive.letter != "s":
        raise directive.unknown()
    if directive.argument is None:
        raise TemplateError(f"Directive 's' requires argument at position {directive.position}")
    name = directive.argument.decode("utf-8", "replace")
    value = variables.get(name)
    if value is None:
        raise TemplateError(f"No such variable '{name}' at position {directive.position}")
    return value.encode()


class VarSubst(InstantFilter):
    """Fills in what the origin noted about the client."""

    name = "var-subst"
    targets = frozenset({"message"})

    def apply(self, context: FilterContext, content: bytes) -> bytes:
        """``%(NAME)s`` is the sub meta value NAME."""
        if b"%" not in content:
            return content
        try:
            return render(read(content), _variable, context.session.meta)
        except TemplateError as error:
            raise FilterError(f"filter error: var-subst: {error}", blank=True) from None


@implementer(IResponseFilter)
class BuildId(InstantFilter):
    """Fills in an id that tells where the client is, or marks what shall be written like one.

    ``id_format`` of the session is the template of the id, in which ``%(CHANNEL)s`` is the position on a
    channel when the client has got this item: a client that comes back with the id has seen it.
    """

    name = "build-id"
    targets = frozenset({"message", "response"})

    def apply(self, context: FilterContext, content: bytes) -> bytes:
        """``%I`` is the id of the session, ``%(ARGUMENT)I`` the argument, both written as ``id_encoding``
        asks."""
        session = context.session
        try:
            template = _id_format(session.meta)
            positions = session.positions()
            if positions.get(context.channel) is not None:
                positions[context.channel] = context.item.id
            try:
                default = render(read(template), _variable, positions)
            except TemplateError as error:
                raise TemplateError(f"failed to render ID: {error}") from None
            encode = _id_encoding(session.meta)
            return render(read(content), _id, (default, encode)) if b"%" in content else content
        except TemplateError as error:
            raise FilterError(f"filter error: build-id: {error}", blank=True) from None

    def response(self, meta: Mapping[str, str]) -> MarkedIds:
        """As ``IResponseFilter``."""
        return MarkedIds(meta)


def _id_format(meta: Mapping[str, str]) -> bytes:
    template = meta.get("id_format")
    if template is None:
        raise TemplateError("no sub meta 'id_format'")
    return template.encode()


def _id_encoding(meta: Mapping[str, str]) -> Encode:
    name = meta.get("id_encoding")
    if name is None:
        return bytes
    if name != "hex":
        raise TemplateError(f"unsupported encoding: {name}")
    return _hexadecimal


def _hexadecimal(value: bytes) -> bytes:
    return value.hex().encode()


def _id(directive: Directive, source: tuple[bytes | None, Encode]) -> bytes:
    if directive.letter != "I":
        raise directive.unknown()
    default, encode = source
    value = default if directive.argument is None else directive.argument
    if value is None:
        raise TemplateError(f"No ID specified and no default ID in context at position {directive.position}")
    return encode(value)


class MarkedIds:
    """The body of one response, in which ids are marked; a session to tell the id of is not there yet."""

    __slots__ = ("_meta", "_reader")

    def __init__(self, meta: Mapping[str, str]) -> None:
        self._meta = meta
        self._reader = Reader()

    def feed(self, data: bytes) -> bytes:
        """What is complete now.

        :raises FilterError: with the words for the client in debug mode; as ``finish``.
        """
        return self._fill(self._reader.feed(data)) if data else b""

    def finish(self) -> bytes:
        """What is left; a body without bytes is left alone, whatever the session's id should look like."""
        return self._fill(self._reader.finish())

    def _fill(self, parts: list[Part]) -> bytes:
        if not parts:
            return b""
        try:
            _id_format(self._meta)
            return render(parts, _id, (None, _id_encoding(self._meta)))
        except TemplateError as error:
            raise FilterError(f"filter error: build-id: {error}") from None
