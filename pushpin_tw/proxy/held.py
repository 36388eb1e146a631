"""From instructions to a hold: what the origin asked for, applied to one client (grip 2.1, 8.1, 9.1).

Used by the exchange when a response with instructions is complete.  The only place where holds are made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pushpin_tw.errors import GripError, InstructError
from pushpin_tw.grip.content import decode_body
from pushpin_tw.grip.instruct import Instruct, allows_long_body, parse_instruct
from pushpin_tw.grip.template import Templates
from pushpin_tw.grip.terms import MAX_BODY
from pushpin_tw.hold.base import HoldRoom
from pushpin_tw.hold.response import ResponseHold
from pushpin_tw.hold.stream import StreamHold
from pushpin_tw.routing.uri import Uri
from pushpin_tw.wire.headers import get_all, split_list, without
from pushpin_tw.wire.message import Request, Response
from pushpin_tw.wire.render import bodiless


@dataclass(frozen=True, slots=True)
class Retry:
    """A held request, kept so that it can be run again (grip 11.5)."""

    request: Request
    body: bytes
    route_id: str
    last_ids: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Acceptance:
    """Instructions that were accepted for one exchange."""

    acceptor: Acceptor
    instruct: Instruct
    channels: tuple[str, ...]
    bucket: str
    debug: bool
    uri: Uri
    rerun: bool
    """Whether a hold has run the request again."""
    retry: Retry | None
    """For a response hold; None when the request was not complete when it was answered."""

    def hold(self, responder: Any) -> None:
        """Let the client wait as the instructions say."""
        if self.instruct.mode == "response":
            self._hold_response(responder)
            return
        instruct = self.instruct
        responder.start(instruct.status, instruct.reason, instruct.headers, None)
        if instruct.body:
            responder.write(instruct.body)
        responder.flush()
        self.hold_stream(responder)

    def _hold_response(self, responder: Any) -> None:
        acceptor = self.acceptor
        if self.retry is None:
            responder.persistent = False  # the rest of the request is never read
        template = acceptor.templates.find(
            self.instruct, responder.minor, responder.persistent, responder.head_only
        )
        self._tell()
        hold = ResponseHold(acceptor.room, responder, self.channels, self.bucket, template, self.retry)
        hold.begin(self.instruct.timeout)

    def hold_stream(self, responder: Any) -> None:
        """The head and the initial body are written: from here on the client listens."""
        instruct = self.instruct
        if responder.head_only or bodiless(instruct.status):
            responder.finish()
            return
        problem = self._position_problem()
        if problem:
            if self.debug:
                responder.write(f"\n\n{problem}\n".encode())
            responder.finish()
            return
        room = self.acceptor.room
        self._tell()
        StreamHold(room, responder, self.channels, self.bucket, instruct.keep_alive).begin()

    def _tell(self) -> None:
        stats = self.acceptor.room.stats
        if stats.wants_holds:
            uri = str(self.uri)
            for channel in self.channels:
                stats.held(uri, channel, self.rerun)

    def _position_problem(self) -> str:
        """A stream with a position on a channel needs a link to catch up from (grip 10.5)."""
        if self.instruct.next_link is None:
            for channel in self.instruct.channels:
                if channel.prev_id is not None:
                    return f"channel '{channel.name}' specifies prev-id, but no next link found"
        return ""


class Acceptor:
    """Turns responses with instructions into acceptances."""

    def __init__(self, room: HoldRoom) -> None:
        self.room = room
        self.templates = Templates()

    def accept(self, exchange: Any, response: Response, body: bytes) -> Acceptance:
        """Read the instructions of a complete response.

        :raises InstructError: they cannot be followed.
        """
        coding = _coded(response)
        if coding and body:
            try:
                body = decode_body(b", ".join(coding), body, MAX_BODY)
            except GripError as error:
                raise InstructError(error.detail) from None
        return self._accept(exchange, parse_instruct(response, body, str(exchange.uri)))

    def accept_long(self, exchange: Any, response: Response) -> Acceptance | None:
        """Read the instructions of a response whose body is too long to be kept, and start the client's
        response; None when such a body is not allowed (grip 2), or could not be decoded within bounds.

        :raises InstructError: they cannot be followed.
        """
        if not allows_long_body(response) or _coded(response):
            return None
        unfiltered = without(response.headers, (b"grip-expose-headers",))
        head = replace(response, headers=unfiltered)
        acceptance = self._accept(exchange, parse_instruct(head, b"", str(exchange.uri)))
        instruct = acceptance.instruct
        exchange.responder.start(instruct.status, instruct.reason, instruct.headers, None)
        return acceptance

    def _accept(self, exchange: Any, instruct: Instruct) -> Acceptance:
        route, target = exchange.route, exchange.target
        names = [route.prefix + channel.name for channel in instruct.channels]
        names = list(dict.fromkeys(names))[: self.room.subscription_max]
        channels = tuple(dict.fromkeys([*target.subs, *names]))
        return Acceptance(
            self,
            instruct,
            channels,
            route.id if route.explicit_id else "",
            exchange.debug,
            exchange.uri,
            exchange.retry,
            exchange.kept_for_retry() if instruct.mode == "response" else None,
        )


def _coded(response: Response) -> list[bytes]:
    """The codings of the body."""
    return split_list(get_all(response.headers, b"content-encoding"))
