"""Instructions that are wrong or nearly so (grip 17.4)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import hold, reply
from tests.support.running import R, S
from tests.support.stage import Stage, numbered

case = pytest_twisted.ensureDeferred


def refused(message: str) -> bytes:
    """The answer in debug mode: "502 M" of the specification."""
    return bad_gateway(f"Failed to parse accept instructions: {message}\n")


def bad_gateway(text: str) -> bytes:
    """The whole answer to unusable instructions."""
    head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
    return (head + text).encode()


NO_MODE = "Grip-Hold must be set to either 'response' or 'stream'"
NO_TIMEOUT = "failed to parse Grip-Timeout"
NO_STATUS = "Grip-Status contains invalid status code"
NO_LINK = "failed to parse Grip-Link value"

BAD = [
    ("069-upper", "Grip-Hold: RESPONSE", NO_MODE),
    ("069-bogus", "Grip-Hold: bogus", NO_MODE),
    ("069-empty", "Grip-Hold: ", NO_MODE),
    ("072", "Grip-Channel: a" + "; filter=skip-self" * 6, "too many filters for channel 'a'"),
    ("072-unknown", "Grip-Channel: a" + "; filter=whatever" * 6, "too many filters for channel 'a'"),
    ("073-word", "Grip-Timeout: x", NO_TIMEOUT),
    ("073-fraction", "Grip-Timeout: 1.5", NO_TIMEOUT),
    ("073-empty", "Grip-Timeout: ", NO_TIMEOUT),
    ("074", "Grip-Timeout: -1", "Grip-Timeout has invalid value"),
    ("076", "Grip-Keep-Alive: ; timeout=5", "Grip-Keep-Alive cannot be empty"),
    ("077-mode", "Grip-Keep-Alive: x; mode=bogus", "no such Grip-Keep-Alive mode 'bogus'"),
    ("077-format", "Grip-Keep-Alive: x; format=bogus", "no such Grip-Keep-Alive format 'bogus'"),
    ("078-word", "Grip-Keep-Alive: x; timeout=x", "failed to parse Grip-Keep-Alive timeout value"),
    ("078-negative", "Grip-Keep-Alive: x; timeout=-1", "Grip-Keep-Alive timeout has invalid value"),
    ("079", "Grip-Keep-Alive: \\xzz; format=cstring", "failed to parse Grip-Keep-Alive cstring format"),
    ("080-word", "Grip-Status: abc", NO_STATUS),
    ("080-large", "Grip-Status: 1000", NO_STATUS),
    ("080-negative", "Grip-Status: -1", NO_STATUS),
    ("081-bare", "Grip-Link: /x; rel=next", NO_LINK),
    ("081-nothing", "Grip-Link: <>; rel=next", NO_LINK),
    ("082", "Grip-Link: <http://foo:bar/>; rel=next", "Grip-Link contains invalid link"),
    ("083-word", "Grip-Link: </x>; rel=next; timeout=x", "failed to parse Grip-Link timeout value"),
    ("083-negative", "Grip-Link: </x>; rel=next; timeout=-1", "Grip-Link timeout has invalid value"),
]


DIFFERS = dict.fromkeys(["072", "072-unknown"], "1.36 does not count filters")


@pytest.mark.parametrize(("header", "message"), numbered(BAD, DIFFERS))
@case
async def test_refused(stage: Stage, header: str, message: str) -> None:
    headers = [header] if header.startswith("Grip-Hold") else ["Grip-Hold: stream", header]
    await stage.start(reply("X-A: 1", *headers, body=b"body"))
    client = await stage.ask()
    await client.expect(refused(message))
    await stage.usable(client)


@case
async def test_grip_069_without_debug(stage: Stage) -> None:
    await stage.start(hold("bogus"), condition="*")
    client = await stage.ask()
    await client.expect(bad_gateway("Error while proxying to origin.\n"))
    await stage.usable(client)


STREAMS = [
    ("070", "c", ["Grip-Hold: stream", "Grip-Hold: response", "Grip-Channel: c"]),
    ("071", "c", ["Grip-Hold: stream", 'Grip-Channel: a; prev-id="3', "Grip-Channel: c"]),
    ("084-no-params", "c", ["Grip-Hold: stream", "Grip-Channel: c", "Grip-Link: /x"]),
    ("084-other-rel", "c", ["Grip-Hold: stream", "Grip-Channel: c", "Grip-Link: </x>; rel=prev"]),
    ("087-no-value", "c", ["Grip-Hold: stream", "Grip-Channel: c; prev-id"]),
    ("087-quoted", "c", ["Grip-Hold: stream", 'Grip-Channel: c; prev-id=""']),
]


@pytest.mark.parametrize(("channel", "headers"), numbered(STREAMS))
@case
async def test_stream_all_the_same(stage: Stage, channel: str, headers: list[str]) -> None:
    await stage.start(reply(*headers, body=b"init\n"))
    _, head, body = await stage.stream(channel, initial=b"init\n")
    assert head.line == "HTTP/1.1 200 OK"
    await stage.proxy.publish("a", {S: {"content": "not this"}})
    await stage.proxy.publish(channel, {S: {"content": "this"}})
    await body.expect(b"this")
    assert not body.ended
    assert len(stage.origin.requests) == 1


@pytest.mark.differs("1.36 always updates on the first subscription")
@case
async def test_grip_075_sign_and_space(stage: Stage) -> None:
    await stage.start(hold("response", "Grip-Timeout: +5 "))
    client = await stage.held()
    await stage.proxy.advance(4.3)
    await stage.silent(client)
    await stage.proxy.advance(1.0)
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@case
async def test_grip_075_is_held(stage: Stage) -> None:
    await stage.start(hold("response", "Grip-Timeout: +5 "))
    client = await stage.held()
    await stage.proxy.publish("c", {R: {"body": "x"}})
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")


NO_NEXT = b"init\n\n\nchannel 'c' specifies prev-id, but no next link found\n"


@pytest.mark.parametrize(
    ("channel", "condition", "expected"),
    [
        pytest.param("c; prev-id=1", "*,debug", NO_NEXT, id="grip-085"),
        pytest.param("c; prev-id=1", "*", b"init\n", id="grip-085-without-debug"),
        pytest.param("c; prev-id=", "*,debug", NO_NEXT, id="grip-086"),
    ],
)
@case
async def test_prev_id_without_next_link(stage: Stage, channel: str, condition: str, expected: bytes) -> None:
    await stage.start(hold("stream", channel=channel, body=b"init\n"), condition=condition)
    client = await stage.ask()
    answer = await client.read_response()
    assert (answer.line, answer.body) == ("HTTP/1.1 200 OK", expected)
    await stage.usable(client)
