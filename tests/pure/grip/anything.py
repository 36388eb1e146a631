"""Words of which instructions and items are made up, and what must be true of a response.

For the tests of what holds for all of them.
"""

from __future__ import annotations

from hypothesis import strategies as st

from pushpin_tw.wire.headers import is_token, is_value

TOKENS = st.text("abcXYZ019-_./:", min_size=1, max_size=8).map(str.encode)
"""What stands in a header without quotes."""
QUOTABLE = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=8
)
"""Text that may stand in a header."""


def check_whole(data: bytes) -> None:
    """One head without surprises, and a body."""
    head, _, _ = data.partition(b"\r\n\r\n")
    status_line, *lines = head.split(b"\r\n")
    assert status_line.startswith(b"HTTP/1.") and is_value(status_line)
    for line in lines:
        name, colon, value = line.partition(b":")
        assert colon and is_token(name) and is_value(value)
