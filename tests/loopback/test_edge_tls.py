"""TLS for clients: the certificate for a name, found, loaded and loaded again (proxy 2.4)."""

from __future__ import annotations

import datetime
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.task import deferLater
from zope.interface import implementer

from pushpin_tw.edge.certs import CertificateDirectory, make_context
from tests.support.edge import EdgeHouse, Visit, edge, keep
from tests.support.rawclient import RawClient
from tests.support.waiting import until, within

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nGET / "
HTTPS = "https_ports=127.0.0.1:0"
KEY = ec.generate_private_key(ec.SECP256R1())


def write_pair(
    directory: Path, name: str, subject: str = "", key: object = None, password: bytes = b""
) -> None:
    """``name.crt`` and ``name.key``, the certificate's common name being ``subject``."""
    key = key or KEY
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject or name)])
    now = datetime.datetime(2024, 1, 1)
    builder = x509.CertificateBuilder().subject_name(who).issuer_name(who).serial_number(1)
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=36500))
    certificate = builder.public_key(KEY.public_key()).sign(KEY, hashes.SHA256())
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    (directory / f"{name}.key").write_bytes(
        key.private_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
    )


@implementer(IOpenSSLClientConnectionCreator)
class Asking:
    """A TLS client that trusts anybody and asks for a name."""

    def __init__(self, name: bytes | None, configure: Callable[[SSL.Context], object] | None = None) -> None:
        self.name = name
        self.context = SSL.Context(SSL.TLS_METHOD)
        if configure is not None:
            configure(self.context)

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        connection = SSL.Connection(self.context, None)
        if self.name is not None:
            connection.set_tlsext_host_name(self.name)
        return connection


@dataclass
class Shaken:
    """A finished handshake."""

    subject: str
    version: str
    alpn: bytes


async def shake(house: EdgeHouse, name: bytes | None, **options: object) -> Shaken:
    """Make a connection and a request over it."""
    client = await house.client(tls=Asking(name, **options))  # type: ignore[arg-type]
    client.send(GET)
    await client.expect(OK)
    handle = client.transport.getHandle()
    certificate = handle.get_peer_certificate().to_cryptography()
    subject = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    client.drop()
    return Shaken(subject, handle.get_protocol_version_name(), handle.get_alpn_proto_negotiated())


async def alert(house: EdgeHouse, name: bytes | None) -> str:
    """OpenSSL's words for how the handshake failed."""
    client = RawClient()
    reasons: list[str] = []

    def lost(reason: object) -> None:
        reasons.append(str(reason))
        client.lost = True

    client.connectionLost = lost  # type: ignore[assignment,method-assign]
    from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS

    endpoint = wrapClientTLS(Asking(name), HostnameEndpoint(reactor, *house.listeners.addresses[0]))
    await within(connectProtocol(endpoint, client), "a connection")
    client.send(GET)
    await until(lambda: client.lost, "the alert")
    await house.settled()
    return reasons[0]


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    return tmp_path / "runner" / "certs"


def serving(certs: Path, *lines: str):  # type: ignore[no-untyped-def]
    return edge(*lines, ports=HTTPS, directory=str(certs.parents[1]))


@pytest_twisted.ensureDeferred
async def test_c064_no_certificate(certs: Path) -> None:
    async with serving(certs) as house:
        for name in (b"www.a.example", None):
            assert "unrecognized name" in await alert(house, name)
        assert house.visits == []


@pytest_twisted.ensureDeferred
async def test_c065_a_certificate_that_comes_later(certs: Path) -> None:
    async with serving(certs) as house:
        assert "unrecognized name" in await alert(house, b"a.example")
        write_pair(certs, f"default_{house.listeners.addresses[0][1]}", "late")
        for name in (b"a.example", None):
            assert (await shake(house, name)).subject == "late"
        request = house.visits[0].request
        assert (request.secure, request.peer) == (True, "127.0.0.1")


@pytest_twisted.ensureDeferred
async def test_c066_names_have_no_case(certs: Path) -> None:
    write_pair(certs, "www.b.example")
    async with serving(certs) as house:
        assert (await shake(house, b"WWW.B.example")).subject == "www.b.example"


@pytest_twisted.ensureDeferred
async def test_c067_the_first_label_may_be_any(certs: Path) -> None:
    write_pair(certs, "_.c.example")
    async with serving(certs) as house:
        write_pair(certs, f"default_{house.listeners.addresses[0][1]}", "default")
        assert (await shake(house, b"foo.c.example")).subject == "_.c.example"
        assert (await shake(house, b"x.foo.c.example")).subject == "default"
        assert (await shake(house, b"c.example")).subject == "default"


