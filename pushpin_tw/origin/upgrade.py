"""The opening handshake with a backend (RFC 6455, 4; websocket 1.10, 2.1, 2.2).

``UpgradeCall`` is made by ``origin.http`` for each client who wants a WebSocket.  A 101 that keeps the rules
ends it in an ``OriginSocket``; everything else that a backend may say is its refusal.  Never looks at what
``grip`` as an extension means.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pushpin_tw.errors import HttpError, OriginError, WireError
from pushpin_tw.origin.asking import Asking
from pushpin_tw.origin.call import HttpCall, encode_request
from pushpin_tw.origin.connect import Dial
from pushpin_tw.origin.websocket import OriginSocket, SocketRules
from pushpin_tw.wire.headers import Header, get_all
from pushpin_tw.wire.message import OriginRequest, Response
from pushpin_tw.wire.websocket import accept_key, parse_extensions

DEFLATE = b"permessage-deflate"

_UPGRADE = (
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Version", b"13"),
)
_OFFER: Header = (b"Sec-WebSocket-Extensions", DEFLATE)
_NO_TAKEOVER = frozenset((b"server_no_context_takeover", b"client_no_context_takeover"))
_WINDOWS = frozenset(b"%d" % bits for bits in range(8, 16))


def upgrade_request(request: OriginRequest, key: bytes, deflate: bool) -> OriginRequest:
    """``request`` with the headers of RFC 6455 behind Host; ``deflate``: offer compression."""
    offer = (_OFFER,) if deflate else ()
    host, *others = request.headers
    return replace(request, headers=[host, *_UPGRADE, (b"Sec-WebSocket-Key", key), *offer, *others], length=0)


def read_agreement(response: Response, key: bytes, offered: bool) -> bool:
    """Check a 101 and return whether messages may be compressed; ``offered`` says whether that was offered.

    :raises HttpError: it is no answer to a handshake with ``key``.
    """
    if set(get_all(response.headers, b"sec-websocket-accept")) != {accept_key(key)}:
        raise HttpError("wrong or no Sec-WebSocket-Accept")
    try:
        extensions = parse_extensions(get_all(response.headers, b"sec-websocket-extensions"))
    except WireError as error:
        raise HttpError(str(error)) from None
    answers = [params for name, params in extensions if name == DEFLATE]
    if not answers:
        return False
    if not offered or len(answers) > 1 or not _understood(answers[0]):
        raise HttpError("permessage-deflate was not offered like that")
    return True


def _understood(params: list[tuple[bytes, bytes | None]]) -> bool:
    """Whether we can live with what a backend says of compression (RFC 7692, 7.1).

    A smaller window of the backend's is nothing to us.  One of ours we have not offered to make smaller.
    """
    names = [name for name, _ in params]
    return len(set(names)) == len(names) and all(
        value is None if name in _NO_TAKEOVER else name == b"server_max_window_bits" and value in _WINDOWS
        for name, value in params
    )


class UpgradeCall(HttpCall):
    """A handshake under way.  To whom it was given it is an object with ``cancel()``."""

    __slots__ = ("_again", "_key", "_offered", "_rules", "_text", "_waits")

    def __init__(self, sink: Any, head_limit: int, rules: SocketRules, offer: bool) -> None:
        """``sink`` is an ``ISocketSink``, ``head_limit`` in bytes; ``offer``: compression is offered."""
        refusal = Asking(self)
        super().__init__(_BLANK, refusal, head_limit, 0, rules.stats)
        refusal.call = self
        self._waits = sink
        self._rules = rules
        self._offered = offer
        self._key = b64encode(rules.entropy(16))
        self._text = b""
        self._again: Callable[[UpgradeCall], None] | None = None

    def ask(self, request: OriginRequest, again: Callable[[UpgradeCall], None]) -> None:
        """Send ``request``, which lacks the headers of RFC 6455.

        ``again`` makes a new connection for this call: a backend may close an idle one the moment we use it.

        :raises WireError: as ``encode_request``.
        """
        self._text = encode_request(upgrade_request(request, self._key, self._offered))
        self._again = again
        self.begin(self._text)
        self.finish()

    def dialing(self, dial: Dial) -> None:
        """A connection is being made, and whatever happens to that is the backend's answer."""
        self._again = None
        super().dialing(dial)

    def answered(self, response: Response, body: bytes) -> None:
        """As ``Asker``: a refusal."""
        self._waits.refused(response, body)

    def unanswered(self, error: OriginError) -> None:
        """As ``Asker``."""
        self._waits.failed(error)

    def connection_lost(self, clean: bool) -> None:
        """The backend has gone, or had gone before the handshake came."""
        again, self._again = self._again, None
        if again is None or self._buffer or self._interim or self._reader is not None:
            super().connection_lost(clean)
            return
        self._connection = None
        self._send(self._text)
        again(self)

    def _switch(self, response: Response, rest: bytes) -> None:
        """The backend agrees."""
        deflate = read_agreement(response, self._key, self._offered)
        connection, self._connection = self._connection, None
        self._sink = None
        assert connection is not None
        socket = OriginSocket(connection, deflate, self._rules)
        connection.occupy(socket)
        connection.outlast_silence()
        try:
            self._waits.opened(response, socket)
        except Exception:
            self._stats.failure("origin")
            socket.abort()
        if rest:
            socket.data_received(rest)


_BLANK = OriginRequest(b"GET", b"/", [])
"""A call needs to know no more of its request than the method, and that there is no body."""
