"""One running pushpin: its configuration, directories, logs, pid files and signals (proxy 3.2).

Called by the ``pushpin`` command and by the twistd plugin, so that both behave alike.  Knows nothing about
what is proxied: that is the graph which ``service`` builds.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.python.usage import UsageError

from pushpin_tw.config import Config, check_config
from pushpin_tw.config.loglevel import ERROR, INFO, SERVICES, WARN
from pushpin_tw.config.reading import SEARCHED
from pushpin_tw.errors import ConfigError
from pushpin_tw.notify import notify
from pushpin_tw.options import Settings
from pushpin_tw.pidfile import DaemonPidFile
from pushpin_tw.reconfigure import CHANGEABLE, changes, merged
from pushpin_tw.service import PushpinService, make_service
from pushpin_tw.stats.journal import Journal, LoggerVoice
from pushpin_tw.stats.logfile import JsonVoice, Logs, Output, TextVoice, Voice
from pushpin_tw.upgrade import Predecessor, Successor, find_predecessor
from pushpin_tw.workers.parent import Parent
from pushpin_tw.workers.share import worker_count

NO_LISTENERS = "no server ports configured"
STOP_LIMIT = 0.8
"""Seconds that stopping may take before the process leaves all the same."""
STDOUT = 1
_COMPONENTS = {"connmgr": "connmgr", "proxy": "pushpin-proxy", "handler": "pushpin-handler"}
"""What pid files and logs of services are called."""


# ---- the configuration -------------------------------------------------------------------------------------


def find_config() -> str:
    """The path of the configuration when none was given.

    :raises ConfigError: there is none.
    """
    for path in SEARCHED:
        if os.path.isfile(path):
            return path
    tried = " ".join(os.path.abspath(path) for path in SEARCHED)
    raise ConfigError(f"no configuration file found. Tried: {tried}")


def load_config(path: str, settings: Settings) -> tuple[Config, list[ConfigError]]:
    """The configuration with the command line's changes, and everything that is wrong with it.

    :raises ConfigError: it cannot be read at all.
    """
    try:
        text = _read(path)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path) from None
    config, problems = check_config(text, path, _read, instance=settings.instance)
    config = config.overridden(settings.log_levels, settings.listen)
    if not config.has_listeners and not problems:
        problems.append(ConfigError(NO_LISTENERS, path))
    return config, problems


def _read(path: str) -> str:
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "replace")


# ---- directories, logs, pid files --------------------------------------------------------------------------


def make_directories(config: Config, settings: Settings) -> None:
    """Make what is missing of ``rundir``, and of ``logdir`` when logs go there.

    :raises ConfigError: one cannot be made.
    """
    wanted = [config.global_.rundir, "" if settings.merge_output else config.runner.logdir]
    for path in filter(None, wanted):
        try:
            os.makedirs(path, exist_ok=True)
        except OSError:
            raise ConfigError(f"failed to create directory: {path}") from None


def make_logs(
    config: Config,
    settings: Settings,
    own: Output | None,
    clock: Any,
    elsewhere: Callable[[str, int], Voice] = LoggerVoice,
) -> Logs:
    """The logs of all services.

    ``own`` is where the program itself logs to, and everybody when output is merged; without it they speak
    to twisted.logger, or to what ``elsewhere(service, level)`` makes.
    """
    levels = config.runner.log_level
    voices: dict[str, Voice] = {}
    outputs = [] if own is None else [own]
    for service in SERVICES:
        level, tag, output = levels.of(service), "", own
        if service in _COMPONENTS:
            tag = service if settings.merge_output else ""
            if not settings.merge_output:
                name = f"{config.file_prefix}{_COMPONENTS[service]}.log"
                output = Output(os.path.join(config.runner.logdir, name), clock)
                outputs.append(output)
        if output is None:
            voices[service] = elsewhere(service, level)
        elif config.tw.log_format == "json":
            voices[service] = JsonVoice(output, level, clock, service)
        else:
            voices[service] = TextVoice(output, level, clock, tag)
    return Logs(voices, tuple(outputs), None if own is None else own.target)


class PidFiles(Service):
    """One pid file for each part that the original has a process for; all name this process."""

    def __init__(self, config: Config) -> None:
        prefix = os.path.join(config.global_.rundir, config.file_prefix)
        self._paths = [f"{prefix}{component}.pid" for component in _COMPONENTS.values()]

    def startService(self) -> None:
        """Write them.

        :raises ConfigError: one cannot be written.
        """
        super().startService()
        for path in self._paths:
            try:
                with open(path, "w") as file:
                    file.write(f"{os.getpid()}\n")
            except OSError as error:
                raise ConfigError(f"failed to write {path}: {error.strerror}") from None

    def stopService(self) -> None:
        """Remove them, unless they are somebody else's by now."""
        super().stopService()
        for path in self._paths:
            try:
                with open(path) as file:
                    if file.read().strip() != str(os.getpid()):
                        continue
                os.unlink(path)
            except OSError:
                continue


