"""One process takes over from another, and no client notices (SIGUSR2).

Called by ``process``.  The old process starts the new one with its own command line and hands it the sockets
on which clients and publishers come in, and one end of a link.  Then, over the link:

1. The new one reads its configuration and says ``prepared``.  It serves nothing yet, and waits.
2. The old one closes what two processes cannot have at once, such as ZeroMQ sockets, and says ``go``.
   Messages wait with their publishers meanwhile.
3. The new one starts as ever and says ``started``.  The old one takes nobody in any more, lets its clients
   go, and ends.  Whom the kernel has let in is accepted by one of the two, at all times.

From ``go`` on, items that come in here or there reach holds in both.  When the new process does not start,
the old one opens everything again and goes on.  Never knows what a socket is for.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pushpin_tw import __version__
from pushpin_tw.descriptors import Descriptors
from pushpin_tw.errors import ConfigError
from pushpin_tw.grip.item import Item
from pushpin_tw.inlet import Inlet
from pushpin_tw.interfaces import IChannelWatcher
from pushpin_tw.workers.link import Link, Message, encode, pair
from pushpin_tw.workers.packing import pack, unpack

ENVIRONMENT = "PUSHPIN_TW_PREDECESSOR"
"""What tells a process that it is to take over: the names of the sockets, as JSON."""
LINK = 3
"""The new process's end of the link; the listening sockets follow."""
START_LIMIT = 30.0
"""Seconds that the new process has for each step."""
ENDING = 5.0
"""Seconds that one which does not start has for its end."""
LOOK = 0.05
"""Seconds between looks whether it has ended."""


class Serving(Protocol):
    """What is handed over: ``service.PushpinService``."""

    inlet: Inlet
    lent: Any

    def listening(self) -> list[tuple[str, socket.socket]]: ...
    def release(self) -> Deferred[Any]: ...
    def resume(self) -> None: ...
    def hand_over(self) -> None: ...


# ---- the old process ---------------------------------------------------------------------------------------


@implementer(IChannelWatcher)
class Successor(ProcessProtocol):
    """The new process, as the old one sees it."""

    def __init__(
        self,
        serving: Serving,
        reactor: Any,
        note: Callable[[str, str], object],
        ended: Callable[[bool], object],
    ) -> None:
        """``note(level, text)`` writes a line for the operator; ``ended(taken_over)`` is called once: with
        true when the new process serves, with false when it does not and everything is as before."""
        self.pid = 0
        self._serving = serving
        self._reactor = reactor
        self._note = note
        self._ended = ended
        self._link: Link
        self._released = False
        """Whether what two processes cannot have at once is closed here."""
        self._settled = False
        """Whether it has turned out well or not."""
        self._reason = ""
        self._limit: Any = None

    def start(self, directory: str) -> None:
        """Start the process, in the ``directory`` where this one was started.

        :raises OSError: it cannot be started.
        """
        ours, theirs = pair()
        sockets = self._serving.listening()
        descriptors = {0: 0, 1: 1, 2: 2, LINK: theirs.fileno()}
        descriptors |= {place: skt.fileno() for place, (_, skt) in enumerate(sockets, LINK + 1)}
        handed = json.dumps([name for name, _ in sockets])
        argv = [sys.executable, *sys.orig_argv[1:]]
        environment = {**os.environ, ENVIRONMENT: handed}
        path = None if directory == os.getcwd() else directory
        self._link = Link(ours, self._reactor, self._received, self._lost, self._serving.lent.stats)
        try:
            self._reactor.spawnProcess(self, argv[0], argv, environment, path, childFDs=descriptors)
        except BaseException:
            self._link.close()
            raise
        finally:
            theirs.close()
        self._wait()

    def _wait(self) -> None:
        self._rest()
        self._limit = self._reactor.callLater(START_LIMIT, self._overdue)

    def _rest(self) -> None:
        limit, self._limit = self._limit, None
        if limit is not None and limit.active():
            limit.cancel()

    # ---- the link ------------------------------------------------------------------------------------------

    def _received(self, message: Message) -> None:
        getattr(self, f"_do_{message[0]}")(*message[1:])

    def _do_prepared(self, pid: int, version: str) -> None:
        """The new process is good so far: let go of everything that it needs."""
        self.pid = pid
        self._wait()
        self._serving.release().addCallback(lambda _: self._go(version))

    def _go(self, version: str) -> None:
        self._released = True
        if self._settled:
            return  # it has gone meanwhile
        inlet = self._serving.inlet
        if version == __version__:
            inlet.relay = self._relay
            inlet.items.watch(self)
        else:
            self._note(
                "warn", f"version {version} and {__version__} do not share what is published meanwhile"
            )
        self._link.send("go")

    def _do_started(self) -> None:
        self._rest()
        self._settled = True
        self._serving.hand_over()
        self._ended(True)

    def _do_failed(self, reason: str) -> None:
        self._reason = reason

    def _do_items(self, packed: list[tuple[Any, ...]]) -> None:
        self._serving.inlet.items.accept(unpack(packed))

    def _do_recover(self) -> None:
        self._serving.inlet.items.recover()

    def _relay(self, items: list[Item]) -> None:
        if not self._link.congested:
            self._link.send("items", [pack(item) for item in items])

    def channel_opened(self, channel: str) -> None:
        """See ``IChannelWatcher``."""
        self._link.send("opened", channel)

    def channel_closed(self, channel: str) -> None:
        """See ``IChannelWatcher``."""
        self._link.send("closed", channel)

    def channel_forgotten(self, channel: str) -> None:
        """See ``IChannelWatcher``: ids are each process's own business."""

    # ---- when it fails -------------------------------------------------------------------------------------

    def processEnded(self, reason: Failure) -> None:
        """A process that becomes a daemon ends like this as well, with 0; then the link lives on."""
        self._link.poll()
        if not self._reason and not reason.check(ProcessDone):
            self._reason = str(reason.value)

    def _overdue(self) -> None:
        self._reason = f"not ready after {START_LIMIT:g} seconds"
        if _alive(self._number):
            os.kill(self._number, signal.SIGKILL)
        self._link.close()
        self._lost()

    @property
    def _number(self) -> int:
        """Of the process; 0 when it is known to have ended."""
        return self.pid or int(self.transport.pid or 0)  # type: ignore[union-attr]

    def _lost(self) -> None:
        """The new process has gone, or has never been; after it had started that is no business of ours."""
        inlet = self._serving.inlet
        inlet.items.unwatch(self)
        inlet.part()
        self._rest()
        if not self._settled:
            self._settled = True
            self._give_up(ENDING)

    def _give_up(self, left: float) -> None:
        """Go on as before, once the other process has let go of everything itself."""
        if left > 0 and _alive(self._number):
            self._reactor.callLater(LOOK, self._give_up, left - LOOK)
            return
        why = f": {self._reason}" if self._reason else ""
        self._note("error", f"the new process has not started, this one goes on{why}")
        if self._released:
            self._serving.resume()
        self._ended(False)

    def abandon(self) -> None:
        """This process is told to end: one that has not started does so as well."""
        if not self._settled:
            self._settled = True
            self._rest()
            self._link.close()


