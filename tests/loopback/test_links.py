"""What holds ask by themselves, against real backends: ways, failover, connections (grip 10, 13.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from pushpin_tw.destinations import MAX_DIRECT, Origins
from pushpin_tw.errors import FilterError
from pushpin_tw.grip.terms import LinkRequest
from pushpin_tw.proxy.refetch import Place, Refetch
from pushpin_tw.routing.rewrite import Rewriter
from pushpin_tw.routing.table import RouteTable
from pushpin_tw.routing.uri import Uri
from pushpin_tw.service import target_types
from pushpin_tw.testing.services import LentServices
from tests.pure.routing.tables import read
from tests.support.origin import Asked, ScriptedOrigin, hold, reply
from tests.support.running import refusing
from tests.support.waiting import turn, until


class NoFilters:
    """Knows none."""

    def response(self, channels: Any, meta: Any) -> None:
        return None


class Waiting:
    """A hold that waits for a link."""

    def __init__(self) -> None:
        self.call: Any = None
        self.instruct: Any = None
        self.body = b""
        self.error: Any = ()
        self.over = False

    def link_opened(self, instruct: Any) -> None:
        self.instruct = instruct

    def link_received(self, data: bytes) -> None:
        self.body += data

    def link_finished(self) -> None:
        self.over = True

    def link_failed(self, error: Any) -> None:
        self.over, self.error = True, error

    async def end(self) -> Waiting:
        """Wait for the last word."""
        await until(lambda: self.over, "the end of a link")
        return self


class LinkStage:
    """A backend, routes, and the links of holds; stands for the gateway."""

    def __init__(self, origin: ScriptedOrigin) -> None:
        self.backend = origin
        self.services = LentServices(reactor)
        self.tally = None
        self.origins = Origins(target_types(), self.services)
        self.table: RouteTable
        self.route(f"*,id=r {origin.address}")
        self.links = Refetch(
            self,
            Rewriter(self.services.config.proxy),
            NoFilters(),
            reactor.callLater,
            self.services.wheel,
            self.services.stats,
        )

    def route(self, lines: str) -> None:
        """Use these routes from now on."""
        routes, warnings = read(lines)
        assert warnings == []
        self.table = RouteTable(routes)

    def request(self, uri: str, *last_ids: tuple[str, str]) -> LinkRequest:
        """A link of a hold whose client came to the host ``h``."""
        route = self.table.routes[0]
        place = Place.of(route, route.targets[0], Uri("http", "h", None, b"/", None))
        return LinkRequest(place, uri, last_ids)

    def follow(self, uri: str, *last_ids: tuple[str, str]) -> Waiting:
        """Follow a link."""
        waiting = Waiting()
        waiting.call = self.links.follow(self.request(uri, *last_ids), waiting, 0)
        return waiting

    async def ask(self, uri: str, body: bytes = b"", limit: int = 100) -> Any:
        """What a filter is told."""
        outcomes: list[Any] = []
        self.links.ask(self.request(uri), [(b"Sub-Meta", b"{}")], body, limit, outcomes.append)
        await until(lambda: bool(outcomes), "a filter's answer")
        return outcomes[0]


@pytest_twisted.async_yield_fixture
async def links() -> AsyncIterator[LinkStage]:
    """A backend that listens, and links that lead to it."""
    origin = await ScriptedOrigin.listen()
    stage = LinkStage(origin)
    yield stage
    stage.services.stop()
    await turn()
    await origin.stop()
    assert stage.services.stats.failures == []


@pytest_twisted.ensureDeferred
async def test_links_on_one_connection(links: LinkStage) -> None:
    links.backend.answers(hold("stream", body=b"one"), reply(body=b"two"))
    first = await links.follow("http://h/n", ("c", "1")).end()
    assert (first.instruct.mode, first.body, first.error) == ("stream", b"one", ())
    second = await links.follow("http://h/n").end()
    assert (second.instruct.mode, second.body) == ("none", b"two")
    asked = links.backend.requests[0]
    assert [name for name, _ in asked.headers] == ["Host", "Grip-Sig", "Grip-Feature", "Grip-Last"]
    assert (asked.method, asked.target, asked.body) == ("GET", "/n", b"")
    assert (asked.get("Host"), asked.get("Grip-Last")) == ("h", "c; last-id=1")
    assert len(links.backend.connections) == 1


@pytest_twisted.ensureDeferred
async def test_a_link_to_another_host_is_asked_there(links: LinkStage) -> None:
    """The route would lead to nobody."""
    links.backend.answers(reply(body=b"direct"))
    with refusing() as nobody:
        links.route(f"* {nobody}")
        waiting = await links.follow(f"http://{links.backend.address}/n?x").end()
    assert waiting.body == b"direct"
    assert (links.backend.requests[0].get("Host"), links.backend.requests[0].target) == (
        links.backend.address,
        "/n?x",
    )


@pytest_twisted.ensureDeferred
async def test_untrusted_targets_have_untrusted_links(links: LinkStage) -> None:
    links.backend.answers(reply(body=b"secret"))
    links.route(f"* {links.backend.address},untrusted")
    waiting = await links.follow(f"http://{links.backend.address}/n").end()
    assert (waiting.body, waiting.error) == (b"", None)
    outcome = await links.ask(f"http://{links.backend.address}/f")
    assert outcome.detail == "filter error: network request failed: general error"
    links.links.gone(links.request(f"http://{links.backend.address}/g"))
    await turn()
    assert links.backend.requests == []


@pytest_twisted.ensureDeferred
async def test_the_next_target_is_asked(links: LinkStage) -> None:
    links.backend.answers(reply(body=b"second"))
    with refusing() as nobody:
        links.route(f"* {nobody} {links.backend.address}")
        assert (await links.follow("http://h/n").end()).body == b"second"


@pytest_twisted.ensureDeferred
async def test_the_test_target_answers_links(links: LinkStage) -> None:
    links.route("* test")
    waiting = await links.follow("http://h/stream?channel=x").end()
    assert (waiting.instruct.channels[0].name, waiting.body) == ("x", b"[stream opened]\n")


@pytest_twisted.ensureDeferred
async def test_nobody_answers(links: LinkStage) -> None:
    with refusing() as nobody:
        links.route(f"* {nobody}")
        assert (await links.follow("http://h/n").end()).error is None
        outcome = await links.ask("http://h/f")
    assert isinstance(outcome, FilterError)
    assert outcome.detail == "filter error: network request failed: connection refused"


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
@pytest_twisted.ensureDeferred
async def test_a_backend_that_breaks_off(links: LinkStage, sent: bytes) -> None:
    def breaks_off(asked: Asked) -> None:
        asked.write(sent)
        asked.close()

    links.backend.answers(breaks_off)
    waiting = await links.follow("http://h/n").end()
    assert (waiting.body, waiting.error) == (sent[-4:], None)
    outcome = await links.ask("http://h/f")
    assert outcome.detail == "filter error: network request failed: disconnected"


@pytest_twisted.ensureDeferred
async def test_grip_136_equal_links_at_the_same_time(links: LinkStage) -> None:
    """Another query is another link, deliberately."""
    links.backend.answers(lambda asked: None)
    same = [links.follow("http://h/n?u=1") for _ in range(3)]
    other = links.follow("http://h/n?u=2")
    await links.backend.request(2)
    for asked in links.backend.requests:
        asked.write(reply(body=asked.target.encode()))
    assert {(await one.end()).body for one in same} == {b"/n?u=1"}
    assert (await other.end()).body == b"/n?u=2"
    assert len(links.backend.requests) == 2


@pytest_twisted.ensureDeferred
async def test_the_last_one_that_goes_ends_the_request(links: LinkStage) -> None:
    links.backend.answers(lambda asked: None)
    first, second = links.follow("http://h/n"), links.follow("http://h/n")
    asked = await links.backend.request(1)
    first.call.cancel()
    second.call.cancel()
    await asked.gone()


@pytest_twisted.ensureDeferred
async def test_a_slow_client_slows_the_backend(links: LinkStage) -> None:
    links.backend.answers(reply(body=bytes(8_000_000)))
    waiting = links.follow("http://h/n")
    await until(lambda: waiting.body != b"", "the beginning")
    waiting.call.pause()
    for _ in range(50):
        await turn()
    assert len(waiting.body) < 4_000_000
    waiting.call.resume()
    assert len((await waiting.end()).body) == 8_000_000


@pytest_twisted.ensureDeferred
async def test_a_gone_link(links: LinkStage) -> None:
    links.backend.answers(reply(status="404 Not Found", body=b"whatever"))
    links.links.gone(links.request("http://h/g?x=1", ("c", "1")))
    asked = await links.backend.request(1)
    assert (asked.method, asked.target, asked.body) == ("POST", "/g?x=1", b"")
    assert [name for name, _ in asked.headers] == ["Host", "Grip-Sig", "Grip-Feature", "Content-Length"]
    assert asked.get("Content-Length") == "0"


@pytest_twisted.ensureDeferred
async def test_a_filter_asks(links: LinkStage) -> None:
    links.backend.answers(reply("Action: send", body=b"new"))
    status, headers, body = await links.ask("http://h/f", b"old")
    assert (status, (b"Action", b"send") in headers, body) == (200, True, b"new")
    asked = links.backend.requests[0]
    assert (asked.method, asked.body, asked.get("Sub-Meta")) == ("POST", b"old", "{}")
    outcome = await links.ask("http://h/f", limit=2)
    assert outcome.detail == "filter error: network response exceeded 2 bytes"


@pytest_twisted.ensureDeferred
async def test_hosts_of_links_are_not_remembered_for_ever(links: LinkStage) -> None:
    route = links.table.routes[0]
    for number in range(MAX_DIRECT + 10):
        target = read(f"* h{number}:80")[0][0].targets[0]
        assert links.origins.direct(target) is links.origins.direct(target)
    assert len(links.origins._direct) == MAX_DIRECT
    links.origins.keep([route])
    assert len(links.origins._direct) == MAX_DIRECT
