"""How a WebSocket over HTTP begins (websocket 10, 89 to 99, and those of 8 to 27 that exist there)."""

from __future__ import annotations

import re

import pytest
import pytest_twisted

from tests.support.origin import Answer, Asked, reply, withheld
from tests.support.wsbackend import EVENTS, asked_events, event, events, opening
from tests.support.wsclient import KEY
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

FAILED = b"Error while proxying to origin.\n"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
FEATURES = (
    "status, session, link:next, link:gone, filter:skip-self, filter:skip-users, filter:require-sub, "
    "filter:build-id, filter:var-subst"
)


async def fails(scene: SocketStage, *headers: str) -> None:
    """The next handshake gets a 502."""
    client = await scene.shake("/", *headers)
    answer = await client.read_response()
    assert (answer.status, answer.body) == (502, FAILED)
    await client.closed()


# ---- the request -------------------------------------------------------------------------------------------


@pytest.mark.differs("1.36 knows no gone link, and asks for compression")
@case
async def test_ws_089_the_request_of_an_opening(scene: SocketStage) -> None:
    await scene.start_h()
    await scene.join(
        "/path?q=1",
        "Cookie: a=b",
        "Connection-Id: forged",
        "Meta-Evil: 1",
        "Accept: text/html",
        "Origin: http://example.com",
        "Sec-WebSocket-Protocol: foo, bar",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Grip-Sig: bogus",
        "Keep-Alive: 5",
    )
    asked = await scene.origin.request(1)
    assert (asked.method, asked.target, asked.body) == ("POST", "/path?q=1", b"OPEN\r\n")
    headers = dict(asked.headers)
    assert len(headers) == len(asked.headers)
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", headers.pop("Grip-Sig"))
    assert re.fullmatch(UUID, headers.pop("Connection-Id"))
    assert headers.pop("Grip-Feature").startswith(FEATURES)
    assert headers == {
        "Host": "example.com",
        "Cookie": "a=b",
        "Origin": "http://example.com",
        "Sec-WebSocket-Protocol": "foo, bar",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Extensions": "grip",
        "Accept": EVENTS,
        "Content-Type": EVENTS,
        "Content-Length": "6",
    }


@case
async def test_ws_089_every_request_has_the_headers_of_the_handshake(scene: SocketStage) -> None:
    await scene.start_h(opening(), events())
    client = await scene.join("/path?q=1", "Cookie: a=b")
    client.text("hi")
    first, second = await scene.origin.request(1), await scene.origin.request(2)
    changing = ("Content-Length", "Grip-Sig")
    same = [[pair for pair in asked.headers if pair[0] not in changing] for asked in (first, second)]
    assert same[0] == same[1]
    assert (second.method, second.target) == ("POST", "/path?q=1")
    assert second.all("Content-Length") == [str(len(b"TEXT 2\r\nhi\r\n"))]


@pytest.mark.differs("its defect: the client's is sent in addition")
@case
async def test_ws_089_the_type_of_a_clients_body_is_left_out(scene: SocketStage) -> None:
    await scene.start_h()
    await scene.join("/", "Content-Type: text/plain")
    assert (await scene.origin.request(1)).all("Content-Type") == [EVENTS]


@pytest.mark.differs("its defect: sends an empty text at times")
@case
async def test_ws_008_a_handshake_with_a_body_of_no_length(scene: SocketStage) -> None:
    await scene.start_h(opening(), events())
    client = await scene.join("/", "Content-Length: 0")
    client.text("hi")
    assert await asked_events(scene.origin, 1) == [("OPEN", None)]
    assert await asked_events(scene.origin, 2) == [("TEXT", b"hi")]


