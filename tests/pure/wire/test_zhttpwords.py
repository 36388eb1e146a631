"""What peers say, piece by piece (zeromq 2.10)."""

from __future__ import annotations

from typing import Any

import pytest

from pushpin_tw.sockets import BINARY, CLOSE, FRAME, MESSAGE, PING, PONG, TEXT
from pushpin_tw.wire.zhttp import Packet
from pushpin_tw.wire.zhttpwords import MAX_WAITING, NO_CODE, OVERHEAD, Heard, Words


def packet(type: str = "", body: bytes = b"", content_type: bytes = b"", **more: Any) -> Packet:
    return Packet(((b"s", 0),), type, body=body, content_type=content_type, **more)


def heard(*packets: Packet) -> list[Heard]:
    """What these are for the owner."""
    words = Words()
    assert not words
    for each in packets:
        assert words.add(each)
    pieces = []
    while words:
        pieces.append(words.next())
    return pieces


@pytest.mark.parametrize(
    ("content_type", "kind"), [(b"text", TEXT), (b"", TEXT), (b"foo", TEXT), (b"binary", BINARY)]
)
def test_zmq_091_kinds_of_messages(content_type: bytes, kind: int) -> None:
    assert heard(packet(body=b"x", content_type=content_type)) == [(kind, b"x", True, MESSAGE)]


def test_zmq_092_the_kind_of_the_first_packet_counts() -> None:
    assert heard(
        packet(body=b"f1", content_type=b"text", more=True),
        packet("ping", b"p"),
        packet("keep-alive"),
        packet(body=b"f2", content_type=b"binary", more=True),
        packet("pong"),
        packet(),
        packet(body=b"f3", content_type=b"binary"),
    ) == [
        (TEXT, b"f1", True, FRAME),
        (PING, b"p", True, MESSAGE),
        (TEXT, b"f2", False, FRAME),
        (PONG, b"", True, MESSAGE),
        (TEXT, b"", False, MESSAGE),
        (BINARY, b"f3", True, MESSAGE),
    ]


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (4001, b"bye", (b"bye", 4001)),
        (4001, b"\xffbye", ("\ufffdbye".encode(), 4001)),
        (0, b"bye", (b"", NO_CODE)),
        (1005, b"bye", (b"", NO_CODE)),
        (-1, b"", (b"", NO_CODE)),
        (4001 + 65536, b"", (b"", NO_CODE)),
    ],
)
def test_close_is_the_last_word(code: int, reason: bytes, expected: tuple[bytes, int]) -> None:
    close = packet("close", reason, code=code)
    pieces = heard(packet(body=b"x"), close, packet(body=b"y"), close, packet("ping", b"x" * 126))
    assert pieces == [(TEXT, b"x", True, MESSAGE), (CLOSE, expected[0], True, expected[1])]


def test_pings_that_no_frame_can_carry() -> None:
    words = Words()
    assert words.add(packet("ping", b"x" * 125))
    assert not words.add(packet("ping", b"x" * 126))
    assert not words.add(packet("pong", b"x" * 126))
    words.next()
    assert not words


def test_when_it_is_too_much() -> None:
    words = Words()
    words.add(packet(body=b"x" * (MAX_WAITING - OVERHEAD)))
    assert not words.too_many
    words.add(packet())
    assert words.too_many
    words.next()
    assert not words.too_many
    words.add(packet(body=b"x" * MAX_WAITING))
    assert words.too_many
    words.clear()
    assert not words and not words.too_many
