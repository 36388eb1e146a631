"""TLS towards backends: names asked for, names checked, certificates shown (proxy 4.7; C107 to C109)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from pushpin_tw.errors import OriginDisconnected, OriginError, OriginInsecure, OriginUnreachable
from pushpin_tw.origin.tls import ClientTls, server_name
from pushpin_tw.origin.unavailable import UnavailableOrigin
from pushpin_tw.plugins.builtin import http_target
from pushpin_tw.testing.origins import RecordingSink
from tests.loopback.originpeer import RawPeer, fetched, request, target
from tests.loopback.originstage import OriginStage
from tests.support.certificates import Authority, TlsServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that the system believes."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", made.file)
    return made


async def secure_peer(stage: OriginStage, server: TlsServer, where: str = "127.0.0.1") -> RawPeer:
    kind = "tcp6" if ":" in where else "tcp"
    interface = where.replace(":", r"\:")
    peer = await stage.another_peer(f"{kind}:0:interface={interface}", server.wrap)
    peer.says(OK)
    return peer


@pytest_twisted.ensureDeferred
async def test_verified(origin_stage: OriginStage, authority: Authority) -> None:
    server = TlsServer(authority.certificate("a.example", "b.example"))
    peer = await secure_peer(origin_stage, server)
    origin = origin_stage.origin(port=peer.port, ssl=True)
    for _ in range(3):
        sink = await fetched(origin, request(b"POST", length=3), b"abc")
        assert (sink.body, sink.error) == (b"ok", None)
    assert server.names == [b"a.example"]
    sink = await fetched(origin, request(host="b.example"))
    assert sink.body == b"ok"
    assert server.names == [b"a.example", b"b.example"], "a name of its own, a connection of its own"


@pytest_twisted.ensureDeferred
async def test_c107_an_unknown_authority(
    origin_stage: OriginStage, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "Stranger")
    peer = await secure_peer(origin_stage, TlsServer(stranger.certificate("a.example")))
    sink = await fetched(origin_stage.origin(port=peer.port, ssl=True), request(b"POST", length=3), b"abc")
    assert isinstance(sink.error, OriginUnreachable)
    assert [link.received for link in peer.links] == [b""]


@pytest_twisted.ensureDeferred
async def test_c107_another_name(origin_stage: OriginStage, authority: Authority) -> None:
    peer = await secure_peer(origin_stage, TlsServer(authority.certificate("other.example")))
    sink = await fetched(origin_stage.origin(port=peer.port, ssl=True), request(b"POST", length=3), b"abc")
    assert isinstance(sink.error, OriginInsecure)
    assert [link.received for link in peer.links] == [b""]


@pytest.mark.parametrize("host", ["a.example", "foo.example"])
@pytest_twisted.ensureDeferred
async def test_c108_insecure(
    origin_stage: OriginStage, authority: Authority, tmp_path: Path, host: str
) -> None:
    (tmp_path / "other").mkdir()
    server = TlsServer(Authority(tmp_path / "other", "Stranger").certificate("else.example"))
    peer = await secure_peer(origin_stage, server)
    sink = await fetched(origin_stage.origin(port=peer.port, ssl=True, insecure=True), request(host=host))
    assert sink.body == b"ok"
    assert server.names == [host.encode()]
    assert len(peer.links) == 1
    sink = await fetched(origin_stage.origin(port=peer.port, ssl=True), request(host=host))
    assert isinstance(sink.error, OriginUnreachable), (
        "a connection without check is not reused where one is due"
    )


@pytest_twisted.ensureDeferred
async def test_c109_no_tls_at_all(origin_stage: OriginStage, authority: Authority) -> None:
    origin_stage.peer.answer = lambda link: link.say(b"HTTP/1.0 400 Bad Request\r\n\r\n")
    sink = await fetched(origin_stage.origin(ssl=True), request())
    assert isinstance(sink.error, OriginUnreachable)


@pytest_twisted.ensureDeferred
async def test_c109_closed_within_the_handshake(origin_stage: OriginStage, authority: Authority) -> None:
    origin_stage.peer.answer = lambda link: link.close()
    sink = await fetched(origin_stage.origin(ssl=True), request())
    assert isinstance(sink.error, OriginUnreachable)


@pytest_twisted.ensureDeferred
async def test_cancelled_within_the_handshake(origin_stage: OriginStage, authority: Authority) -> None:
    sink = RecordingSink()
    call = origin_stage.origin(ssl=True).fetch(request(), sink)
    call.finish()
    link = await origin_stage.peer.link()
    await origin_stage.peer.until(lambda: bool(link.received), "the client's hello")
    call.cancel()
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")
    assert not sink.ended


@pytest_twisted.ensureDeferred
async def test_silence_within_the_handshake(origin_stage: OriginStage, authority: Authority) -> None:
    sink = RecordingSink()
    origin_stage.origin(ssl=True).fetch(request(), sink).finish()
    link = await origin_stage.peer.link()
    await origin_stage.peer.until(lambda: bool(link.received), "the client's hello")
    for _ in range(181):
        origin_stage.clock.advance(10)
    assert isinstance(sink.error, OriginError)
    await origin_stage.peer.until(lambda: link.lost, "the end of the connection")


@pytest_twisted.ensureDeferred
async def test_trust_connect_host(origin_stage: OriginStage, authority: Authority) -> None:
    server = TlsServer(authority.certificate("localhost"))
    peer = await secure_peer(origin_stage, server)
    sink = await fetched(origin_stage.origin("localhost", peer.port, ssl=True), request())
    assert isinstance(sink.error, OriginUnreachable)
    origin = origin_stage.origin("localhost", peer.port, ssl=True, trust_connect_host=True)
    sink = await fetched(origin, request())
    assert sink.body == b"ok"
    assert server.names[-1] == b"localhost"


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
@pytest_twisted.ensureDeferred
async def test_ip_literals_are_checked_but_not_asked_for(
    origin_stage: OriginStage, authority: Authority, address: str, host: str
) -> None:
    server = TlsServer(authority.certificate(address))
    peer = await secure_peer(origin_stage, server, address)
    sink = await fetched(origin_stage.origin(address, peer.port, ssl=True), request(host=host))
    assert sink.body == b"ok"
    assert server.names == [None]
    sink = await fetched(origin_stage.origin(address, peer.port, ssl=True), request(host="127.9.9.9"))
    assert isinstance(sink.error, OriginUnreachable)


@pytest_twisted.ensureDeferred
async def test_mutual_tls(origin_stage: OriginStage, authority: Authority) -> None:
    server = TlsServer(authority.certificate("a.example"), clients=authority.file)
    peer = await secure_peer(origin_stage, server)
    certificate, key = authority.certificate("client.example")
    origin = origin_stage.origin(port=peer.port, ssl=True, client_cert=certificate, client_key=key)
    sink = await fetched(origin, request())
    assert sink.body == b"ok"
    sink = await fetched(origin_stage.origin(port=peer.port, ssl=True), request())
    assert isinstance(sink.error, OriginError)


@pytest_twisted.ensureDeferred
async def test_certificate_and_key_in_one_file(
    origin_stage: OriginStage, authority: Authority, tmp_path: Path
) -> None:
    server = TlsServer(authority.certificate("a.example"), clients=authority.file)
    peer = await secure_peer(origin_stage, server)
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(Path(name).read_bytes() for name in authority.certificate("client.example")))
    sink = await fetched(origin_stage.origin(port=peer.port, ssl=True, client_cert=str(both)), request())
    assert sink.body == b"ok"


@pytest_twisted.ensureDeferred
async def test_a_body_without_length_needs_a_proper_end(
    origin_stage: OriginStage, authority: Authority
) -> None:
    """Without TLS's own goodbye somebody in between may have cut it short."""
    server = TlsServer(authority.certificate("a.example"))
    peer = await secure_peer(origin_stage, server)
    peer.says(b"HTTP/1.1 200 OK\r\n\r\nwhole", close=True)
    origin = origin_stage.origin(port=peer.port, ssl=True)
    sink = await fetched(origin, request())
    assert (sink.body, sink.error) == (b"whole", None)
    peer.says(b"HTTP/1.1 200 OK\r\n\r\ncut")
    sink = RecordingSink()
    origin.fetch(request(), sink).finish()
    await sink.until(lambda: sink.body == b"cut", "the beginning")
    peer.links[-1].transport.transport.loseConnection()
    await sink.end()
    assert type(sink.error) is OriginDisconnected


