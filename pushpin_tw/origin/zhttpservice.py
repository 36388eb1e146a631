"""The sockets of backends on ZeroMQ as a part of the service.

Made by ``service``.  Two processes cannot have them at once: when another one takes over, sessions get a
moment to end, and everything is closed until it is opened again.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from pushpin_tw.origin.zhttproom import zhttp_room

PATIENCE = 5.0
"""Seconds for sessions to end by themselves."""


class ZhttpSockets(Service):
    """The room of this process, while it runs."""

    def __init__(self, services: Any) -> None:
        """``services`` is an ``IServices``."""
        self.setName("zhttp")
        self._services = services

    def startService(self) -> None:
        super().startService()
        zhttp_room(self._services).resume()

    def finish(self) -> Deferred[None]:
        """Fires when no session is left, or it is no use to wait any longer."""
        done: Deferred[None] = Deferred()
        late = self._services.clock.callLater(PATIENCE, done.callback, None)

        def idle() -> None:
            if late.active():
                late.cancel()
                done.callback(None)

        zhttp_room(self._services).when_idle(idle)
        return done

    def stopService(self) -> None:
        super().stopService()
        zhttp_room(self._services).rest()
