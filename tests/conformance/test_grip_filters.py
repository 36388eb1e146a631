"""Filters (grip 17.7, and cases 66 to 68 and 104): what a channel lets pass, and what it makes of it."""

from __future__ import annotations

import json

import pytest
import pytest_twisted

from tests.support.items import Item, answer, item, piece
from tests.support.origin import hold, instruct, reply, withheld
from tests.support.rawclient import BodyReader
from tests.support.running import S
from tests.support.stage import Stage, numbered

case = pytest_twisted.ensureDeferred
BOB = "Grip-Set-Meta: user=bob"
UNUSABLE = "Failed to parse accept instructions: "
NO_HTTP_FILTERS = "1.36 knows no filters that ask the backend"
ENDS = "1.36 ends the response"
SLACK = 0.3
"""Seconds: ticks of the wheel and of the limiter, and one look of ``time_until``."""


async def filtered(
    stage: Stage, filters: str, *headers: str, condition: str = "*,debug", body: bytes = b""
) -> BodyReader:
    """A stream on ``c`` with filters, separated by spaces; its initial body is read."""
    channel = "; filter=".join(["c", *filters.split()])
    await stage.start(hold("stream", *headers, channel=channel, body=body), condition=condition)
    _, _, reader = await stage.stream(initial=body)
    return reader


async def passes(stage: Stage, body: BodyReader, *items: Item) -> bytes:
    """What comes of items on the stream, which goes on."""
    for each in items:
        await stage.proxy.publish_all([each])
    marker = {"sender": "-", "skip_users": "", "require_sub": ""}
    await stage.proxy.publish_all([piece("-marker-", meta=marker)])
    came = bytearray()
    while not came.endswith(b"-marker-"):
        came += await body.read(1)
    return bytes(came.removesuffix(b"-marker-"))


BODIES = [
    ("066", ["id_format=abc"], b"b %(q)I %% %(a b)I", b"b q % a b"),
    ("067", ["id_format=abc", "id_encoding=hex"], b"b %(q)I", b"b 71"),
]


@pytest.mark.parametrize(("meta", "body", "expected"), numbered(BODIES))
@case
async def test_a_body_without_a_hold(stage: Stage, meta: list[str], body: bytes, expected: bytes) -> None:
    headers = [f"Grip-Set-Meta: {pair}" for pair in meta]
    await stage.start(reply("Grip-Channel: x; filter=build-id", *headers, body=body))
    client = await stage.ask()
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(expected) + expected)
    await stage.usable(client)


NO_DEFAULT = "filter error: build-id: No ID specified and no default ID in context at position 3"


@pytest.mark.parametrize(
    "debug", [pytest.param(True, id="grip-068"), pytest.param(False, id="grip-068-plain")]
)
@case
async def test_a_body_that_cannot_be_filtered(stage: Stage, debug: bool) -> None:
    headers = ["Grip-Channel: x; filter=build-id", "Grip-Set-Meta: id_format=abc"]
    await stage.start(reply(*headers, body=b"b %I"), condition="*,debug" if debug else "*")
    got = await (await stage.ask()).read_response()
    text = f"{UNUSABLE}{NO_DEFAULT}\n" if debug else "Error while proxying to origin.\n"
    assert (got.status, got.body) == (502, text.encode())


@case
async def test_grip_104_the_meta_of_both(stage: Stage) -> None:
    channels = [{"name": "c", "filters": ["var-subst"]}]
    document = {"hold": {"mode": "stream", "channels": channels, "meta": {"a": "j"}}}
    await stage.start(instruct(json.dumps(document).encode(), "Grip-Set-Meta: a=h, b=h"))
    _, _, body = await stage.stream()
    assert await passes(stage, body, piece("%(a)s%(b)s")) == b"jh"


def metas(name: str, *values: str | None) -> list[Item]:
    """An item for each value of a published meta; its content is its number."""
    return [
        piece(str(number), meta={} if value is None else {name: value}) for number, value in enumerate(values)
    ]


