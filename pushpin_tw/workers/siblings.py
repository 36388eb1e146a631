"""Workers among each other: requests of clients whose session another worker has (``ISiblings``).

Made by ``child``.  The kernel gives each connection of a client to any worker, while all requests of a SockJS
session have to meet in one: the one that the name of the session stands for.  Each worker listens on a Unix
socket in a directory that is open to the parent's user alone, so that no stranger can say who a client is,
and calls another one when the first request for that comes.  Never knows what is asked or answered.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any
from zlib import crc32

from twisted.internet.abstract import FileDescriptor
from zope.interface import implementer

from pushpin_tw.edge.doors import open_unix
from pushpin_tw.interfaces import ISiblings
from pushpin_tw.routing.uri import Uri
from pushpin_tw.wire.message import Request
from pushpin_tw.workers.errands import Caller, Errand, pack_request, pack_uri
from pushpin_tw.workers.link import Link, Message, encode

PATIENCE = 5.0
"""Seconds that a request waits for a worker that does not listen: one that has died is replaced soon."""
AGAIN = 0.1
"""Seconds between attempts to call it."""

Answer = Callable[[str, Uri, Request, bytes, Any], None]
"""``answer(route_id, uri, request, body, responder)``."""


class Meeting:
    """Where the workers of one parent find each other."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="pushpin-")

    def stop(self) -> None:
        """All have gone."""
        shutil.rmtree(self.directory, ignore_errors=True)


@implementer(ISiblings)
class Siblings:
    """The others, as one worker sees them."""

    def __init__(self, number: int, total: int, directory: str, services: Any, answer: Answer) -> None:
        """The worker is one of ``total``; ``answer`` is called for requests that others pass on."""
        self._number = number
        self._total = total
        self._services = services
        self._answer = answer
        self._path = _path(directory, number)
        self._ways = {
            place: _Way(_path(directory, place), services) for place in range(total) if place != number
        }
        self._visits: set[_Visit] = set()
        self._door: _Door | None = None

    def start(self) -> None:
        """Let others call.

        :raises CannotListenError: they cannot.
        """
        self._door = _Door(open_unix(self._path, 0o600), self._services, self._welcome)

    def _welcome(self, end: socket.socket) -> None:
        visit = _Visit(end, self._services, self._answer, self._visits.discard)
        self._visits.add(visit)

    def pass_on(
        self,
        key: bytes,
        route_id: str,
        uri: Uri,
        request: Request,
        body: bytes,
        responder: Any,
        refuse: Callable[[], None],
    ) -> bool:
        """See ``ISiblings``."""
        place = crc32(key) % self._total
        if place == self._number:
            return False
        self._ways[place].ask(route_id, uri, request, body, responder, refuse)
        return True

    def stop(self, orphaned: bool = False) -> None:
        """Leave; ``orphaned``: there is no parent any more that would clear the directory away."""
        for way in self._ways.values():
            way.close()
        for visit in self._visits:
            visit.link.close()
        if self._door is not None:
            self._door.close()
            self._door = None
            with suppress(OSError):
                os.unlink(self._path)
        if orphaned:  # nobody is going to serve, and who has died before cannot do it
            shutil.rmtree(os.path.dirname(self._path), ignore_errors=True)


def _path(directory: str, number: int) -> str:
    return os.path.join(directory, str(number))


class _Door(FileDescriptor):
    """A Unix socket that others connect to."""

    def __init__(self, skt: socket.socket, services: Any, welcome: Callable[[socket.socket], None]) -> None:
        super().__init__(services.reactor)
        self._socket = skt
        self._services = services
        self._welcome = welcome
        self.due = 0
        self.slot = 0
        self.connected = True
        self.startReading()

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "siblings"

    def doRead(self) -> None:
        try:
            end, _ = self._socket.accept()
        except BlockingIOError:
            return
        except OSError:  # there are no descriptors left: what waits would wake us at once
            self.stopReading()
            self._services.wheel.schedule(self, AGAIN)
            return
        end.setblocking(False)
        self._welcome(end)

    def expired(self) -> None:
        """There may be some by now."""
        self.startReading()

    def close(self) -> None:
        """Nobody comes any more."""
        self._services.wheel.cancel(self)
        self.stopReading()
        self.connected = False
        self._socket.close()


