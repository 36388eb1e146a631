"""Many clients doing what comes to their minds, a backend of many moods, publishers good and bad.

Random, but by a seed; each client checks what it is told, and in the end nothing may be left of anybody.
"""

from __future__ import annotations

import gc
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from pushpin_tw.routing.uri import Authority
from tests.support.certificates import Authority as CertificateAuthority
from tests.support.certificates import TlsServer
from tests.support.moody import MoodyOrigin, mutated
from tests.support.rawclient import RawClient
from tests.support.running import refusing
from tests.support.service import ServiceProxy
from tests.support.visitors import Ask, Said, Soak, Visitor
from tests.support.waiting import turn, until

case = pytest_twisted.ensureDeferred
CHANNELS = [f"channel-{number}" for number in range(6)]
MOODS = ["plain"] * 3 + ["pieces"] * 3 + ["echo"] * 2 + ["poll"] * 5 + ["stream"] * 5
MOODS += ["interim", "close", "empty", "early", "die", "die", "garbage", "garbage", "down"]
SIZES = [0, 1, 10, 10, 300, 5000]
BIG = [150_000, 700_000]


@implementer(IOpenSSLClientConnectionCreator)
class AnyServer:
    """A TLS client who believes everybody."""

    def __init__(self) -> None:
        self._context = SSL.Context(SSL.TLS_METHOD)

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_tlsext_host_name(b"soak.example")
        return connection


