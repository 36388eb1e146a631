"""What origins say over a WebSocket: the extension, which messages are for whom, control messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import ControlError
from pushpin_tw.grip.wscontrol import (
    MAX_CONTROL,
    Control,
    Detach,
    FlushDelayed,
    KeepAlive,
    NoKeepAlive,
    SendDelayed,
    Session,
    SetMeta,
    Subscribe,
    Unsubscribe,
    parse_control,
)
from pushpin_tw.grip.wsextension import read_extension
from pushpin_tw.grip.wssorting import Sorter
from pushpin_tw.sockets import BINARY, FRAME, MESSAGE, PARTIAL, PING, PONG, TEXT

# ---- the extension (websocket 2.2) -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("grip", b"m:"),
        (" grip ", b"m:"),
        ("grip;", b"m:"),
        ('grip; message-prefix=""', b""),
        ("grip; message-prefix", b""),
        ("grip; message-prefix=P-", b"P-"),
        ('grip; message-prefix="a b"', b"a b"),
        ('grip; message-prefix="x;y"', b"x;y"),
        ('grip; message-prefix="a,b"', b"a,b"),
        (r'grip; message-prefix="a\"b"', b'a"b'),
        ("grip; message-prefix=a; message-prefix=b", b"b"),
        ("grip; Message-Prefix=a", b"m:"),
        ("grip; other=1", b"m:"),
        ('foo, grip; message-prefix=""', b""),
    ],
)
def test_an_origin_that_speaks_grip(value: str, prefix: bytes) -> None:
    extension = read_extension([value.encode()])
    assert extension is not None and extension.prefix == prefix


def test_it_may_stand_in_any_of_several_headers() -> None:
    extension = read_extension([b"permessage-deflate", b"grip; message-prefix=q:"])
    assert extension is not None
    assert (extension.prefix, extension.element) == (b"q:", b"grip; message-prefix=q:")


@pytest.mark.parametrize("value", ["", "GRIP", "gripe", "grip; message-prefix=", 'grip; message-prefix="x'])
def test_an_origin_that_does_not(value: str) -> None:
    assert read_extension([value.encode()]) is None


# ---- whom a message is for (websocket 2.3) -----------------------------------------------------------------


class Listener:
    """Hears a sorter's verdicts on whole messages, given in pieces."""

    def __init__(self, prefix: bytes = b"m:") -> None:
        self.sorter = Sorter(prefix)

    def hears(self, *pieces: tuple[bytes, int], kind: int = TEXT) -> tuple[bytes | None, bytes | None]:
        """What is for the client of these pieces, and the control message that they were."""
        passed: bytes | None = None
        control = None
        for number, (data, end) in enumerate(pieces):
            piece = self.sorter.sort(kind, data, number == 0, end)
            if piece is not None:
                passed = (passed or b"") + piece
            control = self.sorter.control if self.sorter.control is not None else control
        return passed, control


@pytest.mark.parametrize(
    ("kind", "prefix", "message", "passed", "control"),
    [
        (TEXT, b"m:", b"m:hello", b"hello", None),
        (TEXT, b"m:", b"m:", b"", None),
        (TEXT, b"m:", b"hello", None, None),
        (TEXT, b"m:", b"m", None, None),
        (TEXT, b"m:", b"", None, None),
        (TEXT, b"m:", b"c:{}", None, b"{}"),
        (TEXT, b"m:", b"c:", None, b""),
        (TEXT, b"", b"hello", b"hello", None),
        (TEXT, b"", b"c", b"c", None),
        (TEXT, b"", b"", b"", None),
        (TEXT, b"", b"c:{}", None, b"{}"),
        (BINARY, b"", b"c:x", b"c:x", None),
        (BINARY, b"m:", b"c:x", None, None),
        (BINARY, b"m:", b"m:\0", b"\0", None),
        (BINARY, b"c:", b"c:x", b"x", None),
        (TEXT, b"c:", b"c:x", None, b"x"),
    ],
)
def test_a_message_in_however_many_pieces(
    kind: int, prefix: bytes, message: bytes, passed: bytes | None, control: bytes | None
) -> None:
    assert Listener(prefix).hears((message, MESSAGE), kind=kind) == (passed, control)
    singles = [(message[at : at + 1], PARTIAL) for at in range(len(message))]
    assert Listener(prefix).hears(*singles, (b"", MESSAGE), kind=kind) == (passed, control)


