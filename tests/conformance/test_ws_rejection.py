"""Handshakes that come to nothing: what the client gets instead (websocket 10, 13 to 23)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import pytest_twisted

from tests.support.origin import Asked, reply
from tests.support.rawclient import Answer
from tests.support.wsbackend import agreement, opening
from tests.support.wsclient import SocketClient
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

FAILED = b"Error while proxying to origin.\n"

old = pytest.mark.differs("the release at hand loses parts of refusals, or all of them")
BOTH = pytest.mark.parametrize(
    "target", [pytest.param("", id="w", marks=old), pytest.param("over_http", id="h")]
)


async def refused(scene: SocketStage, host: str = "127.0.0.1") -> Answer:
    """The answer to a handshake; the connection ends behind it."""
    raw = await scene.shake(host=host)
    answer = await raw.read_response()
    await raw.closed()
    return answer


async def fails(scene: SocketStage, text: bytes = FAILED) -> None:
    """The answer is a 502 without a type."""
    answer = await refused(scene)
    assert (answer.status, answer.reason, answer.body) == (502, "Bad Gateway", text)
    assert answer.headers == [("Content-Length", str(len(text)))]


# ---- the backend's own words -------------------------------------------------------------------------------


@BOTH
@case
async def test_ws_013_a_refusal(scene: SocketStage, target: str) -> None:
    no = reply("X-Foo: bar", "Upgrade: h2c", "Connection: x", status="403 Nope", body=b"denied")
    await scene.start(no, target=target)
    answer = await refused(scene)
    assert (answer.status, answer.reason, answer.body) == (403, "Nope", b"denied")
    assert (answer.get("X-Foo"), answer.all("Content-Length")) == ("bar", ["6"])
    assert answer.get("Upgrade") is answer.get("Connection") is None
    assert len(scene.origin.requests) == 1


@BOTH
@pytest.mark.parametrize(
    ("status", "lines", "body"),
    [
        pytest.param(
            "401 Unauthorized",
            ["Set-Cookie: a", "WWW-Authenticate: b", "Set-Cookie: c"],
            b"?",
            id="ws_014-401",
        ),
        pytest.param("302 Found", ["Location: http://example.org/"], b"", id="ws_014-302"),
        pytest.param("500 Oh", ["X: y"], b"no", id="ws_014-500"),
    ],
)
@case
async def test_statuses(scene: SocketStage, target: str, status: str, lines: list[str], body: bytes) -> None:
    await scene.start(reply(*lines, status=status, body=body), target=target)
    answer = await refused(scene)
    assert f"{answer.status} {answer.reason}" == status
    own = [f"{name}: {value}" for name, value in answer.headers if name != "Content-Length"]
    assert (own, answer.body) == (lines, body)
    assert len(scene.origin.requests) == 1


@BOTH
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"], ids=["ws_014-204", "ws_014-304"])
@case
async def test_statuses_without_a_body(scene: SocketStage, target: str, status: str) -> None:
    await scene.start(f"HTTP/1.1 {status}\r\nX: y\r\n\r\n".encode(), target=target)
    answer = await refused(scene)
    assert (f"{answer.status} {answer.reason}", answer.get("X"), answer.body) == (status, "y", b"")
    assert len(answer.headers) == 1


@BOTH
@case
async def test_ws_015_a_refusal_in_chunks(scene: SocketStage, target: str) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    await scene.start(chunked, target=target)
    answer = await refused(scene)
    assert (answer.status, answer.body) == (200, b"hello")
    assert (answer.get("Content-Length"), answer.get("Transfer-Encoding")) == ("5", None)


@BOTH
@case
async def test_ws_016_a_refusal_of_8192_bytes(scene: SocketStage, target: str) -> None:
    await scene.start(reply(status="404 No", body=b"x" * 8192), target=target)
    answer = await refused(scene)
    assert (answer.status, answer.body) == (404, b"x" * 8192)


@pytest.mark.differs("the reference relays 8192 bytes at most")
@BOTH
@pytest.mark.parametrize("size", [8193, 100_000, 1_000_000], ids=["ws_016-8193", "ws_016-1e5", "ws_016-1e6"])
@case
async def test_large_refusals(scene: SocketStage, target: str, size: int) -> None:
    await scene.start(reply(status="404 No", body=b"x" * size), target=target)
    answer = await refused(scene)
    assert (answer.status, len(answer.body)) == (404, size)


@old
@case
async def test_ws_016_a_refusal_without_end(scene: SocketStage) -> None:
    """What is held of a refusal has a limit."""
    await scene.start(reply(status="404 No", body=b"x" * 1_000_001))
    await fails(scene)


@BOTH
@case
async def test_ws_017_a_refusal_is_no_instruction(scene: SocketStage, target: str) -> None:
    await scene.start(reply("Grip-Hold: stream", "Grip-Channel: c", body=b"begin"), target=target)
    answer = await refused(scene)
    assert (answer.status, answer.body) == (200, b"begin")
    assert (answer.get("Grip-Hold"), answer.get("Grip-Channel")) == ("stream", "c")


# ---- what is no answer -------------------------------------------------------------------------------------


def agreeing(change: Callable[[bytes], bytes]) -> Callable[[Asked], bytes]:
    """A backend whose 101 is not as it ought to be."""
    return lambda asked: change(agreement(asked))


def without_accept(head: bytes) -> bytes:
    return b"".join(line for line in head.splitlines(True) if not line.startswith(b"Sec-WebSocket-Accept"))


def cut(data: bytes) -> Callable[[Asked], None]:
    """A backend that says this and goes."""

    def answer(asked: Asked) -> None:
        asked.write(data)
        asked.close()

    return answer


GRIP = b"Sec-WebSocket-Extensions: grip"
BROKEN = [
    pytest.param(
        agreeing(lambda head: head.replace(b"Accept: ", b"Accept: x")), id="ws_018-wrong", marks=old
    ),
    pytest.param(agreeing(without_accept), id="ws_018-none", marks=old),
    pytest.param(b"what is this?\r\n\r\n", id="ws_019-garbage"),
    pytest.param(cut(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webs"), id="ws_019-half"),
    pytest.param(cut(b""), id="ws_019-nothing"),
    pytest.param(cut(b"HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\nhalf"), id="ws_019-half_a_body"),
    pytest.param(
        agreeing(lambda head: head.replace(GRIP, GRIP + b", permessage-deflate")), id="ws_020-grip", marks=old
    ),
    pytest.param(
        agreeing(lambda head: head.replace(b"grip", b"permessage-deflate")), id="ws_020-alone", marks=old
    ),
    pytest.param(
        agreeing(lambda head: head.replace(b"grip", b'grip; message-prefix="')), id="ws_020-quote", marks=old
    ),
]


@pytest.mark.parametrize("debug", ["", ",debug"], ids=["terse", "debug"])
@pytest.mark.parametrize("answer", BROKEN)
@case
async def test_broken_answers(scene: SocketStage, debug: str, answer: Callable[[Asked], bytes]) -> None:
    await scene.start(answer, condition=f"*{debug}")
    await fails(scene)


@case
async def test_ws_021_no_route(scene: SocketStage) -> None:
    await scene.start(reply(), condition="other.example")
    raw = await scene.shake(host="127.0.0.1:7999")
    answer = await raw.read_response()
    await raw.closed()
    assert answer.status == 502
    # The first is what 1.41 says, the second what 2.0 says, which names no host.
    assert answer.body in (b"No route for host: 127.0.0.1\n", b"Route not found\n")
    assert answer.get("Content-Type") is None
    assert not scene.origin.requests


@BOTH
@case
async def test_ws_022_nobody_listens(scene: SocketStage, down: str, target: str) -> None:
    option = f",{target}" if target else ""
    await scene.start(routes=[f"* {down}{option}"])
    await fails(scene)


@BOTH
@case
async def test_ws_022_nobody_listens_debug(scene: SocketStage, down: str, target: str) -> None:
    option = f",{target}" if target else ""
    await scene.start(routes=[f"*,debug {down}{option}"])
    await fails(scene, f"Unable to connect to any targets. Tried: {down}\n".encode())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("", "", id="ws_023-w-w"),
        pytest.param(",over_http", ",over_http", id="ws_023-h-h"),
        pytest.param("", ",over_http", id="ws_023-w-h"),
        pytest.param(",over_http", "", id="ws_023-h-w"),
    ],
)
@case
async def test_the_second_target(scene: SocketStage, down: str, first: str, second: str) -> None:
    scene.origin.answers(opening() if second else scene.backend.accepting())
    await scene.start(routes=[f"* {down}{first} {scene.origin.address}{second}"])
    client = await SocketClient.switched(await scene.shake())
    assert client.head.status == 101
    assert [asked.method for asked in scene.origin.requests] == ["POST" if second else "GET"]