class World(Soak):
    """Everybody and everything."""

    def __init__(self, home: House) -> None:
        super().__init__()
        self.holding = True
        """Whether backends still let clients wait."""
        self.home = home
        self.dice = home.dice
        self.proxy = home.proxy
        self.origins = home.origins
        self.visitors: list[Visitor] = []
        self.publishers: list[RawClient] = []
        self.asked = 0
        self._tls = AnyServer()

    @property
    def now(self) -> float:
        return float(self.proxy.clock.seconds())

    # ---- what may happen -----------------------------------------------------------------------------------

    async def come(self) -> None:
        dice, listeners = self.dice, self.proxy.service.client_addresses
        if len(self.visitors) >= 40:
            return
        secure = dice.random() < 0.15
        client = await RawClient.connect(
            listeners[1 if secure else 0],
            tls=self._tls if secure else None,
            receive_buffer=0 if secure or dice.random() < 0.8 else 4096,
        )
        client.transport.setTcpNoDelay(True)
        visitor = Visitor(client, dice, self, secure)
        visitor.wild = dice.random() < 0.1
        self.visitors.append(visitor)

    async def ask(self) -> None:
        visitor = self._somebody(lambda one: not one.ended and len(one.expected) < 5)
        if visitor is not None and (visitor.steady or self.dice.random() < 0.1):
            ask, route = self._request()
            if visitor.wild:
                ask.method = "GET"
            visitor.ask(ask, route)

    def _request(self) -> tuple[Ask, str]:
        dice = self.dice
        self.asked += 1
        mood = dice.choice(MOODS)
        size = dice.choice(BIG if dice.random() < 0.03 else SIZES)
        ask = Ask(self.asked, mood, size, dice.sample(CHANNELS, dice.randrange(1, 4)))
        ask.method = "POST" if mood in ("echo", "early") or dice.random() < 0.1 else "GET"
        if mood in ("plain", "pieces", "stream", "poll") and dice.random() < 0.1:
            ask.method = "HEAD"
        ask.minor = 0 if dice.random() < 0.15 else 1
        ask.keep_alive = dice.random() < (0.5 if not ask.minor else 0.9)
        routes = {"down": ["down"], "garbage": ["wreck"]}.get(mood, ["a", "b", "safe", "failover"])
        return ask, dice.choice(routes)

    async def send(self) -> None:
        for visitor in self.dice.sample(self.visitors, min(5, len(self.visitors))):
            visitor.send_some()

    async def answer(self) -> None:
        for origin in self.origins:
            origin.step()

    async def leave(self) -> None:
        visitor = self._somebody()
        if visitor is not None and self.dice.random() < 0.5:
            visitor.excused = True
            self.visitors.remove(visitor)
            visitor.client.drop()

    async def half_close(self) -> None:
        visitor = self._somebody(lambda one: not one.secure)
        if visitor is not None:
            visitor.excused = True
            visitor.send_all()
            visitor.client.transport.loseWriteConnection()

    async def doze(self) -> None:
        visitor = self._somebody()
        if visitor is not None:
            visitor.paused = visitor.slow = True
            visitor.client.pause()

    async def wake(self) -> None:
        visitor = self._somebody(lambda one: one.paused)
        if visitor is not None:
            visitor.paused = False
            visitor.client.resume()

    def _somebody(self, fit: Callable[[Visitor], bool] = lambda one: True) -> Visitor | None:
        found = [one for one in self.visitors if not one.client.lost and not one.excused and fit(one)]
        return self.dice.choice(found) if found else None

    async def publish(self, actions: tuple[str, ...] = ("send",) * 6 + ("hint", "close", "refresh")) -> None:
        items = [self._item(actions) for _ in range(self.dice.choice((1, 1, 1, 2, 10)))]
        answer = await self.proxy.post(items)
        assert (answer.status, answer.body) == (200, b"Published\n")

    def _item(self, actions: tuple[str, ...]) -> dict[str, Any]:
        dice, number = self.dice, len(self.said)
        said = Said(dice.choice(CHANNELS), "", "")
        content = f"[{said.channel}:{number}:{'x' * dice.choice((0, 0, 5, 1000))}]"
        if dice.random() < 0.02:
            content = content[:-1] + "x" * 100_000 + "]"
        formats: dict[str, Any] = {"ws-message": {"content": content}}
        if dice.random() < 0.7:
            said.stream = dice.choice(actions)
            formats["http-stream"] = {"action": said.stream, "content": content}
        if dice.random() < 0.5 or not said.stream:
            said.response = dice.choice((*actions, "patch"))
            formats["http-response"] = {"action": said.response, "body": content}
            if said.response == "patch":
                patch = {"op": "add", "path": "/i", "value": f"{said.channel}:{number}"}
                formats["http-response"] = {"body-patch": [patch]}
        self.said.append(said)
        item = {"channel": said.channel, "formats": formats}
        return item | dice.choice(({}, {"id": str(number)}, {"id": str(number), "prev-id": str(number - 1)}))

    async def publish_badly(self) -> None:
        """One bad item spoils the others, which nobody may ever see."""
        unseen = {"channel": self.dice.choice(CHANNELS), "formats": {"http-stream": {"content": "?"}}}
        bad = self.dice.choice([{}, 1, {"channel": "c"}, {"channel": "c", "formats": {"http-stream": {}}}])
        answer = await self.proxy.post(self.dice.sample([unseen, unseen, bad], 3))
        assert answer.status == 400

    async def publish_wildly(self) -> None:
        """Publishers that say anything, and leave at any byte."""
        if self.publishers and self.dice.random() < 0.5:
            self.publishers.pop().drop()
            return
        client = await self.proxy.control()
        body = json.dumps({"items": [{"channel": "nobody", "formats": {"http-stream": {"content": "x"}}}]})
        data = f"POST /publish HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        data = mutated(self.dice, data) if self.dice.random() < 0.7 else data
        client.send(data[: self.dice.randrange(len(data) + 1)])
        self.publishers.append(client)

    async def time(self) -> None:
        self.proxy.clock.advance(self.dice.choice((0.01, 0.05, 0.05, 0.1, 1, 7)))

    async def reload(self) -> None:
        self.home.write_routes()
        self.proxy.service.reload()

    # ---- the course of a soak ------------------------------------------------------------------------------

    async def live(self, steps: int) -> None:
        """So many things happen."""
        weights: dict[Callable[[], Any], int] = {
            self.come: 12, self.ask: 25, self.send: 40, self.answer: 40, self.leave: 4, self.half_close: 1,
            self.doze: 2, self.wake: 3, self.publish: 12, self.publish_badly: 1, self.publish_wildly: 2,
            self.time: 8, self.reload: 1,
        }  # fmt: skip
        for happens in self.dice.choices(list(weights), list(weights.values()), k=steps):
            await happens()
            await turn()
            self.digest()

    def digest(self) -> None:
        for visitor in self.visitors:
            visitor.digest()
        self.visitors = [one for one in self.visitors if not one.client.lost]

    async def end(self) -> None:
        """Everybody gets what is still due, then goes."""
        self.holding = False
        for visitor in self.visitors:
            visitor.client.resume()
            visitor.send_all()
        for channel in CHANNELS * 2:
            self.said.append(Said(channel, "send", "send"))
            content = f"[{channel}:{len(self.said) - 1}:]"
            formats = {"http-stream": {"content": content}, "http-response": {"body": content}}
            await self.proxy.publish(channel, formats)
        for _ in range(6):  # requests may wait behind streams that end
            for channel in CHANNELS:
                self.said.append(Said(channel, "send", "close"))
                content = f"[{channel}:{len(self.said) - 1}:]"
                await self.proxy.publish(
                    channel, {"http-stream": {"action": "close"}, "http-response": {"body": content}}
                )
            await self._settle()
        for visitor in self.visitors:
            visitor.client.drop()
        for publisher in self.publishers:
            publisher.drop()

    async def _settle(self) -> None:
        """Until everybody has got everything, apart from those who may be disappointed."""

        def settled() -> bool:
            speaking = [origin.step(100) for origin in self.origins]
            self.proxy.clock.advance(0.03)
            self.digest()
            return not any(speaking) and all(one.careless or one.served for one in self.visitors)

        await until(settled, "everybody to be told everything")
        await self.proxy.settle()
        self.digest()


