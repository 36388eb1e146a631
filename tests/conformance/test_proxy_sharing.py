"""Requests that share one answer, and responses made of several (proxy 7.4, 10.7)."""

from __future__ import annotations

import re

import pytest
import pytest_twisted

from tests.support.origin import hold, reply
from tests.support.running import R, S
from tests.support.stage import Stage

case = pytest_twisted.ensureDeferred
SHARING = {"share_all": "true"}
SHARED = re.compile(r" shared=0x[0-9a-f]+")


@pytest.mark.one_process
@case
async def test_c169_equal_requests_at_the_same_time(stage: Stage) -> None:
    await stage.start(lambda asked: None, handler=SHARING)
    clients = [await stage.ask("/x", host="a.example") for _ in range(3)]
    asked = await stage.origin.request(1)
    post = await stage.ask("/x", method="POST", body=b"form", host="a.example")
    posted = await stage.origin.request(2)
    await stage.proxy.settle()
    posted.write(reply(body=b"posted"))
    assert (await post.read_response()).body == b"posted"
    asked.write(reply(body=b"answer"))
    for client in clients:
        assert (await client.read_response()).body == b"answer"
        await stage.usable(client)
    assert len(stage.origin.requests) == 2
    gets = [line for line in stage.proxy.lines() if line.startswith("GET http://a.example/x")]
    assert len(gets) == 3
    (found,) = {SHARED.findall(line)[0] for line in gets}
    assert {line.replace(found, "") for line in gets} == {
        f"GET http://a.example/x -> {stage.origin.address} code=200 6"
    }


@pytest.mark.one_process
@case
async def test_c169_a_latecomer(stage: Stage) -> None:
    await stage.start(lambda asked: None, handler=SHARING)
    first = await stage.ask()
    asked = await stage.origin.request(1)
    asked.write(b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 10\r\n\r\n01234")
    body = first.body(await first.read_head())
    await body.expect(b"01234")
    second = await stage.ask(version="HTTP/1.0")
    head = await second.read_head()
    assert head.raw == b"HTTP/1.0 200 OK\r\nX-A: b\r\nContent-Length: 10\r\n\r\n"
    asked.write(b"56789")
    await body.expect(b"56789")
    await second.body(head).expect(b"0123456789")
    assert len(stage.origin.requests) == 1


@pytest.mark.one_process
@pytest.mark.differs("it looks at method and URI alone, and gives one form's answer to another")
@case
async def test_c169_another_body_is_another_request(stage: Stage) -> None:
    await stage.start(lambda asked: None, handler=SHARING)
    clients = [await stage.ask(method="POST", body=body) for body in (b"one", b"two", b"one")]
    await stage.origin.request(2)
    await stage.proxy.settle()
    for asked in stage.origin.requests:
        asked.write(reply(body=b"for " + asked.body))
    bodies = [(await client.read_response()).body for client in clients]
    assert bodies == [b"for one", b"for two", b"for one"]
    assert len(stage.origin.requests) == 2


@pytest.mark.one_process
@case
@pytest.mark.parametrize(("mode", "form", "key"), [("stream", S, "content"), ("response", R, "body")])
async def test_c169_all_are_held(stage: Stage, mode: str, form: str, key: str) -> None:
    await stage.start(lambda asked: None, handler=SHARING)
    clients = [await stage.ask(), await stage.ask()]
    asked = await stage.origin.request(1)
    await stage.proxy.settle()
    asked.write(hold(mode, body=b"first "))
    await stage.proxy.held("c", 2)
    await stage.proxy.publish("c", {form: {key: "news"}})
    for client in clients:
        head = await client.read_head()
        await client.body(head).expect(b"first news" if mode == "stream" else b"news")
    assert len(stage.origin.requests) == 1


@pytest.mark.one_process
@case
async def test_c169_the_first_one_goes(stage: Stage) -> None:
    await stage.start(lambda asked: None, handler=SHARING)
    first = await stage.ask()
    asked = await stage.origin.request(1)
    second = await stage.ask()
    await stage.proxy.settle()
    first.drop()
    await stage.proxy.settle()
    asked.write(reply(body=b"answer"))
    assert (await second.read_response()).body == b"answer"


@case
async def test_who_shares_with_nobody_has_a_plain_line(stage: Stage) -> None:
    await stage.start(reply(body=b"answer"), handler=SHARING)
    for _ in range(2):
        assert (await (await stage.ask()).read_response()).body == b"answer"
    await stage.proxy.settle()
    assert len(stage.origin.requests) == 2
    assert not any(SHARED.search(line) for line in stage.proxy.lines())


@case
async def test_without_share_all_everybody_asks(stage: Stage) -> None:
    await stage.start(reply(body=b"answer"))
    for client in [await stage.ask(), await stage.ask()]:
        assert (await client.read_response()).body == b"answer"
    assert len(stage.origin.requests) == 2
    assert not any(SHARED.search(line) for line in stage.proxy.lines())


@case
async def test_c170_a_response_of_two(stage: Stage) -> None:
    stage.origin.at("/next2", reply(body=b"two!"))
    await stage.start(reply("Grip-Link: </next2>; rel=next", body=b"one "))
    client = await stage.ask(host="a.example")
    assert (await client.read_response()).body == b"one two!"


@pytest.mark.differs("it names the route as well")
@case
async def test_c170_in_the_log(stage: Stage) -> None:
    stage.origin.at("/next2", reply(body=b"two!"))
    await stage.start(reply("Grip-Link: </next2>; rel=next", body=b"one "))
    await (await stage.ask(host="a.example")).read_response()
    assert stage.proxy.lines("handler")[-1] == "GET http://a.example/next2 code=200 4"