# ---- the new process ---------------------------------------------------------------------------------------


class Predecessor:
    """The old process, as the new one sees it."""

    def __init__(self, end: socket.socket, descriptors: Descriptors) -> None:
        """``descriptors``: the sockets that were handed over."""
        self._end = end
        self._descriptors = descriptors
        self._link: Link | None = None
        self._inlet: Inlet
        self._going = False
        self._gone = False

    def take_over(self, serving: Serving, reactor: Any) -> None:
        """Wait, doing nothing else, until the old process has let go of everything.

        :raises ConfigError: it has not.
        """
        self._inlet = serving.inlet
        self._link = Link(self._end, reactor, self._received, self._lost, serving.lent.stats)
        self._link.send("prepared", os.getpid(), __version__)
        limit = reactor.seconds() + START_LIMIT
        while not self._going:
            left = limit - reactor.seconds()
            if self._gone or left <= 0 or not select.select([self._end], [], [], left)[0]:
                raise ConfigError("the process that was to be replaced has not let go")
            if not self._end.recv(1, socket.MSG_PEEK):
                self._gone = True
            else:
                self._link.poll()
        serving.lent.shared("descriptors", lambda: self._descriptors)
        self._inlet.relay = self._relay
        self._inlet.relay_recover = lambda: self._send("recover")

    def started(self) -> None:
        """This process serves; sockets that it has no use for are closed."""
        self._descriptors.stop()
        self._send("started")

    def failed(self, reason: str) -> None:
        """This process does not start."""
        with suppress(OSError):
            self._end.send(encode(("failed", reason)))

    def _send(self, *message: Any) -> None:
        assert self._link is not None
        self._link.send(*message)

    def _received(self, message: Message) -> None:
        getattr(self, f"_do_{message[0]}")(*message[1:])

    def _do_go(self) -> None:
        self._going = True

    def _do_items(self, packed: list[tuple[Any, ...]]) -> None:
        self._inlet.items.accept(unpack(packed))

    def _do_opened(self, channel: str) -> None:
        self._inlet.guest_opened(channel)

    def _do_closed(self, channel: str) -> None:
        self._inlet.guest_closed(channel)

    def _relay(self, items: list[Item]) -> None:
        assert self._link is not None
        if self._link.congested:
            self._link.close()  # it hangs, and would make us keep everything
            self._lost()
        else:
            self._send("items", [pack(item) for item in items])

    def _lost(self) -> None:
        self._gone = True
        self._inlet.part()


def find_predecessor() -> Predecessor | None:
    """The process that is to be replaced by this one, if there is one.  To be asked once, early: nobody else
    who is started from here on shall take itself for the next one."""
    try:
        names = [str(name) for name in json.loads(os.environ.pop(ENVIRONMENT, ""))]
        end = socket.socket(fileno=LINK)
    except (OSError, TypeError, ValueError):
        return None
    for descriptor in range(LINK, LINK + 1 + len(names)):
        os.set_inheritable(descriptor, False)
    end.setblocking(False)
    return Predecessor(
        end, Descriptors(((name, place) for place, name in enumerate(names, LINK + 1)), owned=True)
    )


def _alive(pid: int) -> bool:
    with suppress(OSError):
        if pid:
            os.kill(pid, 0)
            return True
    return False
