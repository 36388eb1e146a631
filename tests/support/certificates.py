"""A certificate authority of a test, its certificates in a temporary directory, and servers that show one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet import reactor, ssl
from twisted.internet.protocol import ServerFactory
from twisted.protocols.tls import TLSMemoryBIOFactory


class Authority:
    """Signs certificates and writes them as PEM files."""

    def __init__(self, directory: Path, name: str = "Test Authority") -> None:
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.file = self._write("authority.pem", certificate.public_bytes(serialization.Encoding.PEM))
        """The authority's own certificate."""

    def certificate(self, *names: str) -> tuple[str, str]:
        """The files of a certificate for DNS names or IP addresses, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        certificate = self._sign(subject, key, alternatives)
        stem = names[0].replace(":", "-")
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return (
            self._write(f"{stem}.pem", certificate.public_bytes(serialization.Encoding.PEM)),
            self._write(f"{stem}-key.pem", private),
        )

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        )
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> str:
        path = self._directory / name
        path.write_bytes(content)
        return str(path)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class TlsServer:
    """Wraps a server in TLS and remembers the names it was asked for."""

    def __init__(self, files: tuple[str, str], clients: str = "") -> None:
        """``files`` are a certificate and its key; ``clients`` those whom clients' certificates are from."""
        self.names: list[bytes | None] = []
        self._context = SSL.Context(SSL.TLS_METHOD)
        self._context.use_certificate_chain_file(files[0])
        self._context.use_privatekey_file(files[1])
        if clients:
            self._context.load_verify_locations(clients)
            self._context.set_verify(
                SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *args: args[-1]
            )
        self._context.set_info_callback(self._informed)

    def _informed(self, connection: SSL.Connection, where: int, result: int) -> None:
        if where & SSL.SSL_CB_HANDSHAKE_DONE:
            self.names.append(connection.get_servername())

    def wrap(self, factory: ServerFactory) -> TLSMemoryBIOFactory:
        return TLSMemoryBIOFactory(_Fixed(self._context), False, factory, reactor)


class _Fixed(ssl.ContextFactory):
    isClient = False  # noqa: N815

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def getContext(self) -> SSL.Context:  # noqa: N802
        return self._context