@implementer(ILogObserver)
class Complaints:
    """What Twisted logs as an error: exceptions that escaped to the reactor."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            failure = event.get("log_failure")
            self.found.append(failure.getTraceback() if failure is not None else str(event))


class House:
    """The service with its backends, for one soak after the other."""

    def __init__(self, directory: Path, seed: int, down: str) -> None:
        self.dice = Random(seed)
        self.world: World
        self.proxy: ServiceProxy
        self.plain: list[MoodyOrigin] = []
        self.safe: MoodyOrigin
        self.wreck: MoodyOrigin
        self.routes = directory / "routes"
        self._down = down

    @property
    def origins(self) -> list[MoodyOrigin]:
        """All backends."""
        return [*self.plain, self.safe, self.wreck]

    async def open(self, certificate: tuple[str, str], settings: dict[str, dict[str, object]]) -> None:
        """Start everything."""
        dice = self.dice
        self.plain = [await MoodyOrigin.listen(dice, self.holding) for _ in range(2)]
        self.safe = await MoodyOrigin.listen(dice, self.holding, TlsServer(certificate).wrap)
        self.wreck = await MoodyOrigin.listen(dice, self.holding)
        self.write_routes()
        self.proxy = await ServiceProxy.start(self.routes, settings)
        for port in self.proxy.service.listeners._ports:
            port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # clients inherit it

    def holding(self) -> bool:
        """Whether backends let clients wait."""
        return self.world.holding

    def write_routes(self, steady: bool = False) -> None:
        """Routes to the same kinds of backends, always others unless they are to be ``steady``."""
        dice = Random(1) if steady else self.dice
        lines = [
            f"*,path_beg=/a {dice.choice(self.plain).address}",
            f"*,path_beg=/b,id=named {dice.choice(self.plain).address}",
            f"*,path_beg=/failover {self._down} {self.plain[0].address}",
            f"*,path_beg=/down {self._down}",
            f"*,path_beg=/safe {self.safe.address},ssl,insecure",
            f"*,path_beg=/wreck {self.wreck.address}",
            f"*,path_beg=/other{dice.randrange(9)},id={dice.random()} {self.plain[0].address},ssl",
        ]
        self.routes.write_text("\n".join(dice.sample(lines, len(lines))) + "\nnonsense,,\n")

    async def soak(self, seed: int, steps: int) -> World:
        """One round, after which nothing is left."""
        self.dice.seed(seed)
        self.world = World(self)
        await self.world.live(steps)
        await self.world.end()
        await self._empty()
        return self.world

    async def _empty(self) -> None:
        """Nobody is left, once all timeouts are over."""
        for _ in range(40):
            await self.proxy.advance(50)
        service = self.proxy.service
        watch = service.listeners.watch
        assert (len(watch.live), len(watch.idle), len(watch.leaving)) == (0, 0, 0)
        assert service.broker.channels() == []
        assert not service.broker._fanout._buckets
        assert len(service.lent.shared("origin.pool", list)) == 0
        assert service.lent.wheel.waiting == 0
        assert [len(origin.connections) for origin in self.origins] == [0] * 4
        assert [origin.wrong for origin in self.origins] == [[]] * 4

    async def close(self) -> None:
        """Stop everything."""
        await self.proxy.stop()
        for origin in self.origins:
            await origin.stop()
        await turn()


@asynccontextmanager
async def house(directory: Path, seed: int, **settings: dict[str, object]) -> AsyncIterator[House]:
    """A service with TLS and plain listeners, four backends, and routes that change."""
    certificate = CertificateAuthority(directory).certificate("soak.example")
    certs = directory / "runner" / "certs"
    certs.mkdir(parents=True)
    for path, kind in zip(certificate, ("crt", "key"), strict=True):
        (certs / f"soak.example.{kind}").write_bytes(Path(path).read_bytes())
    settings.setdefault("runner", {})["https_ports"] = "127.0.0.1:0"
    complaints = Complaints()
    globalLogPublisher.addObserver(complaints)
    with refusing() as down:
        home = House(directory, seed, down)
        await home.open(certificate, settings)
        try:
            yield home
        finally:
            await home.close()
            globalLogPublisher.removeObserver(complaints)
    assert complaints.found == []


def census() -> Counter[str]:
    """How many objects there are of each of our classes."""
    gc.collect()
    classes = Counter(type(thing) for thing in gc.get_objects())
    return Counter(
        {
            kind.__qualname__: count
            for kind, count in classes.items()
            if str(kind.__module__).startswith("pushpin_tw.") and kind is not Authority
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@case
async def test_thousands_of_things_happen_in_any_order(tmp_path: Path, seed: int) -> None:
    rate = -1 if seed % 2 else 2500
    buffer = 65536 if seed < 2 else 2000
    async with house(tmp_path, seed, handler={"message_rate": rate}, tw={"write_buffer": buffer}) as home:
        world = await home.soak(seed, 5000)
        assert world.asked > 500


@pytest.mark.slow
@case
async def test_nothing_is_left_in_memory(tmp_path: Path) -> None:
    found = []
    async with house(tmp_path, 0) as home:
        for _ in range(3):  # the first time, caches fill
            await home.soak(1, 1500)
            del home.world
            home.write_routes(steady=True)
            home.proxy.service.reload()
            found.append(census())
    more = {kind: (found[1][kind], count) for kind, count in found[2].items() if count > found[1][kind]}
    assert not more
