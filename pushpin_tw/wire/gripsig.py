"""Grip-Sig: signing requests towards the origin, knowing an upstream by its signature (proxy 4.4, 5).

Called by ``routing`` (keys of routes, one token per second on the request path) and by the service (keys of
the configuration).  PyJWT does the cryptography; the compact form is written here, because its bytes are part
of the contract.  Never opens files (``read_file`` is handed in), asks no clock, and never shows a secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt.algorithms import get_default_algorithms

LIFETIME = 3600
"""Seconds for which a token is good."""

_ALGORITHMS: dict[str, Any] = get_default_algorithms()
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
_DIGITS = re.compile(r"[0-9]{1,15}")
_VERIFIED = 128  # tokens remembered: an upstream sends the same one for a second


class Key:
    """A secret, a private key to sign with, or a public key to verify with.

    Two keys are equal only when they are the same object.
    """

    __slots__ = ("_material", "algorithm", "signs", "verifies")

    def __init__(self, algorithm: str, material: Any, *, signs: bool, verifies: bool) -> None:
        """``algorithm`` is 'HS256', 'ES256' or 'RS256'; '' marks a key that was given but cannot be used."""
        self.algorithm = algorithm
        self.signs = signs
        self.verifies = verifies
        self._material = material

    def __repr__(self) -> str:
        return f"<Key {self.algorithm or 'unusable'}>"

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``; only when ``signs``."""
        signature: bytes = _ALGORITHMS[self.algorithm].sign(message, self._material)
        return signature

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` belongs to ``message``; only when ``verifies``."""
        return bool(_ALGORITHMS[self.algorithm].verify(message, self._material, signature))


def secret_key(secret: bytes) -> Key:
    """An HMAC key."""
    return Key("HS256", secret, signs=True, verifies=True)


_UNUSABLE = Key("", None, signs=False, verifies=False)


def load_key(text: str, read_file: Callable[[str], bytes]) -> Key | None:
    """The key that ``text`` denotes: ``base64:...``, ``file:PATH`` or the secret itself.

    None means unset: the text or the secret is empty, or the file cannot be read (``read_file`` raises
    ``OSError``).  A file whose content is no key gives one that neither signs nor verifies, so that a typing
    error never leaves a route signed with some other key.
    """
    if text.startswith("file:"):
        try:
            content = read_file(text[5:])
        except (OSError, ValueError):  # ValueError: a NUL in the path
            return None
        return _load_content(content)
    if text.startswith("base64:"):
        secret = _lenient_base64(text[7:])
    else:
        secret = text.encode("utf-8", "surrogateescape")
    return secret_key(secret) if secret else None


def _load_content(content: bytes) -> Key:
    if content.startswith(b"-----BEGIN"):
        return _load_pem(content)
    try:
        secret = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        return _UNUSABLE
    return secret_key(secret) if secret else _UNUSABLE


def _load_pem(content: bytes) -> Key:
    """EC on P-256 or RSA.  A private EC key must be PKCS#8, as with the original."""
    try:
        if b"PUBLIC KEY-----" in content:
            return _public(load_pem_public_key(content))
        if content.startswith(b"-----BEGIN EC "):
            return _UNUSABLE
        return _private(load_pem_private_key(content, password=None))
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        return _UNUSABLE


def _private(loaded: Any) -> Key:
    if isinstance(loaded, EllipticCurvePrivateKey) and isinstance(loaded.curve, SECP256R1):
        return Key("ES256", loaded, signs=True, verifies=False)
    if isinstance(loaded, RSAPrivateKey):
        return Key("RS256", loaded, signs=True, verifies=False)
    return _UNUSABLE


def _public(loaded: Any) -> Key:
    if isinstance(loaded, EllipticCurvePublicKey) and isinstance(loaded.curve, SECP256R1):
        return Key("ES256", loaded, signs=False, verifies=True)
    if isinstance(loaded, RSAPublicKey):
        return Key("RS256", loaded, signs=False, verifies=True)
    return _UNUSABLE


def _lenient_base64(text: str) -> bytes:
    """Everything outside the alphabet is skipped, missing padding is no error."""
    digits = _NOT_BASE64.sub("", text)
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return base64.b64decode(digits + "=" * (-len(digits) % 4))


# ---- signing -----------------------------------------------------------------------------------------------


class Signer:
    """Makes the tokens of one key and issuer; the token of a second is made once."""

    __slots__ = ("_header", "_iss", "_key", "_second", "_token")

    def __init__(self, key: Key, iss: str) -> None:
        """``key`` must be one that signs; see ``make_signer``."""
        self._key = key
        self._header = _compact({"typ": "JWT", "alg": key.algorithm})
        self._iss = iss
        self._second = -1
        self._token = b""

    def __repr__(self) -> str:
        return f"<Signer {self._iss!r} {self._key!r}>"

    def token(self, now: int) -> bytes:
        """The value of Grip-Sig at ``now``, in seconds since the epoch."""
        if now != self._second:
            message = self._header + b"." + _compact({"exp": now + LIFETIME, "iss": self._iss})
            self._token = message + b"." + _base64url(self._key.sign(message))
            self._second = now
        return self._token


def make_signer(key: Key | None, iss: str) -> Signer | None:
    """A signer, or None where no Grip-Sig is to be sent: no key, an unusable one, no issuer."""
    if key is None or not key.signs or not iss:
        return None
    return Signer(key, iss)


def _compact(value: dict[str, object]) -> bytes:
    return _base64url(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


# ---- verifying ---------------------------------------------------------------------------------------------


def verify(key: Key, token: bytes, now: float) -> bool:
    """Whether ``token`` was signed with ``key`` and is still good at ``now`` (proxy 5).

    The key fixes the algorithm.  ``exp`` must lie in the future, without leeway; ``aud`` must be absent;
    ``iss`` and ``nbf`` are not looked at.
    """
    return key.verifies and _expiry(key, token) > now


@lru_cache(maxsize=_VERIFIED)
def _expiry(key: Key, token: bytes) -> float:
    """When a correctly signed token expires; minus infinity for any other."""
    message, _, signature = token.rpartition(b".")
    header, dot, payload = message.partition(b".")
    if not dot or not signature or not key.verifies:
        return -math.inf
    try:
        head = _read_object(header)
        if head.get("alg") != key.algorithm or "crit" in head or head.get("b64", True) is not True:
            return -math.inf
        if not key.verify(message, _unbase64url(signature)):
            return -math.inf
        claims = _read_object(payload)
    except (ValueError, RecursionError):
        return -math.inf
    return -math.inf if "aud" in claims else _instant(claims.get("exp"))


def _read_object(part: bytes) -> dict[str, Any]:
    value = json.loads(_unbase64url(part))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _unbase64url(part: bytes) -> bytes:
    try:
        return base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None


def _instant(value: Any) -> float:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 < value < 1e15:
        return -math.inf
    return float(value)
