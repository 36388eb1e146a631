"""Letting clients go: asking whoever owns one.

Used by responders and sockets of the edge.  Never closes anything.
"""

from __future__ import annotations

from typing import Any

from pushpin_tw.interfaces import IParting


def parts(owner: Any) -> bool:
    """Whether ``owner`` can let its client go at any time."""
    return bool(IParting.providedBy(owner))


def retire(owner: Any) -> None:
    """Let it, if it can."""
    if IParting.providedBy(owner):
        owner.retire()
