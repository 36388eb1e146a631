"""The sessions of programs that ask us over ZHTTP, and the sockets they come through (zeromq 2.13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushpin_tw.edge.zhttp import ZhttpInlet
from pushpin_tw.edge.zhttprequest import AskedRequest
from pushpin_tw.edge.zhttpsession import Key, Session
from pushpin_tw.edge.zhttpsocket import AskedSocket, AskedTalk
from pushpin_tw.errors import ConfigError, WireError
from pushpin_tw.figures import ICounted
from pushpin_tw.interfaces import IBody, IBodySink, IResponder, IResponderOwner
from pushpin_tw.sockets import IClientSocket
from pushpin_tw.testing.services import LentServices
from pushpin_tw.testing.socketends import RecordingOwner
from pushpin_tw.wire.tnetstring import decode, encode
from pushpin_tw.wire.zhttp import Packet, parse
from pushpin_tw.wire.zhttpasked import parse_question, request_of

CONFIG = "[tw]\nwrite_buffer=100\n"
Handler = Callable[[Any, Any, Any], None]


class Inlet:
    """Where sessions live that nobody is behind."""

    own = b"proxy_1"

    def __init__(self, services: LentServices) -> None:
        self.services = services
        self.sessions: dict[Key, Session] = {}
        self.said: list[dict[str, Any]] = []
        """Fields of the packets, without those that say whose they are."""
        self.overran = 0

    def answer(self, program: bytes, frame: bytes, welcome: bool) -> None:
        fields = decode(frame[1:])
        assert (program, fields.pop("from"), fields.pop("id")) == (b"P", b"proxy_1", b"1")
        assert fields.pop("seq") == len(self.said)
        self.said.append(fields)

    def forget(self, session: Session) -> None:
        del self.sessions[session.key]

    def overrun(self) -> None:
        self.overran += 1


@implementer(IResponderOwner)
class Owner:
    """Who answers."""

    def __init__(self) -> None:
        self.drains = 0
        self.losses = 0

    def drained(self) -> None:
        self.drains += 1

    def lost(self) -> None:
        self.losses += 1


@implementer(IBodySink)
class Sink:
    """Who wants a body."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended = False

    def body_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def body_finished(self) -> None:
        self.ended = True


class Scene:
    """A session, and what it is part of."""

    def __init__(self, services: LentServices) -> None:
        self.services = services
        self.inlet = Inlet(services)
        self.owner = Owner()
        self.sink = Sink()
        self.body: Any = None
        self.session: Any = None
        self._seq = 1

    def ask(self, handler: Handler | None = None, **fields: Any) -> Any:
        """A first packet, for ``handler`` or for nobody."""
        whole = {"from": "P", "id": "1", "seq": 0, "method": "GET", "uri": "http://a/", "stream": True}
        question = parse_question(b"T" + encode({**whole, "credits": 1000, **fields}))
        kind = AskedSocket if question.socket else AskedRequest
        self.session = kind(self.inlet, question, request_of(question))
        self.inlet.sessions[self.session.key] = self.session
        self.session.begin(question.packet, Gateway(handler or self._take))
        return self.session

    def _take(self, request: Any, body: Any, responder: Any) -> None:
        responder.own(self.owner)
        self.body = body

    def say(self, **fields: Any) -> None:
        """A later packet."""
        packet = parse(b"T" + encode({"from": "P", "id": "1", "seq": self._seq, **fields}))
        self._seq += 1
        if self.session.lives:
            self.session.packet(packet, packet.ids[0][1])

    @property
    def said(self) -> list[dict[str, Any]]:
        """What was said since it was asked the last time."""
        said = self.inlet.said[self._seen :]
        self._seen = len(self.inlet.said)
        return said

    _seen = 0


class Gateway:
    def __init__(self, handler: Handler) -> None:
        self.handle_request = handler


@pytest.fixture
def services() -> Iterator[LentServices]:
    services = LentServices(reactor, Clock(), CONFIG)
    yield services
    services.stop()


@pytest.fixture
def scene(services: LentServices) -> Scene:
    return Scene(services)


