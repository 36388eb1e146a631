"""What changes when another GRIP proxy stands in front (proxy 10.5), through the whole service."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from pathlib import Path

import jwt
import pytest
import pytest_twisted
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from tests.support.origin import Asked, hold, instruct, reply
from tests.support.stage import Stage

case = pytest_twisted.ensureDeferred
OK = reply(body=b"ok\n")
SECRET = "up" * 32
"""Long enough for PyJWT not to warn."""
TRUSTING = {"upstream_key": SECRET}


def token(claims: dict[str, object], key: str | PrivateKeyTypes = SECRET, alg: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm=alg)  # type: ignore[arg-type]


def good(stage: Stage) -> str:
    """A token that is good for a while."""
    return token({"iss": "front", "exp": int(stage.proxy.seconds()) + 60})


async def asked(stage: Stage, *headers: str, **request: object) -> Asked:
    """What the origin is asked when a client sends this."""
    client = await stage.ask("/", *headers, **request)  # type: ignore[arg-type]
    await client.read_response()
    return stage.origin.requests[-1]


def trusted(request: Asked, value: str) -> bool:
    """Whether the client's signature was passed on; if not, there is one of our own."""
    assert len(request.all("Grip-Sig")) == 1
    return request.get("Grip-Sig") == value


@case
async def test_c127_what_a_proxy_in_front_says_is_passed_on(stage: Stage) -> None:
    await stage.start(OK, proxy=TRUSTING)
    sent = [("Grip-Sig", good(stage)), ("Grip-Foo", "bar"), ("Grip-Last", "a; last-id=b")]
    request = await asked(stage, *map(": ".join, sent))
    assert [pair for pair in request.headers if pair[0].startswith("Grip-")] == sent


UNTRUSTED = [
    ("C128-expired", lambda now: token({"exp": now - 1})),
    ("C128-expires-now", lambda now: token({"exp": now})),
    ("C128-no-exp", lambda now: token({"iss": "front"})),
    ("C128-wrong-key", lambda now: token({"exp": now + 60}, "x" * 64)),
    ("C128-none", lambda now: token({"exp": now + 60}, "", "none")),
    ("C128-other-algorithm", lambda now: token({"exp": now + 60}, SECRET, "HS384")),
    ("C128-garbage", lambda now: "garbage"),
    ("C128-dots", lambda now: "a.b.c"),
    ("C128-empty", lambda now: ""),
    ("C128-aud", lambda now: token({"exp": now + 60, "aud": "x"})),
]


@pytest.mark.parametrize("make", [row[1] for row in UNTRUSTED], ids=[row[0] for row in UNTRUSTED])
@case
async def test_who_is_not_trusted(stage: Stage, make: object) -> None:
    await stage.start(OK, proxy=TRUSTING)
    value = make(int(stage.proxy.seconds()))  # type: ignore[operator]
    request = await asked(stage, f"Grip-Sig: {value}", "Grip-Foo: bar")
    assert not trusted(request, value)
    assert request.all("Grip-Foo") == []
    assert request.all("Grip-Feature") != []


TRUSTED = [
    ("C129-no-iss", lambda now: token({"exp": now + 60})),
    ("C129-nbf", lambda now: token({"exp": now + 60, "nbf": now + 30})),
    ("C129-string", lambda now: token({"exp": str(now + 60)})),
]


@pytest.mark.parametrize("make", [row[1] for row in TRUSTED], ids=[row[0] for row in TRUSTED])
@case
async def test_who_is_trusted(stage: Stage, make: object) -> None:
    await stage.start(OK, proxy=TRUSTING)
    value = make(int(stage.proxy.seconds()))  # type: ignore[operator]
    assert trusted(await asked(stage, f"Grip-Sig: {value}"), value)


@case
async def test_trust_ends_with_its_token(stage: Stage) -> None:
    await stage.start(OK, proxy=TRUSTING)
    value = token({"exp": int(stage.proxy.seconds()) + 3})
    assert trusted(await asked(stage, f"Grip-Sig: {value}"), value)
    await stage.proxy.advance(4)
    assert not trusted(await asked(stage, f"Grip-Sig: {value}"), value)


@case
async def test_c130_the_first_signature_counts(stage: Stage) -> None:
    await stage.start(OK, proxy=TRUSTING)
    request = await asked(stage, "Grip-Sig: garbage", f"Grip-Sig: {good(stage)}")
    assert not trusted(request, good(stage))


@case
async def test_c131_forwarded_addresses(stage: Stage) -> None:
    rules = {"x_forwarded_for": "truncate:0,append", "x_forwarded_for_trusted": "truncate:1,append"}
    await stage.start(OK, proxy={**TRUSTING, **rules})
    forwarded = "X-Forwarded-For: 1.1.1.1, 2.2.2.2"
    request = await asked(stage, forwarded, f"Grip-Sig: {good(stage)}")
    assert request.all("X-Forwarded-For") == ["2.2.2.2, 127.0.0.1"]
    assert (await asked(stage, forwarded)).all("X-Forwarded-For") == ["127.0.0.1"]


