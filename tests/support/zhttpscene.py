"""The setting of a case with backends on ZeroMQ (zeromq 8).

Tests get it from the fixture ``workplace``.  Routes go by path: ``/s/`` to a streaming worker, ``/r/`` to one
for requests and replies, ``/d/`` and ``/rd/`` to the same with ``debug``, ``/two/`` to both in this order;
everything else to the origin over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.origin import ScriptedOrigin
from tests.support.rawclient import RawClient
from tests.support.running import Proxy
from tests.support.stage import Start
from tests.support.wsstage import SocketStage
from tests.support.zworker import Packet, Replier, Worker, Workshop

GENERIC = b"Error while proxying to origin.\n"
"""What a client is told of most failures, with 502."""
UNREACHABLE = b"Error: zhttp service for route is unreachable.\n"


class Workplace(SocketStage):
    """Built by a fixture, which also clears it away."""

    def __init__(self, origin: ScriptedOrigin, start: Start, directory: Path) -> None:
        super().__init__(origin, start)
        self.a = f"ipc://{directory}/a"
        self.b = f"ipc://{directory}/b"
        self.shop = Workshop()

    async def begin(
        self, *further: str, target: str = "", lines: Sequence[str] = (), **settings: Mapping[str, object]
    ) -> Proxy:
        """A proxy with the routes above and ``further`` ones.

        ``target``: parameters of all ZeroMQ targets; ``lines`` replace all routes.
        """
        a = f"zhttp/{self.a}{',' * bool(target)}{target}"
        b = f"zhttpreq/{self.b}{',' * bool(target)}{target}"
        usual = [
            f"*,path_beg=/s/ {a}",
            f"*,path_beg=/d/,debug {a}",
            f"*,path_beg=/r/ {b}",
            f"*,path_beg=/rd/,debug {b}",
            f"*,path_beg=/two/ {a} {b}",
            f"* {self.origin.address}",
        ]
        return await self.start(routes=list(lines) or [*further, *usual], **settings)

    async def worker(self, name: str = "W", **options: Any) -> Worker:
        """A streaming worker that is ready."""
        return await self.shop.worker(self.a, name, **options)

    async def rep(self) -> Replier:
        """A worker for requests and replies that is ready, by REP."""
        return await self.shop.rep(self.b)

    async def router(self) -> Replier:
        """The same by ROUTER."""
        return await self.shop.router(self.b)

    async def session(self, worker: Worker, path: str = "/s/a", **request: Any) -> tuple[RawClient, Packet]:
        """A client's request, and what the worker was asked."""
        client = await self.ask(path, **request)
        return client, await worker.asked()

    async def requested(
        self, worker: Replier, path: str = "/r/a", **request: Any
    ) -> tuple[RawClient, Packet]:
        """The same at a worker for requests and replies."""
        client = await self.ask(path, **request)
        return client, await worker.asked()

    async def untold(self, worker: Worker) -> None:
        """The worker was told nothing more."""
        await worker.untold(partial(self.ask, "/s/mark"))

    async def answered(
        self, client: RawClient, body: bytes = b"", status: int = 200, *headers: tuple[str, str]
    ) -> None:
        """The client gets this."""
        answer = await client.read_response()
        assert (answer.status, answer.body) == (status, body)
        for header in headers:
            assert header in answer.headers

    async def failed(self, client: RawClient, body: bytes = GENERIC) -> None:
        """The client gets 502."""
        await self.answered(client, body, 502)

    async def clear(self) -> None:
        await super().clear()
        self.shop.clear()
