"""What comes of a backend's answer, or of none, and what the log says of it.

Proxy 10.4, through the whole service.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.abstract import isIPAddress
from twisted.internet.interfaces import IReactorPluggableNameResolver

from tests.support.certificates import Authority, TlsServer
from tests.support.origin import Asked, reply
from tests.support.rawclient import Answer
from tests.support.running import refusing
from tests.support.stage import Stage
from tests.support.waiting import until

pytestmark = pytest.mark.differs("1.36 reads clients and asks backends with other programs than 1.41")
case = pytest_twisted.ensureDeferred
OK = reply("Content-Type: text/plain", body=b"ok\n")
FAILED = b"Error while proxying to origin.\n"
E502 = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 32\r\n\r\n"
    b"Error while proxying to origin.\n"
)
CHUNKED = b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n"


async def answer(stage: Stage, *routes: str, method: str = "GET", body: bytes | None = None) -> Answer:
    """What a client of ``a.example`` gets when the routes are these; ``B`` in them is the backend."""
    await stage.start(routes=[route.replace(" B", f" {stage.origin.address}") for route in routes])
    return await (await stage.ask(host="a.example", method=method, body=body)).read_response()


def refused(got: Answer, text: bytes = FAILED) -> None:
    assert (got.status, got.reason, got.body) == (502, "Bad Gateway", text)
    assert got.headers == [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]


async def logged(stage: Stage, outcome: str, target: str = "") -> None:
    """The last line of the log is that of ``GET /`` at the target, or at the backend."""
    await stage.proxy.logged(f"GET http://a.example/ -> {target or stage.origin.address} {outcome}")


# ---- targets that cannot be reached ------------------------------------------------------------------------


@case
async def test_c101_down(stage: Stage, down: str) -> None:
    await stage.start(routes=[f"* {down}"])
    client = await stage.ask(host="a.example")
    await client.expect(E502)
    await logged(stage, "code=502 32", down)
    client.request(host="a.example")
    await client.expect(E502)


@case
async def test_c102_all_down_and_told(stage: Stage) -> None:
    with refusing() as first, refusing() as second, refusing("::1") as third:
        got = await answer(stage, f"*,debug {first} {second},ssl {third}")
    text = f"Unable to connect to any targets. Tried: {first}, {second}, {third}\n".encode()
    refused(got, text)
    await logged(stage, f"code=502 {len(text)}", third)


@case
async def test_c103_the_body_goes_to_the_next_target(stage: Stage, down: str) -> None:
    stage.origin.answers(OK)
    got = await answer(stage, f"* {down} B", method="POST", body=b"hello")
    assert (got.status, got.body) == (200, b"ok\n")
    request = await stage.origin.request(1)
    assert (request.method, request.body) == ("POST", b"hello")
    await stage.proxy.logged(f"POST http://a.example/ -> {stage.origin.address} code=200 3")


class NoNames:
    """A resolver that knows addresses alone."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def resolveHostName(self, receiver: Any, name: str, *args: Any, **kwargs: Any) -> Any:  # noqa: N802
        if isIPAddress(name):
            return self._before.resolveHostName(receiver, name, *args, **kwargs)
        receiver.resolutionBegan(self)
        reactor.callLater(0, receiver.resolutionComplete)  # type: ignore[attr-defined]
        return receiver


@pytest.fixture
def no_names() -> Iterator[None]:
    """The reactor asks no network for names."""
    pluggable = IReactorPluggableNameResolver(reactor)
    before = pluggable.nameResolver
    pluggable.installNameResolver(NoNames(before))
    yield
    pluggable.installNameResolver(before)


@pytest.mark.usefixtures("no_names")
@case
async def test_c104_an_unknown_name_is_final(stage: Stage) -> None:
    stage.origin.answers(OK)
    refused(await answer(stage, "*,debug no.such.host.invalid:80 B"))
    assert stage.origin.requests == []
    await logged(stage, "code=502 32", "no.such.host.invalid:80")


BLOCKED = b"Error: Origin host/IP blocked.\n"


@pytest.mark.parametrize(
    ("route", "text"),
    [("*,debug B,untrusted", BLOCKED), ("* B,untrusted", FAILED), ("*,debug B,untrusted B", BLOCKED)],
    ids=["C105", "C105-a", "C106"],
)
@case
async def test_private_addresses(stage: Stage, route: str, text: bytes) -> None:
    stage.origin.answers(OK)
    refused(await answer(stage, route), text)
    assert stage.origin.connections == set()
    await logged(stage, f"code=502 {len(text)}")


