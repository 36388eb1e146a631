"""Backends that speak ZHTTP over ZeroMQ: the ``IOrigin`` of ``zhttp`` and ``zhttpreq`` targets (zeromq 2).

Used by the proxy.  Which of the two ways it speaks is decided by the hub that all targets with its SPEC
share, see ``zhttproom``; what is said is the business of ``zhttprequest``, ``zhttpsocket`` and
``zhttpreq``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zope.interface import implementer

from pushpin_tw.errors import OriginError
from pushpin_tw.interfaces import IOrigin
from pushpin_tw.origin.unavailable import DeadCall
from pushpin_tw.origin.zhttpreq import RequestCall, refuse_socket
from pushpin_tw.origin.zhttprequest import StreamedRequest
from pushpin_tw.origin.zhttproom import Hub, ReplyHub, StreamHub, zhttp_room
from pushpin_tw.origin.zhttpsocket import connect
from pushpin_tw.routing.route import Target
from pushpin_tw.wire.message import OriginRequest
from pushpin_tw.wire.zhttp import policy


@implementer(IOrigin)
class ZhttpOrigin:
    """All workers of one SPEC, as one target wants them to be asked."""

    def __init__(self, target: Target, services: Any) -> None:
        """``services`` is an ``IServices``.

        :raises OSError: a client certificate cannot be read.
        """
        self._spec = target.address
        self._rules = policy(
            target.untrusted,
            target.trust_connect_host,
            target.insecure,
            _pem(target.client_cert),
            _pem(target.client_key or target.client_cert),
        )
        self._room = zhttp_room(services)
        self._room.add(target)

    def fetch(self, request: OriginRequest, sink: Any) -> Any:
        """As ``IOrigin``."""
        hub = self._hub()
        if isinstance(hub, StreamHub):
            call = StreamedRequest(hub, request, self._rules, sink)
            call.start()
            return call
        if isinstance(hub, ReplyHub):
            return RequestCall(hub, request, self._rules, sink).begin()
        sink.failed(OriginError("no sockets"))
        return DeadCall()

    def connect(self, handshake: Any, sink: Any) -> Any:
        """As ``IOrigin``."""
        hub = self._hub()
        if isinstance(hub, StreamHub):
            return connect(hub, handshake, self._rules, sink)
        if isinstance(hub, ReplyHub):
            return refuse_socket(sink)
        sink.failed(OriginError("no sockets"))
        return DeadCall()

    def _hub(self) -> Hub | None:
        """Where its workers are; None when they cannot be reached."""
        hub = self._room.hub(self._spec)
        return hub if hub is not None and hub.bound else None


def _pem(path: str) -> bytes:
    """:raises OSError:"""
    return Path(path).read_bytes() if path else b""
