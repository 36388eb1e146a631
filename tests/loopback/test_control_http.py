"""The control API's server on real sockets (grip 14, 17.9); broker and log are lists."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from zope.interface.verify import verifyObject

from pushpin_tw.extensions import IPublishSource
from pushpin_tw.grip.item import Item
from pushpin_tw.publish.http import IDLE_TIMEOUT, MAX_SERVED, ControlService, HttpControl
from pushpin_tw.smallhttp import LINGER
from pushpin_tw.testing.services import LentServices
from tests.support.clock import StillClock
from tests.support.rawclient import RawClient
from tests.support.waiting import turn, until

case = pytest_twisted.ensureDeferred

R, S = "http-response", "http-stream"


class Broker:
    """Who gets the items."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.recovered = 0
        self.broken = False
        self.congested = False

    def accept(self, items: list[Item]) -> None:
        if self.broken:
            raise RuntimeError("broken")
        self.items += items

    def recover(self) -> None:
        self.recovered += 1


class Desk:
    """A control API that runs, and what a test wants to see of it."""

    def __init__(self, handler: str, address: str) -> None:
        self.clock = StillClock()
        self.broker = Broker()
        text = f"[handler]\npush_in_http_addr={address}\n{handler}\n"
        self.services = LentServices(reactor, self.clock, text)
        self.stats = self.services.stats
        service = HttpControl(port=0).service(self.services.config, self.broker, self.services)
        assert service is not None
        self.service: ControlService = service

    async def connect(self) -> RawClient:
        assert self.service.address is not None
        return await RawClient.connect(self.service.address)

    async def ask(self, request: str, body: str | bytes = b"") -> bytes:
        """The answer to a request, up to the close; LF in the head stands for CRLF."""
        client = await self.connect()
        data = body if isinstance(body, bytes) else body.encode()
        client.send(request.replace("\n", "\r\n").encode() + data)
        return await rest(client)

    async def post(self, body: str | bytes, path: str = "/publish", *headers: str) -> bytes:
        data = body if isinstance(body, bytes) else body.encode()
        lines = [f"POST {path} HTTP/1.1", "Host: x", *headers, f"Content-Length: {len(data)}", "", ""]
        return await self.ask("\n".join(lines), data)


async def rest(client: RawClient) -> bytes:
    """Everything up to the close."""
    await client.wait_for(lambda: client.lost or None, "the end of the connection")
    return client.take(len(client.unread))


@asynccontextmanager
async def desk(handler: str = "", address: str = "127.0.0.1") -> AsyncIterator[Desk]:
    opened = Desk(handler, address)
    opened.service.startService()
    try:
        yield opened
    finally:
        stopped = opened.service.stopService()
        if stopped is not None:
            await stopped
        opened.services.stop()
        assert opened.clock.getDelayedCalls() == []
        await turn()


def answer(
    status: str, text: str, kind: str = "text/plain", version: str = "HTTP/1.1", first: str = ""
) -> bytes:
    return (
        f"{version} {status}\r\n{first}Content-Type: {kind}\r\nConnection: close\r\n"
        f"Content-Length: {len(text) + 1}\r\n\r\n{text}\n"
    ).encode()


def bad(text: str) -> bytes:
    return answer("400 Bad Request", text)


ROOT = answer("200 OK", "Pushpin API")
PUBLISHED = answer("200 OK", "Published")
PUBLISHED_JSON = answer("200 OK", '{"message":"Published"}', "application/json")
UPDATED = answer("200 OK", "Updated")
NOT_FOUND = answer("404 Not Found", "Not Found")
NOT_ACCEPTABLE = answer(
    "406 Not Acceptable", "Not Acceptable. Supported formats are text/plain and application/json."
)
NEEDS_LENGTH = answer("411 Length Required", "Request requires Content-Length.")
NO_HEADER = bad("Failed to parse request header.")
TOO_LARGE = bad("Request header too large.")
BAD_LENGTH = bad("Bad Content-Length.")


