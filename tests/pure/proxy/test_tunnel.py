"""WebSockets that pass through, as conversations: the handshake, messages, GRIP, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pushpin_tw.errors import OriginError, OriginUnreachable
from pushpin_tw.sockets import BINARY, FRAME, MESSAGE, PARTIAL, PING, PONG, TEXT
from tests.pure.proxy.scene import Scene, Socket


class Talk:
    """An open WebSocket: what its client and its origin do, and what is said then."""

    def __init__(
        self, routes: str = "* a:1", agree: str = "grip", trusted: bool = False, **settings: bool
    ) -> None:
        self.scene = Scene(routes, **settings)
        self.client: Socket
        self.origin: Socket
        self.client, self.origin = self.scene.wishes(agree=agree)
        self.scene.said()

    def from_client(self, kind: int, data: bytes, first: bool = True, end: int = MESSAGE) -> list[str]:
        self.client.owner.socket_received(kind, data, first, end)
        return self.scene.said()

    def from_origin(self, kind: int, data: bytes, first: bool = True, end: int = MESSAGE) -> list[str]:
        self.origin.owner.socket_received(kind, data, first, end)
        return self.scene.said()

    def control(self, type_: str, **members: Any) -> list[str]:
        return self.from_origin(TEXT, b"c:" + json.dumps({"type": type_, **members}).encode())

    def publishes(self, message: Any, channel: str = "c", **meta: str) -> list[str]:
        self.scene.publishes(channel, meta, message=message)
        return self.scene.said()

    def after(self, seconds: float) -> list[str]:
        self.scene.clock.advance(seconds)
        return self.scene.said()


def frame(data: bytes, kind: int = TEXT) -> str:
    """What is said of a published message."""
    return "client: deliver " + (bytes([0x80 | kind, len(data)]) + data).decode("latin-1")


# ---- the handshake -----------------------------------------------------------------------------------------


def test_a_client_gets_what_the_origin_agrees_to() -> None:
    scene = Scene()
    wish = scene.wish("/path?x")
    assert scene.said() == ["a: GET /path?x socket"]
    wish.agrees(
        ("X-Extra", "1"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", "x"),
        ("Sec-WebSocket-Extensions", "grip"),
        ("Sec-WebSocket-Protocol", "foo"),
        ("Content-Type", "text/x"),
    )
    assert scene.said() == ["client: 101 Yes | "]
    names = [name for name, _ in scene.client.headers]
    assert names == [b"X-Extra", b"Sec-WebSocket-Protocol", b"Content-Type"]
    assert scene.logged() == ["GET ws://h/path?x -> a:1 code=101 0"]


def test_over_http_more_headers_stay_behind() -> None:
    scene = Scene("* a:1,over_http")
    wish = scene.wish()
    assert scene.said() == ["a: POST / socket"]
    wish.agrees(
        ("Content-Type", "application/websocket-events"),
        ("Content-Length", "6"),
        ("Keep-Alive-Interval", "30"),
        ("Set-Meta-User", "alice"),
        ("Set-Cookie", "a"),
        reason="OK",
    )
    assert scene.said() == ["client: 101 Switching Protocols | "]
    assert scene.client.headers == [(b"Set-Cookie", b"a")]


def test_what_an_origin_is_asked() -> None:
    scene = Scene()
    wish = scene.wish("/", "Accept-Encoding: gzip", "Cookie: a", "Grip-Foo: x", "Sec-WebSocket-Protocol: foo")
    names = [name.decode() for name, _ in wish.headers]
    assert names == [
        *("Host", "Cookie", "Sec-WebSocket-Protocol", "Grip-Sig", "Grip-Feature"),
        "Sec-WebSocket-Extensions",
    ]
    assert wish.headers[-1] == (b"Sec-WebSocket-Extensions", b"grip")


def test_what_an_origin_over_http_is_asked() -> None:
    scene = Scene("* a:1,over_http")
    wish = scene.wish("/", "Accept: x", "Meta-Evil: x", "Connection-Id: x", "Content-Type: x", "Cookie: a")
    names = [name.decode() for name, _ in wish.headers]
    assert names == [
        *("Host", "Sec-WebSocket-Version", "Sec-WebSocket-Key", "Cookie"),
        *("Grip-Sig", "Grip-Feature", "Sec-WebSocket-Extensions"),
    ]


def test_the_name_of_a_connection() -> None:
    scene = Scene()
    names = {scene.wish().handshake.connection_id for _ in range(9)}
    assert len(names) == 9
    assert all(len(name) == 36 and name == name.lower() for name in names)


def test_without_grip_nothing_is_offered_or_understood() -> None:
    talk = Talk("*,no_grip a:1")
    assert b"Grip-Feature" not in dict(talk.scene["a:1"].wishes[-1].headers)
    assert b"Sec-WebSocket-Extensions" not in dict(talk.scene["a:1"].wishes[-1].headers)
    assert talk.from_origin(TEXT, b"c:{}") == ["client: text c:{}"]
    assert talk.from_origin(TEXT, b"m:x") == ["client: text m:x"]


def test_a_refusal_is_passed_on_as_it_is() -> None:
    scene = Scene()
    wish = scene.wish()
    scene.said()
    wish.refuses(403, ("X-Foo", "bar"), ("Connection", "close"), ("Content-Length", "6"), body=b"denied")
    assert scene.said() == ["client: 403 No | denied"]
    assert scene.client.headers == [(b"X-Foo", b"bar")]
    assert not scene.client.persistent
    assert scene.logged() == ["GET ws://h/ -> a:1 code=403 6"]


def test_the_next_target_is_asked_when_one_cannot_be_reached() -> None:
    scene = Scene("* a:1 b:2")
    scene.wish().sink.failed(OriginUnreachable("refused"))
    assert scene.said() == ["a: GET / socket", "b: GET / socket"]
    scene["b:2"].wishes[-1].agrees()
    assert scene.said() == ["client: 101 Yes | "]
    assert scene.logged() == ["GET ws://h/ -> b:2 code=101 0"]


def test_no_target_can_be_reached() -> None:
    scene = Scene("*,debug a:1 b:2")
    scene.wish().sink.failed(OriginUnreachable("refused"))
    scene["b:2"].wishes[-1].sink.failed(OriginUnreachable("refused"))
    assert scene.said()[-1] == (
        "client: 502 Bad Gateway | Unable to connect to any targets. Tried: a:1, b:2\n"
    )
    assert scene.logged() == ["GET ws://h/ -> b:2 code=502 50"]


def test_a_target_that_has_answered_is_the_last() -> None:
    scene = Scene("*,debug a:1 b:2")
    scene.wish().sink.failed(OriginError("garbage"))
    assert scene.said()[-1] == "client: 502 Bad Gateway | Error while proxying to origin.\n"


def test_a_client_that_goes_before_the_answer() -> None:
    scene = Scene()
    scene.wish()
    scene.client.owner.lost()
    assert scene.said() == ["a: GET / socket", "a: cancel"]
    assert scene.logged() == ["GET ws://h/ -> a:1 error"]


def test_a_client_that_is_gone_when_the_answer_comes() -> None:
    scene = Scene()
    wish = scene.wish()
    scene.client.owner.lost()
    scene.said()
    wish.agrees()
    assert scene.said() == ["a: abort"]


# ---- messages ----------------------------------------------------------------------------------------------


def test_without_the_extension_all_passes_as_it_is() -> None:
    talk = Talk(agree="")
    assert talk.from_origin(TEXT, b"c:{}") == ["client: text c:{}"]
    assert talk.from_origin(BINARY, b"") == ["client: binary"]
    assert talk.from_client(TEXT, b"hi") == ["a: text hi"]
    assert talk.from_client(PING, b"p") == ["a: ping p"]
    assert talk.from_origin(PONG, b"p") == ["client: pong p"]


def test_messages_pass_in_pieces() -> None:
    talk = Talk(agree="")
    assert talk.from_client(TEXT, b"a", end=PARTIAL) == ["a: text a..."]
    assert talk.from_client(TEXT, b"", first=False, end=FRAME) == []
    assert talk.from_client(PING, b"") == ["a: ping"]
    assert talk.from_client(TEXT, b"b", first=False, end=FRAME) == ["a: text ...b..."]
    assert talk.from_client(TEXT, b"", first=False, end=MESSAGE) == ["a: text ..."]


def test_a_message_that_begins_with_nothing_begins_with_its_first_bytes() -> None:
    talk = Talk(agree="")
    assert talk.from_client(TEXT, b"", end=PARTIAL) == []
    assert talk.from_client(TEXT, b"b", first=False) == ["a: text b"]
    assert talk.from_origin(TEXT, b"", end=PARTIAL) == []
    assert talk.from_origin(TEXT, b"b", first=False) == ["client: text b"]


def test_the_prefix_is_taken_off() -> None:
    talk = Talk()
    assert talk.from_origin(TEXT, b"m:hello") == ["client: text hello"]
    assert talk.from_origin(BINARY, b"m:\0") == ["client: binary \0"]
    assert talk.from_origin(TEXT, b"hello") == []
    assert talk.from_origin(TEXT, b"m:") == ["client: text"]
    assert talk.from_origin(PING, b"m:x") == ["client: ping m:x"]


def test_a_client_cannot_control() -> None:
    talk = Talk()
    assert talk.from_client(TEXT, b'c:{"type":"subscribe","channel":"c"}')[0].startswith("a: text c:")
    assert talk.publishes("x") == []


def test_a_slow_client_slows_its_origin() -> None:
    talk = Talk()
    talk.client.congested = True
    assert talk.from_origin(TEXT, b"m:a") == ["client: text a", "a: pause"]
    talk.client.congested = False
    talk.client.owner.socket_drained()
    assert talk.scene.said() == ["a: resume"]


def test_a_slow_origin_slows_its_client() -> None:
    talk = Talk()
    talk.origin.congested = True
    assert talk.from_client(TEXT, b"a") == ["a: text a", "client: pause"]
    talk.origin.congested = False
    talk.origin.owner.socket_drained()
    assert talk.scene.said() == ["client: resume"]


# ---- channels ----------------------------------------------------------------------------------------------


def test_a_subscription_brings_what_is_published() -> None:
    talk = Talk()
    assert talk.control("subscribe", channel="c") == []
    assert talk.publishes("hi") == [frame(b"hi")]
    assert talk.publishes({"content-bin": "AAE="}) == [frame(b"\0\1", BINARY)]
    assert talk.publishes({"type": "ping"}) == [frame(b"", PING)]
    talk.control("unsubscribe", channel="c")
    assert talk.publishes("hi") == []


def test_channels_have_the_prefix_of_the_route() -> None:
    talk = Talk("*,prefix=px- a:1")
    talk.control("subscribe", channel="c")
    assert talk.publishes("hi") == []
    assert talk.publishes("hi", "px-c") == [frame(b"hi")]


def test_channels_of_the_route_are_there_without_grip_and_stay() -> None:
    talk = Talk("*,prefix=px- a:1,sub=c", agree="")
    assert talk.publishes("hi") == [frame(b"hi")]
    talk = Talk("* a:1,sub=c")
    talk.control("unsubscribe", channel="c")
    assert talk.publishes("hi") == [frame(b"hi")]


def test_one_copy_however_often_it_is_subscribed() -> None:
    talk = Talk()
    for _ in range(2):
        talk.control("subscribe", channel="c")
    assert talk.publishes("hi") == [frame(b"hi")]


def test_no_more_channels_than_allowed() -> None:
    talk = Talk()
    for number in range(21):
        talk.control("subscribe", channel=f"c{number}")
    assert talk.publishes("hi", "c19") == [frame(b"hi")]
    assert talk.publishes("hi", "c20") == []
    talk.control("unsubscribe", channel="c0")
    talk.control("subscribe", channel="c20")
    assert talk.publishes("hi", "c20") == [frame(b"hi")]


def test_too_many_filters_end_it() -> None:
    talk = Talk("*,debug a:1")
    said = talk.control("subscribe", channel="c", filters=["x"] * 6)
    assert said == ["client: close 1011 too many filters for channel 'c'", "a: part"]
    talk = Talk()
    said = talk.control("subscribe", channel="c", filters=["x"] * 6)
    assert said == ["client: close 1011", "a: part"]


def test_nonsense_is_ignored_and_noted() -> None:
    talk = Talk()
    assert talk.control("fly") == []
    assert talk.from_origin(TEXT, b"c:{", end=FRAME) == []
    assert [text for _, text in talk.scene.stats.notes] == [
        "grip control packet 'type' contains unknown value: fly",
        "grip control message is fragmented or too large",
    ]
    talk.from_origin(TEXT, b"}", first=False)
    talk.control("session", id="s")
    talk.control("subscribe", channel="c")
    assert talk.publishes("hi") == [frame(b"hi")]


def test_within_a_message_nothing_is_published() -> None:
    talk = Talk()
    talk.control("subscribe", channel="c")
    assert talk.from_origin(TEXT, b"m:a", end=FRAME) == ["client: text a..."]
    assert talk.publishes("lost") == []
    assert talk.from_origin(PING, b"") == ["client: ping"]
    assert talk.publishes("lost") == []
    assert talk.from_origin(TEXT, b"b", first=False) == ["client: text ...b"]
    assert talk.publishes("hi") == [frame(b"hi")]
    assert talk.scene.stats.counts["items-dropped-within-message", ""] == 2


def test_a_published_close_ends_both_sides() -> None:
    talk = Talk()
    talk.control("subscribe", channel="c")
    said = talk.publishes({"action": "close", "code": 4001, "reason": "bye"})
    assert said == ["client: close 4001 bye", "a: part"]
    assert talk.publishes("late") == []
    talk.client.owner.socket_closed(4001, b"bye")
    talk.client.owner.socket_lost()
    talk.origin.owner.socket_lost()
    assert talk.scene.said() == ["a: resume"]


def test_when_the_process_ends_the_client_is_told_that() -> None:
    talk = Talk()
    talk.client.owner.retire()
    talk.client.owner.retire()
    assert talk.scene.said() == ["client: close 1001", "a: part"]


def test_over_http_the_origin_is_not_given_a_code() -> None:
    talk = Talk("* a:1,over_http")
    talk.control("subscribe", channel="c")
    assert talk.publishes({"action": "close"}) == ["client: close 1000", "a: part"]


def test_a_published_refresh_asks_the_origin() -> None:
    talk = Talk()
    talk.control("subscribe", channel="c")
    assert talk.publishes({"action": "refresh"}) == ["a: refresh"]
    assert talk.publishes({"action": "hint"}) == []


# ---- keep-alive and delayed messages -----------------------------------------------------------------------


def test_an_idle_client_is_kept_alive() -> None:
    talk = Talk()
    talk.control("keep-alive", content="ka", timeout=2)
    assert talk.after(2.2) == ["client: text ka"]
    talk.control("keep-alive")
    assert talk.after(10) == []


def test_what_is_sent_puts_the_keep_alive_off() -> None:
    talk = Talk()
    talk.control("keep-alive", content="ka", timeout=2)
    for _ in range(6):
        assert talk.after(0.9) == []
        assert talk.from_origin(TEXT, b"m:x") == ["client: text x"]
    assert talk.after(3.2) == ["client: text ka"]


def test_what_the_client_says_does_not() -> None:
    talk = Talk()
    talk.control("keep-alive", content="ka", timeout=2)
    said = []
    for _ in range(3):
        said += talk.after(0.8)
        talk.from_client(TEXT, b"x")
    assert "client: text ka" in said


def test_a_keep_alive_at_intervals() -> None:
    talk = Talk()
    talk.control("keep-alive", content="", timeout=2, mode="interval", **{"message-type": "ping"})
    said = []
    for _ in range(10):
        talk.from_origin(TEXT, b"m:x")
        said += talk.after(0.5)
    assert said.count("client: ping") >= 2


def test_no_keep_alive_for_a_client_that_does_not_read() -> None:
    talk = Talk()
    talk.control("keep-alive", content="ka", timeout=1)
    talk.client.congested = True
    assert talk.after(5) == []
    talk.client.congested = False
    assert talk.after(1.3)[0] == "client: text ka"


def test_a_delayed_message() -> None:
    talk = Talk()
    assert talk.control("send-delayed", content="later") == []
    assert talk.after(0.9) == []
    assert talk.after(0.3) == ["client: text later"]
    talk.control("send-delayed", content="one", timeout=5)
    assert talk.control("send-delayed", content="two", timeout=5) == ["client: text one"]
    assert talk.control("flush-delayed") == ["client: text two"]
    assert talk.control("flush-delayed") == []


def test_a_delayed_message_waits_for_the_end_of_another() -> None:
    talk = Talk()
    talk.control("send-delayed", content="later")
    talk.from_origin(TEXT, b"m:a", end=FRAME)
    assert talk.after(2) == []
    assert talk.from_origin(TEXT, b"b", first=False) == ["client: text ...b", "client: text later"]
    assert talk.from_origin(TEXT, b"m:c") == ["client: text c"]


# ---- detach ------------------------------------------------------------------------------------------------


def test_a_client_without_an_origin() -> None:
    talk = Talk()
    talk.control("subscribe", channel="c")
    talk.control("send-delayed", content="later", timeout=1)
    owner = talk.origin.owner
    assert talk.control("detach") == ["a: part", "a: resume", "client: resume"]
    assert talk.origin.owner is not owner
    assert talk.from_client(TEXT, b"x") == []
    assert talk.from_client(PING, b"x") == []
    assert talk.after(1.2) == ["client: text later"]
    assert talk.publishes("hi") == [frame(b"hi")]
    talk.client.owner.socket_closed(1001, b"")
    assert talk.scene.said() == ["client: close 1000"]
    assert talk.publishes("late") == []


def test_a_detached_client_that_goes_is_no_matter_of_the_origin() -> None:
    talk = Talk("* a:1,over_http")
    talk.control("subscribe", channel="c")
    assert talk.control("detach") == ["a: part", "a: resume", "client: resume"]
    talk.client.owner.socket_lost()
    assert talk.scene.said() == []
    assert talk.scene.broker.channels() == []


# ---- how it ends -------------------------------------------------------------------------------------------


def test_the_client_ends_it() -> None:
    talk = Talk()
    talk.control("subscribe", channel="c")
    talk.client.owner.socket_closed(4321, b"bye")
    assert talk.scene.said() == ["a: close 4321 bye"]
    assert talk.publishes("still") == [frame(b"still")]
    assert talk.from_origin(TEXT, b"m:late") == ["client: text late"]
    talk.origin.owner.socket_closed(4321, b"bye")
    assert talk.scene.said() == ["client: close 4321 bye"]
    assert talk.publishes("late") == []
    assert talk.from_origin(TEXT, b"m:late") == []
    talk.origin.owner.socket_lost()
    talk.client.owner.socket_lost()
    assert talk.scene.said() == ["client: resume"]


@pytest.mark.parametrize("target", ["a:1", "a:1,over_http"])
def test_a_close_without_a_code(target: str) -> None:
    talk = Talk(f"* {target}")
    talk.client.owner.socket_closed(None, b"")
    assert talk.scene.said() == ["a: close None"]
    talk.origin.owner.socket_closed(None, b"")
    assert talk.scene.said() == ["client: close None"]


def test_the_origin_ends_it() -> None:
    talk = Talk()
    talk.origin.owner.socket_closed(4000, b"why")
    assert talk.scene.said() == ["client: close 4000 why"]
    assert talk.from_client(TEXT, b"last") == ["a: text last"]
    talk.client.owner.socket_closed(4001, b"mine")
    assert talk.scene.said() == ["a: close 4001 mine"]
    talk.client.owner.socket_lost()
    assert talk.scene.said() == ["a: resume"]


def test_the_client_drops() -> None:
    talk = Talk()
    talk.control("subscribe", channel="c")
    talk.client.owner.socket_lost()
    assert talk.scene.said() == ["a: abort"]
    assert talk.scene.broker.channels() == []


def test_the_origin_drops() -> None:
    talk = Talk()
    talk.control("subscribe", channel="c")
    talk.origin.owner.socket_lost()
    assert talk.scene.said() == ["client: abort"]
    assert talk.scene.broker.channels() == []


def test_the_origin_drops_instead_of_answering_close() -> None:
    talk = Talk()
    talk.client.owner.socket_closed(1000, b"")
    talk.origin.owner.socket_lost()
    assert talk.scene.said() == ["a: close 1000", "client: abort"]


def test_the_origin_drops_behind_its_close() -> None:
    talk = Talk()
    talk.origin.owner.socket_closed(1000, b"")
    talk.origin.owner.socket_lost()
    assert talk.scene.said() == ["client: close 1000", "client: resume"]


@pytest.mark.parametrize(("target", "end"), [("a:1", ["a: resume"]), ("a:1,over_http", ["a: abort"])])
def test_the_client_drops_behind_its_close(target: str, end: list[str]) -> None:
    """Who speaks over HTTP is told of it (websocket 4.12); a WebSocket has heard CLOSE and ends by itself."""
    talk = Talk(f"* {target}")
    talk.client.owner.socket_closed(1000, b"")
    talk.scene.said()
    talk.client.owner.socket_lost()
    assert talk.scene.said() == end


def test_the_client_never_answers_close() -> None:
    talk = Talk()
    talk.origin.owner.socket_closed(1000, b"")
    talk.scene.said()
    talk.client.owner.socket_lost()
    assert talk.scene.said() == ["a: abort"]


# ---- bugs --------------------------------------------------------------------------------------------------


def test_a_bug_costs_one_client() -> None:
    talk = Talk()
    talk.control("subscribe", channel="c")
    talk.client.broken.add("text")
    talk.origin.owner.socket_received(TEXT, b"m:x", True, MESSAGE)
    assert talk.scene.crashed() == ["client: abort", "a: abort"]
    assert talk.scene.broker.channels() == []


def test_a_bug_in_a_delivery_costs_one_client() -> None:
    talk = Talk()
    talk.control("subscribe", channel="c")
    talk.client.broken.add("deliver")
    talk.scene.publishes("c", message="x")
    assert talk.scene.crashed() == ["client: abort", "a: abort"]
    assert talk.scene.broker.channels() == []


def test_a_bug_in_the_handshake_is_answered() -> None:
    scene = Scene()
    scene.broken.add("switch")
    wish = scene.wish()
    scene.said()
    wish.agrees()
    assert scene.crashed() == ["a: abort", "client: 502 Bad Gateway | Error while proxying to origin.\n"]
