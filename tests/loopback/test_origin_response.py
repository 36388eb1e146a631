"""How a backend's response is read: framing, limits, hostile input (proxy 4.7, 8.4, 8.12)."""

from __future__ import annotations

import pytest
import pytest_twisted

from pushpin_tw.errors import OriginDisconnected, OriginError, OriginTimeout, OriginUnreachable
from pushpin_tw.testing.origins import RecordingSink
from tests.loopback.originpeer import Link, fetched, request
from tests.loopback.originstage import OriginStage
from tests.support.waiting import turn, until


def reply(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


async def answered(
    stage: OriginStage, response: bytes, method: bytes = b"GET", close: bool = False
) -> RecordingSink:
    stage.peer.says(response, close=close)
    return await fetched(stage.origin(), request(method))


async def refused(stage: OriginStage, response: bytes, close: bool = False) -> None:
    """A response that is no usable answer: failed, but no reason for another target."""
    sink = await answered(stage, response, close=close)
    assert type(sink.error) is (OriginDisconnected if close else OriginError)
    assert sink.response is None
    link = await stage.peer.link()
    await stage.peer.until(lambda: link.lost, "the end of the connection")


@pytest_twisted.ensureDeferred
async def test_c112_headers_as_they_came(origin_stage: OriginStage) -> None:
    lines = (
        "Connection: close",
        "Set-Cookie: a",
        "SET-cookie: b",
        "Upgrade: h2c",
        "Via: x",
        "Content-Length: 2",
    )
    sink = await answered(origin_stage, reply("HTTP/1.1 200 OK", *lines, body=b"hi"))
    assert sink.response is not None
    assert sink.response.headers == [tuple(line.encode().split(b": ")) for line in lines]
    assert (sink.response.status, sink.response.reason, sink.response.length) == (200, b"OK", 2)
    assert sink.body == b"hi"


@pytest_twisted.ensureDeferred
async def test_c111_no_reason(origin_stage: OriginStage) -> None:
    sink = await answered(origin_stage, b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi")
    assert sink.response is not None and sink.response.reason == b""
    assert sink.body == b"hi"


@pytest_twisted.ensureDeferred
async def test_c113_chunks_and_a_trailer(origin_stage: OriginStage) -> None:
    body = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: dropped\r\n\r\n"
    sink = await answered(origin_stage, reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=body))
    assert sink.body == b"abcde"
    assert sink.response is not None and sink.response.length is None
    assert origin_stage.idle() == 1


@pytest_twisted.ensureDeferred
async def test_c114_until_close_in_pieces(origin_stage: OriginStage) -> None:
    sink = RecordingSink()
    origin_stage.origin().fetch(request(), sink).finish()
    link = await origin_stage.peer.link()
    link.say(reply("HTTP/1.1 200 OK", body=b"one"))
    await sink.until(lambda: sink.body == b"one", "the first piece")
    link.say(b"two")
    await sink.until(lambda: sink.body == b"onetwo", "the second piece")
    assert not sink.ended
    link.close()
    await sink.end()
    assert sink.error is None


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("length", [(), ("Content-Length: 7",), ("Transfer-Encoding: chunked",)])
@pytest_twisted.ensureDeferred
async def test_c115_no_body(origin_stage: OriginStage, status: str, length: tuple[str, ...]) -> None:
    sink = await answered(origin_stage, reply(f"HTTP/1.1 {status}", "ETag: x", *length))
    assert sink.body == b"" and sink.error is None
    assert origin_stage.idle() == 1


@pytest_twisted.ensureDeferred
async def test_c116_head(origin_stage: OriginStage) -> None:
    sink = await answered(origin_stage, reply("HTTP/1.1 200 OK", "Content-Length: 10"), b"HEAD")
    assert sink.response is not None and sink.response.length == 10
    assert sink.body == b"" and origin_stage.idle() == 1


@pytest_twisted.ensureDeferred
async def test_c117_interim_responses_are_skipped(origin_stage: OriginStage) -> None:
    interim = reply("HTTP/1.1 100 Continue") + reply(
        "HTTP/1.1 103 Early Hints", "Link: <x>", "Content-Length: 3"
    )
    sink = RecordingSink()
    origin_stage.origin().fetch(request(), sink).finish()
    link = await origin_stage.peer.link()
    link.say(interim)
    await turn()
    link.say(reply("HTTP/1.1 200 OK", "Content-Length: 2", body=b"ok"))
    await sink.end()
    assert sink.response is not None and sink.response.status == 200
    assert sink.body == b"ok" and origin_stage.idle() == 1


@pytest_twisted.ensureDeferred
async def test_not_for_ever(origin_stage: OriginStage) -> None:
    await refused(origin_stage, reply("HTTP/1.1 100 Continue") * 17)


@pytest_twisted.ensureDeferred
async def test_unasked_switch_of_protocols(origin_stage: OriginStage) -> None:
    await refused(
        origin_stage, reply("HTTP/1.1 101 Switching Protocols", "Upgrade: foo", "Connection: upgrade")
    )


@pytest.mark.parametrize(
    "response",
    [
        b"FOO\r\n\r\n",
        b"FOO and no line end",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        reply("HTTP/1.1 200 OK", "Bad header: x", "Content-Length: 0"),
        reply("HTTP/1.1 200 OK", "no colon", "Content-Length: 0"),
        reply("HTTP/1.1 200 OK", "X: a\rb", "Content-Length: 0"),
        reply("HTTP/1.1 200 OK", "X: a\0b", "Content-Length: 0"),
        reply("HTTP/1.1 200 OK", "X: a", " folded", "Content-Length: 0"),
        reply("HTTP/1.1 200 OK", "Content-Length: x"),
        reply("HTTP/1.1 200 OK", "Content-Length: +2", body=b"ok"),
        reply("HTTP/1.1 200 OK", "Content-Length: 2, 2", body=b"ok"),
        reply("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 3", body=b"ok"),
        reply("HTTP/1.1 200 OK", "Content-Length: 2", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        reply("HTTP/1.1 200 OK", "Transfer-Encoding: gzip", body=b"ok"),
        reply("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_c110_no_usable_answer(origin_stage: OriginStage, response: bytes) -> None:
    await refused(origin_stage, response)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
@pytest_twisted.ensureDeferred
async def test_c110_closed_before_a_response(origin_stage: OriginStage, said: bytes) -> None:
    await refused(origin_stage, said, close=True)


@pytest_twisted.ensureDeferred
async def test_c118_dies_within_a_known_length(origin_stage: OriginStage) -> None:
    response = reply("HTTP/1.1 200 OK", "Content-Length: 10", body=b"12345")
    sink = await answered(origin_stage, response, close=True)
    assert sink.body == b"12345" and type(sink.error) is OriginDisconnected


@pytest_twisted.ensureDeferred
async def test_c119_dies_within_chunks(origin_stage: OriginStage) -> None:
    response = reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"5\r\n12345\r\n")
    sink = await answered(origin_stage, response, close=True)
    assert sink.body == b"12345" and type(sink.error) is OriginDisconnected


@pytest_twisted.ensureDeferred
async def test_c119_invalid_chunk_later(origin_stage: OriginStage) -> None:
    sink = RecordingSink()
    origin_stage.origin().fetch(request(), sink).finish()
    link = await origin_stage.peer.link()
    link.say(reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"5\r\n12345\r\n"))
    await sink.until(lambda: sink.body == b"12345", "the first chunk")
    link.say(b"zz\r\n")
    await sink.end()
    assert type(sink.error) is OriginError


@pytest_twisted.ensureDeferred
async def test_a_reset_is_no_end_of_a_body_without_length(origin_stage: OriginStage) -> None:
    sink = RecordingSink()
    origin_stage.origin().fetch(request(), sink).finish()
    link = await origin_stage.peer.link()
    link.say(reply("HTTP/1.1 200 OK", body=b"one"))
    await sink.until(lambda: sink.body == b"one", "the beginning")
    link.transport.abortConnection()
    await sink.end()
    assert type(sink.error) is OriginDisconnected


@pytest.mark.parametrize(("count", "relayed"), [(63, True), (64, False)])
@pytest_twisted.ensureDeferred
async def test_c120_number_of_headers(origin_stage: OriginStage, count: int, relayed: bool) -> None:
    lines = [f"X-{number}: y" for number in range(count)]
    sink = await answered(origin_stage, reply("HTTP/1.1 200 OK", *lines, "Content-Length: 0"))
    assert (sink.error is None) is relayed


@pytest.mark.parametrize(("size", "relayed"), [(8192, True), (8193, False), (9000, False)])
@pytest.mark.parametrize("pieces", [False, True])
@pytest_twisted.ensureDeferred
async def test_c121_size_of_the_head(
    origin_stage: OriginStage, size: int, relayed: bool, pieces: bool
) -> None:
    empty = reply("HTTP/1.1 200 OK", "Content-Length: 0", "X: ")
    response = reply("HTTP/1.1 200 OK", "Content-Length: 0", "X: " + "y" * (size - len(empty)))
    assert len(response) == size
    sink = RecordingSink()
    origin_stage.origin().fetch(request(), sink).finish()
    link = await origin_stage.peer.link()
    if pieces:
        link.say(response[:8000])
        await turn()
        await turn()
    link.say(response[8000:] if pieces else response)
    await sink.end()
    assert (sink.error is None) is relayed


@pytest_twisted.ensureDeferred
async def test_a_head_without_end(origin_stage: OriginStage) -> None:
    await refused(origin_stage, b"HTTP/1.1 200 OK\r\nX: " + b"y" * 9000)


@pytest_twisted.ensureDeferred
async def test_c122_redirects_are_not_followed(origin_stage: OriginStage) -> None:
    sink = await answered(origin_stage, reply("HTTP/1.1 301 Moved", "Location: /x", "Content-Length: 0"))
    assert sink.response is not None and sink.response.status == 301


@pytest.mark.parametrize("chunked", [False, True])
@pytest_twisted.ensureDeferred
async def test_c124_large(origin_stage: OriginStage, chunked: bool) -> None:
    body = bytes(range(256)) * 3907
    if chunked:
        framed = (
            b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:500_000], body[500_000:])) + b"0\r\n\r\n"
        )
        response = reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=framed)
    else:
        response = reply("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", body=body)
    sink = await answered(origin_stage, response)
    assert sink.body == body and sink.pieces > 1


