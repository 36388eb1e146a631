"""Requests as programs send them over ZHTTP, and what they are answered (zeromq 2.13)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import HttpError, PacketError
from pushpin_tw.wire import zhttp
from pushpin_tw.wire.headers import get_all
from pushpin_tw.wire.tnetstring import decode, encode
from pushpin_tw.wire.websocket import check_handshake
from pushpin_tw.wire.zhttpasked import (
    Question,
    error,
    extended,
    keep_alive,
    parse_question,
    rejection,
    request_of,
    response,
    unnumbered_cancel,
)


def frame(**fields: Any) -> bytes:
    """A first packet; ``_`` stands for ``-`` in names, and None for nothing."""
    whole = {
        "from": "P",
        "id": "1",
        "seq": 0,
        "method": "GET",
        "uri": "http://a.example/",
        "stream": True,
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    return b"T" + encode({name: value for name, value in whole.items() if value is not None})


def question(**fields: Any) -> Question:
    return parse_question(frame(**fields))


def test_what_a_question_says() -> None:
    asked = question(router_resp=True, peer_address="::1", user_data={"a": [None, 1]}, credits=7)
    assert (asked.method, asked.uri, asked.stream, asked.welcome) == (
        b"GET",
        b"http://a.example/",
        True,
        True,
    )
    assert (asked.packet.sender, asked.packet.ids, asked.packet.credits) == (b"P", ((b"1", 0),), 7)
    assert (asked.peer, asked.echo) == ("::1", b"9:user-data," + encode({"a": [None, 1]}))
    plain = question(peer_address="\ufffd")
    assert (plain.peer, plain.echo, plain.welcome) == ("", b"", False)


@pytest.mark.parametrize(
    "fields",
    [
        {"from": None},
        {"from": ""},
        {"from": "a b"},
        {"from": 5},
        {"id": None},
        {"id": []},
        {"id": [{"id": "1"}, {"id": "2"}]},
        {"uri": 5},
        {"method": []},
        {"stream": "true"},
        {"router-resp": 1},
        {"peer-address": 5},
        {"type": "data"},
    ],
)
def test_zmq_187_no_question(fields: dict[str, Any]) -> None:
    with pytest.raises(PacketError):
        question(**fields)


@pytest.mark.parametrize(
    ("fields", "known", "socket", "sound"),
    [
        ({}, True, False, True),
        ({"seq": None}, True, False, True),
        ({"seq": None, "more": True}, True, False, False),
        ({"more": True}, True, False, True),
        ({"seq": 1}, True, False, False),
        ({"stream": False}, True, False, False),
        ({"stream": None}, True, False, False),
        ({"uri": "HTTPS://a/"}, True, False, True),
        ({"uri": "ws://a/", "stream": None}, True, True, True),
        ({"uri": "wss://a/", "seq": None}, True, True, False),
        ({"uri": "wss://a/", "seq": 1}, True, True, False),
        ({"uri": "ftp://a/"}, False, False, True),
        ({"uri": None}, False, False, True),
    ],
)
def test_zmq_184_how_a_session_may_begin(
    fields: dict[str, Any], known: bool, socket: bool, sound: bool
) -> None:
    asked = question(**fields)
    assert (asked.known, asked.socket, asked.sound) == (known, socket, sound)


# ---- the request -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "host", "target", "secure"),
    [
        ("http://a.example", b"a.example", b"/", False),
        ("https://a.example:8443/b?c=d", b"a.example:8443", b"/b?c=d", True),
        ("HTTP://[::1]:80?q", b"[::1]:80", b"/?q", False),
        ("http://a/%41?", b"a", b"/%41?", False),
    ],
)
def test_where_a_request_goes(uri: str, host: bytes, target: bytes, secure: bool) -> None:
    request = request_of(question(uri=uri, headers=[["Host", "other"], ["X-A", " 1\t"]], peer_address="::1"))
    assert (request.method, request.target, request.secure, request.peer) == (b"GET", target, secure, "::1")
    assert request.headers == [(b"Host", host), (b"X-A", b"1")]
    assert (request.host, request.minor, request.websocket, request.has_body) == (host, 1, False, False)


@pytest.mark.parametrize(
    "uri",
    [
        "http:/a",
        "http://",
        "http:///a",
        "http://u@a/",
        "http://a/ b",
        "http://a/\r\n",
        "http://a/#f",
        "http://a\x7f/",
        "http://a/\u00e9".encode("latin-1"),
    ],
)
def test_uris_that_are_none(uri: str | bytes) -> None:
    with pytest.raises(HttpError):
        request_of(question(uri=uri))


def test_headers_of_one_hop_say_nothing() -> None:
    headers = [
        ["Connection", "close"],
        ["Keep-Alive", "1"],
        ["Transfer-Encoding", "chunked"],
        ["Expect", "100-continue"],
        ["Upgrade", "websocket"],
        ["TE", "trailers"],
    ]
    request = request_of(question(headers=headers))
    assert request.headers == [(b"Host", b"a.example"), (b"TE", b"trailers")]
    assert request.keep_alive and not (request.expects_continue or request.chunked or request.websocket)


@pytest.mark.parametrize(
    ("fields", "length", "chunked"),
    [
        ({}, None, False),
        ({"body": "abc"}, 3, False),
        ({"more": True}, None, True),
        ({"body": "abc", "more": True}, None, True),
        ({"headers": [["content-length", "0"]]}, 0, False),
        ({"headers": [["content-length", "3"]], "body": "abc"}, 3, False),
        ({"headers": [["content-length", "5"]], "body": "abc", "more": True}, 5, False),
    ],
)
def test_zmq_190_how_long_a_body_is(fields: dict[str, Any], length: int | None, chunked: bool) -> None:
    request = request_of(question(method="POST", **fields))
    assert (request.length, request.chunked) == (length, chunked)


@pytest.mark.parametrize(
    "fields",
    [
        {"method": None},
        {"method": ""},
        {"method": "A B"},
        {"headers": [["X A", "1"]]},
        {"headers": [["", "1"]]},
        {"headers": [["X-A", "1\n"]]},
        {"headers": [["X-A", "1\0"]]},
        {"headers": [["X-A", "1"]] * 64},
        {"headers": [["Content-Length", "+3"]], "body": "abc"},
        {"headers": [["Content-Length", "2"]], "body": "abc"},
        {"headers": [["Content-Length", "3"]] * 2, "body": "abc"},
    ],
)
def test_zmq_184_requests_that_are_none(fields: dict[str, Any]) -> None:
    with pytest.raises(HttpError):
        request_of(question(**fields))


@pytest.mark.parametrize("given", [[], ["Sec-WebSocket-Key"], ["Sec-WebSocket-Key", "Sec-WebSocket-Version"]])
def test_handshakes_are_made_whole(given: list[str]) -> None:
    values = {"Sec-WebSocket-Key": "k", "Sec-WebSocket-Version": "13"}
    headers = [["Upgrade", "h2c"], *([name, values[name]] for name in given)]
    request = request_of(question(uri="wss://a/", headers=headers, method=None, body="ignored"))
    assert request.websocket and request.secure and check_handshake(request)
    assert get_all(request.headers, b"upgrade") == [b"websocket"]
    assert len(get_all(request.headers, b"sec-websocket-key")) == 1
    assert get_all(request.headers, b"sec-websocket-version") == [b"13"]
    if given:
        assert get_all(request.headers, b"sec-websocket-key") == [b"k"]


@given(st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20))
def test_nothing_can_be_injected(method: bytes, rest: bytes, name: bytes, value: bytes) -> None:
    asked = question(method=method, uri=b"http://a/" + rest, headers=[[name, value]])
    try:
        request = request_of(asked)
    except HttpError:
        return
    assert (request.method, request.target) == (method, b"/" + rest)
    assert request.headers[1:] in ([], [(name, value.strip(b" \t"))])


# ---- answers -----------------------------------------------------------------------------------------------


def fields_of(written: bytes) -> Any:
    assert written.startswith(b"T")
    assert encode(decode(written[1:])) == written[1:]
    return decode(written[1:])


BEGIN = {"from": b"proxy_1", "id": b"1"}


def test_answers() -> None:
    common = (b"proxy_1", b"1", 4)
    assert fields_of(keep_alive(*common)) == {**BEGIN, "seq": 4, "type": b"keep-alive"}
    assert fields_of(error(*common, "c")) == {**BEGIN, "seq": 4, "type": b"error", "condition": b"c"}
    assert fields_of(unnumbered_cancel(*common[:2])) == {**BEGIN, "type": b"cancel"}
    head = {"seq": 4, "code": 200, "reason": b"OK", "headers": [[b"A", b"b"]]}
    headers = [(b"A", b"b")]
    assert fields_of(response(*common, 200, b"OK", headers, b"", False)) == {**BEGIN, **head}
    assert fields_of(response(*common, 200, b"OK", headers, b"x", True, 5)) == {
        **BEGIN,
        **head,
        "body": b"x",
        "more": True,
        "credits": 5,
    }
    refusal = {**BEGIN, **head, "type": b"error", "condition": b"rejected"}
    assert fields_of(rejection(*common, 200, b"OK", headers, b"")) == refusal
    assert fields_of(rejection(*common, 200, b"OK", headers, b"x")) == {**refusal, "body": b"x"}


def test_more_fields() -> None:
    asked = question(user_data=[5])
    written = extended(zhttp.credit(b"proxy_1", b"1", 0, 7), asked.echo)
    assert fields_of(written) == {**BEGIN, "seq": 0, "type": b"credit", "credits": 7, "user-data": [5]}
