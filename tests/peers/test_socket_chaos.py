"""A backend over HTTP that is killed at random takes only those WebSockets along whose request it had.

A thousand clients say things, close and vanish while items are published and the backend is killed and comes
back (websocket 4.8, 4.12, 4.13).  ``SOCKET_CHAOS_SEEDS=4,5,6`` in the environment chooses other seeds.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from random import Random

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults

from tests.peers.reliable import MEASURED
from tests.peers.running import Pushpin, pushpin
from tests.peers.socketcrowd import ENDED, OPEN, Client, Session
from tests.support.crowd import eventually, pause
from tests.support.running import Proxy

PROGRAM = Path(__file__).with_name("eventbackend.py")
SEEDS = [int(word) for word in os.environ.get("SOCKET_CHAOS_SEEDS", "1").split(",")]
CHANNELS = [f"channel-{letter}" for letter in "abcdefghij"]
CLIENTS = 1000
TROUBLE = 9.0
"""Seconds in which everything goes wrong, at least."""
OUTAGES = 4
"""How often the backend is killed, at least."""
DELAY = 0.06
"""Seconds that the backend thinks, at most."""
SOON = 5.0
"""Seconds within which consequences show; what it takes is some hundredths, on a machine of one's own."""
SETTLING = 40.0
"""Seconds for requests that are tried again to come through: their row of waits has 36."""
LEAVERS = 50
EAGER = 200
"""Clients who speak while the proxy stands still."""


@dataclass
class Outage:
    """A time without a backend."""

    start: float
    """Before the kill."""
    dead: float
    """From here on nothing can reach the backend any more."""
    up: float = inf


