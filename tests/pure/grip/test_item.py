"""Published items and their formats (grip 12, 17.9; C228, C229)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import PublishError
from pushpin_tw.grip.formats import ResponseFormat, SocketFormat, StreamFormat
from pushpin_tw.grip.item import Item, parse_item, parse_items
from pushpin_tw.wire.headers import is_token, is_value

R, S, W = "http-response", "http-stream", "ws-message"
ITEM = "publish item object contains"


def item(formats: object = None, **members: object) -> dict[str, object]:
    rest = {key.replace("_", "-"): value for key, value in members.items()}
    return {"channel": "c", "formats": {S: {"content": "x"}} if formats is None else formats, **rest}


def response(**fields: object) -> ResponseFormat:
    named = {key.replace("_", "-"): value for key, value in fields.items()}
    found = parse_item(item({R: named})).http_response
    assert found is not None
    return found


def stream(**fields: object) -> StreamFormat:
    found = parse_item(item({S: {key.replace("_", "-"): value for key, value in fields.items()}})).http_stream
    assert found is not None
    return found


def socket(**fields: object) -> SocketFormat:
    found = parse_item(item({W: {key.replace("_", "-"): value for key, value in fields.items()}})).ws_message
    assert found is not None
    return found


def refused(value: object, packed: bool = False) -> str:
    with pytest.raises(PublishError) as caught:
        parse_item(value, packed)
    return caught.value.reason


# ---- documents


def test_documents() -> None:
    assert parse_items(b'{"items":[]}') == []
    body = {"items": [item(id="1", prev_id="", meta={"a": "b"}, size=5, no_seq=True), item()]}
    content = StreamFormat("send", b"x")
    assert parse_items(json.dumps(body).encode()) == [
        Item("c", "1", "", http_stream=content, meta={"a": "b"}, size=5, no_seq=True),
        Item("c", http_stream=content),
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"nojson", "Body is not valid JSON."),
        (b"", "Body is not valid JSON."),
        (b'"x"', "Body is not valid JSON."),
        (b'{"items":[]}x', "Body is not valid JSON."),
        (b'{"items":' + b"[" * 100_000, "Body is not valid JSON."),
        (b"[]", "Invalid format."),
        (b"{}", "Invalid format: object does not contain 'items'"),
        (b'{"items":null}', "Invalid format: object contains 'items' with wrong type"),
        (b'{"items":[[]]}', "Invalid format: publish item object is not an object"),
        (b'{"items":[{}]}', "Invalid format: publish item object does not contain 'channel'"),
        (b'{"items":[{"channel":"a","http-stream":{"action":"x"}}]}', "Invalid format: "),
    ],
)
def test_grip_184_to_186_documents_that_are_refused(body: bytes, expected: str) -> None:
    with pytest.raises(PublishError) as caught:
        parse_items(body)
    assert caught.value.reason == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], "publish item object is not an object"),
        ({}, "publish item object does not contain 'channel'"),
        ({"channel": 5}, f"{ITEM} 'channel' with wrong type"),
        (item(id=None, prev_id=5), f"{ITEM} 'id' with wrong type"),
        (item([], prev_id=5), f"{ITEM} 'prev-id' with wrong type"),
        (item([]), f"{ITEM} 'formats' with wrong type"),
        (item({}), "no formats specified"),
        ({"channel": "c"}, "no formats specified"),
        ({"channel": "c", "formats": {}, S: {"content": "x"}}, "no formats specified"),
        (item({W: 5, S: 5, R: 5}), "'http-response' is not an object"),
        (item({W: 5, S: 5}), "'http-stream' is not an object"),
        (item({W: None}, meta=5), "'ws-message' is not an object"),
        (item(meta=5, size=-1, no_seq=1), f"{ITEM} 'meta' with wrong type"),
        (item(meta={"a": 5}), "'meta' contains 'a' with wrong type"),
        (item(size=None, no_seq=1), f"{ITEM} 'size' with wrong type"),
        (item(size=-1), f"{ITEM} 'size' with invalid value"),
        (item(no_seq=1), f"{ITEM} 'no-seq' with wrong type"),
    ],
)
def test_grip_187_192_items_that_are_refused(value: object, expected: str) -> None:
    assert refused(value) == expected


def test_grip_187_unknown_formats_count() -> None:
    assert parse_item(item({"x": {}})) == Item("c")


def test_formats_may_stand_in_the_item() -> None:
    assert parse_item({"channel": "", S: {"content": "x"}, "formats2": 5}) == Item(
        "", http_stream=StreamFormat("send", b"x")
    )


# ---- http-response


def test_a_plain_response() -> None:
    assert response(body="caf\u00e9") == ResponseFormat("send", body="caf\u00e9".encode())


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (299, None, (299, b"Undefined Reason")),
        (404, "Nothing Here", (404, b"Nothing Here")),
        (404, "", (404, b"Not Found")),
        (200.7, None, (201, b"Created")),
        ("404", None, (404, b"Not Found")),
        ("abc", None, (200, b"OK")),
        (999, "caf\u00e9", (999, "caf\u00e9".encode())),
    ],
)
def test_grip_003_004_007_008_190_codes(code: object, reason: object, expected: tuple[int, bytes]) -> None:
    found = response(code=code, body="") if reason is None else response(code=code, body="", reason=reason)
    assert (found.code, found.reason) == expected


@pytest.mark.parametrize("code", [1000, -1, 0, 7, 100, 101, 199, "101", False, 1e10])
def test_grip_190_c229_codes_that_are_refused(code: object) -> None:
    assert (
        refused(item({R: {"code": code, "body": ""}})) == "'http-response' contains 'code' with invalid value"
    )


def test_grip_002_headers() -> None:
    headers = [["x-foo", "new"], ["x-foo", "new2"], ["Set-Cookie", "c=3"], ["Grip-Foo", "z"]]
    headers += [
        ["Content-Length", "999"],
        ["Transfer-Encoding", "x"],
        ["Connection", "close"],
        ["Keep-Alive", "1"],
    ]
    found = response(code=201, headers=headers, body="hello\n")
    base = [(b"X-Foo", b"bar"), (b"X-Bar", b"1"), (b"set-cookie", b"a=1"), (b"Set-Cookie", b"b=2")]
    assert found.merge(base) == [
        (b"X-Bar", b"1"),
        (b"x-foo", b"new"),
        (b"x-foo", b"new2"),
        (b"Set-Cookie", b"c=3"),
        (b"Keep-Alive", b"1"),
    ]
    assert response(body="").merge(base) == base


def test_grip_003_headers_of_an_object_are_sorted() -> None:
    found = response(headers={"Zed": "1", "Alpha": "2"}, body_bin="aGVsbG8=", body="no")
    assert found.merge([]) == [(b"Alpha", b"2"), (b"Zed", b"1")]
    assert found.body == b"hello"


def test_grip_028_expose_headers_of_an_item_hide() -> None:
    headers = [["Grip-Expose-Headers", "X-Del, X-New"], ["X-New", "3"], ["X-Other", "4"]]
    base = [(b"X-Keep", b"1"), (b"X-Del", b"2")]
    assert response(headers=headers, body="").merge(base) == [(b"X-Keep", b"1"), (b"X-Other", b"4")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"headers": {"X": "a\r\nX-Injected: 1"}}, "contains invalid value of header 'X'"),
        ({"headers": {"X": "a\x00"}}, "contains invalid value of header 'X'"),
        ({"headers": {"Grip-X": "\x7f"}}, "contains invalid value of header 'Grip-X'"),
        ({"headers": [["X\r\nX-Injected", "1"]]}, "contains invalid header name"),
        ({"headers": {"": "1"}}, "contains invalid header name"),
        ({"reason": "a\r\nX-Injected: 1"}, "contains 'reason' with invalid value"),
    ],
)
def test_c228_nobody_injects_a_header(fields: dict[str, object], expected: str) -> None:
    assert refused(item({R: {**fields, "body": ""}})) == f"'http-response' {expected}"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"action": 5, "body": 5}, "'http-response' contains 'action' with wrong type"),
        ({"action": "bogus"}, ""),
        ({"action": ""}, ""),
        ({"code": None, "reason": 5}, "'http-response' contains 'code' with wrong type"),
        ({"reason": 5, "headers": 5}, "'http-response' contains 'reason' with wrong type"),
        ({"headers": 5, "content-filters": 5}, "'http-response' contains 'headers' with wrong type"),
        ({"headers": [5]}, "headers contains element with wrong type"),
        ({"headers": [["a"]]}, "headers contains list with wrong number of elements"),
        ({"headers": [[5, "a"]]}, "header contains name element with wrong type"),
        ({"headers": [["a", None]]}, "header contains value element with wrong type"),
        ({"headers": {"a": 1}}, "headers contains 'a' with wrong type"),
        ({"content-filters": 5, "body": 5}, "'http-response' contains 'content-filters' with wrong type"),
        ({"content-filters": [5]}, "content-filters contains element with wrong type"),
        ({"body-bin": 5, "body": "x"}, "'http-response' contains 'body-bin' with wrong type"),
        ({"body": 5, "body-patch": []}, "'http-response' contains 'body' with wrong type"),
        ({"body-patch": {}}, "'http-response' contains 'body-patch' with wrong type"),
        ({}, "'http-response' does not contain 'body', 'body-bin', or 'body-patch'"),
    ],
)
def test_grip_188_189_responses_that_are_refused(fields: dict[str, object], expected: str) -> None:
    assert refused(item({R: fields})) == expected


def test_grip_177_bodies_by_precedence() -> None:
    patch = [{"op": "add"}]
    assert response(body="x", body_patch=patch).body == b"x"
    assert response(body="x", body_patch=patch).patch is None
    found = response(body_patch=patch, content_filters=["a", "b"])
    assert (found.body, found.patch, found.content_filters) == (None, ({"op": "add"},), ("a", "b"))
    assert response(body=5, body_bin="aGV%%sbG8=xx").body == b"hello1"


@pytest.mark.parametrize("name", [R, S, W])
@pytest.mark.parametrize("action", ["hint", "close", "refresh"])
def test_other_actions_read_no_content(name: str, action: str) -> None:
    found = parse_item(item({name: {"action": action, "body": 5, "content": 5, "headers": 5}}))
    formats = {R: found.http_response, S: found.http_stream, W: found.ws_message}
    chosen = formats.pop(name)
    assert chosen is not None and chosen.action == action
    assert set(formats.values()) == {None}


# ---- http-stream


def test_grip_034_streams() -> None:
    assert stream(content="a\u20ac") == StreamFormat("send", b"a\xe2\x82\xac")
    assert stream(content="no", content_bin="AP8K").content == b"\x00\xff\n"
    assert stream(content="", content_filters=[]) == StreamFormat("send", b"", ())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "'http-stream' does not contain 'content' or 'content-bin'"),
        ({"content": None}, "'http-stream' contains 'content' with wrong type"),
        ({"content-bin": 5}, "'http-stream' contains 'content-bin' with wrong type"),
        ({"content-filters": "x"}, "'http-stream' contains 'content-filters' with wrong type"),
    ],
)
def test_streams_that_are_refused(fields: dict[str, object], expected: str) -> None:
    assert refused(item({S: fields})) == expected


# ---- ws-message


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content": "hello"}, SocketFormat("send", "text", b"hello")),
        ({"content_bin": "AP8K"}, SocketFormat("send", "binary", b"\x00\xff\n")),
        ({"content_bin": "aGk=", "type": "text"}, SocketFormat("send", "text", b"hi")),
        ({"content": 5, "content_bin": "aGk="}, SocketFormat("send", "binary", b"hi")),
        ({"content": "x", "type": "binary"}, SocketFormat("send", "binary", b"x")),
        ({"type": "ping"}, SocketFormat("send", "ping", b"")),
        ({"type": "pong", "content": "pp"}, SocketFormat("send", "pong", b"pp")),
        ({"type": "pong", "content": "p" * 125}, SocketFormat("send", "pong", b"p" * 125)),
        ({"content": "x", "content_filters": ["f"]}, SocketFormat("send", "text", b"x", ("f",))),
        ({"action": "close"}, SocketFormat("close")),
        ({"action": "close", "code": 4001, "reason": "bye"}, SocketFormat("close", code=4001, reason=b"bye")),
        ({"action": "close", "reason": "bye"}, SocketFormat("close")),
        ({"action": "close", "code": "x"}, SocketFormat("close", code=0)),
        ({"action": "close", "code": 65536 + 1001}, SocketFormat("close", code=1001)),
        (
            {"action": "close", "code": 1000, "reason": "x" + "\u20ac" * 50},
            SocketFormat("close", reason=b"x" + b"\xe2\x82\xac" * 40),
        ),
    ],
)
def test_grip_199_to_201_messages(fields: dict[str, object], expected: SocketFormat) -> None:
    assert socket(**fields) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "close"}, "'ws-message' contains 'type' with unknown value"),
        ({"type": 5}, "'ws-message' contains 'type' with wrong type"),
        ({"type": "x", "content-filters": 5}, "'ws-message' contains 'type' with unknown value"),
        ({"type": "text", "content-filters": 5}, "'ws-message' contains 'content-filters' with wrong type"),
        ({}, "'ws-message' does not contain 'content' or 'content-bin'"),
        ({"type": "ping", "content": 5}, "'ws-message' contains 'content' with wrong type"),
        ({"type": "ping", "content": "x" * 126}, "'ws-message' contains 'content' too long for a ping"),
        ({"action": "close", "code": None}, "'ws-message' contains 'code' with wrong type"),
        ({"action": "close", "code": -1}, "'ws-message' contains 'code' with invalid value"),
        ({"action": "close", "reason": 5}, "'ws-message' contains 'reason' with wrong type"),
    ],
)
def test_grip_191_messages_that_are_refused(fields: dict[str, object], expected: str) -> None:
    assert refused(item({W: fields})) == expected


# ---- tnetstrings


def test_packed_items_have_raw_bytes() -> None:
    formats = {
        R: {"body": b"\xff\x00", "body-bin": b"eA==", "headers": [[b"X", b"\xff"]], "code": b"404"},
        S: {"content": b"\xff", "content-bin": b"eA=="},
        W: {"content": b"no", "content-bin": b"AAE="},
    }
    found = parse_item(
        {"channel": b"caf\xc3\xa9", "id": b"\xff", "formats": formats, "meta": {"a": b"b"}}, True
    )
    assert found == Item(
        "caf\u00e9",
        "\ufffd",
        http_response=ResponseFormat(
            "send", 404, b"Not Found", ((b"X", b"\xff"),), b"\xff\x00", replaced=frozenset([b"x"])
        ),
        http_stream=StreamFormat("send", b"\xff"),
        ws_message=SocketFormat("send", "binary", b"AAE="),
        meta={"a": "b"},
    )


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ({R: {"body-bin": b"eA=="}}, "'http-response' does not contain 'body' or 'body-patch'"),
        ({S: {"content-bin": b"eA=="}}, "'http-stream' does not contain 'content'"),
        ({W: {}}, "'ws-message' does not contain 'content' or 'content-bin'"),
    ],
)
def test_packed_items_that_are_refused(formats: object, expected: str) -> None:
    assert refused({"channel": b"c", "formats": formats}, True) == expected


def test_a_packed_patch_is_made_text() -> None:
    operations = [{"op": b"add", "path": b"/a", "value": [1, {"b": b"\xff"}, None]}]
    found = parse_item({"channel": b"c", R: {"body-patch": operations}}, True).http_response
    assert found is not None
    assert found.patch == ({"op": "add", "path": "/a", "value": [1, {"b": "\ufffd"}, None]},)


def test_a_null_is_no_id_in_a_packed_item() -> None:
    found = parse_item(item(id=None, prev_id=None), packed=True)
    assert (found.id, found.prev_id) == (None, None)
    assert refused(item(meta=None), packed=True) == f"{ITEM} 'meta' with wrong type"


def test_the_channel_can_come_from_outside() -> None:
    assert parse_item({S: {"content": b"x"}}, True, "out") == Item(
        "out", http_stream=StreamFormat("send", b"x")
    )
    assert parse_item({"channel": 5, S: {"content": "x"}}, channel="out").channel == "out"
    with pytest.raises(PublishError, match="is not an object"):
        parse_item(5, channel="out")


# ---- anything

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
NAMES = """channel id prev-id formats meta size no-seq http-response http-stream ws-message action code reason
headers body body-bin body-patch content content-bin content-filters type"""
KEYS = st.sampled_from(NAMES.split())
VALUES = st.recursive(
    SCALARS | st.sampled_from(["send", "close", "text", 200]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(), inner, max_size=6),
    max_leaves=15,
)
HEADERS = st.dictionaries(st.text(), st.text()) | st.lists(st.lists(st.text(), min_size=2, max_size=2))
FORMATS = st.fixed_dictionaries(
    {},
    optional={
        R: st.fixed_dictionaries(
            {"body": st.text()}, optional={"code": VALUES, "reason": st.text(), "headers": HEADERS}
        ),
        S: st.fixed_dictionaries({}, optional={"content": VALUES, "content-bin": VALUES}),
        W: st.fixed_dictionaries(
            {}, optional={"content": st.text(), "type": VALUES, "action": VALUES, "code": VALUES}
        ),
    },
)
ITEMS = VALUES | st.fixed_dictionaries(
    {"channel": st.text(), "formats": FORMATS | VALUES},
    optional={"meta": VALUES, "size": VALUES, "id": st.text()},
)


@given(ITEMS)
def test_any_value_is_an_item_or_a_publish_error(value: object) -> None:
    try:
        found = parse_items(json.dumps({"items": [value]}).encode())[0]
    except PublishError as error:
        assert error.reason.startswith("Invalid format: ")
        return
    found.channel.encode()
    if found.http_response is not None:
        assert 200 <= found.http_response.code <= 999
        assert is_value(found.http_response.reason)
        assert all(is_token(name) and is_value(content) for name, content in found.http_response.headers)


@given(st.binary())
def test_any_body_is_items_or_a_publish_error(body: bytes) -> None:
    with pytest.raises(PublishError):
        parse_items(b"{" + body)