def stranger(directory: Path) -> TlsServer:
    """TLS with a certificate that nobody has reason to believe."""
    return TlsServer(Authority(directory).certificate("a.example"))


@case
async def test_c107_a_certificate_nobody_knows(stage: Stage, tmp_path: Path) -> None:
    secure = await stage.another_origin(OK, wrap=stranger(tmp_path).wrap)
    got = await answer(stage, f"*,debug {secure.address},ssl")
    refused(got, f"Unable to connect to any targets. Tried: {secure.address}\n".encode())
    assert secure.requests == []


@pytest.mark.parametrize(
    ("options", "name"),
    [("", b"a.example"), (",host=foo.example", b"foo.example"), (",trust_connect_host", None)],
    ids=["C108", "C108-a", "C108-b"],
)
@case
async def test_insecure_tls(stage: Stage, tmp_path: Path, options: str, name: bytes | None) -> None:
    tls = stranger(tmp_path)
    secure = await stage.another_origin(OK, wrap=tls.wrap)
    got = await answer(stage, f"* {secure.address},ssl,insecure{options}")
    assert (got.status, got.body) == (200, b"ok\n")
    assert tls.names == [name]


@case
async def test_c109_next_target_after_a_failed_handshake(stage: Stage, tmp_path: Path) -> None:
    stage.origin.answers(OK)
    secure = await stage.another_origin(OK, wrap=stranger(tmp_path).wrap)
    got = await answer(stage, f"* {secure.address},ssl B", method="POST", body=b"hello")
    assert (got.status, got.body) == (200, b"ok\n")
    assert secure.requests == []
    assert (await stage.origin.request(1)).body == b"hello"


@case
async def test_c126_a_zeromq_backend_without_worker(stage: Stage, tmp_path: Path) -> None:
    target = f"zhttp/ipc://{tmp_path}/none"
    refused(await answer(stage, f"* {target}"))
    await logged(stage, "code=502 32", target)


# ---- answers that are none ---------------------------------------------------------------------------------

