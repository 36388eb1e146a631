"""Conversations of one exchange: this arrives, that is said, and at the end there is one line in the log."""

from __future__ import annotations

import pytest

from pushpin_tw.errors import OriginError, OriginTimeout, OriginUnreachable
from tests.pure.proxy.scene import LIMIT, Broken, Call, Scene, hold

FAILED = "client: 502 Bad Gateway | Error while proxying to origin.\n"
TWO = "* a:1 b:2"
REFUSED = OriginUnreachable("refused")
CLOSED = OriginError("closed")


def test_a_request_is_asked_and_its_answer_relayed_as_it_comes() -> None:
    scene = Scene()
    scene.asks("/x?y")
    assert scene.said() == ["a: GET /x?y (0)", "a: end"]
    scene.a.responds(203, "X-One: 1", "Connection: close", "Keep-Alive: 5", length=4, reason="Odd")
    assert scene.said() == []
    scene.a.sends(b"ab")
    assert scene.said() == ["client: 203 Odd, 4 bytes", "client: ab"]
    scene.a.sends(b"c", b"d")
    assert scene.said() == ["client: c", "client: d"]
    scene.a.ends()
    assert scene.said() == ["client: end"]
    assert scene.client.headers == [(b"X-One", b"1")]
    assert scene.logged() == ["GET http://h/x?y -> a:1 code=203 4"]


def test_a_slow_client_slows_its_origin() -> None:
    scene = Scene()
    client = scene.asks()
    scene.a.responds()
    client.congested = True
    scene.a.sends(b"much")
    assert scene.said()[-2:] == ["client: much", "a: pause"]
    client.reads_again()
    assert scene.said() == ["a: resume"]
    scene.a.sends(b"more").ends()
    assert scene.said() == ["client: more", "client: end"]


def test_a_client_that_catches_up_before_anybody_was_asked() -> None:
    """It was slow to take the answer before this one."""
    scene = Scene()
    upload = scene.posts(3)
    scene.client.reads_again()
    assert scene.said() == ["upload: begin"]
    upload.sends(b"abc")
    upload.ends()
    assert scene.said() == ["a: POST / (3)", "a: abc", "a: end"]


# ---- the body of a request (proxy 4.6) ---------------------------------------------------------------------


def test_a_short_body_is_awaited_before_anybody_is_asked() -> None:
    scene = Scene()
    upload = scene.posts(None)
    upload.sends(b"ab")
    upload.sends(b"c")
    assert scene.said() == ["upload: begin"]
    upload.ends()
    assert scene.said() == ["a: POST / (3)", "a: abc", "a: end"]


def test_of_a_long_body_ten_thousand_bytes_are_awaited() -> None:
    scene = Scene()
    upload = scene.posts(30_000)
    upload.sends(b"x" * 9_999)
    assert scene.said() == ["upload: begin"]
    upload.sends(b"x")
    assert scene.said() == ["a: POST / (30000)", "a: 10000 bytes"]
    upload.sends(b"x" * 20_000)
    upload.ends()
    assert scene.said() == ["a: 20000 bytes", "a: end"]


def test_a_body_in_chunks_of_unknown_length_stays_so() -> None:
    scene = Scene()
    upload = scene.posts(None, waiting=b"x" * 10_000)
    assert scene.said() == ["upload: begin", "a: POST / (?)", "a: 10000 bytes"]
    upload.ends()
    assert scene.said() == ["a: end"]


def test_a_slow_origin_slows_its_client() -> None:
    scene = Scene()
    scene["a:1"].within = lambda call: setattr(call, "congested", True)
    upload = scene.posts(200_000, waiting=b"x" * 10_000)
    assert scene.said()[-1] == "upload: pause"
    scene.a.takes_more()
    assert scene.said() == ["upload: resume"]
    upload.sends(b"x" * 1000)
    assert scene.said() == ["a: 1000 bytes"]
    scene.a.congested = True
    upload.sends(b"x" * 1000)
    assert scene.said() == ["a: 1000 bytes", "upload: pause"]
    scene.a.takes_more()
    upload.sends(b"x" * 188_000)
    upload.ends()
    assert scene.said() == ["upload: resume", "a: 188000 bytes", "a: end"]
    scene.a.takes_more()
    assert scene.said() == []


