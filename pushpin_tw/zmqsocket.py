"""A ZeroMQ socket as a reader of the reactor.

Used by rooms that have peers on ZeroMQ, through ``zmq_room``.  One context for the process, made when the
first socket is opened and not before: twistd forks in between, and a context does not survive that.  Never
knows what is in a frame, and never waits, except for the very end.

The descriptor of a ZeroMQ socket does not tell that a message is there.  It tells once that something may
have changed, and receiving and sending use that up.  So whoever is woken reads until nothing is left, and
after sending there is one more look in the next turn of the reactor.  Without messages there are neither
looks nor timers.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import zmq
from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

TURN_MESSAGES = 100
"""Messages that one socket hands out in one turn of the reactor; the others wait for the next one, behind
whatever else has come."""
TURN_BYTES = 1_000_000
"""Bytes after which a turn ends as well."""
MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes of a frame; a peer that sends a longer one is disconnected."""

_MORE = zmq.NOBLOCK | zmq.SNDMORE

_NOBLOCK = int(zmq.NOBLOCK)

Frames = list[bytes]
Options = Mapping[int, int | bytes]
"""Options of libzmq and their values, such as ``{zmq.RCVHWM: 1000}``."""


class ZmqRoom:
    """The context, and the sockets that are open."""

    def __init__(self, reactor: Any, stats: Any) -> None:
        """``stats`` is an ``IStatsSink``."""
        self.reactor = reactor
        self.stats = stats
        self.sockets: set[ZmqSocket] = set()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None

    def open(
        self,
        kind: int,
        received: Callable[[Frames], None],
        options: Options,
        turn: int = TURN_MESSAGES,
        settled: Callable[[], None] | None = None,
    ) -> ZmqSocket:
        """A socket of a kind (``zmq.PULL``, ...) that calls ``received(frames)`` for each message.

        ``turn``: how many of them it hands out in one turn of the reactor at most; ``settled`` is called when
        some were and the turn is over.  What has not left when it is closed is lost, unless ``options`` have
        a ``zmq.LINGER``.
        """
        if self._context is None:
            self._context = zmq.Context()
        plain = self._context.socket(kind)
        for option, value in {zmq.LINGER: 0, zmq.MAXMSGSIZE: MAX_MESSAGE, **options}.items():
            plain.setsockopt(option, value)
        return ZmqSocket(self, plain, received, turn, settled)

    def stop(self) -> None:
        """Close everything; waits for what lingers."""
        for each in tuple(self.sockets):
            each.close()
        if self._context is not None:
            self._context.term()
            self._context = None


def zmq_room(services: Any) -> ZmqRoom:
    """The one room of this process; ``services`` is an ``IServices``."""
    room: ZmqRoom = services.shared("zmqsocket", lambda: ZmqRoom(services.reactor, services.stats))
    return room


