"""What a backend is sent, to the byte: framing, streaming, back-pressure (proxy 4.1, 4.6)."""

from __future__ import annotations

import socket
import struct

import pytest
import pytest_twisted

from pushpin_tw.errors import OriginError
from pushpin_tw.testing.origins import RecordingSink
from tests.loopback.originpeer import fetched, request
from tests.loopback.originstage import OriginStage
from tests.support.waiting import turn, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def sent(stage: OriginStage, asked: object, *pieces: bytes) -> bytes:
    """Everything the backend has received by the time the request is complete."""
    stage.peer.answer = lambda link: None
    sink = RecordingSink()
    call = stage.origin().fetch(asked, sink)
    for piece in pieces:
        call.write(piece)
    call.finish()
    link = await stage.peer.link()
    marker = b"".join(pieces)[-1:] or b"\r\n\r\n"
    await stage.peer.until(lambda: marker in link.received, "the request")
    while True:  # whatever else comes with it
        size = len(link.received)
        await turn()
        await turn()
        if len(link.received) == size:
            break
    call.cancel()
    return link.received


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
@pytest_twisted.ensureDeferred
async def test_c094_no_length_without_a_body(origin_stage: OriginStage, method: bytes) -> None:
    asked = request(method, b"/a?b=c", headers=[(b"X-A", b"1"), (b"X-A", b"2")])
    expected = method + b" /a?b=c HTTP/1.1\r\nHost: a.example\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
    assert await sent(origin_stage, asked) == expected


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"BREW"])
@pytest_twisted.ensureDeferred
async def test_c094_a_length_of_zero_for_other_methods(origin_stage: OriginStage, method: bytes) -> None:
    expected = method + b" / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"
    assert await sent(origin_stage, request(method)) == expected


@pytest_twisted.ensureDeferred
async def test_c094_get_with_a_body(origin_stage: OriginStage) -> None:
    expected = b"GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"
    assert await sent(origin_stage, request(length=3), b"abc") == expected


@pytest_twisted.ensureDeferred
async def test_c091_a_complete_body_has_its_length(origin_stage: OriginStage) -> None:
    expected = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello"
    assert await sent(origin_stage, request(b"POST", length=5), b"he", b"llo") == expected


@pytest_twisted.ensureDeferred
async def test_c092_a_body_of_unknown_length_is_chunked(origin_stage: OriginStage) -> None:
    expected = (
        b"POST / HTTP/1.1\r\nHost: a.example\r\n"
        b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"c\r\nhello, world\r\n1\r\n!\r\n0\r\n\r\n"
    )
    asked = request(b"POST", length=None)
    origin_stage.peer.answer = None
    call = origin_stage.origin().fetch(asked, RecordingSink())
    call.write(b"hello, world")
    link = await origin_stage.peer.link()
    await origin_stage.peer.until(lambda: b"world" in link.received, "the first chunk before the end")
    call.write(b"")
    call.write(b"!")
    call.finish()
    call.finish()
    await origin_stage.peer.until(lambda: link.received.endswith(b"0\r\n\r\n"), "the last chunk")
    assert link.received == expected
    call.cancel()


@pytest_twisted.ensureDeferred
async def test_c093_a_body_of_known_length_is_streamed(origin_stage: OriginStage) -> None:
    call = origin_stage.origin().fetch(request(b"POST", length=6), RecordingSink())
    call.write(b"abc")
    link = await origin_stage.peer.link()
    head = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 6\r\n\r\n"
    await origin_stage.peer.until(lambda: link.received == head + b"abc", "the first half")
    call.write(b"def")
    await origin_stage.peer.until(lambda: link.received == head + b"abcdef", "the second half")
    call.cancel()


@pytest.mark.parametrize("pieces", [(b"abcd",), (b"ab", b"cd")])
@pytest_twisted.ensureDeferred
async def test_a_body_never_exceeds_its_length(origin_stage: OriginStage, pieces: tuple[bytes, ...]) -> None:
    """Bytes behind a body would be read as another request."""
    origin_stage.peer.says(OK)
    sink = await fetched(origin_stage.origin(), request(b"POST", length=3), *pieces)
    assert isinstance(sink.error, OriginError)
    assert sink.response is None