def test_a_request_without_body_has_none_to_resume() -> None:
    scene = Scene()
    scene.asks()
    scene.said()
    scene.a.takes_more()
    assert scene.said() == []


# ---- an answer before the request is complete (proxy 4.6) --------------------------------------------------


def test_an_early_answer_is_relayed_and_the_rest_of_the_body_not_read() -> None:
    scene = Scene()
    scene.posts(200_000, waiting=b"x" * 20_000)
    scene.said()
    scene.a.responds(413, length=3, reason="Too Large")
    assert scene.said() == ["upload: abandon"]
    scene.a.takes_more()
    assert scene.said() == []
    scene.a.sends(b"no!").ends()
    assert scene.said() == ["client: 413 Too Large, 3 bytes", "client: no!", "client: end"]
    assert scene.logged() == ["POST http://h/ -> a:1 code=413 3"]


def test_a_relayed_response_does_not_keep_the_request_body() -> None:
    scene = Scene(TWO)
    upload = scene.posts(5, waiting=b"abcde")
    upload.ends()
    exchange = scene.a.sink
    assert exchange._kept == b"abcde"
    scene.a.responds()
    assert exchange._kept == b""


def test_a_complete_body_reaches_an_origin_that_answers_within_fetch() -> None:
    scene = Scene()
    scene["a:1"].within = lambda call: call.responds(200, length=0)
    upload = scene.posts(5, waiting=b"abcde")
    upload.ends()
    assert scene.said() == ["upload: begin", "a: POST / (5)", "client: 200 OK, 0 bytes", "a: abcde", "a: end"]


def test_an_answer_within_fetch_does_not_make_a_partial_body_look_complete() -> None:
    scene = Scene()
    scene["a:1"].within = lambda call: call.responds(401, length=0)
    scene.posts(None, waiting=b"x" * 20_000)
    assert scene.said() == [
        *("upload: begin", "a: POST / (?)", "upload: abandon", "client: 401 OK, 0 bytes", "a: 20000 bytes"),
    ]
    scene.a.ends()
    assert scene.said() == ["client: end"]


def test_a_slow_origin_that_has_answered_does_not_slow_what_is_not_read() -> None:
    scene = Scene()

    def answer(call: Call) -> None:
        call.congested = True
        call.responds(401, length=0)

    scene["a:1"].within = answer
    scene.posts(None, waiting=b"x" * 20_000)
    assert "upload: pause" not in scene.said()


def test_an_answer_while_the_body_is_written() -> None:
    scene = Scene()
    upload = scene.posts(200_000, waiting=b"x" * 10_000)
    scene.said()
    scene.a.on_write = lambda: scene.a.responds(413, length=0).ends()
    upload.sends(b"more")
    assert scene.said() == ["a: more", "upload: abandon", "client: 413 OK, 0 bytes", "client: end"]


# ---- an origin of this process, which answers at once ------------------------------------------------------


def test_a_whole_answer_within_fetch() -> None:
    scene = Scene()
    scene["a:1"].within = lambda call: call.responds(length=2).sends(b"hi").ends()
    scene.asks()
    assert scene.said() == ["a: GET / (0)", "client: 200 OK, 2 bytes", "client: hi", "client: end"]
    assert scene.logged() == ["GET http://h/ -> a:1 code=200 2"]


def test_a_whole_answer_within_finish() -> None:
    scene = Scene()

    def answer_at_the_end(call: Call) -> None:
        call.on_finish = lambda: call.responds(length=2).sends(b"hi").ends()

    scene["a:1"].within = answer_at_the_end
    scene.asks()
    assert scene.said() == ["a: GET / (0)", "a: end", "client: 200 OK, 2 bytes", "client: hi", "client: end"]


