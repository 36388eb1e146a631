"""Backends that are reached over TCP: the ``IOrigin`` of a ``HOST:PORT`` target (proxy 4.6, 4.7, 8.4).

Used by the proxy.  Finds each request a connection, an idle one or a new one; ``origin.call`` does the rest,
``origin.upgrade`` where a WebSocket is wanted.
"""

from __future__ import annotations

from collections.abc import Hashable
from os import urandom
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import OriginError, WireError
from pushpin_tw.interfaces import IOrigin
from pushpin_tw.origin.call import HttpCall, encode_request
from pushpin_tw.origin.connect import Dial
from pushpin_tw.origin.pool import Connection, Pool
from pushpin_tw.origin.tls import ClientTls, server_name
from pushpin_tw.origin.upgrade import UpgradeCall
from pushpin_tw.origin.websocket import SocketRules
from pushpin_tw.routing.route import Target
from pushpin_tw.wire.message import OriginRequest


@implementer(IOrigin)
class HttpOrigin:
    """A backend that is reached over TCP."""

    def __init__(self, target: Target, host: str, port: int, services: Any) -> None:
        """``services`` is an ``IServices``.

        :raises OSError: a client certificate cannot be read.
        :raises ValueError: a client certificate cannot be used.
        """
        self._host = host
        self._port = port
        self._untrusted: bool = target.untrusted
        self._trust_connect_host: bool = target.trust_connect_host
        certificate, key = target.client_cert, target.client_key or target.client_cert
        self._tls = ClientTls(target.insecure, certificate, key) if target.ssl else None
        policy = (target.insecure, certificate, key) if target.ssl else None
        self._key = (host, port, target.untrusted, policy)
        self._reactor = services.reactor
        self._stats = services.stats
        self._pool: Pool = services.shared("origin.pool", lambda: Pool(services))
        self._head_limit: int = services.config.runner.client_buffer_size
        self._write_limit: int = services.config.tw.write_buffer
        self._deflate: bool = services.config.runner.allow_compression
        self._sockets = SocketRules(
            services.wheel,
            services.stats,
            services.config.tw.close_timeout,
            services.config.tw.websocket_lenient,
            urandom,
        )

    def fetch(self, request: OriginRequest, sink: Any) -> HttpCall:
        """As ``IOrigin``."""
        call = HttpCall(request, sink, self._head_limit, self._write_limit, self._stats)
        try:
            head = encode_request(request)
            name = "" if self._tls is None else self._server_name(request)
        except (WireError, OriginError) as error:
            call.unreachable(error if isinstance(error, OriginError) else OriginError(str(error)))
            return call
        request.size = len(head)
        call.begin(head)
        self._reach(call, name)
        return call

    def connect(self, handshake: Any, sink: Any) -> UpgradeCall:
        """As ``IOrigin``."""
        call = UpgradeCall(sink, self._head_limit, self._sockets, self._deflate)
        try:
            request = handshake.prepare()
            name = "" if self._tls is None else self._server_name(request)
            call.ask(request, lambda call: self._dial(call, name))
        except (WireError, OriginError) as error:
            call.unreachable(error if isinstance(error, OriginError) else OriginError(str(error)))
            return call
        self._reach(call, name)
        return call

    def _server_name(self, request: OriginRequest) -> str:
        return server_name(self._host if self._trust_connect_host else request.host)

    def _reach(self, call: HttpCall, name: str) -> None:
        connection = self._pool.take(self._pool_key(name))
        if connection is not None:
            connection.occupy(call)
            call.opened(connection)
        else:
            self._dial(call, name)

    def _pool_key(self, name: str) -> Hashable:
        return self._key if self._tls is None else (*self._key, name)

    def _dial(self, call: HttpCall, name: str) -> None:
        pool, tls, key = self._pool, self._tls, self._pool_key(name)
        check = None if tls is None else lambda peer: tls.check_peer(peer, name)
        dial = Dial(
            self._host,
            self._port,
            self._untrusted,
            call,
            lambda: Connection(pool, key, call, check),
            None if tls is None else tls.creator(name),
            pool.exhausted,
            self._reactor,
        )
        call.dialing(dial)
        dial.start()
