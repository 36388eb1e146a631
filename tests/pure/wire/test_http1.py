"""Heads: what is understood, what is refused with which words, and that how bytes arrive does not matter."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import HttpError, WireError
from pushpin_tw.wire.headers import HeaderList
from pushpin_tw.wire.http1 import (
    check_partial_request,
    encode_chunk,
    encode_head,
    head_end,
    interpret_request,
    interpret_response,
    parse_request,
    parse_response,
    status_line,
)
from pushpin_tw.wire.message import Request, Response
from tests.pure.splitting import bytewise, same_however_split

LINE = b"GET / HTTP/1.1\r\n"


def read_request(pieces: list[bytes]) -> tuple[object, ...]:
    """As the edge does: the request and what follows it, or the words of its refusal."""
    data = b""
    try:
        for index, piece in enumerate(pieces):
            data += piece
            end = head_end(data)
            if end >= 0:
                request = parse_request(data[:end])
                return dataclasses.astuple(request), data[end:] + b"".join(pieces[index + 1 :])
            check_partial_request(data)
    except HttpError as error:
        return error.status, error.text
    return ("incomplete",)


def request(head: bytes) -> Request:
    """The request of a head that must be good, in whatever pieces it comes."""
    fields, rest = same_however_split(head, read_request)
    assert rest == b""
    return Request(*fields)  # type: ignore[misc]


# ---- requests that are understood --------------------------------------------------------------------------


def test_a_head_is_kept_as_it_stood() -> None:
    found = request(
        b"GET /a%20b/%C3%A4?x=1&y HTTP/1.1\r\nhost: A.example\r\n"
        b"X-A:  spaced \t\r\nx-a: again\r\nEmpty:\r\n\r\n"
    )
    assert found == Request(
        method=b"GET",
        target=b"/a%20b/%C3%A4?x=1&y",
        minor=1,
        headers=[(b"host", b"A.example"), (b"X-A", b"spaced"), (b"x-a", b"again"), (b"Empty", b"")],
        host=b"A.example",
    )
    assert not found.has_body


def test_what_follows_the_head_is_left() -> None:
    fields, rest = same_however_split(LINE + b"\r\nGET /next HTTP/1.1\r\n\r\n", read_request)
    assert fields[1] == b"/"  # type: ignore[index]
    assert rest == b"GET /next HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("method", [b"GET", b"PATCH", b"X-anything!#$%&'*+.^_`|~09"])
def test_any_token_is_a_method(method: bytes) -> None:
    assert request(method + b" / HTTP/1.1\r\n\r\n").method == method


def test_a_target_may_be_utf8() -> None:
    assert request("GET /ä?ö HTTP/1.1\r\n\r\n".encode()).target == "/ä?ö".encode()


def test_c178_lines_may_end_in_lf_alone() -> None:
    found = request(b"POST /x HTTP/1.1\nHost: a\nContent-Length: 3\n\n")
    assert (found.target, found.host, found.length) == (b"/x", b"a", 3)


def test_bytes_above_ascii_are_fine_in_values() -> None:
    assert request(LINE + b"A: \x80\xff\t~\r\n\r\n").headers == [(b"A", b"\x80\xff\t~")]


def test_several_hosts_the_first_counts() -> None:
    assert request(LINE + b"Host: a\r\nHost: b\r\n\r\n").host == b"a"


def test_64_headers_are_not_too_many() -> None:
    assert len(request(LINE + b"A: b\r\n" * 64 + b"\r\n").headers) == 64


@pytest.mark.parametrize(
    ("version", "connection", "keep"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "Close", False),
        ("1.1", "keep-alive, CLOSE", False),
        ("1.1", "upgrade", True),
        ("1.0", None, False),
        ("1.0", "keep-alive", True),
        ("1.0", "x, Keep-Alive", True),
        ("1.0", "keep-alive, close", False),
        ("1.0", "upgrade", False),
    ],
)
def test_c175_persistence(version: str, connection: str | None, keep: bool) -> None:
    line = f"Connection: {connection}\r\n" if connection else ""
    assert request(f"GET / HTTP/{version}\r\n{line}\r\n".encode()).keep_alive is keep


def test_close_wins_whichever_line_it_stands_on() -> None:
    assert not request(LINE + b"Connection: close\r\nConnection: keep-alive\r\n\r\n").keep_alive


def test_framing() -> None:
    assert request(LINE + b"Content-Length: 005\r\n\r\n").length == 5
    found = request(LINE + b"Content-Length: 0\r\n\r\n")
    assert found.length == 0 and not found.has_body
    found = request(LINE + b"Transfer-Encoding: chunked\r\n\r\n")
    assert found.chunked and found.length is None and found.has_body


@pytest.mark.parametrize(
    ("version", "value", "expects"),
    [
        ("1.1", "100-continue", True),
        ("1.1", "100-Continue", True),
        ("1.1", "200-ok", False),
        ("1.0", "100-continue", False),
    ],
)
def test_expectations(version: str, value: str, expects: bool) -> None:
    assert request(f"GET / HTTP/{version}\r\nExpect: {value}\r\n\r\n".encode()).expects_continue is expects


@pytest.mark.parametrize(
    ("value", "websocket"),
    [("websocket", True), ("WebSocket", True), ("websocket, h2c", False), ("h2c", False)],
)
def test_upgrades(value: str, websocket: bool) -> None:
    head = LINE + f"Connection: Upgrade\r\nUpgrade: {value}\r\nA: b\r\n\r\n".encode()
    found = request(head)
    assert found.websocket is websocket
    assert found.headers[-1] == (b"A", b"b")


# ---- requests that are refused -----------------------------------------------------------------------------

REFUSED = [
    ("invalid token", b"G@T / HTTP/1.1\r\n\r\n"),
    ("invalid token", b"GET  / HTTP/1.1\r\n\r\n"),
    ("invalid token", b" GET / HTTP/1.1\r\n\r\n"),
    ("invalid token", b"GET /\r\n\r\n"),
    ("invalid token", b"GET /a\x7fb HTTP/1.1\r\n\r\n"),
    ("invalid token", b"GET /a\tb HTTP/1.1\r\n\r\n"),
    ("invalid token", b"GET /\xff HTTP/1.1\r\n\r\n"),
    ("invalid token", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ("invalid token", b"\r\n\r\n"),
    ("invalid HTTP version", b"GET / HTTP/2.0\r\n\r\n"),
    ("invalid HTTP version", b"GET / HTTP/1.2\r\n\r\n"),
    ("invalid HTTP version", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("invalid HTTP version", b"GET / http/1.1\r\n\r\n"),
    ("invalid HTTP version", b"GET / HTTP/1\r\n\r\n"),
    ("invalid HTTP version", b"GET / HTTP/x y\r\n\r\n"),
    ("invalid new line", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    ("invalid new line", b"GET / HTTP/1.1 \r\n\r\n"),
    ("invalid new line", b"GET / HTTP/1.10\r\n\r\n"),
    ("invalid header name", LINE + b"A : b\r\n\r\n"),
    ("invalid header name", LINE + b"A\r\n\r\n"),
    ("invalid header name", LINE + b": b\r\n\r\n"),
    ("invalid header name", LINE + b"A(b: c\r\n\r\n"),
    ("invalid header name", LINE + b"\xc3\xa4: c\r\n\r\n"),
    ("invalid header name", LINE + b"A: b\r\n c\r\n\r\n"),
    ("invalid header name", LINE + b"A: b\r\n\tc\r\n\r\n"),
    ("invalid header name", LINE + b" A: b\r\n\r\n"),
    ("invalid header value", LINE + b"A: b\rc\r\n\r\n"),
    ("invalid header value", LINE + b"A: b\r\r\n\r\n"),
    ("invalid header value", LINE + b"A: b\x00\r\n\r\n"),
    ("invalid header value", LINE + b"A: \x01\r\n\r\n"),
    ("invalid header value", LINE + b"A: \x7f\r\n\r\n"),
    ("too many headers", LINE + b"A: b\r\n" * 65 + b"\r\n"),
    ("too many headers", LINE + b"A: b\r\n" * 500 + b"\r\n"),
    ("too many headers", LINE + b"A: b\r\n" * 66 + b"A : b\r\n\r\n"),
    ("invalid content length", LINE + b"Content-Length: x\r\n\r\n"),
    ("invalid content length", LINE + b"Content-Length:\r\n\r\n"),
    ("invalid content length", LINE + b"Content-Length: -1\r\n\r\n"),
    ("invalid content length", LINE + b"Content-Length: +5\r\n\r\n"),
    ("invalid content length", LINE + b"Content-Length: 1 2\r\n\r\n"),
    ("invalid content length", LINE + b"Content-Length: 0x5\r\n\r\n"),
    ("invalid content length", LINE + b"Content-Length: 5, 5\r\n\r\n"),
    ("invalid content length", LINE + b"Content-Length: 99999999999999999999\r\n\r\n"),
    ("unsupported transfer encoding", LINE + b"Transfer-Encoding: Chunked\r\n\r\n"),
    ("unsupported transfer encoding", LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    ("unsupported transfer encoding", LINE + b"Transfer-Encoding: gzip\r\n\r\n"),
    ("unsupported transfer encoding", LINE + b"Transfer-Encoding:\r\n\r\n"),
    ("unsupported transfer encoding", LINE + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n"),
    ("unsupported transfer encoding", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
]


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_without_its_empty_line_is_no_head(head: bytes) -> None:
    """Nobody passes one; if the parser did, its headers would not be taken for all of them."""
    with pytest.raises(HttpError, match="invalid header name"):
        parse_request(head)


@pytest.mark.parametrize(("words", "head"), REFUSED)
def test_c171_refused_with_these_words(words: str, head: bytes) -> None:
    assert same_however_split(head, read_request) == (400, f"Failed to parse request: {words}")


def test_c177_the_coding_is_compared_with_case() -> None:
    with pytest.raises(HttpError, match="unsupported transfer encoding"):
        parse_request(LINE + b"Transfer-Encoding: Chunked\r\n\r\n")


@pytest.mark.parametrize("order", [0, 1])
def test_c223_both_framings_are_refused(order: int) -> None:
    lines = [b"Content-Length: 6\r\n", b"Transfer-Encoding: chunked\r\n"]
    head = LINE + lines[order] + lines[1 - order] + b"\r\n"
    assert same_however_split(head, read_request)[0] == 400


@pytest.mark.parametrize("second", [b"5", b"6"])
def test_c224_two_lengths_are_refused(second: bytes) -> None:
    head = LINE + b"Content-Length: 5\r\nContent-Length: " + second + b"\r\n\r\n"
    assert same_however_split(head, read_request) == (400, "Failed to parse request: invalid content length")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nA: b\nContent-Length: 5\r\n\r\n",
    ],
)
def test_a_mixture_of_line_ends_is_refused(head: bytes) -> None:
    assert same_however_split(head, read_request)[0] == 400


@pytest.mark.parametrize(
    "start", [b"G", b"GET", b"GET ", b"GET /x", b"GET /x ", b"GET /x HT", b"GET / HTTP/1.1\r"]
)
def test_a_good_beginning_waits_for_more(start: bytes) -> None:
    assert same_however_split(start, read_request) == ("incomplete",)


@pytest.mark.parametrize(
    "start", [b"\x16\x03", b"G@", b"GET /\x00", b"GET / X", b"GET / HTTP/3", b"GET / HTTP/1.1\rX"]
)
def test_a_bad_beginning_is_refused_at_once(start: bytes) -> None:
    with pytest.raises(HttpError):
        check_partial_request(start)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    same_end = read_request([data + b"\r\n\r\n"])
    assert same_end[0] != "incomplete"


@given(
    st.lists(
        st.sampled_from([b"GET", b" ", b"/", b"HTTP/1.1", b"\r\n", b"\n", b"\r", b"A", b":", b"b", b"\x00"])
    )
)
def test_nearly_heads_do_not_depend_on_pieces(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert read_request([data]) == read_request(bytewise(data))


# ---- responses ---------------------------------------------------------------------------------------------


def test_a_response_head() -> None:
    found = parse_response(b"HTTP/1.1 200 Fine, really\r\nContent-Length: 3\r\nX: y\r\nX: z\r\n\r\n")
    assert (found.status, found.reason, found.minor, found.length) == (200, b"Fine, really", 1, 3)
    assert found.headers == [(b"Content-Length", b"3"), (b"X", b"y"), (b"X", b"z")]
    assert found.keep_alive and not found.chunked


@pytest.mark.parametrize(
    ("line", "status", "reason", "minor"),
    [
        (b"HTTP/1.1 204 ", 204, b"", 1),
        (b"HTTP/1.1 204", 204, b"", 1),
        (b"HTTP/1.0 599 \xc3\xa4", 599, b"\xc3\xa4", 0),
    ],
)
def test_status_lines(line: bytes, status: int, reason: bytes, minor: int) -> None:
    found = parse_response(line + b"\r\n\r\n")
    assert (found.status, found.reason, found.minor) == (status, reason, minor)


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n", False),
    ],
)
def test_persistence_of_an_origin(head: bytes, keep: bool) -> None:
    assert parse_response(head).keep_alive is keep


def test_chunked_whatever_the_case() -> None:
    assert parse_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").chunked


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200\tOK\r\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    ],
)
def test_responses_that_cannot_be_read_in_one_way(head: bytes) -> None:
    with pytest.raises(HttpError):
        parse_response(head)


# ---- writing -----------------------------------------------------------------------------------------------


def test_a_head_is_written_in_order() -> None:
    head = encode_head(status_line(0, 200, b"OK"), [(b"b", b"1"), (b"A", b"")], b"Content-Length: 0\r\n")
    assert head == b"HTTP/1.0 200 OK\r\nb: 1\r\nA: \r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("bad", [b"x\r\ny", b"x\ny", b"x\ry", b"\n", b"\r"])
@pytest.mark.parametrize("place", ["first line", "name", "value"])
def test_nobody_else_ends_a_header_line(bad: bytes, place: str) -> None:
    first = bad if place == "first line" else b"HTTP/1.1 200 OK"
    pair = (bad if place == "name" else b"A", bad if place == "value" else b"b")
    with pytest.raises(WireError):
        encode_head(first, [pair])


names = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True).filter(
    lambda name: name.lower() not in (b"content-length", b"transfer-encoding")
)
values = st.from_regex(
    rb"[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?", fullmatch=True
)


@given(st.lists(st.tuples(names, values), max_size=20))
def test_what_is_written_is_read_back(pairs: list[tuple[bytes, bytes]]) -> None:
    assert parse_response(encode_head(b"HTTP/1.1 200 OK", pairs)).headers == pairs
    assert parse_request(encode_head(b"GET / HTTP/1.1", pairs)).headers == pairs


def test_chunks() -> None:
    assert encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


# ---- behind llhttp -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Content-Length", b"1"), (b"Content-Length", b"2")],
        [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"gzip")],
        [(b"Content-Length", b"+1")],
    ],
)
def test_ambiguous_framing_is_refused_even_if_the_parser_lets_it_pass(headers: HeaderList) -> None:
    """Its strictness has varied with its versions; ours must not."""
    with pytest.raises(HttpError):
        interpret_request(Request(b"POST", b"/", 1, headers))
    with pytest.raises(HttpError):
        interpret_response(Response(200, b"OK", headers))
