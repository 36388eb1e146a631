"""TNetStrings (zeromq 1)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import PacketError
from pushpin_tw.wire.tnetstring import DEPTH, decode, encode

EXAMPLES: list[tuple[Any, bytes]] = [
    (b"hello", b"5:hello,"),
    (b"", b"0:,"),
    (-12, b"3:-12#"),
    (True, b"4:true!"),
    (False, b"5:false!"),
    (None, b"0:~"),
    ([1, b"a"], b"8:1:1#1:a,]"),
    ({"a": 1, "b": {"x": False}}, b"28:1:a,1:1#1:b,12:1:x,5:false!}}"),
    ({}, b"0:}"),
    ([], b"0:]"),
    (1.5, b"3:1.5^"),
]


@pytest.mark.parametrize(("value", "data"), EXAMPLES)
def test_examples(value: Any, data: bytes) -> None:
    assert encode(value) == data
    assert decode(data) == value
    assert decode(data + b"more") == value


def test_text_is_utf8_and_tuples_are_lists() -> None:
    assert encode({"ü": ("€",)}) == b"14:2:\xc3\xbc,6:3:\xe2\x82\xac,]}"


def test_what_has_no_tnetstring() -> None:
    with pytest.raises(TypeError):
        encode({"a": object()})


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"005:hello,", b"hello"), (b"16:1:a,1:1#1:a,1:2#}", {"a": 2}), (b"8:1:\xff,1:1#}", {"\ufffd": 1})],
)
def test_what_is_accepted(data: bytes, value: Any) -> None:
    assert decode(data) == value


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"5", b"hello", b":a,", b"x:a,", b"-1:a,", b"+1:a,", b" 1:a,"),
        *(b"99999999999:a,", b"9999999999:a,", b"5:hell", b"5:hello", b"5:hello?"),
        *(b"1:x#", b"0:#", b"1:-#", b"3:1_0#", b"3:nan^", b"0:^", b"3:yes!", b"4:True!", b"1:x~"),
        *(b"8:1:1#1:a,}", b"4:1:a,}", b"5:9:ab,]", b"4:2:a,]b,"),
        *(b"1" * 5000, b"1" * 5000 + b":", b"5:1:a,1}", b"12"),
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(PacketError):
        decode(data)


def nested(levels: int) -> bytes:
    data = b"0:~"
    for _ in range(levels):
        data = b"%d:%b]" % (len(data), data)
    return data


def test_depth_is_bounded() -> None:
    decode(nested(DEPTH))
    with pytest.raises(PacketError):
        decode(nested(DEPTH + 1))
    with pytest.raises(PacketError):
        decode(nested(5000))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


@given(VALUES)
def test_what_is_encoded_comes_back(value: Any) -> None:
    assert decode(encode(value)) == value


@given(st.binary(), st.integers(0, 30), st.sampled_from(EXAMPLES))
def test_any_bytes_are_read_or_refused(noise: bytes, at: int, example: tuple[Any, bytes]) -> None:
    data = example[1][:at] + noise + example[1][at:]
    try:
        decode(data)
    except PacketError:
        return
    assert b":" in data
