"""No worker can do harm, whatever it says over a WebSocket (zeromq 2.10)."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.task import Clock

from pushpin_tw.complaints import Complaints
from pushpin_tw.origin.zhttpalive import KeepAlives
from pushpin_tw.origin.zhttpsocket import connect
from pushpin_tw.sockets import TEXT
from pushpin_tw.testing.services import LentServices
from pushpin_tw.testing.socketends import FixedHandshake, RecordingOwner, RecordingSocketSink
from pushpin_tw.wire.message import OriginRequest
from pushpin_tw.wire.zhttp import Packet, parse

REQUEST = OriginRequest(b"GET", b"/ws", [(b"Host", b"a.example")], host="a.example")


class Room:
    """What sessions share."""

    def __init__(self, services: LentServices) -> None:
        self.services = services
        self.alive = KeepAlives(services.wheel)
        self.mark = ""


class Hub:
    """Sockets that nobody is behind."""

    own = b"proxy_1"

    def __init__(self, services: LentServices) -> None:
        self.room = Room(services)
        self.sessions: dict[bytes, Any] = {}
        self.complaints = Complaints("test", services)
        self.sent: list[Packet] = []

    def register(self, session: Any) -> None:
        self.sessions[session.id] = session

    def forget(self, session: Any) -> None:
        self.sessions.pop(session.id, None)

    def begin(self, session: Any, frame: bytes) -> bool:
        parse(frame)
        return True

    def send(self, worker: bytes, frame: bytes) -> None:
        self.sent.append(parse(frame))


class Echo(RecordingOwner):
    """Says something to whatever it hears, and reads at times."""

    socket: Any = None

    def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
        super().socket_received(kind, data, first, end)
        self.socket.send(TEXT, b"heard")

    def socket_closed(self, code: int | None, reason: bytes) -> None:
        super().socket_closed(code, reason)
        self.socket.close(code, reason)


TYPES = ["", "", "", "credit", "ping", "pong", "close", "cancel", "error", "keep-alive", "handoff-start"]
PACKETS = st.builds(
    Packet,
    st.just(((b"", None),)),
    st.sampled_from(TYPES),
    st.sampled_from([b"W", b"W", b"W", b"V", b""]),
    st.one_of(st.binary(max_size=6), st.just(b"x" * 126)),
    st.booleans(),
    st.integers(-9, 30),
    st.sampled_from([0, 101, 200, 403, 1000, 1005, 4000, 70_000, -1]),
    st.sampled_from([b"", b"OK", b"O\r\nK", b"\xff"]),
    st.sampled_from([(), ((b"A", b"b"),), ((b"A", b"\n"),), ((b"Content-Length", b"7"),)]),
    st.sampled_from(["", "rejected", "remote-connection-failed", "policy-violation"]),
    st.sampled_from([b"", b"text", b"binary"]),
    st.booleans(),
)
STEPS = st.one_of(
    st.tuples(st.just("packet"), PACKETS, st.sampled_from([None, 1, 0, 0, 0, 0, 0, 0, 0, 0])),
    st.tuples(st.sampled_from(["pause", "resume", "close", "abort", "wait"]), st.none(), st.none()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=14))
def test_whatever_workers_say(steps: list[tuple[str, Any, int | None]]) -> None:
    """``steps``: what happens, a packet, and how far its number is from the right one."""
    clock = Clock()
    services = LentServices(reactor, clock)
    hub: Any = Hub(services)
    owner = Echo()
    sink = _Joining(owner)
    session = connect(hub, FixedHandshake(REQUEST), b"", sink)
    count = 0
    for step, packet, off in steps:
        if step == "packet" and session.id in hub.sessions:
            seq = None if off is None else count + off
            session.packet(packet, seq)
            count += seq == count and packet.type not in ("cancel", "error")
        elif step == "wait":
            clock.advance(46)
        elif sink.socket is not None and step != "packet":
            getattr(sink.socket, step)()
    clock.advance(200)
    assert hub.sessions == {} and sink.answered
    assert (sink.disorder, owner.disorder, services.stats.failures) == ([], [], [])
    assert [packet.ids[0][1] for packet in hub.sent] == list(range(1, len(hub.sent) + 1))
    kinds = [packet.type for packet in hub.sent]
    assert kinds.count("cancel") <= 1 and "cancel" not in kinds[:-1] and kinds.count("close") <= 1
    assert services.wheel.waiting == 0 or services.wheel.waiting == 1  # the turn of keep-alives
    services.stop()


class _Joining(RecordingSocketSink):
    """Lets its owner know the socket before that hears anything."""

    def opened(self, response: Any, socket: Any) -> None:
        self.owner.socket = socket
        super().opened(response, socket)
