"""Items that are pushed (zeromq 1, 3.1, 3.2)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.running import R, S, W
from tests.support.waiting import until
from tests.support.wspeer import BINARY, TEXT
from tests.support.zmqscene import ENCODINGS, Members, Publishers, packed, streamed

case = pytest_twisted.ensureDeferred
A = b"62:7:channel,1:c,7:formats,34:11:http-stream,15:7:content,2:A\n,}}}"
JSON = b'{"channel":"c","formats":{"http-stream":{"content":"A\\n"}}}'


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(A, id="zmq_001"),
        pytest.param(b"T" + A, id="zmq_002"),
        pytest.param(b"J" + JSON, id="zmq_003"),
        pytest.param(A + b"xx", id="zmq_006"),
    ],
)
@case
async def test_an_item(publishers: Publishers, frame: bytes) -> None:
    await publishers.begin()
    _, body = await publishers.listen()
    publishers.pusher().send(frame)
    await body.expect(b"A\n")


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(JSON, id="zmq_004"),
        pytest.param(b"J[1]", id="zmq_005-list"),
        pytest.param(b"J{bad", id="zmq_005-bad"),
        pytest.param(b'J"x"', id="zmq_005-string"),
        pytest.param(b"J", id="zmq_005-nothing"),
        pytest.param(b"J" + b"[" * 100_000, id="zmq_005-deep"),
        pytest.param(b"-5:abc,", id="zmq_007-negative"),
        pytest.param(b"99999999999999999999:abc,", id="zmq_007-huge"),
        pytest.param(b"5:hello,", id="zmq_008"),
        pytest.param(b"TT" + A, id="zmq_008-two-prefixes"),
        pytest.param(A[:-3], id="zmq_009", marks=pytest.mark.differs("the process ends")),
        pytest.param(b"T" + A[:-3], id="zmq_009-prefixed", marks=pytest.mark.differs("the process ends")),
    ],
)
@case
async def test_frames_that_cannot_be_read(publishers: Publishers, frame: bytes) -> None:
    await publishers.begin()
    _, body = await publishers.listen()
    await publishers.dropped(publishers.pusher(), body, [[frame]])


BAD: list[tuple[str, Members]] = [
    ("no-channel", streamed("x", None)),
    ("channel", streamed("x", channel=5)),  # type: ignore[arg-type]
    ("no-formats", {"channel": "c"}),
    ("formats", {"channel": "c", "formats": []}),
    ("format", {"channel": "c", "formats": {S: "x"}}),
    ("content", {"channel": "c", "formats": {S: {"content": 5}}}),
    ("action", {"channel": "c", "formats": {S: {"action": "jump"}}}),
    ("id", streamed("x", id=5)),
    ("prev-id", streamed("x", **{"prev-id": 5})),
    ("meta", streamed("x", meta={"a": 5})),
    ("meta-line", streamed("x", meta={"a\n[ERR]": 5})),
    ("size", streamed("x", size=-1)),
    ("no-seq", streamed("x", **{"no-seq": 1})),
]


@pytest.mark.parametrize("item", [pytest.param(item, id=f"zmq_116-{name}") for name, item in BAD])
@case
async def test_items_that_are_none(publishers: Publishers, item: Members) -> None:
    await publishers.begin()
    _, body = await publishers.listen()
    frames = [[packed(item, encoding)] for encoding in ENCODINGS]
    await publishers.dropped(publishers.pusher(), body, frames)


@case
async def test_zmq_116_frames_in_the_wrong_number(publishers: Publishers) -> None:
    await publishers.begin()
    _, body = await publishers.listen()
    await publishers.dropped(publishers.pusher(), body, [[A, A], [A, b""], [b"", A], [b"c", A], [b""]])


@pytest.mark.parametrize("encoding", ENCODINGS)
@case
async def test_zmq_117_formats_at_the_level_of_the_item(publishers: Publishers, encoding: str) -> None:
    await publishers.begin()
    _, body = await publishers.listen()
    publishers.pusher().send(packed({"channel": "c", S: {"content": "x"}}, encoding))
    await body.expect(b"x")


@case
async def test_zmq_118_one_message_is_one_item(publishers: Publishers) -> None:
    await publishers.begin()
    _, body = await publishers.listen()
    wrapped = {"items": [streamed("x")]}
    await publishers.dropped(publishers.pusher(), body, [[packed(wrapped, each)] for each in ENCODINGS])


@case
async def test_zmq_119_an_item_that_comes_twice(publishers: Publishers) -> None:
    """Also when it comes once more over HTTP."""
    proxy = await publishers.begin()
    _, body = await publishers.listen()
    pusher = publishers.pusher()
    pusher.send(packed(streamed("one", id="1")))
    pusher.send(packed(streamed("again", id="1")))
    await body.expect(b"one")
    await publishers.dropped(pusher, body, [])
    await proxy.post([streamed("again", id="1")])
    await publishers.dropped(pusher, body, [])


@case
async def test_an_id_that_is_null(publishers: Publishers) -> None:
    """Counts as absent in a tnetstring, so that the second item is no repetition of the first."""
    await publishers.begin()
    _, body = await publishers.listen()
    pusher = publishers.pusher()
    for content in ("one", "two"):
        pusher.send(packed(streamed(content, id=None, **{"prev-id": None})))
    await body.expect(b"onetwo")
    await publishers.dropped(pusher, body, [[packed(streamed("x", id=None), "J")]])


@case
async def test_zmq_120_tnetstrings_have_no_encoded_bytes(publishers: Publishers) -> None:
    await publishers.begin()
    _, body = await publishers.listen()
    await publishers.dropped(
        publishers.pusher(),
        body,
        [
            [packed({"channel": "c", "formats": {S: {"content-bin": "RAo="}}})],
            [packed({"channel": "c", "formats": {S: {"content": "x"}, R: {"body-bin": "RAo="}}})],
        ],
    )


@case
async def test_raw_bytes_in_tnetstrings(publishers: Publishers) -> None:
    await publishers.begin()
    _, body = await publishers.listen()
    client = await publishers.poll(count=2)
    formats = {S: {"content": b"\xff\0"}, R: {"body": b"\0\xfe"}}
    publishers.pusher().send(packed({"channel": "c", "formats": formats}))
    await body.expect(b"\xff\0")
    assert (await client.read_response()).body == b"\0\xfe"


@case
async def test_zmq_121_json_has(publishers: Publishers) -> None:
    await publishers.begin()
    _, body = await publishers.listen()
    publishers.pusher().send(packed({"channel": "c", "formats": {S: {"content-bin": "RAo="}}}, "J"))
    await body.expect(b"D\n")


@case
async def test_zmq_122_messages_of_bytes(publishers: Publishers) -> None:
    await publishers.begin()
    client, _ = await publishers.subscribed()
    pusher = publishers.pusher()
    for encoding in ENCODINGS:
        pusher.send(packed({"channel": "c", "formats": {W: {"content-bin": "AAE="}}}, encoding))
    pusher.send(packed({"channel": "c", "formats": {W: {"content": "hi"}}}))
    came = [(message.kind, message.data) for message in await publishers.messages(client, 4)]
    assert came == [(BINARY, b"AAE="), (BINARY, b"AAE="), (BINARY, b"\0\1"), (TEXT, b"hi")]


@case
async def test_zmq_123_a_burst(publishers: Publishers) -> None:
    await publishers.begin()
    _, body = await publishers.listen()
    pusher = publishers.pusher()
    lines = [f"{number}\n" for number in range(2000)]
    for line in lines:
        pusher.send(packed(streamed(line)))
    await body.expect("".join(lines).encode())


@pytest.mark.differs("every one is told")
@case
async def test_what_is_dropped_is_told_now_and_then(publishers: Publishers) -> None:
    """Once a minute for each kind of mistake, in one line, whatever the publisher has written."""
    proxy = await publishers.begin()
    _, body = await publishers.listen()
    pusher = publishers.pusher()
    bad = {name: [packed(item)] for name, item in BAD}

    async def told(*messages: list[bytes]) -> list[str]:
        before = len(proxy.lines("handler"))
        await publishers.dropped(pusher, body, messages)
        start = "zmq pull: message dropped: "
        return [
            line.removeprefix(start) for line in proxy.lines("handler")[before:] if line.startswith(start)
        ]

    assert await told(*bad.values(), *[[A, A]] * 3, *[[b"x"]] * 3, [b"J"]) == [
        "publish item object does not contain 'channel'",
        "frames: 2 instead of 1",
        "expected a size",
    ]
    await proxy.advance(61)
    assert await told(bad["meta-line"], [b"y"], bad["action"]) == [
        r"'meta' contains 'a\n[ERR]' with wrong type (12 more were like it before)",
        "expected a size (3 more were like it before)",
    ]
    await proxy.advance(61)
    assert await told(bad["action"]) == ["unknown action (1 more were like it before)"]


@case
async def test_pushing_and_posting_are_one_way(publishers: Publishers) -> None:
    """Both feed the same order of a channel."""
    proxy = await publishers.begin()
    _, body = await publishers.listen()
    pusher = publishers.pusher()
    pusher.send(packed(streamed("1", id="1")))
    await body.expect(b"1")
    await proxy.post([streamed("3", id="3", **{"prev-id": "2"})])
    pusher.send(packed(streamed("2", id="2", **{"prev-id": "1"})))
    await body.expect(b"23")


@case
async def test_a_publisher_may_be_there_before_the_proxy(publishers: Publishers) -> None:
    pusher = publishers.pusher()
    for number in range(3):
        pusher.send(packed(streamed(f"{number}")))
    proxy = await publishers.begin()
    await until(lambda: sum("publish channel=c" in line for line in proxy.lines("handler")) == 3, "the items")


@case
async def test_a_flood_keeps_nobody_waiting(publishers: Publishers) -> None:
    """Whoever asks something meanwhile is answered before the last item is taken."""
    proxy = await publishers.begin()
    pusher = publishers.pusher()
    items = 20_000
    for _ in range(items):
        pusher.send(packed(streamed("x")))

    def taken() -> int:
        return sum("publish channel=c" in line for line in proxy.lines("handler"))

    await until(lambda: taken() > 0, "the first item")
    client = await publishers.client()
    await publishers.usable(client)
    assert taken() < items
    await until(lambda: taken() == items, "the last item")
