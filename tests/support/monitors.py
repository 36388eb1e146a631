"""A case with somebody who watches statistics: a SUB socket of their own, on a file of the test.

Tests get it from the fixture ``monitors``.  The origin answers as in ``zmqscene``: ``/st/NAME`` is a stream
on a channel, ``/lp/NAME`` a long-poll; everything below ``/plain`` is passed on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from pushpin_tw.wire.tnetstring import decode
from tests.support.origin import Asked, ScriptedOrigin, reply
from tests.support.running import Proxy
from tests.support.stage import Start
from tests.support.waiting import Waited, until
from tests.support.zmqscene import Plain, Publishers


@dataclass(frozen=True)
class Packet:
    """What came."""

    kind: str
    members: dict[str, Any]
    raw: bytes


def unpacked(frame: bytes) -> Packet:
    """A packet in either form."""
    kind, _, rest = frame.partition(b" ")
    members = json.loads(rest[1:]) if rest[:1] == b"J" else _text(decode(rest[1:]))
    assert rest[:1] in (b"T", b"J") and members.pop("from")
    return Packet(kind.decode(), members, frame)


def _text(members: Mapping[str, object]) -> dict[str, object]:
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in members.items()}


class Monitor:
    """A SUB socket, and what has come on it."""

    def __init__(self, plain: Plain) -> None:
        self._plain = plain
        self._came: list[Packet] = []

    def _read(self) -> list[Packet]:
        while self._plain.poll(0):
            frames = self._plain.recv_multipart()
            assert len(frames) == 1
            self._came.append(unpacked(frames[0]))
        return self._came

    def has(self, kind: str, **members: object) -> bool:
        """Whether one of that type, with these members, has come and was not taken yet."""
        return any(_fits(packet, kind, members) for packet in self._read())

    async def next(self, kind: str, **members: object) -> dict[str, Any]:
        """The members of the next packet of a type, with some as given; others stay."""
        await until(lambda: self.has(kind, **members), f"{kind} {members}; there were {self._came}")
        return self.take(kind, **members)

    def take(self, kind: str, **members: object) -> dict[str, Any]:
        """The same, of one that has come."""
        found = next(packet for packet in self._came if _fits(packet, kind, members))
        self._came.remove(found)
        return found.members

    async def frame(self, kind: str) -> bytes:
        """The next packet of a type as it came."""
        await until(lambda: self.has(kind), kind)
        found = next(packet for packet in self._came if packet.kind == kind)
        self._came.remove(found)
        return found.raw

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Everything of a type that has come."""
        found = [packet for packet in self._read() if packet.kind == kind]
        self._came = [packet for packet in self._came if packet.kind != kind]
        return [packet.members for packet in found]


def _fits(packet: Packet, kind: str, members: Mapping[str, object]) -> bool:
    return packet.kind == kind and all(packet.members.get(key) == value for key, value in members.items())


class Monitors(Publishers):
    """Built by a fixture, which also clears it away."""

    def __init__(self, origin: ScriptedOrigin, start: Start, directory: Path) -> None:
        super().__init__(origin, start, directory)
        self.stats = f"ipc://{directory}/stats"

    async def watch(self, topic: str = "", condition: str = "*,debug", **settings: Any) -> Monitor:
        """A proxy, and a monitor that has subscribed to ``topic``; ``settings`` are those of ``begin``."""
        await self.begin(condition=condition, **settings)
        return await self.monitor(topic)

    async def begin(self, target: str = "", condition: str = "*,debug", **sections: Any) -> Proxy:
        """A proxy with one route; keywords are sections."""
        handler = {"message_rate": -1, "message_hwm": -1, "stats_spec": self.stats, "push_in_spec": self.pull}
        handler.update(sections.pop("handler", {}))
        return await self.start(self._answer, target=target, condition=condition, handler=handler, **sections)

    async def monitor(self, topic: str = "") -> Monitor:
        """One more."""
        plain = self.peer(zmq.SUB, rcvhwm=0).plain
        plain.subscribe(topic)
        plain.connect(self.stats)
        await self.proxy.watched()
        return Monitor(plain)

    async def time_until(self, monitor: Monitor, kind: str, limit: float, **members: object) -> float:
        """How many seconds pass until such a packet comes; it stays."""
        start = self.proxy.seconds()
        while not monitor.has(kind, **members):
            if self.proxy.seconds() - start > limit:
                raise Waited(f"no {kind} {members} within {limit:g} s of the proxy's clock")
            await self.proxy.advance(0.1)
            await self.arrived(monitor, kind)
        return self.proxy.seconds() - start

    async def arrived(self, monitor: Monitor, kind: str) -> None:
        """Everything that was sent so far has come; ``kind`` is one that the monitor has subscribed to."""
        if self.proxy.mark(kind):
            await monitor.next(kind, mark=True)

    async def plain(self, path: str = "/plain", *headers: str) -> None:
        """A request that is passed on, and answered."""
        client = await self.ask(path, *headers)
        await client.read_response()
        client.drop()

    def _answer(self, asked: Asked) -> bytes | None:
        if asked.target.startswith("/plain"):
            return reply(body=b"plain")
        return super()._answer(asked)
