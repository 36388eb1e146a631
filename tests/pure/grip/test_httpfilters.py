"""Filters that ask the origin (grip 13.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import FilterError
from pushpin_tw.grip.filters import FilterContext, Filters
from pushpin_tw.grip.httpfilters import HttpCheck, HttpModify
from pushpin_tw.grip.item import Item
from pushpin_tw.grip.terms import LinkRequest
from pushpin_tw.wire.headers import is_value
from tests.pure.grip.filterscene import Session, chained, complaint, run

ITEM = Item("c", meta={"b": "ü", "a": "2"})


def ask(one: Any, session: Session) -> list[Any]:
    """What the filter says, once the session has answered."""
    said: list[Any] = []
    assert one.start(FilterContext(session, ITEM, "c"), b"content", said.append) is session
    assert said == []
    return said


def judged(one: Any, *answer: Any) -> Any:
    """What the filter makes of an answer."""
    session = Session({"url": "/"})
    said = ask(one, session)
    session.answer(answer)
    (outcome,) = said
    return outcome


# ---- the request -------------------------------------------------------------------------------------------


def test_grip_164_what_is_asked() -> None:
    session = Session({"url": "check", "user": "bob"}, c="1", d=None, e="")
    ask(HttpCheck(), session)
    headers = [(b"Sub-Meta", b'{"url":"check","user":"bob"}'), (b"Pub-Meta", b'{"a":"2","b":"\\u00fc"}')]
    request = LinkRequest("place", "http://h/a/check", (("c", "1"), ("e", "")))
    assert session.asked == [(request, headers, b"", 100_000)]


def test_grip_165_what_is_asked() -> None:
    session = Session({"url": "//other/x"})
    assert Filters([HttpModify()]).chain(("http-modify",)) is not None
    said, _ = chained(HttpModify(), content=b"content", session=session)
    headers = [(b"Sub-Meta", b'{"url":"//other/x"}'), (b"Pub-Meta", b"{}")]
    assert session.asked == [(LinkRequest("place", "http://other/x"), headers, b"content", 100_000)]
    assert said == []


@pytest.mark.parametrize(
    ("base", "url", "asked"),
    [
        ("http://h/a/b?c", "x?y#z", "http://h/a/x?y"),
        ("https://h:8/a/", "/x", "https://h:8/x"),
        ("ws://h/a/", "x", "http://h/a/x"),
        ("wss://h/a/", "x", "https://h/a/x"),
        ("http://h/", "https://other:8/x", "https://other:8/x"),
        ("http://h/", "/ü x", "http://h/%C3%BC%20x"),
    ],
)
def test_whom_it_asks(base: str, url: str, asked: str) -> None:
    session = Session({"url": url}, base)
    ask(HttpCheck(), session)
    assert session.asked[0][0].uri == asked


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        ({}, "missing url value"),
        ({"url": ""}, "missing url value"),
        ({"url": "ftp://h/"}, "invalid url value"),
        ({"url": "http://["}, "invalid url value"),
    ],
)
@pytest.mark.parametrize("one", [HttpCheck(), HttpModify()], ids=lambda one: one.name)
def test_grip_166_nobody_to_ask(one: Any, meta: dict[str, str], text: str) -> None:
    session = Session(meta)
    assert complaint(run(one, session)) == (f"filter error: {text}", False)
    assert session.asked == []


@given(st.dictionaries(st.text(), st.text()))
def test_any_meta_can_stand_in_a_header(meta: dict[str, str]) -> None:
    session = Session({**meta, "url": "/"})
    assert HttpCheck().start(FilterContext(session, Item("c", meta=meta), "c"), b"", print) is session
    (_, ((_, sub_meta), (_, pub_meta)), _, _) = session.asked[0]
    assert json.loads(sub_meta) == session.meta and json.loads(pub_meta) == meta
    assert is_value(sub_meta) and is_value(pub_meta) and pub_meta.isascii()


# ---- the answer --------------------------------------------------------------------------------------------

DROP = [(b"X", b"y"), (b"ACTION", b"drop")]
SEND = [(b"Action", b"send")]


@pytest.mark.parametrize(
    ("status", "headers", "checked", "modified"),
    [
        pytest.param(200, DROP, None, None, id="grip-164-drop"),
        pytest.param(204, DROP, None, None, id="grip-164-drop-204"),
        pytest.param(200, [], b"content", b"B", id="grip-165-200"),
        pytest.param(204, [], b"content", b"content", id="grip-165-204"),
        pytest.param(200, SEND, b"content", b"B", id="send"),
        pytest.param(200, [(b"Action", b"Drop")], b"content", b"B", id="another-case"),
    ],
)
def test_answers(status: int, headers: Any, checked: Any, modified: Any) -> None:
    assert judged(HttpCheck(), status, headers, b"B") == checked
    assert judged(HttpModify(), status, headers, b"B") == modified


@pytest.mark.parametrize("status", [201, 302, 400, 500])
def test_grip_166_another_status(status: int) -> None:
    text = f"filter error: unexpected network request status: code={status}"
    assert complaint(judged(HttpCheck(), status, DROP, b"")) == (text, False)
    assert complaint(judged(HttpModify(), status, [], b"")) == (text, False)


def test_grip_166_no_answer() -> None:
    session = Session({"url": "/"})
    said = ask(HttpModify(), session)
    error = FilterError("filter error: network request failed: connection refused")
    session.answer(error)
    assert said == [error]


def test_the_request_is_called_off() -> None:
    session = Session({"url": "/"})
    said, call = chained(HttpCheck(), session=session)
    call.cancel()
    session.answer((200, [], b""))
    assert (session.cancelled, said) == (1, [])
