"""What a responder tells statistics of its request (zeromq 5.2)."""

from __future__ import annotations

from typing import Any

import pytest

from pushpin_tw.edge.responder import Responder
from pushpin_tw.wire.http1 import parse_request
from tests.support.tally import RecordedTally

HEADERS = [(b"A", b"b"), (b"Content-Type", b"text/plain")]
WORDS = len("200OKAbContent-Typetext/plain")


class Transport:
    waiting = 0

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


class Connection:
    """As much of a ``ClientConnection`` as a responder uses."""

    secure = True
    peer = "10.0.0.1"
    congested = False
    active = False

    def __init__(self) -> None:
        self.transport = Transport()
        self.talk: Any = None
        self.stage = self

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def drop(self) -> None:
        pass

    def answered(self, connection: Any, persist: bool, unread: bool) -> None:
        pass


def opened(method: str = "GET") -> tuple[Responder, Any, RecordedTally]:
    """A responder that counts, and the counts."""
    request = parse_request(f"{method} / HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    connection: Any = Connection()
    responder = Responder(connection, request)
    tally = RecordedTally()
    return responder, tally.opened(responder, 0, ""), tally


def sent(counts: Any) -> tuple[int, int]:
    return counts.client_header_sent, counts.client_content_sent


def test_who_it_is() -> None:
    responder, _, tally = opened()
    assert (responder.secure, responder.address) == (True, "10.0.0.1")
    responder.believed = "9.9.9.9"
    assert responder.address == "9.9.9.9"
    responder.refresh()
    responder.abort()
    assert tally.take()[1:] == [("closed", "http")]
    responder.abort()
    responder.believed = ""
    assert (responder.secure, responder.address, tally.take()) == (False, "", [])


def test_a_response_in_pieces() -> None:
    responder, counts, tally = opened()
    responder.start(200, b"OK", HEADERS, 7)
    responder.write(b"four")
    responder.flush()
    assert sent(counts) == (WORDS + len("Content-Length7"), 4)
    responder.write(b"and more than was announced")
    responder.finish()
    assert sent(counts) == (WORDS + len("Content-Length7"), 7)
    assert tally.take()[-1] == ("closed", "http")


def test_chunks_are_no_content() -> None:
    responder, counts, _ = opened()
    responder.start(200, b"OK", HEADERS, None)
    responder.write(b"four")
    responder.finish()
    assert counts.client_content_sent == 4


@pytest.mark.parametrize(("method", "content"), [("GET", 4), ("HEAD", 0)])
def test_a_whole_response(method: str, content: int) -> None:
    responder, counts, tally = opened(method)
    responder.respond(200, b"OK", HEADERS, b"four")
    assert sent(counts) == (WORDS + len("Content-Length4"), content)
    assert tally.take()[-1] == ("closed", "http")


def test_a_response_that_is_ready() -> None:
    responder, counts, tally = opened()
    head = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n"
    responder.complete(head + b"\r\n\r\n")
    assert sent(counts) == (WORDS + len("Content-Length4"), 4)
    assert tally.take()[-1] == ("closed", "http")


def test_a_client_that_goes() -> None:
    responder, _, tally = opened()
    responder.lost()
    assert tally.take()[-1] == ("closed", "http")


def test_nothing_is_counted_where_nobody_wants_it() -> None:
    request = parse_request(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    connection: Any = Connection()
    responder = Responder(connection, request)
    responder.respond(200, b"OK", HEADERS, b"four")
    assert connection.transport.written.endswith(b"\r\n\r\nfour")
