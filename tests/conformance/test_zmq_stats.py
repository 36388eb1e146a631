"""Statistics of connections, requests and items (zeromq 5)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.ssl import Certificate, optionsForClientTLS

from tests.support.certificates import Authority
from tests.support.monitors import Monitors
from tests.support.origin import reply
from tests.support.running import R, S, W
from tests.support.wsbackend import asked_events, events, opening
from tests.support.zmqscene import streamed

case = pytest_twisted.ensureDeferred

REPORT = {
    "connections",
    "minutes",
    "received",
    "sent",
    "http-response-sent",
    "duration",
    *(
        f"{side}-{what}-{way}"
        for side in ("client", "server")
        for what in ("header-bytes", "content-bytes", "messages")
        for way in ("received", "sent")
    ),
}


# ---- subscriptions -----------------------------------------------------------------------------------------


@case
async def test_zmq_161_zmq_162_zmq_163_streams(monitors: Monitors) -> None:
    monitor = await monitors.watch("sub ")
    client, _ = await monitors.listen()
    first = {"mode": "stream", "channel": "c", "ttl": 60, "subscribers": 1}
    assert await monitor.next("sub") == first
    other, _ = await monitors.listen(count=2)
    await monitors.arrived(monitor, "sub")
    assert not monitor.has("sub")
    await monitors.proxy.advance(1.1)
    assert await monitor.next("sub", subscribers=2) == {**first, "subscribers": 2}
    await monitors.leave(client, count=1)
    await monitors.leave(other)
    assert await monitor.next("sub", unavailable=True) == {
        "mode": "stream",
        "channel": "c",
        "unavailable": True,
    }


@case
async def test_zmq_161_what_is_not_subscribed_to_does_not_come(monitors: Monitors) -> None:
    monitor = await monitors.watch("sub ")
    await monitors.plain()
    await monitors.listen()
    await monitors.proxy.advance(20)
    await monitor.next("sub")
    assert {packet.kind for packet in monitor._read()} <= {"sub"}


@case
async def test_zmq_164_long_polls_linger(monitors: Monitors) -> None:
    monitor = await monitors.watch("sub ", handler={"subscription_linger": 5, "stats_subscription_ttl": 3})
    client = await monitors.poll()
    assert await monitor.next("sub") == {"mode": "response", "channel": "c", "ttl": 3, "subscribers": 1}
    await monitors.leave(client)
    await monitors.arrived(monitor, "sub")
    monitor.all("sub")
    passed = await monitors.time_until(monitor, "sub", 8)
    assert 4.5 <= passed <= 6
    assert monitor.all("sub") == [{"mode": "response", "channel": "c", "unavailable": True}]


@case
async def test_zmq_164_somebody_comes_back(monitors: Monitors) -> None:
    monitor = await monitors.watch("sub ", handler={"subscription_linger": 5})
    client = await monitors.poll()
    await monitor.next("sub")
    await monitors.leave(client)
    await monitors.poll()
    assert (await monitor.next("sub"))["subscribers"] == 1
    await monitors.proxy.advance(6)
    await monitors.arrived(monitor, "sub")
    assert not monitor.has("sub", unavailable=True)


@case
async def test_zmq_165_they_are_told_again(monitors: Monitors) -> None:
    monitor = await monitors.watch("sub ", handler={"stats_subscription_ttl": 8})
    await monitors.listen()
    await monitor.next("sub")
    first = await monitors.time_until(monitor, "sub", 8)
    assert first <= 7
    for _ in range(2):
        assert monitor.all("sub") == [{"mode": "stream", "channel": "c", "ttl": 8, "subscribers": 1}]
        assert 5 <= await monitors.time_until(monitor, "sub", 8) <= 7


# ---- connections -------------------------------------------------------------------------------------------


@case
async def test_zmq_166_a_request_that_is_passed_on(monitors: Monitors) -> None:
    monitor = await monitors.watch("conn ")
    await monitors.plain()
    begin = await monitor.next("conn", type="http")
    name = begin.pop("id")
    assert begin == {"type": "http", "peer-address": "127.0.0.1", "ttl": 120}
    assert re.fullmatch(r"[^:]+:[0-9-]+", name)
    assert await monitor.next("conn", unavailable=True) == {"id": name, "unavailable": True}


@case
async def test_zmq_166_a_held_one_is_told_again(monitors: Monitors) -> None:
    monitor = await monitors.watch("conn ", **{"global": {"stats_connection_ttl": 8}})
    client, _ = await monitors.listen()
    name = (await monitor.next("conn"))["id"]
    await monitors.proxy.settle()
    await monitors.arrived(monitor, "conn")
    monitor.all("conn")
    for most in (7, 7):
        assert await monitors.time_until(monitor, "conn", 10) <= most
        assert [packet["id"] for packet in monitor.all("conn")] == [name]
    await monitors.leave(client)
    await monitor.next("conn", id=name, unavailable=True)


@pytest.mark.parametrize(
    ("rule", "value", "address"),
    [
        pytest.param("", "9.9.9.9", "9.9.9.9", id="zmq_167"),
        pytest.param("", "junk", "127.0.0.1", id="zmq_167-no-address"),
        pytest.param("truncate:0,append", "9.9.9.9", "127.0.0.1", id="zmq_167-truncated"),
    ],
)
@case
async def test_the_address_and_tls(
    monitors: Monitors, tmp_path: Path, rule: str, value: str, address: str
) -> None:
    authority = Authority(tmp_path)
    trusted = Certificate.loadPEM(Path(authority.file).read_bytes())
    certificates = tmp_path / "runner" / "certs"
    certificates.mkdir(parents=True)
    for made, suffix in zip(authority.certificate("a.example"), ("crt", "key"), strict=True):
        Path(made).rename(certificates / f"a.example.{suffix}")
    routes = tmp_path / "routes"
    routes.write_text(f"* {monitors.origin.address}\n")
    await monitors.begin(
        routes=routes, runner={"https_ports": "127.0.0.1:0"}, proxy={"x_forwarded_for": rule}
    )
    monitor = await monitors.monitor("conn ")
    client = await monitors.connect(
        monitors.proxy.service.client_addresses[1],  # type: ignore[attr-defined]
        tls=optionsForClientTLS("a.example", trusted),
    )
    client.request("/plain", f"X-Forwarded-For: {value}", host="a.example")
    begin = await monitor.next("conn", type="http")
    assert (begin["ssl"], begin["peer-address"]) == (True, address)


@case
async def test_zmq_168_ws_091_websockets(monitors: Monitors) -> None:
    monitor = await monitors.watch("conn ", target="over_http")
    monitors.origin.on("/ws", opening(), events())
    client = await monitors.join("/ws")
    client.text("hi")
    await asked_events(monitors.origin, 2)
    begin = await monitor.next("conn", type="ws")
    name = begin.pop("id")
    assert begin == {"type": "ws", "peer-address": "127.0.0.1", "ttl": 120}
    for number in (1, 2):
        assert (await monitors.origin.request(number, "/ws")).get("Connection-Id") == name
    client.raw.drop()
    assert await monitor.next("conn", unavailable=True) == {"id": name, "unavailable": True}


@case
async def test_ws_143_all_of_a_websocket(monitors: Monitors) -> None:
    monitor = await monitors.watch(condition="*,id=rone")
    client, backend = await monitors.open("/ws", "X-Forwarded-For: 9.9.9.9")
    begin = await monitor.next("conn", type="ws")
    name = begin.pop("id")
    assert begin == {"type": "ws", "peer-address": "9.9.9.9", "ttl": 120, "route": "rone"}
    await monitors.subscribe(backend)
    assert await monitor.next("sub") == {"mode": "ws", "channel": "c", "ttl": 60, "subscribers": 1}
    await monitors.say("x", id="m-1")
    await client.expect_text("x")
    message = {"channel": "c", "item-id": "m-1", "transport": W, "count": 1}
    assert await monitor.next("message") == message
    backend.control(json.dumps({"type": "unsubscribe", "channel": "c"}))
    assert await monitor.next("sub", unavailable=True) == {
        "mode": "ws",
        "channel": "c",
        "unavailable": True,
    }
    client.raw.drop()
    assert await monitor.next("conn", unavailable=True) == {"id": name, "route": "rone", "unavailable": True}
    await monitors.proxy.advance(0.3)
    assert await monitor.next("activity") == {"route": "rone", "count": 1}
    assert await monitor.next("counts") == {"requests-received": 1}


@case
async def test_ws_143_a_refusal_is_a_connection_until_it_ends(monitors: Monitors) -> None:
    monitor = await monitors.watch("conn ", target="over_http")
    monitors.origin.on("/ws", reply(status="403 Forbidden"))
    client = await monitors.shake("/ws")
    assert (await client.read_head()).status == 403
    name = (await monitor.next("conn", type="ws"))["id"]
    await monitor.next("conn", id=name, unavailable=True)


@case
async def test_ws_143_active_minutes(monitors: Monitors) -> None:
    monitor = await monitors.watch("activity ")
    client, backend = await monitors.open("/ws")
    await monitors.proxy.advance(0.3)
    await monitor.next("activity")
    for text in ("a", "b"):
        client.text(text)
        await backend.expect_text(text)
    await monitors.proxy.advance(61)
    await monitors.arrived(monitor, "activity")
    assert not monitor.has("activity")
    for text in ("a", "b"):
        client.text(text)
        await backend.expect_text(text)
    await monitors.proxy.advance(0.3)
    assert await monitor.next("activity") == {"count": 1}
    backend.control(json.dumps({"type": "keep-alive", "content": "k", "timeout": 5}))
    await monitors.proxy.settle()
    await monitors.time_until(monitor, "activity", 7)


@pytest.mark.differs("1.36 tells them all the same")
@case
async def test_zmq_169_connections_are_not_told(monitors: Monitors) -> None:
    monitor = await monitors.watch("", **{"global": {"stats_connection_send": "false"}})
    await monitors.listen()
    await monitors.plain()
    await monitors.proxy.advance(10.5)
    report = await monitor.next("report")
    assert report["connections"] >= 1
    assert report["minutes"] >= 1
    await monitors.arrived(monitor, "conn")
    assert monitor.all("conn") == []


@case
async def test_zmq_170_routes(monitors: Monitors) -> None:
    await monitors.begin(
        routes=[f"*,id=rone {monitors.origin.address}", f"o.example {monitors.origin.address}"]
    )
    monitor = await monitors.monitor()
    await monitors.listen()
    client = await monitors.ask("/st/c", host="o.example")
    await client.read_head()
    await monitors.proxy.held("c", 2)
    await monitors.say("x", "c")
    await monitors.proxy.publish("c", {S: {"content": "x"}})
    routes: dict[str, set[object]] = {}
    await monitors.proxy.advance(0.3)
    await monitors.proxy.advance(10)
    await monitor.next("report", route="rone")
    await monitor.next("report", route=None)
    for packet in monitor._read():
        routes.setdefault(packet.kind, set()).add(packet.members.get("route"))
    assert routes["conn"] == routes["activity"] == {None, "rone"}
    assert routes["sub"] == routes["counts"] == routes["message"] == {None}


# ---- items -------------------------------------------------------------------------------------------------


@case
async def test_zmq_171_items(monitors: Monitors) -> None:
    monitor = await monitors.watch("message ", handler={"message_block_size": 10})
    await monitors.listen()
    await monitors.proxy.publish("c", {S: {"content": "x" * 25}}, id="m-1")
    assert await monitor.next("message") == {
        "channel": "c",
        "count": 1,
        "transport": "http-stream",
        "item-id": "m-1",
        "blocks": 3,
    }


@pytest.mark.one_process
@case
async def test_zmq_171_without_blocks_and_by_transport(monitors: Monitors) -> None:
    monitor = await monitors.watch("message ")
    await monitors.listen(count=1)
    await monitors.poll(count=2)
    await monitors.poll(count=3)
    await monitors.proxy.publish("c", {S: {"content": "x"}, R: {"body": "x"}})
    assert await monitor.next("message", transport=S) == {"channel": "c", "count": 1, "transport": S}
    assert await monitor.next("message", transport=R) == {"channel": "c", "count": 2, "transport": R}


@case
async def test_zmq_172_nobody_receives(monitors: Monitors) -> None:
    monitor = await monitors.watch()
    await monitors.proxy.publish("c", {S: {"content": "x"}})
    await monitors.time_until(monitor, "report", 11, received=1)
    report = monitor.take("report", received=1)
    assert set(report) == REPORT
    assert (report["sent"], report["connections"]) == (0, 0)
    await monitors.arrived(monitor, "message")
    assert monitor.all("message") == []


@case
async def test_zmq_172_blocks_of_reports(monitors: Monitors) -> None:
    monitor = await monitors.watch("report ", handler={"message_block_size": 10})
    await monitors.listen()
    await monitors.proxy.publish("c", {S: {"content": "x" * 25}, R: {"body": "x" * 31}})
    await monitors.time_until(monitor, "report", 11, received=1)
    report = monitor.take("report", received=1)
    assert set(report) == REPORT | {"blocks-received", "blocks-sent"}
    assert (report["blocks-received"], report["blocks-sent"], report["sent"]) == (4, 3, 1)


# ---- requests and reports ----------------------------------------------------------------------------------


@case
async def test_zmq_173_requests(monitors: Monitors) -> None:
    monitor = await monitors.watch()
    for _ in range(2):
        await monitors.plain()
    await monitors.proxy.advance(0.3)
    assert await monitor.next("counts") == {"requests-received": 2}
    assert await monitor.next("activity") == {"count": 2}


@pytest.mark.parametrize(
    ("choice", "mark"),
    [
        pytest.param("json", b"J", id="zmq_174"),
        pytest.param("bogus", b"T", id="zmq_174-unknown"),
        pytest.param("", b"T", id="zmq_174-empty"),
    ],
)
@case
async def test_formats(monitors: Monitors, choice: str, mark: bytes) -> None:
    monitor = await monitors.watch(handler={"stats_format": choice})
    await monitors.listen()
    frame = await monitor.frame("sub")
    assert frame.startswith(b"sub " + mark)
    if mark == b"J":
        members = json.loads(frame[5:])
        assert list(members) == sorted(members)
        assert frame[5:] == json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()


@case
async def test_zmq_175_reports_end(monitors: Monitors) -> None:
    monitor = await monitors.watch("report ")
    client, _ = await monitors.listen()
    await monitors.leave(client)
    await monitors.time_until(monitor, "report", 11)
    assert any(monitor.all("report")[0].values())
    last = 0
    for _ in range(6):
        await monitors.proxy.advance(10)
        await monitors.arrived(monitor, "report")
        reports = monitor.all("report")
        last = len(reports)
        for report in reports:
            assert report.pop("duration") >= 9000
            assert not any(report.values())
    assert last == 0
    await monitors.plain()
    await monitors.time_until(monitor, "report", 11, connections=1)


@pytest.mark.differs("it counts what does not hold some seconds later")
@case
async def test_zmq_175_what_reports_count(monitors: Monitors) -> None:
    monitor = await monitors.watch("report ")
    await monitors.listen()
    client = await monitors.ask("/plain?a=b", "X-A: 12", method="POST", body=b"four")
    await client.read_response()
    await monitors.proxy.publish("c", {S: {"content": "x" * 25}})
    await monitors.time_until(monitor, "report", 11)
    report = monitor.all("report")[0]
    assert report["connections"] == 2
    assert (report["minutes"], report["received"], report["sent"]) == (2, 1, 1)
    assert (report["client-content-bytes-received"], report["server-content-bytes-sent"]) == (4, 4)
    assert report["client-content-bytes-sent"] == len("plain") + 25
    assert report["server-content-bytes-received"] == len("plain")
    stream = len("GET/st/cHostexample.com")
    plain = len("POST/plain?a=bHostexample.comX-A12Content-Length4")
    assert report["client-header-bytes-received"] == stream + plain


@case
async def test_zmq_175_messages_of_websockets(monitors: Monitors) -> None:
    monitor = await monitors.watch("report ")
    client, backend = await monitors.open("/ws")
    client.text("four")
    await backend.expect_text("four")
    await monitors.subscribe(backend)
    await monitors.say("published")
    await client.expect_text("published")
    backend.text("m:three")
    await client.expect_text("three")
    await monitors.time_until(monitor, "report", 11)
    report = monitor.all("report")[0]
    assert (report["client-messages-received"], report["client-content-bytes-received"]) == (1, 4)
    assert (report["server-messages-sent"], report["server-content-bytes-sent"]) == (1, 4)
    assert (report["client-messages-sent"], report["client-content-bytes-sent"]) == (2, 14)


@case
async def test_zmq_175_minutes(monitors: Monitors) -> None:
    monitor = await monitors.watch("report ")
    await monitors.listen()
    minutes = 0
    for _ in range(13):
        await monitors.proxy.advance(10.2)  # a timer may be a tick late
        minutes += (await monitor.next("report"))["minutes"]
    assert minutes == 3


@case
async def test_zmq_176_no_reports(monitors: Monitors) -> None:
    monitor = await monitors.watch(handler={"stats_report_interval": 0})
    await monitors.listen()
    monitors.pusher().send(streamed_item())
    await monitors.proxy.advance(30)
    await monitor.next("message")
    await monitors.arrived(monitor, "report")
    assert monitor.all("report") == []


def streamed_item() -> bytes:
    """An item as a frame."""
    return b"J" + json.dumps(streamed("x")).encode()
