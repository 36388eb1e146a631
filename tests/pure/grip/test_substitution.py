"""Templates in content and in bodies (grip 13.3, 13.4)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import FilterError
from pushpin_tw.grip.filters import Filters
from pushpin_tw.grip.instruct import Channel
from pushpin_tw.grip.substitution import MAX_ARGUMENT, MAX_KEPT, MAX_VALUES, BuildId, VarSubst
from tests.pure.grip.filterscene import Session, complaint, run

TEMPLATES = st.lists(
    st.sampled_from(
        [b"%", b"(", b")", b"\\", b"I", b"s", b"a", b"c", b"%%", b"%(a)s", b"%(q)I", b"\xc3", b"\n"]
    )
).map(b"".join)


# ---- var-subst ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "filled"),
    [
        pytest.param(b"hi %(user)s 100%%", b"hi bob 100%", id="grip-151"),
        pytest.param(b"plain", b"plain", id="nothing-to-do"),
        pytest.param(b"", b"", id="empty"),
        pytest.param(b"%(a\\)b)s%%%%", b"bracket%%", id="escaped-bracket"),
        pytest.param(b"%(u\\s\\er)s", b"bob", id="escapes-nobody-needs"),
        pytest.param("%(ü)s".encode(), b"umlaut", id="utf-8"),
        pytest.param(b"%(x(y)s", b"open", id="open-bracket"),
        pytest.param(b"%(e)s|", b"|", id="empty-value"),
    ],
)
def test_var_subst(content: bytes, filled: bytes) -> None:
    meta = {"user": "bob", "a)b": "bracket", "ü": "umlaut", "x(y": "open", "e": ""}
    assert run(VarSubst(), Session(meta), content) == filled


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a %(nope)s", "No such variable 'nope' at position 9"),
        (b"50% off", "Unknown directive ' ' at position 3"),
        (b"a %s", "Directive 's' requires argument at position 3"),
        (b"a %()s", "Directive 's' requires argument at position 5"),
        (b"%(user)d", "Unknown directive 'd' at position 7"),
        (b"\xc3\xa9%\xc3\xa9", "Unknown directive 'Ã' at position 3"),
        (b"%(a)%", "Unknown directive '%' at position 4"),
        (b"abc%", "Expected directive after '%' at position 3"),
        (b"%%%", "Expected directive after '%' at position 2"),
        (b"%(", "Expected character after '(' at position 1"),
        (b"%(user", "Unterminated field starting at position 1"),
        (b"%(a\\)I", "Unterminated field starting at position 1"),
        (b"x%(user)", "Expected directive after ')' at position 7"),
        (b"%(us\\", "Expected character after '\\' at position 4"),
        (b"%(nope)s %", "No such variable 'nope' at position 7"),
    ],
)
def test_grip_152_what_cannot_be_filled_in(content: bytes, text: str) -> None:
    outcome = run(VarSubst(), Session({"user": "bob"}), content)
    assert complaint(outcome) == (f"filter error: var-subst: {text}", True)


def test_a_template_means_the_same_again_and_to_another_client() -> None:
    content = b"%(user)s%(no)s"
    for _ in range(2):
        assert run(VarSubst(), Session({"user": "bob", "no": "!"}), content) == b"bob!"
        assert run(VarSubst(), Session({"user": "al", "no": "?"}), content) == b"al?"
        assert complaint(run(VarSubst(), Session({"user": "al"}), content))[0].endswith("at position 13")


def test_a_long_template_is_filled_in() -> None:
    padding = b"x" * MAX_KEPT
    assert run(VarSubst(), Session({"user": "bob"}), padding + b"%(user)s") == padding + b"bob"


def test_values_are_bounded() -> None:
    session = Session({"v": "x" * 1000})
    enough = b"%(v)s" * (MAX_VALUES // 1000)
    assert len(run(VarSubst(), session, enough)) == MAX_VALUES
    outcome = run(VarSubst(), session, enough + b"%(v)s")
    assert (
        complaint(outcome)[0] == f"filter error: var-subst: Too much to fill in at position {len(enough) + 4}"
    )


def test_arguments_are_bounded() -> None:
    longest = "x" * MAX_ARGUMENT
    session = Session({longest: "v", longest + "x": "v"})
    assert run(VarSubst(), session, b"%%%(" + longest.encode() + b")s") == b"%v"
    outcome = run(VarSubst(), session, b"%%%(" + longest.encode() + b"x)s")
    assert complaint(outcome)[0] == "filter error: var-subst: Field too long starting at position 3"


# ---- build-id ----------------------------------------------------------------------------------------------


def test_grip_155_the_position_behind_the_item() -> None:
    session = Session({"id_format": "b:%(b)s,d:%(d)s"}, b="pv7", d="q")
    assert run(BuildId(), session, b"id is %I", "b", "n8") == b"id is b:n8,d:q"


@pytest.mark.parametrize(
    ("meta", "content", "built"),
    [
        pytest.param({"id_format": "st"}, b"%I %%(u)s", b"st %(u)s", id="grip-156"),
        pytest.param({"id_format": "st"}, b"%I %(q)I %()I", b"st q st", id="marked"),
        pytest.param({"id_format": "st", "id_encoding": "hex"}, b"%I %(q)I", b"7374 71", id="hex"),
        pytest.param({"id_format": "100%%"}, b"%I", b"100%", id="percent"),
        pytest.param({"id_format": ""}, b"x%I", b"x", id="empty-id"),
        pytest.param({"id_format": "x"}, b"%(\xff\\))I", b"\xff)", id="any-bytes"),
        pytest.param({"id_format": "x"}, b"plain", b"plain", id="nothing-to-do"),
    ],
)
def test_build_id(meta: dict[str, str], content: bytes, built: bytes) -> None:
    assert run(BuildId(), Session(meta), content) == built


@pytest.mark.parametrize(
    ("meta", "content", "text"),
    [
        ({}, b"", "no sub meta 'id_format'"),
        ({"id_format": "x", "id_encoding": "rot13"}, b"", "unsupported encoding: rot13"),
        ({"id_format": "x", "id_encoding": ""}, b"", "unsupported encoding: "),
        ({"id_format": "%(c)s"}, b"", "failed to render ID: No such variable 'c' at position 4"),
        ({"id_format": "%(no)s"}, b"", "failed to render ID: No such variable 'no' at position 5"),
        (
            {"id_format": "a%", "id_encoding": "x"},
            b"",
            "failed to render ID: Expected directive after '%' at position 1",
        ),
        ({"id_format": "a%I"}, b"", "failed to render ID: Unknown directive 'I' at position 2"),
        ({"id_format": "x"}, b"a%s", "Unknown directive 's' at position 2"),
        ({"id_format": "x"}, b"abc%", "Expected directive after '%' at position 3"),
    ],
)
def test_an_id_that_cannot_be_built(meta: dict[str, str], content: bytes, text: str) -> None:
    outcome = run(BuildId(), Session(meta, c=None), content, id="1")
    assert complaint(outcome) == (f"filter error: build-id: {text}", True)


def test_without_an_id_of_the_item_the_position_is_not_known() -> None:
    session = Session({"id_format": "%(c)s"}, c="1")
    text = "filter error: build-id: failed to render ID: No such variable 'c' at position 4"
    assert complaint(run(BuildId(), session, b"%I")) == (text, True)


# ---- bodies of responses (grip 13.4) -----------------------------------------------------------------------

BUILDS = [Channel("a", None, ("build-id",))]


def response(meta: dict[str, str], *pieces: bytes) -> bytes:
    """What becomes of a body."""
    content = Filters([BuildId()]).response(BUILDS, meta)
    assert content is not None
    return b"".join([*map(content.feed, pieces), content.finish()])


def judged(meta: dict[str, str], *pieces: bytes) -> bytes | str:
    """What becomes of a body, or what is wrong with it."""
    try:
        return response(meta, *pieces)
    except FilterError as error:
        return error.detail


def test_grip_066_a_body() -> None:
    assert response({"id_format": "abc"}, b"b %(q)I %% %(a b)I") == b"b q % a b"


def test_grip_067_a_body_in_hex() -> None:
    assert response({"id_format": "abc", "id_encoding": "hex"}, b"b %(q)I") == b"b 71"


NO_DEFAULT = "No ID specified and no default ID in context at position"


@pytest.mark.parametrize(
    ("meta", "pieces", "text"),
    [
        pytest.param({"id_format": "abc"}, [b"b %I"], f"{NO_DEFAULT} 3", id="grip-068"),
        pytest.param({"id_format": "abc"}, [b"b ", b"%", b"I"], f"{NO_DEFAULT} 3", id="grip-068-pieces"),
        pytest.param({"id_format": "abc"}, [b"%()I"], f"{NO_DEFAULT} 3", id="no-argument"),
        pytest.param({}, [b"x"], "no sub meta 'id_format'", id="grip-157"),
        pytest.param({"id_encoding": "x"}, [b"%"], "no sub meta 'id_format'", id="grip-157-late"),
        pytest.param(
            {"id_format": "%", "id_encoding": "x"}, [b"x"], "unsupported encoding: x", id="encoding"
        ),
        pytest.param(
            {"id_format": "abc"}, [b"ab", b"c%("], "Expected character after '(' at position 4", id="open"
        ),
    ],
)
def test_a_body_that_cannot_be_filled_in(meta: dict[str, str], pieces: list[bytes], text: str) -> None:
    with pytest.raises(FilterError) as caught:
        response(meta, *pieces)
    assert complaint(caught.value) == (f"filter error: build-id: {text}", False)


def test_a_body_without_bytes_is_left_alone() -> None:
    assert response({}) == response({}, b"", b"") == b""


def test_an_argument_that_does_not_end_is_not_kept_for_ever() -> None:
    content = BuildId().response({"id_format": "x"})
    content.feed(b"body %(")
    with pytest.raises(FilterError, match="Field too long starting at position 6"):
        for _ in range(MAX_ARGUMENT + 1):
            content.feed(b"x")


# ---- all of them -------------------------------------------------------------------------------------------


@given(
    TEMPLATES | st.binary(),
    st.dictionaries(st.text() | st.sampled_from(["a", "id_encoding"]), st.text()),
    st.none() | TEMPLATES.map(lambda data: data.decode("latin-1")),
    st.none() | st.text(),
    st.sampled_from([VarSubst(), BuildId()]),
)
def test_no_content_and_no_meta_is_a_surprise(
    content: bytes, meta: dict[str, str], id_format: str | None, position: str | None, one: Any
) -> None:
    if id_format is not None:
        meta = {**meta, "id_format": id_format}
    outcome = run(one, Session(meta, c=position), content, id=position)
    assert isinstance(outcome, bytes | FilterError)


@given(TEMPLATES, st.lists(st.integers(0, 40)), st.sampled_from([{}, {"id_encoding": "hex"}]))
def test_it_does_not_matter_where_a_body_is_split(body: bytes, cuts: list[int], meta: dict[str, str]) -> None:
    meta = {"id_format": "x", **meta}
    edges = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    assert judged(meta, *(body[a:b] for a, b in pairwise(edges))) == judged(meta, body)
    assert judged(meta, *(body[at : at + 1] for at in range(len(body)))) == judged(meta, body)


@given(st.integers(-3, 3), st.sampled_from([b"", b"\\", b")", b")I", b")I%"]), st.integers(1, 5))
def test_it_does_not_matter_where_a_long_argument_is_split(more: int, end: bytes, size: int) -> None:
    body = b"a%(" + b"x" * (MAX_ARGUMENT + more) + end
    meta = {"id_format": "x"}
    cut = len(body) - size
    assert judged(meta, body[:cut], body[cut:]) == judged(meta, body)


@given(st.binary())
def test_what_is_escaped_comes_out_as_it_was(data: bytes) -> None:
    assert response({"id_format": "x"}, data.replace(b"%", b"%%")) == data
    marked = data.replace(b"\\", b"\\\\").replace(b")", b"\\)")
    if data:
        assert response({"id_format": "x"}, b"%(" + marked + b")I") == data
