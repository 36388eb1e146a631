"""Links (grip 17.6, cases 120 to 145): one response made of several, and what is told at the end."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.conformance.test_grip_stream import CHUNKED
from tests.support.items import answer, item, piece
from tests.support.origin import Asked, hold, instruct, reply, withheld
from tests.support.rawclient import BodyReader, RawClient
from tests.support.running import R, S
from tests.support.stage import Stage, numbered

case = pytest_twisted.ensureDeferred
NEXT = "Grip-Link: </n>; rel=next"
GONE = "Grip-Link: </g?x=1>; rel=gone"
HINT = item({S: {"action": "hint"}})
BYE = reply(body=b"bye")
UPDATES = {"update_on_first_subscription": "true"}
NO_GONE = "1.36 knows no gone link"
SLACK = 0.3
"""Seconds: ticks of the wheel and of the limiter, and one look of ``time_until``."""


def streams(*headers: str, channel: str = "c", body: bytes = b"") -> bytes:
    """A stream hold with a next link."""
    return hold("stream", NEXT, *headers, channel=channel, body=body)


async def opened(stage: Stage, target: str = "/") -> tuple[RawClient, BodyReader]:
    """A client that has the head of its response."""
    client = await stage.ask(target)
    return client, client.body(await client.read_head())


async def hinted(stage: Stage, *answers: object, condition: str = "*,debug") -> tuple[RawClient, BodyReader]:
    """A stream with a next link that is told to follow it; ``answers`` are those of ``/n``."""
    stage.origin.on("/n", *answers)  # type: ignore[arg-type]
    await stage.start(streams(), condition=condition)
    client, _, body = await stage.stream()
    await stage.proxy.publish_all([HINT])
    return client, body


async def goes_on(stage: Stage, body: BodyReader, channel: str = "c") -> None:
    """The stream is held, and nothing else came."""
    await stage.proxy.publish_all([piece("-marker-", channel=channel)])
    await body.expect(b"-marker-")


def names(asked: Asked) -> list[str]:
    """The names of its headers, sorted."""
    return sorted(name for name, _ in asked.headers)


@case
async def test_grip_120_one_response_of_two(stage: Stage) -> None:
    stage.origin.on("/n", hold("stream", "X-B: 2", body=b"second "))
    await stage.start(reply(NEXT, "X-A: 1", body=b"first "))
    client = await stage.ask("/", "Cookie: a=b", "X-Own: yes")
    head = await client.read_head()
    assert head.raw == b"HTTP/1.1 200 OK\r\nX-A: 1\r\n" + CHUNKED
    body = client.body(head)
    await body.expect(b"first second ")
    await stage.proxy.held("c")
    await stage.proxy.publish_all([piece("pub ")])
    await body.expect(b"pub ")


@pytest.mark.differs("the fetcher of 1.36 has headers of its own")
@case
async def test_grip_120_nothing_of_the_client_is_told(stage: Stage) -> None:
    stage.origin.on("/n", BYE)
    await stage.start(reply(NEXT, body=b"first "))
    client = await stage.ask("/", "Cookie: a=b", "X-Own: yes", method="POST", body=b"form")
    assert (await client.read_response()).body == b"first bye"
    asked = await stage.origin.request(1, "/n")
    assert (asked.method, asked.body) == ("GET", b"")
    assert names(asked) == ["Grip-Feature", "Grip-Sig", "Host"]
    assert asked.get("Host") == "example.com"


@pytest.mark.differs("1.36 makes an id of the route's conditions")
@case
async def test_c170_the_link_is_logged(stage: Stage) -> None:
    stage.origin.on("/next2", reply(body=b"more"))
    await stage.start(reply("Grip-Link: </next2>; rel=next", body=b"begin "), condition="*")
    client = await stage.ask(host="a.example")
    assert (await client.read_response()).body == b"begin more"
    await stage.proxy.settle()
    assert stage.proxy.lines("handler")[-1] == "GET http://a.example/next2 code=200 4"


@case
async def test_grip_121_relative_to_what_was_fetched(stage: Stage) -> None:
    stage.origin.on("/d/n", reply("Grip-Link: <n2?x=1>; rel=next", body=b"second "))
    stage.origin.on("/d/n2", reply(body=b"third"))
    await stage.start(reply("Grip-Link: </d/n>; rel=next", body=b"first "))
    client = await stage.ask()
    assert (await client.read_response()).body == b"first second third"
    await stage.usable(client)
    assert [asked.target for asked in stage.origin.requests] == ["/", "/d/n", "/d/n2?x=1"]


@case
async def test_grip_122_the_last_next_link_counts(stage: Stage) -> None:
    stage.origin.on("/n", BYE)
    await stage.start(reply("Grip-Link: </other>; rel=next, </n>; rel=next"))
    client = await stage.ask()
    assert (await client.read_response()).body == b"bye"
    assert [asked.target for asked in stage.origin.requests] == ["/", "/n"]


@case
async def test_grip_123_a_comma_ends_the_link(stage: Stage) -> None:
    await stage.start(reply("Grip-Link: <a,b>; rel=next"))
    got = await (await stage.ask()).read_response()
    text = b"Failed to parse accept instructions: failed to parse Grip-Link value\n"
    assert (got.status, got.body) == (502, text)


@case
async def test_grip_124_a_gap_is_filled(stage: Stage) -> None:
    stage.origin.on("/n", streams(channel="c; prev-id=4", body=b"three four "))
    await stage.start(streams(channel="c; prev-id=1"))
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([piece("two ", "2", "1")])
    await body.expect(b"two ")
    await stage.proxy.publish_all([piece("no", "4", "3", no_seq=True)])
    await stage.proxy.time_until(lambda: stage.origin.asked_for("/n"), 0.2 + SLACK)
    assert stage.origin.asked_for("/n")[0].all("Grip-Last") == ["c; last-id=2"]
    await body.expect(b"three four ")
    await stage.proxy.settle()
    await stage.proxy.publish_all([piece("five", "5", "4")])
    await body.expect(b"five")


@pytest.mark.parametrize("listed", [[], ["Grip-Channel: c; prev-id=4"], ["Grip-Channel: c"]])
@case
async def test_pages_without_a_hold_leave_the_position(stage: Stage, listed: list[str]) -> None:
    """Grip 10.1: only the next hold says what is subscribed, and where; until then ``Grip-Last`` is old."""
    stage.origin.on("/n", reply("Grip-Link: </page>; rel=next", *listed, body=b"three four "))
    stage.origin.on("/page", streams(channel="c; prev-id=6", body=b"five six "))
    await stage.start(streams(channel="c; prev-id=1"))
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([piece("two ", "2", "1"), piece("no", "4", "3", no_seq=True)])
    await stage.proxy.time_until(lambda: stage.origin.asked_for("/n"), 0.2 + SLACK)
    await body.expect(b"two three four five six ")
    asked = [stage.origin.asked_for(target)[0] for target in ("/n", "/page")]
    assert [one.all("Grip-Last") for one in asked] == [["c; last-id=2"]] * 2
    await stage.proxy.held("c")
    await stage.proxy.publish_all([piece("seven", "7", "6")])
    await body.expect(b"seven")


@case
async def test_grip_125_what_the_link_brought_is_not_repeated(stage: Stage) -> None:
    stage.origin.on("/n", withheld)
    await stage.start(streams(channel="c; prev-id=1"))
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([item({S: {"action": "hint"}}, "1", "1")])
    asked = await stage.origin.request(1, "/n")
    items = [piece("2", "2", "1"), piece("3", "3", "2"), piece("4", "4", "3")]
    await stage.proxy.publish_all(items)
    await stage.proxy.settle()
    assert not body.pending
    asked.write(streams(channel="c; prev-id=3", body=b"[2 3] "))
    await body.expect(b"[2 3] 4")
    await stage.proxy.publish_all([piece("5", "5", "4")])
    await body.expect(b"5")


@case
async def test_grip_126_items_wait_for_the_link(stage: Stage) -> None:
    _, body = await hinted(stage, withheld)
    asked = await stage.origin.request(1, "/n")
    await stage.proxy.publish_all([piece("one "), piece("two ")])
    await stage.proxy.settle()
    assert not body.pending
    asked.write(streams(body=b"link "))
    await body.expect(b"link one two ")


@case
async def test_grip_127_a_link_without_patience(stage: Stage) -> None:
    stage.origin.on("/n", BYE)
    await stage.start(hold("stream", f"{NEXT}; timeout=0"))
    client, body = await opened(stage)
    await stage.proxy.time_until(lambda: body.ended, 0.2 + SLACK)
    assert body.take() == b"bye"
    await stage.usable(client)


@case
async def test_grip_128_a_hint_is_followed_at_once(stage: Stage) -> None:
    _, body = await hinted(stage, streams(body=b"more"))
    await body.expect(b"more")
    await goes_on(stage, body)
    assert len(stage.origin.asked_for("/n")) == 1


@case
async def test_grip_128_hints_while_it_is_followed(stage: Stage) -> None:
    stage.origin.on("/n", withheld, streams(body=b"second "))
    await stage.start(streams())
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([HINT, HINT, HINT])
    asked = await stage.origin.request(1, "/n")
    await stage.proxy.settle()
    asked.write(streams(body=b"first "))
    await stage.origin.request(2, "/n")
    await body.expect(b"first second ")
    await goes_on(stage, body)
    assert len(stage.origin.asked_for("/n")) == 2


ENDS = [
    ("129", BYE, b"bye", b"bye"),
    ("130", hold("response"), b"\n\nNext link returned non-stream hold.\n", b""),
    (
        "131",
        reply("Grip-Hold: bogus"),
        b"\n\nGrip-Hold must be set to either 'response' or 'stream'\n",
        b"",
    ),
    (
        "132",
        instruct(b'{"hold":{"mode":"stream","channels":[{"name":"c"}]}}'),
        b"\n\nfailed to parse application/grip-instruct content as JSON\n",
        b"",
    ),
    (
        "131-failed",
        reply("Grip-Hold: bogus", status="500 Oops"),
        b"\n\nGrip-Hold must be set to either 'response' or 'stream'\n",
        b"",
    ),
    (
        "120-position",
        hold("stream", channel="c; prev-id=1", body=b"more"),
        b"more\n\nchannel 'c' specifies prev-id, but no next link found\n",
        b"more",
    ),
]


@pytest.mark.parametrize("debug", [True, False], ids=["debug", "plain"])
@pytest.mark.parametrize(
    ("answer", "said", "shown"),
    numbered(ENDS, {"132": "1.36 relays it", "131-failed": "1.36 looks at the status first"}),
)
@case
async def test_the_end_of_a_chain(
    stage: Stage, answer: bytes, said: bytes, shown: bytes, debug: bool
) -> None:
    client, body = await hinted(stage, answer, condition="*,debug" if debug else "*")
    assert await body.rest() == (said if debug else shown)
    await stage.usable(client)


@case
async def test_grip_133_six_attempts(stage: Stage) -> None:
    client, body = await hinted(stage, reply(status="500 Oops", body=b"no"))
    await stage.origin.request(1, "/n")
    for number in range(5):
        passed = await stage.proxy.time_until(
            lambda wanted=number + 2: len(stage.origin.asked_for("/n")) == wanted, 2**number + 1 + SLACK
        )
        assert passed >= 2**number - SLACK
    assert await body.rest() == b"\n\nFailed to retrieve next link.\n"
    await stage.usable(client)
    assert len(stage.origin.asked_for("/n")) == 6


@case
async def test_grip_134_redirects_are_failures(stage: Stage) -> None:
    away = reply("Location: /elsewhere", status="302 Found", body=b"away")
    client, body = await hinted(stage, away, BYE)
    await stage.origin.request(1, "/n")
    passed = await stage.proxy.time_until(lambda: len(stage.origin.asked_for("/n")) == 2, 2 + SLACK)
    assert passed >= 1 - SLACK
    assert await body.rest() == b"bye"
    assert not stage.origin.asked_for("/elsewhere")
    await stage.usable(client)


@case
async def test_grip_134_success_starts_the_count_again(stage: Stage) -> None:
    failed = reply(status="503 Busy")
    _, body = await hinted(stage, failed, failed, streams(body=b"more"), failed, BYE)
    await stage.proxy.time_until(lambda: body.pending == b"more", 5 + 2 * SLACK)
    await body.expect(b"more")
    await stage.proxy.publish_all([HINT])
    await stage.origin.request(4, "/n")
    await stage.proxy.time_until(lambda: body.ended, 2 + SLACK)
    assert body.take() == b"bye"


@case
async def test_grip_135_other_channels(stage: Stage) -> None:
    _, body = await hinted(stage, streams(channel="d", body=b"now d "))
    await body.expect(b"now d ")
    await stage.proxy.held("d")
    await stage.proxy.held("c", 0)
    await stage.proxy.publish_all([piece("old")])
    await stage.proxy.publish_all([piece("new", channel="d")])
    await body.expect(b"new")


async def two_at_once(stage: Stage, queries: tuple[str, str]) -> list[BodyReader]:
    """Two streams whose next links differ at most in their queries, told to follow them."""

    def begin(asked: Asked) -> bytes:
        query = asked.target.partition("?")[2]
        return hold("stream", f"Grip-Link: </n?{query}>; rel=next", body=b".")

    stage.origin.on("/n", withheld)
    await stage.start(begin)
    bodies = []
    for query in queries:
        _, body = await opened(stage, f"/?{query}")
        await body.expect(b".")
        bodies.append(body)
    await stage.proxy.held("c", 2)
    await stage.proxy.publish_all([HINT])
    await stage.origin.request(1, "/n")
    await stage.proxy.settle()
    return bodies


@pytest.mark.one_process
@case
async def test_grip_136_one_request_for_two_clients(stage: Stage) -> None:
    bodies = await two_at_once(stage, ("u=1", "u=1"))
    [asked] = stage.origin.asked_for("/n")
    asked.write(BYE)
    for body in bodies:
        assert await body.rest() == b"bye"


@pytest.mark.differs("the original does not look at the query: both would get the first one's answer")
@case
async def test_grip_136_not_for_two_queries(stage: Stage) -> None:
    bodies = await two_at_once(stage, ("u=1", "u=2"))
    for query, body in zip(("u=1", "u=2"), bodies, strict=True):
        [asked] = [asked for asked in stage.origin.asked_for("/n") if asked.target == f"/n?{query}"]
        asked.write(reply(body=query.encode()))
        assert await body.rest() == query.encode()


@case
async def test_grip_137_the_new_instruction_decides_on_keep_alives(stage: Stage) -> None:
    stage.origin.on("/n", streams(body=b"more"), streams())
    await stage.start(streams("Grip-Keep-Alive: K; timeout=2"))
    _, _, body = await stage.stream()
    await stage.proxy.publish_all([HINT])
    await body.expect(b"more")
    for _ in range(5):
        await stage.proxy.advance(1)
    await goes_on(stage, body)


@case
async def test_grip_138_a_response_hold_follows_no_next_link(stage: Stage) -> None:
    await stage.start(hold("response", NEXT, channel="c; prev-id=1"), reply(body=b"fresh"))
    client = await stage.held()
    await stage.proxy.publish_all([answer("three", "3", "2")])
    await stage.proxy.time_until(lambda: len(stage.origin.requests) == 2, 0.2 + SLACK)
    assert (await client.read_response()).body == b"fresh"
    assert [asked.target for asked in stage.origin.requests] == ["/", "/"]


@pytest.mark.differs(NO_GONE)
@case
async def test_grip_139_the_client_is_gone(stage: Stage) -> None:
    stage.origin.on("/g", reply())
    await stage.start(hold("stream", GONE))
    client, _, _ = await stage.stream()
    client.drop()
    asked = await stage.origin.request(1, "/g")
    assert (asked.method, asked.target, asked.get("Content-Length")) == ("POST", "/g?x=1", "0")
    assert names(asked) == ["Content-Length", "Grip-Feature", "Grip-Sig", "Host"]
    await stage.proxy.settle()
    assert len(stage.origin.asked_for("/g")) == 1


async def gone_once(stage: Stage) -> None:
    """Now the gone link is asked for, once."""
    asked = await stage.origin.request(1, "/g")
    assert asked.method == "POST"
    await stage.proxy.settle()
    assert len(stage.origin.asked_for("/g")) == 1


async def held_with_gone_link(stage: Stage, *later: bytes) -> RawClient:
    """A response hold at whose end something is told."""
    stage.origin.on("/g", reply())
    await stage.start(hold("response", GONE, "Grip-Timeout: 5"), *later)
    client = await stage.held()
    assert not stage.origin.asked_for("/g")
    return client


@pytest.mark.differs(NO_GONE)
@case
async def test_grip_140_gone_when_answered(stage: Stage) -> None:
    client = await held_with_gone_link(stage)
    await stage.proxy.publish_all([answer("item")])
    assert (await client.read_response()).body == b"item"
    await gone_once(stage)


@pytest.mark.differs(NO_GONE)
@case
async def test_grip_140_gone_when_timed_out(stage: Stage) -> None:
    client = await held_with_gone_link(stage)
    await stage.proxy.time_until(lambda: client.unread, 5 + SLACK)
    await gone_once(stage)


@pytest.mark.differs(NO_GONE)
@case
async def test_grip_140_gone_when_run_again(stage: Stage) -> None:
    client = await held_with_gone_link(stage, BYE)
    await stage.proxy.publish("c", {R: {"action": "hint"}})
    assert (await client.read_response()).body == b"bye"
    await gone_once(stage)


@case
async def test_grip_141_no_session_no_gone_request(stage: Stage) -> None:
    stage.origin.on("/g", reply())
    await stage.start(reply(GONE, body=b"plain"))
    client = await stage.ask()
    assert (await client.read_response()).body == b"plain"
    await stage.usable(client)
    assert not stage.origin.asked_for("/g")


@case
async def test_grip_141_not_the_gone_link_of_a_next_response(stage: Stage) -> None:
    stage.origin.on("/g", reply())
    client, body = await hinted(stage, streams(GONE, body=b"more"))
    await body.expect(b"more")
    await goes_on(stage, body)
    client.drop()
    await stage.proxy.held("c", 0)
    await stage.proxy.settle()
    assert not stage.origin.asked_for("/g")


@case
async def test_grip_142_recover(stage: Stage) -> None:
    await stage.start(hold("response", channel="c; prev-id=1"), handler=UPDATES)
    await stage.held()
    await stage.proxy.time_until(lambda: len(stage.origin.requests) == 2, 1.1 + SLACK)
    await stage.proxy.advance(0.7)
    assert len(stage.origin.requests) == 2
    await stage.proxy.recover()
    await stage.proxy.time_until(lambda: len(stage.origin.requests) == 3, 0.2 + SLACK)
    assert stage.origin.requests[2].all("Grip-Last") == ["c; last-id=1"]


class Fetches:
    """When ``/n`` was asked for, by the proxy's clock."""

    def __init__(self, stage: Stage, again: bytes) -> None:
        self.times: list[float] = []
        self._stage = stage
        self._again = again
        stage.origin.on("/n", self)

    def __call__(self, asked: Asked) -> bytes:
        self.times.append(self._stage.proxy.seconds())
        return self._again


