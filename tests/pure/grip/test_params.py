"""Elements and params of GRIP headers (grip 3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.grip.params import Param, lookup, parse_element, parse_params, split_elements


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b""], []),
        ([b"a"], [b"a"]),
        ([b"a, b", b"c"], [b"a", b"b", b"c"]),
        ([b"a, ,b,"], [b"a", b"", b"b"]),
        ([b",a"], [b"", b"a"]),
        ([b","], [b""]),
        ([b"a, "], [b"a"]),
        ([b'"q,w"'], [b'"q,w"']),
        ([b'a; x="1,\\",2", b'], [b'a; x="1,\\",2"', b"b"]),
        ([b'a; x="1, b', b"c"], [b'a; x="1, b', b"c"]),
        ([b'a"\\'], [b'a"\\']),
    ],
)
def test_elements(values: list[bytes], expected: list[bytes]) -> None:
    assert split_elements(values) == expected


@pytest.mark.parametrize(
    ("element", "value", "params"),
    [
        (b"", b"", []),
        (b" a ", b"a", []),
        (b"a;", b"a", []),
        (b"a; ;", b"a", []),
        (b"a; x = 1 ; y", b"a", [(b"x", b"1"), (b"y", None)]),
        (b"a; x=", b"a", [(b"x", b"")]),
        (b'a; x=""', b"a", [(b"x", None)]),
        (b'a; x="1;\\"2\\\\" rest; y=3', b"a", [(b"x", b'1;"2\\'), (b"y", b"3")]),
        (b'a; x=1"2; y', b"a", [(b"x", b'1"2'), (b"y", None)]),
        (b'"a;b"', b'"a', [(b'b"', None)]),
        (b"a; =1", b"a", [(b"", b"1")]),
        (b"a; x=1=2", b"a", [(b"x", b"1=2")]),
    ],
)
def test_an_element(element: bytes, value: bytes, params: list[Param]) -> None:
    assert parse_element(element) == (value, params)


@pytest.mark.parametrize("element", [b'a; x="1', b'a; x="1\\', b'a; x="', b'a; y; x="\\"'])
def test_params_that_do_not_parse(element: bytes) -> None:
    assert parse_element(element) is None


def test_lookup_takes_the_first_in_any_case() -> None:
    params: list[Param] = [(b"A", None), (b"a", b"1"), (b"B", b"2")]
    assert lookup(params, b"a") is None
    assert lookup(params, b"b") == b"2"
    assert lookup(params, b"c") is None


@given(st.lists(st.binary()))
def test_any_bytes_are_read(values: list[bytes]) -> None:
    for element in split_elements(values):
        parse_element(element)


@given(st.binary(min_size=1))
def test_what_was_quoted_comes_back(data: bytes) -> None:
    quoted = data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    assert parse_params(b'x="' + quoted + b'"; y') == [(b"x", data), (b"y", None)]
