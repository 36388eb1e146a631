"""The setting of a case with publishers on ZeroMQ: real sockets of their own, mostly on files of the test.

Tests get it from the fixture ``publishers``.  The origin holds by path: ``/st/NAME`` is a stream on a
channel, ``/lp/NAME`` a long-poll, and a WebSocket belongs to its backend.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zmq

from pushpin_tw.wire.tnetstring import encode
from tests.support.origin import Asked, ScriptedOrigin, hold
from tests.support.rawclient import BodyReader, RawClient
from tests.support.running import Proxy, S
from tests.support.stage import Start
from tests.support.waiting import until
from tests.support.wsstage import SocketStage

Plain = zmq.Socket[bytes]
Members = dict[str, Any]

ENCODINGS = ("plain", "T", "J")
"""How an item may be written."""


def packed(item: object, encoding: str = "plain") -> bytes:
    """An item as a frame."""
    if encoding == "J":
        return b"J" + json.dumps(item).encode()
    return b"T" * (encoding == "T") + encode(item)


def streamed(content: str, channel: str | None = "c", **members: Any) -> Members:
    """An item for streams."""
    own = {} if channel is None else {"channel": channel}
    return {**own, "formats": {S: {"content": content}}, **members}


class Publisher:
    """A PUSH or XPUB socket."""

    def __init__(self, plain: Plain) -> None:
        self.plain = plain

    def send(self, *frames: bytes) -> None:
        """One message."""
        self.plain.send_multipart(frames)

    def publish(self, channel: str, content: str, encoding: str = "plain") -> None:
        """On XPUB: an item for the streams of ``channel``."""
        self.send(channel.encode(), packed(streamed(content, None), encoding))

    async def told(self, *expected: bytes) -> None:
        """On XPUB: these subscriptions and nothing else come next, in any order."""
        came: list[bytes] = []
        for _ in expected:
            await until(lambda: bool(self.plain.poll(0)), f"one of {expected}, after {came}")
            came.append(self.plain.recv())
        assert sorted(came) == sorted(expected)

    @property
    def unread(self) -> bool:
        """Whether something has come."""
        return bool(self.plain.poll(0))


class Publishers(SocketStage):
    """Built by a fixture, which also clears it away."""

    def __init__(self, origin: ScriptedOrigin, start: Start, directory: Path) -> None:
        super().__init__(origin, start)
        self.pull = f"ipc://{directory}/pull"
        self.sub = f"ipc://{directory}/sub"
        self._context: zmq.Context[Plain] = zmq.Context()
        self._plain: list[Plain] = []

    async def begin(self, target: str = "", condition: str = "*,debug", **handler: object) -> Proxy:
        """A proxy with both inputs and one route; further keys of ``[handler]``."""
        inputs = {"push_in_spec": self.pull, "push_in_sub_specs": self.sub}
        pace = {"message_rate": -1, "message_hwm": -1}
        return await self.start(
            self._answer, target=target, condition=condition, handler={**inputs, **pace, **handler}
        )

    def _answer(self, asked: Asked) -> bytes | None:
        if asked.get("Upgrade"):
            self.backend.accepting()(asked)
            return None
        _, kind, channel = asked.target.partition("?")[0].split("/")
        return hold({"st": "stream", "lp": "response"}[kind], channel=channel)

    def peer(self, kind: int, *specs: str, bind: bool = False, **options: int) -> Publisher:
        """A socket of somebody else's."""
        plain = self._context.socket(kind)
        self._plain.append(plain)
        plain.linger = 0
        for name, value in options.items():
            setattr(plain, name, value)
        for spec in specs:
            (plain.bind if bind else plain.connect)(spec)
        return Publisher(plain)

    def pusher(self) -> Publisher:
        """Somebody who pushes items."""
        return self.peer(zmq.PUSH, self.pull, sndhwm=0)

    def xpub(self, spec: str = "", bind: bool = False) -> Publisher:
        """Somebody who learns of every subscription, repeated ones included."""
        return self.peer(zmq.XPUB, spec or self.sub, bind=bind, xpub_verboser=1)

    async def listen(
        self, channel: str = "c", count: int = 1, **request: Any
    ) -> tuple[RawClient, BodyReader]:
        """A client with a stream on ``channel``, one of ``count`` clients there."""
        client = await self.ask(f"/st/{channel}", **request)
        body = client.body(await client.read_head())
        await self.proxy.held(channel, count)
        return client, body

    async def poll(self, channel: str = "c", count: int = 1) -> RawClient:
        """A client with a long-poll on ``channel``."""
        client = await self.ask(f"/lp/{channel}")
        await self.proxy.held(channel, count)
        return client

    async def leave(self, client: RawClient, channel: str = "c", count: int = 0) -> None:
        """A client goes; ``count`` remain on its channel."""
        client.drop()
        await self.proxy.held(channel, count)

    async def nothing_told(self, *xpubs: Publisher) -> None:
        """No subscription has come: the next one is a new client's."""
        mark = f"mark-{len(self._clients)}"
        await self.listen(mark)
        for xpub in xpubs:
            await xpub.told(b"\1" + mark.encode())

    async def dropped(
        self, publisher: Publisher, body: BodyReader, messages: Sequence[Sequence[bytes]]
    ) -> None:
        """These have no effect: what comes is a mark behind them."""
        for frames in messages:
            publisher.send(*frames)
        mark = packed(streamed("-mark-"))
        publisher.send(*([mark] if publisher.plain.type == zmq.PUSH else [b"c", mark]))
        await body.expect(b"-mark-")

    async def clear(self) -> None:
        await super().clear()
        self._context.destroy(linger=0)
