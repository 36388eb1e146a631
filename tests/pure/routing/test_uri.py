"""One reading of hosts and targets (proxy 4.2, 8.1, 8.12)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import HttpError
from pushpin_tw.routing.uri import MAX_URI, Authority, Uri, authority, normal_path, request_uri
from pushpin_tw.wire.http1 import parse_request
from pushpin_tw.wire.message import Request


def asked(target: str = "/", *headers: str, method: str = "GET", minor: int = 1) -> Request:
    """A request as the parser gives it."""
    lines = [f"{method} {target} HTTP/1.{minor}", *headers, "", ""]
    return parse_request("\r\n".join(lines).encode())


def uri(target: str = "/", *headers: str, accept: bool = False) -> Uri:
    return request_uri(asked(target, *(headers or ["Host: a.example"])), accept)


def sent(target: str) -> str:
    found = uri(target)
    return found.path.decode() + ("" if found.query is None else f"?{found.query.decode()}")


# ---- normalisation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ('/a"b<c>{d}|e\\f^g`h', "/a%22b%3Cc%3E%7Bd%7D%7Ce%5Cf%5Eg%60h"),
        ("/a%zzb", "/a%25zzb"),
        ("/%41%2f%20%7e", "/A%2F%20~"),
        ("/a/../b/./c//d", "/b/c//d"),
        ("/%2e%2e/x", "/x"),
        ("/é", "/%C3%A9"),
        ("/!$&'()*+,;=:@", "/!$&'()*+,;=:@"),
        ("/?a=%41&b=%26&c=a+b&d=[]{}'", "/?a=A&b=%26&c=a+b&d=[]%7B%7D%27"),
        ("/?", "/?"),
        ("/?a#b", "/?a#b"),
        ("//x", "//x"),
        ("?a=b", "?a=b"),
    ],
)
def test_c100(target: str, expected: str) -> None:
    assert sent(target) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/%66oo", "/foo"),
        ("/%c3%a9", "/%C3%A9"),
        ("/%", "/%25"),
        ("/%4", "/%254"),
        ("/..", "/"),
        ("/.", "/"),
        ("/../..//..", "/"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a/..b/.c", "/a/..b/.c"),
        ("/a/%2e%2E/b", "/b"),
        ("/a//../b", "/a/b"),
        ("/a?/../b", "/a?/../b"),
        ("/%2e%2e%2fx", "/..%2Fx"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a?b?c", "/a?b?c"),
        ("/[]#x", "/[]#x"),
        ("/ü?ü", "/%C3%BC?%C3%BC"),
    ],
)
def test_more_targets(target: str, expected: str) -> None:
    """C021, C022, C213 and neighbours."""
    assert sent(target) == expected


PATHS = st.text(st.sampled_from("/.%2eEfFa?#'\"é[]~\\"), max_size=12).map("/".__add__)


@given(PATHS)
def test_normalising_twice_changes_nothing(target: str) -> None:
    once = sent(target)
    assert sent(once) == once


@given(PATHS)
def test_no_dot_segment_and_nothing_odd_is_left(target: str) -> None:
    path = uri(target).path
    assert not {b".", b".."} & set(path.split(b"/"))
    assert re.fullmatch(rb"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/\[\]#-]|%[0-9A-F]{2})*", path)


@given(st.binary(max_size=20))
def test_normal_path_takes_any_bytes(path: bytes) -> None:
    assert re.fullmatch(rb"[\x21-\x7e]*", normal_path(path))


# ---- hosts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        ("a.example", "a.example", None),
        ("a.example:8080", "a.example", 8080),
        ("A.EXAMPLE", "a.example", None),
        ("a:80", "a", 80),
        ("a:", "a", None),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]:99", "::1", 99),
        ("[0:0:0:0:0:0:0:1]", "::1", None),
        ("[FE80::A]", "fe80::a", None),
        ("bücher.example", "xn--bcher-kva.example", None),
        ("BÜCHER.example:7", "xn--bcher-kva.example", 7),
        ("_x.a-b.example.", "_x.a-b.example.", None),
    ],
)
def test_hosts(value: str, host: str, port: int | None) -> None:
    """C007, C008, C019, C020."""
    found = uri("/", f"Host: {value}")
    assert (found.host, found.port) == (host, port)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a.example/evil",
        "u@b",
        "a?x",
        "a#x",
        "a b",
        "a,b",
        "a\\b",
        "a%41",
        "a:0",
        "a:65536",
        "a:x",
        "a:1:2",
        ":80",
        "::1",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1%25lo]",
        "[1.2.3.4]",
        "[]",
        "*",
        "a..b",
        ".a",
        ".",
        "\uff41\uff0f\uff42",
        "\u2100.example",
        "x" * 263,
    ],
)
def test_c225_what_is_no_host_is_refused(value: str) -> None:
    with pytest.raises(HttpError, match=r"^Failed to parse request: invalid host$") as caught:
        uri("/a", f"Host: {value}")
    assert caught.value.status == 400


def test_a_host_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(HttpError):
        authority(b"caf\xe9")


@pytest.mark.parametrize("minor", [0, 1])
def test_c098_without_a_host(minor: int) -> None:
    found = request_uri(asked("/", minor=minor), False)
    assert str(found) == "http://localhost/"


def test_several_hosts() -> None:
    assert uri("/", "Host: a", "host: a").host == "a"
    with pytest.raises(HttpError):
        uri("/", "Host: a", "host: b")


@given(st.text(max_size=30))
def test_any_host_is_read_or_refused(value: str) -> None:
    try:
        found = authority(value.encode("utf-8", "replace"))
    except HttpError:
        return
    assert re.fullmatch(r"[a-z0-9_.:-]+", found.host)


@pytest.mark.parametrize(
    ("place", "secure", "expected"),
    [
        (Authority("a", None), False, b"a"),
        (Authority("a", 80), False, b"a"),
        (Authority("a", 80), True, b"a:80"),
        (Authority("a", 443), True, b"a"),
        (Authority("a", 443), False, b"a:443"),
        (Authority("::1", 99), False, b"[::1]:99"),
        (Authority("::1", None), False, b"[::1]"),
    ],
)
def test_host_values(place: Authority, secure: bool, expected: bytes) -> None:
    assert place.text(secure) == expected


# ---- forms of targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://o/x?y", "http://o/x?y"),
        ("HTTP://O:81/a/../x", "http://o:81/x"),
        ("https://o", "http://o/"),
        ("http://o?x", "http://o/?x"),
        ("http://[::1]:8/", "http://[::1]:8/"),
    ],
)
def test_an_absolute_target_names_the_host(target: str, expected: str) -> None:
    """The connection, not the client's words, decides about the scheme."""
    assert str(uri(target)) == expected


