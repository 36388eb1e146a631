"""The bytes of one message for every form in which sockets take it."""

from __future__ import annotations

import zlib

import pytest

from pushpin_tw.broker.parcel import Parcel
from pushpin_tw.grip.item import parse_item
from pushpin_tw.sockets import SOCKET, SOCKJS, SOCKJS_FRAMES

PLAIN, COMPRESSED = False, True
TEXT = "hé" * 100
UTF8 = TEXT.encode()


def parcel(**members: str) -> Parcel:
    return Parcel(parse_item({"channel": "c", "formats": {"ws-message": members}}))


def inflated(frame: bytes) -> bytes:
    """The payload of a short compressed frame, by the rules of RFC 7692, 7.2.2."""
    assert frame[1] == len(frame) - 2 < 126
    return zlib.decompressobj(-15).decompress(frame[2:] + b"\x00\x00\xff\xff")


@pytest.mark.parametrize(("members", "start"), [({"content": TEXT}, 0xC1), ({"content-bin": "w6k="}, 0xC2)])
def test_compressed_frames_hold_compressed_messages(members: dict[str, str], start: int) -> None:
    frame = parcel(**members).encoded(SOCKET, COMPRESSED)
    assert frame[0] == start
    assert inflated(frame) == (UTF8 if "content" in members else "é".encode())


def test_plain_frames_hold_plain_messages() -> None:
    assert parcel(content=TEXT).encoded(SOCKET, PLAIN) == b"\x81\x7e" + len(UTF8).to_bytes(2, "big") + UTF8


@pytest.mark.parametrize("form", [PLAIN, COMPRESSED])
def test_control_frames_are_never_compressed(form: bool) -> None:
    assert parcel(type="ping", content="hi").encoded(SOCKET, form) == b"\x89\x02hi"


def test_messages_for_sockjs() -> None:
    message = parcel(content='"hi"')
    plain, compressed = (message.encoded(SOCKET, form) for form in SOCKJS_FRAMES)
    assert message.encoded(SOCKET, SOCKJS) == b'"\\"hi\\""'
    assert plain == b'\x81\x0ba["\\"hi\\""]'
    assert inflated(compressed) == b'a["\\"hi\\""]'


@pytest.mark.parametrize("form", [SOCKJS, *SOCKJS_FRAMES])
def test_sockjs_has_no_control_frames(form: str) -> None:
    assert parcel(type="pong", content="hi").encoded(SOCKET, form) == b""


@pytest.mark.parametrize("form", [PLAIN, COMPRESSED, SOCKJS, *SOCKJS_FRAMES])
def test_each_form_is_made_once(form: object) -> None:
    message = parcel(content=TEXT)
    assert message.encoded(SOCKET, form) is message.encoded(SOCKET, form)
    assert message.encoded(SOCKET, form, b"other") != message.encoded(SOCKET, form)