def test_a_message_whose_prefix_is_in_the_first_frame_may_have_more_frames() -> None:
    assert Listener().hears((b"m:a", FRAME), (b"b", FRAME), (b"c", MESSAGE)) == (b"abc", None)


def test_the_prefix_must_be_in_the_first_frame() -> None:
    listener = Listener()
    assert listener.hears((b"m", FRAME), (b":a", MESSAGE)) == (None, None)
    assert listener.hears((b"m:z", MESSAGE)) == (b"z", None)


def test_nothing_of_a_message_without_prefix_is_passed() -> None:
    listener = Listener()
    assert listener.hears((b"x", FRAME), (b"m:a", MESSAGE)) == (None, None)
    assert listener.hears((b"m:z", MESSAGE)) == (b"z", None)


def test_a_control_message_is_one_frame() -> None:
    listener = Listener()
    assert listener.hears((b"c:{", FRAME), (b"}", MESSAGE)) == (None, None)
    assert listener.hears((b"m:z", MESSAGE)) == (b"z", None)


def test_a_spoiled_control_message_is_told_once() -> None:
    sorter = Sorter(b"m:")
    sorter.sort(TEXT, b"c:{", True, FRAME)
    assert sorter.spoiled
    sorter.sort(TEXT, b"}", False, MESSAGE)
    assert not sorter.spoiled and sorter.control is None


def test_a_control_message_has_a_limit() -> None:
    body = b"x" * (MAX_CONTROL - 2)
    assert Listener().hears((b"c:" + body, MESSAGE)) == (None, body)
    assert Listener().hears((b"c:" + body + b"x", MESSAGE)) == (None, None)
    assert Listener().hears((b"c:" + body, PARTIAL), (b"x", PARTIAL), (b"", MESSAGE)) == (None, None)


