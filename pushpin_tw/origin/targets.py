"""The kinds of targets that come with pushpin (proxy 1.4), each an ``ITargetType`` plugin.

``plugins.builtin`` makes one instance of each; the routes file asks ``parse``, the service asks ``origin``.
A module of another package that is put into ``pushpin_tw.plugins`` adds a kind in exactly the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from pushpin_tw.extensions import IStandingTargetType, ITargetType
from pushpin_tw.origin import echo
from pushpin_tw.origin.answering import AnsweringOrigin
from pushpin_tw.origin.demo import Demo
from pushpin_tw.origin.http import HttpOrigin
from pushpin_tw.origin.inprocess import InProcessOrigin
from pushpin_tw.origin.unavailable import UnavailableOrigin
from pushpin_tw.origin.zhttp import ZhttpOrigin
from pushpin_tw.origin.zhttproom import STREAMING, zhttp_room
from pushpin_tw.routing.route import (
    Target,
    parse_host_port,
    parse_no_address,
    parse_zmq_spec,
    split_host_port,
)


@implementer(IPlugin, ITargetType)
class HttpTarget:
    """``HOST:PORT``: a backend over TCP, with the option ``ssl`` over TLS."""

    prefix = ""

    def parse(self, address: str) -> str:
        """As ``ITargetType``."""
        return parse_host_port(address)

    def origin(self, target: Target, services: Any) -> Any:
        """As ``ITargetType``."""
        host, port = split_host_port(target.address)
        try:
            return HttpOrigin(target, host, port, services)
        except (OSError, ValueError) as error:
            # The files were there when the routes were read; nothing is sent without the identity asked for.
            return UnavailableOrigin(target.label, f"client certificate: {error}", services.stats)


@implementer(IPlugin, ITargetType)
class TestTarget:
    """``test``: the test handler (proxy 8.8)."""

    __test__ = False  # a name that pytest would collect
    prefix = "test"

    def parse(self, address: str) -> str:
        """As ``ITargetType``."""
        return parse_no_address(address)

    def origin(self, target: Target, services: Any) -> InProcessOrigin:
        """As ``ITargetType``."""
        return InProcessOrigin(echo.answer, echo.accept, services)


@implementer(IPlugin, ITargetType)
class DemoTarget:
    """``demo``: a small realtime application to look at."""

    prefix = "demo"

    def parse(self, address: str) -> str:
        """As ``ITargetType``."""
        return parse_no_address(address)

    def origin(self, target: Target, services: Any) -> AnsweringOrigin:
        """As ``ITargetType``."""
        demo = services.shared("origin.demo", lambda: Demo(services))
        return AnsweringOrigin(demo.answer, services.stats)


@implementer(IPlugin, IStandingTargetType)
class ZmqTarget:
    """``zhttp/BASESPEC`` and ``zhttpreq/SPEC``: backends that speak ZHTTP over ZeroMQ."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def parse(self, address: str) -> str:
        """As ``ITargetType``."""
        return parse_zmq_spec(address)

    def origin(self, target: Target, services: Any) -> Any:
        """As ``ITargetType``."""
        try:
            return ZhttpOrigin(target, services)
        except OSError as error:
            return UnavailableOrigin(target.label, f"client certificate: {error}", services.stats)

    def keep(self, targets: Sequence[Target], services: Any) -> None:
        """As ``IStandingTargetType``; the kinds share their room, which one of them tells."""
        if self.prefix == STREAMING:
            zhttp_room(services).keep(targets)
