"""Several proxies and several publishers on both sides of the broker of the examples."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
import zmq

from tests.rules.documents import ROOT
from tests.support.rawclient import BodyReader, RawClient
from tests.support.service import ServiceProxy
from tests.support.waiting import until
from tests.support.zmqscene import packed, streamed

BROKER = ROOT / "examples" / "zmq_broker.py"
OPENED = b"[stream opened]\n"


@pytest_twisted.async_yield_fixture
async def proxies(tmp_path: Path) -> AsyncIterator[list[ServiceProxy]]:
    """Two, connected to the broker; the addresses are in the directory of the test."""
    addresses = [f"ipc://{tmp_path}/{side}" for side in ("publishers", "proxies")]
    handler = {"message_rate": -1, "push_in_sub_specs": addresses[1], "push_in_sub_connect": "true"}
    running = [await ServiceProxy.start(["* test"], {"handler": handler}) for _ in range(2)]
    broker = subprocess.Popen([sys.executable, str(BROKER), *addresses])
    yield running
    broker.kill()
    broker.wait()
    for proxy in running:
        await proxy.stop()


async def listen(proxy: ServiceProxy, channel: str) -> tuple[RawClient, BodyReader]:
    client = await proxy.client()
    client.request(f"/stream?channel={channel}")
    body = client.body(await client.read_head())
    await body.expect(OPENED)
    return client, body


async def told(publisher: zmq.Socket[bytes], count: int) -> list[bytes]:
    """What a publisher hears first."""
    came = []
    for _ in range(count):
        await until(lambda: bool(publisher.poll(0)), f"{count} subscriptions, after {came}")
        came.append(publisher.recv())
    return sorted(came)


@pytest_twisted.ensureDeferred
async def test_what_any_publisher_sends_reaches_every_proxy_that_wants_it(
    proxies: list[ServiceProxy], tmp_path: Path
) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    publishers = [context.socket(zmq.XPUB) for _ in range(2)]
    for publisher in publishers:
        publisher.connect(f"ipc://{tmp_path}/publishers")
    listeners = [await listen(proxy, "news") for proxy in proxies]
    # The channels of these come behind it, and show that the broker knows who listens to news.
    others = [await listen(proxy, f"mark-{number}") for number, proxy in enumerate(proxies)]
    for publisher in publishers:
        assert await told(publisher, 3) == [b"\1mark-0", b"\1mark-1", b"\1news"]
    for number, publisher in enumerate(publishers):
        publisher.send_multipart([b"other", packed(streamed("nobody's\n", None))])
        publisher.send_multipart([b"news", packed(streamed(f"item {number}\n", None), "J")])
        for _, body in listeners:
            await body.expect(f"item {number}\n".encode())
    for client, _ in [*listeners, *others]:
        client.drop()
    context.destroy(linger=0)
