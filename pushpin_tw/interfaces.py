"""Every contract between rooms, in the order of the flow.

Rooms of one level never import each other; they meet here.  Methods are called on the reactor's thread and
return at once; nothing here raises unless it says so.  Values that travel are those of ``wire.message``.
What other packages can add has its contracts in ``extensions``.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface

# ---- a request comes in ------------------------------------------------------------------------------------


class IGateway(Interface):
    """Where the edge brings its requests.  Given by ``proxy``, used by ``edge``."""

    def handle_request(request, body, responder):  # type: ignore[no-untyped-def]
        """Answer ``request`` (a ``wire.message.Request``), sooner or later, through ``responder``.

        ``body`` is an ``IBody``, or None when the request has none.
        """


class IBody(Interface):
    """The body of a client's request, read at the pace of whoever wants it.  Given by ``edge``."""

    def begin(sink):  # type: ignore[no-untyped-def]
        """Start the flow into ``sink`` (an ``IBodySink``).  Bytes that have already come may arrive within
        this call.  Sends ``100 Continue`` when the client waits for one and nothing has come."""

    def pause():  # type: ignore[no-untyped-def]
        """Stop reading from the client; bytes that were read already may still come."""

    def resume():  # type: ignore[no-untyped-def]
        """Read on."""

    def abandon():  # type: ignore[no-untyped-def]
        """The rest is not wanted: nothing more is told to the sink, and the connection closes after the
        response unless the body was complete."""


class IBodySink(Interface):
    """Who wants a client's body.  Given by ``proxy``."""

    def body_received(data):  # type: ignore[no-untyped-def]
        """More bytes."""

    def body_finished():  # type: ignore[no-untyped-def]
        """The body is complete."""

    # A body that ends early or is malformed is answered by the edge itself, which then calls ``lost()`` of
    # the responder's owner.


class IResponder(Interface):
    """The way back to one client for one request.  Given by ``edge``, handed forward to ``proxy`` and holds.

    Calls after the end (``finish``, ``abort``, or ``lost`` of the owner) do nothing.
    """

    minor = Attribute("Minor HTTP version of the request: 0 or 1.")
    persistent = Attribute("Whether the connection may carry another request after this response (bool).")
    head_only = Attribute("Whether the request was HEAD, so that no body may follow (bool).")
    chunked = Attribute(
        "After start(): whether the body is sent in chunks; else body bytes go out as they are."
    )
    congested = Attribute("Whether the client is slower than what was written (bool).")
    started = Attribute("Whether a head was given to start() or respond() (bool).")
    sent = Attribute("Body bytes written so far, before chunking (int).")

    def own(owner):  # type: ignore[no-untyped-def]
        """From now on ``owner`` (an ``IResponderOwner``) is told what happens."""

    def start(status, reason, headers, length):  # type: ignore[no-untyped-def]
        """Begin a response.  ``headers`` are without Connection, Content-Length and Transfer-Encoding;
        ``length`` is the body's length, or None when it is not known (chunked, or until close)."""

    def write(data):  # type: ignore[no-untyped-def]
        """Body bytes.  They may wait for ``flush`` or ``finish``, so that few packets leave."""

    def flush():  # type: ignore[no-untyped-def]
        """Send what waits."""

    def finish():  # type: ignore[no-untyped-def]
        """The response is complete; the connection goes on or closes.  Fewer body bytes than the announced
        length close it."""

    def respond(status, reason, headers, body):  # type: ignore[no-untyped-def]
        """A whole response at once: start, write, finish."""

    def deliver(data):  # type: ignore[no-untyped-def]
        """The express way of a held stream: bytes that are already framed for ``chunked``; sent at once."""

    def complete(data):  # type: ignore[no-untyped-def]
        """The express way of a held request: a whole response ready-made by ``wire.render``; then as
        finish()."""

    def switch(reason, headers, extensions):  # type: ignore[no-untyped-def]
        """Answer a valid WebSocket handshake with 101 and return the client's end, an ``IClientSocket``,
        which waits for its owner; this responder is over.  None when the client has gone.

        ``headers`` are without those of RFC 6455; ``extensions`` (bytes) stand in
        ``Sec-WebSocket-Extensions`` beside what the edge itself agrees to."""

    def abort():  # type: ignore[no-untyped-def]
        """Close the connection at once, without a proper end."""


class IResponderOwner(Interface):
    """Who answers a client at the moment: an exchange or a hold."""

    def drained():  # type: ignore[no-untyped-def]
        """``congested`` has become false again."""

    def lost():  # type: ignore[no-untyped-def]
        """The client is gone (or broke the rules within its request body); the responder is dead."""


class IParting(Interface):
    """An owner of a responder or of a client's socket that can let its client go at any time.

    Given by holds and tunnels, and by who stands between them and the client; used by ``edge``.
    """

    def retire():  # type: ignore[no-untyped-def]
        """The process is about to end: end the response as if its time were over, or say CLOSE with 1001.

        Does nothing where that would break off what is under way; then it is asked again soon."""