UNUSABLE = [
    ("C110-closed", b""),
    ("C110-garbage", b"FOO\r\n\r\n"),
    ("C110-header", b"HTTP/1.1 200 OK\r\nfoo\r\n\r\n"),
    ("C110-name", b"HTTP/1.1 200 OK\r\nA b: c\r\nContent-Length: 0\r\n\r\n"),
    ("C110-length", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab"),
    ("C110-coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab"),
    ("C110-cut", b"HTTP/1.1 200 OK\r\nContent-Le"),
    ("C110-version", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("C110-tunnel", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nab"),
]


@pytest.mark.parametrize("debug", [False, True], ids=["C110-plain", "C110-debug"])
@pytest.mark.parametrize("said", [row[1] for row in UNUSABLE], ids=[row[0] for row in UNUSABLE])
@case
async def test_unusable_answers(stage: Stage, said: bytes, debug: bool) -> None:
    other = await stage.another_origin(OK)

    def speak(asked: Asked) -> None:
        asked.write(said)
        asked.close()

    stage.origin.answers(speak)
    refused(await answer(stage, f"*{',debug' * debug} B {other.address}"))
    assert other.requests == []
    await logged(stage, "code=502 32")


@pytest.mark.parametrize(
    ("headers", "extra", "relayed"),
    [(63, 0, True), (64, 0, False), (1, 7000, True), (1, 9000, False)],
    ids=["C120", "C120-a", "C121-a", "C121"],
)
@case
async def test_the_size_of_a_response_head(stage: Stage, headers: int, extra: int, relayed: bool) -> None:
    """The Content-Length that ``reply`` adds counts as well."""
    stage.origin.answers(reply(*[f"X-{number}: {'x' * extra}" for number in range(headers)], body=b"ok\n"))
    got = await answer(stage, "* B")
    if not relayed:
        refused(got)
        return
    assert (got.status, got.body, len(got.headers)) == (200, b"ok\n", headers + 1)


# ---- heads -------------------------------------------------------------------------------------------------


@case
async def test_c111_no_reason(stage: Stage) -> None:
    await stage.start(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")
    client = await stage.ask()
    await client.expect(b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok")


@case
async def test_c112_headers_of_this_hop_and_others(stage: Stage) -> None:
    await stage.start(
        b"HTTP/1.1 200 OK\r\nConnection: X-Y\r\nKeep-Alive: timeout=5\r\nContent-Encoding: gzip\r\n"
        b"Set-Cookie: a=1\r\nContent-Length: 2\r\nSet-Cookie: b=2\r\nUpgrade: x\r\nTrailer: T\r\n"
        b"Via: 1.1 v\r\n\r\nok"
    )
    client = await stage.ask()
    await client.expect(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nUpgrade: x\r\n"
        b"Trailer: T\r\nVia: 1.1 v\r\nContent-Length: 2\r\n\r\nok"
    )


@case
async def test_c122_a_redirect_is_the_clients(stage: Stage) -> None:
    await stage.start(reply(f"Location: http://{stage.origin.address}/x", status="301 Moved"))
    got = await (await stage.ask()).read_response()
    assert (got.line, got.get("Location")) == ("HTTP/1.1 301 Moved", f"http://{stage.origin.address}/x")
    assert len(stage.origin.requests) == 1


NO_BODY = [
    ("C115-204", "HTTP/1.1 204 No Content", "X-A: b", ""),
    ("C115-304", "HTTP/1.1 304 Not Modified", 'ETag: "e"', ""),
    ("C115-304-length", "HTTP/1.1 304 Not Modified", 'ETag: "e"', "Content-Length: 500\r\n"),
    ("C115-204-chunked", "HTTP/1.1 204 No Content", "X-A: b", "Transfer-Encoding: chunked\r\n"),
]


@pytest.mark.parametrize(
    ("line", "header", "framing"), [row[1:] for row in NO_BODY], ids=[row[0] for row in NO_BODY]
)
@case
async def test_no_body(stage: Stage, line: str, header: str, framing: str) -> None:
    await stage.start(f"{line}\r\n{header}\r\n{framing}\r\n".encode())
    client = await stage.ask()
    await client.expect(f"{line}\r\n{header}\r\n\r\n".encode())
    await stage.usable(client)


@pytest.mark.parametrize("target", ["B", "test"], ids=["C116", "C116-test"])
@case
async def test_a_get_behind_a_head(stage: Stage, target: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n"
    stage.origin.answers(head, OK)
    await stage.start(routes=[f"* {stage.origin.address if target == 'B' else target}"])
    client = await stage.client()
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    first = await client.read_response(head_only=True)
    assert (first.status, first.get("Content-Length")) == (200, "10" if target == "B" else "37")
    second = await client.read_response()
    expected = b"ok\n" if target == "B" else b"Hello from the Pushpin test handler!\n"
    assert (second.status, second.body) == (200, expected)


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 2]
)
@case
async def test_c117_interim_answers_are_skipped(stage: Stage, interim: bytes) -> None:
    await stage.start(interim + OK)
    await (await stage.ask()).expect(OK)


# ---- bodies ------------------------------------------------------------------------------------------------


@case
async def test_c113_chunks_with_a_trailer(stage: Stage) -> None:
    await stage.start(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n1\r\n\n\r\n0\r\nX-T: 1\r\n\r\n"
    )
    client = await stage.ask()
    head = await client.read_head()
    assert head.headers in (
        [("Connection", "Transfer-Encoding"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "3")],
    )
    body = client.body(head)
    assert await body.rest() == b"ok\n"
    await stage.usable(client)


@case
async def test_c114_pieces_as_they_come(stage: Stage) -> None:
    await stage.start(b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\none")
    client = await stage.ask(host="a.example")
    await client.expect(b"HTTP/1.1 200 OK\r\nX-A: b\r\n" + CHUNKED + b"3\r\none\r\n")
    asked = await stage.origin.request(1)
    asked.write(b"three")
    await client.expect(b"5\r\nthree\r\n")
    asked.close()
    await client.expect(b"0\r\n\r\n")
    await logged(stage, "code=200 8")
    await stage.usable(client)


@case
async def test_c114_pieces_for_http_1_0(stage: Stage) -> None:
    await stage.start(b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\none")
    client = await stage.ask("/", "Connection: keep-alive", version="HTTP/1.0")
    await client.expect(b"HTTP/1.0 200 OK\r\nX-A: b\r\n\r\none")
    asked = await stage.origin.request(1)
    asked.write(b"three")
    await client.expect(b"three")
    asked.close()
    await client.closed()


@pytest.mark.parametrize("chunked", [False, True], ids=["C124", "C124-chunked"])
@case
async def test_a_million_bytes(stage: Stage, chunked: bool) -> None:
    content = bytes(range(250)) * 4000
    if chunked:
        chunk = b"%x\r\n%b\r\n" % (len(content), content)
        await stage.start(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n")
    else:
        await stage.start(reply(body=content))
    client = await stage.ask(host="a.example")
    got = await client.read_response()
    assert got.get("Content-Length") == (None if chunked else "1000000")
    assert got.body == content
    await logged(stage, "code=200 1000000")
    await stage.usable(client)


# ---- the end comes early -----------------------------------------------------------------------------------

CUT = [
    ("C118", b"Content-Length: 10\r\n\r\n", b"12345", b"Content-Length: 10\r\n\r\n", b"12345"),
    ("C119", b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\n12345\r\n", CHUNKED, b"5\r\n12345\r\n"),
    ("C119-a", b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\n12345\r\n0\r\n", CHUNKED, b"5\r\n12345\r\n"),
]


@pytest.mark.parametrize("debug", ["", ",debug"])
@pytest.mark.parametrize(
    ("framing", "said", "sent_framing", "sent"), [row[1:] for row in CUT], ids=[row[0] for row in CUT]
)
@case
async def test_a_backend_that_dies(
    stage: Stage, framing: bytes, said: bytes, sent_framing: bytes, sent: bytes, debug: str
) -> None:
    line = b"HTTP/1.1 200 OK\r\n"
    await stage.start(line + framing, condition=f"*{debug}")
    client = await stage.ask(host="a.example")
    await client.expect(line + sent_framing)
    asked = await stage.origin.request(1)
    asked.write(said)
    asked.close()
    await client.expect(sent)
    await client.closed()
    await logged(stage, "error")


@pytest.mark.parametrize("nonsense", [b"xyz\r\n", b"2\r\n345\r\n", b"5;\n12345\r\n", b"0\r\nA b: c\r\n\r\n"])
@case
async def test_c119_a_later_chunk_that_is_none(stage: Stage, nonsense: bytes) -> None:
    line = b"HTTP/1.1 200 OK\r\n"
    await stage.start(line + b"Transfer-Encoding: chunked\r\n\r\n2\r\n12\r\n")
    client = await stage.ask(host="a.example")
    await client.expect(line + CHUNKED + b"2\r\n12\r\n")
    asked = await stage.origin.request(1)
    asked.write(nonsense)
    await client.closed()
    await asked.gone()
    await logged(stage, "error")


@case
async def test_c118_at_once(stage: Stage) -> None:
    """Head, a part of the body and the end in one go: never a whole response."""

    def speak(asked: Asked) -> None:
        asked.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        asked.close()

    await stage.start(speak)
    client = await stage.ask(host="a.example")
    await client.wait_for(lambda: client.lost or None, "the end")
    assert bytes(client.unread) == b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"
    await logged(stage, "error")


@case
async def test_c119_a_first_chunk_that_is_none(stage: Stage) -> None:
    await stage.start(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n", condition="*")
    client = await stage.ask(host="a.example")
    await client.wait_for(lambda: client.lost or client.unread.endswith(FAILED) or None, "the end")
    assert not client.unread.endswith(b"0\r\n\r\n")


# ---- early answers, and clients that leave -----------------------------------------------------------------


@case
async def test_c123_an_answer_within_an_upload(stage: Stage) -> None:
    size = 500_000

    def refuse(asked: Asked) -> None:
        asked.write(reply("Content-Type: text/plain", body=b"no\n", status="413 Too Large"))
        asked.close()

    stage.origin.early = True
    await stage.start(refuse)
    client = await stage.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n" % size)
    client.send(b"x" * (size // 2))
    await client.expect(
        b"HTTP/1.1 413 Too Large\r\nContent-Type: text/plain\r\nConnection: close\r\n"
        b"Content-Length: 3\r\n\r\nno\n"
    )
    client.send(b"x" * (size // 2))
    await client.closed()
    await stage.proxy.logged(f"POST http://a.example/ -> {stage.origin.address} code=413 3")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"])
@case
async def test_c125_a_client_that_leaves(stage: Stage, said: bytes) -> None:
    await stage.start(said)
    client = await stage.ask(host="a.example")
    asked = await stage.origin.request(1)
    if said:
        await client.expect(said)
    client.drop()
    await logged(stage, "error")
    await asked.gone()
    await until(lambda: not stage.origin.connections, "the backend is left")


@case
async def test_c125_a_client_that_leaves_its_upload(stage: Stage) -> None:
    stage.origin.early = True
    await stage.start(b"")
    client = await stage.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 50000\r\n\r\n" + b"x" * 20000)
    asked = await stage.origin.request(1)
    await until(lambda: len(asked.body) == 20000, "what was sent")
    client.drop()
    await stage.proxy.logged(f"POST http://a.example/ -> {stage.origin.address} error")
    await asked.gone()
    assert len(asked.body) == 20000
