"""The setting of the origin room's tests: a raw backend, a clock of the test, and origins that want it."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor, task

from pushpin_tw.origin.http import HttpOrigin
from pushpin_tw.testing.services import LentServices
from tests.loopback.originpeer import RawPeer, target


class OriginStage:
    """A backend, services whose time stands still, origins."""

    def __init__(self, peer: RawPeer) -> None:
        self.peer = peer
        self.clock = task.Clock()
        self.clock.rightNow = 1000.0
        self.services = LentServices(reactor, self.clock)
        self._peers = [peer]

    @classmethod
    async def set_up(cls) -> OriginStage:
        """With a backend that listens on 127.0.0.1."""
        return cls(await RawPeer.listen())

    async def another_peer(self, where: str, wrap: Any = None) -> RawPeer:
        """One more backend; it is stopped with the stage."""
        peer = await RawPeer.listen(where, wrap)
        self._peers.append(peer)
        return peer

    def origin(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> HttpOrigin:
        """An origin for the backend, or for another address."""
        return HttpOrigin(target(**options), host, port or self.peer.port, self.services)

    def idle(self) -> int:
        """Connections that wait in the pool."""
        return len(self.origin()._pool)

    async def clear(self) -> None:
        """Stop everything; a bug that was only logged shows here."""
        self.services.stop()
        for peer in self._peers:
            await peer.stop()
        assert self.services.stats.failures == []
