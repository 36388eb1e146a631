"""What the proxy's rooms tell statistics (zeromq 5.2)."""

from __future__ import annotations

import pytest

from pushpin_tw.errors import OriginError
from pushpin_tw.sockets import BINARY, FRAME, MESSAGE, PING, TEXT
from tests.pure.proxy.linkscene import LinkScene
from tests.pure.proxy.scene import Scene, Socket, hold
from tests.pure.routing.tables import Section
from tests.support.tally import RecordedTally

HEAD = len("GET/Hosth")


def counted(routes: str = "*,id=r a:1", section: Section | None = None) -> tuple[Scene, RecordedTally]:
    scene = Scene(routes, section)
    return scene, scene.count()


def sums(tally: RecordedTally, route: str = "r") -> dict[str, int]:
    """What was counted for a route: names of attributes that are not zero."""
    counts = tally.routes[route]
    names = [name for name in counts.__slots__ if name.partition("_")[0] in ("client", "server")]
    return {name: getattr(counts, name) for name in names if getattr(counts, name)}


# ---- requests ----------------------------------------------------------------------------------------------


def test_a_request_that_is_passed_on() -> None:
    scene, tally = counted()
    scene.asks()
    assert tally.take() == [("opened", "http", HEAD, "r", "the socket's")]
    asked = scene.a.request
    sent = len(asked.method + asked.target) + sum(len(name + value) for name, value in asked.headers)
    scene.a.responds(200, "A: b", length=5).sends(b"he", b"llo").ends()
    assert sums(tally) == {
        "server_header_sent": sent,
        "server_header_received": len("200OKAb"),
        "server_content_received": 5,
    }


def test_bodies_count_as_often_as_they_are_passed_on() -> None:
    scene, tally = counted("*,id=r a:1 b:2")
    upload = scene.posts(10, waiting=b"four")
    upload.sends(b"sixsix")
    upload.ends()
    assert sums(tally)["client_content_received"] == sums(tally)["server_content_sent"] == 10


def test_a_body_that_is_passed_on_at_once() -> None:
    scene, tally = counted()
    upload = scene.posts(300_000)
    upload.sends(b"x" * 200_000)
    upload.sends(b"x" * 100_000)
    assert sums(tally)["client_content_received"] == sums(tally)["server_content_sent"] == 300_000


@pytest.mark.parametrize(
    ("words", "value", "address"),
    [
        ((), "9.9.9.9", "9.9.9.9"),
        ((), "9.9.9.9, 8.8.8.8", "9.9.9.9"),
        ((), "junk", ""),
        (("truncate:0", "append"), "9.9.9.9", ""),
    ],
)
def test_whose_address_is_believed(words: tuple[str, ...], value: str, address: str) -> None:
    scene, tally = counted(section=Section(x_forwarded_for=words))
    scene.asks("/", f"X-Forwarded-For: {value}")
    assert tally.take()[0][-1] == (address or "the socket's")
    scene.wish("/", f"X-Forwarded-For: {value}")
    assert tally.take()[0][-1] == address


def test_nobody_wants_to_know_addresses() -> None:
    scene, tally = counted()
    tally.tells_connections = False
    scene.asks("/", "X-Forwarded-For: 9.9.9.9")
    assert tally.take()[0][-1] == "the socket's"


def test_routes_without_a_name_and_no_route_at_all() -> None:
    scene, tally = counted("x a:1")
    scene.asks(host="x")
    scene.asks(host="y")
    assert [told[3] for told in tally.take()] == ["", ""]


def test_a_held_request_is_run_again() -> None:
    scene, tally = counted()
    client = scene.asks()
    scene.a.responds(200, *hold("response")).ends()
    tally.take()
    scene.publishes(response={"action": "hint"})
    assert ("retried", "http") in tally.take()
    assert len(scene["a:1"].calls) == 2
    client.goes()


# ---- WebSockets --------------------------------------------------------------------------------------------


def opened(agree: str = "grip") -> tuple[Scene, RecordedTally, Socket, Socket]:
    scene, tally = counted()
    client, origin = scene.wishes(agree=agree)
    told = tally.take()
    assert [line[:2] for line in told] == [("opened", "ws"), ("passed", "ws")]
    return scene, tally, client, origin


def test_messages_are_counted_in_both_directions() -> None:
    _, tally, client, origin = opened()
    before = sums(tally)
    client.owner.socket_received(TEXT, b"four", True, MESSAGE)
    client.owner.socket_received(BINARY, b"ab", True, FRAME)
    client.owner.socket_received(BINARY, b"c", False, MESSAGE)
    client.owner.socket_received(PING, b"ping", True, MESSAGE)
    origin.owner.socket_received(TEXT, b"m:six...", True, MESSAGE)
    origin.owner.socket_received(PING, b"ping", True, MESSAGE)
    after = sums(tally)
    assert {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name)} == {
        "client_content_received": 7,
        "server_content_sent": 7,
        "client_messages_received": 2,
        "server_messages_sent": 2,
        "client_content_sent": 6,
        "server_content_received": 6,
        "client_messages_sent": 1,
        "server_messages_received": 1,
    }
    assert tally.take() == []