def not_allowed(method: str) -> bytes:
    return answer("405 Method Not Allowed", f"Method not allowed: {method}.", first="Allow: POST\r\n")


HEADS = [
    ("grip-178", "GET / HTTP/1.1\nHost: x\n\n", ROOT),
    ("grip-178-double", "GET // HTTP/1.1\n\n", ROOT),
    ("grip-181-empty", "GET / HTTP/1.1\nAccept:\n\n", NOT_ACCEPTABLE),
    ("grip-181-case", "GET / HTTP/1.1\nAccept: Text/Plain\n\n", NOT_ACCEPTABLE),
    ("grip-181-path", "GET /no HTTP/1.1\nAccept: text/html\n\n", NOT_ACCEPTABLE),
    ("grip-182", "GET /publish HTTP/1.1\n\n", not_allowed("GET")),
    ("grip-182-json", "DELETE /recover/ HTTP/1.1\naccept: application/json\n\n", not_allowed("DELETE")),
    ("grip-183", "GET /publish?x=1 HTTP/1.1\n\n", NOT_FOUND),
    ("grip-183-slashes", "GET /publish// HTTP/1.1\n\n", NOT_FOUND),
    ("grip-183-star", "OPTIONS * HTTP/1.1\n\n", NOT_FOUND),
    ("grip-193-post", "POST /publish HTTP/1.1\n\n", NEEDS_LENGTH),
    ("grip-193-lower-case-method", "get / HTTP/1.1\n\n", NEEDS_LENGTH),
    ("grip-193-chunked-post", "POST /publish HTTP/1.1\nTransfer-Encoding: chunked\n\n", NEEDS_LENGTH),
    ("grip-193-chunked-get", "GET / HTTP/1.1\nTransfer-Encoding: chunked\n\n", NEEDS_LENGTH),
    ("grip-194", "POST /publish HTTP/1.1\nContent-Length: 1000001\n\n", bad("Request body too large.")),
    ("grip-196", "GET / HTTP/1.0\n\n", answer("200 OK", "Pushpin API", version="HTTP/1.0")),
    ("other-version", "GET / HTTP/2.0\n\n", ROOT),
    ("head-has-a-body", "HEAD / HTTP/1.1\n\n", ROOT),
    ("behind-a-get", "GET / HTTP/1.1\n\nGET / HTTP/1.1\n\n", ROOT),
    ("garbage", "\x16\x03\x01\n\n", NO_HEADER),
    ("empty-line-first", "\nGET / HTTP/1.1\n\n", NO_HEADER),
    ("no-version", "GET /\n\n", NO_HEADER),
    ("four-words", "GET / HTTP/1.1 x\n\n", NO_HEADER),
    ("no-target", "GET  HTTP/1.1\n\n", NO_HEADER),
    ("no-colon", "GET / HTTP/1.1\nHost\n\n", NO_HEADER),
    ("fold", "GET / HTTP/1.1\nHost: x\n foo: bar\n\n", NO_HEADER),
    ("space-before-colon", "GET / HTTP/1.1\nHost : x\n\n", NO_HEADER),
    ("control-character", "GET / HTTP/1.1\nHost: \x01\n\n", NO_HEADER),
    ("length-word", "POST /recover HTTP/1.1\nContent-Length: abc\n\n", BAD_LENGTH),
    ("length-empty", "POST /recover HTTP/1.1\nContent-Length:\n\n", BAD_LENGTH),
    ("length-sign", "POST /recover HTTP/1.1\nContent-Length: +2\n\nab", BAD_LENGTH),
    ("length-negative", "POST /recover HTTP/1.1\nContent-Length: -1\n\n", BAD_LENGTH),
    ("lengths-differ", "POST /recover HTTP/1.1\nContent-Length: 2\nContent-Length: 3\n\nab", BAD_LENGTH),
    ("lengths-agree", "POST /recover HTTP/1.1\nContent-Length: 2\nContent-Length: 2\n\nab", UPDATED),
    (
        "more-than-announced",
        "POST /recover HTTP/1.1\nContent-Length: 2\n\nabc",
        bad("Request body exceeded Content-Length."),
    ),
    (
        "more-than-announced-1.0",
        "POST /recover HTTP/1.0\nContent-Length: 2\n\nabc",
        bad("Request body exceeded Content-Length.").replace(b"1.1", b"1.0", 1),
    ),
    ("recover-body", "POST /recover HTTP/1.1\nContent-Length:  2 \n\nab", UPDATED),
]


