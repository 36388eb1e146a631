"""Long bodies, slow peers, and who leaves when, with streaming workers (zeromq 2.6, 2.7, 2.11)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import pytest_twisted

from tests.support.rawclient import RawClient
from tests.support.running import S
from tests.support.waiting import turn, until
from tests.support.zhttpscene import GENERIC, Workplace
from tests.support.zworker import Packet, Worker, pack

case = pytest_twisted.ensureDeferred
BODY = (bytes(range(256)) * 1758)[:450_000]


async def told_data(worker: Worker, seq: int) -> Packet:
    """The next packet, which has body bytes."""
    told = await worker.told()
    assert told["seq"] == seq
    assert "type" not in told
    return told


async def upload(workplace: Workplace, size: int, path: str = "/s/a") -> tuple[RawClient, Packet, Worker]:
    """A client who posts so many bytes, and the worker who got the first of them."""
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker, path, method="POST", body=BODY[:size])
    assert asked["body"] == BODY[:200_000]
    assert asked["more"] is True
    return client, asked, worker


# ---- uploads -----------------------------------------------------------------------------------------------


@case
async def test_zmq_025_an_upload_goes_as_far_as_granted(workplace: Workplace) -> None:
    client, asked, worker = await upload(workplace, 450_000)
    await workplace.proxy.settle()
    assert not worker.router.unread
    sent = asked["body"]
    for seq, size in ((1, 100_000), (2, 100_000), (3, 50_000)):
        worker.reply(asked, type="credit", credits=100_000)
        told = await told_data(worker, seq)
        assert len(told["body"]) == size
        assert told.get("more") is (True if seq < 3 else None)
        sent += told["body"]
    assert sent == BODY
    worker.answer(asked, b"thanks")
    await workplace.answered(client, b"thanks")
    await workplace.untold(worker)


@case
async def test_zmq_025_credits_may_come_with_data(workplace: Workplace) -> None:
    """The response begins early, and goes to the client when all of the request has left."""
    client, asked, worker = await upload(workplace, 300_000)
    worker.reply(asked, code=200, reason="OK", body="early ", more=True, credits=60_000)
    assert len((await told_data(worker, 1))["body"]) == 60_000
    await workplace.silent(client)
    worker.reply(asked, body="too ", more=True, credits=1_000_000)
    assert "more" not in await told_data(worker, 2)
    body = client.body(await client.read_head())
    await body.expect(b"early too ")
    worker.reply(asked, body="late")
    assert await body.rest() == b"late"


@case
async def test_zmq_026_credits_with_other_packets_mean_nothing(workplace: Workplace) -> None:
    _, asked, worker = await upload(workplace, 400_000)
    worker.reply(asked, type="keep-alive", credits=50)
    worker.reply(asked, type="credit", credits=1000)
    told = await told_data(worker, 1)
    assert told["body"] == BODY[200_000:201_000]
    await workplace.proxy.settle()
    assert not worker.router.unread


@case
async def test_zmq_027_a_worker_without_address_gets_no_upload(workplace: Workplace) -> None:
    client, asked, worker = await upload(workplace, 450_000)
    worker.reply(asked, {"from": None}, type="credit", credits=100_000)
    await workplace.failed(client)
    await workplace.untold(worker)


@case
async def test_zmq_028_an_answer_ends_the_upload(workplace: Workplace) -> None:
    client, asked, worker = await upload(workplace, 450_000)
    worker.answer(asked, b"no", code=403)
    await workplace.answered(client, b"no", 403)
    await workplace.untold(worker)


@case
async def test_an_upload_that_takes_its_time(workplace: Workplace) -> None:
    """A worker is asked before all of a slow body is there, and gets its end without credits for it."""
    await workplace.begin()
    worker = await workplace.worker()
    client = await workplace.client()
    client.send(b"POST /s/a HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"4e20\r\n" + BODY[:20_000] + b"\r\n")
    await workplace.proxy.time_until(lambda: worker.pull.unread, 5)
    asked = await worker.asked()
    assert asked["body"] == BODY[:20_000]
    assert asked["more"] is True
    worker.reply(asked, type="credit", credits=5)
    client.send(b"5\r\n12345\r\n")
    told = await told_data(worker, 1)
    assert (told["body"], told["more"]) == (b"12345", True)
    client.send(b"0\r\n\r\n")
    told = await told_data(worker, 2)
    assert told.keys() == {"from", "id", "seq"}
    worker.answer(asked, b"ok")
    await workplace.answered(client, b"ok")


# ---- responses ---------------------------------------------------------------------------------------------


@case
async def test_zmq_043_more_than_granted(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    worker.answer(asked, BODY[:300_000])
    await workplace.answered(client, BODY[:300_000])


def stream(worker: Worker, asked: Packet, total: int) -> tuple[Callable[[], int], Callable[[], int]]:
    """Sends as fast as credits allow, at each call of the first function; both tell how much so far: what was
    sent, and what was granted anew."""
    worker.reply(asked, code=200, reason="OK", more=True)
    count = {"sent": 0, "granted": 0}

    def sent() -> int:
        while worker.router.unread:
            _, _, frame = worker.router.plain.recv_multipart()
            marker = frame.rindex(b"7:credits,")
            count["granted"] += int(frame[marker + 10 :].partition(b":")[2].partition(b"#")[0])
        while count["sent"] < min(total, 200_000 + count["granted"]):
            size = min(total, 200_000 + count["granted"]) - count["sent"]
            piece = (BODY * 2)[count["sent"] % 256 :][: min(size, 50_000)]
            count["sent"] += len(piece)
            worker.reply(asked, body=piece, more=True)
        return count["sent"]

    return sent, lambda: count["granted"]


@case
async def test_zmq_044_a_client_that_does_not_read_stops_the_worker(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client = await workplace.client(receive_buffer=4096)
    client.request("/s/a", host="example.com")
    asked = await worker.asked()
    total = 30_000_000
    client.pause()
    sent, granted = stream(worker, asked, total)
    still, last = 0, 0
    while still < 200:
        await turn()
        still, last = (still + 1 if sent() == last else 0), sent()
    assert last < total / 2
    assert last - granted() <= 200_000
    client.resume()
    body = client.body(await client.read_head())
    seen = 0

    def all_came() -> bool:
        nonlocal seen
        sent()
        seen += len(body.take())
        return seen == total == granted()

    await until(all_came, "a long body", 60)
    worker.reply(asked)
    assert await body.rest() == b""
    await workplace.untold(worker)


# ---- who leaves --------------------------------------------------------------------------------------------


@case
async def test_zmq_045_a_client_leaves_within_a_response(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    worker.reply(asked, code=200, reason="OK", body="abc", more=True)
    await client.read_head()
    assert (await worker.told())["type"] == b"credit"
    client.drop()
    told = await worker.told()
    assert (told["type"], told["seq"], told["id"]) == (b"cancel", 2, asked["id"])
    worker.reply(asked, body="more")
    await workplace.untold(worker)


@case
async def test_zmq_046_a_client_leaves_before_the_worker_said_anything(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    client.drop()
    await workplace.proxy.settle()
    worker.answer(asked, b"too late")
    await workplace.untold(worker)


@case
async def test_zmq_047_a_client_leaves_after_a_keep_alive(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    worker.reply(asked, type="keep-alive")
    await workplace.proxy.settle()
    client.drop()
    told = await worker.told()
    assert (told["type"], told["seq"]) == (b"cancel", 1)


@case
async def test_zmq_053_the_first_address_stays(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    worker.reply(asked, code=200, reason="OK", body="abc", more=True)
    assert (await worker.told())["type"] == b"credit"
    worker.reply(asked, {"from": "other"}, body="def", more=True)
    told = await worker.told()
    assert (told["type"], told["credits"]) == (b"credit", 3)
    worker.reply(asked, {"from": "other"})
    await workplace.answered(client, b"abcdef")


@case
async def test_zmq_054_a_worker_with_another_identity(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker(identity="unnamed")
    client, asked = await workplace.session(worker)
    worker.reply(asked, code=200, reason="OK", body="abc", more=True)
    head = await client.read_head()
    body = client.body(head)
    await body.expect(b"abc")
    await workplace.proxy.settle()
    assert not worker.router.unread
    worker.reply(asked, body="def")
    assert await body.rest() == b"def"


@pytest.mark.parametrize("path", ["/s/a", "/d/a"])
@case
async def test_zmq_055_no_worker(workplace: Workplace, path: str) -> None:
    await workplace.begin()
    client = await workplace.ask(path)
    await workplace.failed(client, GENERIC)


@case
async def test_zmq_056_no_worker_and_a_second_target(workplace: Workplace) -> None:
    await workplace.begin()
    second = await workplace.rep()
    client = await workplace.ask("/two/a")
    await workplace.failed(client)
    client, mark = await workplace.requested(second, "/r/mark")
    assert mark["uri"].endswith(b"/r/mark")
    second.answer(mark)
    await workplace.answered(client)


@case
async def test_zmq_057_workers_take_turns(workplace: Workplace) -> None:
    await workplace.begin()
    workers = [await workplace.worker(name) for name in ("W", "V")]
    for _ in range(6):
        await workplace.ask("/s/a")
    for worker in workers:
        for _ in range(3):
            await worker.asked()
    await workplace.proxy.settle()
    assert not any(worker.pull.unread for worker in workers)


# ---- holds -------------------------------------------------------------------------------------------------


@case
async def test_zmq_058_a_stream_is_held(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    headers = [("Grip-Hold", "stream"), ("Grip-Channel", "c"), ("Content-Type", "text/plain")]
    worker.reply(asked, code=200, reason="OK", headers=headers, body="one\n", more=True)
    assert (await worker.told())["type"] == b"credit"
    await workplace.silent(client)
    worker.reply(asked, body="two\n")
    body = client.body(await client.read_head())
    await body.expect(b"one\ntwo\n")
    await workplace.proxy.held("c")
    await workplace.proxy.publish("c", {S: {"content": "three\n"}})
    await body.expect(b"three\n")
    await workplace.untold(worker)


@pytest.mark.parametrize(("path", "debug"), [("/s/a", False), ("/d/a", True)])
@case
async def test_zmq_059_too_much_for_a_hold(workplace: Workplace, path: str, debug: bool) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker, path)
    headers = [("Grip-Hold", "response"), ("Grip-Channel", "c")]
    worker.answer(asked, b"x" * 120_000, *headers)
    text = f"GRIP instruct response too large from zhttp/{workplace.a}\n".encode()
    await workplace.failed(client, text if debug else GENERIC)
    await workplace.untold(worker)


@case
async def test_zmq_058_a_worker_that_knows_the_client_is_gone(workplace: Workplace) -> None:
    """A session of a hold is over when the hold begins."""
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    worker.answer(asked, b"", ("Grip-Hold", "response"), ("Grip-Channel", "c"))
    await workplace.proxy.held("c")
    client.drop()
    await workplace.proxy.held("c", 0)
    await workplace.untold(worker)


@case
async def test_packets_of_nobody_are_told_of_once(workplace: Workplace) -> None:
    """zeromq 2.2: what is dropped is logged, but not each time."""
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    for _ in range(3):
        worker.publish(asked["from"], b"Tx")
        worker.pub.send(asked["from"] + b" ", pack({}))
    worker.answer(asked, b"ok")
    await workplace.answered(client, b"ok")
    dropped = [line for line in workplace.proxy.lines() if "dropped" in line]
    start = f"target zhttp/{workplace.a}: message dropped: "
    assert sorted(line.removeprefix(start) for line in dropped) == [
        "expected a size",
        "frames: 2 instead of 1",
    ]
