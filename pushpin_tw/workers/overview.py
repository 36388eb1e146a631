"""What the parent can tell of all processes: statistics packets, metrics, and whether clients are served.

Made by ``parent``, who passes on what workers say of themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from twisted.application.service import MultiService

from pushpin_tw.config import Config
from pushpin_tw.monitoring import Monitoring, wants_metrics
from pushpin_tw.stats.measures import Measures, Snapshot
from pushpin_tw.stats.report import StatsSocket, make_outlet, make_tally, wants_figures
from pushpin_tw.workers.crew import Crew, Worker
from pushpin_tw.workers.figures import Figures
from pushpin_tw.workers.link import Message

PARENT = "parent"
"""What metrics of the parent itself are labelled with, where those of workers have their number."""


class Overview(MultiService):
    """Listens to the crew."""

    def __init__(self, config: Config, services: Any, crew: Crew) -> None:
        """``services`` is an ``IServices``, whose ``tally`` is set when anybody wants figures."""
        super().__init__()
        self.setName("overview")
        self.monitoring: Monitoring | None = None
        self._crew = crew
        self._figures: Figures | None = None
        self.statistics: StatsSocket | None = None
        self._wanted: Collection[str] = frozenset()
        self._snapshots: dict[Any, Snapshot] = {}
        self._troubles: dict[int, list[str]] = {}
        if not wants_figures(config):
            return
        outlet = make_outlet(services)
        services.tally = make_tally(services, outlet)
        outlet.collect = services.tally.flush
        self._figures = Figures(outlet, services.wheel)
        self.statistics = StatsSocket(outlet, services)
        self.statistics.on_wanted = self._wants
        self.statistics.setServiceParent(self)
        if wants_metrics(config):
            self._monitor(config, services, outlet.figures)

    def _monitor(self, config: Config, services: Any, totals: Callable[[], dict[str, int]]) -> None:
        measures: Measures = services.measures
        measures.gauge("workers", self._workers)
        measures.gauge("backlog", self._backlog)

        def snapshots() -> dict[Any, Snapshot]:
            return {**self._snapshots, PARENT: measures.take()}

        self.monitoring = Monitoring(config, services, totals, snapshots, self.troubles)
        self.monitoring.setServiceParent(self)

    def _workers(self) -> dict[str, int]:
        ready = sum(worker.ready for worker in self._crew.workers)
        return {"ready": ready, "away": len(self._crew.workers) - ready}

    def _backlog(self) -> dict[str, int]:
        return {
            str(worker.number): 0 if worker.link is None else worker.link.waiting
            for worker in self._crew.workers
        }

    def troubles(self) -> list[str]:
        """Why clients had better be sent elsewhere; nothing when they need not."""
        if not self.running or self._crew.stopping:
            return ["not running"]
        found = [f"worker {worker.number} is not ready" for worker in self._crew.workers if not worker.ready]
        for number, troubles in sorted(self._troubles.items()):
            found += [f"worker {number}: {trouble}" for trouble in troubles]
        return found

    # ---- the crew ------------------------------------------------------------------------------------------

    def hear(self, worker: Worker, message: Message) -> None:
        """Something that a worker has said; what is not for us is left alone."""
        name, *arguments = message
        number = worker.number
        if name == "beat":
            self._troubles[number], snapshot = arguments
            if snapshot is not None:
                self._snapshots[number] = snapshot
        elif name == "left":
            self._troubles.pop(number, None)
            if self._figures is not None:
                self._figures.left(number)
        elif self._figures is not None and name in ("delta", "packet", "changes"):
            getattr(self._figures, name)(number, *arguments)

    def welcome(self, worker: Worker) -> None:
        """A worker begins."""
        if worker.link is not None and self._wanted:
            worker.link.send("wanted", sorted(self._wanted))

    def _wants(self, kinds: Collection[str]) -> None:
        self._wanted = kinds
        self._crew.tell("wanted", sorted(kinds))
