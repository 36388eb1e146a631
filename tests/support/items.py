"""Published items, as short as cases with ids need them."""

from __future__ import annotations

from tests.support.running import R, S

Item = dict[str, object]


def item(
    formats: object, id: str | None = None, prev: str | None = None, channel: str = "c", **more: object
) -> Item:
    """An item with the fields that are given; ``more`` are fields under their own names."""
    ids = {"id": id, "prev-id": prev}
    named = {name: value for name, value in ids.items() if value is not None}
    return {"channel": channel, "formats": formats, **named, **more}


def piece(
    content: str, id: str | None = None, prev: str | None = None, channel: str = "c", **more: object
) -> Item:
    """For streams."""
    return item({S: {"content": content}}, id, prev, channel, **more)


def answer(
    body: str, id: str | None = None, prev: str | None = None, channel: str = "c", **more: object
) -> Item:
    """For response holds."""
    return item({R: {"body": body}}, id, prev, channel, **more)
