"""Parent and workers together, in one process: what operators see, and what the parent passes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
import zmq

from pushpin_tw.config import parse_config
from pushpin_tw.config.loglevel import ERROR, INFO
from pushpin_tw.workers.child import BEAT, LinkVoice
from pushpin_tw.workers.link import Link
from tests.support.crewed import CrewedProxy
from tests.support.rawclient import RawClient
from tests.support.running import SHIPPED, Routes, S, Settings, config_text, free_port
from tests.support.waiting import until
from tests.support.zworker import Workshop

case = pytest_twisted.ensureDeferred

WATCHED: Settings = {"handler": {"prometheus_port": "127.0.0.1:0"}}
WORKERS = 2
CLIENTS = 40
"""As many as are opened until all workers have one."""


class Two(CrewedProxy):
    """Of two workers."""

    COUNT = WORKERS


class Place:
    """A proxy of two workers, and its clients."""

    def __init__(self) -> None:
        self.proxy: CrewedProxy
        self.clients: list[RawClient] = []
        self.stopped = False

    async def start(self, routes: Routes = ("* test",), settings: Settings | None = None) -> CrewedProxy:
        self.proxy = await Two.start(routes, settings or {})
        return self.proxy

    async def listen(self, channel: str) -> None:
        """Open streams until some client of each worker listens."""
        while len(self.clients) < CLIENTS:
            wanted = sum(self.holds(channel)) + 1
            client = await RawClient.connect(self.proxy.address)
            client.send(f"GET /stream?channel={channel} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            self.clients.append(client)
            await self.proxy.held(channel, wanted)
            if all(self.holds(channel)):
                return
        raise AssertionError("all clients were given to one worker")

    def holds(self, channel: str) -> list[int]:
        """By worker; of those that are alive."""
        services = [child.service for child in self.proxy.children if child.service is not None]
        return [sum(service.broker.holds(channel).values()) for service in services]

    async def get(self, path: str) -> tuple[int, str]:
        """What the metrics endpoint answers."""
        endpoint = self.proxy.parent.monitoring.handler
        client = await RawClient.connect(endpoint.address)
        client.request(path)
        answer = await client.read_response()
        await client.closed()
        return answer.status, answer.body.decode()

    async def lose(self, number: int) -> None:
        """A worker dies; one that has served for a while is replaced at once."""
        crew = self.proxy.parent.crew
        before = self.proxy.children[-1]
        crew.workers[number].kill()
        await until(lambda: not crew.workers[number].ready, "the death")
        await until(lambda: self.proxy.children[-1] is not before, "the successor")
        await until(lambda: crew.workers[number].ready, "its service")

    async def stop(self) -> None:
        for client in self.clients:
            client.drop()
        await self.proxy.stop()


@pytest_twisted.async_yield_fixture
async def place() -> AsyncIterator[Place]:
    opened = Place()
    yield opened
    await opened.stop()


# ---- what operators see ------------------------------------------------------------------------------------


@case
async def test_metrics_are_those_of_all_processes(place: Place) -> None:
    proxy = await place.start(settings=WATCHED)
    await place.listen("c")
    await proxy.advance(BEAT + 0.5)
    status, text = await place.get("/metrics/all")
    assert status == 200
    for line in (
        'pushpin_workers{state="ready",worker="parent"} 2.0',
        'pushpin_workers{state="away",worker="parent"} 0.0',
        'pushpin_worker_backlog_bytes{to="0",worker="parent"} 0.0',
        'pushpin_worker_backlog_bytes{to="1",worker="parent"} 0.0',
    ):
        assert line in text.splitlines(), text
    for number, count in enumerate(place.holds("c")):
        assert f'pushpin_holds{{kind="stream",worker="{number}"}} {count}.0' in text.splitlines(), text


@case
async def test_readiness_is_that_of_all_workers(place: Place) -> None:
    proxy = await place.start(settings=WATCHED)
    assert await place.get("/readyz") == (200, "ready\n")
    worker = proxy.parent.crew.workers[1]
    worker.kill()  # before it has served for a second, so that the next one takes a second to come
    await until(lambda: not worker.ready, "the death")
    assert await place.get("/readyz") == (503, "worker 1 is not ready\n")
    await until(lambda: worker.ready, "the successor")
    assert (await place.get("/readyz"))[0] == 200
    proxy.parent.crew.stopping = True
    assert await place.get("/readyz") == (503, "not running\n")
    proxy.parent.crew.stopping = False


@case
async def test_what_troubles_a_worker_is_told_with_its_number(place: Place, tmp_path: Path) -> None:
    routes = tmp_path / "routes"
    routes.write_text("* test\n")
    proxy = await place.start(routes, WATCHED)
    routes.unlink()
    proxy.parent.reload()
    await proxy.advance(BEAT + 0.5)
    status, text = await place.get("/readyz")
    assert status == 503
    assert text.splitlines() == [f"worker {number}: routes file cannot be read" for number in range(WORKERS)]
    routes.write_text("* test\n")
    proxy.parent.reload()
    await proxy.advance(BEAT + 0.5)
    assert (await place.get("/readyz"))[0] == 200


@case
async def test_a_worker_that_comes_later_knows_which_statistics_are_wanted(
    place: Place, tmp_path: Path
) -> None:
    spec = f"ipc://{tmp_path}/stats"
    proxy = await place.start(settings={"handler": {"stats_spec": spec}})
    with zmq.Context() as context, context.socket(zmq.SUB) as watcher:
        watcher.connect(spec)
        watcher.subscribe("message ")
        await proxy.watched()
        await proxy.advance(2)
        await place.lose(1)
        await place.listen("c")
        await proxy.publish("c", {S: {"content": "x"}})
        heard: list[bytes] = []

        def both() -> bool:
            while watcher.poll(0):
                heard.append(watcher.recv())
            return len(heard) >= WORKERS

        await until(both, "a packet from each worker")
        assert all(packet.startswith(b"message T") for packet in heard)


@case
async def test_the_parent_writes_what_its_workers_cannot(place: Place) -> None:
    proxy = await place.start()
    voice = LinkVoice("proxy", INFO, proxy.children[1].link)
    voice.write(INFO, "something happened")
    voice.write(INFO + 1, "which nobody wants to know")
    await proxy.settle()
    assert proxy.lines() == ["something happened"]


@case
async def test_a_worker_that_cannot_serve_says_why(tmp_path: Path) -> None:
    proxy = Two(["* test"], {})
    taken = tmp_path / "taken"
    taken.write_text("")
    for number in range(WORKERS):
        (tmp_path / str(number)).mkdir()
    proxy.parent.lent.shared("workers.meeting", lambda: _Meeting(str(tmp_path)))
    proxy.parent.startService()
    await until(lambda: len(proxy.log.texts("runner", ERROR)) >= 2 * WORKERS, "the reasons")
    reasons = [text for text in proxy.log.texts("runner", ERROR) if "has ended" not in text]
    assert [text.partition(":")[0] for text in sorted(reasons)] == ["worker 0", "worker 1"]
    await proxy.parent.stopService()


class _Meeting:
    """Where workers cannot meet."""

    def __init__(self, directory: str) -> None:
        self.directory = directory


# ---- what the parent passes on -----------------------------------------------------------------------------


@case
async def test_a_new_configuration_is_shared_anew(place: Place) -> None:
    proxy = await place.start()
    text = config_text(SHIPPED, {"runner": {"client_maxconn": 8}, "handler": {"message_rate": 10}})
    proxy.parent.reconfigure(parse_config(text, "pushpin.conf", proxy._no_include))
    await proxy.settle()
    for child in proxy.children:
        assert child.service is not None
        assert child.service.config.runner.client_maxconn == 4
        assert child.service.config.handler.message_rate == 5


@case
async def test_logs_are_opened_again_by_all(place: Place) -> None:
    proxy = await place.start()
    reopened: list[int] = []
    for number, child in enumerate(proxy.children):
        assert child.service is not None
        child.service.reopen = lambda number=number: reopened.append(number)  # type: ignore[method-assign]
    proxy.parent.reopen()
    await until(lambda: sorted(reopened) == [0, 1], "both")


@case
async def test_questions_to_all_workers(place: Place) -> None:
    proxy = await place.start()
    await place.listen("c")
    found: list[object] = []
    connections = proxy.parent.lent.connections
    connections.find(["nobody"], found.append)
    connections.refresh("nobody", found.append)
    connections.refresh_channel("c")  # streams are not concerned
    await until(lambda: len(found) == 2, "the answers")
    assert found == [[], False]
    await proxy.recover()
    await proxy.publish("c", {S: {"content": "x\n"}})
    for client in place.clients:
        await client.read_until(b"x\n")


@case
async def test_all_workers_ask_backends_on_zeromq_through_the_parent(place: Place, tmp_path: Path) -> None:
    spec = f"ipc://{tmp_path}/backends"
    proxy = await place.start(["*,path_beg=/r zhttpreq/" + spec, "* test"])
    await place.listen("c")  # so that there are connections to both
    shop = Workshop()
    backend = shop.idle_rep(spec)
    await backend.begin()
    for number, client in enumerate(place.clients):
        other = await RawClient.connect(proxy.address)
        place.clients[number] = other
        client.drop()
        other.request(f"/r/{number}")
        backend.answer(await backend.asked(), b"hello")
        assert (await other.read_response()).body == b"hello"
    await place.lose(0)
    shop.clear()


@case
async def test_the_next_process_is_given_all_sockets(place: Place, tmp_path: Path) -> None:
    port, clients = free_port(), tmp_path / "clients"
    proxy = await place.start(
        settings={"handler": {"push_in_http_port": port}, "runner": {"local_ports": clients}}
    )
    assert proxy.parent.control_address == ("127.0.0.1", port)
    names = [name for name, _ in proxy.parent.listening()]
    assert sorted(names) == sorted(
        [f"control 127.0.0.1:{port}", *["http 127.0.0.1:0", f"local {clients}"] * WORKERS]
    )
    proxy.parent.hand_over()
    await proxy.parent.stopService()
    assert clients.exists()  # it is the next process's


@case
async def test_a_worker_that_has_too_much_to_deliver_does_not_read_on(place: Place) -> None:
    proxy = await place.start(settings={"tw": {"publish_backlog": 1, "delivery_slice": 1}})
    await place.listen("c")
    paused: list[int] = []
    for number, child in enumerate(proxy.children):

        def pause(number: int = number, link: Link = child.link) -> None:
            paused.append(number)
            Link.pause(link)

        child.link.pause = pause  # type: ignore[method-assign]
    for number in range(6):
        await proxy.publish("c", {S: {"content": f"{number}\n"}})
    for client in place.clients:
        for number in range(6):
            await client.read_until(f"{number}\n".encode())
    assert set(paused) == {0, 1}


# ---- the end -----------------------------------------------------------------------------------------------


@case
async def test_a_mistake_in_a_message_is_told_and_survived(place: Place) -> None:
    proxy = await place.start()
    link = proxy.parent.crew.workers[1].link
    assert link is not None
    link.send("nonsense")
    await until(lambda: bool(proxy.log.texts(level=ERROR)), "the mistake")
    assert ["a message between processes" in text for text in proxy.log.texts(level=ERROR)] == [True]
    proxy.log.lines.clear()
    await place.listen("c")
    assert all(place.holds("c"))


@case
async def test_all_workers_let_their_clients_go(place: Place) -> None:
    proxy = await place.start(settings={"tw": {"drain_seconds": 1}})
    await place.listen("c")
    drained: list[object] = []
    proxy.parent.drain().addCallback(drained.append)
    await proxy.time_until(lambda: drained, 10)
    for client in place.clients:
        await client.read_until(b"0\r\n\r\n")
        await client.closed()


@case
async def test_nobody_waits_for_a_worker_that_dies_meanwhile(place: Place) -> None:
    proxy = await place.start(settings={"tw": {"drain_seconds": 1000}})
    await place.listen("c")
    drained: list[object] = []
    proxy.parent.drain().addCallback(drained.append)
    for worker in proxy.parent.crew.workers:
        assert not drained
        worker.kill()
        await until(lambda worker=worker: worker.ended is None, "the death")
    await until(lambda: bool(drained), "the end of draining")
    assert len(proxy.children) == WORKERS
