"""How responses to clients are framed (proxy 8.3, 8.4)."""

from __future__ import annotations

import pytest

from pushpin_tw.errors import WireError
from pushpin_tw.wire.body import response_body
from pushpin_tw.wire.http1 import head_end, parse_response
from pushpin_tw.wire.render import bodiless, framing_lines, whole_response

CLOSE = b"Connection: close\r\n"
KEEP = b"Connection: keep-alive\r\n"
CHUNKED = b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("minor", "persistent", "status", "length", "lines", "chunked"),
    [
        (1, True, 200, 5, b"Content-Length: 5\r\n", False),
        (1, True, 200, 0, b"Content-Length: 0\r\n", False),
        (1, False, 200, 5, CLOSE + b"Content-Length: 5\r\n", False),
        (0, True, 200, 5, KEEP + b"Content-Length: 5\r\n", False),
        (0, False, 200, 5, b"Content-Length: 5\r\n", False),
        (1, True, 200, None, CHUNKED, True),
        (1, False, 200, None, CLOSE + CHUNKED, True),
        (0, False, 200, None, b"", False),
        (1, True, 204, 5, b"", False),
        (1, True, 304, None, b"", False),
        (1, False, 304, 7, CLOSE, False),
        (0, True, 204, None, KEEP, False),
        (1, True, 101, 3, b"", False),
    ],
)
def test_framing(
    minor: int, persistent: bool, status: int, length: int | None, lines: bytes, chunked: bool
) -> None:
    assert framing_lines(minor, persistent, status, length) == (lines, chunked)


@pytest.mark.parametrize(
    ("status", "expected"), [(199, True), (200, False), (204, True), (304, True), (404, False)]
)
def test_who_has_no_body(status: int, expected: bool) -> None:
    assert bodiless(status) is expected


def test_a_whole_response() -> None:
    assert (
        whole_response(1, True, False, 404, b"Not Found", [(b"Content-Type", b"text/plain")], b"gone\n")
        == b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\ngone\n"
    )


def test_an_empty_reason_leaves_a_space() -> None:
    assert (
        whole_response(0, False, False, 200, b"", (), b"x") == b"HTTP/1.0 200 \r\nContent-Length: 1\r\n\r\nx"
    )


def test_a_response_to_head_keeps_its_length() -> None:
    assert (
        whole_response(1, True, True, 200, b"OK", (), b"body")
        == b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
    )


def test_no_body_where_none_may_be() -> None:
    assert (
        whole_response(1, True, False, 304, b"Not Modified", (), b"body")
        == b"HTTP/1.1 304 Not Modified\r\n\r\n"
    )


@pytest.mark.parametrize("bad", [(b"A", b"x\r\nB: y"), (b"A\n", b"x"), (b"A", b"x\r")])
def test_c228_no_header_brings_another(bad: tuple[bytes, bytes]) -> None:
    with pytest.raises(WireError):
        whole_response(1, True, False, 200, b"OK", [bad], b"")


def test_c228_nor_does_the_reason() -> None:
    with pytest.raises(WireError):
        whole_response(1, True, False, 200, b"OK\r\nB: y", [], b"")


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("status", [200, 204, 304, 500])
def test_what_is_written_is_what_an_origin_reader_reads(minor: int, persistent: bool, status: int) -> None:
    data = whole_response(minor, persistent, False, status, b"R", [(b"A", b"b")], b"body")
    end = head_end(data)
    found = parse_response(data[:end])
    assert (found.status, found.minor, found.keep_alive) == (status, minor, persistent)
    reader = response_body(found, b"GET")
    assert reader.feed(data[end:]) == (b"" if bodiless(status) else b"body")
    assert reader.finished and not reader.rest
