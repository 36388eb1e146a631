"""What browsers need from a server of another origin: CORS headers, or the response as a script (proxy 6).

Called by ``proxy`` for requests on routes with ``aco``, and by ``grip.template`` for what held requests are
answered with.  Never knows whether a response is under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pushpin_tw.routing.padding import Padding
from pushpin_tw.wire.headers import Header, HeaderList, get, get_all, split_list

_METHODS = b"OPTIONS, HEAD, GET, POST, PUT, DELETE"
_SIMPLE = frozenset(
    (
        b"cache-control",
        b"content-language",
        b"content-length",
        b"content-type",
        b"expires",
        b"last-modified",
        b"pragma",
    )
)


@dataclass(frozen=True, slots=True)
class Cors:
    """What one client is told about who may ask what."""

    methods: bytes = _METHODS
    headers: bytes = b""
    """Names of request headers that it has asked about; empty for none."""
    origin: bytes = b"*"

    def add(self, headers: Sequence[Header]) -> HeaderList:
        """``headers``, and behind them what they do not say themselves (proxy 6.1)."""
        added = list(headers)
        given = {name.lower() for name, _ in headers}
        for header in (
            (b"Access-Control-Allow-Methods", self.methods),
            (b"Access-Control-Allow-Headers", self.headers),
            (b"Access-Control-Expose-Headers", _exposed(headers)),
            (b"Access-Control-Allow-Credentials", b"true"),
            (b"Access-Control-Allow-Origin", self.origin),
            (b"Access-Control-Max-Age", b"3600"),
        ):
            if header[1] and header[0].lower() not in given:
                added.append(header)
        return added


def read_cors(request_headers: Sequence[Header]) -> Cors:
    """The values for a request with these headers."""
    asked = split_list(get_all(request_headers, b"access-control-request-headers"))
    return _cors(
        get(request_headers, b"access-control-request-method") or _METHODS,
        b", ".join(asked),
        get(request_headers, b"origin") or b"*",
    )


@lru_cache(maxsize=1024)
def _cors(methods: bytes, headers: bytes, origin: bytes) -> Cors:
    """The clients of a site say the same; what thousands of holds keep of it is kept once."""
    return Cors(methods, headers, origin)


def _exposed(headers: Sequence[Header]) -> bytes:
    """The names that a page may not see unless it is told so, each once."""
    names: dict[bytes, bytes] = {}
    for name, _ in headers:
        lower = name.lower()
        if lower not in _SIMPLE and not lower.startswith((b"access-control-", b"grip-")):
            names.setdefault(lower, name)
    return b", ".join(names.values())


@dataclass(frozen=True, slots=True)
class Dress:
    """How one client's responses are to look; equal for all who need the same."""

    cors: Cors
    padding: Padding | None = None
    """None for a client that did not ask for JSON-P."""

    def whole(
        self, status: int, reason: bytes, headers: Sequence[Header], body: bytes
    ) -> tuple[int, bytes, HeaderList, bytes]:
        """What a held request is answered with (grip 8.3, proxy 6.4)."""
        if self.padding is None:
            return status, reason, self.cors.add(headers), body
        return 200, b"OK", *self.padding.held(status, reason, headers, body)
