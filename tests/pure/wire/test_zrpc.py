"""Commands and their answers (zeromq 4.1, 4.2)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import PacketError
from pushpin_tw.wire.tnetstring import encode
from pushpin_tw.wire.zrpc import (
    METHOD_NOT_FOUND,
    Command,
    Outcome,
    read_command,
    read_outcome,
    write_command,
    write_outcome,
)

RECOVER = b"28:2:id,1:x,6:method,7:recover,}"
BARE = b"19:6:method,7:recover,}"
SUCCESS = b"28:7:success,4:true!5:value,0:~}"

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FRAMES = st.lists(st.binary(max_size=30) | st.sampled_from([b"", RECOVER, BARE]), max_size=5)


def test_the_example() -> None:
    assert read_command([b"peer", b"", RECOVER]) == Command("recover", {}, b"x", (b"peer",))
    assert write_command(Command("recover", {}, b"x")) == RECOVER
    assert write_command(Command("recover")) == BARE


@pytest.mark.parametrize(
    ("frames", "envelope"),
    [
        ([b"peer", b"", BARE], [b"peer"]),
        ([b"", b"", BARE], [b""]),
        ([b"peer", b"", b"", BARE, b""], [b"peer"]),
        ([b"peer", b"e1", b"e2", b"", BARE], [b"peer", b"e1", b"e2"]),
    ],
)
def test_envelopes(frames: list[bytes], envelope: list[bytes]) -> None:
    command = read_command(frames)
    assert write_outcome(command, Outcome()) == [*envelope, b"", SUCCESS]


@pytest.mark.parametrize(
    "frames",
    [
        *([], [b"peer"], [b"peer", BARE], [b"", BARE], [b"peer", b""], [b"peer", b"", b"", b""]),
        *([b"peer", b"", BARE, BARE], [b"peer", BARE, b""], [b"peer", b"e1", BARE, BARE]),
    ],
)
def test_frames_in_no_order(frames: list[bytes]) -> None:
    with pytest.raises(PacketError):
        read_command(frames)


@pytest.mark.parametrize(
    "content",
    [
        *(b"junk", b"5:hello,", b"0:}", b"0:~", BARE[:-1], b"T" + BARE, b'J{"method":"recover"}'),
        encode({"method": 5}),
        encode({"method": None}),
        encode({"method": "recover", "id": 5}),
        encode({"method": "recover", "id": None}),
        encode({"method": "recover", "from": 5}),
        encode({"method": "recover", "args": []}),
        encode({"method": "recover", "args": None}),
    ],
)
def test_contents_that_are_no_command(content: bytes) -> None:
    with pytest.raises(PacketError):
        read_command([b"peer", b"", content])


def test_what_else_a_command_may_have() -> None:
    content = encode({"method": b"\xff", "id": b"\xff", "from": "me", "args": {"a": [1]}, "x": 1.5}) + b"rest"
    command = read_command([b"peer", b"", content])
    assert command == Command("\ufffd", {"a": [1]}, b"\xff", (b"peer",))


@pytest.mark.parametrize(
    ("outcome", "data"),
    [
        (Outcome(), b"37:2:id,1:x,7:success,4:true!5:value,0:~}"),
        (Outcome(None, METHOD_NOT_FOUND), b"59:2:id,1:x,7:success,5:false!9:condition,16:method-not-found,}"),
        (Outcome([b"a"]), b"41:2:id,1:x,7:success,4:true!5:value,4:1:a,]}"),
        (Outcome("why", "c"), b"57:2:id,1:x,7:success,5:false!9:condition,1:c,5:value,3:why,}"),
    ],
)
def test_answers(outcome: Outcome, data: bytes) -> None:
    assert write_outcome(Command("recover", {}, b"x", (b"peer",)), outcome) == [b"peer", b"", data]
    value = b"why" if outcome.value == "why" else outcome.value
    assert read_outcome(data) == Outcome(value, outcome.condition, b"x")


@pytest.mark.parametrize(
    "frame",
    [
        *(b"", b"junk", b"5:hello,", b"0:}"),
        encode({"success": 1}),
        encode({"success": False}),
        encode({"success": False, "condition": 5}),
        encode({"success": True, "id": 5}),
    ],
)
def test_answers_that_are_none(frame: bytes) -> None:
    with pytest.raises(PacketError):
        read_outcome(frame)


def test_a_condition_of_something_that_was_done() -> None:
    assert read_outcome(encode({"success": True, "condition": "fine", "value": 5})) == Outcome(5)


@given(FRAMES)
def test_any_frames_are_a_command_or_an_error(frames: list[bytes]) -> None:
    try:
        command = read_command(frames)
    except PacketError:
        return
    answer = write_outcome(command, Outcome())
    assert answer[:-2] == frames[: len(answer) - 2]
    assert read_outcome(answer[-1]) == Outcome(None, None, command.id)


@given(st.builds(dict, method=VALUES, id=VALUES, args=VALUES) | VALUES)
def test_any_map_is_a_command_or_an_error(value: object) -> None:
    content = encode(value)
    with suppress(PacketError):
        read_command([b"peer", b"", content])
    with suppress(PacketError):
        read_outcome(content)


@given(st.text(max_size=8), st.dictionaries(st.text(max_size=5), VALUES, max_size=3), st.none() | st.binary())
def test_what_is_written_is_read(method: str, args: dict[str, object], name: bytes | None) -> None:
    written = write_command(Command(method, args, name))
    assert read_command([b"peer", b"e", b"", written]) == Command(method, args, name, (b"peer", b"e"))
