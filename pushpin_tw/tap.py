"""What ``twistd pushpin`` asks for: its options and its service.

Called by twistd, which finds this module through ``twisted/plugins/pushpin_tap.py``.
"""

from __future__ import annotations

from twisted.application.service import IService

from pushpin_tw.garbage import look_seldom
from pushpin_tw.options import Options

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """What ``twistd pushpin`` runs."""
    from pushpin_tw.process import twistd_program  # twistd asks for options without wanting the rest

    look_seldom()
    return twistd_program(options.settings, options.parent or {})
