"""The opening handshake with a backend: what is sent, what is taken for consent, refusal or failure."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pytest
import pytest_twisted

from pushpin_tw.errors import (
    OriginDisconnected,
    OriginError,
    OriginInsecure,
    OriginTimeout,
    OriginUnreachable,
)
from pushpin_tw.origin.http import HttpOrigin
from pushpin_tw.sockets import MAX_REFUSAL, TEXT
from pushpin_tw.testing.services import LentServices
from pushpin_tw.testing.sockets import RecordingSocketSink
from tests.loopback.originpeer import Link, RawPeer, fetched, request, target
from tests.loopback.originstage import OriginStage
from tests.loopback.socketpeer import (
    Frame,
    accept,
    agree,
    agreement,
    asked,
    fields,
    frame,
    frames,
    handshake,
    key_of,
    opened,
)
from tests.support.certificates import Authority, TlsServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GRIP = (b"Sec-WebSocket-Extensions", b"grip")
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate"


@pytest_twisted.ensureDeferred
async def test_the_request(origin_stage: OriginStage) -> None:
    """websocket 2.1: which headers, in which order."""
    heads = agree(origin_stage.peer)
    origin = origin_stage.origin()
    for _ in range(2):
        sink = RecordingSocketSink()
        origin.connect(handshake((b"Sec-WebSocket-Protocol", b"foo, bar"), (b"X-Case", b"kept"), GRIP), sink)
        await sink.answer()
    first, second = heads.values()
    assert first.startswith(b"GET /ws?a=b HTTP/1.1\r\n")
    key = key_of(first)
    assert fields(first) == [
        (b"Host", b"a.example"),
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", key),
        (b"Sec-WebSocket-Protocol", b"foo, bar"),
        (b"X-Case", b"kept"),
        GRIP,
    ]
    assert len(b64decode(key, validate=True)) == 16
    assert key_of(second) != key


@pytest_twisted.ensureDeferred
async def test_compression_is_offered_in_a_line_of_its_own(origin_stage: OriginStage) -> None:
    heads = agree(origin_stage.peer)
    origin_stage.services = LentServices(
        origin_stage.services.reactor, origin_stage.clock, "[runner]\nallow_compression=true\n"
    )
    await asked(origin_stage.origin(), GRIP)
    (head,) = heads.values()
    assert [field for field in fields(head) if field[0] == b"Sec-WebSocket-Extensions"] == [
        (b"Sec-WebSocket-Extensions", b"permessage-deflate"),
        GRIP,
    ]
    assert fields(head)[5] == (b"Sec-WebSocket-Extensions", b"permessage-deflate")


@pytest_twisted.ensureDeferred
async def test_ws_011_the_answer(origin_stage: OriginStage) -> None:
    def answer(link: Link) -> None:
        link.say(
            agreement(link.received, b"X-Extra: 1", b"Set-Cookie: a", b"Set-Cookie: b", reason=b"My Reason")
        )

    origin_stage.peer.answer = answer
    sink = await opened(origin_stage.origin())
    assert sink.response is not None
    assert (sink.response.status, sink.response.reason) == (101, b"My Reason")
    assert sink.response.headers[3:] == [(b"X-Extra", b"1"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")]


@pytest.mark.parametrize("pieces", [1, 7, 10_000])
@pytest_twisted.ensureDeferred
async def test_frames_behind_the_answer(origin_stage: OriginStage, pieces: int) -> None:
    """However the network cuts 101 and frames, nothing is lost, and the owner is there before the first."""
    said: list[bytes] = []

    def answer(link: Link) -> None:
        if b"\r\n\r\n" in link.received:
            head, _, link.received = link.received.partition(b"\r\n\r\n")
            said.append(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            said.append(agreement(head) + frame(1, b"m:one") + frame(9, b"p") + frame(1, b"m:two"))

    origin_stage.peer.answer = answer
    sink = RecordingSocketSink()
    origin_stage.origin().connect(handshake(), sink)
    link = await origin_stage.peer.link()
    await origin_stage.peer.until(lambda: bool(said), "the request")
    data = b"".join(said)
    size = -(-len(data) // pieces)
    call = origin_stage.services.reactor.callLater
    for at in range(0, len(data), size):
        call(0, link.say, data[at : at + size])
    await sink.answer()
    await sink.owner.heard(3)
    assert sink.owner.messages == [(TEXT, b"m:one"), (9, b"p"), (TEXT, b"m:two")]
    assert sink.owner.disorder == []


REFUSALS = {
    "ws_013": (
        b"HTTP/1.1 403 Nope\r\nX-Foo: bar\r\nContent-Length: 6\r\n\r\ndenied",
        (403, b"Nope", [(b"X-Foo", b"bar"), (b"Content-Length", b"6")], b"denied"),
    ),
    "ws_014-401": (
        b"HTTP/1.1 401 Unauthorized\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
        (
            401,
            b"Unauthorized",
            [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"Content-Length", b"0")],
            b"",
        ),
    ),
    "ws_014-302": (
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        (302, b"Found", [(b"Location", b"/x"), (b"Content-Length", b"0")], b""),
    ),
    "ws_014-204": (b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", (204, b"No Content", [(b"X", b"y")], b"")),
    "ws_014-304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", (304, b"Not Modified", [], b"")),
    "ws_015": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        (200, b"OK", [(b"Transfer-Encoding", b"chunked")], b"hello"),
    ),
    "ws_016": (
        b"HTTP/1.1 400 Bad\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000,
        (400, b"Bad", [(b"Content-Length", b"100000")], b"x" * 100_000),
    ),
    "ws_017": (
        b"HTTP/1.1 200 OK\r\nGrip-Hold: stream\r\nContent-Length: 0\r\n\r\n",
        (200, b"OK", [(b"Grip-Hold", b"stream"), (b"Content-Length", b"0")], b""),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest_twisted.ensureDeferred
async def test_refused(origin_stage: OriginStage, name: str) -> None:
    said, expected = REFUSALS[name]
    origin_stage.peer.says(said)
    for _ in range(2):
        sink = await asked(origin_stage.origin())
        response = sink.response
        assert response is not None and sink.error is None, sink.error
        assert (response.status, response.reason, response.headers, sink.body) == expected
    assert len(origin_stage.peer.links) == 1, "the connection of a refusal is as good as any"


@pytest_twisted.ensureDeferred
async def test_refused_until_close(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(b"HTTP/1.0 500 Oh\r\n\r\nsorry", close=True)
    sink = await asked(origin_stage.origin())
    assert sink.response is not None and sink.response.status == 500 and sink.body == b"sorry"


@pytest.mark.parametrize("announced", [True, False])
@pytest_twisted.ensureDeferred
async def test_ws_016_too_large_a_refusal(origin_stage: OriginStage, announced: bool) -> None:
    framing = b"Content-Length: %d" % (MAX_REFUSAL + 1) if announced else b"X: y"
    origin_stage.peer.says(b"HTTP/1.1 400 Bad\r\n%b\r\n\r\n" % framing + b"x" * (MAX_REFUSAL + 1))
    sink = await asked(origin_stage.origin())
    assert type(sink.error) is OriginError
    link = origin_stage.peer.links[0]
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")


BAD = {
    "ws_018-wrong": b"HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: " + accept(b"another key") + b"\r\n\r\n",
    "ws_018-missing": b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "ws_019-garbage": b"\x15\x03\x01\x00\x02\x02",
    "ws_019-words": b"hello, who is there?\r\n\r\n",
    "ws_019-status": b"HTTP/1.1 abc OK\r\n\r\n",
    "ws_019-other": b"HTTP/2.0 101 OK\r\n\r\n",
    "ws_019-line": b"HTTP/1.1 101 OK\r\nno colon\r\n\r\n",
    "headers": b"HTTP/1.1 101 OK\r\n" + b"A: b\r\n" * 65 + b"\r\n",
    "size": b"HTTP/1.1 101 OK\r\nA: " + b"x" * 8192 + b"\r\n\r\n",
    "size-unfinished": b"HTTP/1.1 101 OK\r\nA: " + b"x" * 8192,
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
    "body": b"HTTP/1.1 403 Nope\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("name", BAD)
@pytest_twisted.ensureDeferred
async def test_no_answer(origin_stage: OriginStage, name: str) -> None:
    origin_stage.peer.says(BAD[name])
    sink = await asked(origin_stage.origin())
    assert type(sink.error) is OriginError and sink.socket is None
    link = origin_stage.peer.links[0]
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 10", b"HTTP/1.1 101 OK\r\nUpgr"])
@pytest_twisted.ensureDeferred
async def test_ws_019_cut(origin_stage: OriginStage, said: bytes) -> None:
    origin_stage.peer.says(said, close=True)
    sink = await asked(origin_stage.origin())
    assert type(sink.error) is OriginDisconnected
    assert not isinstance(sink.error, OriginUnreachable), (
        "it has answered in a way, so it is no use to try others"
    )


EXTENSIONS = [
    (b"permessage-deflate", False),
    (b"foo, permessage-deflate", False),
    (b'grip; message-prefix="unclosed', False),
    (b"=", False),
    (b"foo", True),
    (b"x-webkit-deflate-frame", True),
    (b"grip; message-prefix=", True),
    (b"grip;", True),
    (b'grip; message-prefix="a\\"b"', True),
    (b"", True),
]


@pytest.mark.parametrize(("value", "good"), EXTENSIONS)
@pytest_twisted.ensureDeferred
async def test_ws_020_ws_052_extensions(origin_stage: OriginStage, value: bytes, good: bool) -> None:
    agree(origin_stage.peer, b"Sec-WebSocket-Extensions: " + value)
    sink = await asked(origin_stage.origin())
    assert (sink.socket is not None) is good
    assert good or type(sink.error) is OriginError


ANSWERS = [
    (b"permessage-deflate", True),
    (b"grip, permessage-deflate; server_no_context_takeover; client_no_context_takeover", True),
    (b"permessage-deflate; server_max_window_bits=9", True),
    (b'permessage-deflate; server_max_window_bits="15"', True),
    (b"permessage-deflate; server_max_window_bits=7", False),
    (b"permessage-deflate; server_max_window_bits", False),
    (b"permessage-deflate; client_max_window_bits=10", False),
    (b"permessage-deflate; client_no_context_takeover=1", False),
    (b"permessage-deflate; client_no_context_takeover; client_no_context_takeover", False),
    (b"permessage-deflate; foo", False),
    (b"permessage-deflate, permessage-deflate", False),
]


@pytest.mark.parametrize(("value", "good"), ANSWERS)
@pytest_twisted.ensureDeferred
async def test_answers_to_the_offer_of_compression(
    origin_stage: OriginStage, value: bytes, good: bool
) -> None:
    agree(origin_stage.peer, b"Sec-WebSocket-Extensions: " + value)
    services = LentServices(
        origin_stage.services.reactor, origin_stage.clock, "[runner]\nallow_compression=true\n"
    )
    sink = await asked(HttpOrigin(target(), "127.0.0.1", origin_stage.peer.port, services))
    assert (sink.socket is not None) is good
    if good:
        sink.socket.send(TEXT, b"hello")
        link = origin_stage.peer.links[0]
        await origin_stage.peer.until(lambda: bool(frames(link.received)), "a frame")
        assert frames(link.received)[0].rsv == 4
    services.stop()


@pytest_twisted.ensureDeferred
async def test_ws_022_unreachable(origin_stage: OriginStage) -> None:
    nobody = await RawPeer.listen()
    await nobody.stop()
    sink = await asked(origin_stage.origin(port=nobody.port))
    assert isinstance(sink.error, OriginUnreachable)


@pytest_twisted.ensureDeferred
async def test_silence(origin_stage: OriginStage) -> None:
    sink = RecordingSocketSink()
    origin_stage.origin().connect(handshake(), sink)
    link = await origin_stage.peer.link()
    await origin_stage.peer.until(lambda: b"\r\n\r\n" in link.received, "the request")
    for _ in range(179):
        origin_stage.clock.advance(10)
    assert not sink.answered, "a handshake has no time limit of its own"
    for _ in range(3):
        origin_stage.clock.advance(10)
    assert isinstance(sink.error, OriginTimeout)


@pytest_twisted.ensureDeferred
async def test_cancelled(origin_stage: OriginStage) -> None:
    """Before there is a connection, and while the backend thinks."""
    sink = RecordingSocketSink()
    origin = origin_stage.origin()
    origin.connect(handshake(), sink).cancel()
    call = origin.connect(handshake(), sink)
    await origin_stage.peer.until(
        lambda: any(b"\r\n\r\n" in link.received for link in origin_stage.peer.links), "the request"
    )
    call.cancel()
    await origin_stage.peer.until(lambda: all(link.lost for link in origin_stage.peer.links), "the end")
    assert not sink.answered


@pytest_twisted.ensureDeferred
async def test_a_line_end_in_a_header(origin_stage: OriginStage) -> None:
    sink = await asked(origin_stage.origin(), (b"X", b"a\r\nSec-WebSocket-Key: mine"))
    assert type(sink.error) is OriginError
    assert origin_stage.peer.links == []


# ---- connections -------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_an_idle_connection_is_used(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    await fetched(origin_stage.origin(), request())
    agree(origin_stage.peer)
    sink = await opened(origin_stage.origin())
    assert len(origin_stage.peer.links) == 1 and origin_stage.idle() == 0
    sink.socket.send(TEXT, b"hello")
    link = origin_stage.peer.links[0]
    await origin_stage.peer.until(lambda: bool(link.received), "a frame")
    assert frames(link.received) == [Frame(1, b"hello")]


@pytest.mark.parametrize("reset", [False, True])
@pytest_twisted.ensureDeferred
async def test_an_idle_connection_that_ends_as_it_is_used(origin_stage: OriginStage, reset: bool) -> None:
    """The backend closes it when the request is on its way already: a new one is made."""
    origin_stage.peer.says(OK)
    await fetched(origin_stage.origin(), request())
    first = origin_stage.peer.links[0]
    heads: dict[Link, bytes] = {}

    def answer(link: Link) -> None:
        if link is first:
            link.transport.abortConnection() if reset else link.close()
        elif link not in heads:
            heads[link], link.received = link.received, b""
            link.say(agreement(heads[link]))

    origin_stage.peer.answer = answer
    sink = await opened(origin_stage.origin())
    assert len(origin_stage.peer.links) == 2
    sink.socket.send(TEXT, b"hello")
    link = origin_stage.peer.links[1]
    await origin_stage.peer.until(lambda: bool(link.received), "a frame")
    assert frames(link.received) == [Frame(1, b"hello")]
    assert heads[link].startswith(b"GET /ws?a=b HTTP/1.1\r\n") and heads[link].endswith(b"\r\n\r\n")


@pytest_twisted.ensureDeferred
async def test_that_is_done_once(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    await fetched(origin_stage.origin(), request())
    origin_stage.peer.answer = lambda link: link.close()
    sink = await asked(origin_stage.origin())
    assert type(sink.error) is OriginDisconnected and len(origin_stage.peer.links) == 2


@pytest_twisted.ensureDeferred
async def test_and_not_once_it_has_said_something(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    await fetched(origin_stage.origin(), request())
    origin_stage.peer.says(b"HTTP/1.1 1", close=True)
    sink = await asked(origin_stage.origin())
    assert type(sink.error) is OriginDisconnected and len(origin_stage.peer.links) == 1


@pytest_twisted.ensureDeferred
async def test_cancelled_on_an_idle_connection(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(OK)
    await fetched(origin_stage.origin(), request())
    origin_stage.peer.answer = None
    sink = RecordingSocketSink()
    origin_stage.origin().connect(handshake(), sink).cancel()
    await origin_stage.peer.until(lambda: origin_stage.peer.links[0].lost, "the end")
    assert not sink.answered and len(origin_stage.peer.links) == 1


# ---- TLS ---------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_tls(origin_stage: OriginStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    server = TlsServer(authority.certificate("a.example"))
    peer = await origin_stage.another_peer("tcp:0:interface=127.0.0.1", server.wrap)
    agree(peer, behind=frame(1, b"welcome"))
    sink = await opened(origin_stage.origin(port=peer.port, ssl=True))
    await sink.owner.heard(1)
    data = b"x" * 200_000
    sink.socket.send(TEXT, data)
    await peer.until(lambda: bool(frames(peer.links[0].received)), "a frame")
    assert frames(peer.links[0].received) == [Frame(1, data)]
    assert server.names == [b"a.example"]
    sink = RecordingSocketSink()
    origin_stage.origin(port=peer.port, ssl=True).connect(handshake(host="b.example"), sink)
    await sink.answer()
    assert isinstance(sink.error, OriginInsecure), (
        "not who it was asked to be, so that the next target is tried"
    )


@pytest_twisted.ensureDeferred
async def test_no_tls_at_all(origin_stage: OriginStage) -> None:
    origin_stage.peer.answer = lambda link: link.say(b"HTTP/1.0 400 Bad Request\r\n\r\n")
    sink = await asked(origin_stage.origin(ssl=True))
    assert isinstance(sink.error, OriginUnreachable)