DELIVERY = [
    ("146", "skip-self", BOB, metas("sender", "bob", "alice", None, ""), b"123"),
    ("147", "skip-self", "X-No: meta", metas("sender", "bob"), b"0"),
    ("147-empty", "skip-self", 'Grip-Set-Meta: user=""', metas("sender", ""), b"0"),
    ("148", "skip-users", BOB, metas("skip_users", "al, bob ,x", "bobby", None), b"12"),
    ("149", "require-sub", "Grip-Channel: d", metas("require_sub", "other", "c", "d", ""), b"123"),
    ("161", "no-such skip-self", BOB, metas("sender", "bob", "alice"), b"1"),
    (
        "162",
        "skip-self",
        BOB,
        [item({S: {"action": "close"}}, meta={"sender": "bob"}), piece("open")],
        b"open",
    ),
]


@pytest.mark.parametrize(("filters", "header", "items", "expected"), numbered(DELIVERY))
@case
async def test_delivery(stage: Stage, filters: str, header: str, items: list[Item], expected: bytes) -> None:
    body = await filtered(stage, filters, header)
    assert await passes(stage, body, *items) == expected


@case
async def test_grip_149_without_the_prefix_of_the_route(stage: Stage) -> None:
    header = "Grip-Channel: c; filter=require-sub, d"
    await stage.start(hold("stream", header, channel=None), condition="*,debug,prefix=pre-")
    _, _, body = await stage.stream("pre-c")
    items = [piece(name, channel="pre-c", meta={"require_sub": name}) for name in ("pre-d", "d")]
    await stage.proxy.publish_all(items)
    await body.expect(b"d")


@case
async def test_grip_151_variables(stage: Stage) -> None:
    body = await filtered(stage, "var-subst", BOB, body=b"%(user)s initial")
    assert await passes(stage, body, piece("hi %(user)s 100%%")) == b"hi bob 100%"


@pytest.mark.differs(ENDS)
@case
async def test_grip_152_templates_that_are_wrong(stage: Stage) -> None:
    body = await filtered(stage, "var-subst", BOB)
    wrong = ["%(nope)s", "50% off", "%s", "abc%", "%(user)d"]
    assert await passes(stage, body, *map(piece, wrong)) == b""


@pytest.mark.differs(ENDS)
@case
async def test_grip_153_an_answer_that_is_wrong(stage: Stage) -> None:
    await stage.start(hold("response", BOB, channel="c; filter=var-subst"))
    client = await stage.held()
    await stage.proxy.publish_all([answer("%(nope)s")])
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await stage.usable(client)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    numbered([("155", "", b"id is b:n8,d:q"), ("155-hex", ", id_encoding=hex", b"id is 623a6e382c643a71")]),
)
@case
async def test_positions_as_an_id(stage: Stage, encoding: str, expected: bytes) -> None:
    channels = "b; prev-id=pv7; filter=build-id, d; prev-id=q"
    meta = f'Grip-Set-Meta: id_format="b:%(b)s,d:%(d)s"{encoding}'
    await stage.start(hold("response", meta, channel=channels))
    client = await stage.held("b")
    await stage.proxy.publish_all([answer("id is %I", "n8", "pv7", "b")])
    assert (await client.read_response()).body == expected


@case
async def test_grip_156_one_after_the_other(stage: Stage) -> None:
    body = await filtered(stage, "build-id var-subst", "Grip-Set-Meta: id_format=st, u=U")
    assert await passes(stage, body, piece("%I %%(u)s")) == b"st U"


