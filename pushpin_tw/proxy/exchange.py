"""One proxied HTTP request: its targets in turn, the relay, and the way into a hold (proxy 0, 4.6, 7.2).

Made by the gateway.  Stands between the client's responder and the origin's call, as sink of both, until the
response is complete or a hold has taken the client over; then nothing refers to it any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import HttpError, InstructError, OriginError, OriginTimeout, OriginUnreachable
from pushpin_tw.grip.terms import MAX_BODY
from pushpin_tw.interfaces import NEVER, IBodySink, IOriginSink, IResponderOwner
from pushpin_tw.proxy import answers
from pushpin_tw.proxy.decision import MAX_REQUEST_BODY, PREFETCH, Decision, decide, relayed_headers
from pushpin_tw.proxy.held import Acceptance, Retry
from pushpin_tw.proxy.sharing import Crowd
from pushpin_tw.proxy.within import NOT_YET, guarded
from pushpin_tw.routing.route import Route, Target
from pushpin_tw.routing.uri import Uri
from pushpin_tw.wire.message import Request, Response


@implementer(IBodySink, IOriginSink, IResponderOwner)
class Exchange:
    """A request on its way."""

    __slots__ = (
        "_asked",
        "_body",
        "_body_done",
        "_call",
        "_gathered",
        "_kept",
        "_logged",
        "_received",
        "_response",
        "_streaming",
        "counts",
        "crowd",
        "gateway",
        "last_ids",
        "request",
        "rerun",
        "responder",
        "route",
        "since",
        "target",
        "trusted",
        "uri",
    )

    def __init__(
        self, gateway: Any, request: Request, uri: Uri, route: Route, body: Any, responder: Any, counts: Any
    ) -> None:
        self.counts = counts
        self.gateway = gateway
        self.request = request
        self.uri = uri
        self.route = route
        self.responder = responder
        self.target: Target | None = None
        self.since = 0.0
        """When the target was asked."""
        self.rerun: Retry | None = None
        self.trusted = False
        """Whether the client is a GRIP proxy itself."""
        self.last_ids: tuple[tuple[str, str], ...] = ()
        self.crowd: Crowd | None = None
        """Everybody for whom a shared answer is; the exchange that asks speaks to it, not to its client."""
        self._body = body
        """Where the request's body comes from; None when there is none, or the rest is not wanted."""
        self._body_done = body is None
        self._kept = bytearray()
        self._received = self._asked = 0
        self._call: Any = None
        self._response: Response | None = None
        self._gathered: bytearray | None = None
        self._streaming: Acceptance | None = None
        self._logged = False

    @guarded
    def start(self) -> None:
        """Ask the first target, as soon as enough of the body is here."""
        self.responder.own(self)
        if self._body is None:
            self._ask_or_join()
        else:
            self._body.begin(self)

    @guarded
    def run_again(self, retry: Retry) -> None:
        """Start with a body that was kept."""
        self.rerun = retry
        self.last_ids = retry.last_ids
        self.responder.own(self)
        self._kept += retry.body
        self._received = len(retry.body)
        self._ask_or_join()

    # ---- the client's body (IBodySink) ---------------------------------------------------------------------

    @guarded
    def body_received(self, data: bytes) -> None:
        """Keep what may be needed again, pass on what an origin waits for."""
        self._received += len(data)
        if self.counts is not None:
            self.counts.uploaded(len(data), self._call is not None)
        if self._call is None or self._replayable:
            self._kept += data
        else:
            self._kept.clear()
        if self._call is not None:
            self._call.write(data)
            if self._call is not None and self._call.congested and self._body is not None:
                self._body.pause()
        elif self._received >= PREFETCH:
            self._ask()

    @property
    def _replayable(self) -> bool:
        """Whether what has come of the body is kept for failover, holds and re-runs."""
        return self._received <= MAX_REQUEST_BODY

    @guarded
    def body_finished(self) -> None:
        """The request is complete."""
        self._body_done = True
        if self._call is not None:
            self._call.finish()
        else:
            self._ask_or_join()

    # ---- asking --------------------------------------------------------------------------------------------

    def _ask_or_join(self) -> None:
        """All of the request has come: perhaps somebody asks the same at the moment."""
        sharing = self.gateway.sharing
        if sharing is None or not sharing.join(self):
            self._ask()

    @property
    def kept(self) -> bytes:
        """The request's body, when all of it has come."""
        return bytes(self._kept)

    def enter(self, crowd: Crowd, asks: bool) -> None:
        """The client belongs to ``crowd`` from now on; this exchange speaks to that one, or, when it is not
        the one that asks, to nobody."""
        self.crowd = crowd
        self._body = None
        self.responder = crowd if asks else None

    def _ask(self) -> None:
        """Send the request to the next target."""
        target = self.route.targets[self._asked]
        self._asked += 1
        self.target = target
        length = self._received if self._body_done else self.request.length
        try:
            prepared = self.gateway.rewrite(self, target, length)
        except OriginError as error:
            self._fail(error)
            return
        except HttpError as error:
            self._finish_with(error.status, error.text)
            return
        self._call = NOT_YET
        call = self.gateway.origins.origin(target).fetch(prepared, self)
        if self.counts is not None:
            self.counts.asked(prepared)
        if self._call is not NOT_YET:
            call.cancel()  # it has answered or failed already; harmless then
            return
        self._call = call
        if self._response is not None:
            self.settled()
        self._repeat(call)

    def _repeat(self, call: Any) -> None:
        """Tell the origin what has come of the body so far."""
        if self._kept:
            kept = bytes(self._kept)
            if not self._replayable:
                self._kept.clear()
            if self.counts is not None:
                self.counts.server_content_sent += len(kept)
            call.write(kept)
        if self._call is not call:
            return  # it has answered meanwhile, or the next target was asked
        if self._body_done:
            call.finish()
        elif self._body is not None:
            if call.congested:
                self._body.pause()
            elif self._asked > 1:
                self._body.resume()  # the target before may have been too slow

    @guarded
    def origin_drained(self) -> None:
        """The origin takes more of the body."""
        if self._body is not None and not self._body_done:
            self._body.resume()

    # ---- the origin's answer (IOriginSink) -----------------------------------------------------------------

    @guarded
    def responded(self, response: Response) -> None:
        """The head: relay or gather?"""
        self._response = response
        self.gateway.answered(self, response)
        self._abandon_body()
        decision = decide(
            response,
            grip=not (self.route.no_grip or self.trusted),
            replayable=self._replayable and (self.request.length or 0) <= MAX_REQUEST_BODY,
        )
        if decision is Decision.GATHER:
            self._gathered = bytearray()
        elif decision is Decision.TOO_LARGE:
            self._finish_with(400, answers.REQUEST_TOO_LARGE)
        else:
            if self._call is not NOT_YET:
                self._kept.clear()  # nobody else is asked any more, and the response may take long
            self.responder.start(response.status, response.reason, relayed_headers(response), response.length)

    def _abandon_body(self) -> None:
        """An early answer: the rest of the request is not read (proxy 4.6)."""
        body, self._body = self._body, None
        if body is not None and not self._body_done:
            body.abandon()

    @guarded
    def received(self, data: bytes) -> None:
        """Body bytes: pass them on, or gather them."""
        if self.counts is not None:
            self.counts.server_content_received += len(data)
        if self._gathered is None:
            self.responder.write(data)
            return
        self._gathered += data
        if len(self._gathered) > MAX_BODY:
            self._overflow(bytes(self._gathered))

    def _overflow(self, body: bytes) -> None:
        assert self._response is not None and self.target is not None
        try:
            self._streaming = self.gateway.acceptor.accept_long(self, self._response)
        except InstructError as error:
            self._refuse_instruct(error)
            return
        if self._streaming is None:
            self._fail_with(f"GRIP instruct response too large from {self.target.label}")
            return
        self._gathered = None
        self.responder.write(body)

    @guarded
    def settled(self) -> None:
        """All that came was passed on."""
        responder = self.responder
        if self._gathered is None:
            responder.flush()
            if responder.congested and self._call is not None:
                self._call.pause()

    @guarded
    def drained(self) -> None:
        """The client takes more."""
        if self._call is not None:
            self._call.resume()

    @guarded
    def finished(self) -> None:
        """The origin has said everything."""
        self._call = None
        if self._gathered is not None:
            self._accept(bytes(self._gathered))
        elif self._streaming is not None:
            self._log("accept")
            self.responder.flush()
            self._hand_on(self._streaming, Acceptance.hold_stream)
        else:
            self._log("code", size=self.responder.sent)
            self.responder.finish()
        self._release()

    def _accept(self, body: bytes) -> None:
        assert self._response is not None
        try:
            acceptance = self.gateway.acceptor.accept(self, self._response, body)
        except InstructError as error:
            self._refuse_instruct(error)
            return
        instruct = acceptance.instruct
        if acceptance.plain:
            whole = (instruct.status, instruct.reason, instruct.headers, instruct.body)
            self._log("code", instruct.status, answers.body_size(self.responder, *whole))
            self.responder.respond(*whole)
            return
        self._log("accept")
        self._hand_on(acceptance, Acceptance.hold)

    def _hand_on(self, acceptance: Acceptance, hold: Callable[[Acceptance, Any], None]) -> None:
        """Let the client wait, or everybody, each with a hold of its own."""
        if self.crowd is None:
            hold(acceptance, self.responder)
        else:
            self.crowd.hold(acceptance, hold)

    @guarded
    def failed(self, error: Exception) -> None:
        """No (more) answer: the next target, or an error."""
        self._call = None
        self.gateway.unanswered(self)
        another = self._asked < len(self.route.targets) and self._replayable and self._response is None
        # After so long a silence the client's own limit, the same, is over as well (proxy 8.6).
        if self.responder.started or isinstance(error, OriginTimeout):
            self._log("error")
            self.responder.abort()
            self._release()
        elif another and isinstance(error, OriginUnreachable):
            self._ask()
        else:
            self._fail(error)

    # ---- the end -------------------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        tried = [target.label for target in self.route.targets[: self._asked]]
        self._finish_with(*answers.origin_error(error, tried, self.debug))

    def _fail_with(self, detail: str) -> None:
        self.gateway.unanswered(self)
        self._finish_with(502, detail if self.debug else answers.ORIGIN_FAILED)

    def _refuse_instruct(self, error: InstructError) -> None:
        self._fail_with(f"Failed to parse accept instructions: {error.detail}")

    @property
    def debug(self) -> bool:
        """Whether the client may be told what went wrong."""
        return bool(self.route.debug or self.gateway.debug)

    def _finish_with(self, status: int, text: str) -> None:
        self._stop_call()
        self._abandon_body()
        self._log("code", status, answers.text_size(self.responder, status, text))
        answers.answer(self.responder, status, text)
        self._release()

    def _stop_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _release(self) -> None:
        """Give up the responder, which was answered or handed on: nothing is said or heard any more."""
        self.responder = None

    @guarded
    def lost(self) -> None:
        """The client has gone."""
        self._body = None
        self._stop_call()
        self._log("error")
        self._release()

    def crash(self) -> None:
        """Within an ``except`` block: log the bug, end the exchange as well as may be."""
        self.gateway.stats.failure("exchange")
        responder = self.responder
        self._release()
        self._stop_call()
        if responder.started:
            responder.abort()
            self._log("error")
        else:
            answers.answer(responder, 502, answers.ORIGIN_FAILED)
            self._log("code", 502, answers.text_size(responder, 502, answers.ORIGIN_FAILED))

    def kept_for_retry(self) -> Retry | None:
        """What is needed to run this request again; None when the origin has answered before all of it had
        come."""
        if not self._body_done:
            return None
        asked = NEVER if self.rerun is None else self.rerun.asked
        return Retry(self.request, bytes(self._kept), self.route.id, self.last_ids, asked=asked)

    def _log(self, outcome: str, status: int = 0, size: int = 0) -> None:
        """Write the one line of this request; when something goes wrong behind it, it stays the only one."""
        if self._logged:
            return
        self._logged = True
        if not status and self._response is not None:
            status = self._response.status
        (self.gateway if self.crowd is None else self.crowd).log(self, outcome, status, size)
