"""Targets on ZeroMQ in the routes file, and the sockets they are (zeromq 2.1)."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
import pytest_twisted

from tests.support.running import Proxy, free_port
from tests.support.waiting import until
from tests.support.zhttpscene import Workplace
from tests.support.zworker import derived, free_ports

case = pytest_twisted.ensureDeferred


def files(spec: str) -> list[Path]:
    """Where the sockets of ``zhttp/SPEC`` are."""
    return [Path(each.removeprefix("ipc://")) for each in derived(spec)]


def mode(path: Path) -> int:
    """The permissions of a socket."""
    found = os.stat(path).st_mode
    assert stat.S_ISSOCK(found)
    return stat.S_IMODE(found)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("zws/tcp://127.0.0.1:1", id="zmq_110"),
        pytest.param("zws/ipc:///tmp/none", id="zmq_110-ipc"),
        *(
            pytest.param(target, id=f"zmq_111-{name}", marks=pytest.mark.differs("the process ends"))
            for name, target in (
                ("port", "zhttp/tcp://127.0.0.1:abc"),
                ("zhttpreq", "zhttpreq/tcp://127.0.0.1:abc"),
                ("large", "zhttp/tcp://127.0.0.1:65536"),
                ("no-transport", "zhttp/127.0.0.1:80"),
                ("no-address", "zhttp/tcp://"),
                ("nothing", "zhttp/"),
            )
        ),
    ],
)
@case
async def test_lines_that_are_rejected(workplace: Workplace, target: str) -> None:
    proxy = await workplace.begin(f"*,path_beg=/bad {target}")
    assert any("target" in line for line in proxy.lines()), proxy.lines()
    client = await workplace.ask("/alive")
    await workplace.answered(client, b"alive")
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    worker.answer(asked, b"ok")
    await workplace.answered(client, b"ok")


@case
async def test_zmq_112_files_and_their_permissions(workplace: Workplace, tmp_path: Path) -> None:
    spec, single = f"ipc://{tmp_path}/im", f"ipc://{tmp_path}/req"
    await workplace.begin(
        f"*,path_beg=/im zhttp/{spec},ipc_file_mode=640",
        f"*,path_beg=/req zhttpreq/{single},ipc_file_mode=604",
    )
    assert [path.name for path in files(spec)] == ["im-out", "im-out-stream", "im-in"]
    assert [mode(path) for path in files(spec)] == [0o640] * 3
    assert mode(tmp_path / "req") == 0o604
    worker, replier = await workplace.shop.worker(spec), await workplace.shop.rep(single)
    client, asked = await workplace.session(worker, "/im")
    worker.answer(asked, b"streamed")
    await workplace.answered(client, b"streamed")
    client, asked = await workplace.requested(replier, "/req")
    replier.answer(asked, b"replied")
    await workplace.answered(client, b"replied")


@case
async def test_zmq_112_tcp(workplace: Workplace) -> None:
    first, single = free_ports(3), free_port()
    spec, other = f"tcp://127.0.0.1:{first}", f"tcp://127.0.0.1:{single}"
    await workplace.begin(f"*,path_beg=/im zhttp/{spec}", f"*,path_beg=/req zhttpreq/{other}")
    worker, replier = await workplace.shop.worker(spec), await workplace.shop.rep(other)
    client, asked = await workplace.session(worker, "/im")
    worker.answer(asked, b"streamed")
    await workplace.answered(client, b"streamed")
    client, asked = await workplace.requested(replier, "/req")
    replier.answer(asked, b"replied")
    await workplace.answered(client, b"replied")


def unbound(proxy: Proxy) -> int:
    """How often the log says so."""
    return sum("unable to bind to tcp://127.0.0.1:" in line for line in proxy.lines())


@pytest.mark.parametrize("which", [pytest.param(n, id=f"zmq_113-{n}") for n in range(3)])
@case
async def test_an_address_that_is_taken(workplace: Workplace, which: int) -> None:
    """Each of the three; what was bound before is let go."""
    first = free_ports(3)
    spec = f"tcp://127.0.0.1:{first}"
    with socket.create_server(("127.0.0.1", first + which)):
        proxy = await workplace.begin(f"*,path_beg=/taken zhttp/{spec}")
        assert unbound(proxy) == 1
        await workplace.failed(await workplace.ask("/taken"))
        await workplace.answered(await workplace.ask("/alive"), b"alive")


@pytest.mark.differs("requests wait for a minute")
@case
async def test_zmq_113_an_address_that_is_taken(workplace: Workplace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        spec = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        proxy = await workplace.begin(f"*,path_beg=/taken,debug zhttpreq/{spec}")
        assert unbound(proxy) == 1
        await workplace.failed(await workplace.ask("/taken"))
        await workplace.answered(await workplace.ask("/alive"), b"alive")


@pytest.mark.differs("it takes the port modulo 65536")
@case
async def test_zmq_113_the_last_of_three_ports_does_not_exist(workplace: Workplace) -> None:
    proxy = await workplace.begin("*,path_beg=/none zhttp/tcp://127.0.0.1:65534")
    assert unbound(proxy) == 1
    await workplace.failed(await workplace.ask("/none"))


@pytest.mark.differs("unused sockets are closed at the next of its checks")
@pytest.mark.parametrize("kind", [pytest.param(kind, id=f"zmq_114-{kind}") for kind in ("zhttp", "zhttpreq")])
@case
async def test_targets_come_and_go(workplace: Workplace, tmp_path: Path, kind: str) -> None:
    """About a second after the routes file has changed; those in use when they are not any more."""
    routes = tmp_path / "routes"
    alive = f"* {workplace.origin.address}\n"
    routes.write_text(alive)
    proxy = await workplace.start(routes=routes)
    spec = f"ipc://{tmp_path}/new"
    paths = files(spec) if kind == "zhttp" else [tmp_path / "new"]

    async def change(text: str) -> None:
        count = len(proxy.lines())
        routes.write_text(text)
        await proxy.settle()
        await until(lambda: len(proxy.lines()) > count or _advanced(), "the routes to be read again")

    def _advanced() -> bool:
        proxy.clock.advance(0.1)  # type: ignore[attr-defined]
        return False

    assert not any(path.exists() for path in paths)
    await change(f"*,path_beg=/new {kind}/{spec}\n{alive}")
    await until(lambda: all(path.exists() for path in paths), "the sockets")
    worker = await (workplace.shop.worker(spec) if kind == "zhttp" else workplace.shop.rep(spec))
    client = await workplace.ask("/new")
    asked = await worker.asked()
    await change(alive)
    await proxy.settle()
    assert all(path.exists() for path in paths)
    worker.answer(asked, b"the last one")
    await workplace.answered(client, b"the last one")
    await until(lambda: not any(path.exists() for path in paths), "the end of the sockets")
    await workplace.answered(await workplace.ask("/alive"), b"alive")


@pytest.mark.parametrize("paths", [("/one", "/two"), ("/two", "/one")])
@case
async def test_zmq_115_one_address_in_both_modes(workplace: Workplace, paths: tuple[str, str]) -> None:
    """The first line decides."""
    spec = workplace.b
    await workplace.begin(lines=[f"*,path_beg=/one zhttpreq/{spec}", f"*,path_beg=/two zhttp/{spec}"])
    worker = await workplace.rep()
    for path in paths:
        client, asked = await workplace.requested(worker, path)
        assert "seq" not in asked and asked["max-size"] == 1_000_000
        worker.answer(asked, b"ok")
        await workplace.answered(client, b"ok")
        await workplace.failed(await workplace.shake("/two"))


@case
async def test_zmq_115_the_other_way_round(workplace: Workplace) -> None:
    spec = workplace.a
    await workplace.begin(lines=[f"*,path_beg=/one zhttp/{spec}", f"*,path_beg=/two zhttpreq/{spec}"])
    worker = await workplace.worker()
    for path in ("/two", "/one"):
        client, asked = await workplace.session(worker, path)
        assert asked["stream"] is True
        worker.answer(asked, b"ok")
        await workplace.answered(client, b"ok")
