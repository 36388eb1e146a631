"""Message bodies: where they end, and what is in them (RFC 9112, 6 and 7).

One reader per framing, all with the same face: ``feed(data)`` returns the body bytes in ``data``;
``finished`` tells that the body is complete and ``rest`` what came behind it.  Made by the edge and by the
HTTP origin.
Chunks are read here because llhttp does not tell where in its input a message ends, and what stands behind it
belongs to the next request.
"""

from __future__ import annotations

import re

from pushpin_tw.errors import HttpError
from pushpin_tw.wire.headers import is_token, is_value
from pushpin_tw.wire.message import Response

MAX_CHUNK = 2**32 - 1
MAX_CHUNK_LINE = 8192
MAX_TRAILERS = 8192

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_CHUNK_START = re.compile(rb"[0-9A-Fa-f]+(?:[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?)?\r?")


class BodyReader:
    """The common face; itself the reader of a body that lasts until the connection closes."""

    __slots__ = ("finished", "rest")

    def __init__(self) -> None:
        self.finished = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """The body bytes in ``data``.

        :raises HttpError: the framing is broken.
        """
        return data

    def closed(self) -> bool:
        """The peer has closed: whether the body is complete by that."""
        return True


class LengthReader(BodyReader):
    """A body of known length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        super().__init__()
        self._left = length
        self.finished = not length

    def feed(self, data: bytes) -> bytes:
        size = len(data)
        if size < self._left:
            self._left -= size
            return data
        left, self._left = self._left, 0
        self.finished = True
        self.rest = data[left:]
        return data[:left] if size > left else data

    def closed(self) -> bool:
        return self.finished


class ChunkedReader(BodyReader):
    """A chunked body; extensions and trailers are checked and dropped.

    One read may hold thousands of chunks, so states move an offset through it instead of cutting it down.
    """

    __slots__ = ("_left", "_line_limit", "_state", "_trailers", "_waiting")

    def __init__(self, line_limit: int = MAX_CHUNK_LINE) -> None:
        """``line_limit``: bytes that the line with a chunk's size and extensions may have."""
        super().__init__()
        self._waiting = b""  # an incomplete line or suffix, never body bytes
        self._left = 0
        self._line_limit = line_limit
        self._trailers = 0
        self._state = self._read_size

    def feed(self, data: bytes) -> bytes:
        buffer = self._waiting + data if self._waiting else data
        pieces: list[bytes] = []
        at = 0
        while not self.finished:
            step = self._state(buffer, at, pieces)
            if step < 0:
                self._waiting = buffer[at:]
                break
            at = step
        else:
            self._waiting = b""
            self.rest = buffer[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def closed(self) -> bool:
        return self.finished

    # Each state reads from ``at`` and returns the new offset, or -1 when it needs more than there is.

    def _read_size(self, buffer: bytes, at: int, pieces: list[bytes]) -> int:
        found = _CHUNK_LINE.match(buffer, at)
        if (found.end() if found else len(buffer)) - at > self._line_limit:
            raise HttpError("Failed to process request.", 500)
        if found is None:
            if at < len(buffer) and not _CHUNK_START.fullmatch(buffer, at):
                raise HttpError("Failed to parse request: invalid chunk size")
            return -1
        digits = found[1]
        self._left = int(digits, 16) if len(digits) <= 16 else MAX_CHUNK + 1
        if self._left > MAX_CHUNK:
            raise HttpError("Failed to parse request: chunk too large")
        start, end = found.end(), found.end() + self._left
        if self._left and buffer[end : end + 2] == b"\r\n":  # the whole chunk is here: no need for the states
            pieces.append(buffer[start:end])
            return end + 2
        self._state = self._read_data if self._left else self._read_trailer
        return start

    def _read_data(self, buffer: bytes, at: int, pieces: list[bytes]) -> int:
        if at == len(buffer):
            return -1
        piece = buffer[at : at + self._left]
        pieces.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = self._read_suffix
        return at + len(piece)

    def _read_suffix(self, buffer: bytes, at: int, pieces: list[bytes]) -> int:
        suffix = buffer[at : at + 2]
        if suffix != b"\r\n":
            if suffix and suffix != b"\r":
                raise HttpError("Failed to parse request: invalid chunk suffix")
            return -1
        self._state = self._read_size
        return at + 2

    def _read_trailer(self, buffer: bytes, at: int, pieces: list[bytes]) -> int:
        end = buffer.find(b"\n", at) + 1
        size = (end or len(buffer)) - at
        if self._trailers + size > MAX_TRAILERS:
            raise HttpError("Failed to process request.", 500)
        if not end:
            return -1
        self._trailers += size
        line = buffer[at : end - 1]
        if line == b"\r":
            self.finished = True
        else:
            _check_trailer(line)
        return end


def _check_trailer(line: bytes) -> None:
    """``line`` is without its line feed."""
    if not line.endswith(b"\r"):
        raise HttpError("Failed to parse request: invalid new line")
    name, colon, value = line[:-1].partition(b":")
    if not colon or not is_token(name):
        raise HttpError("Failed to parse request: invalid header name")
    if not is_value(value):
        raise HttpError("Failed to parse request: invalid header value")


def response_body(response: Response, method: bytes) -> BodyReader:
    """The reader for the body behind ``response``, an answer to ``method`` (RFC 9112, 6.3)."""
    if method == b"HEAD" or response.status in (204, 304) or response.status < 200:
        return LengthReader(0)
    if response.chunked:
        return ChunkedReader()
    if response.length is not None:
        return LengthReader(response.length)
    return BodyReader()