@pytest.mark.parametrize(
    ("request_", "expected"), [head[1:] for head in HEADS], ids=[head[0] for head in HEADS]
)
@case
async def test_heads(request_: str, expected: bytes) -> None:
    async with desk() as control:
        assert await control.ask(request_) == expected
        assert control.stats.failures == []


PUBLISHES = [
    ("grip-179", '{"items":[]}', ["Accept: application/json"], PUBLISHED_JSON),
    ("grip-180-json", '{"items":[]}', ["Accept: text/plain, application/json"], PUBLISHED_JSON),
    ("grip-180-text", '{"items":[]}', ["Accept: application/json;q=1, text/plain;q=0"], PUBLISHED),
    ("grip-180-any", '{"items":[]}', ["Accept: application/*, */*;q=0.1, image/png"], PUBLISHED),
    ("grip-180-lines", '{"items":[]}', ["Accept: image/png", "accept: application/*"], PUBLISHED_JSON),
    ("grip-181-html", '{"items":[]}', ["Accept: text/html"], NOT_ACCEPTABLE),
    ("grip-184-word", "nojson", [], bad("Body is not valid JSON.")),
    ("grip-184-empty", "", [], bad("Body is not valid JSON.")),
    ("grip-184-scalar", '"x"', [], bad("Body is not valid JSON.")),
    ("grip-184-more", '{"items":[]}x', [], bad("Body is not valid JSON.")),
    ("grip-185-array", "[]", [], bad("Invalid format.")),
    ("grip-185-none", "{}", [], bad("Invalid format: object does not contain 'items'")),
    ("grip-185-null", '{"items":null}', [], bad("Invalid format: object contains 'items' with wrong type")),
    (
        "grip-188",
        '{"items":[{"channel":"c","http-response":{"action":"bogus"}}]}',
        ["Accept: application/json"],
        bad("Invalid format: "),
    ),
    (
        "c228",
        '{"items":[{"channel":"c","http-response":{"body":"","headers":{"a\\r\\nb":"c"}}}]}',
        [],
        bad("Invalid format: 'http-response' contains invalid header name"),
    ),
]


@pytest.mark.parametrize(
    ("body", "headers", "expected"), [entry[1:] for entry in PUBLISHES], ids=[entry[0] for entry in PUBLISHES]
)
@pytest.mark.parametrize("path", ["/publish", "/publish/"])
@case
async def test_publishing(path: str, body: str, headers: list[str], expected: bytes) -> None:
    async with desk() as control:
        assert await control.post(body, path, *headers) == expected
        assert control.broker.items == []


def items(*channels: str) -> str:
    return json.dumps({"items": [{"channel": channel, S: {"content": "x"}} for channel in channels]})


@case
async def test_publishers_are_refused_while_too_many_items_wait() -> None:
    async with desk() as control:
        control.broker.congested = True
        answer = await control.post(items("a"))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"nothing was published.\n")
        control.broker.congested = False
        assert await control.post(items("b")) == PUBLISHED
        assert [item.channel for item in control.broker.items] == ["b"]


@case
async def test_items_reach_the_broker_in_order() -> None:
    async with desk() as control:
        assert await control.post(items("a", "b")) == PUBLISHED
        assert await control.post(items("c")) == PUBLISHED
        assert [item.channel for item in control.broker.items] == ["a", "b", "c"]


@case
async def test_grip_186_one_bad_item_publishes_none() -> None:
    async with desk() as control:
        body = '{"items":[{"channel":"c","http-stream":{"content":"x"}},{}]}'
        expected = bad("Invalid format: publish item object does not contain 'channel'")
        assert await control.post(body) == expected
        assert control.broker.items == []


