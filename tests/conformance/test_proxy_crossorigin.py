"""CORS headers and JSON-P (proxy 10.6), through the whole service."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
import pytest_twisted

from tests.support.origin import Asked, hold, reply
from tests.support.rawclient import Answer, Head
from tests.support.running import R, S
from tests.support.stage import Stage

case = pytest_twisted.ensureDeferred
ANY = "OPTIONS, HEAD, GET, POST, PUT, DELETE"
SCRIPT = "Content-Type: application/javascript"
FAILED = b"Error while proxying to origin.\n"


def cors(head: Head) -> list[tuple[str, str]]:
    return [pair for pair in head.headers if pair[0].startswith("Access-Control-")]


def allowed(
    exposed: str = "", methods: str = ANY, headers: str = "", origin: str = "*"
) -> list[tuple[str, str]]:
    """What a response without such headers gets, in this order."""
    pairs = [
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", headers),
        ("Access-Control-Expose-Headers", exposed),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Max-Age", "3600"),
    ]
    return [pair for pair in pairs if pair[1]]


async def fetch(stage: Stage, target: str, *headers: str, **request: object) -> Answer:
    client = await stage.ask(target, *headers, **request)  # type: ignore[arg-type]
    return await client.read_response()


def script(answer: Answer) -> bytes:
    """The body of a JSON-P response."""
    assert (answer.status, answer.reason) == (200, "OK")
    assert answer.all("Content-Type") == ["application/javascript"]
    assert cors(answer) == []
    return answer.body


# ---- CORS --------------------------------------------------------------------------------------------------


@case
async def test_c137_what_a_page_may_see(stage: Stage) -> None:
    names = ["X-A: 1", "X-B: 2", "X-A: 3", "Cache-Control: no-store", "Server: s", "ETag: e"]
    await stage.start(reply(*names, "Content-Type: text/plain", body=b"ok\n"), condition="*,aco")
    answer = await fetch(stage, "/")
    assert cors(answer) == allowed("X-A, X-B, Server, ETag")
    added = "".join(f"{name}: {value}\r\n" for name, value in cors(answer))
    head = "".join(f"{line}\r\n" for line in ["HTTP/1.1 200 OK", *names, "Content-Type: text/plain"])
    assert answer.raw.decode() == f"{head}{added}Content-Length: 3\r\n\r\n"
    assert answer.body == b"ok\n"


@case
async def test_c137_as_the_configuration_says_for_all_routes(stage: Stage) -> None:
    await stage.start(reply(body=b"ok\n"), condition="*", proxy={"auto_cross_origin": "true"})
    assert cors(await fetch(stage, "/")) == allowed()


@case
async def test_c137_not_without_being_told(stage: Stage) -> None:
    await stage.start(reply(body=b"ok\n"), condition="*")
    client = await stage.ask("/", "Origin: http://page.example")
    await client.expect(reply(body=b"ok\n"))


@case
async def test_c138_a_preflight(stage: Stage) -> None:
    await stage.start(reply(), condition="*,aco")
    answer = await fetch(
        stage,
        "/",
        "Origin: http://page.example",
        "Access-Control-Request-Method: PUT",
        "Access-Control-Request-Headers: X-Foo,X-Bar",
        "Access-Control-Request-Headers: X-Baz",
        method="OPTIONS",
    )
    assert stage.origin.requests[0].method == "OPTIONS"
    assert cors(answer) == allowed("", "PUT", "X-Foo, X-Bar, X-Baz", "http://page.example")


@case
async def test_c139_what_the_backend_says_stays(stage: Stage) -> None:
    said = [(name.lower(), "x") for name, _ in allowed("x", headers="x")]
    await stage.start(reply(*map(": ".join, said), "X-A: 1"), condition="*,aco")
    answer = await fetch(stage, "/", "Origin: http://page.example")
    assert answer.headers == [*said, ("X-A", "1"), ("Content-Length", "0")]


@case
async def test_c140_errors(stage: Stage, down: str) -> None:
    await stage.start(routes=[f"*,aco {down}"])
    answer = await fetch(stage, "/", "Origin: http://page.example")
    assert (answer.status, answer.body) == (502, FAILED)
    assert cors(answer) == allowed(origin="http://page.example")


@case
async def test_c140_a_route_that_is_missing(stage: Stage) -> None:
    await stage.start(routes=["other test"], proxy={"auto_cross_origin": "true"})
    answer = await fetch(stage, "/?callback=f")
    assert b'"code": 502, "reason": "Bad Gateway"' in script(answer)
    assert cors(await fetch(stage, "/", "Origin: null")) == allowed(origin="null")


@case
async def test_c141_a_long_poll(stage: Stage) -> None:
    await stage.start(hold("response", "X-A: 1", channel="ch"), condition="*,aco")
    client = await stage.ask("/", "Origin: http://page.example")
    await stage.proxy.held("ch")
    await stage.proxy.publish("ch", {R: {"headers": [["X-N", "2"]], "body": "news"}})
    answer = await client.read_response()
    assert (answer.body, cors(answer)) == (b"news", allowed("X-A, X-N", origin="http://page.example"))


@case
async def test_c141_a_stream(stage: Stage) -> None:
    await stage.start(hold("stream", "X-A: 1", channel="ch", body=b"begin\n"), condition="*,aco")
    _, head, body = await stage.stream("ch", "Origin: http://page.example", initial=b"begin\n")
    assert cors(head) == allowed("X-A", origin="http://page.example")
    await stage.proxy.publish("ch", {S: {"content": "news\n"}})
    await body.expect(b"news\n")


@case
async def test_c210_a_long_head(stage: Stage) -> None:
    head = "X-A: " + "x" * (8100 - len(reply("X-A: ")))
    await stage.start(reply(head), condition="*,aco")
    answer = await fetch(stage, "/")
    assert answer.headers[0] == ("X-A", "x" * (8100 - len(reply("X-A: "))))
    assert cors(answer) == allowed("X-A")


# ---- JSON-P: what is asked ---------------------------------------------------------------------------------


@case
async def test_c142_a_callback(stage: Stage) -> None:
    answer = reply("Content-Type: application/json", body=b'{"a": 1}\r\n', status="404 Not Found")
    await stage.start(answer, condition="*,aco")
    client = await stage.ask("/x?callback=foo&a=b", "Accept: text/html", "X-A: 1")
    body = (
        rb'/**/foo({"code": 404, "reason": "Not Found", "headers": {"Content-Length":"10",'
        rb'"Content-Type":"application/json"}, "body": "{\"a\": 1}\r\n"});' + b"\n"
    )
    await client.expect(f"HTTP/1.1 200 OK\r\n{SCRIPT}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    asked = stage.origin.requests[0]
    assert (asked.method, asked.target) == ("GET", "/x?a=b")
    assert (asked.all("Accept"), asked.all("X-A")) == (["*/*"], ["1"])
    await stage.proxy.logged(f"GET http://example.com/x?a=b -> {stage.origin.address} code=404 {len(body)}")


@case
async def test_c142_caching_is_the_backends_affair(stage: Stage) -> None:
    await stage.start(reply("Cache-Control: no-store", "X-A: 1", body=b"x"), condition="*,aco")
    answer = await fetch(stage, "/?callback=foo")
    assert b'{"Cache-Control":"no-store","Content-Length":"1","X-A":"1"}' in script(answer)
    assert [name for name, _ in answer.headers] == ["Content-Type", "Cache-Control", "Content-Length"]


@case
async def test_c143_any_request(stage: Stage) -> None:
    await stage.start(reply(body=b"ok\n"), condition="*,aco")
    headers = quote('{"Content-Type":"application/json","X-Z":"q","Host":"evil","accept":"x"}')
    body = quote('{"x": 1}')
    answer = await fetch(
        stage, f"/?callback=f&_method=POST&_headers={headers}&_body={body}", "Accept: text/html"
    )
    script(answer)
    asked = stage.origin.requests[0]
    assert (asked.method, asked.target, asked.body) == ("POST", "/", b'{"x": 1}')
    told = [pair for pair in asked.headers if not pair[0].startswith("Grip-")]
    assert told == [
        ("Host", "example.com"),
        ("Content-Type", "application/json"),
        ("X-Z", "q"),
        ("Accept", "*/*"),
        ("Content-Length", "8"),
    ]


@case
async def test_c144_basic_mode(stage: Stage) -> None:
    await stage.start(reply(body=b'{"a": 1}\r\n'), condition="*,aco,jsonp_mode=basic")
    answer = await fetch(stage, "/?callback=foo.bar%5B0%5D")
    assert script(answer) == b'/**/foo.bar[0]({"a": 1});\n'
    assert stage.origin.requests[0].method == "POST"


@pytest.mark.parametrize(
    ("condition", "body"),
    [
        (
            "*,aco",
            b'/**/foo({"code": 200, "reason": "OK", "headers": {"Content-Length":"9"}, '
            b'"body": "one \xc3\xa4\\r\\n\\r"});\n',
        ),
        ("*,aco,jsonp_mode=basic", b"/**/foo(one \xc3\xa4\r\n\r);\n"),
    ],
    ids=["C145", "C145-basic"],
)
@case
async def test_a_response_in_pieces(stage: Stage, condition: str, body: bytes) -> None:
    """Torn within a character, and within line ends that may be the last."""
    await stage.start(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none \xc3", condition=condition)
    client = await stage.ask("/?callback=foo")
    head = await client.read_head()
    assert head.get("Content-Length") is None
    asked = await stage.origin.request(1)
    for piece in (b"\xa4\r", b"\n", b"\r"):
        await stage.proxy.settle()
        asked.write(piece)
    assert await client.body(head).rest() == body
    await stage.proxy.logged(
        f"{asked.method} http://example.com/ -> {stage.origin.address} code=200 {len(body)}"
    )


BAD = [
    ("C146", "callback=", "callback"),
    ("C146-no-value", "callback", "callback"),
    ("C146-method", "callback=f&_method=", "_method"),
    ("C146-method-control", "callback=f&_method=%01", "_method"),
    ("C146-headers", "callback=f&_headers=foo", "_headers"),
    ("C146-headers-number", "callback=f&_headers=" + quote('{"a":1}'), "_headers"),
    ("C146-headers-empty", "callback=f&_headers=", "_headers"),
    ("C146-body", "callback=f&_body=", "_body"),
]


@pytest.mark.parametrize(("query", "what"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
@case
async def test_parameters_that_are_wrong(stage: Stage, query: str, what: str) -> None:
    await stage.start(reply(), condition="*,aco")
    answer = await fetch(stage, f"/?{query}", "Origin: http://page.example")
    text = f"Invalid {what} parameter.\n"
    assert (answer.status, answer.body) == (400, text.encode())
    assert cors(answer) == allowed(origin="http://page.example")
    assert stage.origin.requests == []
    await stage.proxy.logged(f"GET http://example.com/?{query} code=400 {len(text)}")


OTHER_NAMES = "*,aco,jsonp_cb=cb,jsonp_body=payload,jsonp_defcb=dcb,jsonp_defmethod=PATCH"


@case
async def test_c147_names_of_the_routes_choice(stage: Stage) -> None:
    await stage.start(reply(), condition=OTHER_NAMES)
    answer = await fetch(stage, "/x?payload={}&z=1")
    assert script(answer).startswith(b"/**/dcb(")
    asked = stage.origin.requests[0]
    assert (asked.method, asked.target, asked.body) == ("PATCH", "/x?z=1", b"{}")
    assert asked.all("Content-Type") == ["application/json"]


async def not_jsonp(stage: Stage, target: str, **request: object) -> None:
    answer = await fetch(stage, target, **request)
    assert answer.body == b"ok\n"
    assert stage.origin.requests[0].target == target


@case
async def test_c148_other_names_mean_nothing(stage: Stage) -> None:
    await stage.start(reply(body=b"ok\n"), condition=OTHER_NAMES)
    await not_jsonp(stage, "/x?callback=f&_method=POST&_body=x")


@case
async def test_c149_only_get(stage: Stage) -> None:
    await stage.start(reply(body=b"ok\n"), condition="*,aco")
    await not_jsonp(stage, "/x?callback=foo", method="POST", body=b"x")


@case
async def test_c150_only_where_it_is_on(stage: Stage) -> None:
    await stage.start(reply(body=b"ok\n"), condition="*")
    await not_jsonp(stage, "/x?callback=f")


# ---- JSON-P: what is answered ------------------------------------------------------------------------------


@case
async def test_c151_a_published_response(stage: Stage) -> None:
    await stage.start(hold("response", "X-H: 1", "Content-Type: text/plain", channel="ch"), condition="*,aco")
    client = await stage.ask("/?callback=foo")
    await stage.proxy.held("ch")
    headers = [["X-P", "q"], ["X-P", "r"]]
    await stage.proxy.publish(
        "ch", {R: {"code": 201, "reason": "Cr", "headers": headers, "body": 'pub "x"\n'}}
    )
    body = (
        rb'/**/foo({"body":"pub \"x\"\n","code":201,"headers":{"Content-Type":"text/plain","X-H":"1",'
        rb'"X-P":"q, r"},"reason":"Cr"});' + b"\n"
    )
    lines = ["X-H: 1", "X-P: q", "X-P: r", SCRIPT, f"Content-Length: {len(body)}"]
    await client.expect("\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + body)


@pytest.mark.parametrize("first", ["false", "true"], ids=["C152", "C152-retry"])
@case
async def test_nothing_is_published(stage: Stage, first: str) -> None:
    held = hold("response", "Grip-Timeout: 5", channel="ch", body=b"nothing\n")
    await stage.start(held, condition="*,aco", handler={"update_on_first_subscription": first})
    client = await stage.ask("/x?callback=foo&_method=PUT&_body=b&q=1")
    await stage.proxy.held("ch")
    took = await stage.proxy.time_until(lambda: client.unread, 8)
    assert 4.5 < took < 7
    body = b'/**/foo({"body":"nothing\\n","code":200,"headers":{},"reason":"OK"});\n'
    assert script(await client.read_response()) == body
    asked = [(asked.method, asked.target, asked.body) for asked in stage.origin.requests]
    assert asked == [("PUT", "/x?q=1", b"b")] * (2 if first == "true" else 1)


@case
async def test_c153_streams_stay_what_they_are(stage: Stage) -> None:
    await stage.start(hold("stream", "X-A: 1", channel="ch", body=b"begin\n"), condition="*,aco")
    client = await stage.ask("/?callback=foo", "Origin: http://page.example")
    head = await client.read_head()
    assert (head.headers[0], cors(head)) == (("X-A", "1"), allowed("X-A", origin="http://page.example"))
    body = client.body(head)
    await body.expect(b"begin\n")
    await stage.proxy.held("ch")
    await stage.proxy.publish("ch", {S: {"content": "news\n"}})
    await body.expect(b"news\n")


@pytest.mark.differs("only the beginning is written as a script there")
@pytest.mark.parametrize("mode", ["extended", "basic"], ids=["C153-long", "C153-long-basic"])
@case
async def test_a_stream_that_begins_with_more(stage: Stage, mode: str) -> None:
    """It starts as any relayed response: a script, which ends with the stream (grip 2)."""
    begin = b'"begin"\n' + b"x" * 150_000
    await stage.start(
        hold("stream", "Grip-Keep-Alive: k\\n; format=cstring; timeout=5", channel="ch", body=begin),
        condition=f"*,aco,jsonp_mode={mode}",
    )
    client = await stage.ask("/?callback=foo")
    head = await client.read_head()
    assert (head.get("Content-Type"), cors(head)) == ("application/javascript", [])
    await stage.proxy.held("ch")
    await stage.proxy.publish("ch", {S: {"content": 'news "1"\n'}})
    await stage.proxy.advance(6)
    await stage.proxy.publish("ch", {S: {"action": "close"}})
    whole = await client.body(head).rest()
    sent = begin + b'news "1"\nk\n'
    if mode == "basic":
        assert whole == b"/**/foo(" + sent.removesuffix(b"\n") + b");\n"
    else:
        value = json.loads(whole.removeprefix(b"/**/foo(").removesuffix(b");\n"))
        assert value == {"code": 200, "reason": "OK", "headers": {}, "body": sent.decode()}


@case
async def test_c153_a_long_stream_without_jsonp(stage: Stage) -> None:
    await stage.start(hold("stream", "X-A: 1", channel="ch", body=b"x" * 150_000), condition="*,aco")
    client = await stage.ask("/")
    head = await client.read_head()
    assert cors(head) == allowed("X-A")
    body = client.body(head)
    await body.expect(b"x" * 150_000)
    await stage.proxy.held("ch")
    await stage.proxy.publish("ch", {S: {"content": "news\n"}})
    await body.expect(b"news\n")


@case
async def test_c154_errors(stage: Stage, down: str) -> None:
    await stage.start(routes=[f"*,aco {down}"])
    client = await stage.ask("/x?callback=foo&a=b")
    body = (
        rb'/**/foo({"code": 502, "reason": "Bad Gateway", "headers": {"Content-Length":"32",'
        rb'"Content-Type":"text/plain"}, "body": "Error while proxying to origin.\n"});' + b"\n"
    )
    await client.expect(f"HTTP/1.1 200 OK\r\n{SCRIPT}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await stage.proxy.logged(f"GET http://example.com/x?a=b -> {down} code=502 {len(body)}")


@case
async def test_c154_a_backend_that_dies(stage: Stage) -> None:
    def speak(asked: Asked) -> None:
        asked.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    await stage.start(speak, condition="*,aco")
    client = await stage.ask("/?callback=foo")
    await client.read_until(b"half")
    (await stage.origin.request(1)).close()
    await client.wait_for(lambda: client.lost or None, "the end")
    assert b'"});' not in client.unread


# ---- hostile parameters ------------------------------------------------------------------------------------

HOSTILE = [
    ("C227", "_method=GET%20/x", "_method"),
    ("C227-line", "_method=GET%0d%0a", "_method"),
    ("C227-latin", "_method=%e4", "_method"),
    ("C227-value", "_headers=" + quote('{"X":"a\\r\\nY: 1"}'), "_headers"),
    ("C227-nul", "_headers=" + quote('{"X":"a\\u0000"}'), "_headers"),
    ("C227-name", "_headers=" + quote('{"X\\r\\nY":"1"}'), "_headers"),
    ("C227-space", "_headers=" + quote('{"X Y":"1"}'), "_headers"),
    ("C227-empty-name", "_headers=" + quote('{"":"1"}'), "_headers"),
    ("C227-surrogate", "_headers=" + quote('{"X":"\\ud800"}'), "_headers"),
    ("C227-bytes", "_headers=" + quote(b'{"X":"\xff"}'), "_headers"),
    ("C227-deep", "_headers=" + "[" * 2000, "_headers"),
    ("C227-list", "_headers=" + quote('["X"]'), "_headers"),
]


@pytest.mark.differs("only the method is looked at, and that not closely")
@pytest.mark.parametrize(("query", "what"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
@case
async def test_parameters_that_are_refused(stage: Stage, query: str, what: str) -> None:
    await stage.start(reply(), condition="*,aco")
    answer = await fetch(stage, f"/?callback=f&{query}")
    assert (answer.status, answer.body) == (400, f"Invalid {what} parameter.\n".encode())
    assert stage.origin.connections == set()


@pytest.mark.differs("framing is believed, and so is whatever proxies are supposed to say")
@case
async def test_c227_headers_that_are_not_the_clients_to_say(stage: Stage) -> None:
    await stage.start(reply(), condition="*,aco")
    names = [
        *("Content-Length", "Transfer-Encoding", "connection", "Keep-Alive", "Expect", "Upgrade", "TE"),
        *("Trailer", "Proxy-Connection", "X-Forwarded-For", "X-Real-IP", "Forwarded", "Grip-Sig"),
        *("Grip-Last", "Pushpin-Route", "Pushpin-Check", "eb9bf0f5-cookie"),
    ]
    headers = quote(json.dumps({**dict.fromkeys(names, "5"), "X-A": "a\tb \u20ac"}))
    answer = await fetch(
        stage, f"/?callback=f&_headers={headers}&_method=POST&_body=x", "X-Forwarded-For: me"
    )
    script(answer)
    asked = stage.origin.requests[0]
    assert (asked.method, asked.body, asked.all("Content-Length")) == ("POST", b"x", ["1"])
    sent = {name.lower() for name, value in asked.headers if value == "5"}
    assert sent == set()
    assert asked.get("X-Forwarded-For") == "me"
    assert asked.get("X-A") == "a\tb \u20ac".encode().decode("latin-1")


@case
async def test_c227_a_body_besides(stage: Stage) -> None:
    """The body of the GET itself is the request's, unless there is another in the query."""
    await stage.start(reply(), condition="*,aco")
    client = await stage.ask("/?callback=f&_method=PUT", "Content-Type: text/x", body=b"own")
    script(await client.read_response())
    asked = stage.origin.requests[0]
    assert (asked.method, asked.body, asked.all("Content-Type")) == ("PUT", b"own", ["text/x"])


