"""One item to a proxy: HTTP POST, or one ZeroMQ message (proxy 3.3).

Called by ``publish.cli`` and nobody else: both functions wait until they are done, which a command may and a
reactor must not.  Never retries.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from urllib.parse import SplitResult, urlsplit

from pushpin_tw.errors import PublishError

TIMEOUT = 60
"""Seconds of silence from an HTTP server."""
CONNECT_TIMEOUT = 10
"""Seconds for a ZeroMQ peer to be there, and again for it to take the message."""
ANSWER_LIMIT = 65536
"""Bytes of an answer that are read."""

_PATH = re.compile(r"[!-~]*")


def post(url: str, body: bytes, authorization: str) -> tuple[int, bytes]:
    """Send ``body`` to ``url`` + ``/publish/``; returns status and body of the answer.

    The request is written by hand, because HTTP/1.0 and the order of its lines are what servers know from the
    original.  Unlike the original, an answer ends where its length says, not where the connection does.

    :raises PublishError: no connection, no answer, or no usable URL.
    """
    parts, port = _split(url)
    path = f"{parts.path}/publish/"
    lines = [f"POST {path} HTTP/1.0", f"Host: {parts.netloc.rpartition('@')[2]}"]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    try:
        with _connect(parts, port) as connection:
            connection.sendall("\r\n".join(lines).encode("ascii") + body)
            with http.client.HTTPResponse(connection, method="POST") as response:
                response.begin()
                return response.status, response.read(ANSWER_LIMIT)
    except http.client.HTTPException as error:
        raise PublishError(f"invalid answer: {error!r}") from None
    except OSError as error:
        raise PublishError(error.strerror or str(error)) from None


def _split(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise PublishError("invalid URL") from None
    if not parts.hostname or not _PATH.fullmatch(parts.netloc + parts.path):
        raise PublishError("invalid URL")
    return parts, port


def _connect(parts: SplitResult, port: int) -> socket.socket:
    host = str(parts.hostname)
    plain = socket.create_connection((host, port), timeout=TIMEOUT)
    if parts.scheme != "https":
        return plain
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def push(spec: str, message: bytes) -> None:
    """Send ``message`` through a PUSH socket that connects to ``spec``; returns when the peer has it.

    :raises PublishError: no such peer, or not soon enough.
    """
    import zmq  # not above: most uses of the command go over HTTP and need not wait for the library to load

    with zmq.Context() as context, context.socket(zmq.PUSH) as pusher:
        pusher.linger = 0
        pusher.immediate = True  # so that a message waits here for a peer, not in a queue for none
        pusher.sndtimeo = CONNECT_TIMEOUT * 1000
        try:
            pusher.connect(spec)
            pusher.send(message)
            pusher.linger = CONNECT_TIMEOUT * 1000  # leaving waits so long for the peer to take it
        except zmq.Again:
            raise PublishError(f"nobody answered at {spec} within {CONNECT_TIMEOUT} seconds") from None
        except zmq.ZMQError as error:
            raise PublishError(f"{spec}: {error.strerror}") from None
