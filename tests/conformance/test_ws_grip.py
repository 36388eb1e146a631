"""GRIP between the proxy and a WebSocket target: what of it is for the client (websocket 2.2 to 2.4)."""

from __future__ import annotations

import jwt
import pytest
import pytest_twisted

from tests.support.wsbackend import BackendSocket, opening
from tests.support.wsclient import SocketClient
from tests.support.wspeer import BINARY, CONTINUATION, PING, PONG, TEXT, encode
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred
SECRET = "up" * 32
"""Long enough for PyJWT not to warn."""
SUBSCRIBE = '{"type":"subscribe","channel":"c"}'
PINGS = pytest.mark.differs("1.36 loses what pings contain")
LEAKS = pytest.mark.differs("the reference drops no more than the first piece")


async def unsubscribed(scene: SocketStage, client: SocketClient, backend: BackendSocket) -> None:
    """Nobody listens to ``c``, and the connection lives on."""
    await scene.proxy.settle()
    await scene.say("unheard")
    await scene.proxy.settle()
    await scene.nothing(client, backend)


# ---- the extension (websocket 2.2) -------------------------------------------------------------------------

EMPTY = 'grip; message-prefix=""'
HEARD = [
    ("050", "grip", "m:", TEXT, b"m:hello", b"hello"),
    ("050", "grip", "m:", TEXT, b"hello", None),
    ("050", "grip", "m:", TEXT, b"m:", b""),
    ("050", "grip", "m:", TEXT, b"m", None),
    ("050", "grip", "m:", TEXT, b"", None),
    ("050", "grip", "m:", BINARY, b"m:\x00", b"\x00"),
    ("050", "grip", "m:", BINARY, b"\x00", None),
    ("050", "grip", "m:", BINARY, b"c:x", None),
    ("050", "grip", "m:", PONG, b"m:x", b"m:x"),
    ("050", "grip", "m:", PING, b"c:{}", b"c:{}"),
    ("051", EMPTY, "", TEXT, b"hello", b"hello"),
    ("051", EMPTY, "", TEXT, b"", b""),
    ("051", EMPTY, "", TEXT, b"c:{}", None),
    ("051", EMPTY, "", TEXT, b"c", b"c"),
    ("051", EMPTY, "", BINARY, b"c:x", b"c:x"),
    ("051", "grip; message-prefix", "", TEXT, b"hello", b"hello"),
    ("052", 'foo, grip; message-prefix=""', "", TEXT, b"c:{}", None),
    ("052", "  grip ;message-prefix=P- ", "P-", TEXT, b"P-x", b"x"),
    ("052", "grip; x=1; message-prefix=P-", "P-", TEXT, b"P-x", b"x"),
    ("052", "grip; Message-Prefix=P-", "m:", TEXT, b"P-x", None),
    ("052", "grip; Message-Prefix=P-", "m:", TEXT, b"m:x", b"x"),
    ("052", "grip; message-prefix=Q-; message-prefix=P-", "P-", TEXT, b"P-x", b"x"),
    ("053", "grip; message-prefix=P-", "P-", TEXT, b"P-x", b"x"),
    ("053", "grip; message-prefix=P-", "P-", TEXT, b"m:x", None),
    ("053", 'grip; message-prefix="a b"', "a b", TEXT, b"a bx", b"x"),
    ("053", 'grip; message-prefix="x;y"', "x;y", TEXT, b"x;yz", b"z"),
    ("053", 'grip; message-prefix="a,b"', "a,b", TEXT, b"a,bz", b"z"),
    ("053", "grip; message-prefix=q:", "q:", TEXT, b"q:z", b"z"),
]


@pytest.mark.parametrize(
    ("extensions", "prefix", "kind", "said", "heard"),
    [
        pytest.param(*row, id=f"ws_{number}-{at}", marks=[PINGS] if row[2] in (PING, PONG) else [])
        for at, (number, *row) in enumerate(HEARD)
    ],
)
@case
async def test_what_a_client_hears(
    scene: SocketStage, extensions: str, prefix: str, kind: int, said: bytes, heard: bytes | None
) -> None:
    await scene.start_w(extensions=extensions)
    client, backend = await scene.open()
    backend.frame(kind, said)
    if heard is not None:
        await client.expect(kind, heard)
    await scene.nothing(client, backend, prefix)


