"""GRIP proxies in a row (proxy 5, grip 2): of two that share a key, the outer one holds and the inner one
passes on what the origin wants."""

from __future__ import annotations

from collections.abc import AsyncIterator

import jwt
import pytest
import pytest_twisted

from tests.support.origin import Asked, hold, reply
from tests.support.service import ServiceProxy
from tests.support.stage import Stage

case = pytest_twisted.ensureDeferred
SHARED = "shared" * 8
"""Long enough for PyJWT not to warn."""
INNER = "inner" * 8


class Chain:
    """An outer proxy, whose only backend is the inner one, whose only backend is the origin."""

    def __init__(self, stage: Stage, inner: ServiceProxy) -> None:
        self.stage = stage
        self.origin = stage.origin
        self.outer = stage.proxy
        self.inner = inner

    @classmethod
    async def start(cls, stage: Stage, upstream_key: str = SHARED) -> Chain:
        inner = await ServiceProxy.start(
            [f"*,debug {stage.origin.address}"],
            {"proxy": {"upstream_key": upstream_key, "sig_iss": "inner", "sig_key": INNER}},
        )
        host, port = inner.address
        await stage.start(routes=[f"*,debug {host}:{port}"], proxy={"sig_iss": "outer", "sig_key": SHARED})
        return cls(stage, inner)


@pytest_twisted.async_yield_fixture
async def chains(stage: Stage) -> AsyncIterator[list[Chain]]:
    """Chains that are taken apart at the end."""
    started: list[Chain] = []
    yield started
    for chain in started:
        await chain.inner.stop()


def issuer(asked: Asked, key: str) -> str:
    """Who has signed what the origin was asked, with ``key``."""
    claims = jwt.decode(asked.get("Grip-Sig") or "", key, algorithms=["HS256"], options={"verify_exp": False})
    return str(claims["iss"])


@case
async def test_the_outer_proxy_holds_a_poll(stage: Stage, chains: list[Chain]) -> None:
    stage.origin.answers(hold("response", "Grip-Timeout: 30", body=b"nothing"))
    chain = await Chain.start(stage)
    chains.append(chain)
    client = await stage.held()
    assert issuer(chain.origin.requests[0], SHARED) == "outer"
    assert chain.origin.requests[0].all("Grip-Feature")
    assert chain.inner.service.broker.channels() == []
    await chain.inner.publish("c", {"http-response": {"body": "nobody is here"}})
    await chain.outer.publish("c", {"http-response": {"body": "item"}})
    assert (await client.read_response()).body == b"item"


@case
async def test_the_outer_proxy_holds_a_stream_and_follows_its_link(stage: Stage, chains: list[Chain]) -> None:
    stage.origin.answers(
        hold("stream", "Grip-Link: </next>; rel=next", channel="c; prev-id=1", body=b"one "),
        hold("stream", "Grip-Link: </next>; rel=next", channel="c; prev-id=4", body=b"two three four "),
    )
    chain = await Chain.start(stage)
    chains.append(chain)
    _, _, body = await stage.stream(initial=b"one ")
    await chain.outer.publish("c", {"http-stream": {"content": "four "}}, id="4", **{"prev-id": "3"})
    await chain.outer.advance(0.2)
    asked = await chain.origin.request(2)
    assert (asked.target, asked.get("Grip-Last")) == ("/next", "c; last-id=1")
    assert issuer(asked, SHARED) == "outer"
    await body.expect(b"two three four ")
    await chain.outer.publish("c", {"http-stream": {"content": "five"}}, id="5", **{"prev-id": "4"})
    await body.expect(b"five")
    assert chain.inner.service.broker.channels() == []


@case
async def test_grip_instruct_passes_the_inner_proxy(stage: Stage, chains: list[Chain]) -> None:
    body = b'{"hold": {"mode": "stream", "channels": [{"name": "c"}]}, "response": {"body": "hello"}}'
    stage.origin.answers(reply("Content-Type: application/grip-instruct", body=body))
    chain = await Chain.start(stage)
    chains.append(chain)
    await stage.stream(initial=b"hello")
    assert chain.inner.service.broker.channels() == []


@case
async def test_without_a_shared_key_the_inner_proxy_holds_itself(stage: Stage, chains: list[Chain]) -> None:
    stage.origin.answers(hold("stream", body=b"hello "))
    chain = await Chain.start(stage, upstream_key="other" * 8)
    chains.append(chain)
    client = await stage.ask()
    body = client.body(await client.read_head())
    await body.expect(b"hello ")
    await chain.inner.held("c")
    assert issuer(chain.origin.requests[0], INNER) == "inner"
    await chain.outer.held("c", 0)
    await chain.inner.publish("c", {"http-stream": {"content": "item"}})
    await body.expect(b"item")


# ---- other GRIP proxies ------------------------------------------------------------------------------------


@case
async def test_a_proxy_in_front_gets_what_it_is_to_act_upon(stage: Stage) -> None:
    """A scripted one: it signs, and reads instructions from the response."""
    await stage.start(
        hold("stream", "Grip-Set-Meta: user=bob", "X-Mine: 1", body=b"hello"), proxy={"upstream_key": SHARED}
    )
    token = jwt.encode({"iss": "front", "exp": int(stage.proxy.seconds()) + 60}, SHARED, algorithm="HS256")
    client = await stage.ask("/", f"Grip-Sig: {token}", "Grip-Feature: status", "Grip-Last: c; last-id=7")
    got = await client.read_response()
    assert got.body == b"hello"
    named = ("Grip-Hold", "Grip-Channel", "Grip-Set-Meta", "X-Mine")
    assert [got.get(name) for name in named] == ["stream", "c", "user=bob", "1"]
    asked = stage.origin.requests[0]
    assert [asked.get(name) for name in ("Grip-Feature", "Grip-Last")] == ["status", "c; last-id=7"]
    assert issuer(asked, SHARED) == "front"


@case
async def test_a_proxy_behind_believes_our_signature(stage: Stage) -> None:
    """A scripted one: it passes instructions on only to whom it trusts."""

    def behind(asked: Asked) -> bytes:
        try:
            trusted = issuer(asked, SHARED) == "outer"
        except jwt.InvalidTokenError:
            trusted = False
        return hold("response", body=b"nothing") if trusted else reply(body=b"held behind")

    await stage.start(behind, proxy={"sig_iss": "outer", "sig_key": SHARED})
    client = await stage.held()
    await stage.proxy.publish("c", {"http-response": {"body": "item"}})
    assert (await client.read_response()).body == b"item"


@pytest.mark.parametrize("header", ["Grip-Sig: forged", "Grip-Hold: stream"])
@case
async def test_what_a_stranger_claims_reaches_nobody(stage: Stage, chains: list[Chain], header: str) -> None:
    stage.origin.answers(reply(body=b"ok"))
    chain = await Chain.start(stage)
    chains.append(chain)
    await (await stage.ask("/", header)).read_response()
    asked = chain.origin.requests[0]
    assert issuer(asked, SHARED) == "outer"
    assert not asked.all("Grip-Hold")
