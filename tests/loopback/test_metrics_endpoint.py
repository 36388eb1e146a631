"""The metrics endpoint on real sockets (zeromq 6.1); what it tells is made up."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_twisted
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.error import CannotListenError

from pushpin_tw.config.kinds import metrics_port
from pushpin_tw.config.listen import Listen, LocalListen
from pushpin_tw.stats.measures import Measures, Snapshot
from pushpin_tw.stats.metrics import ORIGINAL
from pushpin_tw.stats.prometheus import LIMITS, Endpoint, Pages
from pushpin_tw.testing.services import LentServices
from tests.support.clock import StillClock
from tests.support.rawclient import RawClient
from tests.support.waiting import turn

case = pytest_twisted.ensureDeferred
ANY = Listen("127.0.0.1", 0)


class Room:
    """An endpoint that runs, and the words it has."""

    def __init__(self, listen: Listen | LocalListen, mode: int = -1) -> None:
        self.clock = StillClock()
        self.services = LentServices(reactor, self.clock)
        self.troubles: list[str] = []
        self.broken = False
        self.measures = Measures(self.services.stats)
        pages = Pages("pp_", self.totals, self.snapshots, lambda: self.troubles)
        self.endpoint = Endpoint(listen, pages, self.services, mode)

    def totals(self) -> Mapping[str, int]:
        if self.broken:
            raise RuntimeError("broken")
        return {name: number for number, (name, _, _) in enumerate(ORIGINAL)}

    def snapshots(self) -> Mapping[int, Snapshot]:
        return {0: self.measures.take()}

    async def connect(self) -> RawClient:
        assert self.endpoint.address is not None
        return await RawClient.connect(self.endpoint.address)

    async def ask(self, request: str) -> bytes:
        """The answer to a request, up to the close; LF in the head stands for CRLF."""
        client = await self.connect()
        client.send(request.replace("\n", "\r\n").encode())
        return await rest(client)


async def rest(client: RawClient) -> bytes:
    """Everything up to the close."""
    await client.wait_for(lambda: client.lost or None, "the end of the connection")
    return client.take(len(client.unread))


@asynccontextmanager
async def room(listen: Listen | LocalListen = ANY, mode: int = -1) -> AsyncIterator[Room]:
    opened = Room(listen, mode)
    opened.endpoint.startService()
    try:
        yield opened
    finally:
        stopped = opened.endpoint.stopService()
        if stopped is not None:
            await stopped
        opened.services.stop()
        assert opened.clock.getDelayedCalls() == []
        await turn()


BODY = "".join(
    f"# HELP pp_{name} {text}\n# TYPE pp_{name} {kind}\npp_{name} {number}\n"
    for number, (name, kind, text) in enumerate(ORIGINAL)
)


def answer(status: str, body: str, version: str = "HTTP/1.1", kind: str = "text/plain") -> bytes:
    return (
        f"{version} {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


@pytest.mark.parametrize(
    "request_",
    [
        "GET / HTTP/1.1\n\n",
        "POST /foo HTTP/1.1\nContent-Length: 0\n\n",
        "POST /foo HTTP/1.1\nContent-Length: 3\n\nabc",
        "HEAD /metrics HTTP/1.1\n\n",
        "DELETE /readyz/ HTTP/1.1\n\n",
        "OPTIONS * HTTP/1.1\n\n",
        "BREW /healthzz?a=b HTTP/1.1\nContent-Length: 0\n\n",
    ],
)
@case
async def test_every_path_and_method_has_the_originals_metrics(request_: str) -> None:
    async with room() as opened:
        assert await opened.ask(request_) == answer("200 OK", BODY)


@case
async def test_the_version_is_that_of_the_request() -> None:
    async with room() as opened:
        assert await opened.ask("GET / HTTP/1.0\n\n") == answer("200 OK", BODY, "HTTP/1.0")


@pytest.mark.parametrize("method", ["POST", "PUT", "BREW"])
@case
async def test_a_length_is_required(method: str) -> None:
    async with room() as opened:
        found = await opened.ask(f"{method} / HTTP/1.1\n\n")
        assert found.startswith(b"HTTP/1.1 411 Length Required\r\n")


@pytest.mark.parametrize(("size", "status"), [(8191, b"200 OK"), (8192, b"400 Bad Request")])
@case
async def test_a_head_has_a_limit(size: int, status: bytes) -> None:
    frame = "GET / HTTP/1.1\nX: \n\n"
    padding = "x" * (size - len(frame.replace("\n", "\r\n")))
    async with room() as opened:
        found = await opened.ask(frame.replace("X: ", f"X: {padding}"))
        assert found.startswith(b"HTTP/1.1 " + status + b"\r\n")


@case
async def test_all_metrics_in_one_scrape() -> None:
    async with room() as opened:
        opened.measures.took("delivery", 0.1)
        found = await opened.ask("GET /metrics/all?x HTTP/1.1\n\n")
        head, _, body = found.partition(b"\r\n\r\n")
        assert b"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in head
        assert f"Content-Length: {len(body)}".encode() in head
        text = body.decode()
        assert text.startswith(BODY)
        names = [family.name for family in text_string_to_metric_families(text)]
        assert "pp_pushpin_delivery_seconds" in names
        assert len(set(names)) == len(names)


@case
async def test_health() -> None:
    async with room() as opened:
        assert await opened.ask("GET /healthz HTTP/1.1\n\n") == answer("200 OK", "ok\n")
        assert await opened.ask("GET /readyz HTTP/1.1\n\n") == answer("200 OK", "ready\n")
        opened.troubles = ["stopping", "no listener is open"]
        assert await opened.ask("GET /readyz?x HTTP/1.1\n\n") == answer(
            "503 Service Unavailable", "stopping\nno listener is open\n"
        )
        assert await opened.ask("GET /healthz HTTP/1.1\n\n") == answer("200 OK", "ok\n")


@case
async def test_a_bug_costs_one_scrape() -> None:
    async with room() as opened:
        opened.broken = True
        assert (await opened.ask("GET / HTTP/1.1\n\n")).startswith(b"HTTP/1.1 500 ")
        opened.broken = False
        assert await opened.ask("GET / HTTP/1.1\n\n") == answer("200 OK", BODY)
        assert len(opened.services.stats.failures) == 1


@case
async def test_no_more_than_16_are_served_at_once() -> None:
    async with room() as opened:
        idle = [await opened.connect() for _ in range(16)]
        late = await opened.connect()
        late.send(b"GET / HTTP/1.1\r\n\r\n")
        for _ in range(20):
            await turn()
        assert not late.unread
        idle[0].drop()
        assert await rest(late) == answer("200 OK", BODY)
        for client in idle:
            client.drop()


@case
async def test_a_slow_client_loses_its_place_in_time() -> None:
    async with room() as opened:
        slow = await opened.connect()
        for byte in b"GET / HTT":
            slow.send(bytes([byte]))
            await turn()
            opened.clock.advance(1.0)
        assert not slow.lost
        opened.clock.advance((LIMITS.whole or 0) - 8.0)
        await slow.closed()


@case
async def test_a_unix_socket_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "prom"
    listen = metrics_port((f"ipc://{path}",))
    assert isinstance(listen, LocalListen)
    async with room(listen) as before, room(listen, 0o600) as after:
        assert before.endpoint.address == after.endpoint.address == str(path)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        after.troubles = ["the later one"]
        assert b"the later one" in await after.ask("GET /readyz HTTP/1.1\n\n")
        stopped = before.endpoint.stopService()
        assert stopped is not None
        await stopped
        assert b"the later one" in await after.ask("GET /readyz HTTP/1.1\n\n")
    assert not path.exists()


@case
async def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    opened = Room(LocalListen(str(path)))
    with pytest.raises(CannotListenError):
        opened.endpoint.startService()
    stopped = opened.endpoint.stopService()
    if stopped is not None:
        await stopped
    opened.services.stop()
    assert path.read_text() == "mine"


@case
async def test_a_port_that_is_taken() -> None:
    async with room() as opened:
        assert isinstance(opened.endpoint.address, tuple)
        other = Room(Listen(*opened.endpoint.address))
        with pytest.raises(CannotListenError):
            other.endpoint.startService()
        assert other.endpoint.stopService() is None
        assert other.endpoint.address is None
        other.services.stop()
