"""What the clock does to requests at streaming workers (zeromq 2.9, 2.11)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.rawclient import RawClient
from tests.support.zhttpscene import GENERIC, UNREACHABLE, Workplace
from tests.support.zworker import Packet, Worker

case = pytest_twisted.ensureDeferred
SLACK = 1.5
"""Seconds: keep-alives are sent once in a second, and the wheel looks ten times in one."""


async def passing(workplace: Workplace, seconds: float) -> None:
    """Time passes, not all at once."""
    for _ in range(int(seconds)):
        await workplace.proxy.advance(1)
    await workplace.proxy.advance(seconds % 1)


async def waited(workplace: Workplace, worker: Worker, limit: float) -> float:
    """How many seconds pass until the worker is told something."""
    await workplace.proxy.settle()
    return await workplace.proxy.time_until(lambda: worker.router.unread, limit + SLACK)


async def streaming(workplace: Workplace, worker: Worker) -> tuple[RawClient, Packet]:
    """A client who has got the head of a response."""
    client, asked = await workplace.session(worker)
    worker.reply(asked, code=200, reason="OK", more=True)
    await client.read_head()
    return client, asked


@pytest.mark.parametrize(("path", "text"), [("/s/a", GENERIC), ("/d/a", UNREACHABLE)])
@case
async def test_zmq_048_a_worker_that_never_answers(workplace: Workplace, path: str, text: bytes) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, _ = await workplace.session(worker, path)
    start = workplace.proxy.seconds()
    await workplace.proxy.time_until(lambda: client.unread, 62)
    assert workplace.proxy.seconds() - start == pytest.approx(60, abs=SLACK)
    await workplace.failed(client, text)
    await workplace.untold(worker)


@case
async def test_zmq_048_nobody_else_is_asked(workplace: Workplace) -> None:
    await workplace.begin()
    worker, second = await workplace.worker(), await workplace.rep()
    client, _ = await workplace.session(worker, "/two/a")
    await passing(workplace, 61)
    await workplace.failed(client)
    assert not second.wire.unread


@case
async def test_zmq_049_a_worker_that_falls_silent(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await streaming(workplace, worker)
    assert await waited(workplace, worker, 45) == pytest.approx(45, abs=SLACK)
    told = await worker.told()
    assert told == {"from": asked["from"], "id": asked["id"], "seq": 1, "type": b"keep-alive"}
    passed = await workplace.proxy.time_until(lambda: client.lost or client.unread, 16)
    assert passed == pytest.approx(15, abs=SLACK)
    await workplace.untold(worker)


@case
async def test_zmq_050_a_worker_that_keeps_it_alive(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    for _ in range(5):
        worker.reply(asked, type="keep-alive")
        await passing(workplace, 30)
    for seq in (1, 2, 3):
        told = await worker.told()
        assert (told["type"], told["seq"]) == (b"keep-alive", seq)
    worker.answer(asked, b"at last")
    await workplace.answered(client, b"at last")
    await workplace.untold(worker)


@case
async def test_zmq_051_a_worker_that_understands_several_ids(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    worker.reply(asked, type="keep-alive", ext={"multi": True})
    told = await worker.told()
    assert told == {"from": asked["from"], "id": asked["id"], "seq": 1, "type": b"keep-alive"}
    assert await waited(workplace, worker, 45) <= 45 + SLACK
    assert (await worker.told())["seq"] == 2
    for seq in (3, 4):
        worker.reply(asked, type="keep-alive", ext={"multi": True})
        assert await waited(workplace, worker, 45) == pytest.approx(45, abs=SLACK)
        assert (await worker.told())["seq"] == seq
    worker.answer(asked, b"ok")
    await workplace.answered(client, b"ok")


@pytest.mark.one_process
@case
async def test_zmq_052_keep_alives_go_together(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    sessions = [await workplace.session(worker) for _ in range(60)]
    for _, asked in sessions:
        worker.reply(asked, type="keep-alive", ext={"multi": True})
        assert (await worker.told())["type"] == b"keep-alive"
    await passing(workplace, 46)
    seen: list[bytes] = []
    together = 0
    while len(seen) < 60:
        told = await worker.told()
        assert told["type"] == b"keep-alive"
        if isinstance(told["id"], list):
            together += 1
            assert told.keys() == {"from", "id", "type"}
            assert [entry["seq"] for entry in told["id"]] == [2] * len(told["id"])
            seen += [entry["id"] for entry in told["id"]]
        else:
            assert told["seq"] == 2
            seen.append(told["id"])
    assert sorted(seen) == sorted(asked["id"] for _, asked in sessions)
    assert together == 15


@pytest.mark.one_process
@case
async def test_zmq_052_sessions_that_are_over_are_not_kept_alive(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    (first, one), (second, two), (third, three) = [await workplace.session(worker) for _ in range(3)]
    for asked in (one, two, three):
        worker.reply(asked, type="keep-alive", ext={"multi": True})
        await worker.told()
    worker.answer(one)
    await workplace.answered(first)
    second.drop()
    assert (await worker.told())["type"] == b"cancel"
    await passing(workplace, 46)
    told = await worker.told()
    assert (told["id"], told["seq"]) == (three["id"], 2)
    worker.answer(three)
    await workplace.answered(third)
    await workplace.untold(worker)


@case
async def test_zmq_049_nobody_hears_of_what_is_over(workplace: Workplace) -> None:
    """However a session ended."""
    await workplace.begin()
    worker = await workplace.worker()
    for end in ("answer", "error", "drop", "silence"):
        client, asked = await workplace.session(worker)
        worker.reply(asked, type="keep-alive", ext={"multi": True})
        await worker.told()
        if end == "answer":
            worker.answer(asked)
            await workplace.answered(client)
        elif end == "error":
            worker.reply(asked, type="error")
            await workplace.failed(client)
        elif end == "silence":
            await passing(workplace, 61)
            await workplace.failed(client)
        else:
            client.drop()
            assert (await worker.told())["type"] == b"cancel"
    while worker.router.unread:
        await worker.told()
    await passing(workplace, 100)
    await workplace.untold(worker)
