"""The body of a request that came in another way than behind its head.

Made by the gateway for what a JSON-P request carries in its query; read by the exchange as any other body.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from pushpin_tw.interfaces import IBody


@implementer(IBody)
class GivenBody:
    """All of it is here."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def begin(self, sink: Any) -> None:
        """As ``IBody``; so are all others."""
        sink.body_received(self._data)
        sink.body_finished()

    def pause(self) -> None:
        """There is nothing to wait for."""

    def resume(self) -> None:
        """There is nothing to go on with."""

    def abandon(self) -> None:
        """There is nothing to leave unread."""
