"""Instructions as JSON (grip 5, 17.5; C158, C159, C228, C229)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import InstructError
from pushpin_tw.grip.instruct import Channel, Instruct, KeepAlive, NextLink, parse_instruct
from pushpin_tw.wire.headers import is_token, is_value
from pushpin_tw.wire.message import Response

URI = "http://example.com/"


def parse(
    document: object, *headers: tuple[bytes, bytes], status: int = 200, reason: bytes = b"OK"
) -> Instruct:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    content_type = (b"Content-Type", b"application/grip-instruct")
    return parse_instruct(Response(status, reason, [content_type, *headers]), body, URI)


def refused(document: object, *headers: tuple[bytes, bytes], status: int = 200) -> str:
    with pytest.raises(InstructError) as caught:
        parse(document, *headers, status=status)
    return caught.value.detail


def hold(**members: object) -> dict[str, object]:
    return {
        "hold": {"mode": "stream", "channels": [], **{key.replace("_", "-"): members[key] for key in members}}
    }


def test_grip_088_stream() -> None:
    response = {"body": "st", "headers": {"X": "y", "Content-Type": "text/plain"}}
    document = {"hold": {"mode": "stream", "channels": [{"name": "c"}]}, "response": response}
    assert parse(document, (b"X-O", b"1")) == Instruct(
        "stream", 200, b"OK", ((b"Content-Type", b"text/plain"), (b"X", b"y")), b"st", (Channel("c"),)
    )


def test_grip_089_response_hold() -> None:
    document = {"hold": {"channels": [{"name": "c"}], "timeout": 5}, "response": {"code": 404}}
    assert parse(document) == Instruct("response", 404, b"Not Found", (), b"", (Channel("c"),), 5)


def test_grip_090_c158_headers_as_pairs() -> None:
    pairs = [["A", "1"], ["B", "2"], ["A", "3"], ["Content-Length", "77"]]
    instruct = parse({"response": {"code": 201, "reason": "Yo", "body": "b", "headers": pairs}})
    assert instruct == Instruct("none", 201, b"Yo", ((b"A", b"1"), (b"B", b"2"), (b"A", b"3")), b"b")


def test_headers_of_the_framing_are_dropped_and_grip_names_kept() -> None:
    names = ["Grip-Foo", "Connection", "keep-alive", "Content-Encoding", "Transfer-Encoding", "Trailer"]
    instruct = parse({"response": {"headers": dict.fromkeys(names, "x")}}, (b"Grip-Expose-Headers", b"A"))
    assert [name for name, _ in instruct.headers] == [b"Grip-Foo", b"Trailer"]


def test_grip_091_c159_status_of_the_origin() -> None:
    message = "response code for application/grip-instruct content must be 200"
    assert refused({}, status=201) == message
    assert refused({}, status=404) == message


@pytest.mark.parametrize("body", [b"nope", b'"x"', b"", b"{}x", b"\xff"])
def test_grip_092_no_json(body: bytes) -> None:
    assert refused(body) == "failed to parse application/grip-instruct content as JSON"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], "instruct must be an object"),
        ({"hold": None}, "instruct contains 'hold' with wrong type"),
        ({"hold": 5, "response": 5}, "instruct contains 'hold' with wrong type"),
        ({"hold": {}}, "hold does not contain 'channels'"),
        ({"hold": {"mode": None, "channels": 5}}, "hold contains 'mode' with wrong type"),
        ({"hold": {"mode": "x", "channels": []}}, "hold 'mode' must be set to either 'response' or 'stream'"),
        ({"hold": {"mode": "", "channels": []}}, "hold 'mode' must be set to either 'response' or 'stream'"),
        ({"hold": {"channels": {}}}, "hold contains 'channels' with wrong type"),
        ({"hold": {"channels": ["a"]}}, "channel is not an object"),
        ({"hold": {"channels": [{}]}}, "channel does not contain 'name'"),
        ({"hold": {"channels": [{"name": 5}]}}, "channel contains 'name' with wrong type"),
        (hold(channels=[{"name": "a", "prev-id": None}]), "channel contains 'prev-id' with wrong type"),
        (hold(channels=[{"name": "a", "filters": "x"}]), "channel contains 'filters' with wrong type"),
        (hold(channels=[{"name": "a", "filters": [5]}]), "filters contains value with wrong type"),
        (hold(channels=[{"name": "a", "filters": ["x"] * 6}]), "too many filters for channel 'a'"),
        (hold(timeout=None), "hold contains 'timeout' with wrong type"),
        (hold(timeout=-1), "hold contains 'timeout' with invalid value"),
        (hold(keep_alive=[]), "hold contains 'keep-alive' with wrong type"),
        (hold(keep_alive={"content": 5, "timeout": -1}), "keep-alive contains 'content' with wrong type"),
        (hold(keep_alive={"content-bin": 5}), "keep-alive contains 'content-bin' with wrong type"),
        (hold(keep_alive={"timeout": []}), "keep-alive contains 'timeout' with wrong type"),
        (hold(keep_alive={"timeout": -1}), "keep-alive contains 'timeout' with invalid value"),
        (hold(meta=[]), "hold contains 'meta' with wrong type"),
        (hold(meta={"a": 5}), "'meta' contains 'a' with wrong type"),
        ({"response": 5}, ""),
        ({"response": {"code": None}}, "response contains 'code' with wrong type"),
        ({"response": {"code": 1000}}, "response contains 'code' with invalid value"),
        ({"response": {"code": -1}}, "response contains 'code' with invalid value"),
        ({"response": {"reason": 5}}, "response contains 'reason' with wrong type"),
        ({"response": {"headers": "x"}}, "response contains 'headers' with wrong type"),
        ({"response": {"headers": None}}, "response contains 'headers' with wrong type"),
        ({"response": {"headers": [5]}}, "headers contains element with wrong type"),
        ({"response": {"headers": [["a"]]}}, "headers contains list with wrong number of elements"),
        ({"response": {"headers": [[5, "a"]]}}, "header contains name element with wrong type"),
        ({"response": {"headers": [["a", 5]]}}, "header contains value element with wrong type"),
        ({"response": {"headers": {"a": 5}}}, "headers contains 'a' with wrong type"),
        ({"response": {"body-bin": 5, "body": "x"}}, "response contains 'body-bin' with wrong type"),
        ({"response": {"body": None}}, "response contains 'body' with wrong type"),
    ],
)
def test_grip_093_to_098_errors(document: object, expected: str) -> None:
    assert refused(document) == expected


@pytest.mark.parametrize("code", [0, 7, 100, 101, 199, "0", "101", False])
def test_c229_codes_that_are_not_final(code: object) -> None:
    assert refused({"response": {"code": code}}) == "response contains 'code' with invalid value"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"headers": {"X": "a\r\nX-Injected: 1"}}, "response contains invalid value of header 'X'"),
        ({"headers": [["X", "a\x00"]]}, "response contains invalid value of header 'X'"),
        ({"headers": {"Connection": "a\n"}}, "response contains invalid value of header 'Connection'"),
        ({"headers": {"X\r\nY": "a"}}, "response contains invalid header name"),
        ({"headers": [["", "a"]]}, "response contains invalid header name"),
        ({"headers": {"caf\u00e9": "a"}}, "response contains invalid header name"),
        ({"reason": "a\r\nX: 1"}, "response contains 'reason' with invalid value"),
    ],
)
def test_c228_nobody_injects_a_header(response: object, expected: str) -> None:
    assert refused({"response": response}) == expected


def test_grip_097_unparsable_timeout_counts_as_nothing() -> None:
    assert parse(hold(timeout="x")).timeout == 5
    assert parse(hold(), (b"Grip-Timeout", b"7")).timeout == 7
    assert parse(hold(timeout=8.5), (b"Grip-Timeout", b"7")).timeout == 9


def test_grip_101_headers_and_body_together() -> None:
    headers = ((b"Grip-Hold", b"response"), (b"Grip-Channel", b"c2, c1; prev-id=1"))
    instruct = parse(hold(channels=[{"name": "c1", "prev-id": "", "filters": ["f"]}]), *headers)
    assert instruct.mode == "stream"
    assert instruct.channels == (Channel("c2"), Channel("c1", "", ("f",)))
    assert parse({"hold": {"channels": []}}, (b"Grip-Hold", b"stream")).mode == "response"
    assert parse({}, (b"Grip-Hold", b"stream")).mode == "stream"


def test_grip_102_status_of_headers_and_body() -> None:
    header = (b"Grip-Status", b"404 Foo")
    for response, expected in (
        ({"body": "ok"}, (404, b"Foo")),
        ({"reason": ""}, (404, b"Foo")),
        ({"reason": "Bar"}, (404, b"Bar")),
        ({"code": 201}, (201, b"Created")),
        ({"code": 201, "reason": ""}, (201, b"Created")),
        ({"code": "abc"}, (200, b"OK")),
    ):
        instruct = parse({"response": response}, header)
        assert (instruct.status, instruct.reason) == expected
    assert parse({}, reason=b"Sure").reason == b"Sure"


def test_grip_103_keep_alive() -> None:
    keep_alive = {"content-bin": "AP8K", "content": "no", "timeout": 2}
    assert parse(hold(keep_alive=keep_alive)).keep_alive == KeepAlive(b"\x00\xff\n", 2, interval=True)
    assert parse(hold(keep_alive={"content": "x", "timeout": 0})).keep_alive == KeepAlive(b"x", 1, True)
    assert parse(hold(keep_alive={"content": "x"})).keep_alive == KeepAlive(b"x", 55, True)
    header = (b"Grip-Keep-Alive", b"h; timeout=3")
    assert parse(hold(), header).keep_alive == KeepAlive(b"h", 3)
    assert parse(hold(keep_alive={}), header).keep_alive is None


def test_grip_104_meta() -> None:
    instruct = parse(hold(meta={"a": "j", "c": ""}), (b"Grip-Set-Meta", b"a=h, b=h"))
    assert instruct.meta == {"a": "j", "b": "h", "c": ""}


def test_links_beside_a_body() -> None:
    assert parse(hold(), (b"Grip-Link", b"</n>; rel=next")).next_link == NextLink("http://example.com/n")


@pytest.mark.parametrize("document", [{}, {"response": {}}, {"response": {"body": ""}}])
def test_nothing_to_say_is_an_empty_response(document: object) -> None:
    """The original answers 502 here (grip 16.3)."""
    assert parse(document, (b"X-A", b"1")) == Instruct("none", 200, b"OK")


def test_body() -> None:
    assert parse({"response": {"body-bin": "aGVsbG8", "body": None}}).body == b"hello"
    assert parse(b'{"response":{"body":"\\ud800\xc3\xa9"}}').body == "\ufffd\u00e9".encode()


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
NAMES = """hold mode channels name prev-id filters timeout keep-alive content content-bin meta response
code reason headers body body-bin"""
KEYS = st.sampled_from(NAMES.split())
VALUES = st.recursive(
    SCALARS | st.sampled_from(["stream", "response", 200]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(), inner, max_size=6),
    max_leaves=15,
)
HOLDS = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["stream", "response"]),
        "channels": st.lists(st.fixed_dictionaries({"name": st.text()}, optional={"prev-id": VALUES})),
        "timeout": VALUES,
        "keep-alive": VALUES,
        "meta": st.dictionaries(st.text(), st.text()) | VALUES,
    },
)
RESPONSES = st.fixed_dictionaries(
    {},
    optional={
        "code": VALUES,
        "reason": st.text(),
        "headers": st.dictionaries(st.text(), st.text()) | st.lists(st.lists(st.text(), max_size=3)),
        "body": VALUES,
    },
)
DOCUMENTS = VALUES | st.fixed_dictionaries(
    {}, optional={"hold": HOLDS | VALUES, "response": RESPONSES | VALUES}
)


@given(DOCUMENTS)
def test_any_document_is_an_instruct_or_an_instruct_error(document: object) -> None:
    try:
        instruct = parse(document)
    except InstructError:
        return
    assert 200 <= instruct.status <= 999
    assert is_value(instruct.reason)
    assert all(is_token(name) and is_value(value) for name, value in instruct.headers)
    assert instruct.keep_alive is None or (instruct.keep_alive.data and instruct.keep_alive.timeout >= 1)