class ISiblings(Interface):
    """Other processes that serve the same clients.  Given by ``workers``, used by ``edge``."""

    def pass_on(key, route_id, uri, request, body, responder, refuse):  # type: ignore[no-untyped-def]
        """Let the process to which ``key`` (bytes) belongs answer ``request``, which has come on the route of
        that id and has ``body`` (bytes, all of it); returns whether that is another process than this one.

        Nothing has happened otherwise.  ``refuse()`` is called when that process cannot be reached, or ends
        before it has answered; an answer that has begun is broken off then.
        """


# ---- to the origin -----------------------------------------------------------------------------------------


class IRouter(Interface):
    """The routing table of the moment.  Given by ``routing``."""

    def route(host, path, websocket, secure):  # type: ignore[no-untyped-def]
        """The ``Route`` for a host (str), an encoded path (bytes) and two flags, or None."""

    def by_id(route_id):  # type: ignore[no-untyped-def]
        """``(known, route)``: a route by its id; ``(True, None)`` when several lines share it."""


class IOrigin(Interface):
    """One target's destination.  Given by ``origin`` and by target plugins, used by ``proxy``."""

    def fetch(request, sink):  # type: ignore[no-untyped-def]
        """Send ``request`` (an ``OriginRequest``) and tell ``sink`` what comes back; returns an
        ``IOriginCall`` for the body and the end.  ``sink`` may be called before this returns, and within
        the call's ``write()`` and ``finish()``."""

    def connect(handshake, sink):  # type: ignore[no-untyped-def]
        """Open a WebSocket as ``handshake`` (a ``sockets.IHandshake``) asks for and tell ``sink`` (a
        ``sockets.ISocketSink``); returns an object with ``cancel()``, after which the sink hears nothing
        more.  ``sink`` may be called before this returns."""


class IOriginCall(Interface):
    """One request to an origin, under way."""

    congested = Attribute("Whether the origin is slower than what was written (bool).")

    def write(data):  # type: ignore[no-untyped-def]
        """Bytes of the request body; allowed at once after fetch(), also while still connecting."""

    def finish():  # type: ignore[no-untyped-def]
        """The request body is complete (also called, once, for requests without one)."""

    def pause():  # type: ignore[no-untyped-def]
        """Stop reading the response; what was read already may still come."""

    def resume():  # type: ignore[no-untyped-def]
        """Read on."""

    def cancel():  # type: ignore[no-untyped-def]
        """Nobody wants the rest: close the connection; the sink hears nothing more."""


class IOriginSink(Interface):
    """Who waits for an origin's response.  Given by ``proxy``.

    In order: ``responded``, any number of ``received``, then one of ``finished`` and ``failed``.
    """

    def responded(response):  # type: ignore[no-untyped-def]
        """The final response head (a ``wire.message.Response``); interim ones are not passed on."""

    def received(data):  # type: ignore[no-untyped-def]
        """Body bytes, decoded from their framing."""

    def settled():  # type: ignore[no-untyped-def]
        """All that has arrived so far was passed on: a good moment to flush."""

    def finished():  # type: ignore[no-untyped-def]
        """The response is complete."""

    def failed(error):  # type: ignore[no-untyped-def]
        """There will be no (more) response: an ``OriginError``."""

    def origin_drained():  # type: ignore[no-untyped-def]
        """``congested`` of the call has become false again."""


# ---- holds and items ---------------------------------------------------------------------------------------


NEVER = float("-inf")
"""A time before all others."""
TAILORED = "tailored"
"""The form of a hold that is given items instead of bytes: filters or positions make each different."""


class IHold(Interface):
    """A client kept waiting, as its channels see it.  Given by ``hold``, used by ``broker``."""

    kind = Attribute("Which format of an item it takes: 'http-response', 'http-stream' or 'ws-message'.")
    form = Attribute("What its bytes depend on, hashable: holds with equal kind, form and bucket share them.")
    bucket = Attribute("The name of its rate limiter's bucket: an explicit route id, or ''.")
    single = Attribute(
        "Whether it listens to one channel and never to another (bool): then the order of items on different "
        "channels does not matter to it."
    )

    def deliver(data, parts):  # type: ignore[no-untyped-def]
        """Ready bytes, never none: ``data`` is what ``parts``, the items one by one, are when joined."""

    def act(action, item):  # type: ignore[no-untyped-def]
        """An item without bytes: 'hint', 'close' or 'refresh'; ``item`` may say more."""

    def unfit(wanted):  # type: ignore[no-untyped-def]
        """An item that is only for holds with the content filters ``wanted``, of which this one has none."""

    def update():  # type: ignore[no-untyped-def]
        """Ask the origin again when it is this hold's turn (grip 11.3)."""


class ITailoredHold(Interface):
    """A hold that looks at each item for itself.  ``kind``, ``bucket`` and ``update()`` as in ``IHold``."""

    form = Attribute("``TAILORED``.")

    def receive(parcel, channel):  # type: ignore[no-untyped-def]
        """An item (``parcel.item``) that has something for its kind, on ``channel``;
        ``parcel.encoded(kind, form)`` are bytes that are shared with other holds."""

    def recheck():  # type: ignore[no-untyped-def]
        """A last id has become known: if the position of the hold is another one, the origin is asked again,
        as if it had been known when the hold began (grip 11.4)."""


