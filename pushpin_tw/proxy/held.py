"""From instructions to a hold: what the origin asked for, applied to one client (grip 2.1, 8.1, 9.1).

Used by the exchange when a response with instructions is complete.  The only place where holds are made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pushpin_tw.errors import FilterError, GripError, InstructError
from pushpin_tw.grip.content import decode_body
from pushpin_tw.grip.instruct import Instruct, allows_long_body, parse_instruct
from pushpin_tw.grip.template import Templates
from pushpin_tw.grip.terms import MAX_BODY
from pushpin_tw.hold.base import HoldRoom
from pushpin_tw.hold.inbox import LastIds, Origin
from pushpin_tw.hold.linked import LinkedStreamHold
from pushpin_tw.hold.response import ResponseHold, TailoredResponseHold
from pushpin_tw.hold.stream import StreamHold
from pushpin_tw.interfaces import NEVER
from pushpin_tw.proxy.dressed import shed, undress, undress_stream
from pushpin_tw.proxy.subrequest import Place
from pushpin_tw.routing.crossorigin import Dress
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
    last_ids: LastIds
    dress: Dress | None = None
    """How the client wants to be answered, which its request does not say any more."""
    asked: float = NEVER
    """When the request was run again."""

    def since(self, last_ids: LastIds, now: float) -> Retry:
        """The same, of a client that has seen this; what is known of other channels stays."""
        if not last_ids:
            return self
        return replace(self, last_ids=tuple({**dict(self.last_ids), **dict(last_ids)}.items()), asked=now)

    def of(self, request: Request) -> Retry:
        """The same, of another client who has asked the same."""
        # replace() would cost three times as much, for each client of a crowd.
        return Retry(request, self.body, self.route_id, self.last_ids, self.dress, self.asked)


@dataclass(slots=True)
class Acceptance:
    """Instructions that were accepted for one exchange."""

    acceptor: Acceptor
    instruct: Instruct
    channels: tuple[str, ...]
    """Complete names."""
    origin: Origin | None
    """For a tailored hold; None when an express one will do."""
    bucket: str
    debug: bool
    uri: Uri
    rerun: bool
    """Whether a hold has run the request again."""
    retry: Retry | None
    """For a response hold; None when the request was not complete when it was answered."""
    problem: str = ""
    """Why a stream cannot begin although its instructions are sound."""

    def of(self, request: Request, rerun: bool) -> Acceptance:
        """The same, for another client who has asked the same."""
        retry = None if self.retry is None else self.retry.of(request)
        fixed = (self.acceptor, self.instruct, self.channels, self.origin, self.bucket, self.debug, self.uri)
        return Acceptance(*fixed, rerun, retry, self.problem)

    @property
    def plain(self) -> bool:
        """Whether nobody is held: the response that the instructions make is all there is."""
        return self.instruct.mode == "none" and self.instruct.next_link is None

    def hold(self, responder: Any) -> None:
        """Let the client wait as the instructions say."""
        if self.instruct.mode == "response":
            self._hold_response(*undress(responder))
            return
        instruct = self.instruct
        responder = undress_stream(responder)
        responder.start(instruct.status, instruct.reason, instruct.headers, None)
        if instruct.body:
            responder.write(instruct.body)
        responder.flush()
        self.hold_stream(responder)

    def _hold_response(self, responder: Any, dress: Dress | None) -> None:
        acceptor, instruct, retry = self.acceptor, self.instruct, self.retry
        if retry is None:
            responder.persistent = False  # the rest of the request is never read
        elif dress is not None:
            retry = replace(retry, dress=dress)
        template = acceptor.templates.find(
            instruct, responder.minor, responder.persistent, responder.head_only, dress
        )
        parts = (acceptor.room, responder, self.channels, self.bucket, template, retry)
        hold: ResponseHold
        if self.origin is None:
            hold = ResponseHold(*parts)
        else:
            hold = TailoredResponseHold(*parts, self.origin)
            if hold.follow(instruct) and retry is not None:
                acceptor.room.refetch.rerun(hold.position(), responder)
                return
        hold.debug = self.debug
        self._tell()
        hold.begin(instruct.timeout)

    def hold_stream(self, responder: Any) -> None:
        """The head and the initial body are written: from here on the client listens."""
        instruct, responder = self.instruct, shed(responder)
        if responder.head_only or bodiless(instruct.status):
            responder.finish()
        elif self.problem:
            if self.debug:
                responder.write(f"\n\n{self.problem}\n".encode())
            responder.finish()
        elif self.origin is not None:
            linked = LinkedStreamHold(self.acceptor.room, responder, self.bucket, self.origin)
            linked.debug = self.debug
            linked.begin(instruct)
        else:
            self._tell()
            room = self.acceptor.room
            hold = StreamHold(room, responder, self.channels, self.bucket, instruct.keep_alive)
            hold.debug = self.debug
            hold.begin()

    def _tell(self) -> None:
        stats = self.acceptor.room.stats
        if stats.wants_holds:
            uri = str(self.uri)
            for channel in self.channels:
                stats.held(uri, channel, self.rerun)


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
        acceptance = self._accept(exchange, parse_instruct(response, body, str(exchange.uri)))
        if acceptance.origin is not None and acceptance.instruct.mode != "response":
            self._filter(acceptance)  # an express hold has no filters
        return acceptance

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

    def _filter(self, acceptance: Acceptance) -> None:
        """Let the filters of the channels see the body (grip 13.4)."""
        instruct = acceptance.instruct
        content = self.room.filters.response(instruct.channels, instruct.meta)
        if content is None:
            return
        try:
            body = content.feed(instruct.body) + content.finish()
        except FilterError as error:
            if acceptance.plain:
                raise InstructError(error.detail) from None
            acceptance.problem = error.detail
            body = b""
        acceptance.instruct = replace(instruct, body=body)

    def _accept(self, exchange: Any, instruct: Instruct) -> Acceptance:
        route, target = exchange.route, exchange.target
        if len(instruct.channels) > self.room.subscription_max:
            instruct = replace(instruct, channels=instruct.channels[: self.room.subscription_max])
        names = [route.prefix + channel.name for channel in instruct.channels]
        origin = None
        if self._tailored(instruct):
            origin = Origin(
                Place.of(route, target, exchange.uri),
                str(exchange.uri),
                route.prefix,
                target.subs,
                instruct.gone_link,
            )
        return Acceptance(
            self,
            instruct,
            tuple(dict.fromkeys([*target.subs, *names])),
            origin,
            route.id if route.explicit_id else "",
            exchange.debug,
            exchange.uri,
            exchange.rerun is not None,
            exchange.kept_for_retry() if instruct.mode == "response" else None,
        )

    def _tailored(self, instruct: Instruct) -> bool:
        """Whether a hold has to look at each item for itself, or to ask the origin by itself."""
        if instruct.gone_link is not None:
            return True
        if instruct.next_link is not None and instruct.mode != "response":
            return True
        for channel in instruct.channels:
            if channel.prev_id is not None:
                return True
            if channel.filters and self.room.filters.chain(channel.filters) is not None:
                return True
        return False


def _coded(response: Response) -> list[bytes]:
    """The codings of the body."""
    return split_list(get_all(response.headers, b"content-encoding"))
