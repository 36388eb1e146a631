"""Nothing is lost, nothing comes twice, nothing comes out of order: whatever happens on the way.

A thousand clients of the backend of ``docs/howto/reliable.rst``, while items are published out of order,
twice, late or never, the backend is killed and comes back, and clients are cut off in the middle of an item.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from random import Random

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred, gatherResults

from tests.peers.reliable import MEASURED, ReliableBackend, example
from tests.peers.running import pushpin
from tests.support.crowd import Address, Client, Crowd, Item, Poll, Stream, eventually, pause
from tests.support.running import Proxy

CHANNELS = [f"channel-{letter}" for letter in "abcdefghij"]
CLIENTS = 500
"""Of each kind."""
ITEMS = 16
"""On each channel while everything goes wrong, two more at the end."""
TROUBLE = 4.0
"""Seconds in which everything goes wrong."""
DOWN = [(0.8, 0.7), (0.8, 0.8)]
"""How long the backend runs until it is killed, and for how long it is away; seconds."""
CUTS = 400
STANDSTILL = 45.0
"""Seconds in which not one of all clients has got anything, though some wait.  It happens that nobody does
for two periods of the backend's patience.  A stream that finds the backend away tries again after 1, 2, 4, 8
and 16 seconds: when a busy machine takes long to start the backend, streams stand still after that, too."""
PATIENCE = 15
"""The backend's; seconds."""
SEEDS = [int(seed) for seed in os.environ.get("LOSSLESS_SEEDS", "1").split()]
"""One is enough for every day; for more: ``LOSSLESS_SEEDS="1 2 3 4" make pytest ARGS="-k every_client"``."""
HANDLER = "message_wait=300\nid_cache_ttl=60\nupdate_on_first_subscription=false"


class Trouble:
    """What is done to the channels and to the clients, all of it decided by the seed."""

    def __init__(self, random: Random, backend: ReliableBackend, proxy: Proxy, crowd: Crowd) -> None:
        self._random = random
        self._backend = backend
        self._proxy = proxy
        self._crowd = crowd
        self.published: dict[str, list[Item]] = {channel: [] for channel in CHANNELS}
        self.ways: Counter[str] = Counter()
        """How often an item went which way."""

    async def run(self) -> None:
        """All of it, at once."""
        tasks: list[Awaitable[None]] = [self._restarts()]
        for channel in CHANNELS:
            for _ in range(ITEMS):
                tasks.append(self._item(channel, self._random.uniform(0, TROUBLE), self._copies()))
        for _ in range(CUTS):
            victim = self._random.choice(self._crowd.clients)
            tasks.append(self._cut(victim, self._random.uniform(0, TROUBLE)))
        await gatherResults([ensureDeferred(one) for one in tasks], consumeErrors=True)

    async def last_item(self) -> dict[str, int]:
        """One more on each channel, in peace; returns the ids."""
        for channel in CHANNELS:
            await self._item(channel, 0, [0])
        return {channel: items[-1][0] for channel, items in self.published.items()}

    def _copies(self) -> list[float]:
        """After how many seconds an item is published, each time that it is."""
        way = self._random.choices(["once", "twice", "resent", "never"], [70, 15, 10, 5])[0]
        self.ways[way] += 1
        soon = self._random.uniform(0, 0.25)
        return {
            "once": [soon],
            "twice": [soon, self._random.uniform(0, 1)],
            "resent": [self._random.uniform(0.6, 1.5)],
            "never": [],
        }[way]

    async def _item(self, channel: str, when: float, copies: list[float]) -> None:
        await pause(when)
        text = f"{channel} {self._random.getrandbits(64):x}"
        number = self._backend.store.add(channel, text)
        self.published[channel].append((number, text))
        item = example.message(channel, number, text)
        await gatherResults([ensureDeferred(self._publish(item, delay)) for delay in copies])

    async def _publish(self, item: dict[str, object], delay: float) -> None:
        await pause(delay)
        client = await self._proxy.control()
        client.request("/publish", method="POST", body=json.dumps({"items": [item]}).encode())
        await eventually(
            lambda: b"Published\n" in client.unread,
            lambda: "the control API answers",
            STANDSTILL,
            self._crowd.progress,
        )
        client.drop()

    async def _restarts(self) -> None:
        for when, away in DOWN:
            await pause(when)
            self._backend.kill()
            await pause(away)
            await self._backend.start()

    async def _cut(self, victim: Client, when: float) -> None:
        await pause(when)
        victim.cut()


def crowd(address: Address, random: Random) -> Crowd:
    """Streams and long-polls, as many on each channel."""
    kinds = [Stream, Poll]
    return Crowd(
        kind(address, CHANNELS[number % len(CHANNELS)], Random(random.random()))
        for kind in kinds
        for number in range(CLIENTS)
    )


def judge(trouble: Trouble, everybody: Crowd, backend: ReliableBackend) -> None:
    """The verdict, and that there was something to judge."""
    for client in everybody.clients:
        assert client.faults == []
        assert client.received == trouble.published[client.channel], f"{client.kind} of {client.channel}"
    assert min(trouble.ways[way] for way in ("once", "twice", "resent", "never")) > 0
    assert sum(client.cuts for client in everybody.clients) > CUTS / 2
    assert sum(client.torn for client in everybody.clients) > 0
    assert backend.recoveries() > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest_twisted.ensureDeferred
async def test_every_client_gets_every_item_once_and_in_order(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in MEASURED:
        monkeypatch.delenv(name, raising=False)
    random = Random(seed)
    backend = ReliableBackend(tmp_path, f"--patience={PATIENCE}", "--page=2")
    await backend.start()
    try:
        with pushpin(tmp_path, f"* 127.0.0.1:{backend.port}", extra=HANDLER) as service:
            proxy = Proxy()
            proxy.address = ("127.0.0.1", service.port)
            proxy.control_address = ("127.0.0.1", service.control)
            everybody = crowd(proxy.address, random)
            try:
                await everybody.start(STANDSTILL)
                trouble = Trouble(random, backend, proxy, everybody)
                await trouble.run()
                for _ in range(2):
                    # Whatever came twice before the second one would stand before it.
                    await everybody.have(await trouble.last_item(), STANDSTILL)
                judge(trouble, everybody, backend)
            finally:
                await everybody.stop()
    finally:
        backend.kill()