class _Way:
    """To one other worker, and the errands there."""

    def __init__(self, path: str, services: Any) -> None:
        self._path = path
        self._services = services
        self._numbers = count(1)
        self._errands: dict[int, Errand] = {}
        self._link: Link | None = None
        self._unsent: dict[int, bytes] = {}
        """Requests, while nobody listens there."""
        self._since = 0.0
        """When the first of them came."""
        self.due = 0
        self.slot = 0

    def ask(
        self,
        route_id: str,
        uri: Uri,
        request: Request,
        body: bytes,
        responder: Any,
        refuse: Callable[[], None],
    ) -> None:
        """Pass a request on."""
        number = next(self._numbers)
        data = encode(("ask", number, route_id, pack_uri(uri), pack_request(request), body))
        self._errands[number] = Errand(number, responder, self._say, refuse)
        if self._link is None and not self._unsent:
            self._link = self._connect()
        if self._link is not None:
            self._link.send_encoded(data)
            return
        if not self._unsent:
            self._since = self._services.wheel.seconds()
            self._services.wheel.schedule(self, AGAIN)
        self._unsent[number] = data

    def _connect(self) -> Link | None:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.setblocking(False)
        try:
            end.connect(self._path)
        except OSError:
            end.close()
            return None
        return Link(end, self._services.reactor, self._received, self.fail, self._services.stats)

    def expired(self) -> None:
        """Once more, for those that still wait."""
        if not self._unsent:
            return
        self._link = self._connect()
        if self._link is not None:
            unsent, self._unsent = self._unsent, {}
            for data in unsent.values():
                self._link.send_encoded(data)
        elif self._services.wheel.seconds() - self._since < PATIENCE:
            self._services.wheel.schedule(self, AGAIN)
        else:
            self.fail()

    def _say(self, word: str, number: int) -> None:
        """An errand speaks."""
        if word == "lost":
            self._errands.pop(number, None)
            self._unsent.pop(number, None)
        if self._link is not None:
            self._link.send(word, number)

    def _received(self, message: Message) -> None:
        word, number, *values = message
        errand = self._errands.get(number)
        if errand is None:
            return  # the client has left meanwhile
        try:
            errand.hear(word, values)
        except Exception:
            self._services.stats.failure("an answer of another worker")
            errand.fail()
            self._say("lost", number)
        if errand.over:
            self._errands.pop(number, None)

    def fail(self) -> None:
        """Nobody is there, or the link is lost."""
        self._link = None
        self._unsent = {}
        errands, self._errands = self._errands, {}
        for errand in errands.values():
            errand.fail()

    def close(self) -> None:
        """It is all over."""
        self._services.wheel.cancel(self)
        if self._link is not None:
            self._link.close()
        self._link = None
        self._unsent = {}


class _Visit:
    """Another worker's link to this one, and those who call."""

    def __init__(
        self, end: socket.socket, services: Any, answer: Answer, left: Callable[[_Visit], None]
    ) -> None:
        self.link = Link(end, services.reactor, self._received, self._lost, services.stats)
        self._services = services
        self._answer = answer
        self._left = left
        self._callers: dict[int, Caller] = {}

    def _received(self, message: Message) -> None:
        word, number, *values = message
        if word == "ask":
            self._ask(number, *values)
            return
        caller = self._callers.get(number)
        if caller is None:
            return  # it has its answer
        if word == "retire":
            caller.retire()
        else:
            del self._callers[number]
            caller.lost()

    def _ask(
        self, number: int, route_id: str, uri: tuple[Any, ...], values: tuple[Any, ...], body: bytes
    ) -> None:
        request = Request(*values)
        caller = self._callers[number] = Caller(number, request.minor, self._say)
        try:
            self._answer(route_id, Uri(*uri), request, body, caller)
        except Exception:
            self._services.stats.failure("a request of another worker")
            caller.crash()

    def _say(self, word: str, number: int, *values: Any) -> None:
        """A part of an answer."""
        self.link.send(word, number, *values)
        if word in ("respond", "finish", "abort"):
            self._callers.pop(number, None)

    def _lost(self) -> None:
        self._left(self)
        callers, self._callers = self._callers, {}
        for caller in callers.values():
            caller.lost()
