"""Grip-Sig: keys, tokens, trust (proxy 4.4, 5)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.wire.gripsig import Key, Signer, load_key, make_signer, secret_key, verify

NOW = 1_700_000_000
SECRET = b"changeme-changeme-changeme-changeme"

EC = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()


def private(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    found: bytes = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return found


def public(key: Any) -> bytes:
    found: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return found


FILES: Mapping[str, bytes] = {
    "ec.pem": private(EC),
    "ec.pub": public(EC),
    "rsa.pem": private(RSA),
    "rsa1.pem": private(RSA, PrivateFormat.TraditionalOpenSSL),
    "rsa.pub": public(RSA),
    "k.hex": b" 00ff10\n",
    "sec1.pem": private(EC, PrivateFormat.TraditionalOpenSSL),
    "ec384.pem": private(EC384),
    "ec384.pub": public(EC384),
    "ed.pem": private(ED),
    "ed.pub": public(ED),
    "locked.pem": RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
    "garbage.pem": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "certificate.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "words": b"not hex at all",
    "latin": b"\xe9\xe9",
    "empty": b"\n",
}


def read_file(path: str) -> bytes:
    try:
        return FILES[path]
    except KeyError:
        raise FileNotFoundError(path) from None


def load(text: str) -> Key:
    key = load_key(text, read_file)
    assert key is not None
    return key


# ---- keys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("changeme", b"changeme"),
        ("é", "é".encode()),
        ("base64:AAEC", b"\0\1\2"),
        ("base64:AAE", b"\0\1"),
        ("base64:A A-E=C!", b"\0\1\2"),
        ("base64:AAECA", b"\0\1\2"),
        ("file:k.hex", b"\x00\xff\x10"),
    ],
)
def test_c073_c074_secrets(text: str, secret: bytes) -> None:
    assert load(text).sign(b"message") == secret_key(secret).sign(b"message")


@pytest.mark.parametrize("text", ["", "base64:", "base64:!", "file:missing", "file:"])
def test_unset_keys(text: str) -> None:
    """C075 and C077: as if there were none."""
    assert load_key(text, read_file) is None


def test_a_path_that_no_system_takes() -> None:
    def refuse(path: str) -> bytes:
        raise ValueError("embedded null byte")

    assert load_key("file:a\0b", refuse) is None


@pytest.mark.parametrize(
    "name",
    [
        *("sec1.pem", "ec384.pem", "ec384.pub", "ed.pem", "ed.pub", "locked.pem", "garbage.pem"),
        *("certificate.pem", "words", "latin", "empty"),
    ],
)
def test_c216_unusable_keys(name: str) -> None:
    key = load(f"file:{name}")
    assert (key.signs, key.verifies) == (False, False)
    assert make_signer(key, "pushpin") is None
    assert not verify(key, Signer(secret_key(SECRET), "i").token(NOW), NOW)


@pytest.mark.parametrize("name", ["ec.pub", "rsa.pub"])
def test_a_public_key_signs_nothing(name: str) -> None:
    assert make_signer(load(f"file:{name}"), "pushpin") is None


def test_no_signer_without_issuer_or_key() -> None:
    assert make_signer(secret_key(b"k"), "") is None
    assert make_signer(None, "pushpin") is None


def test_secrets_stay_hidden() -> None:
    key = secret_key(b"sesame")
    assert repr(key) == "<Key HS256>"
    assert repr(load("file:words")) == "<Key unusable>"
    assert repr(Signer(key, "me")) == "<Signer 'me' <Key HS256>>"


# ---- signing -----------------------------------------------------------------------------------------------


def parts(token: bytes) -> tuple[bytes, bytes]:
    head, payload, _ = token.split(b".")
    return unpadded(head), unpadded(payload)


def unpadded(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


@pytest.mark.parametrize(
    ("text", "algorithm", "verifier"),
    [
        (SECRET.decode(), "HS256", SECRET),
        ("file:ec.pem", "ES256", public(EC)),
        ("file:rsa.pem", "RS256", public(RSA)),
        ("file:rsa1.pem", "RS256", public(RSA)),
    ],
)
def test_c072_c074_tokens(text: str, algorithm: str, verifier: Any) -> None:
    signer = make_signer(load(text), "pushpin")
    assert signer is not None
    token = signer.token(NOW)
    assert parts(token) == (
        b'{"typ":"JWT","alg":"%b"}' % algorithm.encode(),
        b'{"exp":%d,"iss":"pushpin"}' % (NOW + 3600),
    )
    assert b"=" not in token
    options: Any = {"verify_exp": False}
    claims = jwt.decode(token, verifier, algorithms=[algorithm], options=options)
    assert claims == {"exp": NOW + 3600, "iss": "pushpin"}


def test_an_issuer_that_needs_escapes() -> None:
    token = Signer(secret_key(SECRET), 'a"é\udc80').token(NOW)
    assert json.loads(parts(token)[1])["iss"] == 'a"é?'


def test_the_token_of_a_second_is_made_once() -> None:
    signer = Signer(load("file:ec.pem"), "i")
    first = signer.token(NOW)
    assert signer.token(NOW) is first
    second = signer.token(NOW + 1)
    assert json.loads(parts(second)[1])["exp"] == NOW + 3601


# ---- trust -------------------------------------------------------------------------------------------------


def token(
    claims: Mapping[str, Any], key: Any = SECRET, algorithm: str = "HS256", headers: Any = None
) -> bytes:
    return jwt.encode(dict(claims), key, algorithm, headers).encode()


UP = secret_key(SECRET)
GOOD = {"exp": NOW + 1, "iss": "up"}


@pytest.mark.parametrize(
    ("text", "key", "algorithm"),
    [
        (SECRET.decode(), SECRET, "HS256"),
        ("file:ec.pub", EC, "ES256"),
        ("file:rsa.pub", RSA, "RS256"),
    ],
)
def test_c127_a_valid_token(text: str, key: Any, algorithm: str) -> None:
    good = token(GOOD, key, algorithm)
    assert verify(load(text), good, NOW)
    assert verify(load(text), good, NOW)
    assert not verify(load(text), good, NOW + 1)


def test_our_own_tokens_are_good_for_an_hour() -> None:
    own = Signer(UP, "pushpin").token(NOW)
    assert verify(UP, own, NOW + 3599.9)
    assert not verify(UP, own, NOW + 3600)


BAD: Mapping[str, Callable[[], bytes]] = {
    "expired": lambda: token({"exp": NOW}),
    "no exp": lambda: token({"iss": "up"}),
    "wrong key": lambda: token(GOOD, b"x" * 32),
    "alg none": lambda: token(GOOD, None, "none"),
    "other alg": lambda: token(GOOD, SECRET * 2, "HS512"),
    "garbage": lambda: b"garbage",
    "empty": lambda: b"",
    "dots": lambda: b"..",
    "aud": lambda: token({**GOOD, "aud": "x"}),
    "exp bool": lambda: forged(b'{"exp":true}'),
    "exp infinite": lambda: forged(b'{"exp":Infinity}'),
    "exp not a number": lambda: forged(b'{"exp":NaN}'),
    "exp words": lambda: forged(b'{"exp":"soon"}'),
    "exp list": lambda: forged(b'{"exp":[1]}'),
    "exp huge": lambda: forged(b'{"exp":1' + b"0" * 5000 + b"}"),
    "no object": lambda: forged(b"[1]"),
    "no JSON": lambda: forged(b"{"),
    "no UTF-8": lambda: forged(b"\xff"),
    "deep": lambda: forged(b"[" * 100000),
    "crit": lambda: forged(b'{"exp":2000000000}', b'{"alg":"HS256","crit":["x"]}'),
    "b64": lambda: forged(b'{"exp":2000000000}', b'{"alg":"HS256","b64":false}'),
    "head no object": lambda: forged(b'{"exp":2000000000}', b'"HS256"'),
    "head deep": lambda: forged(b"{}", b"[" * 100000),
    "alg list": lambda: forged(b'{"exp":2000000000}', b'{"alg":["HS256"]}'),
    "signature not base64": lambda: token(GOOD) + b"!",
    "signature cut": lambda: token(GOOD)[:-4],
    "two tokens": lambda: token(GOOD) + b"." + token(GOOD),
}


def forged(payload: bytes, head: bytes = b'{"alg":"HS256"}') -> bytes:
    """Anything at all, but signed."""
    message = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (head, payload))
    return message + b"." + base64.urlsafe_b64encode(UP.sign(message)).rstrip(b"=")


@pytest.mark.parametrize("name", BAD)
def test_c128_bad_tokens(name: str) -> None:
    assert not verify(UP, BAD[name](), NOW)


@pytest.mark.parametrize(
    "made",
    [
        token({"exp": NOW + 5}),
        token({**GOOD, "nbf": NOW + 100}),
        token({"exp": str(NOW + 5)}),
        token({"exp": NOW + 0.5}),
        token({"exp": 2**31 + 5}),
        token({**GOOD, "sub": 7, "iat": "x", "jti": 1}),
        forged(b'{"exp":2000000000}'),
    ],
    ids=["no iss", "nbf", "exp string", "exp fraction", "far future", "odd claims", "no typ"],
)
def test_c129_what_is_not_looked_at(made: bytes) -> None:
    assert verify(UP, made, NOW)


def test_the_public_key_is_no_secret() -> None:
    """A token signed with the text of a public key, as if it were a secret, proves nothing."""
    text = public(RSA)
    message = base64.urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=") + b".e30"
    made = message + b"." + base64.urlsafe_b64encode(secret_key(text).sign(message)).rstrip(b"=")
    assert not verify(load("file:rsa.pub"), made, NOW)


def test_a_private_key_verifies_nothing() -> None:
    assert not verify(load("file:ec.pem"), token(GOOD, EC, "ES256"), NOW)


@given(st.binary(max_size=60) | st.text("eyJh.=-_", max_size=30).map(str.encode))
def test_any_bytes_are_judged(made: bytes) -> None:
    assert not verify(UP, made, NOW)
