"""Log files and standard output: buffered, reopened on demand, as text or as JSON (proxy 8.11).

Made by the process at its start; written to through voices by ``stats.journal`` and by ``LogObserver``,
which is how everything told to twisted.logger gets here.  Never raises because a disk is full, and never lets
a text end the line that it stands in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from time import gmtime, localtime, strftime, struct_time
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from pushpin_tw.config.loglevel import DEBUG, ERROR, INFO, WARN
from pushpin_tw.wire.message import RequestLine

NAMES = ("ERR", "WARN", "INFO", "DEBUG", "TRACE")
FLUSH_DELAY = 0.1
"""Seconds that a line may wait; warnings and errors do not wait."""
FLUSH_LINES = 500
"""Lines that may wait."""

_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Output:
    """A file that is appended to, or an open descriptor."""

    def __init__(self, target: str | int, clock: IReactorTime) -> None:
        """``target`` is a path or a descriptor, such as 1; opened by the first flush or by ``reopen``."""
        self.target = target
        self._clock = clock
        self._descriptor = -1 if isinstance(target, str) else target
        self._lines: list[str] = []
        self._flusher: Any = None
        self.lost = 0
        """Lines that could not be written."""

    def write(self, line: str) -> None:
        """One line, with its end."""
        lines = self._lines
        lines.append(line)
        if len(lines) >= FLUSH_LINES:
            self.flush()
        elif self._flusher is None:
            self._flusher = self._clock.callLater(FLUSH_DELAY, self.flush)

    def flush(self) -> None:
        """Write what waits.  What cannot be written is counted and dropped: a full disk stops no client."""
        if self._flusher is not None:
            if self._flusher.active():
                self._flusher.cancel()
            self._flusher = None
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        data = memoryview("".join(lines).encode("utf-8", "backslashreplace"))
        try:
            self.open()
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            self.lost += len(lines)

    def open(self) -> None:
        """Make sure that the file is open.

        :raises OSError: it cannot be.
        """
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(str(self.target), flags, 0o666)

    def reopen(self) -> None:
        """Go on in a new file if the old one was moved; a descriptor stays."""
        self.flush()
        if isinstance(self.target, str):
            self.close()
            try:
                self.open()
            except OSError:
                self._descriptor = -1  # tried again by the next flush

    def close(self) -> None:
        """Write what waits; a later line opens the file again."""
        self.flush()
        if isinstance(self.target, str) and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Voice(Protocol):
    """One service's way into the log."""

    level: int
    """Lines above it are dropped, except those of requests: their routes may have levels of their own."""

    def write(self, level: int, message: str, request: RequestLine | None = None, details: str = "") -> None:
        """A line; ``request`` is what ``message`` was made of, ``details`` a traceback."""


class _Stamp:
    """The time as text, written anew once a second: half of what a line would cost otherwise."""

    __slots__ = ("_clock", "_convert", "_format", "_second", "_text")

    def __init__(self, clock: IReactorTime, format: str, convert: Callable[[float], struct_time]) -> None:
        self._clock = clock
        self._format = format
        self._convert = convert
        self._second = -1
        self._text = ""

    def __call__(self) -> str:
        now = self._clock.seconds()
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = strftime(self._format, self._convert(second))
        return f"{self._text}.{int((now - second) * 1000):03d}"


class TextVoice:
    """``[LEVEL] YYYY-MM-DD HH:MM:SS.mmm [TAG] MESSAGE``, in local time."""

    __slots__ = ("_output", "_stamp", "_tag", "level")

    def __init__(self, output: Output, level: int, clock: IReactorTime, tag: str = "") -> None:
        self.level = level
        self._output = output
        self._stamp = _Stamp(clock, "%Y-%m-%d %H:%M:%S", localtime)
        self._tag = f"[{tag}] " if tag else ""

    def write(self, level: int, message: str, request: RequestLine | None = None, details: str = "") -> None:
        """See ``Voice``."""
        if level > self.level and request is None:
            return
        head = f"[{NAMES[level]}] {self._stamp()} {self._tag}"
        output = self._output
        output.write(f"{head}{message if message.isprintable() else _visible(message)}\n")
        for line in details.splitlines():
            output.write(f"{head}  {_visible(line)}\n")
        if level <= WARN:
            output.flush()


