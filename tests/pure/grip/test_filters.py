"""Filters of delivery, several filters on one item, and the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pushpin_tw.errors import ConfigError, FilterError
from pushpin_tw.grip.delivery import RequireSub, SkipSelf, SkipUsers
from pushpin_tw.grip.filters import MAX_CHAINS, FilterContext, Filters, InstantFilter
from pushpin_tw.grip.instruct import Channel
from pushpin_tw.grip.substitution import BuildId, VarSubst
from tests.pure.grip.filterscene import Session, chained, complaint, run

BOB = {"user": "bob"}


# ---- delivery (grip 13.2) ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "item", "sent"),
    [
        pytest.param(BOB, {"sender": "bob"}, False, id="grip-146-own"),
        pytest.param(BOB, {"sender": "alice"}, True, id="grip-146-other"),
        pytest.param(BOB, {}, True, id="grip-146-nobody"),
        pytest.param(BOB, {"sender": ""}, True, id="grip-146-empty"),
        pytest.param({"user": ""}, {"sender": ""}, True, id="both-empty"),
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
    assert run(SkipUsers(), Session(BOB), **item) == (b"x" if sent else None)
    assert run(SkipUsers(), Session({"user": ""}), **item) == b"x"
    assert run(SkipUsers(), Session(), **item) == b"x"


@pytest.mark.parametrize(("channel", "sent"), [("other", False), ("c", True), ("d", True), ("", True)])
def test_grip_149_require_sub(channel: str, sent: bool) -> None:
    outcome = run(RequireSub(), Session(c=None, d="1"), require_sub=channel)
    assert outcome == (b"x" if sent else None)


def test_an_item_that_requires_nothing_is_for_everybody() -> None:
    assert run(RequireSub(), Session()) == b"x"


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


class Faulty(InstantFilter):
    """A filter that raises."""

    name = "faulty"
    targets = frozenset({"delivery"})

    def __init__(self, error: Exception) -> None:
        self.error = error

    def apply(self, context: FilterContext, content: bytes) -> bytes | None:
        raise self.error


class Talkative(Late):
    """A filter that has more than one thing to say."""

    def start(self, context: Any, content: bytes, done: Callable[[Any], None]) -> Late:
        super().start(context, content, done)
        done(b"first")
        done(b"second")
        return self


@pytest.fixture(params=["instant", "mixed"])
def company(request: pytest.FixtureRequest) -> list[Any]:
    """Who else is in the chain: nobody, or a filter that is no ``InstantFilter``: chains with one are run in
    another way."""
    return [] if request.param == "instant" else [Talkative("other")]


def test_grip_156_each_works_on_what_the_one_before_has_made(company: list[Any]) -> None:
    session = Session({"id_format": "st", "u": "U"})
    said, call = chained(BuildId(), VarSubst(), *company, content=b"%I %%(u)s", session=session)
    assert call is None
    if company:
        assert (company[0].seen, said) == ([b"st U"], [b"first"])
    else:
        assert said == [b"st U"]


def test_the_first_drop_stops(company: list[Any]) -> None:
    error = FilterError("filter error: never")
    assert chained(SkipSelf(), Faulty(error), *company, session=Session(BOB), sender="bob") == ([None], None)
    assert [one.seen for one in company] == [[]] * len(company)


def test_an_error_stops(company: list[Any]) -> None:
    error = FilterError("filter error: x")
    assert chained(VarSubst(), Faulty(error), *company) == ([error], None)
    assert [one.seen for one in company] == [[]] * len(company)


def test_grip_152_a_template_that_cannot_be_filled_in_leaves_an_empty_content(company: list[Any]) -> None:
    said, call = chained(VarSubst(), SkipSelf(), *company, content=b"50% off")
    assert call is None
    assert said == ([b"first"] if company else [b""])
    assert [one.seen for one in company] == [[b""]] * len(company)


def test_a_mistake_is_the_callers(company: list[Any]) -> None:
    with pytest.raises(KeyError):
        chained(Faulty(KeyError("mistake")), *company)


def test_a_mistake_behind_an_answer_is_the_callers_too() -> None:
    class Hasty(Late):
        def start(self, context: Any, content: bytes, done: Callable[[Any], None]) -> Late:
            super().start(context, content, done)
            done(content)
            raise KeyError("mistake")

    hasty = Hasty()
    with pytest.raises(KeyError):
        chained(hasty)
    hasty.answer(b"never")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (FilterError("filter error: x"), "filter error: x"),
        (FilterError("filter error: x", blank=True), b""),
    ],
)
def test_a_filter_may_raise_what_it_should_tell(error: FilterError, outcome: object) -> None:
    class Raising(Late):
        def start(self, context: Any, content: bytes, done: Callable[[Any], None]) -> Late:
            raise error

    said, call = chained(Raising())
    assert call is None
    assert [one.detail if isinstance(one, FilterError) else one for one in said] == [outcome]


# ---- answers that come later


def test_a_late_answer_lets_the_next_filter_begin() -> None:
    late, later = Late(), Late("later")
    said, call = chained(late, VarSubst(), later)
    assert call is not None
    late.answer(b"100%%")
    assert (later.seen, said) == ([b"100%"], [])
    later.answer(b"done")
    assert said == [b"done"]


@pytest.mark.parametrize("outcome", [None, FilterError("filter error: x")])
def test_a_late_answer_can_be_the_end(outcome: Any) -> None:
    late, later = Late(), Late("later")
    said, _ = chained(late, later)
    late.answer(outcome)
    assert (said, later.seen) == ([outcome], [])


def test_a_late_answer_can_leave_an_empty_content() -> None:
    late, later = Late(), Late("later")
    said, _ = chained(late, later)
    late.answer(FilterError("filter error: x", blank=True))
    assert (said, later.seen) == ([], [b""])


def test_only_the_first_answer_counts() -> None:
    late, later = Late(), Late("later")
    said, _ = chained(Talkative("at-once"), late, later)
    late.answer(b"1")
    late.answer(b"2")
    assert (late.seen, later.seen, said) == ([b"first"], [b"1"], [])
    later.answer(b"3")
    later.answer(b"4")
    late.answer(b"5")
    assert said == [b"3"]


def test_what_is_called_off_says_nothing() -> None:
    late, later = Late(), Late("later")
    said, call = chained(late, later)
    call.cancel()
    call.cancel()
    late.answer(b"x")
    assert (late.cancelled, said, later.seen) == (1, [], [])


def test_the_filter_at_work_is_called_off() -> None:
    late, later = Late(), Late("later")
    said, call = chained(late, later)
    late.answer(b"x")
    call.cancel()
    later.answer(b"y")
    assert (late.cancelled, later.cancelled, said) == (0, 1, [])


def test_a_filter_that_cannot_be_called_off_is_not_listened_to() -> None:
    class Unstoppable(Late):
        def start(self, context: Any, content: bytes, done: Callable[[Any], None]) -> Any:
            super().start(context, content, done)

    late = Unstoppable()
    said, call = chained(late)
    call.cancel()
    late.answer(b"x")
    assert said == []


def test_after_the_end_there_is_nothing_to_call_off() -> None:
    late = Late()
    said, call = chained(late)
    late.answer(b"x")
    call.cancel()
    assert (said, late.cancelled) == ([b"x"], 0)


def test_a_mistake_behind_a_late_answer_ends_the_run_and_is_seen() -> None:
    late = Late()
    said, _ = chained(late, Faulty(KeyError("mistake")))
    with pytest.raises(KeyError):
        late.answer(b"x")
    assert [complaint(one) for one in said] == [("filter error: internal error", False)]


# ---- the registry ------------------------------------------------------------------------------------------


def test_grip_161_unknown_names_are_skipped() -> None:
    filters = Filters([SkipSelf(), BuildId(), VarSubst()])
    assert filters.chain(("unknown",)) is None
    assert filters.chain(()) is None
    chain = filters.chain(("unknown", "build-id", "skip-self", "var-subst"))
    assert chain is not None and chain.content_names == ("build-id", "var-subst")
    assert filters.chain(("build-id", "skip-self", "nobody", "var-subst")) is chain


def test_chains_that_are_kept_are_bounded() -> None:
    first = SkipSelf()
    filters = Filters([first, *map(Late, map(str, range(MAX_CHAINS)))])
    chain = filters.chain(("skip-self",))
    for number in range(MAX_CHAINS):
        assert filters.chain((str(number),)) is filters.chain((str(number),))
    again = filters.chain(("skip-self",))
    assert again is not None and again is not chain


def test_a_filter_may_be_found_twice_but_a_name_not() -> None:
    one = SkipSelf()
    assert Filters([one, one]).chain(("skip-self",)) is not None
    with pytest.raises(ConfigError, match="two filters are called 'skip-self'"):
        Filters([one, SkipSelf()])


class Braces:
    """Puts bodies into braces, so that one sees how often and in which order."""

    targets = frozenset({"response"})

    def __init__(self, name: str) -> None:
        self.name = name

    def response(self, meta: Any) -> Stage:
        return Stage(self.name)


class Stage:
    def __init__(self, name: str) -> None:
        self._begin = f"{name}(".encode()

    def feed(self, data: bytes) -> bytes:
        if data and self._begin:
            data, self._begin = self._begin + data, b""
        return data

    def finish(self) -> bytes:
        return b")"


def test_each_filter_of_a_response_works_once_in_the_order_of_first_mention() -> None:
    filters = Filters([SkipSelf(), Braces("a"), Braces("b")])
    channels = [Channel("x", None, ("skip-self", "b")), Channel("y", None, ("unknown", "a", "b"))]
    content = filters.response(channels, {})
    assert content is not None
    assert content.feed(b"1") + content.feed(b"2") + content.finish() == b"a(b(12))"


def test_a_response_without_such_filters_stays_as_it_is() -> None:
    filters = Filters([SkipSelf(), BuildId()])
    assert filters.response([Channel("a", None, ("skip-self", "unknown"))], {}) is None
