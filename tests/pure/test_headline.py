"""The parts of the headline demonstration that only compute: sizes, figures, reading, the picture."""

from __future__ import annotations

import struct
import zlib

import pytest

from benchmarks.headline.figures import COLUMNS, Delivery, Round, percentile, table_of
from benchmarks.headline.plot import BLUE, HEIGHT, WIDTH, plot, round_up
from benchmarks.headline.reading import read_poll, read_stream, text_of
from benchmarks.headline.sizes import Machine, Wish, size_of
from benchmarks.verify import Broken

LARGE = Machine(files=20_000, all_files=2_000_000, memory=24 * 2**30)


def round_of(number: int, seconds: list[float], lost: int = 0, missing: int = 0) -> Round:
    return Round(
        number, seconds, lost, missing, 1.0, asked=2, proxies=0.5, clients=0.2, backend=0.1, others=0.25
    )


# ---- sizes -------------------------------------------------------------------------------------------------


def test_a_large_machine_gets_all_clients() -> None:
    size = size_of(Wish(100_000, None, None), LARGE)
    assert (size.clients, size.instances, size.workers, size.notes) == (100_000, 1, 6, [])
    assert size.proxy_clients * size.workers > 100_000
    assert sum(size.crowds) == 100_000
    assert max(size.crowds) < 20_000
    assert max(size.crowds) - min(size.crowds) <= 1


@pytest.mark.parametrize(
    ("wish", "machine", "why"),
    [
        (Wish(100_000, 2, None), LARGE, "2 x 1 processes with 20,000 open files each"),
        (Wish(100_000, 1, 3), LARGE, "1 x 3 processes with 20,000 open files each"),
        (Wish(100_000, None, None), Machine(20_000, 2_000_000, 2**30), "1.0 GiB of memory are free"),
        (
            Wish(100_000, None, None),
            Machine(20_000, 60_000, 2**35),
            "60,000 open files in the system",
        ),
    ],
)
def test_what_is_too_much_is_made_smaller_and_said(wish: Wish, machine: Machine, why: str) -> None:
    size = size_of(wish, machine)
    assert 20_000 <= size.clients < 100_000
    assert list(size.notes) == [f"{size.clients:,} clients instead of 100,000: {why}"]
    assert sum(size.crowds) == size.clients


def test_few_clients_need_one_process_of_each_kind() -> None:
    size = size_of(Wish(200, None, None), Machine(1024, 100_000, 2**32))
    assert (size.clients, size.instances, size.workers, list(size.crowds)) == (200, 1, 1, [200])


# ---- figures -----------------------------------------------------------------------------------------------


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.01, 0.5, 0.95, 1)] == [1, 50, 95, 100]
    assert percentile([7.0], 0.5) == 7


def test_a_line_of_the_log() -> None:
    line = Delivery.of([0.001, 0.002, 0.006]).line(0.25)
    assert line.split() == [
        "0.25",
        "s",
        "3",
        "received",
        "min",
        "1",
        "ms",
        "avg",
        "3",
        "ms",
        "max",
        "6",
        "ms",
    ]


def test_the_rows_of_a_table_add_up() -> None:
    rounds = [round_of(1, [0.1, 0.3]), round_of(2, [0.5, 1.5], lost=1, missing=1), round_of(3, [])]
    table = table_of(rounds, "a run")
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in table.rows]
    assert [row["headline"] for row in rows] == [1, 2, 3, "median"]
    assert [row["received"] for row in rows] == [2, 2, 0, 2]
    assert [row["avg ms"] for row in rows] == [
        pytest.approx(200),
        pytest.approx(1000),
        None,
        pytest.approx(600),
    ]
    assert [row["in 1 s %"] for row in rows] == [100, 50, None, 75]
    assert rows[1]["lost"] == rows[1]["missing"] == 1
    assert rows[0]["others %"] == 25


# ---- reading -----------------------------------------------------------------------------------------------


def line_of(number: int, text: str | None = None) -> bytes:
    return b'{"id": %d, "text": "%s"}\n' % (number, (text or text_of(number)).encode())


def response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def chunks(*bodies: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(body), body) for body in bodies)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "whole", [response(line_of(4)), CHUNKED + chunks(line_of(4)[:9], line_of(4)[9:]) + b"0\r\n\r\n"]
)
def test_a_poll_counts_when_its_last_byte_is_there(whole: bytes) -> None:
    assert read_poll(whole) == (4,)
    assert all(read_poll(whole[:end]) is None for end in range(len(whole)))


def test_a_stream_counts_when_its_lines_are_there() -> None:
    whole = CHUNKED + chunks(line_of(0), line_of(1))
    assert read_stream(whole) == (0, 1)
    assert read_stream(CHUNKED + chunks(line_of(0)[:5])) is None
    assert read_stream(whole[:20]) is None
    assert read_stream(chunks(line_of(2))) == (2,)


@pytest.mark.parametrize(
    "data",
    [
        response(line_of(4)) + b"x",
        response(line_of(4, "something else")),
        response(b"{}"),
        response(b"no JSON"),
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_what_is_not_the_headline_is_no_delivery(data: bytes) -> None:
    with pytest.raises(Broken):
        read_poll(data)


@pytest.mark.parametrize(
    "data",
    [
        chunks(line_of(4, "else")),
        b"zz\r\n",
        b"0\r\n\r\n",
        response(line_of(1)),
        CHUNKED[:9] + b"500 No\r\n\r\n",
    ],
)
def test_what_is_not_the_stream_is_no_delivery(data: bytes) -> None:
    with pytest.raises(Broken):
        read_stream(data)


# ---- the picture -------------------------------------------------------------------------------------------


def test_a_picture_is_a_png_with_bars_of_the_right_height() -> None:
    data = plot([0.01] * 30 + [0.05] * 60 + [0.1] * 10, 100)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    parts = {}
    at = 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        part = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size]) == (zlib.crc32(kind + part),)
        parts[kind] = part
        at += 12 + size
    assert list(parts) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert struct.unpack(">II", parts[b"IHDR"][:8]) == (WIDTH, HEIGHT)
    rows = zlib.decompress(parts[b"IDAT"])
    assert len(rows) == HEIGHT * (WIDTH + 1)
    bars = [sum(row[x] == BLUE for row in _rows(rows)) for x in range(WIDTH)]
    tallest = max(bars)
    assert bars.index(tallest) in range(WIDTH // 3, WIDTH * 2 // 3)  # 60 of 100, after half of the time
    assert {round(bar / tallest, 1) for bar in bars} >= {0, 0.5, 1}


def _rows(data: bytes) -> list[bytes]:
    return [data[at + 1 : at + 1 + WIDTH] for at in range(0, len(data), WIDTH + 1)]


@pytest.mark.parametrize(
    ("value", "above"), [(0.0004, 0.001), (1, 1), (1.1, 2), (3, 5), (51, 100), (2000, 2000)]
)
def test_axes_end_at_round_numbers(value: float, above: float) -> None:
    assert round_up(value) == pytest.approx(above)
