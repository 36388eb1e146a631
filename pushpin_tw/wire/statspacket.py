"""Statistics as packets: one frame, a type, a space and the members (zeromq 5.1).

Called by ``stats.report``.  Never knows what is counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pushpin_tw.wire.tnetstring import encode

KINDS = ("activity", "message", "conn", "sub", "report", "counts")
"""The types of packets."""

Members = Mapping[str, str | int | bool]


def encode_packet(kind: str, members: Members, as_json: bool) -> bytes:
    """The frame; JSON is compact, with sorted keys."""
    if as_json:
        text = json.dumps(members, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        return b"%b J%b" % (kind.encode(), text.encode("utf-8", "replace"))
    return b"%b T%b" % (kind.encode(), encode(members))


def concerns(topic: bytes, kind: str) -> bool:
    """Whether somebody who subscribes to ``topic`` may get packets of this type."""
    start = kind.encode() + b" "
    return start.startswith(topic) or topic.startswith(start)
