"""Taking leave of ZeroMQ peers without losing what they have sent.

Used while another process is about to bind the addresses of this one.  libzmq closes connections with what
has not been read from them, and a PUSH peer takes that for delivered.  So nobody may connect any more, then
our side of each connection is ended, which makes the peer keep its further messages until it has connected
again, and what it has sent before is read until it has hung up.  libzmq has no function for any of that: its
sockets are looked for among the descriptors of the process.  Never touches a socket at another address.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress

_DESCRIPTORS = "/dev/fd"
_SO_ATTACH_FILTER = 26
"""Of Linux; Python does not name it."""
_DROP_ALL = struct.pack("HBBI", 6, 0, 0, 0)
"""A socket filter: return 0 bytes of each packet."""

Place = tuple[int, int]
"""A descriptor and its inode: numbers are used again."""


class Farewell:
    """Made when it begins: from then on nobody can connect to the addresses, and peers hang up soon."""

    def __init__(self, addresses: Iterable[str]) -> None:
        """``addresses`` as libzmq tells them, of ``tcp://`` and ``ipc://``; others are left alone."""
        self._open: list[Place] = []
        for place, skt, listens in _found(addresses):
            with suppress(OSError):
                if listens:
                    _refuse(skt)
                else:
                    skt.shutdown(socket.SHUT_WR)
                    self._open.append(place)

    @property
    def over(self) -> bool:
        """Whether all peers have hung up."""
        self._open = [place for place in self._open if _still(place)]
        return not self._open


class Listeners:
    """The sockets that listen at some addresses: libzmq closes them a moment after it was told to."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._open = [place for place, _, listens in _found(addresses) if listens]

    @property
    def closed(self) -> bool:
        """Whether they are gone, so that somebody else can bind."""
        self._open = [place for place in self._open if _still(place)]
        return not self._open


def _still(place: Place) -> bool:
    try:
        return os.fstat(place[0]).st_ino == place[1]
    except OSError:
        return False


def _refuse(skt: socket.socket) -> None:
    """Let nobody connect to a listening socket.  Elsewhere than on Linux there is no way to do so over TCP.

    :raises OSError:
    """
    if skt.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_UNIX:
        path = skt.getsockname()
        if isinstance(path, str):
            os.unlink(path)
    elif sys.platform == "linux":
        instructions = ctypes.create_string_buffer(_DROP_ALL, len(_DROP_ALL))
        program = struct.pack("HP", 1, ctypes.addressof(instructions))
        skt.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _found(addresses: Iterable[str]) -> Iterator[tuple[Place, socket.socket, bool]]:
    """The sockets of this process at some addresses, and whether they listen."""
    wanted = {found for found in map(_local_name, addresses) if found is not None}
    for descriptor, skt in _sockets() if wanted else ():
        try:
            if _is_at(skt, wanted):
                listens = bool(skt.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
                if not listens:
                    skt.getpeername()
                place = descriptor, os.fstat(descriptor).st_ino
            else:
                continue
        except OSError:
            continue  # it has no peer, or is closed by now
        yield place, skt, listens


def _sockets() -> Iterator[tuple[int, socket.socket]]:
    """Those of this process."""
    for name in os.listdir(_DESCRIPTORS):
        try:
            skt = socket.socket(fileno=int(name))
        except OSError:
            continue  # no socket
        try:
            yield int(name), skt
        finally:
            skt.detach()


def _is_at(skt: socket.socket, wanted: set[object]) -> bool:
    name = skt.getsockname()
    if not isinstance(name, tuple):
        return name in wanted
    host, port = name[:2]
    return any(each in wanted for each in ((host, port), ("0.0.0.0", port), ("::", port)))


def _local_name(address: str) -> object:
    """What getsockname() is for sockets at ``address``."""
    kind, _, place = address.partition("://")
    if kind == "ipc":
        return b"\0" + os.fsencode(place[1:]) if place.startswith("@") else place
    host, _, port = place.rpartition(":")
    return (host.strip("[]"), int(port)) if kind == "tcp" and port.isdigit() else None
