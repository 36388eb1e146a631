"""Frames in any pieces, of any peer, good or bad (RFC 6455, 5; websocket 1.4 to 1.6)."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.framing import ClientFraming, ServerFraming
from pushpin_tw.sockets import BINARY, CLOSE, FRAME, MESSAGE, PARTIAL, PING, PONG, TEXT
from pushpin_tw.wire.websocket import mask as apply_mask

KEY = b"\x01\x02\x03\x04"


def frame(
    kind: int, data: bytes = b"", fin: bool = True, rsv: int = 0, mask: bytes = KEY, form: int = 0
) -> bytes:
    """The bytes of one frame; ``form`` bytes of length are used even when fewer would do."""
    size = len(data)
    form = form or (0 if size < 126 else 2 if size < 65536 else 8)
    short = {0: size, 2: 126, 8: 127}[form]
    head = bytes([fin << 7 | rsv << 4 | kind, bool(mask) << 7 | short]) + (
        size.to_bytes(form, "big") if form else b""
    )
    return head + mask + (apply_mask(data, mask) if mask else data)


class Hearing:
    """Owns a framing and writes down what it is told."""

    def __init__(self, client: bool = False, deflate: bool = False, lenient: bool = False) -> None:
        self.written = b""
        self.pieces: list[tuple[int, bytes, bool, int]] = []
        self.end: tuple[Any, ...] = ()
        self.framing: ServerFraming | ClientFraming
        if client:
            self.framing = ClientFraming(self._write, self, deflate, lenient, lambda count: KEY[:count])
        else:
            self.framing = ServerFraming(self._write, self, deflate, lenient)

    def _write(self, data: bytes) -> None:
        self.written += data

    def piece(self, kind: int, data: bytes, first: bool, end: int) -> None:
        assert not self.end
        self.pieces.append((kind, data, first, end))

    def closed(self, code: int | None, reason: bytes) -> None:
        assert not self.end
        self.end = ("closed", code, reason)

    def violated(self, code: int, text: str) -> None:
        assert not self.end
        assert text.isascii() and 0 < len(text) <= 123
        self.end = ("violated", code)

    def hear(self, data: bytes, step: int = 0) -> Hearing:
        """All of it, ``step`` bytes at a time."""
        for at in range(0, len(data), step or len(data) or 1):
            self.framing.received(data[at : at + (step or len(data))])
        return self

    @property
    def messages(self) -> list[tuple[int, bytes]]:
        """Whole messages, and pings and pongs where they came."""
        found: list[tuple[int, bytes]] = []
        begun: list[bytes] | None = None
        for kind, data, first, end in self.pieces:
            if kind > BINARY:
                assert first and end == MESSAGE
                found.append((kind, data))
                continue
            assert first == (begun is None)
            begun = [*(begun or []), data]
            if end == MESSAGE:
                found.append((kind, b"".join(begun)))
                begun = None
        return found


# ---- what is right -----------------------------------------------------------------------------------------

MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.just(TEXT), st.text(max_size=300).map(str.encode)),
        st.tuples(st.just(BINARY), st.binary(max_size=300)),
        st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)),
    ),
    max_size=8,
)


@given(MESSAGES, st.integers(1, 700), st.booleans(), st.booleans())
def test_messages_in_any_pieces(
    said: list[tuple[int, bytes]], step: int, lenient: bool, client: bool
) -> None:
    data = b"".join(frame(kind, content, mask=b"" if client else KEY) for kind, content in said)
    assert Hearing(client, lenient=lenient).hear(data, step).messages == said


@given(MESSAGES, st.integers(1, 40), st.integers(1, 700))
def test_messages_in_fragments(said: list[tuple[int, bytes]], size: int, step: int) -> None:
    data = b""
    for kind, content in said:
        if kind > BINARY:
            data += frame(kind, content)
            continue
        parts = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
        for number, part in enumerate(parts):
            data += frame(0 if number else kind, part, number == len(parts) - 1)
    assert Hearing().hear(data, step).messages == said


@given(MESSAGES, st.booleans(), st.booleans(), st.integers(1, 700))
def test_what_one_side_writes_the_other_reads(
    said: list[tuple[int, bytes]], client: bool, deflate: bool, step: int
) -> None:
    speaker, hearer = Hearing(client, deflate), Hearing(not client, deflate)
    for kind, content in said:
        if kind > BINARY:
            speaker.framing.frame(kind, content)
        else:
            half = len(content) // 2
            speaker.framing.frame(kind, content[:half], True, False)
            speaker.framing.frame(PING, b"between")
            speaker.framing.frame(kind, content[half:], False, True)
            speaker.framing.frame(kind, content)
    speaker.framing.close(4000, b"bye")
    hearer.hear(speaker.written, step)
    expected = []
    for kind, content in said:
        expected += (
            [(kind, content)] if kind > BINARY else [(PING, b"between"), (kind, content), (kind, content)]
        )
    assert hearer.messages == expected
    assert hearer.end == ("closed", 4000, b"bye")


def test_a_long_frame_comes_piece_by_piece() -> None:
    hearing = Hearing()
    data = frame(BINARY, bytes(range(10)))
    for at in (0, 6, 8, 13):
        hearing.framing.received(data[at : {0: 6, 6: 8, 8: 13, 13: 16}[at]])
    assert hearing.pieces == [
        (BINARY, b"\x00\x01", True, PARTIAL),
        (BINARY, b"\x02\x03\x04\x05\x06", False, PARTIAL),
        (BINARY, b"\x07\x08\x09", False, MESSAGE),
    ]


def test_the_end_of_a_frame_within_a_message() -> None:
    hearing = Hearing().hear(
        frame(TEXT, b"a", False) + frame(PING, b"p") + frame(0, b"", False) + frame(0, b"b")
    )
    assert hearing.pieces == [
        (TEXT, b"a", True, FRAME),
        (PING, b"p", True, MESSAGE),
        (TEXT, b"", False, FRAME),
        (TEXT, b"b", False, MESSAGE),
    ]


@pytest.mark.parametrize("size", [2047, 2048, 70_000])
def test_masks_of_long_frames(size: int) -> None:
    """Where masking in machine code begins."""
    data = (bytes(range(251)) * 300)[:size]
    speaker = Hearing(client=True)
    speaker.framing.frame(BINARY, data)
    assert Hearing().hear(speaker.written, 4001).messages == [(BINARY, data)]


# ---- CLOSE -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "end"),
    [
        (b"", ("closed", None, b"")),
        (b"\x03\xe8", ("closed", 1000, b"")),
        (b"\x0f\xa0why", ("closed", 4000, b"why")),
        (b"x", ("violated", 1002)),
        (b"\x03\xed", ("violated", 1002)),
        (b"\x03\xe8\xff", ("violated", 1007)),
    ],
)
def test_close(payload: bytes, end: tuple[Any, ...]) -> None:
    hearing = Hearing().hear(frame(CLOSE, payload) + frame(TEXT, b"not looked at") + frame(3))
    assert (hearing.end, hearing.pieces) == (end, [])


def test_close_without_rigour() -> None:
    assert Hearing(lenient=True).hear(frame(CLOSE, b"x")).end == ("closed", None, b"")
    assert Hearing(lenient=True).hear(frame(CLOSE, b"\0\0why")).end == ("closed", 0, b"why")
    assert Hearing(lenient=True).hear(frame(CLOSE, b"\x03\xe8\xff")).end == ("violated", 1007)


# ---- what is wrong -----------------------------------------------------------------------------------------

WRONG = {
    "unmasked": (frame(TEXT, b"a", mask=b""), True),
    "rsv2": (frame(TEXT, b"a", rsv=2), True),
    "rsv3": (frame(TEXT, b"a", rsv=1), True),
    "long_16": (frame(TEXT, b"a", form=2), True),
    "long_64": (frame(TEXT, b"a", form=8), True),
    "rsv1": (frame(TEXT, b"a", rsv=4), False),
    "opcode_3": (frame(3), False),
    "opcode_15": (frame(15), False),
    "continuation": (frame(0, b"a"), False),
    "text_within": (frame(BINARY, b"", False) + frame(TEXT, b"a"), False),
    "ping_126": (frame(PING, bytes(126)), False),
    "ping_in_pieces": (frame(PING, b"", False), False),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("step", [1, 0])
def test_what_breaks_the_rules(name: str, step: int) -> None:
    data, tolerated = WRONG[name]
    assert Hearing().hear(data, step).end == ("violated", 1002)
    lenient = Hearing(lenient=True).hear(data + frame(TEXT, b"b"), step)
    if tolerated:
        assert (lenient.end, lenient.messages) == ((), [(TEXT, b"a"), (TEXT, b"b")])
    else:
        assert lenient.end == ("violated", 1002)


def test_masks_of_servers() -> None:
    assert Hearing(client=True).hear(frame(TEXT, b"a")).end == ("violated", 1002)
    assert Hearing(client=True, lenient=True).hear(frame(TEXT, b"a")).messages == [(TEXT, b"a")]


@given(st.binary(max_size=40), st.integers(1, 9), st.integers(0, 40))
def test_utf_8_in_any_pieces(data: bytes, step: int, cut: int) -> None:
    """The verdict on a text is the same however it comes, and bad text is never told to its end."""
    said = frame(TEXT, data[:cut], False) + frame(0, data[cut:])
    try:
        data.decode()
    except UnicodeDecodeError:
        hearing = Hearing().hear(said, step)
        assert (hearing.end, hearing.messages) == (("violated", 1007), [])
    else:
        assert Hearing().hear(said, step).messages == [(TEXT, data)]
    assert Hearing(lenient=True).hear(said, step).messages == [(TEXT, data)]


@given(st.binary(max_size=200), st.integers(1, 200), st.booleans(), st.booleans(), st.booleans())
def test_any_bytes(data: bytes, step: int, client: bool, deflate: bool, lenient: bool) -> None:
    """Whatever comes, nothing is raised, and all is the same in one piece as in many."""
    whole = Hearing(client, deflate, lenient).hear(data)
    pieces = Hearing(client, deflate, lenient).hear(data, step)
    assert (pieces.messages, pieces.end) == (whole.messages, whole.end)


CONTENTS = st.one_of(
    st.binary(max_size=6),
    st.text(max_size=3).map(str.encode),
    st.sampled_from([b"", bytes(125), bytes(126), b"\x03\xe8bye", b"\xcaH\xcd\xc9\xc9\x07\0"]),
)
FRAMES = st.lists(
    st.builds(
        frame,
        kind=st.sampled_from([0, TEXT, BINARY, CLOSE, PING, PONG, 3]),
        data=CONTENTS,
        fin=st.booleans(),
        rsv=st.sampled_from([0, 0, 4, 1]),
        mask=st.sampled_from([KEY, KEY, b""]),
        form=st.sampled_from([0, 0, 8]),
    ),
    max_size=6,
).map(b"".join)


@given(FRAMES, st.integers(1, 50), st.booleans(), st.booleans(), st.booleans())
def test_any_frames(data: bytes, step: int, client: bool, deflate: bool, lenient: bool) -> None:
    """The same for what looks like frames."""
    whole = Hearing(client, deflate, lenient).hear(data)
    pieces = Hearing(client, deflate, lenient).hear(data, step)
    assert (pieces.messages, pieces.end) == (whole.messages, whole.end)


# ---- compression -------------------------------------------------------------------------------------------


def test_what_is_no_compressed_data() -> None:
    assert Hearing(deflate=True).hear(frame(TEXT, b"\xff\xff\xff", rsv=4)).end == ("violated", 1007)


@pytest.mark.parametrize(
    "said",
    [frame(PING, b"", rsv=4), frame(TEXT, b"", False, rsv=4) + frame(0, b"", rsv=4)],
    ids=["ping", "continuation"],
)
def test_where_compression_must_not_be_said(said: bytes) -> None:
    for lenient in (False, True):
        assert Hearing(deflate=True, lenient=lenient).hear(said).end == ("violated", 1002)


def test_compressed_messages_may_refer_to_earlier_ones() -> None:
    stream = zlib.compressobj(wbits=-15)
    said = b""
    for _ in range(3):
        packed = (stream.compress(b"again and again") + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
        said += frame(TEXT, packed, rsv=4) + frame(TEXT, b"between")
    hearing = Hearing(deflate=True).hear(said)
    assert hearing.messages == [(TEXT, b"again and again"), (TEXT, b"between")] * 3


def test_a_text_is_checked_behind_its_compression() -> None:
    stream = zlib.compressobj(wbits=-15)
    packed = (stream.compress(b"\xff") + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert Hearing(deflate=True).hear(frame(TEXT, packed, rsv=4)).end == ("violated", 1007)
    assert Hearing(deflate=True, lenient=True).hear(frame(TEXT, packed, rsv=4)).messages == [(TEXT, b"\xff")]


# ---- the end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [frame(TEXT, b"a") * 2, frame(TEXT, b"a", False) + frame(0, b"b"), frame(PING) * 2]
)
def test_stopped_while_being_told_something(said: bytes) -> None:
    class Stopping(Hearing):
        def piece(self, kind: int, data: bytes, first: bool, end: int) -> None:
            super().piece(kind, data, first, end)
            self.framing.stop()
            self.framing.frame(TEXT, b"to nobody")

    hearing = Stopping().hear(said)
    hearing.framing.received(said)
    assert len(hearing.pieces) == 1 and not hearing.end and not hearing.written
