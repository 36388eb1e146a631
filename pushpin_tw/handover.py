"""A service that another process can take over from: what it shares, what it has to let go of.

The base of ``service.PushpinService`` and of its likes; used by ``upgrade``.  Never talks to the other
process.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.python.failure import Failure

from pushpin_tw.inlet import Inlet
from pushpin_tw.zmqending import Listeners
from pushpin_tw.zmqsocket import ZmqSocket, zmq_room

CLOSE_LOOK = 0.005
"""Seconds between looks whether sockets are closed."""
CLOSE_LOOKS = 200
"""Looks until it is waited for no more."""


class Relinquishing(MultiService):
    """Its parts are either kept while another process does the same, or closed before that begins."""

    inlet: Inlet
    """Where published items come in."""
    lent: Any
    """``IServices``."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Any] = []
        self._doors: list[Any] = []
        self._closed: list[Any] = []

    def keep(self, part: Any, doors: Any = None) -> None:
        """``part``, an ``IService``, can be there in two processes at once.  ``doors`` are its listening
        sockets: an object with ``listening()`` and ``hand_over()``."""
        self._kept.append(part)
        if doors is not None:
            self._doors.append(doors)

    def listening(self) -> list[tuple[str, socket.socket]]:
        """The sockets that the other process is given, by name (``descriptors``)."""
        return [each for doors in self._doors for each in doors.listening()]

    def release(self) -> Deferred[Any]:
        """Close what two processes cannot have at once; fires when that is done.

        A part with a method ``finish`` is asked first, and waited for: it takes what is on its way to it.
        """
        listeners = {socket: Listeners(socket.bound) for socket in zmq_room(self.lent).sockets}
        self._closed = [part for part in self if part not in self._kept]
        finishing = [maybeDeferred(part.finish) for part in self._closed if hasattr(part, "finish")]
        return self._all(finishing).addCallback(self._close, listeners)

    def _close(self, _: object, listeners: dict[ZmqSocket, Listeners]) -> Deferred[Any]:
        closed = self._all([maybeDeferred(part.disownServiceParent) for part in self._closed])
        return closed.addCallback(lambda _: self._wait(listeners))

    def _wait(self, listeners: dict[ZmqSocket, Listeners]) -> Deferred[None]:
        """For libzmq, which closes sockets in a thread of its own."""
        left = zmq_room(self.lent).sockets
        closing = [each for socket, each in listeners.items() if socket not in left]
        done: Deferred[None] = Deferred()
        self._look(done, closing, CLOSE_LOOKS)
        return done

    def _look(self, done: Deferred[None], closing: list[Listeners], looks: int) -> None:
        if not looks or all(each.closed for each in closing):
            done.callback(None)
        else:
            self.lent.clock.callLater(CLOSE_LOOK, self._look, done, closing, looks - 1)

    def _all(self, waiting: list[Deferred[Any]]) -> Deferred[Any]:
        for each in waiting:
            each.addErrback(self._failed)
        return DeferredList(waiting)

    def _failed(self, failure: Failure) -> None:
        """It is closed all the same."""
        self.lent.stats.note("error", f"while letting go: {failure.value!r}", "runner")

    def resume(self) -> None:
        """Open everything again: there is no other process."""
        closed, self._closed = self._closed, []
        for part in closed:
            try:
                part.setServiceParent(self)
            except Exception as error:
                self.lent.stats.note("error", f"cannot be opened again: {error}", "runner")

    def hand_over(self) -> None:
        """The other process serves from now on."""
        for doors in self._doors:
            doors.hand_over()
