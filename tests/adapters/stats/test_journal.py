"""The words of log lines (proxy 8.11)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from zope.interface.verify import verifyObject

from pushpin_tw.config import parse_config
from pushpin_tw.figures import IStatsSink
from pushpin_tw.stats.journal import Journal
from pushpin_tw.stats.logfile import Logs
from pushpin_tw.wire.message import RequestLine


class Heard:
    """A voice that remembers."""

    def __init__(self, level: int) -> None:
        self.level = level
        self.lines: list[tuple[int, str]] = []
        self.details = ""

    def write(self, level: int, message: str, request: RequestLine | None = None, details: str = "") -> None:
        if level <= self.level or request is not None:
            self.lines.append((level, message))
            self.details = details


def no_include(path: str) -> str:
    raise FileNotFoundError(path)


def journal(*lines: str, level: int = 2) -> tuple[Journal, dict[str, Heard]]:
    config = parse_config("\n".join(["[proxy]", *lines]), "f", no_include)
    voices = {service: Heard(level) for service in ("connmgr", "proxy", "handler", "runner")}
    return Journal(config, Logs(voices)), voices


def finished(**fields: Any) -> RequestLine:
    values: dict[str, Any] = {"method": b"GET", "uri": "http://a.example/", "outcome": "code", "status": 200}
    return RequestLine(**(values | fields))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            finished(
                uri="http://a.example/x?y=z",
                target="127.0.0.1:9211",
                peer="127.0.0.1",
                referer="http://ref/x?y#z",
                route="myid",
                size=3,
                user_agent="my ua/1.0",
            ),
            "GET http://a.example/x?y=z -> 127.0.0.1:9211 from=127.0.0.1 ref=http://ref/x?y#z route=myid"
            " code=200 3 ua=my ua/1.0",
        ),
        (
            finished(target="127.0.0.1:9211", outcome="accept", retry=True),
            "GET http://a.example/ -> 127.0.0.1:9211 accept retry",
        ),
        (
            finished(target="[::1]:9297", status=502, size=84),
            "GET http://a.example/ -> [::1]:9297 code=502 84",
        ),
        (finished(status=502, size=29), "GET http://a.example/ code=502 29"),
        (
            finished(uri="ws://t.example/ws", target="test", status=101),
            "GET ws://t.example/ws -> test code=101 0",
        ),
        (
            finished(target="127.0.0.1:9211", size=5, shared=0x7F7248035C40),
            "GET http://a.example/ -> 127.0.0.1:9211 code=200 5 shared=0x7f7248035c40",
        ),
        (
            finished(target="127.0.0.1:1", over_http=True, outcome="error"),
            "GET http://a.example/ -> 127.0.0.1:1[http] error",
        ),
        (
            finished(
                method=b"POST", last_ids=[("a", "1"), ("b", "2")], retry=True, shared=16, user_agent="u"
            ),
            "POST http://a.example/ code=200 0 retry shared=0x10 ua=u #a=1 #b=2",
        ),
        (finished(referer=" http://r/ü x\t"), "GET http://a.example/ ref=http://r/ü%20x code=200 0"),
        (finished(referer="a\x00b"), "GET http://a.example/ ref=a%00b code=200 0"),
    ],
)
def test_request_lines(line: RequestLine, expected: str) -> None:
    sink, voices = journal("log_from=true", "log_user_agent=true")
    sink.request_finished(line)
    assert voices["proxy"].lines == [(2, expected)]


def test_addresses_and_user_agents_only_when_asked_for() -> None:
    sink, voices = journal()
    sink.request_finished(finished(peer="127.0.0.1", user_agent="ua"))
    assert voices["proxy"].lines == [(2, "GET http://a.example/ code=200 0")]


def test_lines_of_the_handler() -> None:
    sink, voices = journal()
    sink.held("http://a.example/", "ch", False)
    sink.held("http://a.example/", "ch", True)
    sink.published("ch", 2)
    sink.linked(b"GET", "http://a.example/next", 200, 7)
    assert [text for _, text in voices["handler"].lines] == [
        "subscribe http://a.example/ channel=ch",
        "subscribe http://a.example/ channel=ch retry",
        "publish channel=ch receivers=2",
        "GET http://a.example/next code=200 7",
    ]


def test_below_information_nobody_needs_to_build_lines() -> None:
    sink, voices = journal(level=1)
    assert (sink.wants_requests, sink.wants_holds) == (False, False)
    sink.request_finished(finished())
    sink.published("ch", 2)
    assert voices["proxy"].lines == voices["handler"].lines == []


@pytest.mark.parametrize(
    ("level", "threshold", "written"), [(1, 2, 1), (0, 4, 1), (2, 1, 0), (2, 0, 0), (2, 2, 1), (2, None, 1)]
)
def test_a_route_may_have_a_level_of_its_own(level: int, threshold: int | None, written: int) -> None:
    sink, voices = journal(level=level)
    sink.request_finished(finished(threshold=threshold))
    assert len(voices["proxy"].lines) == written


def test_notes_go_to_their_service() -> None:
    sink, voices = journal(level=3)
    for level in ("error", "warn", "info", "debug"):
        sink.note(level, level, "connmgr")
    sink.note("warn", "unasked")
    assert voices["connmgr"].lines == [(0, "error"), (1, "warn"), (2, "info"), (3, "debug")]
    assert voices["proxy"].lines == [(1, "unasked")]


def test_what_is_only_counted_leaves_no_line() -> None:
    sink, voices = journal(level=3)
    sink.count("connections", 2)
    assert not any(voice.lines for voice in voices.values())


def test_a_bug_is_told_with_its_traceback() -> None:
    sink, voices = journal()
    try:
        raise KeyError("inside")
    except KeyError:
        sink.failure("timer")
    assert voices["proxy"].lines == [(0, "unexpected error in timer: KeyError('inside')")]
    assert "test_journal.py" in voices["proxy"].details


def test_the_interface() -> None:
    assert verifyObject(IStatsSink, journal()[0])


# ---- without files -----------------------------------------------------------------------------------------


@contextmanager
def observed() -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(observer)


def test_without_files_lines_go_to_twisted_logger() -> None:
    sink = Journal(parse_config("[runner]\nlog_level=handler:1", "f", no_include))
    with observed() as events:
        sink.request_finished(finished(uri="http://a.example/{x}"))
        sink.published("ch", 2)
        sink.note("warn", "careful", "handler")
        try:
            raise KeyError("inside")
        except KeyError:
            sink.failure("timer")
    told = [(event["log_namespace"], event["log_level"], event["text"].splitlines()[0]) for event in events]
    assert told == [
        ("pushpin_tw.proxy", LogLevel.info, "GET http://a.example/{x} code=200 0"),
        ("pushpin_tw.handler", LogLevel.warn, "careful"),
        ("pushpin_tw.proxy", LogLevel.error, "unexpected error in timer: KeyError('inside')"),
    ]
