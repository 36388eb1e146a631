"""The lines of the log (proxy 8.11): what rooms tell, put into words.

An ``IStatsSink`` for everybody.  Each line belongs to a service, whose level decides whether it is written.
Never counts (that is ``stats.counters``) and never opens a file (that is ``stats.logfile``).
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from pushpin_tw.config import Config
from pushpin_tw.config.loglevel import DEBUG, ERROR, INFO, SERVICES, WARN
from pushpin_tw.figures import IStatsSink
from pushpin_tw.stats.logfile import Logs, Voice
from pushpin_tw.wire.message import RequestLine

_LEVELS = {"error": ERROR, "warn": WARN, "info": INFO, "debug": DEBUG}


class LoggerVoice:
    """A voice that speaks to twisted.logger, under the name ``pushpin_tw.SERVICE``."""

    __slots__ = ("_logger", "level")

    _LEVELS = (LogLevel.error, LogLevel.warn, LogLevel.info, LogLevel.debug, LogLevel.debug)

    def __init__(self, service: str, level: int) -> None:
        self.level = level
        self._logger = Logger(namespace=f"pushpin_tw.{service}")

    def write(self, level: int, message: str, request: RequestLine | None = None, details: str = "") -> None:
        """See ``stats.logfile.Voice``."""
        if level <= self.level or request is not None:
            text = f"{message}\n{details}" if details else message
            self._logger.emit(self._LEVELS[level], "{text}", text=text)


@implementer(IStatsSink)
class Journal:
    """Writes the lines."""

    def __init__(self, config: Config, logs: Logs | None = None) -> None:
        """Without ``logs``, lines go to twisted.logger."""
        levels = config.runner.log_level
        voices: Mapping[str, Voice] = (
            logs.voices
            if logs is not None
            else {service: LoggerVoice(service, levels.of(service)) for service in SERVICES}
        )
        self._voices = voices
        self._proxy = voices["proxy"]
        self._handler = voices["handler"]
        self._use(config)

    def configure(self, config: Config) -> None:
        """Go on as ``config`` says."""
        for service, voice in self._voices.items():
            voice.level = config.runner.log_level.of(service)
        self._use(config)

    def _use(self, config: Config) -> None:
        self._log_from = config.proxy.log_from
        self._log_user_agent = config.proxy.log_user_agent
        self.wants_requests = self._proxy.level >= INFO
        self.wants_holds = self._handler.level >= INFO

    def request_finished(self, line: RequestLine) -> None:
        """See ``IStatsSink``."""
        if (self._proxy.level if line.threshold is None else line.threshold) >= INFO:
            self._proxy.write(INFO, self._words(line), line)

    def _words(self, line: RequestLine) -> str:
        text = f"{line.method.decode('latin-1')} {line.uri}"
        if line.target:
            text += f" -> {line.target}[http]" if line.over_http else f" -> {line.target}"
        if self._log_from and line.peer:
            text += f" from={line.peer}"
        if line.referer:
            text += f" ref={_one_word(line.referer)}"
        if line.route:
            text += f" route={line.route}"
        text += f" code={line.status} {line.size}" if line.outcome == "code" else f" {line.outcome}"
        if line.retry:
            text += " retry"
        if line.shared is not None:
            text += f" shared={line.shared:#x}"
        if self._log_user_agent and line.user_agent:
            text += f" ua={line.user_agent}"
        for channel, last_id in line.last_ids:
            text += f" #{channel}={last_id}"
        return text

    def held(self, uri: str, channel: str, retry: bool) -> None:
        """See ``IStatsSink``."""
        if self.wants_holds:
            self._handler.write(INFO, f"subscribe {uri} channel={channel}{' retry' if retry else ''}")

    def linked(self, method: bytes, uri: str, status: int, size: int) -> None:
        """See ``IStatsSink``."""
        if self.wants_holds:
            self._handler.write(INFO, f"{method.decode('latin-1')} {uri} code={status} {size}")

    def published(self, channel: str, receivers: int) -> None:
        """See ``IStatsSink``."""
        if self.wants_holds:
            self._handler.write(INFO, f"publish channel={channel} receivers={receivers}")

    def count(self, name: str, n: int = 1, route: str = "") -> None:
        """Numbers are not written."""

    def took(self, name: str, seconds: float, n: int = 1, route: str = "") -> None:
        """Nor are these."""

    def note(self, level: str, text: str, service: str = "proxy") -> None:
        """See ``IStatsSink``."""
        self._voices[service].write(_LEVELS[level], text)

    def failure(self, where: str) -> None:
        """See ``IStatsSink``; called within an ``except`` block."""
        failure = Failure()
        text = f"unexpected error in {where}: {failure.value!r}"
        self._proxy.write(ERROR, text, None, failure.getTraceback())


def _one_word(url: str) -> str:
    """A URL from a header, such that the next word of the line is not taken for a part of it."""
    url = url.strip()
    if url.isascii() and url.isprintable() and " " not in url:
        return url
    return "".join(
        char if char.isprintable() and char != " " else "".join(f"%{byte:02X}" for byte in char.encode())
        for char in url
    )
