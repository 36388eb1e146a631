"""One origin, one proxy, any number of clients: the setting of a conformance case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.support.origin import Answer, ScriptedOrigin, reply
from tests.support.rawclient import BodyReader, Head, RawClient
from tests.support.running import Proxy, Routes, Settings
from tests.support.waiting import turn

Start = Callable[[Routes, Settings], Awaitable[Proxy]]

ALIVE = "/alive"
"""A path that the origin always answers plainly."""


def numbered(rows: Iterable[tuple[Any, ...]], differs: Mapping[str, str] | None = None) -> list[ParameterSet]:
    """Rows that begin with a case number of the GRIP specification, as parameters of a test.

    ``differs``: case to the reason why the reference at hand answers differently.
    """
    parameters = []
    for number, *rest in rows:
        why = (differs or {}).get(number)
        marks = [pytest.mark.differs(why)] if why else []
        parameters.append(pytest.param(*rest, id=f"grip-{number}", marks=marks))
    return parameters


class Stage:
    """Built by a fixture, which also clears it away."""

    def __init__(self, origin: ScriptedOrigin, start: Start) -> None:
        self.origin = origin
        self.proxy: Proxy
        self._start = start
        self._clients: list[RawClient] = []
        self._origins = [origin]
        self._started = False
        origin.at(ALIVE, reply(body=b"alive"))

    async def start(
        self,
        *answers: Answer,
        condition: str = "*,debug",
        target: str = "",
        routes: Routes | None = None,
        **settings: Mapping[str, object],
    ) -> Proxy:
        """Run the proxy with one route, ``CONDITION ORIGIN[,TARGET]``, or with the ``routes`` given: lines or
        the path of a routes file.

        ``answers`` are the origin's.  Keywords are sections of the configuration.
        """
        if answers:
            self.origin.answers(*answers)
        if routes is None:
            routes = [f"{condition} {self.origin.address}{',' * bool(target)}{target}"]
        self.proxy = await self._start(routes, settings)
        self._started = True
        return self.proxy

    async def another_origin(self, *answers: Answer, **options: Any) -> ScriptedOrigin:
        """One more backend; ``options`` are those of ``ScriptedOrigin.listen``."""
        origin = await ScriptedOrigin.listen(**options)
        self._origins.append(origin)
        origin.answers(*answers)
        return origin

    async def connect(self, address: tuple[str, int] | str, **options: Any) -> RawClient:
        """A connection to wherever, dropped at the end; ``options`` are those of ``RawClient.connect``."""
        client = await RawClient.connect(address, **options)
        self._clients.append(client)
        return client

    async def client(self, receive_buffer: int = 0) -> RawClient:
        """A client connection that is dropped at the end."""
        client = await self.proxy.client(receive_buffer)
        self._clients.append(client)
        return client

    async def control(self) -> RawClient:
        """A connection to the control API that is dropped at the end."""
        client = await self.proxy.control()
        self._clients.append(client)
        return client

    async def ask(
        self,
        target: str = "/",
        *headers: str,
        method: str = "GET",
        version: str = "HTTP/1.1",
        body: bytes | None = None,
        host: str = "example.com",
    ) -> RawClient:
        """A new client that has sent a request."""
        client = await self.client()
        client.request(target, *headers, method=method, version=version, body=body, host=host)
        return client

    async def held(self, channel: str = "c", *headers: str, version: str = "HTTP/1.1") -> RawClient:
        """A new client, the only one, whose request is held on ``channel``."""
        client = await self.ask("/", *headers, version=version)
        await self.proxy.held(channel)
        return client

    async def stream(
        self, channel: str = "c", *headers: str, version: str = "HTTP/1.1", initial: bytes = b""
    ) -> tuple[RawClient, Head, BodyReader]:
        """A new client with the head and the initial body of its stream read; the only one on ``channel``."""
        client = await self.ask("/", *headers, version=version)
        head = await client.read_head()
        body = client.body(head)
        await body.expect(initial)
        await self.proxy.held(channel)
        return client, head, body

    async def usable(self, client: RawClient) -> None:
        """The connection is open, nothing came on it, and it carries another request."""
        client.request(ALIVE)
        await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive")

    async def silent(self, client: RawClient) -> None:
        """Nothing has come, and the connection is open."""
        await self.proxy.settle()
        assert not client.unread
        assert not client.lost

    async def clear(self) -> None:
        """Everybody goes home."""
        for client in self._clients:
            if not client.lost:
                client.drop()
        await turn()
        if self._started:
            await self.proxy.stop()
        for origin in self._origins:
            await origin.stop()
