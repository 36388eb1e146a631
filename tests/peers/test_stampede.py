"""Thousands of clients that miss the same item at the same moment do not run the backend over."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.peers.reliable import MEASURED, ReliableBackend, example
from tests.peers.running import pushpin
from tests.support.crowd import Crowd, Stream
from tests.support.origin import ScriptedOrigin, hold
from tests.support.rawclient import RawClient
from tests.support.running import Proxy

CHANNEL = "news"
STREAMS = 2000
BEGINNINGS = 10
"""Not all of them begin with the same item."""
FILES = STREAMS + 500
"""File descriptors that the proxy and this process need, each for itself."""
REQUESTS = 5
"""More than so many requests of the backend's are a stampede."""
WHOLE = 2.0
"""Seconds after which everybody has everything, counted from when the proxy no longer waits for the item."""
ROUNDS = 3
"""How often it is tried, at most: a machine may have had something else to do."""
PATIENCE = 60.0
"""Seconds of standstill for what is not measured."""
HANDLER = "message_wait=0\nid_cache_ttl=60\nupdate_on_first_subscription=false"


@pytest.fixture
def files() -> Iterator[None]:
    """Sockets enough for everybody; child processes inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"needs {FILES} file descriptors, {hard} are allowed (ulimit -Hn)")
    if soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Scene:
    """All of them on one channel, and beside them a witness that takes what comes."""

    def __init__(self, proxy: Proxy, backend: ReliableBackend) -> None:
        self._proxy = proxy
        self._backend = backend
        self._witness: RawClient | None = None
        self.everybody = Crowd(Stream(proxy.address, CHANNEL, Random(number)) for number in range(STREAMS))
        self.items: list[tuple[int, str]] = []

    async def start(self) -> None:
        """The witness comes first, so it is there long before the first item."""
        self._witness = await self._proxy.client()
        self._witness.request("/witness")
        self._heard = self._witness.body(await self._witness.read_head())
        await self._heard.expect(b"open\n")
        for number in range(BEGINNINGS):
            await Crowd(self.everybody.clients[number::BEGINNINGS]).start(PATIENCE)
            await self.item()

    async def stop(self) -> None:
        if self._witness is not None:
            self._witness.drop()
        await self.everybody.stop()

    async def item(self) -> None:
        """A new one; returns when it is delivered, if not to those who miss what was before it."""
        item = self._new()
        await self._proxy.publish_all([example.message(CHANNEL, *item)])
        await self._heard.expect(example.events([item]).encode())

    async def all_whole(self) -> None:
        await self.everybody.have({CHANNEL: self.items[-1][0]}, PATIENCE)

    async def lost_item(self) -> tuple[float, float, int]:
        """One that never comes and one after it.

        Returns seconds until the proxy gives it up, seconds from then on until all are whole, and how often
        the backend was asked.
        """
        before = self._backend.recoveries()
        self._new()
        start = reactor.seconds()
        await self.item()
        given_up = reactor.seconds()
        await self.all_whole()
        whole = reactor.seconds()
        return given_up - start, whole - given_up, self._backend.recoveries() - before

    def _new(self) -> tuple[int, str]:
        text = f"item {len(self.items)}"
        self.items.append((self._backend.store.add(CHANNEL, text), text))
        return self.items[-1]


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_two_thousand_recover_with_a_handful_of_requests(
    files: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in MEASURED:
        monkeypatch.delenv(name, raising=False)
    witnessed = await ScriptedOrigin.listen()
    witnessed.on("/witness", hold("stream", channel=CHANNEL, body=b"open\n"))
    backend = ReliableBackend(tmp_path)
    await backend.start()
    routes = [f"*,path_beg=/witness {witnessed.address}", f"* 127.0.0.1:{backend.port}"]
    try:
        with pushpin(tmp_path, *routes, extra=HANDLER) as service:
            proxy = Proxy()
            proxy.address = ("127.0.0.1", service.port)
            proxy.control_address = ("127.0.0.1", service.control)
            scene = Scene(proxy, backend)
            try:
                await scene.start()
                await scene.all_whole()
                for _ in range(ROUNDS):
                    waited, seconds, requests = await scene.lost_item()
                    print(
                        f"given up after {waited:.2f} s; {STREAMS} streams whole {seconds:.2f} s later, "
                        f"{requests} requests"
                    )
                    assert 1 <= requests <= REQUESTS
                    if seconds <= WHOLE:
                        break
                await scene.item()
                await scene.all_whole()
            finally:
                await scene.stop()
    finally:
        backend.kill()
        await witnessed.stop()
    assert all(client.received == scene.items for client in scene.everybody.clients)
    assert seconds <= WHOLE
