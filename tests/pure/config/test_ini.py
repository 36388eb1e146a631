"""The file format (proxy 2.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.config.ini import Document, parse_ini
from pushpin_tw.errors import ConfigError


def read(*lines: str) -> Document:
    return parse_ini("\n".join(["[proxy]", *lines]), "f.conf")


def items(value: str) -> tuple[str, ...]:
    return read("key=" + value).entries["proxy", "key"].items


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" a b \t", ("a b",)),
        ("a;b", ("a",)),
        ("a #b", ("a #b",)),
        ('"a;b"', ("a;b",)),
        ('a="b"c', ("a=bc",)),
        (r"a\tb", ("a\tb",)),
        (r"\n\\\"", ('\n\\"',)),
        (r"\x41\x2C\x", ("A,",)),
        (r"\101\q", ("A",)),
        (r"\xd800\xffffffff", ("\ufffd\ufffd",)),
        ("a%20b", ("a%20b",)),
        ("a,b", ("a", "b")),
        (" a , b ,", ("a", "b", "")),
        ('"a,b"', ("a,b",)),
        ('" a "', (" a ",)),
        (r'" a \" " x ', (' a "  x',)),
        (r"\x20", (" ",)),
        ("", ("",)),
        ("é€", ("é€",)),
    ],
)
def test_values(value: str, expected: tuple[str, ...]) -> None:
    assert items(value) == expected


def test_a_list_reads_as_empty_where_one_value_is_expected() -> None:
    entries = read("a=b,c", "d=e").entries
    assert (entries["proxy", "a"].scalar, entries["proxy", "d"].scalar) == ("", "e")


def test_c051_of_a_repeated_key_the_last_counts() -> None:
    entry = read("a=1", "b=2", "a=3").entries["proxy", "a"]
    assert (entry.items, entry.line) == (("3",), 4)


def test_names_are_case_sensitive() -> None:
    assert set(read("a=1", "A=2").entries) == {("proxy", "a"), ("proxy", "A")}


def test_comments_and_empty_lines_are_nothing() -> None:
    document = read("# a=1", "", "  ; b=2", "\t#c")
    assert (document.entries, document.warnings) == ({}, ())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_a_byte_order_mark(end: str) -> None:
    document = parse_ini("\ufeff" + end.join(["[a]", "b=c", "", " [ d ] ", "e = f"]), "f")
    assert {key: entry.line for key, entry in document.entries.items()} == {("a", "b"): 2, ("d", "e"): 5}
    assert document.sections == {"a": 1, "d": 4}


def test_a_backslash_joins_the_next_line_but_not_in_a_comment() -> None:
    document = read("a=1,\\", "  2 ; x \\", "b=3\\")
    assert [entry.items for entry in document.entries.values()] == [("1", "2"), ("3",)]
    assert [entry.line for entry in document.entries.values()] == [2, 4]


def test_lines_that_are_no_settings_are_reported() -> None:
    document = parse_ini("a=1\n[s]\nword\n=x\n", "f.conf")
    assert document.entries == {}
    assert document.warnings == (
        "f.conf:1: a: ignored, as it stands before the first section",
        "f.conf:3: ignored, as it is not of the form key=value",
        "f.conf:4: ignored, as it is not of the form key=value",
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['a="b'], "f.conf:2: a: expected a closing quote"),
        (["", "[x"], "f.conf:3: expected ']' behind the section's name"),
    ],
)
def test_what_is_not_closed_stops_the_start(lines: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(*lines)
    assert str(caught.value) == message


@given(st.text(alphabet=st.sampled_from('a ,;"\\#=[]x4\n\r\t{}é')))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        document = parse_ini("[s]\n" + text, "f")
    except ConfigError as error:
        assert error.line >= 1
    else:
        assert all(entry.items and entry.line > 1 for entry in document.entries.values())


@given(st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])))
def test_what_is_quoted_comes_back(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    assert items(f'"{quoted}"') == (value,)