@pytest.mark.parametrize(
    ("condition", "said"),
    numbered(
        [
            ("157", "*,debug", b"\n\nfilter error: build-id: no sub meta 'id_format'\n"),
            ("157-plain", "*", b""),
        ]
    ),
)
@case
async def test_an_initial_body_that_cannot_be_filtered(stage: Stage, condition: str, said: bytes) -> None:
    await stage.start(hold("stream", channel="c; filter=build-id", body=b"x"), condition=condition)
    client = await stage.ask()
    got = await client.read_response()
    assert (got.status, got.body) == (200, said)
    await stage.usable(client)


def wanting(content: str, *filters: str) -> Item:
    """An item for holds with just these filters of content."""
    return item({S: {"content": content, "content-filters": list(filters)}})


WANTED = [
    ("158", "var-subst", [wanting("%(user)s", "var-subst")], b"bob"),
    ("159", "var-subst", [wanting("no")], b""),
    ("159-none", "", [wanting("no", "var-subst")], b""),
    ("159-neither", "", [wanting("yes")], b"yes"),
    (
        "160",
        "skip-self var-subst",
        [wanting("%(user)s", "var-subst"), wanting("no", "skip-self", "var-subst")],
        b"bob",
    ),
]


@pytest.mark.parametrize(
    ("filters", "items", "expected"), numbered(WANTED, dict.fromkeys(("159", "159-none", "160"), ENDS))
)
@case
async def test_content_filters(stage: Stage, filters: str, items: list[Item], expected: bytes) -> None:
    body = await filtered(stage, filters, BOB, condition="*")
    assert await passes(stage, body, *items) == expected


@case
async def test_grip_163_what_is_dropped_moves_the_position(stage: Stage) -> None:
    stage.origin.on("/n", reply(body=b"no"))
    channel = "c; prev-id=1; filter=skip-self"
    await stage.start(hold("stream", BOB, "Grip-Link: </n>; rel=next", channel=channel))
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([piece("no", "2", "1", meta={"sender": "bob"})])
    await stage.proxy.publish_all([piece("yes", "3", "2")])
    await body.expect(b"yes")
    await stage.proxy.advance(0.3)
    assert not stage.origin.asked_for("/n")


# ---- filters that ask the backend


async def asking(stage: Stage, name: str, *answers: object, condition: str = "*,debug") -> BodyReader:
    """A stream whose filter asks ``/f``, which gives ``answers``."""
    stage.origin.on("/f", *answers)  # type: ignore[arg-type]
    return await filtered(stage, name, "Grip-Set-Meta: url=/f?x=1, user=bob", condition=condition)


CHECKED = [
    ("164", "http-check", reply("Action: drop"), b""),
    ("164-send", "http-check", reply("Action: send", body=b"unused"), b"item"),
    ("164-204", "http-check", b"HTTP/1.1 204 No Content\r\n\r\n", b"item"),
    ("164-case", "http-check", reply("Action: Drop"), b"item"),
    ("165", "http-modify", reply(body=b"B"), b"B"),
    ("165-204", "http-modify", b"HTTP/1.1 204 No Content\r\n\r\n", b"item"),
    ("165-empty", "http-modify", reply(), b""),
    ("165-drop", "http-modify", reply("Action: drop", body=b"B"), b""),
]


@pytest.mark.differs(NO_HTTP_FILTERS)
@pytest.mark.parametrize(("name", "said", "expected"), numbered(CHECKED))
@case
async def test_the_backend_decides(stage: Stage, name: str, said: bytes, expected: bytes) -> None:
    body = await asking(stage, name, said, reply("Action: send", body=b"."))
    await stage.proxy.publish_all([piece("item", "2", meta={"z": "1", "a": "2"})])
    asked = await stage.origin.request(1, "/f")
    assert (asked.method, asked.target) == ("POST", "/f?x=1")
    assert asked.body == (b"item" if name == "http-modify" else b"")
    assert asked.get("Sub-Meta") == '{"url":"/f?x=1","user":"bob"}'
    assert asked.get("Pub-Meta") == '{"a":"2","z":"1"}'
    assert asked.get("Host") == "example.com"
    assert asked.get("Grip-Sig")
    await stage.proxy.publish_all([piece(".")])
    await body.expect(expected + b".")