def test_the_first_message_in_a_minute_is_activity() -> None:
    _, tally, client, origin = opened()
    for second, active in ((59, []), (60, [("active", "r")]), (119, []), (120, [("active", "r")])):
        tally.second = second
        client.owner.socket_received(TEXT, b"x", True, MESSAGE)
        origin.owner.socket_received(TEXT, b"m:x", True, MESSAGE)
        assert tally.take() == active


def test_a_client_that_goes() -> None:
    _, tally, client, _ = opened()
    client.owner.socket_lost()
    assert tally.take() == [("closed", "ws")]


def test_an_origin_that_goes_takes_the_client_with_it() -> None:
    _, tally, client, origin = opened()
    origin.owner.socket_lost()
    assert tally.take() == [("closed", "ws")]
    assert client.owner is None


def test_a_client_that_was_told_close_counts_until_it_has_gone() -> None:
    _, tally, client, origin = opened()
    origin.owner.socket_closed(1000, b"")
    origin.owner.socket_lost()
    assert tally.take() == []
    client.owner.socket_lost()
    assert tally.take() == [("closed", "ws")]


def test_a_bug_ends_the_connection_for_statistics_too() -> None:
    scene, tally, client, origin = opened()
    client.broken.add("text")
    origin.owner.socket_received(TEXT, b"m:x", True, MESSAGE)
    scene.crashed()
    assert tally.take() == [("closed", "ws")]


def test_a_refusal() -> None:
    scene, tally = counted()
    wish = scene.wish()
    tally.take()
    wish.refuses(403, ("A", "b"), body=b"body")
    assert tally.take() == [("closed", "ws")]
    found = sums(tally)
    assert found["server_content_received"] == found["client_content_sent"] == 4
    assert found["server_header_received"] == found["client_header_sent"] == len("403NoAb")


def test_no_answer_and_no_client() -> None:
    scene, tally = counted()
    wish = scene.wish()
    tally.take()
    wish.sink.failed(OriginError("x"))
    assert tally.take() == [("closed", "ws")]
    scene.wish()
    tally.take()
    scene.client.goes()
    assert tally.take() == [("closed", "ws")]


def test_the_hold_of_a_websocket() -> None:
    scene, tally, client, origin = opened()
    before = sums(tally)
    for control in (
        b'c:{"type": "subscribe", "channel": "c"}',
        b'c:{"type": "subscribe", "channel": "d", "filters": ["skip-self"]}',
    ):
        origin.owner.socket_received(TEXT, control, True, MESSAGE)
    assert [line[0] for line in tally.take()] == ["joined", "joined"]
    scene.publishes("c", message="four")
    scene.publishes("d", message="sixsix")
    assert [line[0] for line in tally.take()] == ["received", "sent", "message"] * 2
    after = sums(tally)
    assert after["client_messages_sent"] - before.get("client_messages_sent", 0) == 2
    assert after["client_content_sent"] - before.get("client_content_sent", 0) == 10
    client.owner.socket_lost()
    assert [line[0] for line in tally.take()] == ["left", "left", "closed"]


def test_the_keep_alive_of_a_websocket_is_activity() -> None:
    scene, tally, _, origin = opened()
    control = b'c:{"type": "keep-alive", "content": "k", "timeout": 5}'
    origin.owner.socket_received(TEXT, control, True, MESSAGE)
    scene.clock.advance(6)
    assert tally.take() == [("active", "r")]
    assert sums(tally)["client_messages_sent"] == 1


# ---- streams -----------------------------------------------------------------------------------------------


def test_streams_with_and_without_a_link() -> None:
    scene, tally = counted()
    link = "Grip-Link: </n>; rel=next"
    for more in ([], [link]):
        scene.asks()
        scene.a.responds(200, *hold("stream", *more)).ends()
    scene.publishes(stream="four")
    assert sums(tally)["client_content_sent"] == 8


def test_the_keep_alive_of_a_stream() -> None:
    scene, tally = counted()
    scene.asks()
    scene.a.responds(200, *hold("stream", "Grip-Keep-Alive: four; timeout=5")).ends()
    tally.take()
    scene.clock.advance(6)
    assert tally.take() == [("active", "r")]
    assert sums(tally)["client_content_sent"] == 4


def test_links() -> None:
    tally = RecordedTally()
    scene = LinkScene("*,id=r a:1", tally=tally)
    scene.follows()
    scene.turn()
    scene.a.responds(200, "A: b", length=2).sends(b"ok").ends()
    found = sums(tally)
    assert (found["server_header_received"], found["server_content_received"]) == (len("200OKAb"), 2)
    assert found["server_header_sent"] > len("GET/nHosth")
