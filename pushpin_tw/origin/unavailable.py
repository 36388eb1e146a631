"""Targets that this process cannot reach, and requests that have failed.

Used through ``origin.targets`` where a client certificate cannot be used; the route itself stays, and only a
request that gets here fails.  ``DeadCall`` is what origins return when a request is over at once.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import OriginError
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

    def __init__(self, label: str, why: str, stats: Any) -> None:
        """``label`` is the target as logs call it, ``why`` what the log is told, once.

        ``stats`` is an ``IStatsSink``.
        """
        self._label = label
        self._why = why
        self._stats = stats
        self._told = False

    def fetch(self, request: OriginRequest, sink: Any) -> DeadCall:
        """As ``IOrigin``."""
        return self._fail(sink)

    def connect(self, handshake: Any, sink: Any) -> DeadCall:
        """As ``IOrigin``."""
        return self._fail(sink)

    def _fail(self, sink: Any) -> DeadCall:
        if not self._told:
            self._told = True
            self._stats.note("warn", f"target {self._label}: {self._why}")
        sink.failed(OriginError(self._why))
        return DeadCall()