@pytest.mark.parametrize("extensions", ["", "GRIP", "gripe", "grip; message-prefix="])
@case
async def test_ws_052_without_the_extension_all_is_raw(scene: SocketStage, extensions: str) -> None:
    await scene.start_w(extensions=extensions)
    client, backend = await scene.open()
    for said in (f"c:{SUBSCRIBE}", "m:x", "x", ""):
        backend.text(said)
        await client.expect_text(said)
    await scene.say("unheard")
    await scene.nothing(client, backend, "")


@pytest.mark.differs("1.36 does not finish its answer")
@case
async def test_ws_052_an_unclosed_quote_is_no_answer_over_websocket(scene: SocketStage) -> None:
    await scene.start_w(extensions='grip; message-prefix="x')
    refused = await scene.shake()
    answer = await refused.read_response()
    assert (answer.status, answer.body) == (502, b"Error while proxying to origin.\n")
    await refused.closed()


@case
async def test_ws_052_an_unclosed_quote_means_nothing_over_http(scene: SocketStage) -> None:
    answer = opening(("TEXT", "c:{}"), ("TEXT", "m:x"), extensions='grip; message-prefix="x')
    await scene.start_h(answer)
    client = await scene.join()
    await client.expect_text("c:{}")
    await client.expect_text("m:x")


@pytest.mark.differs("the reference cannot read these from a WebSocket target")
@pytest.mark.parametrize(
    ("extensions", "prefix"),
    [("grip;", "m:"), (r'grip; message-prefix="a\"b"', 'a"b')],
    ids=["empty", "quoted"],
)
@case
async def test_ws_053_parameters_that_take_more_reading(
    scene: SocketStage, extensions: str, prefix: str
) -> None:
    await scene.start_w(extensions=extensions)
    client, backend = await scene.open()
    backend.text("unprefixed")
    await scene.nothing(client, backend, prefix)


@case
async def test_ws_052_the_extension_in_a_header_of_its_own(scene: SocketStage) -> None:
    await scene.start_w("Sec-WebSocket-Extensions: grip; message-prefix=P-", extensions="foo; a=1")
    client, backend = await scene.open()
    backend.control("{}")
    await scene.nothing(client, backend, "P-")


@case
async def test_ws_051_a_prefix_like_that_of_control_messages(scene: SocketStage) -> None:
    """``c:`` is tested before the prefix, so that only binary messages come through (websocket 2.3)."""
    await scene.start_w(extensions="grip; message-prefix=c:")
    client, backend = await scene.open()
    backend.text("c:text")
    backend.binary(b"c:bytes")
    await client.expect(BINARY, b"bytes")
    await scene.quiet(client)


# ---- messages in pieces (websocket 2.3) --------------------------------------------------------------------


@case
async def test_ws_054_a_control_message_is_one_frame(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.frame(TEXT, f"c:{SUBSCRIBE}"[:9].encode(), fin=False)
    backend.frame(CONTINUATION, f"c:{SUBSCRIBE}"[9:].encode())
    backend.text("m:z")
    await client.expect_text("z")
    await unsubscribed(scene, client, backend)


@pytest.mark.differs("the reference splits it while reading")
@pytest.mark.parametrize("size", [8193, 65536])
@case
async def test_ws_054_a_control_message_may_be_large(scene: SocketStage, size: int) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    content = SUBSCRIBE.ljust(size - len("c:"))
    data = encode(TEXT, f"c:{content}".encode())
    backend.raw.send(data[:5000])
    await scene.proxy.settle()
    backend.raw.send(data[5000:])
    await scene.proxy.held("c")
    await scene.say("heard")
    await client.expect_text("heard")


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"un", b"prefixed"], marks=LEAKS),
        pytest.param([b"un", b"m:x", b"c:{}"], marks=LEAKS),
        pytest.param([b"m", b":x"], marks=LEAKS),
        pytest.param([b"", b"m:x"], marks=LEAKS),
    ],
    ids=["ws_055-two", "ws_055-prefix-later", "ws_055-prefix-apart", "ws_055-empty-first"],
)
@case
async def test_the_prefix_stands_in_the_first_fragment(scene: SocketStage, pieces: list[bytes]) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    for at, piece in enumerate(pieces):
        backend.frame(CONTINUATION if at else TEXT, piece, fin=at == len(pieces) - 1)
        await scene.proxy.settle()
    await scene.nothing(client, backend)


