"""Requests that programs send to us over ZHTTP (zeromq 2.13)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.support.origin import Asked, ScriptedOrigin, hold, reply
from tests.support.running import R, S
from tests.support.stage import Start
from tests.support.zrequester import Asking, Program
from tests.support.zworker import pack

case = pytest_twisted.ensureDeferred
pytestmark = pytest.mark.differs("has these sockets between its own processes only")

OK = reply(body=b"hello\n")


@pytest_twisted.async_yield_fixture
async def asking(start: Start, tmp_path: Path) -> AsyncIterator[Asking]:
    """A stage whose proxy is asked over ZHTTP."""
    asking = Asking(await ScriptedOrigin.listen(), start, tmp_path)
    yield asking
    await asking.clear()


def plain(headers: list[list[bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


async def nothing_more(program: Program) -> None:
    """No answer has come: the next one is to a mark."""
    if program.address:
        await program.passed()
    program.ask("mark", type="keep-alive")
    await program.expect("mark", 0, type=b"cancel")


# ---- requests ----------------------------------------------------------------------------------------------


@case
async def test_zmq_181_a_request(asking: Asking) -> None:
    await asking.begin(OK)
    program = await asking.program()
    program.ask("1", uri="http://example.com/a?b=c", headers=[("X-A", "1"), ("Host", "elsewhere")])
    await program.expect("1", 0, type=b"keep-alive")
    packet = await program.heard()
    assert plain(packet.pop("headers"))["Content-Length"] == "6"
    assert packet == program.answer("1", 1, code=200, reason=b"OK", body=b"hello\n")
    (asked,) = asking.origin.requests
    assert (asked.method, asked.target, asked.get("X-A")) == ("GET", "/a?b=c", "1")
    assert asked.headers[0] == ("Host", "example.com")
    await nothing_more(program)


@case
async def test_zmq_181_without_numbers(asking: Asking) -> None:
    await asking.begin(OK)
    program = await asking.program()
    program.ask("1", seq=None, credits=3)
    await program.expect("1", 0, type=b"keep-alive")
    packet = await program.heard()
    assert (packet["seq"], packet["body"], packet["more"]) == (1, b"hel", True)
    program.say("1", None, type="keep-alive")
    program.say("1", None, type="credit", credits=3)
    await program.expect("1", 2, body=b"lo\n")


@case
async def test_zmq_182_through_router(asking: Asking) -> None:
    await asking.begin(OK)
    program = await asking.program()
    program.ask("1", {"router-resp": True})
    assert await program.routed() == program.answer("1", 0, type=b"keep-alive")
    packet = await program.routed()
    assert (packet["id"], packet["code"], packet["body"]) == (b"1", 200, b"hello\n")
    await nothing_more(program)


@pytest.mark.parametrize("data", [{"a": [1, b"\xff", True]}, b"text", 5, None, [], 1.5])
@case
async def test_zmq_183_user_data(asking: Asking, data: Any) -> None:
    await asking.begin(OK)
    program = await asking.program()
    whole = {"from": "P", "id": "1", "seq": 0, "method": "GET", "uri": "http://a/", "stream": True}
    program.push.send(pack({**whole, "credits": 5, "user-data": data}))
    assert await program.heard() == program.answer("1", 0, {"user-data": data}, type=b"keep-alive")
    packet = await program.heard()
    assert (packet["body"], packet["user-data"]) == (b"hello", data)
    program.say("1", 1, type="credit", credits=1)
    assert (await program.heard())["user-data"] == data
    program.push.send(pack({**whole, "id": "2", "stream": False, "user-data": data}))
    assert (await program.heard())["user-data"] == data


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": None},
        {"stream": False},
        {"seq": 1},
        {"seq": None, "more": True},
        {"uri": "ws://example.com/", "seq": None},
        {"uri": "ws://example.com/", "seq": 1},
        {"method": None},
        {"method": "GE T"},
        {"uri": "http://"},
        {"uri": "http:///a"},
        {"uri": "http://user@example.com/"},
        {"uri": "http://example.com/a b"},
        {"uri": "http://example.com/\r\nX: y"},
        {"headers": [("X-A", "1\r\nX-B: 2")]},
        {"headers": [("X A", "1")]},
        {"headers": [("X-A", "1")] * 65},
        {"headers": [("Content-Length", "3")]},
        {"headers": [("Content-Length", "-3")], "body": "abc"},
        {"headers": [("Content-Length", "3")] * 2, "body": "abc"},
    ],
)
@case
async def test_zmq_184_bad_requests(asking: Asking, fields: dict[str, Any]) -> None:
    await asking.begin(OK)
    program = await asking.program()
    program.ask("1", fields)
    await program.expect("1", 0, type=b"error", condition=b"bad-request")
    await nothing_more(program)
    assert asking.origin.requests == []


@pytest.mark.parametrize(
    ("kind", "answered"),
    [
        ("keep-alive", True),
        ("credit", True),
        ("ping", True),
        ("handoff-start", True),
        ("error", False),
        ("cancel", False),
    ],
)
@case
async def test_zmq_185_first_packets_that_are_none(asking: Asking, kind: str, answered: bool) -> None:
    await asking.begin(OK)
    program = await asking.program()
    program.ask("1", type=kind)
    if answered:
        await program.expect("1", 0, type=b"cancel")
    await nothing_more(program)


@case
async def test_zmq_186_a_name_that_is_in_use(asking: Asking) -> None:
    await asking.begin(OK)
    program, other = await asking.program(), await asking.program("Q")
    program.ask("1", credits=0)
    await program.expect("1", 0, type=b"keep-alive")
    assert (await program.heard())["code"] == 200
    program.ask("1")
    await program.expect("1", None, type=b"cancel")
    other.ask("1")
    await other.expect("1", 0, type=b"keep-alive")
    assert (await other.heard())["body"] == b"hello\n"
    program.say("1", 1, type="credit", credits=6)
    await program.expect("1", 2, body=b"hello\n")


@pytest.mark.parametrize("uri", ["ftp://example.com/", "", "/a", "example.com", "httpx://a/"])
@case
async def test_zmq_186_schemes(asking: Asking, uri: str) -> None:
    await asking.begin(OK)
    program = await asking.program()
    program.ask("1", uri=uri)
    await program.expect("1", None, type=b"cancel")
    await nothing_more(program)


@case
async def test_zmq_187_packets_that_are_dropped(asking: Asking) -> None:
    """And told of in the log, each kind once.  Among later packets one frame is a probe."""
    proxy = await asking.begin(OK)
    program = await asking.program()
    begin = len(proxy.lines("connmgr"))
    for fields in (
        {"from": None},
        {"from": ""},
        {"from": "P Q"},
        {"id": None},
        {"id": [{"id": "1", "seq": 0}, {"id": "2", "seq": 0}]},
        {"uri": 5},
        {"stream": 1},
        {"type": "data"},
    ):
        program.ask("1", fields)
    for frames in ([b""], [b"J{}"], [b"T5:abc,"], [b"x", b"y"]):
        program.push.send(*frames)
    for frames in ([b""], [b"", b"J{}"], [b"", b"T5:abc,"], [b"", b"x", b"y"]):
        program.router.send(program.address, *frames)
    assert await program.router.frames() == [program.address, b"", b"probe-ack"]
    await nothing_more(program)
    assert asking.origin.requests == []
    assert [line for line in proxy.lines("connmgr")[begin:] if "message dropped" in line] == [
        "zhttp in: message dropped: no sender",
        "zhttp in: message dropped: frames: 2 instead of 1",
    ]


@case
async def test_zmq_188_credits_for_the_answer(asking: Asking) -> None:
    await asking.begin(OK)
    program = await asking.program()
    program.ask("1", credits=3)
    await program.expect("1", 0, type=b"keep-alive")
    packet = await program.heard()
    assert (packet["seq"], packet["code"], packet["body"], packet["more"]) == (1, 200, b"hel", True)
    program.say("1", 1, type="credit", credits=-5)
    program.say("1", 2, type="credit", credits=100)
    await program.expect("1", 2, body=b"lo\n")
    await nothing_more(program)


@case
async def test_zmq_188_a_large_answer_without_haste(asking: Asking) -> None:
    """Little of it waits here: the origin is read as credits come."""
    body = bytes(range(250)) * 40_000
    proxy = await asking.begin(reply(body=body))
    program = await asking.program()
    program.ask("1", credits=1000)
    await program.expect("1", 0, type=b"keep-alive")
    packet = await program.heard()
    came, seq, granted = packet["body"], 0, 1000
    assert len(came) == 1000
    for _ in range(20):
        await proxy.settle()
    assert not program.sub.unread
    while len(came) < len(body):
        if granted == len(came):
            seq += 1
            granted += 500_000
            program.say("1", seq, type="credit", credits=500_000)
        packet = await program.heard()
        came += packet.get("body", b"")
    assert came == body and "more" not in packet


@pytest.mark.parametrize("seq", [0, 2, 7])
@case
async def test_zmq_189_a_wrong_number(asking: Asking, seq: int) -> None:
    await asking.begin(OK)
    program = await asking.program()
    program.ask("1", credits=3)
    await program.expect("1", 0, type=b"keep-alive")
    await program.heard()
    program.say("1", seq, type="credit", credits=3)
    await program.expect("1", 2, type=b"cancel")
    program.say("1", 1, type="credit", credits=3)
    await nothing_more(program)


@pytest.mark.parametrize("chunked", [False, True])
@case
async def test_zmq_190_a_body_in_parts(asking: Asking, chunked: bool) -> None:
    await asking.begin(OK)
    program = await asking.program()
    headers = [] if chunked else [("Content-Length", "11")]
    program.ask("1", method="POST", headers=headers, body="first", more=True)
    await program.expect("1", 0, type=b"credit", credits=200_000)
    await program.expect("1", 1, type=b"credit", credits=5)
    program.say("1", 1, body="abc", more=True)
    await program.expect("1", 2, type=b"credit", credits=3)
    program.say("1", 2, body="def")
    await program.expect("1", 3, type=b"credit", credits=3)
    packet = await program.heard()
    assert (packet["seq"], packet["code"], packet["body"]) == (4, 200, b"hello\n")
    (asked,) = asking.origin.requests
    assert asked.body == b"firstabcdef"


@pytest.mark.parametrize(("body", "more"), [("abcd", True), ("abcd", False), ("ab", False)])
@case
async def test_a_body_of_another_length(asking: Asking, body: str, more: bool) -> None:
    await asking.begin(OK)
    program = await asking.program()
    program.ask("1", method="POST", headers=[("Content-Length", "3")], more=True)
    await program.expect("1", 0, type=b"credit", credits=200_000)
    program.say("1", 1, body=body, more=True if more else None)
    packet = await program.heard()
    while packet.get("type") == b"credit":
        packet = await program.heard()
    assert (packet["type"], packet["condition"]) == (b"error", b"bad-request")
    await nothing_more(program)


@case
async def test_a_whole_body(asking: Asking) -> None:
    await asking.begin(OK)
    program = await asking.program()
    program.ask("1", method="POST", body="abc")
    await program.expect("1", 0, type=b"keep-alive")
    packet = await program.heard()
    assert (packet["seq"], packet["code"]) == (1, 200)
    (asked,) = asking.origin.requests
    assert (asked.body, asked.get("Content-Length")) == (b"abc", "3")


@case
async def test_zmq_191_a_probe(asking: Asking) -> None:
    await asking.begin(OK)
    program = await asking.program()
    program.ask("1", {"router-resp": True})
    await program.routed()
    await program.routed()
    program.router.send(program.address, b"hello?")
    assert await program.router.frames() == [program.address, b"", b"probe-ack"]


@case
async def test_multi(asking: Asking) -> None:
    """Said once; one packet may be for several sessions, of which each has its own number."""
    await asking.begin(OK)
    program = await asking.program()
    for name in ("1", "2"):
        program.ask(name, credits=0, ext={"multi": True})
        await program.expect(name, 0, type=b"keep-alive", ext={"multi": True})
        assert "ext" not in await program.heard()
    ids = [{"id": "1", "seq": 1}, {"id": "?", "seq": 4}, {"id": "2", "seq": 1}]
    whole = {"from": "P", "id": ids, "type": "credit", "credits": 6}
    program.router.send(program.address, b"", pack(whole))
    for name in ("1", "2"):
        await program.expect(name, 2, body=b"hello\n")


@case
async def test_head(asking: Asking) -> None:
    await asking.begin(reply(body=b"hello\n")[:-6])
    program = await asking.program()
    program.ask("1", method="HEAD", credits=0)
    await program.expect("1", 0, type=b"keep-alive")
    packet = await program.heard()
    assert plain(packet["headers"])["Content-Length"] == "6"
    assert "body" not in packet and "more" not in packet


@pytest.mark.parametrize("kind", ["cancel", "error"])
@case
async def test_a_program_that_wants_no_more(asking: Asking, kind: str) -> None:
    proxy = await asking.begin(hold("stream", channel="c"))
    program = await asking.program()
    program.ask("1")
    await program.expect("1", 0, type=b"keep-alive")
    assert (await program.heard())["more"] is True
    await proxy.held("c")
    program.say("1", None, type=kind)
    await proxy.held("c", 0)
    await nothing_more(program)


@case
async def test_held_requests(asking: Asking) -> None:
    """A long-poll and a stream are answered by what is published, as far as credits go."""
    proxy = await asking.begin(_by_path)
    program = await asking.program()
    program.ask("1", uri="http://example.com/stream", credits=8)
    await program.expect("1", 0, type=b"keep-alive")
    packet = await program.heard()
    assert (packet["code"], packet["more"]) == (200, True)
    assert "Content-Length" not in plain(packet["headers"])
    program.ask("2", uri="http://example.com/response")
    await program.expect("2", 0, type=b"keep-alive")
    await proxy.held("c", 2)
    await proxy.publish("c", {S: {"content": "streamed"}, R: {"body": "answer", "headers": {"X-A": "1"}}})
    found = {packet["id"]: packet for packet in [await program.heard(), await program.heard()]}
    assert found[b"1"]["body"] == b"streamed"
    assert (found[b"2"]["code"], found[b"2"]["body"]) == (200, b"answer")
    assert plain(found[b"2"]["headers"]) == {"X-A": "1", "Content-Length": "6"}
    await proxy.publish("c", {S: {"content": "waits"}})
    await nothing_more(program)
    program.say("1", 1, type="credit", credits=2)
    await program.expect("1", 3, body=b"wa", more=True)
    await proxy.publish("c", {S: {"action": "close"}})
    program.say("1", 2, type="credit", credits=100)
    packet = await program.heard()
    body = packet["body"]
    while packet.get("more"):
        packet = await program.heard()
        body += packet.get("body", b"")
    assert body == b"its"


def _by_path(asked: Asked) -> bytes:
    return hold(asked.target.removeprefix("/"), channel="c")


@case
async def test_keep_alives_and_silence(asking: Asking) -> None:
    proxy = await asking.begin(hold("response", "Grip-Timeout: 300"))
    program = await asking.program()
    program.ask("1", {"user-data": "x"})
    await program.expect("1", 0, {"user-data": b"x"}, type=b"keep-alive")
    await proxy.held("c")
    await proxy.advance(46)
    await program.expect("1", 1, {"user-data": b"x"}, type=b"keep-alive")
    program.say("1", 1, type="keep-alive")
    await program.passed()
    await proxy.advance(30)
    await proxy.advance(29)
    await program.expect("1", 2, {"user-data": b"x"}, type=b"keep-alive")
    await proxy.advance(2)
    await program.expect("1", 3, {"user-data": b"x"}, type=b"error", condition=b"session-timeout")
    await proxy.held("c", 0)


@case
async def test_the_origin_breaks_off(asking: Asking) -> None:
    await asking.begin(_broken)
    program = await asking.program()
    program.ask("1")
    await program.expect("1", 0, type=b"keep-alive")
    packet = await program.heard()
    while packet.get("more"):
        packet = await program.heard()
    assert packet["type"] == b"cancel"


def _broken(asked: Asked) -> None:
    asked.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    asked.close()


@case
async def test_a_target_that_is_down(asking: Asking, down: str) -> None:
    await asking.begin(routes=[f"* {down}"])
    program = await asking.program()
    program.ask("1")
    await program.expect("1", 0, type=b"keep-alive")
    packet = await program.heard()
    assert (packet["code"], packet["body"]) == (502, b"Error while proxying to origin.\n")


@case
async def test_clients_behind_the_program(asking: Asking) -> None:
    """Their addresses, and that of TLS, are believed."""
    await asking.begin(OK, proxy={"x_forwarded_for": "append", "set_x_forwarded_protocol": "true"})
    program = await asking.program()
    program.ask("1", {"peer-address": "192.0.2.7", "peer-port": 1234}, uri="https://example.com/")
    await program.expect("1", 0, type=b"keep-alive")
    await program.heard()
    program.ask("2", {"peer-address": "no address"})
    await program.expect("2", 0, type=b"keep-alive")
    await program.heard()
    first, second = asking.origin.requests
    assert (first.get("X-Forwarded-For"), first.get("X-Forwarded-Proto")) == ("192.0.2.7", "https")
    assert second.get("X-Forwarded-Proto") is None


@pytest.mark.one_process
@case
async def test_a_limit_of_sessions(asking: Asking) -> None:
    """Beyond it requests wait with the program."""
    proxy = await asking.begin(hold("response", channel="c"), runner={"client_maxconn": 2})
    program = await asking.program()
    for name in ("1", "2", "3"):
        program.ask(name)
    for name in ("1", "2"):
        await program.expect(name, 0, type=b"keep-alive")
    await proxy.held("c", 2)
    await proxy.settle()
    assert not program.sub.unread
    program.say("1", None, type="cancel")
    await program.expect("3", 0, type=b"keep-alive")


@case
async def test_the_proxy_ends(asking: Asking) -> None:
    proxy = await asking.begin(hold("response", channel="c"))
    program = await asking.program()
    program.ask("1")
    await program.expect("1", 0, type=b"keep-alive")
    await proxy.held("c")
    await proxy.stop()
    asking._started = False
    await program.expect("1", 1, type=b"cancel")


@pytest.mark.one_process
@case
async def test_statistics(asking: Asking, tmp_path: Path) -> None:
    """Requests are connections as any others are, as long as they last."""
    proxy: Any = await asking.begin(_plain_or_held, handler={"stats_spec": f"ipc://{tmp_path}/stats"})
    program = await asking.program()
    tally = proxy.service.lent.tally
    program.ask("1", {"peer-address": "192.0.2.7"}, uri="https://example.com/stream")
    await program.expect("1", 0, type=b"keep-alive")
    await proxy.held("c")
    (held,) = [each for turn in tally.connections.turns for each in turn.values()]
    assert (held.kind, held.secure, held.address) == ("http", True, "192.0.2.7")
    assert (await program.heard())["more"] is True
    program.ask("2")
    await program.expect("2", 0, type=b"keep-alive")
    assert (await program.heard())["body"] == b"hello\n"
    assert len(tally.connections) == 1
    program.say("1", None, type="cancel")
    await proxy.held("c", 0)
    assert len(tally.connections) == 0
    counts = tally.routes[""]
    assert counts.client_content_sent == 6 and counts.client_header_sent > 0


def _plain_or_held(asked: Asked) -> bytes:
    return hold("stream", channel="c") if asked.target == "/stream" else OK
