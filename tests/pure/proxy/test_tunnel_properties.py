"""A WebSocket that passes through, whatever its two ends, publishers and the clock do, in whatever order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pushpin_tw.sockets import BINARY, FRAME, MESSAGE, PARTIAL, PING, PONG, TEXT
from tests.pure.proxy import scene
from tests.pure.proxy.scene import Scene, Socket

Message = tuple[int, bytes]
KINDS = st.sampled_from([TEXT, BINARY])
ENDS = st.sampled_from([PARTIAL, FRAME, MESSAGE, MESSAGE])
DATA = st.sampled_from([b"", b"m", b"m:", b"m:a", b"b", b":", b"c", b"c:"])
DELAYED, KEPT_ALIVE, PUBLISHED = b"<later>", b"<alive>", b"<item>"
OWN = (DELAYED, KEPT_ALIVE)


class End(Socket):
    """Either end, which sees to it that the tunnel keeps the contract of ``ISocket``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.whole: list[Message] = []
        """Messages from the other end, complete."""
        self.items = 0
        """Published ones."""
        self.open: Message | None = None
        self.closed = False
        self.aborted = False

    @property
    def over(self) -> bool:
        """Whether calls do nothing any more."""
        return self.closed or self.aborted

    def send(self, kind: int, data: bytes, first: bool = True, last: bool = True) -> None:
        if self.over:
            return
        if kind in (PING, PONG):
            assert first and last and len(data) <= 125
        elif data in OWN:
            assert self.open is None and first and last
        else:
            assert first == (self.open is None)
            assert first or (self.open is not None and self.open[0] == kind)
            self.open = (kind, data if self.open is None else self.open[1] + data)
            if last:
                self.whole.append(self.open)
                self.open = None

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        assert not self.over, "an item behind the end"
        assert self.open is None, "an item within a message"
        assert data == b"".join(parts)
        self.items += len(parts)

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        assert not self.over, "a second end"
        self.closed = True

    def part(self) -> None:
        self.close()

    def abort(self) -> None:
        assert not self.aborted
        self.aborted = True
        self.owner = None


