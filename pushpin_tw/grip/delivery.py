"""Filters that look at who has published an item and who is to get it (grip 13.2).

Registered in ``plugins.builtin``, run by ``filterchain``.  They pass content on as it is, or
drop the item; they never fail.
"""

from __future__ import annotations

from pushpin_tw.grip.filterchain import FilterContext, InstantFilter

_DELIVERY = frozenset({"delivery"})


class SkipSelf(InstantFilter):
    """``skip-self``: nobody gets what they have sent themselves."""

    name = "skip-self"
    targets = _DELIVERY

    def apply(self, context: FilterContext, content: bytes) -> bytes | None:
        """Compare the client's ``user`` and the item's ``sender``."""
        user = context.session.meta.get("user")
        return None if user and user == context.item.meta.get("sender") else content


class SkipUsers(InstantFilter):
    """``skip-users``: the publisher leaves some users out."""

    name = "skip-users"
    targets = _DELIVERY

    def apply(self, context: FilterContext, content: bytes) -> bytes | None:
        """Look for the client's ``user`` in the item's ``skip_users``."""
        user = context.session.meta.get("user")
        users = context.item.meta.get("skip_users")
        return None if user and users and user in map(str.strip, users.split(",")) else content


class RequireSub(InstantFilter):
    """``require-sub``: only who is subscribed to another channel as well."""

    name = "require-sub"
    targets = _DELIVERY

    def apply(self, context: FilterContext, content: bytes) -> bytes | None:
        """Look for the item's ``require_sub`` among the client's channels."""
        channel = context.item.meta.get("require_sub")
        return None if channel and channel not in context.session.positions() else content
