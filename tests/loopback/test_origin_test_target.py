"""The ``test`` target, response by response (proxy 8.8)."""

from __future__ import annotations

import pytest
from twisted.internet import reactor

from pushpin_tw.origin.answering import Answer, AnsweringOrigin
from pushpin_tw.plugins.builtin import test_target
from pushpin_tw.routing.route import Target
from pushpin_tw.testing.origins import RecordingSink
from pushpin_tw.testing.services import LentServices
from pushpin_tw.wire.message import OriginRequest

TEXT = (b"Content-Type", b"text/plain")


def ask(
    path: bytes, query: bytes | None = None, method: bytes = b"GET", pieces: tuple[bytes, ...] = ()
) -> RecordingSink:
    services = LentServices(reactor)
    sink = RecordingSink()
    request = OriginRequest(method, b"/as-it-came", [], None, path=path, query=query)
    call = test_target.origin(Target(kind="test"), services).fetch(request, sink)
    for piece in pieces:
        call.write(piece)
    call.finish()
    assert sink.disorder == [] and services.stats.failures == [] and sink.ended
    services.stop()
    return sink


@pytest.mark.parametrize(
    ("path", "status", "reason", "body"),
    [
        (b"/", 200, b"OK", b"Hello from the Pushpin test handler!\n"),
        (b"//", 200, b"OK", b"Hello from the Pushpin test handler!\n"),
        (b"/foo", 404, b"Not Found", b"no such test resource\n"),
        (b"/ws", 404, b"Not Found", b"no such test resource\n"),
        (b"/echo", 404, b"Not Found", b"no such test resource\n"),
        (b"/stream//", 404, b"Not Found", b"no such test resource\n"),
        (b"", 404, b"Not Found", b"no such test resource\n"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"BREW"])
def test_c184_c185_plain(path: bytes, status: int, reason: bytes, body: bytes, method: bytes) -> None:
    sink = ask(path, method=method, pieces=(b"ignored",))
    assert sink.response is not None
    assert (sink.response.status, sink.response.reason) == (status, reason)
    assert sink.response.headers == [TEXT]
    assert sink.response.length == len(body) and sink.body == body


@pytest.mark.parametrize(
    ("path", "mode", "body"),
    [
        (b"/response", b"response", b"nothing for now\n"),
        (b"/response/", b"response", b"nothing for now\n"),
        (b"/stream", b"stream", b"[stream opened]\n"),
        (b"/stream/", b"stream", b"[stream opened]\n"),
    ],
)
def test_c184_holds(path: bytes, mode: bytes, body: bytes) -> None:
    sink = ask(path)
    assert sink.response is not None and sink.response.status == 200
    assert sink.response.headers == [TEXT, (b"Grip-Hold", mode), (b"Grip-Channel", b"test")]
    assert sink.body == body


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (b"", [b"test"]),
        (b"x=1&y", [b"test"]),
        (b"channel=a", [b"a"]),
        (b"channel=a&x=1&channel=b&channel=a", [b"a", b"b", b"a"]),
        (b"channel=", [b""]),
        (b"channel", [b""]),
        (b"Channel=a", [b"test"]),
        (b"channel=a+b%20c", [b"a+b c"]),
        (b"channel=%2e%41%7e%5f%2d", [b".A~_-"]),
        (b"channel=a%22b%3Cc%3E", [b'a"b<c>']),
        (b"channel=r%5c%5e%60%7b%7c%7d", [b"r\\^`{|}"]),
        (b"channel=%c3%a9", ["é".encode()]),
        (b"channel=%ff%fe", [b"%FF%FE"]),
        (b"channel=Q%23%24%26%2b%3D%3f%5b%5d", [b"Q#%24&%2B=%3F%5B%5D"]),
        (b"channel=a%25b", [b"a%25b"]),
        (b"channel=a%2cb%3b", [b"a%2Cb%3B"]),
        (b"channel=a%0d%0aX%00%7f", [b"a%0D%0AX%00%7F"]),
        (b"channel=%zz%4", [b"%zz%4"]),
        (b"channel=a=b", [b"a=b"]),
    ],
)
def test_c184_channels(query: bytes, names: list[bytes]) -> None:
    """As the original names them, %-escapes included: it subscribes to ``a%2Cb``, not to ``a`` and ``b``."""
    sink = ask(b"/stream", query)
    assert sink.response is not None
    assert [value for name, value in sink.response.headers if name == b"Grip-Channel"] == names


@pytest.mark.parametrize("path", [b"/", b"/stream", b"/nothing"])
def test_head_has_no_body(path: bytes) -> None:
    sink = ask(path, method=b"HEAD")
    assert sink.body == b""
    assert sink.response is not None and sink.response.length


def test_c186_a_large_request() -> None:
    sink = ask(b"/", method=b"POST", pieces=(b"x" * 100_000,))
    assert sink.response is not None and sink.response.status == 200
    for pieces in ((b"x" * 150_000,), (b"x" * 100_000, b"y", b"z")):
        sink = ask(b"/", method=b"POST", pieces=pieces)
        assert sink.response is not None
        assert (sink.response.status, sink.response.reason) == (400, b"Bad Request")
        assert sink.response.chunked and sink.response.length is None
        assert sink.response.headers == [TEXT]
        assert sink.body == b"request too large\n"


def test_an_answer_with_a_bug() -> None:
    services = LentServices(reactor)
    sink = RecordingSink()
    origin = AnsweringOrigin(lambda request, body: Answer(1 // 0, b""), services.stats)
    origin.fetch(OriginRequest(b"GET", b"/", []), sink).finish()
    assert sink.response is not None and sink.response.status == 500
    assert len(services.stats.failures) == 1
    services.stop()