def test_the_beginning_of_an_answer_within_fetch() -> None:
    scene = Scene()
    scene["a:1"].within = lambda call: call.responds(length=4).sends(b"ab")
    client = scene.asks()
    client.congested = True
    assert scene.said() == ["a: GET / (0)", "client: 200 OK, 4 bytes", "client: ab", "a: end"]
    scene.a.sends(b"cd").ends()
    assert scene.said() == ["client: cd", "a: pause", "client: end"]


def test_the_beginning_of_an_answer_within_fetch_to_a_slow_client_pauses_the_origin_afterwards() -> None:
    scene = Scene()

    def answer(call: Call) -> None:
        scene.client.congested = True
        call.responds(length=4).sends(b"ab")

    scene["a:1"].within = answer
    scene.asks()
    assert scene.said()[-2:] == ["a: pause", "a: end"]
    scene.client.reads_again()
    assert scene.said() == ["a: resume"]


def test_who_is_refused_within_fetch_is_not_listened_to_any_more() -> None:
    """It cannot be told to stop yet, and may say all it has to say."""
    scene = Scene()
    scene["a:1"].within = lambda call: call.responds(200, "Grip-Hold: stream").sends(b"x").ends()
    upload = scene.posts(None, waiting=b"x" * 100_001)
    assert scene.said() == [
        *("upload: begin", "a: POST / (?)", "upload: abandon"),
        "client: 400 Bad Request | Request too large to accept GRIP instruct.\n",
    ]
    assert scene.logged() == ["POST http://h/ -> a:1 code=400 43"]
    assert upload.dropped


def test_an_origin_that_goes_on_after_a_refusal_within_fetch_is_cancelled() -> None:
    scene = Scene()
    scene["a:1"].within = lambda call: call.responds(200, "Grip-Hold: stream")
    scene.posts(None, waiting=b"x" * 100_001)
    assert scene.said()[-1] == "a: cancel"


# ---- failures and the next target (proxy 4.9) --------------------------------------------------------------


@pytest.mark.parametrize("within", [False, True])
def test_an_unreachable_target_is_followed_by_the_next(within: bool) -> None:
    scene = Scene(TWO)
    if within:
        scene["a:1"].within = lambda call: call.fails(REFUSED)
        scene.asks()
        assert scene.said() == ["a: GET / (0)", "b: GET / (0)", "b: end"]
    else:
        scene.asks()
        scene.a.fails(REFUSED)
        assert scene.said() == ["a: GET / (0)", "a: end", "b: GET / (0)", "b: end"]
    scene.b.responds(length=0).ends()
    assert scene.said() == ["client: 200 OK, 0 bytes", "client: end"]
    assert scene.logged() == ["GET http://h/ -> b:2 code=200 0"]


def test_when_all_are_unreachable_the_last_is_named() -> None:
    scene = Scene("*,debug a:1 b:2")
    scene.asks()
    scene.a.fails(REFUSED)
    scene.b.fails(REFUSED)
    text = "Unable to connect to any targets. Tried: a:1, b:2"
    assert scene.said()[-1] == f"client: 502 Bad Gateway | {text}\n"
    assert scene.logged() == [f"GET http://h/ -> b:2 code=502 {len(text) + 1}"]


def test_the_kept_body_is_repeated_for_the_next_target() -> None:
    scene = Scene(TWO)
    upload = scene.posts(30_000, waiting=b"x" * 10_000)
    upload.sends(b"y" * 1000)
    assert scene.said() == ["upload: begin", "a: POST / (30000)", "a: 10000 bytes", "a: 1000 bytes"]
    scene.a.fails(REFUSED)
    assert scene.said() == ["b: POST / (30000)", "b: 11000 bytes", "upload: resume"]
    upload.sends(b"z" * 19_000)
    upload.ends()
    assert scene.said() == ["b: 19000 bytes", "b: end"]


def test_a_body_that_was_paused_for_one_target_flows_for_the_next() -> None:
    scene = Scene(TWO)
    scene["a:1"].within = lambda call: setattr(call, "congested", True)
    scene.posts(30_000, waiting=b"x" * 10_000)
    assert scene.said()[-1] == "upload: pause"
    scene.a.fails(REFUSED)
    assert scene.said() == ["b: POST / (30000)", "b: 10000 bytes", "upload: resume"]


