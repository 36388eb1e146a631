"""X-Forwarded-For rules and logical addresses (proxy 4.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.routing.forwarded import ForwardedRule, cdn_loop


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ([], ForwardedRule()),
        (["append"], ForwardedRule(None, True)),
        (["truncate:2", "append"], ForwardedRule(2, True)),
        (["", "shuffle", "append", "Append"], ForwardedRule(None, True)),
        (["truncate:x", "append"], ForwardedRule()),
        (["append", "truncate:-1", "truncate:2"], ForwardedRule(None, True)),
        (["truncate:1", "truncate:2"], ForwardedRule(2)),
    ],
)
def test_rules(words: list[str], rule: ForwardedRule) -> None:
    assert ForwardedRule.parse(words) == rule


@given(
    st.integers(0, 5) | st.none(),
    st.booleans(),
    st.lists(st.lists(st.sampled_from([b"1.1.1.1", b"::2", b"x"]), max_size=3).map(b" , ".join), max_size=3),
    st.sampled_from(["", "127.0.0.1"]),
)
def test_apply(truncate: int | None, append: bool, came: list[bytes], peer: str) -> None:
    rule = ForwardedRule(truncate, append)
    values = [value.strip() for value in b",".join(came).split(b",") if value.strip()]
    if truncate is not None:
        values = values[max(0, len(values) - truncate) :]
    if append and peer:
        values.append(peer.encode())
    assert rule.apply(came, peer) == b", ".join(values)


@pytest.mark.parametrize(
    ("rule", "headers", "address"),
    [
        (ForwardedRule(), [(b"x-forwarded-for", b"9.8.7.6, 1.1.1.1")], "9.8.7.6"),
        (ForwardedRule(1), [(b"X-Forwarded-For", b" ::1 ")], "::1"),
        (ForwardedRule(0), [(b"X-Forwarded-For", b"9.8.7.6")], "127.0.0.1"),
        (ForwardedRule(), [(b"X-Forwarded-For", b"unknown")], "127.0.0.1"),
        (ForwardedRule(), [(b"X-Forwarded-For", b"\xe9")], "127.0.0.1"),
        (ForwardedRule(), [], "127.0.0.1"),
    ],
)
def test_c206_logical_addresses(
    rule: ForwardedRule, headers: list[tuple[bytes, bytes]], address: str
) -> None:
    assert rule.logical_address(headers, "127.0.0.1") == address


def test_cdn_loop() -> None:
    assert cdn_loop([], b"me") == b"me"
    assert cdn_loop([b"a , b", b'c;x="1,2"'], b"me") == b'a, b, c;x="1,2", me'
