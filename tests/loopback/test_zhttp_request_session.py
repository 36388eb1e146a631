"""Whatever client and worker do in whichever order, the books of a request are right (zeromq 2.6, 2.7)."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.task import Clock

from pushpin_tw.complaints import Complaints
from pushpin_tw.origin.zhttpalive import KeepAlives
from pushpin_tw.origin.zhttprequest import StreamedRequest
from pushpin_tw.testing.origins import RecordingSink
from pushpin_tw.testing.services import LentServices
from pushpin_tw.wire.message import OriginRequest
from pushpin_tw.wire.zhttp import CREDITS, Packet, parse


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
        """All packets, the first one included."""

    def register(self, session: Any) -> None:
        self.sessions[session.id] = session

    def forget(self, session: Any) -> None:
        self.sessions.pop(session.id, None)

    def begin(self, session: Any, frame: bytes) -> bool:
        self.sent.append(parse(frame))
        return True

    def send(self, worker: bytes, frame: bytes) -> None:
        assert worker == b"W"
        self.sent.append(parse(frame))


class Sink(RecordingSink):
    """A client that is slow at times: pauses whenever it was told something, if it is in the mood."""

    call: Any = None
    tired = False

    def settled(self) -> None:
        super().settled()
        if self.tired:
            self.call.pause()


BODIES = st.sampled_from([b"", b"abc", b"x" * 70_000, b"y" * 150_000])
PACKETS = st.builds(
    Packet,
    st.just(((b"", None),)),
    st.sampled_from(["", "", "", "", "credit", "credit", "ping", "close", "cancel", "error", "keep-alive"]),
    st.sampled_from([b"W", b"W", b"W", b"W", b""]),
    BODIES,
    st.sampled_from([True, True, True, False]),
    st.sampled_from([-9, 0, 1, 50_000, 300_000]),
    st.sampled_from([200, 200, 200, 204, 0, 101, 70_000]),
    st.sampled_from([b"", b"OK", b"O\r\nK"]),
    st.sampled_from([(), (), ((b"A", b"b"),), ((b"A", b"\n"),), ((b"Content-Length", b"7"),)]),
    st.sampled_from(["", "connection-timeout", "policy-violation"]),
    st.just(b""),
    st.booleans(),
)
STEPS = st.one_of(
    st.tuples(st.just("packet"), PACKETS, st.sampled_from([None, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
    st.tuples(st.just("write"), BODIES, st.none()),
    st.tuples(st.sampled_from(["tire", "resume", "pause", "finish", "wait", "cancel"]), st.none(), st.none()),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, max_size=20), st.sampled_from([b"GET", b"HEAD"]))
def test_whatever_happens(steps: list[tuple[str, Any, int | None]], method: bytes) -> None:
    """``steps``: what happens, a packet or bytes, and how far a packet's number is from the right one."""
    clock = Clock()
    services = LentServices(reactor, clock)
    hub: Any = Hub(services)
    sink = Sink()
    call = sink.call = StreamedRequest(hub, OriginRequest(method, b"/", [], None, host="h"), b"", sink)
    count = granted = came = 0
    written = b""
    finished = cancelled = False
    for step, value, off in steps:
        if step == "packet" and call.id in hub.sessions:
            seq = None if off is None else count + off
            counts = seq == count and value.type not in ("cancel", "error")
            call.packet(value, seq)
            count += counts
            if counts and value.type in ("", "credit"):
                granted += max(value.credits, 0)
                came += len(value.body) if not value.type else 0
        elif step == "write" and not finished and value:
            call.write(value)
            written += value
        elif step == "wait":
            clock.advance(46)
        elif step == "tire":
            sink.tired = not sink.tired
        elif step in ("resume", "pause", "finish", "cancel"):
            finished = finished or step == "finish"
            cancelled = cancelled or step == "cancel"
            getattr(call, step)()
        _check_books(hub.sent, granted, came, written)
    sink.tired = False
    call.resume()
    clock.advance(200)
    if not finished:
        call.cancel()
    clock.advance(2)  # the ticker of keep-alives finds nobody
    assert hub.sessions == {}
    assert sink.ended or cancelled or not finished
    assert (sink.disorder, services.stats.failures) == ([], [])
    assert services.wheel.waiting == 0
    services.stop()


def _check_books(sent: list[Packet], granted: int, came: int, written: bytes) -> None:
    """Numbers follow each other; nobody was sent or granted more than there was."""
    assert [packet.ids[0][1] for packet in sent] == list(range(len(sent)))
    uploaded = b"".join(packet.body for packet in sent if not packet.type)
    assert written.startswith(uploaded)
    assert len(uploaded) <= CREDITS + granted
    assert sum(packet.credits for packet in sent[1:]) <= came
    kinds = [packet.type for packet in sent]
    assert "cancel" not in kinds[:-1]
    ends = [place for place, packet in enumerate(sent) if not packet.type and not packet.more]
    assert len(ends) <= 1
    assert all(sent[place].type for place in range(ends[0] + 1, len(sent))) if ends else True
