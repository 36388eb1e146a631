"""Workers that answer each other's requests: real clients of one, real sockets between them."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushpin_tw.edge.parting import parts
from pushpin_tw.interfaces import IParting, IResponderOwner, ISiblings
from pushpin_tw.routing.uri import Uri, request_uri
from pushpin_tw.testing.services import LentServices
from pushpin_tw.wire.message import Request
from pushpin_tw.workers.errands import Caller, Errand
from pushpin_tw.workers.siblings import AGAIN, PATIENCE, Meeting, Siblings
from tests.support.edge import PLAIN, EdgeHouse, Visit, edge
from tests.support.rawclient import RawClient
from tests.support.waiting import turn, until

case = pytest_twisted.ensureDeferred
HERE, THERE = b"d", b"a"
"""Names that belong to the first and to the second of two."""


@implementer(IResponderOwner, IParting)
class Asked:
    """A request as the worker got it that is to answer, and what it was told since."""

    def __init__(self, route_id: str, uri: Uri, request: Request, body: bytes, responder: Any) -> None:
        self.route_id = route_id
        self.uri = uri
        self.request = request
        self.body = body
        self.responder = responder
        self.events: list[str] = []
        responder.own(self)

    def drained(self) -> None:
        raise AssertionError("nobody writes so much")

    def lost(self) -> None:
        self.events.append("lost")

    def retire(self) -> None:
        self.events.append("retire")


class Pair:
    """Two workers; clients come to the first, and all that they ask belongs to the second."""

    def __init__(self, house: EdgeHouse) -> None:
        self.house = house
        self.meeting = Meeting()
        self.asked: list[Asked] = []
        self.fails: type[Exception] | None = None
        """What answering raises, from now on."""
        self.refused = 0
        self.first = Siblings(0, 2, self.meeting.directory, house.services, self._answer)
        self.second = self.another()
        house.answer = self._pass_on

    def another(self) -> Siblings:
        """The second, or its successor."""
        return Siblings(1, 2, self.meeting.directory, self.house.services, self._answer)

    def _pass_on(self, visit: Visit, key: bytes = THERE) -> None:
        def refuse() -> None:
            self.refused += 1
            visit.reply(b"nobody is there\n", 503)

        uri = request_uri(visit.request, False)
        assert self.first.pass_on(key, "r", uri, visit.request, b"body", visit.responder, refuse)

    def _answer(self, *arguments: Any) -> None:
        self.asked.append(Asked(*arguments))
        if self.fails is not None:
            raise self.fails

    async def ask(self, target: str = "/a?b=c", *headers: str) -> RawClient:
        """A client with a request."""
        client = await self.house.client()
        client.request(target, *headers)
        return client

    async def served(self, number: int = 1) -> Asked:
        """The request of that number has come to the second."""
        await until(lambda: len(self.asked) >= number, f"request {number}")
        return self.asked[number - 1]


@asynccontextmanager
async def pair(start: bool = True, failures: int = 0) -> AsyncIterator[Pair]:
    """Two workers, cleared away afterwards."""
    async with edge(failures=failures) as house:
        workers = Pair(house)
        workers.first.start()
        if start:
            workers.second.start()
        try:
            yield workers
        finally:
            workers.first.stop()
            workers.second.stop()
            left = os.listdir(workers.meeting.directory)
            workers.meeting.stop()
        assert not left
        assert not os.path.exists(workers.meeting.directory)


@case
async def test_each_name_belongs_to_one() -> None:
    async with pair() as workers:
        assert verifyObject(ISiblings, workers.first)
        uri, request = Uri("http", "a", None, b"/", None), Request(b"GET", b"/", 1, [])
        for siblings, key in [(workers.first, HERE), (workers.second, THERE)]:
            assert not siblings.pass_on(key, "r", uri, request, b"", None, lambda: None)


@case
async def test_only_the_user_may_call() -> None:
    async with pair() as workers:
        directory = workers.meeting.directory
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        assert [stat.S_IMODE(os.stat(f"{directory}/{name}").st_mode) for name in "01"] == [0o600] * 2


@case
async def test_the_whole_request_and_the_answer_at_once() -> None:
    async with pair() as workers:
        client = await workers.ask("/a/%41?b=c", "X-Any: thing", "X-Any: other")
        asked = await workers.served()
        visit = workers.house.visits[0]
        assert asked.request == visit.request
        assert asked.request.peer == "127.0.0.1"
        assert (asked.uri, asked.route_id) == (request_uri(visit.request, False), "r")
        assert asked.body == b"body"
        assert not asked.responder.started
        asked.responder.respond(201, b"Made", [(b"X-Some", b"value")], b"text")
        assert asked.responder.started
        answer = await client.read_response()
        assert (answer.line, answer.get("X-Some"), answer.body) == ("HTTP/1.1 201 Made", "value", b"text")
        # The connection goes on, and what comes late is for nobody.
        asked.responder.respond(500, b"Late", [], b"")
        asked.responder.own(asked)
        client.request("/second")
        (await workers.served(2)).responder.respond(200, b"OK", [], b"2")
        assert (await client.read_response()).body == b"2"
        client.drop()
        await workers.house.settled()
        assert asked.events == []


@case
async def test_an_answer_in_pieces() -> None:
    async with pair() as workers:
        client = await workers.ask()
        responder = (await workers.served()).responder
        responder.start(200, b"OK", PLAIN, None)
        responder.start(500, b"Again", PLAIN, None)
        head = await client.read_head()
        assert (head.status, head.get("Transfer-Encoding")) == (200, "chunked")
        body = client.body(head)
        responder.write(b"one ")
        responder.write(b"two ")
        responder.flush()
        responder.flush()
        await body.expect(b"one two ")
        responder.write(b"three")
        responder.finish()
        responder.write(b"never")
        responder.flush()
        responder.start(200, b"OK", PLAIN, None)
        assert await body.rest() == b"three"


@pytest.mark.parametrize("end", ["abort", "respond"])
@case
async def test_an_answer_that_is_broken_off(end: str) -> None:
    async with pair() as workers:
        client = await workers.ask()
        responder = (await workers.served()).responder
        responder.start(200, b"OK", PLAIN, None)
        responder.write(b"half")
        responder.abort() if end == "abort" else responder.respond(500, b"Never", [], b"")
        await client.read_head()
        await client.expect(b"4\r\nhalf\r\n")
        await client.closed()


@case
async def test_a_client_that_leaves() -> None:
    async with pair() as workers:
        client = await workers.ask()
        asked = await workers.served()
        asked.responder.write(b"thrown away")
        client.drop()
        await until(lambda: bool(asked.events), "the word of it")
        asked.responder.flush()
        asked.responder.finish()
        asked.responder.abort()
        assert asked.events == ["lost"]
        await workers.house.settled()


@case
async def test_answers_that_cross_the_client_s_leaving() -> None:
    async with pair() as workers:
        client = await workers.ask()
        asked = await workers.served()
        workers.house.visits[0].responder.lost()  # as when its connection breaks
        asked.responder.respond(200, b"OK", [], b"too late")
        client.drop()
        await workers.house.settled()
        other = await workers.ask()
        (await workers.served(2)).responder.respond(200, b"OK", [], b"")
        assert (await other.read_response()).status == 200
        assert asked.events == []


@case
async def test_a_client_that_is_let_go() -> None:
    async with pair() as workers:
        client = await workers.ask()
        asked = await workers.served()
        responder = workers.house.visits[0].responder
        assert parts(responder._owner)
        assert not responder.retire()
        await until(lambda: bool(asked.events), "the word of it")
        assert asked.events == ["retire"]
        asked.responder.finish()
        await client.closed()


@pytest.mark.parametrize("begun", [False, True])
@case
async def test_a_worker_that_ends(begun: bool) -> None:
    async with pair() as workers:
        client = await workers.ask()
        responder = (await workers.served()).responder
        if begun:
            responder.start(200, b"OK", PLAIN, None)
            await client.read_head()
        workers.second.stop()
        if begun:
            await client.closed()
        else:
            assert (await client.read_response()).body == b"nobody is there\n"
        assert workers.refused == (not begun)


@case
async def test_a_worker_whose_clients_wait_elsewhere_ends() -> None:
    async with pair() as workers:
        await workers.ask()
        asked = await workers.served()
        workers.first.stop()
        await until(lambda: bool(asked.events), "the word of it")
        assert asked.events == ["lost"]


@case
async def test_a_successor_is_waited_for() -> None:
    async with pair(start=False) as workers:
        clients = [await workers.ask("/0"), await workers.ask("/1"), await workers.ask("/2")]
        await workers.house.visit(3)
        clients[1].drop()
        await workers.house.settled(2)
        workers.house.visits[0].responder.retire()  # nobody hears that
        workers.house.clock.advance(PATIENCE / 2)
        workers.second = workers.another()
        workers.second.start()
        workers.house.clock.pump([AGAIN] * 3)
        await workers.served(2)
        for asked in workers.asked:
            asked.responder.respond(200, b"OK", [], asked.uri.path)
        assert [(await clients[number].read_response()).body for number in (0, 2)] == [b"/0", b"/2"]
        assert not workers.refused


@case
async def test_but_not_for_ever() -> None:
    async with pair(start=False) as workers:
        client = await workers.ask()
        await workers.house.visit()
        steps = round(PATIENCE / AGAIN)
        workers.house.clock.pump([AGAIN] * (steps - 1))
        await turn()
        assert not workers.refused
        workers.house.clock.pump([AGAIN] * 5)
        assert (await client.read_response()).status == 503
        # Who leaves is not waited for.
        client.request("/again")
        await workers.house.visit(2)
        client.drop()
        await workers.house.settled()
        workers.house.clock.pump([AGAIN] * (steps + 5))
        assert workers.refused == 1


@case
async def test_a_stale_socket_does_not_matter() -> None:
    async with pair(start=False) as workers:
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(f"{workers.meeting.directory}/1")
        workers.second.start()
        client = await workers.ask()
        (await workers.served()).responder.respond(200, b"OK", [], b"")
        assert (await client.read_response()).status == 200


@case
async def test_a_bug_where_the_answer_is_made() -> None:
    async with pair(failures=1) as workers:
        workers.fails = ZeroDivisionError
        client = await workers.ask()
        await client.closed()
        assert workers.asked[0].events == ["lost"]
        assert "a request of another worker" in workers.house.stats.failures[0]


@case
async def test_an_answer_that_cannot_be_written() -> None:
    async with pair(failures=1) as workers:
        client = await workers.ask()
        asked = await workers.served()
        asked.responder.start(200, b"OK", [(b"X-Bad", b"a\r\nb")], None)
        assert (await client.read_response()).status == 503
        await until(lambda: bool(asked.events), "the word of it")
        assert asked.events == ["lost"]


@case
async def test_no_descriptors_are_left() -> None:
    class Full:
        """What ``accept`` meets at first."""

        def __init__(self, skt: socket.socket) -> None:
            self._socket = skt
            self.times = 0

        def accept(self) -> Any:
            self.times += 1
            if self.times == 1:
                raise OSError(24, "Too many open files")
            return self._socket.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._socket, name)

    async with pair() as workers:
        door = workers.second._door
        assert door is not None
        full = door._socket = Full(door._socket)  # type: ignore[assignment]
        client = await workers.ask()
        await until(lambda: bool(full.times), "an attempt")
        await turn()
        assert full.times == 1
        workers.house.clock.pump([AGAIN] * 3)
        (await workers.served()).responder.respond(200, b"OK", [], b"")
        assert (await client.read_response()).status == 200


def test_both_ends_are_what_they_are_taken_for() -> None:
    services = LentServices(reactor)

    class Client:
        def own(self, owner: Any) -> None:
            assert verifyObject(IResponderOwner, owner)
            assert verifyObject(IParting, owner)

    Errand(1, Client(), print, print).drained()
    Caller(1, 0, print).crash()
    services.stop()


def test_without_a_parent_they_clear_up() -> None:
    services, meeting = LentServices(reactor), Meeting()
    workers = [Siblings(number, 3, meeting.directory, services, print) for number in range(3)]
    for each in workers[:2]:
        each.start()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{meeting.directory}/2")
    for each in workers[:2]:
        each.stop(orphaned=True)
    assert not os.path.exists(meeting.directory)
    services.stop()
