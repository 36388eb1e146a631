"""Rates and limits (grip 17.10, cases 204 to 207)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import hold
from tests.support.rawclient import BodyReader
from tests.support.running import S
from tests.support.stage import Stage

case = pytest_twisted.ensureDeferred
SLOT = 0.2
"""Seconds between deliveries at five a second."""


async def burst(stage: Stage, count: int) -> None:
    """So many items of one digit in one request; no time passes."""
    items = [{"channel": "c", "formats": {S: {"content": f"{n:02d} "}}} for n in range(count)]
    answer = await stage.proxy.post(items)
    assert answer.body == b"Published\n"
    await stage.proxy.settle()


def numbers(body: BodyReader) -> list[int]:
    """The items that have come."""
    return [int(word) for word in body.pending.split()]


@pytest.mark.one_process
@case
async def test_grip_204_five_a_second(stage: Stage) -> None:
    await stage.start(hold("stream"), handler={"message_rate": 5})
    _, _, body = await stage.stream()
    await burst(stage, 10)
    assert numbers(body) == [0, 1]
    for count in range(3, 11):
        await stage.proxy.advance(SLOT)
        assert numbers(body) == list(range(count))


@pytest.mark.one_process
@case
async def test_grip_205_high_water_mark(stage: Stage) -> None:
    await stage.start(hold("stream"), handler={"message_rate": 5, "message_hwm": 12})
    _, _, body = await stage.stream()
    await burst(stage, 20)
    for _ in range(14):
        await stage.proxy.advance(SLOT)
    await burst(stage, 1)
    await stage.proxy.advance(SLOT)
    assert numbers(body) == [*range(12), 0]


@pytest.mark.one_process
@case
async def test_grip_206_high_water_mark_of_three_streams(stage: Stage) -> None:
    await stage.start(hold("stream", body=b" "), handler={"message_rate": 5, "message_hwm": 12})
    bodies = []
    for number in range(3):
        client = await stage.ask()
        bodies.append(client.body(await client.read_head()))
        await stage.proxy.held("c", number + 1)
    await burst(stage, 8)
    for _ in range(16):
        await stage.proxy.advance(SLOT)
    for body in bodies:
        assert numbers(body) == [0, 1, 2, 3]


@case
async def test_grip_207_subscription_max(stage: Stage) -> None:
    await stage.start(hold("stream", channel="a, b, c"), handler={"connection_subscription_max": 2})
    _, _, body = await stage.stream("a")
    for channel in ("c", "a", "b"):
        await stage.proxy.publish(channel, {S: {"content": channel}})
    await body.expect(b"ab")
