"""What Prometheus reads (zeromq 6)."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted

from tests.support.origin import hold
from tests.support.rawclient import RawClient
from tests.support.running import S, free_port
from tests.support.stage import Stage

case = pytest_twisted.ensureDeferred

NAMES = ("request_received", "connection_connected", "connection_minute", "message_received", "message_sent")
KINDS = ("counter", "gauge", "counter", "counter", "counter")
TEXTS = (
    "Number of requests received",
    "Number of concurrent connections",
    "Number of minutes clients have been connected",
    "Number of messages received by the publish API",
    "Number of messages sent to clients",
)
INTERVAL = 10
"""Seconds between reports."""


async def scrape(
    stage: Stage, address: tuple[str, int] | str, request: str = "GET /metrics HTTP/1.1\n\n"
) -> tuple[list[str], list[str]]:
    """The lines of the head and of the body."""
    client: RawClient = await stage.connect(address)
    client.send(request.replace("\n", "\r\n").encode())
    await client.wait_for(lambda: client.lost or None, "the end of the connection")
    head, _, body = client.take(len(client.unread)).decode().partition("\r\n\r\n")
    assert body.endswith("\n")
    return head.split("\r\n"), body.splitlines()


def values(lines: list[str]) -> dict[str, int]:
    """What the metrics are, by name."""
    pairs = [line.split(" ") for line in lines if not line.startswith("#")]
    return {name: int(value) for name, value in pairs}


async def until_they_are(stage: Stage, address: tuple[str, int], *expected: int) -> None:
    """Scrape until the values, in the order of ``NAMES``, are these."""
    found: dict[str, int] = {}
    for _ in range(2 * INTERVAL):
        found = values((await scrape(stage, address))[1])
        if found == dict(zip(NAMES, expected, strict=True)):
            return
        await stage.proxy.advance(1)
    raise AssertionError(f"{found} instead of {expected}")


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param("GET / HTTP/1.1\n\n", id="zmq_177-get"),
        pytest.param("POST /foo HTTP/1.1\nContent-Length: 0\n\n", id="zmq_177-post"),
        pytest.param("HEAD /metrics HTTP/1.1\n\n", id="zmq_177-head"),
    ],
)
@case
async def test_zmq_177_the_lines(stage: Stage, request_: str) -> None:
    address = ("127.0.0.1", free_port())
    port = f"{address[0]}:{address[1]}"
    await stage.start(handler={"prometheus_port": port, "prometheus_prefix": "pp_"})
    head, body = await scrape(stage, address, request_)
    assert head[0] == "HTTP/1.1 200 OK"
    assert {"Content-Type: text/plain", "Connection: close"} <= set(head)
    assert len(body) == 15
    for number, (name, kind, text) in enumerate(zip(NAMES, KINDS, TEXTS, strict=True)):
        assert body[3 * number : 3 * number + 3] == [
            f"# HELP pp_{name} {text}",
            f"# TYPE pp_{name} {kind}",
            f"pp_{name} 0",
        ]


@case
async def test_zmq_178_zmq_179_what_they_count(stage: Stage) -> None:
    address = ("127.0.0.1", free_port(""))
    await stage.start(
        lambda _: hold("stream", channel="c"),
        handler={"prometheus_port": address[1], "stats_report_interval": INTERVAL},
    )
    clients = [await stage.ask("/") for _ in range(2)]
    for client in clients:
        await client.read_head()
    await stage.proxy.held("c", 2)
    await stage.proxy.publish("c", {S: {"content": "x"}})
    await stage.proxy.publish("nobody", {S: {"content": "x"}})
    await until_they_are(stage, address, 2, 2, 2, 2, 2)
    for client in clients:
        client.drop()
    await stage.proxy.held("c", 0)
    await stage.proxy.advance(INTERVAL)
    await until_they_are(stage, address, 2, 0, 2, 2, 2)


@case
async def test_zmq_180_a_unix_socket(stage: Stage, tmp_path: Path) -> None:
    await stage.start(handler={"prometheus_port": f"ipc://{tmp_path}/prom"})
    assert set(values((await scrape(stage, f"{tmp_path}/prom"))[1])) == set(NAMES)


@case
async def test_zmq_180_a_port_has_no_offset(stage: Stage) -> None:
    port = free_port("")
    await stage.start(**{"global": {"port_offset": 400}}, handler={"prometheus_port": port})
    assert set(values((await scrape(stage, ("127.0.0.1", port)))[1])) == set(NAMES)
