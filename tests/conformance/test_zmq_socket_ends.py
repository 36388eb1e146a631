"""How WebSockets of workers on ZeroMQ end, and those over HTTP (zeromq 2.6, 2.9, 2.10)."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from tests.support.wsclient import SocketClient
from tests.support.wspeer import CLOSE
from tests.support.zhttpscene import Workplace
from tests.support.zsocket import Session, asked, opened, settled

case = pytest_twisted.ensureDeferred


@case
async def test_zmq_096_the_worker_ends_it(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, session = await opened(workplace, worker)
    session.text("last words")
    session.say(type="close", code=4001, body="bye")
    await client.expect_text("last words")
    await client.expect_close(4001, b"bye")
    await session.granted(10)
    client.close(4003, b"you, too")
    await session.expect(type=b"close", code=4003, body=b"you, too")
    await client.gone()
    await settled(workplace, worker)


@pytest.mark.differs("what comes behind close is passed on before it")
@case
async def test_words_behind_close(workplace: Workplace) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    session.say(type="close", code=4001)
    session.text("too late")
    session.say(type="close", code=4002)
    await client.expect_close(4001)
    client.close(4001)
    await session.expect(type=b"close", code=4001)
    await client.gone()


@pytest.mark.parametrize("fields", [{}, {"body": "reason"}])
@case
async def test_zmq_096_the_worker_gives_no_code(workplace: Workplace, fields: dict[str, Any]) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    session.say(fields, type="close")
    await client.expect_close(1000)


@pytest.mark.differs("any code is written as it is, and a reason that is too long ends the connection")
@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"code": 0}, 1000, b""),
        ({"code": 999}, 1000, b""),
        ({"code": 1005, "body": "x"}, 1000, b""),
        ({"code": 70_000}, 1000, b""),
        ({"code": -4001}, 1000, b""),
        ({"code": 4001, "body": "ö" * 100}, 4001, "ö".encode() * 61),
        ({"code": 4001, "body": b"a\xff"}, 4001, "a\ufffd".encode()),
    ],
)
@case
async def test_codes_and_reasons_for_the_client(
    workplace: Workplace, fields: dict[str, Any], code: int, reason: bytes
) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    session.say(fields, type="close")
    await client.expect_close(code, reason)


@case
async def test_zmq_097_the_client_ends_it(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, session = await opened(workplace, worker)
    client.close(4002, b"cya")
    await session.expect(type=b"close", code=4002, body=b"cya")
    session.say(type="close", code=4002, body="ok")
    await client.expect_close(4002, b"ok")
    await client.gone()
    await settled(workplace, worker)


@pytest.mark.differs("credits are not given back any more")
@case
async def test_words_behind_the_clients_close(workplace: Workplace) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    client.close(4002, b"cya")
    await session.expect(type=b"close", code=4002, body=b"cya")
    session.text("but")
    await client.expect_text("but")
    await session.granted(3)
    session.say(type="close", code=4002)
    await client.expect_close(4002)


@pytest.mark.parametrize("credits", [None, 1000])
@case
async def test_zmq_098_without_a_code(workplace: Workplace, credits: int | None) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker(), credits=credits)
    client.close()
    await session.expect(type=b"close")
    session.say(type="close")
    await client.expect_close(1000)
    await client.gone()


@pytest.mark.parametrize("within", [False, True])
@case
async def test_zmq_099_the_client_goes(workplace: Workplace, within: bool) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, session = await opened(workplace, worker)
    if within:
        session.text("begun", more=True)
        await session.granted(5)
    client.drop()
    await session.expect(type=b"cancel")
    session.text("nobody hears this")
    await settled(workplace, worker)


@case
async def test_a_client_that_goes_while_its_words_wait(workplace: Workplace) -> None:
    proxy = await workplace.begin()
    client, session = await opened(workplace, await workplace.worker(), credits=None)
    client.text("unheard")
    await proxy.settle()
    client.drop()
    await session.expect(type=b"cancel")


@pytest.mark.parametrize("fields", [{"seq": 7}, {"seq": 0}, {"seq": None}, {"seq": 7, "type": "keep-alive"}])
@case
async def test_zmq_104_a_wrong_number(workplace: Workplace, fields: dict[str, Any]) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, session = await opened(workplace, worker)
    session.say(fields)
    await client.gone()
    await session.expect(type=b"cancel")
    await settled(workplace, worker)


@pytest.mark.parametrize(
    "fields",
    [{"type": "error"}, {"type": "error", "condition": "rejected", "seq": 9}, {"type": "cancel"}],
)
@case
async def test_zmq_105_the_worker_breaks_off(workplace: Workplace, fields: dict[str, Any]) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, session = await opened(workplace, worker)
    session.say(fields)
    await client.gone()
    await settled(workplace, worker)


@case
async def test_zmq_106_silence(workplace: Workplace) -> None:
    proxy = await workplace.begin()
    worker = await workplace.worker()
    client, session = await opened(workplace, worker)
    await proxy.advance(46)
    await session.expect(type=b"keep-alive")
    assert not client.raw.lost
    await proxy.advance(15)
    await client.gone()
    await settled(workplace, worker)


@case
async def test_zmq_106_keep_alives_of_the_worker(workplace: Workplace) -> None:
    """The client's words do not count, the worker's do."""
    proxy = await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    for _ in range(4):
        await proxy.advance(40)
        session.say(type="keep-alive")
        await proxy.settle()
    packets = [await session.told() for _ in range(3)]
    assert packets == [{"type": b"keep-alive"}] * 3
    client.text("still there")
    await session.expect_text(b"still there")
    await proxy.advance(61)
    await client.gone()


@case
async def test_a_worker_that_never_answers_close(workplace: Workplace) -> None:
    """Though it lives: there is a limit to what it may wait for."""
    proxy = await workplace.begin(tw={"close_timeout": 100})
    worker = await workplace.worker()
    client, session = await opened(workplace, worker)
    client.close(1000)
    await session.expect(type=b"close", code=1000)
    for _ in range(2):
        await proxy.advance(40)
        session.say(type="keep-alive")
        await proxy.settle()
    await session.expect(type=b"keep-alive")
    await proxy.advance(21)
    await session.expect(type=b"keep-alive")
    await session.expect(type=b"cancel")


@pytest.mark.differs("the worker is not told")
@pytest.mark.parametrize("kind", ["ping", "pong"])
@case
async def test_pings_that_no_frame_can_carry(workplace: Workplace, kind: str) -> None:
    await workplace.begin()
    client, session = await opened(workplace, await workplace.worker())
    session.say(type=kind, body="x" * 126)
    await client.gone()
    await session.expect(type=b"cancel")


@case
async def test_a_flood_has_a_limit(workplace: Workplace) -> None:
    """A worker that pays no heed to credits is cut off before the memory is full."""
    proxy = await workplace.begin(tw={"write_buffer": 4096})
    worker = await workplace.worker()
    client, session = await opened(workplace, worker)
    client.raw.pause()
    data = b"x" * 500_000
    told: dict[str, Any] = {}
    for _ in range(60):
        session.say({"content-type": "binary", "body": data})
        await proxy.settle()
        while worker.router.unread and told.get("type") != b"cancel":
            told = await session.told()
    assert told == {"type": b"cancel"}
    client.drop()
    await settled(workplace, worker)


@case
async def test_what_waits_comes_before_close(workplace: Workplace) -> None:
    """A client that reads late gets everything."""
    proxy = await workplace.begin(tw={"write_buffer": 4096})
    client, session = await opened(workplace, await workplace.worker())
    client.raw.pause()
    data = b"x" * 100_000
    for _ in range(60):
        session.say({"content-type": "binary", "body": data})
        await proxy.settle()
    session.say(type="close", code=4000)
    await proxy.settle()
    client.raw.resume()
    for _ in range(60):
        assert (await client.read()).data == data
    await client.expect_close(4000)


@case
async def test_the_sender_of_the_last_packet_is_told(workplace: Workplace) -> None:
    """A session may move on to another worker, as far as the address goes (zeromq 2.8)."""
    proxy = await workplace.begin()
    worker = await workplace.worker()
    other = workplace.shop.idle(workplace.a, "V")
    await other.router.joined()
    client, session = await opened(workplace, worker)
    client.text("one")
    await session.expect_text(b"one")
    session.say({"from": "V"}, type="keep-alive")
    session.say({"from": None}, type="keep-alive")
    await proxy.settle()
    client.text("two")
    packet = await other.told()
    assert (packet["id"], packet["seq"], packet["body"]) == (session.asked["id"], 2, b"two")


@case
async def test_zmq_109_over_http(workplace: Workplace) -> None:
    await workplace.begin(f"*,path_beg=/o/ zhttp/{workplace.a},over_http")
    worker = await workplace.worker()
    raw, session = await asked(workplace, worker, "/o/ws")
    headers = dict(session.asked["headers"])
    assert (session.asked["method"], session.asked["more"]) == (b"POST", True)
    assert session.asked["uri"].startswith(b"http://") and "body" not in session.asked
    assert headers[b"Content-Length"] == b"6"
    assert headers[b"Content-Type"] == b"application/websocket-events"
    session.say(type="credit", credits=100)
    await session.expect(body=b"OPEN\r\n")
    events = {"headers": [("Content-Type", "application/websocket-events")]}
    session.say(events, code=200, reason="OK", body="OPEN\r\nTEXT 2\r\nhi\r\n")
    client = await SocketClient.switched(raw)
    await client.expect_text("hi")
    client.text("hello")
    session = Session(worker, await worker.asked())
    assert session.asked["more"] is True and "body" not in session.asked
    session.say(type="credit", credits=8)
    await session.expect(body=b"TEXT 5\r\n", more=True)
    session.say(type="credit", credits=100)
    await session.expect(body=b"hello\r\n")
    session.say(events, code=200, reason="OK", body=b"CLOSE 2\r\n\x03\xe8\r\n")
    frame = await client.read_frame()
    assert (frame.kind, frame.data) == (CLOSE, b"\x03\xe8")


@case
async def test_zmq_109_requests_of_clients_carry_their_bodies(workplace: Workplace) -> None:
    await workplace.begin(f"*,path_beg=/o/ zhttp/{workplace.a},over_http")
    worker = await workplace.worker()
    client, packet = await workplace.session(worker, "/o/a", method="POST", body=b"abc")
    assert packet["body"] == b"abc" and "more" not in packet
    worker.answer(packet, b"fine")
    await workplace.answered(client, b"fine")