class Backend:
    """The backend's process; its port stays taken in between."""

    def __init__(self, directory: Path, random: Random) -> None:
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port = self._reserved.getsockname()[1]
        self.journal = directory / "journal"
        self.outages: list[Outage] = []
        self._random = random
        self._errors = directory / "backend.err"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns when it listens."""
        words = [sys.executable, str(PROGRAM), "--port", str(self.port), "--journal", str(self.journal)]
        words += ["--seed", str(self._random.getrandbits(32)), "--delay", str(DELAY)]
        environment = {name: value for name, value in os.environ.items() if name not in MEASURED}
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(words, stderr=errors, env=environment)
        await eventually(self._listens, lambda: f"a backend: {self._errors.read_text()}", 20)
        if self.outages:
            self.outages[-1].up = reactor.seconds()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self, before: Callable[[], float] | None = None) -> None:
        """In the middle of whatever it does; it is dead, and its connections closed, when this returns.

        ``before`` is called first, and returns from when on nothing can reach the backend any more.
        """
        if self._process is not None:
            start = reactor.seconds()
            dead = None if before is None else before()
            self._process.kill()
            self._process.wait()
            self._process = None
            self.outages.append(Outage(start, reactor.seconds() if dead is None else dead))

    def stop(self) -> None:
        """For good."""
        self.kill()
        self._reserved.close()

    def taken(self) -> dict[str, list[str]]:
        """What the journal says, by connection."""
        found: dict[str, list[str]] = {}
        for line in self.journal.read_text().splitlines():
            connection, _, text = line.partition(" ")
            found.setdefault(connection, []).append(text)
        return found


@dataclass
class Channel:
    """What was published: when each POST began and when it was answered; numbers begin with 1."""

    name: str
    begun: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)


class Trouble:
    """What is done to the backend and by the clients, all of it decided by the seed."""

    def __init__(self, random: Random, backend: Backend, service: Pushpin, clients: list[Client]) -> None:
        self._random = random
        self._backend = backend
        self._process = service.process
        self._proxy = Proxy()
        self._proxy.control_address = ("127.0.0.1", service.control)
        self._clients = clients
        self._over = False
        self.channels = {name: Channel(name) for name in CHANNELS}

    async def run(self) -> None:
        """All of it, at once; the backend is there at the end."""
        tasks = [self._restarts(), *map(self._publishes, self.channels.values())]
        tasks += map(self._talks, self._clients)
        await gatherResults([ensureDeferred(one) for one in tasks], consumeErrors=True)

    async def _restarts(self) -> None:
        end = reactor.seconds() + TROUBLE
        while reactor.seconds() < end or len(self._backend.outages) < OUTAGES:
            await pause(self._random.uniform(0.3, 1.5))
            if self._random.random() < 0.5:
                self._backend.kill()
            else:
                self._backend.kill(self._freeze)
                self._process.send_signal(signal.SIGCONT)
            await pause(self._random.uniform(0.1, 0.9))
            await self._backend.start()
        self._over = True

    def _freeze(self) -> float:
        """Stop the proxy, and let clients say things that it will find when the backend is dead already."""
        self._process.send_signal(signal.SIGSTOP)
        state = Path(f"/proc/{self._process.pid}/stat")
        while state.read_text().rpartition(")")[2].split()[0] != "T":
            pass
        frozen = float(reactor.seconds())
        for client in self._random.sample(self._clients, EAGER):
            client.session.say()
        return frozen

    async def _publishes(self, channel: Channel) -> None:
        while not self._over:
            await pause(self._random.uniform(0, 0.5))
            await self.publish(channel, self._random.choice([1, 1, 1, 2, 5]))

    async def publish(self, channel: Channel, count: int = 1) -> None:
        """The next items of a channel."""
        items = []
        for _ in range(count):
            channel.begun.append(reactor.seconds())
            formats = {"ws-message": {"content": f"p {len(channel.begun)}"}}
            items.append({"channel": channel.name, "formats": formats})
        await self._proxy.publish_all(items)
        channel.answered += [reactor.seconds()] * count

    async def _talks(self, client: Client) -> None:
        while not self._over:
            await pause(self._random.uniform(0.3, 3))
            way = self._random.choices(
                ["say", "burst", "pieces", "close", "cut", "half"], [70, 15, 8, 3, 3, 1]
            )[0]
            session = client.session
            if way == "close":
                session.close()
            elif way == "cut":
                session.cut()
            elif way == "half" and client.online:
                session.say_half()
                session.cut()
            else:
                for _ in range(4 if way == "burst" else 1):
                    session.say(in_pieces=way == "pieces")


async def last_words(trouble: Trouble, clients: list[Client]) -> None:
    """In peace: everybody is there, is answered everything, and gets one item more."""

    def wanting() -> list[Client]:
        return [one for one in clients if not one.online or one.session.echoes < len(one.session.said)]

    def words() -> str:
        few = [f"{one.session.echoes} of {len(one.session.said)} {one.online}" for one in wanting()[:5]]
        return f"{len(wanting())} clients wait: {few}"

    await eventually(lambda: all(one.online for one in clients), words, SETTLING)
    for client in clients:
        client.session.say(last=True)
    await eventually(lambda: not wanting(), words, SETTLING)
    for channel in trouble.channels.values():
        await trouble.publish(channel)
    last = {name: len(channel.begun) for name, channel in trouble.channels.items()}
    await eventually(
        lambda: all(one.session.published[-1:] == [last[one.channel]] for one in clients),
        lambda: "the last item everywhere",
        SETTLING,
    )


def overlaps(backend: Backend, start: float, end: float) -> bool:
    """Whether the backend was away within a time."""
    return any(outage.start <= end and start <= outage.up for outage in backend.outages)


def may_drop(session: Session, backend: Backend) -> bool:
    """Whether the backend was killed while it may have had a request of this session (websocket 4.13)."""
    return any(
        outage.start <= session.ended <= outage.dead + SOON and session.waits(outage.start, outage.dead)
        for outage in backend.outages
    )


def judge_session(session: Session, backend: Backend, channel: Channel, taken: list[str]) -> str:
    """What became of a session; fails if that must not be."""
    assert session.faults == []
    if session.status != 101:
        assert session.status == 502
        assert overlaps(backend, session.began, session.ended), (
            "an opening failed although there was a backend"
        )
        return "refused"
    numbers = [text for text in taken if text != "gone"]
    assert numbers == [str(number + 1) for number in range(len(numbers))]
    assert session.echoes <= len(numbers) <= len(session.said)
    if session.published:
        first = session.published[0]
        assert session.published == list(range(first, first + len(session.published)))
    end = session.cut_at or session.ended or inf
    due = [
        number + 1
        for number, (begun, answered) in enumerate(zip(channel.begun, channel.answered, strict=True))
        if begun > session.opened and answered < end - SOON
    ]
    assert set(due) <= set(session.published)
    assert taken.count("gone") <= 1 and "gone" not in taken[:-1]
    if session.state == OPEN:
        assert len(session.said) == session.echoes == len(numbers) and "gone" not in taken
        return "open"
    if session.cut_at:
        return judge_leaver(session, backend, "gone" in taken)
    if session.closing[1]:
        assert session.closing[0], "CLOSE out of the blue"
        return "closed"
    assert may_drop(session, backend), (
        f"dropped at {session.ended}, open since {session.opened}, had said {session.said[-5:]}, "
        f"outages {backend.outages}"
    )
    return "dropped"


def judge_leaver(session: Session, backend: Backend, gone: bool) -> str:
    """The backend learns of a client that vanished, as far as it lives long enough (websocket 4.12)."""
    cut = session.cut_at
    if session.waits(cut, inf):
        return "vanished while it waited"
    if any(outage.dead <= cut <= outage.up for outage in backend.outages):
        return "gone later" if gone else "gone unnoticed"
    assert gone or overlaps(backend, cut, cut + SOON), "no DISCONNECT although there was a backend"
    return "gone"


def judge(trouble: Trouble, clients: list[Client], backend: Backend) -> Counter[str]:
    """The verdict over all sessions."""
    taken = backend.taken()
    assert [text for texts in taken.values() for text in texts if text.startswith("fault")] == []
    verdicts: Counter[str] = Counter()
    for client in clients:
        for session in client.sessions:
            channel = trouble.channels[client.channel]
            verdicts[judge_session(session, backend, channel, taken.get(session.connection, []))] += 1
            verdicts["came through"] += sum(
                any(outage.dead < sent < outage.up for outage in backend.outages)
                for sent, answered in session.said
                if answered
            )
    return verdicts


async def all_leave(clients: list[Client], backend: Backend) -> None:
    """In peace, each of those who vanish is noticed."""
    names = {client.session.connection for client in clients}
    for client in clients:
        client.stop()
    taken: dict[str, list[str]] = {}

    def noticed() -> bool:
        taken.update(backend.taken())
        return all(taken.get(name, [])[-1:] == ["gone"] for name in names)

    await eventually(noticed, lambda: "DISCONNECT of everybody", SETTLING)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest_twisted.ensureDeferred
async def test_a_backend_that_is_killed_costs_no_socket_without_need(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    backend = Backend(tmp_path, random)
    clients: list[Client] = []
    try:
        await backend.start()
        target = f"127.0.0.1:{backend.port},over_http"
        with pushpin(tmp_path, f"* {target}", f"*,path_beg=/one/ {target},one_event") as service:
            address = ("127.0.0.1", service.port)
            for number in range(CLIENTS):
                path = f"/{random.choice(['any', 'one'])}/{CHANNELS[number % len(CHANNELS)]}"
                clients.append(Client(address, path, Random(random.random())))
                clients[-1].start()
                if number % 100 == 99:
                    await eventually(lambda: all(one.online for one in clients), lambda: "sockets", SETTLING)
            trouble = Trouble(random, backend, service, clients)
            await trouble.run()
            await last_words(trouble, clients)
            verdicts = judge(trouble, clients, backend)
            await all_leave(clients[:LEAVERS], backend)
            for client in clients:
                client.stop()
            await eventually(
                lambda: all(one.session.state == ENDED for one in clients), lambda: "the end", SETTLING
            )
    finally:
        for client in clients:
            client.stop()
        backend.stop()
    assert verdicts["open"] == CLIENTS
    for verdict in ("refused", "dropped", "closed", "gone", "gone later", "came through"):
        assert verdicts[verdict] > 0, verdicts
