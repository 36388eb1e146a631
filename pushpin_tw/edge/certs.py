"""TLS for clients: which certificate for which server name (proxy 2.4).

Made by ``edge.listener``, one for each TLS port; asked by OpenSSL during every handshake.  Files are read
when they are first wanted and again when they have changed.  Never writes a file.
"""

from __future__ import annotations

import os
from errno import EMFILE, ENFILE, ENOMEM
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

LONGEST_NAME = 253
KEPT = 1000
"""Certificates kept loaded, at most."""

# A TLS record: alert, fatal, unrecognized_name (RFC 8446, 6.2).  OpenSSL offers no way to ask for this alert.
_UNRECOGNIZED_NAME = bytes.fromhex("15 03 03 00 02 02 70")
_EXHAUSTED = (EMFILE, ENFILE, ENOMEM)
# What a file's identity and change are known by.
_Stamp = tuple[int, int, int]


class CertificateDirectory:
    """Certificates by name: ``NAME.crt``, a PEM chain with the leaf first, and ``NAME.key``."""

    def __init__(self, path: str, stats: Any) -> None:
        self._path = path
        self._stats = stats
        self._loaded: dict[str, tuple[tuple[_Stamp, _Stamp], SSL.Context | None]] = {}

    def find(self, server_name: str | None, port: int) -> SSL.Context | None:
        """The certificate for a client that asks for ``server_name`` at ``port``, or None."""
        for name in _candidates(server_name, port):
            context = self._load(name)
            if context is not None:
                return context
        return None

    def _load(self, name: str) -> SSL.Context | None:
        certificate = os.path.join(self._path, f"{name}.crt")
        key = os.path.join(self._path, f"{name}.key")
        try:
            stamps = _stamp(certificate), _stamp(key)
        except OSError:
            self._loaded.pop(name, None)
            return None
        known = self._loaded.get(name)
        if known is not None and known[0] == stamps:
            return known[1]
        try:
            context = self._read(certificate, key)
        except OSError:
            return None  # nothing to be remembered
        if len(self._loaded) >= KEPT:
            del self._loaded[next(iter(self._loaded))]
        self._loaded[name] = stamps, context
        return context

    def _read(self, certificate: str, key: str) -> SSL.Context | None:
        """:raises OSError: the process has no descriptor or memory left; the files may be good."""
        context = make_context()
        try:
            with open(certificate, "rb"):
                pass  # OpenSSL does not tell why it cannot
            context.use_certificate_chain_file(certificate)
            # OpenSSL would ask at the terminal for the passphrase of an encrypted key; this refuses it.
            with open(key, "rb") as file:
                load_pem_private_key(file.read(), None)
            context.use_privatekey_file(key)
            context.check_privatekey()
        except (SSL.Error, OSError, TypeError, ValueError, UnsupportedAlgorithm) as error:
            if isinstance(error, OSError) and error.errno in _EXHAUSTED:
                raise
            self._stats.note("error", f"unusable certificate: {certificate}", "connmgr")
            return None
        return context


def _stamp(path: str) -> _Stamp:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size, status.st_ino


def _candidates(server_name: str | None, port: int) -> list[str]:
    """The names to look for, the best first."""
    names = []
    if server_name:
        name = server_name.lower()
        names.append(name)
        _, dot, parent = name.partition(".")
        if dot:
            names.append(f"_.{parent}")
    return [*names, f"default_{port}"]


def _is_sane(server_name: str) -> bool:
    """Whether the name may be part of a file's name."""
    return (
        len(server_name) <= LONGEST_NAME
        and server_name.isprintable()
        and "/" not in server_name
        and not server_name.startswith(".")
    )


def make_context() -> SSL.Context:
    """TLS 1.2 and 1.3, as everybody should have it."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION)
    context.set_cipher_list(b"ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL")
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


@implementer(IOpenSSLServerConnectionCreator)
class ClientTls:
    """The server's side of TLS on one port."""

    def __init__(self, directory: CertificateDirectory, stats: Any) -> None:
        self._directory = directory
        self._stats = stats
        self.port = 0
        """The port as bound; part of the default certificate's name."""
        self._context = make_context()
        self._context.set_tlsext_servername_callback(self._choose)

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """A new connection's TLS; ``protocol`` is a ``TLSMemoryBIOProtocol``."""
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(protocol)
        return connection

    def _find(self, server_name: bytes | None) -> SSL.Context | None:
        name = server_name.decode("utf-8", "replace") if server_name else None
        if name is not None and not _is_sane(name):
            return None
        return self._directory.find(name, self.port)

    def _choose(self, connection: SSL.Connection) -> None:
        """Called by OpenSSL when it knows the server name, also when there is none."""
        try:
            context = self._find(connection.get_servername())
        except Exception:
            self._stats.failure("choosing a certificate")
            context = None
        if context is not None:
            connection.set_context(context)
        else:
            # The handshake fails now, since there is no certificate; its reason is told before.
            transport = connection.get_app_data().transport
            transport.write(_UNRECOGNIZED_NAME)
            transport.loseConnection()
