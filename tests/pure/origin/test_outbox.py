"""What waits for a backend over HTTP: nothing is lost, doubled or reordered, whatever it accepts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import WireError
from pushpin_tw.origin.outbox import DELIVERED, MAX_QUEUED, OFFERED, OVERHEAD, SAID, SILENT, Outbox
from pushpin_tw.sockets import BINARY, CLOSE, PING, PONG, TEXT
from pushpin_tw.wire.events import Event, encode_event, parse_events

END = -1
Token = tuple[int, int]
"""Kind and one byte of content, or kind and ``END``."""


def outbox(*messages: Event, one_event: bool = False) -> Outbox:
    """An outbox in which these wait."""
    made = Outbox(one_event)
    for kind, data in messages:
        made.add(kind, data, True, True)
    return made


def body(*events: Event) -> bytes:
    return b"".join(encode_event(*event) for event in events)


def tokens(messages: list[Event]) -> list[Token]:
    return [token for kind, data in messages for token in [*((kind, byte) for byte in data), (kind, END)]]


# ---- whatever is accepted ----------------------------------------------------------------------------------


@dataclass
class Backend:
    """Takes what it says it takes, and remembers how far the contents it has seen went."""

    taken: list[Token] = field(default_factory=list)
    consumed: int = 0
    seen: int = 0
    closed: bytes | None = None

    def ask(self, box: Outbox, share: float | None) -> None:
        """One request; of its contents ``share`` is accepted, None: all, without saying so."""
        replayed = box.replayed
        events = parse_events(box.take())
        close = events.pop()[1] if events and events[-1][0] == CLOSE else None
        offered = sum(len(data) for _, data in events)
        assert replayed == max(0, self.seen - self.consumed), "what was offered before is announced"
        self.seen = max(self.seen, self.consumed + offered)
        accepted = None if share is None else round(share * offered)
        if accepted == offered and close is not None:
            accepted += len(close)
        elif accepted == 0 and offered:
            accepted = 1  # nothing at all may be an offence
        box.accept(accepted)
        self._take(events, offered if accepted is None else min(accepted, offered))
        if close is not None and (accepted is None or accepted == offered + len(close)):
            assert box.closing == DELIVERED
            self.closed = close
        elif close is not None:
            assert box.closing == OFFERED

    def _take(self, events: list[Event], count: int) -> None:
        self.consumed += count
        for kind, data in events:
            whole = len(data) <= count
            part = data[:count]
            self.taken += [(kind, byte) for byte in part] + [(kind, END)] * whole
            count -= len(part)
            if not whole:
                return


MESSAGE = st.tuples(st.sampled_from([TEXT, BINARY, PING, PONG]), st.binary(max_size=8))
STEP = st.one_of(
    MESSAGE,
    st.none(),
    st.floats(0, 1),
)
"""A message comes, or a request takes place."""


@given(st.booleans(), st.lists(STEP, max_size=40), st.sampled_from([None, b"", b"\x0f\xa1bye"]))
def test_nothing_is_lost_doubled_or_reordered(
    one_event: bool, steps: list[Event | float | None], close: bytes | None
) -> None:
    box, backend, said = Outbox(one_event), Backend(), []
    for step in steps:
        if isinstance(step, tuple):
            box.add(*step, True, True)
            said.append(step)
        elif box.fresh or box.replayed:
            backend.ask(box, step)
            assert backend.taken == tokens(said)[: len(backend.taken)]
    if close is not None:
        box.close(int.from_bytes(close[:2], "big") if close else None, close[2:])
    for _ in range(len(said) + 2):
        if box.fresh or box.replayed:
            backend.ask(box, None)
    assert backend.taken == tokens(said)
    assert backend.closed == close
    assert box.replayed == 0 and not box.fresh and not box.congested


@given(st.lists(MESSAGE, min_size=1), st.randoms(use_true_random=False))
def test_pieces_become_messages_with_pings_in_between(messages: list[Event], random: object) -> None:
    """A message counts from its last piece on; a ping within it does not wait for that."""
    box = Outbox(False)
    expected: list[Event] = []
    for kind, data in messages:
        if kind > BINARY:
            box.add(kind, data, True, True)
        else:
            cut = random.randint(0, len(data))  # type: ignore[attr-defined]
            box.add(kind, data[:cut], True, False)
            box.add(PING, b"between", True, True)
            expected.append((PING, b"between"))
            box.add(kind, data[cut:], False, True)
        expected.append((kind, data))
    assert parse_events(box.take()) == expected


@given(st.lists(MESSAGE, max_size=5), st.integers(0, 60), st.booleans(), st.booleans())
def test_any_count_is_accepted_or_refused(
    messages: list[Event], accepted: int, one_event: bool, closing: bool
) -> None:
    """And after a refusal it is over, so nothing else matters."""
    box = outbox(*messages, one_event=one_event)
    if closing:
        box.close(4001, b"bye")
    events = parse_events(box.take())
    contents = sum(len(data) for _, data in events)
    own = sum(len(data) for kind, data in events if kind != CLOSE)
    everything = len(events) == len(messages) + closing
    try:
        box.accept(accepted)
    except WireError:
        assert accepted > contents or own <= accepted < contents or (not accepted and own and not everything)
    else:
        assert accepted <= contents
        assert box.replayed == own - min(own, accepted)


# ---- partial acceptance (websocket 4.8) --------------------------------------------------------------------


def test_a_message_goes_on_where_it_was_left() -> None:
    box = outbox((TEXT, b"hello"))
    assert box.fresh
    assert box.take() == b"TEXT 5\r\nhello\r\n"
    box.accept(3)
    assert (box.replayed, box.fresh) == (2, False)
    box.add(TEXT, b"world", True, True)
    assert box.fresh
    assert box.take() == b"TEXT 2\r\nlo\r\nTEXT 5\r\nworld\r\n"
    box.accept(None)
    assert (box.replayed, box.fresh) == (0, False)


def test_messages_without_content_vanish_with_those_before_them() -> None:
    box = outbox((PING, b""), (TEXT, b"ab"), (BINARY, b""), (TEXT, b"cd"), (PONG, b""))
    box.take()
    box.accept(2)
    assert box.take() == body((TEXT, b"cd"), (PONG, b""))


def test_more_than_was_offered() -> None:
    box = outbox((TEXT, b"hello"))
    box.take()
    with pytest.raises(WireError):
        box.accept(6)


@pytest.mark.parametrize("behind", ["message", "piece", "close"])
def test_taking_nothing_while_more_waits_is_no_progress(behind: str) -> None:
    box = outbox((TEXT, b"hello"), one_event=behind != "piece")
    if behind == "message":
        box.add(TEXT, b"x", True, True)
    elif behind == "piece":
        box.add(TEXT, b"x", True, False)
    else:
        box.close(None, b"")
    assert box.take() == b"TEXT 5\r\nhello\r\n"
    with pytest.raises(WireError):
        box.accept(0)


def test_what_came_after_a_request_was_made_does_not_count_for_its_progress() -> None:
    box = outbox((TEXT, b"hello"))
    box.take()
    box.add(TEXT, b"x", True, True)
    box.accept(0)
    assert box.replayed == 5
    assert box.take() == body((TEXT, b"hello"), (TEXT, b"x"))


# ---- one event at a time -----------------------------------------------------------------------------------


def test_one_event_at_a_time() -> None:
    box = outbox((TEXT, b"a"), (PING, b""), one_event=True)
    box.close(None, b"")
    for expected in (b"TEXT 1\r\na\r\n", b"PING\r\n", b"CLOSE\r\n"):
        assert box.fresh
        assert box.take() == expected
        box.accept(None)
    assert not box.fresh
    assert box.closing == DELIVERED


def test_a_kept_event_and_a_new_one_are_two_requests() -> None:
    box = outbox((TEXT, b"hello"), one_event=True)
    box.take()
    box.accept(3)
    assert not box.fresh
    box.add(TEXT, b"x", True, True)
    assert box.take() == b"TEXT 2\r\nlo\r\n"
    box.accept(None)
    assert box.fresh
    assert box.take() == b"TEXT 1\r\nx\r\n"


# ---- CLOSE -------------------------------------------------------------------------------------------------


def test_close_stands_last_and_only_once() -> None:
    box = outbox((TEXT, b"a"))
    box.add(TEXT, b"half", True, False)
    box.close(4001, b"bye")
    box.close(4002, b"again")
    box.add(TEXT, b"late", True, True)
    assert box.closing == SAID
    assert box.take() == b"TEXT 1\r\na\r\nCLOSE 5\r\n\x0f\xa1bye\r\n"
    assert box.closing == OFFERED
    box.accept(6)
    assert box.closing == DELIVERED


@pytest.mark.parametrize("accepted", [1, 2, 5])
def test_a_part_of_close_cannot_be_accepted(accepted: int) -> None:
    box = outbox((TEXT, b"a"))
    box.close(4001, b"bye")
    box.take()
    with pytest.raises(WireError):
        box.accept(accepted)


def test_close_is_said_again_with_what_was_kept() -> None:
    box = outbox((TEXT, b"hello"))
    box.close(4001, b"bye")
    box.take()
    box.accept(3)
    assert box.closing == OFFERED
    box.repeat_close()
    assert box.fresh
    assert box.take() == b"TEXT 2\r\nlo\r\nCLOSE 5\r\n\x0f\xa1bye\r\n"
    box.accept(None)
    assert box.closing == DELIVERED
    box.repeat_close()
    assert box.take() == b"CLOSE 5\r\n\x0f\xa1bye\r\n"


def test_there_is_nothing_to_repeat_before_close() -> None:
    box = outbox()
    box.repeat_close()
    assert box.closing == SILENT
    assert box.take() == b""


# ---- limits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 2, 200])
def test_the_longest_message(pieces: int) -> None:
    def send(data: bytes) -> Outbox:
        box = Outbox(False)
        size = -(-len(data) // pieces)
        for index in range(pieces):
            part = data[index * size : (index + 1) * size]
            box.add(BINARY, part, index == 0, index == pieces - 1)
        return box

    longest = bytes(MAX_QUEUED)
    assert send(longest).take() == encode_event(BINARY, longest)
    spoiled = send(longest + b"!")
    assert spoiled.spoiled and spoiled.congested and not spoiled.fresh


def test_a_message_that_never_ends_is_not_kept() -> None:
    box = outbox((TEXT, b"before"))
    for _ in range(3):
        box.add(BINARY, bytes(100_000), False, False)
    assert box.spoiled
    box.add(TEXT, b"behind", True, True)
    assert box.take() == body((TEXT, b"before"))


def test_what_waits_congests_until_it_is_taken() -> None:
    box = outbox(*[(BINARY, bytes(1000))] * 200)
    assert box.congested
    box.take()
    assert box.congested
    box.accept(99_500)
    assert not box.congested
    box.add(BINARY, bytes(MAX_QUEUED - 101_000), True, False)
    assert box.congested


def test_empty_messages_count_as_well() -> None:
    box = outbox(*[(TEXT, b"")] * (MAX_QUEUED // OVERHEAD))
    assert box.congested
    box.take()
    box.accept(0)
    assert not box.congested


def test_nothing_is_left_of_it_once_the_client_has_gone() -> None:
    """But for how much was offered: the last request says so (websocket 4.8)."""
    box = outbox((TEXT, b"hello"))
    box.take()
    box.accept(3)
    box.add(TEXT, b"world", True, False)
    box.clear()
    assert (box.replayed, box.fresh, box.congested) == (2, False, False)
    assert box.take() == b""