def test_a_body_paused_for_one_target_stays_so_for_a_slow_next_one() -> None:
    scene = Scene(TWO)
    for label in ("a:1", "b:2"):
        scene[label].within = lambda call: setattr(call, "congested", True)
    scene.posts(30_000, waiting=b"x" * 10_000)
    scene.a.fails(REFUSED)
    assert scene.said()[-2:] == ["b: 10000 bytes", "upload: pause"]


def test_a_complete_body_is_repeated_for_the_next_target() -> None:
    scene = Scene(TWO)
    upload = scene.posts(3)
    upload.sends(b"abc")
    upload.ends()
    scene.said()
    scene.a.fails(REFUSED)
    assert scene.said() == ["b: POST / (3)", "b: abc", "b: end"]


def test_a_target_that_fails_while_the_body_is_written_is_followed_by_the_next() -> None:
    scene = Scene(TWO)
    upload = scene.posts(30_000, waiting=b"x" * 10_000)
    scene.said()
    scene.a.on_write = lambda: scene.a.fails(REFUSED)
    upload.sends(b"y" * 1000)
    assert scene.said() == ["a: 1000 bytes", "b: POST / (30000)", "b: 11000 bytes", "upload: resume"]


def test_a_target_that_fails_while_the_kept_body_is_written_is_finished_only_once() -> None:
    scene = Scene(TWO)

    def fail_on_write(call: Call) -> None:
        call.on_write = lambda: call.fails(REFUSED)

    scene["a:1"].within = fail_on_write
    upload = scene.posts(3, waiting=b"abc")
    upload.ends()
    assert scene.said() == [
        *("upload: begin", "a: POST / (3)", "a: abc", "b: POST / (3)", "b: abc", "b: end"),
    ]


@pytest.mark.parametrize("late", [1, 90_001])
def test_a_body_too_long_to_be_kept_is_not_repeated_in_parts(late: int) -> None:
    scene = Scene(TWO)
    upload = scene.posts(None, waiting=b"x" * 10_000)
    scene.said()
    if late == 1:
        upload.sends(b"x" * 90_000)
    upload.sends(b"x" * late)
    scene.said()
    scene.a.fails(REFUSED)
    assert scene.said() == ["upload: abandon", FAILED]
    assert scene.logged() == ["POST http://h/ -> a:1 code=502 32"]


def test_a_body_of_just_the_limit_is_repeated() -> None:
    scene = Scene(TWO)
    upload = scene.posts(LIMIT, waiting=b"x" * 10_000)
    upload.sends(b"x" * (LIMIT - 10_000))
    upload.ends()
    scene.said()
    scene.a.fails(REFUSED)
    assert scene.said() == ["b: POST / (100000)", "b: 100000 bytes", "b: end"]


def test_a_long_body_that_comes_at_once_is_written_whole_and_not_repeated() -> None:
    scene = Scene(TWO)
    upload = scene.posts(None, waiting=b"x" * (LIMIT + 1))
    upload.sends(b"y")
    upload.ends()
    assert scene.said() == ["upload: begin", "a: POST / (?)", "a: 100001 bytes", "a: y", "a: end"]
    scene.a.fails(REFUSED)
    assert scene.said() == [FAILED]


def test_a_target_that_fails_within_the_write_that_exceeds_the_limit_is_the_last() -> None:
    scene = Scene(TWO)
    upload = scene.posts(None, waiting=b"x" * 10_000)
    scene.said()
    scene.a.on_write = lambda: scene.a.fails(REFUSED)
    upload.sends(b"x" * LIMIT)
    assert scene.said() == ["a: 100000 bytes", "upload: abandon", FAILED]