@pytest.mark.differs("it is not clear what happens there")
@case
async def test_c227_a_body_instead(stage: Stage) -> None:
    await stage.start(reply(), condition="*,aco")
    client = await stage.ask("/?callback=f&_method=PUT&_body=other", "Content-Type: text/x", body=b"own")
    script(await client.read_response())
    asked = stage.origin.requests[0]
    assert (asked.body, asked.all("Content-Type"), asked.all("Content-Length")) == (b"other", [], ["5"])
    client.request("/?callback=f")
    assert script(await client.read_response()).startswith(b"/**/f(")


@pytest.mark.differs("a body is cut off there, and nothing is an error")
@pytest.mark.parametrize(
    ("mode", "body", "whole"),
    [
        ("extended", b"ab\0cd", rb'"headers": {"Content-Length":"5"}, "body": "ab\u0000cd"});' + b"\n"),
        ("basic", b"", b"/**/f();\n"),
        ("extended", "\u2028\u2029".encode(), rb'"body": "\u2028\u2029"});' + b"\n"),
    ],
    ids=["C231", "C231-basic", "C231-separators"],
)
@case
async def test_odd_bodies(stage: Stage, mode: str, body: bytes, whole: bytes) -> None:
    await stage.start(reply(body=body), condition=f"*,aco,jsonp_mode={mode}")
    assert script(await fetch(stage, "/?callback=f")).endswith(whole)
