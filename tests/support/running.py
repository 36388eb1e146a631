"""What tests do with a running proxy, whichever it is.

Used by tests through ``tests.support.stage``; implemented by ``tests.support.service`` (ours, in this
process) and ``tests.support.reference`` (the original, as a child process).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom

from tests.support.rawclient import Answer, RawClient
from tests.support.waiting import until

R = "http-response"
S = "http-stream"
W = "ws-message"
"""The formats of an item, under the letters of the specification."""

Settings = Mapping[str, Mapping[str, object]]
"""Section to key to value of a configuration file."""
Routes = Sequence[str] | Path
"""Lines that replace the routes file, or the routes file; the configuration lies beside it then."""

SHIPPED: Settings = {
    "runner": {"http_port": "127.0.0.1:0", "log_level": 2},
    "proxy": {"routesfile": "routes", "sig_iss": "pushpin", "sig_key": "changeme"},
    "handler": {
        "push_in_http_addr": "127.0.0.1",
        "message_rate": 2500,
        "message_hwm": 25000,
        "id_cache_ttl": 60,
        "update_on_first_subscription": "false",
    },
}
"""What the shipped configuration says, except for ports and for the update that would disturb every case."""


def config_text(*layers: Settings) -> str:
    """A configuration file; later layers replace keys of earlier ones."""
    merged: dict[str, dict[str, object]] = {}
    for layer in layers:
        for section, keys in layer.items():
            merged.setdefault(section, {}).update(keys)
    lines = []
    for section, keys in merged.items():
        lines.append(f"[{section}]")
        lines += [f"{key}={value}" for key, value in keys.items()]
    return "\n".join([*lines, ""])


@contextmanager
def refusing(host: str = "127.0.0.1") -> Iterator[str]:
    """A target at which nobody listens, nor can begin to."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((host, 0))
        port = taken.getsockname()[1]
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody uses at the moment; with ``host`` empty, at no address.

    It is below those that the kernel gives to connections, which come and go between now and its use.
    """
    chance = SystemRandom()
    while True:
        port = chance.randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((host, port))
            return port


class Proxy:
    """What tests do with a running proxy, whichever it is."""

    address: tuple[str, int] | str
    """Where clients connect."""
    control_address: tuple[str, int]
    """Where publishers connect."""

    async def client(self, receive_buffer: int = 0) -> RawClient:
        """A new client connection."""
        return await RawClient.connect(self.address, receive_buffer=receive_buffer)

    async def control(self) -> RawClient:
        """A new connection to the control API."""
        return await RawClient.connect(self.control_address)

    async def post(self, items: object) -> Answer:
        """``POST /publish`` with any value as the list of items."""
        client = await self.control()
        client.request("/publish", method="POST", body=json.dumps({"items": items}).encode())
        answer = await client.read_response()
        await client.closed()
        return answer

    async def publish(self, channel: str, formats: Mapping[str, object], **fields: object) -> None:
        """One good item."""
        await self.publish_all([{"channel": channel, "formats": formats, **fields}])

    async def publish_all(self, items: Sequence[Mapping[str, object]]) -> None:
        """Good items in one request."""
        answer = await self.post(items)
        assert (answer.status, answer.body) == (200, b"Published\n")

    async def recover(self) -> None:
        """``POST /recover``."""
        client = await self.control()
        client.request("/recover", method="POST", body=b"")
        answer = await client.read_response()
        assert (answer.status, answer.body) == (200, b"Updated\n")

    def seconds(self) -> float:
        """What the proxy's clock says."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Let everything that is under way arrive, as far as it needs no time to pass."""
        raise NotImplementedError

    async def advance(self, seconds: float) -> None:
        """Let time pass, then settle."""
        raise NotImplementedError

    async def held(self, channel: str, count: int = 1, kind: str = "") -> None:
        """Wait until so many holds are subscribed."""
        raise NotImplementedError

    async def watched(self) -> None:
        """Wait until somebody's subscription to statistics has arrived."""
        raise NotImplementedError

    def mark(self, kind: str) -> bool:
        """Tell statistics of a type that have a member ``mark``; false when that cannot be."""
        raise NotImplementedError

    async def time_until(self, condition: Callable[[], object], limit: float) -> float:
        """How many seconds pass until ``condition()`` holds."""
        raise NotImplementedError

    def lines(self, service: str = "proxy") -> list[str]:
        """What the log says so far, of one service."""
        raise NotImplementedError

    async def logged(self, text: str) -> None:
        """Wait until this is the last line of the proxy's."""
        await until(lambda: self.lines()[-1:] == [text], f"{text!r} in the log; it says {self.lines()}")

    async def stop(self) -> None:
        """End it."""
        raise NotImplementedError
