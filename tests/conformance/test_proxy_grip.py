"""When a backend's answer is read as GRIP, and what the proxy makes of it (proxy 10.7)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import Asked, hold, instruct, reply
from tests.support.running import R, S
from tests.support.stage import Stage

case = pytest_twisted.ensureDeferred
FAILED = b"Error while proxying to origin.\n"
UNUSABLE = "Failed to parse accept instructions: "


@case
async def test_c155_any_grip_header_will_do(stage: Stage) -> None:
    await stage.start(
        b"HTTP/1.1 200 OK\r\nX-A: b\r\ngrip-foo: x\r\nTransfer-Encoding: chunked\r\n\r\n", condition="*,debug"
    )
    client = await stage.ask(host="a.example")
    asked = await stage.origin.request(1)
    asked.write(b"2\r\nok\r\n0\r\n\r\n")
    await client.expect(b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok")
    await stage.proxy.logged(f"GET http://a.example/ -> {stage.origin.address} code=200 2")


STATUSES = [
    ("C156", "404 Nope", 404, "Nope", b"body"),
    ("C156-a", "404", 404, "Not Found", b"body"),
    ("C156-b", "x", 502, "Bad Gateway", f"{UNUSABLE}Grip-Status contains invalid status code\n".encode()),
]


@pytest.mark.parametrize(
    ("status", "code", "reason", "body"), [row[1:] for row in STATUSES], ids=[row[0] for row in STATUSES]
)
@case
async def test_a_status_of_its_own(stage: Stage, status: str, code: int, reason: str, body: bytes) -> None:
    await stage.start(reply(f"Grip-Status: {status}", body=b"body"))
    answer = await (await stage.ask()).read_response()
    assert (answer.status, answer.reason, answer.body) == (code, reason, body)
    assert answer.get("Grip-Status") is None


REFUSED = [
    ("C157", reply("Grip-Hold: foo"), "Grip-Hold must be set to either 'response' or 'stream'"),
    (
        "C159",
        instruct(b"{}", status="404 Not Found"),
        "response code for application/grip-instruct content must be 200",
    ),
]


@pytest.mark.parametrize("debug", ["", ",debug"], ids=["C157-plain", "C157-debug"])
@pytest.mark.parametrize(("answer", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
@case
async def test_instructions_that_cannot_be_followed(
    stage: Stage, answer: bytes, why: str, debug: str
) -> None:
    await stage.start(answer, condition=f"*{debug}")
    got = await (await stage.ask()).read_response()
    assert got.status == 502
    assert got.body == (f"{UNUSABLE}{why}\n".encode() if debug else FAILED)


@case
async def test_c158_instructions_in_the_body(stage: Stage) -> None:
    body = b'{"response":{"code":202,"reason":"Fine","headers":{"X-A":"b"},"body":"hello"}}'
    await stage.start(instruct(body, kind="application/grip-instruct; charset=x"))
    client = await stage.ask()
    await client.expect(b"HTTP/1.1 202 Fine\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello")


@pytest.mark.parametrize(
    ("size", "debug", "held"),
    [(100_000, "", True), (100_001, "", False), (100_001, ",debug", False)],
    ids=["C160-held", "C160-plain", "C160"],
)
@case
async def test_the_size_of_a_held_body(stage: Stage, size: int, debug: str, held: bool) -> None:
    await stage.start(hold("response", channel="ch", body=b"x" * size), condition=f"*{debug}")
    client = await stage.ask()
    if held:
        await stage.proxy.held("ch")
        return
    answer = await client.read_response()
    text = f"GRIP instruct response too large from {stage.origin.address}\n".encode()
    assert (answer.status, answer.body) == (502, text if debug else FAILED)


@case
async def test_c161_a_stream_may_begin_with_more(stage: Stage) -> None:
    await stage.start(hold("stream", "Grip-Status: 201 Foo", channel="ch", body=b"x" * 150_000))
    client = await stage.ask()
    head = await client.read_head()
    assert head.line == "HTTP/1.1 201 Foo"
    assert head.headers == [("Connection", "Transfer-Encoding"), ("Transfer-Encoding", "chunked")]
    body = client.body(head)
    await body.expect(b"x" * 150_000)
    await stage.proxy.held("ch")
    await stage.proxy.publish("ch", {S: {"content": "news\n"}})
    await body.expect(b"news\n")


@case
async def test_c162_but_not_when_its_content_must_be_known(stage: Stage) -> None:
    channel = "ch; filter=build-id"
    await stage.start(hold("stream", channel=channel, body=b"x" * 150_000), condition="*,debug")
    answer = await (await stage.ask()).read_response()
    text = f"GRIP instruct response too large from {stage.origin.address}\n".encode()
    assert (answer.status, answer.body) == (502, text)


@case
async def test_c163_nothing_is_sent_before_the_instructions_are_complete(stage: Stage) -> None:
    await stage.start(
        b"HTTP/1.1 200 OK\r\nGrip-Hold: stream\r\nGrip-Channel: ch\r\nContent-Length: 6\r\n\r\nabc"
    )
    client = await stage.ask()
    asked = await stage.origin.request(1)
    await stage.silent(client)
    asked.write(b"def")
    await client.body(await client.read_head()).expect(b"abcdef")


@case
async def test_c164_a_backend_that_dies_within_instructions(stage: Stage) -> None:
    def speak(asked: Asked) -> None:
        asked.write(
            b"HTTP/1.1 200 OK\r\nGrip-Hold: response\r\nGrip-Channel: ch\r\nContent-Length: 6\r\n\r\nabc"
        )
        asked.close()

    await stage.start(speak)
    answer = await (await stage.ask()).read_response()
    assert (answer.status, answer.body) == (502, FAILED)
    await stage.proxy.held("ch", 0)


@case
async def test_c165_any_status_can_be_held(stage: Stage) -> None:
    await stage.start(hold("response", channel="ch", status="404 Not Found"))
    client = await stage.ask()
    await stage.proxy.held("ch")
    await stage.proxy.publish("ch", {R: {"body": "news"}})
    assert (await client.read_response()).body == b"news"


@case
async def test_c166_a_prefix_of_all_channels(stage: Stage) -> None:
    await stage.start(hold("response", channel="ch"), condition="*,prefix=foo-")
    client = await stage.ask()
    await stage.proxy.held("foo-ch")
    await stage.proxy.publish("ch", {R: {"body": "first"}})
    await stage.silent(client)
    await stage.proxy.publish("foo-ch", {R: {"body": "second"}})
    assert (await client.read_response()).body == b"second"


@case
async def test_c167_a_channel_of_the_target(stage: Stage) -> None:
    await stage.start(hold("response", channel=None), condition="*,prefix=foo-", target="sub=imp")
    client = await stage.ask()
    await stage.proxy.held("imp")
    await stage.proxy.publish("imp", {R: {"body": "news"}})
    assert (await client.read_response()).body == b"news"


@case
async def test_c133_a_route_without_grip(stage: Stage) -> None:
    await stage.start(hold("response", channel="ch", body=b"x\n"), condition="*,no_grip")
    client = await stage.ask()
    await client.expect(
        b"HTTP/1.1 200 OK\r\nGrip-Hold: response\r\nGrip-Channel: ch\r\nContent-Length: 2\r\n\r\nx\n"
    )
