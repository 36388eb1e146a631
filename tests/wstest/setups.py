"""What the suite can be pointed at: an echo server, alone or behind a proxy.

Used by ``tests/wstest/__main__.py``.  Every process listens on 127.0.0.1 alone and ends with its block.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.peers.running import free_port, pushpin, stop, wait_for_port

ROOM = Path(__file__).parent
LIBRARY = Path("/usr/lib/pushpin/internal.conf")
DIRECTORY_MODE = 0o755


@contextmanager
def backend(script: str, compress: bool = False) -> Iterator[int]:
    """An echo server of this room; gives its port."""
    port = free_port()
    command = [sys.executable, str(ROOM / script), str(port), *(["compress"] if compress else [])]
    process = subprocess.Popen(command)
    try:
        wait_for_port(port, process)
        yield port
    finally:
        stop(process)


@contextmanager
def alone(directory: Path, compress: bool) -> Iterator[int]:
    """The echo server without a proxy: what it gets wrong itself is not the proxy's fault."""
    with backend("echo.py", compress) as port:
        yield port


@contextmanager
def behind(directory: Path, compress: bool) -> Iterator[int]:
    """This program in front of the echo server.

    With compression it would offer two extensions in a line each, and autobahn takes only one line.
    """
    runner = f"allow_compression={str(compress).lower()}"
    condition = "*,no_grip" if compress else "*"
    with (
        backend("echo.py", compress) as port,
        pushpin(directory, f"{condition} 127.0.0.1:{port}", runner=runner) as proxy,
    ):
        yield proxy.port


@contextmanager
def over_http(directory: Path, compress: bool) -> Iterator[int]:
    """This program in front of an echo server that takes events over HTTP."""
    runner = f"allow_compression={str(compress).lower()}"
    with (
        backend("events.py") as port,
        pushpin(directory, f"* 127.0.0.1:{port},over_http", runner=runner) as proxy,
    ):
        yield proxy.port


class Setup(NamedTuple):
    """One thing to point the suite at."""

    title: str
    start: Callable[[Path, bool], AbstractContextManager[int]]
    """With a directory for its files and whether to agree to compression; gives the port to connect to."""
    sections: tuple[int, ...]
    """Of the suite, unless others are asked for."""
    compress: bool = False


FRAMES = (1, 2, 3, 4, 5, 6, 7, 9, 10)
EVENTS = (1, 2, 3, 4, 5, 6, 7)
COMPRESSION = (12, 13)

SETUPS = {
    "echo": Setup("the echo server alone", alone, FRAMES),
    "pushpin_tw": Setup("behind pushpin_tw", behind, FRAMES),
    "pushpin_tw-http": Setup("behind pushpin_tw, over HTTP", over_http, EVENTS),
    "echo-deflate": Setup("the echo server alone, compressing", alone, COMPRESSION, True),
    "pushpin_tw-deflate": Setup("behind pushpin_tw, compressing", behind, COMPRESSION, True),
}
