"""The control API (grip 17.9), compared as raw responses."""

from __future__ import annotations

import json

import pytest
import pytest_twisted

from tests.support.origin import hold
from tests.support.rawclient import RawClient
from tests.support.running import R
from tests.support.stage import Stage, numbered

case = pytest_twisted.ensureDeferred


def control_answer(
    status: str, body: str, *first: str, kind: str = "text/plain", version: str = "HTTP/1.1"
) -> bytes:
    """What the control API answers; ``first`` are header lines before the usual ones."""
    lines = [
        f"{version} {status}",
        *first,
        f"Content-Type: {kind}",
        "Connection: close",
        f"Content-Length: {len(body)}",
        "",
        body,
    ]
    return "\r\n".join(lines).encode()


async def exchange(stage: Stage, request: str, expected: bytes) -> RawClient:
    """Send raw bytes, LF standing for CRLF in the head; compare the answer up to the close."""
    client = await stage.control()
    head, _, body = request.partition("\n\n")
    client.send((head.replace("\n", "\r\n") + "\r\n\r\n" + body).encode())
    await client.expect(expected)
    await client.closed()
    return client


def post(body: str, *headers: str, path: str = "/publish") -> str:
    """A POST as ``exchange`` takes it."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", *headers, f"Content-Length: {len(body)}", "", body]
    return "\n".join(lines)


PUBLISHED = control_answer("200 OK", "Published\n")
PUBLISHED_JSON = control_answer("200 OK", '{"message":"Published"}\n', kind="application/json")
NOT_ACCEPTABLE = control_answer(
    "406 Not Acceptable", "Not Acceptable. Supported formats are text/plain and application/json.\n"
)
LENGTH_REQUIRED = control_answer("411 Length Required", "Request requires Content-Length.\n")


def bad(body: str) -> bytes:
    """A refusal."""
    return control_answer("400 Bad Request", f"{body}\n")


def not_allowed(method: str) -> bytes:
    """A refusal of the method."""
    return control_answer("405 Method Not Allowed", f"Method not allowed: {method}.\n", "Allow: POST")


EMPTY = '{"items":[]}'
NO_JSON = bad("Body is not valid JSON.")
RAW = [
    ("178", "GET / HTTP/1.1\nHost: x\n\n", control_answer("200 OK", "Pushpin API\n")),
    ("179", post(EMPTY, "Accept: application/json", path="/publish/"), PUBLISHED_JSON),
    ("180-json", post(EMPTY, "Accept: text/plain, application/json"), PUBLISHED_JSON),
    ("180-text", post(EMPTY, "Accept: application/json;q=0.1, text/plain;q=0.9"), PUBLISHED),
    ("181-html", post(EMPTY, "Accept: text/html"), NOT_ACCEPTABLE),
    ("181-empty", post(EMPTY, "Accept: "), NOT_ACCEPTABLE),
    ("181-root", "GET / HTTP/1.1\nHost: x\nAccept: text/html\n\n", NOT_ACCEPTABLE),
    ("181-nowhere", "GET /nowhere HTTP/1.1\nHost: x\nAccept: text/html\n\n", NOT_ACCEPTABLE),
    ("182", "GET /publish HTTP/1.1\nHost: x\n\n", not_allowed("GET")),
    ("182-recover", "GET /recover HTTP/1.1\nHost: x\n\n", not_allowed("GET")),
    ("183", post(EMPTY, path="/publish?x=1"), control_answer("404 Not Found", "Not Found\n")),
    ("184-word", post("nojson"), NO_JSON),
    ("184-empty", post(""), NO_JSON),
    ("184-scalar", post('"x"'), NO_JSON),
    ("184-more", post('{"items":[]}x'), NO_JSON),
    ("185-array", post("[]"), bad("Invalid format.")),
    ("185-no-items", post("{}"), bad("Invalid format: object does not contain 'items'")),
    ("185-null", post('{"items":null}'), bad("Invalid format: object contains 'items' with wrong type")),
    ("193-no-length", "POST /publish HTTP/1.1\nHost: x\n\n", LENGTH_REQUIRED),
    ("193-chunked-post", "POST /publish HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n", LENGTH_REQUIRED),
    ("193-chunked-get", "GET / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n", LENGTH_REQUIRED),
    ("194", "POST /publish HTTP/1.1\nHost: x\nContent-Length: 1000001\n\n", bad("Request body too large.")),
    ("195", "GET / HTTP/1.1\nHost: x\nX-Long: " + "x" * 10_000 + "\n\n", bad("Request header too large.")),
    ("196", "GET / HTTP/1.0\n\n", control_answer("200 OK", "Pushpin API\n", version="HTTP/1.0")),
    ("198", post("", path="/recover"), control_answer("200 OK", "Updated\n")),
    (
        "198-json",
        post("", "Accept: application/json", path="/recover"),
        control_answer("200 OK", '{"message":"Updated"}\n', kind="application/json"),
    ),
]


@pytest.mark.parametrize(("request_", "expected"), numbered(RAW))
@case
async def test_raw(stage: Stage, request_: str, expected: bytes) -> None:
    await stage.start()
    await exchange(stage, request_, expected)


GOOD = {"channel": "c", "formats": {R: {"body": "x"}}}
FORM = f"Invalid format: '{R}'"
ITEM = "Invalid format: publish item object contains"
ITEMS = [
    ("187-nothing", {"channel": "c"}, bad("Invalid format: no formats specified")),
    ("187-unknown", {"channel": "c", "formats": {"x": {}}}, PUBLISHED),
    ("188", {"channel": "c", R: {"action": "bogus"}}, bad("Invalid format: ")),
    ("189", {"channel": "c", R: {}}, bad(f"{FORM} does not contain 'body', 'body-bin', or 'body-patch'")),
    (
        "190-large",
        {"channel": "c", R: {"code": 1000, "body": ""}},
        bad(f"{FORM} contains 'code' with invalid value"),
    ),
    (
        "190-negative",
        {"channel": "c", R: {"code": -1, "body": ""}},
        bad(f"{FORM} contains 'code' with invalid value"),
    ),
    (
        "190-null",
        {"channel": "c", R: {"code": None, "body": ""}},
        bad(f"{FORM} contains 'code' with wrong type"),
    ),
    ("190-word", {"channel": "c", R: {"code": "abc", "body": ""}}, PUBLISHED),
    (
        "191",
        {"channel": "c", "ws-message": {"type": "close"}},
        bad("Invalid format: 'ws-message' contains 'type' with unknown value"),
    ),
    ("192-id", {**GOOD, "id": None}, bad(f"{ITEM} 'id' with wrong type")),
    ("192-meta", {**GOOD, "meta": {"a": 5}}, bad("Invalid format: 'meta' contains 'a' with wrong type")),
    ("192-no-seq", {**GOOD, "no-seq": 1}, bad(f"{ITEM} 'no-seq' with wrong type")),
    ("192-size", {**GOOD, "size": -1}, bad(f"{ITEM} 'size' with invalid value")),
]


@pytest.mark.parametrize(("item", "expected"), numbered(ITEMS))
@case
async def test_item(stage: Stage, item: object, expected: bytes) -> None:
    await stage.start()
    await exchange(stage, post(json.dumps({"items": [item]})), expected)


@case
async def test_grip_186_one_bad_item_publishes_none(stage: Stage) -> None:
    await stage.start(hold("response"))
    client = await stage.held()
    message = "Invalid format: publish item object does not contain 'channel'"
    await exchange(stage, post(json.dumps({"items": [GOOD, {}]})), bad(message))
    await stage.proxy.publish("c", {R: {"body": "good"}})
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")


@case
async def test_grip_197_expect_continue(stage: Stage) -> None:
    await stage.start()
    client = await stage.control()
    client.send(
        f"POST /publish HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {len(EMPTY)}\r\n\r\n".encode()
    )
    await client.expect(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.send(EMPTY.encode())
    await client.expect(PUBLISHED)
    await client.closed()
