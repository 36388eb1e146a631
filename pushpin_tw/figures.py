"""What is told, measured and counted: the contracts between rooms and statistics (zeromq 5).

As ``interfaces``, to which it belongs.  Rooms that are given no tally count nothing.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface


class IStatsSink(Interface):
    """What happened, told by every room.  Given by ``stats``; costs one method call."""

    def count(name, n=1, route=""):  # type: ignore[no-untyped-def]
        """``n`` more of ``name``."""

    def took(name, seconds, n=1, route=""):  # type: ignore[no-untyped-def]
        """``name`` took so long, ``n`` times."""

    wants_requests = Attribute("Whether request_finished() leaves a trace; if not, callers need not call it.")
    wants_holds = Attribute("The same for held() and linked().")

    def request_finished(line):  # type: ignore[no-untyped-def]
        """A proxied request ended or came to rest in a hold; ``line`` is a ``wire.message.RequestLine``."""

    def held(uri, channel, retry):  # type: ignore[no-untyped-def]
        """The request for ``uri`` (str) joined ``channel``; ``retry``: it was run again by a hold."""

    def linked(method, uri, status, size):  # type: ignore[no-untyped-def]
        """A hold asked the origin again (``method`` is bytes, ``uri`` str) and got so many bytes."""

    def published(channel, receivers):  # type: ignore[no-untyped-def]
        """An item was handed to so many holds."""

    def note(level, text, service="proxy"):  # type: ignore[no-untyped-def]
        """A line for the log: ``level`` is 'error', 'warn', 'info' or 'debug'; ``service`` is whose line it
        is and whose level decides: 'connmgr' (clients), 'proxy', 'handler' (holds, publishing) or
        'runner'."""

    def failure(where):  # type: ignore[no-untyped-def]
        """A bug showed itself: called within an ``except`` block; logged with its traceback."""


class ITally(Interface):
    """Figures of what happens.  Given by ``stats``; rooms have None instead when nobody wants any.

    Bytes and messages are counted by whoever passes them on, in attributes of ``stats.counters.Counts``:
    ``tally.routes[route].client_content_sent += n``.  ``route`` is a route's id if that is an explicit one,
    else ''.
    """

    routes = Attribute("Counts by route; made when they are first asked for.")
    second = Attribute("Counts on by one in a second while there are connections (int).")
    tells_connections = Attribute("Whether anybody may ever want to know the address of a client (bool).")

    def opened(connection, size, route):  # type: ignore[no-untyped-def]
        """A client asks for something; ``connection`` is an ``ICounted``, ``size`` the bytes of the request's
        head as statistics count them.  Returns the counts of ``route``."""

    def passed(connection):  # type: ignore[no-untyped-def]
        """From now on ``connection`` stands for the one with its ``number``, and has its ``cohort``."""

    def retried(connection):  # type: ignore[no-untyped-def]
        """A held request is run again."""

    def closed(connection):  # type: ignore[no-untyped-def]
        """It has ended: told by ``connection`` itself, once, if it has a ``cohort``."""

    def active(route):  # type: ignore[no-untyped-def]
        """Something happened that counts as activity and is none of the above."""

    def received(item):  # type: ignore[no-untyped-def]
        """A publisher has sent an item (a ``grip.item.Item``)."""

    def sent(parcel, route, kind, receivers):  # type: ignore[no-untyped-def]
        """A parcel is on its way to so many holds of a kind, one or more, of one route."""

    def message(parcel, holds):  # type: ignore[no-untyped-def]
        """The same for all of its holds; ``holds`` is a dict of kind to number."""

    def joined(mode, channel):  # type: ignore[no-untyped-def]
        """One more hold of a mode ('response', 'stream', 'ws') is on a channel."""

    def left(mode, channel, lingers):  # type: ignore[no-untyped-def]
        """One less; ``lingers``: it was the last, and somebody is waited for."""

    def lingered(mode, channel):  # type: ignore[no-untyped-def]
        """Nobody is waited for any more: it was in vain, or somebody has just joined."""


class ICounted(Interface):
    """What stands for a client's connection: a responder of the edge, or a WebSocket in the proxy."""

    kind = Attribute("'http' or 'ws'.")
    number = Attribute("Its number (int): of the tally's when it was 0; of WebSockets that of their UUID.")
    cohort = Attribute("A ``stats.counters.Cohort``; None before it is opened, and when it has ended.")
    secure = Attribute("Whether the client speaks TLS (bool).")
    address = Attribute("The client's address as far as it is believed (str).")

    def refresh():  # type: ignore[no-untyped-def]
        """Of WebSockets: ask the origin for news, if it is one over HTTP."""
