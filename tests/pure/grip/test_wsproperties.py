"""What holds for all that origins say over WebSockets: extensions, control messages, messages in pieces."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import ControlError
from pushpin_tw.grip.scalars import decode_base64
from pushpin_tw.grip.wscontrol import (
    DELAY,
    KEEP_ALIVE,
    KINDS,
    Control,
    KeepAlive,
    NoKeepAlive,
    SendDelayed,
    Session,
    SetMeta,
    Subscribe,
    Unsubscribe,
    parse_control,
)
from pushpin_tw.grip.wsextension import GripExtension, read_extension
from pushpin_tw.grip.wssorting import Sorter
from pushpin_tw.sockets import BINARY, FRAME, MESSAGE, PARTIAL, PING, PONG, TEXT

# ---- the extension (websocket 2.2) -------------------------------------------------------------------------

SCRAPS = st.sampled_from(
    [
        b"grip",
        b"foo",
        b";",
        b",",
        b"=",
        b'"',
        b"\\",
        b" ",
        b"\t",
        b"message-prefix",
        b"m:",
        b"x",
        b"\xff",
        b"\0",
    ]
)


@given(st.lists(st.binary(max_size=30) | st.lists(SCRAPS, max_size=12).map(b"".join), max_size=4))
def test_an_answer_is_understood_or_means_nothing(values: list[bytes]) -> None:
    found = read_extension(values)
    assert found is None or (isinstance(found, GripExtension) and found.element.startswith(b"grip"))
    if found is not None:
        again = read_extension([found.element])
        assert again is not None and again.prefix == found.prefix, "it can be passed on by itself"


OTHERS = st.sampled_from(
    [b"foo", b'foo; a="x,y"', b"permessage-deflate; server_no_context_takeover", b"GRIP"]
)
QUOTABLE = st.binary(max_size=8).map(lambda data: bytes(byte for byte in data if byte >= 32 and byte != 127))


@given(QUOTABLE, st.lists(OTHERS, max_size=2), st.lists(OTHERS, max_size=2), st.booleans())
def test_the_prefix_that_is_written_is_read(
    prefix: bytes, before: list[bytes], behind: list[bytes], together: bool
) -> None:
    quoted = prefix.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    element = b'grip; message-prefix="' + quoted + b'"'
    elements = [*before, element, *behind]
    values = [b", ".join(elements)] if together else elements
    assert read_extension(values) == GripExtension(prefix, element)


# ---- control messages (websocket 3) ------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
TYPES = (
    "subscribe",
    "unsubscribe",
    "detach",
    "session",
    "set-meta",
    "keep-alive",
    "send-delayed",
    "flush-delayed",
)
MEMBERS = (
    "channel",
    "filters",
    "id",
    "name",
    "value",
    "content",
    "content-bin",
    "message-type",
    "timeout",
    "mode",
)
LIKELY = st.sampled_from(
    ["ping", "text", "interval", "0", "7", "x", "", 0, 1, 9.5, -1, True, ["x"], "x" * 126]
)
MESSAGES = st.builds(
    lambda kind, members: {"type": kind, **members},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(MEMBERS), LIKELY | VALUES, max_size=4),
)


def check(control: Control, message: dict[str, Any]) -> None:
    """Whatever was accepted can be done."""
    match control:
        case Subscribe() | Unsubscribe():
            assert control.channel == message["channel"] != ""
            assert list(getattr(control, "filters", ())) in (message.get("filters", []), [])
        case Session():
            assert control.id == message.get("id", "")
        case SetMeta():
            assert control.name == message["name"] != ""
            assert control.value == message.get("value")
        case KeepAlive() | SendDelayed():
            assert control.timeout >= 1
            assert control.kind in KINDS.values()
            assert control.kind not in (PING, PONG) or len(control.content) <= 125
        case NoKeepAlive():
            assert "content" not in message and "content-bin" not in message


@given(MESSAGES, st.sampled_from([b"", b" ", b"\r\n\t"]))
def test_a_control_message_can_be_obeyed_or_is_ignored(message: dict[str, Any], space: bytes) -> None:
    data = space + json.dumps(message).encode() + space
    try:
        control = parse_control(data)
    except ControlError as error:
        # What Python writes for infinity is no JSON, and such a message none at all.
        assert error.detail.startswith(("grip control packet ", "grip control message "))
    else:
        check(control, message)


@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()), st.booleans())
def test_nothing_but_a_control_error_is_raised(data: bytes, deep: bool) -> None:
    try:
        control = parse_control(b"[" * 100_000 + data if deep else data)
    except ControlError as error:
        assert error.detail
    else:
        assert control is None or not deep


@given(
    st.sampled_from(sorted(KINDS)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=31),
    st.integers(1, 10**6),
    st.sampled_from(["idle", "interval"]),
)
def test_what_is_to_be_sent_is_what_was_written(kind: str, content: str, timeout: int, mode: str) -> None:
    members = {"message-type": kind, "content": content, "timeout": timeout, "mode": mode}
    keep_alive = parse_control(json.dumps({"type": "keep-alive", **members}).encode())
    assert keep_alive == KeepAlive(KINDS[kind], content.encode(), timeout, mode == "interval")
    delayed = parse_control(json.dumps({"type": "send-delayed", **members}).encode())
    assert delayed == SendDelayed(KINDS[kind], content.encode(), timeout)


@given(st.text("AB+/=\n é", max_size=12))
def test_whatever_stands_for_bytes_is_read_leniently(encoded: str) -> None:
    for kind, timeout in (("keep-alive", KEEP_ALIVE), ("send-delayed", DELAY)):
        message = {"type": kind, "content": "unused", "content-bin": encoded}
        control = parse_control(json.dumps(message).encode())
        assert isinstance(control, KeepAlive | SendDelayed)
        assert (control.content, control.timeout) == (decode_base64(encoded.encode()), timeout)


# ---- messages in pieces (websocket 2.3) --------------------------------------------------------------------

PIECES = st.sampled_from([b"", b"m", b":", b"m:", b"c", b"c:", b"c:{}", b"x", b"m:x", b"c:m:"])
FRAMES = st.lists(st.lists(PIECES, min_size=1, max_size=3), min_size=1, max_size=3)
"""The frames of a message, each in pieces."""


def expected(prefix: bytes, kind: int, frames: list[list[bytes]]) -> tuple[bytes | None, bytes | None, int]:
    """What is for the client, what for the proxy, and how often a control message is spoiled."""
    first, whole = b"".join(frames[0]), b"".join(map(b"".join, frames))
    if kind == TEXT and first.startswith(b"c:"):
        return (None, first[2:], 0) if len(frames) == 1 else (None, None, 1)
    return (whole[len(prefix) :] if first.startswith(prefix) else None, None, 0)


@given(
    st.sampled_from([b"m:", b"", b"c:", b"c", b"x", b"mm:"]),
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), FRAMES), max_size=4),
)
def test_however_messages_are_cut_they_are_for_the_same(
    prefix: bytes, messages: list[tuple[int, list[list[bytes]]]]
) -> None:
    sorter = Sorter(prefix)
    for kind, frames in messages:
        passed: bytes | None = None
        controls: list[bytes] = []
        spoiled = 0
        first = True
        for number, frame in enumerate(frames):
            for at, piece in enumerate(frame):
                end = PARTIAL if at < len(frame) - 1 else FRAME if number < len(frames) - 1 else MESSAGE
                wanted = sorter.sort(kind, piece, first, end)
                first = False
                passed = passed if wanted is None else (passed or b"") + wanted
                controls += [] if sorter.control is None else [sorter.control]
                spoiled += sorter.spoiled
        control = controls[0] if controls else None
        assert len(controls) <= 1
        assert (passed, control, spoiled) == expected(prefix, kind, frames)
