"""The link between the parent and one worker: whole messages, in order, both ways.

Held by ``parent`` and ``child``.  A message is a tuple whose first element is its name, the rest plain
values; they travel as ``marshal`` writes them, behind four bytes of length.  Both ends are the same
interpreter, on the two ends of a socket pair that nobody else can reach, and marshal is by far the fastest
way to write an item (1 us instead of 20 for a tnetstring).  Never knows what a message means.
"""

from __future__ import annotations

import marshal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

Message = tuple[Any, ...]

READ = 262_144
"""Bytes read at once."""
TURN = 16
"""Reads before the reactor goes round."""
BUFFER = 1 << 20
"""Bytes for each direction that the kernel is asked to keep."""
_LENGTH = struct.Struct("!I")


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a new link."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    return ends


def encode(message: Message) -> bytes:
    """The bytes of a message, for ``Link.send_encoded``: once for many links."""
    data = marshal.dumps(message)
    return _LENGTH.pack(len(data)) + data


class Link(FileDescriptor):
    """One end.  Messages are written at once where the socket takes them, so that what was sent before
    something else happens is there to be read by whoever learns of that (see ``poll``)."""

    def __init__(
        self,
        end: socket.socket,
        reactor: Any,
        received: Callable[[Message], None],
        lost: Callable[[], None],
        stats: Any,
        limit: int = BUFFER,
    ) -> None:
        """``received(message)`` for each message, ``lost()`` once, when the other end has gone; ``limit``
        bytes may wait until it is congested."""
        super().__init__(reactor)
        self.bufferSize = limit
        self.congested = False
        """Whether more waits than may; until all of it has left."""
        self.delayed: Callable[[], None] = _nothing
        """Called when it becomes congested."""
        self.relieved: Callable[[], None] = _nothing
        """Called when it is congested no more."""
        self._end = end
        self._later = reactor.callLater
        self._received = received
        self._lost = lost
        self._stats = stats
        self._input = bytearray()
        self._reading = False
        self._paused = False
        self.connected = True
        self.registerProducer(_Congestion(self), True)
        self.startReading()

    @property
    def waiting(self) -> int:
        """Bytes that the socket has not yet taken."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def send(self, *message: Any) -> None:
        """Send a message; harmless when the link is lost."""
        self.send_encoded(encode(message))

    def send_encoded(self, data: bytes) -> None:
        """Send what ``encode`` made."""
        if not self.connected or self.disconnecting:
            return
        sent = 0
        if not self.waiting:
            with suppress(OSError):  # full, or the other end has gone, which reading will tell
                sent = self._end.send(data)
        if sent < len(data):
            self.write(data[sent:])

    def poll(self) -> None:
        """Take in, now, what the other end has sent by now."""
        if self.connected and not self._paused:
            self.doRead()

    def pause(self) -> None:
        """Hand out no more messages for the moment, not even those that were read."""
        self._paused = True
        self.stopReading()

    def resume(self) -> None:
        """Go on."""
        if self._paused and self.connected:
            self._paused = False
            self.startReading()
            self._later(0, self._hand_out)

    def close(self) -> None:
        """End it from this side; ``lost()`` is not called."""
        self._lost = _nothing
        self.loseConnection()

    # ---- the reactor's side --------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._end.fileno()

    def logPrefix(self) -> str:
        return "link"

    def writeSomeData(self, data: bytes) -> int | Exception:
        try:
            return self._end.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            return error

    def doRead(self) -> Exception | None:
        if self._reading:  # a message has led to poll()
            return None
        self._reading = True
        try:
            for _ in range(TURN):
                try:
                    data = self._end.recv(READ)
                except BlockingIOError:
                    break
                except OSError:
                    data = b""
                if not data:
                    return ConnectionDone()
                self._input += data
                self._take()
                if len(data) < READ or self._paused:
                    break
        finally:
            self._reading = False
        return None

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self._end.close()
        lost, self._lost = self._lost, _nothing
        lost()

    # ---- messages ------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        if not self._reading:
            self._reading = True
            try:
                self._take()
            finally:
                self._reading = False

    def _take(self) -> None:
        """Hand out the messages that are complete."""
        data, position = self._input, 0
        while len(data) - position >= _LENGTH.size and not self._paused:
            start = position + _LENGTH.size
            end = start + _LENGTH.unpack_from(data, position)[0]
            if len(data) < end:
                break
            message = marshal.loads(data[start:end])
            position = end
            try:
                self._received(message)
            except Exception:
                self._stats.failure("a message between processes")
        del data[:position]


@implementer(IPushProducer)
class _Congestion:
    """What Twisted calls a producer: it is told when too much waits, and when all has left."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def pauseProducing(self) -> None:
        self._link.congested = True
        self._link.delayed()

    def resumeProducing(self) -> None:
        self._link.congested = False
        self._link.relieved()

    def stopProducing(self) -> None:
        """The link is lost, which it knows."""


def _nothing() -> None:
    pass
