"""The worker processes, as their parent sees them: started, listened to, replaced when they die.

Used by ``parent``.  A worker that dies takes its own clients along and nobody else's: its listening sockets
stay open here, so that new clients wait in them for its successor.  ``twisted.runner.procmon`` restarts
processes as well, but cannot hand descriptors to them.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from pushpin_tw.workers.hub import Hub
from pushpin_tw.workers.link import Link, Message, pair
from pushpin_tw.workers.questions import Questions

LINK = 3
"""The descriptor that is a worker's end of the link; its listening sockets follow."""
STABLE = 1.0
"""Seconds of service after which a worker that dies was not simply unable to live."""
BACK_OFF = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds until the next attempt, after so many workers in a row that did not live."""
SILENCE = 30.0
"""Seconds without a sign of life after which a worker is killed."""
QUIET = 60.0
"""Seconds until the log is told again that a worker is behind."""
LOOK = 5.0
"""Seconds between looks at who is silent."""


class Worker(ProcessProtocol):
    """One place in the crew: a process, and after its death the next one."""

    def __init__(self, number: int, crew: Crew, listening: list[tuple[str, socket.socket]]) -> None:
        """``listening``: the sockets of this worker, by name."""
        self.number = number
        self.link: Link | None = None
        self.ready = False
        self.heard = 0.0
        """When it gave a sign of life."""
        self.failures = 0
        self._crew = crew
        self.listening = listening
        self._served: float | None = None
        """Since when it serves clients."""
        self._quiet = 0.0
        """Until when nothing is said of it being behind."""
        self.ended: Deferred[None] | None = None
        """Fires when the process has ended; None while there is none."""

    def start(self) -> None:
        """Start a process."""
        crew = self._crew
        ours, theirs = pair()
        self._served, self.heard = None, crew.seconds()
        self.ended = Deferred()
        try:
            crew.spawn(self, theirs, [skt for _, skt in self.listening])
        except OSError as error:
            ours.close()
            crew.note("error", f"worker {self.number} cannot be started: {error.strerror}")
            self._over()
            return
        finally:
            theirs.close()
        self.link = Link(ours, crew.reactor, self._received, self._link_lost, crew.stats, crew.link_limit)
        self.link.delayed = self._behind
        self.link.relieved = crew.hub.drained
        self.link.send("begin", *crew.beginning(self.number), [name for name, _ in self.listening])
        crew.hub.joined(self.number, self.link)

    def close_listening(self) -> None:
        """Its sockets are the process's alone from now on, and end with it."""
        for _, skt in self.listening:
            skt.close()
        self.listening = []

    def kill(self) -> None:
        """End the process at once."""
        if self.ended is not None and self.transport is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess(signal.SIGKILL)

    def processEnded(self, reason: Failure) -> None:
        crew = self._crew
        if not crew.stopping:
            crew.note("error", f"worker {self.number} has ended: {reason.value}")
        if self.link is not None:
            self.link.poll()  # last words
        self._over()

    def _over(self) -> None:
        crew, ended = self._crew, self.ended
        if self.link is not None:
            self.link.close()
            self.link = None
        crew.left(self)
        self.ended, self.ready = None, False
        if ended is not None:
            ended.callback(None)
        if not crew.stopping:
            served = self._served is not None and crew.seconds() - self._served >= STABLE
            self.failures = 0 if served else min(self.failures + 1, len(BACK_OFF) - 1)
            crew.reactor.callLater(BACK_OFF[self.failures], self._again)

    def _again(self) -> None:
        if not self._crew.stopping:
            self.start()

    def _behind(self) -> None:
        """More waits for it than may."""
        crew = self._crew
        if crew.seconds() >= self._quiet:
            self._quiet = crew.seconds() + QUIET
            crew.note("warn", f"worker {self.number} is behind: publishers have to wait for it")

    def _link_lost(self) -> None:
        """It has closed its end, and will end, or has to."""
        self.link = None
        self._crew.hub.left(self.number)
        self.kill()

    def _received(self, message: Message) -> None:
        self.heard = self._crew.seconds()
        if message[0] == "ready":
            self.ready, self._served = True, self.heard
        self._crew.received(self, message)


