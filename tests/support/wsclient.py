"""A WebSocket client of raw bytes, on top of ``RawClient``.

Used by tests that open WebSockets at a running proxy; see ``wsstage``.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1

from tests.support.rawclient import Head, RawClient
from tests.support.wspeer import MASK, Peer

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "Sec-WebSocket-Version: 13"
UPGRADE = "Upgrade: websocket"
HANDSHAKE = (UPGRADE, "Connection: Upgrade", VERSION, f"Sec-WebSocket-Key: {KEY}")
"""The header lines of a good handshake."""


def accept(key: str) -> str:
    """What is to be answered to a key (RFC 6455, 4.2.2)."""
    return b64encode(sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


class SocketClient(Peer):
    """A client whose handshake was agreed to."""

    def __init__(self, raw: RawClient, head: Head) -> None:
        super().__init__(raw, MASK)
        self.head = head
        """Of the 101."""

    @classmethod
    async def switched(cls, raw: RawClient, key: str = KEY) -> SocketClient:
        """Once ``raw``, which has sent its handshake, has got a good 101."""
        head = await raw.read_head()
        assert head.status == 101, f"{head.raw!r}, then {bytes(raw.unread)!r}"
        assert head.all("Upgrade") == ["websocket"]
        assert head.all("Connection") == ["Upgrade"]
        assert head.all("Sec-WebSocket-Accept") == [accept(key)]
        return cls(raw, head)
