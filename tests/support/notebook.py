"""The log of a service under test, as a list."""

from __future__ import annotations

from dataclasses import dataclass

from pushpin_tw.config import Config
from pushpin_tw.config.loglevel import ERROR, SERVICES, WARN
from pushpin_tw.stats.journal import Journal
from pushpin_tw.stats.logfile import Logs
from pushpin_tw.wire.message import RequestLine


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log."""

    service: str
    level: int
    text: str
    details: str
    """A traceback, when the line tells of one."""


class _NotedVoice:
    """Writes the lines of one service into the book."""

    def __init__(self, notebook: Notebook, service: str, level: int) -> None:
        self.level = level
        self._notebook = notebook
        self._service = service

    def write(self, level: int, message: str, request: RequestLine | None = None, details: str = "") -> None:
        if level <= self.level or request is not None:
            self._notebook.lines.append(Line(self._service, level, message, details))


class Notebook:
    """Keeps the lines; ``journal`` is what the service writes to."""

    def __init__(self, config: Config) -> None:
        self.lines: list[Line] = []
        """At the levels that the configuration asks for."""
        levels = config.runner.log_level
        voices = {service: _NotedVoice(self, service, levels.of(service)) for service in SERVICES}
        self.logs = Logs(voices)
        self.journal = Journal(config, self.logs)

    def texts(self, service: str = "", level: int | None = None) -> list[str]:
        """What stands in the lines, of one service or level if asked so."""
        return [
            line.text for line in self.lines if service in ("", line.service) and level in (None, line.level)
        ]

    @property
    def warnings(self) -> list[str]:
        """What was warned of."""
        return self.texts(level=WARN)

    def no_bugs(self) -> None:
        """Fails when an error with a traceback was logged: a bug that the service survived."""
        bugs = [f"{line.text}\n{line.details}" for line in self.lines if line.level == ERROR and line.details]
        assert not bugs, "\n".join(bugs)