class Peer:
    """What the one behind an end does; it never breaks a rule itself."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.kind = 0
        """Of the message that has begun; 0: none."""
        self.fresh_frame = True
        self.message: list[list[bytes]] = []
        """Its frames, each in pieces."""
        self.done = False
        """It has said CLOSE."""
        self.lost = False

    @property
    def speaks(self) -> bool:
        """Whether anybody listens to it, and it still has something to say."""
        return self.end.owner is not None and not self.done and not self.lost

    def piece(self, kind: int, data: bytes, end: int) -> Message | None:
        """A piece; what it has completed: the kind and frames of a message, joined."""
        first = not self.kind
        if first:
            self.kind, self.message, self.fresh_frame = kind, [], True
        if self.fresh_frame:
            self.message.append([])
        self.message[-1].append(data)
        self.fresh_frame = end != PARTIAL
        kind = self.kind
        if end == MESSAGE:
            self.kind = 0
        self.end.owner.socket_received(kind, data, first, end)
        return (kind, b"".join(map(b"".join, self.message))) if end == MESSAGE else None

    def first_frame(self) -> bytes:
        """Of the message that was completed last."""
        return b"".join(self.message[0])

    def close(self) -> None:
        self.done = True
        self.kind = 0
        self.end.owner.socket_closed(1000, b"")

    def lose(self) -> None:
        self.lost = True
        owner, self.end.owner = self.end.owner, None
        owner.socket_lost()


class Talking(RuleBasedStateMachine):
    """Both ends, publishers, and time."""

    routes = "* a:1"

    def __init__(self) -> None:
        super().__init__()
        with mock.patch.object(scene, "Socket", End):
            self.scene = Scene(self.routes)
            client, origin = self.scene.wishes()
        assert isinstance(client, End) and isinstance(origin, End)
        self.client, self.origin = Peer(client), Peer(origin)
        self.subscribed = False
        self.attached = True
        self.to_client: list[Message] = []
        self.to_origin: list[Message] = []
        self.items = 0

    # ---- the origin ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.origin.speaks)
    @rule(kind=KINDS, data=DATA, end=ENDS)
    def origin_says(self, kind: int, data: bytes, end: int) -> None:
        closing = self.client.end.closed or self.client.lost
        complete = self.origin.piece(kind, data, end)
        if complete is None or closing or not self.attached:
            return
        kind, whole = complete
        first = self.origin.first_frame()
        if first.startswith(b"m:") and not (kind == TEXT and first.startswith(b"c:")):
            self.to_client.append((kind, whole[2:]))

    @precondition(lambda self: self.origin.speaks and not self.origin.kind)
    @rule(
        message=st.sampled_from(
            [
                {"type": "subscribe", "channel": "c"},
                {"type": "subscribe", "channel": "c", "filters": ["skip-self"]},
                {"type": "unsubscribe", "channel": "c"},
                {"type": "detach"},
                {"type": "set-meta", "name": "user", "value": "x"},
                {"type": "keep-alive", "content": KEPT_ALIVE.decode(), "timeout": 2},
                {"type": "keep-alive"},
                {"type": "send-delayed", "content": DELAYED.decode()},
                {"type": "flush-delayed"},
                {"type": "nonsense"},
            ]
        )
    )
    def origin_controls(self, message: dict[str, Any]) -> None:
        obeyed = self.attached and not self.client.end.closed and not self.client.lost
        self.origin.piece(TEXT, b"c:" + json.dumps(message).encode(), MESSAGE)
        if obeyed and message["type"] == "subscribe":
            self.subscribed = True
        elif obeyed and message["type"] == "unsubscribe":
            self.subscribed = False
        elif obeyed and message["type"] == "detach":
            self.attached = False
            assert self.origin.end.closed

    @precondition(lambda self: self.origin.speaks)
    @rule(kind=st.sampled_from([PING, PONG]))
    def origin_pings(self, kind: int) -> None:
        self.origin.end.owner.socket_received(kind, b"p", True, MESSAGE)

    @precondition(lambda self: self.origin.speaks)
    @rule()
    def origin_closes(self) -> None:
        heard = self.attached and not self.client.lost
        self.origin.close()
        assert self.client.end.closed or not heard

    @precondition(lambda self: self.origin.end.owner is not None and not self.origin.lost)
    @rule()
    def origin_goes(self) -> None:
        dropped = self.attached and not self.client.end.closed and not self.client.lost
        self.origin.lose()
        assert self.client.end.aborted or not dropped

    # ---- the client ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.client.speaks)
    @rule(kind=KINDS, data=DATA, end=ENDS)
    def client_says(self, kind: int, data: bytes, end: int) -> None:
        heard = self.attached and not self.origin.end.closed and not self.origin.lost
        complete = self.client.piece(kind, data, end)
        if complete is not None and heard:
            self.to_origin.append(complete)

    @precondition(lambda self: self.client.speaks)
    @rule()
    def client_closes(self) -> None:
        self.client.close()
        assert self.client.end.closed or self.origin.end.closed

    @precondition(lambda self: self.client.end.owner is not None and not self.client.lost)
    @rule()
    def client_goes(self) -> None:
        self.client.lose()
        assert self.origin.end.aborted or self.origin.end.closed or self.origin.lost

    # ---- others --------------------------------------------------------------------------------------------

    @rule()
    def an_item(self) -> None:
        end = self.client.end
        if self.subscribed and end.open is None and not (end.closed or end.aborted or self.client.lost):
            self.items += 1
        self.scene.publishes("c", message=PUBLISHED.decode())

    @rule()
    def a_published_close(self) -> None:
        live = self.subscribed and not (self.client.end.aborted or self.client.lost)
        self.scene.publishes("c", message={"action": "close"})
        assert self.client.end.closed or not live

    @rule(seconds=st.sampled_from([0.5, 1.5, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.scene.clock.advance(seconds)

    @rule(who=st.sampled_from(["client", "origin"]))
    def a_slow_reader(self, who: str) -> None:
        end = getattr(self, who).end
        end.congested = not end.congested
        if not end.congested and end.owner is not None:
            end.owner.socket_drained()

    @invariant()
    def what_was_said_has_come(self) -> None:
        self.scene.said()
        assert self.client.end.whole == self.to_client
        assert self.origin.end.whole == self.to_origin
        assert self.client.end.items == self.items

    def teardown(self) -> None:
        """When both have gone nothing is left."""
        for peer in (self.client, self.origin):
            if peer.end.owner is not None and not peer.lost:
                peer.lose()
        self.scene.clock.advance(200)
        assert not self.scene.broker.holds("c")
        self.scene.said()


class TalkingOverHttp(Talking):
    """With an origin that is told of it in events."""

    routes = "* a:1,over_http"


OFTEN = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestTalking = Talking.TestCase
TestTalking.settings = OFTEN
TestTalkingOverHttp = TalkingOverHttp.TestCase
TestTalkingOverHttp.settings = OFTEN
