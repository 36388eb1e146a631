"""Backends on ZeroMQ: real sockets, and somebody else's tnetstrings.

Tests get a ``Workshop`` from the fixture ``workshop``, which makes workers and clears them away.  Nothing
here blocks the reactor: what comes is looked for in each of its turns.

Values are those of a packet, as in ``zeromq`` 2.4.  What is sent may be written with ``str`` in place of
bytes; what came has ``str`` keys and bytes.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from typing import Any

import tnetstring
import zmq

from tests.support.rawclient import RawClient
from tests.support.running import free_port
from tests.support.waiting import until

Plain = zmq.Socket[bytes]
Packet = dict[str, Any]

CREDITS = 200_000
"""What is granted with the first packet of a session, and what of a body may travel in it."""

_HANDSHAKES = zmq.EVENT_HANDSHAKE_SUCCEEDED


def pack(value: object) -> bytes:
    """A value as a frame, ``T`` in front."""
    encoded: bytes = tnetstring.dumps(_bytewise(value))
    return b"T" + encoded


def unpack(frame: bytes) -> Packet:
    """What ``pack`` was given."""
    assert frame[:1] == b"T", f"no packet: {frame[:100]!r}"
    found = _with_names(tnetstring.loads(frame[1:]))
    assert isinstance(found, dict)
    return found


def _bytewise(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, Mapping):
        return {_bytewise(key): _bytewise(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bytewise(item) for item in value]
    return value


def _with_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.decode(): _with_names(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_names(item) for item in value]
    return value


def derived(spec: str) -> tuple[str, str, str]:
    """Where the workers of ``zhttp/SPEC`` connect with PULL, ROUTER and PUB."""
    base, _, port = spec.rpartition(":")
    if port.isdigit():
        return spec, f"{base}:{int(port) + 1}", f"{base}:{int(port) + 2}"
    return f"{spec}-out", f"{spec}-out-stream", f"{spec}-in"


class Wire:
    """One socket of a worker."""

    def __init__(self, plain: Plain) -> None:
        self.plain = plain
        self._monitor = plain.get_monitor_socket(_HANDSHAKES)

    async def joined(self) -> None:
        """Until a peer is there."""
        await until(lambda: bool(self._monitor.poll(0)), "a peer on ZeroMQ")
        self._monitor.recv_multipart()

    def send(self, *frames: bytes) -> None:
        """One message, these frames exactly."""
        self.plain.send_multipart(frames, zmq.NOBLOCK)

    async def frames(self, what: str = "a message") -> list[bytes]:
        """The next message."""
        await until(lambda: bool(self.plain.poll(0)), f"{what} on ZeroMQ")
        return self.plain.recv_multipart(zmq.NOBLOCK)

    @property
    def unread(self) -> bool:
        """Whether something has come.  What is under way has not; see ``Worker.quiet``."""
        return bool(self.plain.poll(0))


class Worker:
    """A worker of ``zhttp/SPEC``, called by its ``name``.

    What it sends has its name and the right ``seq`` unless the packet says something else; fields whose
    value is None are left out, so that ``{"from": None}`` is a packet without a sender.
    """

    def __init__(self, name: str, pull: Wire, router: Wire, pub: Wire) -> None:
        self.name = name
        self.pull = pull
        self.router = router
        self.pub = pub
        self._counts: dict[bytes, itertools.count[int]] = {}

    async def begin(self) -> None:
        """Until it can be asked, can answer, and can be told more."""
        for wire in (self.pull, self.router, self.pub):
            await wire.joined()
        await self.pub.frames("a subscription")

    async def asked(self) -> Packet:
        """The next packet that begins a session."""
        (frame,) = await self.pull.frames("a request")
        return unpack(frame)

    async def told(self) -> Packet:
        """The next packet of a session that has begun."""
        _, empty, frame = await self.router.frames("a packet for the worker")
        assert empty == b""
        return unpack(frame)

    async def untold(self, ask: Callable[[], Awaitable[RawClient]]) -> None:
        """It was told nothing more: what comes next is for a session that ``ask()``, a client's plain
        request, begins now."""
        client = await ask()
        mark = await self.asked()
        self.reply(mark, code=200, reason="OK", body="mark", more=True)
        told = await self.told()
        assert (told["id"], told["type"]) == (mark["id"], b"credit"), told
        self.reply(mark)
        assert (await client.read_response()).body == b"mark"

    def packet(self, about: Packet, fields: Mapping[str, object] | None = None, **more: object) -> Packet:
        """The next packet of the session that ``about`` (a packet from Pushpin) belongs to.

        Fields with a ``-`` in their names stand in ``fields``.
        """
        given = {**(fields or {}), **more}
        whole: Packet = {"from": self.name, "id": about["id"], **given}
        if "seq" not in given:
            whole["seq"] = next(self._counts.setdefault(about["id"], itertools.count()))
        return {name: value for name, value in whole.items() if value is not None}

    def reply(self, about: Packet, fields: Mapping[str, object] | None = None, **more: object) -> None:
        """Send ``packet(...)`` through PUB."""
        self.publish(about["from"], pack(self.packet(about, fields, **more)))

    def reply_router(self, about: Packet, fields: Mapping[str, object] | None = None, **more: object) -> None:
        """Send ``packet(...)`` through ROUTER."""
        self.router.send(about["from"], b"", pack(self.packet(about, fields, **more)))

    def answer(self, about: Packet, body: bytes = b"", *headers: tuple[str, str], code: int = 200) -> None:
        """A complete response."""
        self.reply(about, code=code, reason="OK", headers=headers, body=body)

    def publish(self, address: bytes, payload: bytes) -> None:
        """Send these bytes through PUB, to one Pushpin."""
        self.pub.send(address + b" " + payload)

    def forget(self, about: Packet) -> None:
        """The last packet was none: the next one has its ``seq``."""
        counted = next(self._counts[about["id"]])
        self._counts[about["id"]] = itertools.count(counted - 1)


class Replier:
    """A worker of ``zhttpreq/SPEC``, by REP or by ROUTER."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    async def begin(self) -> None:
        """Until it can be asked."""
        await self.wire.joined()

    async def asked(self) -> Packet:
        """The next request.  ``address`` (a list of frames, empty for REP) is added: where answers go."""
        *address, frame = await self.wire.frames("a request")
        return {**unpack(frame), "address": address}

    def reply(self, about: Packet, fields: Mapping[str, object] | None = None, **more: object) -> None:
        """A packet with the id of ``about``; as ``Worker.packet``, without ``from`` and ``seq``."""
        whole = {"id": about["id"], **(fields or {}), **more}
        packet = {name: value for name, value in whole.items() if value is not None}
        self.wire.send(*about["address"], pack(packet))

    def answer(self, about: Packet, body: bytes = b"", *headers: tuple[str, str], code: int = 200) -> None:
        """A complete response."""
        self.reply(about, code=code, reason="OK", headers=headers, body=body)


