"""A backend of WebSocket-over-HTTP that trusts nothing it is told: a program, to be killed at any moment.

It keeps no state but what it stores with each connection (``Set-Meta-*``), and checks every request against
that: numbers of messages must follow each other, and what it did not accept must come again, be it half a
message.  Below ``/one/`` there may be one event in a request.  Its journal has
a line for whatever it took, written before it answers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
from dataclasses import dataclass, field

CONTENT_TYPE = "application/websocket-events"
Event = tuple[str, bytes]


def read_events(body: bytes) -> list[Event]:
    """The events of a request, in the one form that they may have."""
    events = []
    while body:
        line, _, body = body.partition(b"\r\n")
        kind, space, size = line.decode().partition(" ")
        length = int(size, 16) if space else 0
        if space and body[length : length + 2] != b"\r\n":
            raise ValueError(f"the content of {line!r} does not end well")
        events.append((kind, body[:length]))
        body = body[length + 2 :] if space else body
    return events


def write_event(kind: str, content: bytes = b"") -> bytes:
    """One event of an answer."""
    return f"{kind} {len(content):x}\r\n".encode() + content + b"\r\n" if content else f"{kind}\r\n".encode()


@dataclass
class Answer:
    """What one request is answered."""

    body: bytes = b""
    headers: list[str] = field(default_factory=list)


class Backend:
    """The state of the process: a journal and a die."""

    def __init__(self, journal: str, die: random.Random, delay: float) -> None:
        self._journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._die = die
        self._delay = delay

    def note(self, connection: str, text: str) -> None:
        """A line that survives this process."""
        os.write(self._journal, f"{connection} {text}\n".encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the proxy."""
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {}
                for line in lines[1:-2]:
                    name, _, value = line.partition(": ")
                    headers[name.lower()] = value
                body = await reader.readexactly(int(headers["content-length"]))
                answer = self.answer(lines[0].split(" ")[1], headers, read_events(body))
                await asyncio.sleep(self._die.uniform(0, self._delay))
                head = ["HTTP/1.1 200 OK", f"Content-Type: {CONTENT_TYPE}", *answer.headers]
                head.append(f"Content-Length: {len(answer.body)}")
                writer.write("\r\n".join([*head, "", ""]).encode() + answer.body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, path: str, headers: dict[str, str], events: list[Event]) -> Answer:
        """What is said to a request with these events."""
        connection = headers["connection-id"]
        if events == [("OPEN", b"")]:
            channel = path.rpartition("/")[2]
            subscribe = f'c:{{"type": "subscribe", "channel": "{channel}"}}'.encode()
            body = write_event("OPEN") + write_event("TEXT", subscribe)
            body += write_event("TEXT", f"hello {connection}".encode())
            agreed = 'Sec-WebSocket-Extensions: grip; message-prefix=""'
            return Answer(body, [agreed, "Set-Meta-Seen: 0", "Set-Meta-Left: 0", "Set-Meta-Part: -"])
        if events == [("DISCONNECT", b"")]:
            self.note(connection, "gone")
            return Answer()
        if headers.get("meta-left") != headers.get("content-bytes-replayed", "0"):
            self.note(connection, f"fault: left {headers.get('meta-left')} of {events!r} in {headers!r}")
        if path.startswith("/one/") and len(events) > 1:
            self.note(connection, f"fault: {len(events)} events at once")
        return self._take(connection, headers, events)

    def _share(self, events: list[Event]) -> tuple[int, int]:
        """How many of the events are accepted, and how many bytes of the next one; some of it in any case."""
        count = len(events)
        if self._die.random() < 0.7 or events[-1][0] == "CLOSE" or events[-1][1].endswith(b" end"):
            return count, 0
        count = self._die.randrange(count)
        size = len(events[count][1])
        return (count, self._die.randrange(0 if count else 1, size)) if size > 1 else (count + 1, 0)

    def _take(self, connection: str, headers: dict[str, str], events: list[Event]) -> Answer:
        """Accept events, perhaps not all of them, and send them back."""
        seen = int(headers["meta-seen"])
        part = bytes.fromhex(headers["meta-part"].strip("-"))
        size = sum(len(content) for _, content in events)
        count, more = self._share(events)
        answer, taken = Answer(), more
        for kind, content in events[:count]:
            taken += len(content)
            if kind == "TEXT":
                content, part = part + content, b""
                if content.split(b" ")[:2] != [b"m", str(seen + 1).encode()]:
                    self.note(connection, f"fault: {content!r} follows {seen}")
                seen += 1
                self.note(connection, str(seen))
                answer.body += write_event(kind, b"e" + content[1:])
            else:
                answer.body += write_event(kind, content)
        if more:
            part += events[count][1][:more]
        if taken < size:
            answer.headers.append(f"Content-Bytes-Accepted: {taken}")
        answer.headers += [f"Set-Meta-Seen: {seen}", f"Set-Meta-Left: {size - taken}"]
        answer.headers.append(f"Set-Meta-Part: {part.hex() or '-'}")
        return answer


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--delay", type=float, required=True, help="seconds until an answer, at most")
    options = parser.parse_args()
    backend = Backend(options.journal, random.Random(options.seed), options.delay)
    server = await asyncio.start_server(
        backend.serve, "127.0.0.1", options.port, reuse_port=True, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
