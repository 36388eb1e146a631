"""What a request tells about the way it came: X-Forwarded-For and CDN-Loop (proxy 4.3, 4.5).

Called by ``rewrite`` for every request, and by whoever needs a client's logical address.  Never decides whom
to trust: the rule is handed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from pushpin_tw.wire.headers import HeaderList, get, split_list

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class ForwardedRule:
    """What becomes of X-Forwarded-For."""

    truncate: int | None = None
    """How many values are kept, from the end; None keeps all."""
    append: bool = False
    """Whether the TCP peer's address is added."""

    @classmethod
    def parse(cls, words: Iterable[str]) -> ForwardedRule:
        """From the words ``truncate:N`` and ``append``; others are ignored, a bad N ends the reading."""
        truncate, append = None, False
        for word in words:
            if word == "append":
                append = True
            elif word.startswith("truncate:"):
                if not _NUMBER.fullmatch(word[9:]):
                    break
                truncate = int(word[9:])
        return cls(truncate, append)

    def apply(self, values: Sequence[bytes], peer: str) -> bytes:
        """The value to send; empty when the header is to be left out.

        ``values`` are those of all such headers of the request; ``peer`` is empty for a Unix socket.
        """
        addresses = [part for value in values for part in map(bytes.strip, value.split(b",")) if part]
        if self.truncate is not None:
            addresses = addresses[-self.truncate :] if self.truncate else []
        if self.append and peer:
            addresses.append(peer.encode())
        return b", ".join(addresses)

    def logical_address(self, headers: HeaderList, peer: str) -> str:
        """Who the client is for statistics and some logs: the first value that came, if it is an IP address
        and this rule believes any, else ``peer``."""
        if self.truncate != 0:
            first = (get(headers, b"x-forwarded-for") or b"").partition(b",")[0].strip()
            try:
                return str(ip_address(first.decode("ascii")))
            except ValueError:
                pass
        return peer


def cdn_loop(values: Sequence[bytes], token: bytes) -> bytes:
    """The one CDN-Loop value to send: all that came, then our own token (RFC 8586)."""
    return b", ".join([*split_list(values), token])