@pytest.mark.differs("1.36 signs nothing")
@case
async def test_ws_026_without_grip(scene: SocketStage) -> None:
    await scene.start_h(opening(("TEXT", b"c:{}"), ("TEXT", b"m:x")), events(), condition="*,debug,no_grip")
    client = await scene.join("/", "Grip-Foo: 1")
    asked = await scene.origin.request(1)
    assert [name for name, _ in asked.headers if name.startswith("Grip-")] == ["Grip-Sig"]
    assert asked.all("Sec-WebSocket-Extensions") == []
    await client.expect_text("c:{}")
    await client.expect_text("m:x")


@case
async def test_ws_121_clients_cannot_send_events(scene: SocketStage) -> None:
    await scene.start_h()
    for kind in (EVENTS, f"{EVENTS}; charset=utf-8"):
        client = await scene.ask("/", f"Content-Type: {kind}", method="POST", body=b"OPEN\r\n")
        answer = await client.read_response()
        assert (answer.status, answer.reason, answer.get("Content-Type")) == (403, "Forbidden", "text/plain")
        assert answer.body == b"Client not allowed to send WebSocket events directly.\n"
    assert scene.origin.requests == []


# ---- yes ---------------------------------------------------------------------------------------------------


def chunked(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {EVENTS}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def until_close(body: bytes) -> Answer:
    def answer(asked: Asked) -> None:
        asked.write(f"HTTP/1.1 200 OK\r\nContent-Type: {EVENTS}\r\nConnection: close\r\n\r\n".encode() + body)
        asked.close()

    return answer


@pytest.mark.parametrize(
    "framed", [pytest.param(chunked, id="ws_124-chunked"), pytest.param(until_close, id="ws_124-until close")]
)
@case
async def test_framings(scene: SocketStage, framed: object) -> None:
    assert callable(framed)
    await scene.start_h(framed(b"OPEN\r\n"), framed(b"TEXT 2\r\nhi\r\n"))
    client = await scene.join()
    for name in ("Transfer-Encoding", "Content-Type", "Content-Length"):
        assert client.head.get(name) is None
    client.text("x")
    await client.expect_text("hi")


@case
async def test_ws_124_headers_of_an_opening(scene: SocketStage) -> None:
    """Those that mean something between proxy and backend stay there (1.2)."""
    await scene.start_h(
        opening(
            headers=[
                "Keep-Alive-Interval: 30",
                "Set-Meta-User: alice",
                "Sec-WebSocket-Protocol: foo",
                "Set-Cookie: a=1",
                "Set-Cookie: b=2",
                "X-Extra: 1",
            ]
        )
    )
    client = await scene.join("/", "Sec-WebSocket-Protocol: foo, bar")
    assert client.head.line == "HTTP/1.1 101 Switching Protocols"
    own = ("Upgrade", "Connection", "Sec-WebSocket-Accept")
    assert [pair for pair in client.head.headers if pair[0] not in own] == [
        ("Sec-WebSocket-Protocol", "foo"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-Extra", "1"),
    ]


@case
async def test_ws_092_events_that_come_with_an_opening(scene: SocketStage) -> None:
    await scene.start_h(
        opening(("TEXT", b'c:{"type":"subscribe","channel":"c"}'), ("TEXT", b"m:hello"), ("TEXT", b"m:2"))
    )
    client = await scene.join()
    await client.expect_text("hello")
    await client.expect_text("2")
    await scene.proxy.held("c")
    await scene.say("news")
    await client.expect_text("news")


@case
async def test_ws_094_an_opening_that_is_not_decided(scene: SocketStage) -> None:
    await scene.start_h(events(headers=["Keep-Alive-Interval: 20", "Set-Meta-A: 1"]), opening())
    client = await scene.shake()
    await scene.origin.request(1)
    await scene.proxy.settle()
    await scene.proxy.advance(19)
    assert len(scene.origin.requests) == 1
    assert not client.unread
    await scene.proxy.advance(1.5)
    again = await scene.origin.request(2)
    assert (again.body, again.get("Meta-A")) == (b"OPEN\r\n", "1")
    assert (await client.read_head()).status == 101


@case
async def test_ws_027_an_opening_that_takes_long(scene: SocketStage) -> None:
    await scene.start_h(withheld)
    client = await scene.shake()
    asked = await scene.origin.request(1)
    await scene.proxy.advance(75)
    assert not client.unread
    asked.write(opening())
    assert (await client.read_head()).status == 101


@pytest.mark.parametrize(
    ("body", "heard"),
    [
        pytest.param(b"OPEN\r\nFOO 3\r\nabc\r\nZAP\r\nTEXT 1\r\nx\r\n", [b"x"], id="ws_096-unknown"),
        pytest.param(b"OPEN\r\ntext 1\r\ny\r\nTEXT 1\r\nx\r\n", [b"x"], id="ws_096-lower case"),
        pytest.param(b"OPEN\r\nTEXT 10\r\nhi\r\n", [b"hi\r\n"], id="ws_097-too long"),
        pytest.param(b"OPEN\r\nTEXT 2\r\nhello\r\nTEXT 1\r\nx\r\n", [b"he", b"x"], id="ws_097-too short"),
        pytest.param(b"OPEN\r\nTEXT -1\r\nhi\r\n", [b"hi\r\n"], id="ws_098-negative"),
        pytest.param(b"OPEN\r\nTEXT 0x2\r\nhi\r\n", [b"hi"], id="ws_098-0x"),
        pytest.param(b"OPEN\r\nTEXT A\r\n0123456789\r\n", [b"0123456789"], id="ws_098-upper case"),
        pytest.param(b"OPEN\r\nTEXT 0002\r\nhi\r\n", [b"hi"], id="ws_098-zeros"),
        pytest.param(b"OPEN\r\nTEXT  2\r\nhi\r\n", [b"hi"], id="ws_098-spaces"),
        pytest.param(b"OPEN 2\r\nxx\r\nTEXT 2\r\nhi", [b"hi"], id="ws_098-end"),
    ],
)
@case
async def test_what_is_read(scene: SocketStage, body: bytes, heard: list[bytes]) -> None:
    """Without GRIP, so that every message would be seen."""
    await scene.start_h(events(body), events(("TEXT", b"end")))
    client = await scene.join()
    for data in heard:
        await client.expect_text(data)
    client.text("go on")
    await client.expect_text("end")


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        pytest.param(["OPEN"], None, id="ws_099-second OPEN"),
        pytest.param(["DISCONNECT"], None, id="ws_099-DISCONNECT"),
        pytest.param([("CLOSE", b"\x0f\xa1bye")], 4001, id="ws_099-CLOSE"),
    ],
)
@case
async def test_ends_that_come_with_an_opening(scene: SocketStage, parts: list[str], code: int | None) -> None:
    await scene.start_h(opening(*parts), events())
    client = await scene.join()
    if code is not None:
        await client.expect_close(code, b"bye")
        await scene.quiet(client)
    else:
        await client.gone()
        await scene.proxy.settle()
        assert len(scene.origin.requests) == 1


