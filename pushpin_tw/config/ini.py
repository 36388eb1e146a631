"""The file format of pushpin.conf (proxy 2.1): sections, keys, quotes, escapes, lists.

Called by ``config.reading``.  Knows no key and no type: every value comes out as the texts between its
commas, with the file and the line it stood on.  Never opens a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pushpin_tw.errors import ConfigError

Item = tuple[str, ...]

_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    **{char: char for char in "\\\"'?"},
}
_TOKEN = re.compile(
    r"""
    (?P<plain> [^\\",;]+ )
  | (?P<quote> " )
  | (?P<comma> , )
  | (?P<hex> \\x [0-9A-Fa-f]+ )
  | (?P<octal> \\ [0-7]{1,3} )
  | (?P<escape> \\ . )
  | (?P<joint> \\ )
  | (?P<comment> ; )
    """,
    re.VERBOSE,
)
_QUOTED = re.compile(r'[^\\"]+')
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as it stood in a file."""

    section: str
    key: str
    items: Item
    """What stands between the commas; exactly one text when there is no comma."""
    file: str
    line: int

    @property
    def is_list(self) -> bool:
        """Whether it had an unquoted comma."""
        return len(self.items) > 1

    @property
    def scalar(self) -> str:
        """The one text; a list reads as empty where one value is expected (C050)."""
        return "" if self.is_list else self.items[0]


@dataclass(frozen=True, slots=True)
class Document:
    """One file, read."""

    file: str
    entries: dict[tuple[str, str], Entry]
    """By section and key; of a repeated key the last one."""
    sections: dict[str, int]
    """Each section with the line on which it begins first."""
    warnings: tuple[str, ...]


def parse_ini(text: str, file: str) -> Document:
    """Read ``text``, which came from ``file`` (its name is for messages).

    :raises ConfigError: a quote is not closed, or a section's name.
    """
    entries: dict[tuple[str, str], Entry] = {}
    sections: dict[str, int] = {}
    warnings: list[str] = []
    section = ""
    lines = _numbered(text)
    for number, line in lines:
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if stripped[0] == "[":
            section = _section_name(stripped, file, number)
            sections.setdefault(section, number)
            continue
        key, equals, value = line.partition("=")
        key = key.strip()
        if not equals or not key:
            warnings.append(f"{file}:{number}: ignored, as it is not of the form key=value")
            continue
        items = _Value(value, lines, ConfigError("expected a closing quote", file, number, key)).items
        if section:
            entries[section, key] = Entry(section, key, items, file, number)
        else:
            warnings.append(f"{file}:{number}: {key}: ignored, as it stands before the first section")
    return Document(file, entries, sections, tuple(warnings))


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(_LINE_END.split(text.removeprefix("\ufeff")), 1)


def _section_name(line: str, file: str, number: int) -> str:
    name, closed, _ = line[1:].partition("]")
    if not closed:
        raise ConfigError("expected ']' behind the section's name", file, number)
    return name.strip()


class _Value:
    """The texts between the commas of a value, unquoted and unescaped.  White space around them is no part of
    them unless it is quoted or escaped; a backslash at the end of a line makes the next line a part."""

    def __init__(self, text: str, following: Iterator[tuple[int, str]], unclosed: ConfigError) -> None:
        self.items: Item = ()
        self._text = ""
        self._solid = 0  # so much of _text is not to be trimmed
        quoted = False
        while text:
            match = (quoted and _QUOTED.match(text)) or _TOKEN.match(text)
            assert match is not None  # the alternatives of _TOKEN cover every character
            text = text[match.end() :]
            kind = match.lastgroup
            if kind == "comment":
                break
            if kind == "joint":
                text = next(following, (0, ""))[1]
            elif kind == "quote":
                quoted = not quoted
            elif kind == "comma":
                self._finish()
            else:
                self._add(match)
        if quoted:
            raise unclosed
        self._finish()

    def _add(self, match: re.Match[str]) -> None:
        if match.lastgroup == "plain":
            self._text += match[0] if self._text else match[0].lstrip()
        else:
            self._text += _unescaped(match)
            self._solid = len(self._text)

    def _finish(self) -> None:
        solid = self._solid
        self.items += (self._text[:solid] + self._text[solid:].rstrip(),)
        self._text, self._solid = "", 0


def _unescaped(match: re.Match[str]) -> str:
    text = match[0]
    if match.lastgroup == "hex":
        return _character(int(text[2:], 16))
    if match.lastgroup == "octal":
        return _character(int(text[1:], 8))
    if match.lastgroup == "escape":
        return _ESCAPES.get(text[1], "")  # as the original: an unknown escape leaves nothing
    return text


def _character(code: int) -> str:
    return "\ufffd" if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF else chr(code)
