"""The values that travel: a request from a client, a request to an origin, a response, and what is logged.

Made by the parsers of ``wire.http1``, by ``routing.rewrite`` and, for the log, by ``proxy``; read everywhere.
They hold bytes as they stood on the wire and no behaviour beyond look-ups.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pushpin_tw.wire.headers import HeaderList


@dataclass(slots=True)
class Request:
    """A client's request, its head parsed once in its life."""

    method: bytes
    target: bytes
    """As it stood in the request line, unnormalised."""
    minor: int
    """The minor version: 0 or 1, for HTTP/1.0 and HTTP/1.1."""
    headers: HeaderList
    length: int | None = None
    """The announced Content-Length; None when there was none."""
    chunked: bool = False
    keep_alive: bool = True
    """Whether the client wants the connection to persist (RFC 9112, 9.3)."""
    expects_continue: bool = False
    websocket: bool = False
    """Whether the whole Upgrade value is ``websocket`` (any case)."""
    host: bytes | None = None
    """The first Host value; None when there was none."""
    secure: bool = False
    """Whether the client speaks TLS; set by the edge."""
    peer: str = ""
    """The TCP peer's address; empty for a Unix socket; set by the edge."""
    size: int = 0
    """Bytes of the head as it came; set by the edge, 0 when it did not come like this."""
    rare: tuple[bytes, ...] = ()
    """Which of some headers that few requests have (``wire.http1.RARE``) there may be."""

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow the head."""
        return self.chunked or bool(self.length)


@dataclass(slots=True)
class Response:
    """A response head, from an origin or made here."""

    status: int
    reason: bytes
    headers: HeaderList = field(default_factory=list)
    length: int | None = None
    """The Content-Length; None when there was none."""
    chunked: bool = False
    minor: int = 1
    keep_alive: bool = True
    """Whether the origin lets its connection persist."""
    size: int = 0
    """Bytes of the head as it came; 0 when it came in another form, or was made here."""


@dataclass(slots=True)
class OriginRequest:
    """What one target is asked: rewritten, signed, without framing headers."""

    method: bytes
    target: bytes
    headers: HeaderList
    """``Host`` first; the origin's writer appends the framing headers."""
    length: int | None = 0
    """Bytes of body to come; None when unknown (sent chunked)."""
    host: str = ""
    """The host of the rewritten URI: server name for TLS and part of the pool's key."""
    secure: bool = False
    """Whether the rewritten URI is ``https``."""
    path: bytes = b"/"
    """The path of the rewritten URI, without query."""
    query: bytes | None = None
    """The query, without ``?``; None when there was none."""
    size: int = 0
    """Bytes of the head as the origin writes it, set by it; 0 when it writes another form."""
    body_on_demand: bool = False
    """Where bodies can be asked for, this one waits until it is: events of a WebSocket (zeromq 2.6)."""


@dataclass(slots=True)
class RequestLine:
    """What the log says about one request (proxy 8.11).

    Not frozen: one is made for each request, and a frozen one takes twice as long to make.
    """

    method: bytes
    uri: str
    """As received, not rewritten."""
    outcome: str
    """'code' (with ``status`` and ``size``), 'accept' (it came to rest in a hold) or 'error'."""
    status: int = 0
    size: int = 0
    """Body bytes sent to the client."""
    target: str = ""
    """Label of the last target tried; empty when none was."""
    over_http: bool = False
    """A WebSocket over an ``over_http`` target."""
    peer: str = ""
    referer: str = ""
    route: str = ""
    """The route's id when it is an explicit one."""
    retry: bool = False
    shared: int | None = None
    """A number that tells which shared exchange it was part of."""
    user_agent: str = ""
    last_ids: list[tuple[str, str]] = field(default_factory=list)
    """(channel, id) for each ``Grip-Last`` header of the client."""
    threshold: int | None = None
    """The log level of its route, if that has one: it decides in place of the service's."""
