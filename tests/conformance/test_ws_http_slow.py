"""Clients over HTTP that do not read (websocket 4.7; websocket 10, 47 and 114 as far as they exist there)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.wsbackend import asked_events, events, opening
from tests.support.wsclient import HANDSHAKE, SocketClient
from tests.support.wspeer import BINARY
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

MUCH = b"x" * 900_000
ROUNDS = 30
"""More answers than any buffers of the kernel hold."""


async def deaf(scene: SocketStage) -> SocketClient:
    """A client that does not read, nor does the kernel for it."""
    raw = await scene.client(receive_buffer=4096)
    raw.request("/", *HANDSHAKE)
    client = await SocketClient.switched(raw)
    raw.pause()
    return client


async def asked_until_full(scene: SocketStage, client: SocketClient) -> int:
    """Let the client ask for more and more; returns how often the backend was asked for it."""
    for count in range(ROUNDS):
        client.text(b"%d" % count)
        for _ in range(20):  # an answer takes its time
            if len(scene.origin.requests) < count + 2:
                await scene.proxy.settle()
        if len(scene.origin.requests) < count + 2:
            return count
    raise AssertionError("it was asked all the time")


@pytest.mark.differs("1.36 falls silent at so much")
@case
async def test_ws_047_the_backend_is_not_asked_for_more(scene: SocketStage) -> None:
    """While the client does not read; nothing is lost."""
    subscribed = ("TEXT", b'c:{"type":"subscribe","channel":"c"}')
    await scene.start_h(opening(subscribed), events(("BINARY", b"m:" + MUCH)))
    client = await deaf(scene)
    await scene.proxy.held("c")
    count = await asked_until_full(scene, client)
    await scene.say(members={"action": "refresh"})
    await scene.proxy.settle()
    assert len(scene.origin.requests) == count + 1
    client.raw.resume()
    for _ in range(count):
        await client.expect(BINARY, MUCH)
    # What was said meanwhile is said now, and that is occasion enough.
    assert await asked_events(scene.origin, count + 2) == [("TEXT", b"%d" % count)]
    await client.expect(BINARY, MUCH)
    await scene.proxy.settle()
    assert len(scene.origin.requests) == count + 2


@pytest.mark.differs("1.36 falls silent at so much")
@case
async def test_ws_047_a_client_that_never_reads_vanishes(scene: SocketStage) -> None:
    """The backend is told, whatever waits for the client."""
    await scene.start_h(opening(), events(("BINARY", b"m:" + MUCH)))
    client = await deaf(scene)
    count = await asked_until_full(scene, client)
    client.drop()
    assert await asked_events(scene.origin, count + 2) == [("DISCONNECT", None)]