@pytest.mark.parametrize(
    "target",
    [
        "evil",
        "@evil/",
        "a.example:80",
        "gopher://a/",
        "http:/a",
        "http:a",
        "http:///x",
        "http://u@b/",
        "http://a#x",
        "**",
        "%2f",
        "\\x",
        "#",
    ],
)
def test_c226_other_targets_are_refused(target: str) -> None:
    with pytest.raises(HttpError) as caught:
        uri(target)
    assert caught.value.status == 400


def test_the_whole_server_is_no_target() -> None:
    with pytest.raises(HttpError, match=r"^Error while proxying to origin\.$") as caught:
        uri("*")
    assert caught.value.status == 502


def test_the_longest_uri() -> None:
    room = MAX_URI - len("http://a.example/")
    assert len(uri("/" + "x" * room).path) == room + 1
    with pytest.raises(HttpError, match=r"^Failed to process request\.$") as caught:
        uri("/" + "x" * (room + 1))
    assert caught.value.status == 500


# ---- schemes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        (["X-Forwarded-Proto: https"], "https"),
        (["X-Forwarded-Proto: wss"], "https"),
        (["X-Forwarded-Proto: HTTPS"], "http"),
        (["X-Forwarded-Proto: http"], "http"),
        (["X-Forwarded-Protocol: https"], "https"),
        (["X-Forwarded-Proto: http", "X-Forwarded-Protocol: https"], "http"),
        ([], "http"),
    ],
)
def test_c085_c086_a_forwarded_protocol(headers: list[str], scheme: str) -> None:
    assert uri("/", "Host: a", *headers, accept=True).scheme == scheme
    assert uri("/", "Host: a", *headers).scheme == "http"


@pytest.mark.parametrize(
    ("websocket", "secure", "scheme"),
    [(False, False, "http"), (False, True, "https"), (True, False, "ws"), (True, True, "wss")],
)
def test_schemes(websocket: bool, secure: bool, scheme: str) -> None:
    request = asked("/x?y=z", "Host: a:7")
    request.websocket, request.secure = websocket, secure
    found = request_uri(request, False)
    assert str(found) == f"{scheme}://a:7/x?y=z"
    assert found.secure is secure
