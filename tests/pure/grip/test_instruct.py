"""Instructions in headers (grip 2 to 6, 17.3, 17.4; proxy 7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import InstructError
from pushpin_tw.grip.instruct import (
    Channel,
    Instruct,
    KeepAlive,
    NextLink,
    allows_long_body,
    is_instruct,
    parse_instruct,
)
from pushpin_tw.wire.message import Response

URI = "http://example.com/path/page?x=1"
HOLD = "Grip-Hold must be set to either 'response' or 'stream'"


def response(*lines: str, status: int = 200, reason: str = "OK") -> Response:
    pairs = (line.partition(":") for line in lines)
    headers = [(name.encode("latin-1"), value.strip().encode("latin-1")) for name, _, value in pairs]
    return Response(status, reason.encode(), headers)


def parse(*lines: str, body: bytes = b"", status: int = 200, reason: str = "OK") -> Instruct:
    return parse_instruct(response(*lines, status=status, reason=reason), body, URI)


def refused(*lines: str) -> str:
    with pytest.raises(InstructError) as caught:
        parse(*lines)
    return caught.value.detail


# ---- grip 2, 17.3


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Grip-Foo: 1"], True),
        (["gRIP-: "], True),
        (["Content-Type: application/grip-instruct"], True),
        (["Content-Type: application/grip-instruct; charset=x"], True),
        (["Content-Type: application/grip-instruct ;"], False),
        (["Content-Type: Application/Grip-Instruct"], False),
        (["Content-Type: text/plain", "Content-Type: application/grip-instruct"], False),
        (["X-Grip-Hold: stream", "Grip: x"], False),
        ([], False),
    ],
)
def test_grip_100_what_is_an_instruction(lines: list[str], expected: bool) -> None:
    assert is_instruct(response(*lines)) is expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Grip-Hold: stream"], True),
        (["Grip-Hold: stream", "Grip-Channel: a; filter=skip-self"], True),
        (["Grip-Hold: stream", "Grip-Channel: a; filter=skip-self; filter=build-id"], False),
        (["Grip-Hold: stream", "Content-Type: application/grip-instruct"], False),
        (["Grip-Hold: response"], False),
        (["Grip-Hold: response", "Grip-Link: </x>; rel=next"], False),
        (["Grip-Link: </x>; rel=next"], True),
        (["Grip-Link: </x>; rel=gone"], False),
        (["Grip-Channel: a"], False),
    ],
)
def test_c160_who_may_have_a_long_body(lines: list[str], expected: bool) -> None:
    assert allows_long_body(response(*lines)) is expected


def test_grip_061_no_hold() -> None:
    assert parse("Grip-Channel: x", "X-A: 1", body=b"plain") == Instruct(
        "none", 200, b"OK", ((b"X-A", b"1"),), b"plain", (Channel("x"),)
    )


def test_grip_062_status_without_hold() -> None:
    instruct = parse("Grip-Status: 404", body=b"plain")
    assert (instruct.status, instruct.reason, instruct.body) == (404, b"Not Found", b"plain")


def test_grip_063_c155_unknown_headers_are_stripped() -> None:
    assert parse("Grip-Foo: 1", body=b"x") == Instruct("none", 200, b"OK", (), b"x")


def test_grip_064_empty_body() -> None:
    assert parse("Grip-Channel: x").body == b""


def test_headers_of_the_framing_are_dropped_and_others_kept_in_order() -> None:
    dropped = ["Connection: x", "Keep-alive: 5", "content-encoding: gzip", "Content-Length: 5", "GRIP-X: 1"]
    instruct = parse("Set-Cookie: a", *dropped, "x-a: 1", "Transfer-Encoding: chunked", "Set-Cookie: b")
    assert instruct.headers == ((b"Set-Cookie", b"a"), (b"x-a", b"1"), (b"Set-Cookie", b"b"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x-a, X-C", (b"X-A", b"X-C")),
        ("", (b"X-A", b"X-B", b"X-C")),
        (",", ()),
        ("X-A; foo", ()),
        ('"X-A"', ()),
        ("Grip-Foo", ()),
    ],
)
def test_grip_025_exposed_headers(value: str, expected: tuple[bytes, ...]) -> None:
    lines = ["X-A: 1", f"Grip-Expose-Headers: {value}", "X-B: 2", "Grip-Foo: 3", "X-C: 4"]
    assert tuple(name for name, _ in parse(*lines).headers) == expected


# ---- Grip-Hold, Grip-Channel


@pytest.mark.parametrize("value", ["RESPONSE", "bogus", ""])
def test_grip_069_c157_hold(value: str) -> None:
    assert refused(f"Grip-Hold: {value}") == HOLD


def test_grip_070_first_hold_counts() -> None:
    assert parse("Grip-Hold: stream", "Grip-Hold: response").mode == "stream"


def test_grip_071_unterminated_quote_skips_the_channel() -> None:
    assert parse("Grip-Hold: stream", 'Grip-Channel: a; prev-id="3').channels == ()


def test_grip_072_too_many_filters() -> None:
    filters = "; filter=x" * 5
    assert len(parse(f"Grip-Channel: a{filters}").channels[0].filters) == 5
    assert refused(f"Grip-Channel: a{filters}; filter=y") == "too many filters for channel 'a'"
    assert parse(f"Grip-Channel: a{filters}; filter; Filter=y").channels[0].filters == ("x",) * 5


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a, ,b,"], [Channel("a"), Channel(""), Channel("b")]),
        (["c1", "c2"], [Channel("c1"), Channel("c2")]),
        (['"q,w"'], [Channel('"q,w"')]),
        (["my chan;x=y"], [Channel("my chan")]),
        (["a; prev-id=1; filter=f; filter=g"], [Channel("a", "1", ("f", "g"))]),
        (["a; PREV-ID=1; FILTER=f"], [Channel("a", "1")]),
        (["a; prev-id="], [Channel("a", "")]),
        (["a; prev-id"], [Channel("a")]),
        (['a; prev-id=""'], [Channel("a")]),
        (["a; prev-id=1; filter=f, b, a; prev-id=2"], [Channel("a", "2"), Channel("b")]),
        (["caf\u00c3\u00a9, \u00ff"], [Channel("caf\u00e9"), Channel("\ufffd")]),
        ([""], []),
    ],
)
def test_grip_040_to_042_086_087_channels(lines: list[str], expected: list[Channel]) -> None:
    assert parse(*(f"Grip-Channel: {line}" for line in lines)).channels == tuple(expected)


# ---- Grip-Timeout, Grip-Keep-Alive


@pytest.mark.parametrize("value", ["x", "1.5", "", "2147483648"])
def test_grip_073_timeout_is_no_integer(value: str) -> None:
    assert refused(f"Grip-Timeout: {value}") == "failed to parse Grip-Timeout"


def test_grip_074_negative_timeout() -> None:
    assert refused("Grip-Timeout: -1") == "Grip-Timeout has invalid value"


@pytest.mark.parametrize(("value", "expected"), [("+5 ", 5), ("0", 5), ("4", 5), ("6", 6), ("010", 10)])
def test_grip_075_timeouts(value: str, expected: int) -> None:
    assert parse(f"Grip-Timeout: {value}").timeout == expected
    assert parse("Grip-Foo: 1").timeout == 55


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("; timeout=5", "Grip-Keep-Alive cannot be empty"),
        ("x; mode=bogus", "no such Grip-Keep-Alive mode 'bogus'"),
        ("x; MODE=Idle", "no such Grip-Keep-Alive mode 'Idle'"),
        ("x; format=bogus", "no such Grip-Keep-Alive format 'bogus'"),
        ("x; timeout=x", "failed to parse Grip-Keep-Alive timeout value"),
        ("x; timeout=", "failed to parse Grip-Keep-Alive timeout value"),
        ("x; timeout=-1", "Grip-Keep-Alive timeout has invalid value"),
        (r"\xzz; format=cstring", "failed to parse Grip-Keep-Alive cstring format"),
        (r"\x1; format=cstring", "failed to parse Grip-Keep-Alive cstring format"),
        (r"\x+1; format=cstring", "failed to parse Grip-Keep-Alive cstring format"),
        ("a\\; format=cstring", "failed to parse Grip-Keep-Alive cstring format"),
        (r"\t; format=cstring", "failed to parse Grip-Keep-Alive cstring format"),
        (r"\; format=cstring; timeout=x; mode=bogus", "no such Grip-Keep-Alive mode 'bogus'"),
        (r"\; format=cstring; timeout=x", "failed to parse Grip-Keep-Alive timeout value"),
    ],
)
def test_grip_076_to_079_keep_alive_errors(value: str, expected: str) -> None:
    assert refused(f"Grip-Keep-Alive: {value}") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        ('x; mode="idle', None),
        ("ping; timeout=2", KeepAlive(b"ping", 2)),
        ("ping", KeepAlive(b"ping", 55)),
        (r"\x01a\r\n\\b\tz; format=cstring; timeout=2", KeepAlive(b"\x01a\r\n\\bz", 2)),
        (r"\x20\x5C\xfF; format=cstring", KeepAlive(b" \\\xff")),
        ("AP8K; format=base64; timeout=2", KeepAlive(b"\x00\xff\n", 2)),
        ("=; format=base64", None),
        ("x; timeout=0", KeepAlive(b"x", 1)),
        ("K; timeout=3; mode=interval", KeepAlive(b"K", 3, True)),
        ("K; mode=; format=", KeepAlive(b"K")),
        ('"a b"; timeout=2', KeepAlive(b'"a b"', 2)),
        ("a, b; timeout=2", KeepAlive(b"a, b", 2)),
        ('x; timeout=" 5 "', KeepAlive(b"x", 5)),
    ],
)
def test_grip_048_to_055_keep_alive(value: str, expected: KeepAlive | None) -> None:
    assert parse(f"Grip-Keep-Alive: {value}", "Grip-Keep-Alive: other").keep_alive == expected


# ---- Grip-Set-Meta, Grip-Status, Grip-Link


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['user=alice, id_format="%(c)s"'], {"user": "alice", "id_format": "%(c)s"}),
        (["a=1; c=9"], {"a": "1"}),
        (["a=1", "a=2, b="], {"a": "2", "b": ""}),
        (["a, b=1"], {"b": "1"}),
        (['a=1, a=""'], {}),
        (['a="1, b=2', "c=3"], {"c": "3"}),
        (["a=1,,b=2"], {"a": "1", "b": "2"}),
        (['a="x;y,z"; q'], {"a": "x;y,z"}),
    ],
)
def test_meta(lines: list[str], expected: dict[str, str]) -> None:
    assert parse(*(f"Grip-Set-Meta: {line}" for line in lines)).meta == expected


@pytest.mark.parametrize("value", ["abc", "x", "1000", "-1", "0", "7", "100", "199", "404foo", " "])
def test_grip_080_c156_c229_status(value: str) -> None:
    headers = [(b"Grip-Status", value.encode())]
    with pytest.raises(InstructError, match=r"^Grip-Status contains invalid status code$"):
        parse_instruct(Response(200, b"OK", headers), b"", URI)


def test_c228_reason_of_grip_status() -> None:
    for reason in (b"a\r\nX: 1", b"a\x00", b"\n"):
        with pytest.raises(InstructError, match=r"^Grip-Status contains invalid reason$"):
            parse_instruct(Response(200, b"OK", [(b"Grip-Status", b"200 " + reason)]), b"", URI)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("404 Nope", (404, b"Nope")),
        ("404", (404, b"Not Found")),
        ("404 ", (404, b"Not Found")),
        ("404  Two Spaces", (404, b" Two Spaces")),
        ("+0404 a", (404, b"a")),
        ("999", (999, b"Undefined Reason")),
        ("200 \xff", (200, b"\xff")),
        ("", (500, b"Oops")),
    ],
)
def test_grip_021_to_024_c156_statuses(value: str, expected: tuple[int, bytes]) -> None:
    headers = [(b"Grip-Status", value.encode("latin-1"))]
    instruct = parse_instruct(Response(500, b"Oops", headers), b"", URI)
    assert (instruct.status, instruct.reason) == expected


def test_an_origin_without_a_reason_gets_the_default() -> None:
    assert parse("Grip-Foo: 1", status=404, reason="").reason == b"Not Found"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/x; rel=next", "failed to parse Grip-Link value"),
        ("<>; rel=next", "failed to parse Grip-Link value"),
        ("<x; rel=prev", "failed to parse Grip-Link value"),
        ("<a,b>; rel=next", "failed to parse Grip-Link value"),
        ("<http://foo:bar/>; rel=next", "Grip-Link contains invalid link"),
        ("<ftp://foo/>; rel=next", "Grip-Link contains invalid link"),
        ("</x>; rel=next; timeout=x", "failed to parse Grip-Link timeout value"),
        ("</x>; rel=next; timeout=", "failed to parse Grip-Link timeout value"),
        ("</x>; rel=next; timeout=-1", "Grip-Link timeout has invalid value"),
    ],
)
def test_grip_081_to_083_123_links(value: str, expected: str) -> None:
    assert refused(f"Grip-Link: {value}") == expected


@pytest.mark.parametrize(
    "value", ["/x", "/x;", "</x>; rel=prev", "</x>; rel=prev; timeout=x", '</x>; rel="next']
)
def test_grip_084_ignored_links(value: str) -> None:
    instruct = parse(f"Grip-Link: {value}")
    assert instruct.next_link is instruct.gone_link is None


def test_grip_122_links() -> None:
    instruct = parse(
        "Grip-Link: </first>; rel=next, <http://other/n>; REL=next; timeout=0",
        "Grip-Link: <g?a=b%2Cc>; rel=gone; timeout=x",
    )
    assert instruct.next_link == NextLink("http://other/n", 0)
    assert instruct.gone_link == "http://example.com/path/g?a=b%2Cc"
    assert parse("Grip-Link: <?y=2>; rel=next").next_link == NextLink("http://example.com/path/page?y=2", 120)


# ---- order


FAULTS = [
    ("Grip-Hold: x", HOLD),
    ("Grip-Channel: a" + "; filter=x" * 6, "too many filters for channel 'a'"),
    ("Grip-Timeout: x", "failed to parse Grip-Timeout"),
    ("Grip-Keep-Alive: ;", "Grip-Keep-Alive cannot be empty"),
    ("Grip-Status: x", "Grip-Status contains invalid status code"),
    ("Grip-Link: x; rel=next", "failed to parse Grip-Link value"),
    ("Content-Type: application/grip-instruct", "failed to parse application/grip-instruct content as JSON"),
]


def test_the_first_error_wins_in_the_order_of_the_specification() -> None:
    for start in range(len(FAULTS)):
        lines = [line for line, _ in FAULTS[start:]]
        assert refused(*lines[::-1]) == FAULTS[start][1]


NAMES = ["Hold", "Channel", "Timeout", "Keep-Alive", "Set-Meta", "Status", "Link", "Expose-Headers", "Foo"]
PIECES = st.sampled_from(
    [
        b"a",
        b"; ",
        b'"',
        b"\\",
        b"=",
        b",",
        b"<x>",
        b"rel=next",
        b"rel=gone",
        b"timeout=",
        b"5",
        b"-1",
        b"filter=f",
    ]
)
VALUES = st.binary(max_size=20) | st.lists(PIECES, max_size=12).map(b"".join)


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6), st.binary(max_size=30))
def test_any_headers_are_an_instruct_or_an_instruct_error(
    pairs: list[tuple[str, bytes]], body: bytes
) -> None:
    headers = [(b"Grip-" + name.encode(), value) for name, value in pairs]
    given_response = Response(200, b"OK", headers)
    allows_long_body(given_response)
    try:
        instruct = parse_instruct(given_response, body, URI)
    except InstructError:
        return
    assert instruct.headers == ()
    assert instruct.body == body
    assert 200 <= instruct.status <= 999
    assert b"\r" not in instruct.reason and b"\n" not in instruct.reason
    assert instruct.timeout >= 5
