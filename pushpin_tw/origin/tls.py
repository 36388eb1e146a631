"""TLS towards backends: whom we ask for, what we show, and whom we believe (proxy 4.7).

Used by ``origin.http``, one ``ClientTls`` for each target.  One OpenSSL context serves all server names of a
target, since reading the system's roots takes tens of milliseconds and clients choose the names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, platformTrust
from zope.interface import implementer

from pushpin_tw.errors import OriginError


def is_literal(host: str) -> bool:
    """Whether ``host`` is an IP address, without brackets."""
    return isIPAddress(host) or isIPv6Address(host)


def server_name(host: str) -> str:
    """The name to ask for and to check, as ASCII, from the host of a URI; a literal loses its brackets.

    :raises OriginError: no host can be called that.
    """
    if host.startswith("["):
        host = host[1:-1]
    if is_literal(host):
        return host
    try:
        name = host.rstrip(".").encode("idna").decode("ascii")
    except UnicodeError:
        raise OriginError("invalid server name") from None
    if not 0 < len(name) <= 253:
        raise OriginError("invalid server name")
    return name


class ClientTls:
    """The TLS policy of one target."""

    def __init__(self, insecure: bool, certificate: str = "", key: str = "") -> None:
        """``certificate`` and ``key`` are PEM files to show when asked; the first may hold a chain.

        :raises OSError: a file cannot be read.
        :raises ValueError: a file holds no certificate, no key, or the two do not belong together.
        """
        self._insecure = insecure
        self._context: SSL.Context | None = None
        if certificate:
            self._context = self._make_context()
            _identify(self._context, certificate, key)

    def _make_context(self) -> SSL.Context:
        if self._insecure:
            return CertificateOptions().getContext()
        return CertificateOptions(trustRoot=platformTrust()).getContext()

    def creator(self, name: str) -> SslCreator:
        """What Twisted needs to start TLS with the server ``name`` (see ``server_name``)."""
        if self._context is None:
            self._context = self._make_context()
        return SslCreator(self._context, name)

    def check_peer(self, connection: SSL.Connection, name: str) -> None:
        """Whether the peer may call itself ``name``; its chain was verified within the handshake.

        :raises service_identity.VerificationError: it may not.
        """
        if self._insecure:
            return
        if is_literal(name):
            verify_ip_address(connection, name)
        else:
            verify_hostname(connection, name)


def _identify(context: SSL.Context, certificate: str, key: str) -> None:
    Path(certificate).read_bytes()  # OpenSSL does not tell a missing file from a bad one
    try:
        load_pem_private_key(Path(key).read_bytes(), None)  # OpenSSL would ask for a password at the terminal
        context.use_certificate_chain_file(certificate)
        context.use_privatekey_file(key)
        context.check_privatekey()
    except (SSL.Error, TypeError, ValueError, UnsupportedAlgorithm):
        raise ValueError("no certificate, or not with this key") from None


@implementer(IOpenSSLClientConnectionCreator)
class SslCreator:
    """Makes OpenSSL connections that ask for a server name; IP literals are not sent (RFC 6066, 3)."""

    def __init__(self, context: SSL.Context, name: str) -> None:
        self._context = context
        self._name = name

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """As ``IOpenSSLClientConnectionCreator``."""
        connection = SSL.Connection(self._context, None)
        if not is_literal(self._name):
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        return connection
