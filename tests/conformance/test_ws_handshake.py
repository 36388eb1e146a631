"""Handshakes that come about: what the client asks, what the backend sees, what the client gets (websocket
10, 1 to 12 and 24 to 27)."""

from __future__ import annotations

import base64
from pathlib import Path

import jwt
import pytest
import pytest_twisted
from twisted.internet.ssl import Certificate, optionsForClientTLS

from tests.support.certificates import Authority
from tests.support.origin import Asked, reply, withheld
from tests.support.wsbackend import asked_events, opening
from tests.support.wsclient import HANDSHAKE, UPGRADE, VERSION, SocketClient
from tests.support.wspeer import TEXT
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred

KEY = "a-key-of-more-than-32-bytes-as-PyJWT-wishes"
CONNECTION = "Connection: Upgrade"
NONCE = HANDSHAKE[3]
INVALID = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 110\r\n\r\n"
    b'Request contained an Upgrade header with value "websocket" but the request was not a valid WebSocket '
    b"request.\n"
)


async def passes(client: SocketClient, scene: SocketStage) -> None:
    """A message from either side reaches the other."""
    backend = await scene.backend.socket(len(scene.backend.sockets))
    client.text("there")
    await backend.expect_text("there")
    backend.text("m:back")
    await client.expect_text("back")


old = pytest.mark.differs("the release at hand closes the connection without a word")
other = pytest.mark.differs("the release at hand leaves HTTP to others, who have ways of their own")


# ---- what is a handshake -----------------------------------------------------------------------------------


@case
async def test_ws_001_the_accept_key(scene: SocketStage) -> None:
    await scene.start_w()
    client = await scene.join()
    assert client.head.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    await passes(client, scene)


@pytest.mark.parametrize(
    ("version", "lines"),
    [
        pytest.param("HTTP/1.1", (UPGRADE, VERSION, NONCE), id="ws_002-no_connection"),
        pytest.param(
            "HTTP/1.1", (UPGRADE, "Connection: close", VERSION, NONCE), id="ws_002-close", marks=other
        ),
        pytest.param("HTTP/1.0", (UPGRADE, CONNECTION, VERSION, NONCE), id="ws_002-http_1.0", marks=other),
    ],
)
@case
async def test_connection_does_not_matter(scene: SocketStage, version: str, lines: tuple[str, ...]) -> None:
    await scene.start_w()
    raw = await scene.ask("/", *lines, version=version)
    client = await SocketClient.switched(raw)
    assert client.head.version == "HTTP/1.1"
    await passes(client, scene)


@case
async def test_ws_003_a_list_of_upgrades_is_plain_http(scene: SocketStage) -> None:
    await scene.start(reply(body=b"plain"))
    raw = await scene.ask("/", "Upgrade: websocket, foo", *HANDSHAKE[1:])
    answer = await raw.read_response()
    assert (answer.status, answer.body) == (200, b"plain")
    asked = scene.origin.requests[0]
    assert asked.method == "GET" and asked.get("Sec-WebSocket-Accept") is None


@pytest.mark.differs("the reference compares case-sensitively")
@pytest.mark.parametrize("value", ["WebSocket", "WEBSOCKET"], ids=["ws_004-mixed", "ws_004-upper"])
@case
async def test_case_of_upgrade(scene: SocketStage, value: str) -> None:
    await scene.start_w()
    raw = await scene.ask("/", f"Upgrade: {value}", *HANDSHAKE[1:])
    await passes(await SocketClient.switched(raw), scene)


@old
@pytest.mark.parametrize(
    ("method", "lines"),
    [
        pytest.param("GET", (UPGRADE, CONNECTION, "Sec-WebSocket-Version: 8", NONCE), id="ws_005-8"),
        pytest.param("GET", (UPGRADE, VERSION, "Sec-WebSocket-Version: 8", NONCE), id="ws_005-last"),
        pytest.param("GET", (UPGRADE, CONNECTION, NONCE), id="ws_006-version"),
        pytest.param("GET", (UPGRADE, CONNECTION, VERSION), id="ws_006-key"),
        pytest.param("POST", HANDSHAKE, id="ws_006-post"),
    ],
)
@case
async def test_no_handshake(scene: SocketStage, method: str, lines: tuple[str, ...]) -> None:
    await scene.start_w()
    raw = await scene.ask("/", *lines, method=method)
    await raw.expect(INVALID)
    await raw.closed()
    assert not scene.origin.requests


