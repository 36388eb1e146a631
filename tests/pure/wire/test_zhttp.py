"""ZHTTP packets (zeromq 1.5, 2.4 to 2.12)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import HttpError, PacketError
from pushpin_tw.wire import zhttp
from pushpin_tw.wire.message import OriginRequest
from pushpin_tw.wire.tnetstring import decode, encode
from pushpin_tw.wire.zhttp import Packet, parse, response_head

RULES = zhttp.policy()
PLAIN = OriginRequest(b"GET", b"/s/a?x=1", [(b"Host", b"localhost"), (b"X-A", b"b")])


def packet(**fields: Any) -> bytes:
    """``from_`` and ``content_type`` stand for names that are none in Python; None leaves a field out."""
    every = {"id": b"a1", "seq": 0, **fields}
    named = {name.rstrip("_").replace("_", "-"): value for name, value in every.items() if value is not None}
    return b"T" + encode(named)


# ---- reading -----------------------------------------------------------------------------------------------


def test_a_response() -> None:
    frame = (
        b"T136:4:from,1:W,2:id,2:a1,3:seq,1:0#4:code,3:200#6:reason,2:OK,7:headers,34:30:12:Content-Type,"
        b"10:text/plain,]]4:body,6:part1\n,4:more,4:true!}"
    )
    assert parse(frame) == Packet(
        ((b"a1", 0),),
        sender=b"W",
        code=200,
        reason=b"OK",
        headers=((b"Content-Type", b"text/plain"),),
        body=b"part1\n",
        more=True,
    )


def test_all_other_fields() -> None:
    frame = packet(
        type=b"error",
        condition=b"r\xff",
        credits=7,
        content_type=b"binary",
        ext={"multi": True, "quiet": True},
    )
    assert parse(frame) == Packet(
        ((b"a1", 0),),
        "error",
        condition="r\ufffd",
        credits=7,
        content_type=b"binary",
        multi=True,
        quiet=True,
    )


def test_what_means_nothing_is_not_looked_at() -> None:
    frame = packet(foo=b"bar", bar=[1, None, 1.5], stream=1, timeout=b"x", method=5, ext={"multi": 1, "a": 2})
    assert parse(frame) == Packet(((b"a1", 0),))


@pytest.mark.parametrize("kind", sorted(zhttp.TYPES))
def test_types(kind: str) -> None:
    assert parse(packet(type=kind)).type == kind


@pytest.mark.parametrize(
    ("written", "value"),
    [(200, 200), (b"200", 200), (200.9, 200), (b"-5", -5), (b"007", 7), (-1, -1)],
)
def test_numbers(written: Any, value: int) -> None:
    assert parse(packet(code=written, credits=written, seq=written)) == Packet(
        ((b"a1", value),), code=value, credits=value
    )


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        (packet(seq=None), ((b"a1", None),)),
        (packet(id=[{"id": b"a", "seq": 3}, {"id": b"b", "seq": 0}], seq=None), ((b"a", 3), (b"b", 0))),
        (packet(id=[{"id": b"a", "seq": 3}, {"id": b"b"}], seq=7), ((b"a", 7), (b"b", None))),
        (packet(id=[{"id": b"a"}]), ((b"a", 0),)),
    ],
)
def test_ids(written: bytes, ids: tuple[tuple[bytes, int | None], ...]) -> None:
    assert parse(written).ids == ids


def test_many_ids() -> None:
    entries = [{"id": b"%d" % at, "seq": at} for at in range(1000)]
    assert len(parse(packet(id=entries, seq=None)).ids) == 1000


BAD: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("prefix alone", b"T"),
    ("without prefix", packet()[1:]),
    ("JSON", b'J{"id":"a1"}'),
    ("cut short", packet()[:-3]),
    ("list", b"T" + encode([{"id": b"a1"}])),
    ("null", b"T0:~"),
    *(
        (f"{name} null", b"T" + encode({"id": b"a1", "seq": 0, name: None}))
        for name in ("body", "seq", "type")
    ),
    *((f"{name} number", packet(**{name: 5})) for name in ("id", "type", "from_", "body", "reason", "ext")),
    *((f"{name} number", packet(**{name: 5})) for name in ("headers", "condition", "content_type")),
    *(
        (f"{name} text", packet(**{name: b"x"}))
        for name in ("more", "seq", "credits", "code", "ext", "headers")
    ),
    *((f"{name} flag", packet(**{name: True})) for name in ("seq", "credits", "code", "body")),
    ("more 1", packet(more=1)),
    ("more text", packet(more=b"true")),
    ("code padded", packet(code=b" 200")),
    ("code with underscore", packet(code=b"2_00")),
    ("code beyond numbers", b"T26:2:id,2:a1,4:code,6:1e9999^}"),
    ("no id", packet(id=None)),
    ("no ids", packet(id=[])),
    ("ids that are no maps", packet(id=[b"a1"])),
    ("ids without id", packet(id=[{"seq": 1}])),
    ("ids with a wrong seq", packet(id=[{"id": b"a1", "seq": b"x"}])),
    ("id map", packet(id={"id": b"a1"})),
    ("headers map", packet(headers={"a": b"b"})),
    ("header of three", packet(headers=[[b"a", b"b", b"c"]])),
    ("header of one", packet(headers=[[b"a"]])),
    ("header map", packet(headers=[{"a": b"b"}])),
    ("header number", packet(headers=[[b"a", 5]])),
    *((f"type {kind!r}", packet(type=kind)) for kind in (b"frobnicate", b"data", b"", b"\xff")),
]


@pytest.mark.parametrize("frame", [pytest.param(frame, id=name) for name, frame in BAD])
def test_what_is_no_packet(frame: bytes) -> None:
    with pytest.raises(PacketError):
        parse(frame)


def test_that_infinity_was_written_well() -> None:
    """The bad frame above is bad for its number alone."""
    frame = dict(BAD)["code beyond numbers"]
    assert decode(frame[1:])["code"] == float("inf")


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "seq", "multi"]), inner, max_size=3)
    ),
    max_leaves=5,
)
_NAMES = st.sampled_from(
    ["id", "seq", "from", "type", "body", "more", "credits", "code", "reason", "headers", "condition", "ext"]
)


@given(st.dictionaries(_NAMES, _VALUES))
def test_whatever_the_fields_hold_it_is_a_packet_or_none(fields: dict[str, Any]) -> None:
    try:
        found = parse(b"T" + encode(fields))
    except PacketError:
        return
    assert found.ids


@given(st.binary())
def test_whatever_comes_it_is_a_packet_or_none(frame: bytes) -> None:
    with suppress(PacketError):
        parse(b"T" + frame)


# ---- responses ---------------------------------------------------------------------------------------------


def answer(*headers: tuple[bytes, bytes], **fields: Any) -> Packet:
    return Packet(((b"a1", 0),), **{"code": 200, "reason": b"OK", "headers": headers, **fields})


def test_a_head_without_what_is_for_the_worker_alone() -> None:
    headers = [(b"Connection", b"close"), (b"Keep-Alive", b"x"), (b"transfer-encoding", b"chunked")]
    kept = [(b"Content-Encoding", b"gzip"), (b"X-A", b"1"), (b"x-a", b"2"), (b"X-Empty", b"")]
    head = response_head(answer(*headers, *kept, (b"X-Blank", b" \tx "), more=True), b"GET")
    assert (head.status, head.reason, head.length) == (200, b"OK", None)
    assert head.headers == [*kept, (b"X-Blank", b"x")]


@pytest.mark.parametrize(
    ("made", "method", "length"),
    [
        (answer(body=b"abc"), b"GET", 3),
        (answer(), b"GET", 0),
        (answer(), b"HEAD", None),
        (answer((b"Content-Length", b"7")), b"HEAD", 7),
        (answer((b"Content-Length", b"007"), more=True), b"GET", 7),
        (answer(body=b"abc", more=True), b"GET", None),
    ],
)
def test_lengths(made: Packet, method: bytes, length: int | None) -> None:
    assert response_head(made, method).length == length


@pytest.mark.parametrize(
    "made",
    [
        *(answer(code=code) for code in (0, -1, 99, 101, 199, 1000, 65736)),
        answer(reason=b"a\r\nb"),
        answer((b"a b", b"c")),
        answer((b"", b"c")),
        answer((b"a", b"c\r\nd: e")),
        answer((b"a", b"c\0")),
        answer((b"Content-Length", b"")),
        answer((b"Content-Length", b"-1")),
        answer((b"Content-Length", b"1" * 20)),
        answer((b"Content-Length", b"1"), (b"content-length", b"1")),
    ],
)
def test_what_no_client_may_get(made: Packet) -> None:
    with pytest.raises(HttpError) as caught:
        response_head(made, b"GET")
    assert caught.value.status == 502


# ---- writing -----------------------------------------------------------------------------------------------


def test_a_request_that_is_streamed() -> None:
    assert zhttp.stream_request(b"proxy_71", b"a1", PLAIN, RULES, b"", False) == (
        b"T246:4:from,8:proxy_71,2:id,2:a1,3:seq,1:0#6:method,3:GET,3:uri,24:http://localhost/s/a?x=1,"
        b"7:headers,37:19:4:Host,9:localhost,]10:3:X-A,1:b,]]7:credits,6:200000#6:stream,4:true!"
        b"15:ignore-policies,4:true!11:router-resp,4:true!3:ext,15:5:multi,4:true!}}"
    )


def test_a_request_with_a_body_and_all_rules() -> None:
    asked = OriginRequest(b"POST", b"/p", [(b"Host", b"h:8443")], 5, secure=True)
    rules = zhttp.policy(True, True, True, b"cert", b"key")
    fields = decode(zhttp.stream_request(b"p", b"a", asked, rules, b"abc", True)[1:])
    assert fields == {
        "from": b"p",
        "id": b"a",
        "seq": 0,
        "method": b"POST",
        "uri": b"https://h:8443/p",
        "headers": [[b"Host", b"h:8443"], [b"Content-Length", b"5"]],
        "body": b"abc",
        "more": True,
        "credits": 200000,
        "stream": True,
        "trust-connect-host": True,
        "ignore-tls-errors": True,
        "client-cert": b"cert",
        "client-key": b"key",
        "router-resp": True,
        "ext": {"multi": True},
    }
    assert asked.headers == [(b"Host", b"h:8443")]


@pytest.mark.parametrize(
    ("method", "length", "told"),
    [(b"GET", 0, None), (b"GET", 3, b"3"), (b"POST", 0, b"0"), (b"POST", None, None)],
)
def test_when_a_length_is_told(method: bytes, length: int | None, told: bytes | None) -> None:
    asked = OriginRequest(method, b"/", [], length, host="h")
    fields = decode(zhttp.stream_request(b"p", b"a", asked, RULES, b"", False)[1:])
    assert fields["headers"] == ([] if told is None else [[b"Content-Length", told]])
    assert fields["uri"] == b"http://h/"


def test_a_request_in_one_packet() -> None:
    asked = OriginRequest(b"POST", b"/r/p", [(b"Host", b"localhost")], 3)
    assert zhttp.whole_request(b"proxy_71", b"a1", asked, RULES, b"abc") == (
        b"T197:4:from,8:proxy_71,2:id,2:a1,6:method,4:POST,3:uri,20:http://localhost/r/p,7:headers,"
        b"49:19:4:Host,9:localhost,]22:14:Content-Length,1:3,]]4:body,3:abc,8:max-size,7:1000000#"
        b"15:ignore-policies,4:true!}"
    )


def test_a_websocket() -> None:
    asked = OriginRequest(
        b"GET",
        b"/s/ws?a=1",
        [
            (b"Host", b"localhost"),
            (b"Upgrade", b"websocket"),
            (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            (b"Sec-WebSocket-Version", b"13"),
            (b"Sec-WebSocket-Extensions", b"grip"),
        ],
    )
    assert zhttp.socket_request(b"proxy_71", b"w1", asked, RULES) == (
        b"T353:4:from,8:proxy_71,2:id,2:w1,3:seq,1:0#3:uri,23:ws://localhost/s/ws?a=1,7:headers,175:"
        b"19:4:Host,9:localhost,]22:7:Upgrade,9:websocket,]49:17:Sec-WebSocket-Key,24:"
        b"dGhlIHNhbXBsZSBub25jZQ==,]30:21:Sec-WebSocket-Version,2:13,]35:24:Sec-WebSocket-Extensions,4:grip,]]"
        b"7:credits,6:200000#15:ignore-policies,4:true!11:router-resp,4:true!3:ext,15:5:multi,4:true!}}"
    )
    asked.secure = True
    assert b"wss://localhost/" in zhttp.socket_request(b"p", b"w1", asked, RULES)


P, A, W = b"proxy_71", b"a2", b"w1"


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            zhttp.data(P, A, 1, b"hello", True),
            b"T67:4:from,8:proxy_71,2:id,2:a2,3:seq,1:1#4:body,5:hello,4:more,4:true!}",
        ),
        (zhttp.data(P, A, 10, b"", False), b"T39:4:from,8:proxy_71,2:id,2:a2,3:seq,2:10#}"),
        (
            zhttp.data(P, A, 1, b"", False, 7),
            b"T52:4:from,8:proxy_71,2:id,2:a2,3:seq,1:1#7:credits,1:7#}",
        ),
        (
            zhttp.data(P, W, 1, b"hello", False, 0, b"text"),
            b"T76:4:from,8:proxy_71,2:id,2:w1,3:seq,1:1#12:content-type,4:text,4:body,5:hello,}",
        ),
        (
            zhttp.data(P, W, 1, b"", False, 0, b"text"),
            b"T71:4:from,8:proxy_71,2:id,2:w1,3:seq,1:1#12:content-type,4:text,4:body,0:,}",
        ),
        (
            zhttp.credit(P, b"a1", 1, 6),
            b"T68:4:from,8:proxy_71,2:id,2:a1,3:seq,1:1#4:type,6:credit,7:credits,1:6#}",
        ),
        (zhttp.cancel(P, b"a1", 2), b"T54:4:from,8:proxy_71,2:id,2:a1,3:seq,1:2#4:type,6:cancel,}"),
        (
            zhttp.ping(P, W, 2, b"pi"),
            b"T64:4:from,8:proxy_71,2:id,2:w1,3:seq,1:2#4:type,4:ping,4:body,2:pi,}",
        ),
        (zhttp.ping(P, W, 2, b"", pong=True), b"T52:4:from,8:proxy_71,2:id,2:w1,3:seq,1:2#4:type,4:pong,}"),
        (
            zhttp.close(P, W, 3, 4002, b"cya"),
            b"T80:4:from,8:proxy_71,2:id,2:w1,3:seq,1:3#4:type,5:close,4:code,4:4002#4:body,3:cya,}",
        ),
        (zhttp.close(P, W, 3, None, b""), b"T53:4:from,8:proxy_71,2:id,2:w1,3:seq,1:3#4:type,5:close,}"),
    ],
)
def test_later_packets(frame: bytes, expected: bytes) -> None:
    assert frame == expected
    assert isinstance(decode(frame[1:]), dict)


def test_keeping_many_alive() -> None:
    assert zhttp.keep_alives(P, []) == []
    single, grouped = zhttp.keep_alives(P, [(b"a1", 3)]), zhttp.keep_alives(P, [(b"a1", 3), (b"b7", 0)])
    assert single == [b"T59:4:from,8:proxy_71,2:id,2:a1,3:seq,1:3#4:type,10:keep-alive,}"]
    assert [decode(each[1:]) for each in grouped] == [
        {
            "from": P,
            "id": [{"id": b"a1", "seq": 3}, {"id": b"b7", "seq": 0}],
            "type": b"keep-alive",
        }
    ]
    many = zhttp.keep_alives(P, [(b"%d" % at, at) for at in range(257)])
    assert [len(parse(each).ids) for each in many] == [128, 128, 1]
