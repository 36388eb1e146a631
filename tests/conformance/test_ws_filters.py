"""Filters of WebSocket subscriptions: what they let pass, and what they make of it (websocket 5.6, 3.6)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import reply, withheld
from tests.support.running import W
from tests.support.wsbackend import BackendSocket
from tests.support.wsclient import SocketClient
from tests.support.wspeer import BINARY, PING
from tests.support.wsstage import SocketStage

case = pytest_twisted.ensureDeferred
NO_HTTP_FILTERS = "1.36 knows no filters that ask the backend"
SKIP_SELF = ["skip-self"]


async def filtered(
    scene: SocketStage,
    filters: list[str],
    notes: dict[str, str] | None = None,
    condition: str = "*",
    **more: str,
) -> tuple[SocketClient, BackendSocket]:
    """A client on ``c`` through filters, of whom something is noted."""
    await scene.start_w(condition=condition, **more)
    client, backend = await scene.open()
    await scene.meta(backend, **(notes or {}))
    await scene.subscribe(backend, filters=filters)
    return client, backend


async def passes(scene: SocketStage, client: SocketClient, content: str = "hi", **meta: str) -> bool:
    """Whether a message comes through."""
    await scene.say(content, meta=meta)
    await scene.say("-end-")
    came = await client.read()
    if came.data == b"-end-":
        return False
    assert came.data == content.encode()
    await client.expect_text("-end-")
    return True


# ---- whom it is from (skip-self, skip-users) ---------------------------------------------------------------


@case
async def test_ws_082_skip_self(scene: SocketStage) -> None:
    client, backend = await filtered(scene, SKIP_SELF, {"user": "alice"})
    assert not await passes(scene, client, sender="alice")
    assert await passes(scene, client, sender="bob")
    assert await passes(scene, client, sender="Alice")
    assert await passes(scene, client, sender="")
    assert await passes(scene, client)
    await scene.meta(backend, user="bob")
    assert not await passes(scene, client, sender="bob")
    assert await passes(scene, client, sender="alice")


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ('{"type":"set-meta","name":"user"}', False),
        ('{"type":"set-meta","name":"user","value":""}', False),
        ('{"type":"set-meta","name":"user","value":null}', True),
        ('{"type":"set-meta","name":"user","value":5}', True),
        ('{"type":"set-meta","name":"User","value":"bob"}', True),
        ('{"type":"set-meta","name":"user","value":"bob","value":"alice"}', True),
    ],
    ids=[
        f"ws_082-{name}"
        for name in ("removed", "empty", "null", "number", "another-name", "last-member-counts")
    ],
)
@case
async def test_what_is_noted_of_a_client(scene: SocketStage, change: str, kept: bool) -> None:
    client, backend = await filtered(scene, SKIP_SELF, {"user": "alice"})
    backend.control(change)
    await scene.proxy.settle()
    assert await passes(scene, client, sender="alice") is not kept


@case
async def test_ws_082_an_empty_note_is_nobody(scene: SocketStage) -> None:
    client, _ = await filtered(scene, SKIP_SELF, {"user": ""})
    assert await passes(scene, client, sender="")


@pytest.mark.differs("1.36 gives its backend no code")
@case
async def test_ws_082_actions_are_filtered_too(scene: SocketStage) -> None:
    client, backend = await filtered(scene, SKIP_SELF, {"user": "alice"})
    await scene.say(members={"action": "close", "code": 4000}, meta={"sender": "alice"})
    assert await passes(scene, client)
    await scene.say(members={"action": "close", "code": 4001}, meta={"sender": "bob"})
    await client.expect_close(4001)
    await backend.expect_close(1000)


@case
async def test_ws_082_filters_are_those_of_the_channel(scene: SocketStage) -> None:
    client, backend = await filtered(scene, SKIP_SELF, {"user": "alice"})
    await scene.subscribe(backend, "other")
    await scene.say("on c", meta={"sender": "alice"})
    await scene.say("on other", "other", meta={"sender": "alice"})
    await client.expect_text("on other")
    await scene.unsaid(client)


@case
async def test_ws_082_one_client_of_two(scene: SocketStage) -> None:
    alice, _ = await filtered(scene, SKIP_SELF, {"user": "alice"})
    bob, backend = await scene.open()
    await scene.meta(backend, user="bob")
    await scene.subscribe(backend, count=2, filters=SKIP_SELF)
    await scene.say("from alice", meta={"sender": "alice"})
    await scene.say("from bob", meta={"sender": "bob"})
    await bob.expect_text("from alice")
    await alice.expect_text("from bob")
    await scene.quiet(alice, bob)


@case
async def test_ws_083_skip_users(scene: SocketStage) -> None:
    client, backend = await filtered(scene, ["skip-users"], {"user": "alice"})
    assert not await passes(scene, client, skip_users="bob, alice")
    assert not await passes(scene, client, skip_users=" alice ,bob")
    assert await passes(scene, client, skip_users="bob, alicex")
    assert await passes(scene, client, skip_users="")
    assert await passes(scene, client)
    assert await passes(scene, client, sender="alice")
    backend.control('{"type":"set-meta","name":"user"}')
    await scene.proxy.settle()
    assert await passes(scene, client, skip_users="bob, alice")


@pytest.mark.differs("1.36 and 1.41 never let such items pass")
@case
async def test_ws_084_grip_150_require_sub(scene: SocketStage) -> None:
    client, backend = await filtered(scene, ["require-sub"])
    assert await passes(scene, client)
    assert await passes(scene, client, require_sub="")
    assert await passes(scene, client, require_sub="c")
    assert not await passes(scene, client, require_sub="room")
    await scene.subscribe(backend, "room")
    assert await passes(scene, client, require_sub="room")
    backend.control('{"type":"unsubscribe","channel":"room"}')
    await scene.proxy.held("room", 0)
    assert not await passes(scene, client, require_sub="room")


@pytest.mark.differs("1.36 and 1.41 never let such items pass")
@case
async def test_ws_084_names_without_the_prefix_of_the_route(scene: SocketStage) -> None:
    await scene.start_w(condition="*,prefix=px-", target="sub=own")
    client, backend = await scene.open()
    await scene.subscribe(backend, "c", prefix="px-", filters=["require-sub"])
    for required in ("own", "px-c", "c"):
        await scene.say(required, "px-c", meta={"require_sub": required})
    await client.expect_text("own")
    await client.expect_text("c")
    await scene.quiet(client)


# ---- what is made of it (var-subst, build-id) --------------------------------------------------------------


@case
async def test_ws_085_var_subst(scene: SocketStage) -> None:
    client, backend = await filtered(scene, ["var-subst"], {"user": "alice", "n": "%%", "empty": ""})
    for content, heard in [
        ("hi %(user)s 100%%", "hi alice 100%"),
        ("%(n)s", "%%"),
        ("[%(empty)s]", "[]"),
        ("plain", "plain"),
        ("", ""),
    ]:
        await scene.say(content)
        await client.expect_text(heard)
    await scene.say(members={"content-bin": "JSh1c2VyKXM="})
    await client.expect(BINARY, b"alice")
    await scene.say(members={"content": "%(user)s", "type": "ping"})
    await client.expect(PING, b"alice")
    await scene.meta(backend, user="bob")
    await scene.say("%(user)s")
    await client.expect_text("bob")


@pytest.mark.parametrize("content", ["%(unknown)s", "100%", "%d", "%(user"])
@case
async def test_ws_085_grip_154_a_filter_that_fails(scene: SocketStage, content: str) -> None:
    """The message is dropped or is empty."""
    client, _ = await filtered(scene, ["var-subst"], {"user": "alice"})
    await scene.say(content)
    await scene.say("next")
    came = await client.read()
    if not came.data:
        came = await client.read()
    assert came.data == b"next"


@case
async def test_ws_085_each_has_its_own(scene: SocketStage) -> None:
    clients = {}
    await scene.start_w()
    for count, user in enumerate(("alice", "bob"), 1):
        clients[user], backend = await scene.open()
        await scene.meta(backend, user=user)
        await scene.subscribe(backend, count=count, filters=["var-subst"])
    await scene.say("hi %(user)s")
    for user, client in clients.items():
        await client.expect_text(f"hi {user}")


@pytest.mark.parametrize(
    ("notes", "content", "heard"),
    [
        ({"id_format": "abc"}, "b %(q)I %% %(a b)I", "b q % a b"),
        ({"id_format": "abc", "id_encoding": "hex"}, "b %(q)I", "b 71"),
        ({"id_format": "%(channel)s"}, "%I", None),
        ({"id_format": "abc"}, "plain", "plain"),
        ({}, "%(q)I", None),
    ],
    ids=["literal", "hex", "no-ids", "nothing-to-do", "no-format"],
)
@case
async def test_ws_085_build_id(
    scene: SocketStage, notes: dict[str, str], content: str, heard: str | None
) -> None:
    client, _ = await filtered(scene, ["build-id"], notes)
    await scene.say(content)
    if heard is not None:
        await client.expect_text(heard)
    backend = scene.backend.sockets[-1]
    backend.text("m:-end-")
    came = await client.read()
    while not came.data:
        came = await client.read()
    assert came.data == b"-end-"


@case
async def test_ws_085_filters_in_a_row(scene: SocketStage) -> None:
    client, _ = await filtered(
        scene, ["skip-self", "none-such", "var-subst", "skip-users"], {"user": "alice"}
    )
    await scene.say("%(user)s", meta={"sender": "alice"})
    await scene.say("%(unknown)s", meta={"sender": "alice"})
    await scene.say("%(user)s", meta={"skip_users": "alice"})
    await scene.say("%(user)s", meta={"sender": "bob", "skip_users": "bob"})
    await client.expect_text("alice")
    await scene.quiet(client)


@case
async def test_ws_085_order_is_kept_between_filtered_and_other_channels(scene: SocketStage) -> None:
    client, backend = await filtered(scene, ["var-subst"], {"user": "alice"})
    await scene.subscribe(backend, "plain")
    items = [
        {"channel": ("c", "plain")[number % 2], "formats": {W: {"content": f"{number} %%"}}}
        for number in range(20)
    ]
    await scene.proxy.publish_all(items)
    for number in range(20):
        await client.expect_text(f"{number} {'%%' if number % 2 else '%'}")


# ---- filters that ask the backend (websocket 8) ------------------------------------------------------------

ANSWERS = [
    ("http-check", reply("Action: drop"), None),
    ("http-check", reply(body=b"unused"), b"hi"),
    ("http-modify", reply(body=b"other"), b"other"),
    ("http-modify", reply(), b""),
    ("http-modify", b"HTTP/1.1 204 No Content\r\n\r\n", b"hi"),
    ("http-modify", reply("Action: drop", body=b"other"), None),
    ("http-check", reply(status="400 No"), None),
]


@pytest.mark.differs(NO_HTTP_FILTERS)
@pytest.mark.parametrize(("name", "answer", "heard"), ANSWERS)
@case
async def test_the_backend_is_asked(
    scene: SocketStage, name: str, answer: bytes, heard: bytes | None
) -> None:
    client, _ = await filtered(scene, [name], {"url": "/f?x", "user": "alice"})
    scene.origin.on("/f", answer, b"HTTP/1.1 204 No Content\r\n\r\n")
    await scene.say(members={"content": "hi", "type": "binary"}, meta={"a": "b"})
    asked = await scene.origin.request(1, "/f")
    assert (asked.method, asked.target) == ("POST", "/f?x")
    assert asked.body == (b"hi" if name == "http-modify" else b"")
    assert asked.get("Sub-Meta") == '{"url":"/f?x","user":"alice"}'
    assert asked.get("Pub-Meta") == '{"a":"b"}'
    assert asked.get("Upgrade") is None
    await scene.say("next")
    if heard is not None:
        await client.expect(BINARY, heard)
    await client.expect_text("next")


@pytest.mark.differs(NO_HTTP_FILTERS)
@case
async def test_items_wait_for_the_answer_in_order(scene: SocketStage) -> None:
    client, _ = await filtered(scene, ["http-check"], {"url": "/f"})
    scene.origin.on("/f", withheld, reply())
    for content in ("a", "b", "c"):
        await scene.say(content)
    await scene.say(members={"action": "close", "code": 4001})
    asked = await scene.origin.request(1, "/f")
    await scene.quiet(client)
    asked.write(reply())
    for content in ("a", "b", "c"):
        await client.expect_text(content)
    await client.expect_close(4001)


@pytest.mark.differs(NO_HTTP_FILTERS)
@case
async def test_who_goes_while_the_backend_is_asked(scene: SocketStage) -> None:
    client, backend = await filtered(scene, ["http-check"], {"url": "/f"})
    scene.origin.on("/f", withheld)
    await scene.say("a")
    asked = await scene.origin.request(1, "/f")
    client.drop()
    await asked.gone()
    await backend.gone()


@pytest.mark.differs(NO_HTTP_FILTERS)
@case
async def test_a_backend_that_fails_in_debug_mode(scene: SocketStage) -> None:
    client, backend = await filtered(scene, ["http-check"], {"url": "/f"}, condition="*,debug")
    scene.origin.on("/f", reply(status="400 No"))
    await scene.say("a")
    await client.expect_close(1011, b"filter error: unexpected network request status: code=400")
    await backend.expect_close(1000)


# ---- items for content filters (websocket 5.6) -------------------------------------------------------------

MATCHES = [
    ("equal", ["var-subst"], ["var-subst"], True),
    ("equal-with-others", ["skip-self", "var-subst"], ["var-subst"], True),
    ("both", ["var-subst", "build-id"], ["var-subst", "build-id"], True),
    ("order", ["var-subst", "build-id"], ["build-id", "var-subst"], False),
    ("fewer", ["var-subst", "build-id"], ["var-subst"], False),
    ("other", ["var-subst"], ["build-id"], False),
    ("none-attached", [], ["var-subst"], False),
    ("none-of-its-kind", ["skip-self"], ["var-subst"], False),
    ("empty-and-none", [], [], True),
    ("empty-and-some", ["var-subst"], [], False),
    ("absent", ["var-subst"], None, True),
]


@pytest.mark.parametrize(
    "debug",
    [
        pytest.param(False, id="plain"),
        pytest.param(True, id="debug", marks=pytest.mark.differs("1.36 skips the item in debug mode, too")),
    ],
)
@pytest.mark.parametrize(
    ("filters", "wanted", "fits"), [row[1:] for row in MATCHES], ids=[f"ws_086-{row[0]}" for row in MATCHES]
)
@case
async def test_items_for_content_filters(
    scene: SocketStage, filters: list[str], wanted: list[str] | None, fits: bool, debug: bool
) -> None:
    notes = {"user": "alice", "id_format": "x"}
    client, backend = await filtered(scene, filters, notes, condition="*,debug" if debug else "*")
    await scene.say("hi", members={} if wanted is None else {"content-filters": wanted})
    if fits:
        await client.expect_text("hi")
    elif debug:
        attached = ",".join(name for name in filters if name != "skip-self")
        reason = f"content filter mismatch: subscription={attached} message={','.join(wanted or ())}"
        await client.expect_close(1011, reason.encode())
        await backend.expect_close(1000)
        return
    await scene.unsaid(client)


@case
async def test_ws_086_only_messages_are_for_content_filters(scene: SocketStage) -> None:
    client, _ = await filtered(scene, ["var-subst"])
    await scene.say(members={"action": "close", "code": 4001, "content-filters": ["build-id"]})
    await client.expect_close(4001)
