"""A SockJS session of polls, or of streams: many requests that are one socket (websocket 6.5).

Made by ``edge.sockjs`` for a request with an unknown session id.  To the proxy it is a responder until it is
switched, and the client's socket then.  Never parses a path and never looks at a request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from zope.interface import implementer

from pushpin_tw.edge.parting import retire
from pushpin_tw.edge.sockjsanswer import Carrier, Client
from pushpin_tw.edge.sockjspieces import Pieces
from pushpin_tw.sockets import BINARY, MESSAGE, SOCKJS, TEXT, IClientSocket
from pushpin_tw.wire import sockjs
from pushpin_tw.wire.headers import Header

MAX_WAITING = 200_000
"""Bytes that may wait for a client's next poll; more end the session."""
HIGH_WATER = 100_000
"""Bytes that wait when an origin that could wait, too, is asked to."""
HEARTBEAT = 25.0
"""Seconds after which something is sent on a request that is held."""
GAP = 5.0
"""Seconds that a session lives without a request to send on, and that a closed one is remembered."""
ANOTHER_CODE = 2010
ANOTHER = b"Another connection still open"
TERMINATED = b"Session terminated\n"

_OPENING, _OPEN, _CLOSED, _GONE = range(4)


@implementer(IClientSocket)
class Session:
    """Messages wait here for requests to be sent on; an entry of the timer wheel."""

    __slots__ = (
        "_carrier",
        "_forget",
        "_inbound",
        "_last",
        "_owner",
        "_paused",
        "_pieces",
        "_sender",
        "_services",
        "_size",
        "_state",
        "_waiting",
        "due",
        "minor",
        "persistent",
        "sent",
        "slot",
    )

    form = SOCKJS
    head_only = False

    def __init__(self, services: Any, carrier: Carrier, forget: Callable[[], None]) -> None:
        """``carrier`` is the request that opens it; ``forget`` is called once, at the end."""
        self._services = services
        self._forget = forget
        self._state = _OPENING
        self._owner: Any = None
        self._carrier: Carrier | None = carrier
        self._waiting: list[bytes] = []
        """String literals."""
        self._size = 0
        self._last = b""
        """The frame that ends the session, when it is closed."""
        self._pieces = Pieces()
        self._inbound: deque[bytes] = deque()
        self._sender: Client | None = None
        """Whose messages are those in ``_inbound``; it is answered when they are handed over."""
        self._paused = False
        self.minor = carrier.client.responder.minor
        self.persistent = True
        self.sent = 0
        self.due = 0
        self.slot = 0
        carrier.hold(self)

    # ---- requests of the client ----------------------------------------------------------------------------

    def poll(self, carrier: Carrier) -> None:
        """Another request to send on."""
        if self._carrier is not None:
            carrier.send_last(sockjs.close_frame(ANOTHER_CODE, ANOTHER))
        elif self._state == _CLOSED and not self._waiting:
            carrier.send_last(self._last)
        else:
            full = self.congested
            self._carrier = carrier
            carrier.hold(self)
            carrier.begin()
            self._services.wheel.schedule(self, HEARTBEAT)
            self._push()
            if full and not self.congested and self._owner is not None:
                self._owner.socket_drained()

    def receive(self, messages: Iterable[bytes] | None, client: Client) -> None:
        """Messages, from a request that is answered when the owner has taken them; None: it made no sense."""
        if self._state == _CLOSED:
            client.tell(self._last, b"\n")
        elif messages is None:
            client.answer(400, b"Payload expected\n")
        elif self._sender is not None:
            client.answer(400, b"Already sending\n")
        else:
            self._inbound.extend(messages)
            self._sender = client
            self._hand_over()

    def _hand_over(self) -> None:
        while self._inbound and self._owner is not None and self._state == _OPEN and not self._paused:
            self._owner.socket_received(TEXT, self._inbound.popleft(), True, MESSAGE)
        if not self._inbound:
            sender, self._sender = self._sender, None
            if sender is not None:
                sender.tell(b"ok")

    # ---- for the proxy, until it is decided (IResponder) ---------------------------------------------------

    def own(self, owner: Any) -> None:
        """From now on ``owner`` is told what happens: an ``IResponderOwner``, after ``switch`` an
        ``ISocketOwner``."""
        if self._state in (_OPENING, _OPEN):
            self._owner = owner
            if self._state == _OPEN:
                self._hand_over()

    @property
    def started(self) -> bool:
        """Whether the client has its answer."""
        return self._state != _OPENING

    def respond(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        """There is no socket; the client may try again with the same id."""
        if self._state == _OPENING and self._carrier is not None:
            self.sent = len(body)
            self._carrier.relay(status, reason, headers, body)
            self._end()

    def switch(self, reason: bytes, headers: Sequence[Header], extensions: bytes) -> Session | None:
        """The origin agrees: the session is open; nothing of what it says beside that reaches the client."""
        if self._state != _OPENING:
            return None
        self._state = _OPEN
        self._owner = None
        self._put(sockjs.OPEN)
        return self

    # ---- for the proxy, afterwards (IClientSocket) ---------------------------------------------------------

    @property
    def congested(self) -> bool:
        """Whether much waits for the client."""
        return self._size > HIGH_WATER

    def send(self, kind: int, data: bytes, first: bool = True, last: bool = True) -> None:
        """A piece of a message; see ``ISocket``.  Strings have no pieces: it waits for the last one."""
        if self._state != _OPEN or kind > BINARY:
            return
        if not self._pieces.add(data, first):
            self._overflow()
        elif last:
            self._add([sockjs.quote(self._pieces.take())])

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        """Published messages, string literals."""
        if self._state == _OPEN:
            self._add(parts)

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        """Tell the client, behind what waits for it; it cannot answer, so that this is its CLOSE, too."""
        if self._state != _OPEN:
            return
        self._state = _CLOSED
        self._last = sockjs.close_frame(code, reason)
        self._inbound.clear()
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.tell(self._last, b"\n")
        self._services.wheel.schedule(self, GAP)
        self._push()
        owner, self._owner = self._owner, None
        if owner is not None:
            self._services.reactor.callLater(0, _closed, owner, code, reason)

    def abort(self) -> None:
        """The origin has gone.  A session that is closed already goes on telling so."""
        self._owner = None
        if self._state == _CLOSED:
            return
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            if self._state == _OPENING:
                carrier.drop()
            else:
                carrier.end(410, TERMINATED)
        self._end()

    def pause(self) -> None:
        """Hand over no more messages; the client's request to send them waits."""
        self._paused = True

    def resume(self) -> None:
        """Hand them over."""
        self._paused = False
        if self._state == _OPEN:
            self._hand_over()

    # ---- frames --------------------------------------------------------------------------------------------

    def _add(self, literals: Sequence[bytes]) -> None:
        self._waiting += literals
        self._size += sum(map(len, literals))
        self._push()
        if self._size > MAX_WAITING:
            self._overflow()

    def _push(self) -> None:
        """Send what waits, if there is a request to send it on."""
        carrier = self._carrier
        if carrier is None:
            return
        if self._waiting:
            frame = sockjs.array(self._waiting)
            self._waiting = []
            self._size = 0
            self._put(frame)
        if self._state == _CLOSED and self._carrier is not None:
            self._carrier = None
            carrier.send_last(self._last)

    def _put(self, frame: bytes) -> None:
        assert self._carrier is not None
        more = self._carrier.send(frame)
        if not more:
            self._carrier = None
        if self._state == _OPEN or not more:
            self._services.wheel.schedule(self, HEARTBEAT if more else GAP)

    def _overflow(self) -> None:
        """The client is too slow, or a message too long: there is no frame that says so."""
        self._services.stats.count("sockjs-sessions-overflowed")
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.drop()
        self._lose(later=True)

    # ---- the end -------------------------------------------------------------------------------------------

    def expired(self) -> None:
        """The wheel's call: time for a heartbeat, or nobody has come."""
        if self._state != _OPEN or self._carrier is None:
            self.stop()
        else:
            self._put(sockjs.HEARTBEAT)

    def carrier_lost(self) -> None:
        """The client has left the request on which it was listening."""
        self._carrier = None
        self._lose()

    def retire(self) -> None:
        """As ``IParting``."""
        retire(self._owner)

    def stop(self) -> None:
        """The session is over for the client."""
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.drop()
        self._lose()

    def _lose(self, later: bool = False) -> None:
        """Let go of everything and tell the owner; ``later`` when that is not expected within this call."""
        owner, self._owner = self._owner, None
        opening = self._state == _OPENING
        self._end()
        if owner is not None:
            lost = owner.lost if opening else owner.socket_lost
            if later:
                self._services.reactor.callLater(0, lost)
            else:
                lost()

    def _end(self) -> None:
        if self._state == _GONE:
            return
        self._state = _GONE
        self._services.wheel.cancel(self)
        self._waiting = []
        self._size = 0
        self._inbound.clear()
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.answer(410, TERMINATED)
        self._forget()


def _closed(owner: Any, code: int | None, reason: bytes) -> None:
    owner.socket_closed(code, reason)
    owner.socket_lost()
