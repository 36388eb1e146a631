"""Held requests of pages of other origins (grip 8.3, 9.1), through the whole service."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import hold, reply, withheld
from tests.support.running import R, S
from tests.support.stage import Stage, numbered

case = pytest_twisted.ensureDeferred
HELD = hold("response", "X-Keep: 1", "Content-Type: application/json", channel="c")
PUBLISHED = {R: {"body": '{"a":1}\n', "headers": [["X-N", "3"]]}}
CORS = (
    "Access-Control-Allow-Methods: OPTIONS, HEAD, GET, POST, PUT, DELETE\r\n"
    "Access-Control-Expose-Headers: {}\r\n"
    "Access-Control-Allow-Credentials: true\r\n"
    "Access-Control-Allow-Origin: http://ex.com\r\n"
    "Access-Control-Max-Age: 3600\r\n"
)
SCRIPT = "HTTP/1.1 200 OK\r\nX-Keep: 1\r\nX-N: 3\r\nContent-Type: application/javascript\r\n"


@case
async def test_grip_030_headers_of_a_published_response(stage: Stage) -> None:
    await stage.start(HELD, condition="*,aco")
    client = await stage.held("c", "Origin: http://ex.com")
    await stage.proxy.publish("c", PUBLISHED)
    cors = CORS.format("X-Keep, X-N")
    head = f"HTTP/1.1 200 OK\r\nX-Keep: 1\r\nContent-Type: application/json\r\nX-N: 3\r\n{cors}"
    await client.expect(f'{head}Content-Length: 8\r\n\r\n{{"a":1}}\n'.encode())


SCRIPTS = [
    (
        "031",
        "extended",
        rb'/**/cb({"body":"{\"a\":1}\n","code":200,'
        rb'"headers":{"Content-Type":"application/json","X-Keep":"1","X-N":"3"},"reason":"OK"});' + b"\n",
    ),
    ("032", "basic", b'/**/cb({"a":1});\n'),
]


@pytest.mark.parametrize(("mode", "body"), numbered(SCRIPTS))
@case
async def test_a_published_response_as_a_script(stage: Stage, mode: str, body: bytes) -> None:
    await stage.start(HELD, condition=f"*,aco,jsonp_cb=callback,jsonp_mode={mode}")
    client = await stage.ask("/?callback=cb", "Origin: http://ex.com")
    await stage.proxy.held("c")
    await stage.proxy.publish("c", PUBLISHED)
    await client.expect(f"{SCRIPT}Content-Length: {len(body)}\r\n\r\n".encode() + body)


@case
async def test_grip_030_each_client_is_answered_in_its_own_way(stage: Stage) -> None:
    """What differs is never shared, although the holds are alike."""
    await stage.start(HELD, condition="*,aco")
    targets = ["/", "/", "/?callback=f", "/?callback=g", "/"]
    origins = ["a", "b", "a", "a", "a"]
    clients = [
        await stage.ask(target, f"Origin: http://{origin}.example")
        for target, origin in zip(targets, origins, strict=True)
    ]
    await stage.proxy.held("c", 5)
    await stage.proxy.publish("c", PUBLISHED)
    answers = [await client.read_response() for client in clients]
    said = [answer.get("Access-Control-Allow-Origin") for answer in answers]
    assert said == ["http://a.example", "http://b.example", None, None, "http://a.example"]
    assert answers[0].body == answers[1].body == answers[4].body == b'{"a":1}\n'
    assert answers[2].body == answers[3].body.replace(b"/**/g(", b"/**/f(")


@case
async def test_grip_031_after_asking_again(stage: Stage) -> None:
    """The request was unwrapped once; the client is answered as it wanted all the same."""
    again = reply("Content-Type: text/plain", body=b"found\n")
    await stage.start(HELD, again, condition="*,aco")
    client = await stage.ask("/x?callback=cb&_method=POST&_body=b&y=1")
    await stage.proxy.held("c")
    await stage.proxy.publish("c", {R: {"action": "hint"}})
    answer = await client.read_response()
    assert answer.get("Content-Type") == "application/javascript"
    assert answer.body == (
        rb'/**/cb({"code": 200, "reason": "OK", "headers": {"Content-Length":"6",'
        rb'"Content-Type":"text/plain"}, "body": "found\n"});' + b"\n"
    )
    asked = [(asked.method, asked.target, asked.body) for asked in stage.origin.requests]
    assert asked == [("POST", "/x?y=1", b"b")] * 2


@case
async def test_grip_030_after_asking_again(stage: Stage) -> None:
    await stage.start(HELD, HELD, condition="*,aco")
    client = await stage.held("c", "Origin: http://ex.com")
    await stage.proxy.publish("c", {R: {"action": "hint"}})
    await stage.origin.request(2)
    await stage.proxy.held("c")
    await stage.proxy.publish("c", PUBLISHED)
    assert (await client.read_response()).all("Access-Control-Allow-Origin") == ["http://ex.com"]


@case
async def test_grip_030_instructions_that_hold_nobody(stage: Stage) -> None:
    await stage.start(reply("Grip-Status: 404", "X-A: 1", body=b"x\n"), condition="*,aco")
    client = await stage.ask("/", "Origin: http://ex.com")
    head = f"HTTP/1.1 404 Not Found\r\nX-A: 1\r\n{CORS.format('X-A')}"
    await client.expect(f"{head}Content-Length: 2\r\n\r\nx\n".encode())
    client.request("/?callback=f")
    answer = await client.read_response()
    assert answer.body.startswith(b'/**/f({"code": 404, "reason": "Not Found", "headers": {')
    assert answer.body.endswith(b'"X-A":"1"}, "body": "x\\n"});\n')


@pytest.mark.one_process
@pytest.mark.differs("of two that are shared, both are answered as the first one wants it")
@case
async def test_grip_030_those_who_share_an_answer(stage: Stage) -> None:
    """One question to the backend, and everybody is answered in his own way."""
    await stage.start(withheld, condition="*,aco", handler={"share_all": "true"})
    clients = [
        await stage.ask("/", "Origin: http://a.example"),
        await stage.ask("/", "Origin: http://b.example"),
        await stage.ask("/?callback=f"),
    ]
    asked = await stage.origin.request(1)
    await stage.proxy.settle()
    asked.write(HELD)
    await stage.proxy.held("c", 3)
    await stage.proxy.publish("c", PUBLISHED)
    answers = [await client.read_response() for client in clients]
    said = [answer.get("Access-Control-Allow-Origin") for answer in answers]
    assert said == ["http://a.example", "http://b.example", None]
    assert answers[2].body.startswith(b"/**/f(")
    assert len(stage.origin.requests) == 1


@case
async def test_grip_060_a_stream_is_no_script(stage: Stage) -> None:
    await stage.start(
        hold("stream", "X-A: 1", channel="c", body=b"begin\n"), condition="*,aco,jsonp_cb=callback"
    )
    client = await stage.ask("/?callback=cb", "Origin: http://ex.com")
    framing = "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n"
    head = f"HTTP/1.1 200 OK\r\nX-A: 1\r\n{CORS.format('X-A')}{framing}\r\n"
    await client.expect(head.encode() + b"6\r\nbegin\n\r\n")
    await stage.proxy.held("c")
    await stage.proxy.publish("c", {S: {"content": "news\n"}})
    await client.expect(b"5\r\nnews\n\r\n")


@case
async def test_grip_060_nor_is_one_that_follows_a_link(stage: Stage) -> None:
    stage.origin.at("/next", reply("Grip-Foo: 1", body=b"more\n"))
    await stage.start(reply("Grip-Link: </next>; rel=next", body=b"begin\n"), condition="*,aco")
    client = await stage.ask("/?callback=cb", "Origin: http://ex.com")
    answer = await client.read_response()
    assert answer.get("Access-Control-Allow-Origin") == "http://ex.com"
    assert answer.body == b"begin\nmore\n"
