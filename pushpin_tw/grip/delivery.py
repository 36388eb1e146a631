"""Filters that look at who has published an item and who is to get it (grip 13.2).

Registered in ``plugins.builtin``, started by the chains of ``filters``.  They pass content on as it is, or
drop the item; they never fail.
"""

from __future__ import annotations

from pushpin_tw.grip.filters import Done, FilterContext

_DELIVERY = frozenset({"delivery"})


class SkipSelf:
    """``skip-self``: nobody gets what they have sent themselves."""

    name = "skip-self"
    targets = _DELIVERY

    def start(self, context: FilterContext, content: bytes, done: Done) -> None:
        """As ``IMessageFilter``: compares the client's ``user`` and the item's ``sender``."""
        user = context.session.meta.get("user")
        done(None if user and user == context.item.meta.get("sender") else content)


class SkipUsers:
    """``skip-users``: the publisher leaves some users out."""

    name = "skip-users"
    targets = _DELIVERY

    def start(self, context: FilterContext, content: bytes, done: Done) -> None:
        """As ``IMessageFilter``: looks for the client's ``user`` in the item's ``skip_users``."""
        user = context.session.meta.get("user")
        users = context.item.meta.get("skip_users", "").split(",")
        done(None if user and user in map(str.strip, users) else content)


class RequireSub:
    """``require-sub``: only who is subscribed to another channel as well."""

    name = "require-sub"
    targets = _DELIVERY

    def start(self, context: FilterContext, content: bytes, done: Done) -> None:
        """As ``IMessageFilter``: looks for the item's ``require_sub`` among the client's channels."""
        channel = context.item.meta.get("require_sub")
        done(None if channel and channel not in context.session.positions() else content)