# ---- the program -------------------------------------------------------------------------------------------


class Program(MultiService):
    """Everything that runs, in the order in which it starts."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        logs: Logs,
        reactor: Any,
        predecessor: Predecessor | None = None,
        twistd: MutableMapping[str, Any] | None = None,
    ) -> None:
        """``predecessor`` is the process that is to be replaced; ``twistd`` are options of twistd."""
        super().__init__()
        self._predecessor = predecessor
        self._successor: Successor | None = None
        self._stopping = False
        self._directory = os.getcwd()  # twistd is about to go elsewhere
        self._daemon_pid = DaemonPidFile(twistd)
        self._config = config
        self._settings = settings
        self._reactor = reactor
        self._logs = logs
        self._runner = logs.voices["runner"]
        journal, count = Journal(config, logs), worker_count(config)
        self.pushpin: PushpinService | Parent
        if count > 1:
            self.pushpin = Parent(config, settings, logs, count, reactor, journal)
        else:
            self.pushpin = make_service(config, routes=settings.routes, reactor=reactor, stats=journal)
        self.pushpin.setServiceParent(self)
        self._pid_files = PidFiles(config)
        self._pid_files.setServiceParent(self)  # last: if a port is in use, these may be another's files

    def startService(self) -> None:
        """Start everything.

        :raises SystemExit: with 1, when something cannot; the reason is in the log.
        """
        try:
            make_directories(self._config, self._settings)
            self._logs.open()
            for warning in self._config.warnings:
                self._runner.write(WARN, warning)
            if self._predecessor is not None:
                self._predecessor.take_over(self.pushpin, self._reactor)
            super().startService()
        except (CannotListenError, ConfigError, OSError) as error:
            self._runner.write(ERROR, str(error))
            self._logs.close()
            if self._predecessor is not None:
                self._predecessor.failed(str(error))
            raise SystemExit(1) from None
        # Not now: when it starts, the reactor sets handlers of its own.
        self._reactor.callWhenRunning(self._running)

    def _running(self) -> None:
        self._stop_on_signals()
        self._on_signal(signal.SIGHUP, self.reload)
        self._on_signal(signal.SIGUSR1, self._reopen)
        self._on_signal(signal.SIGUSR2, self.upgrade)
        self.pushpin.when_ready(self._started)

    def _started(self) -> None:
        self._logs.flush()  # whoever reads "started" finds in the other logs what happened before
        self._runner.write(INFO, "started")
        self._logs.flush()
        if self._predecessor is not None:
            self._predecessor.started()
        notify("READY=1")

    def stopService(self) -> Any:
        """Let the clients go, then stop everything; the logs stay open for last words."""
        self._runner.write(INFO, "stopping...")
        self._stopping = True
        if self._successor is None:
            notify("STOPPING=1")
        else:
            self._successor.abandon()
        return self.pushpin.drain().addCallback(lambda _: self._stop())

    def _stop(self) -> Any:
        limit: Deferred[None] = deferLater(self._reactor, STOP_LIMIT)
        return DeferredList([super().stopService(), limit], fireOnOneCallback=True).addCallback(self._stopped)

    def _stopped(self, first: tuple[object, int]) -> None:
        if first[1]:
            self._runner.write(WARN, "stopped before everything had ended")
        self._logs.close()

    def reload(self) -> None:
        """What SIGHUP asks for: read the configuration again, as far as it can change, and the routes."""
        self._runner.write(INFO, "reloading")
        self._reopen()
        self._reconfigure()
        self.pushpin.reload()

    def _reconfigure(self) -> None:
        path = self._config.file
        try:
            config, problems = load_config(path, self._settings)
        except ConfigError as error:
            problems = [error]
        if problems:
            for problem in problems:
                self._runner.write(ERROR, str(problem))
            self._runner.write(ERROR, f"{path}: nothing is changed")
            return
        for warning in config.warnings:
            self._runner.write(WARN, warning)
        changed = changes(self._config, config)
        for key in changed:
            if key not in CHANGEABLE:
                place = config.places.get(key, path)
                self._runner.write(WARN, f"{place}: {key[1]}: a change needs a restart")
        names = [name for section, name in changed if (section, name) in CHANGEABLE]
        if names:
            self._config = merged(self._config, config)
            self.pushpin.reconfigure(self._config)
            self._runner.write(INFO, f"changed: {', '.join(names)}")

    def _reopen(self) -> None:
        self._logs.reopen()
        self.pushpin.reopen()

    # ---- another process -----------------------------------------------------------------------------------

    def upgrade(self) -> None:
        """What SIGUSR2 asks for: a new process takes over, with the same command line."""
        if self._successor is not None or self._stopping:
            self._runner.write(WARN, "another process is about to take over already")
        elif os.getpid() == 1:
            self._runner.write(WARN, "process 1 cannot be replaced: its container would end with it")
        else:
            self._runner.write(INFO, "starting a process to take over")
            self._logs.flush()
            self._daemon_pid.leave()
            self._successor = Successor(self.pushpin, self._reactor, self._note, self._upgraded)
            try:
                self._successor.start(self._directory)
            except OSError as error:
                self._runner.write(ERROR, f"no process can be started, this one goes on: {error}")
                self._upgraded(False)

    def _note(self, level: str, text: str) -> None:
        self._runner.write({"error": ERROR, "warn": WARN}[level], text)

    def _upgraded(self, taken_over: bool) -> None:
        successor = self._successor
        if taken_over and successor is not None:
            notify(f"MAINPID={successor.pid}")
            self._runner.write(INFO, f"process {successor.pid} has taken over")
            self._end()
            return
        self._successor = None
        self._daemon_pid.take()
        self._pid_files.startService()

    def _end(self) -> None:
        if not self._stopping:
            self._reactor.stop()

    def _stop_on_signals(self) -> None:
        """Stop on the first signal; a second one finds the system's own handling, which ends us at once."""

        def stop(number: int, frame: Any) -> None:
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, signal.SIG_DFL)
            self._reactor.callFromThread(self._end)

        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, stop)

    def _on_signal(self, number: int, action: Callable[[], None]) -> None:
        """Do ``action`` on a signal, after what was done on it before: twistd turns its log over on USR1."""
        before = signal.getsignal(number)

        def handle(number: int, frame: Any) -> None:
            if callable(before):
                before(number, frame)
            self._reactor.callFromThread(action)

        signal.signal(number, handle)


def twistd_program(settings: Settings, twistd: MutableMapping[str, Any]) -> Program:
    """What ``twistd pushpin`` runs: twistd has its own log, and the components theirs (proxy 3.1).

    :raises UsageError: the configuration cannot be used.
    """
    from twisted.internet import reactor

    predecessor = find_predecessor()
    try:
        config, problems = load_config(settings.config or find_config(), settings)
    except ConfigError as error:
        problems = [error]
    if problems:
        said = "\n".join(map(str, problems))
        if predecessor is not None:
            predecessor.failed(said)
        raise UsageError(said)
    own: Output | None = None
    if settings.logfile:
        own = Output(settings.logfile, reactor)
    elif settings.merge_output and _prints(twistd):
        own = Output(STDOUT, reactor)
    logs = make_logs(config, settings, own, reactor)
    return Program(config, settings, logs, reactor, predecessor, twistd)


def _prints(twistd: Mapping[str, Any]) -> bool:
    """Whether twistd's own log is standard output, so that we may write there without its machinery, which
    would cost more than a tenth of a request."""
    return bool(twistd.get("nodaemon")) and not any(
        twistd.get(way) for way in ("logfile", "syslog", "logger")
    )
