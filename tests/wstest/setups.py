"""What the suite can be pointed at: an echo server, alone or behind a proxy.

Used by ``tests/wstest/__main__.py``.  Every process listens on 127.0.0.1 alone and ends with its block.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.peers.running import free_port, pushpin, stop, wait_for_port

ROOM = Path(__file__).parent
ORIGINAL = shutil.which("pushpin")
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
    """This program in front of the echo server."""
    runner = f"allow_compression={str(compress).lower()}"
    with (
        backend("echo.py", compress) as port,
        pushpin(directory, f"* 127.0.0.1:{port}", runner=runner) as proxy,
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


@contextmanager
def original(directory: Path, compress: bool, script: str = "echo.py", option: str = "") -> Iterator[int]:
    """The original as the system has it, in front of an echo server."""
    assert ORIGINAL is not None and LIBRARY.exists(), "the original is not installed"
    port, control = free_port(), free_port()
    directory.chmod(DIRECTORY_MODE)
    socket = f"ipc://{directory}/wstest-zurl"
    with backend(script, compress) as target:
        (directory / "routes").write_text(f"* 127.0.0.1:{target}{option}\n")
        conf = directory / "pushpin.conf"
        conf.write_text(
            f"[global]\ninclude={LIBRARY}\nrundir={directory}\nipc_prefix=wstest-\n"
            f"[runner]\nservices=condure,zurl,pushpin-proxy,pushpin-handler\nhttp_port=127.0.0.1:{port}\n"
            f"logdir={directory}\nallow_compression={str(compress).lower()}\n"
            f"[proxy]\nroutesfile=routes\nsig_key=changeme\n"
            f"zurl_out_specs={socket}-in\nzurl_out_stream_specs={socket}-in-stream\nzurl_in_specs={socket}-out\n"
            f"[handler]\npush_in_http_addr=127.0.0.1\npush_in_http_port={control}\n"
            f"stats_spec=ipc://{directory}/stats\ncommand_spec=ipc://{directory}/command\n"
            f"push_in_spec=ipc://{directory}/pull\npush_in_sub_specs=ipc://{directory}/sub\n"
        )
        with open(directory / "output", "wb") as output:
            command = [ORIGINAL, "--merge-output", f"--config={conf}"]
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=directory)
        try:
            wait_for_port(port, process)
            wait_for_port(control, process)
            yield port
        finally:
            stop(process)


@contextmanager
def original_over_http(directory: Path, compress: bool) -> Iterator[int]:
    """The same with events over HTTP."""
    with original(directory, compress, "events.py", ",over_http") as port:
        yield port


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
    "pushpin": Setup("behind the original", original, FRAMES),
    "pushpin-http": Setup("behind the original, over HTTP", original_over_http, EVENTS),
    "echo-deflate": Setup("the echo server alone, compressing", alone, COMPRESSION, True),
    "pushpin_tw-deflate": Setup("behind pushpin_tw, compressing", behind, COMPRESSION, True),
    "pushpin-deflate": Setup("behind the original, compressing", original, COMPRESSION, True),
}