def head(body: bytes = b"", more: bool = False, *headers: list[bytes], code: int = 200) -> dict[str, Any]:
    fields: dict[str, Any] = {"code": code, "reason": b"OK", "headers": [*headers]}
    if body:
        fields["body"] = body
    if more:
        fields["more"] = True
    return fields


ACK = {"type": b"keep-alive"}
CANCEL = {"type": b"cancel"}
LENGTH = b"Content-Length"


def test_interfaces(scene: Scene) -> None:
    session = scene.ask(method="POST", more=True)
    verifyObject(IResponder, session)
    verifyObject(ICounted, session)
    verifyObject(IBody, scene.body)
    verifyObject(IBodySink, scene.sink)
    verifyObject(IResponderOwner, scene.owner)
    verifyObject(IClientSocket, AskedTalk(session, scene.services))
    assert (session.minor, session.chunked, session.head_only, session.started) == (1, False, False, False)
    assert (session.secure, session.address, session.number, session.cohort) == (False, "", 0, None)
    session.believed = "::1"
    assert session.address == "::1"
    session.refresh()


# ---- answers -----------------------------------------------------------------------------------------------


def test_an_answer_in_parts(scene: Scene) -> None:
    session = scene.ask()
    session.start(200, b"OK", [(b"A", b"b")], None)
    session.write(b"ab")
    session.write(b"c")
    assert scene.said == [ACK]
    session.flush()
    session.flush()
    session.write(b"d")
    session.finish()
    assert scene.said == [head(b"abc", True, [b"A", b"b"]), {"body": b"d"}]
    assert not session.lives and scene.inlet.sessions == {} and scene.services.wheel.waiting == 0
    session.write(b"late")
    session.flush()
    session.finish()
    session.respond(200, b"OK", [], b"late")
    session.complete(b"HTTP/1.1 200 OK\r\n\r\n")
    session.abort()
    session.own(scene.owner)
    assert session.switch(b"", [], b"") is None
    assert scene.said == [] and scene.owner.losses == 0 and session.sent == 4


def test_the_end_needs_no_credits(scene: Scene) -> None:
    session = scene.ask(credits=3)
    session.start(200, b"OK", [], None)
    session.deliver(b"abc")
    assert scene.said == [ACK, head(b"abc", True)]
    session.finish()
    assert scene.said == [{}]


def test_the_end_waits_for_what_is_before_it(scene: Scene) -> None:
    session = scene.ask(credits=0)
    session.respond(200, b"OK", [], b"abc")
    session.finish()
    assert scene.said == [ACK, head(b"", True, [LENGTH, b"3"])]
    assert not session.congested
    scene.say(type="credit", credits=2)
    assert scene.said == [{"body": b"ab", "more": True}]
    scene.say(credits=1)
    assert scene.said == [{"body": b"c"}]
    assert not session.lives and scene.owner.drains == 0


def test_congestion(scene: Scene) -> None:
    session = scene.ask(credits=0)
    session.start(200, b"OK", [], None)
    session.deliver(b"x" * 99)
    assert not session.congested
    session.deliver(b"x")
    assert session.congested
    scene.say(type="credit", credits=0)
    assert session.congested and scene.owner.drains == 0
    scene.say(type="credit", credits=1)
    assert not session.congested and scene.owner.drains == 1
    session.deliver(b"x" * 500)
    assert session.congested
    scene.say(type="cancel")
    assert scene.owner.losses == 1


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_body(scene: Scene, status: int) -> None:
    session = scene.ask(credits=0)
    session.respond(status, b"OK", [], b"never sent")
    assert scene.said == [ACK, head(code=status)]
    assert session.sent == 0 and not session.lives


def test_head(scene: Scene) -> None:
    session = scene.ask(method="HEAD", credits=0)
    assert session.head_only
    session.start(200, b"OK", [], 7)
    session.finish()
    assert scene.said == [ACK, head(b"", False, [LENGTH, b"7"])]


def test_no_more_than_was_announced(scene: Scene) -> None:
    session = scene.ask()
    session.start(200, b"OK", [], 3)
    session.write(b"ab")
    session.write(b"cd")
    session.finish()
    assert scene.said == [ACK, head(b"abc", False, [LENGTH, b"3"])]


