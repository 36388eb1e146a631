"""SockJS by requests that poll: info, page, messages, and how sessions end (websocket 10, 125 to 134).

Through the whole service, with a WebSocket backend.
"""

from __future__ import annotations

import json

import pytest
import pytest_twisted

from tests.support.origin import reply
from tests.support.rawclient import Answer, RawClient
from tests.support.sockjsclient import Polls
from tests.support.waiting import until
from tests.support.wsbackend import BackendSocket
from tests.support.wspeer import TEXT
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

ROUTE = "*,sockjs=/sj"
FETCHER = "1.36 asks backends with another program than 1.41"
URL = "http://cdn.example.com/sockjs.js"
UNCACHED = ("Cache-Control", "no-store, no-cache, must-revalidate, max-age=0")
ANYBODY = [("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Credentials", "true")]
COMMON = [UNCACHED, *ANYBODY]
PLAIN = ("Content-Type", "text/plain")
PAGE = f"""\
<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="{URL}"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>
"""


def headers(answer: Answer) -> list[tuple[str, str]]:
    """Those that SockJS is about."""
    return [pair for pair in answer.headers if pair[0] not in ("Content-Length", "Connection")]


async def opened(scene: SocketStage) -> tuple[Polls, BackendSocket]:
    """A session that is open, and its other end."""
    await scene.start_w(condition=ROUTE)
    talk = Polls(scene)
    await talk.open()
    return talk, await scene.backend.socket(1)


async def pass_time(scene: SocketStage, seconds: int) -> None:
    """In steps that no timer is longer than."""
    for _ in range(seconds):
        await scene.proxy.advance(1)


async def arrived(scene: SocketStage) -> None:
    """What a backend has just said is with the session."""
    for _ in range(3):
        await scene.proxy.settle()


# ---- without a session -------------------------------------------------------------------------------------


@case
async def test_ws_125_info(scene: SocketStage) -> None:
    await scene.start_w(condition=ROUTE)
    talk = Polls(scene)
    answer = await talk.ask("/sj/info", None, method="GET")
    assert (answer.status, headers(answer)) == (200, [PLAIN, *COMMON])
    entropy = json.loads(answer.body)["entropy"]
    assert 0 <= entropy < 2**32
    text = f'{{"cookie_needed":false,"entropy":{entropy},"origins":["*:*"],"websocket":true}}\n'
    assert answer.body == text.encode()
    answer = await talk.ask("/sj/info?t=1", None, "Origin: http://a.example", method="GET")
    assert headers(answer)[1:] == [UNCACHED, (ANYBODY[0][0], "http://a.example"), ANYBODY[1]]
    assert not scene.origin.requests


@case
async def test_ws_125_options(scene: SocketStage) -> None:
    await scene.start_w(condition=ROUTE)
    for path in ("/sj/info", "/sj/s/i/xhr", "/sj/no/such/thing"):
        answer = await Polls(scene).ask(path, None, method="OPTIONS")
        assert (answer.status, headers(answer), answer.body) == (204, [PLAIN, *COMMON], b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("POST", "/sj/info", id="ws_125-post"),
        pytest.param("GET", "/sj/s/i/xhr", id="ws_125-get-of-a-poll"),
        pytest.param("GET", "/sj/s/i/websocket", id="ws_125-no-upgrade"),
        pytest.param("GET", "/sj/", id="ws_125-slash"),
        pytest.param("GET", "/sj", id="ws_125-nothing"),
        pytest.param("POST", "/sj/s/i/xhr_send", id="ws_125-send-to-nobody"),
        pytest.param("POST", "/sj/s/i/jsonp_send", id="ws_125-form-to-nobody"),
        pytest.param("POST", "/sj/s/i/x/xhr", id="ws_125-too-deep"),
        pytest.param("GET", "/sjx", id="C200-longer"),
    ],
)
@case
async def test_nothing_else_is_there(scene: SocketStage, method: str, path: str) -> None:
    await scene.start_w(condition=ROUTE)
    answer = await Polls(scene).ask(path, None if method == "GET" else b"[]", method=method)
    assert (answer.status, headers(answer), answer.body) == (404, [PLAIN, *COMMON], b"Not Found\n")
    assert not scene.origin.requests


@case
async def test_c200_beside_it_is_the_backend(scene: SocketStage) -> None:
    await scene.start(reply(body=b"other"), condition=ROUTE)
    answer = await Polls(scene).ask("/other", None, method="GET")
    assert (answer.status, answer.body) == (200, b"other")
    answer = await Polls(scene).ask("/sj/info", None, method="GET")
    assert (answer.status, headers(answer)[1:]) == (200, COMMON)
    assert [asked.target for asked in scene.origin.requests] == ["/other"]
    assert len([line for line in scene.proxy.lines() if "http://" in line]) == 1


