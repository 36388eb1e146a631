"""Sockets that listen for clients: opened here, used by ports of ``edge.transport``.

Called by ``edge.listener``, and where several processes serve the same clients by whoever opens the sockets
for all of them.  Never accepts a client.
"""

from __future__ import annotations

import os
import socket
import stat
from errno import EADDRINUSE

from twisted.internet.error import CannotListenError

BACKLOG = 65535
"""Connections that may wait to be accepted; the kernel lowers it to ``net.core.somaxconn``."""


def open_tcp(host: str, port: int, shared: bool = False) -> socket.socket:
    """Listen on a TCP port; 0 lets the kernel choose.

    ``host`` is an IP literal, '' for all of IPv4; IPv6 sockets take no IPv4 clients.  ``shared``: others may
    listen there too, and the kernel spreads clients over all of them.

    :raises CannotListenError: the address is taken, not ours, or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    skt = socket.socket(family, socket.SOCK_STREAM)
    try:
        skt.setblocking(False)
        skt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit the next two.
        skt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        skt.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if family == socket.AF_INET6:
            skt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            skt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # With the scope of a link-local address (fe80::1%eth0).
            flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
            skt.bind(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)[0][4])
        else:
            skt.bind((host, port))
        skt.listen(BACKLOG)
    except OSError as error:
        skt.close()
        raise CannotListenError(host, port, error) from None
    return skt


def open_unix(path: str, mode: int | None = None, owner: tuple[int, int] = (-1, -1)) -> socket.socket:
    """Listen on a Unix socket, in place of a stale file.

    ``mode``: permissions, None to follow the umask.  ``owner``: user and group id, -1 to leave it.

    :raises CannotListenError: another process listens there, or the path or its owner is impossible.
    """
    skt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    name = os.fsencode(path)
    try:
        skt.setblocking(False)
        _remove_stale(name)
        skt.bind(name)
        # Nobody can connect before listen(), so the permissions are in force from the first client on.
        if mode is not None:
            os.chmod(name, mode)
        if owner != (-1, -1):
            os.chown(name, *owner)
        skt.listen(BACKLOG)
    except OSError as error:
        skt.close()
        raise CannotListenError(None, name, error) from None
    return skt


def _remove_stale(path: bytes) -> None:
    """Remove a socket file that nobody listens on.

    :raises OSError: somebody does (EADDRINUSE).
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # bind() will complain
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # a full backlog: somebody listens
    raise OSError(EADDRINUSE, os.strerror(EADDRINUSE))
