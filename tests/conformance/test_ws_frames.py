"""Frames between a client and a WebSocket target (websocket 10, 28 to 49)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.wspeer import BINARY, PING, TEXT
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param(TEXT, "hällo".encode(), id="ws_028-text"),
        pytest.param(BINARY, b"\x00\xff\x80", id="ws_028-binary"),
        pytest.param(TEXT, b"", id="ws_028-empty"),
    ],
)
@case
async def test_round_trip(scene: SocketStage, kind: int, data: bytes) -> None:
    await scene.start_w(extensions="")
    client, backend = await scene.open()
    client.frame(kind, data)
    frame = await backend.read_frame()
    assert (frame.kind, frame.data, frame.masked) == (kind, data, True)
    backend.frame(kind, data)
    frame = await client.read_frame()
    assert (frame.kind, frame.data, frame.masked) == (kind, data, False)


@case
async def test_ws_029_ping_is_not_answered_here(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.ping(b"pp")
    await backend.expect(PING, b"pp")
    await scene.nothing(client, backend)
