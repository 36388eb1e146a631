"""Our own service as several workers between a test's client and its origin.

Used in place of ``tests.support.service`` with ``pytest tests/conformance --workers=N``.  Parent and workers
are in this process, so that the test can move the clock of all of them; the links between them are real, and
so are the sockets on which the kernel spreads clients.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ProcessTerminated
from twisted.python.failure import Failure

from pushpin_tw.config import Config, parse_config
from pushpin_tw.descriptors import Descriptors
from pushpin_tw.options import Settings as Options
from pushpin_tw.publish.http import HttpControl
from pushpin_tw.service import Place, PushpinService, make_service
from pushpin_tw.workers import parent
from pushpin_tw.workers.child import Child
from pushpin_tw.workers.crew import Worker
from tests.support.clock import StillClock
from tests.support.notebook import Notebook
from tests.support.running import SHIPPED, Routes, Settings, config_text
from tests.support.service import ServiceProxy
from tests.support.waiting import turn, until


class _Process:
    """What a worker takes for its process."""

    pid = 0

    def __init__(self, worker: Worker, child: Child) -> None:
        self._worker = worker
        self._child = child
        self.built: PushpinService | None = None

    def signalProcess(self, number: int) -> None:  # noqa: N802
        self.leave(1)

    def leave(self, code: int) -> None:
        worker, self._worker = self._worker, None  # type: ignore[assignment]
        if worker is not None:
            served = self._child.service is not None
            self._child.stop()
            if self.built is not None and not served:
                self.built.lent.stop()
            reactor.callLater(0, worker.processEnded, Failure(ProcessTerminated(code)))


class CrewedProxy(ServiceProxy):
    """A parent and its workers, in this process."""

    COUNT = 3

    def __init__(self, routes: Routes, settings: Settings) -> None:
        self.clock = StillClock()
        file = "pushpin.conf"
        if isinstance(routes, Path):
            settings = {**settings, "proxy": {"routesfile": routes.name, **settings.get("proxy", {})}}
            file = str(routes.with_name(file))
        self.config = parse_config(config_text(SHIPPED, settings), file, self._no_include)
        self.log = Notebook(self.config)
        options = Options(routes=None if isinstance(routes, Path) else tuple(routes))
        self.children: list[Child] = []
        self.parent = parent.Parent(
            self.config, options, self.log.logs, self.COUNT, reactor, self.log.journal, clock=self.clock
        )
        self.service: Any = self.parent
        self.parent.crew.spawn = self._spawn
        self.parent.crew.silence = float("inf")  # the clock may leap
        control = HttpControl(port=0).service(self.config, self.parent.hub, self.parent.lent)
        assert control is not None
        control.setServiceParent(self.parent)
        self._control = control

    def _spawn(self, worker: Worker, end: socket.socket, listening: list[socket.socket]) -> None:
        def build(
            config: Config, settings: Options, logging: str | int | None, names: list[str], place: Place
        ) -> PushpinService:
            service = make_service(
                config,
                routes=settings.routes,
                clock=self.clock,
                random=random.Random(worker.number),
                stats=self.log.journal,
                worker=place,
            )
            sockets = [skt.dup() for skt in listening]
            given = Descriptors(zip(names, [skt.detach() for skt in sockets], strict=True))
            service.lent.shared("descriptors", lambda: given)
            process.built = service
            return service

        child = Child(worker.number, end.dup(), reactor, build, lambda code: process.leave(code))
        process = _Process(worker, child)
        worker.transport = process  # type: ignore[assignment]
        self.children.append(child)

    @classmethod
    def of(cls, count: int) -> Any:
        """What starts a proxy of so many workers."""
        return type(cls.__name__, (cls,), {"COUNT": count}).start  # type: ignore[attr-defined]

    @classmethod
    async def start(cls, routes: Routes, settings: Settings) -> CrewedProxy:
        proxy = cls(routes, settings)
        ready: list[bool] = []
        proxy.parent.when_ready(lambda: ready.append(True))
        proxy.parent.startService()
        await until(lambda: bool(ready), "the workers")
        proxy.address = proxy.parent.client_addresses[0]
        assert proxy._control.address is not None
        proxy.control_address = proxy._control.address
        return proxy

    async def advance(self, seconds: float) -> None:
        """In steps, between which the processes hear of each other."""
        end, step = self.clock.seconds() + seconds, max(0.1, seconds / 100)
        while self.clock.seconds() < end:
            for _ in range(4):
                await turn()
            self.clock.advance(min(step, end - self.clock.seconds() + 1e-6))
        await self.settle()

    async def settle(self) -> None:
        await super().settle()
        answers: list[Any] = []
        self.parent.crew.questions.find([], answers.append)  # what was sent over the links before is done
        await until(lambda: bool(answers), "the workers' answers")
        await super().settle()

    async def watched(self) -> None:
        await super().watched()
        await self.settle()

    def _holds(self, channel: str, kind: str) -> int:
        count = 0
        for child in self.children:
            if child.service is not None:
                found = child.service.broker.holds(channel)
                count += found.get(kind, 0) if kind else sum(found.values())
        return count

    async def stop(self) -> None:
        await self.parent.stopService()
        await turn()
        self.log.no_bugs()
