"""Backends that are asked with one packet and answer with one (zeromq 2.12)."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from tests.support.running import R
from tests.support.zhttpscene import GENERIC, UNREACHABLE, Workplace
from tests.support.zworker import pack

case = pytest_twisted.ensureDeferred


@case
async def test_zmq_071_the_request(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker, "/r/a?x=1", host="localhost")
    assert set(asked) == {
        *("from", "id", "method", "uri", "headers", "max-size", "ignore-policies", "address"),
    }
    assert asked["from"] and len(asked["id"]) == 36
    assert (asked["method"], asked["uri"]) == (b"GET", b"http://localhost/r/a?x=1")
    assert (asked["max-size"], asked["ignore-policies"]) == (1_000_000, True)
    assert [b"Host", b"localhost"] in asked["headers"]
    worker.answer(asked, b"hello\n")
    await workplace.answered(client, b"hello\n")


@case
async def test_zmq_071_the_parameters_of_the_target(workplace: Workplace) -> None:
    await workplace.begin(target="insecure,ssl,host=other.example.com,untrusted,trust_connect_host")
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker)
    assert asked["uri"] == b"https://other.example.com/r/a"
    assert [b"Host", b"other.example.com"] in asked["headers"]
    assert asked["ignore-tls-errors"] is asked["trust-connect-host"] is True
    assert "ignore-policies" not in asked
    worker.answer(asked)
    await workplace.answered(client)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="zmq_072"),
        pytest.param({"seq": 5, "from": "W"}, id="zmq_072-seq-from"),
        pytest.param({"credits": 7, "foo": [1, None], "user-data": {"a": 1.5}}, id="zmq_072-unknown"),
        pytest.param({"more": False}, id="zmq_072-no-more"),
    ],
)
@case
async def test_the_reply(workplace: Workplace, more: dict[str, Any]) -> None:
    await workplace.begin()
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker)
    headers = [("X-B", "1"), ("Content-Type", "text/plain")]
    worker.reply(asked, more, code=201, reason="Created", headers=headers, body="ok")
    answer = await client.read_response()
    assert (answer.line, answer.body) == ("HTTP/1.1 201 Created", b"ok")
    assert (answer.get("X-B"), answer.get("Content-Length")) == ("1", "2")


@case
async def test_zmq_072_a_list_with_one_id(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker)
    worker.reply(asked, id=[{"id": asked["id"]}], code=200, reason="OK", body="ok")
    await workplace.answered(client, b"ok")


@case
async def test_zmq_072_a_reply_without_a_body(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker)
    worker.reply(asked, code=204)
    answer = await client.read_response()
    assert (answer.status, answer.reason) == (204, "")
    client, asked = await workplace.requested(worker)
    worker.reply(asked, code=200)
    await workplace.answered(client, b"")


def _dropped(about: dict[str, Any]) -> list[tuple[str, list[bytes]]]:
    """Messages by ROUTER that are no reply, behind the address."""
    name, good = about["id"], {"code": 200, "reason": "OK", "body": "wrong"}
    whole = pack({"id": name, **good})
    bad = [
        ("no-id", pack(good)),
        ("wrong-id", pack({"id": "nobody", **good})),
        ("integer-id", pack({"id": 5, **good})),
        ("two-ids", pack({"id": [{"id": name}, {"id": "nobody"}], **good})),
        ("two-ids-in-other-order", pack({"id": [{"id": "nobody"}, {"id": name}], **good})),
        ("no-ids", pack({"id": [], **good})),
        ("no-T", whole[1:]),
        ("JSON", b'J{"id":"%b","code":200,"reason":"OK"}' % name),
        ("cut-short", whole[:-3]),
        ("list", pack([1])),
        ("nothing", b""),
        ("T", b"T"),
        ("garbage", b"Tgarbage"),
        ("type", pack({"id": name, **good, "type": "frobnicate"})),
        ("body", pack({"id": name, "code": 200, "body": 5})),
        ("more", pack({"id": name, "code": 200, "more": 1})),
        ("headers", pack({"id": name, "code": 200, "headers": [["a", "b", "c"]]})),
    ]
    return [(why, [b"", frame]) for why, frame in bad]


@case
async def test_zmq_073_replies_that_are_dropped(workplace: Workplace, request: pytest.FixtureRequest) -> None:
    await workplace.begin()
    worker = await workplace.router()
    client, asked = await workplace.requested(worker)
    address, _ = asked["address"]
    for why, frames in _dropped(asked):
        if why == "cut-short" and request.config.getoption("--reference"):
            continue  # its process would end
        worker.wire.send(address, *frames)
    worker.answer(asked, b"right")
    await workplace.answered(client, b"right")


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param({"code": 200, "reason": "OK", "body": "a", "more": True}, id="zmq_074-more"),
        pytest.param({"type": "keep-alive"}, id="zmq_074-keep-alive"),
        pytest.param({"type": "credit", "credits": 5}, id="zmq_074-credit"),
        pytest.param({"type": "close", "code": 1000}, id="zmq_074-close"),
        pytest.param({"type": "ping"}, id="zmq_074-ping"),
        pytest.param({"type": "handoff-start"}, id="zmq_074-handoff-start"),
    ],
)
@case
async def test_replies_that_cannot_be(workplace: Workplace, reply: dict[str, Any]) -> None:
    await workplace.begin()
    worker = await workplace.rep()
    for path in ("/r/a", "/rd/a"):
        client, asked = await workplace.requested(worker, path)
        worker.reply(asked, reply)
        await workplace.failed(client)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param({}, id="zmq_074-no-code"),
        pytest.param({"code": 65536 + 200}, id="zmq_074-large-code"),
        pytest.param({"code": 101}, id="zmq_074-interim"),
        pytest.param({"code": 200, "headers": [("a b", "c")]}, id="zmq_074-name"),
        pytest.param({"code": 200, "headers": [("a", "b\r\nc: d")]}, id="zmq_074-value"),
        pytest.param({"code": 200, "reason": "a\r\nb: c"}, id="zmq_074-reason"),
    ],
)
@pytest.mark.differs("it passes them on")
@case
async def test_heads_that_cannot_be(workplace: Workplace, reply: dict[str, Any]) -> None:
    await workplace.begin()
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker)
    worker.reply(asked, reply)
    await workplace.failed(client)


@pytest.mark.parametrize(
    ("reply", "status", "text"),
    [
        ({"type": "error", "condition": "policy-violation"}, 502, b"Error: Origin host/IP blocked.\n"),
        ({"type": "error", "condition": "bad-request"}, 502, GENERIC),
        ({"type": "error"}, 502, GENERIC),
        ({"type": "cancel"}, 502, GENERIC),
        (
            {"type": "error", "condition": "length-required"},
            411,
            b"Must provide Content-Length header.\n",
        ),
    ],
    ids=["zmq_075", "zmq_075-other", "zmq_075-none", "zmq_075-cancel", "zmq_075-length"],
)
@case
async def test_failures_in_debug_mode(
    workplace: Workplace, reply: dict[str, Any], status: int, text: bytes
) -> None:
    await workplace.begin()
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker, "/rd/a")
    worker.reply(asked, reply)
    await workplace.answered(client, text, status)


@case
async def test_zmq_075_the_next_target(workplace: Workplace) -> None:
    await workplace.begin(f"*,path_beg=/owt zhttpreq/{workplace.b} zhttp/{workplace.a}")
    worker, second = await workplace.rep(), await workplace.worker()
    client, asked = await workplace.requested(worker, "/owt", method="POST", body=b"abc")
    worker.reply(asked, type="error", condition="connection-timeout")
    again = await second.asked()
    assert (again["body"], again["uri"]) == (b"abc", asked["uri"])
    second.answer(again, b"second")
    await workplace.answered(client, b"second")


@case
async def test_zmq_076_a_worker_that_comes_late(workplace: Workplace) -> None:
    proxy = await workplace.begin()
    client = await workplace.ask("/r/a")
    other = await workplace.ask("/r/b", method="POST", body=b"abc")
    await proxy.advance(1.0)
    worker = await workplace.rep()
    for each, path in ((client, b"/r/a"), (other, b"/r/b")):
        asked = await worker.asked()
        assert asked["uri"].endswith(path)
        worker.answer(asked, path)
        await workplace.answered(each, path)


@case
async def test_zmq_077_no_worker_at_all(workplace: Workplace) -> None:
    proxy = await workplace.begin()
    client, debugged = await workplace.ask("/r/a"), await workplace.ask("/rd/a")
    await proxy.settle()
    waited = await proxy.time_until(lambda: client.unread, 61)
    assert 59 <= waited <= 61
    await workplace.failed(client)
    await workplace.failed(debugged, UNREACHABLE)


@case
async def test_zmq_077_a_worker_that_says_nothing(workplace: Workplace) -> None:
    """It is told nothing; what it says afterwards is dropped."""
    proxy = await workplace.begin()
    worker = await workplace.router()
    client, asked = await workplace.requested(worker, "/rd/a")
    waited = await proxy.time_until(lambda: client.unread, 61)
    assert 59 <= waited <= 61
    await workplace.failed(client, UNREACHABLE)
    worker.answer(asked, b"late")
    client, asked = await workplace.requested(worker)
    worker.answer(asked, b"in time")
    await workplace.answered(client, b"in time")


@case
async def test_zmq_078_frames_of_the_reply(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.router()
    for between in (b"", b"zz"):
        client, asked = await workplace.requested(worker)
        address, _ = asked["address"]
        whole = pack({"id": asked["id"], "code": 200, "reason": "OK", "body": "ok"})
        worker.wire.send(address, between, whole)
        await workplace.answered(client, b"ok")
    client, asked = await workplace.requested(worker)
    wrong = pack({"id": asked["id"], "code": 200, "reason": "OK", "body": "wrong"})
    worker.wire.send(address, wrong)
    worker.wire.send(address, b"", wrong, b"")
    worker.wire.send(address, b"", b"", wrong)
    worker.answer(asked, b"right")
    await workplace.answered(client, b"right")


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(100_000, id="zmq_079-less"),
        pytest.param(200_000, id="zmq_079", marks=pytest.mark.differs("1.36 waits for ever, 1.41 does not")),
        pytest.param(400_000, id="zmq_080", marks=pytest.mark.differs("it waits for ever")),
        pytest.param(1_000_000, id="zmq_080-most", marks=pytest.mark.differs("it waits for ever")),
    ],
)
@case
async def test_an_upload(workplace: Workplace, size: int) -> None:
    await workplace.begin()
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker, method="POST", body=b"x" * size)
    assert asked["body"] == b"x" * size
    assert [b"Content-Length", b"%d" % size] in asked["headers"]
    worker.answer(asked, b"taken")
    await workplace.answered(client, b"taken")


@case
async def test_zmq_079_an_upload_of_unknown_length(workplace: Workplace) -> None:
    """Its chunks are one packet."""
    await workplace.begin()
    worker = await workplace.rep()
    client = await workplace.client()
    client.send(b"POST /r/a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"3\r\nabc\r\n")
    client.send(b"2\r\nde\r\n0\r\n\r\n")
    asked = await worker.asked()
    assert asked["body"] == b"abcde"
    assert b"transfer-encoding" not in [name.lower() for name, _ in asked["headers"]]
    worker.answer(asked, b"taken")
    await workplace.answered(client, b"taken")


@pytest.mark.differs("it waits for ever")
@pytest.mark.parametrize("announced", [True, False])
@case
async def test_zmq_080_an_upload_that_is_too_large(workplace: Workplace, announced: bool) -> None:
    """The worker does not hear of it."""
    await workplace.begin()
    worker = await workplace.rep()
    client = await workplace.client()
    framing = b"Content-Length: 1000001" if announced else b"Transfer-Encoding: chunked"
    client.send(b"POST /r/a HTTP/1.1\r\nHost: a.example\r\n" + framing + b"\r\n\r\n")
    client.send(b"" if announced else b"f4241\r\n")
    client.send(b"x" * 1_000_001)
    await workplace.failed(client)
    client, asked = await workplace.requested(worker, "/r/mark")
    assert asked["uri"].endswith(b"/r/mark")
    worker.answer(asked)
    await workplace.answered(client)


@case
async def test_zmq_081_a_long_response(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker)
    body = bytes(range(256)) * 4700
    worker.answer(asked, body)
    await workplace.answered(client, body)


@case
async def test_zmq_082_a_worker_holds_a_response(workplace: Workplace) -> None:
    proxy = await workplace.begin()
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker)
    worker.answer(asked, b"timeout", ("Grip-Hold", "response"), ("Grip-Channel", "c"))
    await proxy.held("c")
    await proxy.publish("c", {R: {"body": "published"}})
    await workplace.answered(client, b"published")


@case
async def test_zmq_082_a_worker_holds_a_stream(workplace: Workplace) -> None:
    proxy = await workplace.begin()
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker)
    worker.answer(asked, b"welcome\n", ("Grip-Hold", "stream"), ("Grip-Channel", "c"))
    body = client.body(await client.read_head())
    await body.expect(b"welcome\n")
    await proxy.held("c")
    await proxy.publish("c", {"http-stream": {"content": "news\n"}})
    await body.expect(b"news\n")


@case
async def test_zmq_083_no_websockets(workplace: Workplace) -> None:
    await workplace.begin()
    for path, text in (
        ("/r/a", GENERIC),
        ("/rd/a", b"WebSockets cannot be used with zhttpreq target\n"),
    ):
        await workplace.failed(await workplace.shake(path), text)


@case
async def test_zmq_084_websockets_over_http(workplace: Workplace) -> None:
    await workplace.begin(target="over_http")
    worker = await workplace.rep()
    client = await workplace.shake("/r/a")
    asked = await worker.asked()
    assert (asked["method"], asked["body"]) == (b"POST", b"OPEN\r\n")
    assert "more" not in asked and asked["uri"].startswith(b"http://")
    events = ("Content-Type", "application/websocket-events")
    worker.answer(asked, b"OPEN\r\nTEXT 5\r\nhello\r\n", events)
    assert (await client.read_head()).status == 101
    await client.expect(b"\x81\x05hello")
    client.drop()


@case
async def test_zmq_085_two_workers_share_requests(workplace: Workplace) -> None:
    await workplace.begin()
    workers = [await workplace.rep(), await workplace.rep()]
    clients = [await workplace.ask(f"/r/{number}") for number in range(6)]
    for worker in workers:
        for _ in range(3):
            asked = await worker.asked()
            worker.answer(asked, b"ok")
    for client in clients:
        await workplace.answered(client, b"ok")


@case
async def test_a_client_that_leaves(workplace: Workplace) -> None:
    """The worker is not told; what it says is dropped (zeromq 2.12)."""
    proxy = await workplace.begin()
    worker = await workplace.rep()
    client, asked = await workplace.requested(worker)
    client.drop()
    await proxy.settle()
    worker.answer(asked, b"nobody")
    client, asked = await workplace.requested(worker)
    assert "type" not in asked
    worker.answer(asked, b"ok")
    await workplace.answered(client, b"ok")