@pytest.mark.parametrize("complete", [False, True])
def test_other_failures_are_final(complete: bool) -> None:
    scene = Scene(TWO)
    upload = scene.posts(30_000, waiting=b"x" * 30_000)
    if complete:
        upload.ends()
    scene.said()
    scene.a.fails(CLOSED)
    assert scene.said() == ([FAILED] if complete else ["upload: abandon", FAILED])
    assert scene.logged() == ["POST http://h/ -> a:1 code=502 32"]


def test_a_failure_within_a_response_cuts_the_client_off() -> None:
    scene = Scene(TWO)
    scene.asks()
    scene.a.responds(length=10).sends(b"half")
    scene.said()
    scene.a.fails(CLOSED)
    assert scene.said() == ["client: abort"]
    assert scene.logged() == ["GET http://h/ -> a:1 error"]


def test_after_a_long_silence_nothing_is_said() -> None:
    scene = Scene(TWO)
    scene.asks()
    scene.said()
    scene.a.fails(OriginTimeout("silent"))
    assert scene.said() == ["client: abort"]
    assert scene.logged() == ["GET http://h/ -> a:1 error"]


def test_nobody_else_is_asked_once_there_was_an_answer() -> None:
    """An unreachable origin has not answered; one that says so nevertheless gets no second chance."""
    scene = Scene(TWO)
    scene.asks()
    scene.a.responds(200, "Grip-Hold: response")
    scene.said()
    scene.a.fails(REFUSED)
    assert scene.said() == [FAILED]


def test_a_request_that_cannot_be_expressed_for_a_target_is_refused() -> None:
    scene = Scene("*,path_rem=3 a:1")
    scene.asks("/abcdef")
    assert scene.said() == [FAILED]
    assert scene.logged() == ["GET http://h/abcdef -> a:1 code=502 32"]


def test_an_answer_to_head_has_no_body_and_counts_none() -> None:
    scene = Scene()
    scene.asks(method="HEAD")
    scene.a.fails(CLOSED)
    assert scene.logged() == ["HEAD http://h/ -> a:1 code=502 0"]


# ---- a client that goes away -------------------------------------------------------------------------------


def test_gone_while_its_body_is_awaited() -> None:
    scene = Scene()
    client, upload = scene.asks("/", "Content-Length: 5", method="POST"), scene.upload
    assert upload is not None
    upload.sends(b"ab")
    client.goes()
    upload.sends(b"c")
    upload.ends()
    assert scene.said() == ["upload: begin"]
    assert scene.logged() == ["POST http://h/ error"]


@pytest.mark.parametrize("stage", ["asked", "upload", "responded", "gathering"])
def test_gone_while_its_answer_is_awaited(stage: str) -> None:
    scene = Scene(TWO)
    if stage == "upload":
        scene.posts(30_000, waiting=b"x" * 10_000)
    else:
        scene.asks()
    if stage == "responded":
        scene.a.responds(length=10).sends(b"half")
    if stage == "gathering":
        scene.a.responds(200, *hold())
    scene.said()
    scene.client.goes()
    assert scene.said() == ["a: cancel"]
    assert len(scene.logged()) == 1


def test_what_an_origin_says_to_nobody_is_not_heard() -> None:
    scene = Scene(TWO)
    scene.asks()
    sink = scene.a.sink
    scene.client.goes()
    scene.said()
    sink.failed(REFUSED)
    sink.settled()
    sink.received(b"x")
    sink.origin_drained()
    sink.finished()
    sink.lost()
    sink.drained()
    assert scene.said() == []
    assert scene.logged() == ["GET http://h/ -> a:1 error"]


def test_a_client_that_goes_within_its_own_answer() -> None:
    scene = Scene()
    client = scene.asks()
    scene.a.responds(length=9)
    flush = client.flush

    def go() -> None:
        flush()
        client.goes()

    client.flush = go  # type: ignore[method-assign]
    scene.a.sends(b"half")
    assert scene.said()[-2:] == ["client: half", "a: cancel"]
    assert scene.logged() == ["GET http://h/ -> a:1 error"]


# ---- GRIP responses (proxy 7.2) ----------------------------------------------------------------------------


