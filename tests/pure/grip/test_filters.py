"""Filters, each by itself and several on one item."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import FilterError
from pushpin_tw.grip.delivery import RequireSub, SkipSelf, SkipUsers
from pushpin_tw.grip.filters import FilterContext, Filters
from pushpin_tw.grip.httpfilters import HttpCheck, HttpModify
from pushpin_tw.grip.instruct import Channel
from pushpin_tw.grip.item import Item
from pushpin_tw.grip.substitution import BuildId, VarSubst
from pushpin_tw.grip.terms import LinkRequest


class Session:
    place = "place"

    def __init__(
        self, meta: dict[str, str] | None = None, uri: str = "http://h/a/b?c", **positions: Any
    ) -> None:
        self.meta = meta or {}
        self.uri = uri
        self.asked: list[Any] = []
        self.done: Callable[[Any], None]
        self.cancelled = False
        self._positions = positions

    @property
    def links(self) -> Session:
        return self

    def positions(self) -> dict[str, str | None]:
        return dict(self._positions)

    def ask(self, request: Any, headers: Any, body: bytes, limit: int, done: Any) -> Session:
        self.asked.append((request, headers, body, limit))
        self.done = done
        return self

    def cancel(self) -> None:
        self.cancelled = True


def run(one: Any, session: Session, content: bytes = b"x", channel: str = "c", **item: Any) -> Any:
    """What a filter that answers at once has to say."""
    said: list[Any] = []
    value = Item(channel, item.pop("id", None), None, meta=item)
    assert one.start(FilterContext(session, value, channel), content, said.append) is None
    (outcome,) = said
    return outcome


# ---- delivery (grip 13.2) ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "item", "sent"),
    [
        pytest.param({"user": "bob"}, {"sender": "bob"}, False, id="grip-146-own"),
        pytest.param({"user": "bob"}, {"sender": "alice"}, True, id="grip-146-other"),
        pytest.param({"user": "bob"}, {}, True, id="grip-146-nobody"),
        pytest.param({"user": ""}, {"sender": ""}, True, id="grip-146-empty"),
        pytest.param({}, {"sender": "bob"}, True, id="grip-147"),
    ],
)
def test_skip_self(meta: dict[str, str], item: dict[str, str], sent: bool) -> None:
    assert run(SkipSelf(), Session(meta), **item) == (b"x" if sent else None)


@pytest.mark.parametrize(
    ("users", "sent"),
    [
        pytest.param("al, bob ,x", False, id="grip-148-named"),
        pytest.param("bobby", True, id="grip-148-not-named"),
        pytest.param(None, True, id="grip-148-absent"),
        pytest.param(",,", True, id="only-commas"),
    ],
)
def test_skip_users(users: str | None, sent: bool) -> None:
    item = {} if users is None else {"skip_users": users}
    assert run(SkipUsers(), Session({"user": "bob"}), **item) == (b"x" if sent else None)
    assert run(SkipUsers(), Session({"user": ""}), **item) == b"x"


@pytest.mark.parametrize(("channel", "sent"), [("other", False), ("c", True), ("d", True), ("", True)])
def test_grip_149_require_sub(channel: str, sent: bool) -> None:
    outcome = run(RequireSub(), Session(c=None, d="1"), require_sub=channel)
    assert outcome == (b"x" if sent else None)


# ---- templates (grip 13.3) ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "filled"),
    [
        pytest.param(b"hi %(user)s 100%%", b"hi bob 100%", id="grip-151"),
        pytest.param(b"plain", b"plain", id="nothing-to-do"),
        pytest.param(b"%(a\\)b)s%%%%", b"bracket%%", id="escaped-bracket"),
        pytest.param("%(ü)s".encode(), b"umlaut", id="utf-8"),
    ],
)
def test_var_subst(content: bytes, filled: bytes) -> None:
    meta = {"user": "bob", "a)b": "bracket", "ü": "umlaut"}
    assert run(VarSubst(), Session(meta), content) == filled


@pytest.mark.parametrize(
    "content",
    [b"%(nope)s", b"50% off", b"%s", b"abc%", b"%(user)d", b"%(user", b"%(user)", b"%(us\\", b"%(u\\)"],
)
def test_grip_152_what_cannot_be_filled_in_is_delivered_empty(content: bytes) -> None:
    session = Session({"user": "bob"})
    outcome = run(VarSubst(), session, content)
    assert isinstance(outcome, FilterError) and outcome.blank
    assert outcome.detail.startswith("filter error: var-subst: ")
    chain = Filters([VarSubst()]).chain(("var-subst",))
    assert chain is not None
    said: list[Any] = []
    assert chain.run(FilterContext(session, Item("c"), "c"), content, said.append) is None
    assert said == [b""]


def test_grip_155_build_id_renders_the_position_behind_the_item() -> None:
    session = Session({"id_format": "b:%(b)s,d:%(d)s"}, b="pv7", d="q")
    assert run(BuildId(), session, b"id is %I", "b", id="n8") == b"id is b:n8,d:q"


@pytest.mark.parametrize(
    ("meta", "content", "built"),
    [
        ({"id_format": "st"}, b"%I %(q)I", b"st q"),
        ({"id_format": "st", "id_encoding": "hex"}, b"%I %(q)I", b"7374 71"),
        ({"id_format": "100%%"}, b"%I", b"100%"),
    ],
)
def test_build_id(meta: dict[str, str], content: bytes, built: bytes) -> None:
    assert run(BuildId(), Session(meta), content) == built


@pytest.mark.parametrize(
    ("meta", "content", "text"),
    [
        ({}, b"", "no sub meta 'id_format'"),
        ({"id_format": "x", "id_encoding": "rot13"}, b"", "unsupported encoding: rot13"),
        ({"id_format": "%(c)s"}, b"", "failed to render ID: No such variable 'c' at position 4"),
        ({"id_format": "x"}, b"a%s", "Unknown directive 's' at position 2"),
        ({"id_format": "x"}, b"abc%", "Expected directive after '%' at position 3"),
    ],
)
def test_build_id_cannot(meta: dict[str, str], content: bytes, text: str) -> None:
    outcome = run(BuildId(), Session(meta), content)
    assert isinstance(outcome, FilterError) and outcome.blank
    assert outcome.detail == f"filter error: build-id: {text}"


@given(st.binary(), st.dictionaries(st.text(), st.text()), st.sampled_from([VarSubst(), BuildId()]))
def test_no_content_and_no_meta_is_a_surprise(content: bytes, meta: dict[str, str], one: Any) -> None:
    assert isinstance(run(one, Session(meta), content), bytes | FilterError)


# ---- responses (grip 13.4) ---------------------------------------------------------------------------------

BUILDS = [Channel("a", None, ("skip-self", "build-id")), Channel("b", None, ("build-id", "unknown"))]


def response(meta: dict[str, str], *pieces: bytes) -> bytes:
    content = Filters([SkipSelf(), BuildId()]).response(BUILDS, meta)
    assert content is not None
    return b"".join(map(content.feed, pieces)) + content.finish()


def test_grip_066_a_response_is_filtered_once() -> None:
    assert response({"id_format": "abc"}, b"b %(q)I %% %(a b)I") == b"b q % a b"


def test_grip_067_in_hex() -> None:
    assert response({"id_format": "abc", "id_encoding": "hex"}, b"b %(q)I") == b"b 71"


@pytest.mark.parametrize(
    ("meta", "pieces", "text"),
    [
        pytest.param(
            {"id_format": "abc"},
            [b"b ", b"%", b"I"],
            "No ID specified and no default ID in context at position 3",
            id="grip-068",
        ),
        pytest.param({}, [b"x"], "no sub meta 'id_format'", id="grip-157"),
        pytest.param(
            {"id_format": "abc"}, [b"ab", b"c%("], "Expected character after '(' at position 4", id="open"
        ),
    ],
)
def test_a_response_that_cannot_be_filtered(meta: dict[str, str], pieces: list[bytes], text: str) -> None:
    with pytest.raises(FilterError) as caught:
        response(meta, *pieces)
    assert caught.value.detail == f"filter error: build-id: {text}"


def test_a_response_without_such_filters() -> None:
    filters = Filters([SkipSelf(), BuildId()])
    assert filters.response([Channel("a", None, ("skip-self", "unknown"))], {}) is None


@given(
    st.binary().map(lambda data: data.replace(b"a", b"%").replace(b"b", b"(q)I")),
    st.lists(st.integers(0, 40)),
)
def test_it_does_not_matter_where_a_body_is_split(body: bytes, cuts: list[int]) -> None:
    def outcome(*pieces: bytes) -> Any:
        try:
            return response({"id_format": "x"}, *pieces)
        except FilterError as error:
            return error.detail

    edges = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    assert outcome(*(body[a:b] for a, b in pairwise(edges))) == outcome(body)


# ---- several on one item (grip 13.1) -----------------------------------------------------------------------


class Late:
    """A filter that answers when it is told to."""

    targets = frozenset({"message"})

    def __init__(self, name: str = "late") -> None:
        self.name = name
        self.seen: list[bytes] = []
        self.cancelled = 0

    def start(self, context: Any, content: bytes, done: Callable[[Any], None]) -> Late:
        self.seen.append(content)
        self.answer = done
        return self

    def cancel(self) -> None:
        self.cancelled += 1


def chained(
    *filters: Any, content: bytes = b"x", meta: dict[str, str] | None = None
) -> tuple[list[Any], Any]:
    chain = Filters(filters).chain(tuple(one.name for one in filters))
    assert chain is not None
    said: list[Any] = []
    context = FilterContext(Session(meta), Item("c", meta={"sender": "bob"}), "c")
    return said, chain.run(context, content, said.append)


def test_grip_156_each_works_on_what_the_one_before_has_made() -> None:
    meta = {"id_format": "st", "u": "U"}
    said, call = chained(BuildId(), VarSubst(), content=b"%I %%(u)s", meta=meta)
    assert (said, call) == ([b"st U"], None)


def test_the_first_drop_stops() -> None:
    late = Late()
    assert chained(SkipSelf(), late, meta={"user": "bob"}) == ([None], None)
    assert late.seen == []


def test_a_template_that_cannot_be_filled_in_does_not_stop_the_others() -> None:
    late = Late()
    chained(VarSubst(), late, content=b"%")
    assert late.seen == [b""]


def test_a_late_answer_lets_the_next_filter_begin() -> None:
    late, later = Late(), Late("later")
    said, _ = chained(late, VarSubst(), later)
    late.answer(b"100%%")
    assert later.seen == [b"100%"] and said == []
    later.answer(b"done")
    later.answer(b"twice")
    assert said == [b"done"]


@pytest.mark.parametrize("outcome", [None, FilterError("filter error: x")])
def test_a_late_answer_can_be_the_end(outcome: Any) -> None:
    late, later = Late(), Late("later")
    said, _ = chained(late, later)
    late.answer(outcome)
    assert said == [outcome] and later.seen == []


def test_what_is_called_off_says_nothing() -> None:
    late, later = Late(), Late("later")
    said, call = chained(late, later)
    call.cancel()
    late.answer(b"x")
    assert (late.cancelled, said, later.seen) == (1, [], [])


def test_grip_161_unknown_names_are_skipped() -> None:
    filters = Filters([SkipSelf(), BuildId(), VarSubst()])
    assert filters.chain(("unknown",)) is None
    chain = filters.chain(("unknown", "build-id", "skip-self", "var-subst"))
    assert chain is not None and chain.content_names == ("build-id", "var-subst")
    assert filters.chain(("build-id", "skip-self", "nobody", "var-subst")) is chain


# ---- asking the origin (grip 13.6) -------------------------------------------------------------------------


def ask(one: Any, session: Session) -> list[Any]:
    said: list[Any] = []
    item = Item("c", meta={"b": "ü", "a": "2"})
    assert one.start(FilterContext(session, item, "c"), b"content", said.append) is session
    return said


def test_grip_164_http_check() -> None:
    session = Session({"url": "check", "user": "bob"}, c="1", d=None)
    said = ask(HttpCheck(), session)
    headers = [(b"Sub-Meta", b'{"url":"check","user":"bob"}'), (b"Pub-Meta", b'{"a":"2","b":"\\u00fc"}')]
    assert session.asked == [(LinkRequest("place", "http://h/a/check", (("c", "1"),)), headers, b"", 100_000)]
    session.done((200, [], b"other"))
    session.done((200, [(b"ACTION", b"drop")], b""))
    session.done((204, [(b"Action", b"Drop")], b""))
    assert said == [b"content", None, b"content"]


def test_grip_165_http_modify() -> None:
    session = Session({"url": "//other/x"}, "ws://h/")
    said = ask(HttpModify(), session)
    assert session.asked[0][0].uri == "http://other/x"
    assert session.asked[0][2] == b"content"
    session.done((200, [], b"B"))
    session.done((204, [], b""))
    session.done((200, [(b"Action", b"drop")], b"B"))
    assert said == [b"B", b"content", None]


def test_grip_166_an_answer_of_another_status() -> None:
    session = Session({"url": "/"}, "wss://h/")
    said = ask(HttpCheck(), session)
    assert session.asked[0][0].uri == "https://h/"
    session.done((400, [], b""))
    failed = FilterError("filter error: network request failed: connection refused")
    session.done(failed)
    assert said[0].detail == "filter error: unexpected network request status: code=400" and not said[0].blank
    assert said[1] is failed


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        ({}, "missing url value"),
        ({"url": ""}, "missing url value"),
        ({"url": "ftp://h/"}, "invalid url value"),
    ],
)
def test_without_an_url_nobody_is_asked(meta: dict[str, str], text: str) -> None:
    outcome = run(HttpCheck(), Session(meta))
    assert outcome.detail == f"filter error: {text}" and not outcome.blank
