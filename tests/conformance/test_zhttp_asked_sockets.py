"""WebSockets of programs that ask us over ZHTTP (zeromq 2.13)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.support.origin import ScriptedOrigin, reply, withheld
from tests.support.running import W
from tests.support.stage import Start
from tests.support.wsbackend import BackendSocket
from tests.support.wspeer import BINARY, CONTINUATION, PING, PONG, TEXT, Frame
from tests.support.zrequester import Asking, Program

case = pytest_twisted.ensureDeferred
pytestmark = pytest.mark.differs("has these sockets between its own processes only")


@pytest_twisted.async_yield_fixture
async def asking(start: Start, tmp_path: Path) -> AsyncIterator[Asking]:
    """A stage whose proxy is asked over ZHTTP."""
    asking = Asking(await ScriptedOrigin.listen(), start, tmp_path)
    yield asking
    await asking.clear()


def ask(program: Program, name: str = "1", **more: object) -> None:
    """Ask for a WebSocket."""
    uri = more.pop("uri", "ws://example.com/ws")
    program.ask(name, method=None, stream=None, uri=uri, **more)


async def opened(
    asking: Asking, *headers: str, extensions: str = "", credits: int | None = 1000, **options: Any
) -> tuple[Program, BackendSocket]:
    """A program with a WebSocket, and its other end."""
    await asking.begin(asking.backend.accepting(*headers, extensions=extensions), **options)
    program = await asking.program()
    ask(program, credits=credits)
    backend = await asking.backend.socket(1)
    packet = await program.heard()
    assert (packet["seq"], packet["code"], packet["credits"]) == (0, 101, 200_000)
    return program, backend


@case
async def test_zmq_184_the_consent(asking: Asking) -> None:
    """It says what the backend has said, without what is for one connection."""
    await asking.begin(asking.backend.accepting("Sec-WebSocket-Protocol: p", "X-A: 1", extensions=""))
    program = await asking.program()
    ask(program, "7", headers=[("Sec-WebSocket-Protocol", "p"), ("Upgrade", "other")], ext={"multi": True})
    backend = await asking.backend.socket(1)
    assert backend.asked.get("Sec-WebSocket-Protocol") == "p"
    packet = await program.heard()
    headers = {name.decode(): value.decode() for name, value in packet.pop("headers")}
    assert headers == {"Sec-WebSocket-Protocol": "p", "X-A": "1"}
    expected = {"code": 101, "reason": b"Switching Protocols", "credits": 200_000, "ext": {"multi": True}}
    assert packet == program.answer("7", 0, expected)


@case
async def test_messages(asking: Asking) -> None:
    program, backend = await opened(asking)
    program.say("1", 1, {"content-type": "text", "body": "hi"})
    program.say("1", 2, {"content-type": "binary", "body": b"\0"}, more=True)
    program.say("1", 3, {"content-type": "binary", "body": b"\1"})
    program.say("1", 4, type="ping", body="p")
    frames = [await backend.read_frame() for _ in range(4)]
    assert [frame[:3] for frame in frames] == [
        (TEXT, b"hi", True),
        (BINARY, b"\0", False),
        (CONTINUATION, b"\1", True),
        (PING, b"p", True),
    ]
    for seq, credits in ((1, 2), (2, 1), (3, 1), (4, 1)):
        await program.expect("1", seq, type=b"credit", credits=credits)
    backend.pong(b"p")
    backend.text("yo")
    backend.text("")
    await program.expect("1", 5, type=b"pong", body=b"p")
    await program.expect("1", 6, {"content-type": b"text", "body": b"yo"})
    await program.expect("1", 7, {"content-type": b"text", "body": b""})


@case
async def test_zmq_188_credits_of_the_program(asking: Asking) -> None:
    program, backend = await opened(asking, credits=3)
    backend.text("hello")
    await program.expect("1", 1, {"content-type": b"text", "body": b"hel"}, more=True)
    program.say("1", 1, type="credit", credits=10)
    await program.expect("1", 2, {"content-type": b"text", "body": b"lo"})


@case
async def test_credits_before_the_consent(asking: Asking) -> None:
    proxy = await asking.begin(withheld)
    program = await asking.program()
    ask(program, credits=1)
    await asking.origin.request(1)
    await proxy.advance(46)
    await program.expect("1", 0, type=b"keep-alive")
    program.say("1", 1, type="credit", credits=2)
    program.say("1", 2, type="ping", body="too early")
    await program.passed()
    (asked,) = asking.origin.requests
    answer = asking.backend.accepting(extensions="")(asked)
    assert answer is None
    backend = await asking.backend.socket(1)
    packet = await program.heard()
    assert (packet["seq"], packet["code"]) == (1, 101)
    backend.text("hello")
    await program.expect("1", 2, {"content-type": b"text", "body": b"hel"}, more=True)


@pytest.mark.parametrize("first", ["program", "backend"])
@case
async def test_closing(asking: Asking, first: str) -> None:
    program, backend = await opened(asking)
    if first == "program":
        program.say("1", 1, type="close", code=4001, body="bye")
        await backend.expect_close(4001, b"bye")
        backend.close(4002, b"ok")
        await program.expect("1", 1, type=b"close", code=4002, body=b"ok")
    else:
        backend.close(4001, b"bye")
        await program.expect("1", 1, type=b"close", code=4001, body=b"bye")
        program.say("1", 1, type="close", code=4002, body="ok")
        await backend.expect_close(4002, b"ok")
    backend.end()
    ask(program)  # the name is free again
    await asking.backend.socket(2)
    assert (await program.heard())["code"] == 101


@pytest.mark.parametrize("kind", ["cancel", "error", "number"])
@case
async def test_the_program_goes(asking: Asking, kind: str) -> None:
    program, backend = await opened(asking)
    if kind == "number":
        program.say("1", 9, type="ping")
        await program.expect("1", 1, type=b"cancel")
    else:
        program.say("1", 1, type=kind)
    await backend.gone()


@case
async def test_the_backend_goes(asking: Asking) -> None:
    program, backend = await opened(asking)
    backend.drop()
    await program.expect("1", 1, type=b"cancel")


@case
async def test_a_refusal(asking: Asking) -> None:
    await asking.begin(reply("X-A: 1", body=b"no\n", status="403 No Way"))
    program = await asking.program()
    ask(program, credits=0, **{"user-data": "u"})
    packet = await program.heard()
    headers = {name.decode(): value.decode() for name, value in packet.pop("headers")}
    assert headers == {"X-A": "1", "Content-Length": "3"}
    expected = {"user-data": b"u", "code": 403, "reason": b"No Way", "body": b"no\n"}
    assert packet == program.answer("1", 0, expected, type=b"error", condition=b"rejected")


@case
async def test_a_target_that_is_down(asking: Asking, down: str) -> None:
    await asking.begin(routes=[f"* {down}"])
    program = await asking.program()
    ask(program)
    packet = await program.heard()
    assert (packet["condition"], packet["code"]) == (b"rejected", 502)


@case
async def test_a_program_that_does_not_wait(asking: Asking) -> None:
    await asking.begin(withheld)
    program = await asking.program()
    ask(program)
    await asking.origin.request(1)
    program.say("1", 1, type="cancel")
    ask(program, "2")
    await asking.origin.request(2)


@pytest.mark.parametrize("kind", [TEXT, BINARY])
@case
async def test_grip(asking: Asking, kind: int) -> None:
    program, backend = await opened(asking, extensions="grip", credits=12)
    await asking.subscribe(backend)
    content = {"content": "published"} if kind == TEXT else {"content-bin": "AAE="}
    await asking.proxy.publish("c", {W: content})
    name = b"text" if kind == TEXT else b"binary"
    body = b"published" if kind == TEXT else b"\0\1"
    await program.expect("1", 1, {"content-type": name, "body": body})
    backend.text("m:direct")
    rest = 12 - len(body)
    expected = {"content-type": b"text", "body": b"direct"[:rest]}
    if rest < 6:
        expected["more"] = True
    await program.expect("1", 2, expected)


@case
async def test_published_messages_of_all_sizes(asking: Asking) -> None:
    program, backend = await opened(asking, extensions="grip", credits=1_000_000)
    await asking.subscribe(backend)
    for seq, size in enumerate((0, 125, 126, 65535, 65536)):
        await asking.proxy.publish("c", {W: {"content": "x" * size}})
        await program.expect("1", seq + 1, {"content-type": b"text", "body": b"x" * size})


@case
async def test_a_program_that_takes_nothing(asking: Asking) -> None:
    """What is published is dropped beyond the limit, whole messages only, and one line says so."""
    program, backend = await opened(asking, extensions="grip", credits=None, tw={"socket_queue": 1000})
    await asking.subscribe(backend)
    begin = len(asking.proxy.lines("connmgr"))
    for number in range(20):
        await asking.proxy.publish("c", {W: {"content": f"{number:02}" * 50}})
    program.say("1", 1, type="credit", credits=100_000)
    await program.expect("1", 1, {"content-type": b"text", "body": b"00" * 50})
    await program.passed()
    texts = []
    while program.sub.unread:
        texts.append((await program.heard())["body"][:2])
    assert texts == [b"%02d" % number for number in range(1, len(texts) + 1)] and 3 < len(texts) < 10
    lines = asking.proxy.lines("connmgr")[begin:]
    assert sum("does not read" in line for line in lines) == 1


@pytest.mark.one_process
@case
async def test_sockets_and_silence(asking: Asking) -> None:
    program, backend = await opened(asking)
    await asking.proxy.advance(61)
    await program.expect("1", 1, type=b"error", condition=b"session-timeout")
    await backend.gone()


@case
async def test_fragments_of_the_backend(asking: Asking) -> None:
    program, backend = await opened(asking)
    backend.raw.send(b"\x01\x01a\x89\x01p\x80\x01b")
    await program.expect("1", 1, {"content-type": b"text", "body": b"a"}, more=True)
    await program.expect("1", 2, type=b"ping", body=b"p")
    await program.expect("1", 3, {"content-type": b"text", "body": b"b"})
    program.say("1", 1, type="pong", body="p")
    assert (await backend.read_frame())[:2] == Frame(PONG, b"p")[:2]
