"""What systemd wants to be told of a service of ``Type=notify`` (sd_notify(3)).

Called by ``process`` and ``upgrade``.  Does nothing where nobody listens.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(*lines: str) -> None:
    """Tell the service manager, such as ``READY=1``."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.setblocking(False)
        manager.sendto("\n".join(lines).encode(), path.replace("@", "\0", 1) if path[0] == "@" else path)
