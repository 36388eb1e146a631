"""Targets that the routes file knows and this process cannot reach.

Used through ``origin.targets`` for ZeroMQ backends, whose transport is not part of this version, and where a
client certificate cannot be used.  The route itself stays: only a request that gets here fails.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import OriginError, OriginUnsuitable
from pushpin_tw.interfaces import IOrigin, IOriginCall
from pushpin_tw.wire.message import OriginRequest


@implementer(IOriginCall)
class DeadCall:
    """A request that has failed already."""

    __slots__ = ()

    congested = False

    def write(self, data: bytes) -> None:
        """As ``IOriginCall``."""

    def finish(self) -> None:
        """As ``IOriginCall``."""

    def pause(self) -> None:
        """As ``IOriginCall``."""

    def resume(self) -> None:
        """As ``IOriginCall``."""

    def cancel(self) -> None:
        """As ``IOriginCall``."""


@implementer(IOrigin)
class UnavailableOrigin:
    """Fails every request at once: 502 and no other target (proxy 4.9, "without any worker")."""

    def __init__(self, label: str, why: str, stats: Any, no_sockets: str = "") -> None:
        """``label`` is the target as logs call it, ``why`` what the log is told, once.

        ``stats`` is an ``IStatsSink``; ``no_sockets`` says why there are no WebSockets at targets of this
        kind, available or not.
        """
        self._label = label
        self._why = why
        self._stats = stats
        self._no_sockets = no_sockets
        self._told = False

    def fetch(self, request: OriginRequest, sink: Any) -> DeadCall:
        """As ``IOrigin``."""
        return self._fail(sink)

    def connect(self, handshake: Any, sink: Any) -> DeadCall:
        """As ``IOrigin``."""
        if self._no_sockets:
            sink.failed(OriginUnsuitable(self._no_sockets))
            return DeadCall()
        return self._fail(sink)

    def _fail(self, sink: Any) -> DeadCall:
        if not self._told:
            self._told = True
            self._stats.note("warn", f"target {self._label}: {self._why}")
        sink.failed(OriginError(self._why))
        return DeadCall()
