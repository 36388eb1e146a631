"""The origin of all measures: a process of its own that answers from memory, as fast as Python can.

`GET /` is a small fixed response, `/stream` and `/hold` ask a GRIP proxy to hold the client, `/stream/NAME`
to do so on a channel of that name, `/auth` permits a subscription (for nchan, which asks before it holds),
`/count` tells how many of each were asked for. Only requests without a body are understood, pipelined ones
included. Started by the command line as an `OriginProcess`; never reads a clock.
"""

from __future__ import annotations

import json
import multiprocessing
import select
import socket
from multiprocessing.connection import Connection

from benchmarks.process import schedule

CHANNEL = "bench"
PLAIN_BODY = b"hello from the origin\n"
OPENING = b"open\n"
HOLD_TIMEOUT = 600  # seconds: longer than any run


def _response(body: bytes, *headers: str) -> bytes:
    head = ["HTTP/1.1 200 OK", "Content-Type: text/plain", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


ANSWERS = {
    b"/": _response(PLAIN_BODY),
    b"/auth": _response(b""),
    b"/stream": _response(OPENING, "Grip-Hold: stream", f"Grip-Channel: {CHANNEL}"),
    b"/hold": _response(
        b"late\n", "Grip-Hold: response", f"Grip-Channel: {CHANNEL}", f"Grip-Timeout: {HOLD_TIMEOUT}"
    ),
}
OWN = b"/stream/"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Origin:
    """A listening socket, its connections, and the count of requests per path."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}
        self._counts: dict[bytes, int] = dict.fromkeys(ANSWERS, 0)

    def run(self) -> None:
        """Serve until the process is ended."""
        listener = self._listener.fileno()
        while True:
            for fd, _events in self._poll.poll():
                if fd == listener:
                    self._accept()
                else:
                    self._serve(fd)

    def _accept(self) -> None:
        while True:
            try:
                connection, _peer = self._listener.accept()
            except BlockingIOError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[connection.fileno()] = connection
            self._poll.register(connection, select.EPOLLIN)

    def _take(self, data: bytes) -> tuple[bytes, bytes]:
        """The answers to all whole requests, and what is left of `data`."""
        *heads, rest = data.split(b"\r\n\r\n")
        return b"".join([self._answer(head) for head in heads]), rest

    def _serve(self, fd: int) -> None:
        connection = self._connections[fd]
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._close(fd)
            return
        if fd in self._partial:
            data = self._partial.pop(fd) + data
        answer, rest = self._take(data)
        if rest:
            self._partial[fd] = rest
        try:
            connection.sendall(answer)
        except OSError:
            self._close(fd)
            return
        if b"\r\nconnection: close" in data.lower():
            self._close(fd)

    def _answer(self, head: bytes) -> bytes:
        path = head.split(b" ", 2)[1]
        if path in ANSWERS:
            self._counts[path] += 1
            return ANSWERS[path]
        if path.startswith(OWN):
            name = path.removeprefix(OWN).decode()
            return _response(OPENING, "Grip-Hold: stream", f"Grip-Channel: {CHANNEL}-{name}")
        if path == b"/count":
            counts = {name.decode(): count for name, count in self._counts.items()}
            return _response(json.dumps(counts).encode())
        return NOT_FOUND

    def _close(self, fd: int) -> None:
        self._partial.pop(fd, None)
        self._connections.pop(fd).close()


def _main(pipe: Connection, kind: type[Origin]) -> None:
    origin = kind()
    pipe.send(origin.port)
    origin.run()


class OriginProcess:
    """The parent's handle: where the origin listens, what it has been asked, and how to end it."""

    def __init__(self, kind: type[Origin] = Origin) -> None:
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(theirs, kind), daemon=True)
        self._process.start()
        if not pipe.poll(30):
            raise RuntimeError("the origin did not start")
        self.port: int = pipe.recv()

    def asked(self) -> int:
        """How many requests have been answered that ask for a hold or permit one."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(b"GET /count HTTP/1.1\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := connection.recv(65536):
                data += piece
        counts: dict[str, int] = json.loads(data.partition(b"\r\n\r\n")[2])
        return counts["/hold"] + counts["/stream"] + counts["/auth"]

    def cpu_seconds(self) -> float:
        """Processor time that it has used so far."""
        return 0.0 if self._process.pid is None else schedule(self._process.pid)[0]

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(10)