@pytest.mark.parametrize("name", [b"../certs/a.example", b"a\x01b", b"a" * 254, b"\xff\xfe.example"])
@pytest_twisted.ensureDeferred
async def test_names_that_are_no_names(certs: Path, name: bytes) -> None:
    write_pair(certs, "a.example")
    async with serving(certs) as house:
        write_pair(certs, f"default_{house.listeners.addresses[0][1]}", "default")
        if name == b"\xff\xfe.example":
            assert (await shake(house, name)).subject == "default"
        else:
            assert "unrecognized name" in await alert(house, name)


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_changes_is_read_again(certs: Path) -> None:
    write_pair(certs, "a.example", "old")
    async with serving(certs) as house:
        assert (await shake(house, b"a.example")).subject == "old"
        write_pair(certs, "a.example", "new")
        os.utime(certs / "a.example.crt", (1, 1))
        assert (await shake(house, b"a.example")).subject == "new"
        (certs / "a.example.crt").unlink()
        assert "unrecognized name" in await alert(house, b"a.example")


@pytest.mark.parametrize("fault", ["no certificate", "another key", "a passphrase"])
@pytest_twisted.ensureDeferred
async def test_unusable_certificates_are_named(certs: Path, fault: str) -> None:
    if fault == "another key":
        write_pair(certs, "a.example", key=ec.generate_private_key(ec.SECP256R1()))
    else:
        write_pair(certs, "a.example", password=b"secret" if fault == "a passphrase" else b"")
    if fault == "no certificate":
        (certs / "a.example.crt").write_text("rubbish")
    async with serving(certs) as house:
        for _ in range(2):
            assert "unrecognized name" in await alert(house, b"a.example")
        assert house.stats.notes[1:] == [("error", f"unusable certificate: {certs}/a.example.crt")]


@pytest.mark.parametrize(("highest", "version"), [(SSL.TLS1_2_VERSION, "TLSv1.2"), (0, "TLSv1.3")])
@pytest_twisted.ensureDeferred
async def test_versions(certs: Path, highest: int, version: str) -> None:
    write_pair(certs, "a.example")

    def configure(context: SSL.Context) -> None:
        context.set_max_proto_version(highest)
        context.set_alpn_protos([b"h2", b"http/1.1"])

    async with serving(certs) as house:
        shaken = await shake(house, b"a.example", configure=configure)
        assert shaken == Shaken("a.example", version, b"")


def test_tls_1_1_is_refused() -> None:
    server = SSL.Connection(make_context(), None)
    old = SSL.Context(SSL.TLS_METHOD)
    old.set_cipher_list(b"ALL:@SECLEVEL=0")
    old.set_min_proto_version(SSL.TLS1_1_VERSION)
    old.set_max_proto_version(SSL.TLS1_1_VERSION)
    client = SSL.Connection(old, None)
    server.set_accept_state()
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    server.bio_write(client.bio_read(10_000))
    with pytest.raises(SSL.Error, match="unsupported protocol"):
        server.do_handshake()


@pytest_twisted.ensureDeferred
async def test_plain_http_at_a_tls_port_gets_no_answer(certs: Path) -> None:
    write_pair(certs, "a.example")
    async with serving(certs) as house:
        client = await house.client()
        client.send(GET)
        await client.closed()
        await house.settled()
        assert house.visits == []


# ---- the connection on top of TLS behaves like any other ---------------------------------------------------


async def tls_client(house: EdgeHouse, certs: Path) -> RawClient:
    write_pair(certs, "a.example")
    return await house.client(tls=Asking(b"a.example"))


@pytest_twisted.ensureDeferred
async def test_closing_says_so_in_tls(certs: Path) -> None:
    async with serving(certs) as house:
        client = await tls_client(house, certs)
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.read_response()).body == b"GET / "
        await client.closed()
        await house.settled()


@pytest_twisted.ensureDeferred
async def test_an_early_error_over_tls(certs: Path) -> None:
    async with serving(certs) as house:
        client = await tls_client(house, certs)
        client.send(b"GET / HTTP/3\r\n\r\n" + b"x" * 1_000_000)
        assert (await client.read_response()).status == 400
        await client.closed()


async def stalled(house: EdgeHouse, certs: Path) -> tuple[RawClient, Visit, int]:
    """A client that does not read, written to until it is congested; and the bytes written."""
    house.answer = keep
    client = await tls_client(house, certs)
    client.send(GET)
    visit = await house.visit()
    visit.responder.start(200, b"OK", [], None)
    visit.responder.flush()
    await client.read_head()
    client.pause()
    written = 0
    while not visit.responder.congested:
        visit.responder.deliver(b"x" * 50_000)
        written += 50_000
        await deferLater(reactor, 0)
    return client, visit, written


async def pass_time(house: EdgeHouse, seconds: int) -> None:
    for _ in range(seconds):
        house.clock.advance(1)
        await deferLater(reactor, 0)


@pytest_twisted.ensureDeferred
async def test_a_stream_over_tls_under_back_pressure(certs: Path) -> None:
    async with serving(certs) as house:
        client, visit, written = await stalled(house, certs)
        client.resume()
        await client.read_bytes(written)
        await visit.told("drained")
        visit.responder.finish()
        await client.expect(b"0\r\n\r\n")


