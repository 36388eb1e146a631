"""Requests to streaming workers, packet by packet (zeromq 1, 2.2 to 2.8)."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from tests.support.zhttpscene import GENERIC, Workplace
from tests.support.zworker import Packet, Worker, pack

case = pytest_twisted.ensureDeferred


async def at_work(workplace: Workplace, **request: Any) -> tuple[Any, Packet, Worker]:
    """A client, its request, and the worker who got it."""
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker, **request)
    return client, asked, worker


def raw(worker: Worker, asked: Packet, fields: bytes) -> None:
    """A reply whose other fields are written by hand."""
    start = pack({"from": worker.name, "id": asked["id"]})[1:]
    inner = start[start.index(b":") + 1 : -1] + fields
    worker.publish(asked["from"], b"T%d:%b}" % (len(inner), inner))


# ---- tnetstrings (zeromq 8.1) ------------------------------------------------------------------------------

OK = b"3:seq,1:0#4:code,3:200#6:reason,2:OK,"


@pytest.mark.parametrize(
    ("fields", "status", "body"),
    [
        pytest.param(OK + b"000004:body,000002:hi,", 200, b"hi", id="zmq_010"),
        pytest.param(OK + b"4:body,5:first,4:body,6:second,", 200, b"second", id="zmq_011"),
        pytest.param(OK + b"3:foo,3:bar,3:bar,13:1:1#0:~3:1.5^]4:body,2:hi,", 200, b"hi", id="zmq_012"),
        pytest.param(b"3:seq,1:0,4:code,3:204,6:reason,2:OK,", 204, b"", id="zmq_013"),
        pytest.param(b"3:seq,1:0#4:code,5:200.0^4:body,2:hi,", 200, b"hi", id="zmq_014"),
    ],
)
@case
async def test_replies_that_are_written_in_other_ways(
    workplace: Workplace, fields: bytes, status: int, body: bytes
) -> None:
    client, asked, worker = await at_work(workplace)
    raw(worker, asked, fields)
    await workplace.answered(client, body, status)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(OK + b"4:body,0:~", id="zmq_015-null"),
        pytest.param(OK + b"4:body,1:5#", id="zmq_015-integer"),
        pytest.param(OK + b"4:more,1:1#", id="zmq_015-more"),
        pytest.param(b"3:seq,1:0#4:type,10:frobnicate,", id="zmq_036"),
        pytest.param(b"3:seq,1:0#4:type,4:data,", id="zmq_036-data"),
        pytest.param(b"3:seq,1:0#4:type,0:,", id="zmq_036-empty"),
        pytest.param(b"3:seq,1:0#4:type,1:5#", id="zmq_036-integer"),
        pytest.param(OK + b"7:headers,8:1:a,1:b,}", id="zmq_037-map"),
        pytest.param(OK + b"7:headers,15:12:1:a,1:b,1:c,]]", id="zmq_037-three"),
        pytest.param(OK + b"3:ext,1:5#", id="zmq_038"),
    ],
)
@case
async def test_replies_with_fields_of_the_wrong_kind(workplace: Workplace, fields: bytes) -> None:
    client, asked, worker = await at_work(workplace)
    raw(worker, asked, fields)
    worker.answer(asked, b"right")
    await workplace.answered(client, b"right")


@pytest.mark.parametrize(
    "cut", [pytest.param(3, id="zmq_009-worker", marks=pytest.mark.differs("the process ends"))]
)
@case
async def test_a_reply_that_is_cut_short(workplace: Workplace, cut: int) -> None:
    client, asked, worker = await at_work(workplace)
    frame = pack({"from": "W", "id": asked["id"], "seq": 0, "code": 200, "body": "wrong"})
    worker.publish(asked["from"], frame[:-cut])
    worker.answer(asked, b"right")
    await workplace.answered(client, b"right")


# ---- requests (zeromq 2.4, 2.6) ----------------------------------------------------------------------------


@pytest.mark.differs("1.36 takes no answers through ROUTER, nor says that it does")
@case
async def test_zmq_016_the_first_packet(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client = await workplace.ask("/s/a?x=1", host="localhost")
    frames = await worker.pull.frames()
    assert len(frames) == 1
    assert frames[0].startswith(b"T")
    client.drop()
    client, asked = await workplace.session(worker, "/s/a?x=1", host="localhost")
    assert asked["from"].startswith(b"proxy_")
    assert len(asked["id"]) == 36
    headers = dict(asked.pop("headers"))
    assert headers.pop(b"Host") == b"localhost"
    assert headers.keys() == {b"Grip-Sig", b"Grip-Feature"}
    assert {name: value for name, value in asked.items() if name not in ("from", "id")} == {
        "seq": 0,
        "method": b"GET",
        "uri": b"http://localhost/s/a?x=1",
        "credits": 200000,
        "stream": True,
        "ignore-policies": True,
        "router-resp": True,
        "ext": {"multi": True},
    }
    worker.answer(asked)
    await workplace.answered(client)


@case
async def test_zmq_017_a_reply_in_one_packet(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace)
    worker.reply(asked, code=201, reason="Created", headers=[["X-B", "1"]], body="ok")
    answer = await client.read_response()
    assert answer.line == "HTTP/1.1 201 Created"
    assert answer.body == b"ok"
    assert answer.get("X-B") == "1"
    assert answer.get("Content-Length") == "2"
    await workplace.untold(worker)


@case
async def test_zmq_018_a_reply_in_two_packets(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace)
    worker.reply(asked, code=200, reason="OK", body="part1\n", more=True)
    told = await worker.told()
    assert told == {"from": asked["from"], "id": asked["id"], "seq": 1, "type": b"credit", "credits": 6}
    worker.reply(asked, body="end\n")
    answer = await client.read_response()
    assert answer.body == b"part1\nend\n"
    assert answer.get("Transfer-Encoding") == "chunked"
    await workplace.untold(worker)


@case
async def test_zmq_019_a_head_comes_at_once(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace)
    worker.reply(asked, code=200, reason="OK", more=True)
    head = await client.read_head()
    assert head.get("Transfer-Encoding") == "chunked"
    worker.reply(asked, body="end")
    assert await client.body(head).rest() == b"end"


@case
async def test_zmq_020_a_worker_need_not_name_itself(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace)
    worker.reply(asked, {"from": None}, code=200, reason="OK", body="ok")
    await workplace.answered(client, b"ok")


@case
async def test_zmq_021_a_reply_without_number(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace)
    worker.reply(asked, seq=None, code=200, body="ok")
    await workplace.failed(client)
    told = await worker.told()
    assert told == {"from": asked["from"], "id": asked["id"], "seq": 1, "type": b"cancel"}


@pytest.mark.differs("the process ends")
@case
async def test_zmq_022_a_reply_without_number_and_name(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace)
    worker.reply(asked, {"from": None}, seq=None, code=200, body="ok")
    await workplace.failed(client)
    await workplace.untold(worker)


@case
async def test_zmq_023_a_wrong_number_within_a_response(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace)
    worker.reply(asked, code=200, reason="OK", body="abc", more=True)
    body = client.body(await client.read_head())
    await body.expect(b"abc")
    assert (await worker.told())["type"] == b"credit"
    worker.reply(asked, seq=2, body="def", more=True)
    told = await worker.told()
    assert (told["type"], told["seq"]) == (b"cancel", 2)
    await client.wait_for(lambda: client.lost or body.ended or None, "the end of a response")
    assert body.pending == b""


@case
async def test_zmq_024_a_short_body_goes_with_the_first_packet(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace, method="POST", body=b"0123456789")
    assert asked["body"] == b"0123456789"
    assert [b"Content-Length", b"10"] in asked["headers"]
    assert "more" not in asked
    worker.answer(asked)
    await workplace.answered(client)


# ---- framing (zeromq 2.2) ----------------------------------------------------------------------------------


@pytest.mark.differs("1.36 takes no answers through ROUTER")
@case
async def test_zmq_029_replies_through_router(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace)
    worker.reply_router(asked, code=200, reason="OK", body="one ", more=True)
    assert (await worker.told())["type"] == b"credit"
    worker.reply(asked, body="two ", more=True)
    assert (await worker.told())["type"] == b"credit"
    worker.reply_router(asked, body="three")
    await workplace.answered(client, b"one two three")


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([b"PACKET"], id="zmq_030-two"),
        pytest.param([b"", b"", b"PACKET"], id="zmq_030-four"),
        pytest.param([b"", b"PACKET", b""], id="zmq_030-four-behind"),
        pytest.param([b"", b"probe-ack"], id="zmq_030-probe"),
        pytest.param([b"", b""], id="zmq_030-empty"),
    ],
)
@pytest.mark.differs("1.36 takes no answers through ROUTER")
@case
async def test_other_frames_through_router(workplace: Workplace, frames: list[bytes]) -> None:
    client, asked, worker = await at_work(workplace)
    wrong = pack({"from": "W", "id": asked["id"], "seq": 0, "code": 200, "body": "wrong"})
    worker.router.send(asked["from"], *(wrong if frame == b"PACKET" else frame for frame in frames))
    worker.reply_router(asked, code=200, reason="OK", body="right")
    await workplace.answered(client, b"right")


@pytest.mark.differs("1.36 takes no answers through ROUTER")
@case
async def test_zmq_031_what_stands_in_the_second_frame_means_nothing(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace)
    worker.router.send(asked["from"], b"zz", pack(worker.packet(asked, code=200, reason="OK", body="ok")))
    await workplace.answered(client, b"ok")


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([b"P ", b"PACKET"], id="zmq_032"),
        pytest.param([b"P", b"PACKET"], id="zmq_032-two"),
        pytest.param([b"P PACKET", b""], id="zmq_032-behind"),
        pytest.param([b"PPACKET"], id="zmq_032-no-space"),
        pytest.param([b'P J{"id":"x"}'], id="zmq_033-json"),
        pytest.param([b"P BARE"], id="zmq_033-bare"),
        pytest.param([b"P "], id="zmq_033-empty"),
        pytest.param([b"P T"], id="zmq_033-prefix"),
        pytest.param([b"P T4:1:a,]"], id="zmq_034-list"),
        pytest.param([b"P Tgarbage"], id="zmq_034-garbage"),
        pytest.param([b"P T0:~"], id="zmq_034-null"),
    ],
)
@case
async def test_other_frames_through_pub(workplace: Workplace, frames: list[bytes]) -> None:
    client, asked, worker = await at_work(workplace)
    wrong = pack({"from": "W", "id": asked["id"], "seq": 0, "code": 200, "body": "wrong"})
    for old, new in ((b"PACKET", wrong), (b"BARE", wrong[1:])):
        frames = [frame.replace(old, new) for frame in frames]
    worker.pub.send(asked["from"] + frames[0][1:], *frames[1:])
    worker.answer(asked, b"right")
    await workplace.answered(client, b"right")


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(None, id="zmq_035-none"),
        pytest.param(b"unknown", id="zmq_035-unknown"),
        pytest.param(5, id="zmq_035-integer"),
        pytest.param([], id="zmq_035-empty-list"),
        pytest.param([{"id": "unknown", "seq": 0}], id="zmq_035-unknown-in-list"),
    ],
)
@case
async def test_replies_for_nobody(workplace: Workplace, wrong: object) -> None:
    client, asked, worker = await at_work(workplace)
    packet = {"from": "W", "id": wrong, "seq": 0, "code": 200, "body": "wrong"}
    worker.publish(asked["from"], pack({name: value for name, value in packet.items() if value is not None}))
    worker.answer(asked, b"right")
    await workplace.answered(client, b"right")
    await workplace.untold(worker)


# ---- types and ids (zeromq 2.5, 2.8) -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        *(
            pytest.param({"type": kind}, id=f"zmq_039-{kind}")
            for kind in ("ping", "pong", "close", "handoff-start", "handoff-proceed", "keep-alive")
        ),
        pytest.param({"type": "credit", "credits": -5}, id="zmq_039-credit"),
    ],
)
@case
async def test_types_that_mean_nothing_count(workplace: Workplace, fields: Packet) -> None:
    client, asked, worker = await at_work(workplace)
    worker.reply(asked, fields)
    worker.answer(asked, b"ok")
    await workplace.answered(client, b"ok")


@case
async def test_zmq_040_one_reply_for_three_requests(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    sessions = [await workplace.session(worker) for _ in range(3)]
    ids = [{"id": asked["id"], "seq": 0} for _, asked in sessions]
    reply = {"from": "W", "id": ids, "code": 200, "reason": "OK", "body": "for all"}
    worker.publish(sessions[0][1]["from"], pack(reply))
    for client, _ in sessions:
        await workplace.answered(client, b"for all")


@case
async def test_zmq_041_many_ids(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    sessions = [await workplace.session(worker) for _ in range(2)]
    known = [{"id": asked["id"], "seq": 0} for _, asked in sessions]
    unknown = [{"id": f"unknown-{at}", "seq": at} for at in range(140)]
    ids = [*unknown[:70], known[0], *unknown[70:], known[1]]
    worker.publish(sessions[0][1]["from"], pack({"from": "W", "id": ids, "code": 200, "body": "ok"}))
    for client, _ in sessions:
        await workplace.answered(client, b"ok")


@case
async def test_zmq_042_a_number_beside_the_list(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace)
    packet = {"from": "W", "id": [{"id": asked["id"]}], "seq": 0, "code": 200, "body": "ok"}
    worker.publish(asked["from"], pack(packet))
    await workplace.answered(client, b"ok")


@case
async def test_zmq_040_each_session_counts_for_itself(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    sessions = [await workplace.session(worker) for _ in range(2)]
    (first, one), (second, two) = sessions
    worker.reply(one, type="keep-alive")
    ids = [{"id": one["id"], "seq": 1}, {"id": two["id"], "seq": 1}]
    worker.publish(one["from"], pack({"from": "W", "id": ids, "code": 200, "body": "ok"}))
    await workplace.answered(first, b"ok")
    await workplace.failed(second)
    assert (await worker.told())["type"] == b"cancel"


# ---- heads -------------------------------------------------------------------------------------------------


@case
async def test_zmq_060_parameters_of_the_target(workplace: Workplace) -> None:
    target = "insecure,ssl,host=other.example.com,untrusted,trust_connect_host"
    await workplace.begin(target=target)
    worker = await workplace.worker()
    client, asked = await workplace.session(worker, "/s/a?b")
    assert asked["uri"] == b"https://other.example.com/s/a?b"
    assert [b"Host", b"other.example.com"] in asked["headers"]
    assert asked["ignore-tls-errors"] is True
    assert asked["trust-connect-host"] is True
    assert "ignore-policies" not in asked
    worker.answer(asked)
    await workplace.answered(client)


@case
async def test_zmq_061_nothing_is_changed_in_a_request(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client = await workplace.ask("/s/a%20b%2Fc?x=%C3%A9&y=1+2", "X-D: 1", "x-d: 2", "A:")
    asked = await worker.asked()
    assert asked["uri"] == b"http://example.com/s/a%20b%2Fc?x=%C3%A9&y=1+2"
    own = [pair for pair in asked["headers"] if pair[0].lower() in (b"x-d", b"a")]
    assert own == [[b"X-D", b"1"], [b"x-d", b"2"], [b"A", b""]]
    worker.answer(asked)
    await workplace.answered(client)


@pytest.mark.differs("the client gets no response")
@case
async def test_zmq_062_many_headers(workplace: Workplace) -> None:
    client, asked, worker = await at_work(workplace)
    headers = [(f"X-{at}", str(at)) for at in range(65)]
    worker.answer(asked, b"ok", *headers)
    await workplace.answered(client, b"ok", 200, *headers)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"code": 0},
        {"code": 101},
        {"code": 65736},
        {"code": 200, "reason": "OK\r\nX-Evil: 1"},
        {"code": 200, "headers": [["X-A", "1\r\nX-Evil: 1"]]},
        {"code": 200, "headers": [["X A", "1"]]},
        {"code": 200, "headers": [["Content-Length", "1"], ["Content-Length", "2"]]},
    ],
)
@pytest.mark.parametrize("more", [True, None])
@pytest.mark.differs("a status line without a status, and whatever else was written")
@case
async def test_heads_that_no_client_may_get(workplace: Workplace, fields: Packet, more: bool | None) -> None:
    """zeromq 2.6: 502; the worker is told when it would have gone on."""
    client, asked, worker = await at_work(workplace)
    worker.reply(asked, fields, body="x", more=more)
    await workplace.failed(client, GENERIC)
    if more:
        assert (await worker.told())["type"] == b"cancel"
    await workplace.untold(worker)


@pytest.mark.differs("the encoding's header is removed, the encoding is not")
@case
async def test_headers_that_are_the_workers_own(workplace: Workplace) -> None:
    """zeromq 2.6: those about the connection are left out, what the body is encoded in stays."""
    client, asked, worker = await at_work(workplace)
    hop = [("Connection", "X-A"), ("Keep-Alive", "5"), ("Transfer-Encoding", "chunked")]
    worker.answer(asked, b"\x1f\x8b", *hop, ("X-A", "1"), ("Content-Encoding", "gzip"))
    answer = await client.read_response()
    assert answer.body == b"\x1f\x8b"
    for name, _ in hop:
        assert answer.get(name) is None
    assert (answer.get("X-A"), answer.get("Content-Encoding")) == ("1", "gzip")


@case
async def test_an_answer_to_head(workplace: Workplace) -> None:
    await workplace.begin()
    worker = await workplace.worker()
    client, asked = await workplace.session(worker, method="HEAD")
    worker.answer(asked, b"", ("Content-Length", "10"))
    answer = await client.read_response(head_only=True)
    assert answer.get("Content-Length") == "10"
    await workplace.usable(client)


@pytest.mark.differs("the connection stays")
@pytest.mark.parametrize("path", ["/s/a", "/d/a"])
@case
async def test_a_body_shorter_than_announced(workplace: Workplace, path: str) -> None:
    client, asked, worker = await at_work(workplace, path=path)
    worker.answer(asked, b"abc", ("Content-Length", "10"))
    body = client.body(await client.read_head())
    await body.expect(b"abc")
    await client.closed()
