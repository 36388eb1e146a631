"""What waits for credits, and what these let go (zeromq 2.10)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.sockets import BINARY, CLOSE, PING, PONG, TEXT
from pushpin_tw.wire.zhttpcredits import HIGH, OVERHEAD, Allowance, Piece


def taken(allowance: Allowance, credits: int = 0) -> list[Piece]:
    """What goes after ``credits`` more."""
    allowance.grant(credits)
    pieces = []
    while (piece := allowance.take()) is not None:
        pieces.append(piece)
    return pieces


def test_zmq_093_messages_are_cut_where_the_credits_end() -> None:
    allowance = Allowance()
    assert taken(allowance, 10) == []
    allowance.add(TEXT, b"a" * 10 + b"b" * 8 + b"c" * 7)
    assert taken(allowance) == [(TEXT, b"a" * 10, False)]
    assert taken(allowance, 8) == [(TEXT, b"b" * 8, False)]
    assert taken(allowance, 100) == [(TEXT, b"c" * 7, True)]


def test_zmq_094_an_empty_message_waits_for_some_and_takes_none() -> None:
    allowance = Allowance()
    allowance.add(TEXT, b"hello")
    allowance.add(BINARY, b"")
    allowance.add(TEXT, b"", False)
    assert taken(allowance, 5) == [(TEXT, b"hello", True)]
    assert taken(allowance, 1) == [(BINARY, b"", True), (TEXT, b"", False)]
    allowance.add(TEXT, b"xy")
    assert taken(allowance) == [(TEXT, b"x", False)]


def test_pings_are_whole_and_what_is_behind_them_waits() -> None:
    allowance = Allowance()
    for kind, data in ((PING, b""), (PONG, b"abc"), (TEXT, b"de"), (CLOSE, b"")):
        allowance.add(kind, data)
    assert taken(allowance) == []
    assert taken(allowance, 2) == [(PING, b"", True)]
    assert taken(allowance, 2) == [(PONG, b"abc", True), (TEXT, b"d", False)]
    assert taken(allowance, 1) == [(TEXT, b"e", True), (CLOSE, b"", True)]


def test_close_needs_none() -> None:
    allowance = Allowance()
    allowance.add(CLOSE, b"")
    assert taken(allowance) == [(CLOSE, b"", True)]


def test_credits_that_mean_nothing() -> None:
    allowance = Allowance()
    allowance.add(TEXT, b"a")
    assert taken(allowance, 0) == taken(allowance, -5) == []
    assert taken(allowance, 1) == [(TEXT, b"a", True)]


def test_when_enough_waits() -> None:
    allowance = Allowance()
    allowance.add(TEXT, b"x" * (HIGH - OVERHEAD - 1))
    assert not allowance.congested
    allowance.add(TEXT, b"")
    assert allowance.congested
    assert len(taken(allowance, OVERHEAD)) == 1
    assert not allowance.congested
    taken(allowance, HIGH)
    for _ in range(HIGH // OVERHEAD - 1):
        allowance.add(PONG, b"")
    assert not allowance.congested
    allowance.add(PONG, b"")
    assert allowance.congested


SAID = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([TEXT, BINARY]), st.binary(max_size=9), st.booleans()),
        st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=9), st.just(True)),
    ),
    max_size=9,
)


@given(SAID, st.lists(st.integers(-2, 12), max_size=12))
def test_whatever_is_said_and_granted(said: list[Piece], grants: list[int]) -> None:
    """Never more than was granted, everything in order, all of it with enough."""
    allowance = Allowance()
    for piece in said:
        allowance.add(*piece)
    gone: list[Piece] = []
    for grant in grants:
        gone += taken(allowance, grant)
        assert sum(len(data) for _, data, _ in gone) <= sum(max(0, each) for each in grants)
    gone += taken(allowance, 1000)
    joined: list[Piece] = []
    within = False
    for kind, data, last in gone:
        if within:
            kind, before, _ = joined.pop()
            joined.append((kind, before + data, last))
            within = len(joined[-1][1]) < len(said[len(joined) - 1][1])
        else:
            joined.append((kind, data, last))
            within = len(data) < len(said[len(joined) - 1][1])
    assert joined == said
    assert not allowance.congested
