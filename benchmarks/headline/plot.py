"""A picture of a round: deliveries over time as bars, and as a line the share of all that have arrived.

Used by `command`.  Writes PNG (RFC 2083) with the standard library alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, TOP, BOTTOM = 60, 50, 20, 40
BARS = 130
WHITE, BLACK, GREY, BLUE, RED = 0, 1, 2, 3, 4
PALETTE = bytes([255, 255, 255, 40, 40, 40, 215, 215, 215, 90, 140, 200, 200, 60, 50])
GLYPHS = dict(  # 3 wide, 5 high; a row is three bits, an octal digit
    zip(
        "0123456789.%sm/ ",
        (
            *(0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71122, 0o75757, 0o75717),
            *(0o00002, 0o51245, 0o03636, 0o07755, 0o11244, 0),
        ),
        strict=True,
    )
)
SCALE = 2  # pixels of a dot of a glyph


class Canvas:
    """Pixels of a small palette; y grows downwards."""

    def __init__(self) -> None:
        self._rows = [bytearray(WIDTH) for _ in range(HEIGHT)]

    def box(self, x: int, y: int, width: int, height: int, colour: int) -> None:
        """A filled rectangle."""
        for row in self._rows[max(y, 0) : y + height]:
            row[x : x + width] = bytes([colour]) * min(width, WIDTH - x)

    def text(self, x: int, y: int, text: str) -> None:
        """Digits and a few signs, with their upper left corner at x, y."""
        for place, sign in enumerate(text):
            for dot in range(15):
                if GLYPHS[sign] >> (14 - dot) & 1:
                    down, right = divmod(dot, 3)
                    self.box(x + (place * 4 + right) * SCALE, y + down * SCALE, SCALE, SCALE, BLACK)

    def png(self) -> bytes:
        """The picture as a file."""
        pixels = zlib.compress(b"".join(b"\0" + row for row in self._rows), 9)
        head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0)
        parts = [(b"IHDR", head), (b"PLTE", PALETTE), (b"IDAT", pixels), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in parts
        )


def round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50... that is not below `value`."""
    power = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.001
    while True:
        for factor in (1, 2, 5):
            if factor * power >= value:
                return factor * power
        power *= 10


def plot(seconds: Sequence[float], clients: int) -> bytes:
    """A PNG of the deliveries to `clients` at these times; at least one."""
    canvas = Canvas()
    step = round_up(max(seconds) * 1000 / BARS)  # ms of a bar
    bars = [0] * BARS
    for second in seconds:
        bars[min(int(second * 1000 / step), BARS - 1)] += 1
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    top = round_up(max(bars))
    bar = wide // BARS
    _axes(canvas, step, top, bar)
    so_far = 0
    level = TOP + high
    for number, count in enumerate(bars):
        x, tall = LEFT + number * bar, round(high * count / top)
        canvas.box(x, TOP + high - tall, bar - 1, tall, BLUE)
        so_far += count
        before, level = level, TOP + high - round(high * so_far / clients)
        canvas.box(x, level, 2, max(before - level, 2), RED)
        canvas.box(x, level, bar, 2, RED)
    return canvas.png()


def _axes(canvas: Canvas, step: float, top: float, bar: int) -> None:
    wide, high = bar * BARS, HEIGHT - TOP - BOTTOM
    for quarter in range(5):
        y = TOP + high - high * quarter // 4
        canvas.box(LEFT, y, wide, 1, GREY)
        canvas.text(4, y - 5, f"{top * quarter / 4:.0f}".rjust(6))
        canvas.text(LEFT + wide + 8, y - 5, f"{25 * quarter}%")
    for number in range(0, BARS + 1, BARS // 5):
        x = LEFT + number * bar
        canvas.box(x, TOP + high, 1, 5, BLACK)
        canvas.text(x - 16, TOP + high + 10, f"{number * step:.0f} ms")
    canvas.box(LEFT, TOP + high, wide, 1, BLACK)
    canvas.text(LEFT, 4, f"/{step:.0f} ms")
