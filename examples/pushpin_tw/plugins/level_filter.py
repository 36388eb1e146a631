"""A filter ``min-level``: who asks for important items only is spared the others."""

from twisted.plugin import IPlugin
from zope.interface import implementer

from pushpin_tw.errors import FilterError
from pushpin_tw.grip.filters import FilterContext, InstantFilter


@implementer(IPlugin)
class MinLevel(InstantFilter):
    name = "min-level"
    targets = frozenset({"delivery"})

    def apply(self, context: FilterContext, content: bytes) -> bytes | None:
        try:
            wanted = int(context.session.meta.get("min_level", "0"))
            level = int(context.item.meta.get("level", "0"))
        except ValueError:
            raise FilterError("filter error: min-level: a level is no number") from None
        return content if level >= wanted else None


min_level = MinLevel()
