"""Look-ups in header lists, blind to case and exact about order."""

from __future__ import annotations

import pytest

from pushpin_tw.wire.headers import get, get_all, is_token, is_value, split_list, without

HEADERS = [(b"Host", b"a"), (b"SET-Cookie", b"b"), (b"X-One", b""), (b"Set-Cookie", b"c")]


def test_the_first_of_several_is_found_whatever_its_case() -> None:
    assert get(HEADERS, b"set-cookie") == b"b"
    assert get(HEADERS, b"x-one") == b""
    assert get(HEADERS, b"x-two") is None
    assert get_all(HEADERS, b"set-cookie") == [b"b", b"c"]
    assert get_all(HEADERS, b"x-two") == []


def test_what_is_left_keeps_its_order() -> None:
    assert without(HEADERS, {b"set-cookie", b"x-two"}) == [(b"Host", b"a"), (b"X-One", b"")]


@pytest.mark.parametrize("name", [b"A", b"x-1!#$%&'*+.^_`|~"])
def test_tokens(name: bytes) -> None:
    assert is_token(name)


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r", b"a\n", b"\xc3\xa4", b"a\x00", b"(a)", b"a,"])
def test_no_tokens(name: bytes) -> None:
    assert not is_token(name)


@pytest.mark.parametrize("value", [b"", b"a b\tc", b"\xff\x80", b"a: b"])
def test_values(value: bytes) -> None:
    assert is_value(value)


@pytest.mark.parametrize("value", [b"a\r", b"a\n", b"\n", b"a\x00", b"\x7f", b"\x1b["])
def test_no_values(value: bytes) -> None:
    assert not is_value(value)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ([], []),
        ([b"a, b ,c"], [b"a", b"b", b"c"]),
        ([b"a", b" ,, b,"], [b"a", b"b"]),
        ([b'"a, b", c'], [b'"a, b"', b"c"]),
        ([b'a;x="1,2";y, "b\\", c", d'], [b'a;x="1,2";y', b'"b\\", c"', b"d"]),
        ([b'a, "b, c'], [b"a", b'"b, c']),
        ([b'"a\\'], [b'"a\\']),
    ],
)
def test_lists_are_split_outside_of_quotes(values: list[bytes], parts: list[bytes]) -> None:
    assert split_list(values) == parts
