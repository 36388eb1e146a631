"""``log_level`` and ``--loglevel`` (proxy 3.1)."""

from __future__ import annotations

import pytest

from pushpin_tw.config import parse_log_levels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "log level must be greater than or equal to 0"),
        ("-1", "log level must be greater than or equal to 0"),
        ("2,", "log level component cannot be empty"),
        (":2", "log level component name cannot be empty"),
        ("proxy:x", "log level for service proxy must be greater than or equal to 0"),
    ],
)
def test_c060_wrong_levels(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        parse_log_levels(text.split(","))


def test_the_last_one_counts() -> None:
    levels = parse_log_levels(["1", "proxy:0", " pushpin-proxy:3 ", "2"])
    assert (levels.of("proxy"), levels.of("runner")) == (3, 2)