@pytest.mark.parametrize(
    "answer",
    [
        hold("response", channel="ch", body=b"x\n"),
        hold("stream", "Grip-Status: 404", channel="ch", body=b"x\n"),
        instruct(b'{"hold":{"mode":"response","channels":[{"name":"ch"}]}}'),
        hold("response", channel="ch", body=b"x" * 100_001),
    ],
    ids=["C132", "C132-stream", "C132-instruct", "C132-long"],
)
@case
async def test_instructions_are_meant_for_the_proxy_in_front(stage: Stage, answer: bytes) -> None:
    await stage.start(answer, proxy=TRUSTING)
    client = await stage.ask("/", f"Grip-Sig: {good(stage)}")
    await client.expect(answer)
    await stage.proxy.held("ch", 0)
    await stage.usable(client)


@case
async def test_c132_but_not_without_trust(stage: Stage) -> None:
    await stage.start(hold("response", channel="ch", body=b"x\n"), proxy=TRUSTING)
    client = await stage.ask("/", "Grip-Sig: garbage")
    await stage.proxy.held("ch")
    await stage.silent(client)


@case
async def test_c134_headers_that_are_marked_already(stage: Stage) -> None:
    await stage.start(OK, condition="*,orig_headers", proxy=TRUSTING)
    request = await asked(stage, f"Grip-Sig: {good(stage)}", "X-A: 1", "eb9bf0f5-x-b: 2")
    marked = [pair for pair in request.headers if pair[0].lower().startswith("eb9bf0f5-")]
    assert marked == [("eb9bf0f5-x-b", "2")]
    assert request.get("X-A") == "1"


@case
async def test_c134_marks_go_no_further_where_nobody_asked_for_them(stage: Stage) -> None:
    await stage.start(OK, proxy=TRUSTING)
    request = await asked(stage, f"Grip-Sig: {good(stage)}", "eb9bf0f5-x-b: 2")
    assert request.all("eb9bf0f5-x-b") == []


@case
async def test_c135_websocket_events(stage: Stage) -> None:
    await stage.start(OK, target="over_http", proxy=TRUSTING)
    events = {"method": "POST", "body": b"OPEN\r\n"}
    kind = "Content-Type: application/websocket-events"
    request = await asked(stage, kind, f"Grip-Sig: {good(stage)}", **events)
    assert (request.get("Content-Type"), request.body) == ("application/websocket-events", b"OPEN\r\n")
    client = await stage.ask("/", kind, **events)  # type: ignore[arg-type]
    answer = await client.read_response()
    assert (answer.status, answer.body) == (403, b"Client not allowed to send WebSocket events directly.\n")


@pytest.mark.differs("an empty key is taken for an empty secret")
@pytest.mark.parametrize("key", ["", "base64:", "file:missing"], ids=["C136", "C136-base64", "C136-file"])
@case
async def test_no_key_is_not_a_key(stage: Stage, key: str) -> None:
    await stage.start(OK, proxy={"upstream_key": key})
    # PyJWT refuses to sign with nothing.
    message = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJleHAiOjk5OTk5OTk5OTl9"
    signature = urlsafe_b64encode(hmac.digest(b"", message.encode(), "sha256")).decode().rstrip("=")
    value = f"{message}.{signature}"
    assert not trusted(await asked(stage, f"Grip-Sig: {value}", "Grip-Foo: bar"), value)


@pytest.mark.differs("nothing is said")
@pytest.mark.parametrize("content", [None, b"", b"no key", "private"])
@case
async def test_a_key_that_cannot_be_used_is_told(
    stage: Stage, tmp_path: Path, content: bytes | str | None
) -> None:
    """No file, an empty one, nonsense, and the half of a pair that only signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    if content is not None:
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / "up").write_bytes(private if isinstance(content, str) else content)
    (tmp_path / "routes").write_text(f"* {stage.origin.address}\n")
    await stage.start(OK, routes=tmp_path / "routes", proxy={"upstream_key": "file:up"})
    assert "upstream_key: there is no key that can be used, nobody is trusted" in stage.proxy.lines()
    value = token({"exp": int(stage.proxy.seconds()) + 60}, key, "ES256")
    assert not trusted(await asked(stage, f"Grip-Sig: {value}"), value)


@case
async def test_c212_a_route_without_grip(stage: Stage) -> None:
    await stage.start(OK, condition="*,no_grip", proxy=TRUSTING)
    value = good(stage)
    request = await asked(stage, f"Grip-Sig: {value}", "Grip-X: y")
    assert (request.all("Grip-Sig"), request.all("Grip-X")) == ([value], ["y"])
    assert (await asked(stage, "Grip-Sig: garbage", "Grip-X: y")).all("Grip-X") == []


# ---- keys in files -----------------------------------------------------------------------------------------


def public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize("kind", ["ES256", "RS256"])
@case
async def test_public_keys(stage: Stage, tmp_path: Path, kind: str) -> None:
    """The file is looked for beside the configuration."""
    key = (
        ec.generate_private_key(ec.SECP256R1()) if kind == "ES256" else rsa.generate_private_key(65537, 2048)
    )
    (tmp_path / "up.pem").write_bytes(public_pem(key))
    (tmp_path / "routes").write_text(f"* {stage.origin.address}\n")
    await stage.start(OK, routes=tmp_path / "routes", proxy={"upstream_key": "file:up.pem"})
    value = token({"exp": int(stage.proxy.seconds()) + 60}, key, kind)
    assert trusted(await asked(stage, f"Grip-Sig: {value}"), value)
    # The public key is no secret: nobody may sign with it.
    forged = token({"exp": int(stage.proxy.seconds()) + 60})
    assert not trusted(await asked(stage, f"Grip-Sig: {forged}"), forged)
