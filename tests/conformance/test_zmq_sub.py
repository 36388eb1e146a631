"""Items that are published to subscribers, and how publishers learn who subscribes (zeromq 3.3, 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import pytest_twisted
import zmq

from tests.support.running import S, W
from tests.support.zmqscene import ENCODINGS, Publishers, packed, streamed

case = pytest_twisted.ensureDeferred
ITEM = packed(streamed("x", None))
SLACK = 1.1
"""Seconds: lingering ends up to a second late."""


# ---- items -------------------------------------------------------------------------------------------------


@case
async def test_zmq_124_items(publishers: Publishers) -> None:
    await publishers.begin()
    xpub = publishers.xpub()
    _, body = await publishers.listen("ab")
    await xpub.told(b"\1ab")
    for encoding in ENCODINGS:
        xpub.publish("ab", f"{encoding}\n", encoding)
    await body.expect(b"plain\nT\nJ\n")


@case
async def test_zmq_125_the_first_frame_is_the_channel(publishers: Publishers) -> None:
    await publishers.begin()
    xpub = publishers.xpub()
    _, body = await publishers.listen("ab")
    await publishers.listen("zzz")
    await xpub.told(b"\1ab", b"\1zzz")
    for channel in ("zzz", 5, None):
        for encoding in ENCODINGS:
            xpub.send(b"ab", packed({**streamed("x"), "channel": channel}, encoding))
    await body.expect(b"x" * 9)


@case
async def test_zmq_126_a_longer_name_is_another_channel(publishers: Publishers) -> None:
    """ZeroMQ passes on whatever begins with the name."""
    proxy = await publishers.begin()
    xpub = publishers.xpub()
    _, body = await publishers.listen("ab")
    await xpub.told(b"\1ab")
    xpub.publish("abc", "not for us")
    xpub.publish("ab", "for us")
    await body.expect(b"for us")
    assert "publish channel=abc receivers=0" in proxy.lines("handler")


BROKEN: list[tuple[str, Sequence[bytes]]] = [
    ("zmq_127-one-frame", [b"c"]),
    ("zmq_127-three-frames", [b"c", ITEM, ITEM]),
    ("zmq_127-undecodable", [b"c", b"junk"]),
    ("zmq_127-empty", [b"c", b""]),
    ("zmq_127-no-object", [b"c", b"5:hello,"]),
    ("zmq_127-no-formats", [b"c", b"0:}"]),
    ("zmq_127-json-list", [b"c", b"J[]"]),
]


@pytest.mark.parametrize("frames", [pytest.param(frames, id=name) for name, frames in BROKEN])
@case
async def test_messages_that_are_dropped(publishers: Publishers, frames: Sequence[bytes]) -> None:
    await publishers.begin()
    xpub = publishers.xpub()
    _, body = await publishers.listen()
    await xpub.told(b"\1c")
    await publishers.dropped(xpub, body, [frames])


@pytest.mark.differs("the process ends")
@case
async def test_zmq_009_an_item_that_is_cut_off(publishers: Publishers) -> None:
    await publishers.begin()
    xpub = publishers.xpub()
    _, body = await publishers.listen()
    await xpub.told(b"\1c")
    await publishers.dropped(xpub, body, [[b"c", ITEM[:-3]]])


@case
async def test_an_item_comes_once_however_many_names_match(publishers: Publishers) -> None:
    await publishers.begin()
    xpub = publishers.xpub()
    _, body = await publishers.listen("abc")
    await publishers.listen("ab")
    await publishers.listen("a")
    await xpub.told(b"\1a", b"\1ab", b"\1abc")
    for content in ("x", "y"):
        xpub.publish("abc", content)
    await body.expect(b"xy")


@case
async def test_the_prefix_of_a_route_is_part_of_the_name(publishers: Publishers) -> None:
    await publishers.begin(condition="*,debug,prefix=px-")
    xpub = publishers.xpub()
    client = await publishers.ask("/st/b")
    body = client.body(await client.read_head())
    await xpub.told(b"\1px-b")
    xpub.publish("px-b", "x")
    await body.expect(b"x")


@case
async def test_names_are_utf8(publishers: Publishers) -> None:
    await publishers.begin()
    xpub = publishers.xpub()
    client, backend = await publishers.open()
    await publishers.subscribe(backend, "ä \U0001f600")
    await xpub.told("\1ä \U0001f600".encode())
    xpub.send("ä \U0001f600".encode(), packed({W: {"content": "x"}}))
    await client.expect_text("x")


# ---- subscriptions -----------------------------------------------------------------------------------------


@case
async def test_zmq_128_the_first_stream(publishers: Publishers) -> None:
    await publishers.begin()
    xpub = publishers.xpub()
    await publishers.listen("sx")
    await xpub.told(b"\1sx")


@case
async def test_zmq_129_zmq_130_the_last_stream(publishers: Publishers) -> None:
    await publishers.begin()
    xpub = publishers.xpub()
    first, _ = await publishers.listen("sx")
    await xpub.told(b"\1sx")
    second, _ = await publishers.listen("sx", 2)
    await publishers.leave(first, "sx", 1)
    await publishers.nothing_told(xpub)
    await publishers.leave(second, "sx")
    await xpub.told(b"\0sx")
    await publishers.listen("sx")
    await xpub.told(b"\1sx")


@case
async def test_zmq_131_a_long_poll_lingers(publishers: Publishers) -> None:
    proxy = await publishers.begin(subscription_linger=60)
    xpub = publishers.xpub()
    poll = await publishers.poll("lx")
    await xpub.told(b"\1lx")
    await proxy.publish("lx", {"http-response": {"body": "answer"}})
    assert (await poll.read_response()).body == b"answer"
    await proxy.held("lx", 0)
    await proxy.advance(3)
    poll = await publishers.poll("lx")
    await publishers.nothing_told(xpub)
    await publishers.leave(poll, "lx")
    passed = await proxy.time_until(lambda: xpub.unread, 60 + SLACK)
    assert passed >= 59.9
    await xpub.told(b"\0lx")


@case
async def test_zmq_132_no_lingering(publishers: Publishers) -> None:
    proxy = await publishers.begin(subscription_linger=0)
    xpub = publishers.xpub()
    poll = await publishers.poll()
    await xpub.told(b"\1c")
    await publishers.leave(poll)
    await proxy.time_until(lambda: xpub.unread, SLACK)
    await xpub.told(b"\0c")


@pytest.mark.one_process
@case
async def test_zmq_133_a_stream_ends_the_lingering(publishers: Publishers) -> None:
    proxy = await publishers.begin(subscription_linger=8)
    xpub = publishers.xpub()
    await publishers.leave(await publishers.poll())
    await xpub.told(b"\1c")
    await proxy.advance(1)
    stream, _ = await publishers.listen()
    await publishers.nothing_told(xpub)
    await publishers.leave(stream)
    await xpub.told(b"\0c")
    await publishers.poll()
    await xpub.told(b"\1c")
    await proxy.advance(8 + SLACK)
    await publishers.nothing_told(xpub)


@case
async def test_zmq_134_a_stream_outlives_the_lingering(publishers: Publishers) -> None:
    proxy = await publishers.begin(subscription_linger=2)
    xpub = publishers.xpub()
    poll = await publishers.poll()
    stream, _ = await publishers.listen(count=2)
    await xpub.told(b"\1c")
    await publishers.leave(poll, count=1)
    await proxy.advance(2 + SLACK)
    await publishers.nothing_told(xpub)
    await publishers.leave(stream)
    await xpub.told(b"\0c")


@case
async def test_zmq_135_a_websocket_and_a_stream(publishers: Publishers) -> None:
    proxy = await publishers.begin()
    xpub = publishers.xpub()
    stream, _ = await publishers.listen()
    await xpub.told(b"\1c")
    client, backend = await publishers.open()
    await publishers.subscribe(backend, count=2)
    await publishers.leave(stream, count=1)
    await publishers.nothing_told(xpub)
    client.raw.drop()
    await proxy.held("c", 0)
    await xpub.told(b"\0c")


@case
async def test_zmq_136_implied_channels(publishers: Publishers) -> None:
    """They do not take the prefix of their route."""
    await publishers.begin(condition="*,debug,prefix=px-", target="sub=imp1,sub=imp2")
    xpub = publishers.xpub()
    client = await publishers.ask("/st/zed")
    await xpub.told(b"\1imp1", b"\1imp2", b"\1px-zed")
    client.drop()
    await xpub.told(b"\0imp1", b"\0imp2", b"\0px-zed")


@case
async def test_zmq_137_a_publisher_who_comes_late(publishers: Publishers) -> None:
    await publishers.begin()
    gone, _ = await publishers.listen("gone")
    for channel in ("a", "b"):
        await publishers.listen(channel)
    await publishers.leave(gone, "gone")
    xpub = publishers.xpub()
    await xpub.told(b"\1a", b"\1b")
    await publishers.nothing_told(xpub)


@case
async def test_zmq_138_publishers_that_are_connected_to(publishers: Publishers, tmp_path: Path) -> None:
    specs = [f"ipc://{tmp_path}/{name}" for name in ("one", "two")]
    first = publishers.xpub(specs[0], bind=True)
    await publishers.begin(push_in_sub_specs=",".join(specs), push_in_sub_connect="true")
    _, body = await publishers.listen()
    second = publishers.xpub(specs[1], bind=True)  # nobody has to be there first
    await first.told(b"\1c")
    await second.told(b"\1c")
    first.publish("c", "1")
    await body.expect(b"1")
    second.publish("c", "2")
    await body.expect(b"2")
    first.plain.close()
    again = publishers.xpub(specs[0], bind=True)
    await again.told(b"\1c")
    again.publish("c", "3")
    await body.expect(b"3")


@case
async def test_zmq_139_one_address_is_bound(publishers: Publishers, tmp_path: Path) -> None:
    other = f"ipc://{tmp_path}/other"
    await publishers.begin(push_in_sub_specs=f"{publishers.sub},{other}")
    assert (tmp_path / "sub").is_socket()
    assert not (tmp_path / "other").exists()


@case
async def test_zmq_140_an_update_for_the_first(publishers: Publishers) -> None:
    proxy = await publishers.begin(update_on_first_subscription="true")
    await publishers.poll()
    passed = await proxy.time_until(lambda: len(publishers.origin.requests) == 2, 1 + SLACK)
    assert passed >= 0.7
    await proxy.advance(3)
    assert len(publishers.origin.requests) == 2


@pytest.mark.differs("1.36 has no such key")
@case
async def test_zmq_140_no_update(publishers: Publishers) -> None:
    proxy = await publishers.begin(update_on_first_subscription="false")
    await publishers.poll()
    await proxy.advance(3)
    assert len(publishers.origin.requests) == 1


@case
async def test_zmq_141_no_update_on_a_channel_that_lingers(publishers: Publishers) -> None:
    proxy = await publishers.begin(update_on_first_subscription="true")
    await publishers.leave(await publishers.poll())
    await proxy.advance(2)
    await publishers.poll()
    await proxy.advance(3)
    assert len(publishers.origin.requests) == 2


@pytest.mark.one_process
@case
async def test_an_update_on_a_channel_whose_lingering_was_ended(publishers: Publishers) -> None:
    """It was without a subscription in between."""
    proxy = await publishers.begin(update_on_first_subscription="true")
    await publishers.leave(await publishers.poll())
    await publishers.leave((await publishers.listen())[0])
    await proxy.advance(2)
    await publishers.poll()
    assert len(publishers.origin.requests) == 3
    await proxy.time_until(lambda: len(publishers.origin.requests) == 4, 1 + SLACK)


@case
async def test_zmq_142_a_chain_of_brokers(publishers: Publishers, tmp_path: Path) -> None:
    """Publisher, source broker, edge broker: what nobody wants does not leave the source."""
    await publishers.begin()
    source = publishers.xpub(f"ipc://{tmp_path}/source", bind=True)
    edge = publishers.xpub()
    xsub = publishers.peer(zmq.XSUB, f"ipc://{tmp_path}/source")
    _, body = await publishers.listen()
    await edge.told(b"\1c")
    xsub.send(b"\1c")  # the edge broker passes on what it was told
    await source.told(b"\1c")
    source.publish("d", "nobody's")
    source.publish("c", "ours")
    assert xsub.plain.poll(10_000)
    frames = xsub.plain.recv_multipart()
    edge.send(*frames)
    await body.expect(b"ours")
    assert not xsub.unread


@pytest.mark.differs("it does")
@case
async def test_an_empty_name_does_not_subscribe_to_everything(publishers: Publishers) -> None:
    await publishers.begin()
    xpub = publishers.xpub()
    client = await publishers.ask("/st/,")
    await publishers.proxy.held("")
    await publishers.leave(client, "")
    await publishers.nothing_told(xpub)


@case
async def test_what_is_not_formatted_for_anybody_does_no_harm(publishers: Publishers) -> None:
    await publishers.begin()
    xpub = publishers.xpub()
    _, body = await publishers.listen()
    await xpub.told(b"\1c")
    xpub.send(b"c", packed({"formats": {"carrier-pigeon": {}}}))
    xpub.send(b"c", packed({S: {"content": "x"}}))
    await body.expect(b"x")