@old
@pytest.mark.parametrize(
    ("lines", "body"),
    [
        pytest.param(("Content-Length: 3",), b"abc", id="ws_006-length"),
        pytest.param(("Transfer-Encoding: chunked",), b"3\r\nabc\r\n0\r\n\r\n", id="ws_006-chunked"),
    ],
)
@case
async def test_no_body(scene: SocketStage, lines: tuple[str, ...], body: bytes) -> None:
    await scene.start_w()
    raw = await scene.ask("/", *HANDSHAKE, *lines)
    raw.send(body)
    answer = await raw.read_response()
    assert (answer.status, answer.get("Content-Type")) == (400, "text/plain")
    assert (answer.body, answer.get("Connection")) == (INVALID[-110:], "close")
    await raw.closed()
    assert not scene.origin.requests


@pytest.mark.parametrize("key", ["k", "k" * 220], ids=["ws_007-1", "ws_007-220"])
@case
async def test_any_key(scene: SocketStage, key: str) -> None:
    await scene.start_w()
    client = await SocketClient.switched(await scene.shake(key=key), key)
    await passes(client, scene)


@old
@case
async def test_ws_007_a_key_that_is_too_long(scene: SocketStage) -> None:
    await scene.start_w()
    raw = await scene.shake(key="k" * 221)
    answer = await raw.read_response()
    assert (answer.status, answer.body) == (400, INVALID[-110:])
    await raw.closed()


@pytest.mark.differs("the reference sends an empty message first")
@case
async def test_ws_008_a_length_of_nothing(scene: SocketStage) -> None:
    await scene.start_w()
    client, backend = await scene.open("/", "Content-Length: 0")
    await scene.nothing_back(client, backend)
    assert backend.asked.get("Content-Length") is None


@pytest.mark.differs("the reference sends an empty message first")
@case
async def test_ws_008_a_length_of_nothing_over_http(scene: SocketStage) -> None:
    await scene.start_h(opening(), reply("Content-Type: application/websocket-events"))
    client = await scene.join("/", "Content-Length: 0")
    assert await asked_events(scene.origin, 1) == [("OPEN", None)]
    client.text("real")
    assert await asked_events(scene.origin, 2) == [("TEXT", b"real")]


@old
@pytest.mark.parametrize("upgrade", [True, False], ids=["ws_009-websocket", "ws_009-plain"])
@case
async def test_extensions_that_are_none(scene: SocketStage, upgrade: bool) -> None:
    await scene.start_w()
    raw = await scene.ask(
        "/", *(HANDSHAKE if upgrade else ()), 'Sec-WebSocket-Extensions: permessage-deflate; ="'
    )
    assert (await raw.read_response()).status == 400
    await raw.closed()
    assert not scene.origin.requests


@old
@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([f"X-{number}: {'x' * 1000}" for number in range(9)], id="ws_010-bytes"),
        pytest.param([f"X-{number}: x" for number in range(65)], id="ws_010-lines"),
    ],
)
@case
async def test_too_much_of_a_head(scene: SocketStage, lines: list[str]) -> None:
    await scene.start_w()
    raw = await scene.shake("/", *lines)
    answer = await raw.read_response()
    assert (answer.status, answer.get("Content-Type")) == (400, "text/plain")
    await raw.closed()
    assert not scene.origin.requests


# ---- the answer --------------------------------------------------------------------------------------------


@case
async def test_ws_011_what_the_backend_adds(scene: SocketStage) -> None:
    answer = scene.backend.accepting("X-Extra: 1", "Set-Cookie: a=b", "Set-Cookie: c=d", reason="My Reason")
    await scene.start(answer)
    client = await scene.join()
    head = client.head
    assert head.line == "HTTP/1.1 101 My Reason"
    assert head.get("X-Extra") == "1"
    assert head.all("Set-Cookie") == ["a=b", "c=d"]
    assert head.get("Sec-WebSocket-Extensions") is None
    assert (
        len(head.all("Upgrade")) == len(head.all("Connection")) == len(head.all("Sec-WebSocket-Accept")) == 1
    )


@case
async def test_ws_012_subprotocols(scene: SocketStage) -> None:
    await scene.start_w("Sec-WebSocket-Protocol: foo")
    client, backend = await scene.open("/", "Sec-WebSocket-Protocol: foo, bar")
    assert client.head.all("Sec-WebSocket-Protocol") == ["foo"]
    assert backend.asked.all("Sec-WebSocket-Protocol") == ["foo, bar"]


@case
async def test_ws_012_subprotocols_over_http(scene: SocketStage) -> None:
    await scene.start_h(opening(headers=["Sec-WebSocket-Protocol: foo"]))
    client = await scene.join("/", "Sec-WebSocket-Protocol: foo, bar")
    assert client.head.all("Sec-WebSocket-Protocol") == ["foo"]
    assert scene.origin.requests[0].all("Sec-WebSocket-Protocol") == ["foo, bar"]


# ---- what the backend sees ---------------------------------------------------------------------------------

FORGED = (
    "Grip-Sig: bogus",
    "Grip-Foo: bar",
    "Accept-Encoding: gzip",
    "Keep-Alive: 5",
    "X-Own: 1",
)