@pytest_twisted.ensureDeferred
async def test_a_short_body_stays_visibly_incomplete(origin_stage: OriginStage) -> None:
    call = origin_stage.origin().fetch(request(b"POST", length=6), sink := RecordingSink())
    call.write(b"abc")
    link = await origin_stage.peer.link()
    await origin_stage.peer.until(lambda: link.received.endswith(b"abc"), "the beginning")
    call.finish()
    assert isinstance(sink.error, OriginError)
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
    assert link.received.endswith(b"\r\n\r\nabc")


@pytest.mark.parametrize(
    "asked",
    [
        request(headers=[(b"X", b"a\r\nY: b")]),
        request(headers=[(b"X\n", b"a")]),
        request(headers=[(b"X", b"a\rb")]),
        request(target=b"/\r\nX: y"),
        request(method=b"GET\n"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_nobody_but_the_proxy_ends_a_line(origin_stage: OriginStage, asked: object) -> None:
    sink = await fetched(origin_stage.origin(), asked)  # type: ignore[arg-type]
    assert isinstance(sink.error, OriginError)
    assert origin_stage.peer.links == []


@pytest_twisted.ensureDeferred
async def test_more_headers_than_the_original_could_send(origin_stage: OriginStage) -> None:
    headers = [(b"X-%d" % number, b"v" * 200) for number in range(80)]
    received = await sent(origin_stage, request(headers=headers))
    assert received.count(b"\r\n") == 83


@pytest_twisted.ensureDeferred
async def test_an_upload_slows_down_to_what_the_backend_takes(origin_stage: OriginStage) -> None:
    size = 0
    sink = RecordingSink()
    call = origin_stage.origin().fetch(request(b"POST", length=None), sink)
    assert not call.congested
    call.write(b"x" * 70000)
    assert call.congested, "waiting for the connection"
    link = await origin_stage.peer.link()
    link.transport.pauseProducing()
    await sink.until(lambda: sink.drains == 1, "a first relief: the kernel takes it")
    while not call.congested:
        call.write(b"x" * 65536)
        size += 1
        assert size < 1000
        await turn()
    assert sink.drains == 1
    link.transport.resumeProducing()
    await sink.until(lambda: sink.drains > 1, "relief")
    assert not call.congested
    call.cancel()


@pytest_twisted.ensureDeferred
async def test_c123_an_early_answer_to_an_upload(origin_stage: OriginStage) -> None:
    def answer(link: object) -> None:
        origin_stage.peer.answer = None
        link.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno\n")  # type: ignore[attr-defined]
        link.transport.pauseProducing()  # type: ignore[attr-defined]
        link.close()  # type: ignore[attr-defined]

    origin_stage.peer.answer = answer
    sink = RecordingSink()
    call = origin_stage.origin().fetch(request(b"POST", length=500_000), sink)
    call.write(b"x" * 100_000)
    while not sink.ended:
        call.write(b"x" * 1000)
        await turn()
    assert sink.error is None
    assert sink.response is not None and sink.response.status == 413
    assert sink.body == b"no\n"
    assert origin_stage.idle() == 0


@pytest_twisted.ensureDeferred
async def test_c123_the_answer_is_read_though_the_rest_cannot_be_written(origin_stage: OriginStage) -> None:
    """The backend answers and resets the connection after the reactor has looked and before it writes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = origin_stage.origin(port=listener.getsockname()[1])
        call = origin.fetch(request(b"POST", length=500_000), sink := RecordingSink())
        call.write(b"x" * 1000)
        await until(lambda: call._connection is not None, "the connection")
        server, _ = listener.accept()
        server.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno\n")
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
    call.write(b"x" * 1000)
    reactors_view = call._connection._tcp
    assert reactors_view.doWrite() is None
    await sink.end()
    assert sink.error is None
    assert sink.body == b"no\n"


@pytest_twisted.ensureDeferred
async def test_c219_an_answer_is_passed_on_while_the_body_is_awaited(origin_stage: OriginStage) -> None:
    call = origin_stage.origin().fetch(request(b"POST", length=50_000), sink := RecordingSink())
    call.write(b"x" * 10_500)
    link = await origin_stage.peer.link()
    link.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
    await sink.until(lambda: sink.body == b"one", "the first piece")
    link.say(b"3\r\ntwo\r\n")
    await sink.until(lambda: sink.body == b"onetwo", "the second piece")
    link.say(b"0\r\n\r\n")
    await sink.end()
    assert sink.error is None
    call.write(b"x" * 39_500)
    call.finish()
    await origin_stage.peer.until(lambda: link.lost, "closed, as the request was not complete")
    assert b"x" * 10_501 not in link.received
