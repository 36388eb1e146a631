"""WebSockets to backends that live in this process: two ends that are joined in memory.

``InProcessOrigin`` is ``AnsweringOrigin`` for those that accept WebSockets: the ``test`` target, and target
plugins.  The proxy is given one end and the backend the other; both are the same kind of socket.  Nothing
that one end says is told to the other's owner within the call, so neither has to fear its own echo.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import OriginError
from pushpin_tw.interfaces import IOrigin
from pushpin_tw.origin.answering import Answer, AnsweringOrigin
from pushpin_tw.origin.unavailable import DeadCall
from pushpin_tw.sockets import FRAME, MESSAGE, NORMAL, IOriginSocket
from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.message import OriginRequest, Response

MAX_WAITING = 65536
"""Bytes that wait for one end's owner before the other end counts as congested."""

OVERHEAD = 64
"""Bytes that a waiting piece counts for beside its data: many empty ones are much, too."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A backend's consent to a WebSocket."""

    serve: Callable[[Any], None]
    """Is given the backend's end (an ``ISocket``), and owns it within the call."""
    headers: tuple[Header, ...] = ()
    """Of the 101, such as ``Sec-WebSocket-Extensions: grip``; without those of the handshake itself."""


@implementer(IOrigin)
class InProcessOrigin(AnsweringOrigin):
    """An ``IOrigin`` around two functions."""

    def __init__(
        self,
        answer: Callable[[OriginRequest, bytes], Answer],
        accept: Callable[[OriginRequest], Agreement | Answer],
        services: Any,
    ) -> None:
        """``answer`` is given a request and its body; ``accept`` the request for a WebSocket, which it may
        refuse with an answer.  ``services`` is an ``IServices``."""
        super().__init__(answer, services.stats)
        self._accept = accept
        self._reactor = services.reactor

    def connect(self, handshake: Any, sink: Any) -> DeadCall:
        """As ``IOrigin``; the sink hears within this call."""
        near = None
        try:
            answer = self._accept(handshake.prepare())
            if isinstance(answer, Agreement):
                near, far = join(self._reactor, self._stats)
                answer.serve(far)
        except OriginError as error:
            sink.failed(error)
        except Exception:
            self._stats.failure("origin")
            sink.failed(OriginError("unexpected error"))
        else:
            self._tell(answer, near, sink)
        return DeadCall()

    def _tell(self, answer: Agreement | Answer, near: End | None, sink: Any) -> None:
        headers = list(answer.headers)
        try:
            if isinstance(answer, Answer):
                body = answer.body
                sink.refused(Response(answer.status, answer.reason, headers, len(body)), body)
            else:
                sink.opened(Response(101, b"Switching Protocols", headers), near)
        except Exception:
            self._stats.failure("origin")
            if near is not None:
                near.abort()


def join(reactor: Any, stats: Any) -> tuple[End, End]:
    """Two ends of one WebSocket; ``stats`` is an ``IStatsSink``."""
    near, far = End(reactor, stats), End(reactor, stats)
    near.other, far.other = far, near
    return near, far


@implementer(IOriginSocket)
class End:
    """One end, with what the other one has said and its owner has not heard yet.

    It knows no time limits: a backend of this process that does not answer CLOSE is a bug.
    """

    __slots__ = ("_inbox", "_owner", "_paused", "_reactor", "_said", "_stats", "_turn", "_waiting", "other")

    def __init__(self, reactor: Any, stats: Any) -> None:
        self.other: End
        self._reactor = reactor
        self._stats = stats
        self._owner: Any = None
        self._inbox: deque[tuple[int, str, tuple[Any, ...]]] | None = deque()
        """Sizes, methods of the owner, and their arguments; None after the end."""
        self._waiting = 0
        self._paused = False
        self._said = False
        self._turn = False

    @property
    def congested(self) -> bool:
        """As ``ISocket``."""
        return self.other.crowded

    @property
    def crowded(self) -> bool:
        """Whether the owner of this end has enough to hear."""
        return self._waiting > MAX_WAITING

    def own(self, owner: Any) -> None:
        """As ``ISocket``."""
        self._owner = owner
        self._arm()

    def send(self, kind: int, data: bytes, first: bool = True, last: bool = True) -> None:
        """As ``ISocket``."""
        if self._inbox is not None and not self._said:
            end = MESSAGE if last else FRAME
            self.other.hear(len(data) + OVERHEAD, "socket_received", kind, data, first, end)

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        """As ``ISocket``."""
        if self._inbox is None or self._said:
            return
        self._said = True
        self.other.hear(0, "socket_closed", code, reason)
        if self.other._said:
            self.hear(0, "socket_lost")
            self.other.hear(0, "socket_lost")

    def part(self) -> None:
        """As ``IOriginSocket``."""
        self.close(NORMAL)

    def abort(self) -> None:
        """As ``ISocket``."""
        if self._inbox is None:
            return
        self._stop()
        self.other.hear(0, "socket_lost")
        self.other.resume()

    def pause(self) -> None:
        """As ``ISocket``."""
        self._paused = True

    def resume(self) -> None:
        """As ``ISocket``."""
        self._paused = False
        self._arm()

    def refresh(self) -> None:
        """As ``IOriginSocket``; who lives here speaks whenever he likes."""

    # ---- what the other end says ---------------------------------------------------------------------------

    def hear(self, size: int, method: str, *values: Any) -> None:
        """The owner is to be told, soon."""
        if self._inbox is not None:
            self._inbox.append((size, method, values))
            self._waiting += size
            self._arm()

    def _arm(self) -> None:
        if self._inbox and not (self._turn or self._paused or self._owner is None):
            self._turn = True
            self._reactor.callLater(0, self._tell)

    def _tell(self) -> None:
        """Tell what has come up to now; what comes meanwhile waits for the next turn."""
        self._turn = False
        crowded = self.crowded
        for _ in range(len(self._inbox or ())):
            if self._paused or not self._inbox:
                break
            size, method, values = self._inbox.popleft()
            self._waiting -= size
            owner = self._owner
            if method == "socket_lost":
                self._stop()
            self._call(owner, method, *values)
        if crowded and not self.crowded:
            self.other._drained()
        self._arm()

    def _drained(self) -> None:
        if self._inbox is not None and self._owner is not None:
            self._call(self._owner, "socket_drained")

    def _call(self, owner: Any, method: str, *values: Any) -> None:
        """Of an owner with a bug the connection ends."""
        try:
            getattr(owner, method)(*values)
        except Exception:
            self._stats.failure("origin")
            if self._inbox is not None:
                self.abort()
                self._call(owner, "socket_lost")

    def _stop(self) -> None:
        self._owner = self._inbox = None
        self._waiting = 0
