"""Requests that one worker takes and another one answers: both ends of each.

Used by ``siblings``.  An ``Errand`` is where the client is, a ``Caller`` where the answer comes from: to
whoever answers he is the client.  Both send words with a number and values behind it, and know nothing of how
these travel.  What is passed on is small (see the limits of SockJS), so that nobody has to wait for anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from zope.interface import implementer

from pushpin_tw.edge.parting import retire
from pushpin_tw.interfaces import IParting, IResponderOwner
from pushpin_tw.routing.uri import Uri
from pushpin_tw.wire.headers import Header
from pushpin_tw.wire.message import Request

pack_request = attrgetter(*(field.name for field in fields(Request)))
"""The values of a ``Request``, which ``Request(*values)`` is made of again."""
pack_uri = attrgetter(*(field.name for field in fields(Uri)))
"""The same for a ``Uri``."""

Say = Callable[..., None]
"""``say(word, number, *values)``."""


@implementer(IParting, IResponderOwner)
class Errand:
    """A client's request that another worker answers."""

    __slots__ = ("_number", "_refuse", "_responder", "_say", "over")

    def __init__(self, number: int, responder: Any, say: Say, refuse: Callable[[], None]) -> None:
        """``refuse()`` answers the client when nobody else will."""
        self._number = number
        self._responder = responder
        self._say = say
        self._refuse = refuse
        self.over = False
        """Whether the answer is complete, or nobody wants it."""
        responder.own(self)

    def hear(self, word: str, values: Sequence[Any]) -> None:
        """A part of the answer."""
        responder = self._responder
        if word == "write":
            responder.write(*values)
            responder.flush()
        elif word == "start":
            responder.start(*values)
            responder.flush()
        else:
            self.over = True
            {"respond": responder.respond, "finish": responder.finish, "abort": responder.abort}[word](
                *values
            )

    def fail(self) -> None:
        """There will be no (more) answer."""
        self.over = True
        if self._responder.started:
            self._responder.abort()
        else:
            self._refuse()

    def drained(self) -> None:
        """As ``IResponderOwner``: an answer ends before a slow client matters."""

    def lost(self) -> None:
        """As ``IResponderOwner``."""
        self.over = True
        self._say("lost", self._number)

    def retire(self) -> None:
        """As ``IParting``."""
        self._say("retire", self._number)


class Caller:
    """The way back to a client of another worker: what ``edge.sockjs`` uses of ``IResponder``."""

    __slots__ = ("_number", "_owner", "_pieces", "_say", "minor", "over", "started")

    def __init__(self, number: int, minor: int, say: Say) -> None:
        self._number = number
        self._say = say
        self._owner: Any = None
        self._pieces: list[bytes] = []
        self.minor = minor
        self.started = False
        self.over = False
        """Whether the answer is complete, or the client has gone."""

    def own(self, owner: Any) -> None:
        """As ``IResponder``."""
        if not self.over:
            self._owner = owner

    def respond(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        """As ``IResponder``."""
        if self.started:
            self.abort()
        elif not self.over:
            self.started = True
            self._end("respond", status, reason, list(headers), body)

    def start(self, status: int, reason: bytes, headers: Sequence[Header], length: int | None) -> None:
        """As ``IResponder``."""
        if not self.started and not self.over:
            self.started = True
            self._say("start", self._number, status, reason, list(headers), length)

    def write(self, data: bytes) -> None:
        """As ``IResponder``."""
        if not self.over:
            self._pieces.append(data)

    def flush(self) -> None:
        """As ``IResponder``."""
        if self._pieces:
            data, self._pieces = b"".join(self._pieces), []
            self._say("write", self._number, data)

    def finish(self) -> None:
        """As ``IResponder``."""
        self._end("finish")

    def abort(self) -> None:
        """As ``IResponder``."""
        self._end("abort")

    def _end(self, word: str, *values: Any) -> None:
        if self.over:
            return
        self.flush()
        self.over = True
        self._owner = None
        self._say(word, self._number, *values)

    def crash(self) -> None:
        """Whoever was to answer cannot."""
        owner = self._owner
        self.abort()
        if owner is not None:
            owner.lost()

    def lost(self) -> None:
        """The client has gone, or the worker with it."""
        owner, self._owner = self._owner, None
        self.over = True
        self._pieces = []
        if owner is not None:
            owner.lost()

    def retire(self) -> None:
        """Its worker wants to let it go."""
        retire(self._owner)
