"""How backends on ZeroMQ fail (zeromq 2.11)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.zhttpscene import GENERIC, Workplace

case = pytest_twisted.ensureDeferred

NEXT_TARGET = ("remote-connection-failed", "connection-timeout", "tls-error")
"""Conditions after which the next target is tried."""
FINAL = (
    "policy-violation",
    "rejected",
    "bad-request",
    "max-size-exceeded",
    "session-timeout",
    "disconnected",
    "cancel",
    "undefined-condition",
    "content-not-allowed",
    "too-many-redirects",
    "rejection-too-large",
    "no-such-condition",
)


@pytest.mark.parametrize(
    "condition", [pytest.param(each, id=f"zmq_063-{each}") for each in (*NEXT_TARGET, *FINAL)]
)
@case
async def test_conditions(workplace: Workplace, condition: str) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    worker.reply(asked, type="error", condition=condition)
    await workplace.failed(client)
    await workplace.untold(worker)


@case
async def test_zmq_063_a_length_is_required(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    for path in ("/s/a", "/d/a"):
        client, asked = await workplace.session(worker, path)
        worker.reply(asked, type="error", condition="length-required")
        await workplace.answered(client, b"Must provide Content-Length header.\n", 411)


@pytest.mark.parametrize("condition", [pytest.param(each, id=f"zmq_064-{each}") for each in NEXT_TARGET])
@case
async def test_a_connection_that_failed_in_debug_mode(workplace: Workplace, condition: str) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker, "/d/a")
    worker.reply(asked, type="error", condition=condition)
    text = f"Unable to connect to any targets. Tried: zhttp/{workplace.a}\n"
    await workplace.failed(client, text.encode())


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        pytest.param("policy-violation", b"Error: Origin host/IP blocked.\n", id="zmq_065"),
        pytest.param("bad-request", GENERIC, id="zmq_063-debug"),
        pytest.param("", GENERIC, id="zmq_066-debug"),
    ],
)
@case
async def test_debug_mode(workplace: Workplace, condition: str, text: bytes) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker, "/d/a")
    worker.reply(asked, type="error", condition=condition)
    await workplace.failed(client, text)


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param({"type": "error", "seq": 7}, id="zmq_066-seq"),
        pytest.param({"type": "error", "condition": "bad-request", "from": None}, id="zmq_066-from"),
        pytest.param({"type": "error"}, id="zmq_066-condition"),
        pytest.param({"type": "error", "seq": None}, id="zmq_066-error-without-seq"),
        pytest.param({"type": "cancel", "seq": None}, id="zmq_066-cancel-without-seq"),
        pytest.param({"type": "cancel"}, id="zmq_066-cancel"),
    ],
)
@case
async def test_errors_that_are_incomplete(workplace: Workplace, packet: dict[str, object]) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker)
    worker.reply(asked, packet)
    await workplace.failed(client)
    await workplace.untold(worker)


@pytest.mark.parametrize("condition", [pytest.param(each, id=f"zmq_067-{each}") for each in NEXT_TARGET])
@case
async def test_the_next_target_is_tried(workplace: Workplace, condition: str) -> None:
    await workplace.begin()
    worker, second = await workplace.worker(), await workplace.rep()
    client, asked = await workplace.session(worker, "/two/a", method="POST", body=b"abc")
    worker.reply(asked, type="error", condition=condition)
    again = await second.asked()
    for name in ("method", "uri", "body"):
        assert again[name] == asked[name]
    for pair in asked["headers"]:
        assert pair in again["headers"]
    assert again["id"] != asked["id"]
    second.answer(again, b"second")
    await workplace.answered(client, b"second")
    await workplace.untold(worker)


@case
async def test_zmq_068_the_next_target_is_not_tried(workplace: Workplace) -> None:
    await workplace.begin()
    worker, second = await workplace.worker(), await workplace.rep()
    for fields in ({"type": "error", "condition": "bad-request"}, {"type": "cancel"}):
        client, asked = await workplace.session(worker, "/two/a", method="POST", body=b"abc")
        worker.reply(asked, fields)
        await workplace.failed(client)
    client, mark = await workplace.requested(second, "/r/mark")
    assert mark["uri"].endswith(b"/r/mark")
    second.answer(mark)
    await workplace.answered(client)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param({"type": "error", "condition": "disconnected"}, id="zmq_069"),
        pytest.param({"type": "error", "condition": "connection-timeout"}, id="zmq_069-unreachable"),
        pytest.param({"type": "cancel"}, id="zmq_069-cancel"),
    ],
)
@pytest.mark.parametrize("path", ["/s/a", "/d/a", "/two/a"])
@case
async def test_a_failure_within_the_body(workplace: Workplace, path: str, end: dict[str, object]) -> None:
    """The response is cut off; whether it seems complete differs."""
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker, path)
    worker.reply(asked, code=200, reason="OK", body="abc", more=True)
    body = client.body(await client.read_head())
    await body.expect(b"abc")
    worker.reply(asked, end)
    await client.wait_for(lambda: client.lost or body.ended or None, "the end of a response")
    assert body.pending == b""


@case
async def test_zmq_070_requests_are_not_rejected(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    for path in ("/s/a", "/d/a"):
        client, asked = await workplace.session(worker, path)
        worker.reply(asked, type="error", condition="rejected", code=404, reason="Not Found", body="no")
        await workplace.failed(client)
