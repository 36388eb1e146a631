"""SockJS by scripts and streams, and what the origin is asked for either (websocket 6)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_twisted

from pushpin_tw.sockets import TEXT
from pushpin_tw.wire.sockjs import html_beginning, quote
from tests.loopback.sockjsstage import BASE, Stage, sockjs
from tests.loopback.test_sockjs import COMMON, PLAIN, SEND, XHR, headers, opened
from tests.support.rawclient import RawClient

# ---- jsonp -------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_ws_135_scripts() -> None:
    async with sockjs() as stage:
        answer = await stage.get("/sj/s/i/jsonp?c=_jp.a1")
        assert headers(answer) == [("Content-Type", "application/javascript"), *COMMON]
        assert answer.body == b'/**/_jp.a1("o");\n'
        stage.socket.send(TEXT, 'a"\u2028'.encode())
        answer = await stage.ask("/sj/s/i/jsonp?c=x&callback=f")
        assert answer.body == b'/**/f("a[\\"a\\\\\\"\\u2028\\"]");\n'
        assert (await stage.get("/sj/s/i/jsonp?callback=a(b);x")).status == 400
        answer = await stage.ask("/sj/s/i/jsonp_send", b"d=%5B%22a+b%22%5D")
        assert (answer.status, headers(answer), answer.body) == (200, [PLAIN, *COMMON], b"ok")
        assert (await stage.ask("/sj/s/i/jsonp_send?c=f", b"d=%5B%5D")).body == b'/**/f("ok");\n'
        answer = await stage.ask("/sj/s/i/jsonp_send?c=f", b'["a"]')
        assert (answer.status, headers(answer)) == (400, [PLAIN, *COMMON])
        await stage.started[0].told(b"a b")
        poll = await stage.send("/sj/s/i/jsonp?c=f", None, method="GET")
        await stage.house.visit(7)
        stage.advance(25.1)
        assert (await poll.read_response()).body == b'/**/f("h");\n'


@pytest.mark.parametrize("query", ["", "?c=", "?c=a(b);x", "?c=%3Cb%3E", "?callback=a%0a"])
@pytest_twisted.ensureDeferred
async def test_ws_135_no_script_without_a_name(query: str) -> None:
    async with sockjs() as stage:
        answer = await stage.get(f"/sj/s/i/jsonp{query}")
        assert (answer.status, headers(answer), answer.body) == (400, [PLAIN, *COMMON], b"Bad Request\n")
        assert not stage.started


# ---- streams -----------------------------------------------------------------------------------------------


HTML = ("text/html; charset=UTF-8", html_beginning(b"f"), b"<script>\np(", b");\n</script>\r\n")


async def stream(stage: Stage, target: str, method: str) -> RawClient:
    return await stage.send(target, b"" if method == "POST" else None, method=method)


@pytest.mark.parametrize(
    ("method", "target", "kind", "prelude", "before", "after"),
    [
        ("POST", "xhr_streaming", "application/javascript; charset=UTF-8", b"h" * 2048 + b"\n", b"", b"\n"),
        ("GET", "eventsource", "text/event-stream; charset=UTF-8", b"\r\n", b"data: ", b"\r\n\r\n"),
        ("GET", "htmlfile?c=f", *HTML),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_stream_carries_many_frames(
    method: str, target: str, kind: str, prelude: bytes, before: bytes, after: bytes
) -> None:
    def frames(*texts: bytes) -> bytes:
        return b"".join(before + (quote(text) if b"script" in before else text) + after for text in texts)

    async with sockjs() as stage:
        client = await stream(stage, f"/sj/s/i/{target}", method)
        head = await client.read_head()
        assert (head.status, head.headers[:4]) == (200, [("Content-Type", kind), *COMMON])
        body = client.body(head)
        await body.expect(prelude + frames(b"o"))
        stage.socket.send(TEXT, b"one\r\n")
        stage.socket.deliver(b"", [quote(b"two"), quote(b"three")])
        await body.expect(frames(b'a["one\\r\\n"]', b'a["two","three"]'))
        stage.advance(25.1)
        await body.expect(frames(b"h"))
        stage.advance(25.1)
        await body.expect(frames(b"h"))
        second = await stream(stage, f"/sj/s/i/{target}", method)
        text = (await second.read_response()).body
        assert text == prelude + frames(b'c[2010,"Another connection still open"]')
        stage.socket.close(4001, b"bye")
        await body.expect(frames(b'c[4001,"bye"]'))
        await body.end()
        await stage.started[0].told(("closed", 4001, b"bye"), "socket lost")


@pytest_twisted.ensureDeferred
async def test_a_stream_ends_after_a_while_and_the_next_goes_on() -> None:
    async with sockjs() as stage:
        client = await stream(stage, "/sj/s/i/xhr_streaming", "POST")
        await stage.house.visit()
        for _ in range(3):
            stage.socket.send(TEXT, b"x" * 50_000)
        stage.socket.send(TEXT, b"later")
        body = (await client.read_response()).body
        assert body.count(b"\n") == 5
        assert len(body) - 2049 >= 131_072
        stage.advance(4)
        client.request("/sj/s/i/xhr_streaming", method="POST", body=b"")
        body = client.body(await client.read_head())
        await body.expect(b"h" * 2048 + b'\na["later"]\n')
        assert await stage.text(SEND, b'["up"]') == b"ok"
        await stage.started[0].told(b"up")


@pytest.mark.parametrize("query", ["", "?c=", "?c=a(b)", "?callback=%3C"])
@pytest_twisted.ensureDeferred
async def test_no_page_without_a_name(query: str) -> None:
    async with sockjs() as stage:
        await opened(stage)
        answer = await stage.get(f"/sj/s/i/htmlfile{query}")
        assert (answer.status, headers(answer), answer.body) == (400, [PLAIN, *COMMON], b"Bad Request\n")


@pytest_twisted.ensureDeferred
async def test_what_is_in_a_page_stays_within_its_script() -> None:
    async with sockjs() as stage:
        client = await stream(stage, "/sj/s/i/htmlfile?c=f", "GET")
        body = client.body(await client.read_head())
        await body.expect(html_beginning(b"f") + b'<script>\np("o");\n</script>\r\n')
        stage.socket.send(TEXT, "</script>\u2028".encode())
        await body.expect(b'<script>\np("a[\\"\\u003c/script>\\u2028\\"]");\n</script>\r\n')


@pytest_twisted.ensureDeferred
async def test_a_stream_begins_at_once() -> None:
    async with sockjs() as stage:
        await opened(stage)
        client = await stream(stage, "/sj/s/i/htmlfile?c=f", "GET")
        body = client.body(await client.read_head())
        await body.expect(html_beginning(b"f"))
        assert not body.pending


@pytest_twisted.ensureDeferred
async def test_a_stream_that_is_cut_ends_the_session() -> None:
    async with sockjs() as stage:
        client = await stream(stage, "/sj/s/i/xhr_streaming", "POST")
        await client.read_until(b"o\n")
        client.drop()
        await stage.started[0].told("socket lost")


@pytest_twisted.ensureDeferred
async def test_the_origin_drops_within_a_stream() -> None:
    async with sockjs() as stage:
        client = await stream(stage, "/sj/s/i/eventsource", "GET")
        await client.read_until(b"data: o\r\n\r\n\r\n")
        stage.socket.abort()
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_a_rejection_of_a_stream_is_a_plain_response() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        client = await stream(stage, "/sj/s/i/xhr_streaming", "POST")
        await stage.house.visit()
        stage.started[0].responder.respond(403, b"Forbidden", [], b"no")
        assert (await client.read_response()).status == 403


@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_read_its_stream_keeps_the_origin_waiting() -> None:
    async with sockjs() as stage:
        client = await stage.house.client()
        client.request("/sj/s/i/eventsource")
        await client.read_until(b"data: o\r\n\r\n")
        client.pause()
        socket, count = stage.socket, 0
        while not socket.congested:
            socket.send(TEXT, b"x" * 1000)
            count += 1
        assert 225 < count < 240
        socket.close(4000, b"")
        client.resume()
        text = await client.read_until(b"\r\n0\r\n\r\n")
        client.request("/sj/s/i/eventsource")
        text += await client.read_until(b"\r\n0\r\n\r\n")
        assert text.count(b"x" * 1000) == count
        assert text.count(b'data: c[4000,"Connection closed"]') == 1


# ---- what the origin is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "method", "as_path", "path"),
    [
        ("/sj/s/i/xhr", "POST", b"", b"/sj"),
        ("/sj/s/i/jsonp", "GET", b"/ws", b"/ws"),
        ("/sj/s/i/eventsource", "GET", b"", b"/sj"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_ws_138_where_the_session_leads(target: str, method: str, as_path: bytes, path: bytes) -> None:
    async with sockjs(replace(BASE, sockjs_as_path=as_path)) as stage:
        body = b"x" if method == "POST" else None
        client = await stage.send(
            f"{target}?c=f&a=%2f", body, "Content-Type: text/plain", "Cookie: b=c", method=method
        )
        await stage.house.wait_for(lambda: bool(stage.started), "a session")
        started = stage.started[0]
        assert (started.uri.scheme, started.uri.path, started.uri.query) == ("ws", path, b"c=f&a=%2F")
        request = started.request
        assert (request.method, request.websocket, request.has_body) == (b"GET", True, False)
        assert request.headers == [(b"Host", b"example.com"), (b"Cookie", b"b=c")]
        assert started.route is stage.route
        client.drop()
        await stage.house.settled()


@pytest_twisted.ensureDeferred
async def test_a_session_belongs_to_its_route() -> None:
    async with sockjs() as stage:
        await opened(stage)
        stage.socket.send(TEXT, b"secret")
        stage.route = replace(BASE, id="another")
        await opened(stage)
        stage.route = BASE
        assert await stage.text(XHR) == b'a["secret"]\n'
