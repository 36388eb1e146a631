"""JSON, integers, base64 and reasons (grip 5.2, 5.3)."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.grip.scalars import MAX_INT, decode_base64, load_document, parse_int, to_int
from pushpin_tw.grip.status import default_reason


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (200.7, 201),
        (0.5, 1),
        (-0.5, -1),
        (-0.4, 0),
        (2.5, 3),
        (1e300, MAX_INT),
        (-1e300, -MAX_INT - 1),
        (10**400, MAX_INT),
        (True, 1),
        (False, 0),
        ("404", 404),
        (b"404", 404),
        (" +5\t", 5),
        ("-3", -3),
        ("1.5", 0),
        ("abc", 0),
        ("", 0),
        ("2147483648", 0),
        ("\u0665", 0),
        (None, None),
        ([], None),
        ({}, None),
    ],
)
def test_int_fields(value: object, expected: int | None) -> None:
    assert to_int(value) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "1.5", "x", "0x10", "1_0", "2147483648", "-2147483649", "\u0665", "1 2"]
)
def test_what_is_no_integer(text: str) -> None:
    assert parse_int(text) is None


@given(st.integers(-(2**31), 2**31 - 1))
def test_integers_come_back(number: int) -> None:
    assert parse_int(f" {number} ") == to_int(number) == to_int(str(number)) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"aGV%%sbG8=xx", b"hello1"),
        (b"", b""),
        (b"A", b""),
        (b"AP8K", b"\x00\xff\n"),
        (b"a-G_V=sbG8", b"hello"),
        ("aGVs\u00e9bG8".encode(), b"hello"),
    ],
)
def test_lenient_base64(text: bytes, expected: bytes) -> None:
    assert decode_base64(text) == expected


@given(st.binary())
def test_base64_of_any_bytes_comes_back(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data)) == data


@given(st.binary())
def test_base64_never_fails(data: bytes) -> None:
    decode_base64(data)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nope",
        b'"x"',
        b"5",
        b"null",
        b"{'a':1}",
        b'{"a":1,}',
        b"{}x",
        b"{} {}",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":01}',
        b"\x0c{}",
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'["' + b"9" * 5000 + b'"' + b"9" * 5000 + b"]",
        b"[" + b"9" * 5000 + b"]",
        b"[" * 100_000,
        b"[" * 5000 + b"]" * 5000,
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_what_is_no_document(text: bytes) -> None:
    with pytest.raises(ValueError):
        load_document(text)


def test_documents() -> None:
    assert load_document(b'\xef\xbb\xbf {"a":1,"a":2}\n') == {"a": 2}
    assert load_document(b"[1]") == [1]
    assert load_document(b'{"a":"line\nend"}') == {"a": "line\nend"}


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    document = load_document(b'{"\\ud800":["\\uDC00x","\\ud83d\\ude00","\\\\ud800"]}')
    assert document == {"\ufffd": ["\ufffdx", "\U0001f600", "\\ud800"]}


@given(st.binary())
def test_any_bytes_are_a_document_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(load_document(data), dict | list)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_strings_of_a_document_can_be_encoded(value: object) -> None:
    import json

    document = load_document(json.dumps([value]).encode())
    json.dumps(document, ensure_ascii=False).encode()


def test_reasons() -> None:
    assert default_reason(200) == b"OK"
    assert default_reason(511) == b"Network Authentication Required"
    assert default_reason(299) == b"Undefined Reason"
