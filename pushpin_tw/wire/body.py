"""Message bodies: where they end, and what is in them (RFC 9112, 6 and 7).

One reader per framing, all with the same face: ``feed(data)`` returns the body bytes in ``data``; ``finished``
tells that the body is complete and ``rest`` what came behind it.  Made by the edge and by the HTTP origin.
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

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
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
    """A chunked body; extensions and trailers are checked and dropped."""

    __slots__ = ("_buffer", "_left", "_state", "_trailers")

    def __init__(self) -> None:
        super().__init__()
        self._buffer = b""
        self._left = 0
        self._trailers = 0
        self._state = self._read_size

    def feed(self, data: bytes) -> bytes:
        self._buffer = self._buffer + data if self._buffer else data
        pieces: list[bytes] = []
        while not self.finished and self._state(pieces):
            pass
        if self.finished:
            self.rest, self._buffer = self._buffer, b""
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def closed(self) -> bool:
        return self.finished

    def _line(self, limit: int) -> bytes | None:
        line, newline, rest = self._buffer.partition(b"\n")
        if len(line) > limit:
            raise HttpError("Failed to process request.", 500)
        if not newline:
            return None
        self._buffer = rest
        return line

    def _read_size(self, pieces: list[bytes]) -> bool:
        line = self._line(MAX_CHUNK_LINE)
        if line is None:
            if self._buffer and not _CHUNK_START.fullmatch(self._buffer):
                raise HttpError("Failed to parse request: invalid chunk size")
            return False
        found = _CHUNK_LINE.fullmatch(line[:-1]) if line.endswith(b"\r") else None
        if found is None:
            raise HttpError("Failed to parse request: invalid chunk size")
        self._left = int(found[1], 16) if len(found[1]) <= 16 else MAX_CHUNK + 1
        if self._left > MAX_CHUNK:
            raise HttpError("Failed to parse request: chunk too large")
        self._state = self._read_data if self._left else self._read_trailer
        return True

    def _read_data(self, pieces: list[bytes]) -> bool:
        data = self._buffer
        if not data:
            return False
        if len(data) <= self._left:
            piece, self._buffer = data, b""
        else:
            piece, self._buffer = data[: self._left], data[self._left :]
        pieces.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = self._read_suffix
        return True

    def _read_suffix(self, pieces: list[bytes]) -> bool:
        if not b"\r\n".startswith(self._buffer[:2]):
            raise HttpError("Failed to parse request: invalid chunk suffix")
        if len(self._buffer) < 2:
            return False
        self._buffer = self._buffer[2:]
        self._state = self._read_size
        return True

    def _read_trailer(self, pieces: list[bytes]) -> bool:
        line = self._line(MAX_TRAILERS)
        if line is None:
            return False
        self._trailers += len(line) + 1
        if self._trailers > MAX_TRAILERS:
            raise HttpError("Failed to process request.", 500)
        if not line.endswith(b"\r"):
            raise HttpError("Failed to parse request: invalid new line")
        if line == b"\r":
            self.finished = True
            return False
        name, colon, value = line[:-1].partition(b":")
        if not colon or not is_token(name):
            raise HttpError("Failed to parse request: invalid header name")
        if not is_value(value):
            raise HttpError("Failed to parse request: invalid header value")
        return True


def response_body(response: Response, method: bytes) -> BodyReader:
    """The reader for the body behind ``response``, an answer to ``method`` (RFC 9112, 6.3)."""
    if method == b"HEAD" or response.status in (204, 304) or response.status < 200:
        return LengthReader(0)
    if response.chunked:
        return ChunkedReader()
    if response.length is not None:
        return LengthReader(response.length)
    return BodyReader()
