"""How WebSockets end, with CLOSE and without (websocket 10, 39 and 42 to 46; websocket 1.8)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.wsbackend import BackendSocket
from tests.support.wsclient import SocketClient
from tests.support.wspeer import BINARY, CLOSE, CONTINUATION, TEXT
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

LENIENT = {"websocket_lenient": "true"}
WITHIN = pytest.mark.parametrize("within", [False, True], ids=["idle", "within"])


async def ended(scene: SocketStage, client: SocketClient, backend: BackendSocket) -> None:
    """Both connections end: the client's at once, the backend's if need be after a moment that it has to do
    so itself (RFC 6455, 7.1.1)."""
    await client.gone()
    await scene.proxy.advance(2)
    await backend.gone()


@pytest.mark.differs("the release at hand passes no code as none")
@case
async def test_ws_039_close_without_a_code(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.close()
    await backend.expect_close(1000)
    backend.close(1000)
    await client.expect_close(1000)
    await ended(scene, client, backend)


@pytest.mark.differs("the release at hand passes no code as none")
@case
async def test_ws_039_close_of_one_byte(scene: SocketStage) -> None:
    await scene.start_w(tw=LENIENT)
    client, backend = await scene.open()
    client.frame(CLOSE, b"x")
    await backend.expect_close(1000)
    backend.frame(CLOSE, b"y")
    await client.expect_close(1000)
    await client.gone()


@pytest.mark.differs("the reference is lenient")
@case
async def test_ws_039_close_of_one_byte_by_the_rules(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.frame(CLOSE, b"x")
    frame = await client.read_frame()
    assert (frame.kind, frame.data[:2]) == (CLOSE, (1002).to_bytes(2, "big"))
    await ended(scene, client, backend)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4321, 4999])
@case
async def test_ws_039_codes_and_reasons_pass(scene: SocketStage, code: int) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.close(code, b"bye")
    await backend.expect_close(code, b"bye")
    backend.close(code, b"bye")
    await client.expect_close(code, b"bye")
    await ended(scene, client, backend)


@case
async def test_ws_039_a_long_reason(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    reason = "ö".encode() * 61 + b"x"
    client.close(4000, reason)
    await backend.expect_close(4000, reason)
    backend.close(4001, b"")
    await client.expect_close(4001)
    await client.gone()


@WITHIN
@case
async def test_ws_042_the_client_goes(scene: SocketStage, within: bool) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    if within:
        client.frame(TEXT, b"half", fin=False)
        frame = await backend.read_frame()
        assert (frame.data, frame.fin) == (b"half", False)
    client.drop()
    await backend.gone()


@pytest.mark.differs("the release at hand loses the last words")
@WITHIN
@case
async def test_ws_042_the_client_ends(scene: SocketStage, within: bool) -> None:
    """FIN instead of RST; what was said before still passes."""
    await scene.start_w()
    client, backend = await scene.open()
    client.text("last words")
    if within:
        client.frame(BINARY, b"abcd", announced=2**40)
    client.end()
    await backend.expect_text("last words")
    if within:
        assert (await backend.read_frame()).data == b"abcd"
    await backend.gone()


@WITHIN
@case
async def test_ws_043_the_backend_goes(scene: SocketStage, within: bool) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    if within:
        backend.frame(TEXT, b"m:half", fin=False)
        frame = await client.read_frame()
        assert (frame.data, frame.fin) == (b"half", False)
    backend.drop()
    await client.gone()


@case
async def test_ws_044_the_backend_closes(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.close(4000, b"why")
    await client.expect_close(4000, b"why")
    await scene.quiet(client, backend)
    client.close(4001, b"mine")
    await backend.expect_close(4001, b"mine")
    await ended(scene, client, backend)


@pytest.mark.differs("the release at hand passes no code as none")
@case
async def test_ws_044_data_before_the_answer(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.close(4000)
    await client.expect_close(4000)
    client.text("late")
    client.close()
    await backend.expect_text("late")
    await backend.expect_close(1000)
    await ended(scene, client, backend)


@pytest.mark.differs("the release at hand drops the client")
@case
async def test_ws_044_the_backend_closes_and_goes(scene: SocketStage) -> None:
    """The client's connection stays until it has answered."""
    await scene.start_w()
    client, backend = await scene.open()
    backend.close(4000, b"why")
    backend.end()
    await client.expect_close(4000, b"why")
    await scene.quiet(client)
    client.close(4000)
    await client.gone()


@case
async def test_ws_045_both_close(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.close(4001)
    backend.close(4002)
    await client.expect_close(4002)
    await backend.expect_close(4001)
    await ended(scene, client, backend)


@pytest.mark.differs("the release at hand loses the last words")
@case
async def test_ws_046_data_behind_the_clients_close(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.close(4001)
    await backend.expect_close(4001)
    backend.text("m:late")
    backend.close(4001)
    await client.expect_text("late")
    await client.expect_close(4001)
    await client.gone()


@case
async def test_ws_046_frames_behind_close_are_not_looked_at(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.close(4001)
    client.text("too late")
    client.frame(CONTINUATION, b"and wrong")
    await backend.expect_close(4001)
    backend.close(4001)
    await client.expect_close(4001)
    await ended(scene, client, backend)


@case
async def test_ws_046_the_backend_goes_without_an_answer(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    client.close(4001)
    await backend.expect_close(4001)
    backend.end()
    await client.gone()


@pytest.mark.differs("the reference has no limit but that of idle connections")
@case
async def test_ws_044_a_client_that_never_answers(scene: SocketStage) -> None:
    await scene.start_w(tw={"close_timeout": 120})
    client, backend = await scene.open()
    backend.close(4000)
    await client.expect_close(4000)
    await scene.proxy.advance(119)
    await scene.quiet(client, backend)
    await scene.proxy.advance(5)
    await ended(scene, client, backend)
