"""HTTP/1 heads: bytes to values and back (RFC 9112), for clients and origins alike.

Called by the edge and by the HTTP origin.  llhttp reads the header lines; the first line is read here,
because a proxy must take any method and any UTF-8 target, which llhttp refuses.  A head that cannot be read
in exactly one way raises ``HttpError``.  Never touches bodies (``wire.body``), sockets or clocks.
"""

from __future__ import annotations

import re
from typing import NoReturn

import httptools

from pushpin_tw.errors import HttpError, WireError
from pushpin_tw.wire.headers import Header, HeaderList
from pushpin_tw.wire.message import Request, Response

MAX_HEADERS = 64
RARE = frozenset({b"x-forwarded-for", b"pushpin-check", b"sec-websocket-extensions"})
"""Headers that few requests have; those that have one are marked, so that nobody looks in the others."""

_HEAD_END = re.compile(rb"\n\r?\n")
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([^\x00-\x20\x7f]+) HTTP/1\.([01])")
_BEFORE_VERSION = re.compile(_TOKEN + rb" [^\x00-\x20\x7f]+ ")
_PART_BEFORE_VERSION = re.compile(rb"(?:" + _TOKEN + rb"(?: [^\x00-\x20\x7f]*)?)?")
_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")
_VERSION_BEGINNINGS = {(version + b"\r")[:length] for version in _VERSIONS for length in range(10)}
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_FOLD = re.compile(rb"\n[ \t]")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_READ = RARE | {
    *(b"host", b"connection", b"content-length", b"transfer-encoding", b"expect", b"upgrade"),
}
"""What is read of a request."""

_INVALID = "Failed to parse request: "
# llhttp's words, by their beginning, and what a client is told.
_REASONS = (
    ("Invalid header token", "invalid header name"),
    ("Unexpected whitespace", "invalid header name"),
    ("Missing expected LF", "invalid header value"),
    ("Missing expected CR", "invalid new line"),
    ("Invalid header value", "invalid header value"),
    ("Duplicate Content-Length", "invalid content length"),
    ("Invalid character in Content-Length", "invalid content length"),
    ("Content-Length overflow", "invalid content length"),
    ("Empty Content-Length", "invalid content length"),
    ("Content-Length can't be", "invalid content length"),
    ("Transfer-Encoding can't be", "invalid content length"),
    ("Request has invalid", "unsupported transfer encoding"),
    ("Invalid `Transfer-Encoding`", "unsupported transfer encoding"),
    ("Empty Transfer-Encoding", "unsupported transfer encoding"),
)


class _HeaderSink:
    """Receives what llhttp reports of one header block."""

    __slots__ = ("done", "headers")

    def __init__(self) -> None:
        self.headers: HeaderList = []
        self.done = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.done = True


def head_end(data: bytes | bytearray, start: int = 0) -> int:
    """The index just behind the empty line that ends a head, or -1 when it has not come yet."""
    found = _HEAD_END.search(data, start)
    return found.end() if found else -1


def check_partial_request(data: bytes) -> None:
    """Refuse, before its head is complete, what cannot become a request: TLS bytes, garbage.

    :raises HttpError: the first line is wrong already, as ``parse_request`` would say of the whole.
    """
    line, newline, _ = data.partition(b"\n")
    if newline:
        _request_line(line.removesuffix(b"\r"))
        return
    start = _BEFORE_VERSION.match(line)
    if start is None:
        good = _PART_BEFORE_VERSION.fullmatch(line) is not None
    else:
        good = line[start.end() :] in _VERSION_BEGINNINGS
    if not good:
        _refuse_line(line)


def parse_request(head: bytes) -> Request:
    """Read a complete request head, request line to empty line inclusive.

    Lines end in CRLF, or all of them in LF alone; a mixture is refused, since another reader may split it
    elsewhere.

    :raises HttpError: with the text of the answer (proxy 8.2).
    """
    line, _, block = _canonical(head).partition(b"\r\n")
    method, target, minor = _request_line(line)
    headers = _read_block(b"GET / HTTP/1.1\r\n", block)
    request = Request(method, target, minor, headers, keep_alive=minor == 1)
    interpret_request(request)
    return request


def _request_line(line: bytes) -> tuple[bytes, bytes, int]:
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        _refuse_line(line)
    method, target, minor = found.groups()
    if not target.isascii():
        try:
            target.decode()
        except UnicodeDecodeError:
            raise HttpError(_INVALID + "invalid token") from None
    return method, target, minor[0] - 0x30


def _refuse_line(line: bytes) -> NoReturn:
    start = _BEFORE_VERSION.match(line)
    if start is None:
        raise HttpError(_INVALID + "invalid token")
    if line[start.end() : start.end() + 8] not in _VERSIONS:
        raise HttpError(_INVALID + "invalid HTTP version")
    raise HttpError(_INVALID + "invalid new line")


