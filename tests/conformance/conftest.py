"""The setting of the numbered cases, and the option to put the original in the service's place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_twisted

from tests.support.monitors import Monitors
from tests.support.origin import ScriptedOrigin
from tests.support.running import refusing
from tests.support.stage import Stage, Start
from tests.support.wsstage import SocketStage
from tests.support.zhttpscene import Workplace
from tests.support.zmqscene import Publishers


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest tests/conformance --reference`` judges the expectations by /usr/bin/pushpin, in real time."""
    parser.addoption("--reference", action="store_true", help="run the cases against /usr/bin/pushpin")
    parser.addoption("--workers", type=int, default=1, help="run them against so many workers")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips here and not in the fixture, which would not get over it."""
    if item.config.getoption("--reference", False) and item.get_closest_marker("differs"):
        pytest.skip("the reference at hand is known to differ")
    if item.config.getoption("--workers", 1) > 1 and item.get_closest_marker("one_process"):
        pytest.skip("looks into the one process")


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Start:
    """What starts a proxy: ours, or the original."""
    if request.config.getoption("--reference", False):
        from tests.support.reference import ReferenceProxy

        return ReferenceProxy.start
    count = request.config.getoption("--workers", 1)
    if count > 1:
        from tests.support.crewed import CrewedProxy

        return CrewedProxy.of(count)
    from tests.support.service import ServiceProxy

    return ServiceProxy.start


@pytest.fixture
def down() -> Iterator[str]:
    """The target ``DOWN`` of the specification."""
    with refusing() as target:
        yield target


@pytest_twisted.async_yield_fixture
async def stage(start: Start) -> AsyncIterator[Stage]:
    """An origin that listens; the case starts its proxy with ``stage.start``."""
    stage = Stage(await ScriptedOrigin.listen(), start)
    yield stage
    await stage.clear()


@pytest_twisted.async_yield_fixture
async def scene(start: Start) -> AsyncIterator[SocketStage]:
    """A ``stage`` with WebSockets."""
    scene = SocketStage(await ScriptedOrigin.listen(), start)
    yield scene
    await scene.clear()


@pytest_twisted.async_yield_fixture
async def publishers(start: Start, tmp_path: Path) -> AsyncIterator[Publishers]:
    """A ``scene`` with publishers on ZeroMQ."""
    publishers = Publishers(await ScriptedOrigin.listen(), start, tmp_path)
    yield publishers
    await publishers.clear()


@pytest_twisted.async_yield_fixture
async def monitors(start: Start, tmp_path: Path) -> AsyncIterator[Monitors]:
    """A ``scene`` with somebody who watches statistics."""
    monitors = Monitors(await ScriptedOrigin.listen(), start, tmp_path)
    yield monitors
    await monitors.clear()


@pytest_twisted.async_yield_fixture
async def workplace(start: Start, tmp_path: Path) -> AsyncIterator[Workplace]:
    """A ``scene`` with backends on ZeroMQ."""
    workplace = Workplace(await ScriptedOrigin.listen(), start, tmp_path)
    yield workplace
    await workplace.clear()