# ---- no ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(events(), id="ws_094-no event"),
        pytest.param(events(("TEXT", b"m:x")), id="ws_095-TEXT"),
        pytest.param(events(("TEXT", b"m:x"), "OPEN"), id="ws_095-OPEN second"),
        pytest.param(events(b"open\r\n"), id="ws_095-lower case"),
        pytest.param(events(b"OPEN\n"), id="ws_095-line feed"),
        pytest.param(events(b"OPEN"), id="ws_095-no line end"),
        pytest.param(events(b"OPEN\r\nTEXT zz\r\nhi\r\n"), id="ws_095-size"),
        pytest.param(events(b"OPEN\r\nTEXT 1\r\nhi\r\n"), id="ws_097-too short"),
        pytest.param(events(b"OPEN\r\nTEXT 7fffffff\r\nhi\r\n"), id="ws_098-too large"),
        pytest.param(
            opening(headers=["Content-Bytes-Accepted: 1"]),
            id="ws_115-OPEN",
            marks=[pytest.mark.differs("1.36 falls silent")],
        ),
        pytest.param(opening(b"X\r\n" * 333332), id="ws_114-OPEN"),
        pytest.param(b"garbage\r\n\r\n", id="ws_019-garbage"),
    ],
)
@case
async def test_bad_openings(scene: SocketStage, answer: bytes) -> None:
    await scene.start_h(answer, events())
    await fails(scene)
    await scene.proxy.settle()
    assert len(scene.origin.requests) == 1