def sees_no_forgery(asked: Asked) -> None:
    names = [name for name, _ in asked.headers if name.lower().startswith("grip")]
    assert names == ["Grip-Sig", "Grip-Feature"] or names == ["Grip-Feature", "Grip-Sig"]
    claims = jwt.decode(asked.get("Grip-Sig") or "", KEY, algorithms=["HS256"], options={"verify_exp": False})
    assert claims["iss"] == "pushpin"
    assert [asked.get(name) for name in ("Accept-Encoding", "Keep-Alive", "X-Own")] == [None, None, "1"]


@other
@case
async def test_ws_024_grip_headers_of_the_client(scene: SocketStage) -> None:
    await scene.start_w(proxy={"sig_key": KEY})
    _, backend = await scene.open("/", *FORGED)
    asked = backend.asked
    sees_no_forgery(asked)
    assert (asked.method, asked.version) == ("GET", "HTTP/1.1")
    assert asked.all("Sec-WebSocket-Extensions") == ["grip"]
    key = asked.get("Sec-WebSocket-Key") or ""
    assert len(base64.b64decode(key)) == 16 and f"Sec-WebSocket-Key: {key}" != NONCE
    assert [name for name, _ in asked.headers[:5]] == [
        "Host",
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Key",
    ]


@other
@case
async def test_ws_024_grip_headers_of_the_client_over_http(scene: SocketStage) -> None:
    await scene.start_h(proxy={"sig_key": KEY})
    await scene.join("/", *FORGED)
    sees_no_forgery(scene.origin.requests[0])


@pytest.mark.differs("its certificates lie elsewhere")
@case
async def test_ws_025_the_scheme_of_a_client_with_tls(scene: SocketStage, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    trusted = Certificate.loadPEM(Path(authority.file).read_bytes())
    certificates = tmp_path / "runner" / "certs"
    certificates.mkdir(parents=True)
    for made, suffix in zip(authority.certificate("a.example"), ("crt", "key"), strict=True):
        Path(made).rename(certificates / f"a.example.{suffix}")
    routes = tmp_path / "routes"
    routes.write_text(f"* {scene.origin.address}\n")
    await scene.start_w(
        routes=routes,
        runner={"https_ports": "127.0.0.1:0"},
        proxy={"set_x_forwarded_protocol": "proto-only"},
    )
    _, plain = await scene.open()
    assert plain.asked.get("X-Forwarded-Proto") is None
    address = scene.proxy.service.client_addresses[1]  # type: ignore[attr-defined]
    raw = await scene.connect(address, tls=optionsForClientTLS("a.example", trusted))
    raw.request("/", *HANDSHAKE, "X-Forwarded-Proto: forged", host="a.example")
    client = await SocketClient.switched(raw)
    backend = await scene.backend.socket(2)
    assert backend.asked.all("X-Forwarded-Proto") == ["wss"]
    await passes(client, scene)


@case
async def test_ws_026_a_route_without_grip(scene: SocketStage) -> None:
    await scene.start_w(condition="*,no_grip")
    client, backend = await scene.open("/", "Grip-Sig: bogus")
    asked = backend.asked
    assert not [name for name, _ in asked.headers if name.lower().startswith("grip")]
    assert asked.get("Sec-WebSocket-Extensions") is None
    for data in ("c:{}", "m:x"):
        backend.text(data)
        await client.expect(TEXT, data)


@other
@case
async def test_ws_026_a_route_without_grip_over_http(scene: SocketStage) -> None:
    await scene.start_h(opening(("TEXT", "c:{}"), ("TEXT", "m:x"), extensions=""), condition="*,no_grip")
    client = await scene.join()
    asked = scene.origin.requests[0]
    assert [name for name, _ in asked.headers if name.lower().startswith("grip")] == ["Grip-Sig"]
    assert asked.get("Sec-WebSocket-Extensions") is None
    await client.expect(TEXT, "c:{}")
    await client.expect(TEXT, "m:x")


@other
@case
async def test_ws_027_a_backend_that_takes_its_time(scene: SocketStage) -> None:
    await scene.start(withheld)
    raw = await scene.shake()
    asked = await scene.origin.request(1)
    await scene.proxy.advance(75)
    await scene.silent(raw)
    agree = scene.backend.accepting()
    agree(asked)
    client = await SocketClient.switched(raw)
    await passes(client, scene)


@case
async def test_ws_027_a_backend_that_takes_its_time_over_http(scene: SocketStage) -> None:
    await scene.start_h(withheld)
    raw = await scene.shake()
    asked = await scene.origin.request(1)
    await scene.proxy.advance(75)
    await scene.silent(raw)
    asked.write(opening(("TEXT", "m:at last")))
    client = await SocketClient.switched(raw)
    await client.expect(TEXT, "at last")
