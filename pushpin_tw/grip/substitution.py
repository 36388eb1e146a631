"""Templates in published content and in bodies, and the two filters that fill them in (grip 13.3, 13.4).

``%%`` is a percent sign, ``%X`` and ``%(ARGUMENT)X`` are directives; within an argument a backslash takes the
next byte literally.  Called through ``filters``.  Each recipient gets bytes of its own, but a template is read
only once for all of them.  Never looks at what the bytes between directives mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from pushpin_tw.errors import FilterError
from pushpin_tw.grip.filterchain import FilterContext, InstantFilter

MAX_ARGUMENT = 8192
"""Bytes of an argument, escapes included: what has not come to its end yet has to be kept."""
MAX_VALUES = 1_000_000
"""Bytes that all the values of one content may have together: a few bytes of a template can stand for many."""
MAX_KEPT = 65536
"""Bytes of a template that is kept ready for its next recipient."""

_DIRECTIVE = re.compile(rb"%(?:([^(])|\(((?:[^\\)]++|\\.)*+)\)(.))", re.S)
_ARGUMENT = re.compile(rb"%\((?:[^\\)]++|\\.)*+", re.S)
_ESCAPED = re.compile(rb"\\(.)", re.S)

T = TypeVar("T")


class TemplateError(Exception):
    """A template cannot be filled in; becomes a ``FilterError``."""


@dataclass(frozen=True, slots=True)
class Directive:
    """What is to be filled in."""

    letter: str
    argument: str | None
    """Without escapes; None when there is none."""
    position: int
    """Of the letter, in bytes from the beginning of the whole template."""


Part = bytes | Directive | TemplateError
"""Bytes as they stand, something to fill in, or what is wrong from here on."""


class Reader:
    """Reads a template that comes in pieces."""

    __slots__ = ("_at", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        """The beginning of a directive."""
        self._at = 0
        """Where that stands in the whole."""

    def feed(self, data: bytes) -> list[Part]:
        """What is complete now; nothing comes after an error."""
        text = self._rest + data
        parts: list[Part] = []
        at = 0
        while (mark := text.find(b"%", at)) >= 0:
            if mark > at:
                parts.append(text[at:mark])
            at = mark
            found = _DIRECTIVE.match(text, mark)
            if found is None or (found[2] is not None and len(found[2]) > MAX_ARGUMENT):
                break
            at = found.end()
            parts.append(self._directive(found))
        else:
            parts.append(text[at:])
            at = len(text)
        self._rest = text[at:]
        self._at += at
        if len(self._rest) > MAX_ARGUMENT and len(_argument(self._rest)) > MAX_ARGUMENT + 2:
            parts.append(TemplateError(f"Field too long at position {self._at + 1}"))
        return parts