@case
async def test_ws_126_the_page(scene: SocketStage) -> None:
    await scene.start_w(condition=ROUTE, proxy={"sockjs_url": URL})
    talk = Polls(scene)
    answer = await talk.ask("/sj/iframe-1.6.html?t=2", None, method="GET")
    tag = ("ETag", answer.get("ETag") or "")
    kind = ("Content-Type", "text/html; charset=UTF-8")
    age = ("Cache-Control", "public, max-age=31536000")
    assert (answer.status, headers(answer)) == (200, [tag, kind, age, *COMMON])
    assert answer.body.decode() == PAGE
    assert tag[1][0] == tag[1][-1] == '"' and len(tag[1]) == 34
    answer = await talk.ask("/sj/iframe.html", None, f"If-None-Match: {tag[1]}", method="GET")
    assert (answer.status, headers(answer), answer.body) == (304, [tag, *COMMON], b"")


# ---- messages to the client --------------------------------------------------------------------------------


@case
async def test_ws_127_messages_and_the_heart(scene: SocketStage) -> None:
    await scene.start_w(condition=ROUTE)
    talk = Polls(scene)
    answer = await talk.answer()
    assert (answer.status, headers(answer), answer.body) == (200, [PLAIN, *COMMON], b"o\n")
    backend = await scene.backend.socket(1)
    await talk.listen()
    backend.text("m:hello")
    assert (await talk.answer()).body == b'a["hello"]\n'
    for text in ("m:one", "m:two", "m:three"):
        backend.text(text)
    await arrived(scene)
    assert (await talk.answer()).body == b'a["one","two","three"]\n'
    await talk.listen()
    await pass_time(scene, 24)
    await scene.silent(talk.held)
    await pass_time(scene, 2)
    answer = await talk.answer()
    assert (answer.status, headers(answer), answer.body) == (200, [PLAIN, *COMMON], b"h\n")
    assert len(scene.backend.sockets) == 1


@pytest.mark.parametrize(
    ("data", "frame"),
    [
        pytest.param(b'm:say "hi"\n', 'a["say \\"hi\\"\\n"]', id="ws_128-quote-and-newline"),
        pytest.param("m:\u2028é😀".encode(), 'a["\u2028é😀"]', id="ws_128-beyond-ascii"),
        pytest.param(b"m:\x01\\", 'a["\\u0001\\\\"]', id="ws_128-control"),
        pytest.param(
            b"m:a\x00b",
            'a["a\\u0000b"]',
            id="ws_128-nul",
            marks=pytest.mark.differs("cut at the first NUL"),
        ),
    ],
)
@case
async def test_how_messages_are_written(scene: SocketStage, data: bytes, frame: str) -> None:
    talk, backend = await opened(scene)
    await talk.listen()
    backend.frame(TEXT, data)
    assert await talk.frame() == frame


@case
async def test_ws_128_binary(scene: SocketStage) -> None:
    talk, backend = await opened(scene)
    await talk.listen()
    backend.binary(b"m:\xff")
    assert await talk.frame() == 'a["\ufffd"]'


# ---- messages to the origin --------------------------------------------------------------------------------


@case
async def test_ws_129_each_string_is_a_message(scene: SocketStage) -> None:
    talk, backend = await opened(scene)
    answer = await talk.send(b'["a","b\\u00e9"]')
    assert (answer.status, headers(answer), answer.body) == (200, [PLAIN, *COMMON], b"ok")
    await talk.say()
    await backend.expect_text("a")
    await backend.expect_text("bé")
    await talk.say("c")
    await backend.expect_text("c")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(b"", b"Payload expected\n", id="ws_129-empty"),
        pytest.param(b"junk", b"Payload expected\n", id="ws_129-junk"),
        pytest.param(b'"a"', b"Payload expected\n", id="ws_129-string"),
        pytest.param(b'["a",1]', b"Payload expected\n", id="ws_129-number"),
        pytest.param(b'{"a":"b"}', b"Payload expected\n", id="ws_129-object"),
        pytest.param(b'["%b"]' % (b"x" * 99_997), b"Request too large.\n", id="ws_129-long"),
    ],
)
@case
async def test_what_is_no_array_of_strings(scene: SocketStage, body: bytes, text: bytes) -> None:
    talk, backend = await opened(scene)
    answer = await talk.send(body)
    assert (answer.status, headers(answer), answer.body) == (400, [PLAIN, *COMMON], text)
    await talk.say("fine")
    await backend.expect_text("fine")


@pytest.mark.differs("fills so slowly that the session ends for want of a poll")
@case
async def test_ws_129_one_request_at_a_time(scene: SocketStage) -> None:
    """While the first waits for a backend that does not read."""
    talk, backend = await opened(scene)
    backend.raw.pause()
    bodies = b'["%b"]' % (b"x" * 99_000)
    waiting: list[RawClient] = []
    for _ in range(200):
        client = await scene.ask("/sj/s/i/xhr_send", method="POST", body=bodies)
        waiting.append(client)
        await scene.proxy.settle()
        if not client.unread:
            break
    answer = await talk.send(b'["never"]')
    assert (answer.status, headers(answer), answer.body) == (400, [PLAIN, *COMMON], b"Already sending\n")
    backend.raw.resume()
    for client in waiting:
        assert (await client.read_response()).body == b"ok"
        await backend.expect_text(b"x" * 99_000)
    await talk.say("last")
    await backend.expect_text("last")


