"""Handshake headers, permessage-deflate and frames, as bytes (websocket 1.1, 1.4, 1.5)."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import WireError
from pushpin_tw.wire.headers import HeaderList
from pushpin_tw.wire.http1 import parse_request
from pushpin_tw.wire.websocket import (
    DeflatedMessage,
    Inflater,
    accept_key,
    check_extensions,
    check_handshake,
    close_payload,
    decode_frame,
    deflate,
    encode_frame,
    encode_message,
    frame_header,
    is_close_code,
    mask,
    negotiate_deflate,
    parse_extensions,
    relax,
)

GOOD = {
    "Host": "a",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def handshake(method: str = "GET", *more: str, version: str = "1.1", **changes: str | None) -> bool:
    """Whether a handshake is accepted; changes are named ``Sec_WebSocket_Key`` and so on, None removes."""
    headers = {**GOOD, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    head = "\r\n".join([f"{method} /ws HTTP/{version}", *lines, *more, "", ""])
    request = parse_request(head.encode())
    assert request.websocket
    return check_handshake(request)


# ---- the handshake -----------------------------------------------------------------------------------------


def test_ws_001_the_accept_key() -> None:
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert accept_key(b"") == b"Kfh9QIsMVZcl6xEPYxPHzW8SZ8w="


def test_ws_002_connection_host_and_version_of_http_do_not_matter() -> None:
    assert handshake()
    assert handshake("GET", "Connection: close")
    assert handshake(Host=None)
    assert handshake(version="1.0")


@pytest.mark.parametrize(
    ("value", "websocket"),
    [("websocket", True), ("WebSocket", True), ("websocket, foo", False), ("h2c", False)],
    ids=["plain", "ws_004", "ws_003", "other"],
)
def test_the_upgrade_header(value: str, websocket: bool) -> None:
    assert parse_request(f"GET / HTTP/1.1\r\nUpgrade: {value}\r\n\r\n".encode()).websocket is websocket


def test_any_upgrade_header_counts() -> None:
    for values in (("websocket", "h2c"), ("h2c", "websocket")):
        lines = "".join(f"Upgrade: {value}\r\n" for value in values)
        assert parse_request(f"GET / HTTP/1.1\r\n{lines}\r\n".encode()).websocket


def test_ws_005_only_version_13() -> None:
    for version in ("8", "14", "13.0", "013", "13, 8", "", None):
        assert not handshake(Sec_WebSocket_Version=version)
    assert handshake("GET", "Sec-WebSocket-Version: 13", Sec_WebSocket_Version="8")
    assert not handshake("GET", "Sec-WebSocket-Version: 8")


def test_ws_006_no_key_no_get_or_a_body() -> None:
    assert not handshake(Sec_WebSocket_Key=None)
    for method in ("POST", "HEAD", "get"):
        assert not handshake(method)
    assert not handshake(Content_Length="3")
    assert not handshake(Transfer_Encoding="chunked")


def test_ws_007_the_length_of_the_key() -> None:
    for length, good in ((0, True), (1, True), (220, True), (221, False)):
        assert handshake(Sec_WebSocket_Key="k" * length) is good
    assert handshake("GET", "Sec-WebSocket-Key: k", Sec_WebSocket_Key="k" * 221)
    assert not handshake("GET", "Sec-WebSocket-Key: " + "k" * 221)


def test_ws_008_a_body_of_nothing() -> None:
    assert handshake(Content_Length="0")


@pytest.mark.parametrize(
    "value",
    ['permessage-deflate; ="', ";", "a b", 'a; b="c', "a; b=c d", "a=b", '"a"', "a; b c", "(a)"],
)
def test_ws_009_extensions_that_are_no_list(value: str) -> None:
    assert not handshake(Sec_WebSocket_Extensions=value)
    name = b"Sec-WebSocket-Extensions"
    assert not check_extensions([(name.lower(), b"foo"), (name, value.encode())])
    with pytest.raises(WireError):
        parse_extensions([value.encode()])


def test_extensions_that_are_one() -> None:
    assert parse_extensions([b"a", b' b ; c ;d = e,, f;g="h, ;\\" \\i";j= ,k;l=q:', b"", b" , "]) == [
        (b"a", []),
        (b"b", [(b"c", None), (b"d", b"e")]),
        (b"f", [(b"g", b'h, ;" i'), (b"j", b"")]),
        (b"k", [(b"l", b"q:")]),
    ]
    assert handshake(Sec_WebSocket_Extensions="x-unknown; y=1")
    assert check_extensions([])


@given(st.binary(max_size=60))
def test_whatever_stands_there_is_read_or_refused(value: bytes) -> None:
    headers: HeaderList = [(b"Sec-WebSocket-Extensions", value)]
    if check_extensions(headers):
        negotiate_deflate([value])


# ---- permessage-deflate ------------------------------------------------------------------------------------

BOTH = b"permessage-deflate; client_no_context_takeover; server_no_context_takeover"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (b"permessage-deflate", b"permessage-deflate"),
        (b"permessage-deflate; client_max_window_bits=10", b"permessage-deflate"),
        (BOTH, BOTH),
        (b"permessage-deflate; server_max_window_bits=10", None),
        (b"permessage-deflate; server_max_window_bits=10, permessage-deflate", b"permessage-deflate"),
        (b"permessage-deflate; foo", None),
        # Beyond the six rows of the table:
        (b"permessage-deflate; client_max_window_bits", b"permessage-deflate"),
        (b'permessage-deflate; client_max_window_bits="8"', b"permessage-deflate"),
        (b"permessage-deflate; client_max_window_bits=7", None),
        (b"permessage-deflate; client_max_window_bits=16", None),
        (b"permessage-deflate; client_max_window_bits=08", None),
        (b"permessage-deflate; server_max_window_bits", None),
        (b"permessage-deflate; server_max_window_bits=15", b"permessage-deflate"),
        (b"permessage-deflate; server_no_context_takeover=1", None),
        (b"permessage-deflate; client_no_context_takeover=", None),
        (b"permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        (b"permessage-deflate; server_no_context_takeover; client_no_context_takeover", BOTH),
        (b"foo, permessage-deflate; foo, permessage-deflate; server_no_context_takeover",
         b"permessage-deflate; server_no_context_takeover"),
        (b"foo", None),
        (b"", None),
    ],
)  # fmt: skip
def test_ws_048_answers_to_offers(offer: bytes, answer: bytes | None) -> None:
    assert negotiate_deflate([offer]) == answer
    assert negotiate_deflate([b"foo", offer]) == answer


@given(st.binary(max_size=3000))
def test_what_is_deflated_can_be_inflated(data: bytes) -> None:
    inflater = Inflater()
    for _ in range(2):
        assert inflater.piece(deflate(data)) + inflater.end() == data
    assert zlib.decompressobj(-15).decompress(deflate(data) + b"\0\0\xff\xff") == data
    assert deflate(b"") == b"\0"


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(1, 50))
def test_pieces_of_a_compressed_message(pieces: list[bytes], size: int) -> None:
    """Each can be inflated when it comes, in whatever pieces."""
    message, inflater = DeflatedMessage(), Inflater()
    for number, piece in enumerate(pieces, 1):
        last = number == len(pieces)
        payload = message.piece(piece, last)
        found = b"".join(inflater.piece(payload[at : at + size]) for at in range(0, len(payload), size))
        if last:
            found += inflater.end()
        assert found == piece


def test_a_peer_may_refer_to_earlier_messages() -> None:
    compressor, inflater = zlib.compressobj(wbits=-15), Inflater()
    sizes = []
    for _ in range(2):
        payload = (compressor.compress(bytes(range(200))) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        sizes.append(len(payload))
        assert inflater.piece(payload) + inflater.end() == bytes(range(200))
    assert sizes[1] < sizes[0] / 10


def test_a_peer_may_end_its_stream_with_each_message() -> None:
    """RFC 7692, 7.2.3.5: a final block, then an empty one that is not."""
    inflater = Inflater()
    for _ in range(3):
        compressor = zlib.compressobj(wbits=-15)
        payload = compressor.compress(b"hello") + compressor.flush(zlib.Z_FINISH) + b"\0"
        assert inflater.piece(payload) + inflater.end() == b"hello"


def test_a_peer_may_end_its_stream_within_a_message() -> None:
    ended = [zlib.compressobj(wbits=-15) for _ in range(3)]
    payload = b"".join(one.compress(b"hello") + one.flush(zlib.Z_FINISH) for one in ended) + b"\0"
    inflater = Inflater()
    assert inflater.piece(payload) + inflater.end() == b"hello" * 3
    assert inflater.piece(deflate(b"more")) + inflater.end() == b"more"


def test_ws_049_what_is_not_compressed_data() -> None:
    with pytest.raises(zlib.error):
        Inflater().piece(b"\xff" * 20)


def test_zeros_shrink_a_thousandfold() -> None:
    payload = deflate(bytes(5_000_000))
    assert len(payload) < 5500
    assert Inflater().piece(payload) == bytes(5_000_000)


# ---- frames ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "size"),
    [
        (0, b"\x00"), (125, b"\x7d"), (126, b"\x7e\x00\x7e"), (65535, b"\x7e\xff\xff"),
        (65536, b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)  # fmt: skip
def test_frames_are_as_short_as_may_be(length: int, size: bytes) -> None:
    assert encode_frame(2, bytes(length)) == b"\x82" + size + bytes(length)
    masked = bytes([size[0] | 0x80]) + size[1:]
    assert frame_header(2, length, True, masked=True) == b"\x82" + masked


def test_the_first_byte_of_a_frame() -> None:
    assert encode_frame(1, b"", False) == b"\x01\x00"
    assert encode_frame(0, b"") == b"\x80\x00"
    assert encode_frame(1, b"\0", compressed=True) == b"\xc1\x01\0"


def test_whole_messages() -> None:
    assert encode_message(1, b"hello", False) == b"\x81\x05hello"
    assert encode_message(1, b"hello", True) == b"\xc1\x07\xcaH\xcd\xc9\xc9\x07\0"
    assert encode_message(9, b"hello", True) == b"\x89\x05hello"


def test_the_payload_of_close() -> None:
    assert close_payload(None, b"lost") == b""
    assert close_payload(1000, b"") == b"\x03\xe8"
    assert close_payload(4001, b"bye") == b"\x0f\xa1bye"
    assert close_payload(1000, "é".encode() * 62) == b"\x03\xe8" + "é".encode() * 61
    assert close_payload(1000, b"x" * 123) == b"\x03\xe8" + b"x" * 123


def test_codes_of_close() -> None:
    good = [code for code in range(65536) if is_close_code(code)]
    assert good == [*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)]


@given(st.binary(max_size=100), st.binary(min_size=4, max_size=4))
def test_masks(data: bytes, key: bytes) -> None:
    assert mask(data, key) == bytes(byte ^ key[at % 4] for at, byte in enumerate(data))
    assert mask(mask(data, key), key) == data


# ---- leniency ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loose", "strict"),
    [
        (b"\x81\x02hi", b"\x81\x02hi"),
        (b"\xb1\x02hi", b"\x81\x02hi"),
        (b"\xf1\x02hi", b"\xc1\x02hi"),
        (b"\x81\x7e\x00\x02hi", b"\x81\x02hi"),
        (b"\x81\x7f" + bytes(7) + b"\x02hi", b"\x81\x02hi"),
        (b"\x81\xfe\x00\x02keyshi", b"\x81\x82keyshi"),
        (b"\x81\x7f" + bytes(6) + b"\x01\x00hi", b"\x81\x7e\x01\x00hi"),
        (b"\x81\x7e\x01\x00hi", b"\x81\x7e\x01\x00hi"),
        (b"\x88\x01xhi", b"\x88\x00hi"),
        (b"\x88\x81keysxhi", b"\x88\x80keyshi"),
        (b"\x88\x7e\x00\x01xhi", b"\x88\x00hi"),
    ],
)
def test_what_a_strict_reader_would_refuse(loose: bytes, strict: bytes) -> None:
    assert relax(loose) == strict
    missing = len(loose) - 2 if loose != strict or len(loose) > 4 else 2
    header = loose[:missing]
    for length in range(len(header)):
        relaxed = relax(header[:length])
        assert relaxed is None or strict.startswith(relaxed) or relaxed == strict[: len(relaxed)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 70_000])
def test_frames_are_taken_apart_again(size: int) -> None:
    for kind in (1, 2, 9):
        assert decode_frame(encode_frame(kind, b"x" * size)) == (kind, b"x" * size)
