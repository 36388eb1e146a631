"""Streams on many channels, and a publisher on ZeroMQ: each a process of its own that does what it is told.

Used by `inputs`. Every client is promised its bytes beforehand, and every byte that arrives is compared with
them: as they would be with one chunk for each item, or, where a server words it differently, decoded. Never
measures the time of anything but arrival and sending.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import zmq

from benchmarks.process import raise_file_limit
from benchmarks.verify import Broken, is_stream_opening, read_chunks
from pushpin_tw.wire.tnetstring import encode

AT_ONCE = 64  # streams that are opened at the same time
OPEN_PATIENCE = 20.0  # seconds until a stream must be held
REPLY_PATIENCE = 900.0  # seconds: above every bound that a command has of its own
READ_SIZE = 65536


@dataclass(slots=True)
class Heard:
    """What came of a round: clients that have all of their items, time of the last byte, what went wrong."""

    whole: int = 0
    last: float = 0.0
    cpu: float = 0.0
    lost: Counter[str] = field(default_factory=Counter)


class _Client:
    """One stream, and what it has been promised."""

    __slots__ = ("content", "got", "plain", "raw", "socket")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.promise([])

    def promise(self, items: Sequence[bytes]) -> None:
        """From now on these are to come, and nothing else."""
        self.content = b"".join(items)
        self.raw = b"".join([b"%x\r\n%b\r\n" % (len(item), item) for item in items])
        self.got = 0
        self.plain: bytearray | None = None
        """What has come, when it is not worded as expected."""

    def take(self, data: bytes) -> bool:
        """More has come; whether that was all.

        :raises Broken: it is not what was promised.
        """
        if self.plain is None:
            end = self.got + len(data)
            if self.raw[self.got : end] == data:
                self.got = end
                return end == len(self.raw)
            self.plain = bytearray(self.raw[: self.got])
        self.plain += data
        content, at_end = read_chunks(bytes(self.plain))
        if not self.content.startswith(content):
            raise Broken("not the published content")
        return at_end and content == self.content


class Listeners:
    """All streams of one process."""

    def __init__(self) -> None:
        self._clients: dict[int, _Client] = {}
        self._order: list[int] = []
        self._poll = select.epoll()

    def open(self, address: tuple[str, int], requests: Sequence[bytes], opening: bytes) -> int:
        """Open a stream with each of `requests`; how many are held."""
        raise_file_limit()
        gc.disable()
        for start in range(0, len(requests), AT_ONCE):
            some = [(socket.create_connection(address), data) for data in requests[start : start + AT_ONCE]]
            for connection, data in some:
                connection.settimeout(OPEN_PATIENCE)
                connection.sendall(data)
            for connection, _ in some:
                self._read_opening(connection, opening)
        return len(self._clients)

    def _read_opening(self, connection: socket.socket, opening: bytes) -> None:
        data = b""
        while not is_stream_opening(data, opening):
            piece = connection.recv(READ_SIZE)
            if not piece:
                raise Broken("closed")
            data += piece
        connection.setblocking(False)
        self._order.append(connection.fileno())
        self._clients[connection.fileno()] = _Client(connection)
        self._poll.register(connection, select.EPOLLIN)

    def receive(self, promises: Sequence[Sequence[bytes]], ready: Connection, patience: float) -> Heard:
        """Wait until everybody has what was promised: each client its own, or one promise for all."""
        for number, fd in enumerate(self._order):
            self._clients[fd].promise(promises[number % len(promises)])
        ready.send("ready")
        heard = Heard(cpu=time.process_time())
        waiting = {fd for fd in self._order if self._clients[fd].content}
        deadline = time.monotonic() + patience
        while waiting and time.monotonic() < deadline:
            for fd, _events in self._poll.poll(0.5, 4096):
                self._read(fd, waiting, heard)
            heard.last = time.monotonic()
        heard.cpu = time.process_time() - heard.cpu
        heard.whole = sum(fd not in waiting for fd in self._order)
        if waiting:
            heard.lost["not all has arrived in time"] += len(waiting)
        return heard

    def _read(self, fd: int, waiting: set[int], heard: Heard) -> None:
        try:
            data = os.read(fd, READ_SIZE)
            if not data:
                raise Broken("closed")
            if fd not in waiting:
                raise Broken("more than was promised")
            if self._clients[fd].take(data):
                waiting.discard(fd)
        except (OSError, Broken) as error:
            heard.lost[str(error)] += 1
            self._order.remove(fd)
            waiting.discard(fd)
            self._clients.pop(fd).socket.close()

    def close(self) -> None:
        """Leave."""
        for client in self._clients.values():
            client.socket.close()
        self._clients.clear()
        self._order.clear()


class Publisher:
    """A PUSH or PUB socket that sends what was prepared, as fast as it can."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._messages: list[list[bytes]] = []

    def connect(self, push: bool, spec: str, topics: int, patience: float) -> int:
        """Connect; with PUB, wait until so many channels are subscribed to; how many are."""
        plain = self._context.socket(zmq.PUSH if push else zmq.XPUB)
        plain.sndhwm = 0
        plain.linger = 0
        plain.connect(spec)
        self._socket = plain
        told: set[bytes] = set()
        end = time.monotonic() + patience
        while not push and len(told) < topics and time.monotonic() < end:
            if plain.poll(200):
                told.add(plain.recv())
        return len(told)

    def prepare(self, channels: Sequence[str], contents: Sequence[bytes], push: bool) -> None:
        """The next items, channel by channel in turn."""
        self._messages = []
        for number, content in enumerate(contents):
            channel = channels[number % len(channels)]
            item: dict[str, Any] = {"formats": {"http-stream": {"content": content}}}
            if push:
                self._messages.append([encode({"channel": channel, **item})])
            else:
                self._messages.append([channel.encode(), encode(item)])

    def send(self) -> tuple[float, float]:
        """Send them; when the first one began to leave, and when the last one was handed to ZeroMQ."""
        assert self._socket is not None
        send = self._socket.send_multipart
        start = time.monotonic()
        for message in self._messages:
            send(message)
        return start, time.monotonic()

    def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _serve(pipe: Connection, kind: type[Any]) -> None:
    worker = kind()
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            return
        if name == "receive":
            arguments = (arguments[0], pipe, arguments[1])
        pipe.send(getattr(worker, name)(*arguments))


class Child:
    """The parent's handle of a `Listeners` or a `Publisher`."""

    def __init__(self, kind: type[Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, kind), daemon=True)
        self._process.start()

    def tell(self, name: str, *arguments: Any) -> None:
        """Let it do something."""
        self._pipe.send((name, arguments))

    def answer(self) -> Any:
        """What came of it."""
        if not self._pipe.poll(REPLY_PATIENCE):
            raise RuntimeError("a load process does not answer")
        return self._pipe.recv()

    def ask(self, name: str, *arguments: Any) -> Any:
        """Both."""
        self.tell(name, *arguments)
        return self.answer()

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(10)