class JsonVoice:
    """One JSON object a line: time (UTC), level, service, message, and the parts of a request."""

    __slots__ = ("_output", "_service", "_stamp", "level")

    def __init__(self, output: Output, level: int, clock: IReactorTime, service: str) -> None:
        self.level = level
        self._output = output
        self._stamp = _Stamp(clock, "%Y-%m-%dT%H:%M:%S", gmtime)
        self._service = service

    def write(self, level: int, message: str, request: RequestLine | None = None, details: str = "") -> None:
        """See ``Voice``."""
        if level > self.level and request is None:
            return
        record: dict[str, Any] = {
            "time": self._stamp() + "Z",
            "level": NAMES[level],
            "service": self._service,
            "message": message,
        }
        if request is not None:
            record |= _fields(request)
        if details:
            record["traceback"] = details
        self._output.write(_encode_json(record) + "\n")
        if level <= WARN:
            self._output.flush()


class Logs:
    """The voices of a process and the outputs that they use."""

    def __init__(
        self, voices: Mapping[str, Voice], outputs: tuple[Output, ...] = (), own: str | int | None = None
    ) -> None:
        """``own`` is where the program itself logs to, a path or a descriptor; None when that is somebody
        else's business."""
        self.voices = voices
        self.own = own
        self._outputs = outputs

    def open(self) -> None:
        """Open all files.

        :raises OSError: one cannot be opened.
        """
        for output in self._outputs:
            output.open()

    def reopen(self) -> None:
        """Go on in new files where the old ones were moved."""
        for output in self._outputs:
            output.reopen()

    def flush(self) -> None:
        """Write what waits."""
        for output in self._outputs:
            output.flush()

    def close(self) -> None:
        """Write what waits and close the files."""
        for output in self._outputs:
            output.close()


_LEVELS = {
    LogLevel.debug: DEBUG,
    LogLevel.info: INFO,
    LogLevel.warn: WARN,
    LogLevel.error: ERROR,
    LogLevel.critical: ERROR,
}
_SERVICES = {
    **dict.fromkeys(("connmgr", "edge"), "connmgr"),
    **dict.fromkeys(("proxy", "origin", "routing"), "proxy"),
    **dict.fromkeys(("handler", "hold", "broker", "publish", "grip"), "handler"),
}


@implementer(ILogObserver)
class LogObserver:
    """Brings what is told to twisted.logger, by Twisted or by a plugin, into the log of its service.

    Twisted's own remarks on ports and factories are debug lines here, as operators never asked for them.
    """

    def __init__(self, voice: Callable[[str], Voice]) -> None:
        """``voice`` returns the voice of a service."""
        self._voice = voice

    def __call__(self, event: LogEvent) -> None:
        package, _, room = str(event.get("log_namespace", "")).partition(".")
        level = _LEVELS.get(event.get("log_level", LogLevel.info), INFO)
        if package != "pushpin_tw" and level == INFO:
            level = DEBUG
        voice = self._voice(_SERVICES.get(room.partition(".")[0], "runner"))
        if level > voice.level:
            return
        failure = event.get("log_failure")
        voice.write(level, formatEvent(event), None, failure.getTraceback() if failure else "")


def _visible(text: str) -> str:
    """``text`` without anything that a terminal or a reader of lines would take for more than text."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def _fields(request: RequestLine) -> dict[str, Any]:
    """The parts of a request that are there."""
    fields: dict[str, Any] = {"method": request.method.decode("latin-1"), "uri": request.uri}
    if request.target:
        fields["target"] = request.target
    if request.route:
        fields["route"] = request.route
    fields["outcome"] = request.outcome
    if request.outcome == "code":
        fields["status"] = request.status
        fields["size"] = request.size
    if request.retry:
        fields["retry"] = True
    return fields