class IItems(Interface):
    """Where published items go.  Given by ``broker``, and by ``workers`` for the brokers of several
    processes; used by ``publish``."""

    congested = Attribute(
        "Whether more items wait for delivery than should (bool); accept() takes them all the same, but who "
        "publishes is to be refused or kept waiting."
    )

    def relieve(call):  # type: ignore[no-untyped-def]
        """Call ``call`` once ``congested`` is false, also within this very call."""

    def accept(items):  # type: ignore[no-untyped-def]
        """Take published items (``grip.item.Item``) in order; delivery follows soon, not within this call."""

    def recover():  # type: ignore[no-untyped-def]
        """Forget the last ids and make holds ask their origin again."""

    def watch(watcher):  # type: ignore[no-untyped-def]
        """Tell ``watcher`` (an ``IChannelWatcher``) which channels are listened to, now and from now on."""

    def unwatch(watcher):  # type: ignore[no-untyped-def]
        """The opposite; harmless when it does not watch."""


class IBroker(IItems):
    """Where items meet holds.  Given by ``broker``, used by ``hold``."""

    def subscribe(hold, channel):  # type: ignore[no-untyped-def]
        """From now on ``hold`` sees what is published on ``channel``."""

    def unsubscribe(hold, channel):  # type: ignore[no-untyped-def]
        """The opposite; harmless when not subscribed."""

    def forget(channel):  # type: ignore[no-untyped-def]
        """A hold has missed an item: the last id of ``channel`` says nothing any more."""

    def conflicts(channel, prev_id, asked):  # type: ignore[no-untyped-def]
        """Whether the last id of ``channel`` is known and another; if so it is forgotten (grip 11.4).

        One that was forgotten a moment ago counts as well, unless the origin was ``asked`` again after that
        (the time; ``NEVER`` when that was the client).
        """


class IChannelWatcher(Interface):
    """Who makes publishers send only what has listeners.  Given by ``publish``.

    While somebody watches, a channel that streams or WebSockets leave last does not linger for response holds
    that left before (zeromq 3.4).
    """

    def channel_opened(channel):  # type: ignore[no-untyped-def]
        """The first hold of any kind listens to ``channel`` (str), or to one that was closed."""

    def channel_closed(channel):  # type: ignore[no-untyped-def]
        """Nobody listens any more, and nobody is waited for."""

    def channel_forgotten(channel):  # type: ignore[no-untyped-def]
        """The last id of ``channel`` says nothing any more."""


class IRefetch(Interface):
    """Asking the origin again.  Given by ``proxy``, used by ``hold``."""

    def rerun(retry, responder):  # type: ignore[no-untyped-def]
        """Run a held request again as if it had just come; ``retry`` is what the hold was given for this."""


class ILinks(Interface):
    """What holds ask origins by themselves.  Given by ``proxy``, used by ``hold`` and by filters.

    Requests are ``grip.terms.LinkRequest`` values.  No sink and no ``done`` is called within these methods.
    """

    started = Attribute("How many requests follow() has sent so far (int).")

    def follow(request, sink, after):  # type: ignore[no-untyped-def]
        """Fetch a next link and tell ``sink``, an ``ILinkSink``; returns an ``ILinkCall``.

        Equal requests share one fetch, but only one that was sent when ``started`` was ``after`` or more:
        what a hold had missed by then is in no earlier answer.
        """

    def gone(request):  # type: ignore[no-untyped-def]
        """POST to a gone link, once, and forget about it."""

    def ask(request, headers, body, limit, done):  # type: ignore[no-untyped-def]
        """POST ``body`` with ``headers`` for a filter.

        Calls ``done(result)``: ``(status, headers, body)``, the body at most ``limit`` bytes, or a
        ``FilterError``.  Returns an object with ``cancel()``, after which ``done`` is not called.
        """


class ILinkCall(Interface):
    """A next link that is being fetched."""

    def pause():  # type: ignore[no-untyped-def]
        """The client takes no more for the moment; what was read already may still come."""

    def resume():  # type: ignore[no-untyped-def]
        """It takes more."""

    def cancel():  # type: ignore[no-untyped-def]
        """The sink wants no more, and hears no more."""


class ILinkSink(Interface):
    """Who waits for a next link: ``link_opened``, any number of ``link_received``, ``link_finished``; or,
    at any time instead, ``link_failed``."""

    def link_opened(instruct):  # type: ignore[no-untyped-def]
        """The origin answered with 2xx and sound instructions (an ``Instruct`` whose mode is 'none' or
        'stream')."""

    def link_received(data):  # type: ignore[no-untyped-def]
        """Body bytes, filtered as the instructions say."""

    def link_finished():  # type: ignore[no-untyped-def]
        """The body is complete."""

    def link_failed(error):  # type: ignore[no-untyped-def]
        """A ``GripError`` that ends the client's response, or None: it may work the next time."""