@pytest_twisted.ensureDeferred
async def test_byte_by_byte(origin_stage: OriginStage) -> None:
    sink = RecordingSink()
    origin_stage.origin().fetch(request(), sink).finish()
    link = await origin_stage.peer.link()
    response = reply("HTTP/1.1 100 Continue") + reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
    response += b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nT: v\r\n\r\n"
    for at in range(len(response)):
        link.say(response[at : at + 1])
        await turn()
    await sink.end()
    assert (sink.body, sink.error) == (b"abc0123456789abcdef", None)
    assert origin_stage.idle() == 1


@pytest_twisted.ensureDeferred
async def test_a_slow_client_slows_the_backend(origin_stage: OriginStage) -> None:
    size = 30_000_000
    sink = RecordingSink()
    call = origin_stage.origin().fetch(request(), sink)
    call.finish()
    link = await origin_stage.peer.link()
    link.say(reply("HTTP/1.1 200 OK", f"Content-Length: {size}"))
    await sink.until(lambda: sink.response is not None, "the head")
    call.pause()
    link.say(b"x" * size)
    for _ in range(200):
        await turn()
    assert len(sink.body) <= 65536, "what was read when it was paused"
    assert link.transport.dataBuffer or link.transport._tempDataBuffer, "the backend has more to say"
    call.resume()
    await sink.end()
    assert len(sink.body) == size


