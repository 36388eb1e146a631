"""The same bytes, arriving in different pieces: codecs must not notice.

Used by the tests of everything that reads a stream of bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

T = TypeVar("T")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """``data`` in pieces, cut at ``places`` (taken modulo its length); no piece is empty."""
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(marks)]


def bytewise(data: bytes) -> list[bytes]:
    """Each byte in a piece of its own."""
    return [data[at : at + 1] for at in range(len(data))]


def same_however_split(data: bytes, read: Callable[[list[bytes]], T]) -> T:
    """What ``read`` makes of the whole; it must make the same of single bytes and of any pieces."""
    whole = read([data])
    assert read(bytewise(data)) == whole

    @settings(max_examples=25)
    @given(st.lists(st.integers(0, 2**16), max_size=8))
    def at_any_places(places: list[int]) -> None:
        assert read(cut(data, places)) == whole

    at_any_places()
    return whole
