"""What a backend is asked (proxy 10.3), through the whole service."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
import pytest_twisted
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.origin import Asked, hold, reply
from tests.support.running import R
from tests.support.stage import Stage
from tests.support.waiting import until

case = pytest_twisted.ensureDeferred
OK = reply("Content-Type: text/plain", body=b"ok\n")
FEATURES = (
    "status, session, link:next, link:gone, filter:skip-self, filter:skip-users, filter:require-sub, "
    "filter:build-id, filter:var-subst, filter:http-check, filter:http-modify"
)


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def asked(
    stage: Stage, raw: bytes, condition: str = "*", target: str = "", **settings: object
) -> Asked:
    """Send ``raw`` through a fresh proxy; what the origin was asked."""
    await stage.start(OK, condition=condition, target=target, **settings)  # type: ignore[arg-type]
    client = await stage.client()
    client.send(raw)
    await client.read_response()
    return await stage.origin.request(1)


def get(*headers: str, target: str = "/", host: str = "a.example") -> bytes:
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode()


@case
async def test_c071_headers_as_a_backend_sees_them(stage: Stage) -> None:
    raw = get(
        "User-Agent: t",
        "Accept-Encoding: gzip",
        "X-Forwarded-For: 1.2.3.4",
        "Grip-Foo: bar",
        "Connection: keep-alive",
        "TE: trailers",
        "X-A: 1",
        "X-A: 2",
        target="/foo?x=1",
    )
    request = await asked(stage, raw)
    assert (request.method, request.target, request.version) == ("GET", "/foo?x=1", "HTTP/1.1")
    token = request.get("Grip-Sig")
    assert request.headers == [
        ("Host", "a.example"),
        ("User-Agent", "t"),
        ("TE", "trailers"),
        ("X-A", "1"),
        ("X-A", "2"),
        ("Grip-Sig", token),
        ("Grip-Feature", FEATURES),
        ("X-Forwarded-For", "1.2.3.4"),
    ]


@case
async def test_c072_the_signature(stage: Stage) -> None:
    request = await asked(stage, get())
    head, payload, signature = (request.get("Grip-Sig") or "").split(".")
    assert json.loads(decode(head)) == {"typ": "JWT", "alg": "HS256"}
    now = int(stage.proxy.clock.seconds())  # type: ignore[attr-defined]
    assert decode(payload) == b'{"exp":%d,"iss":"pushpin"}' % (now + 3600)
    digest = hmac.new(b"changeme", f"{head}.{payload}".encode(), hashlib.sha256).digest()
    assert decode(signature) == digest


@case
async def test_c073_the_routes_own_key(stage: Stage) -> None:
    request = await asked(stage, get(), condition="*,sig_iss=bar,sig_key=base64:AAEC")
    head, payload, signature = (request.get("Grip-Sig") or "").split(".")
    assert json.loads(decode(payload))["iss"] == "bar"
    assert decode(signature) == hmac.new(bytes([0, 1, 2]), f"{head}.{payload}".encode(), "sha256").digest()


@pytest.mark.parametrize("kind", ["ES256", "RS256", "HS256"], ids=lambda kind: f"C074-{kind}")
@case
async def test_key_files(stage: Stage, tmp_path: Path, kind: str) -> None:
    key = (
        ec.generate_private_key(ec.SECP256R1()) if kind == "ES256" else rsa.generate_private_key(65537, 2048)
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "key"
    file.write_bytes(pem if kind != "HS256" else b" 00ff10\n")
    request = await asked(stage, get(), condition=f"*,sig_key=file:{file}")
    head, payload, signature = (request.get("Grip-Sig") or "").split(".")
    assert json.loads(decode(head))["alg"] == kind
    if kind == "HS256":
        digest = hmac.new(b"\x00\xff\x10", f"{head}.{payload}".encode(), "sha256").digest()
        assert decode(signature) == digest


@case
async def test_c075_an_unreadable_key_file_counts_as_unset(stage: Stage) -> None:
    request = await asked(stage, get(), condition="*,sig_key=file:missing")
    head, payload, signature = (request.get("Grip-Sig") or "").split(".")
    assert decode(signature) == hmac.new(b"changeme", f"{head}.{payload}".encode(), "sha256").digest()


@pytest.mark.parametrize("key", ["sig_iss", "sig_key"], ids=["C076", "C077"])
@case
async def test_without_issuer_or_key_there_is_no_signature(stage: Stage, key: str) -> None:
    request = await asked(stage, get(), proxy={key: ""})
    assert request.get("Grip-Sig") is None
    assert request.get("Grip-Feature") == FEATURES


@case
async def test_c078_events_are_for_the_proxy_to_send(stage: Stage) -> None:
    await stage.start(OK, target="over_http")
    kind = "Content-Type: application/websocket-events; x=y"
    client = await stage.ask("/", kind, method="POST", body=b"OPEN\r\n")
    answer = await client.read_response()
    assert answer.status == 403
    assert answer.body == b"Client not allowed to send WebSocket events directly.\n"
    assert stage.origin.requests == []


@case
async def test_c079_no_grip_strips_grip_headers(stage: Stage) -> None:
    request = await asked(stage, get("Grip-Last: x", "Grip-Sig: y"), condition="*,no_grip")
    assert not [name for name, _ in request.headers if name.lower().startswith("grip-")]


FORWARDED = [
    ("truncate:0,append", ["1.1.1.1, 2.2.2.2"], ["127.0.0.1"]),
    ("truncate:1,append", ["1.1.1.1, 2.2.2.2", "3.3.3.3"], ["3.3.3.3, 127.0.0.1"]),
    ("append", ["1.1.1.1,2.2.2.2", "3.3.3.3"], ["1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"]),
    ("truncate:0", ["1.1.1.1"], []),
    ("", ["1.1.1.1", "2.2.2.2"], ["1.1.1.1, 2.2.2.2"]),
]


@pytest.mark.parametrize(
    ("rule", "sent", "seen"), FORWARDED, ids=["C080-a", "C080", "C080-b", "C081", "C081-a"]
)
@case
async def test_x_forwarded_for(stage: Stage, rule: str, sent: list[str], seen: list[str]) -> None:
    lines = [f"X-Forwarded-For: {value}" for value in sent]
    request = await asked(stage, get(*lines), proxy={"x_forwarded_for": rule})
    assert request.all("X-Forwarded-For") == seen


@case
async def test_c082_a_plain_clients_protocol_is_stripped(stage: Stage) -> None:
    line = "X-Forwarded-Proto: https"
    request = await asked(stage, get(line), proxy={"set_x_forwarded_protocol": "proto-only"})
    assert request.all("X-Forwarded-Proto") == []


@case
async def test_c083_or_left_alone(stage: Stage) -> None:
    line = "X-Forwarded-Proto: https"
    request = await asked(stage, get(line), proxy={"set_x_forwarded_protocol": "false"})
    assert request.all("X-Forwarded-Proto") == ["https"]


BELIEVED = [("https", "s"), ("wss", "s"), ("HTTPS", "p"), ("http", "p")]


@pytest.mark.parametrize(("proto", "seen"), BELIEVED, ids=lambda value: f"C085-{value}")
@case
async def test_accepted_protocols(stage: Stage, proto: str, seen: str) -> None:
    routes = [f"*,ssl=yes,header=X-R:s {stage.origin.address}", f"*,header=X-R:p {stage.origin.address}"]
    proxy = {"accept_x_forwarded_protocol": "true"}
    await stage.start(OK, routes=routes, proxy=proxy)
    await (await stage.ask("/", f"X-Forwarded-Proto: {proto}")).read_response()
    assert (await stage.origin.request(1)).all("X-R") == [seen]


@case
async def test_c086_the_first_protocol_header_counts(stage: Stage) -> None:
    routes = [f"*,ssl=yes,header=X-R:s {stage.origin.address}", f"*,header=X-R:p {stage.origin.address}"]
    await stage.start(OK, routes=routes, proxy={"accept_x_forwarded_protocol": "true"})
    client = await stage.ask("/", "X-Forwarded-Proto: http", "X-Forwarded-Protocol: https")
    await client.read_response()
    assert (await stage.origin.request(1)).all("X-R") == ["p"]


@case
async def test_c087_marked_copies_of_original_headers(stage: Stage) -> None:
    raw = get("X-A: 1", "X-Secret: s", "eb9bf0f5-X-Secret: t")
    proxy = {"orig_headers_need_mark": "X-Secret"}
    request = await asked(stage, raw, condition="*,orig_headers", proxy=proxy)
    assert request.all("X-A") == ["1"]
    assert request.all("X-Secret") == ["s"]
    assert request.all("eb9bf0f5-Host") == ["a.example"]
    assert request.all("eb9bf0f5-X-A") == ["1"]
    assert request.all("eb9bf0f5-X-Secret") == ["t"]


@case
async def test_c088_marked_headers_are_stripped_elsewhere(stage: Stage) -> None:
    request = await asked(stage, get("eb9bf0f5-X: t"))
    assert request.all("eb9bf0f5-X") == []


@case
async def test_c089_cdn_loop(stage: Stage) -> None:
    raw = get("CDN-Loop: foo", 'CDN-Loop: bar;x="a,b"')
    request = await asked(stage, raw, proxy={"cdn_loop": "pushpin-x"})
    assert request.all("CDN-Loop") == ['foo, bar;x="a,b", pushpin-x']


# ---- bodies -----------------------------------------------------------------------------------------------


def post(length: int | str, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n%b" % (int(length), body)


@case
async def test_c090_a_short_body_is_awaited(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(post(5, b"hel"))
    await stage.silent(client)
    assert not stage.origin.connections
    client.send(b"lo")
    await client.read_response()
    request = await stage.origin.request(1)
    assert (request.body, request.all("Content-Length")) == (b"hello", ["5"])


@case
async def test_c091_a_complete_chunked_body_gets_a_length(stage: Stage) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    request = await asked(stage, raw)
    assert request.body == b"hello"
    assert request.all("Content-Length") == ["5"]
    assert request.all("Transfer-Encoding") == []


@case
async def test_c092_a_long_chunked_body_is_passed_on_in_chunks(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.send(head + b"%x\r\n" % 12000 + b"x" * 12000 + b"\r\n")
    await until(lambda: stage.origin.connections, "the origin is asked before the body ends")
    client.send(b"3\r\nend\r\n0\r\n\r\n")
    await client.read_response()
    request = await stage.origin.request(1)
    assert request.body == b"x" * 12000 + b"end"
    assert request.headers[-2:] == [
        ("Connection", "Transfer-Encoding"),
        ("Transfer-Encoding", "chunked"),
    ]


@case
async def test_c093_ten_thousand_bytes_are_awaited(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(post(50000, b"x" * 9000))
    await stage.silent(client)
    assert not stage.origin.connections
    client.send(b"x" * 1500)
    await until(lambda: stage.origin.connections, "the origin is asked")
    client.send(b"x" * 39500)
    await client.read_response()
    assert len((await stage.origin.request(1)).body) == 50000


@case
async def test_c094_lengths_of_requests_without_and_with_body(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.read_response()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
    await client.read_response()
    client.send(b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.read_response()
    first, second, third = stage.origin.requests
    assert first.all("Content-Length") == ["0"]
    assert (second.body, second.all("Content-Length")) == (b"abc", ["3"])
    assert third.all("Content-Length") == []


@case
async def test_c095_expect_is_answered_here(stage: Stage) -> None:
    await stage.start(OK)
    client = await stage.client()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    client.send(head)
    await client.expect(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.send(b"hello")
    assert (await client.read_response()).status == 200
    request = await stage.origin.request(1)
    assert (request.body, request.all("Expect")) == (b"hello", [])


@case
async def test_c096_too_long_a_request_cannot_be_held(stage: Stage) -> None:
    await stage.start(hold("response"))
    client = await stage.client()
    client.send(post(100001, b"x" * 100001))
    answer = await client.read_response()
    assert answer.status == 400
    assert answer.body == b"Request too large to accept GRIP instruct.\n"


@case
async def test_c097_a_hundred_thousand_bytes_can(stage: Stage) -> None:
    await stage.start(hold("response"))
    client = await stage.client()
    client.send(post(100000, b"x" * 100000))
    await stage.proxy.held("c")
    await stage.proxy.publish("c", {R: {"body": "answer"}})
    assert (await client.read_response()).body == b"answer"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"], ids=["C098-1.0", "C098-1.1"])
@case
async def test_without_host_it_is_localhost(stage: Stage, version: bytes) -> None:
    request = await asked(stage, b"GET / HTTP/%b\r\n\r\n" % version)
    assert request.all("Host") == ["localhost"]


@case
async def test_c099_a_default_port_is_left_out(stage: Stage) -> None:
    assert (await asked(stage, get(host="a:80"))).all("Host") == ["a"]


NORMALISED = [
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
]


@pytest.mark.parametrize(("sent", "seen"), NORMALISED, ids=lambda value: f"C100-{value}")
@case
async def test_normalised_targets(stage: Stage, sent: str, seen: str) -> None:
    assert (await asked(stage, get(target=sent))).target == seen


# ---- further cases ----------------------------------------------------------------------------------------


@case
async def test_c204_route_headers_in_their_order(stage: Stage) -> None:
    request = await asked(stage, get(), condition="*,header=A:1,header=B:2,header=C:3")
    added = [pair for pair in request.headers if pair[0] in "ABC"]
    assert added == [("C", "3"), ("B", "2"), ("A", "1")]


@case
async def test_c220_odd_targets_can_be_held(stage: Stage) -> None:
    await stage.start(hold("response"))
    client = await stage.ask('/<odd>"')
    await stage.proxy.held("c")
    await stage.proxy.publish("c", {R: {"body": "answer"}})
    assert (await client.read_response()).body == b"answer"


@case
async def test_c222_a_long_head_is_forwarded(stage: Stage) -> None:
    value = "x" * 8000
    request = await asked(stage, get(f"X-Long: {value}"))
    assert request.all("X-Long") == [value]