@pytest_twisted.ensureDeferred
async def test_closing_lets_a_slow_tls_client_read_the_rest(certs: Path) -> None:
    async with serving(certs) as house:
        client, visit, written = await stalled(house, certs)
        visit.responder.persistent = False
        visit.responder.finish()
        await pass_time(house, 100)
        client.resume()
        await client.read_bytes(written)
        await client.expect(b"0\r\n\r\n")
        await client.closed()
        await house.settled()


@pytest_twisted.ensureDeferred
async def test_closing_waits_for_a_slow_tls_client_but_not_for_ever(certs: Path) -> None:
    async with serving(certs, "[tw]", "silence_timeout=100") as house:
        client, visit, written = await stalled(house, certs)
        visit.responder.persistent = False
        visit.responder.finish()
        await pass_time(house, 90)
        assert house.live == 1
        await pass_time(house, 20)
        await house.settled()
        client.resume()
        await until(lambda: client.lost, "the reset")
        assert len(client.unread) < written


@pytest_twisted.ensureDeferred
async def test_an_aborted_response_does_not_wait_for_a_slow_tls_client(certs: Path) -> None:
    async with serving(certs) as house:
        _, visit, _ = await stalled(house, certs)
        visit.responder.abort()
        assert house.live == 1
        await pass_time(house, 3)
        await house.settled()


@pytest_twisted.ensureDeferred
async def test_a_body_over_tls_at_the_taker_s_pace(certs: Path) -> None:
    async with serving(certs) as house:
        house.answer = keep
        client = await tls_client(house, certs)
        size = 5_000_000
        client.send(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
        client.send(b"x" * size)
        visit = await house.visit()
        connection = next(iter(house.listeners.watch.live))
        await until(lambda: not connection.reading, "the edge to stop reading")
        assert len(connection.buffer) < 300_000
        visit.body.begin(visit)
        await visit.told("finished")
        assert len(visit.received) == size
        visit.reply()
        assert (await client.read_response()).status == 200


@pytest_twisted.ensureDeferred
async def test_a_handshake_that_is_not_finished_in_time(certs: Path) -> None:
    async with serving(certs) as house:
        client = await house.client()
        client.send(b"\x16\x03\x01")
        await house.settled(1)
        house.clock.advance(61)
        await until(lambda: client.lost, "the end")
        await house.settled()


@pytest_twisted.ensureDeferred
async def test_c062_stopping_over_tls(certs: Path) -> None:
    async with serving(certs) as house:
        house.answer = keep
        client = await tls_client(house, certs)
        client.send(GET)
        visit = await house.visit()
        await house.listeners.stopService()
        assert visit.events == ["lost"]
        await client.closed()


@pytest_twisted.ensureDeferred
async def test_a_client_that_never_answers_the_close_is_cut_off(certs: Path) -> None:
    write_pair(certs, "a.example")
    async with serving(certs) as house:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="a.example")
        client = await house.client()
        await handshake(tls, client, incoming, outgoing)
        tls.write(b"GET / HTTP/1.0\r\n\r\n")
        client.send(outgoing.read())
        await house.visit()
        connection = next(iter(house.listeners.watch.live))
        await until(lambda: connection.closing, "our side to close")
        house.clock.advance(1.8)
        assert house.live == 1
        house.clock.advance(0.5)
        await house.settled()


async def handshake(
    tls: ssl.SSLObject, client: RawClient, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> None:
    """By hand, so that nothing answers a close of its own accord."""
    while True:
        try:
            tls.do_handshake()
            client.send(outgoing.read())
            return
        except ssl.SSLWantReadError:
            client.send(outgoing.read())
            await until(lambda: bool(client.unread), "the server's part")
            incoming.write(client.take(len(client.unread)))


@pytest_twisted.ensureDeferred
async def test_pipelined_requests_over_tls(certs: Path) -> None:
    async with serving(certs) as house:
        house.answer = Visit.reply
        client = await tls_client(house, certs)
        client.send(GET * 1000)
        for _ in range(1000):
            assert (await client.read_response()).body == b"ok\n"


# ---- what goes wrong ---------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_bug_while_choosing_refuses_and_is_logged(
    certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(certs, "a.example")

    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(CertificateDirectory, "find", fail)
    async with edge(ports=HTTPS, directory=str(certs.parents[1]), failures=1) as house:
        assert "unrecognized name" in await alert(house, b"a.example")
        assert "a bug" in house.stats.failures[0]


def test_only_so_many_certificates_stay_loaded(certs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushpin_tw.edge.certs.KEPT", 2)
    for name in ("a", "b", "c"):
        write_pair(certs, name)
    directory = CertificateDirectory(str(certs), None)
    first = directory.find("a", 1)
    assert first is not None and directory.find("a", 1) is first
    assert directory.find("b", 1) is not None and directory.find("c", 1) is not None
    assert directory.find("a", 1) not in (None, first)