def test_less_than_was_announced(scene: Scene) -> None:
    session = scene.ask()
    session.start(200, b"OK", [], 3)
    session.write(b"ab")
    session.finish()
    assert scene.said == [ACK, CANCEL]


@pytest.mark.parametrize("started", [False, True])
def test_answers_that_are_none(scene: Scene, started: bool) -> None:
    session = scene.ask()
    if started:
        session.start(200, b"OK", [], None)
        session.respond(200, b"OK", [], b"")
    else:
        session.finish()
    assert scene.said == [ACK, CANCEL] and not session.lives


def test_a_ready_answer(scene: Scene) -> None:
    lines = b"HTTP/1.1 404 OK\r\nA: b\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
    scene.ask().complete(lines + b"no")
    assert scene.said == [ACK, head(b"no", False, [b"A", b"b"], [LENGTH, b"2"], code=404)]


def test_a_ready_answer_that_nobody_can_read(scene: Scene) -> None:
    scene.ask().complete(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 65 + b"\r\n")
    assert scene.said == [ACK, CANCEL]


@pytest.mark.parametrize(
    ("reason", "headers"), [(b"O\nK", []), (b"OK", [(b"A\r", b"b")]), (b"OK", [(b"A", b"b\r\nC: d")])]
)
def test_headers_that_are_none(scene: Scene, reason: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    session = scene.ask()
    with pytest.raises(WireError):
        session.start(200, reason, headers, None)
    session.respond(500, b"OK", [], b"")
    assert scene.said == [ACK, head(b"", False, [LENGTH, b"0"], code=500)]
    other = Scene(scene.services)
    socket = other.ask(uri="ws://a/")
    with pytest.raises(WireError):
        socket.switch(reason, headers, b"")
    assert socket.lives and other.said == []


def test_bugs_cost_one_request(scene: Scene) -> None:
    def broken(request: Any, body: Any, responder: Any) -> None:
        responder.own(scene.owner)
        raise ZeroDivisionError("a bug in the gateway")

    scene.ask(broken)
    assert [fields.get("code") for fields in scene.said] == [None, 502]
    assert scene.owner.losses == 1 and len(scene.services.stats.failures) == 1


def test_bugs_in_the_middle(scene: Scene) -> None:
    session = scene.ask(credits=0)
    session.start(200, b"OK", [], None)
    session.deliver(b"x" * 200)

    def drained() -> None:
        raise ZeroDivisionError("a bug in the owner")

    scene.owner.drained = scene.owner.lost = drained  # type: ignore[method-assign]
    scene.say(type="credit", credits=200)
    assert scene.said[-1] == CANCEL and not session.lives
    assert len(scene.services.stats.failures) == 2


# ---- bodies ------------------------------------------------------------------------------------------------


def test_a_body_at_the_pace_of_its_reader(scene: Scene) -> None:
    scene.ask(method="POST", body="ab", more=True)
    scene.say(body="c", more=True)
    assert scene.said == [{"type": b"credit", "credits": 200_000}]
    scene.body.begin(scene.sink)
    scene.body.begin(Sink())
    assert scene.sink.pieces == [b"abc"]
    assert scene.said == [{"type": b"credit", "credits": 3}]
    scene.body.pause()
    scene.say(body="d", more=True)
    scene.say(body="e")
    scene.say(body="behind the end")
    assert scene.sink.pieces == [b"abc"] and scene.said == []
    scene.body.resume()
    assert scene.sink.pieces == [b"abc", b"de"] and scene.sink.ended
    assert scene.said == [{"type": b"credit", "credits": 2}]
    scene.body.resume()
    assert scene.said == []


def test_a_body_that_nobody_wants(scene: Scene) -> None:
    session = scene.ask(method="POST", body="ab", more=True)
    scene.body.abandon()
    scene.body.begin(scene.sink)
    scene.say(body="c", more=True)
    assert scene.sink.pieces == []
    session.respond(200, b"OK", [], b"")
    assert scene.said[1:] == [head(b"", False, [LENGTH, b"0"])]


def test_a_whole_body_gives_no_credits(scene: Scene) -> None:
    scene.ask(method="POST", body="ab")
    scene.body.begin(scene.sink)
    assert scene.sink.pieces == [b"ab"] and scene.sink.ended
    assert scene.said == [ACK]


def test_a_first_packet_beyond_all_credits(scene: Scene) -> None:
    """Gives as many as one with all of them: its sender is not to get more and more."""
    scene.ask(method="POST", body="x" * 500_000, more=True)
    scene.body.begin(scene.sink)
    scene.say(body="y", more=True)
    credits = [fields["credits"] for fields in scene.said]
    assert credits == [200_000, 200_000, 1]


def test_a_body_that_pays_no_heed(scene: Scene) -> None:
    scene.ask(method="POST", more=True)
    scene.say(body="x" * 2_000_000, more=True)
    assert scene.session.lives
    scene.say(body="x", more=True)
    assert not scene.session.lives and scene.said[-1] == CANCEL
    assert scene.inlet.overran == 1 and scene.owner.losses == 1


def test_a_sink_that_ends_it(scene: Scene) -> None:
    session = scene.ask(method="POST", body="ab", more=True)

    def body_received(data: bytes) -> None:
        session.respond(200, b"OK", [], b"")

    scene.sink.body_received = body_received  # type: ignore[method-assign]
    scene.body.begin(scene.sink)
    assert not scene.sink.ended
    assert scene.said[1:] == [head(b"", False, [LENGTH, b"0"])]


# ---- WebSockets --------------------------------------------------------------------------------------------


def test_a_refusal_in_parts(scene: Scene) -> None:
    socket = scene.ask(uri="ws://a/", credits=0)
    socket.start(403, b"OK", [], None)
    socket.write(b"n")
    socket.flush()
    assert scene.said == []
    socket.write(b"o")
    socket.finish()
    assert scene.said == [{"type": b"error", "condition": b"rejected", **head(b"no", code=403)}]


def test_switching(scene: Scene) -> None:
    socket = scene.ask(uri="ws://a/", credits=2)
    talk = socket.switch(b"OK", [(b"A", b"b")], b"grip")
    assert socket.switch(b"OK", [], b"") is None
    headers = [[b"A", b"b"], [b"Sec-WebSocket-Extensions", b"grip"]]
    assert scene.said == [{**head(b"", False, *headers, code=101), "credits": 200_000}]
    owner = RecordingOwner()
    talk.own(owner)
    scene.say(body="hi")
    assert owner.messages == [(1, b"hi")]
    assert not talk.retire()
    talk.close()
    assert talk.retire()
    assert scene.said == [{"type": b"credit", "credits": 2}, {"type": b"close", "code": 1000}]
    scene.say(type="close")
    assert owner.lost and not socket.lives and owner.disorder == []
    assert scene.owner.losses == 0
    talk.deliver(b"\x81\x01x", [b"\x81\x01x"])
    assert scene.said == []


def test_too_late_to_switch(scene: Scene) -> None:
    socket = scene.ask(uri="ws://a/")
    scene.say(type="cancel")
    assert scene.owner.losses == 1
    assert socket.switch(b"OK", [], b"") is None


def test_a_request_is_no_handshake(scene: Scene) -> None:
    assert scene.ask().switch(b"OK", [], b"") is None
    assert scene.said == [ACK, CANCEL]


# ---- the sockets -------------------------------------------------------------------------------------------


def inlet(spec: str, services: LentServices, shared: bool = False) -> ZhttpInlet:
    lent = LentServices(reactor, config_text=f"[tw]\nzhttp_in_spec={spec}\n[handler]\nipc_file_mode=640\n")
    services.config = lent.config
    lent.stop()
    return ZhttpInlet(services.config, Gateway(lambda *_: None), services, shared)


def test_where_it_is_bound(tmp_path: Path, services: LentServices) -> None:
    one = inlet(f"ipc://{tmp_path}/z", services)
    for _ in range(2):
        one.startService()
        names = ["z-out", "z-out-stream", "z-in"]
        assert one.addresses == tuple(f"ipc://{tmp_path}/{name}" for name in names)
        assert [(tmp_path / name).stat().st_mode & 0o777 for name in names] == [0o640] * 3
        one.stopService()
        assert one.addresses == () and list(tmp_path.iterdir()) == []


def test_an_address_that_is_taken(tmp_path: Path, services: LentServices) -> None:
    first = inlet(f"ipc://{tmp_path}/z", services)
    first.startService()
    with pytest.raises(ConfigError, match=r"zhttp_in_spec: cannot use .*z-out: Address already in use"):
        inlet(f"ipc://{tmp_path}/z", services).startService()
    other = inlet(f"ipc://{tmp_path}/z", services, shared=True)
    other.startService()
    services.clock.advance(3)
    assert other.addresses == () and len(first.addresses) == 3
    first.stopService()
    services.clock.advance(3)
    assert len(other.addresses) == 3
    other.stopService()
    assert services.wheel.waiting == 0


def test_an_address_that_becomes_unusable(tmp_path: Path, services: LentServices) -> None:
    first = inlet(f"ipc://{tmp_path}/d/z", services)
    (tmp_path / "d").mkdir()
    first.startService()
    other = inlet(f"ipc://{tmp_path}/d/z", services, shared=True)
    other.startService()
    first.stopService()
    (tmp_path / "d").rmdir()
    services.clock.advance(3)
    assert other.addresses == () and services.stats.notes[-1][0] == "error"
    other.stopService()


@pytest.mark.parametrize("spec", ["nonsense", "tcp://127.0.0.1", "tcp://127.0.0.1:a", "tcp://127.0.0.1:0"])
def test_addresses_that_are_none(spec: str, services: LentServices) -> None:
    with pytest.raises(ConfigError, match="zhttp_in_spec"):
        inlet(spec, services, shared=True).startService()


ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 300_000), st.binary(max_size=9)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "from": st.just("P"),
    "id": st.sampled_from(["1", "2"]),
    "seq": st.sampled_from([0, 1, 2]),
    "type": st.sampled_from(["credit", "cancel", "keep-alive", "close", "ping", "error"]),
    "uri": st.sampled_from(["http://a/", "ws://a/", "ftp://a/"]),
    "method": st.sampled_from(["GET", "POST"]),
    "stream": st.just(True),
    "headers": st.just([["A", "b"]]),
    "body": st.binary(max_size=5),
    "more": st.booleans(),
    "credits": st.integers(-5, 50),
    "ext": st.just({"multi": True}),
}
PACKETS = st.fixed_dictionaries(
    {}, optional={name: st.one_of(good, good, good, ANY) for name, good in GOOD.items()}
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), PACKETS), max_size=6))
def test_whatever_programs_send(packets: list[tuple[bool, dict[str, Any]]]) -> None:
    services = LentServices(reactor, Clock())
    room = ZhttpInlet(services.config, Gateway(_respond), services)
    room.own = b"proxy_1"
    sent: list[tuple[bytes, ...]] = []

    class Wire:
        def send(self, frames: tuple[bytes, ...]) -> None:
            sent.append(frames)

        def pause(self) -> None: ...

        def resume(self) -> None: ...

        def close(self) -> None: ...

    room._pull = room._router = room._pub = Wire()  # type: ignore[assignment]
    room._sockets = [room._pull]
    for first, fields in packets:
        frame = b"T" + encode({"from": "P", "id": "1", **fields})
        if first:
            room._pulled([frame])
        else:
            room._routed([b"P", b"", frame])
    room.stopService()
    for frames in sent:
        payload = frames[-1] if len(frames) == 3 else frames[0].partition(b" ")[2]
        assert isinstance(parse(payload), Packet)
    assert services.stats.failures == [] and room.sessions == {}
    services.stop()


def _respond(request: Any, body: Any, responder: Any) -> None:
    if body is not None:
        body.begin(Sink())
    responder.own(Owner())
    if request.websocket:
        talk = responder.switch(b"OK", [], b"")
        talk.own(RecordingOwner())
        talk.send(1, b"hello")
    else:
        responder.start(200, b"OK", [], None)
        responder.deliver(b"hello")
