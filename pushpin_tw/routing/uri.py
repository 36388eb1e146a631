"""What a client asks for: one URI, read in exactly one way (proxy 4.2, 8.1, 8.12).

``request_uri`` is called by ``proxy`` once for every request; the other functions by ``routing``, for what a
routes file says about hosts and paths.  Percent-encoding is normalised and dot segments are resolved here,
before any route is looked up, so that no spelling of a path walks around a rule.  Never knows a route.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

import idna

from pushpin_tw.errors import HttpError
from pushpin_tw.wire.headers import HeaderList, get
from pushpin_tw.wire.message import Request

MAX_URI = 4096
"""Bytes of ``scheme://``, Host value and request target together."""
MAX_HOST = 262
"""Bytes of a Host value: the longest name of the DNS and a port."""

_BAD_HOST = "Failed to parse request: invalid host"
_BAD_TARGET = "Failed to parse request: invalid token"

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:]+))(?::([0-9]{0,5}))?")
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)((?:[/?].*)?)", re.IGNORECASE)

# A target that normalisation leaves alone, unless "/." occurs in its path: the common case costs one match.
_CLEAN = re.compile(rb"(/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*)(?:\?([A-Za-z0-9\-._~!$&()*+,;=:@/?]*))?")
# What is rewritten elsewhere: escapes, stray "%", and all that may not stand for itself.
_PATH_ODD = re.compile(rb"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]#]")
_QUERY_ODD = re.compile(rb"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~!$&()*+,;=:@/?\[\]#]")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

_SCHEMES = {(False, False): "http", (False, True): "https", (True, False): "ws", (True, True): "wss"}
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class Authority(NamedTuple):
    """Host and port, as they stand in a Host header."""

    host: str
    """Lower case, in ACE form; an IPv6 address without brackets, in its shortest form."""
    port: int | None

    def text(self, secure: bool) -> bytes:
        """The Host value for a destination that speaks TLS or not: the default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port is None or self.port == (443 if secure else 80):
            return host.encode()
        return f"{host}:{self.port}".encode()


@dataclass(slots=True)
class Uri:
    """The URI of a request.  ``str()`` writes it in full."""

    scheme: str
    """'http', 'https', 'ws' or 'wss'."""
    host: str
    """As in ``Authority``."""
    port: int | None
    path: bytes
    """Percent-encoded, normalised, without dot segments; empty only for a target that began with '?'."""
    query: bytes | None
    """Without '?'; None when there was none."""

    @property
    def secure(self) -> bool:
        """Whether the client speaks TLS, as far as it is believed."""
        return self.scheme in ("https", "wss")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        query = "" if self.query is None else f"?{self.query.decode('ascii')}"
        return f"{self.scheme}://{host}{port}{self.path.decode('ascii')}{query}"


def request_uri(request: Request, accept_forwarded: bool) -> Uri:
    """The URI that ``request`` is about.

    ``accept_forwarded`` is the key ``accept_x_forwarded_protocol``: whether a client may say that it spoke
    TLS to somebody in front of us.  An absolute-form target names the host itself; the Host header is ignored
    then.

    :raises HttpError: 400 for a host or a target that is not plainly one, 500 for an over-long URI, 502 for
        the target ``*``, which no origin is asked about.
    """
    headers, target = request.headers, request.target
    secure = request.secure or (accept_forwarded and _says_secure(headers))
    scheme = _SCHEMES[request.websocket, secure]
    host = _only_host(request)
    if len(scheme) + 3 + len(host) + len(target) > MAX_URI:
        raise HttpError("Failed to process request.", 500)
    found = _CLEAN.fullmatch(target)
    if found is None:
        named, target = _origin_form(target)
        host = named if named is not None else host
        path, query = _normal_target(target)
    else:
        path, query = found.groups()
        if b"/." in path:
            path = _without_dots(path)
    name, port = authority(host)
    return Uri(scheme, name, port, path, query)


def _only_host(request: Request) -> bytes:
    host = request.host
    if host is None:
        return b"localhost"
    for name, value in request.headers:
        if len(name) == 4 and value != host and name.lower() == b"host":
            raise HttpError(_BAD_HOST)
    return host


def _says_secure(headers: HeaderList) -> bool:
    said = get(headers, b"x-forwarded-proto") or get(headers, b"x-forwarded-protocol")
    return said in (b"https", b"wss")


# ---- hosts -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _cached_authority(value: bytes) -> Authority:
    try:
        found = _AUTHORITY.fullmatch(value.decode().lower())
    except UnicodeDecodeError:
        found = None
    if found is None:
        raise HttpError(_BAD_HOST)
    literal, name, digits = found.groups()
    port = int(digits) if digits else None
    if port is not None and not 0 < port < 65536:
        raise HttpError(_BAD_HOST)
    return Authority(_literal(literal) if literal else _name(name), port)


def authority(value: bytes) -> Authority:
    """Read ``name[:port]``, ``IPv4[:port]`` or ``[IPv6][:port]``; a name may be UTF-8 and is IDNA-encoded.

    :raises HttpError: 400, it is anything else.
    """
    if len(value) > MAX_HOST:
        raise HttpError(_BAD_HOST)
    return _cached_authority(value)


def _literal(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except AddressValueError:
        raise HttpError(_BAD_HOST) from None


def _name(text: str) -> str:
    if not text.isascii():
        try:
            text = idna.encode(text, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise HttpError(_BAD_HOST) from None
    # Checked after encoding: its mapping can bring forth characters that were not there before.
    if not _NAME.fullmatch(text):
        raise HttpError(_BAD_HOST)
    return text


# ---- targets -----------------------------------------------------------------------------------------------


def _origin_form(target: bytes) -> tuple[bytes | None, bytes]:
    """The authority an absolute-form target names, or None, and the rest: path and query."""
    if target.startswith((b"/", b"?")):
        return None, target
    if target == b"*":
        raise HttpError("Error while proxying to origin.", 502)
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise HttpError(_BAD_TARGET)
    named, rest = found.groups()
    return named, rest if rest.startswith(b"/") else b"/" + rest


def _normal_target(target: bytes) -> tuple[bytes, bytes | None]:
    path, mark, query = target.partition(b"?")
    return normal_path(path), _QUERY_ODD.sub(_escaped, query) if mark else None


def normal_path(path: bytes) -> bytes:
    """``path`` with unreserved characters decoded, odd ones encoded and dot segments resolved."""
    path = _PATH_ODD.sub(_escaped, path)
    return _without_dots(path) if b"/." in path else path


def _escaped(found: re.Match[bytes]) -> bytes:
    odd = found[0]
    if len(odd) == 1:
        return b"%%%02X" % odd[0]
    code = int(odd[1:], 16)
    return bytes([code]) if code in _UNRESERVED else odd.upper()


def _without_dots(path: bytes) -> bytes:
    """Resolve ``.`` and ``..`` (RFC 3986, 5.2.4); empty segments are kept."""
    first, *segments = path.split(b"/")
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments and segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/".join([first, *kept])
