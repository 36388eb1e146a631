"""The setting of a case with commands over ZeroMQ: a ``Publishers`` whose proxy has a command socket.

Tests make one with the fixture ``commands``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zmq

from pushpin_tw.wire.tnetstring import decode, encode
from tests.support.origin import ScriptedOrigin
from tests.support.running import Proxy
from tests.support.stage import Start
from tests.support.waiting import until
from tests.support.zmqscene import Plain, Publishers

Answer = dict[str, Any]

MANY = 500
"""Connections of which statistics tell at least one, once they are read."""


def done(value: object = None) -> Answer:
    """The answer to a command that was carried out and had no id."""
    return {"success": True, "value": value}


def refused(condition: str, text: str | None = None) -> Answer:
    """The answer to one that was not; ``text`` is its value."""
    value = {} if text is None else {"value": text.encode()}
    return {"success": False, "condition": condition.encode(), **value}


def packet(method: object, **members: object) -> bytes:
    """A command as a frame."""
    return encode({"method": method, **members})


class Commander:
    """A DEALER or REQ socket of somebody who asks."""

    def __init__(self, plain: Plain) -> None:
        self.plain = plain

    def send(self, *frames: bytes) -> None:
        """One message, frames as they are."""
        self.plain.send_multipart(frames)

    async def receive(self) -> list[bytes]:
        """The next message."""
        await until(lambda: bool(self.plain.poll(0)), "an answer")
        return self.plain.recv_multipart()

    async def told(self) -> Answer:
        """The next answer, without an envelope."""
        *empty, content = await self.receive()
        assert not any(empty)
        found: Answer = decode(content)
        return found

    async def ask(self, method: str, **args: object) -> Answer:
        """What is answered to a command; without ``args`` it has none."""
        members = {"args": args} if args else {}
        self.send(*([b""] * (self.plain.type == zmq.DEALER)), packet(method, **members))
        return await self.told()

    async def usable(self) -> None:
        """Nothing was answered to what was sent before: the next answer is to a question of now."""
        assert await self.ask("get-zmq-uris") != await self.ask("recover") == done()


class Commands(Publishers):
    """Built by a fixture, which also clears it away."""

    def __init__(self, origin: ScriptedOrigin, start: Start, directory: Path) -> None:
        super().__init__(origin, start, directory)
        self.command = f"ipc://{directory}/command"
        self.stats = f"ipc://{directory}/stats"
        self._watcher: Plain | None = None

    @property
    def spec(self) -> dict[str, object]:
        """The keys of ``[handler]`` for commands, and for statistics, which have the names of connections."""
        return {"command_spec": self.command, "stats_spec": self.stats}

    async def begin(self, target: str = "", condition: str = "*,debug", **handler: object) -> Proxy:
        """As ``Publishers``, with commands."""
        return await super().begin(target, condition, **{**self.spec, **handler})

    async def watch(self) -> None:
        """From now on statistics of connections are read."""
        self._watcher = plain = self.peer(zmq.SUB, self.stats).plain
        plain.subscribe(b"conn ")
        for _ in range(MANY):  # until the subscription has arrived
            client = await self.client()
            await self.usable(client)
            client.drop()
            await self.proxy.settle()
            if plain.poll(0):
                return
        raise AssertionError("no statistics")

    async def name(self, address: str) -> str:
        """What the connection is called that says it comes from ``address``."""
        plain = self._watcher
        assert plain is not None
        while True:
            await until(lambda: bool(plain.poll(0)), f"a connection from {address}")
            told = decode(plain.recv().removeprefix(b"conn T"))
            if told.get("peer-address") == address.encode():
                name: str = told["id"].decode()
                return name

    def commander(self, kind: int = zmq.DEALER) -> Commander:
        """Somebody new who asks."""
        return Commander(self.peer(kind, self.command).plain)
