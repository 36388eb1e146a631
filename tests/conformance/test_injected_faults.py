"""A bug anywhere on the push side is logged with its traceback and costs at most one hold.

Every point of publishing, of the broker and of the holds is made to fail in turn; each time, regular requests
go on, and as soon as the fault is gone, so does everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_twisted

from pushpin_tw.broker.broker import Broker
from pushpin_tw.broker.channels import Channel, Group
from pushpin_tw.broker.fanout import Batch, Fanout
from pushpin_tw.broker.parcel import Parcel
from pushpin_tw.grip.formats import ResponseFormat
from pushpin_tw.grip.template import Template, Templates
from pushpin_tw.hold.base import Hold
from pushpin_tw.hold.response import ResponseHold
from pushpin_tw.hold.stream import StreamHold
from pushpin_tw.proxy.held import Acceptance, Acceptor
from tests.support.origin import Asked, hold
from tests.support.running import R, S
from tests.support.stage import Stage
from tests.support.waiting import until

case = pytest_twisted.ensureDeferred


class Injected(Exception):
    """The bug."""


@contextmanager
def broken(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> Iterator[list[str]]:
    """Let a method fail; the list tells how often it did."""
    calls: list[str] = []

    def fail(*args: Any, **kwargs: Any) -> None:
        calls.append(name)
        raise Injected(name)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        yield calls


def origin(asked: Asked) -> bytes:
    """/stream and /poll hold."""
    mode = "stream" if asked.target.startswith("/stream") else "response"
    return hold(mode, "Grip-Keep-Alive: K; timeout=5", body=b"begin")


async def proxies_on(stage: Stage) -> None:
    """Regular proxying is as it ever was."""
    client = await stage.client()
    await stage.usable(client)
    await stage.usable(client)


def tracebacks(stage: Stage) -> list[str]:
    """The bugs in the log; they are forgotten, for this test has made them."""
    log = stage.proxy.log  # type: ignore[attr-defined]
    found = [line.details for line in log.lines if line.details]
    log.lines = [line for line in log.lines if not line.details]
    return found


async def works_again(stage: Stage) -> None:
    """New holds and new items meet."""
    stream = await stage.ask("/stream")
    head = await stream.read_head()
    body = stream.body(head)
    await body.expect(b"begin")
    poll = await stage.ask("/poll")
    await stage.proxy.held("c", 1, R)
    await stage.proxy.publish("c", {R: {"body": "answer"}, S: {"content": "piece"}})
    assert (await poll.read_response()).body == b"answer"
    await body.expect(b"piece")
    await proxies_on(stage)


PUBLISHING = [
    (Broker, "accept"),
    (Broker, "_publish"),
    (Fanout, "add"),
    (Fanout, "_join"),
    (Fanout, "_append"),
    (Fanout, "_serve"),
    (Fanout, "_drain"),
    (Fanout, "_deliver"),
    (Batch, "encode"),
    (Group, "snapshot"),
    (Parcel, "part"),
    (Parcel, "encoded"),
    (Template, "fill"),
    (ResponseFormat, "merge"),
    (StreamHold, "deliver"),
    (ResponseHold, "deliver"),
    (Hold, "leave"),
]


@pytest.mark.parametrize(("owner", "name"), PUBLISHING, ids=lambda value: getattr(value, "__name__", value))
@case
async def test_a_fault_while_publishing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    stage.origin.answers(origin)
    await stage.start(handler={"message_rate": "", "message_hwm": ""})
    stream = await stage.ask("/stream")
    await stream.body(await stream.read_head()).expect(b"begin")
    await stage.ask("/poll")
    await stage.proxy.held("c", 2)
    with broken(monkeypatch, owner, name) as calls:
        formats = {R: {"body": "lost", "headers": {"X": "1"}}, S: {"content": "lost"}}
        await stage.proxy.post([{"channel": "c", "formats": formats}] * 2)
        await proxies_on(stage)
        await until(lambda: bool(calls), f"a call of {name}")
    found = tracebacks(stage)
    assert found
    assert all("Injected" in text and "Traceback" in text for text in found)
    for client in stage._clients:
        client.drop()
    if owner is Hold:
        # A poll that was answered and could not leave goes with the next item.
        await stage.proxy.publish("c", {R: {"body": "nobody hears this"}})
    await stage.proxy.held("c", 0)
    await works_again(stage)
    tracebacks(stage)


HOLDING = [
    (Broker, "subscribe"),
    (Channel, "add"),
    (Acceptor, "accept"),
    (Acceptance, "hold"),
    (Acceptance, "hold_stream"),
    (Templates, "find"),
    (StreamHold, "begin"),
    (ResponseHold, "begin"),
]


@pytest.mark.parametrize(("owner", "name"), HOLDING, ids=lambda value: getattr(value, "__name__", value))
@case
async def test_a_fault_while_a_hold_begins(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    stage.origin.answers(origin)
    await stage.start()
    survivor = await stage.ask("/stream")
    body = survivor.body(await survivor.read_head())
    await body.expect(b"begin")
    await stage.proxy.held("c", 1)
    with broken(monkeypatch, owner, name) as calls:
        clients = [await stage.ask("/stream"), await stage.ask("/poll")]
        while not calls:
            await stage.proxy.settle()
        await proxies_on(stage)
        assert calls
    found = tracebacks(stage)
    assert found
    assert all("Injected" in text for text in found)
    await stage.proxy.publish("c", {S: {"content": "still here"}})
    await body.expect(b"still here")
    for client in [survivor, *clients]:
        client.drop()
    await stage.proxy.held("c", 0)
    await works_again(stage)


ENDING = [
    (StreamHold, "on_time"),
    (Broker, "unsubscribe"),
    (Channel, "remove"),
    (Hold, "lost"),
    (StreamHold, "drained"),
]


@pytest.mark.parametrize(("owner", "name"), ENDING, ids=lambda value: getattr(value, "__name__", value))
@case
async def test_a_fault_in_a_timer_or_at_the_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    stage.origin.answers(origin)
    await stage.start()
    survivor = await stage.ask("/poll")
    await stage.proxy.held("c", 1)
    doomed = await stage.client(receive_buffer=4096)
    doomed.request("/stream")
    await doomed.body(await doomed.read_head()).expect(b"begin")
    await stage.proxy.held("c", 2)
    with broken(monkeypatch, owner, name) as calls:
        if name == "on_time":
            await stage.proxy.advance(6)
        elif name == "drained":
            doomed.pause()
            for _ in range(40):
                await stage.proxy.publish("c", {S: {"content": "x" * 100_000}})
            doomed.resume()
        else:
            doomed.drop()
        while not calls:
            await stage.proxy.settle()
        await proxies_on(stage)
    found = tracebacks(stage)
    assert found
    assert all("Injected" in text for text in found)
    await stage.proxy.publish("c", {R: {"body": "alive"}})
    assert (await survivor.read_response()).body == b"alive"
    await proxies_on(stage)
    tracebacks(stage)
