"""One exchange for all who ask the same at the same time: ``share_all`` (proxy 7.4).

``Sharing`` is asked by an exchange whose request is complete, just before it would ask its first target.  A
``Crowd`` stands for all clients towards the one exchange that goes on: as far as that is concerned, it is the
responder.  Whoever joins shares the first client's request, cookies included; what decides which answer is
the right one must be equal: method, URI, body, route, trust and, for requests that are run again, what the
client has seen.  Never used unless the configuration says so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from zope.interface import implementer

from pushpin_tw.interfaces import IResponderOwner
from pushpin_tw.proxy.convoy import Convoy, Fellow
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.headers import Header, get_all

MAX_KEPT = 100_000
"""Bytes of a response that are kept for those who join later; beyond, nobody joins."""


class Sharing:
    """The exchanges that may be joined."""

    def __init__(self, wheel: Wheel, stats: Any) -> None:
        """``stats`` is an ``IStatsSink``."""
        self.wheel = wheel
        self.stats = stats
        self._crowds: dict[Hashable, Crowd] = {}

    def join(self, exchange: Any) -> bool:
        """Take over the client of ``exchange``, whose request is complete.

        True when another exchange answers it; else ``exchange`` goes on, with a crowd for its responder.
        """
        request, uri = exchange.request, exchange.uri
        seen = get_all(request.headers, b"grip-last") if exchange.trusted else []
        key = (
            *(request.method, uri.scheme, uri.host, uri.port, uri.path, uri.query),
            *(exchange.kept, id(exchange.route), exchange.trusted, *seen),
            frozenset(exchange.last_ids),
        )
        crowd = self._crowds.get(key)
        if crowd is not None:
            crowd.add(exchange)
            exchange.enter(crowd, asks=False)
            return True
        crowd = self._crowds[key] = Crowd(self, key, exchange)
        exchange.enter(crowd, asks=True)
        return False

    def close(self, key: Hashable) -> None:
        """Nobody joins this crowd any more."""
        self._crowds.pop(key, None)


@implementer(IResponderOwner)
class Member(Fellow):
    """One client; the owner of its responder."""

    __slots__ = ("crowd", "exchange", "responder")

    def __init__(self, crowd: Crowd, exchange: Any) -> None:
        super().__init__(crowd.convoy)
        self.crowd = crowd
        self.exchange = exchange
        """Its own one: for the log and for what it holds on to, it never asks."""
        self.responder = exchange.responder
        """None when it was answered, handed on or lost."""

    def drained(self) -> None:
        """As ``IResponderOwner``."""
        self.convoy.ready(self)

    def lost(self) -> None:
        """As ``IResponderOwner``."""
        self.crowd.lost(self)


class Crowd:
    """All clients of one exchange, who is told of them as if they were one.

    It has as much of ``IResponder`` as an exchange uses.
    """

    def __init__(self, sharing: Sharing, key: Hashable, exchange: Any) -> None:
        """``exchange`` is the one that goes on."""
        self._sharing = sharing
        self._key = key
        self._owner = exchange
        self.convoy = Convoy(sharing.wheel, self._wait, self._cut)
        """The members."""
        self.head_only: bool = exchange.responder.head_only
        self.started = False
        self.sent = 0
        self.several = False
        """Whether anybody has joined the first one."""
        self._head: tuple[int, bytes, Sequence[Header], int | None] | None = None
        self._kept: bytearray | None = bytearray()
        self.add(exchange)

    # ---- who it is -----------------------------------------------------------------------------------------

    def add(self, exchange: Any) -> None:
        """The client of ``exchange`` as well, who gets first what the others have got."""
        member = Member(self, exchange)
        self.several = bool(self.convoy.fellows)
        self.convoy.join(member)
        member.responder.own(member)
        if self._head is not None:
            self._do(member, "start", *self._head)
            if self._kept:
                self._do(member, "write", bytes(self._kept))
            self._do(member, "flush")

    def lost(self, member: Member) -> None:
        """A client has gone; with the last one, the exchange is over."""
        self._log_one(member, "error", self._head[0] if self._head is not None else 0, 0)
        member.responder = None
        self.convoy.leave(member)
        if not self.convoy.fellows:
            self._close()
            owner, self._owner = self._owner, None
            owner.lost()

    def _close(self) -> None:
        if self._kept is not None:
            self._kept = None
            self._sharing.close(self._key)

    def _members(self) -> Iterator[Member]:
        """Those who are still there, while some may go."""
        return (member for member in tuple(self.convoy.fellows) if member.responder is not None)

    # ---- the pace ------------------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """Whether somebody is slower than what was written."""
        for member in self._members():
            if member.responder.congested:
                self.convoy.slow(member)
        return self.convoy.waiting

    def _wait(self, wait: bool) -> None:
        if not wait:
            self._owner.drained()

    def _cut(self, member: Member) -> None:
        """It has kept the others waiting for too long."""
        responder = member.responder
        self.lost(member)
        responder.abort()

    # ---- for the exchange ----------------------------------------------------------------------------------

    def start(self, status: int, reason: bytes, headers: Sequence[Header], length: int | None) -> None:
        """As ``IResponder``."""
        self.started = True
        self._head = (status, reason, headers, length)
        self._all("start", *self._head)

    def write(self, data: bytes) -> None:
        """As ``IResponder``."""
        self.sent += len(data)
        self._all("write", data)
        if self._kept is not None:
            self._kept += data
            if len(self._kept) > MAX_KEPT:
                self._close()

    def flush(self) -> None:
        """As ``IResponder``."""
        self._all("flush")

    def finish(self) -> None:
        """As ``IResponder``."""
        self._end("finish")

    def respond(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        """As ``IResponder``."""
        self.started = True
        self._end("respond", status, reason, headers, body)

    def abort(self) -> None:
        """As ``IResponder``."""
        self._end("abort")

    def hold(self, acceptance: Any, hold: Callable[[Any, Any], None]) -> None:
        """Let everybody wait, each with a hold of its own: ``hold`` is called with the ``Acceptance`` and the
        responder of each."""

        def take(exchange: Any, responder: Any) -> None:
            hold(acceptance.of(exchange.request, exchange.rerun is not None), responder)

        self._part(take)

    def _part(self, take: Callable[[Any, Any], None]) -> None:
        """The crowd is over: ``take(exchange, responder)`` is called for everybody."""
        self._close()
        for member in self._members():
            responder, member.responder = member.responder, None
            self.convoy.leave(member)
            try:
                take(member.exchange, responder)
            except Exception:
                self._sharing.stats.failure("shared exchange")
                responder.abort()
        self._owner = None

    def log(self, exchange: Any, outcome: str, status: int, size: int) -> None:
        """A line for everybody about what became of ``exchange``; of a relayed response, each has got as much
        as it has."""
        for member in self._members():
            sent = member.responder.sent if outcome == "code" and self.started else size
            self._log_one(member, outcome, status, sent)

    def _log_one(self, member: Member, outcome: str, status: int, size: int) -> None:
        exchange = member.exchange
        exchange.target = self._owner.target
        exchange.gateway.log(exchange, outcome, status, size)

    def _all(self, method: str, *values: Any) -> None:
        for member in self._members():
            self._do(member, method, *values)

    def _end(self, method: str, *values: Any) -> None:
        self._part(lambda _, responder: getattr(responder, method)(*values))

    def _do(self, member: Member, method: str, *values: Any) -> None:
        """A bug in what one client gets is nobody else's."""
        responder = member.responder
        if responder is None:
            return
        try:
            getattr(responder, method)(*values)
        except Exception:
            self._sharing.stats.failure("shared exchange")
            if member.responder is not None:
                self._cut(member)
