"""Compressed bodies (grip 17.1/26)."""

from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import GripError
from pushpin_tw.grip.content import decode_body


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


@given(st.binary())
def test_bodies_come_back(data: bytes) -> None:
    for encoding, body in (
        (b"gzip", gzip.compress(data)),
        (b" X-GZip ", gzip.compress(data)),
        (b"deflate", zlib.compress(data)),
        (b"deflate", raw_deflate(data)),
        (b"identity", data),
        (b"", data),
    ):
        assert decode_body(encoding, body, len(data)) == data


def test_several_members_of_gzip() -> None:
    assert decode_body(b"gzip", gzip.compress(b"a") + gzip.compress(b"b"), 2) == b"ab"
    assert decode_body(b"gzip", b"", 2) == b""


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"br", b"x"),
        (b"gzip, gzip", gzip.compress(gzip.compress(b"x"))),
        (b"gzip", b"hello"),
        (b"gzip", gzip.compress(b"hello")[:-1]),
        (b"gzip", gzip.compress(b"hello") + b"rest"),
        (b"deflate", zlib.compress(b"hello") + b"rest"),
        (b"deflate", zlib.compress(b"hello")[:-1]),
        (b"gzip", gzip.compress(b"x" * 101)),
        (b"gzip", gzip.compress(b"x" * 100) + gzip.compress(b"x")),
        (b"deflate", zlib.compress(b"x" * 10_000_000)),
        (b"identity", b"x" * 101),
    ],
)
def test_what_is_refused(encoding: bytes, body: bytes) -> None:
    with pytest.raises(GripError):
        decode_body(encoding, body, 100)


@given(st.sampled_from([b"gzip", b"deflate"]), st.binary())
def test_any_bytes_are_decoded_or_refused(encoding: bytes, body: bytes) -> None:
    with contextlib.suppress(GripError):
        assert len(decode_body(encoding, body, 100)) <= 100
