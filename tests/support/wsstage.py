"""The setting of a conformance case with WebSockets: a ``Stage`` whose origin takes part in them.

Tests get it from the fixture ``scene``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from typing import Any

from tests.support.origin import Answer, ScriptedOrigin
from tests.support.rawclient import RawClient
from tests.support.running import Proxy, W
from tests.support.stage import Stage, Start
from tests.support.wsbackend import BackendSocket, SocketBackend, opening
from tests.support.wsclient import HANDSHAKE, KEY, SocketClient
from tests.support.wspeer import Message

MARKER = "-marker-"


class SocketStage(Stage):
    """Built by a fixture, which also clears it away."""

    def __init__(self, origin: ScriptedOrigin, start: Start) -> None:
        super().__init__(origin, start)
        self.backend = SocketBackend()

    async def start_w(
        self, *headers: str, extensions: str = "grip", target: str = "", **options: Any
    ) -> Proxy:
        """A proxy with one WebSocket target, which agrees; ``options`` are those of ``start``."""
        answer = self.backend.accepting(*headers, extensions=extensions)
        return await self.start(answer, target=target, **options)

    async def start_h(self, *answers: Answer, target: str = "over_http", **options: Any) -> Proxy:
        """A proxy with one target that takes events over HTTP; it agrees unless there are ``answers``."""
        return await self.start(*(answers or (opening(),)), target=target, **options)

    async def shake(self, target: str = "/", *headers: str, key: str = KEY, **request: Any) -> RawClient:
        """A new client that has sent a good handshake with further header lines."""
        return await self.ask(target, *HANDSHAKE[:3], f"Sec-WebSocket-Key: {key}", *headers, **request)

    async def join(self, target: str = "/", *headers: str, **request: Any) -> SocketClient:
        """A new client with an open WebSocket, whatever is behind the proxy."""
        return await SocketClient.switched(await self.shake(target, *headers, **request))

    async def open(
        self, target: str = "/", *headers: str, **request: Any
    ) -> tuple[SocketClient, BackendSocket]:
        """A new client and its other end at the WebSocket backend."""
        number = len(self.backend.sockets) + 1
        client = await self.join(target, *headers, **request)
        return client, await self.backend.socket(number)

    async def subscribed(self, channel: str = "c", **members: Any) -> tuple[SocketClient, BackendSocket]:
        """The same, the only client on ``channel``; ``members`` are further ones of the control message."""
        client, backend = await self.open()
        await self.subscribe(backend, channel, **members)
        return client, backend

    async def subscribe(
        self, backend: BackendSocket, channel: str = "c", count: int = 1, prefix: str = "", **members: object
    ) -> None:
        """Let the backend subscribe its client, one of ``count``, to a channel."""
        backend.control(json.dumps({"type": "subscribe", "channel": channel, **members}))
        await self.proxy.held(prefix + channel, count)

    async def meta(self, backend: BackendSocket, **values: str) -> None:
        """Let the backend set values of its client; done when this returns."""
        for name, value in values.items():
            backend.control(json.dumps({"type": "set-meta", "name": name, "value": value}))
        await self.proxy.settle()

    def say(self, content: str | None = None, channel: str = "c", **fields: object) -> Awaitable[None]:
        """Publish a text, or a ``ws-message`` of the ``members`` given; other keywords are the item's."""
        members = fields.pop("members", {})
        assert isinstance(members, Mapping)
        message = dict(members) if content is None else {"content": content, **members}
        return self.proxy.publish(channel, {W: message}, **fields)

    async def nothing(self, client: SocketClient, backend: BackendSocket, prefix: str = "m:") -> None:
        """Nothing has come from the backend: the next message is a marker."""
        backend.text(prefix + MARKER)
        await client.expect_text(MARKER)

    async def nothing_back(self, client: SocketClient, backend: BackendSocket) -> None:
        """Nothing has come from the client: the next message is a marker."""
        client.text(MARKER)
        await backend.expect_text(MARKER)

    async def unsaid(self, client: SocketClient, channel: str = "c") -> None:
        """Nothing has been delivered: the next message is a marker that is published."""
        await self.say(MARKER, channel)
        await client.expect_text(MARKER)

    async def quiet(self, *peers: SocketClient | BackendSocket) -> None:
        """Nothing has come, and the connections are open."""
        for peer in peers:
            await self.silent(peer.raw)

    @staticmethod
    async def messages(client: SocketClient, count: int) -> list[Message]:
        """So many messages."""
        return [await client.read() for _ in range(count)]
