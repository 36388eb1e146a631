"""A whole pushpin as a process of its own, for peers that are processes or threads themselves."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment; with ``host`` empty, at no address."""
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Return as soon as somebody accepts on ``port``; fail when the process ends or time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"process ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nobody listens on {port}")


class Pushpin:
    """A running instance."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes], port: int, control: int) -> None:
        self.directory = directory
        self.process = process
        self.port = port
        self.control = control

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def control_url(self) -> str:
        return f"http://127.0.0.1:{self.control}"

    def resident(self) -> int:
        """Bytes of memory in use now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")


@contextmanager
def pushpin(
    directory: Path, *routes: str, extra: str = "", proxy: str = "", runner: str = ""
) -> Iterator[Pushpin]:
    """Start an instance with these routes; ``extra`` is appended to the conf, ``proxy`` to its [proxy],
    ``runner`` to its [runner]."""
    port, control = free_port(), free_port()
    (directory / "routes").write_text("".join(f"{line}\n" for line in routes))
    conf = directory / "pushpin.conf"
    conf.write_text(
        f"[global]\nrundir={directory}/run\n"
        f"[runner]\nhttp_port=127.0.0.1:{port}\nlogdir={directory}/log\n{runner}\n"
        f"[proxy]\nroutesfile=routes\nsig_key=changeme\n{proxy}\n"
        f"[handler]\npush_in_http_addr=127.0.0.1\npush_in_http_port={control}\n{extra}\n"
    )
    twistd = Path(sys.executable).with_name("twistd")
    command = [str(twistd), "-n", "--pidfile=", "pushpin", "-c", str(conf)]
    with open(directory / "output", "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=directory)
    try:
        wait_for_port(port, process)
        wait_for_port(control, process)
        yield Pushpin(directory, process, port, control)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, politely first."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
