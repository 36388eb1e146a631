"""The connections of this process, for those who ask about them by name (zeromq 4.5, 4.6).

Made by the service, and lent to whoever takes commands.  Finds out and hands on; keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from pushpin_tw.broker.broker import Broker
from pushpin_tw.extensions import IConnections


@implementer(IConnections)
class Connections:
    """Those of one process; every answer comes at once."""

    def __init__(self, broker: Broker, get: Callable[[str], Any]) -> None:
        """``get(name)`` is what stands for a connection (an ``ICounted``), None when there is none."""
        self._broker = broker
        self._get = get

    def find(self, names: list[str], done: Callable[[list[str]], Any]) -> None:
        """As ``IConnections``."""
        done([name for name in names if self._get(name) is not None])

    def refresh(self, name: str, done: Callable[[bool], Any]) -> None:
        """As ``IConnections``."""
        found = self._get(name)
        socket = found is not None and found.kind == "ws"
        if socket:
            found.refresh()
        done(socket)

    def refresh_channel(self, channel: str) -> None:
        """As ``IConnections``."""
        self._broker.refresh(channel)