@implementer(IReadDescriptor)
class ZmqSocket:
    """Made by ``ZmqRoom.open``.  ``bind`` and ``connect`` may be called more than once."""

    def __init__(
        self,
        room: ZmqRoom,
        plain: zmq.Socket[bytes],
        received: Callable[[Frames], None],
        turn: int,
        settled: Callable[[], None] | None,
    ) -> None:
        self._room = room
        self._plain = plain
        self._received = received
        self._turn = turn
        self._settled = settled
        self._descriptor = int(plain.getsockopt(zmq.FD))
        self._look: Any = None
        """The call that reads in the next turn."""
        self._paused = self._closed = False
        self.on_room: Callable[[], None] | None = None
        """Called, once, when a peer has room for a message.  Set it when ``send`` has returned False."""
        self.bound: list[str] = []
        """The addresses that it is bound to."""
        self._files: dict[str, int] = {}
        """Inodes of the files that were bound: libzmq leaves them behind."""
        room.sockets.add(self)
        room.reactor.addReader(self)

    # ---- for whoever has opened it -------------------------------------------------------------------------

    def bind(self, spec: str, mode: int = -1) -> str:
        """Wait for peers at ``spec``; returns the address that was bound, with a port in place of ``*``.

        ``mode``: permissions of the file of an ``ipc://`` address; -1 leaves them to the umask.  A file that
        an earlier process has left behind is removed; one that somebody listens on, or that is no socket, is
        left alone (libzmq would replace them all).

        :raises OSError: the address is taken, not ours, or none.
        """
        _check(spec)
        path = ipc_path(spec)
        if path:
            _clear(path)
        before = os.umask(0o777) if path and mode >= 0 else None  # nobody gets in before the mode is set
        try:
            self._plain.setsockopt(zmq.IPV6, "[" in spec)
            self._plain.bind(spec)
        except zmq.ZMQError as error:
            raise _plainly(error, spec) from None
        finally:
            if before is not None:
                os.umask(before)
        if path:
            self._files[path] = os.stat(path).st_ino
        if before is not None:
            os.chmod(path, mode)
        self.bound.append(self._plain.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode())  # type: ignore[union-attr]
        return self.bound[-1]

    def connect(self, spec: str) -> None:
        """Look for a peer at ``spec``, again and again until it is there.

        :raises OSError: it is no address.
        """
        _check(spec)
        try:
            self._plain.setsockopt(zmq.IPV6, "[" in spec)
            self._plain.connect(spec)
        except zmq.ZMQError as error:
            raise _plainly(error, spec) from None

    def subscribe(self, topic: bytes) -> None:
        """A SUB socket wants messages that begin with ``topic``; peers are told."""
        self._plain.setsockopt(zmq.SUBSCRIBE, topic)

    def unsubscribe(self, topic: bytes) -> None:
        """Takes one ``subscribe`` back."""
        self._plain.setsockopt(zmq.UNSUBSCRIBE, topic)

    def send(self, frames: Sequence[bytes]) -> bool:
        """Send a message; False when it was dropped because no peer has room for it or none is there."""
        try:
            for frame in frames[:-1]:
                self._plain.send(frame, _MORE)
            self._plain.send(frames[-1], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            return False
        finally:
            self._look_again()
        return True

    def pause(self) -> None:
        """Read nothing for now; what comes waits, up to the limits of the socket, then with the peers."""
        if not self._paused and not self._plain.closed:
            self._paused = True
            self._room.reactor.removeReader(self)

    def resume(self) -> None:
        """Read on, in the next turn of the reactor."""
        if self._paused and not self._plain.closed:
            self._paused = False
            self._room.reactor.addReader(self)
            self._look_again()

    @property
    def idle(self) -> bool:
        """Whether no message is there at the moment; looks for it."""
        if not self._events() & zmq.POLLIN:
            return True
        self._look_again()
        return False

    def close(self) -> None:
        """No more messages; harmless when it was closed before."""
        if self._plain.closed:
            return
        self._closed = True
        self._room.sockets.discard(self)
        self._room.reactor.removeReader(self)
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._plain.close()
        for path, inode in self._files.items():
            with suppress(OSError):
                if os.stat(path).st_ino == inode:  # else it is somebody else's by now
                    os.unlink(path)

    # ---- the reactor's side --------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        if self._look is None:
            self._read()

    def connectionLost(self, reason: object) -> None:
        self.close()

    def logPrefix(self) -> str:
        return "ZeroMQ"

    # ---- reading -------------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        if self._look is None and not self._plain.closed:
            self._look = self._room.reactor.callLater(0, self._looked)

    def _looked(self) -> None:
        self._look = None
        if not self._paused:
            self._read()

    def _read(self) -> None:
        """Hand out what is there, up to the limits of a turn."""
        if self.on_room is not None:
            self._events()
        size = count = 0
        received = self._received
        while count < self._turn and size < TURN_BYTES and not (self._paused or self._closed):
            try:
                frames = self._receive()
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EAGAIN, zmq.ENOTSUP):  # the latter is PUSH, which never receives
                    raise
                break
            count += 1
            size += sum(map(len, frames))
            try:
                received(frames)
            except Exception:
                self._room.stats.failure("a ZeroMQ message")
        else:
            self._look_again()
        if count and self._settled is not None:
            self._guarded(self._settled)
        # Asked in any case: it is what makes the descriptor tell of the next message.  When one is there
        # though none was to be had, it was perhaps none for us.
        if self._events() & zmq.POLLIN:
            self._look_again()

    def _receive(self) -> Frames:
        """The next message.  ``recv_multipart`` of pyzmq is the same, at twice the cost.

        :raises ZMQError:
        """
        receive = self._plain.recv
        frame = receive(_NOBLOCK, copy=False)
        frames = [frame.bytes]
        while frame.more:
            frame = receive(_NOBLOCK, copy=False)
            frames.append(frame.bytes)
        return frames

    def _events(self) -> int:
        """What the socket is ready for; whoever waits for room is told of it."""
        if self._plain.closed:
            return 0
        events = int(self._plain.getsockopt(zmq.EVENTS))
        if self.on_room is not None and events & zmq.POLLOUT:
            tell, self.on_room = self.on_room, None
            self._guarded(tell)
        return events

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            self._room.stats.failure("a ZeroMQ socket")


def ipc_path(spec: str) -> str:
    """The file of an ``ipc://`` address; empty when it has none."""
    path = spec.removeprefix("ipc://")
    return "" if path == spec or path.startswith(("@", "*")) else path


def _plainly(error: zmq.ZMQError, spec: str) -> OSError:
    """As errors of addresses are elsewhere; pyzmq has the address within the words."""
    number = error.errno or errno.EIO
    return OSError(number, zmq.strerror(number), spec)


def _check(spec: str) -> None:
    """libzmq takes port 65537 for 1.

    :raises OSError: there is no such port.
    """
    port = spec.rpartition(":")[2]
    if spec.startswith("tcp://") and port.isdigit() and int(port) > 65535:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), spec)


def _clear(path: str) -> None:
    """Remove the file that a socket has left behind."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "File exists and is no socket", path)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
                return
            except BlockingIOError:
                pass  # somebody is there, who has too many peers waiting
    except FileNotFoundError:
        return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)
