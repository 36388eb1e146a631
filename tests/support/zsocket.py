"""A WebSocket through ``zhttp``: the client's end, and the session that the worker sees (zeromq 2.10).

Used by tests with the fixture ``workplace``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.rawclient import RawClient
from tests.support.wsclient import SocketClient
from tests.support.zhttpscene import Workplace
from tests.support.zworker import Packet, Worker


class Session:
    """What a worker has been asked, and what it says and hears."""

    def __init__(self, worker: Worker, asked: Packet) -> None:
        self.worker = worker
        self.asked = asked
        self._seq = 1
        """Of the next packet for the worker."""

    def say(self, fields: Mapping[str, object] | None = None, /, **more: object) -> None:
        """The worker sends a packet, with the next ``seq``; see ``Worker.packet``."""
        self.worker.reply(self.asked, fields, **more)

    def accept(self, *headers: tuple[str, str], **more: object) -> None:
        """The worker agrees."""
        self.say(**{"code": 101, "reason": "Switching Protocols", "headers": headers, **more})

    def text(self, body: str | bytes, **more: object) -> None:
        """The worker sends a text."""
        self.say({"content-type": "text", "body": body}, **more)

    async def told(self) -> Packet:
        """The next packet for the worker, which is of this session and in order; without the fields that say
        so."""
        packet = await self.worker.told()
        about = {name: packet.pop(name) for name in ("from", "id", "seq")}
        assert about == {"from": self.asked["from"], "id": self.asked["id"], "seq": self._seq}, packet
        self._seq += 1
        return packet

    async def expect(self, fields: Mapping[str, object] | None = None, /, **more: object) -> None:
        """This is the next packet."""
        wanted = {**(fields or {}), **more}
        packet = await self.told()
        assert packet == wanted

    async def expect_text(self, body: bytes, **more: object) -> None:
        """A text is the next packet."""
        await self.expect({"content-type": b"text", "body": body}, **more)

    async def granted(self, total: int) -> None:
        """So many credits come back, in packets for nothing else."""
        while total > 0:
            packet = await self.told()
            assert packet.keys() == {"type", "credits"} and packet["type"] == b"credit"
            total -= packet["credits"]
        assert total == 0


async def asked(
    workplace: Workplace, worker: Worker, path: str = "/s/ws", *headers: str, **request: Any
) -> tuple[RawClient, Session]:
    """A client that wants a WebSocket, and the worker that has to say yes."""
    raw = await workplace.shake(path, *headers, **request)
    return raw, Session(worker, await worker.asked())


async def opened(
    workplace: Workplace, worker: Worker, *headers: tuple[str, str], credits: int | None = 1000
) -> tuple[SocketClient, Session]:
    """A client with a WebSocket, and the worker that has said yes."""
    raw, session = await asked(workplace, worker)
    session.accept(*headers, credits=credits)
    return await SocketClient.switched(raw), session


async def settled(workplace: Workplace, worker: Worker) -> None:
    """The worker has been told nothing more: what it hears next belongs to another session."""
    client, session = await opened(workplace, worker)
    client.ping(b"mark")
    await session.expect(type=b"ping", body=b"mark")
    client.drop()
    await session.expect(type=b"cancel")
