"""Commands (zeromq 4; websocket 5.7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import zmq

from pushpin_tw.wire.tnetstring import decode
from tests.support.commandscene import Commands, done, packet, refused
from tests.support.origin import ScriptedOrigin, withheld
from tests.support.running import R, S, W
from tests.support.stage import Start
from tests.support.wsbackend import events, opening
from tests.support.zmqscene import packed, streamed

case = pytest_twisted.ensureDeferred


@pytest_twisted.async_yield_fixture
async def commands(start: Start, tmp_path: Path) -> AsyncIterator[Commands]:
    scene = Commands(await ScriptedOrigin.listen(), start, tmp_path)
    yield scene
    await scene.clear()


# ---- addresses ---------------------------------------------------------------------------------------------


@case
async def test_zmq_144_addresses(commands: Commands) -> None:
    await commands.begin()
    commander = commands.commander(zmq.REQ)
    commander.send(b"25:6:method,12:get-zmq-uris,}")
    told = await commander.told()
    expected = {"command": commands.command, "publish-pull": commands.pull, "publish-sub": commands.sub}
    assert told == done({name: spec.encode() for name, spec in expected.items()})


@case
async def test_zmq_145_fewer_addresses(commands: Commands) -> None:
    connected = {"push_in_sub_connect": "true", "push_in_spec": ""}
    await commands.begin(**connected)
    assert await commands.commander().ask("get-zmq-uris") == done({"command": commands.command.encode()})


# ---- framing -----------------------------------------------------------------------------------------------


@case
async def test_zmq_146_recover(commands: Commands) -> None:
    await commands.begin()
    commander = commands.commander(zmq.REQ)
    commander.send(b"28:2:id,1:x,6:method,7:recover,}")
    assert await commander.told() == {"id": b"x", **done()}


@pytest.mark.parametrize("method", ["report", "check", "subscribe", "version", "", "Recover", "h\xe4"])
@case
async def test_zmq_147_other_methods(commands: Commands, method: str) -> None:
    await commands.begin()
    commander = commands.commander()
    assert await commander.ask(method) == refused("method-not-found")
    commander.send(b"", packet(method, id="5", args={"a": 1}, **{"from": "me"}))
    assert await commander.told() == {"id": b"5", **refused("method-not-found")}


RECOVER = packet("recover")
NO_COMMANDS = [
    ("junk", b"junk"),
    ("string", b"5:hello,"),
    ("empty-map", b"0:}"),
    ("null", b"0:~"),
    ("method", packet(5)),
    ("id", packet("recover", id=5)),
    ("args", packet("recover", args=[])),
    ("args-null", packet("recover", args=None)),
    ("prefix", b"T" + RECOVER),
    ("json", b'J{"method":"recover"}'),
]
IGNORED = pytest.mark.differs("1.36 ignores it")
SENDER = pytest.param(packet("recover", **{"from": 5}), id="zmq_157-from", marks=IGNORED)


@pytest.mark.parametrize(
    "content", [*(pytest.param(data, id=f"zmq_157-{name}") for name, data in NO_COMMANDS), SENDER]
)
@case
async def test_what_is_not_answered(commands: Commands, content: bytes) -> None:
    await commands.begin()
    stuck, commander = commands.commander(zmq.REQ), commands.commander()
    stuck.send(content)
    commander.send(b"", content)
    await commander.usable()
    await commands.commander().usable()
    assert not stuck.plain.poll(0)


@case
async def test_zmq_157_nothing(commands: Commands) -> None:
    await commands.begin()
    stuck = commands.commander(zmq.REQ)
    stuck.send(b"")
    await commands.commander().usable()
    assert not stuck.plain.poll(0)


@pytest.mark.differs("the process ends")
@case
async def test_zmq_009_a_command_that_is_cut_short(commands: Commands) -> None:
    await commands.begin()
    commander = commands.commander()
    item = packet("publish", args={"items": [streamed("x")]})
    for size in range(1, len(item), 3):
        commander.send(b"", item[:-size])
    await commander.usable()


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([RECOVER], id="zmq_158-no-empty-frame"),
        pytest.param([b"", RECOVER, RECOVER], id="zmq_158-two"),
        pytest.param([b"e", RECOVER], id="zmq_158-no-end"),
        pytest.param([RECOVER, b""], id="zmq_158-behind"),
        pytest.param([b"", b"", b""], id="zmq_158-nothing"),
    ],
)
@case
async def test_frames_in_no_order(commands: Commands, frames: list[bytes]) -> None:
    await commands.begin()
    commander = commands.commander()
    commander.send(*frames)
    await commander.usable()


@pytest.mark.parametrize(
    ("frames", "envelope"),
    [
        pytest.param([b"e1", b"e2", b"", RECOVER], [b"e1", b"e2", b""], id="zmq_159"),
        pytest.param([b"", RECOVER], [b""], id="zmq_159-none"),
        pytest.param([b"", b"", RECOVER, b""], [b""], id="zmq_159-further-empty-frames"),
    ],
)
@case
async def test_envelopes(commands: Commands, frames: list[bytes], envelope: list[bytes]) -> None:
    await commands.begin()
    commander = commands.commander()
    commander.send(*frames)
    *came, content = await commander.receive()
    assert (came, decode(content)) == (envelope, done())


@case
async def test_zmq_160_many_at_once(commands: Commands) -> None:
    """Answered in their order."""
    await commands.begin()
    commander = commands.commander()
    for number in range(5):
        commander.send(b"", packet("recover" if number % 2 else "get-zmq-uris", id=str(number)))
    assert [(await commander.told())["id"] for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


# ---- recover -----------------------------------------------------------------------------------------------


@case
async def test_zmq_146_holds_ask_again(commands: Commands) -> None:
    proxy = await commands.begin()
    client = await commands.poll()
    asked = len(commands.origin.requests)
    assert await commands.commander().ask("recover") == done()
    await proxy.time_until(lambda: len(commands.origin.requests) > asked, 3)
    assert not client.unread


# ---- refresh -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        pytest.param({}, id="zmq_148-none"),
        pytest.param({"cid": 5}, id="zmq_148-cid"),
        pytest.param({"channel": 7}, id="zmq_148-channel"),
        pytest.param({"cid": 5, "channel": "c"}, id="zmq_148-cid-wins"),
        pytest.param({"other": "c"}, id="ws_141-other"),
    ],
)
@case
async def test_a_refresh_of_nothing(commands: Commands, args: dict[str, Any]) -> None:
    await commands.begin()
    assert await commands.commander().ask("refresh", **args) == refused("bad-request")


@pytest.mark.parametrize("cid", ["nobody", "", "00000000-0000-4000-8000-000000000000", "connmgr:", "h\xe4"])
@case
async def test_zmq_149_nobody(commands: Commands, cid: str) -> None:
    await commands.begin()
    commander = commands.commander()
    assert await commander.ask("refresh", cid=cid) == refused("item-not-found")
    assert await commander.ask("refresh", cid=cid, channel="c") == refused("item-not-found")


async def over_http(commands: Commands, *channels: str) -> str:
    """A client whose WebSocket is over HTTP, on these channels; what it is called."""
    controls = [("TEXT", f'c:{{"type":"subscribe","channel":"{name}"}}') for name in channels]
    handler = {"handler": commands.spec}
    await commands.start_h(opening(*controls), events(), events(), events(), **handler)
    await commands.join()
    for name in channels:
        await commands.proxy.held(name)
    (asked,) = commands.origin.requests
    return asked.get("Connection-Id") or ""


@pytest.mark.differs("1.36 knows no refresh")
@case
async def test_zmq_150_ws_141_all_of_a_channel(commands: Commands) -> None:
    await over_http(commands, "c", "d")
    commander = commands.commander()
    for number, channel in enumerate(["c", "d"], 2):
        assert await commander.ask("refresh", channel=channel) == done()
        assert (await commands.origin.request(number)).body == b""


@pytest.mark.differs("1.36 knows no refresh")
@case
async def test_zmq_150_ws_141_a_websocket_over_http(commands: Commands) -> None:
    name = await over_http(commands, "c")
    commander = commands.commander()
    for number in (2, 3):
        assert await commander.ask("refresh", cid=name, channel="nobody") == done()
        assert (await commands.origin.request(number)).body == b""


@pytest.mark.differs("1.36 knows no refresh")
@case
async def test_zmq_150_it_ends(commands: Commands) -> None:
    name = await over_http(commands, "c")
    commander = commands.commander()
    client = commands._clients[-1]
    client.drop()
    await commands.proxy.held("c", 0)
    assert await commander.ask("refresh", cid=name) == refused("item-not-found")
    assert await commander.ask("refresh", channel="c") == done()


@pytest.mark.differs("1.36 knows no refresh")
@case
async def test_zmq_151_ws_141_nothing_to_do(commands: Commands) -> None:
    await commands.start_w(handler=commands.spec)
    client, backend = await commands.open()
    await commands.subscribe(backend)
    commander = commands.commander()
    name = backend.asked.get("Connection-Id")
    for args in ({"channel": "c"}, {"channel": "nobody"}, {"channel": ""}):
        assert await commander.ask("refresh", **args) == done()
    await commands.nothing(client, backend)
    await commands.quiet(client, backend)
    assert name is None


# ---- conncheck ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        pytest.param({}, id="zmq_152-none"),
        pytest.param({"ids": "a"}, id="zmq_152-string"),
        pytest.param({"ids": [5]}, id="zmq_152-number"),
        pytest.param({"ids": ["a", None]}, id="zmq_152-null"),
        pytest.param({"ids": {}}, id="zmq_152-map"),
    ],
)
@case
async def test_a_check_of_nothing(commands: Commands, args: dict[str, Any]) -> None:
    await commands.begin()
    assert await commands.commander().ask("conncheck", **args) == refused("bad-request")


@case
async def test_zmq_153_nobody(commands: Commands) -> None:
    await commands.begin()
    commander = commands.commander()
    assert await commander.ask("conncheck", ids=[]) == done([])
    assert await commander.ask("conncheck", ids=["bogus", "", "h\xe4", "connmgr:"]) == done([])


# ---- publish -----------------------------------------------------------------------------------------------

ITEM = {"channel": "c", "formats": {S: {"content": "x"}}}


def of(name: str, **members: object) -> dict[str, object]:
    """An item with one format."""
    return {"channel": "c", "formats": {name: members}}


BAD_ITEMS: list[tuple[str, object, str]] = [
    ("string", "a", "object contains 'items' with wrong type"),
    ("map", {}, "object contains 'items' with wrong type"),
    ("empty-item", [{}], "publish item object does not contain 'channel'"),
    ("number", [5], "publish item object is not an object"),
    ("no-formats", [{"channel": "c"}], "no formats specified"),
    ("channel", [{**ITEM, "channel": 5}], "publish item object contains 'channel' with wrong type"),
    ("id", [{**ITEM, "id": 5}], "publish item object contains 'id' with wrong type"),
    ("size", [{**ITEM, "size": -1}], "publish item object contains 'size' with invalid value"),
    ("meta", [{**ITEM, "meta": {"a": 5}}], "'meta' contains 'a' with wrong type"),
    ("format", [{"channel": "c", S: "x"}], "'http-stream' is not an object"),
    ("content", [of(S)], "'http-stream' does not contain 'content'"),
    ("encoded", [of(S, **{"content-bin": "eA=="})], "'http-stream' does not contain 'content'"),
    ("code", [of(R, code=1000, body="x")], "'http-response' contains 'code' with invalid value"),
    ("body", [of(R)], "'http-response' does not contain 'body' or 'body-patch'"),
    ("type", [of(W, type="x")], "'ws-message' contains 'type' with unknown value"),
    ("message", [of(W)], "'ws-message' does not contain 'content' or 'content-bin'"),
    ("action", [of(S, action="jump")], ""),
]


@pytest.mark.parametrize(
    ("items", "text"), [pytest.param(items, text, id=f"zmq_154-{name}") for name, items, text in BAD_ITEMS]
)
@case
async def test_items_that_are_none(commands: Commands, items: object, text: str) -> None:
    await commands.begin()
    told = await commands.commander().ask("publish", items=items)
    assert told == refused("bad-request", f"Invalid format: {text}")


@case
async def test_zmq_154_no_items(commands: Commands) -> None:
    await commands.begin()
    commander = commands.commander()
    for args in ({}, {"item": [ITEM]}):
        told = await commander.ask("publish", **args)
        assert told == refused("bad-request", "Invalid format: object does not contain 'items'")


@case
async def test_zmq_155_items(commands: Commands) -> None:
    await commands.begin()
    client = await commands.poll()
    _, body = await commands.listen(count=2)
    commander = commands.commander()
    assert await commander.ask("publish", items=[]) == done()
    assert await commander.ask("publish", items=[streamed("one"), streamed("two")]) == done()
    assert await commander.ask("publish", items=[{"channel": "c", S: {"content": b"\xff\n"}}]) == done()
    await body.expect(b"onetwo\xff\n")
    assert await commander.ask("publish", items=[{"channel": "c", R: {"body": b"\0\xff"}}]) == done()
    assert (await client.read_response()).body == b"\0\xff"


@case
async def test_zmq_155_to_nobody(commands: Commands) -> None:
    await commands.begin()
    assert await commands.commander().ask("publish", items=[streamed("x", "nobody")]) == done()
    assert await commands.commander().ask("publish", items=[{"channel": "c", "formats": {"x": 5}}]) == done()


@case
async def test_zmq_156_all_or_none(commands: Commands) -> None:
    await commands.begin()
    _, body = await commands.listen()
    commander = commands.commander()
    text = "Invalid format: no formats specified"
    for items in ([ITEM, {"channel": "c"}], [{"channel": "c"}, ITEM]):
        assert await commander.ask("publish", items=items) == refused("bad-request", text)
    assert await commander.ask("publish", items=[streamed("-mark-")]) == done()
    await body.expect(b"-mark-")


@case
async def test_all_inputs_are_one_way(commands: Commands) -> None:
    """An item that came over another one is not delivered again."""
    proxy = await commands.begin()
    _, body = await commands.listen()
    commander = commands.commander()
    assert await commander.ask("publish", items=[streamed("one", id="1")]) == done()
    await proxy.post([streamed("again", id="1")])
    commands.pusher().send(packed(streamed("again", id="1")))
    assert await commander.ask("publish", items=[streamed("two", id="2", **{"prev-id": "1"})]) == done()
    await body.expect(b"onetwo")


# ---- connections by the names that statistics have ---------------------------------------------------------


def coming_from(number: int) -> tuple[str, str]:
    """An address, and the header line of a client that says so."""
    address = f"10.0.0.{number}"
    return address, f"X-Forwarded-For: {address}"


@case
async def test_zmq_149_no_websocket(commands: Commands) -> None:
    await commands.begin()
    await commands.watch()
    address, line = coming_from(1)
    await commands.ask("/st/c", line)
    name = await commands.name(address)
    assert await commands.commander().ask("refresh", cid=name) == refused("item-not-found")


@pytest.mark.differs("1.36 knows no refresh")
@case
async def test_zmq_151_ws_141_a_plain_websocket(commands: Commands) -> None:
    await commands.begin()
    await commands.watch()
    address, line = coming_from(1)
    client, backend = await commands.open("/", line)
    name = await commands.name(address)
    assert await commands.commander().ask("refresh", cid=name) == done()
    await commands.nothing(client, backend)
    await commands.quiet(client, backend)


@case
async def test_zmq_153_who_is_there(commands: Commands) -> None:
    """Held, on its way to a backend, and a WebSocket."""
    await commands.begin()
    await commands.watch()
    commands.origin.at("/slow", withheld)
    names = []
    for number, path in enumerate(("/st/c", "/lp/c", "/slow"), 1):
        address, line = coming_from(number)
        await commands.ask(path, line)
        names.append(await commands.name(address))
    address, line = coming_from(9)
    await commands.open("/", line)
    names.append(await commands.name(address))
    assert len(set(names)) == len(names)
    told = await commands.commander().ask("conncheck", ids=[*names, "bogus", "connmgr:99999"])
    assert sorted(told.pop("value")) == sorted(name.encode() for name in names)
    assert told == {"success": True}


@pytest.mark.differs("what was held is found for another minute")
@case
async def test_who_has_gone(commands: Commands) -> None:
    proxy = await commands.begin()
    await commands.watch()
    names, commander = [], commands.commander()
    for number, path in enumerate(("/st/c", "/lp/c", "/"), 1):
        address, line = coming_from(number)
        client = await (commands.ask if path != "/" else commands.shake)(path, line)
        name = await commands.name(address)
        assert await commander.ask("conncheck", ids=[name]) == done([name.encode()])
        client.drop()
        names.append(name)
    await proxy.held("c", 0)
    await proxy.settle()
    assert await commander.ask("conncheck", ids=names) == done([])