# ---- one poll at a time, and not too seldom ----------------------------------------------------------------


@case
async def test_ws_130_a_second_poll(scene: SocketStage) -> None:
    talk, backend = await opened(scene)
    await talk.listen()
    second = await Polls(scene).answer()
    text = b'c[2010,"Another connection still open"]\n'
    assert (second.status, headers(second), second.body) == (200, [PLAIN, *COMMON], text)
    backend.text("m:a")
    assert await talk.frame() == 'a["a"]'


@case
async def test_ws_131_without_a_poll(scene: SocketStage) -> None:
    talk, backend = await opened(scene)
    await pass_time(scene, 4)
    await scene.quiet(backend)
    await talk.listen()
    backend.text("m:a")
    assert await talk.frame() == 'a["a"]'
    await pass_time(scene, 4)
    await scene.quiet(backend)
    await pass_time(scene, 2)
    await backend.gone()
    assert (await talk.send(b'["a"]')).status == 404
    await talk.open()
    await scene.backend.socket(2)


@pytest.mark.differs("misses the loss of a poll with Content-Length: 0")
@case
async def test_ws_131_a_poll_that_is_given_up(scene: SocketStage) -> None:
    talk, backend = await opened(scene)
    await talk.listen()
    talk.leave()
    await backend.gone()
    await Polls(scene).open()
    await scene.backend.socket(2)


# ---- the end -----------------------------------------------------------------------------------------------


@pytest.mark.differs(FETCHER)
@pytest.mark.parametrize("during", [True, False], ids=["ws_132-during", "ws_132-between"])
@case
async def test_the_origin_closes(scene: SocketStage, during: bool) -> None:
    talk, backend = await opened(scene)
    if during:
        await talk.listen()
    else:
        backend.text("m:last words")
    backend.close(4001, b"bye")
    await backend.expect_close(4001, b"bye")
    if not during:
        assert await talk.frame() == 'a["last words"]'
    for _ in range(3):
        answer = await talk.answer()
        assert (answer.status, headers(answer)) == (200, [PLAIN, *COMMON])
        assert answer.body == b'c[4001,"bye"]\n'
        await pass_time(scene, 1)
    answer = await talk.send(b'["a"]')
    assert (answer.status, answer.body) == (200, b'c[4001,"bye"]\n')
    await pass_time(scene, 6)
    await talk.open()
    await scene.backend.socket(2)


@pytest.mark.parametrize(
    ("status", "reason", "frame"),
    [
        pytest.param(None, b"", b'c[0,"Connection closed"]\n', id="ws_132-no-code"),
        pytest.param(4000, b"", b'c[4000,"Connection closed"]\n', id="ws_132-no-reason"),
        pytest.param(4000, b'"', b'c[4000,"\\""]\n', id="ws_132-quote"),
    ],
)
@case
async def test_what_the_origin_leaves_out(
    scene: SocketStage, status: int | None, reason: bytes, frame: bytes
) -> None:
    talk, backend = await opened(scene)
    await talk.listen()
    backend.close(status, reason)
    assert (await talk.answer()).body == frame


@case
async def test_ws_133_the_origin_vanishes(scene: SocketStage) -> None:
    talk, backend = await opened(scene)
    await talk.listen()
    backend.drop()
    answer = await talk.answer()
    assert (answer.status, answer.reason, headers(answer)) == (410, "Gone", [PLAIN, *COMMON])
    assert answer.body == b"Session terminated\n"
    await talk.open()
    backend = await scene.backend.socket(2)
    backend.drop()
    await until(lambda: backend.raw.lost, "the end")
    await arrived(scene)
    await talk.open()


@pytest.mark.differs(FETCHER)
@case
async def test_ws_134_the_origin_refuses(scene: SocketStage) -> None:
    refusal = reply("X-Why: because", "WWW-Authenticate: Basic", body=b"sorry", status="403 No Way")
    await scene.start(refusal, scene.backend.accepting(), condition=ROUTE)
    talk = Polls(scene)
    answer = await talk.answer()
    assert (answer.status, answer.reason, answer.body) == (403, "No Way", b"sorry")
    assert headers(answer) == [("X-Why", "because"), ("WWW-Authenticate", "Basic"), *COMMON]
    await talk.open()


@case
async def test_ws_134_nobody_listens(scene: SocketStage, down: str) -> None:
    await scene.start(routes=[f"{ROUTE} {down}"])
    answer = await Polls(scene).answer()
    assert (answer.status, answer.body) == (502, b"Error while proxying to origin.\n")
    assert headers(answer) == COMMON
