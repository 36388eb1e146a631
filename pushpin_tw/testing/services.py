"""What a plugin is lent, for tests of it: real timers or a clock of the test, and stats that remember.

Used by the contract suites, and by tests of target types, publish sources and other users of ``IServices``.
Never opens anything by itself.
"""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from pushpin_tw.config import Config, parse_config
from pushpin_tw.extensions import IServices
from pushpin_tw.figures import IStatsSink
from pushpin_tw.wheel import Wheel


def _no_include(path: str) -> str:
    raise FileNotFoundError(path)


def config(text: str = "") -> Config:
    """A configuration from its text; without any, everything as it is by default."""
    return parse_config(text, "pushpin.conf", _no_include)


@implementer(IStatsSink)
class RecordedStats:
    """An ``IStatsSink`` that keeps what it was told."""

    wants_requests = True
    wants_holds = True

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        """By (name, route)."""
        self.times: list[tuple[str, float, int, str]] = []
        """Name, seconds, how often, route."""
        self.requests: list[Any] = []
        self.events: list[tuple[Any, ...]] = []
        """Calls of the other methods, each with its name first."""
        self.notes: list[tuple[str, str]] = []
        """(level, text) of every line for the log."""
        self.failures: list[str] = []
        """The traceback of every bug that showed itself."""

    def count(self, name: str, n: int = 1, route: str = "") -> None:
        """As ``IStatsSink``."""
        self.counts[name, route] += n

    def took(self, name: str, seconds: float, n: int = 1, route: str = "") -> None:
        """As ``IStatsSink``."""
        self.times.append((name, seconds, n, route))

    def request_finished(self, line: Any) -> None:
        """As ``IStatsSink``."""
        self.requests.append(line)

    def held(self, uri: str, channel: str, retry: bool) -> None:
        """As ``IStatsSink``."""
        self.events.append(("held", uri, channel, retry))

    def linked(self, method: bytes, uri: str, status: int, size: int) -> None:
        """As ``IStatsSink``."""
        self.events.append(("linked", method, uri, status, size))

    def published(self, channel: str, receivers: int) -> None:
        """As ``IStatsSink``."""
        self.events.append(("published", channel, receivers))

    def note(self, level: str, text: str, service: str = "proxy") -> None:
        """As ``IStatsSink``."""
        self.notes.append((level, text))

    def failure(self, where: str) -> None:
        """As ``IStatsSink``."""
        self.failures.append(f"{where}: {traceback.format_exc()}")


@implementer(IServices)
class LentServices:
    """An ``IServices`` for one test; call ``stop`` at its end."""

    def __init__(self, reactor: Any, clock: Any = None, config_text: str = "") -> None:
        """``clock`` is a ``task.Clock`` when the test moves the time, else ``reactor`` is the clock, too."""
        self.reactor = reactor
        self.clock = clock or reactor
        self.stats = RecordedStats()
        self.wheel = Wheel(self.clock, lambda: self.stats.failure("timer"))
        self.config = config(config_text)
        self.random = random.Random(1)
        self.connections: Any = None
        """For tests that need one."""
        self._shared: dict[str, Any] = {}

    def shared(self, name: str, make: Callable[[], Any]) -> Any:
        """As ``IServices``."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def stop(self) -> None:
        """End what was shared, and the timers."""
        for thing in self._shared.values():
            getattr(thing, "stop", lambda: None)()
        self._shared.clear()
        self.wheel.stop()
