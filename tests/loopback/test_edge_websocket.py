"""Clients that become WebSockets, and what passes between them and the owner of their socket."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from zope.interface.verify import verifyObject

from pushpin_tw.errors import WireError
from pushpin_tw.sockets import BINARY, CLOSE, FRAME, MESSAGE, PARTIAL, PING, PONG, TEXT, IClientSocket
from tests.loopback.edgesockets import DEFLATE, Echo, Owner, dropped, join
from tests.support.edge import EdgeHouse, Visit, edge, keep
from tests.support.waiting import turn, until
from tests.support.wsclient import HANDSHAKE, SocketClient
from tests.support.wspeer import CONTINUATION, Frame, encode

case = pytest_twisted.ensureDeferred

MASK = b"\x01\x02\x03\x04"
ON = "allow_compression=true"


def frames(*contents: tuple[int, bytes]) -> bytes:
    """As a client sends them."""
    return b"".join(encode(kind, data, mask=MASK) for kind, data in contents)


# ---- the switch --------------------------------------------------------------------------------------------


@case
async def test_a_request_becomes_a_socket() -> None:
    async with edge() as house:
        owner = Echo()
        client = await join(house, owner)
        verifyObject(IClientSocket, owner.socket)
        assert owner.socket.form is False and owner.socket.congested is False
        client.text("hello")
        await client.expect_text("hello")
        client.close(4000, b"bye")
        await client.expect_close(4000, b"bye")
        await client.gone()
        await dropped(owner)
        await house.settled()
        assert house.visits[0].events == []


@case
async def test_what_the_proxy_adds() -> None:
    def answer(visit: Visit) -> None:
        owner.socket = visit.responder.switch(b"My Reason", [(b"X-A", b"1")], b"grip; x=y")
        owner.socket.own(owner)

    owner = Owner()
    async with edge(ON) as house:
        house.answer = answer
        raw = await house.client()
        raw.request("/", *HANDSHAKE, DEFLATE)
        await raw.expect(
            b"HTTP/1.1 101 My Reason\r\nX-A: 1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate, grip; x=y\r\n\r\n"
        )
        assert owner.socket.form is True


@case
async def test_behind_an_earlier_request() -> None:
    async with edge() as house:
        raw = await house.client()
        raw.request()
        assert (await raw.read_response()).body == b"GET / "
        owner = Echo()
        house.answer = owner.accept
        raw.request("/ws", *HANDSHAKE)
        client = await SocketClient.switched(raw)
        client.text("hello")
        await client.expect_text("hello")


@case
async def test_frames_that_came_before_the_101() -> None:
    """They wait until somebody owns the socket, in the kernel if they are many."""
    big = bytes(range(256)) * 8000
    async with edge() as house:
        house.answer = keep
        raw = await house.client()
        raw.request("/ws", *HANDSHAKE)
        raw.send(frames((TEXT, b"early"), (BINARY, big), (TEXT, b"last")))
        visit = await house.visit()
        owner = Owner()
        owner.socket = visit.responder.switch(b"Switching Protocols", [], b"")
        await SocketClient.switched(raw)
        assert owner.pieces == []
        owner.socket.own(owner)
        await owner.heard(3)
        assert owner.messages == [(TEXT, b"early"), (BINARY, big), (TEXT, b"last")]
        assert owner.disorder == []


@case
async def test_another_owner_later() -> None:
    """Who comes later hears what comes later, and a pause stays one."""
    async with edge() as house:
        first, second = Owner(), Owner()
        client = await join(house, first)
        client.text("one")
        await first.heard(1)
        first.socket.pause()
        [connection] = house.listeners.watch.live
        first.socket.own(second)
        assert not connection.reading
        client.text("two")
        first.socket.resume()
        await second.heard(1)
        assert (first.messages, second.messages) == ([(TEXT, b"one")], [(TEXT, b"two")])


@case
async def test_a_header_that_cannot_be_sent() -> None:
    async with edge() as house:
        house.answer = keep
        raw = await house.client()
        raw.request("/", *HANDSHAKE)
        visit = await house.visit()
        with pytest.raises(WireError):
            visit.responder.switch(b"Switching Protocols", [(b"X", b"a\r\nb: c")], b"")
        visit.reply(b"no")
        answer = await raw.read_response()
        assert (answer.status, answer.body) == (200, b"no")
        assert visit.responder.switch(b"Switching Protocols", [], b"") is None
        await raw.closed()


@pytest.mark.parametrize(
    ("lines", "body", "line"),
    [((), b"", b""), (("Content-Length: 1",), b"x", b"Connection: close\r\n")],
    ids=["no_body", "body"],
)
@case
async def test_a_refusal(lines: tuple[str, ...], body: bytes, line: bytes) -> None:
    async with edge() as house:
        house.answer = lambda visit: visit.reply(b"no")
        raw = await house.client()
        raw.request("/", *HANDSHAKE, *lines)
        raw.send(body)
        await raw.expect(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + line + b"Content-Length: 2\r\n\r\nno"
        )
        await raw.closed()


@case
async def test_the_last_key_counts() -> None:
    async with edge() as house:
        house.answer = Owner().accept
        raw = await house.client()
        raw.request("/", "Sec-WebSocket-Key: another", *HANDSHAKE)
        await SocketClient.switched(raw)


@case
async def test_a_client_that_has_gone_meanwhile() -> None:
    async with edge() as house:
        house.answer = keep
        raw = await house.client()
        raw.request("/", *HANDSHAKE)
        visit = await house.visit()
        raw.drop()
        await visit.told("lost")
        assert visit.responder.switch(b"Switching Protocols", [], b"") is None


@case
async def test_a_client_that_has_closed_its_side_meanwhile() -> None:
    """It cannot take part in a WebSocket."""
    async with edge() as house:
        house.answer = keep
        raw = await house.client()
        raw.request("/", *HANDSHAKE)
        visit = await house.visit()
        raw.transport.loseWriteConnection()
        [connection] = house.listeners.watch.live
        await until(lambda: connection.ended, "the client's end")
        assert visit.responder.switch(b"Switching Protocols", [], b"") is None
        await raw.closed()


@case
async def test_plain_requests_cannot_switch() -> None:
    async with edge() as house:
        house.answer = keep
        raw = await house.client()
        raw.request("/")
        visit = await house.visit()
        assert visit.responder.switch(b"Switching Protocols", [], b"") is None
        await raw.closed()


@case
async def test_over_a_unix_socket(tmp_path: Path) -> None:
    async with edge(ports=f"local_ports={tmp_path}/socket") as house:
        owner = Echo()
        client = await join(house, owner)
        client.text("hello")
        await client.expect_text("hello")


# ---- from the client ---------------------------------------------------------------------------------------


@case
async def test_pieces_as_they_come() -> None:
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        whole = encode(BINARY, b"abcdef", fin=False, mask=MASK)
        client.raw.send(whole[:8])
        await owner.until(lambda: len(owner.pieces) == 1, "a piece")
        client.raw.send(whole[8:])
        await owner.until(lambda: len(owner.pieces) == 2, "another piece")
        client.frame(CONTINUATION, b"gh")
        await owner.heard(1)
        assert owner.pieces == [
            (BINARY, b"ab", True, PARTIAL),
            (BINARY, b"cdef", False, FRAME),
            (BINARY, b"gh", False, MESSAGE),
        ]


@pytest.mark.parametrize("headers", [(), (DEFLATE,)], ids=["plain", "deflate"])
@case
async def test_byte_by_byte(headers: tuple[str, ...]) -> None:
    said = [(TEXT, "grüße".encode()), (PING, b"p"), (BINARY, b"x" * 200), (PONG, b"")]
    async with edge(ON) as house:
        owner = Owner()
        client = await join(house, owner, *headers)
        for byte in frames(*said):
            client.raw.send(bytes([byte]))
            await turn()
        await owner.heard(4)
        assert owner.messages == said


@case
async def test_compressed_bytes_are_read_in_slices() -> None:
    """An owner that pauses is not buried under what a thousandth of it became."""

    class Pausing(Owner):
        paused = False
        seen = 0

        def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
            self.paused = True
            self.socket.pause()
            super().socket_received(kind, data, first, end)

        def go_on(self) -> None:
            self.paused, self.seen = False, len(self.pieces)
            self.socket.resume()

    stream = zlib.compressobj(wbits=-15)
    packed = stream.compress(bytes(40_000_000)) + stream.flush(zlib.Z_SYNC_FLUSH)
    async with edge(ON) as house:
        owner = Pausing()
        client = await join(house, owner, DEFLATE)
        client.frame(BINARY, packed[:-4], rsv=4)
        most = 4096 * 1100
        while not owner.messages:
            await until(lambda: owner.paused or bool(owner.messages), "a piece")
            assert sum(len(piece[1]) for piece in owner.pieces[owner.seen :]) <= most
            owner.go_on()
        assert len(owner.pieces) > 9
        assert owner.messages == [(BINARY, bytes(40_000_000))]


@pytest.mark.parametrize("headers", [(), (DEFLATE,)], ids=["plain", "slices"])
@case
async def test_pausing_and_resuming_within_a_call(headers: tuple[str, ...]) -> None:
    class Fickle(Owner):
        def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
            self.socket.pause()
            super().socket_received(kind, data, first, end)
            self.socket.resume()

    said = [(BINARY, b"%d " % number * 100) for number in range(100)]
    async with edge(ON) as house:
        owner = Fickle()
        client = await join(house, owner, *headers)
        client.raw.send(frames(*said))
        client.close()
        await owner.until(lambda: owner.said_close, "CLOSE")
        assert owner.messages == said and owner.disorder == []


@case
async def test_frames_behind_close() -> None:
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        client.raw.send(frames((TEXT, b"a"), (CLOSE, b""), (TEXT, b"b"), (3, b"c")))
        await owner.until(lambda: owner.said_close, "CLOSE")
        assert (owner.messages, owner.code) == ([(TEXT, b"a")], None)
        client.text("and later")
        owner.socket.send(TEXT, b"still open")
        await client.expect_text("still open")
        owner.socket.close(1000)
        await client.expect_close(1000)
        await client.gone()
        assert owner.messages == [(TEXT, b"a")]


# ---- to the client -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "length"), [(125, 1), (126, 3), (65535, 3), (65536, 9)])
@case
async def test_lengths(size: int, length: int) -> None:
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        owner.socket.send(BINARY, bytes(size))
        assert await client.raw.read_bytes(1) == b"\x82"
        assert len(await client.raw.read_bytes(length)) == length
        assert await client.raw.read_bytes(size) == bytes(size)


@case
async def test_a_message_in_pieces() -> None:
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        socket = owner.socket
        socket.send(TEXT, b"a", True, False)
        socket.send(PING, b"p")
        socket.send(TEXT, b"b", False, False)
        socket.send(TEXT, b"", False, True)
        expected = [
            Frame(TEXT, b"a", False),
            Frame(PING, b"p"),
            Frame(CONTINUATION, b"b", False),
            Frame(CONTINUATION, b""),
        ]
        assert [await client.read_frame() for _ in expected] == expected


@case
async def test_ready_frames_go_straight_out() -> None:
    async with edge() as house:
        owner = Owner()
        client = await join(house, owner)
        parts = [encode(TEXT, b"one"), encode(TEXT, b"two")]
        owner.socket.deliver(b"".join(parts), parts)
        await client.expect_text("one")
        await client.expect_text("two")


async def bug_in(house: EdgeHouse, owner: Any) -> SocketClient:
    client = await join(house, owner)
    client.text("hello")
    await client.gone()
    await dropped(owner)
    return client


@case
async def test_an_owner_with_a_bug() -> None:
    class Broken(Owner):
        def socket_received(self, kind: int, data: bytes, first: bool, end: int) -> None:
            raise ZeroDivisionError

    class Worse(Broken):
        def socket_lost(self) -> None:
            super().socket_lost()
            raise ZeroDivisionError

    async with edge(failures=3) as house:
        await bug_in(house, Broken())
        await bug_in(house, Worse())
        owner = Echo()
        client = await join(house, owner)
        client.text("others notice nothing")
        await client.expect_text("others notice nothing")