class Crew:
    """All workers."""

    def __init__(
        self,
        services: Any,
        hub: Hub,
        beginning: Callable[[int], tuple[Any, ...]],
        hear: Callable[[Worker, Message], None],
        link_limit: int,
    ) -> None:
        """``services`` is an ``IServices``; ``beginning(number)`` are the arguments of a worker's first
        message; ``hear(worker, message)`` is told what is not for the crew itself; ``link_limit`` bytes may
        wait for a worker until publishers have to wait."""
        self.reactor = services.reactor
        self.stats = services.stats
        self.hub = hub
        self.questions = Questions(self.tell)
        self.beginning = beginning
        self.link_limit = link_limit
        self.stopping = False
        self.silence = SILENCE
        self.workers: list[Worker] = []
        self.on_ready: Callable[[], None] = lambda: None
        """Called once, when all are ready for the first time."""
        self.spawn: Callable[[Worker, socket.socket, list[socket.socket]], object] = self._spawn
        """Starts the process of a worker with its end of the link and its listening sockets.

        :raises OSError: it cannot be started.
        """
        self._services = services
        self._hear = hear
        self.due = 0
        self.slot = 0

    def listening(self) -> list[tuple[str, socket.socket]]:
        """The sockets of all, by name."""
        return [each for worker in self.workers for each in worker.listening]

    def seconds(self) -> float:
        """The time."""
        return float(self._services.wheel.seconds())

    def note(self, level: str, text: str) -> None:
        """A line for the log."""
        self.stats.note(level, text, "runner")

    def start(self, listening: Iterable[list[tuple[str, socket.socket]]]) -> None:
        """Start a worker for each list of sockets."""
        self.workers = [Worker(number, self, sockets) for number, sockets in enumerate(listening)]
        for worker in self.workers:
            worker.start()
        self._services.wheel.schedule(self, LOOK)

    def _spawn(self, worker: Worker, end: socket.socket, listening: list[socket.socket]) -> None:
        descriptors = {0: 0, 1: 1, 2: 2, LINK: end.fileno()}
        for place, skt in enumerate(listening, LINK + 1):
            descriptors[place] = skt.fileno()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        argv = [sys.executable, "-m", "pushpin_tw.workers.child", str(worker.number)]
        self.reactor.spawnProcess(worker, sys.executable, argv, environment, childFDs=descriptors)

    def tell(self, *message: Any) -> list[int]:
        """Send a message to every worker; whom it has reached."""
        reached = [worker for worker in self.workers if worker.link is not None]
        for worker in reached:
            assert worker.link is not None
            worker.link.send(*message)
        return [worker.number for worker in reached]

    def stop(self) -> Deferred[Any]:
        """End all processes; fires when they have ended."""
        self.stopping = True
        self._services.wheel.cancel(self)
        self.tell("stop")
        for worker in self.workers:
            worker.close_listening()
        return self.ended()

    def ended(self) -> Deferred[Any]:
        """Fires when no process is left."""
        waiting = [worker for worker in self.workers if worker.ended is not None]
        if not waiting:
            return succeed(None)
        done: Deferred[Any] = Deferred()
        left = len(waiting)

        def one_less(_: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.callback(None)

        for worker in waiting:
            assert worker.ended is not None
            worker.ended.addCallback(one_less)
        return done

    def kill(self) -> None:
        """End those that are left at once."""
        for worker in self.workers:
            worker.kill()

    def expired(self) -> None:
        """Look for workers that have hung."""
        self._services.wheel.schedule(self, LOOK)
        for worker in self.workers:
            if worker.ended is not None and self.seconds() - worker.heard > self.silence:
                self.note("error", f"worker {worker.number} is silent since {self.silence:g} seconds: killed")
                worker.kill()

    def left(self, worker: Worker) -> None:
        """A worker is gone."""
        self.hub.left(worker.number)
        self.questions.left(worker.number)
        self._hear(worker, ("left",))

    def received(self, worker: Worker, message: Message) -> None:
        """A message has come."""
        name = message[0]
        if name == "opened":
            self.hub.opened(worker.number, message[1])
        elif name == "closed":
            self.hub.closed(worker.number, message[1])
        elif name == "forgotten":
            self.hub.forgotten(message[1])
        elif name == "answer":
            self.questions.answered(worker.number, message[1], message[2])
        elif name == "ready":
            if all(each.ready for each in self.workers):
                ready, self.on_ready = self.on_ready, lambda: None
                ready()
            self._hear(worker, message)
        else:
            self._hear(worker, message)