def _canonical(head: bytes) -> bytes:
    return head if b"\r" in head else head.replace(b"\n", b"\r\n")


def _read_block(first_line: bytes, block: bytes) -> HeaderList:
    sink = _HeaderSink()
    try:
        httptools.HttpRequestParser(sink).feed_data(first_line + block)
    except httptools.HttpParserUpgrade:
        pass  # llhttp stops behind an upgrade; the head is complete all the same
    except httptools.HttpParserError as error:
        if len(sink.headers) > MAX_HEADERS:
            raise HttpError(_INVALID + "too many headers") from None
        raise HttpError(_INVALID + _reason(str(error), block)) from None
    if len(sink.headers) > MAX_HEADERS:
        raise HttpError(_INVALID + "too many headers")
    if not sink.done:
        raise HttpError(_INVALID + "invalid header name")
    return sink.headers


def _reason(words: str, block: bytes) -> str:
    if _FOLD.search(block) or block[:1] in (b" ", b"\t"):
        return "invalid header name"
    return next((reason for start, reason in _REASONS if words.startswith(start)), "invalid header value")


def interpret_request(request: Request) -> None:
    """Draw from the headers what the edge needs to know, in one pass.

    :raises HttpError: the framing is ambiguous, whatever llhttp let pass.
    """
    for name, value in request.headers:
        lower = name.lower()
        if lower not in _READ:
            continue
        if lower == b"host":
            if request.host is None:
                request.host = value
        elif lower == b"connection":
            tokens = [token.strip() for token in value.lower().split(b",")]
            if b"close" in tokens:
                request.keep_alive = False
            elif request.minor == 0 and b"keep-alive" in tokens:
                request.keep_alive = True
        elif lower == b"content-length":
            if request.length is not None:
                raise HttpError(_INVALID + "invalid content length")
            request.length = _length(value)
        elif lower == b"transfer-encoding":
            if value != b"chunked" or request.minor == 0 or request.chunked:
                raise HttpError(_INVALID + "unsupported transfer encoding")
            request.chunked = True
        elif lower == b"expect":
            request.expects_continue = value.lower() == b"100-continue" and request.minor == 1
        elif lower == b"upgrade":
            request.websocket = request.websocket or value.lower() == b"websocket"
        else:
            request.rare += (lower,)
    if request.chunked and request.length is not None:
        raise HttpError(_INVALID + "invalid content length")


def _length(value: bytes) -> int:
    if not _DIGITS.fullmatch(value):
        raise HttpError(_INVALID + "invalid content length")
    return int(value)


def parse_response(head: bytes) -> Response:
    """Read a complete response head.

    :raises HttpError: malformed, or framed in a way that two readers could understand differently.
    """
    line, _, block = _canonical(head).partition(b"\r\n")
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise HttpError("invalid status line", 502)
    minor, status, reason = found.groups()
    headers = _read_block(b"GET / HTTP/1.1\r\n", block)
    response = Response(int(status), reason or b"", headers, minor=minor[0] - 0x30)
    interpret_response(response)
    return response


def interpret_response(response: Response) -> None:
    """As ``interpret_request``, for what the origin room needs to know."""
    options: list[bytes] = []
    for name, value in response.headers:
        lower = name.lower()
        if lower == b"content-length":
            if response.length is not None:
                raise HttpError("several content lengths", 502)
            response.length = _length(value)
        elif lower == b"transfer-encoding":
            if value.lower() != b"chunked" or response.chunked:
                raise HttpError("unsupported transfer encoding", 502)
            response.chunked = True
        elif lower == b"connection":
            options += [token.strip() for token in value.lower().split(b",")]
    if response.chunked and response.length is not None:
        raise HttpError("both content length and transfer encoding", 502)
    if b"close" in options:
        response.keep_alive = False
    elif not response.minor:
        # HTTP/1.0 knows no chunks: somebody on the way may have read them otherwise (RFC 9112, 6.1).
        response.keep_alive = b"keep-alive" in options and not response.chunked


def encode_head(first_line: bytes, headers: HeaderList | tuple[Header, ...], framing: bytes = b"") -> bytes:
    """Write a head: the first line, the headers, ready-made framing lines, the empty line.

    :raises WireError: a name or value contains a line end; nothing but the proxy ends a header line.
    """
    lines = [b"%b: %b\r\n" % pair for pair in headers]
    head = b"".join([first_line, b"\r\n", *lines, framing, b"\r\n"])
    if head.count(b"\n") != len(lines) + 2 + framing.count(b"\n") or head.count(b"\r") != head.count(b"\n"):
        raise WireError("line end within a header")
    return head


def status_line(minor: int, status: int, reason: bytes) -> bytes:
    """The first line of a response, without its line end."""
    return b"HTTP/1.%d %d %b" % (minor, status, reason)


def encode_chunk(data: bytes) -> bytes:
    """One chunk; ``data`` must not be empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
