"""Who takes part when holds ask origins by themselves: sinks, backends, and time that stands still.

Everything that happens is written into one script, as in ``scene``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushpin_tw.errors import FilterError
from pushpin_tw.grip.terms import Channel, LinkRequest
from pushpin_tw.interfaces import ILinkCall, ILinks, ILinkSink
from pushpin_tw.proxy.refetch import Place, Refetch
from pushpin_tw.routing.rewrite import Rewriter
from pushpin_tw.routing.uri import request_uri
from pushpin_tw.testing.services import RecordedStats
from pushpin_tw.wheel import Wheel
from pushpin_tw.wire.message import OriginRequest, Request
from tests.pure.clock import Clock
from tests.pure.proxy.scene import Backend, Broken, Call, Script
from tests.pure.routing.tables import Section, table


class Upper:
    """Content for the backends' bodies: upper case, an end, and what is refused."""

    def __init__(self) -> None:
        self.unfinished = False

    def feed(self, data: bytes) -> bytes:
        self.unfinished = data.endswith(b"?")
        if b"!" in data:
            raise FilterError("filter error: build-id: no")
        return data.upper()

    def finish(self) -> bytes:
        if self.unfinished:
            raise FilterError("filter error: build-id: not all")
        return b"."


class Filters:
    """Knows one filter for responses."""

    def response(self, channels: Any, meta: Any) -> Upper | None:
        for channel in channels:
            assert isinstance(channel, Channel)
            if "upper" in channel.filters:
                return Upper()
            if "broken" in channel.filters:
                raise Broken
        return None


@implementer(ILinkSink)
class Sink:
    """A hold that waits for a link."""

    def __init__(self, script: Script, name: str) -> None:
        self.script = script
        self.name = name
        self.call: Any = None
        self.over = False
        self.broken = False
        self.on_data: Callable[[], object] = lambda: None
        self.on_end: Callable[[], object] = lambda: None
        verifyObject(ILinkSink, self)

    def _say(self, what: str | bytes) -> None:
        assert not self.over
        self.script.say(self.name, what)
        if self.broken:
            self.over = True
            raise Broken

    def link_opened(self, instruct: Any) -> None:
        names = ",".join(channel.name for channel in instruct.channels)
        self._say(f"{instruct.mode} {names}".strip())

    def link_received(self, data: bytes) -> None:
        self._say(data)
        self.on_data()

    def link_finished(self) -> None:
        self._say("end")
        self.over = True
        self.on_end()

    def link_failed(self, error: Any) -> None:
        self._say("failed" if error is None else f"failed: {error.detail}")
        self.over = True
        self.on_end()

    def goes(self) -> None:
        """Its client has gone."""
        self.over = True
        self.call.cancel()


class AbortingSink(Sink):
    """One that can be told to let its client go, even if it fails in that, too."""

    def abort(self) -> None:
        self.script.say(self.name, "abort")
        raise Broken


class LinkScene:
    """Holds, backends, and the links between them."""

    def __init__(self, routes: str = "* a:1", section: Section | None = None, tally: Any = None) -> None:
        self.script = Script()
        self.tally = tally
        self.clock = Clock(1_000_000.0)
        self.stats = RecordedStats()
        self.wheel = Wheel(self.clock, lambda: self.stats.failure("timer"))
        self.backends: dict[str, Backend] = {}
        self.origins = self
        self.table = table(routes)
        self.targets: list[Any] = []
        """Those that were reached without a route."""
        self.links = Refetch(
            self, Rewriter(section or Section()), Filters(), self.clock.callLater, self.wheel, self.stats
        )
        verifyObject(ILinks, self.links)

    def origin(self, target: Any) -> Backend:
        """As ``service.Origins``."""
        return self[target.label]

    def direct(self, target: Any) -> Backend:
        """As ``service.Origins``."""
        self.targets.append(target)
        return self[target.label]

    def __getitem__(self, label: str) -> Backend:
        return self.backends.setdefault(label, Backend(self.script, label.partition(":")[0]))

    @property
    def a(self) -> Call:
        """The latest request to ``a:1``."""
        return self["a:1"].call

    def place(self, uri: str = "http://h/", target: int = 0) -> Place:
        """Where a client came in that asked for ``uri``."""
        scheme, _, rest = uri.partition("://")
        host, _, path = rest.partition("/")
        request = Request(
            b"GET", b"/" + path.encode(), 1, [], host=host.encode(), secure=scheme in ("https", "wss")
        )
        request.websocket = scheme in ("ws", "wss")
        asked = request_uri(request, False)
        route = self.table.route(asked.host, asked.path, request.websocket, asked.secure)
        assert route is not None
        return Place.of(route, route.targets[target], asked)

    def request(
        self, uri: str = "http://h/n", *last_ids: tuple[str, str], place: Place | None = None
    ) -> LinkRequest:
        """A link."""
        return LinkRequest(place or self.place(), uri, last_ids)

    def follows(
        self,
        name: str = "x",
        request: LinkRequest | None = None,
        after: int = 0,
        kind: type[Sink] = Sink,
    ) -> Sink:
        """A hold follows a link."""
        sink = kind(self.script, name)
        before = list(self.script.lines)
        sink.call = self.links.follow(request or self.request(), sink, after)
        assert self.script.lines == before, "nobody is called within follow()"
        verifyObject(ILinkCall, sink.call)
        return sink

    def turn(self) -> None:
        """The reactor goes round."""
        self.clock.advance(0.001)

    def said(self) -> list[str]:
        """What was said since the last time; nothing has gone wrong."""
        assert self.stats.failures == []
        return self.script.take()

    def crashed(self, times: int = 1) -> list[str]:
        """The same, when so many bugs have shown themselves."""
        assert len(self.stats.failures) == times, self.stats.failures
        assert all("Broken" in failure for failure in self.stats.failures)
        self.stats.failures.clear()
        return self.script.take()

    def linked(self) -> list[str]:
        """The log's lines about links."""
        found = [event for event in self.stats.events if event[0] == "linked"]
        self.stats.events.clear()
        return [f"{method.decode()} {uri} code={status} {size}" for _, method, uri, status, size in found]


def fields(request: OriginRequest) -> list[str]:
    """The headers of a request, signatures left out."""
    return [
        f"{name.decode()}: {value.decode()}" if name != b"Grip-Sig" else "Grip-Sig"
        for name, value in request.headers
        if name != b"Grip-Feature"
    ]