@LEAKS
@case
async def test_ws_056_a_large_message_without_prefix(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.text(b"x" * 30_000)
    backend.binary(b"m" * 300_000)
    await scene.nothing(client, backend)


@pytest.mark.differs("the reference wants it in what it reads at once")
@pytest.mark.parametrize("cut", [2, 3, 4])
@case
async def test_ws_050_a_frame_that_comes_byte_by_byte(scene: SocketStage, cut: int) -> None:
    """The prefix lies in the first frame, though not in the first piece of it (websocket 2.3)."""
    await scene.start_w()
    client, backend = await scene.open()
    data = encode(TEXT, b"m:hello")
    for part in (data[:cut], data[cut:]):
        backend.raw.send(part)
        await scene.proxy.settle()
    await client.expect_text("hello")
    await scene.nothing(client, backend)


@case
async def test_ws_050_a_message_in_fragments(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.frame(BINARY, b"m:ab", fin=False)
    backend.frame(CONTINUATION, b"m:", fin=False)
    backend.frame(CONTINUATION, b"c:")
    await client.expect(BINARY, b"abm:c:")
    await scene.nothing(client, backend)


@pytest.mark.differs("the reference drops connections with control frames between fragments")
@case
async def test_ws_055_a_ping_within_a_message_that_is_dropped(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    backend.frame(TEXT, b"un", fin=False)
    backend.ping(b"p")
    backend.frame(CONTINUATION, b"prefixed")
    await client.expect(PING, b"p")
    await scene.nothing(client, backend)


# ---- the client's side -------------------------------------------------------------------------------------


@case
async def test_ws_057_a_client_does_not_control(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open()
    for said in (f"c:{SUBSCRIBE}", "m:x", "c:", ""):
        client.text(said)
        await backend.expect_text(said)
    await unsubscribed(scene, client, backend)


@pytest.mark.differs("the reference does not pass the extension on")
@pytest.mark.parametrize(
    ("extensions", "element"),
    [("grip", "grip"), ('foo, grip; message-prefix="x:"', 'grip; message-prefix="x:"')],
    ids=["ws_073", "ws_073_c207"],
)
@case
async def test_a_proxy_in_front_does_it_all(scene: SocketStage, extensions: str, element: str) -> None:
    await scene.start_w(extensions=extensions, proxy={"upstream_key": SECRET})
    claims = {"iss": "front", "exp": int(scene.proxy.seconds()) + 60}
    signature = jwt.encode(claims, SECRET, algorithm="HS256")
    client, backend = await scene.open("/", f"Grip-Sig: {signature}", "Grip-Foo: x")
    assert backend.asked.all("Grip-Sig") == [signature]
    assert backend.asked.all("Grip-Foo") == ["x"]
    assert backend.asked.all("Sec-WebSocket-Extensions") == ["grip"]
    assert client.head.all("Sec-WebSocket-Extensions") == [element]
    for said in ("m:x", "x:hello", "abc", f"c:{SUBSCRIBE}"):
        backend.text(said)
        await client.expect_text(said)
    await scene.say("unheard")
    await scene.nothing(client, backend, "")


@case
async def test_ws_073_who_is_not_trusted_sees_no_extension(scene: SocketStage) -> None:
    await scene.start_w(proxy={"upstream_key": SECRET})
    client, backend = await scene.open("/", "Grip-Sig: forged", "Grip-Foo: x")
    assert backend.asked.all("Grip-Foo") == []
    assert backend.asked.all("Grip-Sig") not in ([], ["forged"])
    assert client.head.all("Sec-WebSocket-Extensions") == []
    backend.text("m:x")
    await client.expect_text("x")
