"""What an origin is asked (proxy 4.1 to 4.5)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import OriginError
from pushpin_tw.routing.rewrite import FEATURES
from pushpin_tw.routing.routefile import KeySource
from tests.pure.routing.tables import NOW, Section, get, origin_request, values

SHIPPED = Section(set_x_forwarded_protocol="proto-only", x_forwarded_for=["truncate:0", "append"])


def names(request: object) -> list[str]:
    return [key.decode() for key, _ in request.headers]  # type: ignore[attr-defined]


# ---- the example -------------------------------------------------------------------------------------------

EXAMPLE = get(
    "/foo?x=1",
    "a.example",
    "User-Agent: t",
    "Accept-Encoding: gzip",
    "X-Forwarded-For: 1.2.3.4",
    "Grip-Foo: bar",
    "Connection: keep-alive",
    "TE: trailers",
    "X-A: 1",
    "X-A: 2",
)


def test_c071() -> None:
    request = origin_request("* B", EXAMPLE, section=SHIPPED)
    assert (request.method, request.target) == (b"GET", b"/foo?x=1")
    assert (request.path, request.query, request.host, request.secure) == (
        b"/foo",
        b"x=1",
        "a.example",
        False,
    )
    signature = request.headers[5][1]
    assert request.headers == [
        (b"Host", b"a.example"),
        (b"User-Agent", b"t"),
        (b"TE", b"trailers"),
        (b"X-A", b"1"),
        (b"X-A", b"2"),
        (b"Grip-Sig", signature),
        (
            b"Grip-Feature",
            b"status, session, link:next, link:gone, filter:skip-self, filter:skip-users, "
            b"filter:require-sub, filter:build-id, filter:var-subst, filter:http-check, filter:http-modify",
        ),
        (b"X-Forwarded-For", b"127.0.0.1"),
    ]


def test_c072() -> None:
    request = origin_request("* B", EXAMPLE)
    head, payload, signature = values(request, "grip-sig")[0].split(".")
    assert unpadded(head) == b'{"typ":"JWT","alg":"HS256"}'
    assert unpadded(payload) == b'{"exp":%d,"iss":"pushpin"}' % (NOW + 3600)
    digest = hmac.new(b"changeme", f"{head}.{payload}".encode(), hashlib.sha256).digest()
    assert unpadded(signature) == digest


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_c073_a_routes_own_signature() -> None:
    request = origin_request("*,sig_iss=bar,sig_key=base64:AAEC B", get())
    head, payload, signature = values(request, "grip-sig")[0].split(".")
    assert json.loads(unpadded(payload))["iss"] == "bar"
    digest = hmac.new(b"\0\1\2", f"{head}.{payload}".encode(), hashlib.sha256).digest()
    assert unpadded(signature) == digest


def test_c076_c077_features_without_a_signature() -> None:
    request = origin_request("* B", get(), keys=KeySource("", None))
    assert values(request, "grip-sig") == []
    assert values(request, "grip-feature") == [FEATURES.decode()]


# ---- paths and hosts ---------------------------------------------------------------------------------------

REWRITES = [
    ("C024", "b.example,path_beg=/x/,replace_beg=/y/ B", "/x/abc?d=e", "/y/abc?d=e"),
    ("C025", "g.example,path_beg=/abc,replace_beg= B", "/abc", "/"),
    ("C026", "d.example,path_beg=/a,path_rem=5,replace_beg=/z B", "/abcdef", "/zbcdef"),
    ("C028", "i.example,path_rem=100 B", "/abc?x", "/?x"),
    ("C214", "e.example,path_rem=x B", "/abc", "/abc"),
    ("C213", "c,path_beg=/b,replace_beg=/y B", "/a/../b", "/y"),
    ("C100", "c B", "?a=b", "?a=b"),
    ("without path_beg", "c,replace_beg=/y B", "/x", "/y/x"),
    ("rem", "c,path_rem=4 B", "/abc/x", "/x"),
    ("test", "c,path_beg=/foo/ test", "/foo/x?y", "/x?y"),
    ("test, end", "c,path_beg=/foo/ test", "/foo/", "/"),
    ("test, no slash", "c,path_beg=/foo test", "/foo/x", "/x"),
    ("test, nothing left", "c,path_beg=/foo test", "/foo", ""),
    ("test, replaced", "c,path_beg=/foo,replace_beg=/bar test", "/foo/x", "/bar/x"),
]


@pytest.mark.parametrize(
    ("line", "target", "expected"), [r[1:] for r in REWRITES], ids=[r[0] for r in REWRITES]
)
def test_paths(line: str, target: str, expected: str) -> None:
    host = line.split(",")[0].split(" ")[0]
    assert origin_request(line, get(target, host)).target.decode() == expected


def test_c027_no_path_is_left() -> None:
    with pytest.raises(OriginError):
        origin_request("c.example,path_rem=3 B", get("/abcdef", "c.example"))


@pytest.mark.parametrize("target", ["/static../secret", "/static..", "/static./x"])
def test_a_replaced_prefix_is_not_climbed_out_of(target: str) -> None:
    line = "*,path_beg=/static,replace_beg=/files/ B"
    assert origin_request(line, get("/static/x")).target == b"/files//x"
    assert origin_request(line, get("/static.x")).target == b"/files/.x"
    with pytest.raises(OriginError):
        origin_request(line, get(target))


HOSTS = [
    ("C007", "* B", "a.example:8080", 0, "a.example:8080"),
    ("C008", "* B", "A.EXAMPLE", 0, "a.example"),
    ("C019", "::1 B", "[::1]:99", 0, "[::1]:99"),
    ("C020", "xn--bcher-kva.example B", "bücher.example", 0, "xn--bcher-kva.example"),
    ("C029", "a.example,as_host=foo.example:81 B", "a.example:7", 0, "foo.example:81"),
    ("C029 without port", "a.example,as_host=foo.example B", "a.example:7", 0, "foo.example"),
    ("C030", "h.example,as_host=q.example B,host=r.example:99", "h.example", 0, "r.example:99"),
    ("C030 other target", "h,as_host=q.example B,host=r.example:99 B", "h", 1, "q.example"),
    ("C099", "* B", "a:80", 0, "a"),
    ("C099 over TLS", "* B,ssl", "a:80", 0, "a:80"),
    ("C099 TLS port", "* B,ssl", "a:443", 0, "a"),
]


@pytest.mark.parametrize(
    ("line", "host", "target", "expected"), [h[1:] for h in HOSTS], ids=[h[0] for h in HOSTS]
)
def test_hosts(line: str, host: str, target: int, expected: str) -> None:
    request = origin_request(line, get("/", host), target=target)
    assert request.headers[0] == (b"Host", expected.encode())
    assert values(request, "host") == [expected]
    assert request.host in (expected, expected.rpartition(":")[0].strip("[]"))
    assert request.secure == (",ssl" in line)


def test_c098_localhost() -> None:
    assert values(origin_request("* B", "GET / HTTP/1.0"), "host") == ["localhost"]


# ---- headers -----------------------------------------------------------------------------------------------


def test_hop_headers_are_stripped_and_others_pass() -> None:
    head = get(
        "/",
        "a",
        "connection: X-B",
        "KEEP-ALIVE: 5",
        "Expect: 100-continue",
        "Content-Length: 3",
        "Content-Encoding: br",
        "Upgrade: h2c",
        "Trailer: T",
        "Proxy-X: 1",
        "Via: v",
        "Cookie: c",
        "X-B: b",
        "Meta-X: m",
    )
    passed = ["Content-Encoding", "Upgrade", "Trailer", "Proxy-X", "Via", "Cookie", "X-B", "Meta-X"]
    assert names(origin_request("* B", head)) == ["Host", *passed, "Grip-Sig", "Grip-Feature"]


def test_a_chunked_body_has_no_framing_left() -> None:
    head = "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked"
    assert "Transfer-Encoding" not in names(origin_request("* B", head))


def test_accept_encoding_passes_where_grip_is_off() -> None:
    head = get("/", "a", "Accept-Encoding: gzip")
    assert names(origin_request("*,no_grip B", head)) == ["Host", "Accept-Encoding"]
    assert "Accept-Encoding" not in names(origin_request("* B", head))


def test_c079_no_grip_header_passes_a_no_grip_route() -> None:
    head = get("/", "a", "Grip-Last: x", "grip-sig: y")
    assert names(origin_request("*,no_grip B", head)) == ["Host"]


def test_c127_a_trusted_request_keeps_its_grip_headers() -> None:
    head = get("/", "a", "Grip-Foo: bar", "Grip-Last: a; last-id=b")
    request = origin_request("* B", head, trusted=True, last_ids=[("c", "1")])
    assert request.headers[1:] == [(b"Grip-Foo", b"bar"), (b"Grip-Last", b"a; last-id=b")]


def test_c212_trusted_on_a_no_grip_route() -> None:
    head = get("/", "a", "Grip-Sig: t", "Grip-X: y")
    request = origin_request("*,no_grip B", head, trusted=True)
    assert names(request) == ["Host", "Grip-Sig", "Grip-X"]


def test_last_ids() -> None:
    request = origin_request(
        "* B", get(), last_ids=[("c", "1"), ("dé", "x y"), ("e", "a\r\nX: y"), ("f\n", "1")]
    )
    assert values(request, "grip-last") == ["c; last-id=1", "dé; last-id=x y"]
    assert names(request)[-2:] == ["Grip-Last", "Grip-Last"]


def test_c031_the_first_of_equal_names() -> None:
    request = origin_request('j.example,header="X-R:  v1",header=X-R:v2 B', get("/", "j.example", "x-r: v0"))
    assert values(request, "x-r") == ["v1"]


def test_c032_an_empty_value_deletes() -> None:
    request = origin_request("f.example,header=User-Agent: B", get("/", "f.example", "User-Agent: t"))
    assert values(request, "user-agent") == []


def test_c033_route_headers_inject_nothing_of_ours() -> None:
    line = "*,header=Grip-Sig:foo,header=Host:evil,header=Connection:close,header=Content-Length:9 B"
    request = origin_request(line, get())
    assert len(values(request, "grip-sig")) == 1
    assert values(request, "grip-sig") != ["foo"]
    assert names(request) == ["Host", "Grip-Sig", "Grip-Feature"]
    assert values(request, "host") == ["a.example"]


def test_c204_distinct_names_come_in_reverse() -> None:
    request = origin_request("h,header=A:1,header=B:2,header=C:3 B", get("/", "h", "X: x"))
    assert names(request)[:5] == ["Host", "X", "C", "B", "A"]


@pytest.mark.parametrize("accepted", [True, False])
def test_c034_c038_pushpin_route(accepted: bool) -> None:
    section = Section(accept_pushpin_route=accepted)
    request = origin_request("* B", get("/", "a", "Pushpin-Route: rb"), section=section)
    assert values(request, "pushpin-route") == ([] if accepted else ["rb"])


# ---- forwarded protocol ------------------------------------------------------------------------------------

FORWARDED = get("/", "a", "X-Forwarded-Proto: https", "x-forwarded-protocol: https")
P, Q = "x-forwarded-proto", "x-forwarded-protocol"


def test_c082_a_plain_clients_claim_is_dropped() -> None:
    section = Section(set_x_forwarded_protocol="proto-only")
    request = origin_request("* B", FORWARDED, section=section)
    assert (values(request, P), values(request, Q)) == ([], [])


def test_c083_or_forwarded() -> None:
    request = origin_request("* B", FORWARDED, section=Section(set_x_forwarded_protocol="false"))
    assert (values(request, P), values(request, Q)) == (["https"], ["https"])


@pytest.mark.parametrize(
    ("setting", "protocol"), [("true", ["https"]), ("proto-only", []), ("false", ["https"])]
)
def test_c084_a_tls_client(setting: str, protocol: list[str]) -> None:
    section = Section(set_x_forwarded_protocol=setting)
    request = origin_request("* B", FORWARDED, section=section, secure=True)
    assert (values(request, P), values(request, Q)) == (["https"], protocol)


def test_accepting_alone_strips() -> None:
    section = Section(accept_x_forwarded_protocol=True)
    request = origin_request("* B", FORWARDED, section=section)
    assert (values(request, P), values(request, Q)) == ([], [])


def test_c205_a_websocket_behind_tls() -> None:
    section = Section(accept_x_forwarded_protocol=True, set_x_forwarded_protocol="true")
    head = get("/", "a", "Upgrade: websocket", "X-Forwarded-Proto: https")
    request = origin_request("* B", head, section=section)
    assert (values(request, P), values(request, Q)) == (["wss"], ["wss"])


# ---- handshakes --------------------------------------------------------------------------------------------

HANDSHAKE = get(
    "/ws?a=1",
    "a.example",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: k",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Protocol: p",
    "Sec-WebSocket-Extensions: permessage-deflate",
    "Accept-Encoding: gzip",
)
FIELDS = ["Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"]


@pytest.mark.parametrize(
    ("line", "method", "fields"),
    [
        ("* B", b"GET", []),
        ("* zhttp/ipc:///w", b"GET", FIELDS),
        ("* zhttp/ipc:///w,over_http", b"POST", FIELDS[1:]),
    ],
)
@pytest.mark.parametrize("grip", [True, False])
def test_the_handshake_that_targets_see(line: str, method: bytes, fields: list[str], grip: bool) -> None:
    request = origin_request(line if grip else line.replace("*", "*,no_grip"), HANDSHAKE)
    assert (request.method, request.target) == (method, b"/ws?a=1")
    expected = ["Host", *fields, "Sec-WebSocket-Protocol"]
    if grip:
        expected += ["Grip-Sig", "Grip-Feature", "Sec-WebSocket-Extensions"]
        assert values(request, "sec-websocket-extensions") == ["grip"]
    assert [name for name in names(request) if grip or not name.startswith("Grip-")] == expected


# ---- original headers --------------------------------------------------------------------------------------

ORIGINAL = get("/", "a", "X-A: 1", "X-Secret: s", "eb9bf0f5-X-Secret: t")


def test_c087_marked_copies() -> None:
    section = Section(orig_headers_need_mark=["X-Secret"])
    request = origin_request("*,orig_headers B", ORIGINAL, section=section)
    assert request.headers[:6] == [
        (b"Host", b"a"),
        (b"X-A", b"1"),
        (b"X-Secret", b"s"),
        (b"eb9bf0f5-Host", b"a"),
        (b"eb9bf0f5-X-A", b"1"),
        (b"eb9bf0f5-X-Secret", b"t"),
    ]
    assert names(request)[6:] == ["Grip-Sig", "Grip-Feature"]


def test_c087_hop_and_grip_headers_are_copied_too() -> None:
    head = get("/", "a", "Connection: close", "Grip-X: y")
    assert names(origin_request("*,orig_headers B", head))[:4] == [
        "Host",
        "eb9bf0f5-Host",
        "eb9bf0f5-Connection",
        "eb9bf0f5-Grip-X",
    ]


@pytest.mark.parametrize("trusted", [True, False])
def test_c088_marked_headers_are_stripped_elsewhere(trusted: bool) -> None:
    request = origin_request("* B", get("/", "a", "EB9BF0F5-X: t"), trusted=trusted)
    assert values(request, "eb9bf0f5-x") == []


def test_c134_trusted() -> None:
    head = get("/", "a", "X-A: 1", "eb9bf0f5-x-b: 2")
    assert names(origin_request("*,orig_headers B", head, trusted=True)) == ["Host", "X-A", "eb9bf0f5-x-b"]


# ---- the way it came ---------------------------------------------------------------------------------------


def test_c089_cdn_loop() -> None:
    section = Section(cdn_loop="pushpin-x")
    head = get("/", "a", "CDN-Loop: foo", "X-A: 1", 'cdn-loop: bar;x="a,b"')
    request = origin_request("* B", head, section=section)
    assert values(request, "cdn-loop") == ['foo, bar;x="a,b", pushpin-x']
    assert names(request) == ["Host", "X-A", "CDN-Loop", "Grip-Sig", "Grip-Feature"]
    assert values(origin_request("* B", get(), section=section), "cdn-loop") == ["pushpin-x"]


def test_cdn_loop_passes_when_unset() -> None:
    request = origin_request("* B", get("/", "a", "CDN-Loop: foo", "CDN-Loop: bar"))
    assert values(request, "cdn-loop") == ["foo", "bar"]


FORWARDED_FOR = [
    ("C080", ["truncate:1", "append"], ["1.1.1.1, 2.2.2.2", "3.3.3.3"], ["3.3.3.3, 127.0.0.1"]),
    ("C081", ["truncate:0"], ["1.1.1.1"], []),
    ("row 1", ["truncate:0", "append"], ["1.1.1.1, 2.2.2.2"], ["127.0.0.1"]),
    ("row 3", ["append"], ["1.1.1.1,2.2.2.2", "3.3.3.3"], ["1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"]),
    ("row 5", [], ["1.1.1.1", "2.2.2.2"], ["1.1.1.1, 2.2.2.2"]),
    ("none", [], [], []),
]


@pytest.mark.parametrize(
    ("rule", "came", "sent"), [f[1:] for f in FORWARDED_FOR], ids=[f[0] for f in FORWARDED_FOR]
)
def test_forwarded_for(rule: list[str], came: list[str], sent: list[str]) -> None:
    head = get("/", "a", *(f"X-Forwarded-For: {value}" for value in came))
    request = origin_request("* B", head, section=Section(x_forwarded_for=rule))
    assert values(request, "x-forwarded-for") == sent


def test_c131_the_rule_for_trusted_requests() -> None:
    section = Section(
        x_forwarded_for=["truncate:0", "append"], x_forwarded_for_trusted=["truncate:1", "append"]
    )
    head = get("/", "a", "X-Forwarded-For: 1.1.1.1, 2.2.2.2")
    request = origin_request("* B", head, section=section, trusted=True)
    assert values(request, "x-forwarded-for") == ["2.2.2.2, 127.0.0.1"]


def test_c217_no_address_on_a_unix_socket() -> None:
    request = origin_request("* B", get(), section=Section(x_forwarded_for=["append"]), peer="")
    assert values(request, "x-forwarded-for") == []


def test_the_order_of_what_is_added() -> None:
    section = Section(
        set_x_forwarded_protocol="true",
        x_forwarded_for=["append"],
        cdn_loop="p",
    )
    request = origin_request(
        "*,orig_headers,header=X-R:r B", get(), section=section, secure=True, last_ids=[("c", "1")]
    )
    assert names(request) == [
        "Host",
        "X-R",
        "eb9bf0f5-Host",
        "eb9bf0f5-X-R",
        "CDN-Loop",
        "Grip-Sig",
        "Grip-Feature",
        "Grip-Last",
        "X-Forwarded-Proto",
        "X-Forwarded-Protocol",
        "X-Forwarded-For",
    ]


# ---- always ------------------------------------------------------------------------------------------------

VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=8)
NAME = st.sampled_from(
    [
        *("Connection", "Grip-Sig", "GRIP-x", "eb9bf0f5-a", "Keep-Alive", "Expect", "X", "CDN-Loop"),
        *("X-Forwarded-For", "X-Forwarded-Proto", "Accept-Encoding", "Pushpin-Route", "Upgrade"),
    ]
)


@given(st.lists(st.tuples(NAME, VALUE), max_size=8), st.sampled_from(["*", "*,no_grip", "*,orig_headers"]))
def test_whatever_comes_what_goes_is_in_order(headers: list[tuple[str, str]], line: str) -> None:
    head = get("/", "a", *(f"{name}: {value}" for name, value in headers))
    request = origin_request(f"{line} B", head, section=SHIPPED)
    found = [name.lower() for name in names(request)]
    assert found[0] == "host"
    assert found.count("host") == 1
    assert found.count("x-forwarded-for") <= 1
    assert not {"connection", "keep-alive", "expect", "transfer-encoding", "content-length"} & set(found)
    grip = [name for name in found if name.startswith("grip-")]
    assert grip == ([] if line == "*,no_grip" else ["grip-sig", "grip-feature"])
