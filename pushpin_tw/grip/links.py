"""Links of an instruction: checked and resolved against the request's URI (RFC 3986, 5.2; grip 4.7).

Called by the parser of instructions.  What comes out can be fetched as it stands: an ``http`` or ``https``
URI with a host, without user, fragment, spaces or anything but visible ASCII.  Never fetches.
"""

from __future__ import annotations

import re

_URI = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.S)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_HOST = r"(?:[A-Za-z0-9\-._~]+|\[[0-9A-Fa-f:.]+\])"
_AUTHORITY = re.compile(r"(?:[^@]*@)?(" + _HOST + r"(?::([0-9]{0,5}))?)")
_UNSAFE = re.compile(rb"[^!#-;=?-\[\]_a-z~]")


def resolve(base: str, reference: bytes) -> str:
    """The absolute URI that ``reference`` means within ``base``, which is an absolute HTTP URI.

    Spaces and other bytes that no URI has are percent-encoded, as the original tolerates them.

    :raises ValueError: a malformed reference, or one to something that is not fetched over HTTP.
    """
    clean = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], reference).decode()
    scheme, authority, path, query = _split(clean)
    base_scheme, base_authority, base_path, base_query = _split(base)
    if scheme is not None and not _SCHEME.fullmatch(scheme):
        raise ValueError("invalid scheme")
    if scheme is None:
        scheme = base_scheme
        if authority is None:
            authority = base_authority
            if not path:
                path = base_path
                query = base_query if query is None else query
            elif not path.startswith("/"):
                path = base_path.rpartition("/")[0] + "/" + path
    if scheme is None or scheme.lower() not in ("http", "https"):
        raise ValueError("not an HTTP link")
    suffix = "" if query is None else "?" + query
    return f"{scheme.lower()}://{_host(authority)}{_without_dots(path)}{suffix}"


def _split(uri: str) -> tuple[str | None, str | None, str, str | None]:
    return _URI.fullmatch(uri).groups()  # type: ignore[union-attr,return-value]  # matches any text


def _host(authority: str | None) -> str:
    found = _AUTHORITY.fullmatch(authority or "")
    if found is None or int(found[2] or 0) > 65535:
        raise ValueError("invalid host or port")
    return found[1].removesuffix(":")


def _without_dots(path: str) -> str:
    """Remove ``.`` and ``..`` segments (RFC 3986, 5.2.4)."""
    if not path:
        return "/"
    kept: list[str] = []
    segments = path.removeprefix("/").split("/")
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
