"""Bodies: where they end, what is in them, what breaks them, in whatever pieces they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import HttpError
from pushpin_tw.wire.body import BodyReader, ChunkedReader, LengthReader, response_body
from pushpin_tw.wire.http1 import LAST_CHUNK, encode_chunk
from pushpin_tw.wire.message import Response
from tests.pure.splitting import same_however_split

Result = tuple[bytes, bytes] | tuple[str, int, str] | tuple[str, bytes]


def feed_all(reader: BodyReader, pieces: list[bytes]) -> Result:
    """(body, rest) of a complete one, ("open", body) of one that is not, or the words of the refusal."""
    body = b""
    try:
        for index, piece in enumerate(pieces):
            body += reader.feed(piece)
            if reader.finished:
                return body, reader.rest + b"".join(pieces[index + 1 :])
    except HttpError as error:
        return "refused", error.status, error.text
    return "open", body


def chunked(data: bytes, limit: int = 8192) -> Result:
    return same_however_split(data, lambda pieces: feed_all(ChunkedReader(limit), pieces))


# ---- known length ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "data", "result"),
    [
        (5, b"hello", (b"hello", b"")),
        (5, b"hello, next", (b"hello", b", next")),
        (5, b"hell", ("open", b"hell")),
    ],
)
def test_a_known_length(length: int, data: bytes, result: Result) -> None:
    assert same_however_split(data, lambda pieces: feed_all(LengthReader(length), pieces)) == result


def test_nothing_is_complete_at_once() -> None:
    reader = LengthReader(0)
    assert reader.finished and reader.closed()


def test_closing_ends_a_known_length_only_when_all_has_come() -> None:
    reader = LengthReader(2)
    assert not reader.closed()
    reader.feed(b"ab")
    assert reader.closed()


def test_until_close_everything_is_body() -> None:
    reader = BodyReader()
    assert reader.feed(b"a") + reader.feed(b"b") == b"ab"
    assert not reader.finished
    assert reader.closed()


# ---- chunks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "result"),
    [
        (b"0\r\n\r\n", (b"", b"")),
        (b"5\r\nhello\r\n0\r\n\r\nrest", (b"hello", b"rest")),
        (b"5\r\nhello\r\n2\r\n, \r\nA\r\n0123456789\r\n000\r\n\r\n", (b"hello, 0123456789", b"")),
        (b"00000005\r\nhello\r\n0\r\n\r\n", (b"hello", b"")),
        (b'5;a=b;c="d \xff"\r\nhello\r\n0;last\r\n\r\n', (b"hello", b"")),
        (b"5 \t;x\r\nhello\r\n0 \r\n\r\n", (b"hello", b"")),
        (b"2\r\n\r\n\r\n0\r\nA: b\r\nC:\r\n\r\nrest", (b"\r\n", b"rest")),
        (b"5\r\nhel", ("open", b"hel")),
        (b"5\r\nhello\r", ("open", b"hello")),
        (b"5\r\nhello\r\n0\r\nA: b\r\n", ("open", b"hello")),
    ],
)
def test_chunked(data: bytes, result: Result) -> None:
    assert chunked(data) == result


def test_closing_ends_no_chunks() -> None:
    reader = ChunkedReader()
    assert reader.feed(b"3\r\nabc\r\n") == b"abc"
    assert not reader.closed()
    assert reader.feed(b"0\r\n\r\n") == b""
    assert reader.closed()


def test_c218_the_final_cr_and_lf_may_come_apart() -> None:
    assert feed_all(ChunkedReader(), [b"1\r\nx\r", b"\n0\r", b"\n\r", b"\n"]) == (b"x", b"")


SIZE = (400, "Failed to parse request: invalid chunk size")
SUFFIX = (400, "Failed to parse request: invalid chunk suffix")
LARGE = (400, "Failed to parse request: chunk too large")
NAME = (400, "Failed to parse request: invalid header name")
VALUE = (400, "Failed to parse request: invalid header value")
NEW_LINE = (400, "Failed to parse request: invalid new line")
FAILED = (500, "Failed to process request.")


@pytest.mark.parametrize(
    ("refusal", "data"),
    [
        (SIZE, b"x\r\n"),
        (SIZE, b"\r\n"),
        (SIZE, b" 5\r\nhello\r\n"),
        (SIZE, b"+5\r\nhello\r\n"),
        (SIZE, b"0x5\r\nhello\r\n"),
        (SIZE, b"5 5\r\nhello\r\n"),
        (SIZE, b"5\nhello\r\n"),
        (SIZE, b"5;a\nb\r\nhello\r\n"),
        (SIZE, b"5;a\x00\r\nhello\r\n"),
        (SIZE, b"5\rhello\r\n"),
        (SIZE, b"1\r\nx\r\n;\r\n"),
        (SUFFIX, b"5\r\nhellox\r\n"),
        (SUFFIX, b"5\r\nhello\n0\r\n"),
        (SUFFIX, b"5\r\nhello\rx"),
        (LARGE, b"100000000\r\n"),
        (LARGE, b"00000000000000001\r\n"),
        (LARGE, b"ffffffffffffffffffffffff\r\n"),
        (NAME, b"0\r\nA : b\r\n"),
        (NAME, b"0\r\nA\r\n"),
        (NAME, b"0\r\n: b\r\n"),
        (NAME, b"0\r\n A: b\r\n"),
        (VALUE, b"0\r\nA: \x00\r\n"),
        (VALUE, b"0\r\nA: b\rc\r\n"),
        (NEW_LINE, b"0\r\nA: b\n"),
        (NEW_LINE, b"0\r\n\n"),
        (FAILED, b"5;" + b"x" * 8192 + b"\r\n"),
        (FAILED, b"0\r\nA: " + b"x" * 8192),
        (FAILED, b"0\r\n" + b"A: b\r\n" * 1400),
    ],
)
def test_c171_broken_chunks(refusal: tuple[int, str], data: bytes) -> None:
    assert chunked(data) == ("refused", *refusal)


def test_the_largest_chunk_is_waited_for() -> None:
    assert chunked(b"ffffffff\r\nx") == ("open", b"x")


def test_the_line_before_a_chunk_has_the_limit_it_is_given() -> None:
    line = b"5;" + b"x" * 96 + b"\r\n"
    assert chunked(line + b"hello\r\n0\r\n\r\n", limit=len(line)) == (b"hello", b"")
    assert chunked(line + b"hello\r\n0\r\n\r\n", limit=len(line) - 1) == ("refused", *FAILED)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), st.binary(max_size=10))
def test_what_is_written_in_chunks_is_read_back(parts: list[bytes], rest: bytes) -> None:
    data = b"".join(map(encode_chunk, parts)) + LAST_CHUNK
    assert feed_all(ChunkedReader(), [data + rest]) == (b"".join(parts), rest)
    assert feed_all(ChunkedReader(), [data[at : at + 3] for at in range(0, len(data), 3)])[0] == b"".join(
        parts
    )


@given(st.binary(max_size=60))
def test_any_bytes_give_the_same_in_any_pieces(data: bytes) -> None:
    assert (
        feed_all(ChunkedReader(), [data])
        == feed_all(ChunkedReader(), [data[at : at + 1] for at in range(len(data))])
        or not data
    )


def test_a_large_read_of_tiny_chunks_is_not_copied_for_each() -> None:
    """Counted in bytes that are copied: a subclass sees every slice that is taken of the read."""
    copied = 0

    class Counting(bytes):
        def __getitem__(self, key):  # type: ignore[no-untyped-def]
            nonlocal copied
            part = super().__getitem__(key)
            copied += len(part)
            return part

    data = b"1\r\nx\r\n" * 10_000
    reader = ChunkedReader()
    assert reader.feed(Counting(data)) == b"x" * 10_000
    assert copied <= len(data)


# ---- responses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "response", "reader"),
    [
        (b"HEAD", Response(200, b"OK", length=5), LengthReader),
        (b"GET", Response(204, b"", length=5), LengthReader),
        (b"GET", Response(304, b"", chunked=True), LengthReader),
        (b"GET", Response(200, b"OK", length=5), LengthReader),
        (b"GET", Response(200, b"OK", chunked=True), ChunkedReader),
        (b"GET", Response(200, b"OK"), BodyReader),
    ],
)
def test_the_framing_of_a_response(method: bytes, response: Response, reader: type[BodyReader]) -> None:
    found = response_body(response, method)
    assert type(found) is reader
    assert found.finished is (method == b"HEAD" or response.status in (204, 304))