@pytest_twisted.ensureDeferred
async def test_paused_before_there_is_a_connection(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(reply("HTTP/1.1 200 OK", "Content-Length: 2", body=b"ok"))
    sink = RecordingSink()
    call = origin_stage.origin().fetch(request(), sink)
    call.pause()
    call.finish()
    await origin_stage.peer.link()
    for _ in range(20):
        await turn()
    assert sink.response is None
    call.resume()
    await sink.end()
    assert sink.body == b"ok"


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"x"])
@pytest_twisted.ensureDeferred
async def test_c232_bytes_beyond_the_response_reach_nobody(origin_stage: OriginStage, extra: bytes) -> None:
    good = reply("HTTP/1.1 200 OK", "Content-Length: 2", body=b"ok")
    origin_stage.peer.says(good + extra)
    origin = origin_stage.origin()
    first = await fetched(origin, request())
    assert first.body == b"ok" and origin_stage.idle() == 0
    origin_stage.peer.says(good)
    second = await fetched(origin, request())
    assert second.body == b"ok"
    assert len(origin_stage.peer.links) == 2


@pytest_twisted.ensureDeferred
async def test_c232_bytes_while_idle_reach_nobody(origin_stage: OriginStage) -> None:
    origin_stage.peer.says(reply("HTTP/1.1 200 OK", "Content-Length: 2", body=b"ok"))
    origin = origin_stage.origin()
    await fetched(origin, request())
    assert origin_stage.idle() == 1
    origin_stage.peer.links[0].say(reply("HTTP/1.1 200 OK", "Content-Length: 4", body=b"evil"))
    await origin_stage.peer.until(lambda: origin_stage.peer.links[0].lost, "the end of the connection")
    second = await fetched(origin, request())
    assert second.body == b"ok"


