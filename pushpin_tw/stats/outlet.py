"""What becomes a packet, and when (zeromq 5.2, 5.3): the outlet of a process that writes its own statistics.

Fed by ``stats.tally``, or with what several processes have counted; ``stats.report`` owns the socket, and
Prometheus reads the totals.  A packet that nobody has subscribed to is never made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pushpin_tw.stats.counters import Delta, Totals
from pushpin_tw.stats.rounds import Rounds
from pushpin_tw.stats.subscriptions import GONE, Subscriptions
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.statspacket import encode_packet


class PacketOutlet:
    """Implements ``stats.tally.Outlet``."""

    def __init__(
        self,
        wheel: Wheel,
        sender: str,
        ttl: int = 60,
        interval: float = 10,
        as_json: bool = False,
        packets: bool = True,
    ) -> None:
        """``sender``: what packets are ``from``; ``ttl``: seconds that statistics of a subscription live;
        ``interval``: seconds between reports, 0 for none; ``packets``: whether there will be any, else only
        the totals matter."""
        self.totals = Totals(reports=interval > 0)
        self.wanted: frozenset[str] = frozenset()
        self.send: Callable[[bytes], object] = _nothing
        """Where packets go."""
        self.collect: Callable[[], None] = _nothing
        """Called before a report, so that it has the latest."""
        self._wheel = wheel
        self._sender = sender
        self._ttl = ttl
        self._as_json = as_json
        self._subscriptions = Subscriptions(ttl * 3 // 4, self._tell)
        self._seconds = Rounds(wheel, 1.0, self._second)
        """While anything is subscribed."""
        self._reports = Rounds(wheel, interval, self._report) if interval > 0 else None
        self._reported = 0.0
        # On the way of every hold.
        subscriptions = self._subscriptions
        self.joined = subscriptions.joined if packets else _nothing
        self.left = subscriptions.left if packets else _nothing
        self.lingered = subscriptions.lingered if packets else _nothing

    def start(self) -> None:
        """From now on there are reports."""
        self._reported = self._wheel.seconds()
        if self._reports is not None:
            self._reports.start()

    def stop(self) -> None:
        """Nothing is told any more."""
        self.wanted = frozenset()
        self.send = _nothing
        self._seconds.stop()
        if self._reports is not None:
            self._reports.stop()

    def figures(self) -> dict[str, int]:
        """What Prometheus reads, by its names (zeromq 6.2)."""
        self.collect()
        totals = self.totals
        return {
            "request_received": totals.requests,
            "connection_connected": totals.connected,
            "connection_minute": totals.minutes,
            "message_received": totals.received,
            "message_sent": totals.sent,
        }

    # ---- as Outlet -----------------------------------------------------------------------------------------

    def add(self, delta: Delta, source: object = None) -> None:
        """What was counted since the last time, by one process of several if need be."""
        self.totals.merge(delta, source)
        requests = self.totals.take_requests()
        if requests and "counts" in self.wanted:
            self.emit("counts", {"requests-received": requests})
        for route, count in self.totals.take_activity().items():
            if "activity" in self.wanted:
                self.emit("activity", {"route": route, "count": count} if route else {"count": count})

    def emit(self, kind: str, members: Mapping[str, Any]) -> None:
        """A packet of a type that is wanted."""
        self.send(encode_packet(kind, {"from": self._sender, **members}, self._as_json))

    # ---- subscriptions -------------------------------------------------------------------------------------

    def _tell(self, mode: str, channel: str, subscribers: int) -> None:
        self._seconds.start()
        if "sub" not in self.wanted:
            return
        if subscribers == GONE:
            self.emit("sub", {"mode": mode, "channel": channel, "unavailable": True})
        else:
            members = {"mode": mode, "channel": channel, "ttl": self._ttl, "subscribers": subscribers}
            self.emit("sub", members)

    def _second(self, passed: int) -> bool:
        # More than one have passed only when the process has slept: once is enough then.
        self._subscriptions.tick()
        return len(self._subscriptions) > 0

    # ---- reports -------------------------------------------------------------------------------------------

    def _report(self, passed: int) -> bool:
        now = self._wheel.seconds()
        duration = int((now - self._reported) * 1000)
        self._reported = now
        self.collect()
        for route, members in self.totals.take_report().items():
            if "report" in self.wanted:
                self.emit("report", {**members, "duration": duration, **({"route": route} if route else {})})
        return True


def _nothing(*figures: object) -> None:
    """Nobody wants this."""
