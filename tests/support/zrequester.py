"""A program that asks the proxy over ZHTTP: real sockets, and somebody else's tnetstrings.

Used by tests with the fixture ``asking``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zmq

from tests.support.origin import ScriptedOrigin
from tests.support.running import Proxy
from tests.support.stage import Start
from tests.support.wsstage import SocketStage
from tests.support.zworker import Packet, Wire, Workshop, derived, pack, unpack

CREDITS = 200_000


class Program:
    """Somebody who asks, called ``name``."""

    def __init__(self, name: str, push: Wire, router: Wire, sub: Wire) -> None:
        self.name = name
        self.push = push
        self.router = router
        self.sub = sub
        self.address = b""
        """What the proxy calls itself; known after its first answer."""

    async def begin(self) -> None:
        """Until it can ask and be answered."""
        for wire in (self.push, self.router, self.sub):
            await wire.joined()

    def ask(self, name: str = "1", fields: Mapping[str, object] | None = None, /, **more: object) -> None:
        """A first packet: of a GET if nothing else is said.  Fields whose value is None are left out."""
        whole: Packet = {
            "from": self.name,
            "id": name,
            "seq": 0,
            "method": "GET",
            "uri": "http://example.com/",
            "stream": True,
            "credits": CREDITS,
            **(fields or {}),
            **more,
        }
        self.push.send(pack({key: value for key, value in whole.items() if value is not None}))

    def say(
        self, name: str, seq: int | None, fields: Mapping[str, object] | None = None, /, **more: object
    ) -> None:
        """A later packet."""
        whole = {"from": self.name, "id": name, "seq": seq, **(fields or {}), **more}
        payload = pack({key: value for key, value in whole.items() if value is not None})
        self.router.send(self.address, b"", payload)

    async def passed(self) -> None:
        """Until the proxy has read what was sent with ``say``."""
        self.router.send(self.address, b"a probe")
        assert await self.router.frames("an answer to a probe") == [self.address, b"", b"probe-ack"]

    async def heard(self) -> Packet:
        """The next answer through PUB."""
        (frame,) = await self.sub.frames("an answer")
        topic = self.name.encode() + b" "
        assert frame.startswith(topic)
        packet = unpack(frame[len(topic) :])
        self.address = packet["from"]
        return packet

    async def routed(self) -> Packet:
        """The next answer through ROUTER."""
        sender, empty, frame = await self.router.frames("an answer through ROUTER")
        packet = unpack(frame)
        assert (packet["from"], empty) == (sender, b"")
        self.address = sender
        return packet

    async def expect(
        self, name: str, seq: int | None, fields: Mapping[str, object] | None = None, /, **more: object
    ) -> None:
        """The next answer through PUB is this."""
        assert await self.heard() == self.answer(name, seq, fields, **more)

    def answer(
        self, name: str, seq: int | None, fields: Mapping[str, object] | None = None, /, **more: object
    ) -> Packet:
        """What an answer looks like."""
        numbered = {} if seq is None else {"seq": seq}
        return {"from": self.address, "id": name.encode(), **numbered, **(fields or {}), **more}


class Asking(SocketStage):
    """A stage with programs; built by a fixture, which also clears it away."""

    def __init__(self, origin: ScriptedOrigin, start: Start, directory: Path) -> None:
        super().__init__(origin, start)
        self.spec = f"ipc://{directory}/z"
        self.shop = Workshop()

    async def begin(self, *answers: Any, tw: Mapping[str, object] | None = None, **options: Any) -> Proxy:
        """A proxy that can be asked; options as for ``start``."""
        return await self.start(*answers, tw={"zhttp_in_spec": self.spec, **(tw or {})}, **options)

    async def program(self, name: str = "P") -> Program:
        """Somebody who is ready to ask."""
        out, stream, back = derived(self.spec)
        sub = self.shop.wire(zmq.SUB, back)
        sub.plain.setsockopt(zmq.SUBSCRIBE, name.encode() + b" ")
        program = Program(name, self.shop.wire(zmq.PUSH, out), self.shop.wire(zmq.ROUTER, stream, name), sub)
        await program.begin()
        await self._subscribed(program)
        return program

    async def _subscribed(self, program: Program) -> None:
        """Until the proxy knows where to publish: a packet that begins no session is answered."""
        while not program.sub.unread:
            program.ask("0", type="keep-alive")
            await self.proxy.settle()
        program.ask("ready", type="keep-alive")
        while (await program.heard())["id"] != b"ready":
            pass

    async def clear(self) -> None:
        await super().clear()
        self.shop.clear()
