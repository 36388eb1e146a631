"""SockJS over HTTP: info, page, polls, sends, and how sessions end (websocket 6)."""

from __future__ import annotations

import json

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from pushpin_tw.sockets import BINARY, PING, PONG, TEXT
from pushpin_tw.wire.sockjs import quote
from tests.loopback.sockjsstage import BASE, URL, Stage, sockjs

UNCACHED = ("Cache-Control", "no-store, no-cache, must-revalidate, max-age=0")
COMMON = [UNCACHED, ("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Credentials", "true")]
PLAIN = ("Content-Type", "text/plain")
XHR = "/sj/s/i/xhr"
SEND = "/sj/s/i/xhr_send"


def headers(answer: object) -> list[tuple[str, str]]:
    return [pair for pair in answer.headers if pair[0] not in ("Content-Length", "Connection")]  # type: ignore[attr-defined]


async def opened(stage: Stage) -> None:
    assert await stage.text(XHR) == b"o\n"


# ---- without a session -------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_ws_125_info() -> None:
    async with sockjs() as stage:
        answer = await stage.get("/sj/info")
        assert (answer.status, headers(answer)) == (200, [PLAIN, *COMMON])
        info = json.loads(answer.body)
        assert 0 <= info.pop("entropy") < 2**32
        assert info == {"cookie_needed": False, "origins": ["*:*"], "websocket": True}
        assert answer.body.endswith(b"}\n")
        answer = await stage.get("/sj/info?t=1", "Origin: http://a.example")
        assert ("Access-Control-Allow-Origin", "http://a.example") in answer.headers


@pytest_twisted.ensureDeferred
async def test_ws_125_options() -> None:
    async with sockjs() as stage:
        for path in ("/sj/info", "/sj/s/i/xhr_send", "/sj", "/sjanything"):
            answer = await stage.get(path, method="OPTIONS")
            assert (answer.status, headers(answer), answer.body) == (204, [PLAIN, *COMMON], b"")


