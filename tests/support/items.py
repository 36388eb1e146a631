"""Published items, as short as cases with ids need them."""

from __future__ import annotations

from tests.support.running import R, S

Item = dict[str, object]


def item(
    formats: object,
    id: str | None = None,
    prev: str | None = None,
    channel: str = "c",
    no_seq: bool = False,
    **more: object,
) -> Item:
    """An item with the fields that are given; ``more`` are fields under their own names."""
    named = {"id": id, "prev-id": prev, "no-seq": no_seq or None}
    given = {name: value for name, value in named.items() if value is not None}
    return {"channel": channel, "formats": formats, **given, **more}


def piece(
    content: str,
    id: str | None = None,
    prev: str | None = None,
    channel: str = "c",
    no_seq: bool = False,
    **more: object,
) -> Item:
    """For streams."""
    return item({S: {"content": content}}, id, prev, channel, no_seq, **more)


def answer(
    body: str,
    id: str | None = None,
    prev: str | None = None,
    channel: str = "c",
    no_seq: bool = False,
    **more: object,
) -> Item:
    """For response holds."""
    return item({R: {"body": body}}, id, prev, channel, no_seq, **more)
