"""The worker processes as their parent sees them: when they are started again, and when they are given up."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import ProcessTerminated
from twisted.python.failure import Failure

from pushpin_tw.testing.services import LentServices
from pushpin_tw.workers.crew import BACK_OFF, SILENCE, STABLE, Crew, Worker
from pushpin_tw.workers.hub import Hub
from pushpin_tw.workers.link import Link, Message
from tests.support.clock import StillClock
from tests.support.waiting import turn, until

case = pytest_twisted.ensureDeferred


class Process:
    """What a worker takes for its process: the other end of a real link."""

    pid = 1

    def __init__(self, worker: Worker, end: socket.socket) -> None:
        self.worker = worker
        self.got: list[Message] = []
        self.link = Link(end.dup(), reactor, self.got.append, lambda: None, None)
        self.signals: list[int] = []

    def signalProcess(self, number: int) -> None:  # noqa: N802
        self.signals.append(number)
        self.die()

    def die(self) -> None:
        if self.link.connected:
            self.link.close()
            reactor.callLater(0, self.worker.processEnded, Failure(ProcessTerminated(1)))


class House:
    """A crew of two whose clock stands still, also for what the reactor is to do later."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.services = LentServices(reactor, self.clock)
        self.services.reactor = self
        self.heard: list[tuple[int, Message]] = []
        self.processes: list[Process] = []
        self.refused = False
        hub = Hub(self.services.wheel, self.services.stats, 5, 0)
        self.crew = Crew(
            self.services,
            hub,
            lambda number: ("how",),
            lambda worker, message: self.heard.append((worker.number, message)),
            100_000,
        )
        self.crew.spawn = self.spawn
        self.callLater = self.clock.callLater

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def spawn(self, worker: Worker, end: socket.socket, listening: list[socket.socket]) -> None:
        if self.refused:
            raise OSError(11, "Resource temporarily unavailable")
        self.processes.append(Process(worker, end))
        worker.transport = self.processes[-1]  # type: ignore[assignment]

    def notes(self) -> list[str]:
        return [text for _, text in self.services.stats.notes]

    async def ready(self) -> None:
        for process in self.processes:
            if process.link.connected:
                process.link.send("ready")
        await until(lambda: all(worker.ready for worker in self.crew.workers), "the workers")

    async def dead(self, worker: Worker) -> None:
        await until(lambda: worker.ended is None, "the death")


@pytest_twisted.async_yield_fixture
async def house() -> AsyncIterator[House]:
    opened = House()
    opened.crew.start([[("http", socket.socket())], [("http", socket.socket())]])
    yield opened
    stopped = opened.crew.stop()
    opened.crew.kill()
    for process in opened.processes:
        process.die()
    await stopped
    opened.services.stop()
    await turn()


@case
async def test_a_worker_is_told_how_to_begin(house: House) -> None:
    ready: list[bool] = []
    house.crew.on_ready = lambda: ready.append(True)
    await until(lambda: all(process.got for process in house.processes), "the first messages")
    assert house.processes[0].got == [("begin", "how", ["http"])]
    house.processes[0].link.send("ready")
    await until(lambda: house.crew.workers[0].ready, "the first one")
    assert not ready
    await house.ready()
    assert ready == [True]
    await house.ready()
    assert ready == [True]


@case
async def test_who_has_served_is_replaced_at_once(house: House) -> None:
    await house.ready()
    for round in range(3):
        house.clock.advance(STABLE)
        worker = house.crew.workers[0]
        house.processes[-1 if round else 0].die()
        await house.dead(worker)
        assert (0, ("left",)) in house.heard
        house.clock.advance(0)
        await until(lambda worker=worker: worker.ended is not None, "the next one")
        assert not worker.ready
        await house.ready()


@case
async def test_who_cannot_live_is_tried_less_and_less_often(house: House) -> None:
    worker = house.crew.workers[0]
    for delay in [*BACK_OFF[1:], BACK_OFF[-1]]:
        house.processes[-1 if len(house.processes) > 2 else 0].die()
        await house.dead(worker)
        house.clock.advance(delay - 0.5)
        assert worker.ended is None
        house.clock.advance(0.6)
        assert worker.ended is not None


@case
async def test_a_process_that_cannot_be_started_is_tried_again(house: House) -> None:
    worker = house.crew.workers[0]
    house.refused = True
    house.processes[0].die()
    await house.dead(worker)
    house.clock.advance(BACK_OFF[1])
    assert worker.ended is None
    assert house.notes()[-1] == "worker 0 cannot be started: Resource temporarily unavailable"
    house.refused = False
    house.clock.advance(BACK_OFF[2])
    assert worker.ended is not None


@case
async def test_who_says_nothing_is_killed(house: House) -> None:
    await house.ready()
    house.clock.advance(SILENCE - 1)
    house.processes[1].link.send("beat")
    await until(lambda: house.crew.workers[1].heard == house.clock.seconds(), "the sign of life")
    house.clock.advance(6)
    assert house.processes[0].signals == [signal.SIGKILL]
    assert house.processes[1].signals == []
    await house.dead(house.crew.workers[0])


@case
async def test_who_closes_the_link_has_to_end(house: House) -> None:
    await house.ready()
    house.processes[0].link.close()
    await until(lambda: bool(house.processes[0].signals), "the end")
    house.crew.workers[0].processEnded(Failure(ProcessTerminated(1)))
    assert house.crew.workers[0].ended is None


@case
async def test_a_worker_that_is_behind_is_told_of_once_in_a_while(house: House) -> None:
    house.processes[0].link.pause()
    link = house.crew.workers[0].link
    assert link is not None
    while not house.crew.hub.congested:
        link.send("items", b"\0" * 50_000)
    assert house.notes() == ["worker 0 is behind: publishers have to wait for it"]
    house.processes[0].link.resume()
    await until(lambda: not house.crew.hub.congested, "relief")
    house.processes[0].link.pause()
    while not house.crew.hub.congested:
        link.send("items", b"\0" * 50_000)
    assert len(house.notes()) == 1


@case
async def test_questions_and_channels_find_their_way(house: House) -> None:
    answers: list[list[str]] = []
    house.crew.questions.find(["a"], answers.append)
    for process in house.processes:
        process.link.send("answer", 1, ["a"])
        process.link.send("opened", "c")
        process.link.send("closed", "c")
        process.link.send("forgotten", "c")
        process.link.send("other")
    await until(lambda: len([1 for _, message in house.heard if message == ("other",)]) == 2, "all of it")
    assert answers == [["a", "a"]]


@case
async def test_who_dies_while_all_stop_is_not_replaced(house: House) -> None:
    stopped = house.crew.stop()
    await until(lambda: all(("stop",) in process.got for process in house.processes), "the word")
    for process in house.processes:
        process.die()
    await stopped
    house.clock.advance(100)
    assert len(house.processes) == 2