def test_c095_nothing_is_sent_until_the_instruction_is_complete() -> None:
    scene = Scene()
    scene.asks()
    scene.a.responds(200, "Grip-Status: 299 Fine", "X-Mine: 1", length=6).sends(b"not", b" yet")
    assert scene.said() == ["a: GET / (0)", "a: end"]
    scene.a.ends()
    assert scene.said() == ["client: 299 Fine | not yet"]
    assert scene.client.headers == [(b"X-Mine", b"1")]
    assert scene.logged() == ["GET http://h/ -> a:1 code=299 7"]


def test_a_bodiless_answer_counts_no_bytes() -> None:
    scene = Scene()
    scene.asks()
    scene.a.responds(200, "Grip-Status: 204").sends(b"unseen").ends()
    assert scene.logged() == ["GET http://h/ -> a:1 code=204 0"]


def test_wrong_instructions_are_a_bad_gateway() -> None:
    scene = Scene("*,debug a:1")
    scene.asks()
    scene.a.responds(200, "Grip-Hold: maybe").ends()
    text = "Failed to parse accept instructions: Grip-Hold must be set to either 'response' or 'stream'"
    assert scene.said()[-1] == f"client: 502 Bad Gateway | {text}\n"
    assert len(scene.logged()) == 1


def test_a_route_without_grip_passes_instructions_on() -> None:
    scene = Scene("*,no_grip a:1")
    scene.asks()
    scene.a.responds(200, *hold(), length=0).ends()
    assert scene.client.headers[0] == (b"Grip-Hold", b"stream")
    assert scene.said()[-2:] == ["client: 200 OK, 0 bytes", "client: end"]


@pytest.mark.parametrize("known", [False, True])
def test_c096_instructions_for_a_long_request_are_refused(known: bool) -> None:
    """When the length is known, it does not matter how much of the body has come."""
    scene = Scene()
    upload = scene.posts(200_000 if known else None, waiting=b"x" * 20_000)
    if not known:
        upload.sends(b"x" * 80_001)
    scene.said()
    scene.a.responds(200, *hold())
    refusal = "client: 400 Bad Request | Request too large to accept GRIP instruct.\n"
    assert scene.said() == ["upload: abandon", "a: cancel", refusal]
    assert scene.logged() == ["POST http://h/ -> a:1 code=400 43"]


def test_an_instruction_may_have_a_hundred_thousand_bytes() -> None:
    scene = Scene()
    scene.asks()
    scene.a.responds(200, "Grip-Foo: x").sends(b"x" * LIMIT).ends()
    assert scene.logged() == ["GET http://h/ -> a:1 code=200 100000"]


@pytest.mark.parametrize(
    "headers", [["Grip-Foo: x"], hold("response"), hold("stream", "Content-Encoding: gzip")]
)
def test_a_longer_one_is_refused(headers: list[str]) -> None:
    scene = Scene("*,debug a:1")
    scene.asks()
    scene.a.responds(200, *headers).sends(b"x" * LIMIT)
    scene.said()
    scene.a.sends(b"x")
    text = "GRIP instruct response too large from a:1"
    assert scene.said() == ["a: cancel", f"client: 502 Bad Gateway | {text}\n"]
    assert len(scene.logged()) == 1


def test_a_longer_stream_goes_on_as_it_comes_and_is_held_at_its_end() -> None:
    scene = Scene()
    client = scene.asks()
    scene.a.responds(200, *hold(), "Grip-Status: 201", "X-Mine: 1").sends(b"x" * LIMIT)
    scene.said()
    scene.a.sends(b"y" * 10)
    assert scene.said() == ["client: 201 Created", "client: 100010 bytes"]
    assert client.headers == [(b"X-Mine", b"1")]
    client.congested = True
    scene.a.sends(b"more")
    assert scene.said() == ["client: more", "a: pause"]
    client.reads_again()
    scene.publishes(stream="too early")
    assert scene.said() == ["a: resume"]
    assert scene.logged() == []
    scene.a.ends()
    scene.publishes(stream="item")
    assert scene.said() == ["client: 4\r\nitem\r\n"]
    assert scene.logged() == ["GET http://h/ -> a:1 accept"]


