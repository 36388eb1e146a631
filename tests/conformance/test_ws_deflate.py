"""``permessage-deflate`` between client and proxy (websocket 10, 48; websocket 1.4)."""

from __future__ import annotations

import zlib

import pytest
import pytest_twisted

from tests.support.wsclient import SocketClient
from tests.support.wspeer import BINARY, CONTINUATION, PING, TEXT, Frame
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred
pytestmark = pytest.mark.differs("the release at hand compresses nothing")

ON = {"allow_compression": "true"}
PLAIN = "permessage-deflate"
BARE = "client_no_context_takeover; server_no_context_takeover"
END = b"\0\0\xff\xff"


def offer(*values: str) -> list[str]:
    return [f"Sec-WebSocket-Extensions: {value}" for value in values]


class Squeezer:
    """Compresses as a client does who keeps its context."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(wbits=-15)

    def __call__(self, data: bytes) -> bytes:
        return (self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(END)


def inflated(data: bytes) -> bytes:
    """The content of a message that was made without context."""
    return zlib.decompressobj(-15).decompress(data + END)


async def hears(client: SocketClient, kind: int, data: bytes) -> None:
    """The next message, and it is compressed."""
    message = await client.read()
    assert message.compressed
    assert (message.kind, inflated(message.data)) == (kind, data)


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        pytest.param([PLAIN], PLAIN, id="ws_048-plain"),
        pytest.param([f"{PLAIN}; client_max_window_bits=10"], PLAIN, id="ws_048-client_window"),
        pytest.param([f"{PLAIN}; {BARE}"], f"{PLAIN}; {BARE}", id="ws_048-takeover"),
        pytest.param([f"{PLAIN}; server_max_window_bits=10"], None, id="ws_048-server_window"),
        pytest.param([f"{PLAIN}; server_max_window_bits=10, {PLAIN}"], PLAIN, id="ws_048-second"),
        pytest.param([f"{PLAIN}; server_max_window_bits=10", PLAIN], PLAIN, id="ws_048-second_line"),
        pytest.param([f"{PLAIN}; foo"], None, id="ws_048-unknown"),
        pytest.param(["x-other; y=1"], None, id="ws_048-other"),
        pytest.param([], None, id="ws_048-none"),
    ],
)
@case
async def test_offers(scene: SocketStage, offers: list[str], answer: str | None) -> None:
    await scene.start_w(runner=ON)
    client, backend = await scene.open("/", *offer(*offers))
    assert client.head.get("Sec-WebSocket-Extensions") == answer
    assert backend.asked.all("Sec-WebSocket-Extensions") == [PLAIN, "grip"]
    backend.text("m:hello")
    if answer is None:
        await client.expect_text("hello")
    else:
        await hears(client, TEXT, b"hello")


@case
async def test_ws_048_only_where_it_is_allowed(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open("/", *offer(PLAIN))
    assert client.head.get("Sec-WebSocket-Extensions") is None
    assert backend.asked.all("Sec-WebSocket-Extensions") == ["grip"]


@case
async def test_ws_048_messages_of_the_client(scene: SocketStage) -> None:
    """Compressed ones, which may refer to earlier ones, and others, message by message."""
    await scene.start_w(runner=ON)
    client, backend = await scene.open("/", *offer(PLAIN))
    squeeze = Squeezer()
    for number in range(3):
        client.frame(TEXT, squeeze(b"again and again and again"), rsv=4)
        await backend.expect_text("again and again and again")
        client.text(f"plain {number}")
        await backend.expect_text(f"plain {number}")
    client.frame(TEXT, squeeze(b""), rsv=4)
    await backend.expect_text("")


@case
async def test_ws_048_a_compressed_message_in_pieces(scene: SocketStage) -> None:
    await scene.start_w(runner=ON)
    client, backend = await scene.open("/", *offer(PLAIN))
    data = bytes(range(256)) * 40
    packed = Squeezer()(data)
    client.frame(BINARY, packed[:7], fin=False, rsv=4)
    client.ping(b"never compressed")
    await backend.expect(PING, b"never compressed")
    client.frame(CONTINUATION, packed[7:100], fin=False)
    client.frame(CONTINUATION, packed[100:])
    await backend.expect(BINARY, data)


@case
async def test_ws_048_messages_of_the_backend(scene: SocketStage) -> None:
    await scene.start_w(runner=ON)
    client, backend = await scene.open("/", *offer(PLAIN))
    for data in (b"hello", b"hello", b"", b"x" * 10_000):
        backend.text(b"m:" + data)
        await hears(client, TEXT, data)
    backend.ping(b"never compressed")
    await client.expect(PING, b"never compressed")
    backend.text(b"m:")
    assert await client.read_frame() == Frame(TEXT, b"\0", True, 4)


@case
async def test_ws_048_a_message_of_the_backend_in_pieces(scene: SocketStage) -> None:
    await scene.start_w(runner=ON)
    client, backend = await scene.open("/", *offer(PLAIN))
    backend.frame(BINARY, b"m:ab", fin=False)
    first = await client.read_frame()
    assert (first.kind, first.fin, first.rsv) == (BINARY, False, 4)
    backend.frame(CONTINUATION, b"cd")
    second = await client.read_frame()
    assert (second.kind, second.fin, second.rsv) == (CONTINUATION, True, 0)
    assert inflated(first.data + second.data) == b"abcd"


@case
async def test_ws_048_both_sides_by_themselves(scene: SocketStage) -> None:
    """The backend agrees to compression, its client does not, or the other way round."""
    await scene.start_w(runner=ON, extensions=f"{PLAIN}, grip")
    client, backend = await scene.open()
    backend.frame(TEXT, Squeezer()(b"m:hello"), rsv=4)
    await client.expect_text("hello")
    client.text("there")
    message = await backend.read()
    assert message.compressed and inflated(message.data) == b"there"
    other, behind = await scene.open("/", *offer(PLAIN))
    behind.text("m:plain")
    await hears(other, TEXT, b"plain")


@case
async def test_ws_048_five_million_zeros(scene: SocketStage) -> None:
    """5 KB become 5 MB, which are not held."""
    await scene.start_w(runner=ON)
    client, backend = await scene.open("/", *offer(PLAIN))
    packed = Squeezer()(bytes(5_000_000))
    assert len(packed) < 6000
    client.frame(BINARY, packed, rsv=4)
    await backend.expect(BINARY, bytes(5_000_000))
    assert client.raw.lost is False


@case
async def test_ws_048_published_messages(scene: SocketStage) -> None:
    await scene.start_w(runner=ON)
    client, backend = await scene.open("/", *offer(PLAIN))
    await scene.subscribe(backend, "c")
    for _ in range(2):
        await scene.say("published")
        await hears(client, TEXT, b"published")
