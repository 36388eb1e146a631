"""A target ``clock/ZONE``: says what time it is, and holds the client for items of the channel ``clock``."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from twisted.plugin import IPlugin
from zope.interface import implementer

from pushpin_tw.errors import RouteSyntaxError
from pushpin_tw.extensions import ITargetType
from pushpin_tw.origin.answering import Answer, AnsweringOrigin
from pushpin_tw.wire.message import OriginRequest


@implementer(IPlugin, ITargetType)
class ClockTarget:
    prefix = "clock"

    def parse(self, address: str) -> str:
        if address not in available_timezones():
            raise RouteSyntaxError(f"no such time zone: {address}")
        return address

    def origin(self, target: Any, services: Any) -> AnsweringOrigin:
        zone = ZoneInfo(target.address)

        def answer(request: OriginRequest, body: bytes) -> Answer:
            now = datetime.fromtimestamp(services.clock.seconds(), zone)
            headers = (
                (b"Content-Type", b"text/plain"),
                (b"Grip-Hold", b"stream"),
                (b"Grip-Channel", b"clock"),
            )
            return Answer(200, b"OK", headers, f"{now:%H:%M:%S}\n".encode())

        return AnsweringOrigin(answer, services.stats)


clock_target = ClockTarget()
