"""Keeps the routing table what the routes file says (proxy 1.7).

Called by ``service``: ``RoutesWatch`` is a Twisted service that reads the file when it starts, and again a
second after the file was changed, replaced, deleted or made anew; ``reload`` is for SIGHUP.  Never takes a
table away: while the file cannot be read, the last one stays.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from errno import EMFILE, ENFILE, ENOMEM
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.filepath import FilePath

from pushpin_tw.config import Config
from pushpin_tw.routing.route import Route
from pushpin_tw.routing.routefile import COMMAND_LINE, KeySource, parse_routes
from pushpin_tw.wire.gripsig import load_key

_EXHAUSTED = (EMFILE, ENFILE, ENOMEM)

inotify: Any
try:
    inotify = importlib.import_module("twisted.internet.inotify")
except ImportError:  # a system without it: the file is looked at once per second
    inotify = None

DELAY = 1.0
"""Seconds from the first sign of a change to reading: whoever writes the file may need several writes."""
POLL_INTERVAL = 1.0
"""Seconds between looks at a file whose directory cannot be watched."""


def reader_in(directory: str) -> Callable[[str], bytes]:
    """What ``load_key`` reads ``file:`` keys with: paths are relative to ``directory``."""

    def read_file(path: str) -> bytes:
        with open(os.path.join(directory, path), "rb") as file:
            return file.read()

    return read_file


class _Watcher(Protocol):
    def stop(self) -> None: ...


class RoutesWatch(Service):
    """The routes file, or the lines that replace it, and the table made of them."""

    def __init__(
        self,
        config: Config,
        target_types: Mapping[str, Any],
        use: Callable[[list[Route]], object],
        services: Any,
        lines: Iterable[str] | None = None,
        quiet: bool = False,
    ) -> None:
        """``use`` is given the routes of each new table; ``services`` is an ``IServices``.

        With ``lines``, those of ``--route``, no file is read and nothing is watched.  ``quiet``: another
        process reads the same and tells the log about it.
        """
        self.trouble = "routes were not read yet"
        """What is wrong with the routes; empty when nothing is."""
        self._types = target_types
        self._use = use
        self._reactor = services.reactor
        self._clock = services.clock
        self._note = services.stats.note
        self._tell = _nothing if quiet else self._note
        """For what is the same in each process."""
        self._lines = None if lines is None else "\n".join(lines)
        self.configure(config)
        self._watcher: _Watcher | None = None
        self._timer: IDelayedCall | None = None

    def configure(self, config: Config) -> None:
        """From the next time that routes are read on, do so as ``config`` says."""
        self._name = config.proxy.routesfile
        self._path = os.path.abspath(os.path.join(config.directory, self._name))
        self._iss = config.proxy.sig_iss
        self._key = load_key(config.proxy.sig_key, reader_in(config.directory))

    def startService(self) -> None:
        """Read the routes, and watch their file from now on."""
        super().startService()
        if self._lines is not None:
            self._parse(self._lines, COMMAND_LINE, "")
        else:
            self._load()

    def stopService(self) -> None:
        """Watch it no more."""
        super().stopService()
        self._forget_timer()
        self._stop_watching()

    def reload(self) -> None:
        """Read the file at once; lines stay as they are."""
        if self._lines is None:
            self._forget_timer()
            self._load()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _changed(self) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(DELAY, self._settled)

    def _settled(self) -> None:
        self._timer = None
        self._tell("info", "routes file changed, reloading")
        self._load()

    def _load(self) -> None:
        # Watching begins anew each time, since links and directories may have changed as well, and before
        # the file is read, so that no change falls in between.
        self._stop_watching()
        self._watcher = self._watch()
        try:
            with open(self._path, "rb") as file:
                text = file.read().decode("utf-8", "surrogateescape")
        except OSError as error:
            exhausted = error.errno in _EXHAUSTED
            (self._note if exhausted else self._tell)("warn", f"unable to open routes file: {self._name}")
            self.trouble = "routes file cannot be read"
            if exhausted:
                self._changed()  # it may have, and nobody would say so again
            return
        count = self._parse(text, self._name, os.path.dirname(self._path))
        self._tell("info", f"routes loaded with {count} entries")

    def _parse(self, text: str, file: str, directory: str) -> int:
        """Use the routes in ``text``; how many there are.

        ``file`` is how the log calls the text; ``directory`` is where ``file:`` keys are looked for.
        """
        keys = KeySource(self._iss, self._key, reader_in(directory), reader_in(""))
        routes, warnings = parse_routes(text, file, self._types, keys)
        for warning in warnings:
            self._tell("warn", warning)
        self._use(routes)
        self.trouble = "" if routes else "there are no routes"
        return len(routes)

    def _watch(self) -> _Watcher:
        if inotify is not None and IReactorFDSet.providedBy(self._reactor):
            try:
                return _Notified(self._reactor, self._path, self._changed)
            except (OSError, inotify.INotifyError):
                pass  # no such directory, or no more watches to be had
        return _Polled(self._clock, self._path, self._changed)

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None


def _nothing(level: str, text: str) -> None:
    pass


def _signature(path: str) -> tuple[int, ...] | None:
    """Changes whenever the file does; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class _Notified:
    """Told by the kernel what happens in the file's directory, and in that of the file it is a link to."""

    def __init__(self, reactor: Any, path: str, changed: Callable[[], None]) -> None:
        """Raises OSError or INotifyError when the directory cannot be watched."""
        self._path = path
        self._changed = changed
        self._signature = _signature(path)
        self._names = {os.fsencode(path), os.fsencode(os.path.realpath(path))}
        self._notifier = inotify.INotify(reactor)
        self._notifier.startReading()
        try:
            for directory in {os.path.dirname(name) for name in self._names}:
                self._notifier.watch(FilePath(directory), callbacks=[self._happened])
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._notifier.loseConnection()

    def _happened(self, watch: object, path: FilePath[bytes], mask: int) -> None:
        # Another name's coming or going counts when it makes the file another one: links are replaced so.
        entries = inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED
        directory_gone = inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF | inotify.IN_UNMOUNT
        if (
            path.path in self._names
            or mask & directory_gone
            or (mask & entries and _signature(self._path) != self._signature)
        ):
            self._changed()


class _Polled:
    """Looks at the file now and then."""

    def __init__(self, clock: IReactorTime, path: str, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._signature = _signature(path)
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._looking.start(POLL_INTERVAL, now=False)

    def stop(self) -> None:
        self._looking.stop()

    def _look(self) -> None:
        signature = _signature(self._path)
        if signature != self._signature:
            self._signature = signature
            self._changed()