@case
async def test_ws_095_an_opening_that_breaks_off(scene: SocketStage) -> None:
    def half(asked: Asked) -> None:
        asked.write(opening()[:-3])
        asked.close()

    await scene.start_h(half)
    await fails(scene)


@pytest.mark.differs("1.36 falls silent")
@case
async def test_ws_114_the_longest_opening(scene: SocketStage) -> None:
    size = 1_000_000 - len(b"OPEN\r\nTEXT 00000\r\n\r\n")
    message = b"m:" + b"x" * (size - 2)
    await scene.start_h(opening(b"TEXT %05x\r\n%b\r\n" % (size, message)))
    client = await scene.join()
    await client.expect_text(message[2:])


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(f"{EVENTS}; charset=utf-8", id="ws_093-parameter"),
        pytest.param("text/plain", id="ws_093-text"),
        pytest.param("Application/WebSocket-Events", id="ws_093-case"),
    ],
)
@case
async def test_answers_of_other_types(scene: SocketStage, kind: str) -> None:
    body = event("OPEN") + event("TEXT", b"m:x")
    await scene.start_h(reply(f"Content-Type: {kind}", "Set-Meta-A: 1", body=body))
    client = await scene.shake()
    answer = await client.read_response()
    assert (answer.status, answer.body, answer.get("Content-Type")) == (200, body, kind)
    assert answer.get("Set-Meta-A") == "1"
    await client.closed()


@pytest.mark.parametrize(
    ("status", "size"),
    [
        pytest.param("403 Nope", 8192, id="ws_016-8192"),
        pytest.param(
            "403 Nope", 8193, id="ws_016-8193", marks=[pytest.mark.differs("answers 500 from here on")]
        ),
        pytest.param("403 Nope", 100_000, id="ws_016-much", marks=[pytest.mark.differs("answers 500")]),
        pytest.param("401 Who", 0, id="ws_014-none"),
        pytest.param("302 Found", 5, id="ws_014-redirect"),
        pytest.param("500 Bad", 5, id="ws_013-error"),
    ],
)
@case
async def test_refusals(scene: SocketStage, status: str, size: int) -> None:
    body = b"x" * size
    await scene.start_h(
        reply(f"Content-Type: {EVENTS}", "Location: /else", "Grip-Hold: stream", body=body, status=status)
    )
    client = await scene.shake()
    answer = await client.read_response()
    assert (f"{answer.status} {answer.reason}", answer.body) == (status, body)
    assert (answer.get("Location"), answer.get("Grip-Hold")) == ("/else", "stream")
    await client.closed()
    assert len(scene.origin.requests) == 1


# ---- other targets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option", [pytest.param(",over_http", id="ws_023-H and H"), pytest.param("", id="ws_023-W and H")]
)
@case
async def test_another_target(scene: SocketStage, down: str, option: str) -> None:
    await scene.start_h(
        opening(("TEXT", b"m:hello")), routes=[f"* {down}{option} {scene.origin.address},over_http"]
    )
    client = await scene.join()
    await client.expect_text("hello")


@case
async def test_ws_023_a_target_that_has_answered_is_final(scene: SocketStage) -> None:
    other = await scene.another_origin(opening())
    await scene.start_h(events(), routes=[f"* {scene.origin.address},over_http {other.address},over_http"])
    await fails(scene)
    assert other.requests == []


@case
async def test_ws_022_no_target(scene: SocketStage, down: str) -> None:
    """And no second attempt."""
    await scene.start_h(routes=[f"* {down},over_http"])
    await fails(scene)
