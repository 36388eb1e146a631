"""The ``demo`` target: what it answers, and that it publishes as any backend would."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from twisted.internet import reactor

from pushpin_tw.origin.demo import MAX_TOGETHER, MAX_WAITING
from pushpin_tw.plugins.builtin import demo_target
from pushpin_tw.routing.route import Target
from pushpin_tw.testing.origins import RecordingSink
from pushpin_tw.testing.services import LentServices
from pushpin_tw.wire.events import CONTENT_TYPE, parse_events
from pushpin_tw.wire.headers import get
from pushpin_tw.wire.message import OriginRequest
from tests.loopback.originpeer import RawPeer
from tests.support.waiting import until

ACCEPTED = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nPublished\n"


class Setting:
    """The demo, and a peer in the place of the control API."""

    def __init__(self, control: RawPeer) -> None:
        self.control = control
        text = f"[handler]\npush_in_http_addr=127.0.0.1\npush_in_http_port={control.port}\n"
        self.services = LentServices(reactor, config_text=text)

    def ask(
        self, path: bytes, query: bytes | None = None, method: bytes = b"GET", events: bytes = b""
    ) -> RecordingSink:
        # An origin for each request: the counter belongs to the process, not to a line of the routes file.
        origin = demo_target.origin(Target(kind="demo"), self.services)
        sink = RecordingSink()
        headers = [(b"Content-Type", CONTENT_TYPE)] if events else []
        call = origin.fetch(OriginRequest(method, path, headers, path=path, query=query), sink)
        call.write(events)
        call.finish()
        assert sink.ended and sink.error is None and sink.disorder == []
        return sink


@pytest_twisted.async_yield_fixture
async def demo() -> AsyncIterator[Setting]:
    setting = Setting(await RawPeer.listen())
    yield setting
    setting.services.stop()
    await setting.control.stop()
    assert setting.services.stats.failures == []


def header(sink: RecordingSink, name: bytes) -> bytes | None:
    assert sink.response is not None
    return get(sink.response.headers, name)


@pytest_twisted.ensureDeferred
async def test_the_page(demo: Setting) -> None:
    sink = demo.ask(b"/")
    assert header(sink, b"content-type") == b"text/html; charset=utf-8"
    assert header(sink, b"cache-control") is None
    page = sink.body.decode()
    assert f"http://localhost:{demo.control.port}/publish/" in page
    assert "@PUBLISH@" not in page
    assert '"channel":"demo"' in page
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page), "nothing from elsewhere"


@pytest_twisted.ensureDeferred
async def test_the_shown_command_is_what_the_stream_waits_for(demo: Setting) -> None:
    page = demo.ask(b"/").body.decode()
    found = re.search(r"curl -d '([^']*)'", page)
    assert found is not None
    (item,) = json.loads(found[1])["items"]
    stream = demo.ask(b"/stream")
    assert header(stream, b"grip-channel") == item["channel"].encode()
    assert item["formats"] == {"http-stream": {"content": "data: hello\n\n"}}
    assert header(stream, b"grip-hold") == b"stream"
    assert header(stream, b"content-type") == b"text/event-stream"
    assert header(stream, b"grip-keep-alive") == rb":\n\n; format=cstring; timeout=20"
    assert stream.body.endswith(b"\n\n")


@pytest_twisted.ensureDeferred
async def test_the_counter(demo: Setting) -> None:
    demo.control.says(ACCEPTED)
    first = demo.ask(b"/counter")
    assert json.loads(first.body) == {"value": 0} and header(first, b"grip-hold") is None
    held = demo.ask(b"/counter", b"last=0")
    assert header(held, b"grip-hold") == b"response"
    assert header(held, b"grip-channel") == b"demo-counter; prev-id=0"
    assert json.loads(held.body) == {"value": 0}
    counted = demo.ask(b"/counter", method=b"POST")
    assert json.loads(counted.body) == {"value": 1}
    late = demo.ask(b"/counter", b"last=0")
    assert json.loads(late.body) == {"value": 1} and header(late, b"grip-hold") is None
    assert header(demo.ask(b"/counter", b"last=x"), b"grip-hold") is None


@pytest_twisted.ensureDeferred
async def test_counting_publishes(demo: Setting) -> None:
    demo.control.answer = None
    demo.ask(b"/counter", method=b"POST")
    link = await demo.control.link()
    await demo.control.until(lambda: link.received.endswith(b"}]}"), "what is published")
    head, _, body = link.received.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /publish/ HTTP/1.1\r\n")
    (item,) = json.loads(body)["items"]
    assert (item["channel"], item["id"], item["prev-id"]) == ("demo-counter", "1", "0")
    assert json.loads(item["formats"]["http-response"]["body"]) == {"value": 1}
    link.say(ACCEPTED)


def published(received: bytes) -> list[list[str]]:
    """The messages of each request to the control API."""
    bodies = [request.partition(b"\r\n\r\n")[2] for request in received.split(b"POST ")[1:]]
    return [
        [item["formats"]["ws-message"]["content"] for item in json.loads(body)["items"]] for body in bodies
    ]


@pytest_twisted.ensureDeferred
async def test_publishing_keeps_the_order(demo: Setting) -> None:
    demo.control.answer = None
    for _ in range(3):
        demo.ask(b"/chat", method=b"POST", events=b"OPEN\r\n")
    link = await demo.control.link()
    await demo.control.until(lambda: link.received.endswith(b"}]}"), "the first message")
    link.say(ACCEPTED)
    await demo.control.until(lambda: link.received.count(b"}]}") == 2, "all messages")
    assert published(link.received) == [["otter is here"], ["heron is here", "badger is here"]]
    assert len(demo.control.links) == 1
    link.say(ACCEPTED)


@pytest_twisted.ensureDeferred
async def test_only_so_much_waits(demo: Setting) -> None:
    demo.control.answer = None
    for _ in range(MAX_WAITING + 2):
        demo.ask(b"/chat", method=b"POST", events=b"OPEN\r\n")
    assert demo.services.stats.notes == [("warn", "demo: too much to publish")]
    link = await demo.control.link()
    for number in range(1, MAX_WAITING // MAX_TOGETHER + 2):
        await demo.control.until(lambda: link.received.count(b"}]}") == number, "a portion")  # noqa: B023
        link.say(ACCEPTED)
    counts = [len(portion) for portion in published(link.received)]
    assert counts == [1] + [MAX_TOGETHER] * (MAX_WAITING // MAX_TOGETHER)


@pytest_twisted.ensureDeferred
async def test_the_shown_opening_is_what_the_chat_says(demo: Setting) -> None:
    page = demo.ask(b"/").body.decode()
    shown = re.search(r'<pre id="opened">HTTP/1\.1 200 OK\n(.*?)\n\n(.*?)</pre>', page, re.S)
    assert shown is not None
    opened = demo.ask(b"/chat", method=b"POST", events=b"OPEN\r\n")
    for line in shown[1].encode().split(b"\n"):
        name, _, value = line.partition(b": ")
        assert header(opened, name.lower()) == value
    events = parse_events(shown[2].encode().replace(b"\n", b"\r\n") + b"\r\n")
    assert events == parse_events(opened.body)[:2]


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_logged(demo: Setting) -> None:
    demo.control.says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n")
    for number in (1, 2):
        demo.ask(b"/counter", method=b"POST")
        await until(lambda: len(demo.services.stats.notes) == number, "a line")  # noqa: B023
    assert demo.services.stats.notes[0] == ("warn", "demo: publishing was answered with 400")
    assert demo.services.stats.notes[1][1].startswith("demo: publishing failed: ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        (b"GET", b"/nothing", 404),
        (b"POST", b"/", 405),
        (b"DELETE", b"/counter", 405),
        (b"HEAD", b"/", 200),
        (b"POST", b"/chat", 400),
    ],
)
@pytest_twisted.ensureDeferred
async def test_other_requests(demo: Setting, method: bytes, path: bytes, status: int) -> None:
    sink = demo.ask(path, method=method)
    assert sink.response is not None and sink.response.status == status
    if status == 405:
        assert b"GET" in (header(sink, b"allow") or b"")