@pytest_twisted.ensureDeferred
async def test_large_bodies_both_ways(origin_stage: OriginStage, authority: Authority) -> None:
    server = TlsServer(authority.certificate("a.example"))
    peer = await secure_peer(origin_stage, server)
    size = 3_000_000

    def answer(link: Any) -> None:
        if len(link.received) > size:
            link.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"y" * size)

    peer.answer = answer
    sink = await fetched(
        origin_stage.origin(port=peer.port, ssl=True),
        request(b"POST", length=size),
        *[b"x" * 100_000] * 30,
    )
    assert sink.body == b"y" * size


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
@pytest_twisted.ensureDeferred
async def test_unusable_client_certificates(
    origin_stage: OriginStage, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "bad.pem"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="certificate"):
        ClientTls(False, str(file), str(file))
    unusable = http_target.origin(
        target(address="127.0.0.1:1", ssl=True, client_cert=str(file)), origin_stage.services
    )
    assert isinstance(unusable, UnavailableOrigin)


def test_a_key_of_another_certificate(authority: Authority) -> None:
    certificate, _ = authority.certificate("one.example")
    _, key = authority.certificate("two.example")
    with pytest.raises(ValueError, match="key"):
        ClientTls(False, certificate, key)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a.example", "a.example"),
        ("a.example.", "a.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("[::1]", "::1"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_server_names(host: str, name: str) -> None:
    assert server_name(host) == name


@pytest.mark.parametrize("host", ["", ".", "a" * 64, ".".join(["a" * 60] * 5), "a..b", "\udc80"])
def test_no_server_names(host: str) -> None:
    with pytest.raises(OriginError):
        server_name(host)