@pytest_twisted.ensureDeferred
async def test_c232_bytes_before_the_request_reach_nobody(origin_stage: OriginStage) -> None:
    """They come after the reactor looked and before the next request takes the connection."""
    origin_stage.peer.says(reply("HTTP/1.1 200 OK", "Content-Length: 2", body=b"ok"))
    origin = origin_stage.origin()
    await fetched(origin, request())
    server = origin_stage.peer.links[0].transport.socket
    server.send(reply("HTTP/1.1 200 OK", "Content-Length: 4", body=b"evil"))
    second = await fetched(origin, request())
    assert second.body == b"ok"
    assert len(origin_stage.peer.links) == 2


@pytest_twisted.ensureDeferred
async def test_silence_ends_a_call(origin_stage: OriginStage) -> None:
    sink = RecordingSink()
    origin_stage.origin().fetch(request(), sink).finish()
    link = await origin_stage.peer.link()
    await origin_stage.peer.until(lambda: bool(link.received), "the request")
    for _ in range(179):
        origin_stage.clock.advance(10)
    assert not sink.ended
    link.say(b"HTTP/1.1 200 OK\r\n\r\nbody")
    await sink.until(lambda: sink.body == b"body", "a sign of life")
    for _ in range(179):
        origin_stage.clock.advance(10)
    assert not sink.ended
    origin_stage.clock.advance(10.2)
    assert isinstance(sink.error, OriginTimeout)


@pytest_twisted.ensureDeferred
async def test_silence_of_a_paused_call_is_nobodys_fault(origin_stage: OriginStage) -> None:
    sink = RecordingSink()
    call = origin_stage.origin().fetch(request(), sink)
    call.finish()
    link = await origin_stage.peer.link()
    link.say(reply("HTTP/1.1 200 OK", "Content-Length: 2"))
    await sink.until(lambda: sink.response is not None, "the head")
    call.pause()
    for _ in range(400):
        origin_stage.clock.advance(10)
    assert not sink.ended
    call.resume()
    link.say(b"ok")
    await sink.end()
    assert sink.body == b"ok"


@pytest_twisted.ensureDeferred
async def test_a_sink_with_a_bug_disturbs_nobody(origin_stage: OriginStage) -> None:
    class Broken(RecordingSink):
        def received(self, data: bytes) -> None:
            raise ZeroDivisionError("on purpose")

    origin_stage.peer.answer = None
    origin = origin_stage.origin()
    broken, healthy = Broken(), RecordingSink()
    origin.fetch(request(), broken).finish()
    origin.fetch(request(), healthy).finish()
    await origin_stage.peer.until(lambda: len(origin_stage.peer.links) == 2, "both")
    for link in origin_stage.peer.links:
        link.say(reply("HTTP/1.1 200 OK", "Content-Length: 4", body=b"ok"))
    await healthy.until(lambda: healthy.body == b"ok", "the other response")
    for link in origin_stage.peer.links:
        link.say(b"ay")
    await healthy.end()
    await origin_stage.peer.until(lambda: any(link.lost for link in origin_stage.peer.links), "one end")
    failures, origin_stage.services.stats.failures = origin_stage.services.stats.failures, []
    assert len(failures) == 1 and "on purpose" in failures[0]
    assert healthy.body == b"okay" and not broken.ended


@pytest.mark.parametrize("method", ["finished", "failed", "origin_drained"])
@pytest_twisted.ensureDeferred
async def test_a_bug_in_the_last_words_is_logged(
    origin_stage: OriginStage, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*args: object) -> None:
        raise ZeroDivisionError("on purpose")

    sink = RecordingSink()
    monkeypatch.setattr(sink, method, bug)
    said = b"nonsense\r\n\r\n" if method == "failed" else reply("HTTP/1.1 200 OK", "Content-Length: 0")
    origin_stage.peer.says(said)
    call = origin_stage.origin().fetch(request(b"POST", length=None), sink)
    call.write(b"x" * 70_000)
    if method != "origin_drained":
        call.finish()
    stats = origin_stage.services.stats
    await until(lambda: bool(stats.failures), "a line in the log")
    failures, stats.failures = stats.failures, []
    assert len(failures) == 1 and "on purpose" in failures[0]


@pytest_twisted.ensureDeferred
async def test_a_lost_connection_is_no_reason_for_another_target(origin_stage: OriginStage) -> None:
    def reset(link: Link) -> None:
        link.transport.abortConnection()

    origin_stage.peer.answer = reset
    sink = await fetched(origin_stage.origin(), request())
    assert isinstance(sink.error, OriginError) and not isinstance(sink.error, OriginUnreachable)
