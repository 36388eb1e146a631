"""What other packages can add: kinds of targets, ways to publish, filters.

*Plugins*: put an instance that provides one of these into a module of ``pushpin_tw.plugins``.  What
comes with pushpin is registered in exactly the same way, in ``plugins.builtin``.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface


class ITargetType(Interface):
    """A kind of route target.  *Plugin*: put an instance into a module of ``pushpin_tw.plugins``.

    For targets ``fixed/TEXT``, in ``pushpin_tw/plugins/`` anywhere on the path::

        @implementer(IPlugin, ITargetType)
        class FixedTarget:
            prefix = "fixed"

            def parse(self, address):
                if not address:
                    raise RouteSyntaxError("target bad format")
                return address

            def origin(self, target, services):
                return AnsweringOrigin(
                    lambda request, body: Answer(200, b"OK", (), target.address.encode()), services.stats
                )

        fixed_target = FixedTarget()

    ``origin.answering`` serves kinds that can answer at once; others implement ``IOrigin``.
    ``pushpin_tw.testing.origins`` has the tests that each of them must pass.
    """

    prefix = Attribute("What stands before the first '/' of the target, or the whole word; '' is HOST:PORT.")

    def parse(address):  # type: ignore[no-untyped-def]
        """Check what stands behind ``prefix/`` (str; the whole word for '') and return it normalised.

        :raises RouteSyntaxError: with the message for the log.
        """

    def origin(target, services):  # type: ignore[no-untyped-def]
        """The ``IOrigin`` for a ``routing.route.Target``; called once for each target of a table.

        ``services`` is an ``IServices``.
        """


class IStandingTargetType(ITargetType):
    """A kind of target that has something to do before the first request comes, such as to listen."""

    def keep(targets, services):  # type: ignore[no-untyped-def]
        """The table of routes has changed: ``targets`` are those that it names, of every kind, in the order
        of its lines.  Called with the first table and with each new one; what no target needs any more
        can be given up as soon as no request uses it."""


class IMessageFilter(Interface):
    """A filter that origins attach to a channel by its name.  *Plugin*, as ``ITargetType``.

    ``grip.filters.InstantFilter`` serves those that can answer at once.
    """

    name = Attribute("How instructions call it.")
    targets = Attribute(
        "What it works on, a frozenset: 'delivery' (it may drop an item), 'message' (it may change an item's "
        "content), 'response' (it may change the body of an origin's response)."
    )

    def start(context, content, done):  # type: ignore[no-untyped-def]
        """Look at ``content`` (bytes, empty for an item without content) for one hold.

        ``context`` is a ``grip.filters.FilterContext``.  Calls ``done(outcome)`` once, within this call or
        later: bytes to go on with, None to drop the item, or a ``FilterError``.  Returns None, or an object
        with ``cancel()``, after which ``done`` must not be called.
        """


class IResponseFilter(IMessageFilter):
    """A filter that has 'response' among its targets."""

    def response(meta):  # type: ignore[no-untyped-def]
        """For one body whose instructions have ``meta``: an object with ``feed(data)`` and ``finish()``; both
        return bytes and raise ``FilterError``."""


class IServices(Interface):
    """What the process lends to plugins."""

    reactor = Attribute("The Twisted reactor.")
    clock = Attribute("IReactorTime: seconds() and callLater(); tests give a task.Clock.")
    wheel = Attribute("pushpin_tw.wheel.Wheel, the one timer for everything that waits.")
    config = Attribute("pushpin_tw.config.Config.")
    stats = Attribute("IStatsSink.")
    random = Attribute("random.Random, for jitter.")
    connections = Attribute("IConnections; names are known if statistics or commands are configured.")

    def shared(name, make):  # type: ignore[no-untyped-def]
        """The one object called ``name`` of this process; ``make()`` builds it at the first call.  When it
        has a method ``stop``, that is called when the process ends its work."""


class IConnections(Interface):
    """The connections of clients, in this process or in others.

    ``done`` is called once, within the call or later; never when somebody who should know is gone.  A
    connection is called what its statistics and ``Connection-Id`` call it.
    """

    def find(names, done):  # type: ignore[no-untyped-def]
        """Which of ``names`` (a list of str) there are: ``done(found)``, a list, in any order."""

    def refresh(name, done):  # type: ignore[no-untyped-def]
        """Let a WebSocket ask its origin for news, if it is one over HTTP: ``done(True)``, or ``done(False)``
        when there is no WebSocket of that name."""

    def refresh_channel(channel):  # type: ignore[no-untyped-def]
        """The same for all WebSockets that are subscribed to ``channel`` (str), as their turn comes."""


class IPublishSource(Interface):
    """A way for items to come in.  *Plugin*, as ``ITargetType``."""

    name = Attribute("How logs call it.")

    def service(config, broker, services):  # type: ignore[no-untyped-def]
        """An ``IService`` that calls ``broker.accept(items)``; None when the configuration has it off."""