def patient(channel: str = "c", body: bytes = b"") -> bytes:
    """A stream that asks again after 3 seconds."""
    return hold("stream", f"{NEXT}; timeout=3", channel=channel, body=body)


async def steps(stage: Stage, count: int) -> None:
    """So many tenths of a second."""
    for _ in range(count):
        await stage.proxy.advance(0.1)


@case
async def test_grip_143_items_put_the_timeout_off(stage: Stage) -> None:
    fetches = Fetches(stage, patient())
    await stage.start(patient(), handler=UPDATES)
    _, _, body = await stage.stream()
    await stage.proxy.time_until(lambda: fetches.times, 1.1 + SLACK)
    await stage.proxy.advance(0.4)
    for _ in range(14):
        await stage.proxy.publish_all([piece(".")])
        await stage.proxy.advance(0.45)
    assert len(fetches.times) == 1
    await body.expect(b"." * 14)
    await stage.proxy.time_until(lambda: len(fetches.times) == 2, 6 + SLACK)


@pytest.mark.differs("in 1.36, items on both channels put it off as well")
@case
async def test_grip_144_not_when_there_are_two_channels(stage: Stage) -> None:
    fetches = Fetches(stage, patient("c, d"))
    await stage.start(patient("c, d"), handler=UPDATES)
    await stage.stream()
    await stage.proxy.time_until(lambda: fetches.times, 1.1 + SLACK)
    for _ in range(10):
        await stage.proxy.publish_all([piece(".")])
        await steps(stage, 4)
        await stage.proxy.publish_all([piece(".", channel="d")])
        await steps(stage, 5)
    gaps = [later - sooner for sooner, later in zip(fetches.times, fetches.times[1:], strict=False)]
    assert len(gaps) in (2, 3)
    assert all(3 <= gap <= 3.1 + SLACK for gap in gaps)


@pytest.mark.one_process
@case
async def test_grip_145_one_timeout_for_both(stage: Stage) -> None:
    fetches = Fetches(stage, patient(body=b"more "))
    await stage.start(patient(body=b"."), handler=UPDATES)
    _, _, early = await stage.stream(initial=b".")
    await stage.proxy.time_until(lambda: fetches.times, 1.1 + SLACK)
    await early.expect(b"more ")
    await stage.proxy.advance(1)
    _, late = await opened(stage)
    await late.expect(b".")
    await stage.proxy.held("c", 2)
    await stage.proxy.time_until(lambda: len(fetches.times) == 2, 3 + SLACK)
    assert 3 - SLACK <= fetches.times[1] - fetches.times[0] <= 3.1 + SLACK
    await early.expect(b"more ")
    await late.expect(b"more ")
    await stage.proxy.settle()
    assert len(fetches.times) == 2
