"""The values that an instruction consists of, and the rules that both of its forms share (grip 4 to 6).

Made by ``instruct`` and ``jsoninstruct``, read by the proxy and by holds, who import them from ``instruct``.
Never parses.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from pushpin_tw.errors import InstructError
from pushpin_tw.wire.headers import Header, HeaderList, without

MAX_FILTERS = 5
"""Filters on one channel."""
MAX_BODY = 100_000
"""Bytes of an instruction response's body that are gathered; also of the request's."""
DEFAULT_TIMEOUT = 55
"""Seconds, of response holds and of keep-alives."""
MIN_TIMEOUT = 5
"""Seconds, of response holds."""
DEFAULT_LINK_TIMEOUT = 120
"""Seconds."""

_FRAMING = frozenset(
    [b"connection", b"keep-alive", b"content-encoding", b"transfer-encoding", b"content-length"]
)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel to subscribe to."""

    name: str
    prev_id: str | None = None
    """The id of the last item that the client has seen; None when that is not tracked."""
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """What an idle stream sends."""

    data: bytes
    """Never empty."""
    timeout: int = DEFAULT_TIMEOUT
    """Seconds, at least 1."""
    interval: bool = False
    """Whether it runs regardless of items; else each item restarts it."""


@dataclass(frozen=True, slots=True)
class NextLink:
    """Where a stream goes on."""

    uri: str
    """Absolute, ``http`` or ``https``."""
    timeout: int = DEFAULT_LINK_TIMEOUT
    """Seconds without items until it is fetched; 0 is at once."""


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """What a hold asks an origin by itself (grip 10.2, 10.6, 13.6)."""

    place: Hashable
    """Where the hold's client has come in; made by the proxy, not looked into by holds."""
    uri: str
    """Absolute, ``http`` or ``https``."""
    last_ids: tuple[tuple[str, str], ...] = ()
    """Pairs of channel and id for ``Grip-Last``."""


@dataclass(frozen=True, slots=True)
class Instruct:
    """An origin's instruction, and the response that goes with it."""

    mode: str
    """'none', 'response' or 'stream'."""
    status: int
    """200 to 999."""
    reason: bytes
    headers: tuple[Header, ...] = ()
    """Without Grip and framing headers (grip 6)."""
    body: bytes = b""
    channels: tuple[Channel, ...] = ()
    """Each name once."""
    timeout: int = DEFAULT_TIMEOUT
    """Seconds, at least 5; of a response hold."""
    keep_alive: KeepAlive | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    """What the origin noted about the session; keys without value are left out."""
    next_link: NextLink | None = None
    gone_link: str | None = None
    """The absolute URI of the gone link."""


def check_filters(filters: tuple[str, ...], name: str) -> None:
    """Refuse more filters than a channel may have."""
    if len(filters) > MAX_FILTERS:
        raise InstructError(f"too many filters for channel '{name}'")


def without_framing(headers: Iterable[Header]) -> HeaderList:
    """Headers without those that describe how a body was sent to us (grip 6)."""
    return without(headers, _FRAMING)