@case
async def test_grip_198_recover() -> None:
    async with desk() as control:
        assert await control.post("", "/recover") == UPDATED
        assert await control.post("", "/recover/", "Accept: application/json") == answer(
            "200 OK", '{"message":"Updated"}', "application/json"
        )
        assert control.broker.recovered == 2


@case
async def test_a_bug_costs_the_publisher_a_500_and_nobody_else() -> None:
    async with desk() as control:
        control.broker.broken = True
        assert await control.post(items("a")) == answer("500 Internal Server Error", "Internal Server Error")
        (failure,) = control.stats.failures
        assert failure.startswith("http control server: ") and "RuntimeError: broken" in failure
        control.broker.broken = False
        assert await control.post(items("b")) == PUBLISHED


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
@case
async def test_bytes_may_come_one_by_one(newline: str) -> None:
    async with desk() as control:
        client = await control.connect()
        body = items("caf\u00e9")
        head = ["POST /publish HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "", ""]
        for byte in (newline.join(head) + body).encode():
            client.send(bytes([byte]))
            await turn()
        assert await rest(client) == PUBLISHED
        assert [item.channel for item in control.broker.items] == ["caf\u00e9"]


@pytest.mark.parametrize(("filler", "expected"), [(9977, ROOT), (9978, TOO_LARGE), (50_000, TOO_LARGE)])
@case
async def test_grip_195_the_limit_of_a_head(filler: int, expected: bytes) -> None:
    request = f"GET / HTTP/1.1\nX: {'a' * filler}\n\n"
    assert len(request.replace("\n", "\r\n")) == filler + 23
    async with desk() as control:
        assert await control.ask(request) == expected


@case
async def test_grip_195_a_head_that_does_not_end_is_refused_while_it_comes() -> None:
    async with desk("push_in_http_max_headers_size=100") as control:
        client = await control.connect()
        client.send(b"GET / HTTP/1.1\r\nX: ".ljust(100, b"x"))
        assert await rest(client) == TOO_LARGE


@case
async def test_grip_194_the_limit_of_a_body() -> None:
    async with desk("push_in_http_max_body_size=20") as control:
        assert await control.post('{"items":[]}'.ljust(20)) == PUBLISHED
        assert await control.post('{"items":[]}'.ljust(21)) == bad("Request body too large.")


@case
async def test_grip_194_a_refusal_arrives_although_the_body_is_not_read() -> None:
    async with desk() as control:
        client = await control.connect()
        client.send(b"POST /publish HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000)
        assert await rest(client) == bad("Request body too large.")


@case
async def test_a_refused_client_that_goes_on_is_cut() -> None:
    async with desk() as control:
        client = await control.connect()
        client.transport.readConnectionLost = lambda reason: None  # it does not close when we do
        client.send(b"POST / HTTP/1.1\r\n\r\n")
        await client.expect(NEEDS_LENGTH)
        client.send(b"more")
        await turn()
        assert not client.lost
        control.clock.advance(LINGER + 1)
        await client.closed()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST /publish HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"])
@case
async def test_an_idle_client_is_closed(sent: bytes) -> None:
    async with desk() as control:
        client = await control.connect()
        client.send(b"")
        control.clock.advance(IDLE_TIMEOUT - 1)
        client.send(sent)
        await control.ask("GET / HTTP/1.1\n\n")  # what was sent before has come
        control.clock.advance(IDLE_TIMEOUT - 1 if sent else 0)
        await turn()
        assert not client.lost
        control.clock.advance(2)
        assert await rest(client) == b""


@case
async def test_grip_197_continue() -> None:
    async with desk() as control:
        client = await control.connect()
        head = "POST /publish HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 12\r\n\r\n"
        client.send(head.encode())
        await client.expect(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(b'{"items":[]}')
        assert await rest(client) == PUBLISHED


@pytest.mark.parametrize(
    "request_",
    [
        "POST /recover HTTP/1.0\nExpect: 100-continue\nContent-Length: 2\n\nab",
        "POST /recover HTTP/1.1\nExpect: 100-continue\nContent-Length: 0\n\n",
        "POST /recover HTTP/1.1\nExpect: something\nContent-Length: 2\n\nab",
    ],
)
@case
async def test_grip_197_nobody_is_told_to_continue_without_need(request_: str) -> None:
    async with desk() as control:
        found = await control.ask(request_)
        assert found.replace(b"HTTP/1.0", b"HTTP/1.1") == UPDATED


@case
async def test_grip_197_a_refusal_comes_instead_of_continue() -> None:
    async with desk() as control:
        request = "POST /publish HTTP/1.1\nExpect: 100-continue\nContent-Length: 1000001\n\n"
        assert await control.ask(request) == bad("Request body too large.")


@case
async def test_no_more_than_128_are_served_at_once() -> None:
    async with desk() as control:
        idle = await gatherResults([connection(control) for _ in range(MAX_SERVED)])
        late = await gatherResults([connection(control) for _ in range(5)])
        for client in late:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
        idle[0].send(b"GET /")
        for _ in range(20):
            await turn()
        assert not any(client.unread for client in late)
        idle[0].drop()
        for client in late:  # each makes room for the next
            assert await rest(client) == ROOT
        assert await control.ask("GET / HTTP/1.1\n\n") == ROOT
        for client in idle:
            client.drop()


def connection(control: Desk) -> object:
    return ensureDeferred(control.connect())


def batch(control: Desk, count: int) -> list[socket.socket]:
    """Clients that have connected before the server looks: it accepts them in one go."""
    assert control.service.address is not None
    return [socket.create_connection(control.service.address) for _ in range(count)]


@case
async def test_clients_beyond_the_limit_wait_unread() -> None:
    async with desk() as control:
        idle = await gatherResults([connection(control) for _ in range(MAX_SERVED - 1)])
        first, gone, last = batch(control, 3)
        with first, gone, last:
            for client in (gone, last):
                client.sendall(b"POST /recover HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            first.sendall(b"GET /")
            for _ in range(20):
                await turn()
            assert control.broker.recovered == 0
            gone.close()
            first.close()
            await until(lambda: control.broker.recovered == 2, "the clients that waited")
            await until(lambda: bool(select.select([last], [], [], 0)[0]), "an answer")
            assert last.recv(1000) == UPDATED
        for client in idle:
            client.drop()


def cut(client: socket.socket) -> bool:
    """Whether the connection ends, one way or the other, without an answer."""
    client.settimeout(5)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@case
async def test_stopping_cuts_who_is_there() -> None:
    async with desk() as control:
        clients = await gatherResults([connection(control) for _ in range(MAX_SERVED - 1)])
        late = batch(control, 5)
        for _ in range(5):
            await turn()
        await control.service.stopService()
        for client in clients:
            await client.closed()
        for client in late:
            with client:
                assert cut(client)
        assert control.service.address is None
        assert control.service.stopService() is None
        assert control.stats.failures == []


@case
async def test_start_is_logged() -> None:
    async with desk() as control:
        assert control.service.address is not None
        host, port = control.service.address
        assert host == "127.0.0.1"
        assert control.stats.notes == [("info", f"http control server: 127.0.0.1:{port}")]
    async with desk(address="::1") as control:
        assert control.service.address is not None
        assert control.stats.notes == [("info", f"http control server: [::1]:{control.service.address[1]}")]
        assert await control.ask("GET / HTTP/1.1\n\n") == ROOT


def test_the_source_is_a_plugin_that_can_be_off() -> None:
    source = HttpControl()
    verifyObject(IPublishSource, source)
    services = LentServices(reactor, StillClock())
    assert source.service(services.config, Broker(), services) is None
    on = LentServices(reactor, StillClock(), "[handler]\npush_in_http_port=5561\n")
    assert isinstance(source.service(on.config, Broker(), on), ControlService)
