"""The contracts of WebSockets: what edge, proxy, origins and holds are for each other.

A WebSocket that passes through has two ends, each an ``ISocket``: the client's, given by the edge, and the
origin's.  ``proxy.tunnel`` joins them and never learns whether frames, events over HTTP or SockJS requests
are behind either.  Methods are called on the reactor's thread and return at once.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface

TEXT = 1
BINARY = 2
CLOSE = 8
PING = 9
PONG = 10
"""Kinds of messages: the opcodes of RFC 6455, 5.2."""

PARTIAL = 0
"""A piece of a message: its frame goes on."""
FRAME = 1
"""The end of a frame; the message goes on in another one."""
MESSAGE = 2
"""The end of the message."""

NORMAL = 1000
"""The code of a CLOSE that was given none (websocket 1.8)."""

GOING_AWAY = 1001
"""The code of a CLOSE because the process ends (RFC 6455, 7.4.1)."""

SOCKET = "ws-message"
"""The kind of holds and formats that are for sockets."""

SOCKJS = "sockjs"
"""The form of messages that wait for a client of SockJS to fetch them: string literals."""
SOCKJS_FRAMES = ("sockjs-frames", "sockjs-compressed-frames")
"""The forms of SockJS within a WebSocket, plain and compressed: whole frames."""


class ISocket(Interface):
    """One end of a WebSocket.

    Messages pass in pieces, as they come: whoever is behind a socket sends the pieces on in frames of its
    own, or waits for the last one where it cannot.  Calls after the end do nothing.
    """

    congested = Attribute("Whether the peer is slower than what was sent (bool).")

    def own(owner):  # type: ignore[no-untyped-def]
        """From now on ``owner``, an ``ISocketOwner``, is told what happens; it is, for what has come already,
        before this returns or soon."""

    def send(kind, data, first=True, last=True):  # type: ignore[no-untyped-def]
        """A piece of a message (``TEXT`` or ``BINARY``, ``kind`` is that of the message for all its pieces),
        or a whole ``PING`` or ``PONG``, which may come between two pieces; its data are at most 125 bytes."""

    def close(code=None, reason=b""):  # type: ignore[no-untyped-def]
        """Send CLOSE (RFC 6455, 5.5.1), without a code if that is None, behind what was sent.

        Nothing can be sent any more; what the peer sends until its own CLOSE is told to the owner as before.
        Once both sides have said CLOSE the socket ends the connection, or after a time with a limit, and
        calls ``socket_lost``.
        """

    def abort():  # type: ignore[no-untyped-def]
        """End the connection at once, without CLOSE; the owner hears nothing more."""

    def pause():  # type: ignore[no-untyped-def]
        """Stop reading; what was read already may still come."""

    def resume():  # type: ignore[no-untyped-def]
        """Read on."""


class IClientSocket(ISocket):
    """The client's end.  Given by the edge through ``IResponder.switch``.

    ``close`` without a code tells the client 1000, or what its protocol has for none (websocket 1.8, 6.5).
    """

    form = Attribute("Which bytes of an item it takes, hashable; see ``broker.parcel.Parcel.encoded``.")

    def deliver(data, parts):  # type: ignore[no-untyped-def]
        """The express way of published messages: ready frames, whole; ``data`` is what ``parts`` are when
        joined.  What exceeds the limit of bytes that may wait for this client is dropped and counted, whole
        parts only.  Never called within a message that ``send`` has begun."""


class IOriginSocket(ISocket):
    """The origin's end.  Given by origins.

    ``close`` without a code tells the origin 1000, or what its protocol has for none (websocket 1.8).
    """

    def part():  # type: ignore[no-untyped-def]
        """It is the proxy who ends this: say CLOSE, once; whatever the answer, that was it."""

    def refresh():  # type: ignore[no-untyped-def]
        """Ask the origin for news, if it is one that has to be asked."""


class ISocketOwner(Interface):
    """Who has a socket.  ``socket_lost`` is the last call."""

    def socket_received(kind, data, first, end):  # type: ignore[no-untyped-def]
        """A piece of a message, or a whole ``PING`` or ``PONG`` (then ``first`` and ``MESSAGE``).

        ``first``: it is the message's first piece; ``end``: ``PARTIAL``, ``FRAME`` or ``MESSAGE``.  A piece
        may be empty.  ``TEXT`` is not checked for being UTF-8 by everybody who sends it.
        """

    def socket_closed(code, reason):  # type: ignore[no-untyped-def]
        """The peer has said CLOSE; ``code`` is None when it gave none.  No message follows."""

    def socket_drained():  # type: ignore[no-untyped-def]
        """``congested`` has become false again."""

    def socket_lost():  # type: ignore[no-untyped-def]
        """The connection is gone: after both sides have said CLOSE, or before, or because the peer has broken
        the rules (which it was told by whoever gives the socket)."""


class ISocketHold(Interface):
    """What channels can do with a WebSocket apart from delivering to it (``IHold``, ``ITailoredHold``)."""

    def refresh():  # type: ignore[no-untyped-def]
        """Ask its origin for news; of no effect when it has ended."""


# ---- to the origin -----------------------------------------------------------------------------------------


class IHandshake(Interface):
    """A client's wish for a WebSocket, made out for one target.  Given by ``proxy``, used by origins."""

    connection_id = Attribute("What this connection is called in public (bytes): a UUID, for its life.")

    def prepare():  # type: ignore[no-untyped-def]
        """A new ``OriginRequest`` with the time's signature, its headers rewritten and signed.

        For WebSocket targets without the headers of RFC 6455 but ``Sec-WebSocket-Extensions: grip`` (which
        stands last) and ``Sec-WebSocket-Protocol``; for ``zhttp`` targets with the client's ``Upgrade``, key
        and version (zeromq 2.10); for ``over_http`` targets the method is POST and the key and version of the
        client are there.  Without ``Content-Length``, ``Content-Type``, ``Accept``,
        ``Connection-Id`` and ``Meta-*`` in the latter case.

        :raises OriginError: as ``Rewriter.rewrite``.
        """


class ISocketSink(Interface):
    """Who waits for an origin's answer to a handshake: one of the three, once."""

    def opened(response, socket):  # type: ignore[no-untyped-def]
        """The origin agrees; ``response`` (a ``wire.message.Response``) has all of its headers, and
        ``socket`` is an ``IOriginSocket`` whose events follow once it is owned, within this call."""

    def refused(response, body):  # type: ignore[no-untyped-def]
        """It does not, and this is what it says instead; at most ``MAX_REFUSAL`` bytes."""

    def failed(error):  # type: ignore[no-untyped-def]
        """There is no answer: an ``OriginError``; ``OriginUnreachable`` when another target may be tried."""


MAX_REFUSAL = 1_000_000
"""Bytes of an origin's refusal that are passed on; a larger one is an error."""
