"""Reliable delivery (grip 17.6, cases 105 to 119): what was missed is noticed and asked for again."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.items import answer, item, piece
from tests.support.origin import hold, reply
from tests.support.running import R
from tests.support.stage import Stage, numbered

case = pytest_twisted.ensureDeferred
UPDATES = {"update_on_first_subscription": "true"}
FRESH = reply(body=b"fresh")
SLACK = 0.3
"""Seconds: ticks of the wheel and of the limiter, and one look of ``time_until``."""


def waits(position: str | None = None, *headers: str) -> bytes:
    """A response hold at a position on ``c``."""
    return hold("response", *headers, channel="c" if position is None else f"c; prev-id={position}")


@case
async def test_grip_019_update_on_first_subscription(stage: Stage) -> None:
    await stage.start(waits(None, "Grip-Timeout: 5"), handler=UPDATES)
    client = await stage.held()
    passed = await stage.proxy.time_until(lambda: len(stage.origin.requests) == 2, 1.1 + SLACK)
    assert passed >= 0.7
    assert stage.origin.requests[1].get("Grip-Last") is None
    passed = await stage.proxy.time_until(lambda: client.unread, 5 + SLACK)
    assert passed >= 5 - SLACK
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert len(stage.origin.requests) == 2


@case
async def test_c168_the_second_request_is_logged_as_a_retry(stage: Stage) -> None:
    await stage.start(waits(), condition="*", handler=UPDATES)
    await stage.ask("/hold", host="a.example")
    await stage.proxy.held("c")
    accepted = f"GET http://a.example/hold -> {stage.origin.address} accept"
    await stage.proxy.logged(accepted)
    await stage.proxy.time_until(lambda: len(stage.origin.requests) == 2, 1.5)
    await stage.proxy.logged(f"{accepted} retry")


@case
async def test_grip_105_the_next_item(stage: Stage) -> None:
    await stage.start(waits("1"))
    client = await stage.held()
    await stage.proxy.publish_all([answer("two", "2", "1")])
    assert (await client.read_response()).body == b"two"
    await stage.usable(client)
    assert len(stage.origin.requests) == 1


@pytest.mark.parametrize("prev", numbered([("106", "2"), ("106-none", None)]))
@case
async def test_a_gap(stage: Stage, prev: str | None) -> None:
    await stage.start(waits("1"), FRESH)
    client = await stage.held()
    await stage.proxy.publish_all([answer("three", "3", prev)])
    await stage.proxy.time_until(lambda: len(stage.origin.requests) == 2, 0.2 + SLACK)
    assert stage.origin.requests[1].all("Grip-Last") == ["c; last-id=1"]
    assert (await client.read_response()).body == b"fresh"
    await stage.usable(client)


@pytest.mark.differs("the original hears nothing while the update waits for its turn")
@case
async def test_what_fits_answers_while_the_update_waits(stage: Stage) -> None:
    await stage.start(waits("1"), FRESH)
    client = await stage.held()
    await stage.proxy.post([answer("three", "3", "2")])
    await stage.proxy.settle()
    await stage.proxy.post([answer("two", "2", "1")])
    assert (await client.read_response()).body == b"two"
    await stage.proxy.advance(1)
    await stage.usable(client)
    assert len(stage.origin.requests) == 1


@case
async def test_grip_107_all_positions_are_told(stage: Stage) -> None:
    channels = "a; prev-id=1, b; prev-id=2, d"
    await stage.start(hold("response", channel=channels), FRESH, handler=UPDATES)
    client = await stage.held("a")
    await stage.proxy.time_until(lambda: len(stage.origin.requests) == 2, 1.1 + SLACK)
    assert sorted(stage.origin.requests[1].all("Grip-Last")) == ["a; last-id=1", "b; last-id=2"]
    assert (await client.read_response()).body == b"fresh"


@case
async def test_grip_108_without_the_prefix(stage: Stage) -> None:
    await stage.start(waits("1"), FRESH, condition="*,debug,prefix=pre-")
    client = await stage.held("pre-c")
    await stage.proxy.publish_all([answer("three", "3", "2", "pre-c")])
    await stage.proxy.time_until(lambda: len(stage.origin.requests) == 2, 0.2 + SLACK)
    assert stage.origin.requests[1].all("Grip-Last") == ["c; last-id=1"]
    assert (await client.read_response()).body == b"fresh"


@case
async def test_grip_109_a_stale_position_is_noticed_at_once(stage: Stage) -> None:
    stage.origin.on("/stream", hold("stream"))
    await stage.start(waits("1"), waits("5"))
    stream = await stage.ask("/stream")
    body = stream.body(await stream.read_head())
    await stage.proxy.held("c")
    await stage.proxy.publish_all([piece("five", "5")])
    await body.expect(b"five")
    poll = await stage.ask()
    asked = await stage.origin.request(2, "/")
    assert asked.all("Grip-Last") == ["c; last-id=1"]
    await stage.proxy.held("c", 2)
    await stage.silent(poll)
    await stage.proxy.publish_all([answer("six", "6", "5")])
    assert (await poll.read_response()).body == b"six"
    assert len(stage.origin.asked_for("/")) == 2


async def polled(stage: Stage, **handler: object) -> None:
    """A client was answered with item 5; item 6 came when nobody listened."""
    await stage.start(waits("4"), waits("5"), FRESH, handler=handler)
    client = await stage.held()
    await stage.proxy.publish_all([answer("five", "5", "4")])
    assert (await client.read_response()).body == b"five"
    await stage.proxy.held("c", 0)
    await stage.proxy.publish_all([answer("six", "6", "5")])


@case
async def test_grip_110_missed_between_two_polls(stage: Stage) -> None:
    await polled(stage)
    client = await stage.ask()
    asked = await stage.origin.request(3)
    assert asked.all("Grip-Last") == ["c; last-id=5"]
    assert (await client.read_response()).body == b"fresh"


@case
async def test_grip_111_missed_too_long_ago(stage: Stage) -> None:
    await polled(stage, subscription_linger=2)
    for _ in range(9):
        await stage.proxy.advance(0.5)
    client = await stage.held()
    await stage.silent(client)
    assert len(stage.origin.requests) == 2
    await stage.proxy.publish_all([answer("seven", "7", "5")])
    assert (await client.read_response()).body == b"seven"
    assert len(stage.origin.requests) == 2


@case
async def test_grip_112_a_stream_leaves_nothing_behind(stage: Stage) -> None:
    stage.origin.on("/stream", hold("stream"))
    await stage.start(waits("0"))
    stream = await stage.ask("/stream")
    body = stream.body(await stream.read_head())
    await stage.proxy.held("c")
    await stage.proxy.publish_all([piece("one", "1")])
    await body.expect(b"one")
    stream.drop()
    await stage.proxy.held("c", 0)
    poll = await stage.held()
    await stage.silent(poll)
    await stage.proxy.publish_all([answer("two", "2", "0")])
    assert (await poll.read_response()).body == b"two"
    assert len(stage.origin.asked_for("/")) == 1


@case
async def test_grip_113_order_is_restored(stage: Stage) -> None:
    await stage.start(hold("stream"))
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([piece("1", "1"), piece("3", "3", "2")])
    await body.expect(b"1")
    await stage.proxy.settle()
    assert not body.pending
    await stage.proxy.publish_all([piece("2", "2", "1")])
    await body.expect(b"23")


@case
async def test_grip_114_what_never_came_is_waited_for(stage: Stage) -> None:
    await stage.start(hold("stream"))
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([piece("1", "1"), piece("3", "3", "2"), piece("4", "4", "3")])
    await body.expect(b"1")
    passed = await stage.proxy.time_until(lambda: body.pending, 6 + SLACK)
    assert passed >= 5 - SLACK
    await body.expect(b"34")


@case
async def test_grip_115_outside_of_the_sequence(stage: Stage) -> None:
    await stage.start(hold("stream"))
    _, _, body = await stage.stream()
    items = [piece("1", "1"), piece("3", "3", "2", no_seq=True), piece("2", "2", "1")]
    await stage.proxy.publish_all(items)
    await body.expect(b"132")


@case
async def test_grip_116_one_item_for_one_gap(stage: Stage) -> None:
    await stage.start(hold("stream"))
    _, _, body = await stage.stream()
    items = [piece("1", "1"), piece("3", "3", "2"), piece("no", "3b", "2"), piece("2", "2", "1")]
    await stage.proxy.publish_all(items)
    await body.expect(b"123")
    await stage.proxy.publish_all([piece("4", "4", "3")])
    await body.expect(b"4")
    for _ in range(7):
        await stage.proxy.advance(1)
    assert not body.pending


@case
async def test_grip_117_no_ids_no_order(stage: Stage) -> None:
    await stage.start(hold("stream"))
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([piece("1", "1"), piece("-"), piece("9", "9", "8")])
    await body.expect(b"1-9")


@case
async def test_grip_118_twice_the_same_id(stage: Stage) -> None:
    await stage.start(hold("stream", channel="c, d"))
    _, _, body = await stage.stream()
    items = [piece("first", "x"), piece("no", "x"), piece("other", "x", channel="d"), piece(".")]
    await stage.proxy.publish_all(items)
    await body.expect(b"firstother.")


@case
async def test_grip_118_ids_are_remembered_for_a_while(stage: Stage) -> None:
    await stage.start(hold("stream"), handler={"id_cache_ttl": 2})
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([piece("first", "x"), piece("no", "x")])
    for _ in range(5):
        await stage.proxy.advance(0.46)
    await stage.proxy.publish_all([piece("again", "x")])
    await body.expect(b"firstagain")


@case
async def test_grip_119_ids_are_remembered_though_nobody_listens(stage: Stage) -> None:
    await stage.start(hold("stream"))
    await stage.proxy.publish_all([piece("no", "1")])
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([piece("no", "1"), piece("two", "2", "77")])
    await body.expect(b"two")


@case
async def test_positions_of_earlier_runs_are_kept(stage: Stage) -> None:
    """Grip 11.5: a channel that is not mentioned again is still told of."""
    both = hold("response", channel="c; prev-id=1, d; prev-id=8")
    await stage.start(both, hold("response", channel="c; prev-id=2"), FRESH)
    client = await stage.held()
    await stage.proxy.publish_all([answer("three", "3", "2")])
    await stage.proxy.time_until(lambda: len(stage.origin.requests) == 2, 0.2 + SLACK)
    assert sorted(stage.origin.requests[1].all("Grip-Last")) == ["c; last-id=1", "d; last-id=8"]
    await stage.proxy.held("c")
    await stage.proxy.publish_all([answer("five", "5", "4")])
    await stage.proxy.time_until(lambda: len(stage.origin.requests) == 3, 0.2 + SLACK)
    assert sorted(stage.origin.requests[2].all("Grip-Last")) == ["c; last-id=2", "d; last-id=8"]
    assert (await client.read_response()).body == b"fresh"


@pytest.mark.parametrize(("id", "told"), [(None, []), ("2", ["c; last-id=2"])])
@case
async def test_a_hint_moves_the_position_first(stage: Stage, id: str | None, told: list[str]) -> None:
    """Grip 12.3: the position advances, then the action is done."""
    await stage.start(waits("1"), FRESH)
    client = await stage.held()
    await stage.proxy.publish_all([item({R: {"action": "hint"}}, id, "1")])
    asked = await stage.origin.request(2)
    assert asked.all("Grip-Last") == told
    assert (await client.read_response()).body == b"fresh"


@pytest.mark.differs("its steps cannot be told apart in real time")
@pytest.mark.one_process
@case
async def test_a_crowd_asks_again_a_hundred_at_a_time(stage: Stage) -> None:
    """Grip 11.3: at most 100 requests in 100 ms."""
    await stage.start(waits("1"))
    crowd = 130
    for _ in range(crowd):
        await stage.ask()
    await stage.proxy.held("c", crowd)
    await stage.proxy.recover()
    asked = []
    for _ in range(4):
        before = len(stage.origin.requests)
        await stage.proxy.advance(0.1)
        for _ in range(10):
            await stage.proxy.settle()
        asked.append(len(stage.origin.requests) - before)
    assert [number for number in asked if number] == [100, 30]