def test_a_longer_stream_that_breaks_off_cuts_the_client_off() -> None:
    scene = Scene()
    scene.asks()
    scene.a.responds(200, *hold()).sends(b"x" * (LIMIT + 1))
    scene.said()
    scene.a.fails(CLOSED)
    assert scene.said() == ["client: abort"]
    assert scene.logged() == ["GET http://h/ -> a:1 error"]


def test_a_longer_stream_with_wrong_instructions_is_refused() -> None:
    scene = Scene()
    scene.asks()
    scene.a.responds(200, *hold("stream", "Grip-Timeout: soon")).sends(b"x" * (LIMIT + 1))
    assert scene.said()[-2:] == ["a: cancel", FAILED]
    assert scene.logged() == ["GET http://h/ -> a:1 code=502 32"]


# ---- bugs --------------------------------------------------------------------------------------------------


ASKED = ["a: GET / (0)", "a: end"]
LINE = "GET http://h/ -> a:1"


@pytest.mark.parametrize(
    ("method", "said", "line"),
    [
        ("own", [FAILED], "GET http://h/ code=502 32"),
        ("start", [*ASKED, "a: cancel", FAILED], f"{LINE} code=502 32"),
        ("write", [*ASKED, "a: cancel", "client: 200 OK", "client: abort"], f"{LINE} error"),
        ("flush", [*ASKED, "a: cancel", "client: 200 OK", "client: x", "client: abort"], f"{LINE} error"),
        ("finish", [*ASKED, "client: 200 OK", "client: x", "client: abort"], f"{LINE} code=200 1"),
    ],
)
def test_a_responder_that_fails(method: str, said: list[str], line: str) -> None:
    scene = Scene(TWO)
    scene.broken = {method}
    scene.asks()
    if "a:1" in scene.backends:
        scene.a.responds().sends(b"x").ends()
    assert scene.crashed() == said
    assert scene.logged() == [line]


def test_a_responder_that_fails_to_resume_its_origin() -> None:
    scene = Scene()
    client = scene.asks()
    scene.said()

    def fail() -> None:
        raise Broken

    scene.a.resume = fail  # type: ignore[method-assign]
    client.reads_again()
    assert scene.crashed() == ["a: cancel", FAILED]


def test_an_origin_that_cannot_be_made() -> None:
    """A client certificate that has vanished, say."""
    scene = Scene()

    def fail(target: object) -> None:
        raise Broken

    scene.origin = fail  # type: ignore[method-assign, assignment]
    scene.asks()
    assert scene.crashed() == [FAILED]
    assert scene.logged() == ["GET http://h/ -> a:1 code=502 32"]


@pytest.mark.parametrize("method", ["write", "finish", "body_finished"])
def test_an_origin_that_fails_to_take_the_body(method: str) -> None:
    scene = Scene()

    def fail(*_: object) -> None:
        raise Broken

    if method != "body_finished":
        scene["a:1"].within = lambda call: setattr(call, method, fail)
    upload = scene.posts(20_000, waiting=b"x" * (5_000 if method == "finish" else 20_000))
    if method == "body_finished":
        scene.a.finish = fail  # type: ignore[method-assign]
    if method != "write":
        upload.ends()
    assert scene.crashed()[-2:] == ["a: cancel", FAILED]
    assert scene.logged() == ["POST http://h/ -> a:1 code=502 32"]


def test_a_log_that_fails_costs_nobody_an_answer() -> None:
    scene = Scene()

    def fail(line: object) -> None:
        raise Broken

    scene.stats.request_finished = fail  # type: ignore[method-assign]
    scene.asks()
    scene.a.responds(length=0).ends()
    assert scene.crashed() == [*ASKED, "client: 200 OK, 0 bytes", "client: abort"]


def test_nothing_is_logged_where_nobody_reads() -> None:
    scene = Scene()
    scene.stats.wants_requests = False
    scene.asks()
    scene.a.responds(length=0).ends()
    assert scene.logged() == []