# ---- control messages (websocket 3) ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ({"type": "subscribe", "channel": "a"}, Subscribe("a")),
        ({"type": "subscribe", "channel": "a", "filters": ["x", "y"]}, Subscribe("a", ("x", "y"))),
        ({"type": "unsubscribe", "channel": "a", "other": 1}, Unsubscribe("a")),
        ({"type": "detach"}, Detach()),
        ({"type": "session", "id": "s"}, Session("s")),
        ({"type": "session"}, Session("")),
        ({"type": "set-meta", "name": "user", "value": "alice"}, SetMeta("user", "alice")),
        ({"type": "set-meta", "name": "user", "value": ""}, SetMeta("user", "")),
        ({"type": "set-meta", "name": "user"}, SetMeta("user", None)),
        ({"type": "keep-alive", "content": "x"}, KeepAlive(TEXT, b"x", 55, False)),
        ({"type": "keep-alive", "content-bin": "AAE=", "timeout": 2.5}, KeepAlive(TEXT, b"\0\1", 3, False)),
        (
            {"type": "keep-alive", "content": "", "message-type": "ping", "timeout": "7", "mode": "interval"},
            KeepAlive(PING, b"", 7, True),
        ),
        (
            {"type": "keep-alive", "content": "", "message-type": "pong", "timeout": 0, "mode": "?"},
            KeepAlive(PONG, b"", 55, False),
        ),
        ({"type": "keep-alive", "content": "x", "timeout": "soon"}, KeepAlive(TEXT, b"x", 55, False)),
        ({"type": "keep-alive", "message-type": "ping"}, NoKeepAlive()),
        ({"type": "send-delayed", "content": "x"}, SendDelayed(TEXT, b"x", 1)),
        (
            {"type": "send-delayed", "content": "x", "content-bin": "eQ==", "message-type": "binary"},
            SendDelayed(BINARY, b"y", 1),
        ),
        ({"type": "send-delayed", "timeout": 9}, SendDelayed(TEXT, b"", 9)),
        ({"type": "flush-delayed"}, FlushDelayed()),
    ],
)
def test_a_control_message(message: dict[str, Any], meaning: Control) -> None:
    assert parse_control(f" {json.dumps(message)}\n".encode()) == meaning


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (b"hello", "grip control message is not valid json"),
        (b'{"type": "detach"} x', "grip control message is not valid json"),
        (b'{"type": "\xff"}', "grip control message is not valid json"),
        (b"[]", "grip control packet is not an object"),
        (b"{}", "grip control packet does not contain 'type'"),
        (b'{"type": 1}', "grip control packet contains 'type' with wrong type"),
        (b'{"type": "Detach"}', "grip control packet 'type' contains unknown value: Detach"),
        (b'{"type": "subscribe"}', "grip control packet does not contain 'channel'"),
        (
            b'{"type": "subscribe", "channel": ""}',
            "grip control packet contains 'channel' with invalid value",
        ),
        (b'{"type": "subscribe", "channel": 5}', "grip control packet contains 'channel' with wrong type"),
        (
            b'{"type": "subscribe", "channel": "a", "filters": null}',
            "grip control packet contains 'filters' with wrong type",
        ),
        (
            b'{"type": "subscribe", "channel": "a", "filters": [1]}',
            "grip control packet contains 'filters' with wrong type",
        ),
        (
            b'{"type": "set-meta", "name": "a", "value": null}',
            "grip control packet contains 'value' with wrong type",
        ),
        (
            b'{"type": "keep-alive", "content": 5}',
            "grip control packet contains 'content' with wrong type",
        ),
        (
            b'{"type": "keep-alive", "content": "", "timeout": -1}',
            "grip control packet contains 'timeout' with invalid value",
        ),
        (
            b'{"type": "keep-alive", "content": "", "timeout": null}',
            "grip control packet contains 'timeout' with wrong type",
        ),
        (
            b'{"type": "keep-alive", "content": "", "message-type": "zip"}',
            "grip control packet contains 'message-type' with unknown value",
        ),
        (
            b'{"type": "send-delayed", "message-type": "ping", "content": "%b"}' % (b"x" * 126),
            "grip control packet contains 'content' with invalid value",
        ),
    ],
)
def test_a_control_message_that_means_nothing(message: bytes, complaint: str) -> None:
    with pytest.raises(ControlError) as caught:
        parse_control(message)
    assert caught.value.detail == complaint


_MEMBERS = st.dictionaries(
    st.sampled_from(
        ["type", "channel", "filters", "id", "name", "value", "content", "content-bin", "timeout", "mode"]
    ),
    st.sampled_from(
        ["subscribe", "unsubscribe", "detach", "session", "set-meta", "keep-alive", "send-delayed", "", "9"]
    )
    | st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(st.text(max_size=3), max_size=3),
)


@given(st.binary(max_size=40) | _MEMBERS.map(lambda members: json.dumps(members).encode()))
def test_nothing_but_a_control_error_is_raised(message: bytes) -> None:
    try:
        parse_control(message)
    except ControlError as error:
        assert error.detail


@given(
    st.sampled_from([b"m:", b"", b"c:", b"ab"]),
    st.lists(
        st.tuples(st.sampled_from([b"m", b":", b"c", b"a", b"", b"m:x"]), st.sampled_from([0, 1])), max_size=6
    ),
)
def test_what_is_passed_is_the_message_behind_its_prefix(
    prefix: bytes, pieces: list[tuple[bytes, int]]
) -> None:
    whole = b"".join(data for data, _ in pieces)
    passed, control = Listener(prefix).hears(*pieces, (b"", MESSAGE), kind=BINARY)
    assert control is None
    assert passed is None or prefix + passed == whole