class Workshop:
    """Makes workers; ``clear()`` ends them."""

    def __init__(self) -> None:
        self._context: zmq.Context[Plain] = zmq.Context()
        self._wires: list[Wire] = []

    def wire(self, kind: int, spec: str, identity: str = "") -> Wire:
        """A socket that connects to ``spec``."""
        plain = self._context.socket(kind)
        plain.linger = 0
        plain.sndhwm = plain.rcvhwm = 0
        if identity:
            plain.setsockopt(zmq.IDENTITY, identity.encode())
        wire = Wire(plain)
        self._wires.append(wire)
        plain.connect(spec)
        return wire

    def idle(self, spec: str, name: str = "W", identity: str | None = None) -> Worker:
        """A worker of ``zhttp/SPEC`` that nobody has waited for.

        ``identity`` is that of its ROUTER, when it is not its name.
        """
        out, stream, back = derived(spec)
        return Worker(
            name,
            self.wire(zmq.PULL, out),
            self.wire(zmq.ROUTER, stream, name if identity is None else identity),
            self.wire(zmq.XPUB, back),
        )

    async def worker(self, spec: str, name: str = "W", identity: str | None = None) -> Worker:
        """A worker of ``zhttp/SPEC`` that is ready."""
        worker = self.idle(spec, name, identity)
        await worker.begin()
        return worker

    def idle_rep(self, spec: str) -> Replier:
        """A worker of ``zhttpreq/SPEC`` by REP that nobody has waited for."""
        return Replier(self.wire(zmq.REP, spec))

    async def rep(self, spec: str) -> Replier:
        """The same, ready."""
        return await self._replier(zmq.REP, spec)

    async def router(self, spec: str) -> Replier:
        """The same by ROUTER; ``address`` of what it was asked is ``[Pushpin's address, b""]``."""
        return await self._replier(zmq.ROUTER, spec)

    async def _replier(self, kind: int, spec: str) -> Replier:
        replier = Replier(self.wire(kind, spec))
        await replier.begin()
        return replier

    def clear(self) -> None:
        """Everybody goes home."""
        for wire in self._wires:
            wire.plain.disable_monitor()
        self._context.destroy(linger=0)


def free_ports(count: int = 3) -> int:
    """The first of TCP ports in a row of 127.0.0.1 that nobody uses at the moment."""
    while True:
        first = free_port()
        with ExitStack() as probes:
            try:
                for port in range(first, first + count):
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                continue
            return first