@pytest_twisted.ensureDeferred
async def test_a_browser_that_asks_beforehand_is_told_what_it_may_do() -> None:
    async with sockjs() as stage:
        answer = await stage.get(
            "/sj/s/i/xhr_streaming",
            "Origin: http://a.example",
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: content-type, <x>,x-b",
            method="OPTIONS",
        )
        assert answer.status == 204
        assert answer.get("Access-Control-Allow-Methods") == "OPTIONS, GET, POST"
        assert answer.get("Access-Control-Allow-Headers") == "content-type, x-b"
        assert answer.get("Access-Control-Allow-Origin") == "http://a.example"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/sj/info"),
        ("HEAD", "/sj/info"),
        ("GET", "/sj/s/i/xhr"),
        ("GET", "/sj/s/i/xhr_streaming"),
        ("POST", "/sj/s/i/eventsource"),
        ("POST", "/sj/s/i/htmlfile?c=a"),
        ("GET", "/sj/s/i/websocket"),
        ("GET", "/sj/websocket"),
        ("GET", "/sj"),
        ("GET", "/sj/"),
        ("GET", "/sjxyz/info"),
        ("GET", "/sj/iframe.htm"),
        ("POST", "/sj/s/i"),
        ("POST", "/sj/s/i/x/xhr"),
        ("POST", "/sj//i/xhr"),
        ("POST", "/sj/s//xhr"),
        ("POST", "/sj/s/i/xhr_send"),
        ("POST", "/sj/s/i/jsonp_send"),
        ("PUT", "/sj/s/i/xhr"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_ws_125_nothing_else_is_there(method: str, path: str) -> None:
    async with sockjs() as stage:
        answer = await (stage.ask(path, b'["a"]') if method == "POST" else stage.get(path, method=method))
        assert (answer.status, headers(answer)) == (404, [PLAIN, *COMMON])
        assert answer.body == (b"" if method == "HEAD" else b"Not Found\n")
        assert not stage.started


@pytest_twisted.ensureDeferred
async def test_ws_126_the_page() -> None:
    async with sockjs() as stage:
        answer = await stage.get("/sj/iframe-1.6.html?t=2")
        tag = answer.headers[0]
        kind = ("Content-Type", "text/html; charset=UTF-8")
        age = ("Cache-Control", "public, max-age=31536000")
        assert (answer.status, headers(answer)) == (200, [tag, kind, age, *COMMON])
        assert f'<script src="{URL}"></script>'.encode() in answer.body
        assert tag[0] == "ETag"
        answer = await stage.get("/sj/iframe.html", f"If-None-Match: {tag[1]}")
        assert (answer.status, headers(answer), answer.body) == (304, [tag, *COMMON], b"")


# ---- polls -------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_ws_127_messages_at_once_or_later() -> None:
    async with sockjs() as stage:
        answer = await stage.ask(XHR)
        assert (answer.status, headers(answer), answer.body) == (200, [PLAIN, *COMMON], b"o\n")
        stage.socket.send(TEXT, b"one")
        stage.socket.deliver(b"", [quote(b"two"), quote(b"three")])
        assert await stage.text(XHR) == b'a["one","two","three"]\n'
        poll = await stage.hold()
        stage.socket.send(TEXT, b"four")
        assert (await poll.read_response()).body == b'a["four"]\n'
        poll.request(XHR, method="POST", body=b"")
        await stage.house.visit(4)
        stage.advance(24.8)
        assert not poll.unread
        stage.advance(0.3)
        assert (await poll.read_response()).body == b"h\n"
        assert len(stage.started) == 1


@pytest_twisted.ensureDeferred
async def test_ws_128_139_whole_strings_and_nothing_else() -> None:
    async with sockjs() as stage:
        await opened(stage)
        stage.socket.send(BINARY, b'"\n\xff\x00')
        stage.socket.send(PING, b"x")
        stage.socket.send(TEXT, "é"[0].encode()[:1], True, False)
        stage.socket.send(PONG, b"y")
        stage.socket.send(TEXT, "é".encode()[1:], False, False)
        stage.socket.send(TEXT, b"", False, True)
        assert await stage.text(XHR) == 'a["\\"\\n\ufffd\\u0000","é"]\n'.encode()


@pytest_twisted.ensureDeferred
async def test_ws_130_one_poll_at_a_time() -> None:
    async with sockjs() as stage:
        await opened(stage)
        first = await stage.hold()
        assert await stage.text(XHR) == b'c[2010,"Another connection still open"]\n'
        stage.socket.send(TEXT, b"a")
        assert (await first.read_response()).body == b'a["a"]\n'


@pytest_twisted.ensureDeferred
async def test_ws_131_without_a_poll_the_session_ends() -> None:
    async with sockjs() as stage:
        await opened(stage)
        stage.advance(4.8)
        assert stage.started[0].events == []
        stage.advance(0.4)
        await stage.started[0].told("socket lost")
        assert not stage.sockjs.sessions
        await opened(stage)
        assert len(stage.started) == 2


@pytest_twisted.ensureDeferred
async def test_a_poll_that_is_given_up_ends_the_session() -> None:
    async with sockjs() as stage:
        await opened(stage)
        poll = await stage.hold()
        poll.drop()
        await stage.started[0].told("socket lost")
        stage.socket.send(TEXT, b"into the void")
        await opened(stage)
        assert len(stage.started) == 2


@pytest_twisted.ensureDeferred
async def test_giving_up_before_it_opens_is_told_to_the_responders_owner() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        poll = await stage.hold()
        assert await stage.text(XHR) == b'c[2010,"Another connection still open"]\n'
        poll.drop()
        await stage.started[0].told("lost")
        assert stage.started[0].accept() is None
        assert not stage.sockjs.sessions


@pytest_twisted.ensureDeferred
async def test_ws_134_a_rejection_is_relayed() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        poll = await stage.hold()
        theirs = [(b"WWW-Authenticate", b"Basic"), (b"Access-Control-Allow-Origin", b"nobody")]
        stage.started[0].responder.persistent = False
        stage.started[0].responder.respond(403, b"No Way", theirs, b"sorry")
        answer = await poll.read_response()
        assert (answer.status, answer.reason, answer.body) == (403, "No Way", b"sorry")
        assert headers(answer) == [("WWW-Authenticate", "Basic"), *COMMON]
        stage.accepting = True
        await opened(stage)


# ---- sends -------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_ws_129_messages_to_the_origin() -> None:
    async with sockjs() as stage:
        await opened(stage)
        answer = await stage.ask(SEND, b'["a","b\\u00e9"]')
        assert (answer.status, headers(answer), answer.body) == (200, [PLAIN, *COMMON], b"ok")
        assert await stage.text(SEND, b"[]") == b"ok"
        await stage.started[0].told(b"a", "bé".encode())


@pytest.mark.parametrize("body", [b"", b"junk", b'"a"', b'["a",1]', b'{"a":1}', b"d=%5B%5D"])
@pytest_twisted.ensureDeferred
async def test_ws_129_anything_else_is_refused(body: bytes) -> None:
    async with sockjs() as stage:
        await opened(stage)
        answer = await stage.ask(SEND, body)
        assert (answer.status, headers(answer)) == (400, [PLAIN, *COMMON])
        assert answer.body == b"Payload expected\n"
        assert not stage.started[0].events
        assert await stage.text(SEND, b'["fine"]') == b"ok"


@pytest.mark.parametrize("chunked", [False, True])
@pytest_twisted.ensureDeferred
async def test_ws_129_a_body_has_a_limit(chunked: bool) -> None:
    async with sockjs() as stage:
        await opened(stage)
        message = b"x" * 99_996
        assert await stage.text(SEND, b'["%b"]' % message) == b"ok"
        assert stage.started[0].events == [message]
        body = b'["%bx"]' % message
        assert len(body) == 100_001
        client = await stage.house.client()
        if chunked:
            client.request(SEND, "Transfer-Encoding: chunked", method="POST")
            client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        else:
            client.request(SEND, method="POST", body=body)
        answer = await client.read_response()
        assert (answer.status, headers(answer)) == (400, [PLAIN, *COMMON])
        assert answer.body == b"Request too large.\n"
        assert len(stage.started[0].events) == 1


@pytest_twisted.ensureDeferred
async def test_a_slow_origin_slows_the_sender() -> None:
    async with sockjs() as stage:
        await opened(stage)
        started = stage.started[0]
        started.holding_back = True
        sender = await stage.send(SEND, b'["a","b"]')
        await started.told(b"a")
        answer = await stage.ask(SEND, b'["c"]')
        assert (answer.status, answer.body) == (400, b"Already sending\n")
        assert not sender.unread
        stage.socket.resume()
        await started.told(b"a", b"b")
        assert (await sender.read_response()).body == b"ok"


@pytest_twisted.ensureDeferred
async def test_what_is_sent_before_it_opens_waits_for_that() -> None:
    async with sockjs() as stage:
        stage.accepting = False
        poll = await stage.hold()
        sender = await stage.send(SEND, b'["early"]')
        await stage.house.visit(2)
        await deferLater(reactor, 0)
        assert not sender.unread
        stage.started[0].accept()
        assert (await poll.read_response()).body == b"o\n"
        await stage.started[0].told(b"early")
        assert (await sender.read_response()).body == b"ok"


# ---- the end -----------------------------------------------------------------------------------------------

BYE = b'c[4001,"bye"]\n'


@pytest_twisted.ensureDeferred
async def test_ws_132_close_during_a_poll() -> None:
    async with sockjs() as stage:
        await opened(stage)
        poll = await stage.hold()
        stage.socket.close(4001, b"bye")
        assert (await poll.read_response()).body == BYE
        await stage.started[0].told(("closed", 4001, b"bye"), "socket lost")
        stage.advance(4.7)
        assert await stage.text(XHR) == BYE
        assert await stage.text(SEND, b'["a"]') == BYE
        assert (await stage.get("/sj/s/i/jsonp?c=f")).body == b'/**/f("c[4001,\\"bye\\"]");\n'
        stage.advance(0.4)
        await opened(stage)


@pytest_twisted.ensureDeferred
async def test_ws_132_close_between_polls() -> None:
    async with sockjs() as stage:
        await opened(stage)
        stage.socket.send(TEXT, b"last words")
        stage.socket.close()
        stage.socket.send(TEXT, b"never")
        stage.socket.deliver(b"", [quote(b"never")])
        assert await stage.text(XHR) == b'a["last words"]\n'
        assert await stage.text(XHR) == b'c[0,"Connection closed"]\n'
        stage.socket.abort()
        assert await stage.text(XHR) == b'c[0,"Connection closed"]\n'
        stage.advance(5.2)
        await opened(stage)


@pytest_twisted.ensureDeferred
async def test_ws_133_the_origin_drops() -> None:
    async with sockjs() as stage:
        await opened(stage)
        poll = await stage.hold()
        stage.started[0].holding_back = True
        sender = await stage.send(SEND, b'["a","b"]')
        await stage.started[0].told(b"a")
        stage.socket.abort()
        answer = await poll.read_response()
        assert (answer.status, answer.reason, headers(answer)) == (410, "Gone", [PLAIN, *COMMON])
        assert answer.body == b"Session terminated\n"
        assert (await sender.read_response()).status == 410
        await opened(stage)
        stage.socket.abort()
        await opened(stage)
        assert stage.started[0].events == [b"a"]


@pytest_twisted.ensureDeferred
async def test_what_waits_has_a_limit() -> None:
    async with sockjs() as stage:
        await opened(stage)
        socket = stage.socket
        socket.send(TEXT, b"x" * 100_000)
        assert socket.congested
        socket.deliver(b"", [quote(b"y" * 90_000)])
        assert stage.sockjs.sessions
        assert len(await stage.text(XHR)) == 190_009
        assert not socket.congested
        await stage.started[0].told("socket drained")
        for _ in range(3):
            socket.send(TEXT, b"x" * 100_000)
        assert not stage.sockjs.sessions
        await stage.started[0].told("socket drained", "socket lost")
        await opened(stage)


@pytest_twisted.ensureDeferred
async def test_ws_139_a_message_has_a_limit() -> None:
    async with sockjs() as stage:
        await opened(stage)
        poll = await stage.hold()
        stage.socket.send(TEXT, b"x" * 150_000, True, False)
        stage.socket.send(TEXT, b"x" * 50_001, False, False)
        await poll.closed()
        await stage.started[0].told("socket lost")
        assert not stage.sockjs.sessions


@pytest_twisted.ensureDeferred
async def test_sessions_have_a_limit() -> None:
    async with sockjs(BASE, "client_maxconn=2") as stage:
        await opened(stage)
        assert await stage.text("/sj/s/j/xhr") == b"o\n"
        answer = await stage.ask("/sj/s/k/xhr")
        assert (answer.status, answer.body) == (503, b"Too many sessions\n")
        assert stage.house.stats.counts["sockjs-sessions-refused", ""] == 1
        assert len(stage.started) == 2
