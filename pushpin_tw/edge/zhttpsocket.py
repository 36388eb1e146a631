"""A WebSocket of a program over ZHTTP: the responder that can be switched, and the socket it becomes.

Made by ``edge.zhttp``.  What is said over the WebSocket is the business of ``zhttptalk``; published messages
come as frames and are taken out of them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from pushpin_tw.edge.parting import retire
from pushpin_tw.edge.websocket import COMPLAINT, DROPPED
from pushpin_tw.edge.zhttprequest import AskedRequest
from pushpin_tw.edge.zhttpsession import Inlet
from pushpin_tw.errors import WireError
from pushpin_tw.sockets import NORMAL, IClientSocket
from pushpin_tw.wire.headers import Header, is_token, is_value
from pushpin_tw.wire.message import Request
from pushpin_tw.wire.websocket import decode_frame
from pushpin_tw.wire.zhttp import CREDITS, Packet
from pushpin_tw.wire.zhttpasked import Question, rejection, response
from pushpin_tw.zhttptalk import Talk


@implementer(IClientSocket)
class AskedTalk(Talk):
    """The program's end."""

    __slots__ = ("_blamed",)

    form = False

    def __init__(self, line: AskedSocket, services: Any) -> None:
        super().__init__(line, services)
        self._blamed = False
        """That messages are dropped was logged."""

    def close(self, code: int | None = None, reason: bytes = b"") -> None:
        """As ``IClientSocket``."""
        super().close(NORMAL if code is None else code, reason)

    def deliver(self, data: bytes, parts: Sequence[bytes]) -> None:
        """As ``IClientSocket``."""
        limit = self._services.config.tw.socket_queue
        dropped = 0
        for part in parts:
            kind, message = decode_frame(part)
            if self.allowance.size and self.allowance.size + len(message) > limit:
                dropped += 1
            else:
                self.send(kind, message)
        if dropped:
            self._services.stats.count(DROPPED, dropped)
            if not self._blamed:
                self._blamed = True
                self._services.stats.note("info", COMPLAINT, "connmgr")

    def retire(self) -> bool:
        """Let the owner say CLOSE; whether it has."""
        retire(self._owner)
        return self._closing is not None


class AskedSocket(AskedRequest):
    """The way back to a program that wants a WebSocket: refuses in one packet, or switches."""

    __slots__ = ("_talk",)

    def __init__(self, inlet: Inlet, question: Question, request: Request) -> None:
        super().__init__(inlet, question, request)
        self._talk: AskedTalk | None = None

    def _acknowledge(self, packet: Packet) -> None:
        """The answer does that."""

    def _send(self) -> None:
        """Credits are for messages, so that a refusal needs none; it is not told before it is whole."""
        if self._finished and self._head is not None:
            self.say(rejection, *self._head, bytes(self._queue))
            self.leave()

    def switch(self, reason: bytes, headers: Sequence[Header], extensions: bytes) -> AskedTalk | None:
        """As ``IResponder``.

        :raises WireError: a header cannot stand in a message; nothing was sent then.
        """
        if not self.lives or self.started:
            return None
        if not is_value(reason) or not all(is_token(name) and is_value(value) for name, value in headers):
            raise WireError("a header that is none")
        lines = list(headers)
        if extensions:
            lines.append((b"Sec-WebSocket-Extensions", extensions))
        self.started = True
        self._release()
        talk = self._talk = AskedTalk(self, self.inlet.services)
        talk.allowance.grant(self._credits)
        self.say(response, 101, reason, lines, b"", False, CREDITS)
        return talk

    def heard(self, packet: Packet) -> None:
        """As ``Session``."""
        if self._talk is None:
            super().heard(packet)
        else:
            self._talk.heard(packet)

    def gone(self) -> None:
        """As ``Session``."""
        if self._talk is None:
            super().gone()
        else:
            self._talk.lose()
