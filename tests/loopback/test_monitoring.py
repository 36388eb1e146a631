"""What the running service tells those who run it: metrics of its own, and whether it is ready."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
from prometheus_client.parser import text_string_to_metric_families

from pushpin_tw.stats.journal import Journal
from tests.support.rawclient import RawClient
from tests.support.running import R, S, Settings, refusing
from tests.support.service import ServiceProxy
from tests.support.waiting import until

case = pytest_twisted.ensureDeferred
Samples = dict[str, float]

OPEN: Settings = {
    "handler": {"prometheus_port": "127.0.0.1:0"},
    "proxy": {"prometheus_port": "127.0.0.1:0", "prometheus_prefix": "p_"},
}


class Ops:
    """A service, those who watch it, and a few clients."""

    def __init__(self) -> None:
        self.proxy: ServiceProxy
        self._clients: list[RawClient] = []

    async def start(self, *routes: str, file: Path | None = None) -> None:
        self.proxy = await ServiceProxy.start(file or list(routes), OPEN)

    async def get(self, path: str, proxy: bool = False) -> tuple[int, str]:
        """Status and body of what an endpoint answers."""
        monitoring = self.proxy.service.monitoring
        assert monitoring is not None
        endpoint = monitoring.proxy if proxy else monitoring.handler
        assert endpoint is not None and endpoint.address is not None
        client = await RawClient.connect(endpoint.address)
        client.request(path)
        answer = await client.read_response()
        await client.closed()
        return answer.status, answer.body.decode()

    async def samples(self, proxy: bool = False) -> Samples:
        """All metrics, each with its labels as ``name{route=x}``; the worker is always 0.

        The parser puts ``_total`` behind the names of all counters.
        """
        found = {}
        for family in text_string_to_metric_families((await self.get("/metrics/all", proxy))[1]):
            for sample in family.samples:
                labels = dict(sample.labels)
                assert labels.pop("worker", "0") == "0"
                words = ",".join(f"{key}={value}" for key, value in labels.items())
                found[f"{sample.name}{{{words}}}" if words else sample.name] = sample.value
        return found

    async def ask(self, path: str) -> RawClient:
        """A client that has sent a request."""
        client = await RawClient.connect(self.proxy.address)
        self._clients.append(client)
        client.request(path)
        return client

    async def clear(self) -> None:
        for client in self._clients:
            if not client.lost:
                client.drop()
        await self.proxy.stop()


@pytest_twisted.async_yield_fixture
async def ops() -> AsyncIterator[Ops]:
    opened = Ops()
    yield opened
    await opened.clear()


@case
async def test_what_there_is(ops: Ops) -> None:
    await ops.start("* test")
    for path in ("/stream?channel=c", "/stream?channel=c", "/response?channel=d"):
        await ops.ask(path)
    await ops.proxy.held("c", 2)
    await ops.proxy.held("d", 1)
    found = await ops.samples()
    assert found["pushpin_clients"] == 3
    assert found["pushpin_channels"] == 2
    assert [found[f"pushpin_holds{{kind={kind}}}"] for kind in ("response", "stream", "ws")] == [1, 2, 0]
    assert [found[f"pushpin_subscriptions{{kind={kind}}}"] for kind in ("response", "stream", "ws")] == [
        1,
        2,
        0,
    ]
    await ops.proxy.publish("d", {R: {"body": "x"}})
    await ops.proxy.held("d", 0)
    found = await ops.samples()
    assert found["pushpin_holds{kind=response}"] == 0
    assert found["pushpin_channels"] == 2  # it lingers


@case
async def test_how_long_deliveries_take(ops: Ops) -> None:
    await ops.start("* test")
    for _ in range(100):
        await ops.ask("/stream?channel=c")
    await ops.proxy.held("c", 100)
    before = await ops.samples()
    assert before["pushpin_delivery_seconds_count"] == 0
    # 2500 a second: 63 at once, the others after 25 ms.
    await ops.proxy.post([{"channel": "c", "formats": {S: {"content": "x"}}}])
    await until(lambda: ops.proxy.service.broker.deliveries == 37, "the first turn")
    assert (await ops.samples())["pushpin_deliveries_waiting"] == 37
    ops.proxy.clock.advance(0.025)
    found = await ops.samples()
    assert found["pushpin_deliveries_waiting"] == 0
    assert found["pushpin_delivery_seconds_bucket{le=0.0005}"] == 63
    assert found["pushpin_delivery_seconds_bucket{le=0.05}"] == 100
    assert found["pushpin_delivery_seconds_count"] == 100
    assert round(found["pushpin_delivery_seconds_sum"], 3) == 37 * 0.025
    assert found["message_sent_total"] == 100


@case
async def test_backends(ops: Ops) -> None:
    with refusing() as down:
        await ops.start("*,id=up test", f"down.example,id=down {down}", "plain.example test")
        await (await ops.ask("/")).read_response()
        for host in ("down.example", "down.example", "plain.example"):
            client = await ops.ask("/")
            await client.read_response()
            client.request("/", host=host)
            await client.read_response()
    found = await ops.samples()
    assert found["pushpin_origin_seconds_count{route=up}"] == 4
    assert found["pushpin_origin_seconds_count{route=}"] == 1
    assert found["pushpin_origin_errors_total{route=down}"] == 2
    assert "pushpin_origin_errors_total{route=up}" not in found


@case
async def test_what_is_dropped(ops: Ops) -> None:
    await ops.start("* test")
    await ops.ask("/stream?channel=c")
    await ops.proxy.held("c")
    assert (await ops.samples())["pushpin_dropped_total{reason=items-repeated}"] == 0
    for _ in range(3):
        await ops.proxy.publish("c", {S: {"content": "x"}}, id="1")
    assert (await ops.samples())["pushpin_dropped_total{reason=items-repeated}"] == 2


@case
async def test_the_proxy_part_counts_no_messages(ops: Ops) -> None:
    await ops.start("* test")
    await ops.ask("/stream?channel=c")
    await ops.proxy.held("c")
    await ops.proxy.publish("c", {S: {"content": "x"}})
    whole, part = await ops.samples(), await ops.samples(proxy=True)
    names = ("request_received_total", "connection_connected", "connection_minute_total")
    assert [whole[name] for name in names] == [part[f"p_{name}"] for name in names] == [1, 1, 1]
    assert [whole[name] for name in ("message_received_total", "message_sent_total")] == [1, 1]
    assert [part[name] for name in ("p_message_received_total", "p_message_sent_total")] == [0, 0]
    assert (await ops.get("/healthz", proxy=True)) == (200, "ok\n")


@case
async def test_ready_while_there_are_routes_and_listeners(ops: Ops, tmp_path: Path) -> None:
    file = tmp_path / "routes"
    file.write_text("* test\n")
    await ops.start(file=file)
    assert await ops.get("/readyz") == (200, "ready\n")
    file.unlink()
    ops.proxy.service.reload()
    assert await ops.get("/readyz") == (503, "routes file cannot be read\n")
    file.write_text("# none\n")
    ops.proxy.service.reload()
    assert await ops.get("/readyz") == (503, "there are no routes\n")
    file.write_text("* test\n")
    ops.proxy.service.reload()
    assert await ops.get("/readyz") == (200, "ready\n")
    await ops.proxy.service.listeners.stopService()
    assert await ops.get("/readyz") == (503, "no clients are let in\n")
    assert await ops.get("/healthz") == (200, "ok\n")


@case
async def test_nothing_is_measured_where_nobody_can_ask() -> None:
    proxy = await ServiceProxy.start(["* test"], {})
    assert proxy.service.monitoring is None
    assert proxy.service.lent.measures is None
    assert isinstance(proxy.service.stats, Journal)
    await proxy.stop()
