"""Frames, bodies, callbacks and the page of SockJS."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import HttpError, WireError
from pushpin_tw.wire import sockjs

# ---- to the client -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "literal"),
    [
        (b"hello", b'"hello"'),
        (b"", b'""'),
        (b'say "hi" \\', b'"say \\"hi\\" \\\\"'),
        (b"two\nlines\ttab", b'"two\\nlines\\ttab"'),
        (b"\x01\x1f", b'"\\u0001\\u001f"'),
        (b"nul\x00behind", b'"nul\\u0000behind"'),
        ("é\u2028\u2029😀".encode(), '"é\u2028\u2029😀"'.encode()),
        (b"a\xffb", '"a\ufffdb"'.encode()),
        (b"\xed\xa0\x80", '"\ufffd\ufffd\ufffd"'.encode()),
        (b"</script>", b'"</script>"'),
    ],
)
def test_ws_128_a_message_is_a_string_literal(data: bytes, literal: bytes) -> None:
    assert sockjs.quote(data) == literal


@given(st.binary())
def test_any_message_is_read_back(data: bytes) -> None:
    assert json.loads(sockjs.quote(data)) == data.decode("utf-8", "replace")


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_messages_come_back_from_a_frame(texts: list[str]) -> None:
    frame = sockjs.array([sockjs.quote(text.encode()) for text in texts])
    assert frame[:1] == b"a"
    assert sockjs.read_messages(frame[1:]) == [text.encode() for text in texts]


@pytest.mark.parametrize(
    ("code", "reason", "frame"),
    [
        (4001, b"bye", b'c[4001,"bye"]'),
        (None, b"", b'c[0,"Connection closed"]'),
        (1000, b"", b'c[1000,"Connection closed"]'),
        (2010, b"Another connection still open", b'c[2010,"Another connection still open"]'),
        (4000, b'"\xff', 'c[4000,"\\"\ufffd"]'.encode()),
    ],
)
def test_ws_132_the_last_frame(code: int | None, reason: bytes, frame: bytes) -> None:
    assert sockjs.close_frame(code, reason) == frame


def test_ws_135_a_script_calls_back_with_a_literal() -> None:
    text = 'a["quote \\" line \u2028 \u2029"]'.encode()
    script = sockjs.padded(b"_jp.abc", text)
    assert script == b'/**/_jp.abc("a[\\"quote \\\\\\" line \\u2028 \\u2029\\"]");\n'
    assert json.loads(script[len(b"/**/_jp.abc(") : -3]).encode() == text


@given(st.binary())
def test_a_script_has_one_line(text: bytes) -> None:
    assert not set("\n\r\u2028\u2029") & set(sockjs.padded(b"f", text).decode()[:-1])


def test_a_page_that_never_ends() -> None:
    beginning = sockjs.html_beginning(b"_jp.abc")
    page, mark, padding = beginning.partition(b"</script>\n")
    assert len(beginning) == 1024 + 4
    assert mark and not padding.strip()
    assert page.count(b"c = parent._jp.abc;") == 2
    assert b"<body>" in page and b"</body>" not in page


@given(st.binary())
def test_a_frame_stays_within_its_script(frame: bytes) -> None:
    text = sockjs.html_frame(frame)
    literal = text.removeprefix(b"<script>\np(").removesuffix(b");\n</script>\r\n")
    assert len(text) - len(literal) == 25
    assert json.loads(literal) == frame.decode("utf-8", "replace")
    assert not set("<\n\r\u2028\u2029") & set(literal.decode())


def test_ws_126_the_page_and_its_tag() -> None:
    page, tag = sockjs.iframe_page("http://cdn.example.com/sockjs.js?a=1&b=2")
    assert b'<script src="http://cdn.example.com/sockjs.js?a=1&b=2"></script>' in page
    assert page.startswith(b"<!DOCTYPE html>\n<html>\n<head>\n  <meta http-equiv=")
    assert page.endswith(b"</p>\n</body>\n</html>\n")
    assert tag == f'"{hashlib.md5(page).hexdigest()}"'.encode()


def test_a_url_stays_within_its_attribute() -> None:
    page, _ = sockjs.iframe_page('x"><script>alert(1)</script>')
    assert b'src="x%22%3E%3Cscript%3Ealert(1)%3C/script%3E"' in page


# ---- from the client ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (b'["a","b\\u00e9"]', [b"a", "bé".encode()]),
        (b"[]", []),
        (b' [ "" ] ', [b""]),
        ('["é😀"]'.encode(), ["é😀".encode()]),
        (b'["\\ud83d\\ude00"]', ["😀".encode()]),
        (b'["\\ud83d!\\ude00"]', ["\ufffd!\ufffd".encode()]),
        (b'["nul\\u0000"]', [b"nul\x00"]),
    ],
)
def test_ws_129_an_array_of_strings(body: bytes, messages: list[bytes]) -> None:
    assert sockjs.read_messages(body) == messages


WRONG = [
    b"",
    b"junk",
    b'"a"',
    b"5",
    b"{}",
    b"null",
    b'["a",1]',
    b'["a",["b"]]',
    b'["a"',
    b'["a"] x',
    b'["\xff"]',
    b'\xef\xbb\xbf["a"]',
    b"[" * 50_000,
    b"[" + b"9" * 5000 + b"]",
]


@pytest.mark.parametrize("body", WRONG, ids=range(len(WRONG)))
def test_ws_129_anything_else(body: bytes) -> None:
    with pytest.raises(WireError):
        sockjs.read_messages(body)


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (b"d=%5B%22a+b%22%5D", [b"a b"]),
        (b'd=["a%2Bb"]', [b"a+b"]),
        (b"x=1&d=%5B%22%C3%A9%22%5D", ["é".encode()]),
        (b"d=%5B%22a%22%5D&d=%5B%22b%22%5D", [b"a"]),
    ],
)
def test_ws_135_a_form(body: bytes, messages: list[bytes]) -> None:
    assert sockjs.read_form(body) == messages


@pytest.mark.parametrize("body", [b"", b"d", b"d=", b'["a"]', b"e=%5B%22a%22%5D", b"d=%5B%ZZ"])
def test_ws_135_no_such_form(body: bytes) -> None:
    with pytest.raises(WireError):
        sockjs.read_form(body)


@pytest.mark.parametrize(
    ("query", "callback"),
    [
        (None, None),
        (b"", None),
        (b"t=1", None),
        (b"c=", None),
        (b"c=_jp.abc", b"_jp.abc"),
        (b"t=1&callback=a&c=b", b"a"),
        (b"c=b&callback=a", b"a"),
        (b"c=a&c=b", b"a"),
        (b"c=%24f-1", b"$f-1"),
    ],
)
def test_ws_135_who_is_called(query: bytes | None, callback: bytes | None) -> None:
    assert sockjs.read_callback(query) == callback


@pytest.mark.parametrize(
    "query",
    [b"c=a(b);x", b"c=a%28b%29", b"c=%3Cscript%3E", b"c=a%0Ab", b"c=%C3%A9", b"c=a+b", b"callback=;&c=a"],
)
def test_ws_135_no_other_script(query: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        sockjs.read_callback(query)
    assert (caught.value.status, caught.value.text) == (400, "Bad Request")
