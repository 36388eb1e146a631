"""A parent and its workers as processes, and clients of theirs that block.

Used by tests of what only several processes have.
"""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.support.child import PATIENCE, Command
from tests.support.running import free_port


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait for something that nobody announces."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


class Listener:
    """A client with an open stream."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self._socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(address)
        self._socket.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self._got = bytearray()
        self.lost = False
        self.wait_for(b"\r\n\r\n")

    def wait_for(self, mark: bytes) -> bool:
        """Whether ``mark`` comes before the end."""
        looked = 0
        while self._got.find(mark, looked) < 0:
            looked = max(0, len(self._got) - len(mark))
            try:
                data = self._socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                self.lost = True
                return False
            self._got += data
        return True

    @property
    def lines(self) -> list[bytes]:
        """What was published, as far as it was waited for."""
        return re.findall(rb"(item \d+)\n", self._got)

    @property
    def ended(self) -> bool:
        """Whether the stream has had a proper end."""
        return self._got.endswith(b"0\r\n\r\n")

    def close(self) -> None:
        self._socket.close()


class Crowd:
    """A parent and its workers."""

    def __init__(
        self,
        directory: Path,
        more: str,
        count: int,
        routes: str = "* demo\n",
        patience: float = PATIENCE,
    ) -> None:
        """``more``: lines of ``[tw]`` and of sections behind it; all is over after ``patience`` seconds."""
        self.port, self.control, self.unix = free_port(), free_port(), str(directory / "socket")
        (directory / "routes").write_text(routes)
        (directory / "pushpin.conf").write_text(
            f"[global]\nrundir=run\n[runner]\nhttp_port=127.0.0.1:{self.port}\nlocal_ports={self.unix}\n"
            f"[proxy]\nroutesfile=routes\n"
            f"[handler]\npush_in_http_addr=127.0.0.1\npush_in_http_port={self.control}\n"
            f"[tw]\nworkers={count}\n{more}\n"
        )
        self.count = count
        self.listeners: list[Listener] = []
        program = ("-m", "pushpin_tw.command", "--config=pushpin.conf", "-m")
        self.command = Command(directory, *program, patience=patience)
        self.command.wait_for(r"started$")

    def workers(self) -> list[int]:
        """The processes that serve clients."""
        children = Path(f"/proc/{self.command.pid}/task/{self.command.pid}/children").read_text().split()
        return [int(pid) for pid in children]

    def listen(self, count: int = 1) -> list[Listener]:
        """So many clients with open streams."""
        came = [Listener(("127.0.0.1", self.port)) for _ in range(count)]
        self.listeners += came
        return came

    def publish(self, number: int, padding: int = 0) -> int:
        """One item; returns the status of the answer."""
        content = "-" * padding + f"item {number}\n"
        body = json.dumps({"items": [{"channel": "demo", "http-stream": {"content": content}}]}).encode()
        url = f"http://127.0.0.1:{self.control}/publish/"
        try:
            with urllib.request.urlopen(url, body, timeout=PATIENCE) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def get(self) -> int:
        """One plain request; the status."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=PATIENCE) as answer:
            return int(answer.status)

    def close(self) -> None:
        """End everything."""
        for listener in self.listeners:
            listener.close()
        self.command.close()
