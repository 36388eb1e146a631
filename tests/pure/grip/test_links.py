"""Resolving links (RFC 3986, 5.4; grip 4.7)."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.grip.links import resolve

BASE = "http://a/b/c/d;p?q"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"),
        ("g?y#s", "http://a/b/c/g?y"),
        (";x", "http://a/b/c/;x"),
        (".", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("HTTPS://Host:8443/x", "https://Host:8443/x"),
        ("http://host:/x", "http://host/x"),
        ("http://[::1]:80", "http://[::1]:80/"),
        ("http://user:secret@host/x", "http://host/x"),
        ("/a b%20c", "http://a/a%20b%20c"),
        ('/caf\u00e9?\u00e9"', "http://a/caf%C3%A9?%C3%A9%22"),
        ("/%zz//x", "http://a/%zz//x"),
        ("n2?x=1", "http://a/b/c/n2?x=1"),
    ],
)
def test_references(reference: str, expected: str) -> None:
    assert resolve(BASE, reference.encode()) == expected


@pytest.mark.parametrize(
    "reference",
    [
        "http://foo:bar/",
        "http://",
        "http:///x",
        "http://a b/",
        "http://a:99999/",
        "ftp://a/b",
        "mailto:x",
        "1a:b",
        "http://[::1/",
        "//",
    ],
)
def test_what_cannot_be_fetched(reference: str) -> None:
    with pytest.raises(ValueError):
        resolve(BASE, reference.encode())


@given(st.binary())
def test_any_bytes_resolve_to_a_uri_or_a_value_error(reference: bytes) -> None:
    try:
        uri = resolve(BASE, reference)
    except ValueError:
        return
    assert uri.isascii() and uri.isprintable() and " " not in uri and "#" not in uri
    assert uri.startswith(("http://", "https://"))
    assert urlsplit(uri).path.startswith("/")
