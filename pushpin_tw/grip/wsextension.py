"""The ``grip`` extension, by which an origin says that it speaks GRIP over a WebSocket (websocket 2.2).

Called by the proxy for what an origin has answered to a handshake.  Never looks at messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pushpin_tw.grip.params import parse_params, split_elements

DEFAULT_PREFIX = b"m:"

_NAME = b"grip"
_PREFIX = b"message-prefix"


@dataclass(frozen=True, slots=True)
class GripExtension:
    """What was agreed."""

    prefix: bytes
    """What stands before messages that are for the client; empty when all are."""
    element: bytes
    """As the origin has written it."""


def read_extension(values: Sequence[bytes]) -> GripExtension | None:
    """Find the extension in all values of ``Sec-WebSocket-Extensions``; None when the origin does not want
    it, or has asked for it in a way that means nothing."""
    for element in split_elements(values):
        name, _, rest = element.partition(b";")
        if name.strip() == _NAME:
            params = parse_params(rest)
            if params is None:
                return None
            prefix: bytes | None = DEFAULT_PREFIX
            for key, value in params:
                if key == _PREFIX:
                    # Bare or with empty quotes it is empty; with nothing at all behind "=" it is none.
                    prefix = b"" if value is None else value or None
            return None if prefix is None else GripExtension(prefix, element)
    return None
