"""Files, formats and buffers of the log (proxy 8.11)."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from pushpin_tw.stats.logfile import (
    FLUSH_DELAY,
    FLUSH_LINES,
    JsonVoice,
    LogObserver,
    Logs,
    Output,
    TextVoice,
)
from pushpin_tw.wire.message import RequestLine

NOON = 1_700_000_000.25
WHEN = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.250 "


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(NOON)
    return clock


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def without_time(text: str) -> str:
    return re.sub(WHEN, "", text)


def test_text(tmp_path: Path, clock: Clock) -> None:
    output = Output(str(tmp_path / "log"), clock)
    TextVoice(output, 3, clock).write(2, "started")
    tagged = TextVoice(output, 3, clock, "proxy")
    for level in range(4):
        tagged.write(level, "text")
    output.flush()
    found = lines(tmp_path / "log")
    assert re.fullmatch(rf"\[INFO\] {WHEN}started", found[0])
    assert [without_time(line) for line in found[1:]] == [
        "[ERR] [proxy] text",
        "[WARN] [proxy] text",
        "[INFO] [proxy] text",
        "[DEBUG] [proxy] text",
    ]


def test_the_second_changes(tmp_path: Path, clock: Clock) -> None:
    output = Output(str(tmp_path / "log"), clock)
    voice = TextVoice(output, 3, clock)
    for step in (0.0, 0.5, 0.5):
        clock.advance(step)
        voice.write(2, "x")
    output.flush()
    assert [line[-8:] for line in lines(tmp_path / "log")] == ["20.250 x", "20.750 x", "21.250 x"]


@pytest.mark.parametrize("voice", [TextVoice, JsonVoice])
def test_levels(tmp_path: Path, clock: Clock, voice: Any) -> None:
    output = Output(str(tmp_path / "log"), clock)
    quiet = voice(output, 1, clock, "proxy")
    quiet.write(2, "not said")
    quiet.write(1, "said")
    assert len(lines(tmp_path / "log")) == 1


@pytest.mark.parametrize("voice", [TextVoice, JsonVoice])
def test_whether_a_request_has_a_line_is_decided_elsewhere(tmp_path: Path, clock: Clock, voice: Any) -> None:
    output = Output(str(tmp_path / "log"), clock)
    voice(output, 1, clock, "proxy").write(2, "said", RequestLine(b"GET", "http://a/", "accept"))
    output.flush()
    assert len(lines(tmp_path / "log")) == 1


def test_a_text_ends_no_line(tmp_path: Path, clock: Clock) -> None:
    output = Output(str(tmp_path / "log"), clock)
    TextVoice(output, 3, clock).write(1, "ua=a\r\n[INFO] forged\x1b[2J ü\udc80")
    assert [without_time(line) for line in lines(tmp_path / "log")] == [
        r"[WARN] ua=a\r\n[INFO] forged\x1b[2J ü\udc80"
    ]


def test_a_traceback_is_a_line_for_each_of_its_lines(tmp_path: Path, clock: Clock) -> None:
    output = Output(str(tmp_path / "log"), clock)
    TextVoice(output, 3, clock, "proxy").write(0, "bug", None, "one\ntwo\x07\n")
    assert [without_time(line) for line in lines(tmp_path / "log")] == [
        "[ERR] [proxy] bug",
        "[ERR] [proxy]   one",
        r"[ERR] [proxy]   two\x07",
    ]


def test_json(tmp_path: Path, clock: Clock) -> None:
    output = Output(str(tmp_path / "log"), clock)
    voice = JsonVoice(output, 3, clock, "proxy")
    request = RequestLine(b"GET", "http://a/", "code", 200, 5, target="test", route="r", retry=True)
    voice.write(2, "GET ...\n", request)
    voice.write(2, "held", RequestLine(b"GET", "http://a/", "accept"))
    voice.write(0, "bug\udc80", None, "one\ntwo")
    head = {"time": "2023-11-14T22:13:20.250Z", "service": "proxy"}
    assert [json.loads(line) for line in lines(tmp_path / "log")] == [
        head
        | {"level": "INFO", "message": "GET ...\n", "method": "GET", "uri": "http://a/", "target": "test"}
        | {"route": "r", "outcome": "code", "status": 200, "size": 5, "retry": True},
        head | {"level": "INFO", "message": "held", "method": "GET", "uri": "http://a/", "outcome": "accept"},
        head | {"level": "ERR", "message": "bug\udc80", "traceback": "one\ntwo"},
    ]


# ---- buffers -----------------------------------------------------------------------------------------------


def test_lines_wait_a_moment(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "log"
    output = Output(str(path), clock)
    output.write("a\n")
    output.write("b\n")
    assert not path.exists()
    clock.advance(FLUSH_DELAY)
    assert lines(path) == ["a", "b"]
    output.write("c\n")
    clock.advance(FLUSH_DELAY)
    assert lines(path) == ["a", "b", "c"]


def test_many_lines_do_not_wait(tmp_path: Path, clock: Clock) -> None:
    output = Output(str(tmp_path / "log"), clock)
    for _ in range(FLUSH_LINES):
        output.write("x\n")
    assert len(lines(tmp_path / "log")) == FLUSH_LINES
    assert clock.getDelayedCalls() == []


def test_warnings_do_not_wait(tmp_path: Path, clock: Clock) -> None:
    output = Output(str(tmp_path / "log"), clock)
    voice = TextVoice(output, 3, clock)
    voice.write(2, "before")
    voice.write(1, "careful")
    assert [without_time(line) for line in lines(tmp_path / "log")] == ["[INFO] before", "[WARN] careful"]


def test_a_moved_file_is_left_behind(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "log"
    output = Output(str(path), clock)
    logs = Logs({}, (output,))
    output.write("old\n")
    logs.flush()
    path.rename(tmp_path / "log.1")
    output.write("still old\n")
    logs.reopen()
    output.write("new\n")
    logs.close()
    assert (lines(tmp_path / "log.1"), lines(path)) == (["old", "still old"], ["new"])


def test_files_are_appended_to(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    output = Output(str(path), clock)
    output.write("after\n")
    output.close()
    assert lines(path) == ["before", "after"]


def test_what_cannot_be_written_is_counted_and_harms_nobody(tmp_path: Path, clock: Clock) -> None:
    output = Output(str(tmp_path / "none" / "log"), clock)
    output.write("a\n")
    output.write("b\n")
    output.reopen()
    assert output.lost == 2
    (tmp_path / "none").mkdir()
    output.write("c\n")
    output.close()
    assert lines(tmp_path / "none" / "log") == ["c"]


def test_descriptors_are_neither_reopened_nor_closed(clock: Clock) -> None:
    reader, writer = os.pipe()
    try:
        output = Output(writer, clock)
        output.write("a\n")
        output.reopen()
        output.write("b\n")
        output.close()
        output.write("c\n")
        output.flush()
        assert os.read(reader, 100) == b"a\nb\nc\n"
    finally:
        os.close(reader)
        os.close(writer)


# ---- twisted.logger ----------------------------------------------------------------------------------------


class Heard:
    def __init__(self, level: int) -> None:
        self.level = level
        self.lines: list[tuple[int, str, bool]] = []

    def write(self, level: int, message: str, request: object = None, details: str = "") -> None:
        self.lines.append((level, message, bool(details)))


def test_what_others_log_arrives_at_its_service() -> None:
    voices = {service: Heard(2) for service in ("connmgr", "proxy", "handler", "runner")}
    observer = LogPublisher(LogObserver(voices.__getitem__))
    for namespace in ("edge.http", "origin.pool", "publish.zmq", "handler", "service"):
        Logger(f"pushpin_tw.{namespace}", observer=observer).info("from {it}", it=namespace)
    Logger("pushpin_tw.service", observer=observer).debug("not said")
    foreign = Logger("twisted.web", observer=observer)
    foreign.info("Site starting")
    foreign.warn("careful")
    foreign.emit(LogLevel.critical, "Unhandled", log_failure=Failure(KeyError("x")))
    assert voices["connmgr"].lines == [(2, "from edge.http", False)]
    assert voices["proxy"].lines == [(2, "from origin.pool", False)]
    assert voices["handler"].lines == [(2, "from publish.zmq", False), (2, "from handler", False)]
    assert voices["runner"].lines == [
        (2, "from service", False),
        (1, "careful", False),
        (0, "Unhandled", True),
    ]