@pytest.mark.differs(NO_HTTP_FILTERS)
@case
async def test_grip_164_items_wait_in_order(stage: Stage) -> None:
    body = await asking(stage, "http-check", withheld, reply())
    await stage.proxy.publish_all([piece("1"), piece("2"), piece("3")])
    asked = await stage.origin.request(1, "/f")
    await stage.proxy.advance(0.3)
    assert not body.pending
    assert len(stage.origin.asked_for("/f")) == 1
    asked.write(reply())
    await stage.proxy.time_until(lambda: len(body.pending) == 3, 1)
    await body.expect(b"123")


@pytest.mark.differs(NO_HTTP_FILTERS)
@case
async def test_grip_164_an_answer_is_checked(stage: Stage) -> None:
    stage.origin.on("/f", reply("Action: drop"), reply())
    await stage.start(hold("response", "Grip-Set-Meta: url=/f", channel="c; prev-id=1; filter=http-check"))
    client = await stage.held()
    await stage.proxy.publish_all([answer("two", "2", "1")])
    asked = await stage.origin.request(1, "/f")
    assert asked.all("Grip-Last") == ["c; last-id=1"]
    await stage.silent(client)
    await stage.proxy.publish_all([answer("three", "3", "2")])
    assert (await client.read_response()).body == b"three"


FAILURES = [
    ("166", reply(status="400 No"), "unexpected network request status: code=400"),
    ("166-201", reply(status="201 Created"), "unexpected network request status: code=201"),
]


@pytest.mark.differs(NO_HTTP_FILTERS)
@pytest.mark.parametrize(("said", "why"), numbered(FAILURES))
@case
async def test_the_backend_fails(stage: Stage, said: bytes, why: str) -> None:
    body = await asking(stage, "http-check", said)
    await stage.proxy.publish_all([piece("item")])
    assert await body.rest() == f"\n\nfilter error: {why}\n".encode()


@pytest.mark.differs(NO_HTTP_FILTERS)
@case
async def test_grip_166_without_debug(stage: Stage) -> None:
    body = await asking(stage, "http-check", reply(status="400 No"), reply(), condition="*")
    await stage.proxy.publish_all([piece("no")])
    await stage.origin.request(1, "/f")
    await stage.proxy.publish_all([piece("yes")])
    await body.expect(b"yes")


@pytest.mark.differs(NO_HTTP_FILTERS)
@case
async def test_grip_166_too_slow(stage: Stage) -> None:
    body = await asking(stage, "http-check", withheld)
    await stage.proxy.publish_all([piece("item")])
    await stage.origin.request(1, "/f")
    passed = await stage.proxy.time_until(lambda: body.ended, 10 + SLACK)
    assert passed >= 10 - SLACK
    assert body.take() == b"\n\nfilter error: network request failed: request timed out\n"


@pytest.mark.differs(NO_HTTP_FILTERS)
@case
async def test_grip_166_too_much(stage: Stage) -> None:
    body = await asking(stage, "http-modify", reply(body=b"x" * 100_001))
    await stage.proxy.publish_all([piece("item")])
    assert await body.rest() == b"\n\nfilter error: network response exceeded 100000 bytes\n"


@pytest.mark.differs(NO_HTTP_FILTERS)
@pytest.mark.parametrize(
    ("meta", "why"),
    numbered(
        [
            ("166-no-url", "user=bob", "missing url value"),
            ("166-bad-url", 'url="http://["', "invalid url value"),
        ]
    ),
)
@case
async def test_nobody_to_ask(stage: Stage, meta: str, why: str) -> None:
    body = await filtered(stage, "http-check", f"Grip-Set-Meta: {meta}")
    await stage.proxy.publish_all([piece("item")])
    assert await body.rest() == f"\n\nfilter error: {why}\n".encode()
