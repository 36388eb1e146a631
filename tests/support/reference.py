"""Debian's ``pushpin`` behind the face of ``Proxy``: the judge of what our tests expect.

Used with ``pytest tests/conformance --reference``.  It runs in real time, so this takes its time.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.support.rawclient import RawClient
from tests.support.running import SHIPPED, Proxy, Routes, Settings, config_text, free_port
from tests.support.waiting import Waited, within

PROGRAM = "/usr/bin/pushpin"
FETCHER = "/usr/bin/zurl"
"""Debian's pushpin asks backends through this."""
PAUSE = 0.3
"""Seconds that settling takes: nothing of it can be seen from outside."""


async def sleep(seconds: float) -> None:
    """Let real time pass."""
    await task.deferLater(reactor, seconds)


class _Process(ProcessProtocol):
    transport: Any

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self.output = bytearray()

    def outReceived(self, data: bytes) -> None:
        self.output += data

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)


class ReferenceProxy(Proxy):
    """The original, as child processes."""

    def __init__(self, routes: Routes, settings: Settings) -> None:
        self._room = tempfile.TemporaryDirectory(prefix="pushpin-reference-")
        self._processes: list[_Process] = []
        room = Path(self._room.name)
        self.address = ("127.0.0.1", free_port())
        self.control_address = ("127.0.0.1", free_port())
        offset = int(str(settings.get("global", {}).get("port_offset", 0)))
        own: Settings = {
            "global": {"include": "internal.conf", "rundir": room / "run", "ipc_prefix": "p-"},
            "runner": {
                "services": "condure,pushpin-proxy,pushpin-handler",
                "http_port": f"{self.address[0]}:{self.address[1]}",
                "logdir": room / "log",
            },
            "proxy": {
                "zurl_out_specs": f"ipc://{room}/zurl-in",
                "zurl_out_stream_specs": f"ipc://{room}/zurl-in-stream",
                "zurl_in_specs": f"ipc://{room}/zurl-out",
            },
            "handler": {
                "push_in_http_port": self.control_address[1] - offset,
                "stats_spec": f"ipc://{room}/stats",
                "command_spec": f"ipc://{room}/command",
            },
        }
        (room / "pushpin.conf").write_text(config_text(SHIPPED, own, settings))
        fetcher = {
            "in_spec": f"ipc://{room}/zurl-in",
            "in_stream_spec": f"ipc://{room}/zurl-in-stream",
            "out_spec": f"ipc://{room}/zurl-out",
            "in_req_spec": f"ipc://{room}/zurl-req",
            "defpolicy": "allow",
        }
        (room / "zurl.conf").write_text(config_text({"General": fetcher}))
        if isinstance(routes, Path):
            (room / "routes").symlink_to(routes)
        else:
            (room / "routes").write_text("\n".join([*routes, ""]))

    @classmethod
    async def start(cls, routes: Routes, settings: Settings) -> ReferenceProxy:
        """A process that listens on both ports."""
        proxy = cls(routes, settings)
        proxy._spawn(FETCHER, f"--config={proxy._room.name}/zurl.conf")
        proxy._spawn(PROGRAM, "--merge-output", f"--config={proxy._room.name}/pushpin.conf")
        for address in (proxy.address, proxy.control_address):
            await proxy._wait_for(address)
        await sleep(PAUSE)
        return proxy

    def _spawn(self, *arguments: str) -> None:
        process = _Process()
        self._processes.append(process)
        reactor.spawnProcess(process, arguments[0], arguments, env=dict(os.environ), path=self._room.name)

    async def _wait_for(self, address: tuple[str, int] | str) -> None:
        for _ in range(100):
            try:
                (await RawClient.connect(address)).drop()
                return
            except ConnectError:
                await sleep(0.1)
        raise Waited(f"no listener at {address}: {self.output}")

    def seconds(self) -> float:
        return float(reactor.seconds())

    async def settle(self) -> None:
        await sleep(PAUSE)

    async def advance(self, seconds: float) -> None:
        await sleep(seconds)

    async def held(self, channel: str, count: int = 1, kind: str = "") -> None:
        await sleep(PAUSE)

    async def watched(self) -> None:
        await sleep(PAUSE)

    def mark(self, kind: str) -> bool:
        return False

    async def time_until(self, condition: Callable[[], object], limit: float) -> float:
        start = reactor.seconds()
        while not condition():
            if reactor.seconds() - start > limit:
                raise Waited(f"not within {limit:g} s")
            await sleep(0.01)
        return float(reactor.seconds() - start)

    @property
    def output(self) -> str:
        """What the processes said."""
        return "".join(process.output.decode() for process in self._processes)

    def lines(self, service: str = "proxy") -> list[str]:
        return re.findall(rf"^\[\w+\] \S+ \S+ \[{service}\] (.*)$", self.output, re.MULTILINE)

    async def stop(self) -> None:
        for process in self._processes:
            if not process.ended.called:
                process.transport.signalProcess("TERM")
                await within(process.ended, "the end of the reference")
        self._room.cleanup()
