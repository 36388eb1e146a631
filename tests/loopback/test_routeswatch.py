"""The routes file is watched (proxy 1.7): real files, real events, a clock that stands still."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import Clock

from pushpin_tw.routeswatch import DELAY, POLL_INTERVAL, RoutesWatch
from pushpin_tw.routing.route import Route
from tests.pure.routing.tables import TYPES
from tests.support.waiting import turn, until

NOTIFIED = pytest.param(reactor, id="notified")
POLLED = pytest.param(None, id="polled")
LOADED = "info: routes loaded with {} entries"
CHANGED = "info: routes file changed, reloading"


class Desk:
    """A routes file, its watch, and what came of it."""

    def __init__(self, path: Path, events: Any) -> None:
        self.path = path
        self.log: list[str] = []
        self.tables: list[list[Route]] = []
        self.clock = Clock()
        self.notified = events is not None
        self._events = events
        self.watch: RoutesWatch

    def open(self, routesfile: str = "routes", lines: list[str] | None = None, quiet: bool = False) -> None:
        proxy = SimpleNamespace(routesfile=routesfile, sig_iss="pushpin", sig_key="file:key")
        config: Any = SimpleNamespace(proxy=proxy, directory=str(self.path.parent))
        stats = SimpleNamespace(note=lambda level, text: self.log.append(f"{level}: {text}"))
        services = SimpleNamespace(reactor=self._events, clock=self.clock, stats=stats)
        self.watch = RoutesWatch(config, TYPES, self.tables.append, services, lines, quiet)
        self.watch.startService()

    @property
    def hosts(self) -> list[str]:
        return [route.condition.host for route in self.tables[-1]]

    async def noticed(self) -> None:
        """The change was seen and the second until reading has begun."""
        if self.notified:
            await until(lambda: bool(self.clock.getDelayedCalls()), "a sign of the change")
        else:
            self.clock.advance(POLL_INTERVAL)
            assert len(self.clock.getDelayedCalls()) == 2

    async def reloaded(self) -> None:
        """A second has passed since the change was noticed, and the file was read."""
        await self.noticed()
        before = len(self.log)
        self.clock.advance(DELAY - 0.001)
        assert self.log[before:] == []
        self.clock.advance(0.001)
        assert self.log[before] == CHANGED


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[[Any], Desk]]:
    desks: list[Desk] = []

    def make(events: Any) -> Desk:
        desks.append(Desk(tmp_path / "routes", events))
        return desks[-1]

    yield make
    for desk in desks:
        desk.watch.stopService()
        assert desk.clock.getDelayedCalls() == []


@pytest.mark.parametrize("events", [NOTIFIED, POLLED])
@pytest_twisted.ensureDeferred
async def test_c039_a_change_in_place(make_desk: Callable[[Any], Desk], events: Any) -> None:
    desk = make_desk(events)
    desk.path.write_text("a test\nbad\n")
    desk.open()
    assert desk.log == [
        "warn: routes:2: must specify condition and at least one target",
        LOADED.format(1),
    ]
    desk.path.write_text("a test\nb test\n")
    await desk.reloaded()
    assert desk.hosts == ["a", "b"]
    assert desk.log[-2:] == [CHANGED, LOADED.format(2)]
    desk.path.write_text("c test\nd test\n")
    await desk.reloaded()
    assert desk.hosts == ["c", "d"]


@pytest.mark.parametrize("events", [NOTIFIED, POLLED])
@pytest_twisted.ensureDeferred
async def test_another_process_tells_about_it(make_desk: Callable[[Any], Desk], events: Any) -> None:
    desk = make_desk(events)
    desk.path.write_text("a test\nbad\n")
    desk.open(quiet=True)
    desk.path.write_text("b test\n")
    await desk.noticed()
    desk.clock.advance(DELAY)
    assert desk.hosts == ["b"]
    desk.path.unlink()
    desk.watch.reload()
    assert desk.watch.trouble == "routes file cannot be read"
    assert desk.log == []


def test_what_only_this_process_knows_is_told(make_desk: Callable[[Any], Desk]) -> None:
    desk = make_desk(None)
    desk.path.write_text("a test\n")
    desk.open(quiet=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        desk.watch.reload()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert desk.log == ["warn: unable to open routes file: routes"]
    desk.clock.advance(DELAY)
    assert desk.watch.trouble == ""


@pytest.mark.parametrize("events", [NOTIFIED, POLLED])
@pytest_twisted.ensureDeferred
async def test_c040_replaced_by_rename(make_desk: Callable[[Any], Desk], events: Any) -> None:
    desk = make_desk(events)
    desk.path.write_text("a test\n")
    desk.open()
    for host in ("b", "c"):
        new = desk.path.with_name("new")
        new.write_text(f"{host} test\n")
        os.replace(new, desk.path)
        await desk.reloaded()
        assert desk.hosts == [host]


@pytest.mark.parametrize("events", [NOTIFIED, POLLED])
@pytest_twisted.ensureDeferred
async def test_c041_c042_deleted_and_made_anew(make_desk: Callable[[Any], Desk], events: Any) -> None:
    desk = make_desk(events)
    desk.path.write_text("a test\n")
    desk.open()
    desk.path.unlink()
    await desk.reloaded()
    assert desk.log[-1] == "warn: unable to open routes file: routes"
    assert len(desk.tables) == 1
    assert desk.watch.trouble == "routes file cannot be read"
    desk.path.write_text("b test\n")
    await desk.reloaded()
    assert desk.hosts == ["b"]
    assert desk.watch.trouble == ""


@pytest.mark.parametrize("events", [NOTIFIED, POLLED])
@pytest_twisted.ensureDeferred
async def test_c043_emptied(make_desk: Callable[[Any], Desk], events: Any) -> None:
    desk = make_desk(events)
    desk.path.write_text("a test\n")
    desk.open()
    desk.path.write_text("")
    await desk.reloaded()
    assert desk.hosts == []
    assert desk.log[-1] == LOADED.format(0)
    assert desk.watch.trouble == "there are no routes"


@pytest.mark.parametrize("events", [NOTIFIED, POLLED])
@pytest_twisted.ensureDeferred
async def test_c044_reload_reads_at_once(make_desk: Callable[[Any], Desk], events: Any) -> None:
    desk = make_desk(events)
    desk.path.write_text("a test\n")
    desk.open()
    desk.path.write_text("b test\n")
    desk.watch.reload()
    assert desk.hosts == ["b"]
    assert CHANGED not in desk.log


@pytest_twisted.ensureDeferred
async def test_a_reload_takes_the_place_of_the_one_that_was_due(make_desk: Callable[[Any], Desk]) -> None:
    desk = make_desk(reactor)
    desk.path.write_text("a test\n")
    desk.open()
    desk.path.write_text("b test\n")
    await desk.noticed()
    desk.watch.reload()
    assert desk.clock.getDelayedCalls() == []
    assert desk.hosts == ["b"]


@pytest.mark.parametrize("events", [NOTIFIED, POLLED])
@pytest_twisted.ensureDeferred
async def test_several_writes_are_one_change(make_desk: Callable[[Any], Desk], events: Any) -> None:
    desk = make_desk(events)
    desk.path.write_text("a test\n")
    desk.open()
    with desk.path.open("a") as file:
        file.write("b test\n")
        file.flush()
        await desk.noticed()
        file.write("c test\n")
        file.flush()
        await turn()
        desk.clock.advance(DELAY)
    assert desk.hosts == ["a", "b", "c"]
    assert desk.log.count(CHANGED) == 1


@pytest.mark.parametrize("events", [NOTIFIED, POLLED])
@pytest_twisted.ensureDeferred
async def test_a_link_that_is_turned_elsewhere(make_desk: Callable[[Any], Desk], events: Any) -> None:
    """How configuration is mounted into containers: routes -> data/routes, data -> the version of the day."""
    desk = make_desk(events)
    here = desk.path.parent
    for version in ("one", "two"):
        (here / version).mkdir()
        (here / version / "routes").write_text(f"{version} test\n")
    (here / "data").symlink_to("one")
    desk.path.symlink_to("data/routes")
    desk.open()
    assert desk.hosts == ["one"]
    (here / "data.new").symlink_to("two")
    os.replace(here / "data.new", here / "data")
    await desk.reloaded()
    assert desk.hosts == ["two"]
    (here / "two" / "routes").write_text("three test\n")
    await desk.reloaded()
    assert desk.hosts == ["three"]


@pytest_twisted.ensureDeferred
async def test_neighbours_are_no_change(make_desk: Callable[[Any], Desk]) -> None:
    desk = make_desk(reactor)
    desk.path.write_text("a test\n")
    desk.open()
    desk.path.with_name("other").write_text("x")
    os.replace(desk.path.with_name("other"), desk.path.with_name("another"))
    # The kernel queues events at once; the first turn waits for none, the second has read them.
    await turn()
    await turn()
    assert desk.clock.getDelayedCalls() == []
    desk.path.write_text("b test\n")
    await desk.reloaded()
    assert desk.hosts == ["b"]


@pytest_twisted.ensureDeferred
async def test_a_directory_that_comes_later(make_desk: Callable[[Any], Desk]) -> None:
    desk = make_desk(reactor)
    desk.path = desk.path.parent / "etc" / "routes"
    desk.path.parent.mkdir()
    desk.path.write_text("a test\n")
    desk.path.unlink()
    desk.path.parent.rmdir()
    desk.open()
    assert desk.log == ["warn: unable to open routes file: routes"]
    assert desk.tables == []
    desk.path.parent.mkdir()
    desk.path.write_text("a test\n")
    desk.clock.advance(POLL_INTERVAL)
    desk.clock.advance(DELAY)
    assert desk.hosts == ["a"]
    desk.path.write_text("b test\n")
    await desk.reloaded()
    assert desk.hosts == ["b"]


@pytest_twisted.ensureDeferred
async def test_a_directory_that_goes_away(make_desk: Callable[[Any], Desk]) -> None:
    desk = make_desk(reactor)
    desk.path = desk.path.parent / "etc" / "routes"
    desk.path.parent.mkdir()
    desk.path.write_text("a test\n")
    desk.open()
    desk.path.parent.rename(desk.path.parent.with_name("gone"))
    await desk.reloaded()
    assert desk.log[-1] == "warn: unable to open routes file: routes"
    desk.path.parent.mkdir()
    desk.path.write_text("b test\n")
    desk.clock.advance(POLL_INTERVAL)
    desk.clock.advance(DELAY)
    assert desk.hosts == ["b"]


def test_c215_lines_replace_the_file(make_desk: Callable[[Any], Desk]) -> None:
    desk = make_desk(reactor)
    desk.path.write_text("a test\n")
    desk.open(lines=["b test", "c test", "bad"])
    expected = ["warn: <route>:1: must specify condition and at least one target"]
    assert desk.log == expected
    desk.watch.reload()
    assert (desk.hosts, desk.log) == (["b", "c"], expected)


def test_keys_stand_beside_their_files(make_desk: Callable[[Any], Desk]) -> None:
    """C074: the configuration's key from its directory, a route's key from that of the routes file."""
    desk = make_desk(None)
    (desk.path.parent / "key").write_text("00")
    elsewhere = desk.path.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "key").write_text("01")
    (elsewhere / "routes").write_text("a test\nb,sig_key=file:key test\nc,sig_key=base64:AQ test\n")
    desk.open("elsewhere/routes")
    tokens = [route.signer.token(7) for route in desk.tables[0] if route.signer]
    assert len(tokens) == 3
    assert tokens[1] == tokens[2] != tokens[0]


def test_a_certificate_must_be_readable(make_desk: Callable[[Any], Desk]) -> None:
    desk = make_desk(None)
    good = desk.path.parent / "c.pem"
    good.write_text("PEM")
    desk.path.write_text(f"a h:1,client_cert={good}\nb h:1,client_cert={good}x\n")
    desk.open()
    assert desk.hosts == ["a"]
    assert desk.log[0] == f"warn: routes:2: unable to read client_cert: {good}x"


def test_a_file_that_is_not_text(make_desk: Callable[[Any], Desk]) -> None:
    desk = make_desk(None)
    desk.path.write_bytes(b"a test\n\xff test\n")
    desk.open()
    assert desk.hosts == ["a"]
    assert desk.log[0] == "warn: routes:2: invalid UTF-8"
